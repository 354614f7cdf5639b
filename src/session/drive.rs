//! Takes a checked step through a server: log in, resolve, dispatch, collect. Holds what is known at every
//! moment, so that a deadline or a signal can end it anywhere. Can't tell one server from another.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::cancel::{Cancel, Cancelled};
use super::earlier::Resumed;
use super::failure::Failure;
use super::outcome::End;
use super::prepare::CheckedStep;
use super::timings::Phases;
use super::{Gone, Mode, Progress, Run, Sink};
use crate::bug;
use crate::campaign::earlier::merge;
use crate::campaign::host::{Answer, Candidates, Host, Text};
use crate::campaign::roster::{Refused, Roster, Target};
use crate::campaign::{Campaign, Recorded, json_length};
use crate::known_servers::Kind;
use crate::notices::Notices;
use crate::printable::listed;
use crate::servers::open::AnyBackend;
use crate::servers::{BackendError, Event, Left, away};

const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// After so many events that were there at once, the word from outside is listened for: a server that
/// sends without a pause must not be the only one that is heard.
const EVENTS_AT_A_STRETCH: usize = 16;
/// What a host weighs in work that is done for each: about as much as so many bytes of JSON.
const HOST_BYTES: usize = 256;

/// What a check can't know of a server that lists no hosts.
const UNRESOLVED: &str = "this server tells whether a host is enrolled only when it is to be asked, which runs the query there: `check` has proven the address and the credentials, and knows nothing of the hosts";

/// How far an execution is.
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

/// Why a step can't be driven to its end, beside what its server says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DriveError {
    /// No name is unknown, but labels and platforms leave nobody.
    #[error("no enrolled host matches the targets")]
    NoMember,
    /// The only target.
    #[error("`{name}` is not enrolled, or not visible to these credentials")]
    NotEnrolled {
        /// As the step names it.
        name: String,
        /// The enrolled name that is likely meant.
        likely: Option<String>,
        /// Where it is not.
        server: Kind,
    },
    /// Several targets.
    #[error("none of the {count} targets is enrolled, or visible to these credentials: {names}")]
    NoneEnrolled {
        /// How many.
        count: usize,
        /// The first of them.
        names: String,
        /// Where they are not.
        server: Kind,
    },
    /// Firmware's words for no serial, which no host is called.
    #[error("{}", no_serial(.0))]
    NoSerial(Vec<Refused>),
    /// Nothing but phones and tablets.
    #[error("no host is left to ask, since phones and tablets run no osquery: {names}")]
    NoOsquery {
        /// The first of them.
        names: String,
    },
    /// The deadline came before a campaign was listened to.
    #[error("the deadline of {} s came while {}", timeout.as_secs(), phase.words())]
    TooLate {
        /// What was being done.
        phase: Phase,
        /// The deadline.
        timeout: Duration,
    },
}

/// What is known of an execution.
#[derive(Debug, Default)]
pub(super) struct State {
    /// How far it is, and since when.
    pub phases: Phases,
    /// Targets and answers, once the targets are resolved.
    pub campaign: Option<Campaign>,
    /// A check has found all that it looks for.
    pub planned: bool,
    /// What an earlier run brought, until the targets are resolved.
    pub resumed: Option<Resumed>,
    /// What it left with the server, from then on.
    pub left: Option<Left>,
    /// A host answered without rows, or with a digest that is missing: what that leaves open has to be said.
    pub leaves_open: bool,
}

impl State {
    /// Whether every targeted host has answered.
    pub fn all_answered(&self) -> bool {
        self.campaign.as_ref().is_some_and(Campaign::all_answered)
    }
}

/// One way through a server.
pub(super) struct Drive<'a> {
    pub step: &'a CheckedStep,
    pub mode: Mode,
    pub deadline: Instant,
    pub cancel: &'a Cancel,
    pub run: &'a Run,
    pub notices: &'a Notices,
    pub sink: &'a mut dyn Sink,
}

