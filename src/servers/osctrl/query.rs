//! One query that osctrl has accepted: when to read what, and when it is over. Hands out the answers; who
//! is asked again when it is over is decided elsewhere.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::dispatch::Accepted;
use super::progress::{Progress, Taken, Window};
use super::rest::{self, Call, ITEMS, Purpose, Rest, SMALL};
use super::verdict::{Verdict, verdict};
use super::wire::{self, Count, Named, Reader, State, StateSql, Unread};
use crate::campaign::host::{Answer, HostId};
use crate::campaign::rows::Keep;
use crate::notices::Notices;
use crate::servers::http::{Item, List, limits};
use crate::servers::{BackendError, LONG, away};

/// The pause between two polls while answers come; it doubles to the longest while nothing moves.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Results are stored beside the counters: either may run ahead, so reading goes on for so long after
/// the server says that the query is over.
pub(super) const READ_ON: Duration = Duration::from_secs(1);
/// A query that was accepted may be unknown for so long (a server that reads from a replica).
pub(super) const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Answers in a row that can't be read and that polling survives, as a gateway's page now and then.
const UNREADABLE: u32 = 3;

/// An earlier query has asked no more hosts than this.
const MOST_EXPECTED: u64 = 1_000_000;

const READ: Purpose = Purpose {
    what: "read the results of queries",
    level: "query",
};

/// A query that the server has accepted.
pub struct Query {
    name: String,
    targets: Vec<HostId>,
    /// The server hands it out at least until then.
    pub until: SystemTime,
    /// How often its hosts had been asked before, without any of them answering.
    pub round: usize,
    dispatched: Instant,
    progress: Progress,
    /// What to do next; replaced only when it is done, so that a dropped call loses nothing.
    step: Step,
    /// Whether the round of reading that goes on has brought anything new.
    moved: bool,
    pause: Duration,
    /// Answers in a row that could not be read, when results were asked for and when the state was.
    unreadable: [u32; 2],
    /// Whether the server has shown that it knows the query.
    known: bool,
    state: State,
    /// Until when results are read once the server says that the query is over.
    read_on_until: Option<Instant>,
    /// Whether its end has been told: from then on only late results are read.
    ended: bool,
    /// The page of results that is on its way.
    page: Option<Page>,
    /// What was read of it last, and not taken yet.
    answer: Option<(HostId, Answer)>,
    /// An earlier run has dispatched it.
    earlier: Option<Earlier>,
}

/// A query of an earlier run, by the name that somebody's file has for it: until the server has said that it
/// asks the same, nothing of it is believed, and it is not ended.
struct Earlier {
    /// What it has to ask.
    sql: String,
    /// Whose answers are wanted.
    wanted: HashSet<HostId>,
    look: Look,
}

/// How far an earlier query has been looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What it is, is not known yet.
    Unknown,
    /// It asks the same; what it has brought is being read.
    Known,
    /// All that it had brought has been read.
    Through,
    /// The server does not have it.
    Gone,
    /// It is another's: it asks something else, or does not say what.
    Foreign,
}

/// An item's size, whose it is, and its answer.
type Read = (usize, Named, Answer);

/// A page of results that is taken apart as it comes: no more than one answer is held.
struct Page {
    list: List,
    /// An item that is being read: dropping the call that waits for it must not lose it.
    reading: Option<BoxFuture<'static, Option<Read>>>,
}

