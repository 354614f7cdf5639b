//! AiSOC's own osquery service: which path does what, and how a refusal looks. Agents talk to it directly;
//! a client has two calls and no list of hosts.

mod auth;
mod body;
mod nodes;
mod queries;
mod routes;

pub(crate) use queries::receive;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::connection::Began;
use crate::http::{Call, Reply, TEXT};
use crate::scenario::{AisocVersion, Scenario};
use crate::world::{Shared, World};
use auth::Credential;
use nodes::Node;
use queries::StoredQuery;
use routes::{Found, Route};

/// How FastAPI announces JSON.
const JSON: &str = "application/json";

/// What the service remembers.
pub(crate) struct State {
    tokens: HashMap<String, Credential>,
    /// Whoever enrolled, in that order.
    nodes: Vec<Node>,
    /// Places of nodes by tenant and identifier.
    by_name: HashMap<(String, String), usize>,
    /// Places of nodes by the key that is good.
    by_key: HashMap<String, usize>,
    /// In the order of their creation.
    queries: Vec<StoredQuery>,
    /// Places of queries by their id.
    by_id: HashMap<String, usize>,
    /// The simulated hosts are among the nodes.
    knows_hosts: bool,
}

impl State {
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            tokens: auth::tokens(&scenario.aisoc_direct),
            nodes: Vec::new(),
            by_name: HashMap::new(),
            by_key: HashMap::new(),
            queries: Vec::new(),
            by_id: HashMap::new(),
            knows_hosts: false,
        }
    }

    /// Ends every token.
    pub fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }
}

/// Enrols the simulated hosts, the first time somebody asks for one: with other servers they cost nothing.
fn enrol_hosts(world: &mut World) {
    let state = &mut world.aisoc_direct;
    if std::mem::replace(&mut state.knows_hosts, true) {
        return;
    }
    let usual = usual_tenant(&world.scenario);
    for (place, host) in world.hosts.iter().enumerate() {
        let tenant = host.tenant.clone().unwrap_or_else(|| usual.clone());
        state.enrol(tenant, host.identifier().to_owned(), Some(place));
    }
}

/// The tenant of whoever names none.
fn usual_tenant(scenario: &Scenario) -> String {
    let aisoc = &scenario.aisoc_direct;
    match aisoc.version {
        AisocVersion::Current => aisoc.tenants.first().cloned().unwrap_or_default(),
        AisocVersion::OlderNoAuth | AisocVersion::ForkApiToken => "default".into(),
    }
}

/// The decoded segments of a path, where it is this service's. An encoded slash separates, too.
pub(crate) fn path(call: &Call) -> Option<Vec<&str>> {
    let segments: Vec<&str> = call.path.iter().flat_map(|part| part.split('/')).collect();
    match segments.as_slice() {
        ["healthz" | "readyz"] | ["api", "v1", "osquery", ..] => Some(segments),
        _ => None,
    }
}

/// Answers a call.
pub(crate) async fn answer(shared: &Arc<Shared>, call: &Call, path: &[&str]) -> Reply {
    let route = match routes::find(call.method.as_str(), path, call.slash) {
        Found::Route(route) => route,
        Found::Nothing => return not_found(),
        Found::OtherMethod(allow) => {
            return detail(405, "Method Not Allowed").with_header("allow", allow);
        }
        Found::WithoutSlash => {
            // Absolute, and without TLS whatever the client spoke: the service does not know of a proxy.
            let host = call.header("host").unwrap_or_default();
            let location = format!("http://{host}/{}", path.join("/"));
            return Reply::empty(307).with_header("location", location);
        }
    };
    match route {
        Route::Health => ok(&json!({"status": "ok"})),
        Route::Ready => ok(&json!({"status": "ready", "service": "aisoc-osquery-tls"})),
        Route::Enrol => nodes::enrol(shared, call),
        Route::Read => nodes::read(shared, call),
        Route::Write => nodes::write(shared, call),
        client => {
            // The credential is checked before the body.
            let caller = auth::authenticate(&shared.look(), call);
            match (caller, client) {
                (Err(refusal), _) => refusal,
                (Ok(caller), Route::Enqueue) => queries::enqueue(shared, &caller, call),
                (Ok(caller), Route::Query(id)) => queries::show(&shared.look(), &caller, &id),
                (Ok(_), Route::FileEvents) => ok(&json!({
                    "tenant_id": call.parameter("tenant_id"),
                    "total_events": 0, "by_action": [], "top_paths": [],
                })),
                (Ok(_), _) => ok(&json!([])),
            }
        }
    }
}

/// Whether a request on this connection meets its reset: a kept connection, in a burst.
pub(crate) fn resets(world: &World, call: &Call, began: Began) -> bool {
    let Some(burst) = world.scenario.aisoc_direct.burst else {
        return false;
    };
    let Some(idle) = began.idle else { return false };
    if idle < burst.idle || path(call).is_none() {
        return false;
    }
    let now = Instant::now();
    let lately = world.observed.requests.iter().rev();
    lately
        .take_while(|request| now.duration_since(request.at) < Duration::from_secs(1))
        .count()
        >= burst.requests
}

fn ok(body: &Value) -> Reply {
    Reply::json(200, JSON, body)
}

/// A refusal as FastAPI writes it.
fn detail(status: u16, text: impl Into<Value>) -> Reply {
    Reply::json(status, JSON, &json!({ "detail": text.into() }))
}

/// What its router says of a path that it does not have.
pub(crate) fn not_found() -> Reply {
    detail(404, "Not Found")
}

/// What nobody caught: a NUL, a token beyond ASCII, a database that is away.
fn failure() -> Reply {
    Reply::new(500, TEXT, "Internal Server Error")
}
