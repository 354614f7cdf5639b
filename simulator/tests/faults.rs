//! Every word of the faults' vocabulary does what it says, and they compose.

#![allow(missing_docs, reason = "tests")]

mod client;

use std::time::{Duration, Instant};

use client::{Answer, Frame, Socket, get, request};
use osquery_simulator::{
    Answer as HostAnswer, Cut, FLEET_ADMIN_TOKEN, Fault, HostSpec, OSCTRL_PLUGIN_TOKEN, Scenario,
    Simulator, SlowBody, SocketClose, SocketFault,
};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);
const ME: &str = "/api/v1/fleet/me";
const SOCKET: &str = "/api/v1/fleet/results/websocket";

async fn start(fault: Fault) -> Simulator {
    let mut scenario = Scenario::of([HostSpec::named("web")]).with_fault(fault);
    scenario.check_in = Duration::from_millis(5);
    Simulator::start(scenario).await.expect("a simulator")
}

async fn me(simulator: &Simulator) -> Result<Answer, hyper::Error> {
    let bearer = format!("Bearer {FLEET_ADMIN_TOKEN}");
    request(
        simulator.addr(),
        "GET",
        ME,
        &[("authorization", &bearer)],
        None,
    )
    .await
}

async fn run(simulator: &Simulator) -> Result<Answer, hyper::Error> {
    let bearer = format!("Bearer {FLEET_ADMIN_TOKEN}");
    let body = json!({"query": "SELECT 1", "selected": {"hosts": [1], "labels": [], "teams": []}});
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let path = "/api/v1/fleet/queries/run";
    request(
        simulator.addr(),
        "POST",
        path,
        &headers,
        Some(body.to_string()),
    )
    .await
}

#[tokio::test]
async fn a_status_for_some_requests_only() {
    let mut fault = Fault::on_method("GET", "/me")
        .status(503)
        .skipping(1)
        .times(2);
    fault.retry_after = Some("7".into());
    let simulator = start(fault).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let answer = me(&simulator).await.expect("an answer");
        seen.push((
            answer.status,
            answer.header("retry-after").map(str::to_owned),
        ));
    }
    let refused = (503, Some("7".to_owned()));
    assert_eq!(seen, [(200, None), refused.clone(), refused, (200, None)]);
}

#[tokio::test]
async fn a_redirect_names_its_place() {
    let mut fault = Fault::on("/me").status(307);
    fault.location = Some("http://127.0.0.1:1/elsewhere".into());
    let answer = me(&start(fault).await).await.expect("an answer");
    assert_eq!(answer.status, 307);
    assert_eq!(
        answer.header("location"),
        Some("http://127.0.0.1:1/elsewhere")
    );
}

#[tokio::test]
async fn an_error_before_and_after_the_dispatch() {
    let before = start(Fault::on("/queries/run").status(502)).await;
    assert_eq!(run(&before).await.expect("an answer").status, 502);
    assert_eq!(before.campaigns().len(), 0);
    let after = start(Fault::on("/queries/run").status(502).handled()).await;
    assert_eq!(run(&after).await.expect("an answer").status, 502);
    assert_eq!(after.campaigns().len(), 1);
}

#[tokio::test]
async fn a_connection_cut_before_and_after_the_dispatch() {
    let before = start(Fault::on("/queries/run").cut(Cut::Before)).await;
    assert!(run(&before).await.is_err());
    assert_eq!((before.campaigns().len(), before.requests().len()), (0, 1));
    let after = start(Fault::on("/queries/run").cut(Cut::After)).await;
    assert!(run(&after).await.is_err());
    assert_eq!(after.campaigns().len(), 1);
}

#[tokio::test]
async fn a_hanging_request_is_never_answered() {
    let mut fault = Fault::on("/me");
    fault.hang = true;
    let simulator = start(fault).await;
    let answer = tokio::time::timeout(Duration::from_millis(200), me(&simulator)).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(simulator.requests().len(), 1);
}

