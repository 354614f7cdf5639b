//! A server that lists no hosts and can take nothing back, through `mcp`: hosts are named, counted by their
//! names, and what may still run is told; the ids that give rights are in no answer.

use crate::harness::site::{Kind, Site as Server, host, silent};

use super::*;

const KIND: Kind = Kind::AisocDirect;

#[test]
fn a_server_that_lists_no_hosts_is_asked_by_name() {
    let site = Server::new(KIND, Scenario::of([host("web-01"), silent("mute")]));
    let folder = Folder::new();
    folder.file("token", KIND.token());
    let mut access = KIND.access();
    access.insert("backend".into(), KIND.backend().into());
    access.insert("base_url".into(), site.simulator.base_url().into());
    access.insert(
        "credentials".into(),
        json!({"api_token": {"file": folder.name("token")}}),
    );
    let policy = folder.policy(&format!("instances: {}\n", json!({"soc": access})));
    let mut client = Client::start(&policy, &[]).begin(USUAL, json!({}));

    let error = client.refused("find_hosts", json!({"instance": "soc", "text": "web"}));
    assert_eq!(error["code"], "backend", "{error}");
    assert_eq!(
        error["message"],
        "AiSOC's osquery service can't be searched for hosts"
    );

    let plan = client.tool("plan_live_query", query("soc", &["web-01", "nobody"]));
    assert_eq!(plan["hosts"], json!(["web-01", "nobody"]), "{plan}");
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("knows nothing of the hosts"), "{plan}");

    // As many names are as many hosts.
    let six = ["a", "b", "c", "d", "e", "f"];
    let error = client.refused("run_live_query", query("soc", &six));
    assert_eq!(error["code"], "policy", "{error}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("the query means 6 hosts")),
        "{error}"
    );
    assert!(site.seen().campaigns.is_empty());

    let mut asked = query("soc", &["web-01", "mute", "nobody"]);
    asked["timeout_seconds"] = 3.into();
    let document = client.tool("run_live_query", asked);
    assert_eq!(
        document["results"],
        json!({"web-01": [{"name": "init", "pid": "1"}]}),
        "{document}"
    );
    assert_eq!(document["timed_out_hosts"], json!(["mute", "nobody"]));
    assert_eq!(document["campaign"]["may_be_running"], true, "{document}");
    let told = document["warnings"].to_string();
    assert!(told.contains("runs whenever these check in"), "{document}");
    // Gone on with, it asks whoever was silent, and nobody else.
    let on = json!({"instance": "soc", "template": "running_processes",
        "resume": document["run"]["id"], "timeout_seconds": 3});
    let again = client.tool("run_live_query", on);
    assert_eq!(again["results"], document["results"], "{again}");
    let seen = site.seen();
    let of = |name: &str| {
        let asked = seen.requests_to("POST", "/enqueue");
        asked.filter(|call| call.body.contains(name)).count()
    };
    assert_eq!((of("web-01"), of("mute")), (1, 2));
    for id in seen.campaigns.iter().map(|query| &query.id) {
        let texts = [document.to_string(), again.to_string()];
        assert!(!texts.iter().any(|text| text.contains(id)), "{texts:?}");
    }
    assert_eq!(client.end().status, 0);
}
