//! Replays the recordings of what a collector reads.

use std::time::Duration;

use osquery_simulator::{
    Answer, Cells, FleetUser, HostSpec, OsctrlUser, Paths, QuerySpec, QueryState, Role, Scenario,
    Snapshot, Wire,
};
use serde_json::{Value, json};

use super::client;
use super::replay_http::{Replay, recording, steps};

#[tokio::test]
async fn hosts_and_their_posture_are_read_as_recorded() {
    let recording = recording("fleet", "host-posture");
    let mut replay = Replay::new(fleet(posture())).await;
    for (index, step) in steps(&recording).iter().enumerate() {
        replay
            .step(&format!("host-posture step {index}"), step)
            .await;
    }
    assert_eq!(replay.faults, [""; 0]);
    assert_eq!(replay.exchanges, 14);
}

/// Nine hosts, of which one is offline and one missing.
fn posture() -> Vec<HostSpec> {
    [
        (1, "fh-0000"),
        (2, "fh-0001"),
        (3, "fh-0005"),
        (4, "fh-0002"),
        (5, "fh-0006"),
        (6, "fh-0004"),
        (7, "fh-0003"),
        (8, "fh-0007"),
        (9, "long-gone"),
    ]
    .into_iter()
    .map(|(id, name)| {
        let mut host = HostSpec::named(name);
        host.id = Some(id);
        let number = name.trim_start_matches("fh-");
        host.uuid = Some(format!("4C4C4544-0000-4000-8000-66680000{number}"));
        host.serial = Some(format!("SER00{number}"));
        match id {
            3 => host.offline(),
            8 => {
                // It does not check in again before the end.
                host.check_in = Some(Duration::from_secs(36_000));
                host
            }
            9 => {
                host.uuid = Some("89FC5BE0-0FD2-5E27-AC80-4523937B54DF".into());
                host.serial = Some("Slong-gone".into());
                host.missing()
            }
            _ => host,
        }
    })
    .collect()
}

fn fleet(hosts: Vec<HostSpec>) -> Scenario {
    let user = |id, name: &str, token: &str, role| FleetUser {
        name: name.into(),
        email: format!("{name}@example.com"),
        password: String::new(),
        token: Some(token.into()),
        role,
        must_reset_password: false,
        api_only: false,
        endpoints: None,
        id: Some(id),
    };
    let mut scenario = Scenario::of(hosts);
    scenario.wire = Wire::Fleet;
    scenario.fleet.paths = Paths::Old;
    scenario.check_in = Duration::from_millis(1);
    scenario.fleet.users = vec![
        user(1, "admin", "FLEET_TOKEN", Role::Admin),
        user(2, "observer", "OBSERVER_TOKEN", Role::Observer),
    ];
    scenario
}

#[tokio::test]
async fn reports_are_read_as_recorded() {
    let recording = recording("fleet", "reports");
    let mut hosts = posture();
    for (id, name) in [(10, "rep-one"), (11, "rep-two")] {
        let mut host = HostSpec::named(name);
        host.id = Some(id);
        hosts.push(host);
    }
    let mut replay = Replay::new(fleet(hosts)).await;
    let cron = json!({"name": "cron.service", "path": "/usr/sbin/cron", "type": "systemd unit"});
    let odd = json!({"name": "x\"<é>", "path": "", "type": "systemd unit"});
    let ssh = json!({"name": "ssh.service", "path": "/usr/sbin/sshd", "type": "systemd unit"});
    let nginx = json!({"name": "nginx", "port": "443"});
    for (index, step) in steps(&recording).iter().enumerate() {
        // What the recorded agents sent in between.
        let snapshots = match index {
            6 => vec![
                ("lab startup items", "rep-one", vec![&cron, &odd]),
                ("lab startup items", "rep-two", vec![&ssh]),
            ],
            7 => vec![("lab startup items", "rep-one", vec![&cron])],
            8 => vec![("lab startup items", "rep-two", vec![])],
            9 => vec![
                ("lab joined", "rep-one", vec![&nginx]),
                ("lab differential", "rep-one", vec![&nginx]),
                ("lab discarded", "rep-one", vec![&nginx]),
                ("lab never scheduled", "rep-one", vec![&nginx]),
            ],
            _ => Vec::new(),
        };
        for (report, host, rows) in snapshots {
            let rows = rows.into_iter().map(cells).collect();
            let snapshot = Snapshot::of(report, host).rows(rows);
            replay
                .simulator
                .take_snapshot(snapshot)
                .expect("a snapshot");
        }
        replay.step(&format!("reports step {index}"), step).await;
    }
    assert_eq!(replay.faults, [""; 0]);
    assert_eq!(replay.exchanges, 22);
}

fn cells(row: &Value) -> Cells {
    row.as_object().expect("an object").clone()
}

