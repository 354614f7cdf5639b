//! The campaign: who was asked, who answered, what was kept. Pure: answers and elapsed times go in,
//! the document's facts come out; no I/O and no clock, so that every ordering can be tested.
//!
//! The invariant: every target is in exactly one of `results` and `timed_out_hosts`.

pub mod earlier;
pub mod host;
mod index;
pub mod names;
mod placeholders;
pub mod roster;
pub mod rows;

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use hashbrown::HashTable;

use earlier::EarlierAnswer;
use host::{Answer, Asked, Host, HostId};
use roster::Roster;
use rows::{Keep, Rows};

use crate::json_text::push_string;

/// A host's error message is kept to so many characters.
const ERROR_CHARACTERS: usize = 4_096;
/// Bytes of a document that are there without any host.
const DOCUMENT_BYTES: usize = 512;
/// Bytes that a key takes in the document beside its own text, uuid, error and rows.
const KEY_BYTES: usize = 160;

/// How much may come back.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// More resolved hosts than this and nothing is dispatched.
    pub max_hosts: usize,
    /// Rows kept of one host's answer.
    pub max_rows_per_host: usize,
    /// Bytes of the whole output document.
    pub max_bytes: usize,
}

impl Limits {
    /// How much of one host's answer is kept.
    pub fn keep(&self) -> Keep {
        Keep {
            rows: self.max_rows_per_host,
            bytes: self.max_bytes,
        }
    }
}

/// What to do about hosts that the server holds for offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfflineHosts {
    /// Wait for them until the deadline.
    Wait,
    /// End once every online host has answered.
    Skip,
    /// Wait for them until the deadline, and leave the query with the server for those that are still
    /// silent.
    Queue {
        /// How long it stays there, counted from the dispatch.
        hours: u16,
    },
}

impl OfflineHosts {
    /// How many hours the query may stay with the server.
    pub fn queue_hours(self) -> Option<u16> {
        match self {
            Self::Queue { hours } => Some(hours),
            Self::Wait | Self::Skip => None,
        }
    }
}

/// A campaign under way.
#[derive(Debug)]
pub struct Campaign {
    roster: Roster,
    index: ById,
    hosts: Vec<State>,
    offline_hosts: OfflineHosts,
    /// Which targets each host stands for.
    targets_of: TargetsOf,
    bytes_left: usize,
    dispatched_at: Option<SystemTime>,
    answered: usize,
    /// Hosts that can be asked.
    targeted: usize,
    /// Hosts that have not answered and are not held for offline.
    online_silent: usize,
    rows: usize,
    truncated: bool,
}

/// Which targets each host stands for, mostly one: a list of them, and where in it each host's begin.
#[derive(Debug)]
struct TargetsOf {
    targets: Vec<u32>,
    begin: Vec<u32>,
}

impl TargetsOf {
    fn of(roster: &Roster) -> Self {
        let pairs = (0..).zip(&roster.targets);
        let pairs = pairs.filter_map(|(target, it)| Some((it.host()?, target)));
        let mut begin = vec![0; roster.hosts.len() + 1];
        for (host, _) in pairs.clone() {
            begin[host + 1] += 1;
        }
        for host in 0..roster.hosts.len() {
            begin[host + 1] += begin[host];
        }
        let mut targets = vec![0; begin.last().map_or(0, |all| *all as usize)];
        let mut next = begin.clone();
        for (host, target) in pairs {
            targets[next[host] as usize] = target;
            next[host] += 1;
        }
        Self { targets, begin }
    }

    /// Indices into the roster's.
    fn get(&self, host: usize) -> impl ExactSizeIterator<Item = usize> {
        let targets = match (self.begin.get(host), self.begin.get(host + 1)) {
            (Some(&from), Some(&to)) => &self.targets[from as usize..to as usize],
            _ => &[],
        };
        targets.iter().map(|target| *target as usize)
    }
}

/// Where in the roster a host of an id is. The ids stay there: a map of its own would have each once more.
struct ById {
    places: HashTable<u32>,
    hashes: RandomState,
}

