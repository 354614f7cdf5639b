//! Hosts that are asked together: the campaign that asks them, and those that take its place. The way goes
//! from a pause over a look at the server, a new socket and a dispatch to listening, and back when the stream
//! breaks. Every stage is kept here and not in the future that waits for it, so that dropping that future
//! (deadline, signal, another stream's answer) loses nothing.

mod ending;
mod hearing;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::attempts::Attempts;
use super::dispatch::Dispatch;
use super::patience::Patience;
use super::reading::Heard;
use super::rest::{Created, Look, NotRun, Rest, Why};
use super::saved::{self, Because, Saved, Way};
use super::socket::{Broken, NotOpen, Socket};
use crate::campaign::rows::Keep;
use crate::servers::{BackendError, Event};

/// A server that sends garbage, or whose streams break all the time, does not fill stderr with it.
const WARNINGS: usize = 3;

/// Hosts that are asked together.
pub(super) struct Stream {
    rest: Rest,
    keep: Keep,
    way: Way,
    hosts: BTreeSet<u64>,
    /// Those that have not answered.
    silent: BTreeSet<u64>,
    stage: Stage,
    /// The newest.
    campaign: Option<Campaign>,
    attempts: Attempts,
    /// For a server of which a part is away.
    patience: Patience,
    /// Whether a campaign may be running that nobody listens to, so that nothing ends it.
    orphaned: bool,
    /// Those of them whose ids are known.
    orphans: Vec<u64>,
    garbled: usize,
    broken: usize,
    foreign: bool,
}

enum Stage {
    Pausing(Instant),
    /// Whether the server is there; where it is, this error is final.
    Looking(BoxFuture<'static, Look>, Option<BackendError>),
    Opening(BoxFuture<'static, Result<Box<Socket>, NotOpen>>),
    /// The saved query to run instead.
    Seeking(
        BoxFuture<'static, Result<Arc<Saved>, BackendError>>,
        Box<Socket>,
    ),
    Dispatching(Dispatch, Box<Socket>),
    Listening(Box<Socket>),
    /// Nobody is left to ask.
    Over,
}

/// What a stage came to.
enum Turn {
    Paused,
    Looked(Look),
    Opened(Result<Box<Socket>, NotOpen>),
    Found(Result<Arc<Saved>, BackendError>),
    Dispatched(Result<Created, NotRun>),
    Selected(Result<(), Broken>),
    Heard(Result<Heard, Broken>),
}

#[derive(Debug, Clone, Copy)]
struct Campaign {
    id: u64,
    /// Since when the server has been told that this socket listens.
    selected: Option<Instant>,
    /// The server has shown that it knows.
    heard: bool,
    answers: usize,
}

/// What was lost, in words, and what it means where it can't be had again.
struct Lost {
    words: String,
    error: Option<BackendError>,
}

impl Lost {
    fn line(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            error: None,
        }
    }
}

impl Stream {
    /// Nothing is sent yet. Without a socket one is opened first.
    pub(super) fn new(
        rest: Rest,
        keep: Keep,
        way: Way,
        hosts: BTreeSet<u64>,
        socket: Option<Socket>,
    ) -> Self {
        let patience = Patience::until(rest.http.deadline());
        let mut stream = Self {
            rest,
            keep,
            way,
            silent: hosts.clone(),
            hosts,
            stage: Stage::Over,
            campaign: None,
            attempts: Attempts::default(),
            patience,
            orphaned: false,
            orphans: Vec::new(),
            garbled: 0,
            broken: 0,
            foreign: false,
        };
        match socket {
            Some(socket) => stream.dispatch(Box::new(socket)),
            None => stream.open(),
        }
        stream
    }

    /// The campaign's id; that of the newest where there were several.
    pub(super) fn id(&self) -> Option<u64> {
        self.campaign.map(|campaign| campaign.id)
    }

    /// Whether a campaign is listened to: an answer that nobody hears is lost until the agent's next
    /// check-in (wire notes, Results).
    pub(super) fn listens(&self) -> bool {
        matches!(self.stage, Stage::Listening(_))
            && self.campaign.is_some_and(|it| it.selected.is_some())
    }

