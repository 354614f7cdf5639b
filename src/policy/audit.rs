//! `audit_log`: two JSON lines for each run, under one run id: the intent before anything is sent, the
//! outcome at the end. Never a secret, never rows. Whole lines only: each is one write under the file's
//! lock, and what a dying writer left torn is cut off by the next.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::error::PolicyError;
use crate::exit::Code;
use crate::notices::Notices;
use crate::step::model::RenderedStep;
use crate::time::rfc3339;

/// How long the outcome waits for other runs' lines.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries to lock the file.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes of names in a line at most; what is left out is counted.
const MAX_NAMES_BYTES: usize = 256 * 1024;
/// A torn line is no longer than this.
const MAX_TORN_BYTES: u64 = 1024 * 1024;
/// What to say of a file with other lines.
const NOT_OURS: &str = "it holds other lines than an audit log's: is it another file?";
/// How every line begins.
const BEGINNING: &[u8] = b"{\"event\":\"";

/// The file that runs are recorded in.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
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
        open(&self.path)
            .map(drop)
            .map_err(|reason| self.unusable(&reason))
    }

    /// Records what is about to be done. `started` is when the process began.
    ///
    /// # Errors
    /// [`PolicyError::AuditLog`] where the line can't be written until the deadline: then nothing may be sent.
    pub async fn intend(
        &self,
        step: &RenderedStep,
        started: Instant,
        deadline: tokio::time::Instant,
        notices: &Notices,
    ) -> Result<OpenRun, PolicyError> {
        let run = run_id();
        let line = line("intent", &run, intent(step), notices);
        loop {
            let written = append(&self.path, &line, Sync::Yes);
            if written.map_err(|reason| self.unusable(&reason))? {
                return Ok(OpenRun {
                    path: self.path.clone(),
                    run,
                    started,
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
        "hosts": bounded(&targets.hosts),
        "labels": bounded(&targets.labels),
        "platforms": platforms,
    });
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
        "backend": server.backend.name(),
        "server": server.base_url.as_str(),
    });
    if let Some(environment) = &server.environment {
        entries["environment"] = environment.as_str().into();
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

/// 128 random bits.
fn run_id() -> String {
    let half = || std::hash::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

/// Whether a line must be on the disk before one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    Yes,
    No,
}

/// Appends a line; false where another process has the file's lock right now.
fn append(path: &Path, line: &str, sync: Sync) -> Result<bool, String> {
    let words = |error: std::io::Error| error.kind().to_string();
    let mut file = open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(words(error)),
    }
    // Moved away (rotated) between opening and locking: once more, into the new one.
    let opened = file.metadata().map_err(words)?;
    if !fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (opened.dev(), opened.ino())) {
        return Ok(false);
    }
    let (end, torn) = mend(&mut file, opened.len())?;
    let line = match torn {
        true => format!("\n{line}"),
        false => line.to_owned(),
    };
    match file.write(line.as_bytes()) {
        Ok(written) if written == line.len() => {}
        incomplete => {
            // A full disk: better no line than a half.
            let _ = file.set_len(end);
            return Err(incomplete.map_or_else(words, |_| "no space for a whole line".into()));
        }
    }
    if sync == Sync::Yes {
        // Others may write meanwhile: waiting for the disk is most of what a line takes.
        file.unlock().map_err(words)?;
        file.sync_data().map_err(words)?;
    }
    Ok(true)
}

