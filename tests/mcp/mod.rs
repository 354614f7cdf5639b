//! `mcp` from outside: the real binary, raw lines of JSON-RPC, simulated servers behind it.

mod client;
mod consent;
mod hostile;
mod hosts;
mod many;
mod protocol;
mod rows;
mod runs;
mod slots;
mod templates;
mod unlisted;

use std::time::Duration;

use osquery_simulator::{FleetUser, HostSpec, OsctrlUser, Scenario, Simulator};
use serde_json::{Value, json};

use crate::harness::folder::Folder;
use client::{Client, ERAS, Era, error_of, structured};

/// The usual client: most shake hands.
const USUAL: Era = Era::Handshake("2025-11-25");

/// A simulated server of both kinds, whose tokens are this site's own.
pub struct Site {
    pub folder: Folder,
    pub simulator: Simulator,
}

impl Site {
    pub fn new(hosts: Vec<HostSpec>) -> Self {
        Self::of(Scenario::of(hosts), "site")
    }

    /// A server that knows the token `NAME-secret-0a1b2c3d`.
    pub fn of(mut scenario: Scenario, name: &str) -> Self {
        let secret = format!("{name}-secret-0a1b2c3d");
        scenario.fleet.tick = Duration::from_millis(200);
        let mut users = FleetUser::defaults();
        users[0].token = Some(secret.clone());
        scenario.fleet.users = users;
        let mut users = OsctrlUser::defaults();
        users[0].token = Some(secret.clone());
        scenario.osctrl.users = users;
        let folder = Folder::new();
        folder.file("token", &secret);
        Self {
            folder,
            simulator: Simulator::spawn(scenario).expect("a simulator"),
        }
    }

    /// The two instances of the server: `corp` is Fleet, `lab` osctrl.
    pub fn instances(&self) -> String {
        let (url, token) = (self.simulator.base_url(), self.folder.name("token"));
        format!(
            "  corp: {{backend: fleetdm, base_url: '{url}', credentials: {{api_token: {{file: '{token}'}}}}}}\n  \
             lab: {{backend: osctrl, environment: dev, base_url: '{url}', credentials: {{api_token: {{file: '{token}'}}}}}}\n"
        )
    }

    pub fn policy(&self, more: &str) -> std::path::PathBuf {
        let text = format!("instances:\n{}{more}", self.instances());
        self.folder.policy(&text)
    }

    /// A client that shakes hands, under a policy with these lines more.
    pub fn client(&self, more: &str) -> Client {
        Client::start(&self.policy(more), &[]).begin(USUAL, json!({}))
    }

    /// Waits until no campaign runs.
    #[track_caller]
    pub fn wait_until_stopped(&self) {
        let stopped = self.simulator.wait_until(
            |seen| {
                let mut campaigns = seen.campaigns.iter();
                campaigns.all(|it| it.state != osquery_simulator::CampaignState::Running)
            },
            Duration::from_secs(20),
        );
        assert!(stopped, "a campaign runs on");
    }

    #[track_caller]
    pub fn wait_for_campaigns(&self, count: usize) {
        let came = self.simulator.wait_until(
            |seen| seen.campaigns.len() >= count,
            Duration::from_secs(20),
        );
        assert!(came, "no campaign was created");
    }
}

/// Arguments of a usual run.
pub fn query(instance: &str, hosts: &[&str]) -> Value {
    json!({"instance": instance, "template": "running_processes", "target_hosts": hosts})
}

/// The lines of a policy's audit log.
pub fn audit(folder: &Folder) -> Vec<Value> {
    let text = folder.text("audit.jsonl");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}