    /// What it asks.
    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// Whether nobody is left to ask.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// From one stage to the next; what a campaign must know of it, if anything.
    pub(super) async fn step(&mut self) -> Result<Option<Event>, BackendError> {
        let turn = match &mut self.stage {
            Stage::Over => return Ok(Some(Event::Exhausted)),
            Stage::Pausing(until) => {
                tokio::time::sleep_until(*until).await;
                Turn::Paused
            }
            Stage::Looking(look, _) => Turn::Looked(look.await),
            Stage::Opening(opening) => Turn::Opened(opening.await),
            Stage::Seeking(seeking, _) => Turn::Found(seeking.await),
            Stage::Dispatching(dispatch, _) => Turn::Dispatched(dispatch.answer().await),
            Stage::Listening(socket) => match self.campaign {
                Some(Campaign {
                    id, selected: None, ..
                }) => Turn::Selected(socket.select(id).await),
                _ => Turn::Heard(socket.hear(self.keep).await),
            },
        };
        match turn {
            Turn::Paused => self.look(None)?,
            Turn::Looked(look) => self.looked(look)?,
            Turn::Opened(Ok(socket)) => self.dispatch(socket),
            Turn::Opened(Err(NotOpen::Refused { words, .. })) => {
                let words = format!("the new websocket was refused: {words}");
                self.start_again(Lost::line(words))?;
            }
            Turn::Opened(Err(NotOpen::Failed(BackendError::Unreachable { message, .. }))) => {
                self.start_again(Lost::line(message))?;
            }
            Turn::Opened(Err(NotOpen::Failed(error))) => return Err(error),
            Turn::Found(found) => {
                self.way = Way::Saved(found?);
                if let Stage::Seeking(_, socket) = std::mem::replace(&mut self.stage, Stage::Over) {
                    self.dispatch(socket);
                }
            }
            Turn::Dispatched(Ok(created)) => self.created(created),
            Turn::Dispatched(Err(not_run)) => self.not_run(not_run)?,
            Turn::Selected(Ok(())) => {
                if let Some(campaign) = &mut self.campaign {
                    campaign.selected = Some(Instant::now());
                }
            }
            Turn::Heard(Ok(heard)) => return self.heard(heard),
            Turn::Selected(Err(broken)) | Turn::Heard(Err(broken)) => self.broken(broken)?,
        }
        Ok(None)
    }

    fn look(&mut self, unless: Option<BackendError>) -> Result<(), BackendError> {
        let rest = self.rest.clone();
        let look = async move { rest.look().await };
        self.stage = Stage::Looking(look.boxed(), unless);
        Ok(())
    }

    fn looked(&mut self, look: Look) -> Result<(), BackendError> {
        let unless = match &mut self.stage {
            Stage::Looking(_, unless) => unless.take(),
            _ => None,
        };
        match (look, unless) {
            (Look::There, Some(error)) | (Look::Final(error), _) => Err(error),
            (Look::There, None) => {
                self.open();
                Ok(())
            }
            (Look::Away(error), unless) => {
                // A process that is gone has left its campaign behind: nothing ends it at the next tick.
                let gone = !matches!(
                    error,
                    BackendError::Answer {
                        status: Some(408 | 500),
                        ..
                    } | BackendError::Auth { .. }
                );
                if gone && let Some(campaign) = self.campaign {
                    self.orphan(campaign.id);
                }
                if let Some(error) = unless {
                    self.attempts.spend();
                    self.rest.notices().warn(format!(
                        "{error}: a new campaign is started once the server is back"
                    ));
                }
                self.wait(error)
            }
        }
    }

    /// Waits for a part of the server that is away.
    fn wait(&mut self, error: BackendError) -> Result<(), BackendError> {
        let Some(at) = self.patience.next() else {
            return Err(error);
        };
        if self.patience.is_long() {
            self.rest.tell_of_waiting(&error);
        }
        self.stage = Stage::Pausing(at);
        Ok(())
    }

    fn open(&mut self) {
        let rest = self.rest.clone();
        let opening = async move {
            let token = rest.token().map_err(NotOpen::Failed)?;
            Socket::open(&rest.http, token, false).await.map(Box::new)
        };
        self.stage = Stage::Opening(opening.boxed());
    }

    fn dispatch(&mut self, socket: Box<Socket>) {
        let hosts: Vec<u64> = self.silent.iter().copied().collect();
        let dispatch = Dispatch::begin(&self.rest, &self.way, &hosts);
        self.stage = Stage::Dispatching(dispatch, socket);
    }

