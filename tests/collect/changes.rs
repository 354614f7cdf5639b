//! `rows: changes`: what is gone, with what it was. And osctrl's answers that come late, and gauges, which are
//! of all that there is.

use std::collections::BTreeSet;

use osquery_simulator::{
    Cells, HostSpec, OSCTRL_ADMIN_TOKEN, QuerySpec, QueryState, ReportSpec, ResultSpec, Scenario,
    Snapshot,
};
use serde_json::{Value, json};

use super::{Connector, Polled, told};
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, on_those};

const SQL: &str = "SELECT name, path FROM startup_items";

fn row(name: &str) -> Cells {
    let row = json!({"name": name, "path": format!("/usr/lib/{name}/run")});
    row.as_object().cloned().unwrap_or_default()
}

fn rows(names: &[&str]) -> Vec<Cells> {
    names.iter().map(|name| row(name)).collect()
}

fn site(kind: Kind) -> Site {
    let mut scenario = Scenario::of([HostSpec::named("web-01"), HostSpec::named("web-02")]);
    let of = |host: &str, names: &[&str]| ResultSpec::of(host).rows(rows(names));
    scenario.fleet.reports = vec![
        ReportSpec::of("startup", SQL)
            .with_rows("web-01", rows(&["cron", "cron", "ssh"]))
            .with_rows("web-02", rows(&["cron"])),
    ];
    scenario.osctrl.queries = vec![
        QuerySpec::of("startup", SQL)
            .state(QueryState::Active)
            .with_result(of("web-01", &["cron", "cron", "ssh"]))
            .with_result(of("web-02", &["cron"])),
    ];
    Site::new(kind, scenario)
}

/// A host's next result.
#[track_caller]
fn next(site: &Site, host: &str, names: &[&str]) {
    let simulator = &site.simulator;
    let taken = match site.kind {
        Kind::Fleet => simulator.take_snapshot(Snapshot::of("startup", host).rows(rows(names))),
        _ => simulator.take_result("startup", ResultSpec::of(host).rows(rows(names))),
    };
    taken.expect("a query");
}

fn queries(site: &Site) -> Connector {
    Connector::of(site.kind, &site.simulator)
        .with("streams", vec!["queries"])
        .with("rows", "changes")
}

fn of_row(host: &str, word: &str, name: &str) -> String {
    format!("row {host} {word} {}", Value::Object(row(name)))
}

#[test]
fn what_is_gone_is_told_with_what_it_was() {
    on_those(Kind::is_collected, |kind| {
        let site = site(kind);
        let folder = Folder::new();
        let poll = queries(&site).state(&folder);
        let first = poll.poll().whole();
        next(&site, "web-01", &["cron", "new"]);
        next(&site, "web-02", &[]);
        let second = poll.poll().whole();
        let expected = BTreeSet::from([
            of_row("web-01", "removed", "cron"),
            of_row("web-01", "removed", "ssh"),
            of_row("web-01", "added", "new"),
            of_row("web-02", "removed", "cron"),
        ]);
        assert_eq!((second.told(), second.events.len()), (expected, 4));
        // By its key it is the row that came.
        let key = |polled: &Polled, host: &str, word: &str, name: &str| {
            let of = |it: &&Value| {
                it["hostname"] == host && it["change"] == word && it["row"]["name"] == name
            };
            polled.events.iter().find(of).expect("a row")["dedupe_key"].clone()
        };
        assert_eq!(
            key(&first, "web-01", "added", "ssh"),
            key(&second, "web-01", "removed", "ssh")
        );
        assert_eq!(poll.poll().whole().told(), told([]));
        // What came later is known as well.
        next(&site, "web-01", &["cron"]);
        let third = poll.poll().whole();
        assert_eq!(
            third.told(),
            BTreeSet::from([of_row("web-01", "removed", "new")])
        );
    });
}

/// A state that has only digests says that much, and learns what the rows are.
#[test]
fn rows_are_learned_by_a_state_that_had_only_their_digests() {
    on_those(Kind::is_collected, |kind| {
        let site = site(kind);
        let folder = Folder::new();
        queries(&site)
            .with("rows", "new")
            .state(&folder)
            .poll()
            .whole();
        let poll = queries(&site).state(&folder);
        next(&site, "web-01", &["cron"]);
        let gone = poll.poll().whole();
        assert_eq!(gone.events.len(), 2, "{:?}", gone.told());
        for event in &gone.events {
            assert_eq!(event["change"], "removed");
            assert_eq!(event.get("row"), None, "{event}");
        }
        next(&site, "web-01", &[]);
        let known = poll.poll().whole();
        assert_eq!(
            known.told(),
            BTreeSet::from([of_row("web-01", "removed", "cron")])
        );
    });
}

fn osctrl(results: Vec<ResultSpec>) -> Site {
    let mut scenario = Scenario::of([HostSpec::named("web-01"), HostSpec::named("web-02")]);
    scenario.osctrl.queries = vec![QuerySpec {
        results,
        ..QuerySpec::of("hunt", SQL).state(QueryState::Active)
    }];
    Site::new(Kind::Osctrl, scenario)
}

fn at(host: &str, names: &[&str], moment: &str) -> ResultSpec {
    ResultSpec::of(host).rows(rows(names)).at(moment)
}

