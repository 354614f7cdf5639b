//! Work that takes long on what a server sent, done beside the event loop: deadline, signals and other
//! sessions are served meanwhile, whatever comes and however much. Knows nothing of what the work is.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::bug;
use crate::memory;

/// Reading less than so many bytes takes some milliseconds at most (JSON is read at 100 MB/s and more,
/// a debug build's at 10): a thread would cost more than it saves.
pub const LONG: usize = 256 * 1024;

/// Does work whose time grows with `bytes` of foreign data: in place where they are few, on a thread of its
/// own from [`LONG`] on. The future may be dropped at any moment (deadline, signal): the thread is then left
/// behind, ends with its work, and nobody waits for it. So the work may not change anything that others see.
///
/// A panic of the work goes on in whoever waits, with its place. Where the system gives no further thread, the work is
/// done in place: late is better than not at all.
pub async fn away<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes < LONG {
        return work();
    }
    // Where no thread can be had, what it was to do is still here.
    let place = Arc::new(Mutex::new(Some(work)));
    let take = |place: &Mutex<Option<_>>| {
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        place.take()
    };
    let (done, result) = oneshot::channel();
    let of_thread = Arc::clone(&place);
    // Not tokio's pool, which panics where the system gives no thread and is waited for at the end.
    let thread = std::thread::Builder::new().name("away".into());
    let started = memory::for_a_thread().is_ok_and(|()| {
        let started = thread.spawn(move || {
            if let Some(work) = take(&of_thread) {
                // Nobody may be there to take it.
                let _ = done.send(bug::caught(work));
            }
        });
        started.is_ok()
    });
    if !started && let Some(work) = take(&place) {
        return work();
    }
    match result.await {
        Ok(Ok(result)) => result,
        Ok(Err(bug)) => resume_unwind(Box::new(bug)),
        // The thread sends in any case, or there is none.
        Err(_) => unreachable!("a thread that began its work sends what came of it"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{ThreadId, current};

    use super::*;

    async fn thread_for(bytes: usize) -> ThreadId {
        away(bytes, || current().id()).await
    }

    #[tokio::test]
    async fn little_is_done_in_place_and_much_elsewhere() {
        let here = current().id();
        assert_eq!(thread_for(LONG - 1).await, here);
        assert_ne!(thread_for(LONG).await, here);
    }

    #[tokio::test]
    async fn the_loop_goes_on_and_nobody_waits_for_what_was_left_behind() {
        let (go_on, wait) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        let work = away(LONG, move || {
            wait.recv().unwrap();
            ended.send(()).unwrap();
        });
        tokio::select! {
            biased;
            () = work => panic!("nobody let it go on"),
            () = tokio::task::yield_now() => {}
        }
        // Dropped, and still at work.
        go_on.send(()).unwrap();
        end.recv().unwrap();
    }

    #[tokio::test]
    async fn a_panic_goes_on_where_it_is_waited_for() {
        use futures_util::FutureExt;
        let work = away(LONG, || panic!("of the work"));
        let work = std::panic::AssertUnwindSafe(work).catch_unwind();
        assert!(work.await.unwrap_err().is::<bug::Bug>());
    }
}
