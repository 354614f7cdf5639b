//! A live campaign on the results socket, and the new campaigns that take its place when the stream
//! breaks. Knows which hosts are silent, and nothing of what their answers become.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::reading::Heard;
use super::rest::{Created, Purpose, Rest, RunPath};
use super::socket::{Broken, MESSAGE_BYTES, NotOpen, Socket};
use crate::campaign::host::Answer;
use crate::campaign::host::HostId;
use crate::campaign::rows::Keep;
use crate::servers::http::Undelivered;
use crate::servers::{BackendError, Event};

/// The pauses before each new campaign after a broken stream; there are no more than these.
const RENEWAL_PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// The answer to a dispatch is worth waiting for a little after the deadline: only who knows the
/// campaign's id can end it.
const DISPATCH_GRACE: Duration = Duration::from_secs(2);
/// A server that sends garbage does not fill stderr with it.
const GARBLED_WARNINGS: usize = 3;

/// The campaign for the hosts that are still silent.
pub(super) struct Live {
    rest: Rest,
    keep: Keep,
    sql: String,
    silent: BTreeSet<u64>,
    socket: Option<Socket>,
    /// Why there is no socket.
    lost: String,
    campaign: Option<Campaign>,
    dispatch: Option<Dispatch>,
    path: Option<RunPath>,
    renewals: usize,
    /// Whether a campaign may be running that nobody listens to, so that nothing ends it.
    orphaned: bool,
    garbled: usize,
}

#[derive(Debug, Clone, Copy)]
struct Campaign {
    id: u64,
    /// The server was told that this socket listens.
    selected: bool,
    /// And has shown that it knows.
    heard: bool,
}

/// A dispatch that is not answered yet. It is kept here, and not in the future that waits for it: when
/// that is dropped (deadline, signal), the campaign that it creates can still be ended.
struct Dispatch {
    call: BoxFuture<'static, Result<Created, Undelivered>>,
    under_way: Arc<AtomicBool>,
}

impl Live {
    pub(super) fn new(
        rest: Rest,
        keep: Keep,
        socket: Socket,
        sql: String,
        hosts: BTreeSet<u64>,
    ) -> Self {
        Self {
            rest,
            keep,
            sql,
            silent: hosts,
            socket: Some(socket),
            lost: String::new(),
            campaign: None,
            dispatch: None,
            path: None,
            renewals: 0,
            orphaned: false,
            garbled: 0,
        }
    }

    /// The campaign's id; that of the newest where there were several.
    pub(super) fn id(&self) -> Option<u64> {
        self.campaign.map(|campaign| campaign.id)
    }

    /// Creates the campaign for the silent hosts, and listens: an answer that nobody hears is lost
    /// until the agent's next check-in (wire notes, Results).
    pub(super) async fn launch(&mut self) -> Result<(), BackendError> {
        let hosts: Vec<u64> = self.silent.iter().copied().collect();
        let under_way = Arc::new(AtomicBool::new(false));
        let call = self.rest.run(
            &self.sql,
            &hosts,
            self.path,
            self.rest.http.deadline() + DISPATCH_GRACE,
            Arc::clone(&under_way),
        );
        let dispatch = self.dispatch.insert(Dispatch {
            call: call.boxed(),
            under_way,
        });
        let outcome = (&mut dispatch.call).await;
        self.dispatch = None;
        let created = outcome.map_err(|undelivered| {
            self.orphaned |= undelivered.may_have_arrived;
            undelivered.error
        })?;
        self.path = Some(created.path);
        self.rest
            .notices()
            .info(|| format!("campaign {} started for {} hosts", created.id, hosts.len()));
        if let Some(taken) = created.hosts
            && taken != hosts.len() as u64
        {
            // Hosts that the server does not know are left out silently (transcript `campaign-unknown-host`).
            self.rest.notices().warn(format!("{} took {taken} of the {} hosts into the campaign: the others were deleted, or are out of this user's reach",
                self.rest.server(),
                hosts.len()));
        }
        let campaign = self.campaign.insert(Campaign {
            id: created.id,
            selected: false,
            heard: false,
        });
        if let Some(socket) = &mut self.socket {
            match socket.select(created.id).await {
                Ok(()) => campaign.selected = true,
                Err(Broken::Lost(reason) | Broken::Noise(reason)) => self.lose(reason),
                Err(Broken::TooLarge) => self.lose("the request was too large".into()),
            }
        }
        Ok(())
    }

