//! One execution of one checked step: under one deadline, with its own voice and redactor, ended by its own
//! word. It holds nothing that another execution could see, so that any number run in one process.
//!
//! What it brings is a value ([`Outcome`]); writing it is the caller's. The campaign is stopped *after* that,
//! by [`Aftermath::finish`]: an engine may kill a late process, so the document goes first.

pub mod aftermath;
pub mod cancel;
pub(crate) mod connector;
pub mod drive;
mod earlier;
pub mod failure;
pub mod find;
mod missing;
pub mod outcome;
pub mod prepare;
pub mod run;
pub mod timings;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

pub use aftermath::Aftermath;
pub use cancel::{Cancel, Cancelled, Canceller};
pub use outcome::{About, End, Outcome, Targets};
pub use prepare::{CheckedStep, Refused};
pub use run::Run;
pub use timings::Timings;

use crate::bug::Bug;
use crate::campaign::Campaign;
use crate::campaign::earlier::merge;
use crate::campaign::roster::Roster;
use crate::notices::Notices;
use crate::policy::audit::{self, OpenRun};
use crate::policy::locks::Slot;
use crate::servers::http::Patience;
use crate::servers::open::{AnyBackend, Terms, open};
use crate::time::rfc3339;
use drive::{Drive, DriveError, Phase, State};
use earlier::Resumed;
use failure::Failure;

/// What one execution is given beside its step.
pub struct Session<'a> {
    /// Which run it is, and since when: the deadline counts from there. [`execute`] adds what is asked for.
    pub run: Run,
    /// Hears when it is to end.
    pub cancel: Cancel,
    /// Its voice, and the redactor of all that it shows.
    pub notices: Notices,
    /// Takes answers as they come.
    pub sink: &'a mut dyn Sink,
}

/// How far an execution goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To the end.
    Run,
    /// Up to the dispatch: everything is checked and resolved, nothing is sent to a host.
    Check,
}

/// Takes answers as they come. Must not block: the execution waits for it.
pub trait Sink {
    /// A host has given its first answer; `host` is its index in the campaign's roster. Rows may be taken
    /// out ([`Campaign::take_rows`]); those that stay are in the outcome.
    fn answered(&mut self, campaign: &mut Campaign, host: usize) -> ControlFlow<Gone>;

    /// How far the campaign is, a few times a second.
    fn progress(&mut self, _seen: Progress, _campaign: &Campaign) {}
}

/// Nobody takes answers any more: the execution ends as [`Cancelled::Unread`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// How far a campaign is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Hosts that have answered.
    pub answered: usize,
    /// Hosts that were asked.
    pub targeted: usize,
    /// Rows received.
    pub rows: usize,
    /// Since the dispatch.
    pub elapsed: Duration,
}

/// Leaves every answer in the outcome.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keeping;

impl Sink for Keeping {
    fn answered(&mut self, _: &mut Campaign, _: usize) -> ControlFlow<Gone> {
        ControlFlow::Continue(())
    }
}

/// A check says soon that a server can't be reached: nothing hangs on it yet.
const CHECK_REACHES_WITHIN: Duration = Duration::from_secs(5);

/// Executes a step. Whatever happens, within its deadline, what came is in the outcome; the campaign is then
/// still to be stopped, by [`Aftermath::finish`].
pub async fn execute(
    mut step: CheckedStep,
    mode: Mode,
    session: &mut Session<'_>,
) -> (Outcome, Aftermath) {
    let notices = session.notices.clone();
    let asked_for = step.step();
    for secret in &asked_for.secrets {
        notices.learn(secret);
    }
    for warning in &asked_for.warnings {
        notices.warn(&warning.message);
    }
    session.run.executes(&step, &notices);
    let mut state = State {
        resumed: step.take_resumed(),
        ..State::default()
    };
    let asked_for = step.step();
    let deadline = Instant::from_std(session.run.began() + step.timeout());
    let admitted = tokio::select! {
        biased;
        reason = session.cancel.word() => Err(End::Cancelled(reason)),
        admitted = admit(&step, mode, session, deadline) => admitted.map_err(End::Failed),
    };
    let (slot, audit) = match admitted {
        Ok(admitted) => admitted,
        Err(end) => {
            let end = shown(end, &notices);
            return (
                refused(&step, session, state, mode, end),
                Aftermath::nothing(),
            );
        }
    };
    let keep = step.limits().keep();
    let patience = Patience {
        deadline,
        reach_within: (mode == Mode::Check).then_some(CHECK_REACHES_WITHIN),
    };
    let terms = Terms {
        keep,
        queue_hours: asked_for.offline_hosts.queue_hours(),
        saved_queries_only: step.grant().saved_queries_only,
        trace: session.run.trace(),
    };
    let opened = open(&asked_for.server, patience, &terms, notices.clone());
    let mut server = match opened {
        Ok(server) => server,
        Err(error) => {
            let end = shown(End::Failed(error.into()), &notices);
            let outcome = refused(&step, session, state, mode, end);
            let after = Aftermath::of(&outcome, None, slot, audit, notices);
            return (outcome, after);
        }
    };
    let end = driven(&mut *server, &step, mode, session, deadline, &mut state).await;
    let outcome = concluded(&*server, &step, session, state, mode, shown(end, &notices));
    if let Some(about) = outcome.about() {
        notices.info(|| format!("it took {}", about.timings));
    }
    for line in missing::lines(&outcome) {
        notices.warn(line);
    }
    let after = Aftermath::of(&outcome, Some(server), slot, audit, notices);
    (outcome, after)
}

