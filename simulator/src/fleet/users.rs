//! Fleet's users: who is behind a token, logging in and out.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{State, bad_request, error, ok};
use crate::clock;
use crate::http::{Call, FLEET_JSON, Reply, TEXT};
use crate::scenario::{FleetUser, Role};
use crate::world::{Shared, random_hex};

/// A user with its id.
pub(super) struct User {
    pub id: u64,
    pub spec: FleetUser,
    created: std::time::SystemTime,
}

impl User {
    /// Whether the user may run ad-hoc SQL.
    pub fn may_run(&self) -> bool {
        !matches!(self.spec.role, Role::Observer | Role::Gitops)
    }

    /// Whether the user may run a saved query; `open` is one that observers may run.
    pub fn may_run_saved(&self, open: bool) -> bool {
        self.may_run() || open && self.spec.role == Role::Observer
    }

    fn document(&self) -> Value {
        let role = match self.spec.role {
            Role::Admin => "admin",
            Role::Maintainer => "maintainer",
            Role::Observer => "observer",
            Role::ObserverPlus => "observer_plus",
            Role::Technician => "technician",
            Role::Gitops => "gitops",
        };
        json!({
            "created_at": clock::seconds(self.created),
            "updated_at": clock::seconds(self.created),
            "id": self.id,
            "name": self.spec.name,
            "email": self.spec.email,
            "force_password_reset": self.spec.must_reset_password,
            "gravatar_url": "",
            "sso_enabled": false,
            "mfa_enabled": false,
            "global_role": role,
            "api_only": self.spec.api_only,
            "teams": [],
        })
    }
}

pub(super) fn enrol(users: &[FleetUser]) -> Vec<User> {
    let now = std::time::SystemTime::now();
    (1..)
        .zip(users)
        .map(|(place, spec)| User {
            id: spec.id.unwrap_or(place),
            spec: spec.clone(),
            created: now,
        })
        .collect()
}

/// Who calls, by place; or the refusal.
pub(super) fn authenticate(state: &State, call: &Call) -> Result<usize, Reply> {
    let refuse = |reason| Err(error(401, TEXT, reason, "base", reason));
    if call.header("authorization").is_none() {
        return refuse("Authorization header required");
    }
    let user = call
        .bearer()
        .and_then(|token| state.tokens.get(&token).copied());
    match user.and_then(|place| Some((place, state.users.get(place)?))) {
        None => refuse("Authentication required"),
        Some((_, user)) if user.spec.must_reset_password => refuse("password reset required"),
        Some((place, _)) => Ok(place),
    }
}

pub(super) async fn login(shared: &Arc<Shared>, call: &Call) -> Reply {
    let is_json = call
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("application/json"));
    let body = call.json().filter(|_| is_json);
    let Some(body) = body else {
        return bad_request(FLEET_JSON, "Expected JSON Body");
    };
    let field = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (email, password) = (field("email"), field("password"));
    let reply = shared.change(|world| {
        let state = &mut world.fleet;
        let place = state.users.iter().position(|user| {
            user.spec.email.eq_ignore_ascii_case(&email)
                && user.spec.password == password
                && !password.is_empty()
        })?;
        let token = random_hex(88);
        state.tokens.insert(token.clone(), place);
        let user = state.users.get(place)?.document();
        Some(json!({"user": user, "available_teams": [], "token": token}))
    });
    match reply {
        Some(body) => ok(&body),
        None => {
            let pause = shared.look().scenario.fleet.wrong_password;
            tokio::time::sleep(pause).await;
            let reason = "Authentication failed";
            error(401, FLEET_JSON, reason, "base", reason)
        }
    }
}

pub(super) fn logout(shared: &Shared, call: &Call) -> Reply {
    if let Some(token) = call.bearer() {
        shared.change(|world| world.fleet.tokens.remove(&token));
    }
    ok(&json!({}))
}

pub(super) fn me(shared: &Shared, user: usize) -> Reply {
    let world = shared.look();
    let document = world.fleet.users.get(user).map(User::document);
    ok(&json!({"user": document, "available_teams": []}))
}
