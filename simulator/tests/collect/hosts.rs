//! Hosts between two polls: who goes, comes, is missing, deleted, renamed, moved.

use std::time::Duration;

use osquery_simulator::{
    Change, FLEET_ADMIN_TOKEN, HostChange, HostSpec, HostStatus, OSCTRL_ADMIN_TOKEN, Scenario,
    Server, Team,
};
use serde_json::{Value, json};

use super::client;
use super::site::{PATIENCE, Site, pluck};

const ALL: &str = "/hosts?order_key=id&page=0&per_page=10";

#[tokio::test]
async fn a_poll_sees_what_changed_since_the_one_before() {
    let hosts = ["a", "b", "c", "d"].map(HostSpec::named);
    let late = HostSpec::named("late").not_enrolled();
    let site = Site::new(Scenario::of(hosts.into_iter().chain([late]))).await;
    let before = site.fleet(ALL).await;
    assert_eq!(
        pluck(&before, "hosts", "hostname"),
        json!(["a", "b", "c", "d"])
    );
    assert_eq!(pluck(&before, "hosts", "id"), json!([1, 2, 3, 4]));

    for change in [
        HostChange::of("a").status(HostStatus::Offline),
        HostChange::of("b").deleted(),
        HostChange::of("c").renamed("see").in_team(Some(7)),
        HostChange::of("4").status(HostStatus::Missing),
        HostChange::of("late").enrolled(),
    ] {
        site.0.change_host(change).expect("a change");
    }
    let after = site.fleet(ALL).await;
    assert_eq!(
        pluck(&after, "hosts", "hostname"),
        json!(["a", "see", "d", "late"])
    );
    assert_eq!(
        pluck(&after, "hosts", "id"),
        json!([1, 3, 4, 5]),
        "new ones at the end"
    );
    assert_eq!(
        pluck(&after, "hosts", "status"),
        json!(["offline", "online", "offline", "online"])
    );
    assert_eq!(
        pluck(&after, "hosts", "display_name"),
        json!(["a", "see", "d", "late"])
    );
    assert_eq!(after["hosts"][1]["team_id"], 7);
    let missing = site.fleet("/hosts?status=missing").await;
    assert_eq!(pluck(&missing, "hosts", "hostname"), json!(["d"]));
    assert_eq!(site.fleet("/hosts/count?status=offline").await["count"], 2);
    let summary = site.fleet("/host_summary").await;
    assert_eq!(
        (
            &summary["totals_hosts_count"],
            &summary["missing_30_days_count"]
        ),
        (&json!(4), &json!(1))
    );
    assert_eq!(site.answer("/hosts/2").await.status, 404);
    assert_eq!(site.answer("/hosts/identifier/b").await.status, 404);

    let back = HostChange::of("d").status(HostStatus::Online);
    site.0.change_host(back).expect("a change");
    let out = HostChange::of("see").in_team(None);
    site.0.change_host(out).expect("a change");
    let last = site.fleet(ALL).await;
    assert_eq!(last["hosts"][2]["status"], "online");
    assert_eq!(last["hosts"][1]["team_id"], Value::Null);
    // Deleted and enrolled again, it is another host.
    let again = HostChange::of("b").enrolled();
    site.0.change_host(again).expect("a change");
    let last = site.fleet(ALL).await;
    assert_eq!(pluck(&last, "hosts", "id"), json!([1, 3, 4, 5, 6]));
    assert_eq!(last["hosts"][4]["hostname"], "b");
}

#[tokio::test]
async fn a_deleted_host_shifts_the_pages_behind_it() {
    let hosts = (1..=6).map(|number| HostSpec::named(format!("h{number}")));
    let site = Site::new(Scenario::of(hosts)).await;
    let page = |number| format!("/hosts?order_key=id&page={number}&per_page=2");
    let first = site.fleet(&page(0)).await;
    assert_eq!(pluck(&first, "hosts", "id"), json!([1, 2]));
    site.0
        .change_host(HostChange::of("h1").deleted())
        .expect("a change");
    let second = site.fleet(&page(1)).await;
    assert_eq!(
        pluck(&second, "hosts", "id"),
        json!([4, 5]),
        "3 is on the page before"
    );
    let last = site.fleet(&page(2)).await;
    assert_eq!(
        pluck(&last, "hosts", "id"),
        json!([6]),
        "a short page is the last"
    );
    assert_eq!(site.fleet(&page(3)).await, json!({"hosts": []}));
}

