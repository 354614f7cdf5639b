//! `audit_log`: two JSON lines for each run, under one run id: the intent before anything is sent, the
//! outcome at the end. Never a secret, never rows. How a line gets into the file, `file.rs` knows.

mod file;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::error::PolicyError;
use crate::exit::Code;
use crate::notices::Notices;
use crate::step::model::RenderedStep;
use crate::time::rfc3339;
use file::{Sync, append};

/// How long the outcome waits for other runs' lines.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries to lock the file.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes of names in a line at most; what is left out is counted.
const MAX_NAMES_BYTES: usize = 256 * 1024;

/// The file that runs are recorded in.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

/// Which run is recorded.
#[derive(Debug, Clone, Copy)]
pub struct ThisRun<'a> {
    /// Its id.
    pub id: &'a str,
    /// The id of the one that it goes on with.
    pub resumes: Option<&'a str>,
    /// What stood between whoever asked and this program, where something did.
    pub via: Option<Via<'a>>,
    /// When it began.
    pub started: Instant,
}

/// What a run was asked for through.
#[derive(Debug, Clone, Copy)]
pub struct Via<'a> {
    /// What the client speaks.
    pub protocol: &'static str,
    /// What it calls itself, and its version.
    pub client: Option<&'a (String, String)>,
}

/// A run whose intent is recorded. Its outcome is recorded by [`OpenRun::conclude`], or, where the run
/// breaks down before that, when it is dropped.
#[derive(Debug)]
pub struct OpenRun {
    path: PathBuf,
    run: String,
    started: Instant,
    notices: Notices,
    concluded: bool,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// `ok`, `partial`, `interrupted`, `terminated`, or the code of the failure.
    pub code: &'static str,
    /// The exit status.
    pub exit_status: u8,
    /// The campaign's id at the server, once there was one.
    pub campaign: Option<String>,
    /// Hosts that were asked.
    pub targeted: usize,
    /// Hosts that answered.
    pub responded: usize,
    /// Rows that came.
    pub rows: usize,
    /// The rows are not all that was asked for.
    pub partial: bool,
    /// The server was not known to have stopped.
    pub may_be_running: bool,
    /// Until when the query stays with the server for hosts that have not answered, where it does.
    pub queued_until: Option<SystemTime>,
}

