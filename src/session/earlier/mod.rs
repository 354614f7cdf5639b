//! `--resume FILE`: an earlier document of the same step, and what of it a run goes on with. Whoever
//! answered then (with rows, without, or with osquery's error: each is an answer) is not asked again.

mod read;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::failure::Failure;
use super::run::server_of;
use crate::allowlist::Statement;
use crate::campaign::Status;
use crate::campaign::earlier::{Came, EarlierAnswer, EarlierTarget};
use crate::campaign::host::Answer;
use crate::campaign::rows::{Keep, Rows, RowsError};
use crate::memory;
use crate::notices::Notices;
use crate::printable::listed;
use crate::regular_file::{self, Links};
use crate::step::model::RenderedStep;

/// Bytes of an earlier document at most.
const MOST_BYTES: usize = 1 << 30;
/// A byte of it takes no more than so many of memory, itself not counted: its text, and its rows as they are
/// kept.
const IN_MEMORY: usize = 2;

/// What an earlier document says.
#[derive(Debug)]
pub(crate) struct Earlier {
    /// All of it; rows are cut out of it when it is known how many are wanted.
    text: String,
    run: String,
    as_of: SystemTime,
    server: Map<String, Value>,
    template: String,
    parameters: Map<String, Value>,
    sql: String,
    campaigns: Vec<String>,
    queued_until: Option<SystemTime>,
    hosts: Vec<EarlierHost>,
}

/// What it says of one key.
#[derive(Debug)]
struct EarlierHost {
    key: String,
    /// Where in the text.
    at: usize,
    status: Status,
    /// Where its rows are.
    rows: Option<Range<usize>>,
    received: usize,
    error: Option<String>,
    hostname: Option<String>,
    uuid: Option<String>,
    last_seen: Option<String>,
    answered_at: Option<SystemTime>,
    answered_after: Duration,
}

/// What a run of the same step goes on with.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// The earlier run's id.
    pub run: String,
    /// What each of its targets brought.
    pub targets: Vec<EarlierTarget>,
    /// Its campaigns at the server.
    pub campaigns: Vec<String>,
    /// Until when the server keeps them for silent hosts, where it does.
    pub queued_until: Option<SystemTime>,
}

