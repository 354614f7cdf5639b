//! A query that osctrl has accepted: when to read what, and when it is over. Hands out the answers; the
//! campaign above says whose they are and when they are enough.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::progress::{Fresh, Progress, Window};
use super::rest::{self, Call, Purpose, Rest, SMALL};
use super::wire::{self, Count, Reader, State};
use crate::campaign::host::Answer;
use crate::campaign::host::HostId;
use crate::notices::Notices;
use crate::servers::http::Reply;
use crate::servers::{BackendError, Event};

/// The pause between two polls while answers come; it doubles to the longest while nothing moves.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Results are stored beside the counters: either may run ahead, so reading goes on for so long after
/// the server says that the query is over.
pub(super) const READ_ON: Duration = Duration::from_secs(1);
/// A query that was accepted may be unknown for so long (a server that reads from a replica).
pub(super) const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Errors of the server in a row that polling survives: it only reads.
const FAILURES: u32 = 3;
/// A page of results is asked for such that it should be far smaller; one answer may be large.
const PAGE_BYTES: usize = 512 * 1024 * 1024;

const READ: Purpose = Purpose {
    what: "read the results of queries",
    level: "query",
};

/// A query that the server has accepted.
pub struct Running {
    name: String,
    notices: Notices,
    targets: Vec<HostId>,
    dispatched: Instant,
    progress: Progress,
    /// What to do next; replaced only when it is done, so that a dropped call loses nothing.
    step: Step,
    /// Whether the round of reading that goes on has brought anything new.
    moved: bool,
    pause: Duration,
    /// Errors of the server in a row, when results were read and when the state was.
    failures: [u32; 2],
    /// Whether the server has shown that it knows the query.
    known: bool,
    state: State,
    /// Until when results are read once the server says that the query is over.
    read_on_until: Option<Instant>,
    /// Answers of the page that was read last, still unread, and its body.
    unread: VecDeque<Fresh>,
    body: Vec<u8>,
    /// Hosts that answered with a status alone.
    without_result: VecDeque<HostId>,
    exhausted: bool,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Pause(Instant),
    /// Results first: they are what matters, and the number of them that comes with each page shows
    /// whether anything moved.
    Results(Window),
    /// The state only in rounds that brought nothing: it tells when the query is over.
    State,
}

impl Running {
    /// A query of this name that these hosts were asked; polling begins soon.
    pub fn new(name: String, targets: Vec<HostId>, notices: Notices) -> Self {
        let now = Instant::now();
        Self {
            name,
            notices,
            progress: Progress::new(targets.len()),
            targets,
            dispatched: now,
            step: Step::Pause(now + SHORTEST_PAUSE),
            moved: false,
            pause: SHORTEST_PAUSE,
            failures: [0; 2],
            known: false,
            state: State::default(),
            read_on_until: None,
            unread: VecDeque::new(),
            body: Vec::new(),
            without_result: VecDeque::new(),
            exhausted: false,
        }
    }

    /// What the server calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the server is known to hand it to nobody any more.
    pub fn is_over(&self) -> bool {
        self.state.is_over()
    }

    /// The next thing that happens. May be dropped at any await and called again.
    ///
    /// # Errors
    /// What the server refuses or answers wrongly, and what [`Rest::send`] fails with.
    pub async fn next<F: Fn(&str) -> String>(
        &mut self,
        rest: &Rest,
        reader: &Reader<F>,
    ) -> Result<Event, BackendError> {
        loop {
            if let Some((host, answer)) = self.take_answer(reader) {
                return Ok(Event::Answered { host, answer });
            }
            if self.exhausted {
                return Ok(Event::Exhausted);
            }
            match self.step {
                Step::Pause(until) => {
                    tokio::time::sleep_until(until).await;
                    self.moved = false;
                    self.step = Step::Results(self.progress.poll());
                }
                Step::Results(window) => self.read_results(rest, window).await?,
                Step::State => self.read_state(rest).await?,
            }
        }
    }

    /// The next answer that has come; read one by one, so that no more than a page's body is held
    /// beside what the campaign keeps.
    fn take_answer<F: Fn(&str) -> String>(
        &mut self,
        reader: &Reader<F>,
    ) -> Option<(HostId, Answer)> {
        if let Some(fresh) = self.unread.pop_front() {
            let data = fresh.data.and_then(|place| self.body.get(place));
            let answer = reader.answer(data, fresh.succeeded);
            if self.unread.is_empty() {
                self.body = Vec::new();
            }
            return Some((fresh.host, answer));
        }
        let host = self.without_result.pop_front()?;
        Some((
            host,
            Answer::Error(
                "the host answered without a result: osquery reported an error, and osctrl keeps no text of it"
                    .into(),
            ),
        ))
    }

