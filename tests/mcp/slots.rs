//! `max_concurrent`: calls at once against one server, of all instances on it and of all processes.

use super::*;
use crate::harness::site::silent;

fn waiting(instance: &str, host: &str, timeout: u64) -> Value {
    let mut call = query(instance, &[host]);
    call["timeout_seconds"] = timeout.into();
    call
}

#[track_caller]
fn assert_busy(error: &Value) {
    assert_eq!(
        (&error["code"], &error["retryable"], &error["message"]),
        (
            &json!("busy"),
            &json!(true),
            &json!(
                "this machine runs as many campaigns against the server as the policy's `max_concurrent` allows (2), and none ended before the deadline"
            )
        ),
        "{error}"
    );
}

#[test]
fn calls_beyond_max_concurrent_wait_for_a_slot_or_end_as_busy() {
    for era in ERAS {
        let site = Site::new(vec![silent("quiet"), HostSpec::named("web-01")]);
        site.folder.folder("locks");
        let policy = site.policy(
            "max_concurrent: 2\nlock_dir: locks\naudit_log: audit.jsonl\nmcp: {max_runs_per_minute: 100}\n",
        );
        let mut client = Client::start(&policy, &[]).begin(era, json!({}));
        // Both slots are taken: the server is one, whichever of its instances is asked.
        let held = ["corp", "lab"]
            .map(|instance| client.call("run_live_query", waiting(instance, "quiet", 45)));
        site.wait_for_campaigns(2);
        for instance in ["corp", "lab"] {
            let error = client.refused("run_live_query", waiting(instance, "web-01", 1));
            assert_busy(&error);
        }
        // Another process under the same policy shares them.
        let mut other = Client::start(&policy, &[]).begin(era, json!({}));
        assert_busy(&other.refused("run_live_query", waiting("corp", "web-01", 1)));
        // What asks no host needs none.
        assert_eq!(
            client.tool("plan_live_query", query("corp", &["web-01"]))["targeted"],
            1
        );
        assert_eq!(site.simulator.campaigns().len(), 2);
        // Who may wait gets the slot of the one that is cancelled, and there is only one for both.
        let patient = client.call("run_live_query", waiting("corp", "web-01", 45));
        let elsewhere = other.call("run_live_query", waiting("lab", "web-01", 45));
        client.notify("notifications/cancelled", json!({"requestId": held[0]}));
        for document in [
            client.answered(patient, "run_live_query"),
            other.answered(elsewhere, "run_live_query"),
        ] {
            assert_eq!(document["counts"]["ok"], 1, "{document}");
        }
        assert_eq!(site.simulator.campaigns().len(), 4);
        client.notify("notifications/cancelled", json!({"requestId": held[1]}));
        for client in [client, other] {
            let left = client.end();
            assert_eq!((left.status, &*left.stderr), (0, ""));
        }
        site.wait_until_stopped();
        // The log has those that asked hosts.
        let mut ends: Vec<String> = audit(&site.folder)
            .iter()
            .filter(|line| line["event"] == "outcome")
            .map(|line| line["code"].as_str().expect("a code").to_owned())
            .collect();
        ends.sort();
        assert_eq!(ends, ["ok", "ok", "withdrawn", "withdrawn"], "{era:?}");
    }
}
