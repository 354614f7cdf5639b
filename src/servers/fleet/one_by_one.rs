//! The way without a websocket: one synchronous call a host, a bounded number at once. Slower, and
//! used only where the upgrade is refused.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::reading;
use super::rest::{OneHost, Purpose, Rest, is_of_role};
use super::saved::{self, Because, Saved, Way};
use super::wire::{ONE_HOST_TIMEOUT, OneHostAnswer, SavedRun};
use crate::campaign::host::Answer;
use crate::campaign::host::Host;
use crate::campaign::host::HostId;
use crate::campaign::rows::Keep;
use crate::servers::http::{Reply, limits};
use crate::servers::{BackendError, Event};

/// Calls that are under way at once. Each holds a connection, and a campaign at the server: some 200
/// campaigns at once make Fleet unusable (fleetdm/fleet#52000).
const AT_ONCE: usize = 20;
/// An offline host is asked again after this, in case it came back; the call itself ends at once.
const OFFLINE_PAUSE: Duration = Duration::from_secs(5);
/// The least time between two calls for a host that is online and did not answer. The server's own
/// wait is 25 s unless configured; one that is configured away must not be hammered.
const SILENT_PAUSE: Duration = Duration::from_secs(1);
/// While a part of the server is down, each host is asked again after this.
const AWAY_PAUSE: Duration = Duration::from_secs(1);
/// A call that the server fails is repeated so often.
const MOST_FAILURES: usize = 3;

/// Hosts that are asked one by one.
pub(super) struct OneByOne {
    rest: Rest,
    keep: Keep,
    way: Way,
    /// The saved query to run instead.
    seeking: Option<BoxFuture<'static, Result<Arc<Saved>, BackendError>>>,
    hosts: Vec<Asking>,
    queue: VecDeque<usize>,
    under_way: usize,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Whether the server only has the call by identifier.
    by_identifier: bool,
    /// Statuses for which it was said that a host is not asked again.
    gave_up: HashSet<u16>,
}

struct Asking {
    id: HostId,
    uuid: String,
    hostname: String,
    announced: bool,
    offline: bool,
    by_identifier: bool,
    failures: usize,
}

enum Done {
    Called {
        host: usize,
        begun: Instant,
        /// Whether the statement itself was sent.
        ad_hoc: bool,
        reply: Result<Reply, BackendError>,
    },
    Rested(usize),
}

impl OneByOne {
    pub(super) fn new(rest: Rest, keep: Keep, way: Way, hosts: &[Host]) -> Self {
        // Hosts that are likely to answer are not kept waiting by those that are not.
        let mut queue: Vec<usize> = (0..hosts.len()).collect();
        queue.sort_by_key(|host| hosts[*host].online == Some(false));
        Self {
            rest,
            keep,
            way,
            seeking: None,
            hosts: hosts
                .iter()
                .map(|host| Asking {
                    id: host.id.clone(),
                    uuid: host.uuid().to_owned(),
                    hostname: host.hostname().to_owned(),
                    announced: false,
                    offline: false,
                    by_identifier: false,
                    failures: 0,
                })
                .collect(),
            queue: queue.into(),
            under_way: 0,
            work: FuturesUnordered::new(),
            by_identifier: false,
            gave_up: HashSet::new(),
        }
    }

    /// What is asked.
    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// Whether calls are under way, which the server goes on with for as long as it waits.
    pub(super) fn may_be_running(&self) -> bool {
        self.under_way > 0
    }

    /// The next thing that happens.
    pub(super) async fn next(&mut self) -> Result<Event, BackendError> {
        loop {
            if let Some(seeking) = &mut self.seeking {
                let found = seeking.await;
                self.seeking = None;
                self.way = Way::Saved(found?);
            }
            while self.under_way < AT_ONCE
                && let Some(host) = self.queue.pop_front()
            {
                self.call(host);
                if !std::mem::replace(&mut self.hosts[host].announced, true) {
                    return Ok(Event::Asked(self.hosts[host].id.clone()));
                }
            }
            match self.work.next().await {
                None => return Ok(Event::Exhausted),
                Some(Done::Rested(host)) => self.queue.push_back(host),
                Some(Done::Called {
                    host,
                    begun,
                    ad_hoc,
                    reply,
                }) => {
                    self.under_way -= 1;
                    if let Some(event) = self.judge(host, begun, ad_hoc, reply)? {
                        return Ok(event);
                    }
                }
            }
        }
    }

    fn call(&mut self, host: usize) {
        self.under_way += 1;
        let asking = &self.hosts[host];
        let by_identifier = (asking.by_identifier || self.by_identifier) && !asking.uuid.is_empty();
        let (rest, way) = (self.rest.clone(), self.way.clone());
        let (id, uuid) = (asking.id.clone(), asking.uuid.clone());
        self.work.push(
            async move {
                let begun = Instant::now();
                let ad_hoc = matches!(way, Way::Sql(_));
                let one = if by_identifier && ad_hoc {
                    OneHost::Uuid(&uuid)
                } else {
                    OneHost::Id(&id.text())
                };
                let reply = rest.ask_one(one, &way, limits::ANSWER.bytes).await;
                Done::Called {
                    host,
                    begun,
                    ad_hoc,
                    reply,
                }
            }
            .boxed(),
        );
    }

    fn pause(&self, host: usize, until: Instant) {
        self.work.push(
            async move {
                tokio::time::sleep_until(until).await;
                Done::Rested(host)
            }
            .boxed(),
        );
    }

