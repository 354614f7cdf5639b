//! What a host may be called by, and what a step's names are compared with, exactly and less so. The one
//! place that knows how names are compared; which host is meant in the end, the roster decides.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::host::{Host, HostId};
use super::placeholders::is_placeholder;
use super::roster::Targets;

/// A shorter part stands in too many names.
const SHORTEST_PART: usize = 3;
/// Names that are kept of hosts which were seen and are not meant.
const MOST_SEEN: usize = 20_000;

/// Further ways in which a name may mean a host, where the step says so (`also_match`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AlsoMatch {
    /// By what stands before the first dot, of the name and of the host's.
    pub short_name: bool,
    /// By the host's address.
    pub ip_address: bool,
}

/// What of a host a name was compared with, where it is none of those that identify it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// The name that the computer has beside its hostname.
    ComputerName,
    /// `also_match: [short_name]`.
    ShortName,
    /// `also_match: [ip_address]`.
    IpAddress,
}

impl Matched {
    /// The word in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::ComputerName => "computer_name",
            Self::ShortName => "short_name",
            Self::IpAddress => "ip_address",
        }
    }
}

/// What stands before a name's first dot, in lower case. An address has none, nor has NAME@UUID, and
/// `localhost` is nobody's.
pub(super) fn short_name(name: &str) -> Option<String> {
    if name.contains('@') || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    let short = name.split('.').next()?.to_lowercase();
    (!short.trim().is_empty() && short != "localhost").then_some(short)
}

/// An address that can be one host's: `::ffff:10.0.0.1` is 10.0.0.1, and what every host calls itself is none.
pub fn address(text: &str) -> Option<IpAddr> {
    let address = text.trim().parse::<IpAddr>().ok()?.to_canonical();
    let broadcast = matches!(address, IpAddr::V4(four) if four.is_broadcast());
    let nobodys =
        address.is_loopback() || address.is_unspecified() || address.is_multicast() || broadcast;
    (!nobodys).then_some(address)
}

/// `NAME@UUID` or `NAME@UUID#ID`, as documents name hosts that share a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart<'a> {
    /// The shared name.
    pub name: &'a str,
    /// The host's uuid; empty where it has none, and then there is an id.
    pub uuid: &'a str,
    /// The server's own id, where hosts share name and uuid.
    pub id: Option<&'a str>,
}

impl<'a> Apart<'a> {
    /// The parts of a name, each way that it may be read.
    pub(super) fn readings(name: &'a str) -> impl Iterator<Item = Self> {
        let with_id = name.rsplit_once('#').and_then(|(rest, id)| {
            let (name, uuid) = rest.rsplit_once('@')?;
            let id = Some(id.trim()).filter(|id| !id.is_empty())?;
            Some(Self {
                name,
                uuid: uuid.trim(),
                id: Some(id),
            })
        });
        let plain = name.rsplit_once('@').map(|(name, uuid)| Self {
            name,
            uuid: uuid.trim(),
            id: None,
        });
        let plain = plain.filter(|apart| !apart.uuid.is_empty());
        with_id.into_iter().chain(plain)
    }

    /// The text that finds the host.
    fn term(&self) -> &'a str {
        match self.uuid {
            "" => self.name,
            uuid => uuid,
        }
    }
}

/// What a host is called.
impl Host {
    /// What identifies it, the surest first.
    fn exact_names(&self) -> impl Iterator<Item = &str> {
        let serial = Some(self.serial()).filter(|serial| !is_placeholder(serial));
        [Some(self.uuid()), serial, Some(self.hostname())]
            .into_iter()
            .flatten()
            .filter(|name| !name.is_empty())
    }

    /// Its short names, of hostname and computer name.
    pub(super) fn short_names(&self) -> impl Iterator<Item = String> {
        let names = [self.hostname(), self.computer_name()].into_iter();
        let mut names = names.filter_map(short_name);
        let first = names.next();
        let second = names.next().filter(|name| first.as_ref() != Some(name));
        first.into_iter().chain(second)
    }

