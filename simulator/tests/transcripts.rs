//! Replays every recording of a real server against the simulator: each request is sent again, with ids,
//! names and tokens of this run, and status, headers, bodies and frames are compared in order.
//!
//! Times are scaled down: hosts answer in the recorded order some milliseconds apart, Fleet's tick comes
//! after a fraction of a second.

#![allow(missing_docs, reason = "tests")]

mod client;
mod replay;

use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{Frame, Socket};
use osquery_simulator::{
    Answer, Cells, FleetUser, HostSpec, HostStatus, OsctrlUser, Part, ReportSpec, Role, Scenario,
    Simulator, Wire,
};
use replay::Carried;
use serde_json::Value;

/// How many recordings there are. Leaving one out, or adding one without a look at it, fails.
const RECORDINGS: usize = 38;

/// Replayed by `collect/recordings.rs` and `troubles/osctrl_recordings.rs`; `webhooks` holds what the server
/// sent by itself.
const ELSEWHERE: [&str; 6] = [
    "osctrl/database-away",
    "osctrl/ended-early",
    "fleet/host-posture",
    "osctrl/query-lists",
    "fleet/reports",
    "fleet/webhooks",
];

/// How many requests and sockets they hold.
const EXCHANGES: usize = 178;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulator_answers_as_the_recorded_servers_did() {
    let mut walks = tokio::task::JoinSet::new();
    let mut found = 0;
    for server in ["fleet", "osctrl"] {
        let folder = recordings().join(server);
        for entry in std::fs::read_dir(&folder).expect("the recordings") {
            let path = entry.expect("a file").path();
            let elsewhere = ELSEWHERE
                .iter()
                .any(|known| path.ends_with(format!("{known}.json")));
            if path.extension().is_some_and(|kind| kind == "json") && !elsewhere {
                found += 1;
                walks.spawn(walk(server, path));
            }
        }
    }
    let mut faults = Vec::new();
    let mut walked = 0;
    let mut exchanges = 0;
    while let Some(result) = walks.join_next().await {
        let walk = result.expect("a walk to its end");
        walked += 1;
        exchanges += walk.exchanges;
        faults.extend(walk.faults);
    }
    assert!(
        faults.is_empty(),
        "{} differences:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert_eq!(
        (found, walked),
        (RECORDINGS, RECORDINGS),
        "recordings found and walked"
    );
    assert_eq!(exchanges, EXCHANGES, "requests and sockets compared");
}

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts")
}

struct Walk {
    faults: Vec<String>,
    exchanges: usize,
}

async fn walk(server: &'static str, path: PathBuf) -> Walk {
    let read = |path: &Path| -> Value {
        let text = std::fs::read_to_string(path).expect("a recording");
        serde_json::from_str(&text).expect("a recording is JSON")
    };
    let recording = read(&path);
    let name = path
        .file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .expect("a name");
    let scenario = match server {
        "fleet" => fleet_scenario(&name, &recording),
        _ => osctrl_scenario(&name, &recording),
    };
    let simulator = Simulator::start(scenario).await.expect("a simulator");
    let mut replayer = Replayer {
        simulator,
        carried: Carried::default(),
        faults: Vec::new(),
        exchanges: 0,
        place: String::new(),
        part: match name.as_str() {
            "redis-restarted" => Part::Redis,
            _ => Part::Database,
        },
        away: false,
    };
    if name == "unknown-query" {
        // It ends with a list of the queries that earlier recordings had left.
        for earlier in [
            "query-mixed",
            "query-complete",
            "query-by-uuid",
            "query-unknown-host",
            "query-never-delivered",
        ] {
            let recording = read(&path.with_file_name(format!("{earlier}.json")));
            replayer
                .run(&format!("{name} after {earlier}"), &recording)
                .await;
        }
        // Those are compared, and counted with their own recordings.
        replayer.exchanges = 0;
    }
    replayer.run(&format!("{server}/{name}"), &recording).await;
    Walk {
        faults: replayer.faults,
        exchanges: replayer.exchanges,
    }
}

