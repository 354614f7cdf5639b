//! `plan_live_query` and `run_live_query`: the way of `check` and of `run`, with a person's word in between
//! where the policy wants one.

use std::rc::Rc;
use std::sync::Arc;

use rmcp::model::CallToolResponse;
use tokio::sync::watch;

use super::answer::{self, Shown};
use super::call::{Call, Voice, Watched};
use super::consent::{self, Word};
use super::kept::KeptRun;
use super::query::Query;
use super::refusal::Refusal;
use super::server::{Server, complete};
use crate::exit::Code;
use crate::process::Process;
use crate::session::prepare::prepare_under;
use crate::session::{End, Mode, Outcome, Run, Session, execute};

/// A plan is made within so many seconds.
const PLAN_SECONDS: u64 = 15;

/// What `run` would do, without any host being asked.
///
/// # Errors
/// Everything that would stop it.
pub(super) async fn plan(server: &Server, call: &Call) -> Result<CallToolResponse, Refusal> {
    let query: Query = call.typed()?;
    query.check(&server.policy)?;
    let work = Work::of(server, call);
    let planned = work.planned(&query).await?;
    let shown = answer::planned(&planned, &query, &server.policy, work.voice.warnings());
    Ok(complete(shown).into())
}

/// Asks the hosts.
///
/// # Errors
/// Everything that stops it before a host is asked.
pub(super) async fn run(server: &Server, call: &Call) -> Result<CallToolResponse, Refusal> {
    let mut query: Query = call.typed()?;
    let resumed = match query.resume.take() {
        Some(id) => Some(server.kept.resumed(&id, &mut query)?),
        None => None,
    };
    query.check(&server.policy)?;
    let work = Work::of(server, call);
    let most = match work.allowed(&query, resumed.as_deref()).await? {
        Allowed::Hosts(most) => most,
        Allowed::Asks(question) => return Ok(*question),
    };
    work.run(query, most, resumed).await
}

/// How many hosts a call may ask.
enum Allowed {
    Hosts(usize),
    /// The client has to come back with its user's word.
    Asks(Box<CallToolResponse>),
}

/// A call's work: its sessions have one voice.
struct Work<'a> {
    server: &'a Server,
    call: &'a Call,
    voice: Voice,
}

impl<'a> Work<'a> {
    fn of(server: &'a Server, call: &'a Call) -> Self {
        let voice = Voice::of(server);
        Self {
            server,
            call,
            voice,
        }
    }

    /// How many hosts may be asked: as many as need nobody's word, or as a person has agreed to.
    async fn allowed(&self, query: &Query, resumed: Option<&KeptRun>) -> Result<Allowed, Refusal> {
        let policy = &self.server.policy;
        let free = policy.confirm_above().min(policy.max_hosts());
        if let Some(resumed) = resumed {
            // The same hosts and the same question: whoever agreed has agreed.
            return Ok(Allowed::Hosts(resumed.confirmed.max(free).max(1)));
        }
        if let Some(hosts) = self.server.consents.given(&self.call.request, query)? {
            return Ok(Allowed::Hosts(hosts));
        }
        if query.is_few(free) {
            return Ok(Allowed::Hosts(free));
        }
        self.asked_for(query).await
    }

    /// Counts the hosts, and asks the client's user where they are many.
    async fn asked_for(&self, query: &Query) -> Result<Allowed, Refusal> {
        let planned = self.planned(query).await?;
        let hosts = planned
            .campaign()
            .map_or(0, |campaign| campaign.to_ask().len());
        if hosts <= self.server.policy.confirm_above() {
            return Ok(Allowed::Hosts(hosts.max(1)));
        }
        let Outcome::Planned { sql, .. } = &planned else {
            return Ok(Allowed::Hosts(1));
        };
        let question = consent::Question {
            query,
            sql,
            hosts,
            above: self.server.policy.confirm_above(),
            consents: &self.server.consents,
        };
        let asking = question.ask(self.call);
        let cancelled = async {
            self.call.context.ct.cancelled().await;
            Err(ended())
        };
        let word = tokio::select! {
            biased;
            word = asking => word,
            ended = cancelled => ended,
            _ = self.server.closing.word() => Err(ended()),
        };
        Ok(match word? {
            Word::Agreed => Allowed::Hosts(hosts),
            Word::Later(question) => Allowed::Asks(question),
        })
    }