    /// Everything that it may be called before an `@`, in lower case.
    pub(super) fn all_names(&self) -> impl Iterator<Item = String> {
        [
            self.uuid(),
            self.serial(),
            self.hostname(),
            self.computer_name(),
        ]
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(|name| name.to_lowercase())
        .chain(self.short_names())
        .chain(self.address.map(|address| address.to_string()))
    }

    /// Whether it may be called so before an `@`.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let lower = name.to_lowercase();
        self.all_names().any(|own| own == lower)
            || short_name(name).is_some_and(|short| self.short_names().any(|own| own == short))
            || self.address.is_some() && self.address == address(name)
    }
}

/// What is sought for a step's targets, and what is learnt on the way of hosts that are not meant.
#[derive(Debug)]
pub struct Sought {
    also: AlsoMatch,
    names: Vec<SoughtName>,
    exact: HashSet<String>,
    short: HashSet<String>,
    addresses: HashSet<IpAddr>,
    ids: HashSet<String>,
    /// Ids that stand in `NAME@UUID#ID`.
    apart: HashSet<String>,
    seen: RefCell<Seen>,
}

/// One name of the step.
#[derive(Debug)]
pub struct SoughtName {
    /// Texts of which each would be found with the host, where there is one.
    pub terms: Vec<String>,
    /// Firmware's word for no serial: nobody is named by it, unless that is what a host is called.
    pub placeholder: bool,
    keys: Vec<String>,
}

impl SoughtName {
    /// Texts that find the host, each in its way: `NAME@UUID` is found by its uuid.
    pub fn surest_terms(&self) -> &[String] {
        match self.keys.len() {
            1 => &self.terms,
            _ => &self.terms[1..],
        }
    }

    /// Parts of the name, in lower case, of which one stands in most that resemble it: its first label, and
    /// each half of that.
    pub fn parts(&self) -> Vec<String> {
        let name = &self.keys[0];
        let name = name.rsplit_once('@').map_or(&**name, |(name, _)| name);
        let Some(short) = short_name(name) else {
            return Vec::new();
        };
        let characters: Vec<char> = short.chars().collect();
        let half = characters.len().div_ceil(2).max(SHORTEST_PART);
        if characters.len() <= half {
            return vec![short];
        }
        let first = characters[..half].iter().collect();
        let second = characters[characters.len() - half..].iter().collect();
        vec![short, first, second]
    }
}

impl Sought {
    /// What to seek for these targets.
    pub fn of(targets: &Targets) -> Self {
        let also = targets.also_match;
        let mut sought = Self {
            also,
            names: Vec::new(),
            exact: HashSet::new(),
            short: HashSet::new(),
            addresses: HashSet::new(),
            ids: targets.ids.iter().cloned().collect(),
            apart: HashSet::new(),
            seen: RefCell::default(),
        };
        for name in &targets.hosts {
            let mut keys = vec![name.to_lowercase()];
            let mut terms = vec![name.clone()];
            for apart in Apart::readings(name) {
                keys.push(apart.term().to_lowercase());
                terms.push(apart.term().to_owned());
                sought.apart.extend(apart.id.map(str::to_owned));
            }
            if let Some(short) = short_name(name).filter(|_| also.short_name) {
                // Whatever holds the whole name holds its beginning.
                terms[0].truncate(name.find('.').unwrap_or(name.len()));
                sought.short.insert(short);
            }
            if let Some(address) = address(name).filter(|_| also.ip_address) {
                terms.push(address.to_string());
                sought.addresses.insert(address);
            }
            let placeholder = is_placeholder(name);
            if placeholder {
                let seen = sought.seen.get_mut();
                seen.placeholders.entry(keys[0].clone()).or_default();
            }
            terms.retain(|term| !term.trim().is_empty());
            sought.exact.extend(keys.iter().cloned());
            sought.names.push(SoughtName {
                terms,
                placeholder,
                keys,
            });
        }
        sought
    }

    /// The names, in the step's order.
    pub fn names(&self) -> &[SoughtName] {
        &self.names
    }

