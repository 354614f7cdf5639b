//! osctrl's users: one token each, which a login replaces, and the levels that calls need.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{error, no_access, ok};
use crate::http::{Call, OSCTRL_JSON, Reply, TEXT};
use crate::world::{Shared, World, random_hex};

/// What a call needs in its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Looking at nodes.
    User,
    /// Running queries.
    Query,
    /// Everything else.
    Admin,
}

/// Why a call may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoSuchEnvironment,
    NoAccess,
}

impl Refusal {
    /// An unknown environment is a 400 among the nodes and a 500 among the queries.
    pub fn reply(self, unknown_environment: u16) -> Reply {
        match self {
            Self::NoSuchEnvironment => error(unknown_environment, "error getting environment"),
            Self::NoAccess => no_access(),
        }
    }
}

/// Who calls, by place; or the refusal, whose form depends on what the client accepts. Nobody is known
/// while the database is away.
pub(super) fn authenticate(world: &World, call: &Call) -> Result<usize, Reply> {
    let user = call
        .bearer()
        .and_then(|token| world.osctrl.tokens.get(&token).copied())
        .filter(|_| !world.outages.without_database());
    if let Some(user) = user {
        return Ok(user);
    }
    let wants_json = call
        .header("accept")
        .is_some_and(|accept| accept.contains("application/json"));
    Err(if wants_json {
        let body = json!({"error": "unauthorized", "code": "unauthorized"});
        Reply::json(401, OSCTRL_JSON, &body)
    } else {
        Reply::new(
            302,
            "text/html; charset=utf-8",
            "<a href=\"/forbidden\">Found</a>.\n\n",
        )
        .with_header("location", "/forbidden")
    })
}

pub(super) fn is_admin(world: &World, user: usize) -> bool {
    world.osctrl.users.get(user).is_some_and(|user| user.admin)
}

/// Whether the user has the level in the environment.
pub(super) fn may(
    world: &World,
    user: usize,
    environment: &str,
    level: Level,
) -> Result<(), Refusal> {
    let known = world
        .scenario
        .osctrl
        .environments
        .iter()
        .any(|name| name == environment);
    if !known {
        return Err(Refusal::NoSuchEnvironment);
    }
    let user = world.osctrl.users.get(user).ok_or(Refusal::NoAccess)?;
    let belongs =
        user.environments.is_empty() || user.environments.iter().any(|name| name == environment);
    if user.admin || (belongs && level != Level::Admin) {
        Ok(())
    } else {
        Err(Refusal::NoAccess)
    }
}

/// Logins are counted over this time.
const WINDOW: Duration = Duration::from_secs(60);

/// `POST /login`, and `/login/{env}` for administrators. A login ends the user's earlier token.
pub(super) async fn login(shared: &Arc<Shared>, call: &Call, environment: Option<&str>) -> Reply {
    let now = Instant::now();
    let (limited, pause) = shared.change(|world| {
        let limit = world.scenario.osctrl.login_limit;
        let logins = &mut world.osctrl.logins;
        logins.retain(|at| now.duration_since(*at) < WINDOW);
        let limited = logins.len() >= limit;
        if !limited {
            logins.push(now);
        }
        (limited, world.scenario.osctrl.login)
    });
    if limited {
        let pause = shared.look().scenario.osctrl.login_retry_after.clone();
        return Reply::new(429, TEXT, "too many requests\n").with_header("retry-after", pause);
    }
    tokio::time::sleep(pause).await;
    let body = call.json().unwrap_or_default();
    let field = |name: &str| body[name].as_str().map(str::to_owned).unwrap_or_default();
    let (username, password) = (field("username"), field("password"));
    shared.change(|world| {
        let place = world.osctrl.users.iter().position(|user| {
            user.username == username && user.password == password && !password.is_empty()
        });
        let place = place.filter(|_| !world.outages.without_database());
        let Some(place) = place else {
            return error(403, "invalid credentials");
        };
        if let Some(environment) = environment {
            match may(world, place, environment, Level::Admin) {
                Ok(()) => {}
                Err(refusal) => return refusal.reply(400),
            }
        }
        let user = world.osctrl.users.get(place);
        if user.is_some_and(|user| user.second_factor) {
            // The half-finished login has ended no earlier token.
            return ok(&json!({
                "mfa_required": true,
                "mfa_enrollment_required": false,
                "challenge": random_hex(64),
                "methods": ["totp"],
            }));
        }
        let token = random_hex(160);
        world.osctrl.tokens.retain(|_, user| *user != place);
        world.osctrl.tokens.insert(token.clone(), place);
        ok(&json!({"token": token, "csrf_token": random_hex(64)}))
    })
}

/// A field that is a list of texts; anything else counts as empty.
pub(super) fn texts(body: &Value, name: &str) -> Vec<String> {
    body[name]
        .as_array()
        .map(|items| {
            items
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default()
}
