//! Clients that mean no good, or were badly made: each costs bounded memory, and the server goes on or ends as
//! it should.

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// Far more than a server needs (a debug build holds some 60 MB), far less than what it is sent.
const MOST_KIB: u64 = 200 * 1024;

#[test]
fn what_is_no_message_is_answered_and_ends_nothing() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    for begun in [false, true] {
        let mut client = Client::start(&site.policy(""), &[]);
        if begun {
            client = client.begin(USUAL, json!({}));
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (line, code) in [
            (&b"not json"[..], -32700),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1", -32700),
            (b"\xff\xfe\x00", -32700),
            (deep.as_bytes(), -32700),
            (b"[]", -32600),
            (b"42", -32600),
            (
                b"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}",
                -32600,
            ),
            (&b"x".repeat(2 << 20), -32600),
        ] {
            client.write(line);
            let error = client.wait(|message| message.get("error").is_some());
            assert_eq!(error["error"]["code"], code, "{error}");
        }
        // Nobody asked for these, and nobody answers.
        for method in [
            "notifications/cancelled",
            "notifications/progress",
            "notifications/none",
        ] {
            client.notify(
                method,
                json!({"requestId": 77, "progressToken": 1, "progress": 1}),
            );
        }
        client.write(br#"{"jsonrpc":"2.0","id":99,"result":{}}"#);
        client.write(br#"{"jsonrpc":"2.0","id":98,"error":{"code":1,"message":"x"}}"#);
        if !begun {
            client = client.begin(USUAL, json!({}));
        }
        assert!(client.ask("ping", json!({}))["result"].is_object());
        assert_eq!(client.end().status, 0);
    }
}

#[test]
fn one_id_is_one_request() {
    let site = Site::new(vec![
        HostSpec::named("web-01").delayed(Duration::from_secs(2)),
    ]);
    let mut client = site.client("");
    let call = json!({
        "jsonrpc": "2.0", "id": "same", "method": "tools/call",
        "params": {"name": "run_live_query", "arguments": query("corp", &["web-01"])},
    });
    client.write(call.to_string().as_bytes());
    site.wait_for_campaigns(1);
    client.write(call.to_string().as_bytes());
    let refused = client.wait(|message| message["id"] == "same");
    assert_eq!(refused["error"]["code"], -32600, "{refused}");
    let answer = client.wait(|message| message["id"] == "same");
    assert_eq!(answer["result"]["structuredContent"]["partial"], false);
    assert_eq!(site.simulator.campaigns().len(), 1);
}

#[test]
fn a_flood_is_answered_to_its_end_in_bounded_memory() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    let mut client = site.client("");
    const REQUESTS: usize = 3_000;
    for _ in 0..REQUESTS / 2 {
        client.send("ping", json!({}));
        client.call("find_templates", json!({"text": "x".repeat(500)}));
    }
    let mut answered = 0;
    while answered < REQUESTS {
        let message = client.next();
        assert!(message["id"].is_u64(), "{message}");
        answered += 1;
    }
    assert!(
        client.resident_kib() < MOST_KIB,
        "{} KiB",
        client.resident_kib()
    );
    assert_eq!(client.end().status, 0);
}

#[test]
fn more_calls_than_are_served_are_refused_at_once() {
    let site = Site::new(vec![crate::harness::site::silent("web-01")]);
    let mut client = site.client("mcp: {max_runs_per_minute: 1000}\n");
    let mut call = query("corp", &["web-01"]);
    call["timeout_seconds"] = 40.into();
    let ids: Vec<u64> = (0..40)
        .map(|_| client.call("run_live_query", call.clone()))
        .collect();
    for id in &ids[32..] {
        let error = error_of(&client.answer(*id));
        assert_eq!(
            (&error["code"], &error["retryable"]),
            (&json!("busy"), &json!(true))
        );
    }
    // The others run, and end with their client.
    site.wait_for_campaigns(32);
    let left = client.end();
    assert_eq!(left.status, 0);
    assert_eq!(left.rest.len(), 32);
    site.wait_until_stopped();
}

/// Calls and their cancellations without a pause: none is left behind.
#[test]
fn calls_that_are_cancelled_at_once_leave_nothing() {
    let site = Site::new(vec![crate::harness::site::silent("web-01")]);
    let mut client = site.client("mcp: {max_runs_per_minute: 1000}\n");
    for round in 0..60 {
        let id = client.call(
            "run_live_query",
            query(["corp", "lab"][round % 2], &["web-01"]),
        );
        client.notify("notifications/cancelled", json!({"requestId": id}));
    }
    assert!(client.ask("ping", json!({}))["result"].is_object());
    let left = client.end();
    assert_eq!(left.status, 0);
    // Where too many were under way, one may have been refused before its cancellation was read.
    for answer in left.rest {
        assert_eq!(error_of(&answer)["code"], "busy", "{answer}");
    }
    site.wait_until_stopped();
}

/// It writes as much as the pipes take and reads nothing: it is not read any further, and its end is seen.
#[test]
fn a_client_that_never_reads_costs_little_and_ends() {
    let site = Site::new(vec![HostSpec::named("web-01")]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_osquery-live-query"))
        .args(["mcp", "--policy"])
        .arg(site.policy(""))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || {
        let begin = json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "deaf", "version": "1"}},
        });
        let _ = writeln!(stdin, "{begin}");
        let mut written = 0_usize;
        // Until nobody takes it any more: the pipe is full, or its reader gone.
        for id in 1..400_000_u64 {
            let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"});
            match writeln!(stdin, "{call}") {
                Ok(()) => written += 1,
                Err(_) => break,
            }
        }
        written
    });
    // The writer is stuck once the server reads no further.
    let status = format!("/proc/{}/status", child.id());
    let begun = std::time::Instant::now();
    let mut peaks = Vec::new();
    while begun.elapsed() < Duration::from_secs(4) {
        let text = std::fs::read_to_string(&status).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak: u64 = line
            .expect("a line")
            .trim()
            .trim_end_matches("kB")
            .trim()
            .parse()
            .expect("a number");
        peaks.push(peak);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!writer.is_finished(), "everything was read");
    assert!(peaks.iter().all(|peak| *peak < MOST_KIB), "{peaks:?}");
    // Its death closes both pipes.
    drop(child.stdout.take());
    let ended = child.wait().expect("it ends");
    assert_eq!(ended.code(), Some(74));
    assert!(writer.join().expect("it ends") < 400_000 - 1);
}