/// Waits for the policy's slot and records the intent, before anything is sent.
async fn admit(
    step: &CheckedStep,
    mode: Mode,
    session: &Session<'_>,
    deadline: Instant,
) -> Result<(Option<Slot>, Option<OpenRun>), Failure> {
    let grant = step.grant();
    if mode == Mode::Check {
        // It dispatches nothing, so there is nothing to hold back or to record.
        if let Some(audit) = &grant.audit {
            audit.probe()?;
        }
        return Ok((None, None));
    }
    let slot = match &grant.slots {
        Some(slots) => Some(slots.take(deadline, &session.notices).await?),
        None => None,
    };
    let audit = match &grant.audit {
        Some(audit) => {
            let this = audit::ThisRun {
                id: session.run.id(),
                resumes: session.run.asked().resumes.as_deref(),
                via: session.run.asked_via().map(|via| audit::Via {
                    protocol: via.protocol,
                    client: via.client.as_ref(),
                }),
                started: session.run.began(),
            };
            let intent = audit.intend(step.step(), this, deadline, &session.notices);
            Some(intent.await?)
        }
        None => None,
    };
    Ok((slot, audit))
}

/// Drives the step to one of its ends; `state` keeps what came.
async fn driven(
    server: &mut dyn AnyBackend,
    step: &CheckedStep,
    mode: Mode,
    session: &mut Session<'_>,
    deadline: Instant,
    state: &mut State,
) -> End {
    let cancel = session.cancel.clone();
    let drive = Drive {
        step,
        mode,
        deadline,
        cancel: &cancel,
        run: &session.run,
        notices: &session.notices,
        sink: &mut *session.sink,
    };
    // A bug loses no row that came, and leaves no campaign behind.
    let driven = AssertUnwindSafe(drive.through(server, state)).catch_unwind();
    let end = tokio::select! {
        biased;
        reason = cancel.word() => End::Cancelled(reason),
        driven = tokio::time::timeout_at(deadline, driven) => match driven {
            Ok(Ok(end)) => end.unwrap_or_else(End::Failed),
            Ok(Err(panic)) => End::Failed(Bug::of(panic).into()),
            Err(_) => End::Deadline,
        },
    };
    match end {
        // The deadline is the usual end of a campaign, and a failure of anything before it.
        End::Deadline if state.phases.now() < Phase::Collecting => {
            let (phase, timeout) = (state.phases.now(), step.timeout());
            End::Failed(DriveError::TooLate { phase, timeout }.into())
        }
        end => end,
    }
}

/// What the template says of answers without rows; `None` where these prove that there is nothing.
fn note(step: &CheckedStep) -> Option<String> {
    let limits = step.statement().limits();
    (!limits.is_empty()).then(|| format!("What the answers leave open: {}", limits.join(" ")))
}

