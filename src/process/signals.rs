//! What ends a run from outside: SIGINT, SIGTERM, SIGHUP, and the death of the process that started it.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::session::{Cancel, Cancelled, Canceller};

/// How often the parent's id is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// SIGXFSZ: a file that may not grow further is then an error of the write, which is told, and no death.
const FILE_SIZE_LIMIT: i32 = 25;

/// The ears for signals; what is heard before somebody listens is kept.
pub(crate) struct Ears {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Ears {
    /// From now on the signals no longer end the process by themselves.
    ///
    /// # Errors
    /// Where the system refuses a handler.
    pub(super) fn open() -> io::Result<Self> {
        // Only for its handler, which stays although nobody listens.
        drop(signal(SignalKind::from_raw(FILE_SIZE_LIMIT))?);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Listens, in the event loop. `with_parent`: the end of the process that started this one counts as
    /// SIGTERM (watched by the parent's id; a death signal would follow the thread that started it). Each
    /// signal moves `Cancel` on; the second one ends the tidying up.
    pub(crate) fn listen(mut self, with_parent: bool) -> (Canceller, Cancel) {
        let (canceller, cancel) = Cancel::new();
        if with_parent {
            watch_parent(canceller.clone());
        }
        let heard = canceller.clone();
        tokio::spawn(async move {
            loop {
                heard.cancel(tokio::select! {
                    () = received(&mut self.interrupt) => Cancelled::Interrupted,
                    () = received(&mut self.terminate) => Cancelled::Terminated,
                    () = received(&mut self.hang_up) => Cancelled::Terminated,
                });
            }
        });
        (canceller, cancel)
    }
}

async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending().await
    }
}

/// Whose parent has another id has lost the one that started it.
fn watch_parent(canceller: Canceller) {
    let parent = rustix::process::getppid();
    tokio::spawn(async move {
        let mut looks = tokio::time::interval(LOOK);
        while rustix::process::getppid() == parent {
            looks.tick().await;
        }
        canceller.cancel(Cancelled::Terminated);
    });
}
