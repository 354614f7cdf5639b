//! `run` and `check`: one step from stdin to the document on stdout, whatever happens on the way.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use crate::campaign::Campaign;
use crate::campaign::rows::Keep;
use crate::exit::{Code, Exit};
use crate::notices::{Level, Notices};
use crate::output::document::{About, Document};
use crate::policy::audit::{OpenRun, Outcome};
use crate::policy::locks::Slot;
use crate::process::panics;
use crate::process::signals::{Signal, Signals};
use crate::process::stderr;
use crate::process::stdin;
use crate::process::stdout::{self, Format};
use crate::secret::Redactor;
use crate::servers::http::Http;
use crate::servers::{Backend, BackendError, fleet, osctrl};
use crate::session::drive::{self, Phase, State, Wish};
use crate::session::failure::Failure;
use crate::session::prepare;
use crate::session::prepare::{CheckedStep, Refused, Sources};
use crate::step::model::BackendKind;

/// How long the server may take to be told to stop, after the document.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The rendered `target_hosts`, for the document of a bug outside of a campaign.
static NAMED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What the command line asks of `run` and `check`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Stop before the dispatch.
    pub check_only: bool,
    /// Where context and secrets come from.
    pub sources: Sources,
    /// Exit with 3 where the document is partial.
    pub fail_on_partial: bool,
    /// How the output is written.
    pub format: Format,
}

/// How a run ended, beside its document.
enum End {
    Done,
    Failed(Failure),
    Signalled(Signal),
}

/// Runs the step on stdin and writes its document. `started` is when the process began: the deadline
/// counts from there. Returns how the process ends.
pub(crate) fn run(options: &Options, started: std::time::Instant) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return cannot_start(options, &error),
    };
    let status = runtime.block_on(async {
        match Signals::listen() {
            Ok(mut signals) => run_until_signalled(options, started, &mut signals).await,
            Err(error) => cannot_start(options, &error),
        }
    });
    // A reader thread may still wait for stdin after a signal.
    runtime.shutdown_background();
    status
}

fn cannot_start(options: &Options, error: &std::io::Error) -> Exit {
    let failure = Failure::new(
        Code::Internal,
        format!(
            "the system refuses what the process needs: {}",
            error.kind()
        ),
    )
    .hint("look at the limits of open files and processes");
    finish(options, Document::default(), End::Failed(failure)).status
}

async fn run_until_signalled(
    options: &Options,
    started: std::time::Instant,
    signals: &mut Signals,
) -> Exit {
    let read = tokio::select! {
        biased;
        signal = signals.next() => {
            return finish(options, Document::default(), End::Signalled(signal)).status;
        }
        read = read_stdin() => read,
    };
    panics::provoke("read");
    let checked = read.and_then(|bytes| prepare::check(&bytes, &options.sources));
    let step = match checked {
        Ok(step) => step,
        Err(Refused { failure, named }) => {
            let document = Document {
                named,
                ..Document::default()
            };
            return finish(options, document, End::Failed(failure)).status;
        }
    };
    *NAMED.lock().unwrap_or_else(PoisonError::into_inner) = step.step().targets.hosts.clone();
    panics::provoke("checked");
    stderr::redact_with(Redactor::new(&step.step().secrets));
    let notices = Notices::new(Level::Debug, |level, text| match level {
        Level::Warning => tracing::warn!("{text}"),
        Level::Info => tracing::info!("{text}"),
        Level::Debug => tracing::debug!("{text}"),
    });
    for secret in &step.step().secrets {
        notices.learn(secret);
    }
    for warning in &step.step().warnings {
        tracing::warn!("{warning}");
    }
    let run = Run {
        options,
        step: &step,
        started,
        deadline: Instant::from_std(started + step.step().timeout),
    };
    // Held until the process ends: a campaign that is being stopped still counts.
    let (_slot, audit) = match run.admitted(signals).await {
        Ok(admitted) => admitted,
        Err(end) => return finish(options, run.document(), end).status,
    };
    let server = &step.step().server;
    let http = match Http::new(server, run.deadline, notices) {
        Ok(http) => http,
        Err(error) => return run.end_before(error, audit),
    };
    let limits = &step.step().limits;
    let keep = Keep {
        rows: limits.max_rows_per_host,
        bytes: limits.max_bytes,
    };
    // The registry of backends: a new one is a folder and a line here.
    match server.backend {
        BackendKind::Fleet => {
            run.through(fleet::Fleet::new(server, http, keep), audit, signals)
                .await
        }
        BackendKind::Osctrl => {
            run.through(osctrl::Osctrl::new(server, http, keep), audit, signals)
                .await
        }
    }
}