impl Page {
    /// The next item that was not read before; `None` at the page's end.
    async fn next(
        &mut self,
        progress: &Progress,
        keep: Keep,
        notices: &Notices,
    ) -> Result<Option<Read>, BackendError> {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = reading.await;
                self.reading = None;
                return read.map(Some).ok_or_else(|| self.list.no_item());
            }
            let Some(Item { json, whole, .. }) = self.list.next().await? else {
                return Ok(None);
            };
            let bytes = json.len();
            let notices = notices.clone();
            let answer = move |item: Unread| {
                let reader = Reader {
                    keep,
                    shown: |text: &str| notices.shown(text),
                };
                let named = item.named.clone();
                (bytes, named, reader.answer(item))
            };
            if bytes < LONG {
                let item = Unread::of(json, whole).ok_or_else(|| self.list.no_item())?;
                // Servers without pages send everything each time.
                if progress.knows(&item.named.id) {
                    continue;
                }
                return Ok(Some(answer(item)));
            }
            let read = move || Unread::of(json, whole).map(answer);
            self.reading = Some(away(bytes, read).boxed());
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Then results first: they are what matters, and the number of them that comes with each page shows
    /// whether anything moved.
    Pause(Instant),
    Results(Window),
    /// The state only in rounds that brought nothing: it tells when the query is over.
    State,
    /// Nothing more is read.
    Closed,
}

/// The end of a query.
pub struct Ended {
    /// What it says of the silent hosts.
    pub verdict: Verdict,
    /// Whether it was deleted.
    pub deleted: bool,
}

impl Query {
    /// A query that was accepted; polling begins soon.
    pub fn new(accepted: Accepted, round: usize) -> Self {
        let Accepted {
            name,
            targets,
            until,
        } = accepted;
        let now = Instant::now();
        Self {
            name,
            until,
            round,
            progress: Progress::new(targets.len()),
            targets,
            dispatched: now,
            step: Step::Pause(now + SHORTEST_PAUSE),
            moved: false,
            pause: SHORTEST_PAUSE,
            unreadable: [0; 2],
            known: false,
            state: State::default(),
            read_on_until: None,
            ended: false,
            page: None,
            answer: None,
            earlier: None,
        }
    }

    /// A query of an earlier run that asked this SQL: its answers of these hosts are wanted.
    pub fn taken_up(accepted: Accepted, sql: &str) -> Self {
        let wanted = accepted.targets.iter().cloned().collect();
        Self {
            step: Step::State,
            earlier: Some(Earlier {
                sql: sql.to_owned(),
                wanted,
                look: Look::Unknown,
            }),
            ..Self::new(accepted, 0)
        }
    }

    /// How far it has been looked through; `None` where this run has dispatched it.
    pub fn look(&self) -> Option<Look> {
        self.earlier.as_ref().map(|earlier| earlier.look)
    }

    /// Whether the server has said that it is a query of this step.
    pub fn is_ours(&self) -> bool {
        matches!(self.look(), None | Some(Look::Known | Look::Through))
    }

    /// Whether nothing can be had of it.
    pub fn is_lost(&self) -> bool {
        matches!(self.look(), Some(Look::Gone | Look::Foreign))
    }

    /// What the server calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who was asked.
    pub fn targets(&self) -> &[HostId] {
        &self.targets
    }

    /// How many of them have answered it.
    pub fn answers(&self) -> usize {
        let answered = |host: &&HostId| self.progress.has_answered(host);
        self.targets.iter().filter(answered).count()
    }

    /// Whether the server may go on handing it out: it is not known to be over, and does not complete by
    /// itself because each host has answered.
    pub fn may_be_running(&self) -> bool {
        self.is_ours() && !self.state.is_over() && self.answers() < self.targets.len()
    }

    /// When it wants to be read next; `None`: never.
    pub fn due(&self) -> Option<Instant> {
        match self.step {
            Step::Pause(until) => Some(until),
            Step::Results(_) | Step::State => Some(self.dispatched),
            Step::Closed => None,
        }
    }

    /// Whether its end has been told.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Nothing more is wanted of it.
    pub fn close(&mut self) {
        self.step = Step::Closed;
    }

    /// The answer that has come.
    pub fn take_answer(&mut self) -> Option<(HostId, Answer)> {
        self.answer.take()
    }