impl Drive<'_> {
    /// Until every host has answered, or nothing more can come. May be dropped at any await; `state` keeps
    /// what came.
    pub async fn through(
        mut self,
        server: &mut dyn AnyBackend,
        state: &mut State,
    ) -> Result<End, Failure> {
        bug::provoke("checked");
        state.phases.enter(Phase::Connecting);
        server.authenticate().await?;
        if self.mode == Mode::Check {
            server.verify().await?;
        }
        state.phases.enter(Phase::Resolving);
        let kind = self.step.step().server.access.known().kind;
        let (resolved, left) = self.resolve(server, &mut state.resumed).await?;
        state.left = left;
        let nobody = resolved.roster().hosts.is_empty();
        let unknown = resolved.roster().unknown_listed();
        if let (Some(names), false) = (&unknown, nobody) {
            self.notices.warn(format!(
                "not enrolled, or not visible to these credentials: {names}"
            ));
        }
        if nobody && unknown.is_none() {
            // No campaign: the document names the hosts as the step wrote them.
            return Err(no_target(resolved.roster(), kind).into());
        }
        let campaign = state.campaign.insert(resolved);
        if nobody {
            return Err(no_target(campaign.roster(), kind).into());
        }
        let max_hosts = self.step.limits().max_hosts;
        if campaign.targeted() > max_hosts {
            // With those that answered an earlier run and are no targets any more.
            return Err(BackendError::TooManyHosts { max_hosts }.into());
        }
        let unsupported = campaign.unsupported();
        if !unsupported.is_empty() {
            let names = listed(&unsupported);
            if campaign.targeted() == 0 {
                return Err(DriveError::NoOsquery { names }.into());
            }
            self.notices.warn(format!(
                "not asked, since phones and tablets run no osquery: {names}"
            ));
        }
        if self.mode == Mode::Check {
            let hosts = campaign.to_ask();
            if !hosts.is_empty() {
                server.permits(self.step.statement(), &hosts).await?;
            }
            if !self.step.step().server.access.known().has.count {
                self.notices.warn(UNRESOLVED);
            }
            state.planned = true;
            return Ok(End::Complete);
        }
        for host in campaign.answered() {
            let digests = self.step.statement().digests();
            state.leaves_open |= campaign.leaves_open(host, digests);
            if let ControlFlow::Break(Gone) = self.sink.answered(campaign, host) {
                return Ok(End::Cancelled(Cancelled::Unread));
            }
        }
        if campaign.all_answered() {
            // An earlier run has them all.
            state.phases.enter(Phase::Collecting);
            return Ok(End::Complete);
        }
        state.phases.enter(Phase::Starting);
        let (statement, hosts) = (self.step.statement(), campaign.to_ask());
        let asked = match &state.left {
            Some(left) => server.resume(statement, &hosts, left).await?,
            None => server.start(statement, &hosts).await?,
        };
        campaign.started(asked, self.run.now());
        state.phases.enter(Phase::Collecting);
        self.notices.info(|| {
            let id = server.campaign_id();
            format!(
                "asked {} hosts, campaign {}",
                campaign.targeted(),
                id.as_deref().unwrap_or("without an id")
            )
        });
        let end = self
            .collect(server, campaign, &mut state.leaves_open)
            .await?;
        if end == End::Complete && campaign.targeted() == 0 {
            // As came out when they were to be asked.
            return Err(no_target(campaign.roster(), kind).into());
        }
        Ok(end)
    }

    /// Whom the targets mean: a campaign of which nobody has been asked, with what an earlier run brought,
    /// and what that run left with the server.
    async fn resolve(
        &self,
        server: &mut dyn AnyBackend,
        resumed: &mut Option<Resumed>,
    ) -> Result<(Campaign, Option<Left>), Failure> {
        let asked_for = self.step.step();
        let mut limits = *self.step.limits();
        let candidates = server.resolve(&asked_for.targets, &limits).await?;
        let found = candidates.named.len() + candidates.grouped.len();
        // Names are compared with all that were seen.
        let found = found + candidates.seen.names.len() + asked_for.targets.hosts.len();
        let (targets, notices) = (asked_for.targets.clone(), self.notices.clone());
        let roster = move || {
            let candidates = shown(candidates, &targets.written(), &notices);
            with_near_shown(Roster::new(&targets, candidates), &notices)
        };
        let roster = away(found.saturating_mul(HOST_BYTES), roster).await;
        if !roster.refused.is_empty() {
            return Err(DriveError::NoSerial(roster.refused).into());
        }
        for warning in &roster.warnings {
            self.notices.warn(warning);
        }
        let asked = roster.hosts.iter().filter(|host| !host.unsupported);
        if asked.count() > limits.max_hosts {
            return Err(BackendError::TooManyHosts {
                max_hosts: limits.max_hosts,
            }
            .into());
        }
        warn_of_slow_check_ins(&roster, self.step.timeout(), self.notices);
        // What the document says of the run counts, too.
        let note = super::note(self.step).as_deref().map_or(0, json_length);
        limits.max_bytes = limits.max_bytes.saturating_sub(self.run.bytes(note));
        let offline_hosts = asked_for.offline_hosts;
        // From here on without a pause: what is taken must not be lost.
        if let Some(resumed) = resumed.take() {
            let merged = merge(roster, &asked_for.targets, resumed.targets);
            for warning in &merged.warnings {
                self.notices.warn(warning);
            }
            let mut campaign = Campaign::new(merged.roster, &limits, offline_hosts);
            for (host, answer) in merged.answers {
                campaign.keep(host, answer);
            }
            let left = Left {
                campaigns: resumed.campaigns,
                silent: merged.silent,
                until: resumed.queued_until,
            };
            return Ok((campaign, Some(left)));
        }
        let bytes = roster.targets.len().saturating_mul(HOST_BYTES);
        let campaign = move || Campaign::new(roster, &limits, offline_hosts);
        Ok((away(bytes, campaign).await, None))
    }

    async fn collect(
        &mut self,
        server: &mut dyn AnyBackend,
        campaign: &mut Campaign,
        leaves_open: &mut bool,
    ) -> Result<End, Failure> {
        let digests = self.step.statement().digests();
        let dispatched = Instant::now();
        let mut ticks = tokio::time::interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut foreign = false;
        let mut events = 0;
        while !campaign.is_finished() {
            let event = {
                let mut next = pin!(server.next());
                loop {
                    tokio::select! {
                        biased;
                        event = &mut next => break event?,
                        _ = ticks.tick() => {
                            let seen = Progress {
                                answered: campaign.responded(),
                                targeted: campaign.targeted(),
                                rows: campaign.rows(),
                                elapsed: dispatched.elapsed(),
                            };
                            self.sink.progress(seen, campaign);
                        }
                    }
                }
            };
            match event {
                Event::Answered { host, answer } => {
                    let open = matches!(&answer, Answer::Rows(rows) if rows.received() == 0 || rows.has_empty(digests));
                    match campaign.record(&host, answer, dispatched.elapsed()) {
                        Recorded::New(index) => {
                            *leaves_open |= open;
                            bug::provoke("collecting");
                            if let ControlFlow::Break(Gone) = self.sink.answered(campaign, index) {
                                return Ok(End::Cancelled(Cancelled::Unread));
                            }
                        }
                        Recorded::Repeated => {}
                        Recorded::Foreign if foreign => {}
                        Recorded::Foreign => {
                            foreign = true;
                            self.notices.warn("the server sent answers of hosts that were not asked: they are left out");
                        }
                    }
                }
                Event::Asked(host) => campaign.asked(&host),
                Event::NotAsked(host) => campaign.not_asked(&host),
                Event::Offline(host) => campaign.offline(&host),
                Event::Unknown(host) => campaign.unknown(&host),
                Event::Exhausted => return Ok(End::Complete),
            }
            events += 1;
            if events % EVENTS_AT_A_STRETCH == 0 {
                tokio::task::yield_now().await;
            }
            if let Some(reason) = self.cancel.now() {
                return Ok(End::Cancelled(reason));
            }
            if Instant::now() >= self.deadline {
                return Ok(End::Deadline);
            }
        }
        Ok(End::Complete)
    }
}

