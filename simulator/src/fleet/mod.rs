//! Fleet's live-query wire: which path does what, who may call it, and how a refusal looks.

mod campaigns;
mod endpoints;
mod hosts;
mod labels;
mod names;
mod reports;
mod rest;
mod saved;
mod socket;
mod stream;
mod teams;
mod users;

pub(crate) use campaigns::{lose_listeners, lose_redis, receive};
pub(crate) use endpoints::is_known as is_endpoint;
pub(crate) use reports::{find_report, take_snapshot};
pub(crate) use socket::{accepts, serve};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::host::Host;
use crate::http::{Call, FLEET_JSON, Reply, TEXT};
use crate::scenario::{Part, Paths, Role, Scenario, ScenarioError, ServerVersion};
use crate::world::{Shared, random_uuid};
use campaigns::Campaign;
use labels::Label;
use reports::Report;
use saved::SavedQuery;
use users::User;

/// What Fleet remembers.
pub(crate) struct State {
    users: Vec<User>,
    /// Tokens that are good, with their user's place.
    tokens: HashMap<String, usize>,
    labels: Vec<Label>,
    campaigns: BTreeMap<u64, Campaign>,
    saved: BTreeMap<u64, SavedQuery>,
    /// By their saved query's id.
    reports: BTreeMap<u64, Report>,
    /// Campaigns and saved queries draw their ids from one row of numbers, as queries on a real server.
    last_query: u64,
    last_listener: u64,
}

impl State {
    pub fn new(scenario: &Scenario, hosts: &[Host]) -> Result<Self, ScenarioError> {
        let users = users::enrol(&scenario.fleet.users);
        let tokens = users
            .iter()
            .enumerate()
            .filter_map(|(place, user)| Some((user.spec.token.clone()?, place)))
            .collect();
        let mut state = Self {
            users,
            tokens,
            labels: labels::all(hosts),
            campaigns: BTreeMap::new(),
            saved: BTreeMap::new(),
            reports: BTreeMap::new(),
            last_query: 0,
            last_listener: 0,
        };
        saved::enrol(&mut state, &scenario.fleet.reports);
        reports::fill(&mut state, scenario, hosts)?;
        Ok(state)
    }

    /// Ends every token and session.
    pub fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    fn next_query_id(&mut self) -> u64 {
        self.last_query += 1;
        self.last_query
    }
}

/// The part of a path after `/api/{v1|latest}/fleet`, where it is Fleet's.
pub(crate) fn path(call: &Call) -> Option<Vec<&str>> {
    match call
        .path
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["api", "v1" | "latest", "fleet", rest @ ..] => Some(rest.to_vec()),
        _ => None,
    }
}

/// Answers a call.
pub(crate) async fn answer(shared: &Arc<Shared>, call: &Call, path: &[&str]) -> Reply {
    let renames = version(shared) >= Some(ServerVersion(4, 82, 0));
    if !renames {
        return answer_old(shared, call, path).await;
    }
    if call.body.len() > LARGEST_BODY {
        let reason = "Request body is too large";
        return error(413, FLEET_JSON, reason, "base", reason);
    }
    let mut understood = call.clone();
    if let Err(refusal) = names::understand(&mut understood, path) {
        return refusal;
    }
    let mut reply = answer_old(shared, &understood, path).await;
    names::twin(&mut reply);
    reply
}

/// From 4.82 on a request holds no more.
const LARGEST_BODY: usize = 1 << 20;

/// Which Fleet it is, where the scenario says so.
fn version(shared: &Shared) -> Option<ServerVersion> {
    shared.look().scenario.fleet.version
}

/// Answers a call that speaks the old names.
async fn answer_old(shared: &Arc<Shared>, call: &Call, path: &[&str]) -> Reply {
    let called = path;
    let new = is_new_path(path);
    // Answers of a server whose version is known carry both names.
    let only_new = new && version(shared).is_none();
    let path = &match spelled(shared, path) {
        Some(path) => path,
        None => return Reply::no_such_path(),
    };
    let method = call.method.as_str();
    if let Some(refusal) = without_database(shared, path) {
        return refusal;
    }
    if (method, path.as_slice()) == ("POST", &["login"]) {
        return users::login(shared, call).await;
    }
    if path.as_slice() == ["results", "websocket"] {
        // An upgrade never comes here: this is what is left of one behind a proxy.
        return Reply::new(400, TEXT, "Bad Request\n");
    }
    let user = match users::authenticate(&shared.look().fleet, call) {
        Ok(user) => user,
        Err(refusal) => return refusal,
    };
    if let Some(refusal) = limits(shared, user, method, called, path) {
        return refusal;
    }
    match (method, path.as_slice()) {
        ("GET", ["config"]) => config(shared),
        ("POST", ["logout"]) => users::logout(shared, call),
        ("GET", ["me"]) => users::me(shared, user),
        ("GET", ["version"]) => ok(&json!({
            "version": "unknown", "branch": "unknown", "revision": "unknown",
            "go_version": "go1.26.8", "build_date": "unknown", "build_user": "unknown",
        })),
        ("GET", ["status", "live_query"]) if shared.look().outages.is_away(Part::Redis) => {
            no_redis()
        }
        ("GET", ["status", "live_query"]) => ok(&json!({})),
        ("GET", ["hosts"]) => hosts::list(shared, call),
        ("GET", ["hosts", "count"]) => hosts::count(&shared.look(), call),
        ("GET", ["host_summary"]) => hosts::summary(&shared.look(), call),
        ("GET", ["teams"]) => teams::list(&shared.look(), only_new),
        ("GET", ["hosts", "identifier", identifier]) => {
            hosts::by_identifier(&shared.look(), identifier)
        }
        ("GET", ["hosts", id]) => hosts::by_id(&shared.look(), id),
        ("GET", ["labels", "summary"]) => labels::summary(&shared.look().fleet),
        ("GET", ["labels", id, "hosts"]) => labels::hosts(shared, id, call),
        ("POST", ["targets", "count"]) => campaigns::count_targets(&shared.look(), call),
        ("POST", ["queries", "run"]) => campaigns::run(shared, user, call),
        ("POST", ["queries", "run_by_identifiers" | "run_by_names"]) => {
            campaigns::run_by_names(shared, user, call)
        }
        ("POST", ["hosts", "identifier", identifier, "query"]) => {
            rest::ask_by_identifier(shared, user, identifier, call).await
        }
        ("POST", ["hosts", id, "query"]) => rest::ask_by_id(shared, user, id, call).await,
        ("POST", ["queries"]) => saved::create(shared, user, call),
        ("GET", ["queries"]) => saved::list(&shared.look(), call, only_new),
        ("GET", ["queries", id]) => saved::show(&shared.look(), id),
        ("GET", ["queries", id, "report"]) => reports::show(shared, id, call, new),
        ("POST", ["queries", id, "run"]) => saved::run(shared, user, id, call).await,
        ("DELETE", ["queries", "id", id]) => saved::delete(shared, user, id),
        _ => Reply::no_such_path(),
    }
}

