//! osctrl: live queries that are dispatched to nodes by uuid and polled. Knows osctrl's ways, as
//! `wire.rs`, `rest.rs` and the transcripts have them, and nothing of names, deadlines or documents.

mod asking;
pub(in crate::servers) mod collector;
mod dispatch;
pub mod export;
mod login;
mod nodes;
mod patience;
mod progress;
mod query;
mod resolve;
mod rest;
mod unescape;
mod verdict;
pub(in crate::servers) mod webhook;
mod wire;

#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use serde::de::IgnoredAny;
use tokio::time::Instant;

use self::asking::Asking;
use self::dispatch::RUN;
use self::rest::{Call, Rest, SMALL};
use super::http::{Connecting, Http, limits};
use super::{Backend, BackendError, Event, Found, Left};
use crate::allowlist::Statement;
use crate::campaign::Limits;
use crate::campaign::host::{Asked, Candidates, Host};
use crate::campaign::roster::Targets;
use crate::campaign::rows::Keep;
use crate::step::model::Server;

/// Time to tell the server to stop.
const STOP_TIME: Duration = Duration::from_secs(2);

/// How long a query stays with the server at least: 0 hours would never be delivered (transcript
/// `query-never-delivered`).
const SHORTEST_HOURS: u16 = 1;

/// Names of further queries that a document tells at most.
const MOST_OTHERS: usize = 16;

/// One environment of one osctrl server, and the queries that run there.
pub struct Osctrl {
    rest: Rest,
    keep: Keep,
    /// How long queries stay with the server that nobody ends.
    hours: u16,
    /// They are to stay there for hosts that come back.
    queues: bool,
    /// Once there was a dispatch.
    asking: Option<Asking>,
}

impl Osctrl {
    /// A backend for one environment of the step's server; nothing is sent yet. `keep`: how much of one answer is kept.
    pub fn new(server: &Server, environment: &str, http: Http, keep: Keep) -> Self {
        Self {
            rest: Rest::new(server, environment, http),
            keep,
            hours: SHORTEST_HOURS,
            queues: false,
            asking: None,
        }
    }

    /// Queries that nobody ends stay with the server for so many hours, for hosts that come back.
    #[must_use]
    pub fn queueing(mut self, hours: Option<u16>) -> Self {
        self.hours = hours.unwrap_or(SHORTEST_HOURS);
        self.queues = hours.is_some();
        self
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
        nodes::verify(&self.rest).await?;
        // Needs the level that the dispatch needs; older servers answer 404 where there are none.
        let path = ["queries", self.rest.environment(), "list", "active"];
        let query = [("page", "1"), ("page_size", "1")];
        // Older servers have no pages of it.
        let call = Call::get(&path, &query, limits::LIST.bytes);
        let list = self
            .rest
            .each(call, || (), |(): &mut (), _: IgnoredAny| Ok(()));
        let ((), reply) = list.await?;
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

    async fn search(&mut self, text: &str, most: usize) -> Result<Option<Found>, BackendError> {
        resolve::search(&self.rest, text, most).await.map(Some)
    }

    async fn start(
        &mut self,
        statement: &Statement,
        hosts: &[Host],
    ) -> Result<Asked, BackendError> {
        self.dispatch(statement.sql(), hosts).await?;
        Ok(Asked::All)
    }

    async fn resume(
        &mut self,
        statement: &Statement,
        hosts: &[Host],
        left: &Left,
    ) -> Result<Asked, BackendError> {
        if left.campaigns.is_empty() {
            return self.start(statement, hosts).await;
        }
        let asking = Asking::new(self.rest.clone(), statement.sql(), self.keep, self.hours);
        let asking = self.asking.insert(asking);
        let hosts = hosts.iter().map(|host| host.id.clone()).collect();
        asking.take_up(hosts, left, self.queues);
        Ok(Asked::OneByOne)
    }

    fn other_campaign_ids(&self) -> Vec<String> {
        let others = self.asking.iter().flat_map(Asking::other_names);
        let others = others.map(|name| self.rest.notices().id(name));
        others.take(MOST_OTHERS).collect()
    }

    fn connecting(&self) -> Option<Connecting> {
        self.rest.http().connecting()
    }

    fn campaign_id(&self) -> Option<String> {
        let name = self.asking.as_ref()?.name()?;
        Some(self.rest.notices().id(name))
    }

    async fn next(&mut self) -> Result<Event, BackendError> {
        let Some(asking) = &mut self.asking else {
            return Ok(Event::Exhausted);
        };
        asking.next().await
    }

    fn may_be_running(&self, all_answered: bool) -> bool {
        let asking = self.asking.as_ref();
        asking.is_some_and(|asking| asking.may_be_running(all_answered))
    }

    async fn stop(&mut self, all_answered: bool) {
        if !self.may_be_running(all_answered) {
            return;
        }
        if let Some(asking) = &mut self.asking {
            // The step's own deadline may be over.
            asking.stop(Instant::now() + STOP_TIME, false).await;
        }
    }

    fn queued_until(&self) -> Option<SystemTime> {
        self.asking.as_ref()?.queued_until()
    }

    async fn leave_queued(&mut self) {
        if let Some(asking) = &mut self.asking {
            asking.stop(Instant::now() + STOP_TIME, true).await;
        }
    }
}

impl Osctrl {
    async fn dispatch(&mut self, sql: &str, hosts: &[Host]) -> Result<(), BackendError> {
        let asking = self
            .asking
            .insert(Asking::new(self.rest.clone(), sql, self.keep, self.hours));
        let hosts = hosts.iter().map(|host| host.id.clone()).collect();
        asking.start(hosts).await
    }
}

/// Reads any bytes as everything that osctrl may send; for the fuzzer only.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let reader = wire::Reader {
        keep: Keep {
            rows: 100,
            bytes: 10_000,
        },
        shown: str::to_owned,
    };
    let mut progress = progress::Progress::new(3);
    for _ in 0..3 {
        if let Some(item) = wire::Unread::of(bytes.to_vec(), true) {
            progress.take(&item.named, bytes.len());
            if let crate::campaign::host::Answer::Rows(rows) = reader.answer(item) {
                assert!(rows.kept() <= 100 && rows.json().len() <= 10_000);
            }
        }
        if let Ok(total) = wire::total_of_results(bytes) {
            let _ = progress.end_of_page(total, true);
        }
    }
    let _ = progress.poll();
    let quoted = serde_json::Value::from(String::from_utf8_lossy(bytes));
    let item = format!("{{\"data\":{quoted}}}");
    let item = wire::Unread::of(item.into_bytes(), true);
    let _ = item.map(|item| reader.answer(item));
    let _ = serde_json::from_slice::<wire::State>(bytes);
    let _ = serde_json::from_slice::<wire::Dispatched>(bytes);
    let _ = serde_json::from_slice::<wire::LoggedIn>(bytes);
    let _ = serde_json::from_slice::<wire::Refusal>(bytes);
    if let Ok(page) = serde_json::from_slice::<wire::Page<wire::Node>>(bytes) {
        for node in page.items.unwrap_or_default() {
            let _ = node.into_host();
        }
    }
}
