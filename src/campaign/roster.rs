//! Which hosts the step's targets mean, and under which name each stands in the document.
//! Pure: names and hosts in, keys out. Knows nothing of servers or time.

use std::collections::{HashMap, HashSet};

use crate::printable::listed;

use super::host::{Candidates, Host, HostId, Platform};

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
}

/// A key of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name that it stands under.
    pub key: String,
    /// Index into [`Roster::hosts`]; `None` where no enrolled host has that name.
    pub host: Option<usize>,
}

impl Roster {
    /// Decides what each name means: a uuid before a serial before a hostname (a host chooses its own
    /// name), whatever the case, and `NAME@UUID` as this program itself names hosts that share a name.
    pub fn new(targets: &Targets, candidates: Candidates) -> Self {
        let named = Index::new(candidates.named);
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
        let mut left_out = Vec::new();
        for name in &targets.hosts {
            let meant = named.meaning_of(name);
            if meant.is_empty() {
                roster.target(name.clone(), None);
                continue;
            }
            let mut wanted: Vec<&Host> = meant
                .iter()
                .copied()
                .filter(|host| roster.wants(host))
                .collect();
            // Servers list them in any order; two runs must tell the same.
            wanted.sort_by(|one, other| (&one.uuid, &one.id).cmp(&(&other.uuid, &other.id)));
            if wanted.is_empty() {
                left_out.push(name.as_str());
            }
            if let [_] = *meant {
                for host in wanted {
                    let host = roster.host(host);
                    roster.target(name.clone(), Some(host));
                }
                continue;
            }
            let mut keys = Vec::new();
            for host in wanted {
                let index = roster.host(host);
                let key = roster.distinct_key(name, host, index);
                keys.push(with_last_seen(&key, host));
                roster.target(key, Some(index));
            }
            if !keys.is_empty() {
                roster.shared.add(name, meant.len(), &keys);
            }
        }
        for id in &targets.ids {
            let host = named.hosts.iter().find(|host| host.id.0 == *id);
            match host {
                Some(host) if !roster.wants(host) => left_out.push(id.as_str()),
                Some(host) => {
                    let host = roster.host(host);
                    roster.target(id.clone(), Some(host));
                }
                None => roster.target(id.clone(), None),
            }
        }
        if !left_out.is_empty() {
            roster.warn(format!(
                "left out, being of another platform than `target_platforms` says: {}",
                listed(&left_out)
            ));
        }
        roster.group(candidates.grouped);
        roster.finish()
    }

    /// Names that no enrolled host has.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .filter(|target| target.host.is_none())
            .map(|target| target.key.as_str())
    }

    /// Those names in one line, the first of them; `None` where every name is known.
    pub fn unknown_listed(&self) -> Option<String> {
        let unknown: Vec<&str> = self.unknown().collect();
        (!unknown.is_empty()).then(|| listed(&unknown))
    }
}

/// Names that several enrolled hosts have: told one by one as far as people read, the others counted.
#[derive(Default)]
struct SharedNames {
    lines: Vec<String>,
    more: usize,
}

impl SharedNames {
    /// So many names have a line of their own.
    const LINES: usize = 5;

    fn add(&mut self, name: &str, hosts: usize, keys: &[String]) {
        if self.lines.len() == Self::LINES {
            self.more += 1;
            return;
        }
        let name = listed(&[name]);
        self.lines.push(format!(
            "`{name}` is the name of {hosts} enrolled hosts: all are asked, as {}",
            listed(keys)
        ));
    }

    fn into_warnings(self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| {
            format!(
                "{} more names are those of several enrolled hosts each: all of them are asked, as NAME@UUID",
                self.more
            )
        });
        self.lines.into_iter().chain(more)
    }
}

/// A key, and when its host was last seen: that often tells hosts of one name apart.
fn with_last_seen(key: &str, host: &Host) -> String {
    let last = host.last_seen.as_deref().unwrap_or("never");
    format!("{key} (last seen {last})")
}

/// Candidates by what identifies them, in lower case.
struct Index {
    hosts: Vec<Host>,
    uuids: HashMap<String, Vec<usize>>,
    serials: HashMap<String, Vec<usize>>,
    hostnames: HashMap<String, Vec<usize>>,
    /// By uuid and hostname, where several hosts claim one uuid.
    twins: HashMap<(String, String), Vec<usize>>,
}

