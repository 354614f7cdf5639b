//! Replays the recordings of an osctrl whose database goes away, and of one whose admin service ends a
//! query early.

use std::time::Duration;

use osquery_simulator::{
    AdminService, Answer, CampaignState, Cells, HostSpec, OsctrlUser, Part, Scenario, Wire,
};
use serde_json::{Value, json};

use super::replay_http::{PATIENCE, Replay, recording, steps};

fn scenario(environments: &[&str], hosts: Vec<HostSpec>) -> Scenario {
    let mut scenario = Scenario::of(hosts);
    scenario.wire = Wire::Osctrl;
    scenario.check_in = Duration::from_millis(5);
    scenario.osctrl.environments = environments.iter().map(|&name| name.to_owned()).collect();
    let admin = OsctrlUser {
        token: Some("OSCTRL_TOKEN".into()),
        admin: true,
        ..OsctrlUser::named("admin", "PASSWORD")
    };
    scenario.osctrl.users = vec![admin, OsctrlUser::named("loginuser", "PASSWORD")];
    scenario
}

/// A recorded agent: `fill` is the part of its uuid that its group shares.
fn agent(group: &str, fill: &str, id: u64, number: u64) -> HostSpec {
    let row = |index: u64| -> Cells {
        let cells = json!({
            "pid": (1000 + index).to_string(),
            "name": format!("proc-{index}"),
            "path": format!("/usr/bin/proc-{index}"),
            "cmdline": format!("/usr/bin/proc-{index} --host {number} \"q\" <é>"),
            "state": "S",
            "uid": "1000",
        });
        cells.as_object().expect("an object").clone()
    };
    HostSpec {
        id: Some(id),
        uuid: Some(format!("4C4C4544-0000-4000-8000-{fill}{number:08}")),
        serial: Some(format!("SER{number:06}")),
        ..HostSpec::named(format!("{group}-{number:04}"))
    }
    .answering(Answer::Rows(vec![row(0), row(1)]))
}

#[tokio::test]
async fn a_database_that_goes_away_and_comes_back_is_as_recorded() {
    let seen = |host: HostSpec, at: &str| HostSpec {
        last_seen: Some(at.into()),
        ..host
    };
    let late = "2026-11-27T04:17:13.000000Z";
    let mut hosts = vec![
        seen(agent("host", "686F", 1, 3), "2026-11-27T04:17:14.167669Z")
            .answering(Answer::Error("no such table: nope".into()))
            .delayed(Duration::from_millis(200)),
        seen(agent("dup", "6475", 2, 0), "2026-11-27T04:17:14.15989Z"),
        seen(agent("host", "686F", 5, 0), "2026-11-27T04:17:13.807873Z"),
        seen(agent("host", "686F", 8, 5), late).answering(Answer::Silent),
    ];
    let others = [
        ("host", "686F", 3, 1),
        ("host", "686F", 4, 2),
        ("host", "686F", 6, 4),
    ];
    let others = others.into_iter().chain([("dup", "6475", 7, 1)]);
    hosts
        .extend(others.map(|(group, fill, id, number)| seen(agent(group, fill, id, number), late)));
    let mut replay = Replay::new(scenario(&["dev"], hosts)).await;
    let recording = recording("osctrl", "database-away");
    let mut away = false;
    for (index, step) in steps(&recording).iter().enumerate() {
        let refused = matches!(step["response"]["status"].as_u64(), Some(401 | 403));
        if refused && !away {
            replay.simulator.take_away(Part::Database);
        } else if away && !refused {
            replay.simulator.bring_back(Part::Database);
        }
        away = refused;
        if let Some(name) = step["response"]["body"]["name"].as_str() {
            replay.all_answered(name, 2).await;
        }
        replay
            .step(&format!("database-away step {index}"), step)
            .await;
    }
    assert_eq!(replay.faults, [""; 0]);
    assert_eq!(replay.exchanges, 10);
}

/// Hosts answer in whatever order: the items of a page by uuid.
fn by_uuid(mut body: Value) -> Value {
    if let Some(items) = body["items"].as_array_mut() {
        items.sort_by_key(|item| item["uuid"].to_string());
    }
    body
}

#[tokio::test]
async fn a_query_that_ends_by_its_counters_is_as_recorded() {
    let quick = [(3_047, 0), (3_038, 1), (3_045, 2), (3_042, 3), (3_039, 4)].map(|(id, number)| {
        let mut host = agent("db", "6462", id, number).delayed(Duration::from_millis(800));
        host.behaviour.times = 2;
        host
    });
    // The recorded ones checked in every 8 s, and were handed nothing in the first second.
    let rare = [(3_046, 0), (3_044, 1), (3_040, 2), (3_041, 3), (3_043, 4)].map(|(id, number)| {
        let mut host = agent("lt", "6C74", id, number);
        host.check_in = Some(Duration::from_millis(2_500));
        host.behaviour.check_ins = 2;
        host
    });
    let hosts = quick.into_iter().chain(rare).map(|host| HostSpec {
        environment: Some("big".into()),
        last_seen: Some("0001-01-01T00:00:00Z".into()),
        enrolled_at: Some("2026-11-27T04:19:56.253423Z".into()),
        ..host
    });
    let mut scenario = scenario(&["dev", "big"], hosts.collect());
    scenario.osctrl.admin_service = Some(AdminService {
        every: Duration::from_millis(10),
        meets_new: 0,
    });
    let mut replay = Replay::new(scenario).await;
    let recording = recording("osctrl", "ended-early");
    for (index, step) in steps(&recording).iter().enumerate() {
        if step["response"]["body"]["completed"] == true {
            ended(&mut replay, &step["response"]["body"]).await;
        }
        let place = format!("ended-early step {index}");
        replay.step_as(&place, step, by_uuid).await;
    }
    assert_eq!(replay.faults, [""; 0]);
    assert_eq!(replay.exchanges, 12);
    let asked = replay.simulator.campaigns();
    let handed = |place: usize| asked[place].handed_out.len();
    assert_eq!((handed(0), handed(1)), (10, 5));
}

/// Waits until the query has ended.
async fn ended(replay: &mut Replay, state: &Value) {
    let id = replay
        .carried
        .apply(state["name"].as_str().expect("a name"));
    let ended = |seen: &osquery_simulator::Observations| {
        let query = seen.campaigns.iter().find(|campaign| campaign.id == id);
        query.is_some_and(|query| query.state == CampaignState::Completed)
    };
    assert!(replay.simulator.until(ended, PATIENCE).await, "no end");
}
