//! osctrl's distributed queries: each answer once, whatever the server's age.

use osquery_simulator::{
    Cells, Fault, HostSpec, OSCTRL_ADMIN_TOKEN, QuerySpec, QueryState, ResultSpec, Scenario,
};
use serde_json::json;

use super::{Connector, told};
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site};

fn rows(names: &[&str]) -> Vec<Cells> {
    let row = |name: &&str| {
        json!({ "name": name })
            .as_object()
            .cloned()
            .unwrap_or_default()
    };
    names.iter().map(row).collect()
}

fn answer(host: &str, names: &[&str]) -> ResultSpec {
    ResultSpec::of(host).rows(rows(names))
}

const SQL: &str = "SELECT name FROM startup_items";

fn scenario() -> Scenario {
    let mut scenario = Scenario::of([HostSpec::named("web-01"), HostSpec::named("web-02")]);
    scenario.osctrl.queries = vec![
        QuerySpec::of("hunt", SQL)
            .state(QueryState::Active)
            .with_result(answer("web-01", &["cron", "cron"]))
            .with_result(ResultSpec::of("web-02").error("no such table: nope")),
        QuerySpec::of("secret", SQL)
            .hidden()
            .with_result(answer("web-01", &["hidden"])),
        QuerySpec::of("deleted", SQL)
            .state(QueryState::Deleted)
            .with_result(answer("web-01", &["deleted"])),
    ];
    scenario
}

fn ages(mut test: impl FnMut(fn(Scenario) -> Scenario)) {
    test(|scenario| scenario);
    test(|mut scenario| {
        scenario.osctrl.paged_results = false;
        scenario.osctrl.paged_nodes = false;
        scenario
    });
}

fn poll(site: &Site) -> Connector {
    Connector {
        // The list of all nodes of older servers needs it.
        token: OSCTRL_ADMIN_TOKEN,
        ..Connector::of(Kind::Osctrl, &site.simulator)
    }
}

#[test]
fn each_answer_is_told_once() {
    ages(|of| {
        let site = Site::new(Kind::Osctrl, of(scenario()));
        let folder = Folder::new();
        let poll = poll(&site).state(&folder);
        let first = poll.poll().whole();
        assert_eq!(
            first.told(),
            told([
                r#"row web-01 added {"name":"cron"}"#,
                "error web-02 no such table: nope",
            ])
        );
        assert_eq!(first.events.len(), 3);
        assert_eq!(first.events[0]["source"], "osctrl");
        assert!(first.events[0]["host"]["uuid"].is_string());
        assert_eq!(
            first.events[0]["query"],
            json!({"name": "hunt", "sql": SQL})
        );
        assert_eq!(poll.poll().whole().told(), told([]));
        let late = |result: ResultSpec| site.simulator.take_result("hunt", result).expect("it");
        // Another host, and the same one again: only what is new in it.
        late(answer("web-02", &["cron"]));
        late(answer("web-01", &["cron", "cron", "evil"]));
        assert_eq!(
            poll.poll().whole().told(),
            told([
                r#"row web-02 added {"name":"cron"}"#,
                r#"row web-01 added {"name":"evil"}"#,
            ])
        );
        assert_eq!(poll.poll().whole().told(), told([]));
    });
}

