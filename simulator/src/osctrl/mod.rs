//! osctrl's live-query wire: which path does what, which level it needs, and how a refusal looks.

mod admin_service;
mod history;
mod lists;
mod nodes;
mod queries;
mod results;
mod users;

pub(crate) use admin_service::run as run_admin_service;
pub(crate) use history::{fill, find_query, take_result};
pub(crate) use results::{count, store};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::http::{Call, OSCTRL_JSON, Reply};
use crate::scenario::{OsctrlUser, Scenario};
use crate::world::Shared;
use queries::StoredQuery;
use users::Level;

/// What osctrl remembers.
pub(crate) struct State {
    users: Vec<OsctrlUser>,
    /// Each user's one good token.
    tokens: HashMap<String, usize>,
    /// When the latest logins were tried. Every client is on loopback: one address.
    logins: Vec<Instant>,
    /// In the order of their creation.
    queries: Vec<StoredQuery>,
    last_item: u64,
}

impl State {
    pub fn new(scenario: &Scenario) -> Self {
        let users = scenario.osctrl.users.clone();
        let tokens = users
            .iter()
            .enumerate()
            .filter_map(|(place, user)| Some((user.token.clone()?, place)))
            .collect();
        Self {
            users,
            tokens,
            logins: Vec::new(),
            queries: Vec::new(),
            last_item: 0,
        }
    }

    fn next_query_id(&self) -> u64 {
        self.queries.iter().map(|query| query.id).max().unwrap_or(0) + 1
    }

    /// Ends every token.
    pub fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }
}

/// The part of a path after `/api/v1`.
pub(crate) fn path(call: &Call) -> Option<Vec<&str>> {
    match call
        .path
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["api", "v1", rest @ ..] => Some(rest.to_vec()),
        _ => None,
    }
}

/// Answers a call.
pub(crate) async fn answer(shared: &Arc<Shared>, call: &Call, path: &[&str]) -> Reply {
    let method = call.method.as_str();
    match (method, path) {
        ("POST", ["login"]) => return users::login(shared, call, None).await,
        ("POST", ["login", environment]) => {
            return users::login(shared, call, Some(environment)).await;
        }
        _ => {}
    }
    let user = match users::authenticate(&shared.look(), call) {
        Ok(user) => user,
        Err(refusal) => return refusal,
    };
    let may = |environment: &str, level| users::may(&shared.look(), user, environment, level);
    match (method, path) {
        // The content type is what the real server sends.
        ("GET", ["checks-auth"]) => Reply::new(200, "Checked", "✅"),
        ("POST", ["nodes", "lookup"]) => {
            let world = shared.look();
            if users::is_admin(&world, user) {
                nodes::lookup(&world, call)
            } else {
                no_access()
            }
        }
        ("GET", ["nodes", environment]) => match may(environment, Level::User) {
            Ok(()) => nodes::page(shared, environment, call),
            Err(refusal) => refusal.reply(400),
        },
        ("GET", ["nodes", environment, "all" | "active" | "inactive"]) => {
            match may(environment, Level::Admin) {
                Ok(()) => nodes::all(shared, environment, path.last().copied()),
                Err(refusal) => refusal.reply(400),
            }
        }
        ("GET", ["nodes", environment, "node", identifier]) => match may(environment, Level::Admin)
        {
            Ok(()) => nodes::one(&shared.look(), environment, identifier),
            Err(refusal) => refusal.reply(400),
        },
        ("GET", ["queries", environment]) => match may(environment, Level::Query) {
            Ok(()) => lists::completed(&shared.look(), environment),
            Err(refusal) => refusal.reply(500),
        },
        ("POST", ["queries", environment]) => match may(environment, Level::Query) {
            Ok(()) => queries::create(shared, user, environment, call).await,
            Err(refusal) => refusal.reply(500),
        },
        ("GET", ["queries", environment, "list", which]) => match may(environment, Level::Query) {
            Ok(()) => lists::page(&shared.look(), environment, which, call),
            Err(refusal) => refusal.reply(500),
        },
        ("GET", ["queries", environment, "results", name]) => {
            match may(environment, Level::Query) {
                Ok(()) => results::page(shared, environment, name, call),
                Err(refusal) => refusal.reply(500),
            }
        }
        ("GET", ["queries", environment, name]) => match may(environment, Level::Query) {
            Ok(()) => queries::state(&shared.look(), environment, name),
            Err(refusal) => refusal.reply(500),
        },
        (
            "POST",
            [
                "queries",
                environment,
                action @ ("expire" | "complete" | "delete"),
                name,
            ],
        ) => match may(environment, Level::Admin) {
            Ok(()) => queries::end(shared, environment, action, name),
            Err(refusal) => refusal.reply(500),
        },
        _ => Reply::no_such_path(),
    }
}

fn ok(body: &Value) -> Reply {
    Reply::json(200, OSCTRL_JSON, body)
}

fn error(status: u16, text: &str) -> Reply {
    Reply::json(status, OSCTRL_JSON, &json!({ "error": text }))
}

fn no_access() -> Reply {
    error(403, "no access")
}