struct Replayer {
    simulator: Simulator,
    carried: Carried,
    faults: Vec<String>,
    exchanges: usize,
    place: String,
    /// What goes away where the recording says so, and whether it has.
    part: Part,
    away: bool,
}

impl Replayer {
    async fn run(&mut self, name: &str, recording: &Value) {
        let steps = recording["steps"].as_array().expect("steps");
        for (index, step) in steps.iter().enumerate() {
            self.place = format!("{name} step {index}");
            if step.get("websocket").is_some() {
                let socket = self.socket(&step["websocket"]);
                if tokio::time::timeout(PATIENCE * 2, socket).await.is_err() {
                    self.fault("the socket hangs".into());
                }
            } else {
                // The first and the twelfth of twelve logins were recorded.
                if name.ends_with("login-limits") && index == 1 {
                    for _ in 0..10 {
                        self.send(&step["request"]).await;
                    }
                }
                if tokio::time::timeout(PATIENCE * 2, self.http(step))
                    .await
                    .is_err()
                {
                    self.fault("the request hangs".into());
                }
            }
            self.exchanges += 1;
        }
    }

    fn fault(&mut self, text: String) {
        self.faults.push(format!("{}: {text}", self.place));
    }

    fn compare(&mut self, recorded: &Value, actual: &Value) {
        let place = self.place.clone();
        self.carried
            .compare(&place, recorded, actual, &mut self.faults);
    }

    async fn send(&self, request: &Value) -> client::Answer {
        let path = self
            .carried
            .apply_path(request["path"].as_str().expect("a path"));
        let headers: Vec<(String, String)> = request["headers"]
            .as_object()
            .expect("headers")
            .iter()
            .map(|(name, value)| {
                let value = self.carried.apply(value.as_str().expect("a header"));
                (name.to_lowercase(), value)
            })
            .collect();
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let body = Some(&request["body"])
            .filter(|body| !body.is_null())
            .map(|body| self.carried.apply_json(body).to_string());
        let method = request["method"].as_str().expect("a method");
        client::request(self.simulator.addr(), method, &path, &headers, body)
            .await
            .expect("an answer")
    }

    async fn http(&mut self, step: &Value) {
        let recorded = &step["response"];
        // Who one is, is known without Redis.
        let told_anyway = self.part == Part::Redis && step["request"]["method"] == "GET";
        if self.away && recorded["status"] == 200 && !told_anyway {
            self.simulator.bring_back(self.part);
            self.away = false;
        }
        self.wait_for_recorded_progress(recorded).await;
        let answer = self.send(&step["request"]).await;
        if recorded["status"] != answer.status {
            self.fault(format!(
                "status {} was recorded, here is {}: {}",
                recorded["status"],
                answer.status,
                answer.text()
            ));
            return;
        }
        for (name, value) in recorded["headers"].as_object().expect("headers") {
            if answer.header(name) != value.as_str() {
                self.fault(format!(
                    "{name}: {value} was recorded, here is {:?}",
                    answer.header(name)
                ));
            }
        }
        let body = &recorded["body"];
        if body.is_string() {
            self.compare(body, &Value::String(answer.text()));
        } else {
            self.compare(body, &answer.json());
        }
    }

    /// The recorded polls were repeated until something had changed: this waits for the change.
    async fn wait_for_recorded_progress(&mut self, recorded: &Value) {
        let body = &recorded["body"];
        let (Some(name), Some(executions), Some(errors)) = (
            body["name"].as_str(),
            body["executions"].as_u64(),
            body["errors"].as_u64(),
        ) else {
            return;
        };
        let name = self.carried.apply(name);
        let wanted = usize::try_from(executions + errors).expect("few answers");
        let answered = |seen: &osquery_simulator::Observations| {
            let campaign = seen.campaigns.iter().find(|campaign| campaign.id == name);
            campaign.is_none_or(|campaign| campaign.answers >= wanted)
        };
        if !self.simulator.until(answered, PATIENCE).await {
            self.fault(format!("{wanted} answers did not come"));
        }
    }