impl ById {
    fn of(hosts: &[Host]) -> Self {
        let hashes = RandomState::new();
        let mut places = HashTable::with_capacity(hosts.len());
        let hash = |place: &u32| hashes.hash_one(&hosts[*place as usize].id);
        for place in (0..).take(hosts.len()) {
            places.insert_unique(hash(&place), place, hash);
        }
        Self { places, hashes }
    }

    fn get(&self, hosts: &[Host], id: &HostId) -> Option<usize> {
        let is = |place: &u32| hosts[*place as usize].id == *id;
        let place = self.places.find(self.hashes.hash_one(id), is)?;
        Some(*place as usize)
    }
}

impl fmt::Debug for ById {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} hosts", self.places.len())
    }
}

#[derive(Debug, Default)]
struct State {
    asked: bool,
    offline: bool,
    unsupported: bool,
    /// The server does not know it, as came out when it was to be asked.
    unknown: bool,
    answer: Option<Kept>,
}

/// A host's first answer, as far as the caps let it be kept.
#[derive(Debug)]
pub struct Kept {
    /// When it came, counted from the dispatch.
    pub after: Duration,
    /// When it came, where that was not in this run.
    at: Option<SystemTime>,
    /// Rows, or osquery's error.
    pub result: Result<KeptRows, String>,
}

/// The rows of an answer.
#[derive(Debug)]
pub struct KeptRows {
    /// Rows received, before caps.
    pub received: usize,
    /// Whether a cap cut rows.
    pub truncated: bool,
    /// The rows, until they have been written elsewhere.
    pub rows: Option<Rows>,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The host's first; its index in the roster.
    New(usize),
    /// The host had answered already.
    Repeated,
    /// No host that was asked.
    Foreign,
}

/// Where a target stands; the contract's `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Rows, or none.
    Ok,
    /// An osquery error.
    Error,
    /// Asked, silent.
    NoAnswer,
    /// The server said that it is offline, and it stayed silent.
    Offline,
    /// The deadline came first.
    NotAsked,
    /// A phone or tablet: it runs no osquery, and was not asked.
    Unsupported,
    /// Not enrolled, or not visible to these credentials.
    Unknown,
}

impl Status {
    /// The word in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::NoAnswer => "no_answer",
            Self::Offline => "offline",
            Self::NotAsked => "not_asked",
            Self::Unsupported => "unsupported",
            Self::Unknown => "unknown",
        }
    }

    /// The status of this word.
    pub fn named(word: &str) -> Option<Self> {
        let all = [
            Self::Ok,
            Self::Error,
            Self::NoAnswer,
            Self::Offline,
            Self::NotAsked,
            Self::Unsupported,
            Self::Unknown,
        ];
        all.into_iter().find(|status| status.name() == word)
    }

    /// Whether the target belongs into `results`.
    pub fn answered(self) -> bool {
        matches!(self, Self::Ok | Self::Error)
    }
}

impl Campaign {
    /// A campaign of which nobody has been asked yet.
    pub fn new(roster: Roster, limits: &Limits, offline_hosts: OfflineHosts) -> Self {
        let index = ById::of(&roster.hosts);
        let hosts: Vec<State> = roster
            .hosts
            .iter()
            .map(|host| State {
                offline: host.online == Some(false),
                unsupported: host.unsupported,
                ..State::default()
            })
            .collect();
        let targets_of = TargetsOf::of(&roster);
        let mut bytes = DOCUMENT_BYTES;
        for target in &roster.targets {
            bytes = bytes.saturating_add(KEY_BYTES + 2 * json_length(roster.key(target)));
            if let Some(host) = target.host() {
                bytes = bytes.saturating_add(json_length(roster.hosts[host].uuid()));
            }
        }
        Self {
            index,
            online_silent: hosts
                .iter()
                .filter(|host| !host.offline && !host.unsupported)
                .count(),
            targeted: hosts.iter().filter(|host| !host.unsupported).count(),
            hosts,
            offline_hosts,
            targets_of,
            bytes_left: limits.max_bytes.saturating_sub(bytes),
            dispatched_at: None,
            answered: 0,
            rows: 0,
            truncated: false,
            roster,
        }
    }

