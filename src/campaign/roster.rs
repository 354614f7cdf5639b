//! Which hosts the step's targets mean, and under which name each stands in the document.
//! Pure: names and hosts in, keys out. Knows nothing of servers or time.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use crate::nearest::{self, NearHost};
use crate::printable::listed;

use super::host::{Candidates, Host, HostId, Platform};
use super::index::Index;
use super::names::{AlsoMatch, Matched, Seen};
use super::placeholders::is_placeholder;

/// Who the step asks; at least one of the lists is not empty.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// Hostnames, uuids or serials as the step wrote them, rendered; no blanks, distinct, in the step's order.
    pub hosts: Vec<String>,
    /// Names of labels, or what the server has in their place; their members are added.
    pub labels: Vec<String>,
    /// Names of teams, where the server has them; their members are added.
    pub teams: Vec<String>,
    /// The server's own numbers for hosts, where it has them; each stands in the document as such.
    pub ids: Vec<String>,
    /// Narrows the others; alone it means every host of these platforms.
    pub platforms: Vec<Platform>,
    /// Further ways in which a name of `hosts` may mean a host.
    pub also_match: AlsoMatch,
}

impl Targets {
    /// Whatever was written that means one host: the document's keys as far as they are known beforehand.
    pub fn written(&self) -> Vec<String> {
        [&*self.hosts, &*self.ids].concat()
    }

    /// Whether no host is named one by one.
    pub fn names_none(&self) -> bool {
        self.hosts.is_empty() && self.ids.is_empty()
    }
}

/// The hosts to ask, each once, and the keys of the document.
#[derive(Debug, Default)]
pub struct Roster {
    /// Distinct enrolled hosts, in the order of their first key.
    pub hosts: Vec<Host>,
    /// The document's keys: the names as written first, then hosts of labels and platforms by name.
    pub targets: Vec<Target>,
    /// What the step's author or the responder should know; each one line.
    pub warnings: Vec<String>,
    /// Names that are firmware's words for no serial: they mean nobody, and the step is not run.
    pub refused: Vec<Refused>,
}

/// A name that is what firmware says where there is no serial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// As the step has it.
    pub name: String,
    /// How many enrolled hosts were seen that have it.
    pub hosts: usize,
    /// There may be more.
    pub or_more: bool,
}

/// A key of the document: [`Roster::key`] has its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name that it stands under, where that is not the host's own hostname: those are many.
    name: Option<Box<str>>,
    /// Index into [`Roster::hosts`].
    host: Option<u32>,
    /// What of the host the name was compared with, where that is nothing that identifies a host.
    pub matched: Option<Matched>,
    near: Option<Box<[NearHost]>>,
}

impl Target {
    /// A name, and the host that it means.
    pub(super) fn new(name: String, host: Option<usize>, matched: Option<Matched>) -> Self {
        Self {
            name: Some(name.into_boxed_str()),
            host: host.and_then(place),
            matched,
            near: None,
        }
    }

    /// A host under its own hostname.
    fn own(host: usize) -> Self {
        Self {
            name: None,
            host: place(host),
            matched: None,
            near: None,
        }
    }

    /// Index into [`Roster::hosts`]; `None` where no enrolled host has that name.
    pub fn host(&self) -> Option<usize> {
        self.host.map(|host| host as usize)
    }

    /// Names of enrolled hosts that resemble one that nobody has, the likeliest first.
    pub fn near(&self) -> &[NearHost] {
        self.near.as_deref().unwrap_or_default()
    }

    /// The same, to be changed.
    pub fn near_mut(&mut self) -> &mut [NearHost] {
        self.near.as_deref_mut().unwrap_or_default()
    }

    /// The name means this host from now on.
    pub(super) fn take(&mut self, host: usize) {
        self.host = place(host);
        self.near = None;
    }

    /// The enrolled name that was likely meant, where nobody has this one.
    pub fn likely(&self) -> Option<&str> {
        let first = self.near().first().filter(|near| near.likely)?;
        Some(&first.name)
    }
}

/// No server has more hosts than a `u32` counts.
fn place(host: usize) -> Option<u32> {
    u32::try_from(host).ok()
}

