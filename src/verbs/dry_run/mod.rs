//! `dry-run`: everything that can be known of playbooks and steps without a network, all problems at
//! once, for people and for CI. Each step goes the way of `run` up to the dispatch (`prepare::examine`);
//! what a playbook adds (its form, its inputs, its graph) is here. Opens no socket.

pub mod checks;
pub mod conditions;
pub mod examine;
pub mod finding;
pub mod form;
pub mod graph;
pub mod inputs;
pub mod names;
pub mod playbook;
pub mod report;
#[cfg(feature = "demo")]
pub mod simulate;
pub mod sources;

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::exit::Exit;
use crate::policy::Policy;
use crate::process::Process;
use crate::process::stderr::Stderr;
use crate::session::failure::Failure;
use clap::{Args, ValueEnum};

use crate::session::prepare;
use examine::{Examiner, Settings};
use finding::{FileReport, Finding, Severity, Summary};
use report::Style;
use sources::Source;

/// How often the progress line changes.
const PROGRESS: Duration = Duration::from_millis(100);

/// Flags of `dry-run`.
#[derive(Debug, Args, Default)]
pub struct DryRunArgs {
    /// Files, folders, or - for stdin [default: the current folder].
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How the report is written: for people, for machines, for code scanning, as annotations on GitHub.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
    /// Leave out what would be sent; --format text only.
    #[arg(short, long)]
    pub quiet: bool,
    /// Colour in --format text: on a terminal unless NO_COLOR is set, always, or never.
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub color: Colour,
    /// Exit with 1 where there are warnings only, too.
    #[arg(long)]
    pub warnings_as_errors: bool,
    /// Make unknown keys of playbooks and their steps errors.
    ///
    /// They are warnings otherwise, unless they resemble a key that is known: those are errors always, as
    /// are all unknown keys in the params of live-query steps.
    #[arg(long)]
    pub strict: bool,
    /// A YAML or JSON file with an example of the engine's context ({alert: …}): fills placeholders in.
    ///
    /// What it has is taken to be whole: a name under one of its keys that is not there is an error.
    #[arg(long, value_name = "FILE")]
    pub context: Option<PathBuf>,
    /// A key that the engine's context has beside `alert`, `inputs` and `steps`; may be repeated.
    #[arg(long = "context-root", value_name = "NAME")]
    pub context_roots: Vec<String>,
    /// Check that each secret is there, also as a file in this directory.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Check that each secret is there: in $CREDENTIALS_DIRECTORY or the environment.
    #[arg(long)]
    pub require_secrets: bool,
    /// The operator's policy: what it would refuse is found, too [default: $OSQUERY_LIVE_QUERY_POLICY].
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Rehearse: run the steps one after the other against a simulator on loopback with the hosts of FILE.
    #[cfg(feature = "demo")]
    #[arg(long, value_name = "FILE")]
    pub simulate: Option<PathBuf>,
}

/// Values of `dry-run --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// For machines; `schema dry-run` describes it.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of GitHub's runner.
    Github,
}

/// Values of `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<DryRunArgs> for Options {
    fn from(args: DryRunArgs) -> Self {
        let on_terminal = || {
            let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !dumb
        };
        Self {
            paths: args.paths,
            format: match args.format {
                ReportFormat::Text => report::Format::Text,
                ReportFormat::Json => report::Format::Json,
                ReportFormat::Sarif => report::Format::Sarif,
                ReportFormat::Github => report::Format::Github,
            },
            style: Style {
                colour: match args.color {
                    Colour::Auto => on_terminal(),
                    Colour::Always => true,
                    Colour::Never => false,
                },
                quiet: args.quiet,
            },
            warnings_as_errors: args.warnings_as_errors,
            strict: args.strict,
            context: args.context,
            context_roots: args.context_roots,
            secrets_dir: args.secrets_dir,
            require_secrets: args.require_secrets,
            policy: args.policy,
            #[cfg(feature = "demo")]
            simulate: args.simulate,
            #[cfg(not(feature = "demo"))]
            simulate: None,
        }
    }
}

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
    /// `--strict`.
    pub strict: bool,
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
pub(crate) fn run(args: DryRunArgs, process: &Process) -> Exit {
    let options = Options::from(args);
    match examined(&options, &process.stderr) {
        Ok(files) => write(&options, &files, process),
        // No document says what to do.
        Err(failure) => process.fail(&failure),
    }
}

fn examined(options: &Options, stderr: &Stderr) -> Result<Vec<FileReport>, Failure> {
    let context = options.context.as_deref().map(prepare::read_context);
    let settings = Settings {
        policy: Policy::of_process(options.policy.as_deref())?,
        context: context.transpose()?,
        roots: options.context_roots.clone(),
        look_secrets_up: options.require_secrets || options.secrets_dir.is_some(),
        secrets_dir: options.secrets_dir.clone(),
        strict: options.strict,
        keep_text: options.simulate.is_some(),
        now: SystemTime::now(),
    };
    let sources = sources::find(&options.paths)?;
    let mut files = examine_all(&settings, &sources, stderr);
    repeated_playbooks(&mut files);
    #[cfg(feature = "demo")]
    if let Some(scenario) = &options.simulate {
        simulate::rehearse(scenario, &settings, &mut files, stderr)?;
    }
    Ok(files)
}

/// Examines the files, on all processors.
fn examine_all(settings: &Settings, sources: &[Source], stderr: &Stderr) -> Vec<FileReport> {
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
                stderr.progress(&format!("{index} of {} files", sources.len()));
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
    stderr.erase_progress();
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
                format!("the playbook id `{id}` is already used: {path}:{line} has it too"),
                Some(*at),
            )),
            None => {
                known.insert(id.clone(), (file.path.clone(), at.line));
            }
        }
    }
}

fn write(options: &Options, files: &[FileReport], process: &Process) -> Exit {
    let summary = Summary::of(files);
    let text = report::text(options.format, files, &summary, &options.style);
    let status = process.text(&text);
    if status != Exit::Ok {
        return status;
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
