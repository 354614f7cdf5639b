//! Hosts and reports that change while they are read page by page: whoever is passed by comes with the next
//! poll, nobody is taken for gone who is there, nothing is told twice.

use std::collections::BTreeSet;

use osquery_simulator::{
    Cells, Change, Fault, HostChange, HostSpec, HostStatus, ListError, Paths, ReportSpec, Scenario,
    ServerVersion, Snapshot,
};
use serde_json::json;

use super::{Connector, Polled, fleet, id, told};
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site};

/// More than two pages of hosts.
const HOSTS: usize = 1_203;
/// The missing hosts and the first page of all have been read then, and no other page.
const AFTER_THE_FIRST_PAGE: usize = 2;

fn many() -> Scenario {
    Scenario::of([HostSpec {
        enrolled_at: Some("2020-01-01T00:00:00Z".into()),
        ..HostSpec::many(HOSTS, "host-{n:04}")
    }])
}

fn hosts(site: &Site) -> Connector {
    let poll = Connector::of(Kind::Fleet, &site.simulator);
    poll.with("streams", vec!["hosts"]).with("since_seconds", 0)
}

/// The names that a poll without a state would have as changes: all hosts are offline.
fn offline() -> Scenario {
    let mut scenario = many();
    for host in &mut scenario.hosts {
        *host = host.clone().offline();
        host.last_seen = None;
    }
    scenario
}

#[test]
fn a_host_that_is_deleted_between_two_pages_hides_another_only_until_the_next_poll() {
    let mut scenario = offline();
    scenario.changes = vec![
        Change::of_host(HostChange::of("host-0003").deleted()).after_requests(AFTER_THE_FIRST_PAGE),
    ];
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = hosts(&site).with("since_seconds", 86_400).state(&folder);
    let first = poll.poll().whole();
    let second = poll.poll().whole();
    let names = |polled: &Polled| -> BTreeSet<String> {
        let names = polled.events.iter().map(|it| it["hostname"].to_string());
        names.collect()
    };
    assert_eq!(
        first.events.len(),
        HOSTS - 1,
        "one has moved to a page that had been read"
    );
    assert_eq!(second.events.len(), 1, "{:?}", second.told());
    assert_eq!(names(&first).union(&names(&second)).count(), HOSTS);
    assert_eq!(poll.poll().whole().told(), told([]));
}

#[test]
fn who_is_passed_by_is_not_taken_for_deleted() {
    let mut scenario = many();
    // In the second poll: three requests of the first one's pages, and one that finds the list's end.
    scenario.changes = vec![];
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = hosts(&site).state(&folder);
    assert_eq!(poll.poll().whole().told(), told([]));
    let requests = site.seen().requests.len();
    drop(site);
    let mut scenario = many();
    scenario.changes = vec![
        Change::of_host(HostChange::of("host-0003").deleted())
            .after_requests(requests + AFTER_THE_FIRST_PAGE),
    ];
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = hosts(&site).state(&folder);
    assert_eq!(poll.poll().whole().told(), told([]));
    assert_eq!(poll.poll().whole().told(), told([]));
    // It is still known: going offline is a change.
    for name in ["host-0499", "host-0500", "host-0501"] {
        let change = HostChange::of(name).status(HostStatus::Offline);
        site.simulator.change_host(change).expect("a host");
    }
    assert_eq!(
        poll.poll().whole().told(),
        told([
            "host host-0499 offline",
            "host host-0500 offline",
            "host host-0501 offline"
        ])
    );
}

#[test]
fn hosts_that_change_while_they_are_paged_change_once() {
    let mut scenario = many();
    let change = |change: HostChange| Change::of_host(change).after_requests(AFTER_THE_FIRST_PAGE);
    scenario.changes = vec![
        change(HostChange::of("host-0001").status(HostStatus::Offline)),
        change(HostChange::of("host-1100").status(HostStatus::Offline)),
        change(HostChange::of("host-0002").renamed("www-0002")),
        change(HostChange::of("host-1101").renamed("www-1101")),
        change(HostChange::of("host-0004").in_team(Some(3))),
    ];
    scenario.fleet.teams = vec![osquery_simulator::Team {
        id: 3,
        name: "three".into(),
    }];
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = hosts(&site).with("since_seconds", 3_600).state(&folder);
    // One had been read as online, the other had not been read.
    let first = poll.poll().whole();
    let second = poll.poll().whole();
    assert_eq!(first.told(), told(["host host-1100 offline"]));
    assert_eq!(second.told(), told(["host host-0001 offline"]));
    assert_eq!(second.events[0]["host"]["display_name"], "host-0001");
    assert_eq!(poll.poll().whole().told(), told([]));
    for name in ["www-0002", "www-1101", "host-0004"] {
        let change = HostChange::of(name).status(HostStatus::Offline);
        site.simulator.change_host(change).expect("a host");
    }
    let third = poll.poll().whole();
    assert_eq!(third.events.len(), 3, "{:?}", third.told());
    let moved = third.events.iter().find(|it| it["hostname"] == "host-0004");
    assert_eq!(moved.expect("it")["host"]["team_id"], 3);
}