/// Names that resemble an unknown one, at most.
const NEAR: usize = 5;
/// Comparisons that are made for them: so many names of hosts for each of so many unknown names.
const COMPARED: usize = 200_000;

impl Roster {
    /// Decides what each name means, and under which keys the hosts stand.
    pub fn new(targets: &Targets, candidates: Candidates) -> Self {
        let Candidates {
            named,
            grouped,
            seen,
            unlisted,
        } = candidates;
        if unlisted {
            return Self::unlisted(targets);
        }
        let named = Index::new(named, targets.also_match);
        let written = targets.written();
        let mut roster = Builder {
            named: &named,
            platforms: &targets.platforms,
            roster: Self::default(),
            index_of: HashMap::new(),
            owners: HashMap::new(),
            shared: SharedNames::default(),
            // Written names keep their spelling, so no host of a label may take one.
            written: written.iter().map(String::as_str).collect(),
        };
        let (mut left_out, mut twins) = (Vec::new(), Vec::new());
        for name in &targets.hosts {
            let meant = named.meaning_of(name);
            if meant.hosts.is_empty() {
                roster.nobody(name, &seen);
                continue;
            }
            if meant.has_twins {
                twins.push(name.as_str());
            }
            let count = meant.hosts.len();
            let mut wanted: Vec<&Host> = meant.hosts;
            wanted.retain(|host| roster.wants(host));
            // Servers list them in any order; two runs must tell the same.
            wanted.sort_by(|one, other| (one.uuid(), &one.id).cmp(&(other.uuid(), &other.id)));
            if wanted.is_empty() {
                left_out.push(name.as_str());
            }
            if count == 1 {
                for host in wanted {
                    let host = roster.host(host);
                    roster.target(name.clone(), Some(host), meant.matched);
                }
                continue;
            }
            let mut keys = Vec::new();
            for host in wanted {
                let index = roster.host(host);
                let key = roster.distinct_key(name, host, index);
                keys.push(with_last_seen(&key, host));
                roster.target(key, Some(index), meant.matched);
            }
            if !keys.is_empty() {
                roster.shared.add(name, count, keys);
            }
        }
        for id in &targets.ids {
            match named.of_id(id) {
                Some(host) if !roster.wants(host) => left_out.push(id.as_str()),
                Some(host) => {
                    let host = roster.host(host);
                    roster.target(id.clone(), Some(host), None);
                }
                None => roster.target(id.clone(), None, None),
            }
        }
        if !left_out.is_empty() {
            roster.warn(format!(
                "left out because of `target_platforms`: {}",
                listed(&left_out)
            ));
        }
        if !twins.is_empty() {
            roster.warn(format!(
                "several enrolled hosts have this name and this uuid, and the first of them is asked (the others are NAME@UUID#ID): {}",
                listed(&twins)
            ));
        }
        roster.group(grouped);
        roster.resemble(&seen, &targets.ids);
        roster.finish()
    }

    /// Each name is one host, to the letter: what it means is the server's to say, once it is asked.
    fn unlisted(targets: &Targets) -> Self {
        let mut roster = Self::default();
        for name in &targets.hosts {
            if is_placeholder(name) {
                roster.refused.push(Refused {
                    name: name.clone(),
                    hosts: 0,
                    or_more: true,
                });
            }
            let host = Some(roster.hosts.len());
            roster.targets.push(Target::new(name.clone(), host, None));
            roster.hosts.push(Host::named(name));
        }
        roster
    }

    /// The name that a target stands under.
    pub fn key<'a>(&'a self, target: &'a Target) -> &'a str {
        let own = || Some(self.hosts.get(target.host()?)?.hostname());
        target.name.as_deref().or_else(own).unwrap_or_default()
    }

    /// The hostname of a target's host, where it stands under another name.
    pub fn other_name(&self, target: &Target) -> Option<&str> {
        let key = target.name.as_deref()?;
        let name = self.hosts.get(target.host()?)?.hostname();
        (!name.is_empty() && !name.eq_ignore_ascii_case(key)).then_some(name)
    }