#[tokio::test]
async fn scripted_changes_come_with_a_request_or_with_the_clock() {
    let scenario = Scenario::from_yaml(
        "
hosts: [{hostname: a}, {hostname: b}, {hostname: c}]
changes:
  - {after_requests: 2, host: {host: a, enrolled: false}}
  - {after_requests: 3, after_ms: 1, host: {host: b, status: missing, team_id: 3}}
  - {after_requests: 3, after_ms: 2, host: {host: b, team_id: null}}
",
    );
    let site = Site::new(scenario.expect("a scenario")).await;
    for expected in [3, 3, 2] {
        let hosts = site.fleet("/hosts").await;
        assert_eq!(hosts["hosts"].as_array().map(Vec::len), Some(expected));
    }
    let by_the_clock = async {
        let mut changed = site.fleet("/hosts/2").await;
        while changed["host"]["status"] == "online" || changed["host"]["team_id"] == 3 {
            changed = site.fleet("/hosts/2").await;
        }
    };
    let made = tokio::time::timeout(PATIENCE, by_the_clock).await;
    made.expect("the clock's changes");
    assert_eq!(
        site.fleet("/hosts?status=mia").await["hosts"][0]["hostname"],
        "b"
    );
}

#[tokio::test]
async fn what_no_host_is_and_what_no_time_is_is_said() {
    let site = Site::new(Scenario::of([HostSpec::named("a")])).await;
    let unknown = site.0.change_host(HostChange::of("nobody").deleted());
    assert_eq!(
        unknown.expect_err("refused").to_string(),
        "no host is 'nobody'"
    );
    let mut change = HostChange::of("a");
    change.last_seen = Some("yesterday".into());
    assert_eq!(
        site.0.change_host(change).expect_err("refused").to_string(),
        "last_seen: 'yesterday' is not a time such as 2026-11-20T23:53:11Z"
    );
    for (text, message) in [
        (
            "changes: [{host: {host: nobody, enrolled: false}}]",
            "changes[0]: no host is 'nobody'",
        ),
        (
            "{hosts: [{hostname: a}], changes: [{host: {host: a, last_seen: x}}]}",
            "changes[0]: last_seen: 'x' is not a time such as 2026-11-20T23:53:11Z",
        ),
        ("changes: [{after_ms: 5}]", "changes[0] changes nothing"),
        (
            "{hosts: [{hostname: a}], changes: [{snapshot: {report: r, host: a}}]}",
            "changes[0]: no report is 'r'",
        ),
        (
            "{hosts: [{hostname: a, enrolled_at: x}]}",
            "hosts[0].enrolled_at 'x' is not a time such as 2026-11-20T23:53:11Z",
        ),
        (
            "{fleet: {reports: [{name: r, query: q, rows: {x: []}}]}}",
            "fleet.reports: 'r' has rows of 'x', which is no host",
        ),
        (
            "{fleet: {reports: [{name: r, query: q}, {name: r, query: q}]}}",
            "fleet.reports: two are called 'r'",
        ),
    ] {
        let read = Scenario::from_yaml(text).map_err(|error| error.to_string());
        let refused = match read {
            Err(refused) => refused,
            Ok(scenario) => match osquery_simulator::Simulator::start(scenario).await {
                Ok(_) => panic!("{text} starts"),
                Err(refused) => refused.to_string(),
            },
        };
        assert_eq!(refused, message);
    }
}

