//! When the service hangs up: on idle connections, and on kept ones in a burst.

use std::time::Duration;

use osquery_simulator::{
    AISOC_SERVICE_TOKEN, AISOC_TENANT, Burst, FLEET_ADMIN_TOKEN, HostSpec, Scenario,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::site::{ENQUEUE, PATIENCE, Site};

/// A connection that is kept.
struct Kept(TcpStream);

impl Kept {
    async fn open(site: &Site) -> Self {
        Self(TcpStream::connect(site.0.addr()).await.expect("connected"))
    }

    /// The status of the answer; or how the connection ended instead.
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: &str,
    ) -> Result<u16, End> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             X-AiSOC-Tenant-ID: {AISOC_TENANT}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0
            .write_all(request.as_bytes())
            .await
            .map_err(|error| End::of(&error))?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(error) => return Err(End::of(&error)),
            }
        }
        let head = String::from_utf8(head).expect("a head");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").parse().expect("a number");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("a body");
        let status = head.split(' ').nth(1).expect("a status");
        Ok(status.parse().expect("a number"))
    }

    async fn enqueue(&mut self, host: &str) -> Result<u16, End> {
        let body = format!("{{\"host_identifier\": \"{host}\", \"query_text\": \"SELECT 1\"}}");
        self.send("POST", ENQUEUE, AISOC_SERVICE_TOKEN, &body).await
    }

    /// How the connection ends by itself.
    async fn end(&mut self) -> End {
        match tokio::time::timeout(PATIENCE, self.0.read_u8()).await {
            Ok(Err(error)) => End::of(&error),
            Ok(Ok(_)) => panic!("bytes that nobody asked for"),
            Err(_) => panic!("the connection is still open"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

impl End {
    fn of(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Closed,
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => Self::Reset,
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_five_seconds_of_this_service_only() {
    let scenario = Scenario::of([HostSpec::named("web-01")]);
    assert_eq!(scenario.aisoc_direct.idle, Duration::from_secs(5));
    let site = Site::new(scenario).await;
    let (mut used, mut fleet, mut fresh) = (
        Kept::open(&site).await,
        Kept::open(&site).await,
        Kept::open(&site).await,
    );
    let me = "/api/v1/fleet/me";
    assert_eq!(fleet.send("GET", me, FLEET_ADMIN_TOKEN, "").await, Ok(200));
    let answered = std::time::Instant::now();
    assert_eq!(used.enqueue("web-01").await, Ok(200));
    assert_eq!(used.end().await, End::Closed);
    assert!(answered.elapsed() >= Duration::from_secs(5));
    // Those are still there.
    assert_eq!(fleet.send("GET", me, FLEET_ADMIN_TOKEN, "").await, Ok(200));
    assert_eq!(fresh.enqueue("web-01").await, Ok(200));
}

#[tokio::test]
async fn a_kept_connection_is_reset_in_a_burst_and_its_post_has_no_effect() {
    let mut scenario = Scenario::of([HostSpec::named("web-01")]);
    scenario.aisoc_direct.burst = Some(Burst {
        requests: 4,
        idle: Duration::ZERO,
    });
    let site = Site::new(scenario).await;
    let mut kept = Kept::open(&site).await;
    assert_eq!(kept.enqueue("web-01").await, Ok(200));
    assert_eq!(kept.enqueue("web-01").await, Ok(200), "no burst yet");
    let mut others = Vec::new();
    for _ in 0..6 {
        let mut fresh = Kept::open(&site).await;
        assert_eq!(
            fresh.enqueue("web-01").await,
            Ok(200),
            "fresh ones are served"
        );
        others.push(fresh);
    }
    let before = site.0.campaigns().len();
    assert_eq!(kept.enqueue("web-01").await, Err(End::Reset));
    assert_eq!(site.0.campaigns().len(), before, "it had no effect");
    assert_eq!(site.0.requests().len(), before + 1, "though it arrived");
}

#[tokio::test]
async fn a_connection_that_rested_for_less_than_a_second_is_served_in_a_burst() {
    let mut scenario = Scenario::of([HostSpec::named("web-01")]);
    let yaml = "aisoc_direct: {burst: {requests: 1}}";
    scenario.aisoc_direct.burst = Scenario::from_yaml(yaml)
        .expect("a scenario")
        .aisoc_direct
        .burst;
    let usual = scenario.aisoc_direct.burst.map(|burst| burst.idle);
    assert_eq!(usual, Some(Duration::from_secs(1)));
    let site = Site::new(scenario).await;
    let mut kept = Kept::open(&site).await;
    for _ in 0..5 {
        assert_eq!(kept.enqueue("web-01").await, Ok(200));
    }
    assert_eq!(site.0.connections(), 1);
}
