//! Parts that go away and come back.

use std::time::Duration;

use osquery_simulator::{CampaignState, Fate, HostSpec, Outage, Part, Scenario};
use serde_json::json;
use tokio::net::TcpStream;

use super::client::{self, Frame};
use super::site::{PATIENCE, Site, after, next, next_of};

const ONE_SECOND: Duration = Duration::from_secs(1);

/// Waits until nobody answers at the address, or somebody does.
async fn until_listening(site: &Site, listening: bool) {
    let look = async {
        while TcpStream::connect(site.0.addr()).await.is_ok() != listening {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("in time");
}

#[tokio::test]
async fn a_fleet_that_is_gone_refuses_connections_and_orphans_its_campaigns() {
    let hosts = [HostSpec::named("quick"), after("slow", 300)];
    let mut scenario =
        Scenario::of(hosts).with_outage(Outage::of(Part::Service, ONE_SECOND).after_answers(1));
    scenario.fleet.unheard = Duration::from_millis(1_500);
    let site = Site::new(scenario).await;
    let mut socket = site.fleet_listen(&[1, 2]).await;
    let mut frames = Vec::new();
    loop {
        match next(&mut socket).await {
            Frame::Text(text) => frames.push(text),
            end => {
                assert_eq!(end, Frame::End, "no close frame comes");
                break;
            }
        }
    }
    let refused = TcpStream::connect(site.0.addr()).await;
    let refused = refused.expect_err("nobody listens").kind();
    assert_eq!(refused, std::io::ErrorKind::ConnectionRefused);

    until_listening(&site, true).await;
    assert_eq!(site.fleet_get("/me").await.status, 200, "sessions are kept");
    let campaign = site.0.campaigns().remove(0);
    assert!(campaign.orphaned && campaign.listeners == 0);
    assert_eq!(campaign.state, CampaignState::Running);
    site.until("it ends with an answer that comes late enough", |seen| {
        seen.campaigns[0].state == CampaignState::Completed
    })
    .await;
    let campaign = site.0.campaigns().remove(0);
    assert_eq!((campaign.answers, campaign.lost), (1, 1));
    assert!(campaign.refused > 0, "nobody listens to it any more");

    let mut socket = site.fleet_listen(&[1, 2]).await;
    for _ in 0..2 {
        next_of(&mut socket, "result").await;
    }
}

#[tokio::test]
async fn the_request_that_an_outage_waits_for_has_no_effect() {
    let outage = Outage::of(Part::Service, Duration::from_millis(200)).after_requests(1);
    let site = Site::new(Scenario::of([HostSpec::named("web")]).with_outage(outage)).await;
    let headers = [("authorization", "Bearer fleet-admin-token")];
    let body = json!({"query": "SELECT 1", "selected": {"hosts": [1]}}).to_string();
    let path = "/api/v1/fleet/queries/run";
    let answer = client::request(site.0.addr(), "POST", path, &headers, Some(body)).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!((site.0.requests().len(), site.0.campaigns().len()), (1, 0));
}

#[tokio::test]
async fn the_dispatch_that_an_outage_waits_for_has_its_effect_and_no_answer() {
    let outage = Outage::of(Part::Service, Duration::from_millis(200)).after_campaigns(1);
    let site = Site::new(Scenario::of([HostSpec::named("web")]).with_outage(outage)).await;
    let headers = [("authorization", "Bearer osctrl-admin-token")];
    let body = json!({"query": "SELECT 1", "exp_hours": 1}).to_string();
    let path = "/api/v1/queries/dev";
    let answer = client::request(site.0.addr(), "POST", path, &headers, Some(body)).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(site.0.campaigns().len(), 1);
    until_listening(&site, true).await;
    site.until("the query goes on", |seen| seen.campaigns[0].answers == 1)
        .await;
}

#[tokio::test]
async fn fleet_without_redis_says_so_and_falls_silent() {
    let hosts = [HostSpec::named("quick"), after("slow", 300)];
    let mut scenario = Scenario::of(hosts);
    scenario.fleet.tick = Duration::from_millis(100);
    let site = Site::new(scenario).await;
    let mut socket = site.fleet_listen(&[1, 2]).await;
    next_of(&mut socket, "result").await;
    site.0.take_away(Part::Redis);
    let first = next_of(&mut socket, "error").await;
    assert_eq!(first, "pubsub error: read from redis: EOF");
    let second = next_of(&mut socket, "error").await;
    assert_eq!(
        second,
        "pubsub error: unexpected exit in receiveMessages, campaignID=1"
    );

    let refusal = "dial tcp 127.0.0.1:16379: connect: connection refused";
    let query = json!({"query": "SELECT 1"});
    for answer in [
        site.fleet_run(&[1]).await,
        site.fleet_post("/hosts/identifier/quick/query", &query)
            .await,
        site.fleet_get("/status/live_query").await,
    ] {
        assert_eq!(
            (answer.status, &answer.json()["message"]),
            (408, &json!(refusal))
        );
    }
    assert_eq!(site.fleet_get("/me").await.status, 200);
    let mut late = site.fleet_select(&json!(1)).await;
    let error = next_of(&mut late, "error").await;
    assert_eq!(error, format!("error getting campaign reader: {refusal}"));
    assert_eq!(next(&mut late).await, Frame::Close(Some(0)));

    site.0.bring_back(Part::Redis);
    assert_eq!(site.0.campaigns()[0].state, CampaignState::LostByServer);
    let mut again = site.fleet_listen(&[2]).await;
    let result = next_of(&mut again, "result").await;
    assert_eq!(result["host"]["hostname"], "slow");
    let more = tokio::time::timeout(Duration::from_millis(300), async {
        loop {
            let frame = socket.next().await.json();
            assert_ne!(frame["type"], "result", "the first socket is silent");
        }
    });
    assert!(more.await.is_err(), "and stays open");
}

#[tokio::test]
async fn fleet_without_its_database_knows_nobody_and_loses_nothing() {
    for (part, status) in [(Part::Database, 500), (Part::DatabaseKilled, 401)] {
        let hosts = [HostSpec::named("quick"), after("slow", 1_500)];
        let mut scenario = Scenario::of(hosts);
        scenario.fleet.tick = Duration::from_millis(100);
        let site = Site::new(scenario).await;
        let mut socket = site.fleet_listen(&[1, 2]).await;
        next_of(&mut socket, "result").await;
        site.0.take_away(part);
        let login = json!({"email": "admin@example.com", "password": "fleet-admin-password"});
        for answer in [
            site.fleet_get("/me").await,
            site.fleet_run(&[1]).await,
            site.fleet_post("/login", &login).await,
        ] {
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(answer.body.is_empty(), status == 500);
        }
        let error = next_of(&mut socket, "error").await;
        assert_eq!(error, "error retrieving target counts");
        let mut late = site.fleet_select(&json!(1)).await;
        assert_eq!(next_of(&mut late, "error").await, "unauthorized");

        site.0.bring_back(part);
        assert_eq!(
            next_of(&mut socket, "result").await["host"]["hostname"],
            "slow"
        );
        assert_eq!(site.fleet_get("/me").await.status, 200);
    }
}

#[tokio::test]
async fn osctrl_without_its_database_refuses_good_credentials_and_loses_nothing() {
    let outage = Outage::of(Part::Database, Duration::from_secs(2)).after_answers(1);
    let hosts = [HostSpec::named("quick"), after("slow", 100)];
    let site = Site::new(Scenario::of(hosts).with_outage(outage)).await;
    let name = site.osctrl_run(&[]).await;
    site.until("an answer", |seen| seen.campaigns[0].answers == 1)
        .await;
    let login = json!({"username": "admin", "password": "osctrl-admin-password"});
    let refused = site.osctrl_get(&format!("/queries/dev/{name}")).await;
    assert_eq!(
        (refused.status, refused.json()),
        (
            401,
            json!({"error": "unauthorized", "code": "unauthorized"})
        )
    );
    let refused = site.osctrl_post("/login", &login).await;
    assert_eq!(
        (refused.status, refused.json()),
        (403, json!({"error": "invalid credentials"}))
    );
    site.until("the second answer", |seen| seen.campaigns[0].answers == 2)
        .await;
    assert_eq!(site.osctrl_items(&name).await.len(), 2);
    assert_eq!(site.osctrl_state(&name).await["completed"], true);
}

#[tokio::test]
async fn an_osctrl_that_is_gone_keeps_its_queries() {
    let outage = Outage::of(Part::Service, Duration::from_millis(300)).after_answers(1);
    let hosts = [HostSpec::named("quick"), after("slow", 100)];
    let site = Site::new(Scenario::of(hosts).with_outage(outage)).await;
    let name = site.osctrl_run(&[]).await;
    until_listening(&site, false).await;
    until_listening(&site, true).await;
    site.until("the second answer", |seen| seen.campaigns[0].answers == 2)
        .await;
    let taken = site.0.observations().answers;
    assert!(taken.iter().all(|answer| answer.fate == Fate::Taken));
    assert_eq!(site.osctrl_items(&name).await.len(), 2);
}

#[tokio::test]
async fn an_outage_that_is_over_at_once_cuts_connections_all_the_same() {
    let site = Site::new(Scenario::of([HostSpec::named("web")])).await;
    let mut socket = site.fleet_listen(&[1]).await;
    next_of(&mut socket, "status").await;
    site.0.take_away(Part::Service);
    site.0.bring_back(Part::Service);
    while let Frame::Text(_) = next(&mut socket).await {}
    until_listening(&site, true).await;
    assert_eq!(site.fleet_get("/me").await.status, 200);
}

#[test]
fn outages_can_be_written() {
    let scenario = Scenario::from_yaml(
        "outages:\n  - {part: redis, after_ms: 5, after_answers: 2, for_ms: 1200}\n  \
         - {part: database_killed, after_campaigns: 1, for_ms: 10}\n  \
         - {part: service, after_requests: 3, for_ms: 10}\n",
    )
    .expect("a scenario");
    let redis = &scenario.outages[0];
    assert_eq!((redis.part, redis.after_answers), (Part::Redis, 2));
    assert_eq!(redis.length, Duration::from_millis(1_200));
    let error = Scenario::from_yaml("outages:\n  - {part: roof, for_ms: 1}\n").expect_err("none");
    assert_eq!((error.line, error.column), (Some(2), Some(12)));
}
