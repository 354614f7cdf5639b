//! All queries of one campaign: the first asks every host, further ones ask again those that the server was
//! told of and never handed it (see `verdict.rs`). Earlier ones are read on: a host may answer late.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::dispatch::{Accepted, Dispatch, Failed, is_path_segment};
use super::query::{Look, Query};
use super::rest::{Call, Rest};
use super::verdict::Verdict;
use crate::campaign::host::{Answer, HostId};
use crate::campaign::rows::Keep;
use crate::servers::http::Repeat;
use crate::servers::{BackendError, Event, Left};

/// The pauses before hosts are asked again. There are no more than these in a row: a query that brought an
/// answer begins anew.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// The hosts of a campaign while they are being asked.
pub struct Asking {
    rest: Rest,
    sql: String,
    keep: Keep,
    /// How long queries stay with the server that nobody ends.
    hours: u16,
    queries: Vec<Query>,
    /// A dispatch that is on its way.
    dispatch: Option<(Dispatch, usize)>,
    /// Who is to be asked again.
    again: Vec<Again>,
    /// What is to be done once the queries of an earlier run have been looked through.
    taking_up: Option<TakingUp>,
    /// Hosts that wait in the queue of an earlier run: asked again when that is over.
    queued: Vec<HostId>,
    /// Hosts of which it is to be told that they are asked; `None` where they are all asked at once.
    asked: Option<VecDeque<HostId>>,
    /// Hosts whose answer has been handed out.
    answered: HashSet<HostId>,
    /// What is to be handed out next.
    ready: VecDeque<(HostId, Answer)>,
    /// Whether a query may run of which only the server knows the name.
    orphaned: bool,
    /// Whether it was said that a query was ended early, and that hosts are given up.
    told: [bool; 2],
}

/// Hosts that are to be asked by a new query.
struct Again {
    at: Instant,
    hosts: Vec<HostId>,
    round: usize,
}

/// Hosts that are asked once it is known what they have answered an earlier run.
struct TakingUp {
    hosts: Vec<HostId>,
    /// Those that need no further query as long as the earlier one is handed out.
    queued: HashSet<HostId>,
}

/// What is to be done next.
enum Next {
    Ask(usize),
    Read(usize),
}

impl Asking {
    /// Nobody has been asked yet. `keep`: how much of one answer is kept; `hours`: how long queries stay with
    /// the server that nobody ends.
    pub fn new(rest: Rest, sql: &str, keep: Keep, hours: u16) -> Self {
        Self {
            rest,
            sql: sql.to_owned(),
            keep,
            hours,
            queries: Vec::new(),
            dispatch: None,
            again: Vec::new(),
            taking_up: None,
            queued: Vec::new(),
            asked: None,
            answered: HashSet::new(),
            ready: VecDeque::new(),
            orphaned: false,
            told: [false; 2],
        }
    }

    /// Dispatches to these hosts and nobody else.
    ///
    /// # Errors
    /// What [`Dispatch`] fails with.
    pub async fn start(&mut self, hosts: Vec<HostId>) -> Result<(), BackendError> {
        self.dispatch = Some((self.dispatch_to(hosts)?, 0));
        self.finish_dispatch().await.map_err(|failed| failed.error)
    }

    /// Looks first at what these hosts have answered an earlier run, and then asks those that are silent;
    /// `stays`: the earlier run's query is to stay in its queue, and nobody who is in it is asked twice.
    pub fn take_up(&mut self, hosts: Vec<HostId>, left: &Left, stays: bool) {
        let now = SystemTime::now();
        let waits = stays && left.until.is_some_and(|until| until > now);
        let ours: HashSet<&HostId> = hosts.iter().collect();
        let silent = left.silent.iter().filter(|host| ours.contains(*host));
        let silent: Vec<HostId> = silent.cloned().collect();
        for name in left.campaigns.iter().filter(|name| is_path_segment(name)) {
            let accepted = Accepted {
                name: name.clone(),
                targets: hosts.clone(),
                until: left.until.unwrap_or(now),
            };
            self.queries.push(Query::taken_up(accepted, &self.sql));
        }
        self.taking_up = Some(TakingUp {
            hosts,
            queued: silent.iter().filter(|_| waits).cloned().collect(),
        });
        self.asked = Some(silent.into());
    }

