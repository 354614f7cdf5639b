//! osctrl's quirks that no recording shows, or that a client depends on most.

#![allow(missing_docs, reason = "tests")]

mod client;

use std::time::Duration;

use client::{get, post};
use osquery_simulator::{
    Answer, CampaignState, HostSpec, OSCTRL_ADMIN_PASSWORD, OSCTRL_ADMIN_TOKEN,
    OSCTRL_PLUGIN_TOKEN, Observations, Scenario, Simulator, TableSpec,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

async fn start(scenario: Scenario) -> Simulator {
    Simulator::start(scenario).await.expect("a simulator")
}

fn quick(hosts: impl IntoIterator<Item = HostSpec>) -> Scenario {
    let mut scenario = Scenario::of(hosts);
    scenario.check_in = Duration::from_millis(5);
    scenario
}

async fn create(simulator: &Simulator, mut body: Value) -> String {
    if body.get("exp_hours").is_none() {
        body["exp_hours"] = json!(1);
    }
    let answer = post(
        simulator.addr(),
        "/api/v1/queries/dev",
        OSCTRL_ADMIN_TOKEN,
        &body,
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["query_name"]
        .as_str()
        .expect("a name")
        .to_owned()
}

async fn answered(simulator: &Simulator, count: usize) {
    let reached = |seen: &Observations| seen.answers.len() >= count;
    assert!(simulator.until(reached, PATIENCE).await, "{count} answers");
}

async fn results(simulator: &Simulator, name: &str, parameters: &str) -> Value {
    let path = format!("/api/v1/queries/dev/results/{name}{parameters}");
    get(simulator.addr(), &path, OSCTRL_PLUGIN_TOKEN)
        .await
        .json()
}

async fn state(simulator: &Simulator, name: &str) -> Value {
    let path = format!("/api/v1/queries/dev/{name}");
    get(simulator.addr(), &path, OSCTRL_PLUGIN_TOKEN)
        .await
        .json()
}

#[tokio::test]
async fn data_is_json_within_json_and_names_its_host() {
    let simulator = start(quick([HostSpec::named("we\"b")])).await;
    let name = create(
        &simulator,
        json!({"query": "SELECT hostname, '<&>' AS mark FROM system_info"}),
    )
    .await;
    answered(&simulator, 1).await;
    let read = results(&simulator, &name, "").await;
    let data = read["items"][0]["data"].as_str().expect("a text");
    assert!(
        data.contains("\\u003c\\u0026\\u003e"),
        "escaped as Go does: {data}"
    );
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(
        data,
        json!({"name": name, "result": [{"hostname": "we\"b", "mark": "<&>"}], "status": 0, "message": ""})
    );
}

#[tokio::test]
async fn no_list_at_all_means_everyone_and_lists_that_match_nothing_drop_out() {
    let mut prod = HostSpec::named("prod");
    prod.environment = Some("prod".into());
    let mut tagged = HostSpec::named("tagged").on("darwin");
    tagged.tags = vec!["t".into()];
    let mut scenario = quick([
        HostSpec::named("a"),
        HostSpec::named("gone").offline(),
        tagged,
        prod,
    ]);
    scenario.osctrl.environments = vec!["dev".into(), "prod".into()];
    let simulator = start(scenario).await;
    for (lists, expected) in [
        (json!({"query": "SELECT 1"}), 3),
        (
            json!({"query": "SELECT 1", "uuid_list": [], "host_list": []}),
            3,
        ),
        (
            json!({"query": "SELECT 1", "platform_list": ["linux"], "tag_list": ["mistyped"]}),
            2,
        ),
        (
            json!({"query": "SELECT 1", "platform_list": ["darwin"], "tag_list": ["t"]}),
            1,
        ),
    ] {
        let name = create(&simulator, lists.clone()).await;
        assert_eq!(
            state(&simulator, &name).await["expected"],
            expected,
            "{lists}"
        );
    }
}

#[tokio::test]
async fn an_unknown_host_fails_the_call_and_leaves_a_query_that_nobody_is_given() {
    let simulator = start(quick([HostSpec::named("a")])).await;
    let body = json!({"query": "SELECT 1", "uuid_list": ["nope"], "exp_hours": 1});
    let answer = post(
        simulator.addr(),
        "/api/v1/queries/dev",
        OSCTRL_PLUGIN_TOKEN,
        &body,
    )
    .await;
    assert_eq!(
        (answer.status, answer.json()),
        (500, json!({"error": "error creating query"}))
    );
    let list = get(
        simulator.addr(),
        "/api/v1/queries/dev/list/all",
        OSCTRL_PLUGIN_TOKEN,
    )
    .await;
    assert_eq!(list.json()["total_items"], 1);
    assert_eq!(
        simulator.campaigns()[0].state,
        CampaignState::NeverDelivered
    );
}

#[tokio::test]
async fn carves_need_an_administrator() {
    let simulator = start(quick([HostSpec::named("a")])).await;
    let body = json!({"query": "SELECT 'Carves'", "exp_hours": 1});
    let answer = post(
        simulator.addr(),
        "/api/v1/queries/dev",
        OSCTRL_PLUGIN_TOKEN,
        &body,
    )
    .await;
    assert_eq!(
        (answer.status, answer.json()),
        (403, json!({"error": "no access"}))
    );
}

#[tokio::test]
async fn a_status_alone_counts_and_leaves_no_item() {
    let simulator = start(quick([
        HostSpec::named("a").answering(Answer::StatusOnly(1))
    ]))
    .await;
    let name = create(&simulator, json!({"query": "SELECT 1"})).await;
    answered(&simulator, 1).await;
    let read = state(&simulator, &name).await;
    assert_eq!(
        (&read["errors"], &read["completed"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(results(&simulator, &name, "").await["items"], json!([]));
}

#[tokio::test]
async fn items_may_come_later_than_the_counters_and_the_other_way_round() {
    let mut late_item = HostSpec::named("late-item");
    late_item.behaviour.item_lag = Duration::from_secs(600);
    let mut late_count = HostSpec::named("late-count");
    late_count.behaviour.counter_lag = Duration::from_secs(600);
    let simulator = start(quick([late_item, late_count])).await;
    let one = create(
        &simulator,
        json!({"query": "SELECT 1", "host_list": ["late-item"]}),
    )
    .await;
    let other = create(
        &simulator,
        json!({"query": "SELECT 1", "host_list": ["late-count"]}),
    )
    .await;
    answered(&simulator, 2).await;
    assert_eq!(state(&simulator, &one).await["completed"], true);
    assert_eq!(results(&simulator, &one, "").await["total_items"], 0);
    assert_eq!(state(&simulator, &other).await["executions"], 0);
    assert_eq!(results(&simulator, &other, "").await["total_items"], 1);
}

#[tokio::test]
async fn results_come_in_pages_of_a_thousand_at_most_and_since_a_time() {
    let simulator = start(quick([HostSpec::many(1_500, "h-{n}")])).await;
    let name = create(&simulator, json!({"query": "SELECT 1 AS one"})).await;
    answered(&simulator, 1_500).await;
    let first = results(&simulator, &name, "?page=1&page_size=9999").await;
    assert_eq!(first["items"].as_array().map(Vec::len), Some(1_000));
    assert_eq!(
        (&first["page_size"], &first["total_pages"]),
        (&json!(1_000), &json!(2))
    );
    let second = results(&simulator, &name, "?page=2&page_size=1000").await;
    assert_eq!(second["items"].as_array().map(Vec::len), Some(500));
    let last = second["items"][499]["created_at"].as_str().expect("a time");
    let since = results(&simulator, &name, &format!("?since={last}")).await;
    assert!(
        since["total_items"].as_u64().is_some_and(|left| left < 500),
        "{since}"
    );
    let since = results(&simulator, &name, "?since=2020-01-01T00:00:00Z").await;
    assert_eq!(since["total_items"], 1_500);
}

#[tokio::test]
async fn older_servers_have_no_paged_nodes_and_results_without_pages() {
    let mut scenario = quick([HostSpec::named("a")]);
    scenario.osctrl.paged_nodes = false;
    scenario.osctrl.paged_results = false;
    let simulator = start(scenario).await;
    let nodes = get(
        simulator.addr(),
        "/api/v1/nodes/dev?page=1",
        OSCTRL_ADMIN_TOKEN,
    )
    .await;
    assert_eq!(nodes.status, 404);
    let all = get(
        simulator.addr(),
        "/api/v1/nodes/dev/all",
        OSCTRL_ADMIN_TOKEN,
    )
    .await;
    assert_eq!(all.json()[0]["hostname"], "a");
    let name = create(&simulator, json!({"query": "SELECT 1"})).await;
    answered(&simulator, 1).await;
    assert!(results(&simulator, &name, "").await.is_array());
}

#[tokio::test]
async fn a_login_ends_the_users_static_token_too() {
    let simulator = start(quick([])).await;
    let me = || get(simulator.addr(), "/api/v1/checks-auth", OSCTRL_ADMIN_TOKEN);
    assert_eq!(me().await.status, 200);
    let body = json!({"username": "admin", "password": OSCTRL_ADMIN_PASSWORD, "exp_hours": 1});
    let answer = post(simulator.addr(), "/api/v1/login/dev", "", &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(me().await.status, 401);
}

#[tokio::test]
async fn a_host_may_answer_twice_later_and_as_someone_else() {
    let mut twice = HostSpec::named("twice");
    twice.behaviour.times = 2;
    let mut third = HostSpec::named("third-check-in");
    third.behaviour.check_ins = 3;
    let mut other = HostSpec::named("other");
    other.behaviour.answers_as = Some("abcd".into());
    let simulator = start(quick([twice, third, other])).await;
    let name = create(&simulator, json!({"query": "SELECT 1"})).await;
    answered(&simulator, 4).await;
    let read = results(&simulator, &name, "?page_size=100").await;
    let uuids: Vec<&str> = read["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["uuid"].as_str())
        .collect();
    assert_eq!(uuids.len(), 4);
    assert_eq!(
        uuids.iter().filter(|uuid| uuid.ends_with("1")).count(),
        2,
        "{uuids:?}"
    );
    assert!(uuids.contains(&"ABCD"), "{uuids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hosts_answer_twenty_rows_each() {
    let pods =
        HostSpec::many(10_000, "pod-{n:05}").with_table("processes", TableSpec::generate(20));
    let mut scenario = quick([pods]);
    scenario.check_in = Duration::from_millis(500);
    let simulator = start(scenario).await;
    let name = create(
        &simulator,
        json!({"query": "SELECT * FROM processes LIMIT 20"}),
    )
    .await;
    answered(&simulator, 10_000).await;
    assert_eq!(state(&simulator, &name).await["completed"], true);
    let last = results(&simulator, &name, "?page=10&page_size=1000").await;
    assert_eq!(
        (&last["total_items"], &last["total_pages"]),
        (&json!(10_000), &json!(10))
    );
    let data = last["items"][999]["data"].as_str().expect("a text");
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(data["result"].as_array().map(Vec::len), Some(20));
}
