//! Proxies that close what nobody else would.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use osquery_simulator::{CampaignState, FLEET_ADMIN_TOKEN, HostSpec, Proxy, Scenario};
use serde_json::json;
use tokio::net::TcpStream;

use super::client::Frame;
use super::site::{Site, after, in_time, next, next_of};

fn behind(proxy: Proxy, hosts: Vec<HostSpec>) -> Scenario {
    Scenario {
        proxy,
        ..Scenario::of(hosts)
    }
}

/// A connection that is kept, as clients keep them.
struct Kept(SendRequest<Full<Bytes>>);

impl Kept {
    async fn new(site: &Site) -> Self {
        let stream = TcpStream::connect(site.0.addr()).await.expect("connected");
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("a connection");
        tokio::spawn(driver);
        Self(sender)
    }

    /// The status, or nothing where the connection ends without a word.
    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Option<u16> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "x")
            .header("authorization", format!("Bearer {FLEET_ADMIN_TOKEN}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_owned())))
            .expect("a request");
        self.0.ready().await.ok()?;
        let answer = in_time(self.0.send_request(request)).await.ok()?;
        let status = answer.status().as_u16();
        answer.into_body().collect().await.ok()?;
        Some(status)
    }

    async fn me(&mut self) -> Option<u16> {
        self.ask("GET", "/api/v1/fleet/me", "").await
    }
}

#[tokio::test]
async fn every_so_manieth_request_on_a_used_connection_finds_it_closed() {
    for reset in [false, true] {
        let proxy = Proxy {
            close_every: 2,
            reset,
            ..Proxy::default()
        };
        let site = Site::new(behind(proxy, vec![HostSpec::named("web")])).await;
        let mut kept = Kept::new(&site).await;
        assert_eq!(kept.me().await, Some(200), "a fresh connection");
        assert_eq!(
            kept.me().await,
            Some(200),
            "the first request on a used one"
        );
        let body = json!({"query": "SELECT 1", "selected": {"hosts": [1]}}).to_string();
        let dispatched = kept.ask("POST", "/api/v1/fleet/queries/run", &body).await;
        assert_eq!(dispatched, None, "the second");
        let seen = site.0.observations();
        assert_eq!((seen.requests.len(), seen.campaigns.len()), (2, 0));
        assert_eq!(seen.unheard.len(), 1);
        assert_eq!(seen.unheard[0].path, "/api/v1/fleet/queries/run");
        assert_eq!(Kept::new(&site).await.me().await, Some(200));
    }
}

#[tokio::test]
async fn a_share_of_the_requests_finds_its_connection_closed() {
    let proxy = Proxy {
        close_share: 0.3,
        ..Proxy::default()
    };
    let site = Site::new(behind(proxy, Vec::new())).await;
    let (mut closed, mut kept) = (0, Kept::new(&site).await);
    for _ in 0..300 {
        if kept.me().await.is_none() {
            closed += 1;
            kept = Kept::new(&site).await;
        }
    }
    assert_eq!(site.0.observations().unheard.len(), closed);
    assert!((40..110).contains(&closed), "{closed} of 300");
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let proxy = Proxy {
        idle: Some(Duration::from_millis(50)),
        ..Proxy::default()
    };
    let site = Site::new(behind(proxy, Vec::new())).await;
    let mut kept = Kept::new(&site).await;
    assert_eq!(kept.me().await, Some(200));
    let began = Instant::now();
    let closed = async {
        while kept.0.ready().await.is_ok() {
            tokio::task::yield_now().await
        }
    };
    in_time(closed).await;
    assert!(began.elapsed() >= Duration::from_millis(40));
    assert_eq!(site.0.observations().unheard.len(), 0);
}

#[tokio::test]
async fn every_socket_is_cut_after_a_while() {
    let proxy = Proxy {
        cut_sockets: Some(Duration::from_millis(200)),
        ..Proxy::default()
    };
    let mut scenario = behind(proxy, vec![HostSpec::named("quick"), after("slow", 1_000)]);
    scenario.fleet.tick = Duration::from_millis(50);
    let site = Site::new(scenario).await;
    for campaign in 0..2 {
        let began = Instant::now();
        let mut socket = site.fleet_listen(&[1, 2]).await;
        assert_eq!(
            next_of(&mut socket, "result").await["host"]["hostname"],
            "quick"
        );
        loop {
            match next(&mut socket).await {
                Frame::Text(_) => {}
                end => {
                    assert_eq!(end, Frame::End);
                    break;
                }
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(200));
        site.until("the server's next tick ends the campaign", |seen| {
            seen.campaigns[campaign].state == CampaignState::Completed
        })
        .await;
    }
}

#[test]
fn proxies_can_be_written() {
    let scenario = Scenario::from_yaml(
        "proxy: {cut_sockets_ms: 4000, idle_ms: 5000, close_every: 3, close_share: 0.5, reset: true}",
    )
    .expect("a scenario");
    assert_eq!(scenario.proxy.cut_sockets, Some(Duration::from_secs(4)));
    assert_eq!(
        (scenario.proxy.close_every, scenario.proxy.reset),
        (3, true)
    );
    let error = Scenario::from_yaml("proxy: {close_share: 2}").expect_err("none");
    assert_eq!(error.to_string(), "proxy.close_share must be from 0 to 1");
}