    async fn socket(&mut self, recorded: &Value) {
        let path = recorded["path"].as_str().expect("a path");
        let mut socket = match Socket::open(self.simulator.addr(), path, &[]).await {
            Ok(socket) => socket,
            Err(status) => {
                self.fault(format!("the upgrade was refused with {status}"));
                return;
            }
        };
        for frame in recorded["frames"].as_array().expect("frames") {
            if let Some(message) = frame.get("client") {
                socket.send(&self.carried.apply_json(message)).await;
            } else if frame["note"] == "here the part is restarted" {
                self.simulator.take_away(self.part);
                self.away = true;
            } else if frame.get("client_breaks").is_some() {
                drop(socket);
                // Two answers come while only the dead listener is counted as present.
                let lost = |seen: &osquery_simulator::Observations| {
                    seen.campaigns.iter().any(|campaign| campaign.lost == 2)
                };
                if !self.simulator.until(lost, PATIENCE).await {
                    self.fault("no answers were lost".into());
                }
                return;
            } else {
                let next = tokio::time::timeout(PATIENCE, socket.next())
                    .await
                    .unwrap_or(Frame::End);
                match (frame.get("server"), frame.get("server_close"), next) {
                    (Some(message), _, Frame::Text(text)) => {
                        let text: Value = serde_json::from_slice(&text).expect("JSON");
                        self.compare(message, &text);
                    }
                    (_, Some(close), Frame::Close(code)) => {
                        if close["code"].as_u64() != code.map(u64::from) {
                            self.fault(format!(
                                "closed with {code:?} instead of {}",
                                close["code"]
                            ));
                        }
                    }
                    (_, _, next) => {
                        self.fault(format!("{frame} was recorded, here is {next:?}"));
                        return;
                    }
                }
            }
        }
    }
}

/// Names of the recorded hosts in the order in which they answered.
fn answer_order(recording: &Value) -> Vec<u64> {
    let mut order = Vec::new();
    for step in recording["steps"].as_array().expect("steps") {
        let frames = step["websocket"]["frames"].as_array().into_iter().flatten();
        let frames = frames.map(|frame| &frame["server"]["data"]["host"]["id"]);
        let results = step["response"]["body"]["results"]
            .as_array()
            .into_iter()
            .flatten();
        for id in frames.chain(results.map(|result| &result["host_id"])) {
            if let Some(id) = id.as_u64().filter(|id| !order.contains(id)) {
                order.push(id);
            }
        }
    }
    order
}

/// The two rows that a recorded agent answers, whatever it is asked.
fn recorded_rows(number: u64) -> Answer {
    let row = |index: u64| -> Cells {
        serde_json::json!({
            "pid": (1000 + index).to_string(),
            "name": format!("proc-{index}"),
            "path": format!("/usr/bin/proc-{index}"),
            "cmdline": format!("/usr/bin/proc-{index} --host {number} \"q\" <é>"),
            "state": "S",
            "uid": "1000",
        })
        .as_object()
        .expect("an object")
        .clone()
    };
    Answer::Rows(vec![row(0), row(1)])
}

fn recorded_host(prefix: &str, id: u64, number: u64, uuid_part: &str) -> HostSpec {
    let mut host = HostSpec::named(format!("{prefix}-{number:04}"));
    host.id = Some(id);
    host.uuid = Some(format!("4C4C4544-0000-4000-8000-{uuid_part}{number:08}"));
    host.serial = Some(format!("SER{number:06}"));
    host.behaviour.answer = match number {
        2 => Answer::None,
        3 => Answer::Error("no such table: nope".into()),
        5 => Answer::Silent,
        _ => recorded_rows(number),
    };
    host
}