/// Servers whose clocks differ store answers hours before those that are there.
#[test]
fn an_answer_that_comes_very_late_is_told() {
    for paged in [true, false] {
        let mut scenario = Scenario::of([HostSpec::named("web-01"), HostSpec::named("web-02")]);
        scenario.osctrl.paged_results = paged;
        scenario.osctrl.queries = vec![
            QuerySpec::of("hunt", SQL)
                .state(QueryState::Active)
                .with_result(at("web-01", &["new"], "2036-01-02T12:00:00Z")),
        ];
        let site = Site::new(Kind::Osctrl, scenario);
        let folder = Folder::new();
        let poll = queries(&site).state(&folder);
        let of_one = |host: &str, names: &str| BTreeSet::from([of_row(host, "added", names)]);
        assert_eq!(poll.poll().whole().told(), of_one("web-01", "new"));
        let late = |result| site.simulator.take_result("hunt", result).expect("a query");
        late(at("web-02", &["late"], "2036-01-02T07:00:00Z"));
        assert_eq!(poll.poll().whole().told(), of_one("web-02", "late"));
        // Of a host that has answered since: what it has now stays what is compared with.
        late(at("web-01", &["older"], "2036-01-02T06:00:00Z"));
        assert_eq!(poll.poll().whole().told(), of_one("web-01", "older"));
        late(at("web-01", &["new"], "2036-01-02T13:00:00Z"));
        assert_eq!(poll.poll().whole().told(), told([]));
        // On time, and before it what came later.
        late(at(
            "web-02",
            &["late", "and", "latest"],
            "2036-01-02T12:59:00Z",
        ));
        late(at("web-02", &["late", "and"], "2036-01-02T08:00:00Z"));
        let both = BTreeSet::from([
            of_row("web-02", "added", "and"),
            of_row("web-02", "added", "latest"),
        ]);
        assert_eq!(poll.poll().whole().told(), both, "{paged}");
        assert_eq!(poll.poll().whole().told(), told([]));
    }
}

/// What was before the first poll's time is no event, however often all is read.
#[test]
fn a_late_answer_brings_no_old_ones_back() {
    let site = osctrl(vec![
        at("web-01", &["old"], "2026-01-01T00:00:00Z"),
        at("web-02", &["new"], "2036-01-02T12:00:00Z"),
    ]);
    let folder = Folder::new();
    let poll = queries(&site).with("since_seconds", 300).state(&folder);
    let of = |host: &str, name: &str| BTreeSet::from([of_row(host, "added", name)]);
    assert_eq!(poll.poll().whole().told(), of("web-02", "new"));
    let late = at("web-01", &["late"], "2036-01-02T09:00:00Z");
    site.simulator.take_result("hunt", late).expect("a query");
    assert_eq!(poll.poll().whole().told(), of("web-01", "late"));
    assert_eq!(poll.poll().whole().told(), told([]));
}

/// Once nothing comes any more, the answers are not counted again.
#[test]
fn answers_are_counted_only_where_the_servers_own_count_has_moved() {
    let site = osctrl(vec![at("web-01", &["new"], "2036-01-02T12:00:00Z")]);
    let folder = Folder::new();
    let poll = queries(&site).state(&folder);
    let counts = || {
        let seen = site.seen();
        let counts = seen
            .requests
            .iter()
            .filter(|it| it.path.contains("page_size=1&") || it.path.ends_with("page_size=1"));
        counts.filter(|it| it.path.contains("/results/")).count()
    };
    poll.poll().whole();
    poll.poll().whole();
    let settled = counts();
    assert!(settled > 0);
    poll.poll().whole();
    assert_eq!(counts(), settled);
}

fn gauges(poll: &Connector) -> BTreeSet<String> {
    let ran = poll
        .clone()
        .arg("--format")
        .arg("prometheus")
        .binary()
        .run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    let values = ran.stdout.lines().filter(|line| line.contains('{'));
    values.map(str::to_owned).collect()
}

/// A gauge is what is there, whatever of it is new.
#[test]
fn gauges_are_of_all_that_there_is() {
    on_those(Kind::is_collected, |kind| {
        let site = site(kind);
        let name = match kind {
            Kind::Fleet => "fleet_scheduled_query_results",
            _ => "osctrl_query_results",
        };
        let of = |rows| BTreeSet::from([format!(r#"{name}{{query="startup"}} {rows}"#)]);
        let (with, folder) = (queries(&site).with("since_seconds", 0), Folder::new());
        let poll = with.clone().state(&folder);
        for poll in [&with, &poll, &poll, &poll] {
            assert_eq!(gauges(poll), of(4));
        }
        next(&site, "web-01", &["cron"]);
        for poll in [&with, &poll, &poll] {
            assert_eq!(gauges(poll), of(2));
        }
        next(&site, "web-02", &[]);
        assert_eq!(gauges(&poll), of(1));
        // Events that nobody has read would be lost with a state that gauges have moved on.
        let ran = poll.binary().run();
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{ran:?}");
        assert!(
            ran.stderr.contains("events and gauges need a state each"),
            "{ran:?}"
        );
    });
}

/// A query that is over is not read again, and is there all the same.
#[test]
fn gauges_of_a_query_that_is_over_stay() {
    let mut scenario = Scenario::of([HostSpec::named("web-01")]);
    scenario.osctrl.queries = vec![QuerySpec::of("hunt", SQL).with_result(at(
        "web-01",
        &["a", "b"],
        "2026-01-01T00:00:00Z",
    ))];
    let site = Site::new(Kind::Osctrl, scenario);
    let folder = Folder::new();
    let poll = Connector {
        token: OSCTRL_ADMIN_TOKEN,
        ..queries(&site).state(&folder)
    };
    for _ in 0..4 {
        let expected = BTreeSet::from([r#"osctrl_query_results{query="hunt"} 2"#.to_owned()]);
        assert_eq!(gauges(&poll), expected);
    }
}