#[tokio::test]
async fn delays_before_and_after() {
    let mut fault = Fault::on("/me");
    fault.delay = Duration::from_millis(60);
    fault.answer_delay = Duration::from_millis(60);
    let simulator = start(fault).await;
    let began = Instant::now();
    assert_eq!(me(&simulator).await.expect("an answer").status, 200);
    assert!(began.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let wrong = me(&start(Fault::on("/me").body("{\"user\":")).await)
        .await
        .expect("an answer");
    assert_eq!((wrong.status, wrong.text().as_str()), (200, "{\"user\":"));

    let mut fault = Fault::on("/me");
    fault.body_base64 = Some("/w==".into());
    let broken = me(&start(fault).await).await.expect("an answer");
    assert_eq!(broken.body, [0xff]);

    let mut fault = Fault::on("/me");
    fault.pad = 1_000_000;
    let padded = me(&start(fault).await).await.expect("an answer");
    assert!(padded.body.len() > 1_000_000);
    assert_eq!(padded.json()["user"]["id"], 1, "spaces change nothing");
}

#[tokio::test]
async fn a_truncated_body_ends_the_connection() {
    let mut fault = Fault::on("/me");
    fault.truncate = Some(10);
    let answer = me(&start(fault).await).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn a_slow_body_arrives_whole() {
    let mut fault = Fault::on("/me");
    fault.slow = Some(SlowBody {
        bytes: 50,
        every: Duration::from_millis(10),
    });
    let began = Instant::now();
    let answer = me(&start(fault).await).await.expect("an answer");
    assert_eq!(answer.json()["user"]["name"], "Admin");
    assert!(began.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn tokens_revoked_in_the_middle() {
    let mut fault = Fault::on("/hosts");
    fault.revoke_tokens = true;
    let simulator = start(fault).await;
    assert_eq!(me(&simulator).await.expect("an answer").status, 200);
    let hosts = get(simulator.addr(), "/api/v1/fleet/hosts", FLEET_ADMIN_TOKEN).await;
    assert_eq!(hosts.status, 401);
    assert_eq!(me(&simulator).await.expect("an answer").status, 401);
    let osctrl = get(simulator.addr(), "/api/v1/checks-auth", OSCTRL_PLUGIN_TOKEN).await;
    assert_eq!(osctrl.status, 401);
}

#[tokio::test]
async fn faults_compose() {
    let mut delay = Fault::on("/me");
    delay.delay = Duration::from_millis(50);
    let scenario = Scenario::default()
        .with_fault(delay)
        .with_fault(Fault::on("/me").status(429).times(1));
    let simulator = Simulator::start(scenario).await.expect("a simulator");
    let began = Instant::now();
    assert_eq!(me(&simulator).await.expect("an answer").status, 429);
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(me(&simulator).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn an_upgrade_refused() {
    for status in [400, 403, 426] {
        let simulator = start(Fault::on("results/websocket").status(status)).await;
        let socket = Socket::open(simulator.addr(), SOCKET, &[]).await;
        assert_eq!(socket.err(), Some(status));
    }
}

async fn listen(simulator: &Simulator) -> Socket {
    let id = run(simulator).await.expect("an answer").json()["campaign"]["id"].clone();
    let mut socket = Socket::open(simulator.addr(), SOCKET, &[])
        .await
        .expect("a socket");
    socket
        .send(&json!({"type": "auth", "data": {"token": FLEET_ADMIN_TOKEN}}))
        .await;
    socket
        .send(&json!({"type": "select_campaign", "data": {"campaign_id": id}}))
        .await;
    socket
}

async fn frames(socket: &mut Socket, count: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for _ in 0..count {
        frames.push(
            tokio::time::timeout(PATIENCE, socket.next())
                .await
                .expect("a frame"),
        );
    }
    frames
}

#[tokio::test]
async fn a_results_socket_that_breaks_with_and_without_a_close_frame() {
    for (close, end) in [
        (SocketClose::Cut, Frame::End),
        (SocketClose::Frame, Frame::Close(Some(1001))),
        (SocketClose::Zero, Frame::Close(Some(0))),
    ] {
        let fault = Fault::on("results/websocket").socket(SocketFault {
            after_results: 1,
            close: Some(close),
            ..SocketFault::default()
        });
        let simulator = start(fault).await;
        let mut socket = listen(&simulator).await;
        // totals, status, result, and the end.
        let frames = frames(&mut socket, 4).await;
        assert_eq!(frames[2].json()["type"], "result");
        assert_eq!(frames[3], end, "{close:?}");
    }
}

#[tokio::test]
async fn messages_that_no_server_should_send() {
    let fault = Fault::on("results/websocket").socket(SocketFault {
        send: vec!["{\"type\":\"news\",\"data\":1}".into(), "{".into()],
        send_base64: Some("/w==".into()),
        ..SocketFault::default()
    });
    let simulator = start(fault).await;
    let mut socket = listen(&simulator).await;
    let frames = frames(&mut socket, 6).await;
    assert_eq!(
        frames[2],
        Frame::Text(b"{\"type\":\"news\",\"data\":1}".to_vec())
    );
    assert_eq!(frames[3], Frame::Text(b"{".to_vec()));
    assert_eq!(frames[4], Frame::Text(vec![0xff]));
    assert_eq!(frames[5].json()["type"], "result");
}

#[tokio::test]
async fn rows_that_no_host_should_send() {
    for raw in ["null", "[1]", "[{\"a\":\"1\",\"a\":\"2\"}]"] {
        let host = HostSpec::named("web").answering(HostAnswer::RawRows(raw.into()));
        let mut scenario = Scenario::of([host]);
        scenario.check_in = Duration::from_millis(5);
        let simulator = Simulator::start(scenario).await.expect("a simulator");
        let mut socket = listen(&simulator).await;
        let frames = frames(&mut socket, 3).await;
        let Frame::Text(text) = &frames[2] else {
            panic!("no result")
        };
        let text = String::from_utf8_lossy(text);
        assert!(text.contains(&format!("\"rows\":{raw},")), "{text}");
    }
}
