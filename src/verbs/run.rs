//! `run`: one step from stdin to the document on stdout, whatever happens on the way.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bug;
use crate::campaign::Campaign;
use crate::exit::Exit;
use crate::output::Format;
use crate::output::ndjson::HostLines;
use crate::printable::listed;
use crate::process::stderr::Stderr;
use crate::process::stdout::{self, Broken, Stdout};
use crate::process::{Ears, EventLoop, Process, stdin};
use crate::session::failure::Failure;
use crate::session::prepare::{Sources, prepare};
use crate::session::{
    Cancel, Cancelled, End, Gone, Mode, Outcome, Progress, Refused, Run, Session, Sink, execute,
};

/// How long a reader of stdout may stall after the deadline or a signal.
const STALL: Duration = Duration::from_secs(2);

/// Bytes of lines that are not left waiting for further answers.
const WAITING: usize = 64 * 1024;

/// Flags of verbs that read a step.
#[derive(Debug, Args, Default)]
pub struct StepArgs {
    /// A YAML or JSON file with the context ({alert: …}) for a step that comes without an invocation.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub context: Option<PathBuf>,
    /// A directory with one file per secret [default: $CREDENTIALS_DIRECTORY].
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub secrets_dir: Option<PathBuf>,
    /// The operator's policy [default: $OSQUERY_LIVE_QUERY_POLICY, which wins].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Go on with an earlier document of the same step: whoever answered is kept, the rest is asked again.
    ///
    /// The file holds what `run` wrote: the document, or all lines of `--format ndjson`. The new document is
    /// whole again, and its `run.resumes` names the earlier run.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub resume: Option<PathBuf>,
    /// End as on SIGTERM when the process that started this one has ended.
    ///
    /// An engine that was killed then leaves no campaign behind.
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// Flags of `run`.
#[derive(Debug, Args, Default)]
pub struct RunArgs {
    /// Where context and secrets come from.
    #[command(flatten)]
    pub step: StepArgs,
    /// Exit with 3 where the document is partial.
    #[arg(long)]
    pub fail_on_partial: bool,
    /// One document, or a line per host as it answers and a summary.
    #[arg(long, value_enum, default_value_t = FormatName::Json)]
    pub format: FormatName,
    /// On a terminal, say more while hosts are waited for: rows so far, and who is slowest.
    ///
    /// The line stands on stderr, is erased at the end, and is not there where stderr is no terminal.
    #[arg(long)]
    pub progress: bool,
}

/// Values of `run --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum FormatName {
    /// One document at the end.
    #[default]
    Json,
    /// A line per host, then a summary; memory does not grow with the rows.
    Ndjson,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Json => Self::Json,
            FormatName::Ndjson => Self::Ndjson,
        }
    }
}

/// What the command line asks of `run` or `check`.
pub(super) struct Wanted {
    pub mode: Mode,
    pub fail_on_partial: bool,
    pub format: Format,
    pub progress: bool,
    pub step: StepArgs,
}

/// Runs the step on stdin and writes its document; `early` hears signals already. Returns how the process
/// ends.
pub(crate) fn run(args: RunArgs, process: &Process, early: Option<EventLoop>) -> Exit {
    let wanted = Wanted {
        mode: Mode::Run,
        fail_on_partial: args.fail_on_partial,
        format: args.format.into(),
        progress: args.progress,
        step: args.step,
    };
    perform(wanted, process, early)
}

/// The document of a failure that came before anything was read: wrong flags.
pub(crate) fn refuse(failure: Failure, process: &Process) -> Exit {
    let out = Out::new(process, Format::Json, false);
    out.close_at_once(Outcome::refused(failure, Vec::new()))
}