    /// What would be asked of whom.
    async fn planned(&self, query: &Query) -> Result<Outcome, Refusal> {
        let policy = &self.server.policy;
        let seconds = self
            .call
            .seconds(PLAN_SECONDS)
            .min(policy.max_timeout().as_secs());
        let step = query.step(policy.max_hosts(), seconds);
        let (_, outcome) = self.executed(step, Mode::Check, None).await?;
        match outcome {
            Outcome::Planned { .. } => Ok(outcome),
            other => Err(refused(&other)),
        }
    }

    async fn run(
        &self,
        query: Query,
        most: usize,
        resumed: Option<Rc<KeptRun>>,
    ) -> Result<CallToolResponse, Refusal> {
        let server = self.server;
        let policy = &server.policy;
        server.rate.begin(policy.max_runs_per_minute())?;
        let confirmed = match &resumed {
            Some(resumed) => resumed.confirmed,
            None => most,
        };
        let seconds = self.call.seconds(query.timeout(policy));
        let step = query.step(most.min(policy.max_hosts()), seconds);
        let (run, outcome) = self.executed(step, Mode::Run, resumed).await?;
        let nobody_asked = !outcome.executed() && outcome.error().is_some();
        if nobody_asked && outcome.error().is_some_and(|it| it.code == Code::Targets) {
            let too_many = outcome.campaign().is_none_or(|it| it.targeted() > most);
            if too_many && policy.max_hosts() > most && confirmed == most {
                // Several hosts share a name: then they are counted, and a person is asked.
                return match self.asked_for(&query).await? {
                    Allowed::Asks(question) => Ok(*question),
                    Allowed::Hosts(hosts) => Box::pin(self.run(query, hosts, None)).await,
                };
            }
        }
        if outcome.campaign().is_none() {
            return Err(refused(&outcome));
        }
        let error = outcome.error().cloned().map(Refusal::from);
        let notices = self.voice.notices.clone();
        let kept = KeptRun::of(&run, &outcome, query, confirmed, notices)?;
        drop(outcome);
        let kept = server.kept.keep(kept);
        let shown = Shown {
            run: &kept,
            most_bytes: policy.max_bytes(),
            warnings: self.voice.warnings(),
            error: error.as_ref(),
        };
        let mut result = complete(shown.answer());
        result.is_error = Some(error.is_some());
        Ok(result.into())
    }

    /// One session. What follows it is done behind the answer.
    async fn executed(
        &self,
        step: serde_json::Value,
        mode: Mode,
        resumed: Option<Rc<KeptRun>>,
    ) -> Result<(Run, Outcome), Refusal> {
        let policy = Arc::clone(&self.server.policy);
        let resumes = resumed.map(|run| (run.id.clone(), Arc::clone(&run.document)));
        let prepared = Process::aside(move || {
            let resumes = resumes.as_ref().map(|(id, text)| (&**id, &**text));
            prepare_under(policy.policy(), &step, resumes)
        });
        let step = prepared.await?;
        let step = step.map_err(|refused| Refusal::from(refused.failure))?;
        let (progress, seen) = watch::channel(None);
        let mut sink = Watched(progress);
        let mut session = Session {
            run: self.call.run(),
            cancel: self.voice.cancel.clone(),
            notices: self.voice.notices.clone(),
            sink: &mut sink,
        };
        let executing = execute(step, mode, &mut session);
        let executing = self.call.telling(seen, executing);
        let executing = self
            .call
            .heeding(self.server, &self.voice.canceller, executing);
        let (outcome, aftermath) = executing.await;
        self.server.afterwards().add(aftermath.finish());
        Ok((session.run, outcome))
    }
}

fn ended() -> Refusal {
    Refusal::new(
        Code::Deadline,
        "the call was ended before a host was asked",
        "call again",
    )
}

/// Why nothing was asked.
fn refused(outcome: &Outcome) -> Refusal {
    match outcome.end() {
        End::Failed(failure) => failure.clone().into(),
        _ => ended(),
    }
}