    /// The names of all targets.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|target| self.key(target))
    }

    /// Names that no enrolled host has.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        let unknown = self.targets.iter().filter(|target| target.host.is_none());
        unknown.map(|target| self.key(target))
    }

    /// Nobody is meant by a target any more.
    pub(super) fn nobody(&mut self, target: usize) {
        let key = self.targets.get(target).map(|target| self.key(target));
        let key = key.map(Into::into);
        if let Some(target) = self.targets.get_mut(target) {
            target.name = key;
            target.host = None;
        }
    }

    /// Those names in one line, the first of them, each with the name that is likely meant; `None` where
    /// every name is known.
    pub fn unknown_listed(&self) -> Option<String> {
        let unknown = self.targets.iter().filter(|target| target.host.is_none());
        let unknown = unknown.map(|target| Named::of(self.key(target), target.likely()));
        let unknown: Vec<Named<'_>> = unknown.collect();
        (!unknown.is_empty()).then(|| listed(&unknown))
    }
}

/// Names that several enrolled hosts have: one line, whatever their number.
#[derive(Default)]
struct SharedNames {
    /// The first name, and how many hosts have it.
    first: Option<(String, usize)>,
    names: usize,
    /// Every host of every such name, with when it was last seen.
    keys: Vec<String>,
}

impl SharedNames {
    fn add(&mut self, name: &str, hosts: usize, keys: Vec<String>) {
        self.names += 1;
        self.keys.extend(keys);
        self.first.get_or_insert_with(|| (listed(&[name]), hosts));
    }

    fn into_warning(self) -> Option<String> {
        let (name, hosts) = self.first?;
        let keys = listed(&self.keys);
        Some(match self.names {
            1 => {
                format!("`{name}` is the name of {hosts} enrolled hosts: all are asked, as {keys}")
            }
            names => format!(
                "{names} names each belong to several enrolled hosts: all are asked, as {keys}"
            ),
        })
    }
}

/// An unknown name as a line has it.
struct Named<'a>(Cow<'a, str>);

impl<'a> Named<'a> {
    fn of(key: &'a str, likely: Option<&str>) -> Self {
        Self(match likely {
            // Cut by itself, so that the question stays whole.
            Some(near) => {
                let question = nearest::asked(&listed(&[near]));
                format!("{} ({question})", listed(&[key])).into()
            }
            None => key.into(),
        })
    }
}

impl AsRef<str> for Named<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A key, and when its host was last seen: that often tells hosts of one name apart.
fn with_last_seen(key: &str, host: &Host) -> String {
    let last = host.last_seen().unwrap_or("never");
    format!("{key} (last seen {last})")
}

/// The order of two names, whatever their case.
fn lower_order(one: &str, other: &str) -> Ordering {
    if one.is_ascii() && other.is_ascii() {
        let both = [one, other].map(|name| name.bytes().map(|byte| byte.to_ascii_lowercase()));
        let [one, other] = both;
        return one.cmp(other);
    }
    one.to_lowercase().cmp(&other.to_lowercase())
}

struct Builder<'a> {
    named: &'a Index,
    platforms: &'a [Platform],
    roster: Roster,
    index_of: HashMap<HostId, usize>,
    /// Keys that stand, with their hosts; of those that are a host's own hostname only what has an `@`, as the keys
    /// that are made of a name and a uuid.
    owners: HashMap<String, Option<usize>>,
    shared: SharedNames,
    /// Names that the step wrote, which stand or will.
    written: HashSet<&'a str>,
}