fn fleet_user(id: u64, name: &str, email: &str, token: &str, role: Role) -> FleetUser {
    FleetUser {
        name: name.into(),
        email: email.into(),
        password: "PASSWORD".into(),
        token: Some(token.into()),
        role,
        must_reset_password: false,
        api_only: role != Role::Admin,
        endpoints: None,
        id: Some(id),
    }
}

fn fleet_scenario(name: &str, recording: &Value) -> Scenario {
    // Recorded later, by agents that had enrolled in another order.
    let later = matches!(
        name,
        "database-away" | "observer-saved-query" | "redis-restarted"
    );
    let numbers = match later {
        true => [(1, 0), (2, 2), (3, 5), (4, 1), (5, 3), (6, 4)],
        false => [(1, 0), (2, 3), (3, 2), (4, 4), (5, 1), (6, 5)],
    };
    let mut hosts: Vec<HostSpec> = numbers
        .into_iter()
        .map(|(id, number)| recorded_host("fh", id, number, "6668"))
        .collect();
    let order = answer_order(recording);
    for host in &mut hosts {
        // Some recordings end before every host has answered.
        let place = order.iter().position(|id| host.id == Some(*id));
        let rank = place.unwrap_or(order.len());
        // Late enough for the socket to be there: answers that nobody hears come again later.
        host.behaviour.delay = Duration::from_millis(400 + 20 * rank as u64);
        if host.hostname == "fh-0005" {
            host.status = HostStatus::Offline;
        }
        if later && host.hostname == "fh-0004" {
            host.behaviour.delay = PATIENCE;
        }
    }
    let mut tick = Duration::from_millis(1_500);
    match name {
        "stream-broken" => {
            // Hosts 1 and 3 answer while nobody but the dead listener is there, 5 and 4 afterwards.
            tick = Duration::from_millis(2_500);
            for host in &mut hosts {
                host.behaviour.delay = Duration::from_millis(match host.id {
                    Some(1 | 3) => 500,
                    Some(5) => 1_500,
                    _ => 1_600,
                });
            }
        }
        "same-hostname" => {
            hosts.extend([1, 0].into_iter().zip([1_008, 1_009]).map(|(number, id)| {
                let mut host = recorded_host("dup", id, number, "6475");
                host.hostname = "dup-0000".into();
                host
            }))
        }
        "rest-timeout" => {
            let mut mute = recorded_host("mute", 1_010, 0, "6d75");
            mute.behaviour.answer = Answer::Silent;
            hosts.push(mute);
        }
        _ => {}
    }
    let mut scenario = Scenario::of(hosts);
    scenario.wire = Wire::Fleet;
    scenario.check_in = Duration::from_millis(1);
    scenario.fleet.tick = tick;
    scenario.fleet.rest_wait = Duration::from_millis(match name {
        "rest-timeout" => 150,
        _ => 5_000,
    });
    scenario.fleet.campaign_wait = Duration::from_millis(200);
    scenario.fleet.wrong_password = Duration::from_millis(20);
    scenario.fleet.users = vec![
        fleet_user(1, "Admin", "admin@example.com", "FLEET_TOKEN", Role::Admin),
        fleet_user(
            3,
            "observer",
            "observer-1795220174@example.com",
            "OBSERVER_TOKEN",
            Role::Observer,
        ),
        fleet_user(
            4,
            "maintainer",
            "maintainer-1795220175@example.com",
            "MAINTAINER_TOKEN",
            Role::Maintainer,
        ),
        fleet_user(5, "obs2", "obs2@example.com", "no token", Role::Observer),
    ];
    if name == "observer-saved-query" {
        scenario.fleet.users[1].id = Some(2);
        let sql = "SELECT * FROM processes LIMIT 100";
        scenario.fleet.reports = vec![
            ReportSpec {
                id: Some(107),
                interval: 0,
                observer_can_run: true,
                ..ReportSpec::of("Running processes", sql)
            },
            ReportSpec {
                id: Some(108),
                interval: 0,
                ..ReportSpec::of("Of maintainers only", sql)
            },
        ];
    }
    scenario
}