#[tokio::test]
async fn a_host_that_goes_does_not_answer_until_it_is_back() {
    let goes = HostSpec::named("goes").delayed(Duration::from_millis(30));
    let slower = HostSpec::named("slower").delayed(Duration::from_millis(300));
    let site = Site::new(Scenario::of([goes, slower])).await;
    // No list means everyone.
    let body = json!({"query": "SELECT 1 AS one", "exp_hours": 1});
    let path = "/api/v1/queries/dev";
    let asked = client::post(site.0.addr(), path, OSCTRL_ADMIN_TOKEN, &body);
    assert_eq!(asked.await.status, 200);
    let gone = HostChange::of("goes").status(HostStatus::Offline);
    site.0.change_host(gone).expect("a change");
    site.until("the slower one's answer", |seen| seen.answers.len() == 1)
        .await;
    assert_eq!(site.0.observations().running(Server::Osctrl), 1);
    let back = HostChange::of("goes").status(HostStatus::Online);
    site.0.change_host(back).expect("a change");
    site.until("its answer", |seen| seen.running(Server::Osctrl) == 0)
        .await;
}

#[tokio::test]
async fn teams_are_known_where_they_are_licensed() {
    let plain = Site::new(Scenario::of([HostSpec::named("a")])).await;
    for path in [
        "/hosts?team_id=7",
        "/hosts/count?team_id=7",
        "/host_summary?team_id=7",
    ] {
        let refused = plain.answer(path).await;
        assert_eq!(refused.status, 400, "{path}");
        assert_eq!(refused.json()["errors"][0]["reason"], "team is invalid");
    }
    assert_eq!(plain.answer("/teams").await.status, 402);
    assert_eq!(plain.fleet("/queries?team_id=7").await["count"], 0);

    let mut members = HostSpec::many(3, "m-{n}");
    members.team_id = Some(7);
    let mut scenario = Scenario::of([HostSpec::named("a"), members]);
    scenario.fleet.teams = vec![Team {
        id: 7,
        name: "Servers".into(),
    }];
    let site = Site::new(scenario).await;
    assert_eq!(site.fleet("/hosts/count?team_id=7").await["count"], 3);
    assert_eq!(site.fleet("/hosts/count?fleet_id=7").await["count"], 3);
    assert_eq!(
        site.fleet("/hosts/count?team_id=0").await["count"],
        1,
        "those of no team"
    );
    assert_eq!(
        site.fleet("/host_summary?team_id=7").await["totals_hosts_count"],
        3
    );
    let teams = site.fleet("/teams").await;
    assert_eq!(teams["teams"][0]["name"], "Servers");
    assert_eq!(teams["teams"][0]["host_count"], 3);
    let member = site.fleet("/hosts/2").await;
    assert_eq!(member["host"]["team_name"], "Servers");
}

#[tokio::test]
async fn phones_are_seen_by_their_management_only() {
    let phone = HostSpec::named("phone").on("ios");
    let mut phone = phone;
    phone.last_seen = Some("2026-01-02T03:04:05Z".into());
    let site = Site::new(Scenario::of([phone, HostSpec::named("web-01")])).await;
    let hosts = site.fleet(ALL).await;
    assert_eq!(hosts["hosts"][0]["seen_time"], "2026-01-02T03:04:05Z");
    assert!(hosts["hosts"][0]["last_mdm_checked_in_at"].is_string());
    assert_eq!(hosts["hosts"][0]["status"], "online");
    assert_ne!(hosts["hosts"][1]["seen_time"], "2026-01-02T03:04:05Z");
}

#[tokio::test]
async fn an_order_by_name_goes_on_after_a_name() {
    let site = Site::new(Scenario::of(["b", "c", "a"].map(HostSpec::named))).await;
    let rest = site
        .fleet("/hosts?order_key=hostname&after=a&per_page=1")
        .await;
    assert_eq!(pluck(&rest, "hosts", "hostname"), json!(["b"]));
    let to = site.0.addr();
    let refused = client::get(
        to,
        "/api/v1/fleet/hosts?order_key=id&after=1",
        FLEET_ADMIN_TOKEN,
    );
    assert_eq!(refused.await.status, 422);
}

#[tokio::test]
async fn changes_can_be_scripted_in_code() {
    let gone = Change::of_host(HostChange::of("a").deleted()).after_requests(1);
    let scenario = Scenario::of([HostSpec::named("a")]).with_change(gone);
    let site = Site::new(scenario).await;
    assert_eq!(site.fleet("/hosts/count").await["count"], 1);
    assert_eq!(site.fleet("/hosts/count").await["count"], 0);
}
