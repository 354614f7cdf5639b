//! Many calls at once in one process: each has its own rows, its own secret and its own end.

use std::collections::HashMap;

use osquery_simulator::{Answer, Fault, Flood, FloodOf, SocketFault};

use super::*;

fn marked(name: &str, mark: &str) -> HostSpec {
    let row = [("name".to_owned(), Value::from(mark))];
    HostSpec::named(name).answering(Answer::Rows(vec![row.into_iter().collect()]))
}

/// 20 calls over three instances. One is cancelled, one host's server floods, and the servers know each
/// other's secrets and say them.
#[test]
fn twenty_calls_over_three_instances_are_each_their_own() {
    let names = ["one", "two", "three"];
    let secrets = names.map(|name| format!("{name}-secret-0a1b2c3d"));
    let sites: Vec<Site> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let mut hosts: Vec<HostSpec> = (0..8)
                .map(|host| marked(&format!("{name}-{host}"), &format!("row of {name}-{host}")))
                .collect();
            hosts.push(crate::harness::site::silent(&format!("{name}-silent")));
            // It knows the next one's secret, and says its own too.
            let told = format!("{} {}", secrets[(index + 1) % 3], secrets[index]);
            hosts.push(HostSpec::named(format!("{name}-echo")).answering(Answer::Error(told)));
            Site::of(Scenario::of(hosts), name)
        })
        .collect();
    let flood = Fault::on("results/websocket").socket(SocketFault {
        flood: Some(Flood::of(FloodOf::Pings, 0)),
        ..SocketFault::default()
    });
    let flooded = Scenario::of([marked("flooded", "row of flooded")]).with_fault(flood);
    let flooded = Site::of(flooded, "flood");
    let folder = Folder::new();
    let kinds = ["fleetdm", "osctrl, environment: dev", "fleetdm"];
    let mut instances = String::new();
    for ((name, site), kind) in names.iter().zip(&sites).zip(kinds) {
        instances += &format!(
            "  {name}: {{backend: {kind}, base_url: '{}', credentials: {{api_token: {{file: '{}'}}}}}}\n",
            site.simulator.base_url(),
            site.folder.name("token")
        );
    }
    instances += &format!(
        "  flood: {{backend: fleetdm, base_url: '{}', credentials: {{api_token: {{file: '{}'}}}}}}\n",
        flooded.simulator.base_url(),
        flooded.folder.name("token")
    );
    folder.folder("locks");
    let policy = folder.policy(&format!(
        "instances:\n{instances}max_concurrent: 20\nlock_dir: locks\naudit_log: audit.jsonl\nmcp: {{max_runs_per_minute: 100}}\n"
    ));
    let mut client = Client::start(&policy, &[]).begin(USUAL, json!({}));
    let mut calls = HashMap::new();
    for number in 0..18 {
        let name = names[number % 3];
        let (own, echo) = (format!("{name}-{}", number % 8), format!("{name}-echo"));
        let id = client.call("run_live_query", query(name, &[&own, &echo]));
        calls.insert(id, (number % 3, own, echo));
    }
    let mut silent = query("three", &["three-silent"]);
    silent["timeout_seconds"] = 40.into();
    let cancelled = client.call("run_live_query", silent);
    let mut flood = query("flood", &["flooded"]);
    flood["timeout_seconds"] = 5.into();
    let flood = client.call("run_live_query", flood);
    sites[2].wait_for_campaigns(1);
    client.notify("notifications/cancelled", json!({"requestId": cancelled}));
    for (id, (index, own, echo)) in calls {
        let answer = client.answer(id);
        let text = answer.to_string();
        let document = structured("run_live_query", &answer["result"]);
        let results = document["results"].as_object().expect("rows");
        let keys: Vec<&String> = results.keys().collect();
        assert_eq!(keys, [&own, &echo], "{document}");
        assert_eq!(results[&own], json!([{"name": format!("row of {own}")}]));
        // Its own secret is masked; another's it does not know, and it reads as what the host wrote.
        let told = format!("{} [redacted]", secrets[(index + 1) % 3]);
        assert_eq!(document["hosts"][&echo]["error"], told);
        assert!(!text.contains(&secrets[index]), "{text}");
        assert!(!text.contains(&secrets[(index + 2) % 3]), "{text}");
    }
    let answer = client.answer(flood);
    let text = answer.to_string();
    assert!(secrets.iter().all(|secret| !text.contains(secret)) && !text.contains("flood-secret"));
    let left = client.end();
    assert_eq!((left.status, &*left.stderr), (0, ""));
    assert!(
        left.rest.iter().all(|message| message["id"] != cancelled),
        "{:?}",
        left.rest
    );
    for site in sites.iter().chain([&flooded]) {
        site.wait_until_stopped();
    }
    // Each run has its two lines, whatever came between them.
    let mut runs: HashMap<String, Vec<String>> = HashMap::new();
    for line in audit(&folder) {
        let run = line["run"].as_str().expect("an id").to_owned();
        let event = line["event"].as_str().expect("a word").to_owned();
        runs.entry(run).or_default().push(event);
        assert!(!line.to_string().contains("secret-0a1b2c3d"), "{line}");
    }
    // The cancelled one may have been stopped before it was let through.
    assert!((19..=20).contains(&runs.len()), "{}", runs.len());
    assert!(
        runs.values().all(|events| *events == ["intent", "outcome"]),
        "{runs:?}"
    );
}
