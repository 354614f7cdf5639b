//! Fleet: hosts are found over REST, a campaign is started for exactly them, and their answers are
//! heard on a websocket; where that is refused, each host is asked by a call of its own.
//!
//! The facts about Fleet that the code depends on are recorded in `tests/transcripts/fleet/`.

mod attempts;
pub(in crate::servers) mod collector;
mod dispatch;
mod frames;
pub mod gitops;
mod hosts;
mod live;
mod meter;
mod noise;
mod one_by_one;
mod patience;
mod reading;
mod refusal;
mod rest;
mod saved;
mod socket;
mod stream;
pub(in crate::servers) mod webhook;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use self::live::Live;
use self::one_by_one::OneByOne;
use self::reading::Heard;
use self::rest::{May, Rest};
use self::saved::{Because, Way};
use self::socket::{NotOpen, Socket};
use super::http::{Connecting, Http};
use super::{Backend, BackendError, Event, Found, SavedQuery};
use crate::allowlist::Statement;
use crate::campaign::Limits;
use crate::campaign::host::{Asked, Candidates, Host};
use crate::campaign::roster::Targets;
use crate::campaign::rows::Keep;
use crate::step::model::Server;

/// Of the two seconds that tidying up may take, the part for a campaign; the rest is for the logout.
const STOP_WITHIN: Duration = Duration::from_millis(1_200);
const LOGOUT_WITHIN: Duration = Duration::from_millis(1_900);

/// One Fleet server, for one step.
pub struct Fleet {
    rest: Rest,
    keep: Keep,
    line: Line,
    mode: Mode,
    /// The operator's policy wants nothing but saved queries.
    saved_only: bool,
    /// What the user's roles allow, once they are known.
    may: May,
}

/// The results socket before there is a campaign.
enum Line {
    Closed,
    Opening(BoxFuture<'static, Result<Socket, NotOpen>>),
    Open(Box<Socket>),
    NotOpen(NotOpen),
}

/// How the hosts are asked.
enum Mode {
    Idle,
    Live(Box<Live>),
    OneByOne(Box<OneByOne>),
}

impl Fleet {
    /// The step's server. `keep` bounds one host's answer; nothing is sent yet.
    pub fn new(server: &Server, http: Http, keep: Keep) -> Self {
        Self {
            rest: Rest::new(http, server.credentials.clone()),
            keep,
            line: Line::Closed,
            mode: Mode::Idle,
            saved_only: false,
            may: May::Run,
        }
    }

    /// Nothing is run but queries that the server keeps (the policy's `saved_queries_only`).
    #[must_use]
    pub fn saved_queries_only(self, saved_only: bool) -> Self {
        Self { saved_only, ..self }
    }

    /// The socket, opened and good for a campaign. It was opened while the hosts were looked for, which may
    /// have taken long: one that did not open then, or is gone by now, is opened once more.
    async fn socket(&mut self) -> Result<Socket, NotOpen> {
        let mut fresh = matches!(self.line, Line::Closed);
        if fresh {
            self.line.begin(&self.rest).map_err(NotOpen::Failed)?;
        }
        loop {
            self.line.settle().await;
            match std::mem::replace(&mut self.line, Line::Closed) {
                Line::Open(mut socket) => match socket.heard_already(self.keep) {
                    Some(Ok(Heard::Refused(text))) if fresh => {
                        return Err(NotOpen::Failed(refusal::of_stream(&self.rest, &text)));
                    }
                    Some(Err(_) | Ok(Heard::Refused(_))) if !fresh => {}
                    Some(_) | None => return Ok(*socket),
                },
                Line::NotOpen(why) if fresh || !why.may_pass() => return Err(why),
                Line::NotOpen(_) => {}
                Line::Closed | Line::Opening(_) => {
                    return Err(NotOpen::refused("it did not open"));
                }
            }
            fresh = true;
            self.line.begin(&self.rest).map_err(NotOpen::Failed)?;
        }
    }
}

impl Line {
    fn begin(&mut self, rest: &Rest) -> Result<(), BackendError> {
        let (http, token) = (rest.http.clone(), rest.token()?.clone());
        let opening = async move { Socket::open(&http, &token, true).await };
        *self = Self::Opening(opening.boxed());
        Ok(())
    }

    /// Waits for a socket that is being opened. Dropping the future loses nothing.
    async fn settle(&mut self) {
        if let Self::Opening(opening) = self {
            *self = match opening.await {
                Ok(socket) => Self::Open(Box::new(socket)),
                Err(why) => Self::NotOpen(why),
            };
        }
    }
}

impl Backend for Fleet {
    async fn authenticate(&mut self) -> Result<(), BackendError> {
        self.rest.login().await
    }

    async fn verify(&mut self) -> Result<(), BackendError> {
        self.may = self.rest.verify().await?;
        Ok(())
    }

    async fn permits(&mut self, statement: &Statement, _: &[Host]) -> Result<(), BackendError> {
        let because = match self.may {
            _ if self.saved_only => Because::Policy,
            May::Run => return Ok(()),
            May::RunSaved => Because::Role(BackendError::Auth {
                message: format!(
                    "{} does not let this user run live queries: its role is observer",
                    self.rest.server()
                ),
                hint: None,
            }),
        };
        let found = saved::find(&self.rest, statement.sql(), &because).await;
        found.map(drop)
    }

