//! osctrl's queries: creating one from lists that intersect, its counters, its end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::admin_service;
use super::nodes::environment_id;
use super::results::{Item, SharedData};
use super::users::texts;
use super::{error, ok};
use crate::agents::{self, Owner, Query};
use crate::clock;
use crate::http::{Call, Reply};
use crate::observe::{self, CampaignState, Server};
use crate::scenario::ServerVersion;
use crate::world::{Shared, World, random_hex};

/// A query as osctrl stores it.
pub(super) struct StoredQuery {
    pub id: u64,
    pub name: String,
    pub environment: String,
    pub sql: String,
    pub creator: String,
    pub created: SystemTime,
    pub updated: SystemTime,
    /// `None`: it never starts to be delivered.
    pub expiration: Option<SystemTime>,
    pub hidden: bool,
    pub carve: bool,
    pub expected: usize,
    pub executions: usize,
    pub errors: usize,
    pub active: bool,
    pub completed: bool,
    pub expired: bool,
    pub deleted: bool,
    pub targets: Vec<(&'static str, String)>,
    pub items: Vec<Item>,
    /// Texts of answers that many hosts give alike.
    pub shared_data: Vec<SharedData>,
    /// Targets that have not answered at all yet.
    pub pending: HashSet<usize>,
    /// Its place among the world's queries, once it is handed out.
    pub query: usize,
}

impl StoredQuery {
    pub fn document(&self, environment_id: usize, with_targets: bool) -> Value {
        let mut document = json!({
            "id": self.id,
            "created_at": clock::micros(self.created),
            "updated_at": clock::micros(self.updated),
            "name": self.name,
            "creator": self.creator,
            "query": self.sql,
            "expected": self.expected,
            "executions": self.executions,
            "errors": self.errors,
            "active": self.active,
            "hidden": self.hidden,
            "protected": false,
            "completed": self.completed,
            "deleted": self.deleted,
            "expired": self.expired,
            "type": if self.carve { "carve" } else { "query" },
            "path": "",
            "environment_id": environment_id,
            "extra_data": "",
            "expiration": self.expiration.map_or_else(|| clock::NEVER.into(), clock::micros),
            "target": "",
        });
        if with_targets {
            document["targets"] = self
                .targets
                .iter()
                .map(|(kind, value)| json!({"type": kind, "value": value}))
                .collect();
        }
        document
    }

    /// Counts an answer of this status.
    pub fn count(&mut self, status: i64) {
        if status == 0 {
            self.executions += 1;
        } else {
            self.errors += 1;
        }
        self.touch();
    }

