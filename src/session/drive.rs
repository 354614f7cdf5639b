//! Takes a checked step through a backend: log in, resolve, dispatch, collect. Holds what is known at
//! every moment, so that a deadline or a signal can end it anywhere. Can't tell one backend from another.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::campaign::roster::Roster;
use crate::campaign::{Campaign, Recorded};
use crate::exit::Code;
use crate::output::document::Planned;
use crate::process::stderr;
use crate::process::stdout::{self, Format};
use crate::servers::{Backend, Event};
use crate::session::failure::Failure;
use crate::session::prepare::CheckedStep;

const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Phase {
    /// Connecting and logging in.
    #[default]
    Connecting,
    /// Finding the hosts.
    Resolving,
    /// Dispatching the campaign.
    Starting,
    /// The campaign runs and is listened to.
    Collecting,
}

impl Phase {
    /// What was being done, for the error of a deadline.
    pub fn words(self) -> &'static str {
        match self {
            Self::Connecting => "connecting to the server and logging in",
            Self::Resolving => "finding the targets",
            Self::Starting => "starting the campaign",
            Self::Collecting => "collecting the answers",
        }
    }
}

/// What is known of a run.
#[derive(Debug, Default)]
pub struct State {
    /// How far it is.
    pub phase: Phase,
    /// Targets and answers, once the targets are resolved.
    pub campaign: Option<Campaign>,
    /// What `check` found.
    pub planned: Option<Planned>,
    foreign: usize,
    dispatched: Option<Instant>,
}

impl State {
    /// Whether every targeted host has answered.
    pub fn all_answered(&self) -> bool {
        self.campaign.as_ref().is_some_and(Campaign::all_answered)
    }
}

/// What the caller asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Stop before the dispatch, and say what would be sent.
    pub check_only: bool,
    /// How the output is written.
    pub format: Format,
}

/// Runs the step until every host has answered, or nothing more can come. May be dropped at any await.
///
/// # Errors
/// Whatever ends it before that; `state` keeps what came.
pub async fn drive(
    backend: &mut impl Backend,
    step: &CheckedStep,
    wish: Wish,
    state: &mut State,
) -> Result<(), Failure> {
    backend.authenticate().await?;
    if wish.check_only {
        backend.verify().await?;
    }
    state.phase = Phase::Resolving;
    let asked_for = step.step();
    let candidates = backend
        .resolve(&asked_for.targets, &asked_for.limits)
        .await?;
    let roster = Roster::new(&asked_for.targets, candidates);
    for warning in &roster.warnings {
        tracing::warn!("{warning}");
    }
    if roster.hosts.len() > asked_for.limits.max_hosts {
        return Err(crate::servers::BackendError::TooManyHosts {
            max_hosts: asked_for.limits.max_hosts,
        }
        .into());
    }
    warn_of_slow_check_ins(&roster, asked_for.timeout);
    let nobody = roster.hosts.is_empty();
    let unknown = roster.unknown_listed();
    if let (Some(names), false) = (&unknown, nobody) {
        tracing::warn!("not enrolled, or not visible to these credentials: {names}");
    }
    if nobody && unknown.is_none() {
        // No campaign: the document names the hosts as the step wrote them.
        return Err(no_target(&roster));
    }
    let campaign = state.campaign.insert(Campaign::new(
        roster,
        &asked_for.limits,
        asked_for.offline_hosts,
    ));
    if nobody {
        return Err(no_target(campaign.roster()));
    }
    if wish.check_only {
        state.planned = Some(planned(campaign.roster(), step));
        return Ok(());
    }
    state.phase = Phase::Starting;
    let asked = backend
        .start(step.statement(), &campaign.roster().hosts)
        .await?;
    campaign.started(asked);
    state.phase = Phase::Collecting;
    let dispatched = *state.dispatched.insert(Instant::now());
    tracing::info!(
        "asked {} hosts, campaign {}",
        campaign.targeted(),
        backend.campaign_id().as_deref().unwrap_or("without an id")
    );
    collect(
        backend,
        campaign,
        dispatched,
        wish.format,
        &mut state.foreign,
    )
    .await
}

async fn collect(
    backend: &mut impl Backend,
    campaign: &mut Campaign,
    dispatched: Instant,
    format: Format,
    foreign: &mut usize,
) -> Result<(), Failure> {
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !campaign.is_finished() {
        let event = {
            let mut next = pin!(backend.next());
            loop {
                tokio::select! {
                    biased;
                    event = &mut next => break event?,
                    _ = ticks.tick() => stderr::progress(
                        campaign.responded(),
                        campaign.targeted(),
                        dispatched.elapsed(),
                    ),
                }
            }
        };
        match event {
            Event::Answered { host, answer } => {
                match campaign.record(&host, answer, dispatched.elapsed()) {
                    Recorded::New(index) if format == Format::Ndjson => {
                        stdout::write_host(campaign, index).map_err(|error| not_written(&error))?;
                        campaign.take_rows(index);
                    }
                    Recorded::New(_) => crate::process::panics::provoke("collecting"),
                    Recorded::Repeated => {}
                    Recorded::Foreign => {
                        if *foreign == 0 {
                            tracing::warn!(
                                "the server sent answers of hosts that were not asked: they are left out"
                            );
                        }
                        *foreign += 1;
                    }
                }
            }
            Event::Asked(host) => campaign.asked(&host),
            Event::Offline(host) => campaign.offline(&host),
            Event::Exhausted => break,
        }
    }
    Ok(())
}

/// stdout can't be written to.
pub fn not_written(error: &io::Error) -> Failure {
    Failure::new(
        Code::Output,
        format!("the document can't be written to stdout: {}", error.kind()),
    )
    .hint("look at what stdout leads to: a full disk, a closed file")
}

fn no_target(roster: &Roster) -> Failure {
    let message = match (roster.targets.as_slice(), roster.unknown_listed()) {
        (_, None) => {
            return Failure::new(Code::Targets, "no enrolled host matches the targets")
                .hint("look at the members of the labels, and at `target_platforms`");
        }
        ([only], _) => format!(
            "`{}` is not enrolled, or not visible to these credentials",
            only.key
        ),
        (all, Some(names)) => format!(
            "none of the {} targets is enrolled, or visible to these credentials: {names}",
            all.len()
        ),
    };
    Failure::new(Code::Targets, message).hint(
        "check the names, the server and (osctrl) the environment; hostname, uuid and serial are understood",
    )
}

fn planned(roster: &Roster, step: &CheckedStep) -> Planned {
    let known = roster.targets.iter().filter(|target| target.host.is_some());
    Planned {
        sql: step.statement().sql().to_owned(),
        hosts: known.map(|target| target.key.clone()).collect(),
        unknown: roster.unknown().map(str::to_owned).collect(),
    }
}

fn warn_of_slow_check_ins(roster: &Roster, timeout: Duration) {
    let slow: Vec<Duration> = roster
        .hosts
        .iter()
        .filter_map(|host| host.check_in_interval)
        .filter(|interval| *interval > timeout)
        .collect();
    if let Some(slowest) = slow.iter().max() {
        tracing::warn!(
            "{} of the {} hosts check in less often than `timeout_seconds` ({} s; the slowest every {} s): they may not hear the query in time",
            slow.len(),
            roster.hosts.len(),
            timeout.as_secs(),
            slowest.as_secs()
        );
    }
}
