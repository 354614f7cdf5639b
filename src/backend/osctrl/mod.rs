//! osctrl: live queries that are dispatched to nodes by uuid and polled. Knows osctrl's ways, as
//! `wire.rs`, `rest.rs` and the transcripts have them, and nothing of names, deadlines or documents.

mod progress;
mod resolve;
mod rest;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use self::progress::{Fresh, Progress, Window};
use self::rest::{Call, Purpose, Rest, SMALL};
use self::wire::{Count, Reader, State};
use super::http::{Http, Repeat, Reply};
use super::rows::Keep;
use super::{Answer, Asked, Backend, BackendError, Candidates, Event, Host, HostId};
use crate::allowlist::Statement;
use crate::step::model::{Limits, Server, Targets};

/// The pause between two polls while answers come; it doubles to the longest while nothing moves.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Results are stored beside the counters: either may run ahead, so reading goes on for so long after
/// the server says that the query is over.
const READ_ON: Duration = Duration::from_secs(1);
/// A query that was accepted may be unknown for so long (a server that reads from a replica).
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Time to tell the server to stop.
const STOP_TIME: Duration = Duration::from_secs(2);
/// Errors of the server in a row that polling survives: it only reads.
const FAILURES: u32 = 3;
/// A page of results is asked for such that it should be far smaller; one answer may be large.
const PAGE_BYTES: usize = 512 * 1024 * 1024;

const RUN: Purpose = Purpose {
    what: "run queries",
    level: "query",
};
const READ: Purpose = Purpose {
    what: "read the results of queries",
    level: "query",
};

/// One environment of one osctrl server, and the query that runs there.
pub struct Osctrl {
    rest: Rest,
    keep: Keep,
    dispatch: Dispatch,
}

/// What became of the dispatch.
enum Dispatch {
    /// There was none, or the server refused it.
    None,
    /// It was sent; whether the server runs it is not known (or not by which name).
    Unknown,
    /// The server runs it.
    Running(Box<Running>),
}

/// A query that the server has accepted.
struct Running {
    name: String,
    targets: Vec<HostId>,
    dispatched: Instant,
    progress: Progress,
    /// What to do next; replaced only when it is done, so that a dropped call loses nothing.
    step: Step,
    /// Whether the round of reading that goes on has brought anything new.
    moved: bool,
    pause: Duration,
    /// Errors of the server in a row.
    failures: u32,
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

impl Osctrl {
    /// A backend for the step's server; nothing is sent yet. `keep`: how much of one answer is kept.
    pub fn new(server: &Server, http: Http, keep: Keep) -> Self {
        Self {
            rest: Rest::new(server, http),
            keep,
            dispatch: Dispatch::None,
        }
    }
}

impl Backend for Osctrl {
    async fn authenticate(&mut self) -> Result<(), BackendError> {
        self.rest.authenticate().await
    }

    async fn verify(&mut self) -> Result<(), BackendError> {
        // Older servers have no such call; a token that is refused (401) is an error in any case.
        self.rest
            .send(Call::get(&["checks-auth"], &[], SMALL))
            .await?;
        resolve::verify(&self.rest).await?;
        // Needs the level that the dispatch needs; older servers answer 404 where there are none.
        let path = ["queries", self.rest.environment(), "list", "active"];
        let query = [("page", "1"), ("page_size", "1")];
        let reply = self.rest.send(Call::get(&path, &query, PAGE_BYTES)).await?;
        if reply.status == 403 {
            self.rest.judge(reply, RUN)?;
        }
        Ok(())
    }

    async fn resolve(
        &mut self,
        targets: &Targets,
        limits: &Limits,
    ) -> Result<Candidates, BackendError> {
        resolve::resolve(&self.rest, targets, limits).await
    }

    async fn start(
        &mut self,
        statement: &Statement,
        hosts: &[Host],
    ) -> Result<Asked, BackendError> {
        self.dispatch(statement.sql(), hosts).await?;
        Ok(Asked::All)
    }

    fn campaign_id(&self) -> Option<String> {
        match &self.dispatch {
            Dispatch::Running(running) => Some(running.name.clone()),
            Dispatch::None | Dispatch::Unknown => None,
        }
    }

    async fn next(&mut self) -> Result<Event, BackendError> {
        let Dispatch::Running(running) = &mut self.dispatch else {
            return Ok(Event::Exhausted);
        };
        let reader = Reader {
            keep: self.keep,
            shown: |text: &str| self.rest.shown(text),
        };
        loop {
            if let Some((host, answer)) = running.take_answer(&reader) {
                return Ok(Event::Answered { host, answer });
            }
            if running.exhausted {
                return Ok(Event::Exhausted);
            }
            match running.step {
                Step::Pause(until) => {
                    tokio::time::sleep_until(until).await;
                    running.moved = false;
                    running.step = Step::Results(running.progress.poll());
                }
                Step::Results(window) => running.read_results(&self.rest, window).await?,
                Step::State => running.read_state(&self.rest).await?,
            }
        }
    }

    fn may_be_running(&self, all_answered: bool) -> bool {
        !all_answered
            && match &self.dispatch {
                Dispatch::None => false,
                Dispatch::Unknown => true,
                Dispatch::Running(running) => !running.state.is_over(),
            }
    }

