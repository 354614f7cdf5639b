//! The hosts that a server has for a step's names, by all that they may be called: which of them a name
//! means. Costs the same for one host and for many.

use std::collections::{HashMap, HashSet};

use super::host::{Host, HostId};
use super::names::{AlsoMatch, Apart, Matched, address, short_name};
use super::placeholders::is_placeholder;

/// Hosts by what they are called, in lower case.
pub(super) struct Index {
    /// Each once.
    hosts: Vec<Host>,
    ids: HashMap<HostId, usize>,
    uuids: HashMap<String, Vec<usize>>,
    serials: HashMap<String, Vec<usize>>,
    hostnames: HashMap<String, Vec<usize>>,
    computer_names: HashMap<String, Vec<usize>>,
    short_names: HashMap<String, Vec<usize>>,
    addresses: HashMap<String, Vec<usize>>,
    /// Where several hosts claim one uuid: by uuid and any other name the first of those called so, which
    /// stands as `NAME@UUID`, and whether there are others.
    twins: HashMap<(String, String), (usize, bool)>,
}

/// What a name means.
pub(super) struct Meaning<'a> {
    /// The hosts; none where nobody has the name.
    pub hosts: Vec<&'a Host>,
    /// What of them it was compared with, where that is nothing that identifies a host.
    pub matched: Option<Matched>,
    /// The name is `NAME@UUID`, and other hosts have the same name and uuid.
    pub has_twins: bool,
}

impl Index {
    pub fn new(candidates: Vec<Host>, also: AlsoMatch) -> Self {
        let mut seen = HashSet::new();
        let mut index = Self {
            hosts: Vec::new(),
            ids: HashMap::new(),
            uuids: HashMap::new(),
            serials: HashMap::new(),
            hostnames: HashMap::new(),
            computer_names: HashMap::new(),
            short_names: HashMap::new(),
            addresses: HashMap::new(),
            twins: HashMap::new(),
        };
        for host in candidates {
            // A page may repeat a host that moved while the pages were read.
            if !seen.insert(host.id.clone()) {
                continue;
            }
            index.add(host, also);
        }
        index.find_twins();
        index
    }

    fn add(&mut self, host: Host, also: AlsoMatch) {
        let at = self.hosts.len();
        for (map, text) in [
            (&mut self.uuids, host.uuid()),
            (&mut self.serials, host.serial()),
            (&mut self.hostnames, host.hostname()),
            (&mut self.computer_names, host.computer_name()),
        ] {
            if !text.is_empty() {
                map.entry(text.to_lowercase()).or_default().push(at);
            }
        }
        if also.short_name {
            for name in host.short_names() {
                self.short_names.entry(name).or_default().push(at);
            }
        }
        if let Some(address) = host.address.filter(|_| also.ip_address) {
            let of_address = self.addresses.entry(address.to_string());
            of_address.or_default().push(at);
        }
        self.ids.insert(host.id.clone(), at);
        self.hosts.push(host);
    }

    fn find_twins(&mut self) {
        for (uuid, hosts) in self.uuids.iter().filter(|(_, hosts)| hosts.len() > 1) {
            // Servers list them in any order; two runs must tell the same.
            let mut hosts = hosts.clone();
            hosts.sort_by(|one, other| self.hosts[*one].id.cmp(&self.hosts[*other].id));
            for at in hosts {
                let names: HashSet<String> = self.hosts[at].all_names().collect();
                for name in names {
                    let first = self.twins.entry((uuid.clone(), name));
                    first
                        .and_modify(|(_, more)| *more = true)
                        .or_insert((at, false));
                }
            }
        }
    }

    /// A uuid before a serial before a hostname (a host chooses its own name), whatever the case; then
    /// `NAME@UUID` as this program itself names hosts that share a name; then what is looser.
    pub fn meaning_of(&self, name: &str) -> Meaning<'_> {
        let of = |places: &[usize], matched| Meaning {
            hosts: places.iter().map(|&at| &self.hosts[at]).collect(),
            matched,
            has_twins: false,
        };
        let lower = name.to_lowercase();
        // Firmware's word for no serial names nobody.
        let serials = (!is_placeholder(name)).then_some(&self.serials);
        let exact = [Some(&self.uuids), serials, Some(&self.hostnames)];
        if let Some(found) = exact.into_iter().flatten().find_map(|map| map.get(&lower)) {
            return of(found, None);
        }
        if let Some((at, has_twins)) = Apart::readings(name).find_map(|apart| self.apart(apart)) {
            return Meaning {
                has_twins,
                ..of(&[at], None)
            };
        }
        let short = short_name(name);
        let short = short.and_then(|short| self.short_names.get(&short));
        let address = address(name).and_then(|it| self.addresses.get(&it.to_string()));
        let looser = [
            (self.computer_names.get(&lower), Matched::ComputerName),
            (short, Matched::ShortName),
            (address, Matched::IpAddress),
        ];
        for (found, matched) in looser {
            if let Some(found) = found {
                return of(found, Some(matched));
            }
        }
        of(&[], None)
    }

    /// The one host that stands apart under this name, and whether others have the same name and uuid.
    fn apart(&self, apart: Apart<'_>) -> Option<(usize, bool)> {
        let uuid = apart.uuid.to_lowercase();
        if let Some(id) = apart.id {
            let at = *self.ids.get(&id.into())?;
            let host = &self.hosts[at];
            let is_meant = host.uuid().to_lowercase() == uuid && host.is_called(apart.name);
            return is_meant.then_some((at, false));
        }
        match self.uuids.get(&uuid)?.as_slice() {
            &[one] => self.hosts[one]
                .is_called(apart.name)
                .then_some((one, false)),
            _ => self.first_of(&uuid, apart.name),
        }
    }

    /// The first of the hosts of one uuid that are called so, and whether there are others.
    fn first_of(&self, uuid: &str, name: &str) -> Option<(usize, bool)> {
        let ways = [
            Some(name.to_lowercase()),
            short_name(name),
            address(name).map(|address| address.to_string()),
        ];
        let mut ways = ways.into_iter().flatten();
        ways.find_map(|name| self.twins.get(&(uuid.to_owned(), name)).copied())
    }

    /// The host of this id.
    pub fn of_id(&self, id: &str) -> Option<&Host> {
        let at = self.ids.get(&id.into())?;
        Some(&self.hosts[*at])
    }

    /// Whether this host alone is meant.
    pub fn means_only(&self, name: &str, host: &Host) -> bool {
        matches!(*self.meaning_of(name).hosts, [one] if one.id == host.id)
    }

    /// Whether `NAME@UUID` of this host means another one, of the same uuid.
    pub fn is_of_twin(&self, name: &str, host: &Host) -> bool {
        let first = self.first_of(&host.uuid().to_lowercase(), name);
        first.is_some_and(|(first, _)| self.hosts[first].id != host.id)
    }

    /// The hosts' names that people know.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let hosts = self.hosts.iter();
        let names = hosts.flat_map(|host| [host.hostname(), host.computer_name()]);
        names.filter(|name| !name.is_empty())
    }
}
