//! Stands in for the live-query servers of Fleet, osctrl and AiSOC on a loopback port, with scripted hosts and
//! scripted faults. What it does follows recordings of real servers, quirks included; the SQL that it is
//! sent is run by SQLite over tables that it fills itself.
//!
//! ```
//! use osquery_simulator::{HostSpec, Scenario, Simulator};
//!
//! let scenario = Scenario::of([HostSpec::named("web-01"), HostSpec::named("db-01").offline()]);
//! let simulator = Simulator::spawn(scenario)?;
//! assert!(simulator.base_url().starts_with("http://127.0.0.1:"));
//! assert_eq!(simulator.requests().len(), 0);
//! # Ok::<(), osquery_simulator::StartError>(())
//! ```

#![recursion_limit = "256"] // Fleet describes a host in more fields than `json!` takes by default.

mod agents;
mod aisoc_direct;
mod body;
mod changes;
mod clock;
mod connection;
mod echo;
mod faults;
mod fleet;
mod flood;
mod gzip;
mod host;
mod http;
mod listing;
mod observe;
mod osctrl;
mod outages;
mod pieces;
mod proxy;
mod raw;
mod rows;
mod scenario;
mod server;
mod simulator;
mod speak;
mod sql;
mod tables;
mod tls;
mod versions;
mod world;

pub use observe::{
    AnswerSeen, Campaign, CampaignState, EndedBy, Fate, Observations, Request, Server, SocketEnd,
};
pub use scenario::{
    AISOC_CONSOLE_TOKEN, AISOC_ENROLL_SECRET, AISOC_SERVICE_TOKEN, AISOC_TENANT, AisocDirect,
    AisocVersion, Burst, Change, ConsoleToken, HostChange, HostIdentifier, LateResult, Logging,
    QuerySpec, QueryState, ReportSpec, ResultSpec, Snapshot, Team,
};
pub use scenario::{
    AdminService, Answer, Behaviour, Cells, Cut, Echo, Echoed, Encoding, Endless, Endpoints,
    FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD, FLEET_ADMIN_TOKEN, FLEET_MAINTAINER_TOKEN,
    FLEET_OBSERVER_TOKEN, Fault, Fleet, FleetUser, Flood, FloodOf, HostSpec, HostStatus, Huge,
    ListError, MadeBody, NoVersion, OSCTRL_ADMIN_PASSWORD, OSCTRL_ADMIN_TOKEN,
    OSCTRL_PLUGIN_PASSWORD, OSCTRL_PLUGIN_TOKEN, Osctrl, OsctrlUser, Outage, Part, Paths, Proxy,
    Role, Scenario, ScenarioError, ServerVersion, SlowBody, SocketClose, SocketFault, TableSpec,
    WayIn, Wide, Wire,
};
pub use simulator::{Simulator, StartError};
