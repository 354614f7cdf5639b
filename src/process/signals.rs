//! What ends a run from outside: SIGINT, SIGTERM, SIGHUP, and the death of the process that started it.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::session::{Cancel, Cancelled, Canceller};

/// How often the parent's id is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// SIGXFSZ: a file that may not grow further is then an error of the write, which is told, and no death.
const FILE_SIZE_LIMIT: i32 = 25;

/// Listens from now on: the signals no longer end the process by themselves. `with_parent`: the end of the
/// process that started this one counts as SIGTERM (watched by the parent's id; a death signal would
/// follow the thread that started it). Each signal moves `Cancel` on; the second one ends the tidying up.
///
/// # Errors
/// Where the system refuses a handler.
pub(crate) fn listen(with_parent: bool) -> io::Result<(Canceller, Cancel)> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // Only for its handler, which stays although nobody listens.
    drop(signal(SignalKind::from_raw(FILE_SIZE_LIMIT))?);
    let (canceller, cancel) = Cancel::new();
    if with_parent {
        watch_parent(canceller.clone());
    }
    let heard = canceller.clone();
    tokio::spawn(async move {
        loop {
            heard.cancel(tokio::select! {
                () = received(&mut interrupt) => Cancelled::Interrupted,
                () = received(&mut terminate) => Cancelled::Terminated,
                () = received(&mut hang_up) => Cancelled::Terminated,
            });
        }
    });
    Ok((canceller, cancel))
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