    /// Makes the next request, when it is due, or reads on in its answer. The query's end is told once; its
    /// answers are to be taken first. May be dropped at any await and called again.
    ///
    /// # Errors
    /// What the server refuses or answers wrongly, and what [`Rest::send`] fails with.
    pub async fn advance(
        &mut self,
        rest: &Rest,
        keep: Keep,
    ) -> Result<Option<Ended>, BackendError> {
        if let Step::Pause(_) = self.step {
            self.moved = false;
            self.step = Step::Results(self.progress.poll());
        }
        match self.step {
            Step::Results(window) => self.read_results(rest, window, keep).await.map(|()| None),
            Step::State => self.read_state(rest).await,
            Step::Pause(_) | Step::Closed => Ok(None),
        }
    }

    /// Reads until an answer is there, or the page is over.
    async fn read_results(
        &mut self,
        rest: &Rest,
        window: Window,
        keep: Keep,
    ) -> Result<(), BackendError> {
        let page = match &mut self.page {
            Some(page) => page,
            None => match self.open(rest, window).await? {
                Some(page) => self.page.insert(page),
                None => return Ok(()),
            },
        };
        loop {
            let read = match page.next(&self.progress, keep, rest.notices()).await {
                Ok(read) => read,
                Err(error) => return self.broken_off(rest, error),
            };
            let Some((bytes, named, answer)) = read else {
                return self.end_of_page(rest);
            };
            let unnamed = self.progress.has_unnamed();
            let taken = self.progress.take(&named, bytes);
            self.moved |= taken != Taken::Known;
            if !unnamed && self.progress.has_unnamed() {
                rest.warn_once("osctrl holds a result that names no host; it is left out".into());
            }
            if self.progress.is_too_much() {
                return Err(BackendError::Answer {
                    status: None,
                    message: format!(
                        "{} claims many times more results than hosts were asked",
                        rest.origin()
                    ),
                    hint: None,
                });
            }
            let wanted = |host: &HostId| match &self.earlier {
                Some(earlier) => earlier.wanted.contains(host),
                None => true,
            };
            if let Taken::Fresh(host) = taken
                && wanted(&host)
            {
                self.answer = Some((host, answer));
                return Ok(());
            }
        }
    }

    /// Asks for a page; `None` where the server does not have it.
    async fn open(&mut self, rest: &Rest, window: Window) -> Result<Option<Page>, BackendError> {
        let (page, size) = (window.page.to_string(), window.size.to_string());
        let path = ["queries", rest.environment(), "results", &self.name];
        let query = [("page", page.as_str()), ("page_size", size.as_str())];
        let call = Call::get(&path, &query, limits::LIST.bytes);
        let (incoming, reply) = rest.open(call).await?;
        // Whether the query is unknown is the state's to say.
        if reply.status == 404 && !rest::is_unknown_environment(&reply) {
            self.after_results(false);
            return Ok(None);
        }
        rest.judge(reply, READ)?;
        Ok(incoming.map(|incoming| Page {
            list: incoming.list(ITEMS, limits::ANSWER.bytes),
            reading: None,
        }))
    }

    fn end_of_page(&mut self, rest: &Rest) -> Result<(), BackendError> {
        let Some(page) = self.page.take() else {
            return Ok(());
        };
        let reply = page.list.end();
        let total = reply.and_then(|around| around.parse(wire::total_of_results));
        let total = match total {
            Ok(total) => total,
            Err(error) => return self.wait_out(rest, error),
        };
        self.unreadable[0] = 0;
        self.known = true;
        match self.progress.end_of_page(total, self.moved) {
            Some(window) => self.step = Step::Results(window),
            None => self.after_results(self.moved),
        }
        Ok(())
    }

    /// A page has broken off: what came of it is kept, and the rest is asked for again.
    fn broken_off(&mut self, rest: &Rest, error: BackendError) -> Result<(), BackendError> {
        let too_large = self
            .page
            .take()
            .is_some_and(|page| page.list.is_too_large());
        match error {
            error if too_large => Err(error),
            BackendError::Unreachable { .. } => {
                rest.notices()
                    .debug(|| format!("a page of results broke off: {error}; polling goes on"));
                self.pause_after(false);
                Ok(())
            }
            error => self.wait_out(rest, error),
        }
    }