/// The hosts with what the server calls them made fit to be shown. Their ids stay as the server wrote them,
/// and so do names that the step wrote itself, or a host could be hidden by a secret that is called like it.
fn shown(candidates: Candidates, written: &[String], notices: &Notices) -> Candidates {
    let written: HashSet<String> = written.iter().map(|name| name.to_lowercase()).collect();
    let is_written = |name: &str| !written.is_empty() && written.contains(&name.to_lowercase());
    let clean = |hosts: Vec<Host>| -> Vec<Host> {
        let hosts = hosts.into_iter().map(|host| {
            host.with(|which, text| match which {
                Text::LastSeen => notices.id_of(text),
                _ if is_written(text) => text.into(),
                Text::Hostname | Text::ComputerName => notices.name_of(text),
                Text::Uuid | Text::Serial => notices.id_of(text),
            })
        });
        hosts.collect()
    };
    Candidates {
        named: clean(candidates.named),
        grouped: clean(candidates.grouped),
        ..candidates
    }
}

/// The roster with names that resemble unknown ones made fit to be shown: the few that are left of many.
fn with_near_shown(mut roster: Roster, notices: &Notices) -> Roster {
    for near in roster.targets.iter_mut().flat_map(Target::near_mut) {
        near.name = notices.name(&near.name);
    }
    roster
}