/// Cuts off what a writer that died left without a newline. Returns where the file ends, and whether the
/// torn line is still there (the file may be append-only).
fn mend(file: &mut File, length: u64) -> Result<(u64, bool), String> {
    let words = |error: std::io::Error| error.kind().to_string();
    let from = length.saturating_sub(MAX_TORN_BYTES);
    let mut last = [0];
    if length == 0 {
        return Ok((0, false));
    }
    // A path that was mistyped, or a link: nothing is added to another program's file.
    let mut first = [0; BEGINNING.len()];
    let known = BEGINNING
        .len()
        .min(usize::try_from(length).unwrap_or(usize::MAX));
    file.seek(SeekFrom::Start(0)).map_err(words)?;
    file.read_exact(&mut first[..known]).map_err(words)?;
    if first[..known] != BEGINNING[..known] {
        return Err(NOT_OURS.into());
    }
    file.seek(SeekFrom::Start(length - 1)).map_err(words)?;
    file.read_exact(&mut last).map_err(words)?;
    if last == *b"\n" {
        return Ok((length, false));
    }
    file.seek(SeekFrom::Start(from)).map_err(words)?;
    let mut tail = Vec::new();
    Read::by_ref(file)
        .take(length - from)
        .read_to_end(&mut tail)
        .map_err(words)?;
    let begins = tail
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map(|at| at + 1)
        .or((from == 0).then_some(0));
    // Nothing but a torn line of our own is ever cut off.
    let ours = |torn: &[u8]| torn.iter().zip(BEGINNING).all(|(one, other)| one == other);
    match begins.and_then(|at| Some((at, tail.get(at..)?))) {
        Some((at, torn)) if ours(torn) => {
            let end = from + at as u64;
            match file.set_len(end) {
                Ok(()) => Ok((end, false)),
                Err(_) => Ok((length, true)),
            }
        }
        _ => Err(NOT_OURS.into()),
    }
}

/// Opens the file to append to it; makes it where it is missing, for this process's user alone.
fn open(path: &Path) -> Result<File, String> {
    // Asked before it is opened: opening a pipe would wait for a reader.
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err("it is not a regular file".into()),
        Ok(metadata) if metadata.mode() & 0o002 != 0 => {
            return Err("every user of this machine can write to it: chmod o-w".into());
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.kind().to_string()),
    }
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "its folder does not exist".into(),
            kind => kind.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log(PathBuf);

    impl Log {
        fn new(name: &str, text: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("audit-{}-{name}", std::process::id()));
            fs::write(&path, text).unwrap();
            Self(path)
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.0).unwrap()
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }

    const WHOLE: &str = "{\"event\":\"intent\",\"run\":\"a\"}\n";

    #[test]
    fn a_torn_line_is_cut_off_wherever_it_was_torn() {
        for torn in 1..WHOLE.len() {
            let torn = &WHOLE[..torn];
            for before in ["", WHOLE] {
                let log = Log::new("torn", format!("{before}{torn}").as_bytes());
                assert_eq!(append(&log.0, WHOLE, Sync::No), Ok(true));
                let torn = if torn.ends_with('\n') { torn } else { "" };
                assert_eq!(log.text(), format!("{before}{torn}{WHOLE}"));
            }
        }
    }

    #[test]
    fn what_is_no_audit_log_is_left_alone() {
        for text in [
            "localhost",
            "a\nb",
            "root:x:0:0\n",
            "{\"level\": 1}\n",
            "{\"event\":\"x\"}\n{\"other",
        ] {
            let log = Log::new("other", text.as_bytes());
            let refused = append(&log.0, WHOLE, Sync::No).unwrap_err();
            assert_eq!(refused, NOT_OURS);
            assert_eq!(log.text(), text);
        }
    }

    #[test]
    fn a_locked_file_is_waited_for() {
        let log = Log::new("locked", b"");
        let other = open(&log.0).unwrap();
        other.lock().unwrap();
        assert_eq!(append(&log.0, WHOLE, Sync::No), Ok(false));
        assert_eq!(log.text(), "");
        drop(other);
        assert_eq!(append(&log.0, WHOLE, Sync::No), Ok(true));
    }

    #[test]
    fn a_run_that_breaks_down_has_an_outcome() {
        let log = Log::new("dropped", b"");
        drop(OpenRun {
            notices: Notices::unheard(),
            path: log.0.clone(),
            run: "r".into(),
            started: Instant::now(),
            concluded: false,
        });
        let line: Value = serde_json::from_str(&log.text()).unwrap();
        assert_eq!(
            (&line["event"], &line["run"]),
            (&json!("outcome"), &json!("r"))
        );
        assert_eq!(
            (&line["code"], &line["exit_code"]),
            (&json!("internal"), &json!(70))
        );
    }

    #[test]
    fn run_ids_differ() {
        let ids: std::collections::BTreeSet<String> = (0..100).map(|_| run_id()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