    /// Asks whoever is still silent, once the queries of an earlier run have been looked through.
    fn ask_the_silent(&mut self) {
        let mut looks = self.queries.iter().filter_map(Query::look);
        if looks.any(|look| matches!(look, Look::Unknown | Look::Known)) {
            return;
        }
        let Some(TakingUp { hosts, queued }) = self.taking_up.take() else {
            return;
        };
        if self.queries.iter().any(Query::is_lost) {
            self.rest.notices().warn("a query of the earlier run is no longer on the server, or belongs to another step: late answers to it can't be read");
        }
        let handed_out = self.queries.iter().any(Query::may_be_running);
        let silent = hosts
            .into_iter()
            .filter(|host| !self.answered.contains(host));
        let (waiting, rest): (Vec<_>, Vec<_>) =
            silent.partition(|host| handed_out && queued.contains(host));
        self.queued = waiting;
        self.ask_now(rest);
    }

    fn ask_now(&mut self, hosts: Vec<HostId>) {
        if !hosts.is_empty() {
            self.again.push(Again {
                at: Instant::now(),
                hosts,
                round: 0,
            });
        }
    }

    fn dispatch_to(&self, hosts: Vec<HostId>) -> Result<Dispatch, BackendError> {
        Dispatch::new(&self.rest, &self.sql, hosts, self.hours)
    }

    /// Until when at least the server hands queries out to silent hosts if nobody ends them.
    pub fn queued_until(&self) -> Option<SystemTime> {
        let now = SystemTime::now();
        let unseen = |query: &Query| query.look() == Some(Look::Unknown) && query.until > now;
        let running = self.queries.iter();
        let running = running.filter(|query| query.may_be_running() || unseen(query));
        running.map(|query| query.until).max()
    }

    /// The name of the query that stands for the campaign: the one that brought the most answers, of
    /// equal ones the newest.
    pub fn name(&self) -> Option<&str> {
        let ours = self.queries.iter().filter(|query| !query.is_lost());
        ours.max_by_key(|query| query.answers()).map(Query::name)
    }

    /// The names of the other queries that may still bring answers, the newest first.
    pub fn other_names(&self) -> impl Iterator<Item = &str> {
        let name = self.name();
        let ours = self.queries.iter().rev().filter(|query| !query.is_lost());
        // What an earlier run asked and what is over has been read twice.
        let open = ours.filter(|query| query.look().is_none() || !query.has_ended());
        open.map(Query::name)
            .filter(move |other| Some(*other) != name)
    }

    /// The next thing that happens. May be dropped at any await and called again.
    ///
    /// # Errors
    /// What the server refuses or answers wrongly.
    pub async fn next(&mut self) -> Result<Event, BackendError> {
        loop {
            if let Some((host, answer)) = self.take_answer() {
                return Ok(Event::Answered { host, answer });
            }
            if let Some(host) = self.asked.as_mut().and_then(VecDeque::pop_front) {
                return Ok(Event::Asked(host));
            }
            self.ask_the_silent();
            if let Some((_, round)) = &self.dispatch {
                let round = *round;
                if let Err(failed) = self.finish_dispatch().await {
                    self.after_failure(failed, round)?;
                }
                continue;
            }
            let Some((at, next)) = self.soonest() else {
                return Ok(Event::Exhausted);
            };
            tokio::time::sleep_until(at).await;
            match next {
                Next::Ask(index) => self.ask_again(index)?,
                Next::Read(index) => self.read(index).await?,
            }
        }
    }

    /// Whether the server may go on handing a query out. `all_answered`: every host has.
    pub fn may_be_running(&self, all_answered: bool) -> bool {
        if all_answered && self.queries.len() == 1 && !self.orphaned && self.dispatch.is_none() {
            // It completes by itself.
            return false;
        }
        let under_way = |(dispatch, _): &(Dispatch, usize)| dispatch.is_under_way();
        self.orphaned
            || self.dispatch.as_ref().is_some_and(under_way)
            || self.queries.iter().any(Query::may_be_running)
            || self
                .queries
                .iter()
                .any(|query| query.look() == Some(Look::Unknown))
    }

