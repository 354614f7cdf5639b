//! The agents' side: enrolling, reading what is to be run, writing what came of it. Simulated hosts are
//! enrolled from the start and do the rest without HTTP; these calls are for agents that a test plays.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::queries::{self, Stored};
use super::{State, body, detail, failure, ok};
use crate::http::{Call, Reply};
use crate::observe::{AnswerSeen, Fate};
use crate::scenario::AisocVersion;
use crate::world::{Shared, World, random_hex};

/// Who enrolled under one identifier in one tenant.
pub(super) struct Node {
    pub tenant: String,
    pub identifier: String,
    /// Place of the simulated host behind it; of an agent that a test plays, none.
    pub host: Option<usize>,
    /// The key that is good, where an agent was given one.
    key: Option<String>,
    /// Places of the queries that it is handed until it answers.
    pub pending: Vec<usize>,
}

impl State {
    /// Enrols, or enrols again: the queue is kept, what had the identifier before is locked out.
    pub(super) fn enrol(
        &mut self,
        tenant: String,
        identifier: String,
        host: Option<usize>,
    ) -> usize {
        let name = (tenant, identifier);
        if let Some(place) = self.by_name.get(&name).copied()
            && let Some(node) = self.nodes.get_mut(place)
        {
            if let Some(key) = node.key.take() {
                self.by_key.remove(&key);
            }
            node.host = host;
            return place;
        }
        let place = self.nodes.len();
        self.nodes.push(Node {
            tenant: name.0.clone(),
            identifier: name.1.clone(),
            host,
            key: None,
            pending: Vec::new(),
        });
        self.by_name.insert(name, place);
        place
    }
}

/// `POST /api/v1/osquery/enroll`.
pub(super) fn enrol(shared: &Shared, call: &Call) -> Reply {
    let fields = match body::fields(call) {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let mut problems = Vec::new();
    let secret = body::text(&fields, "enroll_secret", false, &mut problems);
    let identifier = body::text(&fields, "host_identifier", true, &mut problems);
    let Some(identifier) = identifier.filter(|_| problems.is_empty()) else {
        return body::refuse(problems);
    };
    shared.change(|world| {
        let aisoc = &world.scenario.aisoc_direct;
        if secret.as_ref() != Some(&aisoc.enroll_secret) {
            return detail(401, json!({"node_invalid": true}));
        }
        if world.outages.without_database() {
            return failure();
        }
        let tenant = call
            .header("x-aisoc-tenant")
            .map(std::borrow::Cow::into_owned);
        if let Some(tenant) = &tenant
            && aisoc.version == AisocVersion::Current
            && !aisoc.tenants.contains(tenant)
        {
            let reason = format!(
                "tenant '{tenant}' does not resolve to a known tenant; set X-AiSOC-Tenant to the \
                 tenant UUID or slug"
            );
            return detail(400, json!({"node_invalid": true, "reason": reason}));
        }
        let tenant = tenant.unwrap_or_else(|| super::usual_tenant(&world.scenario));
        super::enrol_hosts(world);
        let key = random_hex(64);
        let state = &mut world.aisoc_direct;
        let place = state.enrol(tenant, identifier, None);
        if let Some(node) = state.nodes.get_mut(place) {
            node.key = Some(key.clone());
        }
        state.by_key.insert(key.clone(), place);
        ok(&json!({"node_key": key, "node_invalid": false}))
    })
}

/// Which node's key the body holds, or the refusal.
fn node(world: &World, fields: &Map<String, Value>) -> Result<usize, Reply> {
    let key = fields.get("node_key").and_then(Value::as_str);
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Err(detail(401, "node_key is required"));
    };
    if world.outages.without_database() {
        return Err(failure());
    }
    let place = world.aisoc_direct.by_key.get(key).copied();
    place.ok_or_else(|| detail(401, "node_invalid"))
}

/// `POST /api/v1/osquery/distributed/read`: again and again, until an answer was written.
pub(super) fn read(shared: &Shared, call: &Call) -> Reply {
    let world = shared.look();
    let place = match body::fields(call).and_then(|fields| node(&world, &fields)) {
        Ok(place) => place,
        Err(refusal) => return refusal,
    };
    let state = &world.aisoc_direct;
    let pending = state.nodes.get(place).map(|node| node.pending.iter());
    let queries: Map<String, Value> = pending
        .into_iter()
        .flatten()
        .filter_map(|query| state.queries.get(*query))
        .map(|query| (query.id.clone(), query.sql.clone().into()))
        .collect();
    ok(&json!({"queries": queries, "node_invalid": false}))
}

/// `POST /api/v1/osquery/distributed/write`: any node may write to any id; status and message are dropped.
pub(super) fn write(shared: &Shared, call: &Call) -> Reply {
    let fields = match body::fields(call) {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let none = Map::new();
    let written = fields.get("queries").and_then(Value::as_object);
    let written = written.unwrap_or(&none);
    let problems: Vec<Value> = written
        .iter()
        .filter(|(_, rows)| !rows.is_array())
        .map(|(query, rows)| body::no_list(query, rows))
        .collect();
    if !problems.is_empty() {
        return body::refuse(problems);
    }
    shared.change(|world| {
        let place = match node(world, &fields) {
            Ok(place) => place,
            Err(refusal) => return refusal,
        };
        for (id, rows) in written {
            // An id that nobody enqueued is ignored.
            let Some(query) = world.aisoc_direct.by_id.get(id).copied() else {
                continue;
            };
            let rows = rows.as_array().cloned().unwrap_or_default();
            queries::store(world, query, Stored::Written(rows));
            note(world, query, place);
        }
        ok(&json!({"node_invalid": false}))
    })
}

fn note(world: &mut World, query: usize, node: usize) {
    let state = &world.aisoc_direct;
    let (Some(query), Some(node)) = (state.queries.get(query), state.nodes.get(node)) else {
        return;
    };
    let at = Instant::now();
    if let Some(record) = world.observed.campaigns.get_mut(query.query) {
        record.answers += 1;
    }
    world.observed.last_answer_at = Some(at);
    world.observed.answers.push(AnswerSeen {
        campaign: query.query,
        host: node.identifier.clone(),
        at,
        fate: Fate::Taken,
    });
}