    /// The roster that the campaign was made of.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The hosts to ask: those of the roster that run osquery and have not answered.
    pub fn to_ask(&self) -> Cow<'_, [Host]> {
        let hosts = &self.roster.hosts;
        if self.targeted == hosts.len() && self.answered == 0 {
            return hosts.into();
        }
        let states = hosts.iter().zip(&self.hosts);
        let asked = states
            .filter(|(_, state)| !state.unsupported && !state.unknown && state.answer.is_none());
        asked.map(|(host, _)| host.clone()).collect()
    }

    /// The names of hosts that run no osquery.
    pub fn unsupported(&self) -> Vec<&str> {
        let targets = self.roster.targets.iter();
        targets
            .filter(|target| self.status(target.host()) == Status::Unsupported)
            .map(|target| self.roster.key(target))
            .collect()
    }

    /// The dispatch was accepted, `at` this moment.
    pub fn started(&mut self, asked: Asked, at: SystemTime) {
        self.dispatched_at = Some(at);
        if asked == Asked::All {
            for host in self.hosts.iter_mut().filter(|host| !host.unsupported) {
                host.asked = true;
            }
        }
    }

    /// Answers are listened for from this moment on, whoever is asked.
    pub fn listened(&mut self, at: SystemTime) {
        self.dispatched_at = Some(at);
    }

    /// Takes what a host, by its index in the roster, answered an earlier run.
    pub fn keep(&mut self, index: usize, earlier: EarlierAnswer) {
        let state = self.hosts.get(index);
        let open = |host: &State| !host.unsupported && !host.unknown && host.answer.is_none();
        if state.is_some_and(open) {
            let EarlierAnswer { at, after, answer } = earlier;
            self.accept(index, answer, after, Some(at));
        }
    }

    /// The hosts that have answered so far: indices into the roster's.
    pub fn answered(&self) -> Vec<usize> {
        let states = self.hosts.iter().enumerate();
        let answered = states.filter(|(_, host)| host.answer.is_some());
        answered.map(|(index, _)| index).collect()
    }

    /// When the first and the last answer of this run came, counted from the dispatch.
    pub fn answers_came(&self) -> Option<(Duration, Duration)> {
        let kept = self.hosts.iter().filter_map(|host| host.answer.as_ref());
        let here = kept.filter(|kept| kept.at.is_none()).map(|kept| kept.after);
        here.fold(None, |seen, after| {
            let (first, last) = seen.unwrap_or((after, after));
            Some((first.min(after), last.max(after)))
        })
    }

    /// Targets whose answers are waited for: those of hosts that the server holds for offline come last.
    pub fn awaited(&self) -> Vec<&str> {
        let of = |kinds: &'static [Status]| {
            let targets = self.roster.targets.iter();
            let targets = targets.filter(|target| kinds.contains(&self.status(target.host())));
            targets.map(|target| self.roster.key(target))
        };
        let offline = of(&[Status::Offline]);
        of(&[Status::NoAnswer, Status::NotAsked])
            .chain(offline)
            .collect()
    }

    /// Whether a host's answer leaves something open: it has no rows, or nothing in one of these columns.
    pub fn leaves_open(&self, index: usize, columns: &[&str]) -> bool {
        let rows = self
            .answer(Some(index))
            .and_then(|kept| kept.result.as_ref().ok());
        let rows = rows.and_then(|kept| kept.rows.as_ref());
        rows.is_some_and(|rows| rows.received() == 0 || rows.has_empty(columns))
    }

    /// One host is being asked.
    pub fn asked(&mut self, id: &HostId) {
        if let Some(index) = self.place(id) {
            self.hosts[index].asked = !self.hosts[index].unknown;
        }
    }

    /// One host was not asked after all.
    pub fn not_asked(&mut self, id: &HostId) {
        if let Some(index) = self.place(id) {
            self.hosts[index].asked = false;
        }
    }

    /// The server says that a host is offline.
    pub fn offline(&mut self, id: &HostId) {
        if let Some(index) = self.place(id) {
            let host = &mut self.hosts[index];
            let counts = !host.unsupported && !host.unknown;
            let was_online = !std::mem::replace(&mut host.offline, true) && counts;
            self.online_silent -= usize::from(was_online && host.answer.is_none());
        }
    }

    /// The server does not know a host, as came out when it was to be asked: it is none, and nobody waits
    /// for it.
    pub fn unknown(&mut self, id: &HostId) {
        let Some(index) = self.place(id) else {
            return;
        };
        let host = &mut self.hosts[index];
        if host.unknown || host.unsupported || host.answer.is_some() {
            return;
        }
        host.unknown = true;
        host.asked = false;
        self.online_silent -= usize::from(!host.offline);
        self.targeted -= 1;
        for target in self.targets_of.get(index) {
            self.roster.nobody(target);
        }
    }

    /// Takes an answer, `after` the dispatch. A host's first answer counts, whatever comes later.
    pub fn record(&mut self, id: &HostId, answer: Answer, after: Duration) -> Recorded {
        let Some(index) = self.place(id) else {
            return Recorded::Foreign;
        };
        if self.hosts[index].unsupported || self.hosts[index].unknown {
            return Recorded::Foreign;
        }
        if self.hosts[index].answer.is_some() {
            return Recorded::Repeated;
        }
        self.accept(index, answer, after, None);
        Recorded::New(index)
    }

    fn accept(&mut self, index: usize, answer: Answer, after: Duration, at: Option<SystemTime>) {
        let keys = self.targets_of(index).len().max(1);
        let result = match answer {
            Answer::Rows(rows) => {
                let received = rows.received();
                let rows = rows.cut_to((self.bytes_left / keys).max("[]".len()));
                self.spend(rows.json().len().saturating_mul(keys));
                self.rows = self.rows.saturating_add(received);
                self.truncated |= rows.truncated();
                Ok(KeptRows {
                    received,
                    truncated: rows.truncated(),
                    rows: Some(rows),
                })
            }
            Answer::Error(message) => {
                let most = ERROR_CHARACTERS.min(self.bytes_left / (6 * keys));
                let message: String = message.chars().take(most).collect();
                self.spend(json_length(&message).saturating_mul(keys));
                Err(message)
            }
        };
        let host = &mut self.hosts[index];
        host.asked = true;
        self.online_silent -= usize::from(!host.offline);
        host.answer = Some(Kept { after, at, result });
        self.answered += 1;
    }

    /// Takes the rows of a host out, once they have been written: memory does not grow with them.
    pub fn take_rows(&mut self, index: usize) -> Option<Rows> {
        let answer = self.hosts.get_mut(index)?.answer.as_mut()?;
        answer.result.as_mut().ok()?.rows.take()
    }

    /// The targets that a host stands for: indices into the roster's.
    pub fn targets_of(&self, host: usize) -> impl ExactSizeIterator<Item = usize> {
        self.targets_of.get(host)
    }

    fn place(&self, id: &HostId) -> Option<usize> {
        self.index.get(&self.roster.hosts, id)
    }

    /// Whether nobody is left to wait for: every host has answered, or (`offline_hosts: skip`) every
    /// one that the server does not hold for offline.
    pub fn is_finished(&self) -> bool {
        self.all_answered() || self.offline_hosts == OfflineHosts::Skip && self.online_silent == 0
    }

    /// Whether every host has answered.
    pub fn all_answered(&self) -> bool {
        self.answered == self.targeted
    }

    /// Distinct hosts that have answered.
    pub fn responded(&self) -> usize {
        self.answered
    }

    /// Distinct hosts of the campaign that can be asked.
    pub fn targeted(&self) -> usize {
        self.targeted
    }

    /// Rows received of all hosts, before caps.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether a cap cut rows of any host.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// Where a host stands now.
    pub fn status(&self, host: Option<usize>) -> Status {
        let Some(state) = host.and_then(|index| self.hosts.get(index)) else {
            return Status::Unknown;
        };
        match &state.answer {
            _ if state.unsupported => Status::Unsupported,
            Some(Kept { result: Ok(_), .. }) => Status::Ok,
            Some(Kept { result: Err(_), .. }) => Status::Error,
            None if state.offline => Status::Offline,
            None if state.asked => Status::NoAnswer,
            None => Status::NotAsked,
        }
    }

    /// A host's answer, where there is one.
    pub fn answer(&self, host: Option<usize>) -> Option<&Kept> {
        self.hosts.get(host?)?.answer.as_ref()
    }

    /// When an answer came, by the clock on the wall.
    pub fn answered_at(&self, answer: &Kept) -> Option<SystemTime> {
        answer
            .at
            .or_else(|| self.dispatched_at?.checked_add(answer.after))
    }

    /// Whether any host was asked.
    pub fn asked_any(&self) -> bool {
        self.hosts.iter().any(|host| host.asked)
    }

    fn spend(&mut self, bytes: usize) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }
}

