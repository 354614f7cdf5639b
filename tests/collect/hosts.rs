//! Posture: who went, who is missing, who came back.

use osquery_simulator::{Fault, HostChange, HostSpec, HostStatus, Scenario, Team};
use serde_json::Value;

use super::{Connector, fleet, id, told};
use crate::harness::folder::Folder;
use crate::harness::site::Kind;

fn hosts(site: &crate::harness::site::Site) -> Connector {
    Connector::of(Kind::Fleet, &site.simulator).with("streams", vec!["hosts"])
}

/// A host that is there for long.
fn old(host: HostSpec) -> HostSpec {
    HostSpec {
        enrolled_at: Some("2020-01-01T00:00:00Z".into()),
        ..host
    }
}

fn three() -> Scenario {
    Scenario::of(["web-01", "web-02", "db-01"].map(|name| old(HostSpec::named(name))))
}

#[test]
fn a_change_is_told_once_and_once_more_when_it_is_undone() {
    let site = fleet(three());
    let folder = Folder::new();
    let poll = hosts(&site).with("since_seconds", 0).state(&folder);
    assert_eq!(poll.poll().whole().told(), told([]));
    let change = |change: HostChange| site.simulator.change_host(change).expect("a host");
    change(HostChange::of("web-01").status(HostStatus::Offline));
    change(HostChange::of("db-01").status(HostStatus::Missing));
    let gone = poll.poll().whole();
    assert_eq!(
        gone.told(),
        told(["host web-01 offline", "host db-01 missing"])
    );
    let severities: Vec<&Value> = gone.events.iter().map(|it| &it["severity"]).collect();
    assert_eq!(severities, ["low", "medium"]);
    assert_eq!(poll.poll().whole().told(), told([]));
    change(HostChange::of("web-01").status(HostStatus::Online));
    let back = poll.poll().whole();
    assert_eq!(back.told(), told(["host web-01 online"]));
    change(HostChange::of("web-01").status(HostStatus::Offline));
    let again = poll.poll().whole();
    assert_eq!(again.told(), told(["host web-01 offline"]));
    assert_ne!(id(&gone.events[0]), id(&again.events[0]));
    assert_eq!(gone.events[0]["dedupe_key"], again.events[0]["dedupe_key"]);
}

#[test]
fn who_is_deleted_renamed_or_comes_is_no_riddle() {
    let site = fleet(three());
    let folder = Folder::new();
    let poll = hosts(&site).with("since_seconds", 0).state(&folder);
    poll.poll().whole();
    let change = |change: HostChange| site.simulator.change_host(change).expect("a host");
    change(HostChange::of("web-02").deleted());
    change(HostChange::of("web-01").renamed("www-01"));
    assert_eq!(poll.poll().whole().told(), told([]));
    // It enrols anew under another id: a host that nobody knows.
    change(HostChange::of("web-02").enrolled());
    change(HostChange::of("www-01").status(HostStatus::Offline));
    assert_eq!(
        poll.poll().whole().told(),
        told(["host web-02 online", "host www-01 offline"])
    );
}

#[test]
fn a_first_poll_goes_by_the_clock() {
    let mut old = HostSpec::named("old").offline();
    old.last_seen = Some("2026-01-01T00:00:00Z".into());
    let mut long = HostSpec::named("long-online");
    long.enrolled_at = Some("2020-01-01T00:00:00Z".into());
    let site = fleet(Scenario::of([
        old,
        long,
        HostSpec::named("new"),
        HostSpec::named("gone").offline(),
    ]));
    let poll = hosts(&site).with("since_seconds", 7_200);
    let first = poll.poll().whole();
    assert_eq!(first.told(), told(["host new online", "host gone offline"]));
    // Without a state each start is a first one, and the same events have the same ids.
    let second = poll.poll().whole();
    let ids = |polled: &super::Polled| {
        polled
            .events
            .iter()
            .map(|it| id(it).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&first), ids(&second));
}

/// `seen_time` of a phone never moves, so the filter takes it for missing.
#[test]
fn phones_are_judged_by_their_status() {
    let mut phone = HostSpec::named("phone").on("ios").missing();
    phone.status = HostStatus::Missing;
    let site = fleet(Scenario::of([phone, HostSpec::named("web-01").missing()]));
    let folder = Folder::new();
    let poll = hosts(&site).state(&folder);
    let first = poll.poll().whole();
    assert!(
        first.told().contains("host web-01 missing"),
        "{:?}",
        first.told()
    );
    assert!(
        !first.told().contains("host phone missing"),
        "{:?}",
        first.told()
    );
}

#[test]
fn only_the_team_is_polled_and_who_leaves_it_is_forgotten() {
    let in_team = |name: &str, team| HostSpec {
        team_id: Some(team),
        ..HostSpec::named(name)
    };
    let mut scenario = Scenario::of([
        in_team("web-01", 3),
        in_team("web-02", 3),
        in_team("db-01", 4),
    ]);
    scenario.fleet.teams = [3, 4]
        .map(|id| Team {
            id,
            name: format!("team {id}"),
        })
        .to_vec();
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = hosts(&site).with("team_id", 3).state(&folder);
    let first = poll.poll().whole();
    assert_eq!(
        first.told(),
        told(["host web-01 online", "host web-02 online"])
    );
    site.simulator
        .change_host(HostChange::of("web-02").in_team(Some(4)))
        .expect("a host");
    site.simulator
        .change_host(HostChange::of("web-02").status(HostStatus::Offline))
        .expect("a host");
    assert_eq!(poll.poll().whole().told(), told([]));
    let other = poll.clone().with("team_id", 9).without("streams");
    let refused = Connector {
        args: Vec::new(),
        ..other
    }
    .poll();
    assert_eq!(refused.ran.status, 21, "{:?}", refused.ran);
    assert!(
        refused.ran.stderr.contains("has no team 9"),
        "{:?}",
        refused.ran
    );
}

/// More hosts than a page holds, one page of which breaks off and one of which the server breaks off itself.
#[test]
fn pages_are_read_to_their_end() {
    let mut scenario = Scenario::of([HostSpec::many(1_203, "host-{n:04}")]);
    scenario.faults.push(Fault {
        truncate: Some(5_000),
        times: Some(1),
        ..Fault::on("page=1&")
    });
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = hosts(&site).state(&folder);
    let first = poll.poll();
    assert_eq!(
        (first.ran.status, first.events.len()),
        (0, 1_203),
        "{}",
        first.ran.stderr
    );
    assert_eq!(poll.poll().whole().told(), told([]));
}

/// A list that fails moves nothing: nobody is taken for deleted.
#[test]
fn a_list_that_ends_in_the_middle_deletes_nobody() {
    let mut scenario = Scenario::of([old(HostSpec::many(600, "host-{n:04}"))]);
    scenario.faults.push(Fault {
        status: Some(403),
        body: Some(r#"{"message":"forbidden"}"#.into()),
        skip: 3,
        times: Some(1),
        ..Fault::on("page=1&")
    });
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = hosts(&site).with("since_seconds", 0).state(&folder);
    poll.poll().whole();
    let mut failed = poll.poll();
    while failed.ran.status == 0 {
        failed = poll.poll();
    }
    assert_eq!(failed.summary["streams"]["hosts"]["ok"], false);
    assert_eq!(poll.poll().whole().told(), told([]));
}
