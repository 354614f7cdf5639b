//! Fleet's versions, its roles and its limited tokens.

use std::collections::BTreeSet;

use osquery_simulator::{
    CampaignState, Endpoints, FLEET_ADMIN_TOKEN, Fault, FleetUser, HostSpec, ListError, ReportSpec,
    Role, Scenario, ServerVersion, Team,
};
use serde_json::{Value, json};

use super::client::{self, Answer, Frame};
use super::site::{Site, next, next_of};

const V482: ServerVersion = ServerVersion(4, 82, 0);

fn fleet(version: ServerVersion, hosts: Vec<HostSpec>) -> Scenario {
    let mut scenario = Scenario::of(hosts);
    scenario.fleet.version = Some(version);
    scenario.fleet.teams = vec![Team {
        id: 7,
        name: "Servers".into(),
    }];
    scenario
}

fn in_team(name: &str) -> HostSpec {
    HostSpec {
        team_id: Some(7),
        ..HostSpec::named(name)
    }
}

async fn post(site: &Site, token: &str, path: &str, body: &Value) -> Answer {
    let path = format!("/api/v1/fleet{path}");
    client::post(site.0.addr(), &path, token, body).await
}

async fn get(site: &Site, token: &str, path: &str) -> Answer {
    let path = format!("/api/v1/fleet{path}");
    client::get(site.0.addr(), &path, token).await
}

#[tokio::test]
async fn fleet_2025_knows_the_old_paths_and_names_only() {
    let site = Site::new(fleet(ServerVersion::FLEET_2025, vec![in_team("web")])).await;
    for path in ["/reports", "/fleets", "/reports/1"] {
        let answer = site.fleet_get(path).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, "404 page not found\n")
        );
    }
    let body = json!({"query": "SELECT 1", "selected": {"hosts": [1]}});
    let answer = site.fleet_post("/reports/run", &body).await;
    assert_eq!(answer.status, 404);
    let run = site.fleet_run(&[1]).await.json();
    assert_eq!(run["campaign"].get("report_id"), None);
    let host = &site.fleet_get("/hosts").await.json()["hosts"][0];
    assert_eq!((&host["team_id"], host.get("fleet_id")), (&json!(7), None));
}

#[tokio::test]
async fn answers_of_2026_carry_both_names() {
    let mut scenario = fleet(V482, vec![in_team("web")]);
    scenario.fleet.reports = vec![ReportSpec {
        team_id: Some(7),
        ..ReportSpec::of("Uptime", "SELECT 1 AS one")
    }];
    let site = Site::new(scenario).await;
    for path in ["/hosts", "/hosts/1", "/hosts/identifier/web"] {
        let read = site.fleet_get(path).await.json();
        let host = if read["host"].is_null() {
            &read["hosts"][0]
        } else {
            &read["host"]
        };
        for (old, new, value) in [
            ("team_id", "fleet_id", json!(7)),
            ("team_name", "fleet_name", json!("Servers")),
        ] {
            assert_eq!((&host[old], &host[new]), (&value, &value), "{path}");
        }
    }
    for path in ["/teams", "/fleets"] {
        let read = site.fleet_get(path).await.json();
        assert_eq!(
            (&read["teams"][0]["id"], &read["fleets"][0]["id"]),
            (&json!(7), &json!(7))
        );
    }
    for path in ["/queries?team_id=7", "/reports?fleet_id=7"] {
        let read = site.fleet_get(path).await.json();
        assert_eq!(read["queries"][0]["team_id"], 7, "{path}: {read}");
        assert_eq!(read["reports"][0]["fleet_id"], 7);
        assert_eq!(read["reports"][0]["query"], "SELECT 1 AS one");
    }
    let one = site.fleet_get("/reports/1").await.json();
    assert_eq!(
        (&one["query"]["id"], &one["report"]["id"]),
        (&json!(1), &json!(1))
    );
    let body = json!({"query": "SELECT 1", "selected": {"fleets": [7]}});
    let run = site.fleet_post("/reports/run", &body).await.json();
    let campaign = &run["campaign"];
    assert_eq!(campaign["query_id"], campaign["report_id"]);
    assert_eq!(campaign["Metrics"]["TotalHosts"], 1);
}