#[test]
fn hidden_queries_are_left_out_unless_they_are_asked_for() {
    let site = Site::new(Kind::Osctrl, scenario());
    let all = poll(&site).with("include_hidden", true).poll().whole();
    assert!(
        all.told().contains(r#"row web-01 added {"name":"hidden"}"#),
        "{:?}",
        all.told()
    );
    assert_eq!(all.events.len(), 4);
    let one = poll(&site).with("queries", vec!["secret"]).poll();
    assert_eq!(one.events.len(), 0);
    assert!(one.ran.stderr.contains("no such query"), "{:?}", one.ran);
}

#[test]
fn a_first_poll_looks_back_so_far() {
    let mut scenario = scenario();
    scenario.osctrl.queries = vec![
        QuerySpec::of("old", SQL)
            .with_result(answer("web-01", &["old"]).at("2026-01-01T00:00:00.000001Z"))
            .with_result(answer("web-02", &["new"]).at("2036-01-01T00:00:00.5Z")),
    ];
    for paged in [true, false] {
        scenario.osctrl.paged_results = paged;
        let site = Site::new(Kind::Osctrl, scenario.clone());
        let folder = Folder::new();
        let poll = poll(&site).with("since_seconds", 300).state(&folder);
        assert_eq!(
            poll.poll().whole().told(),
            told([r#"row web-02 added {"name":"new"}"#])
        );
        assert_eq!(poll.poll().whole().told(), told([]));
    }
}

#[test]
fn a_query_that_is_over_and_read_is_left_in_peace() {
    let mut scenario = scenario();
    scenario.osctrl.queries[0].state = QueryState::Completed;
    let site = Site::new(Kind::Osctrl, scenario);
    let folder = Folder::new();
    let poll = poll(&site).state(&folder);
    let reads = || {
        let seen = site.seen();
        seen.requests
            .iter()
            .filter(|it| it.path.contains("/results/"))
            .count()
    };
    poll.poll().whole();
    poll.poll().whole();
    let settled = reads();
    poll.poll().whole();
    assert_eq!(reads(), settled);
    // One that nobody expected any more.
    site.simulator
        .take_result("hunt", answer("web-02", &["late"]))
        .expect("a query");
    assert_eq!(
        poll.poll().whole().told(),
        told([r#"row web-02 added {"name":"late"}"#])
    );
}

/// More answers than a page holds, and a page that breaks off.
#[test]
fn answers_of_many_hosts_are_read_to_their_end() {
    let mut scenario = Scenario::of([HostSpec::many(1_300, "host-{n:04}")]);
    scenario.osctrl.queries = vec![QuerySpec::of("uptime", "SELECT days FROM uptime").filled()];
    scenario.faults = vec![Fault {
        truncate: Some(20_000),
        times: Some(1),
        ..Fault::on("page=2&page_size=1000")
    }];
    let site = Site::new(Kind::Osctrl, scenario);
    let folder = Folder::new();
    let poll = Connector::of(Kind::Osctrl, &site.simulator).state(&folder);
    let first = poll.poll().whole();
    assert_eq!(first.events.len(), 1_300);
    assert!(first.events.iter().all(|it| {
        let name = it["hostname"].as_str().unwrap_or_default();
        name.starts_with("host-")
    }));
    assert_eq!(poll.poll().whole().told(), told([]));
}

#[test]
fn without_names_a_uuid_has_to_do() {
    let mut scenario = scenario();
    scenario.faults = vec![Fault {
        status: Some(403),
        body: Some(r#"{"error":"no access"}"#.into()),
        ..Fault::on("/nodes/dev")
    }];
    let site = Site::new(Kind::Osctrl, scenario);
    let polled = poll(&site).poll();
    assert_eq!(
        (polled.ran.status, polled.events.len()),
        (0, 3),
        "{:?}",
        polled.ran
    );
    assert!(
        polled
            .ran
            .stderr
            .contains("events name hosts by their uuid"),
        "{:?}",
        polled.ran
    );
    for event in &polled.events {
        assert_eq!(event["hostname"], event["host"]["uuid"]);
    }
}

#[test]
fn one_query_that_fails_holds_up_no_other() {
    let mut scenario = scenario();
    scenario.osctrl.queries.push(
        QuerySpec::of("other", SQL)
            .state(QueryState::Active)
            .with_result(answer("web-01", &["other"])),
    );
    scenario.faults = vec![Fault {
        status: Some(403),
        body: Some(r#"{"error":"no access"}"#.into()),
        times: Some(1),
        ..Fault::on("/results/hunt")
    }];
    let site = Site::new(Kind::Osctrl, scenario);
    let folder = Folder::new();
    let poll = poll(&site).state(&folder);
    let first = poll.poll();
    assert_eq!(first.ran.status, 3, "{:?}", first.ran);
    assert_eq!(first.told(), told([r#"row web-01 added {"name":"other"}"#]));
    assert_eq!(first.summary["streams"]["queries"]["error"]["code"], "auth");
    assert_eq!(poll.poll().whole().events.len(), 3);
}
