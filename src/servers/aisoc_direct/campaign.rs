//! One campaign: a query for each host, each queued once, and looked at until it is answered. The service
//! can do nothing for many hosts at once, and can take nothing back.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{FutureExt, LocalBoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::client::{Client, Enqueue, Look};
use super::pace::Pace;
use super::wire::{Reader, Seen};
use crate::campaign::host::{Answer, Host, HostId};
use crate::printable::listed;
use crate::servers::{BackendError, Event};

/// Requests that are under way at once. Of 200 enqueues at once all were well on two cores; 32 keep the
/// service free for its agents.
const AT_ONCE: usize = 32;
/// As long as hosts are still to be asked, so many of these look at what was asked already.
const LOOKS_MEANWHILE: usize = 8;

/// So many looks may bring what is no answer of the service; that is then what there is of the host.
const GARBLED_LOOKS: u8 = 3;

/// The hosts of a campaign.
pub(super) struct Campaign {
    client: Client,
    sql: Arc<str>,
    reader: Reader,
    hosts: Vec<Asked>,
    /// Who is still to be asked.
    queue: VecDeque<usize>,
    /// Who is to be looked at in this round, and in the next.
    round: VecDeque<usize>,
    next_round: Vec<usize>,
    pace: Pace,
    /// When this round began.
    begun: Instant,
    /// Whether this round brought an answer.
    moved: bool,
    /// Whether a pause between rounds is under way.
    pausing: bool,
    enqueues: usize,
    looks: usize,
    work: FuturesUnordered<LocalBoxFuture<'static, Done>>,
    events: VecDeque<Event>,
    /// Warnings that were given.
    told: HashSet<&'static str>,
}

/// A host.
struct Asked {
    id: HostId,
    state: State,
    /// Looks at it that brought no answer of the service.
    garbled: u8,
}

/// Where a host's query is.
enum State {
    /// Not sent.
    Waiting,
    /// On its way: true while it may have arrived.
    UnderWay(Arc<AtomicBool>),
    /// Queued, under this id.
    Queued(Arc<str>),
    /// It may be queued, under an id that nobody knows.
    Lost,
    /// Nothing more comes of it.
    Over,
}

/// What is over.
enum Done {
    Enqueued(usize, Enqueue),
    Looked(usize, Result<Look, BackendError>),
    Paused,
}

impl Campaign {
    /// Nobody is asked yet.
    pub fn new(client: Client, sql: &str, reader: Reader, hosts: &[Host]) -> Self {
        let asked = |host: &Host| Asked {
            id: host.id.clone(),
            state: State::Waiting,
            garbled: 0,
        };
        Self {
            client,
            sql: sql.into(),
            reader,
            hosts: hosts.iter().map(asked).collect(),
            queue: (0..hosts.len()).collect(),
            round: VecDeque::new(),
            next_round: Vec::new(),
            pace: Pace::new(),
            begun: Instant::now(),
            moved: false,
            pausing: false,
            enqueues: 0,
            looks: 0,
            work: FuturesUnordered::new(),
            events: VecDeque::new(),
            told: HashSet::new(),
        }
    }

    /// Asks the first host alone: what is wrong with the way is wrong for all, and nobody else was asked.
    ///
    /// # Errors
    /// What speaks against asking anybody.
    pub async fn start(&mut self) -> Result<(), BackendError> {
        if let Some(first) = self.queue.pop_front() {
            self.enqueue(first);
        }
        let Some(Done::Enqueued(host, enqueue)) = self.work.next().await else {
            return Ok(());
        };
        match enqueue {
            Enqueue::Lost(error) => {
                self.hosts[host].state = State::Lost;
                Err(error)
            }
            Enqueue::NotSent(error) => {
                self.hosts[host].state = State::Over;
                Err(error)
            }
            enqueue => self.enqueued(host, enqueue),
        }
    }