/// When the recorded server had last seen each node: what orders its pages.
fn recorded_last_seen(recording: &Value, uuid: &str) -> Option<String> {
    fn search(value: &Value, uuid: &str) -> Option<String> {
        match value {
            Value::Object(fields) => {
                if fields.get("uuid").and_then(Value::as_str) == Some(uuid)
                    && let Some(last_seen) = fields.get("last_seen")
                {
                    return last_seen.as_str().map(str::to_owned);
                }
                fields.values().find_map(|value| search(value, uuid))
            }
            Value::Array(items) => items.iter().find_map(|item| search(item, uuid)),
            _ => None,
        }
    }
    search(recording, uuid)
}

/// Uuids in the order in which their results were stored.
fn stored_order(recording: &Value) -> Vec<String> {
    let mut order = Vec::new();
    for step in recording["steps"].as_array().expect("steps") {
        for item in step["response"]["body"]["items"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if let (Some(uuid), Some(_)) = (item["uuid"].as_str(), item.get("data"))
                && !order.iter().any(|known| known == uuid)
            {
                order.push(uuid.to_owned());
            }
        }
    }
    order
}

fn osctrl_scenario(name: &str, recording: &Value) -> Scenario {
    // In the order of `nodes/{env}/all`.
    let mut hosts: Vec<HostSpec> = [(1, 1), (4, 3), (3, 0), (6, 5), (5, 2), (2, 4)]
        .into_iter()
        .map(|(id, number)| recorded_host("host", id, number, "686F"))
        .collect();
    if matches!(name, "same-hostname" | "login-revokes") {
        hosts.extend([(1_006, 0), (1_007, 1)].map(|(id, number)| {
            let mut host = recorded_host("dup", id, number, "6475");
            host.hostname = "dup-0000".into();
            host.behaviour.delay = PATIENCE;
            host
        }));
    }
    let order = match name {
        // What was recorded before it has its own order.
        "unknown-query" => {
            let path = recordings().join("osctrl/query-mixed.json");
            let text = std::fs::read_to_string(path).expect("a recording");
            stored_order(&serde_json::from_str(&text).expect("JSON"))
        }
        _ => stored_order(recording),
    };
    for host in &mut hosts {
        let uuid = host.uuid.clone().unwrap_or_default();
        let rank = order.iter().position(|known| *known == uuid).unwrap_or(0);
        if host.behaviour.delay.is_zero() {
            // The first polls come before the first answers, and 0004 is slow.
            let late = if uuid.ends_with("4") { 1_000 } else { 0 };
            host.behaviour.delay = Duration::from_millis(500 + 20 * rank as u64 + late);
        }
        host.last_seen =
            recorded_last_seen(recording, &uuid).or_else(|| Some("2026-11-01T00:00:00Z".into()));
        if name == "query-answered-twice" {
            host.behaviour.times = 2;
            host.behaviour.again = Duration::from_millis(1_000);
        }
    }
    let mut scenario = Scenario::of(hosts);
    scenario.wire = Wire::Osctrl;
    scenario.check_in = Duration::from_millis(1);
    let user = |name: &str, token: Option<&str>, admin| OsctrlUser {
        token: token.map(str::to_owned),
        admin,
        environments: vec!["dev".into()],
        ..OsctrlUser::named(name, "PASSWORD")
    };
    scenario.osctrl.users = vec![
        user("admin", Some("OSCTRL_TOKEN"), true),
        user("plugin", Some("PLUGIN_TOKEN"), false),
        user("loginuser", None, false),
    ];
    scenario
}
