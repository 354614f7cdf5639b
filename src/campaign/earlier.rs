//! What an earlier campaign brought, carried into a later one of the same step: whose each answer is among
//! the hosts of today, and what becomes of those that are no targets any more. Pure.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use super::host::{Answer, Host, HostId, Texts};
use super::roster::{Roster, Target, Targets};
use crate::printable::listed;

/// A key of an earlier document.
#[derive(Debug)]
pub struct EarlierTarget {
    /// The name that it stood under.
    pub key: String,
    /// The hostname of the host behind it; the key, where the document says no other.
    pub hostname: String,
    /// Its hardware uuid; may be empty.
    pub uuid: String,
    /// When the server had last seen it.
    pub last_seen: Option<String>,
    /// What it answered.
    pub came: Came,
}

/// What an earlier run had of a host.
#[derive(Debug)]
pub enum Came {
    /// Its answer: rows, none, or osquery's error.
    Answer(EarlierAnswer),
    /// Nothing, though it was asked.
    Silence,
    /// Nothing: it was not asked.
    Nothing,
}

/// An answer of an earlier run.
#[derive(Debug)]
pub struct EarlierAnswer {
    /// When it came.
    pub at: SystemTime,
    /// The same, counted from that run's dispatch.
    pub after: Duration,
    /// Rows, or osquery's error.
    pub answer: Answer,
}

/// A roster with what an earlier run brought.
#[derive(Debug, Default)]
pub struct Merged {
    /// Today's hosts; behind them those that have answered and are no targets any more.
    pub roster: Roster,
    /// Answers by the host's index in the roster, one a host at most.
    pub answers: Vec<(usize, EarlierAnswer)>,
    /// Who was asked and has not answered.
    pub silent: Vec<HostId>,
    /// What the responder should know; each one line.
    pub warnings: Vec<String>,
}

/// Gives the earlier answers to the hosts of today. A host is the same where its uuid is; where several
/// share one, its hostname has to be the same, too, and then its key: whoever can't be told from another is
/// asked again.
pub fn merge(roster: Roster, targets: &Targets, earlier: Vec<EarlierTarget>) -> Merged {
    let mut merging = Merging::new(roster, targets, &earlier);
    for target in earlier {
        merging.add(target);
    }
    merging.finish()
}

struct Merging<'a> {
    targets: &'a Targets,
    written: HashSet<String>,
    /// Today's hosts by uuid in lower case.
    uuids: HashMap<String, Vec<usize>>,
    /// Keys, and where each stands among the roster's targets.
    keys: HashMap<String, usize>,
    /// Uuids that several hosts of the earlier run had.
    shared: HashSet<String>,
    answered: HashSet<usize>,
    /// Hosts that are no targets any more, by uuid and hostname, or by key.
    gone: HashMap<(String, String), usize>,
    kept: Vec<String>,
    replaced: Vec<String>,
    left_out: Vec<String>,
    merged: Merged,
}