    /// Something about it changed.
    pub fn touch(&mut self) {
        self.updated = SystemTime::now();
    }
}

/// `POST /queries/{env}`.
pub(super) async fn create(
    shared: &Arc<Shared>,
    user: usize,
    environment: &str,
    call: &Call,
) -> Reply {
    let body = call.json().unwrap_or_default();
    let sql = body["query"].as_str().unwrap_or_default().to_owned();
    if sql.is_empty() {
        return error(400, "query can not be empty");
    }
    let created = shared.change(|world| {
        let carve = sql.to_lowercase().contains("carves");
        let creator = world.osctrl.users.get(user).cloned();
        if carve && !creator.as_ref().is_some_and(|user| user.admin) {
            return Err(super::no_access());
        }
        let creator = creator.map(|user| user.username).unwrap_or_default();
        let name = format!(
            "{}_{}",
            if carve { "carve" } else { "query" },
            random_hex(32)
        );
        let hours = body["exp_hours"].as_u64().unwrap_or_default();
        let now = clock::whole_micros(SystemTime::now());
        let mut stored = StoredQuery {
            id: world.osctrl.next_query_id(),
            name: name.clone(),
            environment: environment.to_owned(),
            sql,
            creator,
            created: now,
            updated: now,
            expiration: (hours > 0).then(|| now + Duration::from_secs(hours * 3_600)),
            hidden: body["hidden"].as_bool().unwrap_or_default(),
            carve,
            expected: 0,
            executions: 0,
            errors: 0,
            active: true,
            completed: false,
            expired: false,
            deleted: false,
            targets: Vec::new(),
            items: Vec::new(),
            shared_data: Vec::new(),
            pending: HashSet::new(),
            query: 0,
        };
        let targets = targets(world, environment, &body, &mut stored);
        let newer = world.scenario.osctrl.version >= ServerVersion(0, 5, 5);
        if targets.is_none() && newer {
            return Err(error(500, "error creating query"));
        }
        let deliver = targets.is_some() && (hours > 0 || newer);
        let places = targets.clone().unwrap_or_default();
        let record = observe::Campaign {
            server: Server::Osctrl,
            id: name.clone(),
            sql: stored.sql.clone(),
            hosts: places
                .iter()
                .filter_map(|place| world.hosts.get(*place))
                .map(|host| host.uuid.clone())
                .collect(),
            handed_out: Vec::new(),
            state: if deliver {
                CampaignState::Running
            } else {
                CampaignState::NeverDelivered
            },
            listeners: 0,
            orphaned: false,
            answers: 0,
            lost: 0,
            refused: 0,
            items: 0,
            created: Instant::now(),
            ended: None,
        };
        let query = Query {
            owner: Owner::Osctrl(name.clone()),
            sql: stored.sql.clone(),
            targets: places,
            live: deliver,
        };
        stored.query = world.add_query(record, query);
        let place = stored.query;
        // In older servers the query stays even when the call fails below.
        world.osctrl.queries.push(stored);
        if targets.is_none() {
            return Err(error(500, "error creating query"));
        }
        admin_service::meet_newest(world);
        let writing = world.scenario.osctrl.writing_targets;
        if writing.is_zero() {
            hand_out(world, place);
        }
        Ok((place, name, writing))
    });
    let (place, name, writing) = match created {
        Ok(created) => created,
        Err(refusal) => return refusal,
    };
    if !writing.is_zero() {
        tokio::time::sleep(writing).await;
        shared.change(|world| hand_out(world, place));
    }
    ok(&json!({ "query_name": name }))
}

/// The query's targets are written: agents are given it, unless it has ended meanwhile.
fn hand_out(world: &mut World, place: usize) {
    let Some(query) = world.queries.get(place) else {
        return;
    };
    let (targets, deliver) = (query.targets.clone(), query.live);
    let mut queries = world.osctrl.queries.iter_mut();
    let Some(stored) = queries.find(|stored| stored.query == place && stored.active) else {
        return;
    };
    stored.expected = targets.len();
    stored.pending = targets.into_iter().collect();
    if deliver {
        let osctrl = &world.scenario.osctrl;
        let cached = match osctrl.version >= ServerVersion(0, 5, 5) {
            true => osctrl.pending_cache,
            false => Duration::ZERO,
        };
        agents::dispatch(world, place, cached);
    }
}

/// The targeted hosts; `None` when a named host is unknown. Lists that match nothing drop out of the
/// intersection, and no list at all means everyone.
fn targets(
    world: &World,
    environment: &str,
    body: &Value,
    stored: &mut StoredQuery,
) -> Option<Vec<usize>> {
    let members: Vec<usize> = places(world, |host| host.environment == environment);
    // A dispatch names ten thousand uuids; of two nodes with one, the first is meant.
    let by_uuid: HashMap<String, usize> = members
        .iter()
        .rev()
        .filter_map(|place| {
            let host = world.hosts.get(*place)?;
            Some((host.uuid.to_ascii_uppercase(), *place))
        })
        .collect();
    let mut chosen: Vec<HashSet<usize>> = Vec::new();
    let mut unknown = false;
    for (kind, list) in [
        ("uuid", "uuid_list"),
        ("host", "host_list"),
        ("platform", "platform_list"),
        ("tag", "tag_list"),
        ("environment", "environment_list"),
    ] {
        let mut matched = HashSet::new();
        for value in texts(body, list) {
            let uuid = (kind == "uuid").then(|| value.to_ascii_uppercase());
            let candidates: &[usize] = match &uuid {
                Some(uuid) => by_uuid.get(uuid).map_or(&[], std::slice::from_ref),
                None => &members,
            };
            let found: Vec<usize> = candidates
                .iter()
                .copied()
                .filter(|place| {
                    world.hosts.get(*place).is_some_and(|host| match kind {
                        "uuid" => true,
                        "host" => host.hostname == value || host.display_name == value,
                        "platform" => host.platform == value || host.family() == value,
                        "tag" => host.tags.contains(&value),
                        _ => host.environment == value,
                    })
                })
                .collect();
            let named = matches!(kind, "uuid" | "host");
            unknown |= named && found.is_empty();
            // Of two nodes with one hostname, one is reached.
            matched.extend(found.into_iter().take(if named { 1 } else { usize::MAX }));
            stored.targets.push((kind, value));
        }
        if !matched.is_empty() {
            chosen.push(matched);
        }
    }
    (!unknown).then(|| {
        members
            .into_iter()
            .filter(|place| chosen.iter().all(|list| list.contains(place)))
            .collect()
    })
}

fn places(world: &World, fits: impl Fn(&crate::host::Host) -> bool) -> Vec<usize> {
    world
        .enrolled()
        .filter(|(_, host)| fits(host))
        .map(|(place, _)| place)
        .collect()
}

pub(super) fn find<'world>(
    world: &'world World,
    environment: &str,
    name: &str,
) -> Option<&'world StoredQuery> {
    world
        .osctrl
        .queries
        .iter()
        .find(|query| query.environment == environment && query.name == name && !query.deleted)
}

/// `GET /queries/{env}/{name}`: of an unknown query, a zero document.
pub(super) fn state(world: &World, environment: &str, name: &str) -> Reply {
    match find(world, environment, name) {
        Some(query) => ok(&query.document(environment_id(world, environment), true)),
        None => ok(&json!({
            "id": 0, "created_at": clock::NEVER, "updated_at": clock::NEVER, "name": "",
            "creator": "", "query": "", "expected": 0, "executions": 0, "errors": 0,
            "active": false, "hidden": false, "protected": false, "completed": false,
            "deleted": false, "expired": false, "type": "", "path": "", "environment_id": 0,
            "extra_data": "", "expiration": clock::NEVER, "target": "", "targets": [],
        })),
    }
}

/// `POST /queries/{env}/{expire|complete|delete}/{name}`.
pub(super) fn end(shared: &Shared, environment: &str, action: &str, name: &str) -> Reply {
    shared.change(|world| {
        let found =
            world.osctrl.queries.iter_mut().find(|query| {
                query.environment == environment && query.name == name && !query.deleted
            });
        let Some(query) = found else {
            return error(404, "query not found");
        };
        query.active = false;
        query.touch();
        let (past, state) = match action {
            "expire" => {
                query.expired = true;
                ("expired", CampaignState::Expired)
            }
            "complete" => {
                query.completed = true;
                ("completed", CampaignState::Completed)
            }
            _ => {
                query.deleted = true;
                ("deleted", CampaignState::Deleted)
            }
        };
        let place = query.query;
        world.end_query(place, state);
        ok(&json!({"message": format!("query {name} {past} successfully")}))
    })
}