impl Earlier {
    /// Reads the file that `--resume` names.
    ///
    /// # Errors
    /// `usage`, where it can't be read or is no document of `run`.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let content = regular_file::read(path, MOST_BYTES, Links::Follow)
            .map_err(|error| Failure::of_earlier_file(path, error))?;
        memory::asked(content.bytes.len().saturating_mul(IN_MEMORY))
            .map_err(|refused| Failure::no_memory("reading the earlier document", refused))?;
        read::read(content.bytes).map_err(|wrong| Failure::of_earlier(path, &wrong))
    }

    /// Reads the document of an earlier run of this process.
    ///
    /// # Errors
    /// `internal`, where it is none.
    pub(crate) fn of_text(run: &str, document: &str) -> Result<Self, Failure> {
        read::read(document.as_bytes().to_vec())
            .map_err(|wrong| Failure::of_earlier(Path::new(run), &wrong))
    }

    /// What ages in the step's parameters count back from, as they did then: the SQL is the same only so.
    pub(crate) fn as_of(&self) -> SystemTime {
        self.as_of
    }

    /// What a run of this step goes on with. Rows keep to this run's caps, and pass its redactor.
    ///
    /// # Errors
    /// `usage`, where the document is of another step, or what it says of a host can't be.
    pub(crate) fn resumed(
        self,
        path: &Path,
        step: &RenderedStep,
        statement: &Statement,
        keep: Keep,
    ) -> Result<Resumed, Failure> {
        if let Some(difference) = self.difference(step, statement) {
            return Err(Failure::of_earlier(path, &difference));
        }
        let notices = Notices::unheard();
        for secret in &step.secrets {
            notices.learn(secret);
        }
        let written: HashSet<String> = step.targets.written().into_iter().collect();
        let mut targets = Vec::with_capacity(self.hosts.len());
        for host in &self.hosts {
            let came = self
                .came(host, keep, &notices)
                .map_err(|wrong| Failure::of_earlier(path, &wrong))?;
            let hostname = host.hostname.as_deref().unwrap_or(&host.key);
            targets.push(EarlierTarget {
                // As with what a server says: names that the step wrote stay as they are.
                key: match written.contains(&host.key) {
                    true => host.key.clone(),
                    false => notices.name(&host.key),
                },
                hostname: notices.name(hostname),
                uuid: notices.id(host.uuid.as_deref().unwrap_or_default()),
                last_seen: host.last_seen.as_deref().map(|seen| notices.id(seen)),
                came,
            });
        }
        Ok(Resumed {
            run: self.run,
            targets,
            campaigns: self.campaigns,
            queued_until: self.queued_until,
        })
    }

    /// In what it differs from the step.
    fn difference(&self, step: &RenderedStep, statement: &Statement) -> Option<String> {
        let server = server_of(&step.server);
        for (field, value) in &server {
            if self.server.get(field) == Some(value) {
                continue;
            }
            return Some(match field.as_str() {
                "backend" => {
                    "it is from another kind of server than this step's (`backend`)".into()
                }
                "url" => "it is from another server than this step's (`base_url`)".into(),
                field => format!("it is of another `{field}` of the server than this step"),
            });
        }
        if self.template != step.template.name {
            return Some("it is of another template than this step's".into());
        }
        if self.sql == statement.sql() {
            return None;
        }
        let (then, now) = (&self.parameters, &step.template.params);
        let mut names: Vec<&String> = then.keys().chain(now.keys()).collect();
        names.retain(|name| then.get(*name) != now.get(*name));
        names.sort_unstable();
        names.dedup();
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        Some(match names.as_slice() {
            [] => "its SQL is not this step's, though template and parameters are the same: the template has changed since".into(),
            names => format!(
                "its SQL is not this step's: the parameters differ ({})",
                listed(names)
            ),
        })
    }

    fn came(&self, host: &EarlierHost, keep: Keep, notices: &Notices) -> Result<Came, String> {
        let (Some(range), Some(at)) = (&host.rows, host.answered_at) else {
            return Ok(match host.status {
                Status::NoAnswer | Status::Offline => Came::Silence,
                _ => Came::Nothing,
            });
        };
        let answer = if host.status == Status::Error {
            Answer::Error(notices.shown(host.error.as_deref().unwrap_or_default()))
        } else {
            let json = self.text.get(range.clone()).unwrap_or("[]");
            let rows = rows(json, keep, notices);
            let rows = rows.map_err(|error| match error {
                // Its place is one in the rows.
                RowsError::NotOsquerys(_) => {
                    self.wrong_rows(host, "these rows are no list of objects of plain values")
                }
                error => self.wrong_rows(host, &error.to_string()),
            })?;
            Answer::Rows(rows.out_of(host.received))
        };
        Ok(Came::Answer(EarlierAnswer {
            at,
            after: host.answered_after,
            answer,
        }))
    }
}

/// Rows without this run's tokens and passwords.
fn rows(json: &str, keep: Keep, notices: &Notices) -> Result<Rows, RowsError> {
    let rows = Rows::read(json, &[], keep)?;
    if notices.value(rows.json()) == rows.json() {
        return Ok(rows);
    }
    let whole: Value = serde_json::from_str(rows.json()).unwrap_or_default();
    let clean = Rows::read(&without_secrets(whole, notices).to_string(), &[], keep)?;
    Ok(clean.out_of(rows.received()))
}

fn without_secrets(value: Value, notices: &Notices) -> Value {
    match value {
        Value::String(text) => notices.value(&text).into(),
        Value::Array(items) => {
            let items = items.into_iter();
            items.map(|item| without_secrets(item, notices)).collect()
        }
        Value::Object(entries) => {
            let entries = entries.into_iter();
            let entries =
                entries.map(|(key, value)| (notices.value(&key), without_secrets(value, notices)));
            Value::Object(entries.collect())
        }
        other => other,
    }
}
