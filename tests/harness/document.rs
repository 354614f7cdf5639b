//! The output's types, written again from the contract: the program's own are not used, so that a
//! change of them is seen.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

/// The document of `run` and `check`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub results: BTreeMap<String, Vec<BTreeMap<String, Value>>>,
    pub partial: bool,
    pub timed_out_hosts: Vec<String>,
    #[serde(default)]
    pub failed_hosts: Vec<String>,
    pub executed: bool,
    #[serde(default)]
    pub hosts: BTreeMap<String, Host>,
    pub campaign: Option<Campaign>,
    pub queued_until: Option<String>,
    #[serde(default)]
    pub truncated: bool,
    #[serde(default)]
    pub cancelled: bool,
    pub error: Option<Error>,
    pub planned: Option<Planned>,
    pub run: Run,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    pub status: String,
    pub rows: Option<u64>,
    pub error: Option<String>,
    pub hostname: Option<String>,
    pub uuid: Option<String>,
    pub matched: Option<String>,
    #[serde(default)]
    pub near: Vec<String>,
    pub last_seen: Option<String>,
    pub answered_ms: Option<u64>,
    pub answered_at: Option<String>,
    #[serde(default)]
    pub truncated: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    pub backend: String,
    pub id: Option<String>,
    #[serde(default)]
    pub other_ids: Vec<String>,
    pub saved_query: Option<SavedQuery>,
    pub targeted: u64,
    pub responded: u64,
    pub rows: u64,
    pub elapsed_ms: u64,
    pub timings: Timings,
    #[serde(default)]
    pub may_be_running: bool,
}

/// Where the time of a run went.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    pub connect_ms: Option<u64>,
    pub auth_ms: Option<u64>,
    pub resolve_ms: Option<u64>,
    pub dispatch_ms: Option<u64>,
    pub first_answer_ms: Option<u64>,
    pub last_answer_ms: Option<u64>,
}

