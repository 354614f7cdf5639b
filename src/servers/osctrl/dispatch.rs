//! Sends a query to osctrl, once, and says what became of it. Knows nothing of answers.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::rest::{self, Call, Purpose, Rest};
use super::wire;
use crate::campaign::host::HostId;
use crate::known_servers::Kind;
use crate::servers::BackendError;
use crate::servers::http::{Repeat, Reply, Undelivered};

/// The answer to a dispatch is worth waiting for a little after the deadline: only who knows the query's
/// name can stop it.
const GRACE: Duration = Duration::from_secs(2);

pub(super) const RUN: Purpose = Purpose {
    what: "run queries",
    level: "query",
};

/// A dispatch whose answer has not come yet. It outlives the future that waits for it: when that is
/// dropped (deadline, signal), the query that it makes can still be stopped.
pub struct Dispatch {
    call: LocalBoxFuture<'static, Result<Reply, Undelivered>>,
    under_way: Rc<AtomicBool>,
    targets: Vec<HostId>,
    until: SystemTime,
    rest: Rest,
}

/// Why a dispatch made no query that is known.
#[derive(Debug)]
pub struct Failed {
    /// What happened.
    pub error: BackendError,
    /// Whether a query may run of which only the server knows the name.
    pub may_run: bool,
    /// Who was to be asked.
    pub targets: Vec<HostId>,
}

/// A query that the server has accepted.
pub struct Accepted {
    /// What it calls it.
    pub name: String,
    /// Who is asked.
    pub targets: Vec<HostId>,
    /// The server hands it out at least until then.
    pub until: SystemTime,
}

impl Dispatch {
    /// To these hosts and nobody else, for so many hours; nothing is sent before it is awaited.
    ///
    /// # Errors
    /// What osctrl must never be sent.
    pub fn new(
        rest: &Rest,
        sql: &str,
        targets: Vec<HostId>,
        hours: u16,
    ) -> Result<Self, BackendError> {
        // Without any uuid osctrl would ask every node of the environment.
        if targets.is_empty() {
            return Err(BackendError::Targets {
                message: "there is no host to ask: nothing was dispatched".into(),
                hint: None,
            });
        }
        // osctrl looks for the word anywhere, in a parameter's value too, and carves files then.
        if Kind::Osctrl.known().forbidden_word(sql).is_some() {
            return Err(BackendError::Answer {
                status: None,
                message: "osctrl takes every query that contains the word `carves` for a file carve: nothing was dispatched".into(),
                hint: Some("use a template and parameters without that word".into()),
            });
        }
        let uuids: Vec<Cow<'_, str>> = targets.iter().map(HostId::text).collect();
        let body = wire::dispatch(sql, &uuids, hours);
        let under_way = Rc::new(AtomicBool::new(false));
        let (rest, flag) = (rest.clone(), Rc::clone(&under_way));
        let sender = rest.clone();
        let call = async move {
            let path = ["queries", sender.environment()];
            let call = Call::post(&path, Some(&body), Repeat::Unsent);
            let answer_by = sender.deadline() + GRACE;
            sender.dispatch(call, answer_by, &flag).await
        };
        Ok(Self {
            call: call.boxed_local(),
            under_way,
            targets,
            // The server counts from when it has it.
            until: SystemTime::now() + Duration::from_secs(u64::from(hours) * 3_600),
            rest,
        })
    }

    /// Whether it may have reached the server, which has not answered yet.
    pub fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Waits for the answer. May be dropped and called again, until it has returned.
    ///
    /// # Errors
    /// [`Failed`]
    pub async fn accepted(&mut self) -> Result<Accepted, Failed> {
        let sent = (&mut self.call).await;
        let may_run = match &sent {
            // A refusal before anything was stored; a 500 leaves a query behind (transcript
            // `query-unknown-host`).
            Ok(reply) => !(400..500).contains(&reply.status),
            Err(undelivered) => undelivered.may_have_arrived,
        };
        let name = sent
            .map_err(|undelivered| undelivered.error)
            .and_then(|reply| self.name(reply));
        let targets = std::mem::take(&mut self.targets);
        match name {
            Ok(name) => Ok(Accepted {
                name,
                targets,
                until: self.until,
            }),
            Err(error) => Err(Failed {
                error,
                may_run,
                targets,
            }),
        }
    }

    fn name(&self, reply: Reply) -> Result<String, BackendError> {
        let reply = self.judge(reply)?;
        let name = reply.json::<wire::Dispatched>()?.query_name;
        name.filter(|name| is_path_segment(name))
            .ok_or_else(|| BackendError::Answer {
                status: None,
                message: format!(
                    "{} accepted the query but did not say what it is called",
                    self.rest.origin()
                ),
                hint: Some("its answers can't be read; look at osctrl's list of queries".into()),
            })
    }

    /// The answer, where it is a success.
    fn judge(&self, reply: Reply) -> Result<Reply, BackendError> {
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
pub(super) fn is_path_segment(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.chars().any(char::is_control)
}