impl Index {
    fn new(candidates: Vec<Host>) -> Self {
        let mut seen = HashSet::new();
        let mut index = Self {
            hosts: Vec::new(),
            uuids: HashMap::new(),
            serials: HashMap::new(),
            hostnames: HashMap::new(),
            twins: HashMap::new(),
        };
        for host in candidates {
            // A page may repeat a host that moved while the pages were read.
            if !seen.insert(host.id.clone()) {
                continue;
            }
            let at = index.hosts.len();
            for (map, text) in [
                (&mut index.uuids, &host.uuid),
                (&mut index.serials, &host.serial),
                (&mut index.hostnames, &host.hostname),
            ] {
                if !text.is_empty() {
                    map.entry(text.to_lowercase()).or_default().push(at);
                }
            }
            index.hosts.push(host);
        }
        for (uuid, hosts) in index.uuids.iter().filter(|(_, hosts)| hosts.len() > 1) {
            for &at in hosts {
                let key = (uuid.clone(), index.hosts[at].hostname.to_lowercase());
                index.twins.entry(key).or_default().push(at);
            }
        }
        index
    }

    fn meaning_of(&self, name: &str) -> Vec<&Host> {
        let found = self.places_of(&name.to_lowercase());
        found.iter().map(|&at| &self.hosts[at]).collect()
    }

    /// Whether this host alone is meant.
    fn means_only(&self, name: &str, host: &Host) -> bool {
        matches!(*self.places_of(&name.to_lowercase()), [one] if self.hosts[one].id == host.id)
    }

    /// Costs the same however many hosts there are.
    fn places_of(&self, name: &str) -> &[usize] {
        for map in [&self.uuids, &self.serials, &self.hostnames] {
            if let Some(found) = map.get(name) {
                return found;
            }
        }
        let Some((hostname, uuid)) = name.rsplit_once('@') else {
            return &[];
        };
        match self.uuids.get(uuid).map(Vec::as_slice) {
            None => &[],
            Some(&[one]) if self.hosts[one].hostname.to_lowercase() != hostname => &[],
            Some(one @ [_]) => one,
            Some(_) => {
                let key = (uuid.to_owned(), hostname.to_owned());
                self.twins.get(&key).map_or(&[], Vec::as_slice)
            }
        }
    }
}

