//! Answers of any size and width, and many hosts.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use osquery_simulator::{
    Answer, FLEET_ADMIN_TOKEN, Fault, HostSpec, Huge, MadeBody, OSCTRL_ADMIN_TOKEN, Scenario,
    SlowBody, Wide,
};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::client::{self, ask, swallow};
use super::site::{Program, Site, fleet_listen, in_time, next_of};

/// Reads an answer's head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    String::from_utf8(head).expect("ASCII")
}

#[tokio::test]
async fn wide_answers_have_every_row_and_column_on_both_servers() {
    let answer = Answer::Wide(Wide {
        rows: 50,
        columns: 300,
    });
    let site = Site::new(Scenario::of([HostSpec::named("web").answering(answer)])).await;
    let check = |rows: &Value, added: usize| {
        let rows = rows.as_array().expect("rows");
        assert_eq!(rows.len(), 50);
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row.as_object().map(|row| row.len()), Some(300 + added));
            assert_eq!(
                (&row["number"], &row["c17"]),
                (&json!(number.to_string()), &json!("7"))
            );
        }
    };
    let mut socket = site.fleet_listen(&[1]).await;
    let result = next_of(&mut socket, "result").await;
    check(&result["rows"], 2);
    assert_eq!(result["rows"][0]["host_hostname"], "web");
    let query = json!({"query": "SELECT 1"});
    let answer = site.fleet_post("/hosts/identifier/web/query", &query).await;
    check(&answer.json()["rows"], 0);

    let name = site.osctrl_run(&[]).await;
    site.until("an answer", |seen| {
        seen.campaigns.last().is_some_and(|c| c.items == 1)
    })
    .await;
    let items = site.osctrl_items(&name).await;
    let data = items[0]["data"].as_str().expect("a text");
    let data: Value = serde_json::from_str(data).expect("JSON");
    check(&data["result"], 0);
    assert_eq!((&data["status"], &data["name"]), (&json!(0), &json!(name)));
}

