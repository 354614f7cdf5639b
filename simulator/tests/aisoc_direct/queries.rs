//! What becomes of queries: who answers what, when it is handed out again, what survives.

use std::time::Duration;

use osquery_simulator::{
    AISOC_ENROLL_SECRET, Answer, CampaignState, FLEET_ADMIN_TOKEN, Fate, Fault, HostIdentifier,
    HostSpec, OSCTRL_ADMIN_TOKEN, Observations, Part, Scenario, Server, TableSpec, Wire,
};
use serde_json::{Value, json};

use super::client;
use super::site::{ENQUEUE, PATIENCE, Site, campaign};

#[tokio::test]
async fn a_host_answers_what_the_statement_asks_of_its_tables() {
    let rows = serde_json::from_value(json!([
        {"name": "nginx", "who": "{hostname}"}, {"name": "ntpd", "who": "x"}
    ]));
    let table = TableSpec::Rows(rows.expect("rows"));
    let host = HostSpec::named("web-01").with_table("units", table);
    let site = Site::new(Scenario::of([host])).await;
    let sql = "SELECT name, who FROM units WHERE name LIKE 'ng%'";
    let id = site.enqueue("web-01", sql).await;
    assert_eq!(
        site.rows(&id).await,
        json!([{"name": "nginx", "who": "web-01"}])
    );
    // The agent's error is dropped: the same bytes as no rows.
    let failed = site.enqueue("web-01", "SELECT nope FROM units").await;
    let empty = site
        .enqueue("web-01", "SELECT name FROM units WHERE 0")
        .await;
    assert_eq!(site.rows(&failed).await, json!([]));
    assert_eq!(site.rows(&empty).await, json!([]));
    let seen = site.0.observations();
    let uuid = &campaign(&seen, &id).hosts[0];
    assert_eq!(seen.enqueues(uuid), 3);
    assert_eq!((seen.polls(&id), seen.polls(&failed)), (1, 1));
    assert_eq!(seen.running(Server::AisocDirect), 0);
    assert_eq!(campaign(&seen, &id).sql, sql);
}

#[tokio::test]
async fn hosts_are_known_by_what_they_enrolled_under_only() {
    let mut by_uuid = HostSpec::named("db-01");
    by_uuid.uuid = Some("4C4C4544-0000-4000-8000-00000000DB01".into());
    by_uuid.host_identifier = Some(HostIdentifier::Uuid);
    let mut other = HostSpec::named("db-02");
    other.host_identifier = Some(HostIdentifier::Specified("asset-{n:03}".into()));
    other.first = 7;
    let mut scenario = Scenario::of([by_uuid, other, HostSpec::named("web-01")]);
    scenario.wire = Wire::AisocDirect;
    let site = Site::new(scenario).await;
    for known in [
        "4C4C4544-0000-4000-8000-00000000DB01",
        "asset-007",
        "web-01",
    ] {
        let id = site.enqueue(known, "SELECT 1 AS one").await;
        assert_eq!(site.rows(&id).await, json!([{"one": "1"}]), "{known}");
    }
    for unknown in [
        "db-01",
        "4c4c4544-0000-4000-8000-00000000db01",
        "db-02",
        "WEB-01",
        " web-01",
        "",
    ] {
        let body = json!({"host_identifier": unknown, "query_text": "SELECT 1"});
        let answer = site.request("POST", ENQUEUE, Some(&body)).await;
        assert_eq!(answer.status, 404, "{unknown}");
    }
    assert_eq!(site.0.campaigns().len(), 3, "nothing was queued for them");
}

#[tokio::test]
async fn silent_and_absent_hosts_are_pending_until_they_come_back() {
    let mut returns = HostSpec::named("returns").offline();
    returns.behaviour.comes_back = Some(Duration::from_millis(200));
    let silent = HostSpec::named("silent").answering(Answer::Silent);
    let hosts = [silent, HostSpec::named("away").offline(), returns];
    let site = Site::new(Scenario::of(hosts)).await;
    let mut ids = Vec::new();
    for host in ["silent", "away", "returns"] {
        ids.push(site.enqueue(host, "SELECT 1 AS one").await);
    }
    assert_eq!(site.rows(&ids[2]).await, json!([{"one": "1"}]));
    for id in &ids[..2] {
        let query = site.query(id).await;
        assert_eq!(
            query,
            json!({"query_id": id, "status": "pending", "rows": null, "error": null})
        );
    }
    assert_eq!(site.0.observations().running(Server::AisocDirect), 2);
}