impl Timings {
    /// What holds of every run that took so long: its parts follow each other.
    #[track_caller]
    fn assert_invariant(&self, elapsed_ms: u64) {
        let parts = [
            self.connect_ms,
            self.auth_ms,
            self.resolve_ms,
            self.dispatch_ms,
            self.last_answer_ms,
        ];
        let sum: u64 = parts.into_iter().flatten().sum();
        assert!(sum <= elapsed_ms, "{self:?} of {elapsed_ms}");
        assert!(self.first_answer_ms <= self.last_answer_ms, "{self:?}");
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedQuery {
    pub id: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Error {
    pub code: String,
    pub exit_code: i32,
    pub message: String,
    pub hint: Option<String>,
    pub retryable: bool,
    #[serde(default)]
    pub details: Vec<Detail>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    pub path: String,
    pub rule: String,
    pub message: String,
    pub line: Option<u64>,
    pub column: Option<u64>,
    pub stage: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    pub sql: String,
    pub hosts: Vec<String>,
    pub unknown: Vec<String>,
    #[serde(default)]
    pub unresolved: bool,
}

/// Which run a document is of.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub id: String,
    pub version: String,
    pub step: Option<String>,
    pub template: Option<String>,
    pub parameters: Option<serde_json::Map<String, Value>>,
    pub sql: Option<String>,
    pub server: Option<BTreeMap<String, String>>,
    pub as_of: Option<String>,
    pub resumes: Option<String>,
    pub started_at: String,
    pub finished_at: String,
    pub traceparent: Option<String>,
    pub note: Option<String>,
}

impl Run {
    /// What holds of every run.
    #[track_caller]
    fn assert_invariant(&self) {
        assert_eq!(self.version, env!("CARGO_PKG_VERSION"));
        // Moments of one form: their order is their text's.
        assert!(self.started_at <= self.finished_at, "{self:?}");
        assert!(
            self.started_at.starts_with("20") && self.finished_at.ends_with('Z'),
            "{self:?}"
        );
    }
}

/// Takes out what says which run a document is of, and when: it differs from run to run. What holds of it
/// is [`Document::assert_invariant`]'s to say.
pub fn take_evidence(document: &mut Value) {
    let Value::Object(entries) = document else {
        return;
    };
    entries.shift_remove("run");
    entries.shift_remove("executed");
    let campaign = entries.get_mut("campaign").and_then(Value::as_object_mut);
    if let Some(campaign) = campaign {
        campaign.shift_remove("timings");
    }
    let hosts = entries.get_mut("hosts").and_then(Value::as_object_mut);
    for host in hosts.into_iter().flat_map(|hosts| hosts.values_mut()) {
        if let Value::Object(host) = host {
            host.shift_remove("answered_at");
        }
    }
}

/// A line of `--format ndjson`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line {
    Host {
        host: String,
        status: String,
        error: Option<String>,
        hostname: Option<String>,
        uuid: Option<String>,
        matched: Option<String>,
        answered_at: String,
        rows: Vec<BTreeMap<String, Value>>,
        #[serde(default)]
        truncated: bool,
    },
    Summary {
        partial: bool,
        timed_out_hosts: Vec<String>,
        executed: bool,
        #[serde(default)]
        hosts: BTreeMap<String, Host>,
        campaign: Option<Box<Campaign>>,
        #[serde(default)]
        cancelled: bool,
        error: Option<Error>,
        run: Box<Run>,
    },
}

impl Document {
    /// Every target is in exactly one of `results` and `timed_out_hosts`, and `hosts` says the same.
    #[track_caller]
    pub fn assert_invariant(&self) {
        let answered: BTreeSet<&String> = self.results.keys().collect();
        let silent: BTreeSet<&String> = self.timed_out_hosts.iter().collect();
        assert_eq!(
            silent.len(),
            self.timed_out_hosts.len(),
            "a name twice: {self:?}"
        );
        assert!(answered.is_disjoint(&silent), "in both: {self:?}");
        let all: BTreeSet<&String> = answered.union(&silent).copied().collect();
        if !self.hosts.is_empty() || !all.is_empty() {
            assert_eq!(self.hosts.keys().collect::<BTreeSet<_>>(), all);
        }
        for (name, host) in &self.hosts {
            let has_answered = matches!(host.status.as_str(), "ok" | "error");
            assert_eq!(has_answered, answered.contains(name), "{name}: {self:?}");
            assert_eq!(host.status == "error", self.failed_hosts.contains(name));
            assert_eq!(host.answered_ms.is_some(), has_answered);
            assert_eq!(host.answered_at.is_some(), has_answered);
            if let Some(at) = &host.answered_at {
                // What is kept came before.
                let since = match self.run.resumes {
                    None => self.run.started_at.as_str(),
                    Some(_) => "",
                };
                assert!(
                    since <= at.as_str() && *at <= self.run.finished_at,
                    "{self:?}"
                );
            }
            if let Some(rows) = self.results.get(name).filter(|_| host.status == "ok") {
                let received = host.rows.expect("a number of rows");
                assert_eq!(host.truncated, (rows.len() as u64) < received);
            }
        }
        self.run.assert_invariant();
        if let Some(campaign) = &self.campaign {
            campaign.timings.assert_invariant(campaign.elapsed_ms);
            let answered = campaign.timings.last_answer_ms.is_some();
            let kept = self.run.resumes.is_some();
            assert!(kept || answered == (campaign.responded > 0), "{self:?}");
        }
        let asked = |host: &Host| matches!(host.status.as_str(), "ok" | "error" | "no_answer");
        if self.hosts.values().any(asked) {
            assert!(self.executed, "{self:?}");
        }
        if let Some(error) = &self.error {
            assert!(!self.cancelled && self.partial && !error.message.contains('\n'));
        }
    }

    /// The rows of one target, as text: osquery sends nothing else.
    #[track_caller]
    pub fn rows(&self, target: &str) -> Vec<BTreeMap<&str, &str>> {
        let rows = self.results.get(target);
        let rows = rows.unwrap_or_else(|| panic!("{target} has no rows in {self:?}"));
        let cell = |(column, value)| -> (&str, &str) {
            let (column, value): (&String, &Value) = (column, value);
            (column, value.as_str().expect("osquery's values are text"))
        };
        rows.iter()
            .map(|row| row.iter().map(cell).collect())
            .collect()
    }

    /// Each target's status.
    pub fn statuses(&self) -> BTreeMap<&str, &str> {
        let hosts = self.hosts.iter();
        hosts
            .map(|(name, host)| (name.as_str(), host.status.as_str()))
            .collect()
    }

    /// The campaign.
    #[track_caller]
    pub fn campaign(&self) -> &Campaign {
        self.campaign.as_ref().expect("a campaign")
    }
}