impl Builder<'_> {
    fn wants(&self, host: &Host) -> bool {
        self.platforms.is_empty()
            || host
                .platform
                .is_some_and(|platform| self.platforms.contains(&platform))
    }

    fn warn(&mut self, warning: String) {
        self.roster.warnings.push(warning);
    }

    fn host(&mut self, host: &Host) -> usize {
        if let Some(&index) = self.index_of.get(&host.id) {
            return index;
        }
        self.new_host(host.clone())
    }

    fn new_host(&mut self, host: Host) -> usize {
        let index = self.roster.hosts.len();
        self.index_of.insert(host.id.clone(), index);
        self.roster.hosts.push(host);
        index
    }

    fn target(&mut self, key: String, host: Option<usize>, matched: Option<Matched>) {
        // `dup` and `dup@UUID` in one step lead to the same key of the same host.
        if host.is_none() || self.owners.get(&key) != Some(&host) {
            self.owners.insert(key.clone(), host);
            self.roster.targets.push(Target::new(key, host, matched));
        }
    }

    /// A name that no host has.
    fn nobody(&mut self, name: &str, seen: &Seen) {
        if is_placeholder(name) {
            let (hosts, or_more) = seen.of_placeholder(name).unwrap_or((0, true));
            self.roster.refused.push(Refused {
                name: name.to_owned(),
                hosts,
                or_more,
            });
        }
        self.target(name.to_owned(), None, None);
    }

    /// Gives names that nobody has those that resemble them, as far as the time for it goes.
    fn resemble(&mut self, seen: &Seen, ids: &[String]) {
        let is_unknown = |target: &Target| {
            let is_id = |name: &str| ids.iter().any(|id| id == name);
            target.host.is_none() && !target.name.as_deref().is_some_and(is_id)
        };
        if !self.roster.targets.iter().any(is_unknown) {
            return;
        }
        let of_groups = self.roster.hosts.iter().map(Host::hostname);
        let known: HashSet<&str> = seen
            .names
            .iter()
            .map(String::as_str)
            .chain(self.named.names())
            .chain(of_groups)
            .collect();
        let most = (COMPARED / known.len().max(1)).max(1);
        let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
        let targets = self.roster.targets.iter_mut();
        let unknown = targets.filter(|target| is_unknown(target));
        for target in unknown.take(most) {
            // `NAME@UUID` of a host that is gone.
            let name = target.name.as_deref().unwrap_or_default();
            let name = name.rsplit_once('@').map_or(name, |it| it.0);
            let near = nearest::hosts(name, known.iter().map(String::as_str), NEAR);
            target.near = (!near.is_empty()).then(|| near.into_boxed_slice());
        }
    }

    /// `NAME@UUID`, with the server's own number behind it in the rare case that this is taken by another host.
    fn distinct_key(&self, name: &str, host: &Host, index: usize) -> String {
        let key = format!("{name}@{}", host.uuid());
        let of_twin = self.named.is_of_twin(name, host);
        let taken = match self.owners.get(&key) {
            Some(owner) => *owner != Some(index),
            // The step may itself have written `NAME@UUID` and mean this host.
            None => self.written.contains(&*key) && !self.named.means_only(&key, host),
        };
        if taken || of_twin || host.uuid().is_empty() {
            format!("{key}#{}", host.id)
        } else {
            key
        }
    }

    /// Adds the hosts of labels and platforms that no name brought in already, by hostname. They stay where they
    /// are: there may be a hundred thousand.
    fn group(&mut self, grouped: Vec<Host>) {
        let mut seen = HashSet::new();
        let mut added: Vec<Host> = grouped
            .into_iter()
            .filter(|host| !self.index_of.contains_key(&host.id) && self.wants(host))
            .filter(|host| seen.insert(host.id.clone()))
            .collect();
        drop(seen);
        added.sort_unstable_by(|one, other| {
            lower_order(one.hostname(), other.hostname())
                .then_with(|| one.uuid().cmp(other.uuid()))
                .then_with(|| one.id.cmp(&other.id))
        });
        let same = |one: &Host, other: &Host| lower_order(one.hostname(), other.hostname()).is_eq();
        self.roster.targets.reserve(added.len());
        let mut index = self.roster.hosts.len();
        for group in added.chunk_by(same) {
            let mut keys = Vec::new();
            for host in group {
                let name = host.hostname();
                let taken = self.owners.contains_key(name) || self.written.contains(name);
                if group.len() > 1 || taken || name.is_empty() {
                    let key = self.distinct_key(name, host, index);
                    if group.len() > 1 {
                        keys.push(with_last_seen(&key, host));
                    }
                    self.target(key, Some(index), None);
                } else {
                    if name.contains('@') {
                        self.owners.insert(name.to_owned(), Some(index));
                    }
                    self.roster.targets.push(Target::own(index));
                }
                index += 1;
            }
            if let [first, _, ..] = group {
                self.shared.add(first.hostname(), group.len(), keys);
            }
        }
        // It has grown page by page.
        added.shrink_to_fit();
        match self.roster.hosts.is_empty() {
            true => self.roster.hosts = added,
            false => self.roster.hosts.append(&mut added),
        }
    }

    fn finish(self) -> Roster {
        let mut roster = self.roster;
        roster.warnings.extend(self.shared.into_warning());
        roster
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::host::Texts;
    use super::*;

    fn host(id: &str, hostname: &str, uuid: &str, serial: &str) -> Host {
        let texts = Texts {
            hostname,
            uuid,
            serial,
            last_seen: "2026-11-20T00:00:00Z",
            ..Texts::default()
        };
        Host {
            platform: Some(Platform::Linux),
            online: Some(true),
            ..Host::new(id.into(), &texts)
        }
    }

    fn targets(names: &[&str]) -> Targets {
        Targets {
            hosts: names.iter().map(|&name| name.into()).collect(),
            ..Targets::default()
        }
    }

    fn keys(roster: &Roster) -> Vec<(&str, Option<String>)> {
        roster
            .targets
            .iter()
            .map(|target| {
                let id = target.host().map(|host| roster.hosts[host].id.to_string());
                (roster.key(target), id)
            })
            .collect()
    }

    fn roster(names: &[&str], named: Vec<Host>, grouped: Vec<Host>) -> Roster {
        let candidates = Candidates {
            named,
            grouped,
            ..Candidates::default()
        };
        Roster::new(&targets(names), candidates)
    }

    #[test]
    fn a_name_is_a_uuid_before_a_serial_before_a_hostname() {
        let hosts = vec![
            host("1", "x", "u1", "s1"),
            host("2", "y", "X", "s2"),
            host("3", "z", "u3", "x"),
            host("4", "s2", "u4", "s4"),
        ];
        let roster = roster(&["x", "S2", "Z", "nope"], hosts, vec![]);
        assert_eq!(
            keys(&roster),
            [
                ("x", Some("2".to_owned())),
                ("S2", Some("2".to_owned())),
                ("Z", Some("3".to_owned())),
                ("nope", None)
            ]
        );
        assert_eq!(roster.hosts.len(), 2);
    }

    #[test]
    fn hosts_that_share_a_name_stand_apart_and_draw_a_warning() {
        let hosts = vec![host("2", "DUP", "u2", ""), host("1", "dup", "u1", "")];
        let found = roster(&["dup", "dup@u1"], hosts.clone(), vec![]);
        assert_eq!(
            keys(&found),
            [
                ("dup@u1", Some("1".to_owned())),
                ("dup@u2", Some("2".to_owned()))
            ]
        );
        assert_eq!(
            found.warnings,
            [
                "`dup` is the name of 2 enrolled hosts: all are asked, as dup@u1 (last seen 2026-11-20T00:00:00Z), dup@u2 (last seen 2026-11-20T00:00:00Z)"
            ]
        );
        let grouped = roster(&[], vec![], hosts);
        assert_eq!(
            keys(&grouped),
            [
                ("dup@u1", Some("1".to_owned())),
                ("DUP@u2", Some("2".to_owned()))
            ]
        );
    }

    #[test]
    fn a_label_s_host_never_takes_a_written_name() {
        let found = roster(
            &["web", "gone"],
            vec![host("1", "a", "web", "")],
            vec![
                host("1", "a", "web", ""),
                host("2", "web", "u2", ""),
                host("3", "gone", "u3", ""),
            ],
        );
        assert_eq!(
            keys(&found),
            [
                ("web", Some("1".to_owned())),
                ("gone", None),
                ("gone@u3", Some("3".to_owned())),
                ("web@u2", Some("2".to_owned()))
            ]
        );
    }

    #[test]
    fn platforms_narrow_names_and_labels() {
        let mut windows = host("2", "win", "u2", "");
        windows.platform = Some(Platform::Windows);
        let wanted = Targets {
            platforms: vec![Platform::Windows],
            ..targets(&["lin", "win"])
        };
        let found = Roster::new(
            &wanted,
            Candidates {
                named: vec![host("1", "lin", "u1", ""), windows.clone()],
                grouped: vec![host("3", "lin3", "u3", "")],
                ..Candidates::default()
            },
        );
        assert_eq!(keys(&found), [("win", Some("2".to_owned()))]);
        assert_eq!(
            found.warnings,
            ["left out because of `target_platforms`: lin"]
        );
    }

    #[test]
    fn many_shared_names_draw_few_warnings() {
        let hosts = |from: usize| -> Vec<Host> {
            let names = (from..from + 500).flat_map(|name| [(name, 0), (name, 1)]);
            names
                .map(|(name, twin)| {
                    let id = format!("{name}-{twin}");
                    host(&id, &format!("host-{name}"), &format!("u-{id}"), "")
                })
                .collect()
        };
        let names: Vec<String> = (0..500).map(|name| format!("host-{name}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = roster(&names, hosts(0), hosts(500));
        assert_eq!(found.targets.len(), 2_000);
        let [line] = &*found.warnings else {
            panic!("{:?}", found.warnings);
        };
        assert!(
            line.starts_with("1000 names each belong to several enrolled hosts")
                && line.ends_with(" and 1995 more"),
            "{line}"
        );
    }

    /// Minutes, where any step of it looks at every host for each host.
    #[test]
    fn many_hosts_of_any_kind() {
        const HOSTS: usize = 30_000;
        type Make = fn(usize) -> Host;
        let kinds: [(&str, Make); 4] = [
            ("each its own", |n| {
                host(&n.to_string(), &format!("host-{n}"), &format!("u{n}"), "")
            }),
            ("one name", |n| {
                host(&n.to_string(), "web", &format!("u{n}"), "")
            }),
            ("one uuid", |n| {
                host(&n.to_string(), &format!("host-{n}"), "u", "")
            }),
            ("one name and uuid", |n| {
                host(&n.to_string(), "web", "u", "")
            }),
        ];
        for (kind, make) in kinds {
            let hosts: Vec<Host> = (0..HOSTS).map(make).collect();
            let every_tenth = hosts.iter().step_by(10);
            let names: Vec<String> = every_tenth
                .map(|host| format!("{}@{}", host.hostname(), host.uuid()))
                .chain(["web".into(), "nobody".into()])
                .collect::<HashSet<_>>()
                .into_iter()
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let found = roster(&names, hosts.clone(), hosts);
            assert_eq!(found.hosts.len(), HOSTS, "{kind}");
            let keys: HashSet<&str> = found.keys().collect();
            assert_eq!(keys.len(), found.targets.len(), "{kind}");
            assert!(found.warnings.len() <= 6, "{kind}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn keys_are_distinct_and_every_name_is_there(
            names in prop::collection::hash_set("[abAB]{1,2}(@[uU][12])?", 0..6),
            hosts in prop::collection::vec(("[0-9]", "[abAB]{0,2}(@u1)?", "[uUaA]?[12a]?", "[sa]?[12]?"), 0..12),
            split in 0usize..12,
        ) {
            let hosts: Vec<Host> = hosts.iter().map(|(id, name, uuid, serial)| host(id, name, uuid, serial)).collect();
            let (named, grouped) = hosts.split_at(split.min(hosts.len()));
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let roster = roster(&names, named.to_vec(), grouped.to_vec());
            let mut seen = HashSet::new();
            for target in &roster.targets {
                let key = roster.key(target);
                prop_assert!(seen.insert(key), "{} stands twice", key);
                prop_assert!(target.host().is_none_or(|host| host < roster.hosts.len()));
            }
            for name in &names {
                let alone = roster.keys().any(|key| key == *name);
                let prefix = format!("{name}@");
                let apart = roster.keys().any(|key| key.starts_with(&prefix));
                prop_assert!(alone || apart, "{} stands nowhere", name);
            }
            // Every host of the roster is asked under at least one key, and only once.
            for (index, host) in roster.hosts.iter().enumerate() {
                prop_assert!(roster.targets.iter().any(|target| target.host() == Some(index)));
                prop_assert_eq!(roster.hosts.iter().filter(|other| other.id == host.id).count(), 1);
            }
            for host in grouped {
                prop_assert!(roster.hosts.iter().any(|known| known.id == host.id));
            }
        }
    }
}