impl<'a> Merging<'a> {
    fn new(roster: Roster, targets: &'a Targets, earlier: &[EarlierTarget]) -> Self {
        let mut uuids: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, host) in roster.hosts.iter().enumerate() {
            uuids
                .entry(host.uuid().to_lowercase())
                .or_default()
                .push(index);
        }
        let keys = roster.keys().map(str::to_owned).zip(0..);
        let mut named: HashMap<String, String> = HashMap::new();
        let mut shared = HashSet::new();
        for target in earlier.iter().filter(|target| !target.uuid.is_empty()) {
            let (uuid, name) = (target.uuid.to_lowercase(), target.hostname.to_lowercase());
            let first = named.entry(uuid.clone()).or_insert_with(|| name.clone());
            if *first != name {
                shared.insert(uuid);
            }
        }
        Self {
            targets,
            written: targets.written().into_iter().collect(),
            uuids,
            keys: keys.collect(),
            shared,
            answered: HashSet::new(),
            gone: HashMap::new(),
            kept: Vec::new(),
            replaced: Vec::new(),
            left_out: Vec::new(),
            merged: Merged {
                roster,
                ..Merged::default()
            },
        }
    }

    fn add(&mut self, target: EarlierTarget) {
        let found = self.find(&target);
        match (target.came, found) {
            (Came::Nothing, _) | (_, Found::Several) | (Came::Silence, Found::Nobody) => {}
            (Came::Silence, Found::One(host)) => {
                let id = self.merged.roster.hosts[host].id.clone();
                self.merged.silent.push(id);
            }
            (Came::Answer(answer), Found::One(host)) => self.answer(host, answer),
            (Came::Answer(answer), Found::Nobody) => {
                let target = EarlierTarget {
                    came: Came::Nothing,
                    ..target
                };
                if let Some(host) = self.gone(target) {
                    self.answer(host, answer);
                }
            }
        }
    }

    /// A host that stands under several names has one answer.
    fn answer(&mut self, host: usize, answer: EarlierAnswer) {
        if self.answered.insert(host) {
            self.merged.answers.push((host, answer));
        }
    }

    fn find(&self, target: &EarlierTarget) -> Found {
        let hosts = &self.merged.roster.hosts;
        let uuid = target.uuid.to_lowercase();
        let same_name = |host: &usize| {
            hosts[*host]
                .hostname()
                .eq_ignore_ascii_case(&target.hostname)
        };
        let by_key = |among: &[usize]| {
            let at = self.keys.get(&target.key)?;
            let host = self.merged.roster.targets[*at].host()?;
            among.contains(&host).then_some(host)
        };
        let Some(same_uuid) = self.uuids.get(&uuid) else {
            return Found::Nobody;
        };
        if uuid.is_empty() {
            // There is nothing but its name.
            let host = by_key(same_uuid).filter(same_name);
            return host.map_or(Found::Nobody, Found::One);
        }
        if let ([host], false) = (same_uuid.as_slice(), self.shared.contains(&uuid)) {
            return Found::One(*host);
        }
        let same: Vec<usize> = same_uuid.iter().copied().filter(same_name).collect();
        match same.as_slice() {
            [] => Found::Nobody,
            [host] => Found::One(*host),
            several => by_key(several).map_or(Found::Several, Found::One),
        }
    }

    /// The index of a host that has answered and is no target any more; `None` where the step never meant it.
    fn gone(&mut self, target: EarlierTarget) -> Option<usize> {
        // The step named it, or a label, a team or a platform did.
        let name = target.key.split_once('@').map_or("", |(name, _)| name);
        let named = self.written.contains(target.key.as_str()) || self.written.contains(name);
        let Targets { labels, teams, .. } = self.targets;
        let grouped = !labels.is_empty() || !teams.is_empty() || self.targets.names_none();
        if !named && !grouped {
            self.left_out.push(target.key);
            return None;
        }
        let taken = self.keys.get(&target.key).copied();
        let another = taken.filter(|at| self.merged.roster.targets[*at].host().is_some());
        let key = match another {
            None => target.key.clone(),
            Some(_) => format!("{}@{}", target.key, target.uuid),
        };
        if another.is_some() && (target.uuid.is_empty() || self.keys.contains_key(&key)) {
            self.left_out.push(target.key);
            return None;
        }
        let told = match another {
            None => &mut self.kept,
            Some(_) => &mut self.replaced,
        };
        told.push(key.clone());
        let roster = &mut self.merged.roster;
        let identity = match target.uuid.is_empty() {
            true => (String::new(), target.key.clone()),
            false => (target.uuid.to_lowercase(), target.hostname.to_lowercase()),
        };
        let next = roster.hosts.len();
        let host = *self.gone.entry(identity).or_insert(next);
        if host == next {
            // What no server calls a host.
            let id = HostId::from(&*format!("\0{}", target.key));
            let texts = Texts {
                hostname: &target.hostname,
                uuid: &target.uuid,
                last_seen: target.last_seen.as_deref().unwrap_or_default(),
                ..Texts::default()
            };
            roster.hosts.push(Host::new(id, &texts));
        }
        match taken.filter(|_| another.is_none()) {
            // Nobody else has the name now.
            Some(at) => {
                roster.targets[at].take(host);
            }
            None => {
                self.keys.insert(key.clone(), roster.targets.len());
                roster.targets.push(Target::new(key, Some(host), None));
            }
        }
        Some(host)
    }

    fn finish(self) -> Merged {
        let mut merged = self.merged;
        for (names, what) in [
            (
                self.kept,
                "answered the earlier run but are no longer targets (deleted, renamed, or gone from the label or team): their answers are kept",
            ),
            (
                self.replaced,
                "answered the earlier run under a name that another host has now: their answers are kept",
            ),
            (
                self.left_out,
                "are in the earlier document but not among this step's targets: left out",
            ),
        ] {
            if !names.is_empty() {
                merged.warnings.push(format!("{what}: {}", listed(&names)));
            }
        }
        merged
    }
}

