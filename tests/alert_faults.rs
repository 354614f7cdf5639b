//! What goes wrong around `alert`: nobody takes what it writes, it is ended while it reads, and whoever posts
//! would have it connect somewhere.

use std::fs::File;
use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::json;

use crate::faults_output::not_written;
use crate::harness::step;

#[test]
fn what_nobody_takes_is_told() {
    let webhook = json!({"type": "live_query", "details": {}}).to_string();
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("a full device");
    let ran = step(&webhook).arg("alert").stdout_to(full).run();
    assert_eq!(
        (ran.status, ran.stderr),
        (74, not_written("no storage space"))
    );
    let closed = step(&webhook)
        .arg("alert")
        .by_shell("exec \"$@\" >&-")
        .run();
    assert_eq!(closed.status, 74, "{closed:?}");
    // More than a pipe holds, and a reader that has gone.
    let large = json!({"type": "x".repeat(1 << 20), "details": {}}).to_string();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let gone = step(large).arg("alert").stdout_to(writer).run();
    assert_eq!(
        (gone.status, gone.stderr),
        (74, not_written("its reader has gone"))
    );
}

/// Half a webhook is none: who ends it gets nothing that could be taken for an alert.
#[test]
fn a_signal_while_it_reads_leaves_nothing() {
    // Neither SIGINT nor SIGHUP: whoever starts the tests in the background or by nohup has them ignored.
    let half = step("{\"type\": \"live_query\", \"details\": {}");
    let running = half.arg("alert").stdin_stays_open().start();
    running.signal("TERM");
    let ran = running.wait();
    assert_eq!((ran.status, &*ran.stdout), (143, ""), "{ran:?}");
}

/// Addresses in a webhook, a proxy in the environment: nobody is connected to.
#[test]
fn no_connection_is_made() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    for document in [
        json!({"policy": {"id": 1, "name": "p"}, "timestamp": "2026-11-21T15:25:09Z",
            "hosts": [{"id": 1, "hostname": "web-01", "url": format!("{address}/hosts/1")}]}),
        json!({"vulnerability": {"cve": "CVE-2026-1", "details_link": address,
            "hosts_affected": [{"id": 1, "hostname": "web-01", "url": address}]}}),
        json!({"data": {"unseen_hosts": 1, "host_ids": [1]}, "text": address}),
        json!({"type": "live_query", "details": {"url": address}}),
        json!({"rule": "r", "rule_id": 1, "environment": "dev", "node": address}),
    ] {
        let mut binary = step(document.to_string()).arg("alert");
        for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"] {
            binary = binary.env(variable, &*address);
        }
        let ran = binary.run();
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    }
    let came = listener.accept().expect_err("nobody connects");
    assert_eq!(came.kind(), ErrorKind::WouldBlock);
}