impl AuditLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Whether the file can be written to, without writing.
    ///
    /// # Errors
    /// [`PolicyError::AuditLog`], where it can't.
    pub fn probe(&self) -> Result<(), PolicyError> {
        file::open(&self.path)
            .map(drop)
            .map_err(|reason| self.unusable(&reason))
    }

    /// Records what is about to be done by this run.
    ///
    /// # Errors
    /// [`PolicyError::AuditLog`] where the line can't be written until the deadline: then nothing may be sent.
    pub async fn intend(
        &self,
        step: &RenderedStep,
        run: ThisRun<'_>,
        deadline: tokio::time::Instant,
        notices: &Notices,
    ) -> Result<OpenRun, PolicyError> {
        let mut entries = intent(step);
        if let Some(resumes) = run.resumes {
            entries["resumes"] = resumes.into();
        }
        if let Some(via) = run.via {
            entries["via"] = via.protocol.into();
            if let Some((name, version)) = via.client {
                entries["client"] = json!({ "name": name, "version": version });
            }
        }
        let line = line("intent", run.id, entries, notices);
        loop {
            let written = append(&self.path, &line, Sync::Yes);
            if written.map_err(|reason| self.unusable(&reason))? {
                return Ok(OpenRun {
                    path: self.path.clone(),
                    run: run.id.to_owned(),
                    started: run.started,
                    notices: notices.clone(),
                    concluded: false,
                });
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(self.unusable("another process kept it locked until the deadline"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn unusable(&self, reason: &str) -> PolicyError {
        PolicyError::AuditLog {
            path: self.path.clone(),
            reason: reason.to_owned(),
        }
    }
}

impl OpenRun {
    /// Records how the run ended. What goes wrong is a warning: the run is over.
    pub fn conclude(mut self, outcome: &Outcome) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: &Outcome) {
        self.concluded = true;
        let mut entries = json!({
            "code": outcome.code,
            "exit_code": outcome.exit_status,
            "campaign": outcome.campaign,
            "targeted": outcome.targeted,
            "responded": outcome.responded,
            "rows": outcome.rows,
            "partial": outcome.partial,
            "elapsed_ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        if outcome.may_be_running {
            entries["may_be_running"] = true.into();
        }
        if let Some(until) = outcome.queued_until {
            entries["queued_until"] = rfc3339(until).into();
        }
        let line = line("outcome", &self.run, entries, &self.notices);
        let begun = Instant::now();
        let problem = loop {
            match append(&self.path, &line, Sync::No) {
                Ok(true) => return,
                Ok(false) if begun.elapsed() < OUTCOME_PATIENCE => std::thread::sleep(PAUSE),
                Ok(false) => break "another process keeps it locked".to_owned(),
                Err(reason) => break reason,
            }
        };
        self.notices.warn(format!(
            "the outcome of this run (`{}`) is missing in the audit log {}: {problem}",
            self.run,
            self.path.display()
        ));
    }
}

impl Drop for OpenRun {
    fn drop(&mut self) {
        if !self.concluded {
            self.record(&Outcome {
                code: Code::Internal.name(),
                exit_status: Code::Internal.status(),
                partial: true,
                may_be_running: true,
                ..Outcome::default()
            });
        }
    }
}

/// What a step is about to do.
fn intent(step: &RenderedStep) -> Value {
    let mut left_out = 0;
    let mut bytes = 0;
    let mut bounded = |names: &[String]| -> Vec<String> {
        let mut kept = Vec::new();
        for name in names {
            bytes += name.len();
            if bytes <= MAX_NAMES_BYTES {
                kept.push(name.clone());
            } else {
                left_out += 1;
            }
        }
        kept
    };
    let targets = &step.targets;
    let platforms: Vec<&str> = targets.platforms.iter().map(|one| one.name()).collect();
    let mut names = json!({
        "hosts": bounded(&targets.written()),
        "labels": bounded(&targets.labels),
        "platforms": platforms,
    });
    if !targets.teams.is_empty() {
        names["teams"] = bounded(&targets.teams).into();
    }
    if left_out > 0 {
        names["left_out"] = left_out.into();
    }
    let server = &step.server;
    let mut entries = json!({
        "uid": rustix::process::getuid().as_raw(),
        "step": step.id,
        "template": step.template.name,
        "parameters": step.template.params,
        "targets": names,
        "backend": server.access.known().name,
        "server": server.base_url.as_str(),
    });
    for (field, said) in server.access.said() {
        entries[field] = said.into();
    }
    if let Some(hours) = step.offline_hosts.queue_hours() {
        entries["queue_hours"] = hours.into();
    }
    if let Some(instance) = &step.instance {
        entries["instance"] = instance.as_str().into();
    }
    entries
}

/// One line: what it tells, of which run, when, and the rest. Secrets are taken out of every text.
fn line(event: &str, run: &str, entries: Value, notices: &Notices) -> String {
    let time = rfc3339(SystemTime::now());
    let mut whole = Map::new();
    whole.insert("event".into(), event.into());
    whole.insert("run".into(), run.into());
    whole.insert("time".into(), time.into());
    if let Value::Object(entries) = entries {
        whole.extend(
            entries
                .into_iter()
                .map(|(key, value)| (key, redacted(value, notices))),
        );
    }
    format!("{}\n", Value::Object(whole))
}

fn redacted(value: Value, notices: &Notices) -> Value {
    match value {
        Value::String(text) => notices.redact(&text).into(),
        Value::Array(items) => items
            .into_iter()
            .map(|item| redacted(item, notices))
            .collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (notices.redact(&key), redacted(value, notices)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::scratch::Scratch;

    #[test]
    fn a_run_that_breaks_down_has_an_outcome() {
        let folder = Scratch::new();
        drop(OpenRun {
            notices: Notices::unheard(),
            path: folder.at("log"),
            run: "r".into(),
            started: Instant::now(),
            concluded: false,
        });
        let line: Value = serde_json::from_str(&folder.text("log")).unwrap();
        assert_eq!(
            (&line["event"], &line["run"]),
            (&json!("outcome"), &json!("r"))
        );
        assert_eq!(
            (&line["code"], &line["exit_code"]),
            (&json!("internal"), &json!(70))
        );
    }
}