/// Which host of today an earlier one is.
enum Found {
    Nobody,
    One(usize),
    /// It can't be told from others.
    Several,
}

#[cfg(test)]
mod tests {
    use super::super::host::Candidates;
    use super::*;

    fn host(id: &str, hostname: &str, uuid: &str) -> Host {
        let texts = Texts {
            hostname,
            uuid,
            ..Texts::default()
        };
        Host::new(id.into(), &texts)
    }

    fn earlier(key: &str, hostname: &str, uuid: &str, answered: bool) -> EarlierTarget {
        let answer = EarlierAnswer {
            at: SystemTime::UNIX_EPOCH,
            after: Duration::ZERO,
            answer: Answer::Error(key.into()),
        };
        EarlierTarget {
            key: key.into(),
            hostname: hostname.into(),
            uuid: uuid.into(),
            last_seen: None,
            came: match answered {
                true => Came::Answer(answer),
                false => Came::Silence,
            },
        }
    }

    /// Which key's answer each host has, by the host's id.
    fn merged(
        names: &[&str],
        today: Vec<Host>,
        earlier: Vec<EarlierTarget>,
    ) -> Vec<(String, String)> {
        let targets = Targets {
            hosts: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Targets::default()
        };
        let candidates = Candidates {
            named: today,
            ..Candidates::default()
        };
        let merged = merge(Roster::new(&targets, candidates), &targets, earlier);
        let whose = |(host, earlier): &(usize, EarlierAnswer)| {
            let Answer::Error(key) = &earlier.answer else {
                panic!("there are no other answers");
            };
            let id = merged.roster.hosts[*host].id.text().replace('\0', "gone ");
            (id, key.clone())
        };
        let mut whose: Vec<_> = merged.answers.iter().map(whose).collect();
        whose.sort();
        whose
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(id, key): &(&str, &str)| ((*id).to_owned(), (*key).to_owned());
        expected.iter().map(owned).collect()
    }

    #[test]
    fn a_host_is_the_same_by_uuid_whatever_it_is_called_and_spelled() {
        let today = vec![host("1", "new", "ab"), host("2", "b", "CD")];
        let came = vec![
            earlier("a", "a", "AB", true),
            earlier("cd", "b", "cd", true),
        ];
        let expected = pairs(&[("1", "a"), ("2", "cd")]);
        assert_eq!(merged(&["new", "b"], today, came), expected);
    }

    #[test]
    fn hosts_that_share_a_uuid_are_told_apart_by_name_or_not_at_all() {
        let twins = || vec![host("1", "a", "U"), host("2", "b", "U")];
        let came = || vec![earlier("a", "a", "U", true), earlier("b", "b", "U", true)];
        let expected = pairs(&[("1", "a"), ("2", "b")]);
        assert_eq!(merged(&["a", "b"], twins(), came()), expected);
        // Only one of the two answered: the other is asked.
        let one = vec![earlier("a", "a", "U", true), earlier("b", "b", "U", false)];
        assert_eq!(merged(&["a", "b"], twins(), one), pairs(&[("1", "a")]));
        // One of them is left, and the answer of the other is kept beside it.
        let left = vec![host("2", "b", "U")];
        let expected = pairs(&[("2", "b"), ("gone a", "a")]);
        assert_eq!(merged(&["a", "b"], left, came()), expected);
        // A name that neither has can be either's.
        let unknown = vec![earlier("U", "c", "U", true)];
        assert_eq!(merged(&["a", "b"], twins(), unknown), pairs(&[]));
    }

    #[test]
    fn two_names_of_one_host_have_one_answer() {
        let came = || vec![earlier("a", "a", "U", true), earlier("U", "a", "U", true)];
        let today = vec![host("1", "a", "U")];
        assert_eq!(merged(&["a", "U"], today, came()), pairs(&[("1", "a")]));
        let gone = merged(&["a", "U"], Vec::new(), came());
        assert_eq!(gone, pairs(&[("gone a", "a")]));
    }

    #[test]
    fn without_a_uuid_there_is_the_name() {
        let today = || vec![host("1", "a", ""), host("2", "b", "")];
        let came = vec![earlier("a", "a", "", true), earlier("b", "b", "", false)];
        assert_eq!(merged(&["a", "b"], today(), came), pairs(&[("1", "a")]));
        let other = vec![earlier("c", "c", "", true)];
        assert_eq!(merged(&["a", "b"], today(), other), pairs(&[]));
    }
}
