//! What only osctrl has: its environments, its age, its admin service, its users.

use std::time::Duration;

use serde::Deserialize;

use super::parse::milliseconds;
use super::{QuerySpec, ServerVersion};

/// Token of osctrl's administrator.
pub const OSCTRL_ADMIN_TOKEN: &str = "osctrl-admin-token";
/// Password of osctrl's administrator, whose name is `admin`.
pub const OSCTRL_ADMIN_PASSWORD: &str = "osctrl-admin-password";
/// Token of osctrl's user `plugin`, who has the user and query levels only.
pub const OSCTRL_PLUGIN_TOKEN: &str = "osctrl-plugin-token";
/// Password of osctrl's user `plugin`.
pub const OSCTRL_PLUGIN_PASSWORD: &str = "osctrl-plugin-password";

/// What only osctrl has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Osctrl {
    /// The environments; hosts that name none belong to the first.
    pub environments: Vec<String>,
    /// Which osctrl it is; 0.5.4 unless written. From 0.5.5 on, the paged list shows each node's `tags`, an
    /// `exp_hours` of 0 never expires, an unknown host leaves no query behind, and "no pending queries" is
    /// cached ([`Osctrl::pending_cache`]); from 0.5.6 on a user may need a second factor
    /// ([`OsctrlUser::second_factor`]). How its results and nodes are paged is said below.
    pub version: ServerVersion,
    /// Logins a minute from one address before 429.
    pub login_limit: usize,
    /// What the 429 says in `Retry-After`.
    pub login_retry_after: String,
    /// How long checking a password takes.
    #[serde(rename = "login_ms", deserialize_with = "milliseconds")]
    pub login: Duration,
    /// `GET /nodes/{env}` exists; older servers answer 404.
    pub paged_nodes: bool,
    /// Results come in pages; older servers answer with a bare array.
    pub paged_results: bool,
    /// Nodes' `last_seen` moves with every check-in, and with it the order of the pages.
    pub moving_last_seen: bool,
    /// So long a node is told from the cache that it has no query, after a new one was made for it; up to
    /// 2 min on a real server. From 0.5.5 on.
    #[serde(rename = "pending_cache_ms", deserialize_with = "milliseconds")]
    pub pending_cache: Duration,
    /// How long the targets of a new query take to be written: its dispatch is answered so much later, and
    /// `expected` is 0 meanwhile. A real server needed 0.8 s for 1,000 hosts.
    #[serde(rename = "writing_targets_ms", deserialize_with = "milliseconds")]
    pub writing_targets: Duration,
    /// `osctrl-admin` runs beside the API; without it no query ends early.
    pub admin_service: Option<AdminService>,
    /// Results that were stored at one moment change places from page to page.
    pub loose_order: bool,
    /// Queries from before.
    pub queries: Vec<QuerySpec>,
    /// Who may call; without any, `admin` and `plugin`.
    pub users: Vec<OsctrlUser>,
}

impl Default for Osctrl {
    fn default() -> Self {
        Self {
            environments: vec!["dev".into()],
            version: ServerVersion(0, 5, 4),
            login_limit: 10,
            login_retry_after: "60".into(),
            login: Duration::ZERO,
            paged_nodes: true,
            paged_results: true,
            moving_last_seen: false,
            pending_cache: Duration::ZERO,
            writing_targets: Duration::ZERO,
            admin_service: None,
            loose_order: false,
            queries: Vec::new(),
            users: OsctrlUser::defaults(),
        }
    }
}

/// `osctrl-admin`, whose loop completes each active query whose `executions + errors` reach `expected`.
/// Hosts that answer twice ([`super::Behaviour::times`]) count twice, so that it ends queries which other
/// hosts were never handed.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminService {
    /// How often it looks.
    #[serde(rename = "every_ms", deserialize_with = "milliseconds")]
    pub every: Duration,
    /// It meets the first so many queries while their targets are being written: they are completed at
    /// `expected: 0`, and no host ever gets them.
    #[serde(default)]
    pub meets_new: usize,
}

/// A user of the simulated osctrl.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsctrlUser {
    /// What a login names.
    pub username: String,
    /// What a login proves.
    #[serde(default)]
    pub password: String,
    /// A token that is good until the user logs in, if any.
    #[serde(default)]
    pub token: Option<String>,
    /// Administrator: everything, everywhere.
    #[serde(default)]
    pub admin: bool,
    /// A login is answered with a challenge in place of a token: the user has a second factor.
    #[serde(default)]
    pub second_factor: bool,
    /// The environments where the user has the user and query levels; without any, all.
    #[serde(default)]
    pub environments: Vec<String>,
}

impl OsctrlUser {
    /// A user of this name, with a password and without a token, who has the user and query levels.
    pub fn named(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
            token: None,
            admin: false,
            second_factor: false,
            environments: Vec::new(),
        }
    }

    /// The users of a scenario that names none.
    pub fn defaults() -> Vec<Self> {
        let user = |username: &str, password: &str, token: &str, admin| Self {
            username: username.into(),
            password: password.into(),
            token: Some(token.into()),
            admin,
            second_factor: false,
            environments: Vec::new(),
        };
        vec![
            user("admin", OSCTRL_ADMIN_PASSWORD, OSCTRL_ADMIN_TOKEN, true),
            user("plugin", OSCTRL_PLUGIN_PASSWORD, OSCTRL_PLUGIN_TOKEN, false),
        ]
    }
}