#[tokio::test]
async fn answers_of_hundreds_of_megabytes_cost_no_memory() {
    // 2,000 × 2,000 cells, one item of 188 MB, and 400 items of 1 MB on one page.
    let program = Program::new(
        "sizes",
        "check_in_ms: 1\nhosts:\n  \
         - {hostname: wide, behaviour: {answer: {wide: {rows: 2000, columns: 2000}}}}\n  \
         - {hostname: cell, behaviour: {answer: {huge: {rows: 1, row_bytes: 188000000}}}}\n  \
         - {count: 400, hostname: 'big-{n}', behaviour: {answer: {huge: {rows: 10, row_bytes: 100000}}}}\n",
    );
    let mut socket = fleet_listen(program.address, &[1]).await;
    loop {
        let (_, length) = in_time(socket.raw_head()).await.expect("a frame");
        in_time(socket.swallow(usize::try_from(length).expect("a length")))
            .await
            .expect("its payload");
        if length > 1_000_000 {
            assert!((45_000_000..100_000_000).contains(&length), "{length}");
            break;
        }
    }
    drop(socket);

    let body = json!({"query": "SELECT 1 AS one", "exp_hours": 1});
    let path = "/api/v1/queries/dev";
    let answer = client::post(program.address, path, OSCTRL_ADMIN_TOKEN, &body).await;
    let name = answer.json()["query_name"]
        .as_str()
        .map(str::to_owned)
        .expect("a name");
    let state = format!("/api/v1/queries/dev/{name}");
    let completed = async {
        while client::get(program.address, &state, OSCTRL_ADMIN_TOKEN)
            .await
            .json()["completed"]
            != true
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(completed).await;
    let path = format!("/api/v1/queries/dev/results/{name}?page=1&page_size=1000");
    let mut stream = ask(program.address, &path, OSCTRL_ADMIN_TOKEN).await;
    assert!(
        head(&mut stream)
            .await
            .contains("transfer-encoding: chunked")
    );
    // 69 MB with its quotes escaped, 188 MB, 400 MB.
    in_time(swallow(&mut stream, 650_000_000))
        .await
        .expect("a body");
    let peak = program.peak();
    assert!(peak < 96 << 20, "the simulator held {peak} bytes");
}

#[tokio::test]
async fn made_bodies_come_in_any_size() {
    let list = |times| MadeBody {
        before: "{\"hosts\":[".into(),
        repeat: "{\"id\":{n}}".into(),
        times,
        between: ",".into(),
        after: "]}".into(),
    };
    let same = MadeBody {
        repeat: "[0]".repeat(1_000),
        times: 100_000,
        ..MadeBody::default()
    };
    let scenario = Scenario::default()
        .with_fault(Fault::on("/hosts?few").made(list(3)))
        .with_fault(Fault::on("/hosts?many").made(list(100_000)))
        .with_fault(Fault::on("/hosts?same").made(same));
    let site = Site::new(scenario).await;
    let few = site.fleet_get("/hosts?few").await;
    assert_eq!(
        few.json(),
        json!({"hosts": [{"id": 0}, {"id": 1}, {"id": 2}]})
    );
    let many = site.fleet_get("/hosts?many").await.json();
    assert_eq!(many["hosts"][99_999]["id"], 99_999);
    let path = "/api/v1/fleet/hosts?same";
    let mut stream = ask(site.0.addr(), path, FLEET_ADMIN_TOKEN).await;
    assert!(
        head(&mut stream)
            .await
            .contains("content-length: 300000000\r\n")
    );
    in_time(swallow(&mut stream, 300_000_000))
        .await
        .expect("a body");
}

#[tokio::test]
async fn a_hundred_thousand_hosts_are_listed_asked_and_answer_within_seconds() {
    const HOSTS: usize = 100_000;
    let rows = json!([{"pid": "1", "name": "{hostname}"}]);
    let rows = rows.as_array().expect("a list").iter();
    let rows = rows
        .map(|row| row.as_object().cloned().expect("a row"))
        .collect();
    let began = Instant::now();
    let hosts = HostSpec::many(HOSTS, "pod-{n:06}").answering(Answer::Rows(rows));
    let site = Site::new(Scenario::of([hosts])).await;

    let last = site
        .fleet_get("/hosts?order_key=id&page=199&per_page=500")
        .await
        .json();
    assert_eq!(last["hosts"].as_array().map(Vec::len), Some(500));
    assert_eq!(last["hosts"][499]["id"], HOSTS);
    let ids: Vec<u64> = (1..=HOSTS as u64).collect();
    let mut socket = site.fleet_listen(&ids).await;
    let mut seen = BTreeSet::new();
    while seen.len() < HOSTS {
        let result = next_of(&mut socket, "result").await;
        assert_eq!(result["rows"][0]["name"], result["host"]["hostname"]);
        seen.insert(result["host"]["id"].as_u64().expect("an id"));
    }

    let nodes = site
        .osctrl_get("/nodes/dev?page=200&page_size=500")
        .await
        .json();
    assert_eq!(
        (&nodes["total_items"], &nodes["total_pages"]),
        (&json!(HOSTS), &json!(200))
    );
    assert_eq!(nodes["items"][499]["hostname"], "pod-099999");
    let name = site.osctrl_run(&[]).await;
    site.until("all answers", |seen| seen.campaigns[1].items == HOSTS)
        .await;
    let path = format!("/queries/dev/results/{name}?page=100&page_size=1000");
    let read = site.osctrl_get(&path).await.json();
    assert_eq!(read["items"].as_array().map(Vec::len), Some(1_000));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(120), "it took {took:?}");
}