/// Whether the path is one of those that came with the new names.
fn is_new_path(path: &[&str]) -> bool {
    matches!(path.first(), Some(&("reports" | "fleets")))
}

/// The path in its old spelling, where the scenario's server knows the one that was used.
fn spelled<'path>(shared: &Shared, path: &[&'path str]) -> Option<Vec<&'path str>> {
    let fleet = &shared.look().scenario.fleet;
    let paths = match fleet.version {
        Some(version) if version < ServerVersion(4, 82, 0) => Paths::Old,
        _ => fleet.paths,
    };
    match (path, paths) {
        (["queries" | "teams", ..], Paths::New) | (["reports" | "fleets", ..], Paths::Old) => None,
        (["reports", rest @ ..], _) => Some([&["queries"], rest].concat()),
        (["fleets", rest @ ..], _) => Some([&["teams"], rest].concat()),
        _ => Some(path.to_vec()),
    }
}

/// What a user may not, whatever it is that is asked for.
fn limits(
    shared: &Shared,
    user: usize,
    method: &str,
    called: &[&str],
    path: &[&str],
) -> Option<Reply> {
    let world = shared.look();
    let user = world.fleet.users.get(user)?;
    let version = world
        .scenario
        .fleet
        .version
        .unwrap_or(ServerVersion::FLEET_2026);
    if let Some(refusal) = endpoints::refusal(user, version, method, called) {
        return Some(refusal);
    }
    let runs = method == "POST"
        && matches!(
            path,
            ["queries", "run" | "run_by_identifiers" | "run_by_names"]
                | ["queries", _, "run"]
                | ["hosts", _, "query"]
                | ["hosts", "identifier", _, "query"]
        );
    if runs && !world.scenario.fleet.live_queries {
        let reason = "Permission Denied";
        return Some(error(403, FLEET_JSON, reason, "base", reason));
    }
    let reads_hosts =
        method == "GET" && matches!(path.first(), Some(&("hosts" | "host_summary" | "labels")));
    (reads_hosts && user.spec.role == Role::Gitops).then(|| forbidden(FLEET_JSON))
}

/// `GET /config`: as much of it as says whether live queries are switched off.
fn config(shared: &Shared) -> Reply {
    let world = shared.look();
    let off = !world.scenario.fleet.live_queries;
    let mut settings = json!({"server_url": "", "live_query_disabled": off});
    if world.scenario.fleet.version >= Some(ServerVersion(4, 82, 0)) {
        settings["live_reporting_disabled"] = json!(off);
    }
    ok(&json!({"org_info": {"org_name": "simulated"}, "server_settings": settings}))
}

/// What the server says to anyone while its database is away.
fn without_database(shared: &Shared, path: &[&str]) -> Option<Reply> {
    let world = shared.look();
    if world.outages.is_away(Part::Database) {
        return Some(Reply::new(500, "", ""));
    }
    let reason = match path {
        ["login"] => "Authentication failed",
        _ => "Authentication required",
    };
    let killed = world.outages.is_away(Part::DatabaseKilled);
    killed.then(|| error(401, TEXT, reason, "base", reason))
}

/// What needs Redis, while it is away. The port is the recorded server's.
fn no_redis() -> Reply {
    let reason = "dial tcp 127.0.0.1:16379: connect: connection refused";
    let body = json!({"message": reason, "errors": [{"name": "base", "reason": reason}]});
    Reply::json(408, FLEET_JSON, &body)
}

fn ok(body: &Value) -> Reply {
    Reply::json(200, FLEET_JSON, body)
}

/// An error as Fleet writes it; `field` is `base` where no field is at fault.
fn error(status: u16, content_type: &str, message: &str, field: &str, reason: &str) -> Reply {
    let body = json!({
        "message": message,
        "errors": [{"name": field, "reason": reason}],
        "uuid": random_uuid(),
    });
    Reply::json(status, content_type, &body)
}

fn bad_request(content_type: &str, reason: &str) -> Reply {
    error(400, content_type, "Bad request", "base", reason)
}

fn forbidden(content_type: &str) -> Reply {
    error(403, content_type, "forbidden", "base", "forbidden")
}

/// A 404 has no uuid.
fn not_found(reason: &str) -> Reply {
    Reply::json(
        404,
        FLEET_JSON,
        &json!({"message": "Resource Not Found", "errors": [{"name": "base", "reason": reason}]}),
    )
}