pub(super) fn perform(wanted: Wanted, process: &Process, early: Option<EventLoop>) -> Exit {
    let out = Out::new(process, wanted.format, wanted.fail_on_partial);
    let performed = bug::caught(|| {
        let EventLoop { runtime, ears } = match early {
            Some(early) => early,
            None => EventLoop::new()?,
        };
        let status = runtime.block_on(attended(wanted, process, ears, &out));
        // A thread may still wait for stdin, or for a reader of stdout.
        runtime.shutdown_background();
        status
    });
    let failure = match performed {
        Ok(Ok(status)) => return status,
        Ok(Err(failure)) => failure,
        Err(bug) => bug.into(),
    };
    out.close_at_once(Outcome::refused(failure, Vec::new()))
}

/// From the bytes on stdin to the exit status, with an ear for signals.
async fn attended(
    wanted: Wanted,
    process: &Process,
    ears: Ears,
    out: &Out<'_>,
) -> Result<Exit, Failure> {
    let (canceller, cancel) = ears.listen(wanted.step.exit_with_parent);
    let sources = Sources {
        context: wanted.step.context,
        secrets_dir: wanted.step.secrets_dir,
        policy: wanted.step.policy,
        resume: wanted.step.resume,
    };
    let prepared = Process::aside(move || {
        bug::provoke("read");
        let bytes = stdin::read_stdin()?;
        prepare(&bytes, &sources)
    });
    let step = tokio::select! {
        biased;
        reason = cancel.word() => {
            let run = out.run.clone();
            let outcome = Outcome::Refused { named: Vec::new(), end: End::Cancelled(reason) };
            return Ok(out.close(run, outcome, &cancel, Instant::now()).await);
        }
        prepared = prepared => match prepared? {
            Ok(step) => step,
            Err(Refused { failure, named, asked }) => {
                let mut run = out.run.clone();
                run.refused(*asked);
                let outcome = Outcome::refused(failure, named);
                return Ok(out.close(run, outcome, &cancel, Instant::now()).await);
            }
        },
    };
    let unread = out.stdout.clone();
    tokio::spawn(async move {
        unread.breaks().await;
        canceller.cancel(Cancelled::Unread);
    });
    let deadline = Instant::from_std(process.started + step.timeout());
    let mut sink = Written {
        stderr: process.stderr.clone(),
        detailed: wanted.progress,
        lines: (wanted.format == Format::Ndjson).then(|| out.stdout.clone()),
        queued: Arc::default(),
        bytes: 0,
    };
    if let Some(lines) = sink.lines.clone() {
        // Has its turn as soon as there is no further answer at once.
        let queued = Arc::clone(&sink.queued);
        tokio::spawn(async move {
            loop {
                queued.notified().await;
                lines.wake();
            }
        });
    }
    let mut session = Session {
        run: out.run.clone(),
        cancel: cancel.clone(),
        notices: process.stderr.notices(),
        sink: &mut sink,
    };
    let (outcome, aftermath) = execute(step, wanted.mode, &mut session).await;
    // The document first, and the campaign is stopped whether it is read or not.
    let status = out.close(session.run, outcome, &cancel, deadline);
    let status = status.boxed_local().shared();
    let tidied = async {
        tokio::select! {
            () = aftermath.finish_as(status.clone()) => {}
            // A second signal ends the tidying up.
            () = cancel.word_again() => {}
        }
    };
    let (status, ()) = tokio::join!(status.clone(), tidied);
    Ok(status)
}

/// Answers as they come: lines of `--format ndjson`, and progress on a terminal.
struct Written {
    stderr: Stderr,
    lines: Option<Stdout>,
    /// Whether progress says more than how many have answered.
    detailed: bool,
    /// Told of each host whose lines wait.
    queued: Arc<Notify>,
    /// Bytes of them since the writer was woken for their number.
    bytes: usize,
}

impl Sink for Written {
    fn answered(&mut self, campaign: &mut Campaign, host: usize) -> ControlFlow<Gone> {
        if let Some(lines) = &self.lines {
            if lines.broken().is_some() {
                return ControlFlow::Break(Gone);
            }
            let answer = HostLines::take(campaign, host);
            self.bytes += answer.bytes();
            lines.queue_for_later(move |out| answer.write(out));
            self.queued.notify_one();
            if self.bytes >= WAITING {
                self.bytes = 0;
                lines.wake();
            }
        }
        ControlFlow::Continue(())
    }

