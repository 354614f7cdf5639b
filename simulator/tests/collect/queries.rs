//! osctrl's lists of queries and their results between two polls.

use osquery_simulator::{
    Cells, HostSpec, OSCTRL_ADMIN_TOKEN, QuerySpec, QueryState, ResultSpec, Scenario, Simulator,
    TableSpec,
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

fn scenario(queries: Vec<QuerySpec>) -> Scenario {
    let mut scenario = Scenario::of(["a", "b"].map(HostSpec::named));
    scenario.osctrl.queries = queries;
    scenario
}

async fn list(site: &Site, path: &str) -> Value {
    let answer = site.osctrl(&format!("/queries/dev{path}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn lists_hold_what_their_target_means() {
    let query = |name: &str, state| QuerySpec::of(name, "SELECT 1").state(state);
    let mut late = query("late", QueryState::Expired);
    late.completed = Some(true);
    let site = Site::new(scenario(vec![
        query("running", QueryState::Active),
        query("done", QueryState::Completed),
        query("stopped", QueryState::Expired),
        query("gone", QueryState::Deleted),
        query("hidden running", QueryState::Active).hidden(),
        query("hidden done", QueryState::Completed).hidden(),
        late,
    ]))
    .await;
    for (target, names) in [
        ("all", json!(["running", "done", "stopped", "late"])),
        ("active", json!(["running", "hidden running"])),
        ("completed", json!(["done", "hidden done"])),
        ("expired", json!(["stopped", "late"])),
        ("deleted", json!(["gone"])),
        ("hidden", json!(["hidden running", "hidden done"])),
        ("saved", json!([])),
    ] {
        let page = list(&site, &format!("/list/{target}?dir=asc")).await;
        assert_eq!(pluck(&page, "items", "name"), names, "{target}");
    }
    let refused = site.osctrl("/queries/dev/list/nonsense").await;
    assert_eq!(
        (refused.status, refused.json()),
        (400, json!({"error": "invalid target"}))
    );
    let older = list(&site, "").await;
    let names: Vec<&Value> = older
        .as_array()
        .expect("a list")
        .iter()
        .map(|q| &q["name"])
        .collect();
    assert_eq!(
        names,
        ["done", "hidden done"],
        "without pages, completed ones"
    );
}

#[tokio::test]
async fn lists_come_in_pages_newest_first_unless_asked_otherwise() {
    let query = |number: usize| {
        let mut query = QuerySpec::of(format!("q{number:04}"), "SELECT 1");
        query.created = Some(format!("2026-11-20T00:00:00.{number:06}Z"));
        query
    };
    let site = Site::new(scenario((1..=1_100).map(query).collect())).await;
    let first = list(&site, "/list/all?page=1&page_size=2").await;
    assert_eq!(pluck(&first, "items", "name"), json!(["q1100", "q1099"]));
    assert_eq!(
        (&first["total_items"], &first["total_pages"]),
        (&json!(1_100), &json!(550))
    );
    let oldest = list(&site, "/list/all?page_size=2&sort=created&dir=asc").await;
    assert_eq!(pluck(&oldest, "items", "name"), json!(["q0001", "q0002"]));
    assert_eq!(
        oldest["items"][1]["created_at"],
        "2026-11-20T00:00:00.000002Z"
    );
    let most = list(&site, "/list/all?page_size=9999").await;
    assert_eq!(most["page_size"], 500);
    assert_eq!(most["items"].as_array().map(Vec::len), Some(500));
    let beyond = list(&site, "/list/all?page=4&page_size=500").await;
    assert_eq!(beyond["items"], json!([]));
}

#[tokio::test]
async fn a_query_of_before_has_results_and_gets_more() {
    let query = QuerySpec::of("query_units", "SELECT name FROM units")
        .with_result(
            ResultSpec::of("a")
                .rows(rows(&["cron"]))
                .at("2026-11-20T10:00:00.000001Z"),
        )
        .with_result(ResultSpec::of("b").error("no such table: units"));
    let mut scenario = scenario(vec![query]);
    scenario
        .tables
        .insert("units".into(), TableSpec::Rows(rows(&["ssh {hostname}"])));
    let site = Site::new(scenario).await;
    let state = list(&site, "/query_units").await;
    assert_eq!(
        json!([
            state["expected"],
            state["executions"],
            state["errors"],
            state["completed"]
        ]),
        json!([2, 1, 1, true])
    );
    let results = "/results/query_units?page=1&page_size=1000";
    let first = list(&site, results).await;
    assert_eq!(pluck(&first, "items", "id"), json!([1, 2]));
    assert_eq!(pluck(&first, "items", "status"), json!([0, 1]));
    assert_eq!(
        pluck(&first, "items", "created_at"),
        json!(["2026-11-20T10:00:00.000001Z", "2026-11-20T10:00:00.000002Z"])
    );
    let data = |item: &Value| -> Value {
        serde_json::from_str(item["data"].as_str().expect("text")).expect("JSON")
    };
    assert_eq!(
        data(&first["items"][0])["result"],
        json!([{"name": "cron"}])
    );
    assert_eq!(data(&first["items"][1])["message"], "no such table: units");

    site.0
        .take_result("query_units", ResultSpec::of("b"))
        .expect("a result");
    let since = "&since=2026-11-20T10%3A00%3A00.000002Z";
    let second = list(&site, &format!("{results}{since}")).await;
    assert_eq!(second["since"], "2026-11-20T10:00:00.000002Z");
    assert_eq!(
        pluck(&second, "items", "id"),
        json!([3]),
        "exclusive, to the microsecond"
    );
    assert_eq!(
        data(&second["items"][0])["result"],
        json!([{"name": "ssh b"}])
    );
    let state = list(&site, "/query_units").await;
    assert_eq!(
        (&state["executions"], &state["expected"]),
        (&json!(2), &json!(2))
    );
    let unknown = site.0.take_result("nope", ResultSpec::of("b"));
    assert_eq!(
        unknown.expect_err("refused").to_string(),
        "no query is 'nope'"
    );
}

#[tokio::test]
async fn a_since_that_is_no_time_is_ignored_without_a_word() {
    let query = || QuerySpec::of("q", "SELECT 1 AS name").filled();
    let site = Site::new(scenario(vec![query()])).await;
    for since in ["yesterday", "1795218831", "2026-11-20", ""] {
        let page = list(&site, &format!("/results/q?since={since}")).await;
        assert_eq!(page["total_items"], 2, "{since}");
        assert_eq!(page.get("since"), None, "{since}");
    }
    let future = list(&site, "/results/q?since=2100-01-01T00%3A00%3A00Z").await;
    assert_eq!(
        future,
        json!({"items": [], "page": 1, "page_size": 50, "total_items": 0, "total_pages": 0,
               "since": "2100-01-01T00:00:00Z"})
    );
    // Older servers know neither pages nor since.
    let mut older = scenario(vec![query()]);
    older.osctrl.paged_results = false;
    let site = Site::new(older).await;
    let all = list(&site, "/results/q?since=2100-01-01T00%3A00%3A00Z").await;
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    let queries = list(&site, "/list/all").await;
    assert_eq!(queries[0]["name"], "q");
}

#[tokio::test]
async fn what_came_at_one_moment_changes_places_between_pages_where_that_is_asked() {
    let at = "2026-11-20T10:00:00Z";
    let mut query = QuerySpec::of("q", "SELECT 1");
    for _ in 0..4 {
        query = query.with_result(ResultSpec::of("a").rows(rows(&["x"])).at(at));
    }
    let mut scenario = scenario(vec![query]);
    for (loose, ids) in [
        (false, json!([[1, 2], [3, 4]])),
        (true, json!([[1, 2], [2, 1]])),
    ] {
        scenario.osctrl.loose_order = loose;
        let site = Site::new(scenario.clone()).await;
        let mut pages = Vec::new();
        for page in 1..=2 {
            let path = format!("/results/q?page={page}&page_size=2");
            pages.push(pluck(&list(&site, &path).await, "items", "id"));
        }
        assert_eq!(Value::from(pages), ids, "{loose}");
    }
}

#[tokio::test]
async fn a_query_that_runs_is_hidden_if_its_client_says_so() {
    let site = Site::new(scenario(Vec::new())).await;
    let body = json!({"query": "SELECT 1", "hidden": true, "exp_hours": 1,
                      "host_list": ["a"]});
    let to = site.0.addr();
    client::post(to, "/api/v1/queries/dev", OSCTRL_ADMIN_TOKEN, &body).await;
    assert_eq!(list(&site, "/list/all").await["total_items"], 0);
    assert_eq!(list(&site, "/list/hidden").await["total_items"], 1);
}

#[tokio::test]
async fn results_come_by_the_script_too() {
    let scenario = Scenario::from_yaml(
        "
osctrl:
  queries:
    - {name: q, query: SELECT 1, state: active, hidden: true, creator: someone, expected: 5}
hosts: [{hostname: a}]
changes:
  - {after_requests: 1, result: {query: q, result: {host: a, rows: [{name: x}]}}}
",
    );
    let site = Site::new(scenario.expect("a scenario")).await;
    assert_eq!(list(&site, "/results/q").await["total_items"], 0);
    let second = list(&site, "/results/q").await;
    assert_eq!(second["total_items"], 1);
    let state = list(&site, "/q").await;
    assert_eq!(
        json!([
            state["active"],
            state["creator"],
            state["expected"],
            state["executions"]
        ]),
        json!([true, "someone", 5, 1]),
        "a result alone ends nothing"
    );
}

#[tokio::test]
async fn what_contradicts_itself_is_refused() {
    for (text, message) in [
        (
            "osctrl: {queries: [{query: q, environment: nope}]}",
            "osctrl.queries[0].environment 'nope' is not among osctrl.environments",
        ),
        (
            "osctrl: {queries: [{name: n, query: q}, {name: n, query: q}]}",
            "osctrl.queries: two are called 'n'",
        ),
        (
            "osctrl: {queries: [{query: q, created: x}]}",
            "osctrl.queries[0].created 'x' is not a time such as 2026-11-20T23:53:11Z",
        ),
        (
            "osctrl: {queries: [{query: q, results: [{host: a, rows: [], error: e}]}]}",
            "osctrl.queries[0]: a result has rows or an error, not both",
        ),
        (
            "osctrl: {queries: [{query: q, results: [{host: a, at: x}]}]}",
            "osctrl.queries[0]: at 'x' is not a time such as 2026-11-20T23:53:11Z",
        ),
        (
            "osctrl: {queries: [{query: q, results: [{host: nobody}]}]}",
            "osctrl.queries[0]: no host is 'nobody'",
        ),
        (
            "{hosts: [{hostname: a}], changes: [{result: {query: q, result: {host: a}}}]}",
            "changes[0]: no query is 'q'",
        ),
    ] {
        let refused = match Scenario::from_yaml(text) {
            Err(refused) => refused.to_string(),
            Ok(scenario) => match Simulator::start(scenario).await {
                Ok(_) => panic!("{text} starts"),
                Err(refused) => refused.to_string(),
            },
        };
        assert_eq!(refused, message);
    }
}