fn concluded(
    server: &dyn AnyBackend,
    step: &CheckedStep,
    session: &mut Session<'_>,
    state: State,
    mode: Mode,
    end: End,
) -> Outcome {
    let all_answered = state.all_answered();
    // Who cancels a run, or sees it fail, wants nothing of it to go on.
    let leaves = matches!(end, End::Complete | End::Deadline)
        && !all_answered
        && !state.planned
        && step.step().offline_hosts.queue_hours().is_some();
    let queued_until = server.queued_until().filter(|_| leaves);
    if let (Some(until), Some(campaign)) = (queued_until, &state.campaign) {
        session.notices.warn(format!(
            "the query stays with the server until {} for the hosts that have not answered ({} of {}): `run --resume` with this run's document brings their answers",
            rfc3339(until),
            campaign.targeted() - campaign.responded(),
            campaign.targeted(),
        ));
    }
    let mut about = About {
        // A server chooses it.
        id: server.campaign_id().map(|id| session.notices.id(&id)),
        saved_query: server.saved_query(),
        may_be_running: server.may_be_running(all_answered),
        queued_until,
        note: state.leaves_open.then(|| note(step)).flatten(),
        timings: Timings::of(&state.phases, server.connecting(), state.campaign.as_ref()),
        ..About::of(step, session)
    };
    if !all_answered && !state.planned {
        about.other_ids = server.other_campaign_ids();
        if about.id.is_none() {
            about.takes_over(step, session, &state);
        }
    }
    match (state.campaign, end) {
        (Some(campaign), End::Complete) if state.planned => Outcome::Planned {
            about,
            campaign: Box::new(campaign),
            sql: step.statement().sql().to_owned(),
        },
        (Some(campaign), end) => Outcome::Ran {
            about,
            targets: Targets::Resolved(Box::new(campaign)),
            end,
        },
        (None, end) => {
            let (named, kept) = unresolved(step, session, state.resumed, mode);
            Outcome::Ran {
                about,
                targets: Targets::Named { named, kept },
                end,
            }
        }
    }
}

/// A run that was not let through to its server: with what an earlier one brought, as if it had been.
fn refused(
    step: &CheckedStep,
    session: &mut Session<'_>,
    state: State,
    mode: Mode,
    end: End,
) -> Outcome {
    let mut about = About::of(step, session);
    about.takes_over(step, session, &state);
    let (named, kept) = unresolved(step, session, state.resumed, mode);
    match kept {
        None => Outcome::Refused { named, end },
        Some(kept) => Outcome::Ran {
            about,
            targets: Targets::Named {
                named,
                kept: Some(kept),
            },
            end,
        },
    }
}

impl About {
    /// Of a run that has not asked anybody.
    fn of(step: &CheckedStep, session: &Session<'_>) -> Self {
        Self {
            backend: step.step().server.access.known().name,
            id: None,
            other_ids: Vec::new(),
            saved_query: None,
            elapsed: session.run.began().elapsed(),
            may_be_running: false,
            queued_until: None,
            note: None,
            timings: Timings::default(),
        }
    }

    /// What an earlier run left with the server, where this one came to ask for none of it: whoever resumes
    /// this one finds it by its document.
    fn takes_over(&mut self, step: &CheckedStep, session: &Session<'_>, state: &State) {
        let known = step.step().server.access.known();
        let (campaigns, until) = match (&state.resumed, &state.left) {
            _ if !known.has.queue => return,
            (Some(resumed), _) => (&resumed.campaigns, resumed.queued_until),
            (None, Some(left)) => (&left.campaigns, left.until),
            (None, None) => return,
        };
        let mut ids = campaigns.iter().map(|id| session.notices.id(id));
        self.id = ids.next();
        self.other_ids = ids.collect();
        self.queued_until = until.filter(|until| *until > session.run.now());
        self.may_be_running |= self.queued_until.is_some();
    }
}

/// Whom a run that ended before its targets were resolved was to ask: the names that the step wrote, and
/// what an earlier run brought, which must not be lost with this one.
fn unresolved(
    step: &CheckedStep,
    session: &mut Session<'_>,
    resumed: Option<Resumed>,
    mode: Mode,
) -> (Vec<String>, Option<Box<Campaign>>) {
    let asked_for = step.step();
    let mut named = asked_for.targets.written();
    let Some(resumed) = resumed.filter(|_| mode == Mode::Run) else {
        return (named, None);
    };
    let merged = merge(Roster::default(), &asked_for.targets, resumed.targets);
    let mut campaign = Campaign::new(merged.roster, step.limits(), asked_for.offline_hosts);
    for (host, answer) in merged.answers {
        campaign.keep(host, answer);
    }
    for host in campaign.answered() {
        // Who is gone sees no later line either.
        let _ = session.sink.answered(&mut campaign, host);
    }
    let kept: HashSet<&str> = campaign.roster().keys().collect();
    named.retain(|name| !kept.contains(name.as_str()));
    (named, Some(Box::new(campaign)))
}

/// The same end without secrets in its words.
fn shown(end: End, notices: &Notices) -> End {
    match end {
        End::Failed(failure) => End::Failed(failure.map_text(|text| notices.redact(text))),
        end => end,
    }
}
