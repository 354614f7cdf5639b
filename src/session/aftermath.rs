//! What is left to do once the outcome is known: the campaign is stopped, the audit log's second line is
//! written, the slot is given back. All of it within two seconds, and none of it before the document.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::outcome::{End, Outcome};
use crate::bug::Bug;
use crate::campaign::Campaign;
use crate::exit::{Code, Exit};
use crate::notices::Notices;
use crate::policy::audit::{self, OpenRun};
use crate::policy::locks::Slot;
use crate::servers::open::AnyBackend;

/// How long the server may take to be told to stop, and the audit log to be written.
const WITHIN: Duration = Duration::from_secs(2);

/// An execution that is over for its caller and not yet for the server. [`Aftermath::finish`] ends it;
/// dropped without that, the campaign may go on at the server until it notices.
#[must_use = "the campaign is stopped by `finish`"]
pub struct Aftermath {
    server: Option<Box<dyn AnyBackend>>,
    all_answered: bool,
    /// The query stays with the server for hosts that have not answered.
    queued: bool,
    ended: Exit,
    audit: Option<(OpenRun, audit::Outcome)>,
    slot: Option<Slot>,
    notices: Notices,
}

impl Aftermath {
    /// Of an execution that held nothing.
    pub(super) fn nothing() -> Self {
        Self {
            server: None,
            all_answered: true,
            queued: false,
            ended: Exit::Ok,
            audit: None,
            slot: None,
            notices: Notices::unheard(),
        }
    }

    pub(super) fn of(
        outcome: &Outcome,
        server: Option<Box<dyn AnyBackend>>,
        slot: Option<Slot>,
        audit: Option<OpenRun>,
        notices: Notices,
    ) -> Self {
        Self {
            server,
            all_answered: outcome.campaign().is_some_and(Campaign::all_answered),
            queued: outcome
                .about()
                .is_some_and(|about| about.queued_until.is_some()),
            ended: outcome.exit(false),
            audit: audit.map(|run| (run, told(outcome))),
            slot,
            notices,
        }
    }

    /// Tells the server to stop, as far as the credentials may, and records the outcome. Takes two seconds at
    /// most.
    pub async fn finish(self) {
        let ended = self.ended;
        self.finish_as(std::future::ready(ended)).await;
    }

    /// Tells the server to stop, as far as the credentials may, and records the outcome with the exit
    /// status, which is waited for: it may depend on whether the document could be written. Takes two
    /// seconds at most after that.
    pub(crate) async fn finish_as(self, ended: impl Future<Output = Exit>) {
        let Self {
            server,
            all_answered,
            queued,
            audit,
            slot,
            notices,
            ended: _,
        } = self;
        let ended = ended.shared();
        let known = ended.clone();
        let stopped = async {
            let Some(mut server) = server else { return };
            // A query that nobody can name, for want of a document, is no use to anybody.
            let leave = queued && known.await != Exit::Failed(Code::Output);
            let stop = match leave {
                true => server.leave_queued(),
                false => server.stop(all_answered),
            };
            let stop = AssertUnwindSafe(stop).catch_unwind();
            match tokio::time::timeout(WITHIN, stop).await {
                Ok(Ok(())) => {}
                Ok(Err(panic)) => notices.warn(Bug::of(panic).to_string()),
                Err(_) => notices.info(|| {
                    "the server did not confirm the end of the campaign within 2 s".into()
                }),
            }
        };
        let recorded = async {
            let ended = ended.await;
            let Some((run, mut told)) = audit else { return };
            told.exit_status = ended.status();
            if ended == Exit::Failed(Code::Output) {
                told.code = ended.name();
            }
            // Another process may hold the file: waiting for it must not stop anything else.
            let recorded = tokio::task::spawn_blocking(move || run.conclude(&told));
            let _ = tokio::time::timeout(WITHIN, recorded).await;
        };
        tokio::join!(stopped, recorded);
        // A campaign that is being stopped still counts.
        drop(slot);
    }
}

/// What the audit log is told.
fn told(outcome: &Outcome) -> audit::Outcome {
    let campaign = outcome.campaign();
    let about = outcome.about();
    let partial = outcome.partial();
    audit::Outcome {
        code: match outcome.end() {
            End::Failed(failure) => failure.code.name(),
            End::Cancelled(reason) => reason.name(),
            End::Complete | End::Deadline if partial => "partial",
            End::Complete | End::Deadline => "ok",
        },
        exit_status: 0,
        campaign: about.and_then(|about| about.id.clone()),
        targeted: campaign.map_or(0, Campaign::targeted),
        responded: campaign.map_or(0, Campaign::responded),
        rows: campaign.map_or(0, Campaign::rows),
        partial,
        may_be_running: about.is_some_and(|about| about.may_be_running),
        queued_until: about.and_then(|about| about.queued_until),
    }
}
