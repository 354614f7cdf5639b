//! osctrl's versions, older and newer than the recorded one.

use std::time::{Duration, Instant};

use osquery_simulator::{
    CampaignState, HostSpec, OSCTRL_PLUGIN_TOKEN, OsctrlUser, Scenario, ServerVersion,
};
use serde_json::{Value, json};

use super::client;
use super::site::Site;

fn version(patch: u32) -> Scenario {
    let mut web = HostSpec::named("web");
    web.tags = vec!["web".into(), "eu".into()];
    let mut scenario = Scenario::of([web, HostSpec::named("db")]);
    scenario.osctrl.version = ServerVersion(0, 5, patch);
    scenario
}

async fn login(site: &Site, username: &str) -> client::Answer {
    let body = json!({"username": username, "password": "secret", "exp_hours": 1}).to_string();
    let headers = [("accept", "application/json")];
    client::request(site.0.addr(), "POST", "/api/v1/login", &headers, Some(body))
        .await
        .expect("an answer")
}

#[tokio::test]
async fn tags_come_with_the_paged_list_from_0_5_5_on() {
    for (patch, expected) in [
        (4, vec![None, None]),
        (5, vec![Some(json!(["web", "eu"])), Some(json!([]))]),
    ] {
        let site = Site::new(version(patch)).await;
        let path = "/api/v1/nodes/dev?page=1&page_size=500";
        // The least privilege is enough.
        let read = client::get(site.0.addr(), path, OSCTRL_PLUGIN_TOKEN).await;
        let read = read.json();
        let items = read["items"].as_array().expect("items").iter();
        let tags: Vec<Option<Value>> = items.map(|item| item.get("tags").cloned()).collect();
        assert_eq!(tags, expected);
    }
}

#[tokio::test]
async fn no_expiration_means_never_delivered_or_never_ending() {
    for (patch, state) in [
        (4, CampaignState::NeverDelivered),
        (5, CampaignState::Completed),
    ] {
        let site = Site::new(version(patch)).await;
        let body = json!({"query": "SELECT 1", "exp_hours": 0});
        let answer = site.osctrl_post("/queries/dev", &body).await;
        assert_eq!(answer.status, 200);
        site.until("its state", |seen| seen.campaigns[0].state == state)
            .await;
    }
}

#[tokio::test]
async fn an_unknown_host_leaves_a_query_behind_up_to_0_5_4() {
    for (patch, left) in [(4, 1), (5, 0)] {
        let site = Site::new(version(patch)).await;
        let body = json!({"query": "SELECT 1", "host_list": ["nobody"], "exp_hours": 1});
        let answer = site.osctrl_post("/queries/dev", &body).await;
        assert_eq!(answer.status, 500);
        let all = site.osctrl_get("/queries/dev/list/all").await.json();
        assert_eq!(all["total_items"], left);
        assert_eq!(site.0.campaigns().len(), left);
    }
}

#[tokio::test]
async fn a_cached_nothing_delays_new_queries_from_0_5_5_on() {
    for (patch, late) in [(4, false), (5, true)] {
        let mut scenario = version(patch);
        scenario.osctrl.pending_cache = Duration::from_millis(400);
        let site = Site::new(scenario).await;
        let began = Instant::now();
        site.osctrl_run(&[]).await;
        site.until("both answers", |seen| seen.campaigns[0].answers == 2)
            .await;
        assert!(!late || began.elapsed() >= Duration::from_millis(400));
    }
}

#[tokio::test]
async fn a_second_factor_is_a_challenge_and_no_token() {
    let mut scenario = version(6);
    let person = OsctrlUser {
        second_factor: true,
        token: Some("of a person".into()),
        ..OsctrlUser::named("person", "secret")
    };
    scenario.osctrl.users = vec![person, OsctrlUser::named("service", "secret")];
    let site = Site::new(scenario).await;
    let answer = login(&site, "person").await;
    let challenge = answer.json();
    assert_eq!((answer.status, challenge.get("token")), (200, None));
    assert_eq!(
        (&challenge["mfa_required"], &challenge["methods"]),
        (&json!(true), &json!(["totp"]))
    );
    assert!(
        challenge["challenge"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    let earlier = client::get(site.0.addr(), "/api/v1/checks-auth", "of a person").await;
    assert_eq!(earlier.status, 200, "no earlier token has ended");
    assert!(login(&site, "service").await.json()["token"].is_string());
}

#[tokio::test]
async fn the_pause_after_too_many_logins_is_the_configured_one() {
    let mut scenario = version(5);
    scenario.osctrl.login_limit = 0;
    scenario.osctrl.login_retry_after = "7".into();
    let answer = login(&Site::new(scenario).await, "anyone").await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("7"))
    );
}

#[test]
fn versions_can_be_written() {
    let scenario = Scenario::from_yaml(
        "osctrl: {version: \"0.5.6\", pending_cache_ms: 120000, login_retry_after: \"30\", \
         users: [{username: a, second_factor: true}]}",
    )
    .expect("a scenario");
    assert_eq!(scenario.osctrl.version, ServerVersion(0, 5, 6));
    assert!(scenario.osctrl.users[0].second_factor);
    for (text, expected) in [
        (
            "osctrl: {users: [{username: a, second_factor: true}]}",
            "osctrl.users[0].second_factor needs osctrl.version 0.5.6",
        ),
        (
            "osctrl: {login_retry_after: \"a\\nb\"}",
            "osctrl.login_retry_after can't stand in an HTTP header",
        ),
        (
            "osctrl: {version: new}",
            "line 1, column 19: 'new' is no version: write it as 4.93 or 0.5.5, in quotes",
        ),
    ] {
        let error = Scenario::from_yaml(text).expect_err(text);
        assert_eq!(error.to_string(), expected);
    }
}
