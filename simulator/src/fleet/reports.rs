//! What Fleet keeps of scheduled queries: each host's latest snapshot, up to a number of rows over all
//! hosts together, after which nothing new is taken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::Value;

use super::{State, saved, teams};
use crate::changes::{find_host, time};
use crate::host::Host;
use crate::http::{Call, FLEET_JSON, Reply};
use crate::pieces::{PIECE, Pieces};
use crate::rows::{Answered, RowsText, json_string};
use crate::scenario::{Logging, Paths, Scenario, ScenarioError, Snapshot};
use crate::world::{Shared, World};
use crate::{agents, clock};

/// A saved query's results.
#[derive(Default)]
pub(super) struct Report {
    /// By the id that the host had when it sent them.
    hosts: BTreeMap<u64, Kept>,
    /// Rows over all hosts.
    rows: usize,
}

/// A host's snapshot, or as much of it as there was room for.
#[derive(Clone)]
struct Kept {
    /// Place of the host.
    host: usize,
    fetched: SystemTime,
    answer: Arc<Answered>,
    rows: usize,
}

impl Kept {
    fn text(&self) -> Option<&RowsText> {
        match self.answer.as_ref() {
            Answered::Rows(rows) => Some(rows),
            _ => None,
        }
    }
}

/// How many rows a report holds. Newer servers have room for a row of every host.
fn cap(scenario: &Scenario, hosts: usize) -> usize {
    match scenario.fleet.paths {
        Paths::Old => scenario.fleet.report_cap,
        Paths::New | Paths::Both => scenario.fleet.report_cap.max(hosts),
    }
}

/// The snapshots that the scenario starts with.
pub(super) fn fill(
    state: &mut State,
    scenario: &Scenario,
    hosts: &[Host],
) -> Result<(), ScenarioError> {
    let cap = cap(scenario, hosts.len());
    for spec in &scenario.fleet.reports {
        let Some(id) = state
            .saved
            .values()
            .find(|saved| saved.name == spec.name)
            .map(|saved| saved.id)
        else {
            continue;
        };
        if spec.filled {
            for (place, host) in hosts.iter().enumerate() {
                if host.online && (spec.team_id.is_none() || spec.team_id == host.team_id) {
                    let answer = host.dataset.answer(&spec.query);
                    store(state, cap, id, host.id, kept(place, host.last_seen, answer));
                }
            }
        }
        for (name, rows) in &spec.rows {
            let named = |host: &&Host| {
                host.uuid.eq_ignore_ascii_case(name)
                    || host.hostname == *name
                    || host.id.to_string() == *name
            };
            let Some(place) = hosts.iter().position(|host| named(&host)) else {
                return Err(ScenarioError::new(format!(
                    "fleet.reports: '{}' has rows of '{name}', which is no host",
                    spec.name
                )));
            };
            if let Some(host) = hosts.get(place) {
                let answer = Arc::new(Answered::Rows(agents::pinned(rows)));
                store(state, cap, id, host.id, kept(place, host.last_seen, answer));
            }
        }
    }
    Ok(())
}

/// A snapshot comes.
pub(crate) fn take_snapshot(world: &mut World, snapshot: &Snapshot) -> Result<(), ScenarioError> {
    let place = find_host(world, &snapshot.host)?;
    let fetched = match &snapshot.fetched {
        Some(text) => time(text, "fetched")?,
        None => SystemTime::now(),
    };
    let id = find_report(world, &snapshot.report)?;
    let saved = world.fleet.saved.get(&id);
    let (Some(saved), Some(host)) = (saved, world.hosts.get(place)) else {
        return Ok(());
    };
    let answer = match &snapshot.rows {
        Some(rows) => Arc::new(Answered::Rows(agents::pinned(rows))),
        None => host.dataset.answer(&saved.sql),
    };
    let host_id = host.id;
    let cap = cap(&world.scenario, world.enrolled().count());
    store(
        &mut world.fleet,
        cap,
        id,
        host_id,
        kept(place, fetched, answer),
    );
    Ok(())
}

/// The id of the report with this name.
pub(crate) fn find_report(world: &World, name: &str) -> Result<u64, ScenarioError> {
    let mut saved = world.fleet.saved.values();
    saved
        .find(|saved| saved.name == name)
        .map(|saved| saved.id)
        .ok_or_else(|| ScenarioError::new(format!("no report is '{name}'")))
}

fn kept(host: usize, fetched: SystemTime, answer: Arc<Answered>) -> Kept {
    Kept {
        host,
        fetched,
        answer,
        rows: 0,
    }
}

