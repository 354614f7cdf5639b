//! Fleet's saved queries: kept, listed, run synchronously on several hosts, removed.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::rest::{self, Rows};
use super::{bad_request, error, forbidden, not_found, ok};
use crate::clock;
use crate::http::{Call, FLEET_JSON, Reply, TEXT, page_of};
use crate::scenario::Part;
use crate::world::{Shared, World};

/// A saved query.
pub(super) struct SavedQuery {
    id: u64,
    name: String,
    description: String,
    pub sql: String,
    interval: u64,
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
            "team_id": null,
            "interval": self.interval,
            "platform": "",
            "min_osquery_version": "",
            "automations_enabled": false,
            "logging": "snapshot",
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
            "discard_data": false,
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

/// `GET /queries`.
pub(super) fn list(world: &World, call: &Call) -> Reply {
    let all: Vec<Value> = world
        .fleet
        .saved
        .values()
        .map(|saved| saved.document(world, &clock::seconds(saved.created)))
        .collect();
    let size = call
        .number("per_page")
        .filter(|size| *size > 0)
        .unwrap_or(usize::MAX);
    let page = call.number("page").unwrap_or(0);
    let shown = page_of(&all, page, size);
    ok(&json!({
        "queries": shown,
        "count": all.len(),
        "meta": {
            "has_next_results": all.len() > page.saturating_add(1).saturating_mul(size),
            "has_previous_results": page > 0,
        },
    }))
}

fn find<'world>(world: &'world World, id: &str) -> Option<&'world SavedQuery> {
    world.fleet.saved.get(&id.parse().ok()?)
}

fn unknown(id: &str) -> Reply {
    not_found(&format!("Query {id} was not found in the datastore"))
}

/// `GET /queries/{id}`.
pub(super) fn show(world: &World, id: &str) -> Reply {
    match find(world, id) {
        Some(saved) => ok(&json!({"query": saved.document(world, &clock::seconds(saved.created))})),
        None => unknown(id),
    }
}

/// `GET /queries/{id}/report`: nothing runs on a schedule here.
pub(super) fn report(world: &World, id: &str) -> Reply {
    match find(world, id) {
        Some(saved) => ok(&json!({"query_id": saved.id, "results": [], "report_clipped": false})),
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
        let may = world
            .fleet
            .users
            .get(user)
            .is_some_and(super::users::User::may_run);
        if !may && !saved.observer_can_run {
            return forbidden(TEXT);
        }
        let ids: Vec<u64> = body["host_ids"]
            .as_array()
            .map(|ids| ids.iter().filter_map(Value::as_u64).collect())
            .unwrap_or_default();
        let targets: Vec<usize> = world
            .hosts
            .iter()
            .enumerate()
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
