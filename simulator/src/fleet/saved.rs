//! Fleet's saved queries: kept, listed, run synchronously on several hosts, removed.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::rest::{self, Rows};
use super::{State, bad_request, error, forbidden, not_found, ok};
use crate::clock;
use crate::http::{Call, FLEET_JSON, Reply, TEXT, page_of};
use crate::scenario::{Logging, Part, ReportSpec};
use crate::world::{Shared, World};

/// A saved query.
pub(super) struct SavedQuery {
    pub id: u64,
    pub name: String,
    description: String,
    pub sql: String,
    pub interval: u64,
    pub logging: Logging,
    pub discard_data: bool,
    pub team_id: Option<u64>,
    pub observer_can_run: bool,
    author: usize,
    created: SystemTime,
}

impl SavedQuery {
    fn document(&self, world: &World, created: &str) -> Value {
        let author = world.fleet.users.get(self.author);
        json!({
            "created_at": created,
            "updated_at": created,
            "id": self.id,
            "team_id": self.team_id,
            "interval": self.interval,
            "platform": "",
            "min_osquery_version": "",
            "automations_enabled": false,
            "logging": self.logging.name(),
            "name": self.name,
            "description": self.description,
            "query": self.sql,
            "saved": true,
            "observer_can_run": self.observer_can_run,
            "author_id": author.map(|user| user.id),
            "author_name": author.map(|user| user.spec.name.clone()),
            "author_email": author.map(|user| user.spec.email.clone()),
            "packs": [],
            "stats": {
                "system_time_p50": null,
                "system_time_p95": null,
                "user_time_p50": null,
                "user_time_p95": null,
                "total_executions": null,
            },
            "discard_data": self.discard_data,
            "labels_include_any": null,
        })
    }
}

/// `POST /queries`.
pub(super) fn create(shared: &Shared, user: usize, call: &Call) -> Reply {
    let body = call.json().unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    shared.change(|world| {
        if !world
            .fleet
            .users
            .get(user)
            .is_some_and(super::users::User::may_run)
        {
            return forbidden(FLEET_JSON);
        }
        if text("name").is_empty() || text("query").is_empty() {
            let field = if text("name").is_empty() {
                "name"
            } else {
                "query"
            };
            return error(
                422,
                FLEET_JSON,
                "Validation Failed",
                field,
                "may not be empty",
            );
        }
        let id = world.fleet.next_query_id();
        let saved = SavedQuery {
            id,
            name: text("name"),
            description: text("description"),
            sql: text("query"),
            interval: body["interval"].as_u64().unwrap_or_default(),
            logging: Logging::named(&text("logging")).unwrap_or_default(),
            discard_data: body["discard_data"].as_bool().unwrap_or_default(),
            team_id: body["team_id"].as_u64(),
            observer_can_run: body["observer_can_run"].as_bool().unwrap_or_default(),
            author: user,
            created: SystemTime::now(),
        };
        // The answer to the creation has no times yet.
        let document = saved.document(world, clock::NEVER);
        world.fleet.saved.insert(id, saved);
        ok(&json!({ "query": document }))
    })
}

/// `GET /queries`, newly `GET /reports`: those of one team, or those of none.
pub(super) fn list(world: &World, call: &Call, new: bool) -> Reply {
    let team = super::teams::asked(call).filter(|id| *id > 0);
    let text = call.parameter("query").unwrap_or_default().to_lowercase();
    let mut found: Vec<&SavedQuery> = world
        .fleet
        .saved
        .values()
        .filter(|saved| saved.team_id == team && saved.name.to_lowercase().contains(&text))
        .collect();
    match call.parameter("order_key") {
        Some("id") => {}
        Some("name") => found.sort_by_key(|saved| saved.name.to_lowercase()),
        // The order of the database's index: what is not scheduled comes first.
        _ => found.sort_by_key(|saved| saved.interval > 0),
    }
    if call.parameter("order_direction") == Some("desc") {
        found.reverse();
    }
    let size = call
        .number("per_page")
        .filter(|size| *size > 0)
        .unwrap_or(usize::MAX);
    let page = call.number("page").unwrap_or(0);
    let shown: Vec<Value> = page_of(&found, page, size)
        .into_iter()
        .map(|saved| saved.document(world, &clock::seconds(saved.created)))
        .collect();
    let key = if new { "reports" } else { "queries" };
    ok(&json!({
        key: shown,
        "count": found.len(),
        "meta": meta(found.len(), page, size),
    }))
}