    /// A round of reading is over.
    fn after_results(&mut self, moved: bool) {
        if let Some(earlier) = &mut self.earlier {
            earlier.look = Look::Through;
        }
        if moved || self.ended {
            self.pause_after(moved);
        } else {
            self.step = Step::State;
        }
    }

    async fn read_state(&mut self, rest: &Rest) -> Result<Option<Ended>, BackendError> {
        let path = ["queries", rest.environment(), &self.name];
        let reply = rest.send(Call::get(&path, &[], SMALL)).await?;
        // An unknown name is a zero document (transcript `unknown-query`), or a 404 from other versions.
        let (state, asks) = if reply.status == 404 && !rest::is_unknown_environment(&reply) {
            (State::default(), StateSql::default())
        } else {
            let reply = rest.judge(reply, READ)?;
            match (reply.json(), reply.json()) {
                (Ok(state), Ok(sql)) => (state, sql),
                (Err(error), _) | (_, Err(error)) => {
                    return self.wait_out(rest, error).map(|()| None);
                }
            }
        };
        self.unreadable[1] = 0;
        if self.look() == Some(Look::Unknown) {
            self.take_up(state, &asks);
            return Ok(None);
        }
        let moved = state != self.state;
        if state.id != Count(0) {
            self.known = true;
            self.state = state;
        } else if self.known {
            // It was there, so somebody has deleted it.
            self.state.deleted = true;
        } else if self.dispatched.elapsed() >= UNKNOWN_FOR {
            return Err(BackendError::Answer {
                status: None,
                message: format!(
                    "{} does not know the query that it has accepted",
                    rest.origin()
                ),
                hint: Some(
                    "somebody may have deleted it; if this happens again, look at osctrl's log"
                        .into(),
                ),
            });
        }
        if !self.state.is_over() {
            self.read_on_until = None;
            self.pause_after(moved);
            return Ok(None);
        }
        // The results of this round were read before the state was: those are the last only when the
        // time to read on is over.
        let now = Instant::now();
        let until = *self.read_on_until.get_or_insert(now + READ_ON);
        self.pause_after(now < until);
        if now < until {
            return Ok(None);
        }
        self.ended = true;
        let targets = self.targets.len();
        let silent = targets - self.answers();
        Ok(Some(Ended {
            verdict: verdict(&self.state, targets, silent, self.progress.error_items()),
            deleted: self.state.deleted,
        }))
    }

    /// The server has said what an earlier query is.
    fn take_up(&mut self, state: State, asks: &StateSql) {
        let Some(earlier) = &mut self.earlier else {
            return;
        };
        earlier.look = match &asks.query {
            _ if state.id == Count(0) || state.deleted => Look::Gone,
            Some(sql) if *sql == earlier.sql => Look::Known,
            _ => Look::Foreign,
        };
        if !self.is_ours() {
            self.ended = true;
            self.close();
            return;
        }
        self.known = true;
        self.state = state;
        // It may have asked many more hosts than are wanted now, and some of them twice.
        let Count(expected) = state.expected.max(state.executions).max(state.errors);
        let expected = usize::try_from(expected.min(MOST_EXPECTED)).unwrap_or(usize::MAX);
        self.progress = Progress::new(expected.max(self.targets.len()));
        self.step = Step::Results(self.progress.poll());
    }

    fn pause_after(&mut self, moved: bool) {
        if moved {
            self.pause = SHORTEST_PAUSE;
        }
        self.step = Step::Pause(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Waits out an answer that can't be read; the error, where there were too many in a row. Counted apart:
    /// results that can be read must not hide a state that can't.
    fn wait_out(&mut self, rest: &Rest, error: BackendError) -> Result<(), BackendError> {
        let unreadable = &mut self.unreadable[usize::from(matches!(self.step, Step::State))];
        if *unreadable >= UNREADABLE {
            return Err(error);
        }
        *unreadable += 1;
        rest.notices().debug(|| format!("{error}; polling goes on"));
        self.pause_after(false);
        Ok(())
    }
}