#[tokio::test]
async fn answers_without_rows_are_told_from_answers_with_none() {
    let raw = r#"{"id":{id},"who":"{hostname}"}"#;
    let hosts = [
        HostSpec::named("missing").answering(Answer::WithoutRows),
        HostSpec::named("null").answering(Answer::RawRows("null".into())),
        HostSpec::named("data").answering(Answer::RawData(raw.into())),
        HostSpec::named("huge").answering(Answer::Huge(Huge {
            rows: 0,
            row_bytes: 9,
        })),
    ];
    let site = Site::new(Scenario::of(hosts)).await;
    let mut socket = site.fleet_listen(&[1, 2, 3, 4]).await;
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        let result = next_of(&mut socket, "result").await;
        let rows = result
            .as_object()
            .and_then(|result| result.get("rows"))
            .cloned();
        let who = [&result["host"]["hostname"], &result["who"]];
        let who = who.into_iter().find_map(Value::as_str).expect("a name");
        seen.insert((who.to_owned(), rows.map(|rows| rows.to_string())));
    }
    let rows = |who: &str, rows: Option<&str>| (who.to_owned(), rows.map(str::to_owned));
    assert_eq!(
        seen,
        BTreeSet::from([
            rows("missing", None),
            rows("null", Some("null")),
            rows("data", None),
            rows("huge", Some("[]")),
        ])
    );
    let query = json!({"query": "SELECT 1"});
    let missing = site
        .fleet_post("/hosts/identifier/missing/query", &query)
        .await;
    assert_eq!(missing.json().get("rows"), None);
    let data = site
        .fleet_post("/hosts/identifier/data/query", &query)
        .await;
    assert_eq!(data.json(), json!({"id": 3, "who": "data"}));

    let name = site.osctrl_run(&[]).await;
    site.until("all answers", |seen| {
        seen.campaigns.last().is_some_and(|c| c.items == 4)
    })
    .await;
    let items = site.osctrl_items(&name).await;
    let data: BTreeSet<&str> = items
        .iter()
        .filter_map(|item| item["data"].as_str())
        .collect();
    let named = |rest: &str| format!("{{\"name\":\"{name}\",{rest}}}");
    let expected = [
        named("\"status\":0,\"message\":\"\""),
        named("\"result\":null,\"status\":0,\"message\":\"\""),
        named("\"result\":[],\"status\":0,\"message\":\"\""),
        r#"{"id":3,"who":"data"}"#.to_owned(),
    ];
    assert_eq!(data, expected.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn heads_come_in_drops() {
    let mut fault = Fault::on("/me");
    fault.slow_head = Some(SlowBody {
        bytes: 10,
        every: Duration::from_millis(2),
    });
    let site = Site::new(Scenario::default().with_fault(fault)).await;
    let began = Instant::now();
    let answer = site.fleet_get("/me").await;
    assert_eq!(answer.json()["user"]["id"], 1);
    assert!(began.elapsed() >= Duration::from_millis(10));
}

#[test]
fn sizes_can_be_written() {
    let scenario = Scenario::from_yaml(
        "hosts: [{hostname: a, behaviour: {answer: {wide: {rows: 2, columns: 3}}}}, \
         {hostname: b, behaviour: {answer: without_rows}}, \
         {hostname: c, behaviour: {answer: {raw_data: '{}'}}}]\n\
         faults: [{path: /a, made: {before: '[', repeat: '{n}', times: 3, between: ',', after: ']'}}]\n",
    )
    .expect("a scenario");
    assert!(matches!(scenario.hosts[0].behaviour.answer, Answer::Wide(wide) if wide.columns == 3));
    assert!(matches!(
        scenario.hosts[1].behaviour.answer,
        Answer::WithoutRows
    ));
    assert_eq!(
        scenario.faults[0].made.as_ref().map(|made| made.times),
        Some(3)
    );
    let error = Scenario::from_yaml(
        "hosts: [{hostname: a, behaviour: {answer: {wide: {rows: 2, columns: 0}}}}]",
    );
    assert_eq!(
        error.expect_err("none").to_string(),
        "hosts[0].behaviour.answer.wide.columns must be at least 1"
    );
}
