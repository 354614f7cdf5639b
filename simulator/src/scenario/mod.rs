//! What a simulated deployment consists of: servers, users, hosts and what goes wrong. Written in YAML
//! or built in code; every type here is the file's own vocabulary. Knows nothing of sockets or time.

mod faults;
mod hosts;
mod outages;
mod parse;

pub use faults::{Cut, Fault, SlowBody, SocketClose, SocketFault};
pub use hosts::{Answer, Behaviour, Cells, HostSpec, HostStatus, Huge, TableSpec};
pub use outages::{Outage, Part};
pub use parse::ScenarioError;
pub(crate) use parse::decode_base64;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use parse::milliseconds;

/// Token of the Fleet administrator that every scenario without its own users has.
pub const FLEET_ADMIN_TOKEN: &str = "fleet-admin-token";
/// Token of Fleet's maintainer: may run live queries.
pub const FLEET_MAINTAINER_TOKEN: &str = "fleet-maintainer-token";
/// Token of Fleet's observer: reads hosts and labels, runs nothing.
pub const FLEET_OBSERVER_TOKEN: &str = "fleet-observer-token";
/// E-mail address of the Fleet administrator.
pub const FLEET_ADMIN_EMAIL: &str = "admin@example.com";
/// Password of the Fleet administrator.
pub const FLEET_ADMIN_PASSWORD: &str = "fleet-admin-password";
/// Token of osctrl's administrator.
pub const OSCTRL_ADMIN_TOKEN: &str = "osctrl-admin-token";
/// Password of osctrl's administrator, whose name is `admin`.
pub const OSCTRL_ADMIN_PASSWORD: &str = "osctrl-admin-password";
/// Token of osctrl's user `plugin`, who has the user and query levels only.
pub const OSCTRL_PLUGIN_TOKEN: &str = "osctrl-plugin-token";
/// Password of osctrl's user `plugin`.
pub const OSCTRL_PLUGIN_PASSWORD: &str = "osctrl-plugin-password";

/// A whole simulated deployment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Which server's paths are answered.
    pub wire: Wire,
    /// Address to listen on; port 0 lets the system choose. Loopback only.
    pub listen: String,
    /// Speak TLS with a certificate made at the start.
    pub tls: bool,
    /// How often agents check in, unless a host says otherwise.
    #[serde(rename = "check_in_ms", deserialize_with = "milliseconds")]
    pub check_in: Duration,
    /// What only Fleet has.
    pub fleet: Fleet,
    /// What only osctrl has.
    pub osctrl: Osctrl,
    /// Tables that replace or join the built-in ones, on every host that names none itself.
    pub tables: BTreeMap<String, TableSpec>,
    /// The enrolled hosts.
    pub hosts: Vec<HostSpec>,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
    /// Parts that go away and come back.
    pub outages: Vec<Outage>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            wire: Wire::Both,
            listen: "127.0.0.1:0".into(),
            tls: false,
            check_in: Duration::from_millis(50),
            fleet: Fleet::default(),
            osctrl: Osctrl::default(),
            tables: BTreeMap::new(),
            hosts: Vec::new(),
            faults: Vec::new(),
            outages: Vec::new(),
        }
    }
}

impl Scenario {
    /// A scenario of these hosts; all else as by default.
    pub fn of(hosts: impl IntoIterator<Item = HostSpec>) -> Self {
        Self {
            hosts: hosts.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The same scenario with one more fault.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The same scenario with one more outage.
    #[must_use]
    pub fn with_outage(mut self, outage: Outage) -> Self {
        self.outages.push(outage);
        self
    }

    /// The same scenario behind TLS.
    #[must_use]
    pub fn with_tls(mut self) -> Self {
        self.tls = true;
        self
    }
}

/// Which server's paths are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// Fleet's only.
    Fleet,
    /// osctrl's only.
    Osctrl,
    /// Both on one port: their paths differ.
    Both,
}

/// What only Fleet has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fleet {
    /// How often `totals` and `status` frames may come; a real server's is 5 s.
    #[serde(rename = "tick_ms", deserialize_with = "milliseconds")]
    pub tick: Duration,
    /// How long the one-host REST calls wait for the agent.
    #[serde(rename = "rest_wait_ms", deserialize_with = "milliseconds")]
    pub rest_wait: Duration,
    /// How long the results socket waits for a campaign that does not exist.
    #[serde(rename = "campaign_wait_ms", deserialize_with = "milliseconds")]
    pub campaign_wait: Duration,
    /// How long a wrong password is thought about; a real server's is 1 s.
    #[serde(rename = "wrong_password_ms", deserialize_with = "milliseconds")]
    pub wrong_password: Duration,
    /// How long a new campaign takes to reach the agents' list; up to 1 s on a real server.
    #[serde(rename = "propagation_ms", deserialize_with = "milliseconds")]
    pub propagation: Duration,
    /// So long after its creation a campaign that nobody listens to ends with the next answer.
    #[serde(rename = "unheard_ms", deserialize_with = "milliseconds")]
    pub unheard: Duration,
    /// Which spelling of the live-query paths exists.
    pub paths: Paths,
    /// Who may call; without any, an admin, a maintainer and an observer.
    pub users: Vec<FleetUser>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(5),
            rest_wait: Duration::from_secs(25),
            campaign_wait: Duration::from_secs(5),
            wrong_password: Duration::from_secs(1),
            propagation: Duration::ZERO,
            unheard: Duration::from_secs(60),
            paths: Paths::Both,
            users: FleetUser::defaults(),
        }
    }
}

