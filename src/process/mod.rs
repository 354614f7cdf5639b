//! The only room with process-wide things: stdin, stdout, stderr, signals. A verb gets them in a
//! [`Process`]; nothing below this room knows that there is a process.

pub(crate) mod frames;
mod limits;
mod signals;
pub mod stderr;
pub(crate) mod stdin;
pub(crate) mod stdout;

use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::bug;
use crate::exit::Exit;
use crate::session::Run;
use crate::session::failure::Failure;
pub(crate) use signals::Ears;
use stderr::{Settings, Stderr};
use stdout::Broken;

/// After so many ticks the runtime looks at sockets and signals again, whatever else there is to do: one
/// that floods this process must not keep it from a signal.
const TICKS_BEFORE_LOOKING: u32 = 1;

/// The variable that hands a trace down to a child process, as OpenTelemetry's propagation writes it.
const TRACEPARENT: &str = "TRACEPARENT";

/// This process, as a verb sees it.
pub struct Process {
    /// When it began.
    pub started: Instant,
    /// Its stderr.
    pub stderr: Stderr,
}

/// The event loop of a verb that executes a step. From when it is made, signals no longer end the process
/// but are heard: so it is made as early as may be.
pub(crate) struct EventLoop {
    /// The loop.
    pub runtime: Runtime,
    /// What hears the signals.
    pub ears: Ears,
}

impl EventLoop {
    /// Makes it.
    ///
    /// # Errors
    /// `internal`, where the system refuses what it needs, or a library breaks down.
    pub(crate) fn new() -> Result<Self, Failure> {
        bug::caught(|| {
            limits::enough()?;
            let runtime = Process::runtime()?;
            let ears = {
                let _inside = runtime.enter();
                Ears::open().map_err(|error| Failure::no_resources(&error))?
            };
            Ok(Self { runtime, ears })
        })?
    }
}

impl Process {
    /// From now on panics print nothing; who catches them tells.
    pub(crate) fn begin() {
        std::panic::set_hook(Box::new(bug::remember));
    }

    /// The process.
    pub fn new(started: Instant, settings: Settings) -> Self {
        Self::begin();
        Self {
            started,
            stderr: Stderr::new(settings),
        }
    }

    /// The run that this process is: begun with it, and part of the trace that `TRACEPARENT` names.
    pub(crate) fn begun(&self) -> Run {
        let run = Run::begun(self.started);
        let Some(trace) = std::env::var_os(TRACEPARENT).filter(|value| !value.is_empty()) else {
            return run;
        };
        let within = trace.to_str().and_then(|trace| run.clone().within(trace));
        within.unwrap_or_else(|| {
            self.stderr.notices().warn(format!(
                "the variable {TRACEPARENT} does not hold a `traceparent` of W3C Trace Context: this run is not part of a trace"
            ));
            run
        })
    }

    /// The event loop of a verb that has one.
    ///
    /// # Errors
    /// `internal`, where the system refuses what it needs.
    pub(crate) fn runtime() -> Result<Runtime, Failure> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(TICKS_BEFORE_LOOKING)
            .build()
            .map_err(|error| Failure::no_resources(&error))
    }

    /// Does work on a thread of its own, which is left behind where nobody waits for it any more.
    ///
    /// # Errors
    /// `internal`: no thread could be started, or the work panicked.
    pub(crate) async fn aside<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = oneshot::channel();
        let thread = std::thread::Builder::new().name("aside".into());
        thread
            .spawn(move || drop(sender.send(bug::caught(work))))
            .map_err(|error| Failure::no_resources(&error))?;
        match receiver.await {
            Ok(worked) => Ok(worked?),
            Err(_) => std::future::pending().await,
        }
    }

    /// Writes what a verb without a document has to say. A reader that has seen enough is no error.
    pub(crate) fn text(&self, text: &str) -> Exit {
        match stdout::write_bytes(text.as_bytes()) {
            Ok(()) | Err(Broken::Gone) => Exit::Ok,
            Err(broken) => self.fail(&Failure::not_written(broken.words())),
        }
    }

    /// Writes what another program goes on with: a reader that has gone has not got it, and that is told.
    pub(crate) fn handed_on(&self, text: &str) -> Exit {
        let written = stdout::write_bytes(text.as_bytes());
        match written.and_then(|()| stdout::was_open()) {
            Ok(()) => Exit::Ok,
            Err(broken) => self.fail(&Failure::not_written(broken.words())),
        }
    }

    /// Says why a verb without a document failed. Returns how the process ends.
    pub(crate) fn fail(&self, failure: &Failure) -> Exit {
        self.stderr.failure(failure);
        self.stderr.flush();
        failure.code.into()
    }
}