#[tokio::test]
async fn a_lost_answer_makes_the_query_run_again() {
    let mut host = HostSpec::named("web-01");
    host.behaviour.lost_answers = 2;
    let site = Site::new(Scenario::of([host])).await;
    let id = site.enqueue("web-01", "SELECT 1 AS one").await;
    assert_eq!(site.rows(&id).await, json!([{"one": "1"}]));
    let fates: Vec<Fate> = site
        .0
        .observations()
        .answers
        .iter()
        .map(|a| a.fate)
        .collect();
    assert_eq!(fates, [Fate::Lost, Fate::Lost, Fate::Taken]);
}

#[tokio::test]
async fn a_restart_keeps_ids_and_queue_and_loses_the_answer_on_its_way() {
    let host = HostSpec::named("web-01").delayed(Duration::from_millis(100));
    let site = Site::new(Scenario::of([host])).await;
    let id = site.enqueue("web-01", "SELECT 1 AS one").await;
    let handed_out = |seen: &Observations| campaign(seen, &id).handed_out.len();
    site.until("the host works on it", |seen| handed_out(seen) == 1)
        .await;
    site.0.take_away(Part::Service);
    site.until("the lost answer", |seen| campaign(seen, &id).lost > 0)
        .await;
    assert!(tokio::net::TcpStream::connect(site.0.addr()).await.is_err());
    site.0.bring_back(Part::Service);
    site.until("the answer", |seen| campaign(seen, &id).answers == 1)
        .await;
    while tokio::net::TcpStream::connect(site.0.addr()).await.is_err() {}
    assert_eq!(site.rows(&id).await, json!([{"one": "1"}]));
    assert_eq!(handed_out(&site.0.observations()), 2, "it ran twice");
}

#[tokio::test]
async fn a_later_write_replaces_rows_whoever_writes() {
    let site = Site::new(Scenario::of([HostSpec::named("web-01")])).await;
    let id = site.enqueue("web-01", "SELECT 1 AS one").await;
    assert_eq!(site.rows(&id).await, json!([{"one": "1"}]));
    let enrolled = site
        .request(
            "POST",
            "/api/v1/osquery/enroll",
            Some(&json!({"enroll_secret": AISOC_ENROLL_SECRET, "host_identifier": "forger"})),
        )
        .await;
    let key = enrolled.json()["node_key"].clone();
    let written = site
        .request(
            "POST",
            "/api/v1/osquery/distributed/write",
            Some(&json!({"node_key": key, "queries": {&id: [{"one": 2, "n": null}]}})),
        )
        .await;
    assert_eq!(written.status, 200);
    assert_eq!(
        site.query(&id).await["rows"],
        json!([{"one": 2, "n": null}])
    );
}

#[tokio::test]
async fn an_agent_that_a_test_plays_locks_the_simulated_host_out() {
    let host = HostSpec::named("web-01").delayed(Duration::from_millis(50));
    let site = Site::new(Scenario::of([host, HostSpec::named("web-02")])).await;
    let id = site.enqueue("web-01", "SELECT 1 AS one").await;
    let body = json!({"enroll_secret": AISOC_ENROLL_SECRET, "host_identifier": "web-01"});
    let enrolled = site
        .request("POST", "/api/v1/osquery/enroll", Some(&body))
        .await;
    let key = enrolled.json()["node_key"].clone();
    // Long after the host would have answered.
    for _ in 0..20 {
        let other = site.enqueue("web-02", "SELECT 1").await;
        site.rows(&other).await;
    }
    let read = site
        .request(
            "POST",
            "/api/v1/osquery/distributed/read",
            Some(&json!({"node_key": key})),
        )
        .await;
    assert_eq!(read.json()["queries"], json!({&id: "SELECT 1 AS one"}));
    assert_eq!(site.query(&id).await["status"], "pending");
}

#[tokio::test]
async fn faults_and_odd_answers_meet_this_service_too() {
    let raw = HostSpec::named("raw").answering(Answer::RawRows("{\"not\":\"a list\"}".into()));
    let status = HostSpec::named("status").answering(Answer::StatusOnly(1));
    let scenario = Scenario::of([raw, status])
        .with_fault(Fault::on_method("POST", "enqueue").status(503).skipping(2));
    let site = Site::new(scenario).await;
    let raw = site.enqueue("raw", "SELECT 1").await;
    let status = site.enqueue("status", "SELECT 1").await;
    assert_eq!(site.rows(&raw).await, json!({"not": "a list"}));
    assert_eq!(site.rows(&status).await, json!([]));
    let refused = site.request("POST", ENQUEUE, Some(&json!({}))).await;
    assert_eq!(refused.status, 503);
}

