//! Fleet's saved queries: what is new in their reports.

use std::collections::BTreeSet;

use osquery_simulator::{
    Cells, Cut, Fault, HostChange, HostSpec, Logging, Paths, ReportSpec, Scenario, ServerVersion,
    Snapshot, Team,
};
use serde_json::{Value, json};

use super::{Connector, Polled, fleet, id, told};
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site};

fn row(name: &str) -> Cells {
    let row = json!({ "name": name });
    row.as_object().cloned().unwrap_or_default()
}

fn rows(names: &[&str]) -> Vec<Cells> {
    names.iter().map(|name| row(name)).collect()
}

const STARTUP: &str = "SELECT name FROM startup_items";

fn scenario() -> Scenario {
    let mut scenario = Scenario::of([HostSpec::named("web-01"), HostSpec::named("web-02")]);
    scenario.fleet.reports = vec![
        ReportSpec::of("startup items", STARTUP)
            .with_rows("web-01", rows(&["cron", "cron", "ssh"]))
            .with_rows("web-02", rows(&["cron"])),
    ];
    scenario
}

fn queries(site: &Site) -> Connector {
    Connector::of(Kind::Fleet, &site.simulator).with("streams", vec!["queries"])
}

#[track_caller]
fn snapshot(site: &Site, report: &str, host: &str, names: &[&str]) {
    let snapshot = Snapshot::of(report, host).rows(rows(names));
    site.simulator.take_snapshot(snapshot).expect("a report");
}

fn spellings(mut test: impl FnMut(fn(Scenario) -> Scenario)) {
    test(|scenario| scenario);
    test(|mut scenario| {
        scenario.fleet.paths = Paths::Old;
        scenario
    });
    test(|mut scenario| {
        scenario.fleet.paths = Paths::New;
        scenario.fleet.version = Some(ServerVersion::FLEET_2026);
        scenario
    });
}

