//! A scenario's hosts: who they are, what their tables hold and how they behave when they are asked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::HostIdentifier;
use super::parse::{maybe_milliseconds, milliseconds};

/// A row as a scenario writes it: column to scalar.
pub type Cells = Map<String, Value>;

/// One host, or `count` hosts made from one pattern. `{n}` and `{n:04}` in `hostname`, `uuid`, `serial`,
/// `address` and `display_name` stand for the host's number within the pattern.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// Hostname, or its pattern.
    pub hostname: String,
    /// How many hosts the pattern makes.
    #[serde(default = "one")]
    pub count: usize,
    /// The first `{n}`.
    #[serde(default)]
    pub first: usize,
    /// The servers' id of the (first) host; by default the first free one.
    #[serde(default)]
    pub id: Option<u64>,
    /// What Fleet shows, the computer's own name; the hostname by default.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Its address; none at Fleet and 127.0.0.1 at osctrl by default.
    #[serde(default)]
    pub address: Option<String>,
    /// Hardware uuid; made up by default. Upper case, as agents send it. At Fleet hosts may share one.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Hardware serial; made up by default, and may be empty.
    #[serde(default)]
    pub serial: Option<String>,
    /// osquery's platform name: `ubuntu`, `darwin`, `windows`, …
    #[serde(default = "ubuntu")]
    pub platform: String,
    /// What the servers say of the host before it answers anything.
    #[serde(default)]
    pub status: HostStatus,
    /// When the servers last saw it (RFC 3339); by default now, or half an hour ago when offline.
    #[serde(default)]
    pub last_seen: Option<String>,
    /// When it enrolled (RFC 3339); by default when it was last seen, of a missing host 60 days ago.
    #[serde(default)]
    pub enrolled_at: Option<String>,
    /// False: a change enrols it later.
    #[serde(default = "yes")]
    pub enrolled: bool,
    /// The check-in interval that Fleet reports, in seconds.
    #[serde(default)]
    pub distributed_interval: u64,
    /// How often this host really checks in; the scenario's interval by default.
    #[serde(
        default,
        rename = "check_in_ms",
        deserialize_with = "maybe_milliseconds"
    )]
    pub check_in: Option<Duration>,
    /// Fleet labels beside the built-in ones.
    #[serde(default)]
    pub labels: Vec<String>,
    /// osctrl tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Fleet team.
    #[serde(default)]
    pub team_id: Option<u64>,
    /// osctrl environment; the first one by default.
    #[serde(default)]
    pub environment: Option<String>,
    /// AiSOC tenant; the first one by default.
    #[serde(default)]
    pub tenant: Option<String>,
    /// What the host enrols under at AiSOC's own service; as the scenario says by default.
    #[serde(default)]
    pub host_identifier: Option<HostIdentifier>,
    /// Tables that replace or join the built-in ones on this host.
    #[serde(default)]
    pub tables: BTreeMap<String, TableSpec>,
    /// What the host does when it is asked.
    #[serde(default)]
    pub behaviour: Behaviour,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

fn ubuntu() -> String {
    "ubuntu".into()
}

impl HostSpec {
    /// An online Linux host of this name that answers what the SQL asks for.
    pub fn named(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            count: 1,
            first: 0,
            id: None,
            display_name: None,
            address: None,
            uuid: None,
            serial: None,
            platform: ubuntu(),
            status: HostStatus::Online,
            last_seen: None,
            enrolled_at: None,
            enrolled: true,
            distributed_interval: 0,
            check_in: None,
            labels: Vec::new(),
            tags: Vec::new(),
            team_id: None,
            environment: None,
            tenant: None,
            host_identifier: None,
            tables: BTreeMap::new(),
            behaviour: Behaviour::default(),
        }
    }

    /// `count` such hosts; the hostname is a pattern with `{n}`.
    pub fn many(count: usize, hostname: impl Into<String>) -> Self {
        Self {
            count,
            ..Self::named(hostname)
        }
    }

    /// The same host with another answer.
    #[must_use]
    pub fn answering(mut self, answer: Answer) -> Self {
        self.behaviour.answer = answer;
        self
    }

    /// The same host, slower by this much after its check-in.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.behaviour.delay = delay;
        self
    }

    /// The same host, offline.
    #[must_use]
    pub fn offline(mut self) -> Self {
        self.status = HostStatus::Offline;
        self
    }

    /// The same host, not seen for a month.
    #[must_use]
    pub fn missing(mut self) -> Self {
        self.status = HostStatus::Missing;
        self
    }

    /// The same host, which a change enrols later.
    #[must_use]
    pub fn not_enrolled(mut self) -> Self {
        self.enrolled = false;
        self
    }

    /// The same host on another platform.
    #[must_use]
    pub fn on(mut self, platform: impl Into<String>) -> Self {
        self.platform = platform.into();
        self
    }

    /// The same host with one more Fleet label.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.labels.push(label.into());
        self
    }

    /// The same host with this table.
    #[must_use]
    pub fn with_table(mut self, name: impl Into<String>, table: TableSpec) -> Self {
        self.tables.insert(name.into(), table);
        self
    }
}