fn no_target(roster: &Roster, server: Kind) -> DriveError {
    match (roster.targets.as_slice(), roster.unknown_listed()) {
        (_, None) => DriveError::NoMember,
        ([one], Some(_)) => DriveError::NotEnrolled {
            name: listed(&[roster.key(one)]),
            likely: one.likely().map(|near| listed(&[near])),
            server,
        },
        (all, Some(names)) => DriveError::NoneEnrolled {
            count: all.len(),
            names,
            server,
        },
    }
}

/// Why these names are refused, in one line.
fn no_serial(refused: &[Refused]) -> String {
    let count = |it: &Refused| match (it.hosts, it.or_more) {
        (0, _) => String::new(),
        (1, false) => " (1 enrolled host has it)".to_owned(),
        (hosts, false) => format!(" ({hosts} enrolled hosts have it)"),
        (hosts, true) => format!(" (at least {hosts} enrolled hosts have it)"),
    };
    let quoted = |it: &Refused| format!("`{}`{}", listed(&[&it.name]), count(it));
    let names: Vec<String> = refused.iter().map(quoted).collect();
    let is = match refused.len() {
        1 => "is no host's own serial",
        _ => "are no hosts' own serials",
    };
    let names = listed(&names);
    format!("{names} {is}: firmware says so where its maker set none, and no host is asked for it")
}

fn warn_of_slow_check_ins(roster: &Roster, timeout: Duration, notices: &Notices) {
    let intervals = roster.hosts.iter().filter_map(|host| host.check_in_seconds);
    let slow: Vec<u64> = intervals
        .map(|seconds| seconds.get().into())
        .filter(|seconds| *seconds > timeout.as_secs())
        .collect();
    if let Some(slowest) = slow.iter().max() {
        notices.warn(format!(
            "{} of the {} hosts check in less often than `timeout_seconds` ({} s; the slowest every {} s): they may not hear the query in time",
            slow.len(),
            roster.hosts.len(),
            timeout.as_secs(),
            slowest
        ));
    }
}