#[test]
fn a_row_is_told_once_and_equal_rows_as_often_as_they_came() {
    spellings(|of| {
        let site = fleet(of(scenario()));
        let folder = Folder::new();
        let poll = queries(&site).state(&folder);
        let first = poll.poll().whole();
        assert_eq!(
            first.told(),
            told([
                r#"row web-01 added {"name":"cron"}"#,
                r#"row web-01 added {"name":"ssh"}"#,
                r#"row web-02 added {"name":"cron"}"#,
            ])
        );
        assert_eq!(first.events.len(), 4);
        let cron = &first.events[0];
        assert_eq!(cron["severity"], "high");
        assert_eq!(cron["osquery_table"], "startup_items");
        assert_eq!(cron["query"]["sql"], STARTUP);
        assert_eq!(poll.poll().whole().told(), told([]));
        // The same rows in another order, one more of them, one gone.
        snapshot(
            &site,
            "startup items",
            "web-01",
            &["evil", "ssh", "cron", "cron", "cron"],
        );
        snapshot(&site, "startup items", "web-02", &["cron"]);
        let second = poll.poll().whole();
        assert_eq!(
            second.told(),
            told([
                r#"row web-01 added {"name":"cron"}"#,
                r#"row web-01 added {"name":"evil"}"#,
            ])
        );
        // What went and comes back is new.
        snapshot(&site, "startup items", "web-02", &[]);
        assert_eq!(poll.poll().whole().told(), told([]));
        snapshot(&site, "startup items", "web-02", &["cron"]);
        let back = poll.poll().whole();
        assert_eq!(back.told(), told([r#"row web-02 added {"name":"cron"}"#]));
        assert_ne!(id(&back.events[0]), id(&first.events[3]));
        assert_eq!(back.events[0]["dedupe_key"], first.events[3]["dedupe_key"]);
    });
}

#[test]
fn changes_tell_what_is_gone_by_its_key() {
    let site = fleet(scenario());
    let folder = Folder::new();
    let poll = queries(&site).with("rows", "changes").state(&folder);
    let first = poll.poll().whole();
    snapshot(&site, "startup items", "web-01", &["cron", "new"]);
    snapshot(&site, "startup items", "web-02", &[]);
    let second = poll.poll().whole();
    let gone = |polled: &Polled| -> BTreeSet<String> {
        let gone = polled.events.iter().filter(|it| it["change"] == "removed");
        gone.map(|it| it["dedupe_key"].as_str().expect("a key").to_owned())
            .collect()
    };
    let key = |host: &str, name: &str| {
        let of = |it: &&Value| it["hostname"] == host && it["row"]["name"] == name;
        let event = first.events.iter().find(of).expect("a row");
        event["dedupe_key"].as_str().expect("a key").to_owned()
    };
    assert_eq!(second.events.len(), 4, "{:?}", second.told());
    assert_eq!(
        gone(&second),
        BTreeSet::from([
            key("web-01", "cron"),
            key("web-01", "ssh"),
            key("web-02", "cron")
        ])
    );
    assert_eq!(poll.poll().whole().told(), told([]));
}

#[test]
fn all_rows_are_told_of_each_new_result_and_of_no_old_one() {
    let site = fleet(scenario());
    let folder = Folder::new();
    let poll = queries(&site).with("rows", "all").state(&folder);
    assert_eq!(poll.poll().whole().events.len(), 4);
    assert_eq!(poll.poll().whole().events.len(), 0);
    let later = Snapshot::of("startup items", "web-01")
        .rows(rows(&["cron", "new"]))
        .fetched("2036-01-01T00:00:00Z");
    site.simulator.take_snapshot(later).expect("a report");
    assert_eq!(
        poll.poll().whole().told(),
        told([
            r#"row web-01 present {"name":"cron"}"#,
            r#"row web-01 added {"name":"new"}"#,
        ])
    );
}

#[test]
fn a_first_poll_looks_back_and_remembers_the_rest() {
    let mut scenario = scenario();
    scenario.fleet.reports[0].rows.clear();
    let site = fleet(scenario);
    let at = |host: &str, name: &str, at: &str| {
        let snapshot = Snapshot::of("startup items", host).rows(rows(&[name]));
        let snapshot = snapshot.fetched(at);
        site.simulator.take_snapshot(snapshot).expect("a report");
    };
    at("web-01", "old", "2026-01-01T00:00:00Z");
    at("web-02", "new", "2036-01-01T00:00:00Z");
    let folder = Folder::new();
    let poll = queries(&site).with("since_seconds", 300).state(&folder);
    assert_eq!(
        poll.poll().whole().told(),
        told([r#"row web-02 added {"name":"new"}"#])
    );
    at("web-01", "old", "2026-01-01T00:10:00Z");
    assert_eq!(poll.poll().whole().told(), told([]));
}

#[test]
fn a_full_report_is_an_event_once_and_a_warning_always() {
    let mut scenario = scenario();
    scenario.fleet.report_cap = 4;
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = queries(&site).with("rows", "changes").state(&folder);
    let first = poll.poll();
    assert!(
        first.told().contains("report_clipped startup items"),
        "{:?}",
        first.told()
    );
    assert!(
        first
            .ran
            .stderr
            .contains("the report of `startup items` is full"),
        "{:?}",
        first.ran
    );
    assert_eq!(first.ran.status, 0);
    let second = poll.poll();
    assert_eq!(second.told(), told([]));
    assert!(second.ran.stderr.contains("is full"), "{:?}", second.ran);
}

#[test]
fn queries_without_results_are_named_once() {
    let mut scenario = scenario();
    let other = |name: &str| ReportSpec::of(name, "SELECT 1");
    scenario.fleet.reports.extend([
        ReportSpec {
            interval: 0,
            ..other("never")
        },
        ReportSpec {
            logging: Logging::Differential,
            ..other("differential")
        },
        ReportSpec {
            discard_data: true,
            ..other("discarded")
        },
    ]);
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = queries(&site).state(&folder);
    let first = poll.poll();
    assert_eq!((first.ran.status, first.events.len()), (0, 4));
    for words in [
        "`never` is not scheduled",
        "`differential` logs changes, not snapshots",
        "`discarded` keeps no results (`discard_data`)",
    ] {
        assert_eq!(
            first.ran.stderr.matches(words).count(),
            1,
            "{:?}",
            first.ran
        );
    }
    assert_eq!(poll.poll().whole().told(), told([]));
}

#[test]
fn queries_are_chosen_by_name() {
    let mut scenario = scenario();
    let more = ReportSpec::of("open ports", "SELECT name FROM listening_ports");
    scenario
        .fleet
        .reports
        .push(more.with_rows("web-01", rows(&["nginx"])));
    let site = fleet(scenario);
    let of = |glob: &str| queries(&site).with("queries", vec![glob]);
    assert_eq!(of("open*").poll().whole().events.len(), 1);
    assert_eq!(of("*items").poll().whole().events.len(), 4);
    let none = of("nothing*").poll();
    assert_eq!((none.ran.status, none.events.len()), (0, 0));
    assert!(none.ran.stderr.contains("`nothing*`"), "{:?}", none.ran);
}

#[test]
fn rows_name_their_hosts_as_the_list_does_and_renames_are_followed() {
    let site = fleet(scenario());
    let folder = Folder::new();
    let poll = Connector::of(Kind::Fleet, &site.simulator).state(&folder);
    let first = poll.poll().whole();
    let rows_of = |polled: &Polled| -> Vec<Value> {
        let rows = polled.events.iter().filter(|it| it["kind"] == "query_row");
        rows.cloned().collect()
    };
    for row in rows_of(&first) {
        assert!(row["host"]["uuid"].is_string(), "{row}");
        assert_eq!(row["host"]["platform"], "ubuntu", "{row}");
        assert_eq!(row["host"]["status"], "online", "{row}");
    }
    site.simulator
        .change_host(HostChange::of("web-01").renamed("www-01"))
        .expect("a host");
    snapshot(
        &site,
        "startup items",
        "www-01",
        &["cron", "cron", "ssh", "evil"],
    );
    assert_eq!(
        poll.poll().whole().told(),
        told([r#"row www-01 added {"name":"evil"}"#])
    );
    // Who is deleted leaves rows without a name; they go with the report.
    site.simulator
        .change_host(HostChange::of("www-01").deleted())
        .expect("a host");
    assert_eq!(poll.poll().whole().told(), told([]));
}

#[test]
fn queries_of_teams_are_asked_for_by_themselves() {
    let in_team = |name: &str, team| HostSpec {
        team_id: Some(team),
        ..HostSpec::named(name)
    };
    spellings(|of| {
        let mut scenario = of(Scenario::of([in_team("web-01", 3), in_team("db-01", 4)]));
        scenario.fleet.teams = [3, 4]
            .map(|id| Team {
                id,
                name: format!("team {id}"),
            })
            .to_vec();
        let global = ReportSpec::of("global", STARTUP);
        let team = ReportSpec {
            team_id: Some(3),
            ..ReportSpec::of("of team 3", STARTUP)
        };
        scenario.fleet.reports = vec![
            global
                .with_rows("web-01", rows(&["a"]))
                .with_rows("db-01", rows(&["b"])),
            team.with_rows("web-01", rows(&["c"])),
        ];
        let site = fleet(scenario);
        let all = queries(&site).poll().whole();
        assert_eq!(all.events.len(), 3, "{:?}", all.told());
        let one = queries(&site).with("team_id", 3).poll().whole();
        assert_eq!(
            one.told(),
            told([
                r#"row web-01 added {"name":"a"}"#,
                r#"row web-01 added {"name":"c"}"#
            ])
        );
        let other = queries(&site).with("team_id", 4).poll().whole();
        assert_eq!(other.told(), told([r#"row db-01 added {"name":"b"}"#]));
    });
}

/// One report fails, one breaks off and is read again; the others are as ever.
#[test]
fn reports_are_independent() {
    let mut scenario = scenario();
    for name in ["second", "third"] {
        let report = ReportSpec::of(name, "SELECT name FROM users");
        scenario
            .fleet
            .reports
            .push(report.with_rows("web-01", rows(&[name])));
    }
    for (at, report) in scenario.fleet.reports.iter_mut().enumerate() {
        report.id = Some(100 + at as u64);
    }
    scenario.faults = vec![
        Fault {
            status: Some(500),
            body: Some("broken".into()),
            times: Some(1),
            ..Fault::on("/101/report")
        },
        Fault {
            truncate: Some(250),
            times: Some(1),
            ..Fault::on("/100/report")
        },
    ];
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = queries(&site).state(&folder);
    let first = poll.poll();
    assert_eq!(first.ran.status, 3, "{:?}", first.ran);
    assert_eq!(first.events.len(), 5, "{:?}", first.told());
    let stream = &first.summary["streams"]["queries"];
    assert_eq!(
        (&stream["ok"], &stream["error"]["code"]),
        (&json!(false), &json!("backend"))
    );
    assert_eq!(
        poll.poll().whole().told(),
        told([r#"row web-01 added {"name":"second"}"#])
    );
}

#[test]
fn one_stream_that_hangs_does_not_hold_up_the_other() {
    let mut scenario = scenario();
    scenario.faults = vec![Fault {
        hang: true,
        ..Fault::on("/report?")
    }];
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = Connector::of(Kind::Fleet, &site.simulator);
    let poll = poll.with("timeout_seconds", 4).state(&folder);
    let first = poll.poll();
    assert_eq!(first.ran.status, 3, "{:?}", first.ran);
    assert_eq!(
        first.told(),
        told(["host web-01 online", "host web-02 online"])
    );
    let streams = &first.summary["streams"];
    assert_eq!(streams["hosts"], json!({"ok": true, "events": 2}));
    assert_eq!(streams["queries"]["error"]["code"], "deadline");
    // What was through lasts: no host is told again.
    let second = poll.poll();
    assert_eq!(
        (second.ran.status, second.events.len()),
        (3, 0),
        "{:?}",
        second.ran
    );
}

#[test]
fn a_stream_that_fails_alone_is_the_exit_status() {
    let mut scenario = scenario();
    scenario.faults = vec![Fault {
        cut: Some(Cut::Before),
        ..Fault::on("/fleet/")
    }];
    let site = fleet(scenario);
    let poll = queries(&site).with("timeout_seconds", 3).poll();
    assert_eq!(poll.ran.status, 23, "{:?}", poll.ran);
    assert_eq!(
        poll.summary["streams"]["queries"]["error"]["code"],
        "unreachable"
    );
}

/// A list that lacks a query for once (a team that the user was not in) is no reason to tell its rows again.
#[test]
fn a_query_that_is_not_listed_for_a_while_is_not_forgotten() {
    let mut scenario = scenario();
    scenario.faults = vec![Fault {
        status: Some(200),
        body: Some(r#"{"reports":[],"queries":[],"count":0}"#.into()),
        skip: 1,
        times: Some(1),
        ..Fault::on("/reports?")
    }];
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = queries(&site).state(&folder);
    assert_eq!(poll.poll().whole().events.len(), 4);
    assert_eq!(poll.poll().whole().told(), told([]));
    snapshot(&site, "startup items", "web-02", &["cron", "new"]);
    assert_eq!(
        poll.poll().whole().told(),
        told([r#"row web-02 added {"name":"new"}"#])
    );
}