    async fn read_results(&mut self, rest: &Rest, window: Window) -> Result<(), BackendError> {
        let (page, size) = (window.page.to_string(), window.size.to_string());
        let path = ["queries", rest.environment(), "results", &self.name];
        let query = [("page", page.as_str()), ("page_size", size.as_str())];
        let reply = rest.send(Call::get(&path, &query, PAGE_BYTES)).await?;
        // Whether the query is unknown is the state's to say.
        if reply.status == 404 && !rest::is_unknown_environment(&reply) {
            self.step = Step::State;
            return Ok(());
        }
        if self.survives(&reply) {
            return Ok(());
        }
        let reply = rest.judge(reply, READ)?;
        let results = match reply.parse(wire::results) {
            Ok(results) => results,
            Err(error) => return self.wait_out(&reply, error),
        };
        let absorbed = self.progress.absorb(&reply.body, &results);
        drop(results);
        *self.failures() = 0;
        self.known = true;
        self.moved |= absorbed.moved;
        if absorbed.unnamed {
            rest.notices()
                .warn("osctrl holds a result that names no host; it is left out");
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
            None if self.moved => self.pause_after(true),
            None => self.step = Step::State,
        }
        Ok(())
    }

    async fn read_state(&mut self, rest: &Rest) -> Result<(), BackendError> {
        let path = ["queries", rest.environment(), &self.name];
        let reply = rest.send(Call::get(&path, &[], SMALL)).await?;
        if self.survives(&reply) {
            return Ok(());
        }
        // An unknown name is a zero document (transcript `unknown-query`), or a 404 from other versions.
        let state = if reply.status == 404 && !rest::is_unknown_environment(&reply) {
            State::default()
        } else {
            let reply = rest.judge(reply, READ)?;
            match reply.json() {
                Ok(state) => state,
                Err(error) => return self.wait_out(&reply, error),
            }
        };
        *self.failures() = 0;
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
            return Ok(());
        }
        // The results of this round were read before the state was: those are the last only when the
        // time to read on is over.
        let now = Instant::now();
        let until = *self.read_on_until.get_or_insert(now + READ_ON);
        if now < until {
            self.pause_after(true);
            return Ok(());
        }
        self.end();
        Ok(())
    }

    /// Nothing more will come.
    fn end(&mut self) {
        self.exhausted = true;
        if self.state.all_counted() {
            // Each node's answer is counted, so those without an item sent a status alone.
            let silent = |host: &&HostId| !self.progress.has_answered(host);
            self.without_result = self.targets.iter().filter(silent).cloned().collect();
        } else {
            let what = if self.state.deleted {
                "deleted"
            } else {
                "ended"
            };
            self.notices.warn(format!("the query was {what} at the server before every host had answered (by somebody else, or because it expired)"));
        }
    }

    fn pause_after(&mut self, moved: bool) {
        if moved {
            self.pause = SHORTEST_PAUSE;
        }
        self.step = Step::Pause(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Whether the answer is an error of the server that polling may wait out.
    fn survives(&mut self, reply: &Reply) -> bool {
        let passing = reply.status >= 500 && !rest::is_unknown_environment(reply);
        passing && self.goes_on(reply)
    }

    /// Waits out an answer that can't be read, as a gateway's page now and then; the error, where there
    /// were too many in a row.
    fn wait_out(&mut self, reply: &Reply, error: BackendError) -> Result<(), BackendError> {
        if self.goes_on(reply) {
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Counted apart: results that can be read must not hide a state that can't.
    fn failures(&mut self) -> &mut u32 {
        &mut self.failures[usize::from(matches!(self.step, Step::State))]
    }

    fn goes_on(&mut self, reply: &Reply) -> bool {
        let failures = self.failures();
        if *failures >= FAILURES {
            return false;
        }
        *failures += 1;
        self.notices
            .debug(|| format!("{}: HTTP {}; polling goes on", reply.asked, reply.status));
        self.pause_after(false);
        true
    }
}

impl State {
    /// Whether the server hands the query to nobody any more.
    fn is_over(&self) -> bool {
        self.completed || self.expired || self.deleted
    }

    /// Whether it is over because every node has answered: somebody may also have completed it by hand.
    fn all_counted(&self) -> bool {
        let counted = self.executions.0.saturating_add(self.errors.0);
        self.completed && counted >= self.expected.0
    }
}