    /// What a call's outcome means; nothing where the host is asked again or given up.
    fn judge(
        &mut self,
        host: usize,
        begun: Instant,
        ad_hoc: bool,
        reply: Result<Reply, BackendError>,
    ) -> Result<Option<Event>, BackendError> {
        let reply = match reply {
            Ok(reply) => reply,
            // Too large to be read; those of other hosts may be smaller.
            Err(BackendError::Answer {
                status: None,
                message,
                ..
            }) => {
                return Ok(Some(self.unreadable(host, &message)));
            }
            Err(error) => return Err(error),
        };
        if self.rest.is_away(&reply) && Instant::now() + AWAY_PAUSE < self.rest.http.deadline() {
            self.rest
                .tell_of_waiting(&self.rest.refusal(&reply, Purpose::Run));
            self.pause(host, Instant::now() + AWAY_PAUSE);
            return Ok(None);
        }
        match reply.status {
            200..=299 if ad_hoc => Ok(self.read(host, begun, &reply)),
            200..=299 => Ok(self.read_saved(host, begun, &reply)),
            403 if ad_hoc && is_of_role(&self.rest.said(&reply)) => {
                self.seek(&reply);
                self.queue.push_front(host);
                Ok(None)
            }
            404 if ad_hoc
                && !self.hosts[host].by_identifier
                && !self.hosts[host].uuid.is_empty() =>
            {
                self.hosts[host].by_identifier = true;
                self.queue.push_front(host);
                Ok(None)
            }
            400 | 404 => {
                self.give_up(host, &reply);
                Ok(None)
            }
            500..=599 => {
                let asking = &mut self.hosts[host];
                asking.failures += 1;
                if asking.failures > MOST_FAILURES {
                    self.give_up(host, &reply);
                } else {
                    self.pause(host, Instant::now() + SILENT_PAUSE);
                }
                Ok(None)
            }
            _ => Err(self.rest.refusal(&reply, Purpose::Run)),
        }
    }

    fn read(&mut self, host: usize, begun: Instant, reply: &Reply) -> Option<Event> {
        let answer: OneHostAnswer<'_> = match reply.parse(serde_json::from_slice) {
            Ok(answer) => answer,
            Err(error) => return Some(self.unreadable(host, &error.to_string())),
        };
        self.by_identifier |= self.hosts[host].by_identifier;
        // By its uuid the server may have asked another host that has the same.
        if let Some(asked) = answer.host_id.0
            && HostId::from(asked) != self.hosts[host].id
        {
            let why = "the server asked another host, which has the same uuid";
            return Some(self.unreadable(host, why));
        }
        let error = answer.error();
        if error.as_deref() == Some(ONE_HOST_TIMEOUT) {
            self.pause(host, begun + SILENT_PAUSE);
            return None;
        }
        if let Some(error) = error {
            let error = self.rest.shown(&error);
            return Some(self.answered(host, Answer::Error(error)));
        }
        // An offline host: no rows, at once (transcript `rest-one-host`).
        if answer.rows.is_none() && answer.status.0.as_deref() == Some("offline") {
            self.pause(host, Instant::now() + OFFLINE_PAUSE);
            let asking = &mut self.hosts[host];
            let first = !std::mem::replace(&mut asking.offline, true);
            return first.then(|| Event::Offline(asking.id.clone()));
        }
        // Rows of this call have no added columns (wire notes, Results without a websocket).
        let answer = reading::answer(answer.rows.map(|rows| rows.get()), &[], self.keep);
        Some(self.answered(host, answer))
    }

    /// Where the role may not run the statement itself: the saved query that is the same. Its answer holds
    /// those hosts that gave one within the server's own wait (transcript `saved-query`).
    fn read_saved(&mut self, host: usize, begun: Instant, reply: &Reply) -> Option<Event> {
        let run: SavedRun<'_> = match reply.parse(serde_json::from_slice) {
            Ok(run) => run,
            Err(error) => return Some(self.unreadable(host, &error.to_string())),
        };
        let id = &self.hosts[host].id;
        let Some(answer) = run
            .results
            .iter()
            .find(|it| HostId::from(it.host_id) == *id)
        else {
            // At once where it is offline.
            let pause = match begun.elapsed() < SILENT_PAUSE {
                true => OFFLINE_PAUSE,
                false => SILENT_PAUSE,
            };
            self.pause(host, Instant::now() + pause);
            return None;
        };
        let answer = match answer.error() {
            Some(error) => Answer::Error(self.rest.shown(&error)),
            None => reading::answer(answer.rows.map(|rows| rows.get()), &[], self.keep),
        };
        Some(self.answered(host, answer))
    }

    fn seek(&mut self, reply: &Reply) {
        if let (Way::Sql(sql), None) = (&self.way, &self.seeking) {
            let error = self.rest.refusal(reply, Purpose::Run);
            let (rest, sql) = (self.rest.clone(), Arc::clone(sql));
            let seeking = async move { saved::find(&rest, &sql, &Because::Role(error)).await };
            self.seeking = Some(seeking.boxed());
        }
    }

    fn unreadable(&self, host: usize, why: &str) -> Event {
        let text = format!("the answer could not be read: {why}");
        self.answered(host, Answer::Error(text))
    }

    fn answered(&self, host: usize, answer: Answer) -> Event {
        Event::Answered {
            host: self.hosts[host].id.clone(),
            answer,
        }
    }

    /// Told of the first for each kind of answer: a thousand hosts would have a thousand lines, and the
    /// document names them.
    fn give_up(&mut self, host: usize, reply: &Reply) {
        if !self.gave_up.insert(reply.status) {
            return;
        }
        let error = self.rest.refusal(reply, Purpose::Run);
        self.rest.notices().warn(format!(
            "{} is not asked again: {error} (nor is any other host that gets this answer)",
            self.rest.shown(&self.hosts[host].hostname)
        ));
    }
}
