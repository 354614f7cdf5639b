//! `target_labels` with osctrl: the nodes of a tag, as newer servers say them, and never a false "no host".

use osquery_simulator::{Fault, HostSpec, OSCTRL_PLUGIN_TOKEN, Scenario, ServerVersion};
use serde_json::{Value, json};

use crate::harness::Ran;
use crate::harness::site::{Kind, Site, Step, host};

fn tagged(name: &str, tags: &[&str]) -> HostSpec {
    HostSpec {
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        ..host(name)
    }
}

fn site() -> Site {
    let mut scenario = Scenario::of([
        tagged("web-01", &["web", "dmz"]),
        tagged("web-02", &["web"]),
        tagged("win-01", &["web"]).on("windows"),
        tagged("db-01", &["db"]),
        tagged("plain-01", &[]),
    ]);
    scenario.osctrl.version = ServerVersion(0, 5, 5);
    Site::new(Kind::Osctrl, scenario)
}

/// A step of the token that may least.
fn labels(site: &Site, labels: &[&str]) -> Step {
    let step = site.step(&[]).without("target_hosts");
    step.token(OSCTRL_PLUGIN_TOKEN)
        .with("target_labels", json!(labels))
}

#[track_caller]
fn assert_answered(ran: &Ran, names: &[&str]) {
    let document = ran.document();
    assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
    let answered: Vec<&str> = document.results.keys().map(String::as_str).collect();
    assert_eq!(answered, names);
}

#[track_caller]
fn assert_refused(ran: &Ran, message: &str) {
    let error = ran.document().error.expect("an error");
    assert_eq!((ran.status, &*error.code), (21, "targets"), "{ran:?}");
    assert!(error.message.contains(message), "{}", error.message);
}

#[test]
fn the_nodes_of_a_tag_are_asked_and_nobody_else() {
    let site = site();
    let ran = labels(&site, &["web"]).binary().run();
    assert_answered(&ran, &["web-01", "web-02", "win-01"]);
    let seen = site.seen();
    assert_eq!(seen.campaigns[0].hosts.len(), 3);
    let dispatch = seen.requests_to("POST", "/queries/dev").next();
    let body: Value = serde_json::from_str(&dispatch.expect("a dispatch").body).expect("JSON");
    assert_eq!(body["uuid_list"].as_array().expect("uuids").len(), 3);
    assert!(body.get("tag_list").is_none(), "{body}");

    let several = labels(&site, &["dmz", "db"]).binary().run();
    assert_answered(&several, &["db-01", "web-01"]);
    let narrowed = labels(&site, &["web"]).with("target_platforms", json!(["windows"]));
    assert_answered(&narrowed.binary().run(), &["win-01"]);
    let with_a_host = labels(&site, &["db"]).with("target_hosts", json!(["PLAIN-01"]));
    assert_answered(&with_a_host.binary().run(), &["PLAIN-01", "db-01"]);
    let planned = labels(&site, &["db"]).arg("check").binary().run();
    assert_eq!(planned.document().planned.expect("a plan").hosts, ["db-01"]);
}

#[test]
fn a_tag_that_no_host_has_is_an_error_that_names_it() {
    let site = site();
    let ran = labels(&site, &["web", "Web", "prod"]).binary().run();
    assert_refused(&ran, "no host of the environment `dev` of");
    assert_refused(&ran, "has the tag `Web`, `prod`");
    let too_many = labels(&site, &["web"]).with("max_hosts", 2).binary().run();
    assert_refused(&too_many, "more hosts than `max_hosts` allows (2)");
    assert!(site.seen().campaigns.is_empty());
}

/// An older server does not say: that is not "no host".
#[test]
fn a_server_that_is_too_old_for_tags_is_said_to_be() {
    let paged = Scenario::of([tagged("web-01", &["web"])]);
    let mut unpaged = paged.clone();
    unpaged.osctrl.paged_nodes = false;
    for scenario in [paged, unpaged] {
        let site = Site::new(Kind::Osctrl, scenario);
        let ran = labels(&site, &["web"]).binary().run();
        assert_refused(
            &ran,
            "does not say which hosts have a tag: it is older than osctrl 0.5.5",
        );
        assert!(site.seen().campaigns.is_empty());
    }
}

/// A list that is not there is no empty list: nobody is called unknown because of it.
#[test]
fn a_list_of_hosts_that_is_missing_is_no_empty_one() {
    for body in ["{}", r#"{"total_items":0}"#, r#"{"hosts":[]}"#] {
        let fault = Fault::on_method("GET", "/nodes/dev").body(body);
        let scenario = Scenario::of([tagged("web-01", &["web"])]).with_fault(fault);
        let site = Site::new(Kind::Osctrl, scenario);
        for step in [labels(&site, &["web"]), site.step(&["web-01"])] {
            let ran = step.binary().run();
            let error = ran.document().error.expect("an error");
            assert_eq!((ran.status, &*error.code), (22, "backend"), "{ran:?}");
            assert!(
                error.message.ends_with("without a list of hosts"),
                "{}",
                error.message
            );
        }
    }
}

/// Tags may be texts or documents with a name.
#[test]
fn tags_are_understood_in_either_form() {
    let node = |name: &str, uuid: &str, tags: Value| json!({"uuid": uuid, "hostname": name, "hardware_serial": "", "platform": "ubuntu", "tags": tags});
    let uuid = |number: u32| format!("4C4C4544-0000-4000-8000-0000000000{number:02}");
    let page = json!({"total_items": 4, "page_size": 500, "items": [
        node("web-01", &uuid(1), json!([{"id": 1, "name": "web", "color": "#fff"}])),
        node("web-02", &uuid(2), json!(["db", "web"])),
        node("web-03", &uuid(3), json!(null)),
        node("web-04", &uuid(4), json!([7, {"id": 2}])),
    ]});
    let fault = Fault::on_method("GET", "/nodes/dev").body(page.to_string());
    let hosts = (1..=4).map(|number| HostSpec {
        uuid: Some(uuid(number)),
        ..host(&format!("web-0{number}"))
    });
    let site = Site::new(Kind::Osctrl, Scenario::of(hosts).with_fault(fault));
    let ran = labels(&site, &["web"]).binary().run();
    assert_answered(&ran, &["web-01", "web-02"]);
}