/// What Fleet says of the pages around one.
pub(super) fn meta(count: usize, page: usize, size: usize) -> Value {
    json!({
        "has_next_results": count > page.saturating_add(1).saturating_mul(size),
        "has_previous_results": page > 0,
    })
}

/// Saves the scenario's.
pub(super) fn enrol(state: &mut State, specs: &[ReportSpec]) {
    for spec in specs {
        let id = spec.id.unwrap_or(state.last_query + 1);
        state.last_query = state.last_query.max(id);
        let saved = SavedQuery {
            id,
            name: spec.name.clone(),
            description: spec.description.clone(),
            sql: spec.query.clone(),
            interval: spec.interval,
            logging: spec.logging,
            discard_data: spec.discard_data,
            team_id: spec.team_id,
            observer_can_run: spec.observer_can_run,
            author: 0,
            created: SystemTime::now(),
        };
        state.saved.insert(id, saved);
    }
}

/// The saved query with this id.
pub(super) fn find<'world>(world: &'world World, id: &str) -> Option<&'world SavedQuery> {
    world.fleet.saved.get(&id.parse().ok()?)
}

pub(super) fn unknown(id: &str) -> Reply {
    not_found(&format!("Query {id} was not found in the datastore"))
}

/// `GET /queries/{id}`.
pub(super) fn show(world: &World, id: &str) -> Reply {
    match find(world, id) {
        Some(saved) => ok(&json!({"query": saved.document(world, &clock::seconds(saved.created))})),
        None => unknown(id),
    }
}

/// `POST /queries/{id}/run`: waits for the slowest of the hosts, within the server's own wait.
pub(super) async fn run(shared: &Arc<Shared>, user: usize, id: &str, call: &Call) -> Reply {
    let body = call.json().unwrap_or_default();
    let prepared = {
        let world = shared.look();
        let Some(saved) = find(&world, id) else {
            return unknown(id);
        };
        if world.outages.is_away(Part::Redis) {
            return super::no_redis();
        }
        let runner = world.fleet.users.get(user);
        if !runner.is_some_and(|user| user.may_run_saved(saved.observer_can_run)) {
            return forbidden(TEXT);
        }
        let ids: Vec<u64> = body["host_ids"]
            .as_array()
            .map(|ids| ids.iter().filter_map(Value::as_u64).collect())
            .unwrap_or_default();
        let targets: Vec<usize> = world
            .enrolled()
            .filter(|(_, host)| ids.contains(&host.id) && host.online)
            .map(|(place, _)| place)
            .collect();
        (
            saved.id,
            saved.sql.clone(),
            ids.len(),
            targets,
            world.scenario.fleet.rest_wait,
        )
    };
    let (query_id, sql, targeted, targets, wait) = prepared;
    if targeted == 0 {
        return bad_request(TEXT, "no hosts targeted");
    }
    let answers = if targets.is_empty() {
        Vec::new()
    } else {
        rest::gather(shared, user, &sql, targets, wait).await
    };
    let results: Vec<Value> = answers
        .iter()
        .map(|answer| {
            let (rows, error) = rest::describe(shared, answer);
            let rows = match rows {
                Rows::Json(rows) => rows,
                Rows::Raw(pieces) => {
                    let bytes: Vec<u8> = pieces.flat_map(Vec::from).collect();
                    serde_json::from_slice(&bytes).unwrap_or_default()
                }
                Rows::Missing | Rows::Whole(_) => Value::Null,
            };
            let host_id = shared.look().hosts.get(answer.host).map(|host| host.id);
            json!({"host_id": host_id, "rows": rows, "error": error})
        })
        .collect();
    ok(&json!({
        "query_id": query_id,
        "targeted_host_count": targeted,
        "responded_host_count": results.len(),
        "results": results,
    }))
}

/// `DELETE /queries/id/{id}`.
pub(super) fn delete(shared: &Shared, user: usize, id: &str) -> Reply {
    shared.change(|world| {
        if !world
            .fleet
            .users
            .get(user)
            .is_some_and(super::users::User::may_run)
        {
            return forbidden(FLEET_JSON);
        }
        match id
            .parse()
            .ok()
            .and_then(|id: u64| world.fleet.saved.remove(&id))
        {
            Some(_) => ok(&json!({})),
            None => unknown(id),
        }
    })
}