/// What the servers say of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostStatus {
    /// Checks in.
    #[default]
    Online,
    /// Does not check in, unless it comes back.
    Offline,
    /// Offline, and not seen for 31 days.
    Missing,
}

/// What a table holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum TableSpec {
    /// This many made-up rows (built-in tables only).
    Generate(Generate),
    /// These rows; the columns are those of the built-in table, or every column that a row names.
    Rows(Vec<Cells>),
}

impl TableSpec {
    /// This many made-up rows.
    pub fn generate(rows: usize) -> Self {
        Self::Generate(Generate { generate: rows })
    }
}

/// `{generate: N}`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// How many rows.
    pub generate: usize,
}

/// What a host does when it is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    /// What it answers.
    pub answer: Answer,
    /// How long it works between its check-in and its answer.
    #[serde(rename = "delay_ms", deserialize_with = "milliseconds")]
    pub delay: Duration,
    /// How many check-ins pass before it takes the query up: 1 is the next one.
    pub check_ins: u32,
    /// How many times it answers.
    pub times: u32,
    /// How long after an answer the next one comes, where `times` is more than one.
    #[serde(rename = "again_ms", deserialize_with = "milliseconds")]
    pub again: Duration,
    /// An offline host checks in again this long after it was asked.
    #[serde(rename = "comes_back_ms", deserialize_with = "maybe_milliseconds")]
    pub comes_back: Option<Duration>,
    /// osctrl: the item is stored this much later than the counters move.
    #[serde(rename = "item_lag_ms", deserialize_with = "milliseconds")]
    pub item_lag: Duration,
    /// osctrl: the counters move this much later than the item is stored.
    #[serde(rename = "counter_lag_ms", deserialize_with = "milliseconds")]
    pub counter_lag: Duration,
    /// AiSOC's own service: so many answers are lost on their way. The query is handed out again at the next
    /// check-in, and runs again.
    pub lost_answers: usize,
    /// The answer carries this uuid instead of the host's own: a host that nobody asked.
    pub answers_as: Option<String>,
    /// Fleet: it answers campaigns that it is not a target of, as any enrolled host can (fleet#53259).
    pub intrudes: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            answer: Answer::Sql,
            delay: Duration::ZERO,
            check_ins: 1,
            times: 1,
            again: Duration::ZERO,
            comes_back: None,
            item_lag: Duration::ZERO,
            counter_lag: Duration::ZERO,
            lost_answers: 0,
            answers_as: None,
            intrudes: false,
        }
    }
}

/// What a host answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What SQLite makes of the statement over the host's tables.
    Sql,
    /// No rows, whatever the statement is.
    None,
    /// Nothing, ever, though it checks in.
    Silent,
    /// These rows, whatever the statement is.
    Rows(Vec<Cells>),
    /// osquery's error text.
    Error(String),
    /// Many rows of a given size, made while they are sent.
    Huge(Huge),
    /// Many rows of many columns, made while they are sent.
    Wide(Wide),
    /// A status and no result: osctrl counts it and stores nothing; on Fleet an error without rows.
    StatusOnly(i64),
    /// This text where the rows' JSON belongs, well-formed or not.
    RawRows(String),
    /// An answer in which the rows are missing: Fleet's result has no `rows`, osctrl's `data` no `result`.
    WithoutRows,
    /// This text, well-formed or not, in place of all that a host says: Fleet's `data` of the result,
    /// osctrl's `data`. `{hostname}`, `{uuid}`, `{serial}`, `{id}` and `{n}` are filled in.
    RawData(String),
}

/// `{rows: N, columns: N}`: cells of a few bytes; the last column is `number`, the row's.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wide {
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
}

/// `{rows: N, row_bytes: N}`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Huge {
    /// How many rows.
    pub rows: usize,
    /// How many bytes of JSON each row has, about.
    pub row_bytes: usize,
}
