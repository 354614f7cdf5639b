//! A server that is out to hurt its client: answers without end, wrong headers, secrets thrown back.

use std::collections::BTreeMap;

use osquery_simulator::{
    Answer, Echo, Echoed, Encoding, Endless, FLEET_ADMIN_TOKEN, Fault, HostSpec, ListError,
    OSCTRL_ADMIN_TOKEN, Scenario,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{self, Frame, Socket, ask, swallow};
use super::site::{SOCKET, Site, in_time, next, next_of};

#[tokio::test]
async fn every_part_of_an_answer_may_never_end() {
    for (endless, begins) in [
        (Endless::BlankLines, "\r\n\r\n"),
        (
            Endless::Interim,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue",
        ),
        (Endless::Headers, "HTTP/1.1 200 OK\r\nx-filler: xxx"),
        (Endless::Header, "HTTP/1.1 200 OK\r\nx-filler: xxx"),
        (
            Endless::Body,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n1\r\n[\r\n1000\r\n1,1,",
        ),
        (
            Endless::ChunkSize,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n1;xxx",
        ),
        (
            Endless::Trailers,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\nx-filler: xxx",
        ),
    ] {
        assert!(Endless::ALL.contains(&endless));
        let fault = Fault::on("/me").endless(endless);
        let site = Site::new(Scenario::default().with_fault(fault)).await;
        let mut stream = ask(site.0.addr(), "/api/v1/fleet/me", FLEET_ADMIN_TOKEN).await;
        let mut start = vec![0; begins.len()];
        in_time(stream.read_exact(&mut start))
            .await
            .expect("a start");
        assert_eq!(String::from_utf8_lossy(&start), begins);
        in_time(swallow(&mut stream, 16 << 20))
            .await
            .expect("no end");
    }
}

/// What the server answers to an upgrade, as lines, and the status of what comes on the socket.
async fn upgrade(fault: Fault) -> Vec<String> {
    let scenario = Scenario::of([HostSpec::named("web")]).with_fault(fault);
    let site = Site::new(scenario).await;
    let mut stream = TcpStream::connect(site.0.addr()).await.expect("connected");
    let request = format!(
        "GET {SOCKET} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time(stream.read_u8()).await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("ASCII");
    let lines = head.trim_end().split("\r\n").map(str::to_owned);
    let mut lines: Vec<String> = lines.filter(|line| !line.starts_with("date:")).collect();
    lines[1..].sort();
    lines
}

#[tokio::test]
async fn upgrades_may_be_answered_wrongly() {
    let on = || Fault::on("results/websocket");
    let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    let (status, connection, upgraded) = (
        "HTTP/1.1 101 Switching Protocols",
        "connection: Upgrade",
        "upgrade: websocket",
    );
    for (fault, expected) in [
        (on(), vec![status, connection, accept, upgraded]),
        (
            on().header("upgrade", None),
            vec![status, connection, accept],
        ),
        (
            on().header("connection", None),
            vec![status, accept, upgraded],
        ),
        (
            on().header("upgrade", Some("h2c")),
            vec![status, connection, accept, "upgrade: h2c"],
        ),
        (
            on().header("Sec-WebSocket-Accept", Some("wrong")),
            vec![status, connection, "sec-websocket-accept: wrong", upgraded],
        ),
        (
            on().header("sec-websocket-accept", None),
            vec![status, connection, upgraded],
        ),
        (
            on().header("sec-websocket-extensions", Some("permessage-deflate")),
            vec![
                status,
                connection,
                accept,
                "sec-websocket-extensions: permessage-deflate",
                upgraded,
            ],
        ),
    ] {
        assert_eq!(upgrade(fault).await, expected);
    }
}

#[tokio::test]
async fn headers_are_set_and_left_out() {
    let fault = Fault::on("/me")
        .header("content-type", None)
        .header("x-more", Some("1"));
    let site = Site::new(Scenario::default().with_fault(fault)).await;
    let answer = site.fleet_get("/me").await;
    assert_eq!(
        (answer.header("content-type"), answer.header("x-more")),
        (None, Some("1"))
    );
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn bodies_are_compressed_though_nobody_asked() {
    let mut fault = Fault::on("/me");
    fault.gzip = true;
    let site = Site::new(Scenario::default().with_fault(fault)).await;
    let answer = site.fleet_get("/me").await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.body.get(..3), Some(&[0x1f, 0x8b, 8][..]));
    // One stored block: its length, and the text as it is.
    let length = usize::from(u16::from_le_bytes([answer.body[11], answer.body[12]]));
    let text: Value = serde_json::from_slice(&answer.body[15..15 + length]).expect("JSON");
    assert_eq!(text["user"]["id"], 1);
    assert_eq!(answer.body.len(), 15 + length + 8);
}

#[tokio::test]
async fn a_streamed_list_may_end_in_an_error() {
    let mut fault = Fault::on("/hosts?");
    fault.list_error = Some(ListError {
        after: 2,
        error: "context canceled".into(),
    });
    let hosts = HostSpec::many(5, "h{n}");
    let site = Site::new(Scenario::of([hosts]).with_fault(fault)).await;
    let answer = site.fleet_get("/hosts?page=0").await;
    let read = answer.json();
    assert_eq!(
        (answer.status, &read["error"]),
        (200, &json!("context canceled"))
    );
    assert_eq!(read["hosts"].as_array().map(Vec::len), Some(2));
}

fn echoing(fields: &[Echoed], encoding: Encoding, hosts: Vec<HostSpec>) -> Scenario {
    let mut scenario = Scenario::of(hosts);
    scenario.echo = Some(Echo {
        fields: fields.to_vec(),
        encoding,
        text: None,
    });
    scenario
}

#[tokio::test]
async fn secrets_are_thrown_back_in_every_field_and_form() {
    for encoding in Encoding::ALL {
        let hosts = vec![
            HostSpec::named("web"),
            HostSpec::named("bad").answering(Answer::Error("no such table: x".into())),
        ];
        let site = Site::new(echoing(&Echoed::ALL, encoding, hosts)).await;
        let fleet = encoding.apply(FLEET_ADMIN_TOKEN);
        let osctrl = encoding.apply(OSCTRL_ADMIN_TOKEN);

        let host = &site.fleet_get("/hosts?query=web").await.json()["hosts"][0];
        for field in ["hostname", "uuid", "hardware_serial", "seen_time"] {
            let value = host[field].as_str().expect("a text");
            assert!(value.ends_with(&format!("-{fleet}")), "{field}: {value}");
        }
        let refused = site.fleet_post("/queries/run", &json!({})).await.json();
        assert_eq!(refused["message"], format!("Validation Failed-{fleet}"));
        let run = site.fleet_run(&[1, 2]).await.json();
        let id = &run["campaign"]["id"];
        assert_eq!(*id, format!("1-{fleet}"));
        let mut socket = site.fleet_select(id).await;
        let mut texts = BTreeMap::new();
        for _ in 0..2 {
            let result = next_of(&mut socket, "result").await;
            let name = result["host"]["hostname"].as_str().map(str::to_owned);
            texts.insert(name.expect("a name"), result["error"].clone());
        }
        assert_eq!(
            texts,
            BTreeMap::from([
                (
                    format!("bad-{fleet}"),
                    json!(format!("no such table: x-{fleet}"))
                ),
                (format!("web-{fleet}"), Value::Null),
            ])
        );

        let node = &site.osctrl_get("/nodes/dev?q=web").await.json()["items"][0];
        for field in ["hostname", "localname", "uuid", "last_seen"] {
            let value = node[field].as_str().expect("a text");
            assert!(value.ends_with(&format!("-{osctrl}")), "{field}: {value}");
        }
        // What a client was shown is understood when it comes back, as it is and encoded for a path.
        let uuid = node["uuid"].as_str().map(str::to_owned).expect("a uuid");
        let name = site.osctrl_run(&[uuid]).await;
        assert!(name.ends_with(&format!("-{osctrl}")), "{name}");
        site.until("an answer", |seen| {
            seen.campaigns.last().is_some_and(|c| c.items == 1)
        })
        .await;
        let name = name
            .replace('%', "%25")
            .replace('=', "%3D")
            .replace('+', "%2B");
        let state = site.osctrl_state(&name).await;
        assert_eq!(
            (&state["expected"], &state["completed"]),
            (&json!(1), &json!(true))
        );
        assert_eq!(site.osctrl_items(&name).await.len(), 1);
    }
}

#[tokio::test]
async fn only_the_named_fields_are_echoed_and_a_login_gets_its_password_back() {
    let hosts = vec![HostSpec::named("web")];
    let site = Site::new(echoing(&[Echoed::Name], Encoding::Plain, hosts)).await;
    let body = json!({"email": "admin@example.com", "password": "fleet-admin-password"});
    let headers = [("content-type", "application/json")];
    let path = "/api/v1/fleet/login";
    let answer = client::request(
        site.0.addr(),
        "POST",
        path,
        &headers,
        Some(body.to_string()),
    )
    .await
    .expect("an answer")
    .json();
    assert_eq!(answer["user"]["name"], "Admin-fleet-admin-password");
    assert_eq!(answer["user"]["email"], "admin@example.com");
    let host = &site.fleet_get("/hosts").await.json()["hosts"][0];
    assert_eq!(host["hostname"], "web");
}

#[tokio::test]
async fn a_text_of_ones_own_may_be_echoed_and_refusals_carry_it() {
    let mut scenario = echoing(
        &[Echoed::Error],
        Encoding::Plain,
        vec![HostSpec::named("web")],
    );
    if let Some(echo) = &mut scenario.echo {
        echo.text = Some("somebody-elses".into());
    }
    let site = Site::new(scenario).await;
    let mut socket = Socket::open(site.0.addr(), SOCKET, &[])
        .await
        .expect("a socket");
    socket
        .send(&json!({"type": "auth", "data": {"token": "wrong"}}))
        .await;
    let refusal = next(&mut socket).await.json();
    assert_eq!(
        refusal,
        json!({"type": "error", "data": "unauthorized-somebody-elses"})
    );
    assert_eq!(next(&mut socket).await, Frame::Close(Some(0)));
}

#[test]
fn hostility_can_be_written() {
    let scenario = Scenario::from_yaml(
        "echo: {fields: [campaign_id, query_name, hostname, uuid, serial, last_seen, name, error], \
         encoding: base64}\nfaults:\n  - {path: /a, endless: chunk_size, slow_head: {bytes: 1, \
         every_ms: 1}}\n  - {path: /b, headers: {upgrade: null, x-a: b}, gzip: true, \
         list_error: {after: 3, error: x}}\n",
    )
    .expect("a scenario");
    let echo = scenario.echo.expect("an echo");
    assert_eq!(
        (echo.fields.len(), echo.encoding),
        (Echoed::ALL.len(), Encoding::Base64)
    );
    assert_eq!(scenario.faults[0].endless, Some(Endless::ChunkSize));
    assert_eq!(scenario.faults[1].headers["upgrade"], None);
    let error = Scenario::from_yaml("faults: [{path: /, headers: {'a b': c}}]").expect_err("none");
    assert_eq!(
        error.to_string(),
        "faults[0].headers holds what can't stand in an HTTP header"
    );
}