    async fn stop(&mut self, all_answered: bool) {
        // Once all have answered the query completes by itself.
        if !self.may_be_running(all_answered) {
            return;
        }
        let Dispatch::Running(running) = &self.dispatch else {
            tracing::info!("the server did not say which query it made, so it can't be stopped");
            return;
        };
        // The step's own deadline may be over.
        self.rest.set_deadline(Instant::now() + STOP_TIME);
        let path = ["queries", self.rest.environment(), "expire", &running.name];
        let call = Call::post(&path, None, Repeat::Safe);
        match self.rest.send(call).await {
            Ok(reply) if reply.is_success() => tracing::debug!("the query is stopped"),
            // Only administrators may (transcript `least-privilege`).
            Ok(reply) if reply.status == 403 => tracing::info!(
                "the token may not stop queries: osctrl hands it to silent hosts until it expires, an hour after the dispatch"
            ),
            Ok(reply) => tracing::info!(
                "the query could not be stopped: HTTP {}{}",
                reply.status,
                self.rest.words(&reply)
            ),
            Err(error) => tracing::info!("the query could not be stopped: {error}"),
        }
    }
}

impl Osctrl {
    async fn dispatch(&mut self, sql: &str, hosts: &[Host]) -> Result<(), BackendError> {
        // Without any uuid osctrl would ask every node of the environment.
        if hosts.is_empty() {
            return Err(BackendError::Targets {
                message: "there is no host to ask: nothing was dispatched".into(),
                hint: None,
            });
        }
        // osctrl looks for the word anywhere, in a parameter's value too, and carves files then.
        if sql.to_ascii_lowercase().contains("carves") {
            return Err(BackendError::Answer {
                status: None,
                message: "osctrl takes every query that contains the word `carves` for a file carve: nothing was dispatched".into(),
                hint: Some("use a template and parameters without that word".into()),
            });
        }
        let uuids: Vec<&str> = hosts.iter().map(|host| host.id.0.as_str()).collect();
        let body = wire::dispatch(sql, &uuids);
        let path = ["queries", self.rest.environment()];
        self.dispatch = Dispatch::Unknown;
        let sent = self
            .rest
            .send(Call::post(&path, Some(&body), Repeat::Unsent))
            .await;
        drop(body);
        let refused = match &sent {
            Ok(reply) => (400..500).contains(&reply.status),
            Err(BackendError::Auth { .. } | BackendError::Targets { .. }) => true,
            Err(BackendError::Answer {
                status: Some(status),
                ..
            }) => (300..500).contains(status),
            Err(_) => false,
        };
        if refused {
            self.dispatch = Dispatch::None;
        }
        let reply = self.accepted(sent?)?;
        let name = reply.json::<wire::Dispatched>()?.query_name;
        let name = name.unwrap_or_default();
        if !is_path_segment(&name) {
            return Err(BackendError::Answer {
                status: None,
                message: format!(
                    "{} accepted the query but did not say what it is called",
                    self.rest.origin()
                ),
                hint: Some("its answers can't be read; look at osctrl's list of queries".into()),
            });
        }
        tracing::info!(query = %self.rest.shown(&name), hosts = hosts.len(), "dispatched");
        let targets = hosts.iter().map(|host| host.id.clone()).collect();
        self.dispatch = Dispatch::Running(Box::new(Running::new(name, targets)));
        Ok(())
    }

    /// The dispatch's answer, where it is a success.
    fn accepted(&self, reply: Reply) -> Result<Reply, BackendError> {
        let creating = rest::error_of(&reply).is_some_and(|error| error == "error creating query");
        if !creating {
            return self.rest.judge(reply, RUN);
        }
        // One unknown uuid fails the whole call (transcript `query-unknown-host`).
        Err(BackendError::Answer {
            status: Some(reply.status),
            message: format!(
                "{} could not create the query{}",
                self.rest.origin(),
                self.rest.words(&reply)
            ),
            hint: Some("osctrl says so when one of the hosts is not enrolled any more: run the step again, so that the hosts are looked up anew".into()),
        })
    }
}

/// Whether a name can stand in a path without meaning another one.
fn is_path_segment(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.chars().any(char::is_control)
}

impl Running {
    fn new(name: String, targets: Vec<HostId>) -> Self {
        let now = Instant::now();
        Self {
            name,
            progress: Progress::new(targets.len()),
            targets,
            dispatched: now,
            step: Step::Pause(now + SHORTEST_PAUSE),
            moved: false,
            pause: SHORTEST_PAUSE,
            failures: 0,
            known: false,
            state: State::default(),
            read_on_until: None,
            unread: VecDeque::new(),
            body: Vec::new(),
            without_result: VecDeque::new(),
            exhausted: false,
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
        let results = reply.parse(wire::results)?;
        let absorbed = self.progress.absorb(&reply.body, &results);
        drop(results);
        self.failures = 0;
        self.known = true;
        self.moved |= absorbed.moved;
        if absorbed.unnamed {
            tracing::warn!("osctrl holds a result that names no host; it is left out");
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
            rest.judge(reply, READ)?.json()?
        };
        self.failures = 0;
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
            tracing::warn!(
                "the query was {what} at the server before every host had answered (by somebody else, or because it expired)"
            );
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
        if reply.status < 500 || rest::is_unknown_environment(reply) || self.failures >= FAILURES {
            return false;
        }
        self.failures += 1;
        tracing::debug!(status = reply.status, request = %reply.asked, "the server failed; polling goes on");
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
