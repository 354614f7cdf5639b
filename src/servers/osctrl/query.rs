//! One query that osctrl has accepted: when to read what, and when it is over. Hands out the answers; who
//! is asked again when it is over is decided elsewhere.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::progress::{Fresh, Progress, Window};
use super::rest::{self, Call, Purpose, Rest, SMALL};
use super::verdict::{Verdict, verdict};
use super::wire::{self, Count, Reader, State};
use crate::campaign::host::{Answer, HostId};
use crate::servers::BackendError;
use crate::servers::http::Reply;

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
/// A page of results is asked for such that it should be far smaller; one answer may be large.
const PAGE_BYTES: usize = 512 * 1024 * 1024;

const READ: Purpose = Purpose {
    what: "read the results of queries",
    level: "query",
};

/// A query that the server has accepted.
pub struct Query {
    name: String,
    targets: Vec<HostId>,
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
    /// Answers of the page that was read last, still unread, and its body.
    unread: VecDeque<Fresh>,
    body: Vec<u8>,
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
    /// A query of this name that these hosts were asked; polling begins soon.
    pub fn new(name: String, targets: Vec<HostId>, round: usize) -> Self {
        let now = Instant::now();
        Self {
            name,
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
            unread: VecDeque::new(),
            body: Vec::new(),
        }
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
        !self.state.is_over() && self.answers() < self.targets.len()
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

    /// The next answer that has come; read one by one, so that no more than a page's body is held
    /// beside what the campaign keeps.
    pub fn take_answer<F: Fn(&str) -> String>(
        &mut self,
        reader: &Reader<F>,
    ) -> Option<(HostId, Answer)> {
        let fresh = self.unread.pop_front()?;
        let data = fresh.data.and_then(|place| self.body.get(place));
        let answer = reader.answer(data, fresh.succeeded);
        if self.unread.is_empty() {
            self.body = Vec::new();
        }
        Some((fresh.host, answer))
    }

    /// Makes the next request, when it is due. The query's end is told once; its answers are to be taken
    /// first. May be dropped at any await and called again.
    ///
    /// # Errors
    /// What the server refuses or answers wrongly, and what [`Rest::send`] fails with.
    pub async fn advance(&mut self, rest: &Rest) -> Result<Option<Ended>, BackendError> {
        if let Step::Pause(_) = self.step {
            self.moved = false;
            self.step = Step::Results(self.progress.poll());
        }
        match self.step {
            Step::Results(window) => self.read_results(rest, window).await.map(|()| None),
            Step::State => self.read_state(rest).await,
            Step::Pause(_) | Step::Closed => Ok(None),
        }
    }

    async fn read_results(&mut self, rest: &Rest, window: Window) -> Result<(), BackendError> {
        let (page, size) = (window.page.to_string(), window.size.to_string());
        let path = ["queries", rest.environment(), "results", &self.name];
        let query = [("page", page.as_str()), ("page_size", size.as_str())];
        let reply = rest.send(Call::get(&path, &query, PAGE_BYTES)).await?;
        // Whether the query is unknown is the state's to say.
        if reply.status == 404 && !rest::is_unknown_environment(&reply) {
            self.after_results(false);
            return Ok(());
        }
        let reply = rest.judge(reply, READ)?;
        let results = match reply.parse(wire::results) {
            Ok(results) => results,
            Err(error) => return self.wait_out(rest, &reply, error),
        };
        let absorbed = self.progress.absorb(&reply.body, &results);
        drop(results);
        self.unreadable[0] = 0;
        self.known = true;
        self.moved |= absorbed.moved;
        if absorbed.unnamed {
            rest.warn_once("osctrl holds a result that names no host; it is left out".into());
        }
        if self.progress.is_too_much() {
            return Err(BackendError::Answer {
                status: None,
                message: format!(
                    "{} tells of many times more results than hosts were asked",
                    rest.origin()
                ),
                hint: None,
            });
        }
        self.unread = absorbed.fresh.into();
        if !self.unread.is_empty() {
            self.body = reply.body;
        }
        match absorbed.next {
            Some(window) => self.step = Step::Results(window),
            None => self.after_results(self.moved),
        }
        Ok(())
    }

    /// A round of reading is over.
    fn after_results(&mut self, moved: bool) {
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
        let state = if reply.status == 404 && !rest::is_unknown_environment(&reply) {
            State::default()
        } else {
            let reply = rest.judge(reply, READ)?;
            match reply.json() {
                Ok(state) => state,
                Err(error) => return self.wait_out(rest, &reply, error).map(|()| None),
            }
        };
        self.unreadable[1] = 0;
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

    fn pause_after(&mut self, moved: bool) {
        if moved {
            self.pause = SHORTEST_PAUSE;
        }
        self.step = Step::Pause(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Waits out an answer that can't be read; the error, where there were too many in a row. Counted apart:
    /// results that can be read must not hide a state that can't.
    fn wait_out(
        &mut self,
        rest: &Rest,
        reply: &Reply,
        error: BackendError,
    ) -> Result<(), BackendError> {
        let unreadable = &mut self.unreadable[usize::from(matches!(self.step, Step::State))];
        if *unreadable >= UNREADABLE {
            return Err(error);
        }
        *unreadable += 1;
        let (asked, status) = (&reply.asked, reply.status);
        rest.notices()
            .debug(|| format!("{asked}: HTTP {status}; polling goes on"));
        self.pause_after(false);
        Ok(())
    }
}
