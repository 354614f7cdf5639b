//! What a simulated deployment consists of: servers, users, hosts and what goes wrong. Written in YAML
//! or built in code; every type here is the file's own vocabulary. Knows nothing of sockets or time.

mod aisoc_direct;
mod changes;
mod faults;
mod fleet;
mod history;
mod hostile;
mod hosts;
mod osctrl;
mod outages;
mod parse;
mod proxy;
mod reports;
mod version;
mod way_in;

pub(crate) use aisoc_direct::parse_uuid;
pub use aisoc_direct::{
    AISOC_CONSOLE_TOKEN, AISOC_ENROLL_SECRET, AISOC_SERVICE_TOKEN, AISOC_TENANT, AisocDirect,
    AisocVersion, Burst, ConsoleToken, HostIdentifier,
};
pub use changes::{Change, HostChange, Snapshot};
pub use faults::{Cut, Fault, SlowBody, SocketClose, SocketFault};
pub use fleet::{
    Endpoints, FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD, FLEET_ADMIN_TOKEN, FLEET_MAINTAINER_TOKEN,
    FLEET_OBSERVER_TOKEN, Fleet, FleetUser, Paths, Role,
};
pub use history::{LateResult, QuerySpec, QueryState, ResultSpec};
pub use hostile::{Echo, Echoed, Encoding, Endless, Flood, FloodOf, ListError, MadeBody};
pub use hosts::{Answer, Behaviour, Cells, HostSpec, HostStatus, Huge, TableSpec, Wide};
pub use osctrl::{
    AdminService, OSCTRL_ADMIN_PASSWORD, OSCTRL_ADMIN_TOKEN, OSCTRL_PLUGIN_PASSWORD,
    OSCTRL_PLUGIN_TOKEN, Osctrl, OsctrlUser,
};
pub use outages::{Outage, Part};
pub use parse::ScenarioError;
pub(crate) use parse::decode_base64;
pub use proxy::Proxy;
pub use reports::{Logging, ReportSpec, Team};
pub use version::{NoVersion, ServerVersion};
pub use way_in::WayIn;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::observe::Server;
use parse::milliseconds;

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
    /// What only AiSOC's own osquery service has.
    pub aisoc_direct: AisocDirect,
    /// Tables that replace or join the built-in ones, on every host that names none itself.
    pub tables: BTreeMap<String, TableSpec>,
    /// The enrolled hosts.
    pub hosts: Vec<HostSpec>,
    /// What changes by itself, and when.
    pub changes: Vec<Change>,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
    /// Parts that go away and come back.
    pub outages: Vec<Outage>,
    /// What stands between the client and the server.
    pub proxy: Proxy,
    /// Throws the client's secret back at it.
    pub echo: Option<Echo>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            wire: Wire::All,
            listen: "127.0.0.1:0".into(),
            tls: false,
            check_in: Duration::from_millis(50),
            fleet: Fleet::default(),
            osctrl: Osctrl::default(),
            aisoc_direct: AisocDirect::default(),
            tables: BTreeMap::new(),
            hosts: Vec::new(),
            changes: Vec::new(),
            faults: Vec::new(),
            outages: Vec::new(),
            proxy: Proxy::default(),
            echo: None,
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

    /// The same scenario with one more change.
    #[must_use]
    pub fn with_change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// The same scenario with one more report of Fleet.
    #[must_use]
    pub fn with_report(mut self, report: ReportSpec) -> Self {
        self.fleet.reports.push(report);
        self
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
    /// AiSOC's own osquery service's only.
    AisocDirect,
    /// All of them on one port: their paths differ. `both` is what it was called when they were two.
    #[serde(alias = "both")]
    All,
}

impl Wire {
    /// Whether this server's paths are answered.
    pub(crate) fn speaks(self, server: Server) -> bool {
        match self {
            Self::Fleet => server == Server::Fleet,
            Self::Osctrl => server == Server::Osctrl,
            Self::AisocDirect => server == Server::AisocDirect,
            Self::All => true,
        }
    }
}