    /// Tells the server to stop every query that it may still be handing out; with `leave`, only those that
    /// nobody has heard of yet: the others stay with it for hosts that are silent.
    pub async fn stop(&mut self, deadline: Instant, leave: bool) {
        let known = if leave { self.queries.len() } else { 0 };
        if self.dispatch.is_some() {
            // Only who knows the query's name can stop it.
            let _ = tokio::time::timeout_at(deadline, self.finish_dispatch()).await;
        }
        if self.orphaned {
            self.rest.notices().info(|| {
                "the server did not say which query it made, so it can't be stopped".into()
            });
        }
        let rest = self.rest.with_deadline(deadline);
        let running = self.queries.iter().skip(known);
        let running = running.filter(|query| query.may_be_running());
        join_all(running.map(|query| stop(&rest, query.name(), self.hours))).await;
    }

    fn take_answer(&mut self) -> Option<(HostId, Answer)> {
        let mut queries = self.queries.iter_mut();
        let answer = self
            .ready
            .pop_front()
            .or_else(|| queries.find_map(Query::take_answer))?;
        self.answered.insert(answer.0.clone());
        Some(answer)
    }

    fn soonest(&self) -> Option<(Instant, Next)> {
        let again = self.again.iter().enumerate();
        let again = again.map(|(index, again)| (again.at, Next::Ask(index)));
        let queries = self.queries.iter().enumerate();
        let queries = queries.filter_map(|(index, query)| Some((query.due()?, Next::Read(index))));
        again.chain(queries).min_by_key(|(at, _)| *at)
    }

    async fn read(&mut self, index: usize) -> Result<(), BackendError> {
        let Some(query) = self.queries.get_mut(index) else {
            return Ok(());
        };
        let ended = query.advance(&self.rest, self.keep).await?;
        if query.look().is_some() {
            self.after_earlier(index);
            return Ok(());
        }
        if ended.is_none() && !query.has_ended() {
            return Ok(());
        }
        let silent = |host: &&HostId| !self.answered.contains(*host);
        let silent: Vec<HostId> = query.targets().iter().filter(silent).cloned().collect();
        let round = match query.answers() {
            0 => query.round + 1,
            _ => 1,
        };
        // Of an earlier query only late answers are wanted.
        if silent.is_empty() {
            query.close();
        }
        let Some(ended) = ended.filter(|_| !silent.is_empty()) else {
            return Ok(());
        };
        match ended.verdict {
            Verdict::Stopped => {
                query.close();
                let what = if ended.deleted { "deleted" } else { "ended" };
                self.rest.notices().warn(format!("the query was {what} at the server before every host had answered (by somebody else, or because it expired)"));
            }
            Verdict::Failed => {
                query.close();
                let error = Answer::Error("the host answered without a result: osquery reported an error, and osctrl keeps no text of it".into());
                self.ready
                    .extend(silent.into_iter().map(|host| (host, error.clone())));
            }
            Verdict::AskAgain { apart } => self.plan(silent, round, apart),
        }
        Ok(())
    }

    /// An earlier run's query was read: once it is over, nobody waits in its queue any more.
    fn after_earlier(&mut self, index: usize) {
        if self.queries.get(index).is_some_and(Query::has_ended) {
            self.queries[index].close();
        }
        let handed_out = self.queries.iter().any(|query| {
            query.look().is_some() && (query.may_be_running() || query.due().is_some())
        });
        if self.taking_up.is_none() && !handed_out {
            let waiting = std::mem::take(&mut self.queued);
            let silent = waiting
                .into_iter()
                .filter(|host| !self.answered.contains(host));
            self.ask_now(silent.collect());
        }
    }

