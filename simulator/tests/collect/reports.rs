//! Reports between two polls: rows that are replaced, vanish, are clipped, and reports that keep nothing.

use osquery_simulator::{
    Cells, Change, FLEET_ADMIN_TOKEN, HostChange, HostSpec, Logging, Paths, ReportSpec, Scenario,
    Snapshot, TableSpec, Team,
};
use serde_json::{Value, json};

use super::client;
use super::site::{Site, pluck};

fn rows(names: &[&str]) -> Vec<Cells> {
    let row = |name: &&str| {
        let row = json!({ "name": name });
        row.as_object().expect("an object").clone()
    };
    names.iter().map(row).collect()
}

fn two_hosts() -> Scenario {
    Scenario::of([HostSpec::named("a"), HostSpec::named("b")])
}

/// `[host_id, name]` of each row.
fn found(report: &Value) -> Value {
    let results = report["results"].as_array().expect("results");
    let row = |row: &Value| json!([row["host_id"], row["columns"]["name"]]);
    results.iter().map(row).collect()
}

#[tokio::test]
async fn a_snapshot_replaces_a_hosts_rows_and_an_empty_one_leaves_no_trace() {
    let report = ReportSpec::of("units", "SELECT name FROM units")
        .with_rows("a", rows(&["cron", "ssh"]))
        .with_rows("b", rows(&["ssh"]));
    let site = Site::new(two_hosts().with_report(report)).await;
    let first = site.fleet("/queries/1/report").await;
    assert_eq!(found(&first), json!([[1, "cron"], [1, "ssh"], [2, "ssh"]]));
    assert_eq!(
        pluck(&first, "results", "host_name"),
        json!(["a", "a", "b"])
    );

    let snapshot = Snapshot::of("units", "a").rows(rows(&["nginx"]));
    let snapshot = snapshot.fetched("2026-11-20T23:53:51.9Z");
    site.0.take_snapshot(snapshot).expect("a snapshot");
    let second = site.fleet("/queries/1/report").await;
    assert_eq!(found(&second), json!([[1, "nginx"], [2, "ssh"]]));
    assert_eq!(second["results"][0]["last_fetched"], "2026-11-20T23:53:51Z");

    let empty = Snapshot::of("units", "a").rows(Vec::new());
    site.0.take_snapshot(empty).expect("a snapshot");
    let third = site.fleet("/queries/1/report").await;
    assert_eq!(found(&third), json!([[2, "ssh"]]));

    site.0
        .change_host(HostChange::of("b").deleted())
        .expect("a change");
    let last = site.fleet("/queries/1/report").await;
    assert_eq!(found(&last), json!([[2, "ssh"]]));
    assert_eq!(last["results"][0]["host_name"], "", "its host is gone");
    let unknown = site.0.take_snapshot(Snapshot::of("nope", "a"));
    assert_eq!(
        unknown.expect_err("refused").to_string(),
        "no report is 'nope'"
    );
}

#[tokio::test]
async fn a_full_report_takes_nothing_new_from_anyone() {
    let mut scenario = two_hosts();
    scenario.fleet.report_cap = 3;
    let report = ReportSpec::of("units", "SELECT 1").with_rows("a", rows(&["1", "2"]));
    let site = Site::new(scenario.with_report(report)).await;
    assert_eq!(
        site.fleet("/queries/1/report").await["report_clipped"],
        false
    );
    let snapshot = |host, names: &[&str]| {
        let snapshot = Snapshot::of("units", host).rows(rows(names));
        site.0.take_snapshot(snapshot).expect("a snapshot");
    };
    // What there is room for is kept of the snapshot that fills it.
    snapshot("b", &["3", "4"]);
    let full = site.fleet("/queries/1/report").await;
    assert_eq!(found(&full), json!([[1, "1"], [1, "2"], [2, "3"]]));
    assert_eq!(full["report_clipped"], true);
    snapshot("a", &["new"]);
    snapshot("b", &[]);
    assert_eq!(site.fleet("/queries/1/report").await, full, "it is stale");
}

#[tokio::test]
async fn a_newer_server_has_room_for_a_row_of_each_host() {
    for (paths, kept) in [(Paths::New, 5), (Paths::Both, 5), (Paths::Old, 3)] {
        let mut scenario = Scenario::of([HostSpec::many(5, "h-{n}")]);
        scenario.fleet.report_cap = 3;
        scenario.fleet.paths = paths;
        let report = ReportSpec::of("one", "SELECT 1 AS name").filled();
        let site = Site::new(scenario.with_report(report)).await;
        let path = match paths {
            Paths::New => "/reports/1/report",
            Paths::Old | Paths::Both => "/queries/1/report",
        };
        let report = site.fleet(path).await;
        assert_eq!(report["results"].as_array().map(Vec::len), Some(kept));
        assert_eq!(report["report_clipped"], true);
    }
}

#[tokio::test]
async fn only_scheduled_snapshots_that_are_kept_fill_a_report() {
    let spec = |name: &str| ReportSpec::of(name, "SELECT 1 AS name").filled();
    let mut never = spec("never scheduled");
    never.interval = 0;
    let mut differential = spec("differential");
    differential.logging = Logging::Differential;
    let mut discarded = spec("discarded");
    discarded.discard_data = true;
    let failing = ReportSpec::of("failing", "SELECT nope FROM nowhere").filled();
    let scenario = two_hosts()
        .with_report(never)
        .with_report(differential)
        .with_report(discarded)
        .with_report(failing)
        .with_report(spec("kept"));
    let site = Site::new(scenario).await;
    for id in 1..=4 {
        let report = site.fleet(&format!("/queries/{id}/report")).await;
        assert_eq!(report["results"], json!([]), "{id}");
    }
    let kept = site.fleet("/queries/5/report").await;
    assert_eq!(found(&kept), json!([[1, "1"], [2, "1"]]));
    let list = site.fleet("/queries?order_key=id").await;
    assert_eq!(
        pluck(&list, "queries", "interval"),
        json!([0, 3600, 3600, 3600, 3600])
    );
    assert_eq!(
        pluck(&list, "queries", "logging"),
        json!([
            "snapshot",
            "differential",
            "snapshot",
            "snapshot",
            "snapshot"
        ])
    );
    assert_eq!(
        pluck(&list, "queries", "discard_data"),
        json!([false, false, true, false, false])
    );
}