struct Builder<'a> {
    named: &'a Index,
    platforms: &'a [Platform],
    roster: Roster,
    index_of: HashMap<HostId, usize>,
    /// Keys that stand, with their hosts.
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

    fn target(&mut self, key: String, host: Option<usize>) {
        // `dup` and `dup@UUID` in one step lead to the same key of the same host.
        if host.is_none() || self.owners.get(&key) != Some(&host) {
            self.owners.insert(key.clone(), host);
            self.roster.targets.push(Target { key, host });
        }
    }

    /// `NAME@UUID`, with the server's own number behind it in the rare case that this is taken by another host.
    fn distinct_key(&self, name: &str, host: &Host, index: usize) -> String {
        let key = format!("{name}@{}", host.uuid);
        let taken = match self.owners.get(&key) {
            Some(owner) => *owner != Some(index),
            // The step may itself have written `NAME@UUID` and mean this host.
            None => self.written.contains(&*key) && !self.named.means_only(&key, host),
        };
        if taken || host.uuid.is_empty() {
            format!("{key}#{}", host.id.0)
        } else {
            key
        }
    }

    /// Adds the hosts of labels and platforms that no name brought in already, by hostname.
    fn group(&mut self, grouped: Vec<Host>) {
        let mut seen = HashSet::new();
        let mut added: Vec<(String, Host)> = grouped
            .into_iter()
            .filter(|host| !self.index_of.contains_key(&host.id) && self.wants(host))
            .filter(|host| seen.insert(host.id.clone()))
            .map(|host| (host.hostname.to_lowercase(), host))
            .collect();
        added.sort_by(|(name, one), (other_name, other)| {
            (name, &one.uuid, &one.id).cmp(&(other_name, &other.uuid, &other.id))
        });
        let same = |(one, _): &(String, _), (other, _): &(String, _)| one == other;
        let sizes: Vec<usize> = added.chunk_by(same).map(<[_]>::len).collect();
        let mut added = added.into_iter().map(|(_, host)| host);
        for size in sizes {
            let mut keys = Vec::new();
            let mut name = String::new();
            for host in added.by_ref().take(size) {
                let index = self.roster.hosts.len();
                let taken = self.owners.contains_key(&host.hostname)
                    || self.written.contains(&*host.hostname);
                let key = if size > 1 || taken || host.hostname.is_empty() {
                    self.distinct_key(&host.hostname, &host, index)
                } else {
                    host.hostname.clone()
                };
                if size > 1 {
                    if keys.is_empty() {
                        name.clone_from(&host.hostname);
                    }
                    keys.push(with_last_seen(&key, &host));
                }
                self.target(key, Some(index));
                self.new_host(host);
            }
            if size > 1 {
                self.shared.add(&name, size, &keys);
            }
        }
    }

    fn finish(self) -> Roster {
        let mut roster = self.roster;
        roster.warnings.extend(self.shared.into_warnings());
        roster
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(id: &str, hostname: &str, uuid: &str, serial: &str) -> Host {
        Host {
            id: HostId(id.into()),
            hostname: hostname.into(),
            uuid: uuid.into(),
            serial: serial.into(),
            platform: Some(Platform::Linux),
            online: Some(true),
            last_seen: Some("2026-11-20T00:00:00Z".into()),
            check_in_interval: None,
            unsupported: false,
        }
    }

    fn targets(names: &[&str]) -> Targets {
        Targets {
            hosts: names.iter().map(|&name| name.into()).collect(),
            ..Targets::default()
        }
    }

    fn keys(roster: &Roster) -> Vec<(&str, Option<&str>)> {
        roster
            .targets
            .iter()
            .map(|target| {
                let id = target.host.map(|host| roster.hosts[host].id.0.as_str());
                (target.key.as_str(), id)
            })
            .collect()
    }

    fn roster(names: &[&str], named: Vec<Host>, grouped: Vec<Host>) -> Roster {
        Roster::new(&targets(names), Candidates { named, grouped })
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
                ("x", Some("2")),
                ("S2", Some("2")),
                ("Z", Some("3")),
                ("nope", None)
            ]
        );
        assert_eq!(roster.hosts.len(), 2);
    }

    #[test]
    fn hosts_that_share_a_name_stand_apart_and_draw_a_warning() {
        let hosts = vec![host("2", "DUP", "u2", ""), host("1", "dup", "u1", "")];
        let found = roster(&["dup", "dup@u1"], hosts.clone(), vec![]);
        assert_eq!(keys(&found), [("dup@u1", Some("1")), ("dup@u2", Some("2"))]);
        assert_eq!(
            found.warnings,
            [
                "`dup` is the name of 2 enrolled hosts: all are asked, as dup@u1 (last seen 2026-11-20T00:00:00Z), dup@u2 (last seen 2026-11-20T00:00:00Z)"
            ]
        );
        let grouped = roster(&[], vec![], hosts);
        assert_eq!(
            keys(&grouped),
            [("dup@u1", Some("1")), ("DUP@u2", Some("2"))]
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
                ("web", Some("1")),
                ("gone", None),
                ("gone@u3", Some("3")),
                ("web@u2", Some("2"))
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
            },
        );
        assert_eq!(keys(&found), [("win", Some("2"))]);
        assert_eq!(
            found.warnings,
            ["left out, being of another platform than `target_platforms` says: lin"]
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
        assert_eq!(found.warnings.len(), 6, "{:?}", found.warnings);
        assert!(
            found.warnings[5].starts_with("995 more names are those of several"),
            "{}",
            found.warnings[5]
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
                .map(|host| format!("{}@{}", host.hostname, host.uuid))
                .chain(["web".into(), "nobody".into()])
                .collect::<HashSet<_>>()
                .into_iter()
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let found = roster(&names, hosts.clone(), hosts);
            assert_eq!(found.hosts.len(), HOSTS, "{kind}");
            let keys: HashSet<&str> = found.targets.iter().map(|it| it.key.as_str()).collect();
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
                prop_assert!(seen.insert(target.key.clone()), "{} stands twice", target.key);
                prop_assert!(target.host.is_none_or(|host| host < roster.hosts.len()));
            }
            for name in &names {
                let alone = roster.targets.iter().any(|target| target.key == *name);
                let prefix = format!("{name}@");
                let apart = roster.targets.iter().any(|target| target.key.starts_with(&prefix));
                prop_assert!(alone || apart, "{} stands nowhere", name);
            }
            // Every host of the roster is asked under at least one key, and only once.
            for (index, host) in roster.hosts.iter().enumerate() {
                prop_assert!(roster.targets.iter().any(|target| target.host == Some(index)));
                prop_assert_eq!(roster.hosts.iter().filter(|other| other.id == host.id).count(), 1);
            }
            for host in grouped {
                prop_assert!(roster.hosts.iter().any(|known| known.id == host.id));
            }
        }
    }
}