/// Reads stdin on a thread of its own: a read can't be interrupted, the run can.
async fn read_stdin() -> Result<Vec<u8>, Refused> {
    let read = tokio::task::spawn_blocking(stdin::read_stdin);
    match read.await {
        Ok(read) => read.map_err(Refused::from),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

struct Run<'a> {
    options: &'a Options,
    step: &'a CheckedStep,
    started: std::time::Instant,
    deadline: Instant,
}

impl Run<'_> {
    /// Waits for the policy's slot and records the intent, before anything is sent.
    async fn admitted(
        &self,
        signals: &mut Signals,
    ) -> Result<(Option<Slot>, Option<OpenRun>), End> {
        let guards = self.step.guards();
        let admitted = async {
            if self.options.check_only {
                // It dispatches nothing, so there is nothing to hold back or to record.
                if let Some(audit) = &guards.audit {
                    audit.probe()?;
                }
                return Ok((None, None));
            }
            let slot = match &guards.slots {
                Some(slots) => Some(slots.take(self.deadline).await?),
                None => None,
            };
            let audit = match &guards.audit {
                Some(audit) => Some(
                    audit
                        .intend(self.step.step(), self.started, self.deadline)
                        .await?,
                ),
                None => None,
            };
            Ok((slot, audit))
        };
        tokio::select! {
            biased;
            signal = signals.next() => Err(End::Signalled(signal)),
            admitted = admitted => admitted.map_err(End::Failed),
        }
    }

    async fn through(
        &self,
        mut backend: impl Backend,
        audit: Option<OpenRun>,
        signals: &mut Signals,
    ) -> Exit {
        let mut state = State::default();
        let wish = Wish {
            check_only: self.options.check_only,
            format: self.options.format,
        };
        let driven = drive::drive(&mut backend, self.step, wish, &mut state);
        // A bug loses no row that came, and leaves no campaign behind.
        let driven = AssertUnwindSafe(driven).catch_unwind();
        let end = tokio::select! {
            biased;
            signal = signals.next() => End::Signalled(signal),
            driven = tokio::time::timeout_at(self.deadline, driven) => match driven {
                Ok(Ok(Ok(()))) => End::Done,
                Ok(Ok(Err(failure))) => End::Failed(failure),
                Ok(Err(_)) => End::Failed(panics::failure()),
                Err(_) => End::Done,
            },
        };
        let end = match end {
            // The deadline is the usual end of a campaign, and a failure of anything before it.
            End::Done if state.phase < Phase::Collecting && state.planned.is_none() => {
                End::Failed(self.too_late(state.phase))
            }
            end => end,
        };
        let all_answered = state.all_answered();
        let document = Document {
            about: Some(About {
                backend: self.step.step().server.backend,
                // A server chooses it.
                id: backend.campaign_id().map(|id| stderr::redacted(&id)),
                elapsed: self.started.elapsed(),
                may_be_running: backend.may_be_running(all_answered),
            }),
            campaign: state.campaign,
            planned: state.planned,
            ..self.document()
        };
        // The document first: an engine may kill a late process at any moment. It is written on a thread
        // of its own, so that a slow reader does not keep the campaign running.
        let options = self.options.clone();
        let written = tokio::task::spawn_blocking(move || {
            let finished = finish(&options, document, end);
            // After the document, which must not wait for other runs' lines.
            finished.record(audit)
        });
        let stop = AssertUnwindSafe(backend.stop(all_answered)).catch_unwind();
        let stop = tokio::time::timeout(STOP_TIMEOUT, stop);
        let stopped = async {
            match stop.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => tracing::warn!("{}", panics::failure().message),
                Err(_) => {
                    tracing::info!("the server did not confirm the end of the campaign within 2 s");
                }
            }
        };
        let (written, ()) = tokio::join!(written, unless_signalled(stopped, signals));
        match written {
            Ok(status) => status,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn too_late(&self, phase: Phase) -> Failure {
        Failure::new(
            Code::Deadline,
            format!(
                "the deadline of {} s came while {}",
                self.step.step().timeout.as_secs(),
                phase.words()
            ),
        )
        .hint("raise `timeout_seconds`; it counts from the start of the process and covers everything")
    }

    fn end_before(&self, error: BackendError, audit: Option<OpenRun>) -> Exit {
        finish(self.options, self.document(), End::Failed(error.into())).record(audit)
    }

    fn document(&self) -> Document {
        Document {
            named: self.step.step().targets.hosts.clone(),
            ..Document::default()
        }
    }
}

/// A second signal ends the tidying up.
async fn unless_signalled(work: impl Future<Output = ()>, signals: &mut Signals) {
    tokio::select! {
        () = work => {}
        _ = signals.next() => {}
    }
}

/// A document that is written.
struct Finished {
    status: Exit,
    document: Document,
}

impl Finished {
    /// Adds the outcome to the audit log. Returns how the process ends.
    fn record(self, audit: Option<OpenRun>) -> Exit {
        let Self { status, document } = self;
        let Some(audit) = audit else { return status };
        let campaign = document.campaign.as_ref();
        let about = document.about.as_ref();
        let partial = document.partial();
        audit.conclude(&Outcome {
            code: match (&document.error, status) {
                (Some(failure), _) => failure.code.name(),
                (None, Exit::Ok) if partial => Exit::Partial.name(),
                (None, exit) => exit.name(),
            },
            exit_status: status.status(),
            campaign: about.and_then(|about| about.id.clone()),
            targeted: campaign.map_or(0, Campaign::targeted),
            responded: campaign.map_or(0, Campaign::responded),
            rows: campaign.map_or(0, Campaign::rows),
            partial,
            may_be_running: about.is_some_and(|about| about.may_be_running),
        });
        status
    }
}

/// Writes the document and the error's line.
fn finish(options: &Options, mut document: Document, end: End) -> Finished {
    stderr::erase_progress();
    let mut status = match end {
        End::Done if options.fail_on_partial && document.partial() => Exit::Partial,
        End::Done => Exit::Ok,
        End::Signalled(signal) => {
            document.cancelled = true;
            signal.exit()
        }
        End::Failed(failure) => {
            let failure = failure.map_text(stderr::redacted);
            let status = failure.code.into();
            document.error = Some(failure);
            status
        }
    };
    if let Err(error) = stdout::write(&document, options.format) {
        let failure = drive::not_written(&error);
        status = failure.code.into();
        // The lines of `--format ndjson` may have met the same error, which is then told below.
        if document.error.as_ref() != Some(&failure) {
            stderr::failure(&failure);
        }
    }
    if let Some(failure) = &document.error {
        stderr::failure(failure);
    }
    Finished { status, document }
}

/// The document of a failure that came before a step was read: wrong flags, or a bug.
pub(crate) fn write_failure(failure: Failure, format: Format) -> Exit {
    let options = Options {
        format,
        ..Options::default()
    };
    let named = NAMED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let document = Document {
        named,
        ..Document::default()
    };
    finish(&options, document, End::Failed(failure)).status
}