    fn progress(&mut self, seen: Progress, campaign: &Campaign) {
        if !self.stderr.shows_progress() {
            return;
        }
        let (answered, targeted) = (seen.answered, seen.targeted);
        let seconds = seen.elapsed.as_secs();
        let hosts = format!("{answered} of {targeted} hosts answered");
        if !self.detailed {
            return self.stderr.progress(&format!("{hosts}, {seconds} s"));
        }
        let (rows, s) = (seen.rows, if seen.rows == 1 { "" } else { "s" });
        let slowest = listed(&campaign.awaited());
        self.stderr.progress(&format!(
            "{hosts}, {rows} row{s}, {seconds} s; waiting for {slowest}"
        ));
    }
}

/// The closing document, which is written once.
struct Out<'a> {
    process: &'a Process,
    format: Format,
    fail_on_partial: bool,
    /// The run as it began; what it asks for is added where that is known.
    run: Run,
    stdout: Stdout,
    closed: Cell<bool>,
}

/// A document that is begun: how the process ends if it can be written.
struct Begun {
    status: Exit,
    failed: bool,
    cancelled: bool,
}

impl<'a> Out<'a> {
    fn new(process: &'a Process, format: Format, fail_on_partial: bool) -> Self {
        Self {
            process,
            format,
            fail_on_partial,
            run: process.begun(),
            stdout: Stdout::new(),
            closed: Cell::new(false),
        }
    }

    /// Says on stderr what went wrong, then writes the document. Returns how the process ends.
    async fn close(&self, run: Run, outcome: Outcome, cancel: &Cancel, deadline: Instant) -> Exit {
        let begun = match self.begin(&outcome) {
            Ok(begun) => begun,
            Err(status) => return status,
        };
        let format = self.format;
        self.stdout
            .queue_work(move |mut out| format.write(&run, &outcome, &mut out));
        let patience = async {
            let stall = deadline.max(Instant::now()) + STALL;
            if begun.cancelled {
                tokio::time::sleep(STALL).await;
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(stall) => {}
                _ = cancel.word() => tokio::time::sleep(STALL).await,
            }
        };
        let written = tokio::select! {
            biased;
            written = self.stdout.drained() => written,
            () = patience => Err(Broken::Refused("its reader has stopped reading".into())),
        };
        self.end(begun, written)
    }

    /// As [`Out::close`], where no event loop runs.
    fn close_at_once(&self, outcome: Outcome) -> Exit {
        match self.begin(&outcome) {
            Ok(begun) => {
                let written =
                    stdout::write_at_once(|out| self.format.write(&self.run, &outcome, out));
                self.end(begun, written)
            }
            Err(status) => status,
        }
    }

    /// Everything comes before the document. A bug after one was begun must not add a second: then there is
    /// only the status.
    fn begin(&self, outcome: &Outcome) -> Result<Begun, Exit> {
        let status = outcome.exit(self.fail_on_partial);
        if self.closed.replace(true) {
            return Err(status);
        }
        self.process.stderr.erase_progress();
        if let Some(failure) = outcome.error() {
            self.process.stderr.failure(failure);
        }
        self.process.stderr.document_begins();
        Ok(Begun {
            status,
            failed: outcome.error().is_some(),
            cancelled: outcome.cancelled().is_some(),
        })
    }

    /// The exit status once it is known whether the document could be written. What failed before that stays
    /// the reason.
    fn end(&self, begun: Begun, written: Result<(), Broken>) -> Exit {
        let Begun { status, failed, .. } = begun;
        let broken = match written.and_then(|()| stdout::was_open()) {
            Ok(()) => return status,
            Err(Broken::Gone) if failed => return status,
            Err(broken) => broken,
        };
        let failure = Failure::not_written(broken.words());
        self.process.stderr.failure(&failure);
        self.process.stderr.flush();
        if failed { status } else { failure.code.into() }
    }
}
