//! osctrl: live queries that are dispatched to nodes by uuid and polled. Knows osctrl's ways, as
//! `wire.rs`, `rest.rs` and the transcripts have them, and nothing of names, deadlines or documents.

mod progress;
mod query;
mod resolve;
mod rest;
mod wire;

#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use self::query::Running;
use self::rest::{Call, Purpose, Rest, SMALL};
use self::wire::Reader;
use super::http::{Http, Repeat, Reply};
use super::{Backend, BackendError, Event};
use crate::allowlist::Statement;
use crate::campaign::Limits;
use crate::campaign::host::{Asked, Candidates, Host};
use crate::campaign::roster::Targets;
use crate::campaign::rows::Keep;
use crate::step::model::Server;

/// Time to tell the server to stop.
const STOP_TIME: Duration = Duration::from_secs(2);
/// A list of queries; older servers have no pages.
const QUERIES_BYTES: usize = 64 * 1024 * 1024;

const RUN: Purpose = Purpose {
    what: "run queries",
    level: "query",
};
/// One environment of one osctrl server, and the query that runs there.
pub struct Osctrl {
    rest: Rest,
    keep: Keep,
    dispatch: Dispatch,
    /// Whether a dispatch is on its way, its answer not yet known.
    under_way: AtomicBool,
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

impl Osctrl {
    /// A backend for the step's server; nothing is sent yet. `keep`: how much of one answer is kept.
    pub fn new(server: &Server, http: Http, keep: Keep) -> Self {
        Self {
            rest: Rest::new(server, http),
            keep,
            dispatch: Dispatch::None,
            under_way: AtomicBool::new(false),
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
        let reply = self
            .rest
            .send(Call::get(&path, &query, QUERIES_BYTES))
            .await?;
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
            Dispatch::Running(running) => Some(running.name().to_owned()),
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
        running.next(&self.rest, &reader).await
    }

    fn may_be_running(&self, all_answered: bool) -> bool {
        !all_answered
            && match &self.dispatch {
                Dispatch::None => self.under_way.load(Ordering::Relaxed),
                Dispatch::Unknown => true,
                Dispatch::Running(running) => !running.is_over(),
            }
    }

    async fn stop(&mut self, all_answered: bool) {
        // Once all have answered the query completes by itself.
        if !self.may_be_running(all_answered) {
            return;
        }
        let Dispatch::Running(running) = &self.dispatch else {
            self.rest.notices().info(|| {
                "the server did not say which query it made, so it can't be stopped".into()
            });
            return;
        };
        // The step's own deadline may be over.
        self.rest.set_deadline(Instant::now() + STOP_TIME);
        let path = ["queries", self.rest.environment(), "expire", running.name()];
        let call = Call::post(&path, None, Repeat::Safe);
        match self.rest.send(call).await {
            Ok(reply) if reply.is_success() => self.rest.notices().debug(|| "the query is stopped".into()),
            // Only administrators may (transcript `least-privilege`).
            Ok(reply) if reply.status == 403 => self.rest.notices().info(|| "the token may not stop queries: osctrl hands it to silent hosts until it expires, an hour after the dispatch".into()),
            Ok(reply) => self.rest.notices().info(|| format!("the query could not be stopped: HTTP {}{}",
                reply.status,
                self.rest.words(&reply))),
            Err(error) => self.rest.notices().info(|| format!("the query could not be stopped: {error}")),
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
        let call = Call::post(&path, Some(&body), Repeat::Unsent);
        let sent = self.rest.dispatch(call, &self.under_way).await;
        let may_run = match &sent {
            // A refusal before anything was stored; a 500 leaves a query behind (transcript
            // `query-unknown-host`).
            Ok(reply) => !(400..500).contains(&reply.status),
            Err(undelivered) => undelivered.may_have_arrived,
        };
        if may_run {
            self.dispatch = Dispatch::Unknown;
        }
        let reply = self.accepted(sent.map_err(|undelivered| undelivered.error)?)?;
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
        self.rest
            .notices()
            .debug(|| format!("dispatched {name} to {} hosts", hosts.len()));
        let targets = hosts.iter().map(|host| host.id.clone()).collect();
        self.dispatch = Dispatch::Running(Box::new(Running::new(
            name,
            targets,
            self.rest.notices().clone(),
        )));
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
    if let Ok(results) = wire::results(bytes) {
        for _ in 0..3 {
            let absorbed = progress.absorb(bytes, &results);
            for fresh in absorbed.fresh {
                let data = fresh.data.map(|data| &bytes[data]);
                if let super::Answer::Rows(rows) = reader.answer(data, fresh.succeeded) {
                    assert!(rows.kept() <= 100 && rows.json().len() <= 10_000);
                }
            }
        }
        let _ = progress.poll();
    }
    let _ = reader.answer(Some(bytes), true);
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
