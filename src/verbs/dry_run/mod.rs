//! `dry-run`: everything that can be known of playbooks and steps without a network, all problems at
//! once, for people and for CI. Each step goes the way of `run` up to the dispatch (`prepare::examine`);
//! what a playbook adds (its form, its inputs, its graph) is here. Opens no socket.

pub mod checks;
pub mod conditions;
pub mod examine;
pub mod finding;
pub mod form;
pub mod graph;
pub mod names;
pub mod playbook;
pub mod report;
#[cfg(feature = "demo")]
pub mod simulate;
pub mod sources;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::exit::{Code, Exit};
use crate::policy::Policy;
use crate::process::{stderr, stdout};
use crate::session::failure::Failure;
use crate::session::prepare;
use examine::{Examiner, Settings};
use finding::{FileReport, Finding, Severity, Summary};
use report::Style;
use sources::Source;

/// How often the progress line changes.
const PROGRESS: Duration = Duration::from_millis(100);

/// What the command line asks.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Files, folders, or `-`; nothing means the current folder.
    pub paths: Vec<PathBuf>,
    /// How the report is written.
    pub format: report::Format,
    /// How the text looks.
    pub style: Style,
    /// Warnings count as problems.
    pub warnings_as_errors: bool,
    /// `--context FILE`.
    pub context: Option<PathBuf>,
    /// `--context-root NAME`.
    pub context_roots: Vec<String>,
    /// `--secrets-dir DIR`.
    pub secrets_dir: Option<PathBuf>,
    /// `--require-secrets`.
    pub require_secrets: bool,
    /// `--policy FILE`; the variable wins over it, as in `run`.
    pub policy: Option<PathBuf>,
    /// `--simulate FILE`.
    pub simulate: Option<PathBuf>,
}

/// Examines everything and writes the report. Returns how the process ends.
pub(crate) fn run(options: &Options) -> Exit {
    match examined(options) {
        Ok(files) => write(options, &files),
        Err(failure) => {
            stderr::erase_progress();
            stderr::failure(&failure);
            failure.code.into()
        }
    }
}

fn examined(options: &Options) -> Result<Vec<FileReport>, Failure> {
    let context = options.context.as_deref().map(prepare::read_context);
    let settings = Settings {
        policy: Policy::of_process(options.policy.as_deref())?,
        context: context.transpose()?,
        roots: options.context_roots.clone(),
        look_secrets_up: options.require_secrets || options.secrets_dir.is_some(),
        secrets_dir: options.secrets_dir.clone(),
        keep_text: options.simulate.is_some(),
        now: SystemTime::now(),
    };
    let sources = sources::find(&options.paths)?;
    let mut files = examine_all(&settings, &sources);
    repeated_playbooks(&mut files);
    #[cfg(feature = "demo")]
    if let Some(scenario) = &options.simulate {
        simulate::rehearse(scenario, &settings, &mut files)?;
    }
    Ok(files)
}

/// Examines the files, on all processors.
fn examine_all(settings: &Settings, sources: &[Source]) -> Vec<FileReport> {
    let next = AtomicUsize::new(0);
    let shown = Mutex::new(Instant::now());
    let reports = Mutex::new(Vec::with_capacity(sources.len()));
    let work = || {
        let mut examiner = Examiner::new(settings);
        let mut own = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(source) = sources.get(index) else {
                break;
            };
            own.push((index, examine_one(&mut examiner, source)));
            if let Ok(mut shown) = shown.try_lock()
                && shown.elapsed() >= PROGRESS
            {
                *shown = Instant::now();
                stderr::progress_line(&format!("{index} of {} files", sources.len()));
            }
        }
        let mut reports = reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.extend(own);
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    // A thread costs more than a few files.
    let workers = workers.min(sources.len().div_ceil(8)).max(1);
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    stderr::erase_progress();
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}

fn examine_one(examiner: &mut Examiner<'_>, source: &Source) -> FileReport {
    let mut report = FileReport {
        path: source.shown(),
        source: source.path().map(PathBuf::from),
        named_playbook: source.is_playbook(),
        ..FileReport::default()
    };
    match source.read() {
        Ok(bytes) => {
            examiner.file(&bytes, &mut report);
            if !report.findings.is_empty() || examiner.settings.keep_text {
                report.text = String::from_utf8(bytes).ok();
            }
        }
        Err(message) => {
            report
                .findings
                .push(Finding::new(Severity::Error, "unreadable", message, None))
        }
    }
    report
}

/// Playbooks of one pack that have the same id.
fn repeated_playbooks(files: &mut [FileReport]) {
    let mut known: HashMap<String, (String, usize)> = HashMap::new();
    for file in files {
        let Some((id, at)) = &file.playbook else {
            continue;
        };
        match known.get(id) {
            Some((path, line)) => file.findings.push(Finding::new(
                Severity::Error,
                "repeated_playbook_id",
                format!("the playbook id `{id}` is taken: {path}:{line} has it too"),
                Some(*at),
            )),
            None => {
                known.insert(id.clone(), (file.path.clone(), at.line));
            }
        }
    }
}

fn write(options: &Options, files: &[FileReport]) -> Exit {
    let summary = Summary::of(files);
    let text = report::text(options.format, files, &summary, &options.style);
    if let Err(error) = stdout::write_text(&text) {
        let failure = Failure::new(
            Code::Output,
            format!("stdout can't be written: {}", error.kind()),
        );
        stderr::failure(&failure);
        return failure.code.into();
    }
    let rehearsals = files.iter().flat_map(|file| &file.plans);
    let failed = rehearsals
        .filter_map(|plan| plan.rehearsal.as_ref())
        .any(|rehearsal| rehearsal.exit_code != Exit::Ok.status());
    if summary.errors > 0 || failed || options.warnings_as_errors && summary.warnings > 0 {
        Exit::Problems
    } else {
        Exit::Ok
    }
}
