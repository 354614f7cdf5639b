//! A document of `run` (or of `check`) as it was written, read back from its JSON or its lines: what is known
//! of the run and of each target, without the rows. What hosts and servers wrote is data here, of any kind.

mod read;
#[cfg(test)]
mod tests;
mod visit;

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

pub(crate) use read::{ReadError, Sink, read};

/// A row: osquery's columns in their order, each with a text, a number, a boolean or null.
pub(crate) type Row = Map<String, Value>;

/// What a document says beside its rows.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Whether rows are missing, as the document says; true where its end is missing.
    pub partial: bool,
    /// Whether a signal ended the run.
    pub cancelled: bool,
    /// Which run it is of; nothing where the end is missing, or another program wrote it.
    pub run: Run,
    /// Which server was asked.
    pub campaign: Option<Campaign>,
    /// Why the run failed.
    pub error: Option<Failed>,
    /// What `check` found.
    pub planned: Option<Planned>,
    /// Until when the query stays with the server.
    pub queued_until: Option<String>,
    /// Every target.
    pub hosts: Vec<Host>,
    /// Where lines end before the summary came.
    pub cut: Option<Cut>,
    index: HashMap<String, usize>,
}

/// Which run it was, and what it asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    pub id: Option<String>,
    pub version: Option<String>,
    pub step: Option<String>,
    pub resumes: Option<String>,
    pub template: Option<String>,
    pub parameters: Option<Map<String, Value>>,
    pub sql: Option<String>,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub traceparent: Option<String>,
    pub note: Option<String>,
}

/// Which server was asked, and under what name it knows the query.
#[derive(Debug, Deserialize)]
pub(crate) struct Campaign {
    pub backend: String,
    pub id: Option<String>,
}

/// Why a run failed.
#[derive(Debug, Deserialize)]
pub(crate) struct Failed {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

/// What `check` would have sent, and to whom.
#[derive(Debug, Deserialize)]
pub(crate) struct Planned {
    pub sql: String,
    pub hosts: Vec<String>,
    pub unknown: Vec<String>,
}

/// One target.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Host {
    /// The name that it stands under.
    #[serde(skip)]
    pub key: String,
    /// How it stands; a later version may know other words than this one.
    pub status: String,
    /// How many rows it sent.
    #[serde(rename = "rows")]
    pub received: Option<u64>,
    pub error: Option<String>,
    pub hostname: Option<String>,
    pub uuid: Option<String>,
    pub last_seen: Option<String>,
    pub answered_at: Option<String>,
    pub truncated: bool,
    /// What its key was compared with, where that is none of what identifies a host.
    pub matched: Option<String>,
    /// Enrolled names that resemble it.
    pub near: Vec<String>,
    /// How many of its rows are here.
    #[serde(skip)]
    pub kept: u64,
    /// Whether its rows, or that there are none, stand here.
    #[serde(skip)]
    pub present: bool,
}

/// Where the text ends that should have gone on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Line, from one.
    pub line: usize,
    /// Whether it is in the middle of a line.
    pub within: bool,
}

impl Recorded {
    /// The target of this key.
    pub fn host(&self, key: &str) -> Option<(usize, &Host)> {
        let index = *self.index.get(key)?;
        Some((index, &self.hosts[index]))
    }

    /// The target of this key, which is new where there was none.
    fn host_mut(&mut self, key: &str) -> &mut Host {
        let index = match self.index.get(key) {
            Some(index) => *index,
            None => {
                self.hosts.push(Host {
                    key: key.to_owned(),
                    ..Host::default()
                });
                self.index.insert(key.to_owned(), self.hosts.len() - 1);
                self.hosts.len() - 1
            }
        };
        &mut self.hosts[index]
    }
}

impl Host {
    /// Whether it answered.
    pub fn answered(&self) -> bool {
        matches!(self.status.as_str(), "ok" | "error")
    }

    /// How many rows it sent that do not stand here.
    pub fn missing(&self) -> u64 {
        self.received.unwrap_or(self.kept).saturating_sub(self.kept)
    }

    /// Whether all that it answered stands here.
    pub fn whole(&self) -> bool {
        self.status == "ok" && self.present && !self.truncated && self.missing() == 0
    }

    /// Its name: the hostname, where the key is another of its names.
    pub fn name(&self) -> &str {
        self.hostname.as_deref().unwrap_or(&self.key)
    }

    /// Whether a person means it by this name.
    pub fn is_called(&self, name: &str) -> bool {
        let others = [&self.hostname, &self.uuid].into_iter().flatten();
        self.key == name
            || others
                .into_iter()
                .any(|other| other.eq_ignore_ascii_case(name))
    }

    /// How it stands, in words for people.
    pub fn words(&self) -> &str {
        match self.status.as_str() {
            "ok" if !self.present => "answered, but the rows are not in the document",
            "ok" => "answered",
            "error" => "answered with an error",
            "no_answer" => "asked, no answer",
            "offline" => "offline, no answer",
            "not_asked" => "not asked, the run ended before that",
            "unsupported" => "not asked, phones and tablets run no osquery",
            "unknown" => "not enrolled, or not visible to these credentials",
            other => other,
        }
    }
}
