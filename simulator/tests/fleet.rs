//! Fleet's quirks that no recording shows, or that a client depends on most.

#![allow(missing_docs, reason = "tests")]

mod client;

use std::time::{Duration, Instant};

use client::{Frame, Socket, get, post, request};
use osquery_simulator::{
    Answer, CampaignState, FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD, FLEET_ADMIN_TOKEN,
    FLEET_MAINTAINER_TOKEN, Fate, FleetUser, HostSpec, Paths, Role, Scenario, Simulator, TableSpec,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
const SOCKET: &str = "/api/latest/fleet/results/websocket";

async fn start(scenario: Scenario) -> Simulator {
    Simulator::start(scenario).await.expect("a simulator")
}

fn quick(hosts: impl IntoIterator<Item = HostSpec>) -> Scenario {
    let mut scenario = Scenario::of(hosts);
    scenario.check_in = Duration::from_millis(5);
    scenario.fleet.tick = Duration::from_millis(300);
    scenario.fleet.wrong_password = Duration::from_millis(1);
    scenario
}

async fn run(simulator: &Simulator, sql: &str, hosts: &[u64]) -> u64 {
    let body = json!({"query": sql, "selected": {"hosts": hosts, "labels": [], "teams": []}});
    let answer = post(
        simulator.addr(),
        "/api/v1/fleet/queries/run",
        FLEET_ADMIN_TOKEN,
        &body,
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["campaign"]["id"].as_u64().expect("an id")
}

async fn listen(simulator: &Simulator, campaign: u64) -> Socket {
    let mut socket = Socket::open(simulator.addr(), SOCKET, &[])
        .await
        .expect("a socket");
    socket
        .send(&json!({"type": "auth", "data": {"token": FLEET_ADMIN_TOKEN}}))
        .await;
    socket
        .send(&json!({"type": "select_campaign", "data": {"campaign_id": campaign}}))
        .await;
    socket
}

async fn next(socket: &mut Socket) -> Frame {
    tokio::time::timeout(PATIENCE, socket.next())
        .await
        .expect("a frame")
}

/// The next `result` frame's data.
async fn result(socket: &mut Socket) -> Value {
    loop {
        let frame = next(socket).await.json();
        if frame["type"] == "result" {
            return frame["data"].clone();
        }
    }
}

#[tokio::test]
async fn the_statement_is_run_over_the_hosts_tables() {
    let table = TableSpec::Rows(vec![
        json!({"pid": 1, "name": "init"})
            .as_object()
            .expect("a row")
            .clone(),
        json!({"pid": 20, "name": "sh"})
            .as_object()
            .expect("a row")
            .clone(),
    ]);
    let simulator = start(quick([
        HostSpec::named("web").with_table("processes", table)
    ]))
    .await;
    let campaign = run(
        &simulator,
        "SELECT pid, name, cwd FROM processes WHERE pid > 5",
        &[1],
    )
    .await;
    let mut socket = listen(&simulator, campaign).await;
    assert_eq!(
        result(&mut socket).await["rows"],
        json!([{"cwd": "", "host_display_name": "web", "host_hostname": "web", "name": "sh", "pid": "20"}])
    );
    let campaign = run(&simulator, "SELECT * FROM nope", &[1]).await;
    let mut socket = listen(&simulator, campaign).await;
    let answer = result(&mut socket).await;
    assert_eq!(
        (&answer["rows"], &answer["error"]),
        (&json!([]), &json!("no such table: nope"))
    );
}

#[tokio::test]
async fn answers_that_nobody_hears_come_again_at_a_later_check_in() {
    let simulator = start(quick([HostSpec::named("web")])).await;
    let campaign = run(&simulator, "SELECT 1 AS one", &[1]).await;
    let refused =
        |seen: &osquery_simulator::Observations| seen.campaigns.iter().any(|c| c.refused > 1);
    assert!(
        simulator.until(refused, PATIENCE).await,
        "nobody listens, so answers are refused"
    );
    assert_eq!(simulator.last_answer_at(), None);
    let mut socket = listen(&simulator, campaign).await;
    assert_eq!(result(&mut socket).await["host"]["hostname"], "web");
    assert!(
        simulator
            .last_answer_at()
            .is_some_and(|at| at <= Instant::now())
    );
}

#[tokio::test]
async fn a_campaign_ends_at_the_tick_after_its_listener_has_gone() {
    let simulator = start(quick([HostSpec::named("mute").answering(Answer::Silent)])).await;
    let campaign = run(&simulator, "SELECT 1", &[1]).await;
    let mut socket = listen(&simulator, campaign).await;
    assert_eq!(next(&mut socket).await.json()["type"], "totals");
    let listened = Instant::now();
    socket.close().await;
    drop(socket);
    let state = |seen: &osquery_simulator::Observations| {
        seen.campaigns.first().map(|campaign| campaign.state)
    };
    assert_eq!(
        simulator.campaigns()[0].state,
        CampaignState::Running,
        "noticed with the tick only"
    );
    let ended =
        |seen: &osquery_simulator::Observations| state(seen) == Some(CampaignState::Completed);
    assert!(simulator.until(ended, PATIENCE).await);
    assert!(
        listened.elapsed() > Duration::from_millis(200),
        "not before the tick"
    );
}

#[tokio::test]
async fn a_dead_listener_swallows_answers_and_ends_the_campaign_under_the_next() {
    let mut scenario = quick([
        HostSpec::named("early").delayed(Duration::from_millis(300)),
        HostSpec::named("late").delayed(Duration::from_secs(3)),
    ]);
    scenario.fleet.tick = Duration::from_millis(1_000);
    let simulator = start(scenario).await;
    let campaign = run(&simulator, "SELECT 1", &[1, 2]).await;
    let mut first = listen(&simulator, campaign).await;
    assert_eq!(next(&mut first).await.json()["type"], "totals");
    drop(first);
    let lost =
        |seen: &osquery_simulator::Observations| seen.answers.iter().any(|a| a.fate == Fate::Lost);
    assert!(simulator.until(lost, PATIENCE).await);
    let mut second = listen(&simulator, campaign).await;
    assert_eq!(next(&mut second).await.json()["type"], "totals");
    let ended = |seen: &osquery_simulator::Observations| {
        seen.campaigns
            .iter()
            .all(|campaign| campaign.state == CampaignState::Completed)
    };
    assert!(
        simulator.until(ended, PATIENCE).await,
        "by the first listener's tick"
    );
    assert_eq!(
        simulator.campaigns()[0].listeners,
        1,
        "the second is still there"
    );
}

#[tokio::test]
async fn refusals_end_with_close_code_0() {
    let mut scenario = quick([HostSpec::named("web")]);
    scenario.fleet.campaign_wait = Duration::from_millis(10);
    let simulator = start(scenario).await;
    let campaign = run(&simulator, "SELECT 1", &[1]).await;
    for (token, selected, text) in [
        ("wrong", campaign, "unauthorized"),
        (FLEET_MAINTAINER_TOKEN, campaign, "unauthorized"),
        (
            FLEET_ADMIN_TOKEN,
            999,
            "timeout: cannot find campaign for ID 999",
        ),
    ] {
        let mut socket = Socket::open(simulator.addr(), SOCKET, &[])
            .await
            .expect("a socket");
        socket
            .send(&json!({"type": "auth", "data": {"token": token}}))
            .await;
        socket
            .send(&json!({"type": "select_campaign", "data": {"campaign_id": selected}}))
            .await;
        assert_eq!(
            next(&mut socket).await.json(),
            json!({"type": "error", "data": text})
        );
        assert_eq!(next(&mut socket).await, Frame::Close(Some(0)));
    }
}

#[tokio::test]
async fn a_foreign_origin_is_refused() {
    let simulator = start(quick([])).await;
    let foreign = Socket::open(
        simulator.addr(),
        SOCKET,
        &[("Origin", "https://evil.example")],
    )
    .await;
    assert_eq!(foreign.err(), Some(403));
    let own = format!("http://{}", simulator.addr());
    assert!(
        Socket::open(simulator.addr(), SOCKET, &[("Origin", &own)])
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_offline_host_that_comes_back_answers() {
    let mut back = HostSpec::named("back").offline();
    back.behaviour.comes_back = Some(Duration::from_millis(50));
    let simulator = start(quick([back, HostSpec::named("gone").offline()])).await;
    let campaign = run(&simulator, "SELECT 1", &[1, 2]).await;
    let mut socket = listen(&simulator, campaign).await;
    let totals = next(&mut socket).await.json();
    assert_eq!(
        totals["data"],
        json!({"count": 2, "online": 0, "offline": 2, "missing_in_action": 0})
    );
    assert_eq!(result(&mut socket).await["host"]["hostname"], "back");
    let totals = next(&mut socket).await.json();
    assert_eq!(
        (&totals["type"], &totals["data"]["online"]),
        (&json!("totals"), &json!(1))
    );
    let status = next(&mut socket).await.json();
    assert_eq!(status["data"]["status"], "finished");
}

#[tokio::test]
async fn paths_exist_in_the_spelling_of_the_scenario() {
    let body = json!({"query": "SELECT 1", "selected": {"hosts": ["web"], "labels": []}});
    for (paths, old, new) in [
        (Paths::Old, 200, 404),
        (Paths::New, 404, 200),
        (Paths::Both, 200, 200),
    ] {
        let mut scenario = quick([HostSpec::named("web")]);
        scenario.fleet.paths = paths;
        let simulator = start(scenario).await;
        for (path, status) in [("queries", old), ("reports", new)] {
            let path = format!("/api/v1/fleet/{path}/run_by_identifiers");
            let answer = post(simulator.addr(), &path, FLEET_ADMIN_TOKEN, &body).await;
            assert_eq!(answer.status, status, "{paths:?} {path}");
        }
    }
}

#[tokio::test]
async fn an_empty_identifier_means_every_host_without_a_serial() {
    let mut bare = HostSpec::many(3, "bare-{n}");
    bare.serial = Some(String::new());
    let simulator = start(quick([HostSpec::named("web"), bare])).await;
    let body = json!({"query": "SELECT 1", "selected": {"hosts": [""], "labels": []}});
    let path = "/api/v1/fleet/queries/run_by_identifiers";
    let answer = post(simulator.addr(), path, FLEET_ADMIN_TOKEN, &body).await;
    assert_eq!(answer.json()["campaign"]["Metrics"]["TotalHosts"], 3);
}

#[tokio::test]
async fn a_user_who_must_change_the_password_can_do_nothing() {
    let mut scenario = quick([]);
    let mut user = FleetUser::defaults().remove(0);
    user.role = Role::Maintainer;
    user.must_reset_password = true;
    scenario.fleet.users = vec![user];
    let simulator = start(scenario).await;
    let answer = get(simulator.addr(), "/api/v1/fleet/me", FLEET_ADMIN_TOKEN).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["message"], "password reset required");
}

#[tokio::test]
async fn a_login_needs_its_content_type_and_its_token_works_until_the_logout() {
    let simulator = start(quick([])).await;
    let credentials = json!({"email": FLEET_ADMIN_EMAIL, "password": FLEET_ADMIN_PASSWORD});
    let login = "/api/v1/fleet/login";
    let bare = request(
        simulator.addr(),
        "POST",
        login,
        &[],
        Some(credentials.to_string()),
    )
    .await;
    let bare = bare.expect("an answer");
    assert_eq!(
        (bare.status, &bare.json()["errors"][0]["reason"]),
        (400, &json!("Expected JSON Body"))
    );
    let answer = post(simulator.addr(), login, "", &credentials).await;
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    let me = || get(simulator.addr(), "/api/v1/fleet/me", &token);
    assert_eq!(me().await.status, 200);
    post(simulator.addr(), "/api/v1/fleet/logout", &token, &json!({})).await;
    assert_eq!(me().await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hosts_answer_twenty_rows_each() {
    let pods =
        HostSpec::many(10_000, "pod-{n:05}").with_table("processes", TableSpec::generate(20));
    let mut scenario = quick([pods]);
    scenario.check_in = Duration::from_millis(500);
    let simulator = start(scenario).await;
    let labels = get(
        simulator.addr(),
        "/api/v1/fleet/labels/summary",
        FLEET_ADMIN_TOKEN,
    )
    .await
    .json();
    let all = labels["labels"]
        .as_array()
        .and_then(|all| all.iter().find(|l| l["name"] == "All Hosts"));
    let body = json!({"query": "SELECT * FROM processes LIMIT 20",
        "selected": {"hosts": [], "labels": [all.expect("a label")["id"]], "teams": []}});
    let answer = post(
        simulator.addr(),
        "/api/v1/fleet/queries/run",
        FLEET_ADMIN_TOKEN,
        &body,
    )
    .await;
    let campaign = answer.json()["campaign"]["id"].as_u64().expect("an id");
    let mut socket = listen(&simulator, campaign).await;
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 10_000 {
        let Frame::Text(bytes) = next(&mut socket).await else {
            panic!("the socket ended")
        };
        let text = String::from_utf8(bytes).expect("UTF-8");
        if let Some((_, host)) = text.split_once("\"host\":{\"id\":") {
            let id: u64 = host
                .split(',')
                .next()
                .and_then(|id| id.parse().ok())
                .expect("an id");
            assert!(seen.insert(id), "host {id} answers once");
            assert_eq!(text.matches("\"host_hostname\":").count(), 20);
        }
    }
}