/// The servers of 2026 begin a list before they know that they can't end it.
#[test]
fn a_list_that_ends_in_an_error_is_no_list() {
    let error = |path: &str, after| Fault {
        list_error: Some(ListError {
            after,
            error: "context deadline exceeded".into(),
        }),
        ..Fault::on(path)
    };
    let scenario = |faults: Vec<Fault>| {
        let mut scenario = offline();
        scenario.fleet.version = Some(ServerVersion::FLEET_2026);
        scenario.fleet.paths = Paths::New;
        scenario.fleet.reports = vec![
            ReportSpec::of("startup", "SELECT name FROM startup_items")
                .with_rows("host-0001", rows("cron", 3)),
        ];
        scenario.faults = faults;
        scenario
    };
    for (path, after, times, streams) in [
        ("/hosts?page=1&", 100, 1, [true, true]),
        ("/hosts?page=1&", 100, 99, [false, true]),
        ("/report?", 1, 1, [true, true]),
        ("/report?", 1, 99, [true, false]),
    ] {
        let site = fleet(scenario(vec![error(path, after).times(times)]));
        let folder = Folder::new();
        let poll = Connector::of(Kind::Fleet, &site.simulator)
            .with("since_seconds", 86_400)
            .with("timeout_seconds", if times == 1 { 40 } else { 5 })
            .state(&folder);
        let first = poll.poll();
        let ok = ["hosts", "queries"].map(|stream| first.summary["streams"][stream]["ok"] == true);
        assert_eq!(ok, streams, "{path} {times}: {}", first.summary);
        if !ok.contains(&false) {
            assert_eq!(first.events.len(), HOSTS + 3, "{path} {times}");
            assert_eq!(poll.poll().told(), told([]));
        } else {
            assert_eq!(first.ran.status, 3, "{:?}", first.ran.stderr);
            // A page is asked for until the deadline, a report four times; which of the two words a page ends with
            // is a matter of the moment.
            let words = match ok[0] {
                true => ["broke off the report of `startup`: context deadline exceeded"; 2],
                false => [
                    "broke off its list of hosts: context deadline exceeded",
                    "the poll did not end within 5 s",
                ],
            };
            let said = words.iter().any(|words| first.ran.stderr.contains(words));
            assert!(said, "{:?}", first.ran.stderr);
        }
    }
}

fn rows(name: &str, count: usize) -> Vec<Cells> {
    let row = |number: usize| json!({"name": format!("{name}-{number}")});
    let rows = (0..count).map(|number| row(number).as_object().cloned().unwrap_or_default());
    rows.collect()
}

/// A report of several pages; their size is 5,000 rows.
fn paged(hosts: &[(&str, usize)]) -> Scenario {
    let mut scenario = Scenario::of(hosts.iter().map(|(name, _)| HostSpec::named(*name)));
    scenario.fleet.version = Some(ServerVersion::FLEET_2026);
    scenario.fleet.paths = Paths::New;
    scenario.fleet.report_cap = 1_000_000;
    let mut report = ReportSpec::of("startup", "SELECT name FROM startup_items");
    for (name, count) in hosts {
        report = report.with_rows(*name, rows(name, *count));
    }
    scenario.fleet.reports = vec![report];
    scenario
}

fn reports(site: &Site) -> Connector {
    let poll = Connector::of(Kind::Fleet, &site.simulator);
    poll.with("streams", vec!["queries"])
        .with("rows", "changes")
}

#[test]
fn reports_of_several_pages_are_read_to_their_end() {
    let mut scenario = paged(&[("web-01", 4_000), ("web-02", 4_000), ("web-03", 4_001)]);
    scenario.faults = vec![Fault {
        truncate: Some(9_000),
        times: Some(1),
        ..Fault::on("/report?page=1&")
    }];
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = reports(&site).state(&folder);
    let first = poll.poll().whole();
    assert_eq!(first.events.len(), 12_001);
    assert_eq!(poll.poll().whole().told(), told([]));
    let snapshot = Snapshot::of("startup", "web-02").rows(rows("web-02", 3_999));
    site.simulator.take_snapshot(snapshot).expect("a report");
    let second = poll.poll().whole();
    assert_eq!(
        second.told(),
        told([r#"row web-02 removed {"name":"web-02-3999"}"#])
    );
    assert_eq!(poll.poll().whole().told(), told([]));
}

/// Rows that come or go move those behind them over the ends of pages.
#[test]
fn a_report_that_changes_between_two_pages_loses_no_row_and_tells_none_twice() {
    let all = [("web-01", 4_000), ("web-02", 4_000), ("web-03", 4_001)];
    // The first page of the second poll has been read: its list of queries comes before it.
    let (first_poll, before_pages) = {
        let site = fleet(paged(&all));
        reports(&site).state(&Folder::new()).poll().whole();
        let requests = site.seen().requests;
        let first = requests.iter().position(|it| it.path.contains("/report?"));
        (requests.len(), first.expect("a report") + 1)
    };
    for (host, count) in [("web-01", 3_000), ("web-01", 4_500)] {
        let mut scenario = paged(&all);
        let snapshot = Snapshot::of("startup", host)
            .rows(rows(host, count))
            .fetched("2036-01-01T00:00:00Z");
        scenario.changes = vec![
            Change {
                snapshot: Some(snapshot),
                ..Change::default()
            }
            .after_requests(first_poll + before_pages),
        ];
        let site = fleet(scenario);
        let folder = Folder::new();
        let poll = reports(&site).state(&folder);
        let first = poll.poll().whole();
        assert_eq!(first.events.len(), 12_001);
        let mut ids = BTreeSet::new();
        let mut changed = Vec::new();
        for _ in 0..2 {
            for event in poll.poll().whole().events {
                assert!(ids.insert(id(&event).to_owned()), "told twice: {event}");
                changed.push(event);
            }
        }
        let before = all.iter().find(|(name, _)| *name == host).expect("it").1;
        assert_eq!(changed.len(), before.abs_diff(count), "{host} {count}");
        let word = if count > before { "added" } else { "removed" };
        for event in &changed {
            assert_eq!(
                (&event["hostname"], &event["change"]),
                (&json!(host), &json!(word))
            );
        }
    }
}