    /// Has the hosts asked again after a pause, unless they were asked in vain too often.
    fn plan(&mut self, hosts: Vec<HostId>, round: usize, apart: bool) {
        let Some(pause) = PAUSES.get(round - 1) else {
            if !std::mem::replace(&mut self.told[1], true) {
                self.rest.notices().warn(format!(
                    "osctrl has ended {} queries in a row before {} had answered: late answers are waited for, nobody is asked again",
                    PAUSES.len() + 1,
                    in_words(hosts.len())
                ));
            }
            return;
        };
        if apart {
            self.rest.notices().info(|| format!("osctrl counts errors that it has no text of: {} asked again, each by a query of its own",
                in_words(hosts.len())));
        } else if !std::mem::replace(&mut self.told[0], true) {
            self.rest.notices().warn(format!("osctrl ended the query (its counters count a host twice that answers twice) before {} had answered: asking again",
                in_words(hosts.len())));
        }
        let at = Instant::now() + *pause;
        let groups = if apart {
            hosts.into_iter().map(|host| vec![host]).collect()
        } else {
            vec![hosts]
        };
        self.again
            .extend(groups.into_iter().map(|hosts| Again { at, hosts, round }));
    }

    fn ask_again(&mut self, index: usize) -> Result<(), BackendError> {
        let Again { hosts, round, .. } = self.again.remove(index);
        // Late answers to the earlier query may have come meanwhile.
        let silent = |host: &HostId| !self.answered.contains(host);
        let hosts: Vec<HostId> = hosts.into_iter().filter(silent).collect();
        if !hosts.is_empty() {
            self.dispatch = Some((self.dispatch_to(hosts)?, round));
        }
        Ok(())
    }

    /// A dispatch of hosts that are asked again came to nothing. That it may have arrived costs one of the
    /// times; else its time is over, or the server does not want it.
    fn after_failure(&mut self, failed: Failed, round: usize) -> Result<(), BackendError> {
        if !failed.may_run || round >= PAUSES.len() {
            return Err(failed.error);
        }
        let error = failed.error;
        self.rest.notices().warn(format!(
            "{} could not be asked again: {error}; trying once more",
            in_words(failed.targets.len())
        ));
        self.plan(failed.targets, round + 1, false);
        Ok(())
    }

    /// Waits for the answer to the dispatch that is on its way.
    async fn finish_dispatch(&mut self) -> Result<(), Failed> {
        let Some((dispatch, round)) = &mut self.dispatch else {
            return Ok(());
        };
        let (accepted, round) = (dispatch.accepted().await, *round);
        self.dispatch = None;
        match accepted {
            Ok(accepted) => {
                self.rest.notices().debug(|| {
                    format!(
                        "dispatched {} to {}",
                        self.rest.notices().id(&accepted.name),
                        in_words(accepted.targets.len())
                    )
                });
                if let Some(asked) = &mut self.asked {
                    asked.extend(accepted.targets.iter().cloned());
                }
                self.queries.push(Query::new(accepted, round));
                Ok(())
            }
            Err(failed) => {
                self.orphaned |= failed.may_run;
                Err(failed)
            }
        }
    }
}

/// Tells the server to stop a query; failures are told, never reported.
async fn stop(rest: &Rest, name: &str, hours: u16) {
    let path = ["queries", rest.environment(), "expire", name];
    let call = Call::post(&path, None, Repeat::Safe);
    match rest.send(call).await {
        Ok(reply) if reply.is_success() => rest.notices().debug(|| "the query is stopped".into()),
        // Only administrators may (transcript `least-privilege`).
        Ok(reply) if reply.status == 403 => rest.notices().info(|| {
            let expires = match hours {
                1 => "an hour".to_owned(),
                hours => format!("{hours} hours"),
            };
            format!("the token may not stop queries: osctrl hands it to silent hosts until it expires, {expires} after the dispatch")
        }),
        Ok(reply) => rest.notices().info(|| {
            format!(
                "the query could not be stopped: HTTP {}{}",
                reply.status,
                rest.words(&reply)
            )
        }),
        Err(error) => rest
            .notices()
            .info(|| format!("the query could not be stopped: {error}")),
    }
}

fn in_words(hosts: usize) -> String {
    match hosts {
        1 => "1 host".to_owned(),
        hosts => format!("{hosts} hosts"),
    }
}