#[tokio::test]
async fn credentials_end_and_odd_ones_break_the_service() {
    let site = Site::new(Scenario::of([HostSpec::named("web-01")])).await;
    let bytes = "Bearer t\u{f6}ken";
    let odd = [("authorization", bytes)];
    let answer = client::request(site.0.addr(), "POST", ENQUEUE, &odd, None).await;
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (500, "Internal Server Error")
    );
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    site.0.revoke_tokens();
    let body = json!({"host_identifier": "web-01", "query_text": "SELECT 1"});
    let answer = site.request("POST", ENQUEUE, Some(&body)).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn refusals_of_bodies_are_pydantics() {
    let site = Site::new(Scenario::default()).await;
    for (body, detail) in [
        (
            "",
            json!([{"type": "missing", "loc": ["body"], "msg": "Field required", "input": null}]),
        ),
        (
            "[1]",
            json!([{
                "type": "model_attributes_type", "loc": ["body"],
                "msg": "Input should be a valid dictionary or object to extract fields from",
                "input": [1],
            }]),
        ),
        (
            "{\"query_text\": 5}",
            json!([
                {"type": "missing", "loc": ["body", "host_identifier"], "msg": "Field required",
                 "input": {"query_text": 5}},
                {"type": "string_type", "loc": ["body", "query_text"],
                 "msg": "Input should be a valid string", "input": 5},
            ]),
        ),
        (
            "{\"a\":\n x}",
            json!([{"type": "json_invalid", "loc": ["body", 7], "msg": "JSON decode error",
                    "input": {}, "ctx": {"error": "Expecting value"}}]),
        ),
    ] {
        let bearer = format!("Bearer {}", osquery_simulator::AISOC_CONSOLE_TOKEN);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let sent = client::request(
            site.0.addr(),
            "POST",
            ENQUEUE,
            &headers,
            Some(body.to_owned()),
        );
        let answer = sent.await.expect("an answer");
        assert_eq!(answer.status, 422, "{body}");
        assert_eq!(answer.json(), json!({ "detail": detail }), "{body}");
    }
}

#[tokio::test]
async fn all_servers_share_a_port_and_each_path_has_its_own() {
    let site = Site::new(Scenario::of([HostSpec::named("web-01")])).await;
    let id = site.enqueue("web-01", "SELECT 1 AS one").await;
    let to = site.0.addr();
    let fleet = client::get(to, "/api/v1/fleet/hosts/1", FLEET_ADMIN_TOKEN).await;
    assert_eq!(fleet.json()["host"]["hostname"], "web-01");
    let osctrl = client::get(to, "/api/v1/nodes/dev", OSCTRL_ADMIN_TOKEN).await;
    assert_eq!(osctrl.json()["items"][0]["hostname"], "web-01");
    assert_eq!(site.rows(&id).await, json!([{"one": "1"}]));

    let mut scenario = Scenario::of([HostSpec::named("web-01")]);
    scenario.wire = Wire::AisocDirect;
    let alone = Site::new(scenario).await;
    let nothing = client::get(alone.0.addr(), "/api/v1/fleet/hosts", FLEET_ADMIN_TOKEN).await;
    assert_eq!(nothing.status, 404);
    assert_eq!(nothing.json(), json!({"detail": "Not Found"}));
    let mut scenario = Scenario::of([HostSpec::named("web-01")]);
    scenario.wire = Wire::Fleet;
    let without = Site::new(scenario).await;
    let nothing = without.request("GET", "/healthz", None).await;
    assert_eq!(nothing.text(), "404 page not found\n");
}

#[test]
fn ten_thousand_hosts_answer_within_seconds() {
    let mut scenario = Scenario::of([HostSpec::many(10_000, "pod-{n:05}")]);
    scenario.wire = Wire::AisocDirect;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let site = Site::new(scenario).await;
        let first = site.enqueue("pod-00000", "SELECT pid FROM processes").await;
        let last = site.enqueue("pod-09999", "SELECT pid FROM processes").await;
        assert_eq!(site.rows(&first).await, site.rows(&last).await);
        let seen = site.0.observations();
        assert_eq!(campaign(&seen, &last).state, CampaignState::Completed);
        let taken = seen.last_answer_at.expect("answers");
        assert!(taken.elapsed() < PATIENCE);
        assert_ne!(site.query(&first).await["rows"], Value::Null);
    });
}