    /// The server's own ids of hosts that are sought.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// Whether the step itself has this text as a name.
    pub fn is_written(&self, text: &str) -> bool {
        self.exact.contains(&text.to_lowercase())
    }

    /// Whether one of the names may mean this host; what is learnt of one that is not meant is kept.
    pub fn meets(&self, host: &Host) -> bool {
        let meant = self.may_mean(host);
        self.seen.borrow_mut().add(host, meant);
        meant
    }

    /// Whether one of the names may mean this host.
    fn may_mean(&self, host: &Host) -> bool {
        let is_exact = |name: &str| self.exact.contains(&name.to_lowercase());
        !self.ids.is_empty() && self.ids.contains(&*host.id.text())
            || host.exact_names().any(is_exact)
            || !host.computer_name().is_empty() && is_exact(host.computer_name())
            || self.also.short_name && host.short_names().any(|name| self.short.contains(&name))
            || host.address.is_some_and(|it| self.addresses.contains(&it))
            // `NAME@#ID`: nothing else tells it apart.
            || host.uuid().is_empty() && self.apart.contains(&*host.id.text())
    }

    /// The names that identify none of the hosts: a looser match may still give way to one that does.
    pub fn missing<'h>(&self, hosts: impl IntoIterator<Item = &'h Host>) -> Vec<&SoughtName> {
        let found: HashSet<String> = hosts
            .into_iter()
            .flat_map(Host::exact_names)
            .map(str::to_lowercase)
            .collect();
        let is_found = |name: &&SoughtName| name.keys.iter().any(|key| found.contains(key));
        self.names.iter().filter(|name| !is_found(name)).collect()
    }

    /// The names that mean none of the hosts in any way.
    pub fn unmet(&self, hosts: &[Host]) -> Vec<&SoughtName> {
        // Each host's names once: there may be thousands of both.
        let names: HashSet<String> = hosts.iter().flat_map(Host::all_names).collect();
        let is_called = |name: &SoughtName| {
            let key = &name.keys[0];
            let address = address(key).map(|address| address.to_string());
            let others = short_name(key).into_iter().chain(address);
            names.contains(key) || others.into_iter().any(|other| names.contains(&other))
        };
        let missing = self.missing(hosts).into_iter();
        missing
            .filter(|name| !name.placeholder && !is_called(name))
            .collect()
    }

    /// What was seen of a placeholder is not all that there is.
    pub fn cut_short(&self, name: &SoughtName) {
        let mut seen = self.seen.borrow_mut();
        if let Some(having) = name
            .keys
            .first()
            .and_then(|key| seen.placeholders.get_mut(key))
        {
            having.more = true;
        }
    }

    /// What was learnt on the way.
    pub fn into_seen(self) -> Seen {
        self.seen.into_inner()
    }
}

/// What was seen of hosts while others were sought.
#[derive(Debug, Default)]
pub struct Seen {
    /// What hosts are called that no name means, as far as they are kept.
    pub names: HashSet<String>,
    /// Hosts that have firmware's word for no serial, by that word in lower case, for the words that the step
    /// has as names.
    placeholders: HashMap<String, Having>,
}

#[derive(Debug, Default)]
struct Having {
    hosts: HashSet<HostId>,
    more: bool,
}

impl Seen {
    fn add(&mut self, host: &Host, meant: bool) {
        if !self.placeholders.is_empty() && !host.serial().is_empty() {
            let having = self.placeholders.get_mut(&host.serial().to_lowercase());
            if let Some(having) = having {
                having.hosts.insert(host.id.clone());
            }
        }
        for name in [host.hostname(), host.computer_name()] {
            if !meant && !name.is_empty() && self.names.len() < MOST_SEEN {
                self.names.insert(name.to_owned());
            }
        }
    }

    /// How many enrolled hosts have this serial; whether there may be more. `None` where it is a serial that
    /// can be somebody's.
    pub(super) fn of_placeholder(&self, name: &str) -> Option<(usize, bool)> {
        let having = self.placeholders.get(&name.to_lowercase())?;
        Some((having.hosts.len(), having.more))
    }
}