    fn created(&mut self, created: Created) {
        self.patience = Patience::until(self.rest.http.deadline());
        let hosts = self.silent.len();
        self.rest
            .notices()
            .info(|| format!("campaign {} started for {hosts} hosts", created.id));
        if let Some(taken) = created.hosts
            && taken != hosts as u64
        {
            // Hosts that the server does not know are left out silently (transcript `campaign-unknown-host`).
            self.rest.notices().warn(format!("{} took {taken} of the {hosts} hosts into the campaign: the others were deleted, or are out of this user's reach",
                self.rest.server()));
        }
        self.campaign = Some(Campaign {
            id: created.id,
            selected: None,
            heard: false,
            answers: 0,
        });
        if let Stage::Dispatching(_, socket) = std::mem::replace(&mut self.stage, Stage::Over) {
            self.stage = Stage::Listening(socket);
        }
    }

    fn not_run(&mut self, not_run: NotRun) -> Result<(), BackendError> {
        let NotRun {
            error,
            why,
            may_have_arrived,
        } = not_run;
        self.orphaned |= may_have_arrived;
        match (why, &error) {
            (Why::Away, _) => self.wait(error),
            (Why::Role, _) => self.seek(error),
            // The dispatch is the one call that is not repeated where it may have arrived; but a server that
            // went away in the middle is no reason to give up.
            (Why::Unknown, _) if self.campaign.is_none() => self.look(Some(error)),
            (Why::Unknown, _) => self.start_again(Lost {
                words: error.to_string(),
                error: Some(error),
            }),
            (Why::Final, BackendError::Targets { message, .. }) if self.campaign.is_some() => {
                self.rest.notices().warn(message);
                self.stage = Stage::Over;
                Ok(())
            }
            (Why::Final, _) => Err(error),
        }
    }

    /// Where the role may not run the statement itself: the saved query that is the same.
    fn seek(&mut self, error: BackendError) -> Result<(), BackendError> {
        let (Way::Sql(sql), Stage::Dispatching(_, socket)) =
            (&self.way, std::mem::replace(&mut self.stage, Stage::Over))
        else {
            return Err(error);
        };
        let (rest, sql) = (self.rest.clone(), Arc::clone(sql));
        let seeking = async move { saved::find(&rest, &sql, &Because::Role(error)).await };
        self.stage = Stage::Seeking(seeking.boxed(), socket);
        Ok(())
    }

    /// Lets go of the socket. Heard once, the server ends the campaign by itself: its listener is gone at
    /// its next tick.
    fn give_up(&mut self) {
        if let Some(campaign) = self.campaign.filter(|campaign| !campaign.heard) {
            self.orphan(campaign.id);
        }
        self.stage = Stage::Over;
    }

    fn lose(&mut self, lost: Lost) -> Result<(), BackendError> {
        self.give_up();
        if let Some(campaign) = self.campaign {
            let listened = campaign.selected.map_or(Duration::ZERO, |at| at.elapsed());
            self.attempts.campaign_ended(campaign.answers, listened);
        }
        self.start_again(lost)
    }

    /// After a failure to deliver: a new campaign for the hosts that are silent, on a new socket. The old
    /// campaign can't be heard again, its answers are lost and the server ends it under the new listener
    /// (transcript `stream-broken`); the query only reads, so asking twice is safe.
    fn start_again(&mut self, lost: Lost) -> Result<(), BackendError> {
        if self.silent.is_empty() {
            self.stage = Stage::Over;
            return Ok(());
        }
        let missing = match self.silent.len() {
            1 => "1 host has".to_owned(),
            silent => format!("{silent} hosts have"),
        };
        let Lost { words, error } = lost;
        let Some(pause) = self.attempts.spend() else {
            return Err(error.unwrap_or_else(|| BackendError::Unreachable {
                message: format!(
                    "the results stream of {} stayed broken through {} new campaigns: {words}; {missing} not answered",
                    self.rest.server(),
                    Attempts::MOST,
                ),
                hint: Some("look for a proxy in front of the server that cuts websockets, or at the server's log".into()),
            }));
        };
        self.broken += 1;
        let warning = || {
            format!(
                "the results stream of {} broke ({words}); {missing} not answered: asking again in a new campaign ({} of {})",
                self.rest.server(),
                self.attempts.spent(),
                Attempts::MOST
            )
        };
        if self.broken <= WARNINGS {
            self.rest.notices().warn(warning());
        } else {
            self.rest.notices().info(warning);
        }
        self.stage = Stage::Pausing(Instant::now() + pause);
        Ok(())
    }
}