    /// The next thing that happens, through broken streams and new campaigns.
    pub(super) async fn next(&mut self) -> Result<Event, BackendError> {
        loop {
            let Some(socket) = &mut self.socket else {
                if self.renew().await? {
                    continue;
                }
                return Ok(Event::Exhausted);
            };
            match socket.hear(self.keep).await {
                Ok(Heard::Answer { host, answer }) => {
                    if self.silent.remove(&host) {
                        socket.was_worth_it();
                    }
                    self.mark_heard();
                    let answer = match answer {
                        Answer::Error(text) => Answer::Error(self.rest.shown(&text)),
                        rows @ Answer::Rows(_) => rows,
                    };
                    let host = HostId(host.to_string());
                    return Ok(Event::Answered { host, answer });
                }
                Ok(Heard::Alive) => self.mark_heard(),
                Ok(Heard::Refused(text)) => {
                    self.orphaned |= !self.is_heard();
                    self.socket = None;
                    return Err(refusal(&self.rest, &text));
                }
                Ok(Heard::Garbled(what)) => {
                    self.garbled += 1;
                    if self.garbled <= GARBLED_WARNINGS {
                        self.rest.notices().warn(format!("{} sent {what} on the results stream: it is left out, and its host may seem silent",
                            self.rest.server()));
                    }
                }
                Err(Broken::TooLarge) => {
                    self.lose(String::new());
                    return Err(BackendError::Answer {
                        status: None,
                        message: format!(
                            "{} sent an answer of more than {} MB",
                            self.rest.server(),
                            MESSAGE_BYTES / 1_000_000
                        ),
                        hint: Some("use a template that asks for fewer rows".into()),
                    });
                }
                Err(Broken::Noise(came)) => {
                    self.lose(String::new());
                    return Err(BackendError::Answer {
                        status: None,
                        message: format!(
                            "{} floods the results stream: {came}, and no answer in between",
                            self.rest.server()
                        ),
                        hint: Some(
                            "look for a proxy before the server, or at the server's log".into(),
                        ),
                    });
                }
                Err(Broken::Lost(reason)) => self.lose(reason),
            }
        }
    }

    fn mark_heard(&mut self) {
        if let Some(campaign) = &mut self.campaign {
            campaign.heard = true;
        }
    }

    fn is_heard(&self) -> bool {
        self.campaign.is_some_and(|campaign| campaign.heard)
    }

    fn lose(&mut self, reason: String) {
        // Heard once, the server ends the campaign by itself: its listener is gone at its next tick.
        self.orphaned |= self.campaign.is_some() && !self.is_heard();
        self.socket = None;
        self.lost = reason;
    }