/// Bytes of a text as a JSON string.
pub(crate) fn json_length(text: &str) -> usize {
    let mut json = String::with_capacity(text.len() + 2);
    push_string(&mut json, text);
    json.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::host::{Candidates, Texts};
    use super::roster::Targets;
    use std::collections::HashMap;

    use super::*;

    const LIMITS: Limits = Limits {
        max_hosts: 1_000,
        max_rows_per_host: 10_000,
        max_bytes: 1 << 20,
    };

    fn campaign(hosts: usize, unknown: usize, max_bytes: usize, skip: bool) -> Campaign {
        let named = (0..hosts).map(|number| {
            let texts = Texts {
                hostname: &format!("host-{number}"),
                uuid: &format!("uuid-{number}"),
                ..Texts::default()
            };
            Host {
                online: Some(number % 3 != 2),
                unsupported: number % 5 == 4,
                ..Host::new(HostId::from(number as u64), &texts)
            }
        });
        // Every even host is also named by its uuid.
        let names = (0..hosts + unknown)
            .map(|number| format!("host-{number}"))
            .chain((0..hosts).step_by(2).map(|number| format!("uuid-{number}")));
        let targets = Targets {
            hosts: names.collect(),
            ..Targets::default()
        };
        let candidates = Candidates {
            named: named.collect(),
            ..Candidates::default()
        };
        let offline = if skip {
            OfflineHosts::Skip
        } else {
            OfflineHosts::Wait
        };
        let limits = Limits {
            max_bytes,
            ..LIMITS
        };
        Campaign::new(Roster::new(&targets, candidates), &limits, offline)
    }

    fn rows(count: usize) -> Answer {
        let rows = vec![json!({"pid": "1"}); count];
        let keep = Keep {
            rows: 5,
            bytes: usize::MAX,
        };
        Answer::Rows(Rows::read(&json!(rows).to_string(), &[], keep).unwrap())
    }

    #[test]
    fn the_first_answer_counts_and_foreign_hosts_do_not() {
        let mut campaign = campaign(2, 0, LIMITS.max_bytes, false);
        campaign.started(Asked::All, SystemTime::UNIX_EPOCH);
        let id = HostId::from("0");
        assert_eq!(
            campaign.record(&id, rows(1), Duration::ZERO),
            Recorded::New(0)
        );
        let late = Answer::Error("late".into());
        assert_eq!(
            campaign.record(&id, late, Duration::ZERO),
            Recorded::Repeated
        );
        assert_eq!(
            campaign.record(&"9".into(), rows(1), Duration::ZERO),
            Recorded::Foreign
        );
        assert_eq!(campaign.status(Some(0)), Status::Ok);
        assert_eq!(campaign.status(Some(1)), Status::NoAnswer);
        assert_eq!((campaign.responded(), campaign.rows()), (1, 1));
        assert!(!campaign.is_finished());
    }

    #[test]
    fn skip_does_not_wait_for_offline_hosts() {
        let mut campaign = campaign(3, 0, LIMITS.max_bytes, true);
        campaign.started(Asked::All, SystemTime::UNIX_EPOCH);
        for id in ["0", "1"] {
            assert!(!campaign.is_finished());
            campaign.record(&id.into(), rows(0), Duration::ZERO);
        }
        assert!(campaign.is_finished() && !campaign.all_answered());
        assert_eq!(campaign.status(Some(2)), Status::Offline);
    }

    #[test]
    fn hosts_asked_one_by_one_are_not_asked_before_their_turn() {
        let mut campaign = campaign(2, 0, LIMITS.max_bytes, false);
        campaign.started(Asked::OneByOne, SystemTime::UNIX_EPOCH);
        campaign.asked(&"1".into());
        assert_eq!(campaign.status(Some(0)), Status::NotAsked);
        assert_eq!(campaign.status(Some(1)), Status::NoAnswer);
        assert_eq!(campaign.status(None), Status::Unknown);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_order_repetition_and_loss_of_answers_keeps_the_invariant(
            hosts in 1usize..8,
            unknown in 0usize..3,
            answers in prop::collection::vec((0usize..10, 0usize..9, any::<bool>()), 0..30),
            max_bytes in 0usize..4_000,
            skip in any::<bool>(),
            gone in prop::collection::vec((0usize..30, 0usize..10), 0..4),
        ) {
            let mut campaign = campaign(hosts, unknown, max_bytes, skip);
            campaign.started(Asked::All, SystemTime::UNIX_EPOCH);
            let mut first = HashMap::new();
            for (_, number) in gone.iter().filter(|(step, _)| *step >= answers.len()) {
                campaign.offline(&HostId::from(*number as u64));
            }
            for (step, (number, count, fails)) in answers.into_iter().enumerate() {
                let answer = if fails { Answer::Error("x".repeat(count)) } else { rows(count) };
                let after = Duration::from_millis(step as u64);
                for (_, number) in gone.iter().filter(|(when, _)| *when == step) {
                    campaign.offline(&HostId::from(*number as u64));
                }
                match campaign.record(&HostId::from(number as u64), answer, after) {
                    Recorded::New(index) => {
                        prop_assert_eq!(campaign.roster().hosts[index].id.number(), Some(number as u64));
                        prop_assert!(first.insert(index, (count, fails)).is_none());
                    }
                    Recorded::Repeated => prop_assert!(number < hosts),
                    Recorded::Foreign => prop_assert!(number >= hosts || number % 5 == 4),
                }
            }
            prop_assert_eq!(campaign.responded(), first.len());
            let phones = (0..hosts).filter(|host| host % 5 == 4).count();
            prop_assert_eq!(campaign.targeted(), hosts - phones);
            prop_assert_eq!(campaign.to_ask().len(), hosts - phones - first.len());
            prop_assert_eq!(campaign.all_answered(), first.len() == hosts - phones);
            let mut bytes = 0;
            for target in &campaign.roster().targets {
                let status = campaign.status(target.host());
                let expected = target.host().and_then(|host| first.get(&host));
                prop_assert_eq!(status.answered(), expected.is_some());
                prop_assert_eq!(status == Status::Unknown, target.host().is_none());
                let is_phone = target.host().is_some_and(|host| {
                    campaign.roster().hosts[host].unsupported
                });
                prop_assert_eq!(status == Status::Unsupported, is_phone);
                match (campaign.answer(target.host()).map(|kept| &kept.result), expected) {
                    (Some(Ok(kept)), Some((count, false))) => {
                        prop_assert_eq!(kept.received, *count);
                        let rows = kept.rows.as_ref().unwrap();
                        prop_assert_eq!(kept.truncated, rows.kept() < *count);
                        bytes += rows.json().len().saturating_sub(2);
                    }
                    (Some(Err(_)), Some((_, true))) | (None, None) => {}
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert!(bytes <= max_bytes);
            if skip {
                let is_gone = |host| host % 3 == 2 || host % 5 == 4 || gone.iter().any(|(_, gone)| *gone == host);
                let silent_online = (0..hosts).any(|host| !is_gone(host) && !first.contains_key(&host));
                prop_assert_eq!(campaign.is_finished(), !silent_online);
            }
        }
    }
}
