//! A simulator with what these tests ask of it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use osquery_simulator::{
    FLEET_ADMIN_TOKEN, HostSpec, OSCTRL_ADMIN_TOKEN, Observations, Scenario, Simulator,
};
use serde_json::{Value, json};

use super::client::{self, Answer, Frame, Socket};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);
pub const SOCKET: &str = "/api/v1/fleet/results/websocket";

/// A running simulator.
pub struct Site(pub Simulator);

impl Site {
    pub async fn new(mut scenario: Scenario) -> Self {
        scenario.check_in = Duration::from_millis(5);
        Self(Simulator::start(scenario).await.expect("a simulator"))
    }

    pub async fn until(&self, what: &str, condition: impl FnMut(&Observations) -> bool) {
        assert!(self.0.until(condition, PATIENCE).await, "{what}");
    }

    pub async fn fleet_get(&self, path: &str) -> Answer {
        let path = format!("/api/v1/fleet{path}");
        client::get(self.0.addr(), &path, FLEET_ADMIN_TOKEN).await
    }

    pub async fn fleet_post(&self, path: &str, body: &Value) -> Answer {
        let path = format!("/api/v1/fleet{path}");
        client::post(self.0.addr(), &path, FLEET_ADMIN_TOKEN, body).await
    }

    /// `POST /queries/run` to these hosts.
    pub async fn fleet_run(&self, hosts: &[u64]) -> Answer {
        let selected = json!({"hosts": hosts, "labels": [], "teams": []});
        let body = json!({"query": "SELECT 1 AS one", "selected": selected});
        self.fleet_post("/queries/run", &body).await
    }

    /// Runs a campaign and listens to it.
    pub async fn fleet_listen(&self, hosts: &[u64]) -> Socket {
        fleet_listen(self.0.addr(), hosts).await
    }

    /// Listens to a campaign.
    pub async fn fleet_select(&self, campaign: &Value) -> Socket {
        fleet_select(self.0.addr(), campaign).await
    }

    pub async fn osctrl_get(&self, path: &str) -> Answer {
        let path = format!("/api/v1{path}");
        client::get(self.0.addr(), &path, OSCTRL_ADMIN_TOKEN).await
    }

    pub async fn osctrl_post(&self, path: &str, body: &Value) -> Answer {
        let path = format!("/api/v1{path}");
        client::post(self.0.addr(), &path, OSCTRL_ADMIN_TOKEN, body).await
    }

    /// `POST /queries/dev` to everyone there; the query's name.
    pub async fn osctrl_run(&self, uuids: &[String]) -> String {
        let body = json!({"query": "SELECT 1 AS one", "uuid_list": uuids, "exp_hours": 1});
        let answer = self.osctrl_post("/queries/dev", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let name = answer.json()["query_name"].as_str().map(str::to_owned);
        name.expect("a name")
    }

    pub async fn osctrl_state(&self, name: &str) -> Value {
        self.osctrl_get(&format!("/queries/dev/{name}"))
            .await
            .json()
    }

    pub async fn osctrl_items(&self, name: &str) -> Vec<Value> {
        let path = format!("/queries/dev/results/{name}?page=1&page_size=1000");
        let read = self.osctrl_get(&path).await.json();
        read["items"].as_array().cloned().expect("items")
    }
}

/// The next frame, which must come.
pub async fn next(socket: &mut Socket) -> Frame {
    tokio::time::timeout(PATIENCE, socket.next())
        .await
        .expect("a frame")
}

/// The next frame of this type; others are skipped.
pub async fn next_of(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame = next(socket).await.json();
        if frame["type"] == kind {
            return frame["data"].clone();
        }
    }
}

/// A host that answers after so many milliseconds.
pub fn after(name: &str, milliseconds: u64) -> HostSpec {
    HostSpec::named(name).delayed(Duration::from_millis(milliseconds))
}

/// The program, on a scenario of its own: what it holds in memory is nobody else's.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
}

impl Program {
    pub fn new(name: &str, scenario: &str) -> Self {
        let file = format!("osquery-simulator-{}-{name}.yaml", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, scenario).expect("written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_osquery-simulator"))
            .arg(&path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let _ = std::fs::remove_file(&path);
        let address = line.trim_end().strip_prefix("http://").expect("a base URL");
        Self {
            address: address.parse().expect("an address"),
            child,
        }
    }

    /// The most memory that it has held so far, in bytes.
    pub fn peak(&self) -> usize {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kilobytes.map_or(0, |kilobytes: usize| kilobytes * 1_024)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a campaign on these hosts and listens to it.
pub async fn fleet_listen(address: SocketAddr, hosts: &[u64]) -> Socket {
    let body = json!({"query": "SELECT 1 AS one", "selected": {"hosts": hosts}});
    let path = "/api/v1/fleet/queries/run";
    let answer = client::post(address, path, FLEET_ADMIN_TOKEN, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    fleet_select(address, &answer.json()["campaign"]["id"]).await
}

/// Listens to a campaign.
pub async fn fleet_select(address: SocketAddr, campaign: &Value) -> Socket {
    let mut socket = Socket::open(address, SOCKET, &[]).await.expect("a socket");
    for message in [
        json!({"type": "auth", "data": {"token": FLEET_ADMIN_TOKEN}}),
        json!({"type": "select_campaign", "data": {"campaign_id": campaign}}),
    ] {
        socket.send(&message).await;
    }
    socket
}

/// Waits for what must come.
pub async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}
