//! What only Fleet has: its clocks, its spelling, its users.

use std::time::Duration;

use serde::Deserialize;

use super::parse::milliseconds;
use super::{ReportSpec, ServerVersion, Team};

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
    /// Which Fleet it is; a server that names none behaves as the recorded one (June 2025) and has both
    /// spellings of the paths. See [`ServerVersion::FLEET_2025`] and [`ServerVersion::FLEET_2026`].
    /// Before 4.82 there are the old paths and names only. From then on both; answers carry both names of
    /// a field, a request with both is a 400, and a body above 1 MiB a 413. From 4.85 on a token may be
    /// limited to endpoints ([`FleetUser::endpoints`]). From 4.93 on phones and tablets count as online.
    pub version: Option<ServerVersion>,
    /// False: the operator has switched live queries off, and each is a 403.
    pub live_queries: bool,
    /// Which spelling of the live-query paths exists, where the version has both.
    pub paths: Paths,
    /// The teams; a server whose hosts and reports have none either is not licensed for them.
    pub teams: Vec<Team>,
    /// The saved queries that are there from the start.
    pub reports: Vec<ReportSpec>,
    /// How many rows a report holds, over all hosts (`query_report_cap`); of newer servers at least one for
    /// each host.
    pub report_cap: usize,
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
            version: None,
            live_queries: true,
            paths: Paths::Both,
            teams: Vec::new(),
            reports: Vec::new(),
            report_cap: 1_000,
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
    /// Reads hosts and labels, runs saved queries that observers may run; no ad-hoc query.
    Observer,
    /// An observer who may run ad-hoc queries (Premium).
    ObserverPlus,
    /// Runs queries and scripts (Premium).
    Technician,
    /// Writes configuration; reads no hosts and runs no query (Premium).
    Gitops,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Admin,
        Self::Maintainer,
        Self::Observer,
        Self::ObserverPlus,
        Self::Technician,
        Self::Gitops,
    ];
}

/// The endpoints that a token is limited to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "EndpointsText")]
pub enum Endpoints {
    /// All that may be listed: none of the old paths, and `POST reports/run` from 4.90 on only.
    Catalogue,
    /// These, written as `GET hosts/:` or `POST reports/run`.
    These(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EndpointsText {
    Word(String),
    List(Vec<String>),
}

impl TryFrom<EndpointsText> for Endpoints {
    type Error = String;

    fn try_from(text: EndpointsText) -> Result<Self, String> {
        match text {
            EndpointsText::List(list) => Ok(Self::These(list)),
            EndpointsText::Word(word) if word == "catalogue" => Ok(Self::Catalogue),
            EndpointsText::Word(word) => Err(format!(
                "'{word}' are no endpoints: write catalogue, or a list such as [GET hosts/:]"
            )),
        }
    }
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
    /// The endpoints that the user's tokens are limited to (4.85 and later, Premium).
    #[serde(default)]
    pub endpoints: Option<Endpoints>,
    /// The user's id, where it matters; otherwise the place in the list.
    #[serde(default)]
    pub id: Option<u64>,
}

impl FleetUser {
    /// A user of this name and role with a token; `NAME@example.com`, without a password.
    pub fn with_token(name: impl Into<String>, role: Role, token: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            email: format!("{}@example.com", name.to_lowercase()),
            name,
            password: String::new(),
            token: Some(token.into()),
            role,
            must_reset_password: false,
            api_only: true,
            endpoints: None,
            id: None,
        }
    }

    /// The same, limited to endpoints.
    #[must_use]
    pub fn limited_to(mut self, endpoints: Endpoints) -> Self {
        self.endpoints = Some(endpoints);
        self
    }

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
            endpoints: None,
            id: None,
        };
        vec![
            user("Admin", Role::Admin, FLEET_ADMIN_TOKEN, false),
            user("maintainer", Role::Maintainer, FLEET_MAINTAINER_TOKEN, true),
            user("observer", Role::Observer, FLEET_OBSERVER_TOKEN, true),
        ]
    }
}