#[tokio::test]
async fn lists_of_queries_and_results_are_read_as_recorded() {
    let recording = recording("osctrl", "query-lists");
    let mut replay = Replay::new(osctrl(&recording)).await;
    let mut since = Vec::new();
    for (index, step) in steps(&recording).iter().enumerate() {
        let mut step = step.clone();
        if index == 1 {
            let query = steps(&recording)[0]["response"]["body"]["query_name"].clone();
            replay
                .all_answered(query.as_str().expect("a name"), 4)
                .await;
        }
        if let Some((path, recorded)) = since_of(&step) {
            // A moment of the recording is this run's.
            if since.is_empty() {
                since = moments(&replay, &path).await;
            }
            let moment = match recorded.as_str() {
                "2026-11-21T15%3A21%3A28.851206Z" => &since[0],
                "2026-11-21T15%3A21%3A28Z" => "2026-01-01T00%3A00%3A00Z",
                other => other,
            };
            step["request"]["path"] = format!("{path}&since={moment}").into();
        }
        let unordered = |mut body: Value| {
            if let Some(items) = body.as_array_mut() {
                items.sort_by_key(|item| item["id"].as_u64());
            }
            body
        };
        let place = format!("query-lists step {index}");
        replay.step_as(&place, &step, unordered).await;
    }
    assert_eq!(replay.faults, [""; 0]);
    assert_eq!(replay.exchanges, 22);
}

/// A step's path and what it asks for since when.
fn since_of(step: &Value) -> Option<(String, String)> {
    let path = step["request"]["path"].as_str().expect("a path");
    let (path, since) = path.split_once("&since=")?;
    Some((path.to_owned(), since.to_owned()))
}

/// When the results of this run were stored, as they stand in a path.
async fn moments(replay: &Replay, path: &str) -> Vec<String> {
    let path = replay.carried.apply_path(path);
    let answer = client::get(replay.simulator.addr(), &path, "PLUGIN_TOKEN").await;
    let items = answer.json()["items"].clone();
    let items = items.as_array().expect("items").iter();
    let moment = |item: &Value| item["created_at"].as_str().map(|at| at.replace(':', "%3A"));
    items.filter_map(moment).collect()
}

/// What the recorded server had from before: the older list holds the completed queries, the pages show
/// some of the others, and their totals say how many there were.
fn osctrl(recording: &Value) -> Scenario {
    let mut known: std::collections::BTreeMap<u64, Value> = std::collections::BTreeMap::new();
    for step in steps(recording) {
        let body = &step["response"]["body"];
        let items = body.as_array().or_else(|| body["items"].as_array());
        for item in items.into_iter().flatten() {
            if let (Some(id), Some(_)) = (item["id"].as_u64(), item.get("executions")) {
                known.insert(id, item.clone());
            }
        }
    }
    let mut hosts: Vec<HostSpec> = (0..4)
        .map(|number| {
            let mut host = HostSpec::named(format!("host-{number:04}"));
            host.uuid = Some(format!("4C4C4544-0000-4000-8000-686F{number:08}"));
            host.behaviour.answer = match number {
                2 => Answer::None,
                3 => Answer::Error("no such table: nope".into()),
                _ => Answer::Rows((0..2).map(|index| process(number, index)).collect()),
            };
            host
        })
        .collect();
    for (host, rank) in hosts.iter_mut().zip([1, 2, 3, 0]) {
        host.behaviour.delay = Duration::from_millis(100 * rank);
    }
    let mut scenario = Scenario::of(hosts);
    scenario.wire = Wire::Osctrl;
    scenario.check_in = Duration::from_millis(1);
    scenario.osctrl.users = vec![OsctrlUser {
        username: "plugin".into(),
        password: String::new(),
        token: Some("PLUGIN_TOKEN".into()),
        admin: false,
        second_factor: false,
        environments: vec!["dev".into()],
    }];
    let mut active = 3;
    scenario.osctrl.queries = (1..=68)
        .map(|id| match known.get(&id) {
            Some(item) => seen(item),
            None => {
                // Six more were active, all of them between those that the pages show.
                let is_active = id < 60 && active < 9;
                active += usize::from(is_active);
                let state = if is_active {
                    QueryState::Active
                } else {
                    QueryState::Expired
                };
                let mut query = QuerySpec::of(format!("query_{id:032x}"), "SELECT 1").state(state);
                query.hidden = id <= 16;
                query.id = Some(id);
                // Right after the one before: of equal times the later id is the newer.
                let before = known.range(..id).next_back();
                query.created = before
                    .and_then(|(_, item)| item["created_at"].as_str())
                    .map(str::to_owned);
                query
            }
        })
        .collect();
    scenario
}

fn seen(item: &Value) -> QuerySpec {
    let text = |key: &str| item[key].as_str().expect("a text").to_owned();
    let number = |key: &str| item[key].as_u64().and_then(|number| number.try_into().ok());
    let is = |key: &str| item[key] == true;
    let state = match (is("active"), is("completed"), is("expired")) {
        (true, false, false) => QueryState::Active,
        (false, true, false) => QueryState::Completed,
        (false, _, true) => QueryState::Expired,
        other => panic!("no state: {other:?}"),
    };
    let mut query = QuerySpec::of(text("name"), text("query")).state(state);
    query.id = item["id"].as_u64();
    query.completed = Some(is("completed"));
    query.creator = Some(text("creator"));
    query.hidden = is("hidden");
    query.created = Some(text("created_at"));
    query.expected = number("expected");
    query.executions = number("executions");
    query.errors = number("errors");
    query
}

fn process(host: u64, index: u64) -> Cells {
    cells(&json!({
        "pid": (1000 + index).to_string(),
        "name": format!("proc-{index}"),
        "path": format!("/usr/bin/proc-{index}"),
        "cmdline": format!("/usr/bin/proc-{index} --host {host} \"q\" <é>"),
        "state": "S",
        "uid": "1000",
    }))
}