/// The snapshot replaces the host's rows, unless the report is full or keeps nothing.
fn store(state: &mut State, cap: usize, query: u64, host_id: u64, mut new: Kept) {
    let keeps = state.saved.get(&query).is_some_and(|saved| {
        saved.interval > 0 && saved.logging == Logging::Snapshot && !saved.discard_data
    });
    // A statement that fails on a host is in its own log only.
    let Some(rows) = new.text().map(RowsText::len).filter(|_| keeps) else {
        return;
    };
    let report = state.reports.entry(query).or_default();
    if report.rows >= cap {
        return;
    }
    if let Some(old) = report.hosts.remove(&host_id) {
        report.rows -= old.rows;
    }
    new.rows = rows.min(cap - report.rows);
    if new.rows > 0 {
        report.rows += new.rows;
        report.hosts.insert(host_id, new);
    }
}

/// `GET /queries/{id}/report`, newly `GET /reports/{id}/report`, which has pages.
pub(super) fn show(shared: &Arc<Shared>, id: &str, call: &Call, new: bool) -> Reply {
    let world = shared.look();
    let Some(saved) = saved::find(&world, id) else {
        return saved::unknown(id);
    };
    let team = teams::asked(call).filter(|id| *id > 0);
    let report = world.fleet.reports.get(&saved.id);
    let mut hosts: VecDeque<(u64, Kept)> = report
        .into_iter()
        .flat_map(|report| &report.hosts)
        .filter(|(_, kept)| {
            let host = world.hosts.get(kept.host);
            team.is_none() || host.is_some_and(|host| host.team_id == team)
        })
        .map(|(id, kept)| (*id, kept.clone()))
        .collect();
    let count: usize = hosts.iter().map(|(_, kept)| kept.rows).sum();
    let cap = cap(&world.scenario, world.enrolled().count());
    let clipped = report.is_some_and(|report| report.rows >= cap);
    let mut after = format!("],\"report_clipped\":{clipped}}}");
    let mut page = 0..count;
    let size = call.number("per_page").filter(|size| new && *size > 0);
    if let Some(size) = size {
        let number = call.number("page").unwrap_or(0);
        let from = number.saturating_mul(size).min(count);
        page = from..from.saturating_add(size).min(count);
        let meta: Value = saved::meta(count, number, size);
        after = format!("],\"report_clipped\":{clipped},\"count\":{count},\"meta\":{meta}}}");
    }
    // What is before the page costs a number, not its text.
    let mut skip = page.start;
    while let Some((_, first)) = hosts.front()
        && first.rows <= skip
    {
        skip -= first.rows;
        hosts.pop_front();
    }
    let both = if new {
        format!("\"report_id\":{},", saved.id)
    } else {
        String::new()
    };
    let before = format!("{{\"query_id\":{},{both}\"results\":[", saved.id);
    let rows = Rows {
        shared: Arc::clone(shared),
        hosts,
        skip,
        left: page.len(),
        first: true,
    };
    drop(world);
    Reply::made(200, FLEET_JSON, Pieces::new(rows).between(before, after))
}

/// Rows on their way out: however many they are, few are held.
struct Rows {
    shared: Arc<Shared>,
    /// Those that are still to be written, with the ids that they had.
    hosts: VecDeque<(u64, Kept)>,
    /// Rows of the first of them that are not.
    skip: usize,
    left: usize,
    first: bool,
}

impl Iterator for Rows {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut text = String::new();
        let world = self.shared.look();
        while self.left > 0
            && text.len() < PIECE
            && let Some((id, kept)) = self.hosts.pop_front()
        {
            let host = world.hosts.get(kept.host);
            // Who is deleted meanwhile, or enrolled anew, has lost its name here.
            let same = host.filter(|host| host.enrolled && host.id == id);
            let lead = format!(
                "{{\"host_id\":{id},\"host_name\":{},\"last_fetched\":{},\"columns\":",
                json_string(same.map_or("", |host| &host.display_name)),
                json_string(&clock::seconds(kept.fetched))
            );
            let (Some(rows), Some(host)) = (kept.text(), host) else {
                continue;
            };
            let take = (kept.rows - self.skip).min(self.left);
            for row in self.skip..self.skip + take {
                if !std::mem::take(&mut self.first) {
                    text.push(',');
                }
                text.push_str(&lead);
                text.push_str(&rows.row(row, host));
                text.push('}');
            }
            self.left -= take;
            self.skip = 0;
        }
        (!text.is_empty()).then(|| text.into())
    }
}