    /// The next thing that happens. May be dropped at any await and called again.
    ///
    /// # Errors
    /// What ends the campaign for all hosts.
    pub async fn next(&mut self) -> Result<Event, BackendError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.fill();
            if !self.events.is_empty() {
                continue;
            }
            match self.work.next().await {
                Some(done) => self.done(done)?,
                None => return Ok(Event::Exhausted),
            }
        }
    }

    /// Whether a host may still run its query, or be handed it whenever it comes back.
    pub fn may_be_running(&self) -> bool {
        self.hosts.iter().any(|host| match &host.state {
            State::Waiting | State::Over => false,
            State::UnderWay(flag) => flag.load(Ordering::Relaxed),
            State::Queued(_) | State::Lost => true,
        })
    }

    /// Begins as many requests as may be under way.
    fn fill(&mut self) {
        while self.enqueues < AT_ONCE - LOOKS_MEANWHILE
            && let Some(host) = self.queue.pop_front()
        {
            self.enqueue(host);
        }
        let idle = AT_ONCE - self.enqueues;
        while self.looks < idle
            && let Some(host) = self.round.pop_front()
        {
            self.look(host);
        }
        let over = self.looks == 0 && self.round.is_empty() && !self.pausing;
        if over && !self.next_round.is_empty() {
            self.pause();
        }
    }

    fn enqueue(&mut self, host: usize) {
        let under_way = Arc::new(AtomicBool::new(false));
        let asked = &mut self.hosts[host];
        asked.state = State::UnderWay(Arc::clone(&under_way));
        let (client, sql, id) = (self.client.clone(), Arc::clone(&self.sql), asked.id.clone());
        self.enqueues += 1;
        // It may have heard of it from now on.
        self.events.push_back(Event::Asked(id.clone()));
        self.work.push(
            async move { Done::Enqueued(host, client.enqueue(&id.text(), &sql, &under_way).await) }
                .boxed_local(),
        );
    }

    fn look(&mut self, host: usize) {
        let State::Queued(id) = &self.hosts[host].state else {
            return;
        };
        let (client, reader, id) = (self.client.clone(), self.reader, Arc::clone(id));
        self.looks += 1;
        self.work
            .push(async move { Done::Looked(host, client.look(&id, reader).await) }.boxed_local());
    }

    fn pause(&mut self) {
        let took = self.begun.elapsed();
        let pause = self.pace.after(took, std::mem::take(&mut self.moved));
        self.pausing = true;
        let until = Instant::now() + pause;
        self.work.push(
            async move {
                tokio::time::sleep_until(until).await;
                Done::Paused
            }
            .boxed_local(),
        );
    }

    fn done(&mut self, done: Done) -> Result<(), BackendError> {
        match done {
            Done::Paused => {
                self.pausing = false;
                self.begun = Instant::now();
                self.round = std::mem::take(&mut self.next_round).into();
                Ok(())
            }
            Done::Enqueued(host, enqueue) => self.enqueued(host, enqueue),
            Done::Looked(host, look) => {
                self.looks -= 1;
                self.looked(host, look?);
                Ok(())
            }
        }
    }

    fn enqueued(&mut self, host: usize, enqueue: Enqueue) -> Result<(), BackendError> {
        self.enqueues -= 1;
        let id = self.hosts[host].id.clone();
        self.hosts[host].state = match enqueue {
            Enqueue::Queued(query) => {
                self.next_round.push(host);
                // Something moves.
                self.moved = true;
                State::Queued(query.into())
            }
            Enqueue::Unknown => {
                self.events.push_back(Event::Unknown(id));
                State::Over
            }
            Enqueue::Refused(error) => {
                self.hosts[host].state = State::Over;
                return Err(error);
            }
            Enqueue::Lost(error) => {
                self.tell("lost", || format!(
                    "it is not known whether {} was asked: {error}. It is not asked again, for it would run the query twice, and what it answers can't be read (nor is any other host of which this holds)",
                    listed(&[id.text()])
                ));
                State::Lost
            }
            Enqueue::NotSent(error) => {
                self.tell("not sent", || {
                    format!(
                        "{} was not asked: {error} (nor was any other host of which this holds)",
                        listed(&[id.text()])
                    )
                });
                self.events.push_back(Event::NotAsked(id));
                State::Over
            }
        };
        Ok(())
    }

    fn looked(&mut self, host: usize, look: Look) {
        let answer = match look {
            Look::Seen(Seen::Pending) => return self.next_round.push(host),
            Look::Seen(Seen::Answered(Answer::Error(error))) => {
                Answer::Error(self.client.notices().shown(&error))
            }
            Look::Seen(Seen::Answered(answer)) => answer,
            Look::Garbled(_) if self.hosts[host].garbled + 1 < GARBLED_LOOKS => {
                self.hosts[host].garbled += 1;
                return self.next_round.push(host);
            }
            Look::Unreadable(error) | Look::Garbled(error) => {
                Answer::Error(format!("the answer could not be read: {error}"))
            }
            Look::Away(error) => {
                self.tell("away", || {
                    format!("{error}; trying again until the deadline")
                });
                return self.next_round.push(host);
            }
            Look::Gone => {
                self.hosts[host].state = State::Over;
                let id = self.hosts[host].id.clone();
                return self.tell("gone", || {
                    format!("the service does not know the query of {} any more: its answer can't be read (nor that of any other host of which this holds)", listed(&[id.text()]))
                });
            }
        };
        self.moved = true;
        let asked = &mut self.hosts[host];
        asked.state = State::Over;
        let host = asked.id.clone();
        self.events.push_back(Event::Answered { host, answer });
    }

    /// Tells of the first of its kind: a thousand hosts would have a thousand lines, and the document names
    /// them.
    fn tell(&mut self, kind: &'static str, text: impl FnOnce() -> String) {
        if self.told.insert(kind) {
            self.client.notices().warn(text());
        }
    }
}
