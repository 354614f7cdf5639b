//! Replays every recording of AiSOC's osquery service.

use std::time::Duration;

use osquery_simulator::{
    AISOC_TENANT, AisocVersion, Answer, Cells, ConsoleToken, HostIdentifier, HostSpec, Part,
    Scenario, Wire,
};
use serde_json::Value;

use super::replay_http::{Replay, folder, recording, steps};

/// Leaving a recording out, or adding one without a look at it, fails.
const RECORDINGS: usize = 16;
/// How many requests they hold.
const EXCHANGES: usize = 166;

const OTHER_TENANT: &str = "00000000-0000-0000-0000-000000000002";

/// After the polls that found nothing yet.
const LATER: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_answers_as_the_recorded_ones_did() {
    let mut walks = tokio::task::JoinSet::new();
    for entry in std::fs::read_dir(folder("aisoc_direct")).expect("the recordings") {
        let path = entry.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        walks.spawn(walk(name.into_owned()));
    }
    let (mut faults, mut walked, mut exchanges) = (Vec::new(), 0, 0);
    while let Some(result) = walks.join_next().await {
        let (found, sent) = result.expect("a walk to its end");
        faults.extend(found);
        exchanges += sent;
        walked += 1;
    }
    assert!(faults.is_empty(), "differences:\n{}", faults.join("\n"));
    assert_eq!((walked, exchanges), (RECORDINGS, EXCHANGES));
}

async fn walk(name: String) -> (Vec<String>, usize) {
    let recording = recording("aisoc_direct", &name);
    let mut replay = Replay::new(scenario(&name)).await;
    let mut done = (Vec::new(), 0);
    for (index, step) in steps(&recording).iter().enumerate() {
        if name == "not-configured" && matches!(index, 1 | 2) {
            // Three servers were recorded, one after the other.
            let mut scenario = scenario(&name);
            if index == 1 {
                scenario.aisoc_direct.dev_mode = true;
            } else {
                scenario.aisoc_direct.service_token = Some("AISOC_TOKEN".into());
            }
            let next = Replay::new(scenario).await;
            let before = std::mem::replace(&mut replay, next);
            done.0.extend(before.faults);
            done.1 += before.exchanges;
            if index == 2 {
                replay.simulator.take_away(Part::Database);
            }
        }
        let response = &step["response"];
        let refused = response["status"] == 0;
        if refused {
            replay.simulator.take_away(Part::Service);
        }
        if response["body"]["status"] == "completed" && !by_hand(&name) {
            let query = response["body"]["query_id"].as_str();
            replay.answered(query.expect("an id")).await;
        }
        replay.step(&format!("{name} step {index}"), step).await;
        if refused {
            replay.simulator.bring_back(Part::Service);
            let back = |_: &osquery_simulator::Observations| {
                std::net::TcpStream::connect(replay.simulator.addr()).is_ok()
            };
            while !back(&replay.simulator.observations()) {
                tokio::task::yield_now().await;
            }
        }
    }
    done.0.extend(replay.faults);
    (done.0, done.1 + replay.exchanges)
}

/// The agents of these were played by hand.
fn by_hand(name: &str) -> bool {
    matches!(
        name,
        "agent-protocol" | "fork-api-token" | "older-no-auth" | "write-edge"
    )
}

fn scenario(name: &str) -> Scenario {
    let version = match name {
        "older-no-auth" => AisocVersion::OlderNoAuth,
        "fork-api-token" => AisocVersion::ForkApiToken,
        _ => AisocVersion::Current,
    };
    let mut hosts = Vec::new();
    if version == AisocVersion::Current {
        hosts.extend((0..6).map(|number| host(&format!("ad-{number:04}"), number)));
        hosts.extend(["Case-Host", "case-host"].map(|name| host(name, 1)));
        for (identifier, number) in [("ad-0000", 2), ("other-0001", 1)] {
            let mut host = host(identifier, number);
            host.tenant = Some(OTHER_TENANT.into());
            host.uuid = None;
            hosts.push(host);
        }
    }
    let mut scenario = Scenario::of(hosts);
    scenario.wire = Wire::AisocDirect;
    scenario.check_in = Duration::from_millis(1);
    let aisoc = &mut scenario.aisoc_direct;
    aisoc.version = version;
    aisoc.tenants = vec![AISOC_TENANT.into(), OTHER_TENANT.into()];
    aisoc.enroll_secret = "ENROLL_SECRET".into();
    if name == "not-configured" {
        aisoc.service_token = None;
        aisoc.console_tokens.clear();
    } else {
        aisoc.service_token = Some("AISOC_TOKEN".into());
        aisoc.console_tokens = [
            ("CONSOLE_TOKEN", AISOC_TENANT),
            ("CONSOLE_TOKEN_2", AISOC_TENANT),
            ("OTHER_CONSOLE_TOKEN", OTHER_TENANT),
        ]
        .map(|(token, tenant)| ConsoleToken {
            token: token.into(),
            tenant: tenant.into(),
        })
        .into();
    }
    scenario
}

/// A recorded agent: what it answers depends on its number.
fn host(identifier: &str, number: usize) -> HostSpec {
    let mut host = HostSpec::named(format!("{identifier}.lab.example"));
    host.host_identifier = Some(HostIdentifier::Specified(identifier.into()));
    if identifier.starts_with("ad-") {
        host.uuid = Some(format!("4C4C4544-0000-4000-8000-6164{number:08}"));
    }
    host.behaviour.delay = if number == 4 { LATER * 2 } else { LATER };
    host.behaviour.answer = match number {
        2 => Answer::None,
        3 => Answer::Error("no such table: nope".into()),
        5 => Answer::Silent,
        _ => Answer::Rows((0..2).map(row).collect()),
    };
    host
}

fn row(index: u64) -> Cells {
    let row: Value = serde_json::json!({
        "pid": (1000 + index).to_string(),
        "name": format!("proc-{index}"),
        "path": format!("/usr/bin/proc-{index}"),
    });
    row.as_object().expect("an object").clone()
}
