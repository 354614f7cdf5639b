//! The thread on which HTTP is spoken. A server can keep an HTTP library busy for as long as it likes inside
//! of one read (answers `100 Continue` without end): then this thread is late, and nothing else. Deadline and
//! signals are served on the session's own.

use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::mpsc;

use futures_util::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::bug::Bug;

/// A thread with a runtime of its own, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Line {
    /// None where the system gives no thread: then all is done in place.
    runtime: Option<Handle>,
    /// Dropped, it ends the thread; a thread that is busy is left behind.
    _end: oneshot::Sender<()>,
}

impl Line {
    /// Starts the thread, or does without.
    pub(super) fn start() -> Self {
        let (end, ended) = oneshot::channel();
        let (give, given) = mpsc::channel::<Runtime>();
        let thread = std::thread::Builder::new().name("http".into());
        let started = thread.spawn(move || {
            if let Ok(runtime) = given.recv() {
                // An error is the sender's end.
                let _ = runtime.block_on(ended);
                runtime.shutdown_background();
            }
        });
        // Only now: a runtime that no thread takes would have to be dropped here, inside of another one,
        // which panics.
        let runtime = started.ok().and_then(|_| {
            let runtime = Builder::new_current_thread().enable_all().build().ok()?;
            let handle = runtime.handle().clone();
            give.send(runtime).ok().map(|()| handle)
        });
        Self { runtime, _end: end }
    }

    /// Runs a future there; dropped with the one that waits for it. A panic goes on in whoever waits.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let Some(runtime) = &self.runtime else {
            return work.await;
        };
        let work = AssertUnwindSafe(work).catch_unwind();
        let task = runtime.spawn(async { work.await.map_err(Bug::of) });
        match Aborting(task).result().await {
            Ok(Ok(result)) => result,
            Ok(Err(bug)) => resume_unwind(Box::new(bug)),
            // Ended from outside, which only happens where nobody waits.
            Err(_) => std::future::pending().await,
        }
    }
}

/// A task that ends with whoever waits for it.
struct Aborting<T>(JoinHandle<T>);

impl<T> Aborting<T> {
    async fn result(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_goes_on_elsewhere_and_ends_with_whoever_waits() {
        let line = Line::start();
        let here = std::thread::current().id();
        let there = line.run(async { std::thread::current().id() }).await;
        assert_ne!(there, here);
        let (ended, end) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let work = line.run(async move {
            let _ended = ended;
            let _ = begun.send(());
            std::future::pending::<()>().await;
        });
        tokio::select! {
            () = work => panic!("it never ends by itself"),
            begun = begins => begun.unwrap(),
        }
        // The sender is dropped with the work.
        assert_eq!(end.recv(), Err(mpsc::RecvError));
    }

    #[tokio::test]
    async fn a_panic_goes_on_where_it_is_waited_for() {
        let line = Line::start();
        let work = AssertUnwindSafe(line.run(async { panic!("of the work") })).catch_unwind();
        assert!(work.await.unwrap_err().is::<Bug>());
    }
}