    /// After a broken stream: a new campaign for the hosts that are silent, on a new socket. The old
    /// campaign can't be heard again, its answers are lost and the server ends it under the new
    /// listener (transcript `stream-broken`); the query only reads, so asking twice is safe.
    ///
    /// False where nobody is silent any more.
    async fn renew(&mut self) -> Result<bool, BackendError> {
        loop {
            if self.silent.is_empty() {
                return Ok(false);
            }
            let missing = match self.silent.len() {
                1 => "1 host has".to_owned(),
                silent => format!("{silent} hosts have"),
            };
            let Some(pause) = RENEWAL_PAUSES.get(self.renewals) else {
                return Err(BackendError::Unreachable {
                    message: format!(
                        "the results stream of {} stayed broken through {} new campaigns: {}; {missing} not answered",
                        self.rest.server(),
                        RENEWAL_PAUSES.len(),
                        self.lost
                    ),
                    hint: Some("look for a proxy before the server that cuts websockets, or at the server's log".into()),
                });
            };
            self.renewals += 1;
            self.rest.notices().warn(format!("the results stream of {} broke ({}); {missing} not answered: asking again in a new campaign ({} of {})",
                self.rest.server(),
                self.lost,
                self.renewals,
                RENEWAL_PAUSES.len()));
            tokio::time::sleep(*pause).await;
            let token = self.rest.token()?.clone();
            match Socket::open(&self.rest.http, &token, false).await {
                Ok(socket) => self.socket = Some(socket),
                Err(NotOpen::Refused { words, .. }) => {
                    self.lost = format!("the new websocket was refused: {words}");
                    continue;
                }
                Err(NotOpen::Failed(BackendError::Unreachable { message, .. })) => {
                    self.lost = message;
                    continue;
                }
                Err(NotOpen::Failed(error)) => return Err(error),
            }
            self.campaign = None;
            match self.launch().await {
                Ok(()) => return Ok(true),
                Err(BackendError::Targets { message, .. }) => {
                    self.rest.notices().warn(&message);
                    return Ok(false);
                }
                Err(
                    error @ (BackendError::Unreachable { .. }
                    | BackendError::Answer {
                        status: None | Some(500..),
                        ..
                    }),
                ) => {
                    self.socket = None;
                    self.lost = error.to_string();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a campaign may go on that nothing ends. One that is listened to ends at the server's
    /// next 5-second tick after the socket is gone, however this process ends.
    pub(super) fn may_be_running(&self) -> bool {
        self.orphaned
            || self.campaign.is_some_and(|campaign| !campaign.selected)
            || self
                .dispatch
                .as_ref()
                .is_some_and(|dispatch| dispatch.under_way.load(Ordering::Relaxed))
    }

    /// Ends the campaign by closing the socket. A campaign that is just being created is waited for,
    /// and listened to for a moment: only that makes the server end it.
    pub(super) async fn stop(mut self, by: Instant) {
        let created = match self.dispatch.take() {
            Some(dispatch) => dispatch.outcome(by).await,
            None => self
                .campaign
                .filter(|campaign| !campaign.selected)
                .map(|campaign| campaign.id),
        };
        let Some(mut socket) = self.socket.take() else {
            return;
        };
        if let Some(id) = created {
            self.rest
                .notices()
                .debug(|| format!("listening to campaign {id} in order to end it"));
            let _ = tokio::time::timeout_at(by, socket.select(id)).await;
        }
        socket.close().await;
    }
}

impl Dispatch {
    /// The campaign's id, where an attempt is under way and is answered in time; no other begins.
    async fn outcome(mut self, by: Instant) -> Option<u64> {
        if !self.under_way.load(Ordering::Relaxed) {
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

/// What the server's `error` message means (transcript `websocket-refusals`).
pub(super) fn refusal(rest: &Rest, text: &str) -> BackendError {
    let shown = rest.shown(text);
    let lower = text.to_ascii_lowercase();
    if lower.contains("unauthorized") || lower.contains("unauthenticated") {
        return rest.unauthorized(&format!("results stream: {shown}"), Purpose::Run);
    }
    if lower.contains("forbidden") {
        return rest.may_not_run(&format!("results stream: {shown}"));
    }
    let shown = if shown.is_empty() {
        "no reason"
    } else {
        &shown
    };
    BackendError::Answer {
        status: None,
        message: format!(
            "{} ended the results stream with an error: {shown}",
            rest.server()
        ),
        hint: lower
            .contains("cannot find campaign")
            .then(|| "the server lost the campaign: look at its Redis and its log".into()),
    }
}
