//! A dispatch that is not answered yet. It is kept by whoever began it, and not in the future that waits for
//! it: when that is dropped (deadline, signal), the campaign that it creates can still be ended.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::rest::{Created, NotRun, Rest};
use super::saved::Way;

/// The answer to a dispatch is worth waiting for a little after the deadline: only who knows the
/// campaign's id can end it.
const GRACE: Duration = Duration::from_secs(2);

/// A dispatch under way.
pub(super) struct Dispatch {
    call: BoxFuture<'static, Result<Created, NotRun>>,
    under_way: Arc<AtomicBool>,
}

impl Dispatch {
    /// Nothing is sent before it is waited for.
    pub(super) fn begin(rest: &Rest, way: &Way, hosts: &[u64]) -> Self {
        let under_way = Arc::new(AtomicBool::new(false));
        let answer_by = rest.http.deadline() + GRACE;
        let call = rest.run(way, hosts, answer_by, Arc::clone(&under_way));
        Self {
            call: call.boxed(),
            under_way,
        }
    }

    /// What became of it. Not to be called again afterwards.
    pub(super) async fn answer(&mut self) -> Result<Created, NotRun> {
        (&mut self.call).await
    }

    /// Whether the server may have received it, its answer not being known.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed)
    }

    /// The campaign's id, where an attempt is under way and is answered in time; no other begins.
    pub(super) async fn outcome(mut self, by: Instant) -> Option<u64> {
        if !self.is_under_way() {
            return None;
        }
        let answered = poll_fn(|context| match self.call.poll_unpin(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome.ok().map(|created| created.id)),
            Poll::Pending if self.under_way.load(Ordering::Relaxed) => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        });
        tokio::time::timeout_at(by, answered).await.ok().flatten()
    }
}