#[tokio::test]
async fn a_newer_server_calls_them_reports_and_pages_them() {
    let mut scenario = Scenario::of([HostSpec::many(3, "h-{n}")]);
    scenario.fleet.paths = Paths::New;
    let table = TableSpec::Rows(rows(&["x {hostname}", "y {n}"]));
    scenario.tables.insert("units".into(), table);
    let report = ReportSpec::of("units", "SELECT name FROM units").filled();
    let site = Site::new(scenario.with_report(report)).await;
    let old = site.answer("/queries").await;
    assert_eq!(
        (old.status, old.text().as_str()),
        (404, "404 page not found\n")
    );
    let list = site.fleet("/reports?order_key=id&page=0&per_page=5").await;
    assert_eq!(pluck(&list, "reports", "name"), json!(["units"]));
    assert_eq!(
        list["meta"],
        json!({"has_next_results": false, "has_previous_results": false})
    );
    let mut all = Vec::new();
    for page in 0..3 {
        let report = site
            .fleet(&format!("/reports/1/report?page={page}&per_page=2"))
            .await;
        assert_eq!(
            (&report["count"], &report["report_id"]),
            (&json!(6), &json!(1))
        );
        assert_eq!(
            report["meta"],
            json!({"has_next_results": page < 2, "has_previous_results": page > 0})
        );
        let rows = found(&report);
        assert_eq!(rows.as_array().map(Vec::len), Some(2), "{page}");
        all.extend(rows.as_array().cloned().unwrap_or_default());
    }
    let whole = site.fleet("/reports/1/report").await;
    assert_eq!(whole.get("meta"), None, "nobody asked for pages");
    assert_eq!(found(&whole), Value::from(all.clone()));
    assert_eq!(all[0], json!([1, "x h-0"]));
    assert_eq!(all[5], json!([3, "y 2"]));
    // A page that parts a host's rows.
    let odd = site.fleet("/reports/1/report?page=1&per_page=3").await;
    assert_eq!(found(&odd), json!([[2, "y 1"], [3, "x h-2"], [3, "y 2"]]));
    let beyond = site.fleet("/reports/1/report?page=9&per_page=3").await;
    assert_eq!(
        (&beyond["results"], &beyond["count"]),
        (&json!([]), &json!(6))
    );
}

#[tokio::test]
async fn each_team_has_its_own_reports() {
    let mut member = HostSpec::named("member");
    member.team_id = Some(7);
    let mut scenario = Scenario::of([HostSpec::named("global"), member]);
    scenario.fleet.teams = vec![Team {
        id: 7,
        name: "Servers".into(),
    }];
    let mut of_team = ReportSpec::of("of the team", "SELECT 1 AS name").filled();
    of_team.team_id = Some(7);
    let everyones = ReportSpec::of("everyone's", "SELECT 1 AS name").filled();
    let site = Site::new(scenario.with_report(of_team).with_report(everyones)).await;
    let global = site.fleet("/queries").await;
    assert_eq!(pluck(&global, "queries", "name"), json!(["everyone's"]));
    let teams = site.fleet("/queries?team_id=7").await;
    assert_eq!(pluck(&teams, "queries", "name"), json!(["of the team"]));
    assert_eq!(
        found(&site.fleet("/queries/1/report").await),
        json!([[2, "1"]])
    );
    let narrowed = site.fleet("/queries/2/report?team_id=7").await;
    assert_eq!(found(&narrowed), json!([[2, "1"]]));
}

#[tokio::test]
async fn rows_change_by_the_script_too() {
    let scenario = Scenario::from_yaml(
        "
fleet: {reports: [{name: units, query: SELECT name FROM units, rows: {a: [{name: old}]}}]}
tables: {units: [{name: '{hostname}'}]}
hosts: [{hostname: a}, {hostname: b}]
changes:
  - {after_requests: 1, snapshot: {report: units, host: a, rows: [{name: new}, {name: newer}]}}
  - {after_requests: 2, snapshot: {report: units, host: b}}
",
    );
    let site = Site::new(scenario.expect("a scenario")).await;
    let mut polls = Vec::new();
    for _ in 0..3 {
        polls.push(found(&site.fleet("/queries/1/report").await));
    }
    assert_eq!(
        polls,
        [
            json!([[1, "old"]]),
            json!([[1, "new"], [1, "newer"]]),
            json!([[1, "new"], [1, "newer"], [2, "b"]]),
        ]
    );
    let change = Change::of_report(Snapshot::of("units", "a"));
    assert_eq!(change.after_requests, 0);
}

#[tokio::test]
async fn queries_that_a_client_saves_have_reports_as_well() {
    let site = Site::new(two_hosts()).await;
    let body = json!({"name": "mine", "query": "SELECT 1 AS name", "interval": 60});
    let to = site.0.addr();
    let made = client::post(to, "/api/v1/fleet/queries", FLEET_ADMIN_TOKEN, &body).await;
    assert_eq!(made.status, 200);
    site.0
        .take_snapshot(Snapshot::of("mine", "b"))
        .expect("a snapshot");
    let report = site.fleet("/queries/1/report").await;
    assert_eq!(found(&report), json!([[2, "1"]]));
}