    async fn resolve(
        &mut self,
        targets: &Targets,
        limits: &Limits,
    ) -> Result<Candidates, BackendError> {
        // Meanwhile the socket is opened: it may be authenticated before the campaign exists.
        self.line.begin(&self.rest)?;
        let finding = hosts::find(&self.rest, targets, limits);
        tokio::pin!(finding);
        loop {
            let opening = matches!(self.line, Line::Opening(_));
            tokio::select! {
                biased;
                found = &mut finding => return found,
                () = self.line.settle(), if opening => {}
            }
        }
    }

    async fn search(&mut self, text: &str, most: usize) -> Result<Option<Found>, BackendError> {
        hosts::search(&self.rest, text, most).await.map(Some)
    }

    async fn start(
        &mut self,
        statement: &Statement,
        hosts: &[Host],
    ) -> Result<Asked, BackendError> {
        let mut ids = BTreeSet::new();
        for host in hosts {
            let id = host.id.number().ok_or_else(|| BackendError::Targets {
                message: format!("{} is no host of Fleet's", host.hostname()),
                hint: None,
            })?;
            ids.insert(id);
        }
        let way = if self.saved_only {
            Way::Saved(saved::find(&self.rest, statement.sql(), &Because::Policy).await?)
        } else {
            Way::Sql(Arc::from(statement.sql()))
        };
        // Before the dispatch, however long it takes: what nobody hears is lost.
        let socket = match self.socket().await {
            // The hosts were found a moment ago: the server may be gone since, and come back.
            Err(why) if why.may_pass() => {
                self.rest.ready().await?;
                self.socket().await
            }
            opened => opened,
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(NotOpen::Failed(error)) if !matches!(error, BackendError::Unreachable { .. }) => {
                return Err(error);
            }
            Err(why) => {
                // The server is there, but something on the way cuts websockets.
                let words = match why {
                    NotOpen::Refused { words, .. } => words,
                    NotOpen::Failed(error) => error.to_string(),
                };
                self.rest.notices().warn(format!("{} or a proxy in front of it refused the websocket ({words}): the hosts are asked one by one, which is slower; a host that takes longer than the server waits (25 s unless configured) is asked again, and an offline host answers only if it is back when it is asked",
                    self.rest.server()));
                let one_by_one = OneByOne::new(self.rest.clone(), self.keep, way, hosts);
                self.mode = Mode::OneByOne(Box::new(one_by_one));
                return Ok(Asked::OneByOne);
            }
        };
        let live = Live::new(&self.rest, self.keep, socket, &way, &ids);
        self.mode = Mode::Live(Box::new(live));
        if let Mode::Live(live) = &mut self.mode {
            live.launch().await?;
        }
        Ok(Asked::All)
    }

    fn connecting(&self) -> Option<Connecting> {
        self.rest.http.connecting()
    }

    fn campaign_id(&self) -> Option<String> {
        match &self.mode {
            Mode::Live(live) => live.ids(),
            Mode::Idle | Mode::OneByOne(_) => None,
        }
    }

    fn saved_query(&self) -> Option<SavedQuery> {
        let way = match &self.mode {
            Mode::Live(live) => live.way(),
            Mode::OneByOne(one_by_one) => Some(one_by_one.way()),
            Mode::Idle => None,
        };
        match way {
            Some(Way::Saved(saved)) => Some(saved.shown()),
            Some(Way::Sql(_)) | None => None,
        }
    }

    async fn next(&mut self) -> Result<Event, BackendError> {
        match &mut self.mode {
            Mode::Live(live) => live.next().await,
            Mode::OneByOne(one_by_one) => one_by_one.next().await,
            Mode::Idle => Ok(Event::Exhausted),
        }
    }

    fn may_be_running(&self, all_answered: bool) -> bool {
        match &self.mode {
            Mode::Live(live) => live.may_be_running(),
            Mode::OneByOne(one_by_one) => !all_answered && one_by_one.may_be_running(),
            Mode::Idle => false,
        }
    }

    async fn stop(&mut self, _all_answered: bool) {
        let now = Instant::now();
        // Calls that are under way end with their connections.
        let mode = std::mem::replace(&mut self.mode, Mode::Idle);
        if let Mode::Live(live) = mode {
            live.stop(now + STOP_WITHIN).await;
        }
        if let Line::Open(socket) = std::mem::replace(&mut self.line, Line::Closed) {
            socket.close().await;
        }
        self.rest.logout(now + LOGOUT_WITHIN).await;
    }
}

/// Reads any bytes as everything that Fleet may send; for the fuzzer only.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let keep = Keep {
        rows: 100,
        bytes: 10_000,
    };
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Heard::Answer {
            answer: crate::campaign::host::Answer::Rows(rows),
            ..
        } = reading::read(text, keep)
        {
            assert!(rows.kept() <= 100 && rows.json().len() <= 10_000);
        }
        let _ = wire::reason(text);
    }
    let _ = serde_json::from_slice::<wire::AroundHosts>(bytes);
    let _ = serde_json::from_slice::<wire::ListedHost>(bytes);
    let _ = serde_json::from_slice::<wire::LabelsSummary>(bytes);
    let _ = serde_json::from_slice::<wire::LoggedIn>(bytes);
    let _ = serde_json::from_slice::<wire::Me>(bytes);
    let _ = serde_json::from_slice::<wire::Started>(bytes);
    if let Ok(answer) = serde_json::from_slice::<wire::OneHostAnswer<'_>>(bytes) {
        let _ = answer.error();
    }
}