/// Which spelling of Fleet's live-query paths exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paths {
    /// `/queries/…` only.
    Old,
    /// `/reports/…` only.
    New,
    /// Both, as servers do while the old ones are deprecated.
    Both,
}

/// What a Fleet user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything this project needs.
    Maintainer,
    /// Reads hosts and labels; no ad-hoc query.
    Observer,
}

/// A user of the simulated Fleet.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetUser {
    /// Display name.
    pub name: String,
    /// What a login names.
    pub email: String,
    /// What a login proves.
    #[serde(default)]
    pub password: String,
    /// A token that is good from the start, if any.
    #[serde(default)]
    pub token: Option<String>,
    /// What the user may do.
    pub role: Role,
    /// The user must change the password first: every call is refused.
    #[serde(default)]
    pub must_reset_password: bool,
    /// Whether the user exists for the API only.
    #[serde(default)]
    pub api_only: bool,
    /// The user's id, where it matters; otherwise the place in the list.
    #[serde(default)]
    pub id: Option<u64>,
}

impl FleetUser {
    /// The users of a scenario that names none.
    pub fn defaults() -> Vec<Self> {
        let user = |name: &str, role, token: &str, api_only| Self {
            name: name.into(),
            email: format!("{}@example.com", name.to_lowercase()),
            password: format!("fleet-{}-password", name.to_lowercase()),
            token: Some(token.into()),
            role,
            must_reset_password: false,
            api_only,
            id: None,
        };
        vec![
            user("Admin", Role::Admin, FLEET_ADMIN_TOKEN, false),
            user("maintainer", Role::Maintainer, FLEET_MAINTAINER_TOKEN, true),
            user("observer", Role::Observer, FLEET_OBSERVER_TOKEN, true),
        ]
    }
}

/// What only osctrl has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Osctrl {
    /// The environments; hosts that name none belong to the first.
    pub environments: Vec<String>,
    /// Logins a minute from one address before 429.
    pub login_limit: usize,
    /// How long checking a password takes.
    #[serde(rename = "login_ms", deserialize_with = "milliseconds")]
    pub login: Duration,
    /// `GET /nodes/{env}` exists; older servers answer 404.
    pub paged_nodes: bool,
    /// Results come in pages; older servers answer with a bare array.
    pub paged_results: bool,
    /// Nodes' `last_seen` moves with every check-in, and with it the order of the pages.
    pub moving_last_seen: bool,
    /// Who may call; without any, `admin` and `plugin`.
    pub users: Vec<OsctrlUser>,
}

impl Default for Osctrl {
    fn default() -> Self {
        Self {
            environments: vec!["dev".into()],
            login_limit: 10,
            login: Duration::ZERO,
            paged_nodes: true,
            paged_results: true,
            moving_last_seen: false,
            users: OsctrlUser::defaults(),
        }
    }
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
    /// The environments where the user has the user and query levels; without any, all.
    #[serde(default)]
    pub environments: Vec<String>,
}

impl OsctrlUser {
    /// The users of a scenario that names none.
    pub fn defaults() -> Vec<Self> {
        let user = |username: &str, password: &str, token: &str, admin| Self {
            username: username.into(),
            password: password.into(),
            token: Some(token.into()),
            admin,
            environments: Vec::new(),
        };
        vec![
            user("admin", OSCTRL_ADMIN_PASSWORD, OSCTRL_ADMIN_TOKEN, true),
            user("plugin", OSCTRL_PLUGIN_PASSWORD, OSCTRL_PLUGIN_TOKEN, false),
        ]
    }
}
