//! What changes by itself, or by a test's word: hosts that go, come, are deleted and renamed, reports that
//! get new rows.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use crate::host::{Host, MISSING_FOR};
use crate::scenario::{Change, HostChange, HostIdentifier, HostStatus, Scenario, ScenarioError};
use crate::world::{Shared, World};
use crate::{agents, clock, fleet, osctrl};

/// The changes that are still to come.
pub(crate) struct Changes {
    waiting: Vec<(Change, Stage)>,
    /// Rung when a change will happen by itself.
    planned: Arc<Notify>,
}

/// Where a change stands; times are since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// For its requests.
    Waiting,
    /// The next request makes it happen.
    Next,
    /// The clock makes it happen.
    At(Duration),
}

impl Changes {
    pub fn new(scenario: &Scenario) -> Self {
        let changes = scenario.changes.iter();
        Self {
            waiting: changes
                .map(|change| (change.clone(), Stage::Waiting))
                .collect(),
            planned: Arc::default(),
        }
    }

    /// Sets the clock of those whose requests have arrived.
    pub fn arm(&mut self, now: Duration, requests: usize) {
        for (change, stage) in &mut self.waiting {
            if *stage == Stage::Waiting && requests >= change.after_requests {
                *stage = if change.after.is_zero() {
                    Stage::Next
                } else {
                    self.planned.notify_one();
                    Stage::At(now + change.after)
                };
            }
        }
    }

    fn next(&self) -> Option<Duration> {
        let stages = self.waiting.iter();
        stages
            .filter_map(|(_, stage)| match stage {
                Stage::At(at) => Some(*at),
                Stage::Waiting | Stage::Next => None,
            })
            .min()
    }
}

/// Makes happen what the clock says, and before a request is handled, what waits for the next one.
pub(crate) fn proceed(world: &mut World, request: bool) {
    let now = world.now();
    let due = world
        .changes
        .waiting
        .extract_if(.., |(_, stage)| match stage {
            Stage::Waiting => false,
            Stage::Next => request,
            Stage::At(at) => *at <= now,
        });
    for (change, _) in due.collect::<Vec<_>>() {
        // A host may have gone by an earlier change: then there is nothing left to change.
        let _ = make(world, &change);
    }
}

/// Whether every change names what is there, or what an earlier change makes of it.
pub(crate) fn check(world: &World) -> Result<(), ScenarioError> {
    let mut renamed: Vec<&str> = Vec::new();
    for (index, change) in world.scenario.changes.iter().enumerate() {
        let fail = |error: ScenarioError| {
            ScenarioError::new(format!("changes[{index}]: {}", error.message))
        };
        if change.is_empty() {
            let message = format!("changes[{index}] changes nothing");
            return Err(ScenarioError::new(message));
        }
        let host = change.host.as_ref();
        let snapshot = change.snapshot.as_ref();
        let late = change.result.as_ref();
        let named = host.map(|host| &host.host);
        let named = named.or_else(|| late.map(|late| &late.result.host));
        for name in named
            .into_iter()
            .chain(snapshot.map(|snapshot| &snapshot.host))
        {
            if !renamed.contains(&name.as_str()) {
                find_host(world, name).map_err(fail)?;
            }
        }
        for (key, text) in [
            ("last_seen", host.and_then(|host| host.last_seen.as_ref())),
            (
                "fetched",
                snapshot.and_then(|snapshot| snapshot.fetched.as_ref()),
            ),
        ] {
            if let Some(text) = text {
                time(text, key).map_err(fail)?;
            }
        }
        if let Some(snapshot) = snapshot {
            fleet::find_report(world, &snapshot.report).map_err(fail)?;
        }
        if let Some(late) = late {
            osctrl::find_query(world, &late.query).map_err(fail)?;
        }
        renamed.extend(host.and_then(|host| host.hostname.as_deref()));
    }
    Ok(())
}

/// Makes a change now.
pub(crate) fn make(world: &mut World, change: &Change) -> Result<(), ScenarioError> {
    if let Some(host) = &change.host {
        change_host(world, host)?;
    }
    if let Some(snapshot) = &change.snapshot {
        fleet::take_snapshot(world, snapshot)?;
    }
    if let Some(late) = &change.result {
        osctrl::take_result(world, late)?;
    }
    Ok(())
}

/// Goes by the clock until the simulator ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let planned = {
        let world = shared.look();
        if world.scenario.changes.is_empty() {
            return;
        }
        Arc::clone(&world.changes.planned)
    };
    shared.change(|world| {
        let now = world.now();
        world.changes.arm(now, 0);
    });
    let next = |world: &World| world.changes.next();
    shared
        .by_the_clock(&planned, next, |world| proceed(world, false))
        .await;
}

/// The place of the host that this names: by uuid, else hostname, else id, whether it is enrolled or not.
pub(crate) fn find_host(world: &World, name: &str) -> Result<usize, ScenarioError> {
    let by = |fits: &dyn Fn(&Host) -> bool| world.hosts.iter().position(fits);
    by(&|host| host.uuid.eq_ignore_ascii_case(name))
        .or_else(|| by(&|host| host.enrolled && host.hostname == name))
        .or_else(|| by(&|host| host.hostname == name))
        .or_else(|| by(&|host| host.enrolled && host.id.to_string() == name))
        .ok_or_else(|| ScenarioError::new(format!("no host is '{name}'")))
}

fn change_host(world: &mut World, change: &HostChange) -> Result<(), ScenarioError> {
    let place = find_host(world, &change.host)?;
    let last_seen = match &change.last_seen {
        None => None,
        Some(text) => Some(time(text, "last_seen")?),
    };
    let next_id = world.hosts.iter().map(|host| host.id).max().unwrap_or(0) + 1;
    let Some(host) = world.hosts.get_mut(place) else {
        return Ok(());
    };
    let was_away = host.away;
    let mut status = change.status;
    match change.enrolled {
        Some(true) => {
            host.enrolled = true;
            host.enrolled_at = SystemTime::now();
            host.id = next_id;
            status = status.or(Some(HostStatus::Online));
        }
        Some(false) => {
            host.enrolled = false;
            host.online = false;
            host.away = true;
        }
        None => {}
    }
    match status {
        Some(HostStatus::Online) => {
            host.online = true;
            host.away = false;
            host.last_seen = SystemTime::now();
        }
        Some(gone @ (HostStatus::Offline | HostStatus::Missing)) => {
            host.online = false;
            host.away = true;
            host.last_seen = match gone {
                HostStatus::Missing => SystemTime::now() - MISSING_FOR,
                _ => SystemTime::now(),
            };
        }
        None => {}
    }
    if let Some(last_seen) = last_seen {
        host.last_seen = last_seen;
    }
    if let Some(hostname) = &change.hostname {
        if host.display_name == host.hostname {
            host.display_name.clone_from(hostname);
        }
        let before = std::mem::replace(&mut host.hostname, hostname.clone());
        if host.identifier == HostIdentifier::Hostname {
            host.identifier = HostIdentifier::Specified(before);
        }
    }
    if let Some(display_name) = &change.display_name {
        host.display_name.clone_from(display_name);
    }
    if let Some(team) = change.team_id {
        host.team_id = team;
    }
    if was_away && !host.away {
        agents::wake(world, place);
    }
    Ok(())
}

/// A time that a change names.
pub(crate) fn time(text: &str, key: &str) -> Result<SystemTime, ScenarioError> {
    clock::parse_rfc3339(text).ok_or_else(|| {
        ScenarioError::new(format!(
            "{key}: '{text}' is not a time such as 2026-11-20T23:53:11Z"
        ))
    })
}