#[tokio::test]
async fn paths_of_2026_keep_to_the_names_of_their_time_and_no_request_has_both() {
    let site = Site::new(fleet(V482, vec![in_team("web"), HostSpec::named("db")])).await;
    for (path, selected, status) in [
        ("/reports/run", json!({"fleets": [7]}), 200),
        ("/queries/run", json!({"teams": [7]}), 200),
        ("/reports/run", json!({"teams": [7]}), 400),
        ("/queries/run", json!({"fleets": [7]}), 400),
        ("/reports/run", json!({"fleets": [7], "teams": [7]}), 400),
        ("/reports/run", json!({"hosts": [2]}), 200),
    ] {
        let body = json!({"query": "SELECT 1", "selected": selected});
        let answer = site.fleet_post(path, &body).await;
        assert_eq!(
            answer.status,
            status,
            "{path} {selected}: {}",
            answer.text()
        );
    }
    let body = json!({"query_id": 1, "report_id": 1, "selected": {"hosts": [1]}});
    let refused = site.fleet_post("/reports/run", &body).await;
    let reason = "Conflicting field names: cannot specify both \"query_id\" (deprecated) and \
                  \"report_id\" in the same request";
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["errors"][0]["reason"], reason);
    let twice = site.fleet_get("/hosts?team_id=7&fleet_id=7").await;
    assert_eq!(twice.status, 400);
    for parameter in ["team_id", "fleet_id"] {
        let read = site
            .fleet_get(&format!("/hosts?{parameter}=7"))
            .await
            .json();
        assert_eq!(read["hosts"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn a_limited_token_gets_403_on_whatever_is_not_listed() {
    for (minor, runs, text) in [
        (85, 403, "Permission Denied"),
        (90, 200, "Permission Denied"),
        (93, 200, "endpoint not permitted for this API-only user"),
    ] {
        let mut scenario = fleet(ServerVersion(4, minor, 0), vec![HostSpec::named("web")]);
        scenario.fleet.users = vec![
            FleetUser::with_token("All", Role::ObserverPlus, "all")
                .limited_to(Endpoints::Catalogue),
            FleetUser::with_token("Few", Role::ObserverPlus, "few")
                .limited_to(Endpoints::These(vec!["GET hosts/:".into()])),
        ];
        let site = Site::new(scenario).await;
        let body = json!({"query": "SELECT 1", "selected": {"hosts": [1]}});
        for path in ["/queries/run", "/queries/run_by_identifiers", "/logout"] {
            let refused = post(&site, "all", path, &body).await;
            assert_eq!(
                (refused.status, &refused.json()["message"]),
                (403, &json!(text))
            );
        }
        for (path, status) in [
            ("/me", 200),
            ("/hosts", 200),
            ("/hosts/count", 200),
            ("/hosts/identifier/web", 200),
            ("/labels/summary", 200),
            ("/labels/11/hosts", 200),
            ("/reports", 200),
            ("/queries", 403),
            ("/status/live_query", 403),
        ] {
            assert_eq!(get(&site, "all", path).await.status, status, "{path}");
        }
        let run = post(&site, "all", "/reports/run", &body).await;
        assert_eq!(run.status, runs, "{}", run.text());
        assert_eq!(
            post(&site, "all", "/hosts/1/query", &body).await.status,
            200
        );
        assert_eq!(get(&site, "few", "/hosts/1").await.status, 200);
        for path in ["/hosts", "/reports", "/hosts/count"] {
            assert_eq!(get(&site, "few", path).await.status, 403, "{path}");
        }
        assert_eq!(get(&site, "few", "/me").await.status, 200);
    }
}

#[tokio::test]
async fn bodies_above_a_megabyte_are_refused_from_4_82_on() {
    let ids: Vec<u64> = (1..200_000).collect();
    let body = json!({"query": "SELECT 1", "selected": {"hosts": ids}});
    for (version, status) in [(ServerVersion::FLEET_2025, 200), (V482, 413)] {
        let site = Site::new(fleet(version, vec![HostSpec::named("web")])).await;
        assert_eq!(site.fleet_post("/queries/run", &body).await.status, status);
    }
}

#[tokio::test]
async fn phones_never_answer_are_targeted_and_count_as_online_from_4_93_on() {
    for (minor, online) in [(92, 1), (93, 4)] {
        let phones =
            ["ios", "ipados", "android"].map(|platform| HostSpec::named(platform).on(platform));
        let mut hosts = vec![HostSpec::named("chromebook").on("chrome")];
        hosts.extend(phones);
        let site = Site::new(fleet(ServerVersion(4, minor, 0), hosts)).await;
        let mut socket = site.fleet_listen(&[1, 2, 3, 4]).await;
        let totals = next_of(&mut socket, "totals").await;
        assert_eq!(
            (&totals["count"], &totals["online"]),
            (&json!(4), &json!(online))
        );
        let read = site.fleet_get("/hosts").await.json();
        let listed = read["hosts"].as_array().expect("hosts").iter();
        let listed = listed.filter(|host| host["status"] == "online").count();
        assert_eq!(listed, online);
        let result = next_of(&mut socket, "result").await;
        assert_eq!(result["host"]["hostname"], "chromebook");
        let seen = site.0.observations();
        assert_eq!(seen.campaigns[0].hosts.len(), 4);
        // To one host, as often as it took until somebody listened.
        let handed_out: BTreeSet<&String> = seen.campaigns[0].handed_out.iter().collect();
        assert_eq!(handed_out.len(), 1);
    }
}

#[tokio::test]
async fn each_role_may_what_it_may() {
    let mut scenario = fleet(
        ServerVersion::FLEET_2026,
        vec![in_team("web"), HostSpec::named("db")],
    );
    scenario.fleet.users = Role::ALL
        .iter()
        .map(|role| {
            let name = format!("{role:?}");
            FleetUser::with_token(name.clone(), *role, name)
        })
        .collect();
    let saved = |name: &str, observers, team_id| ReportSpec {
        observer_can_run: observers,
        team_id,
        interval: 0,
        ..ReportSpec::of(name, "SELECT 1 AS one")
    };
    scenario.fleet.reports = vec![
        saved("for all", true, None),
        saved("for some", false, None),
        saved("of a team", true, Some(7)),
    ];
    let site = Site::new(scenario).await;
    for (role, hosts, ad_hoc, for_all, for_some) in [
        ("Admin", 200, 200, 200, 200),
        ("Maintainer", 200, 200, 200, 200),
        ("Observer", 200, 403, 200, 403),
        ("ObserverPlus", 200, 200, 200, 200),
        ("Technician", 200, 200, 200, 200),
        ("Gitops", 403, 403, 403, 403),
    ] {
        assert_eq!(get(&site, role, "/hosts").await.status, hosts, "{role}");
        let selected = json!({"hosts": [1, 2]});
        let run = |body: Value| {
            let site = &site;
            async move { post(site, role, "/reports/run", &body).await.status }
        };
        assert_eq!(
            run(json!({"query": "SELECT 1", "selected": selected})).await,
            ad_hoc,
            "{role}"
        );
        assert_eq!(
            run(json!({"report_id": 1, "selected": selected})).await,
            for_all,
            "{role}"
        );
        assert_eq!(
            run(json!({"report_id": 2, "selected": selected})).await,
            for_some,
            "{role}"
        );
        // An empty body says nothing of the role.
        assert_eq!(run(json!({})).await, 422, "{role}");
    }
    let body = json!({"report_id": 3, "selected": {"hosts": [1, 2]}});
    let run = post(&site, "Observer", "/reports/run", &body).await.json();
    assert_eq!(
        run["campaign"]["Metrics"]["TotalHosts"], 1,
        "only the team's host"
    );
    assert_eq!(run["campaign"]["report_id"], 3);
}

#[tokio::test]
async fn live_queries_that_are_switched_off_are_403s() {
    let mut scenario = fleet(ServerVersion::FLEET_2026, vec![HostSpec::named("web")]);
    scenario.fleet.live_queries = false;
    let site = Site::new(scenario).await;
    for answer in [
        site.fleet_run(&[1]).await,
        site.fleet_post("/hosts/1/query", &json!({"query": "SELECT 1"}))
            .await,
    ] {
        assert_eq!(
            (answer.status, &answer.json()["message"]),
            (403, &json!("Permission Denied"))
        );
    }
    let config = site.fleet_get("/config").await.json();
    let settings = &config["server_settings"];
    assert_eq!(
        (
            &settings["live_query_disabled"],
            &settings["live_reporting_disabled"]
        ),
        (&json!(true), &json!(true))
    );
    assert_eq!(site.0.campaigns().len(), 0);
}

#[tokio::test]
async fn any_host_may_write_into_any_campaign() {
    let mut stranger = HostSpec::named("stranger");
    stranger.behaviour.intrudes = true;
    let site = Site::new(fleet(V482, vec![HostSpec::named("web"), stranger])).await;
    let mut socket = site.fleet_listen(&[1]).await;
    let mut named = BTreeSet::new();
    for _ in 0..2 {
        let result = next_of(&mut socket, "result").await;
        named.insert(result["host"]["hostname"].as_str().map(str::to_owned));
    }
    assert_eq!(
        named,
        BTreeSet::from([Some("stranger".into()), Some("web".into())])
    );
    let campaign = site.0.campaigns().remove(0);
    let handed_out: BTreeSet<&String> = campaign.handed_out.iter().collect();
    assert_eq!((campaign.hosts.len(), handed_out.len()), (1, 1));
    drop(socket);
}

#[tokio::test]
async fn a_streamed_list_of_2026_ends_in_an_error_under_both_names_of_a_page() {
    let mut fault = Fault::on("/hosts?");
    fault.list_error = Some(ListError {
        after: 1,
        error: "context deadline exceeded".into(),
    });
    let hosts = vec![in_team("web"), HostSpec::named("db")];
    let site = Site::new(fleet(V482, hosts).with_fault(fault)).await;
    let read = site.fleet_get("/hosts?page=0&per_page=100").await.json();
    assert_eq!(read["hosts"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&read["hosts"][0]["fleet_id"], &read["error"]),
        (&json!(7), &json!("context deadline exceeded"))
    );
}

#[tokio::test]
async fn an_observers_saved_query_streams_to_the_observer() {
    let mut scenario = fleet(ServerVersion::FLEET_2026, vec![HostSpec::named("web")]);
    scenario.fleet.reports = vec![ReportSpec {
        observer_can_run: true,
        ..ReportSpec::of("Uptime", "SELECT 1 AS one")
    }];
    scenario.fleet.users = vec![FleetUser::with_token(
        "Olga",
        Role::Observer,
        FLEET_ADMIN_TOKEN,
    )];
    let site = Site::new(scenario).await;
    let body = json!({"report_id": 1, "selected": {"hosts": [1]}});
    let run = site.fleet_post("/reports/run", &body).await.json();
    let mut socket = site.fleet_select(&run["campaign"]["id"]).await;
    assert_eq!(next_of(&mut socket, "result").await["rows"][0]["one"], "1");
    socket.close().await;
    while let Frame::Text(_) = next(&mut socket).await {}
    site.until("its end", |seen| {
        seen.campaigns[0].state == CampaignState::Completed
    })
    .await;
}

#[test]
fn versions_and_limits_can_be_written() {
    let scenario = Scenario::from_yaml(
        "fleet:\n  version: \"4.90\"\n  live_queries: false\n  users:\n    \
         - {name: A, email: a, role: observer_plus, token: t, endpoints: catalogue}\n    \
         - {name: B, email: b, role: technician, token: u, endpoints: [POST reports/run]}\n    \
         - {name: C, email: c, role: gitops}\nhosts: [{hostname: a, behaviour: {intrudes: true}}]\n",
    )
    .expect("a scenario");
    assert_eq!(scenario.fleet.version, Some(ServerVersion(4, 90, 0)));
    let users = &scenario.fleet.users;
    assert_eq!(users[0].endpoints, Some(Endpoints::Catalogue));
    assert_eq!(
        users[1].endpoints,
        Some(Endpoints::These(vec!["POST reports/run".into()]))
    );
    assert_eq!(users[2].role, Role::Gitops);
    for (version, endpoints, expected) in [
        (
            "4.90",
            "[POST queries/run]",
            "fleet.users[0].endpoints: 'POST queries/run' can't be listed; write it as POST reports/run",
        ),
        (
            "4.84",
            "catalogue",
            "fleet.users[0].endpoints needs fleet.version 4.85",
        ),
        (
            "4.90",
            "all",
            "line 1, column 78: 'all' are no endpoints: write catalogue, or a list such as [GET hosts/:]",
        ),
    ] {
        let text = format!(
            "fleet: {{version: \"{version}\", users: [{{name: A, email: a, role: admin, endpoints: {endpoints}}}]}}"
        );
        let error = Scenario::from_yaml(&text).expect_err(&text);
        assert_eq!(error.to_string(), expected);
    }
}
