//! osctrl's queries from before, and results that come to a query by the scenario's or a test's word.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::queries::StoredQuery;
use super::results;
use crate::agents::{self, Owner, Query};
use crate::changes::{find_host, time};
use crate::clock;
use crate::observe::{self, CampaignState, Server};
use crate::rows::Answered;
use crate::scenario::{LateResult, QuerySpec, QueryState, ResultSpec, ScenarioError};
use crate::world::{World, random_hex};

/// How long before the start such a query was created, unless it says.
const BEFORE: Duration = Duration::from_secs(3_600);
/// How long it was to be handed out.
const EXPIRES_AFTER: Duration = Duration::from_secs(3_600);

/// Keeps the scenario's queries from before, with their results.
pub(crate) fn fill(world: &mut World) -> Result<(), ScenarioError> {
    let scenario = Arc::clone(&world.scenario);
    for (index, spec) in scenario.osctrl.queries.iter().enumerate() {
        let place = keep(world, spec)?;
        let created = world.osctrl.queries.last().map(|query| query.created);
        let mut at = created.unwrap_or_else(SystemTime::now);
        if spec.filled {
            let environment = world.osctrl.queries.last();
            let environment = environment.map(|query| query.environment.clone());
            let nodes: Vec<(usize, Arc<Answered>)> = world
                .enrolled()
                .filter(|(_, host)| Some(&host.environment) == environment.as_ref())
                .map(|(node, host)| (node, host.dataset.answer(&spec.query)))
                .collect();
            for (node, answer) in nodes {
                at += Duration::from_micros(1);
                results::keep(world, place, node, &answer, at);
            }
        }
        for result in &spec.results {
            let host = find_host(world, &result.host).map_err(|error| {
                ScenarioError::new(format!("osctrl.queries[{index}]: {}", error.message))
            })?;
            at = match &result.at {
                Some(text) => time(text, "at")?,
                None => at + Duration::from_micros(1),
            };
            let answer = answer(world, host, result, &spec.query);
            results::keep(world, place, host, &answer, at);
        }
        if let Some(query) = world.osctrl.queries.last_mut() {
            let answered = query.executions + query.errors;
            query.expected = spec.expected.unwrap_or(answered);
            query.executions = spec.executions.unwrap_or(query.executions);
            query.errors = spec.errors.unwrap_or(query.errors);
            query.updated = at;
        }
    }
    Ok(())
}

/// The query without its results; its place among the world's.
fn keep(world: &mut World, spec: &QuerySpec) -> Result<usize, ScenarioError> {
    let created = match &spec.created {
        Some(text) => time(text, "created")?,
        None => SystemTime::now() - BEFORE,
    };
    let environments = &world.scenario.osctrl.environments;
    let environment = spec.environment.clone();
    let environment = environment.or_else(|| environments.first().cloned());
    let made_up = || format!("query_{}", random_hex(32));
    let name = spec.name.clone().unwrap_or_else(made_up);
    let id = spec.id.unwrap_or_else(|| world.osctrl.next_query_id());
    let active = spec.state == QueryState::Active;
    let record = observe::Campaign {
        server: Server::Osctrl,
        id: name.clone(),
        sql: spec.query.clone(),
        hosts: Vec::new(),
        handed_out: Vec::new(),
        state: match spec.state {
            QueryState::Active => CampaignState::Running,
            QueryState::Completed => CampaignState::Completed,
            QueryState::Expired => CampaignState::Expired,
            QueryState::Deleted => CampaignState::Deleted,
        },
        listeners: 0,
        orphaned: false,
        answers: 0,
        lost: 0,
        refused: 0,
        items: 0,
        created: Instant::now(),
        ended: (!active).then(Instant::now),
    };
    let query = Query {
        owner: Owner::Osctrl(name.clone()),
        sql: spec.query.clone(),
        targets: Vec::new(),
        live: active,
    };
    let place = world.add_query(record, query);
    world.osctrl.queries.push(StoredQuery {
        id,
        name,
        environment: environment.unwrap_or_default(),
        sql: spec.query.clone(),
        creator: spec.creator.clone().unwrap_or_else(|| "admin".into()),
        created: clock::whole_micros(created),
        updated: created,
        expiration: Some(created + EXPIRES_AFTER),
        hidden: spec.hidden,
        carve: false,
        expected: 0,
        executions: 0,
        errors: 0,
        active,
        completed: spec
            .completed
            .unwrap_or(spec.state == QueryState::Completed),
        expired: spec.state == QueryState::Expired,
        deleted: spec.state == QueryState::Deleted,
        targets: Vec::new(),
        items: Vec::new(),
        shared_data: Vec::new(),
        pending: HashSet::new(),
        query: place,
    });
    Ok(place)
}

/// A result comes now, to a query of before or one that is running.
pub(crate) fn take_result(world: &mut World, late: &LateResult) -> Result<(), ScenarioError> {
    let (place, sql) = find_query(world, &late.query)?;
    let host = find_host(world, &late.result.host)?;
    let at = match &late.result.at {
        Some(text) => time(text, "at")?,
        None => SystemTime::now(),
    };
    let answer = answer(world, host, &late.result, &sql);
    results::keep(world, place, host, &answer, at);
    Ok(())
}

/// The place among the world's queries, and the statement, of the query with this name.
pub(crate) fn find_query(world: &World, name: &str) -> Result<(usize, String), ScenarioError> {
    let mut queries = world.osctrl.queries.iter();
    queries
        .find(|query| query.name == name)
        .map(|query| (query.query, query.sql.clone()))
        .ok_or_else(|| ScenarioError::new(format!("no query is '{name}'")))
}

fn answer(world: &World, host: usize, result: &ResultSpec, sql: &str) -> Arc<Answered> {
    match (&result.rows, &result.error) {
        (Some(rows), _) => Arc::new(Answered::Rows(agents::pinned(rows))),
        (None, Some(error)) => Arc::new(Answered::Error(error.clone())),
        (None, None) => world.hosts.get(host).map_or_else(
            || Arc::new(Answered::Missing),
            |host| host.dataset.answer(sql),
        ),
    }
}
