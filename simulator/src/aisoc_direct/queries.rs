//! The client's two calls, and what becomes of a host's answer: its rows, and nothing else of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use super::auth::Caller;
use super::{JSON, body, detail, failure, ok};
use crate::agents::{self, Owner, Query};
use crate::http::{Call, Reply};
use crate::observe::{self, CampaignState, Fate, Server};
use crate::pieces::Pieces;
use crate::rows::{Answered, json_string};
use crate::scenario::parse_uuid;
use crate::world::{Shared, World, random_uuid};

/// A query for one node.
pub(super) struct StoredQuery {
    pub id: String,
    pub sql: String,
    /// Place of its node.
    node: usize,
    /// Its place among the world's queries.
    pub query: usize,
    pub answer: Option<Stored>,
}

/// What was written last.
pub(super) enum Stored {
    /// By a simulated host, whose place this is.
    Host(usize, Arc<Answered>),
    /// By an agent that a test plays.
    Written(Vec<Value>),
}

/// `POST /api/v1/osquery/distributed/enqueue`: one host, one query, one id.
pub(super) fn enqueue(shared: &Shared, caller: &Caller, call: &Call) -> Reply {
    let fields = match body::fields(call) {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let mut problems = Vec::new();
    let identifier = body::text(&fields, "host_identifier", true, &mut problems);
    let sql = body::text(&fields, "query_text", true, &mut problems);
    let named = body::text(&fields, "tenant_id", false, &mut problems);
    let (Some(identifier), Some(sql)) = (identifier, sql) else {
        return body::refuse(problems);
    };
    if !problems.is_empty() {
        return body::refuse(problems);
    }
    let tenant = match (caller, named) {
        (Caller::Tenant(own), None) => own.clone(),
        (Caller::Tenant(own), Some(named)) => match parse_uuid(&named) {
            Some(named) if named == *own => named,
            Some(_) => {
                let text = "requested tenant is outside the caller's authorised scope";
                return detail(403, text);
            }
            None => return detail(403, "requested tenant is not a UUID"),
        },
        (Caller::AnyTenant, named) => named.unwrap_or_else(|| "default".into()),
    };
    // The database takes no NUL.
    if identifier.contains('\0') {
        return failure();
    }
    shared.change(|world| {
        if world.outages.without_database() {
            return failure();
        }
        super::enrol_hosts(world);
        let name = (tenant, identifier);
        let Some(node) = world.aisoc_direct.by_name.get(&name).copied() else {
            let (tenant, identifier) = name;
            return detail(
                404,
                format!("Node '{identifier}' not enrolled for tenant '{tenant}'"),
            );
        };
        if sql.contains('\0') {
            return failure();
        }
        let id = create(world, node, sql);
        ok(&serde_json::json!({ "query_id": id }))
    })
}

fn create(world: &mut World, node: usize, sql: String) -> String {
    let id = random_uuid();
    let host = world
        .aisoc_direct
        .nodes
        .get(node)
        .and_then(|node| node.host);
    let uuid = host
        .and_then(|place| world.hosts.get(place))
        .map(|host| host.uuid.clone());
    let played = world.aisoc_direct.nodes.get(node);
    let named = uuid.or_else(|| played.map(|node| node.identifier.clone()));
    let record = observe::Campaign {
        server: Server::AisocDirect,
        id: id.clone(),
        sql: sql.clone(),
        hosts: named.into_iter().collect(),
        state: CampaignState::Running,
        listeners: 0,
        answers: 0,
        lost: 0,
        refused: 0,
        orphaned: false,
        handed_out: Vec::new(),
        items: 0,
        created: Instant::now(),
        ended: None,
    };
    let place = world.aisoc_direct.queries.len();
    let query = Query {
        owner: Owner::AisocDirect(place),
        sql: sql.clone(),
        targets: host.into_iter().collect(),
        live: true,
    };
    let query = world.add_query(record, query);
    let state = &mut world.aisoc_direct;
    state.queries.push(StoredQuery {
        id: id.clone(),
        sql,
        node,
        query,
        answer: None,
    });
    state.by_id.insert(id.clone(), place);
    if let Some(node) = state.nodes.get_mut(node) {
        node.pending.push(place);
    }
    agents::dispatch(world, query, Duration::ZERO);
    id
}

/// `GET /api/v1/osquery/distributed/{query_id}`: `pending` or `completed`, never anything else.
pub(super) fn show(world: &World, caller: &Caller, id: &str) -> Reply {
    if id.contains('\0') || world.outages.without_database() {
        return failure();
    }
    let state = &world.aisoc_direct;
    let found = state
        .by_id
        .get(id)
        .and_then(|place| state.queries.get(*place));
    let visible = found.filter(|query| match caller {
        Caller::AnyTenant => true,
        Caller::Tenant(tenant) => {
            let node = state.nodes.get(query.node);
            node.is_some_and(|node| node.tenant == *tenant)
        }
    });
    let Some(query) = visible else {
        return detail(404, format!("Query '{id}' not found"));
    };
    let (status, rows) = match &query.answer {
        None => ("pending", held("null")),
        Some(stored) => ("completed", rows(world, &query.sql, stored)),
    };
    let before = format!(
        "{{\"query_id\":{},\"status\":\"{status}\",\"rows\":",
        json_string(id)
    );
    Reply::made(200, JSON, rows.between(before, ",\"error\":null}"))
}

fn held(text: impl Into<String>) -> Pieces {
    let text = Bytes::from(text.into());
    let length = text.len() as u64;
    let mut pieces = Pieces::new(std::iter::once(text));
    pieces.length = Some(length);
    pieces
}

/// The rows as JSON. A host's error leaves none, and no trace. Rows that a scenario writes are what the
/// statement finds: where it marks what it finds, a host would mark them.
fn rows(world: &World, sql: &str, stored: &Stored) -> Pieces {
    let (place, answer) = match stored {
        Stored::Written(rows) => return held(Value::from(rows.clone()).to_string()),
        Stored::Host(place, answer) => (place, answer.as_ref()),
    };
    let Some(host) = world.hosts.get(*place) else {
        return held("[]");
    };
    let marker = marker(sql);
    match answer {
        Answered::Rows(rows) => held(match marker.filter(|_| host.said.is_some()) {
            Some(marker) => rows.marked(marker).json(host),
            None => rows.json(host),
        }),
        Answered::Made(made) => {
            let mark = marker.map(|marker| format!("{}:\"1\"", json_string(marker)));
            made.pieces(mark.as_deref(), 0)
        }
        Answered::Raw(text) => held(text.clone()),
        Answered::Data(text) => held(host.fill(text, 1).into_owned()),
        Answered::Missing => held("null"),
        Answered::Error(_) | Answered::StatusOnly(_) => held("[]"),
    }
}

/// The column by which a statement tells rows that it found from the one that stands for none, where it has
/// one: `SELECT t.* FROM (SELECT 1) AS asked LEFT JOIN (SELECT 1 AS MARKER, …) AS t`.
fn marker(sql: &str) -> Option<&str> {
    let rest = sql.strip_prefix("SELECT t.* FROM (SELECT 1) AS asked LEFT JOIN (SELECT 1 AS ")?;
    rest.split_once(',').map(|(marker, _)| marker)
}

/// A simulated host's answer. `None`: its key is dead, somebody else enrolled under its identifier.
pub(crate) fn receive(
    world: &mut World,
    place: usize,
    host: usize,
    answer: &Arc<Answered>,
) -> Option<Fate> {
    let state = &world.aisoc_direct;
    let query = state.queries.get(place)?;
    let (node, number) = (query.node, query.query);
    if state.nodes.get(node)?.host != Some(host) {
        return None;
    }
    let lost = world.observed.campaigns.get(number)?.lost;
    if lost < world.hosts.get(host)?.behaviour.lost_answers {
        return Some(Fate::Lost);
    }
    store(world, place, Stored::Host(host, Arc::clone(answer)));
    Some(Fate::Taken)
}

/// The answer replaces an earlier one; the query is handed out no more.
pub(super) fn store(world: &mut World, place: usize, answer: Stored) {
    let state = &mut world.aisoc_direct;
    let Some(query) = state.queries.get_mut(place) else {
        return;
    };
    query.answer = Some(answer);
    let number = query.query;
    if let Some(node) = state.nodes.get_mut(query.node) {
        node.pending.retain(|pending| *pending != place);
    }
    world.end_query(number, CampaignState::Completed);
}
