//! Answers that are not what they should be: of the server, and of single hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use osquery_simulator::{Answer, Behaviour, Fault, HostSpec, Huge, Scenario, SocketFault};

use crate::harness::site::{Kind, Site, host, on_all, on_every, on_those, silent};

/// What a proxy, a captive portal or a broken server sends instead of JSON.
const BODIES: [(&str, &str); 4] = [
    ("web-page", "<!DOCTYPE html><title>Sign in</title>"),
    ("half", r#"{"hosts": [{"id": 1, "host"#),
    ("list", "[1, 2, 3]"),
    (
        "other-types",
        r#"{"hosts": 7, "items": {}, "campaign": "x", "query_name": 9, "token": 3}"#,
    ),
];

#[test]
fn faults_wrong_json_at_each_stage() {
    on_every(|kind| {
        let mut stages = vec![("dispatch", kind.dispatching())];
        if kind.logs_in() {
            stages.push(("login", kind.logging_in()));
        }
        // What is wrong where answers are looked for is that host's error: `faults_wrong_json_in_results`.
        if kind.lists_hosts() {
            stages.push(("finding", kind.finding()));
        }
        on_all(stages, |(stage, fault)| {
            for (what, body) in BODIES {
                let fault = fault.clone().body(body).handled();
                let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
                let step = match stage {
                    "login" => site.step(&["web-01"]).logging_in(kind),
                    _ => site.step(&["web-01"]),
                };
                let document = site.run(&format!("{what}-at-{stage}"), step.timeout(10));
                assert!(document.results.is_empty());
                assert_eq!(
                    document.campaign().may_be_running,
                    stage == "dispatch",
                    "{what}"
                );
            }
        });
    });
}

#[test]
fn faults_wrong_json_on_the_results_stream() {
    let mut messages: Vec<String> = BODIES.iter().map(|(_, body)| (*body).into()).collect();
    messages.push(r#"{"type":"result","data":{"host":{"id":"1"},"rows":[]}}"#.into());
    messages.push(r#"{"type":"result","data":{"rows":[]}}"#.into());
    messages.push(r#"{"type":"later","data":{}}"#.into());
    let garbage = SocketFault {
        send: messages,
        ..SocketFault::default()
    };
    let fault = Fault::on("results/websocket").socket(garbage);
    let slow = host("web-01").delayed(Duration::from_millis(200));
    let site = Site::new(Kind::Fleet, Scenario::of([slow]).with_fault(fault));
    let document = site.run("garbage-on-the-results-stream", site.step(&["web-01"]));
    assert!(!document.partial);
}

#[test]
fn faults_wrong_json_in_results() {
    on_those(Kind::is_polled, |kind| {
        on_all(BODIES, |(what, body)| {
            let fault = kind.polling().body(body);
            let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
            site.run(&format!("{what}-at-results"), site.step(&["web-01"]));
        });
    });
    // Only the state says that a query is over.
    let state = Fault::on_method("GET", "/queries/dev/query_")
        .skipping(1)
        .body("<html>");
    let scenario = Scenario::of([silent("web-01")]).with_fault(state);
    let site = Site::new(Kind::Osctrl, scenario);
    site.run("web-page-at-state", site.step(&["web-01"]));
}

#[test]
fn faults_answers_that_end_early() {
    on_every(|kind| {
        let fault = Fault {
            truncate: Some(20),
            ..kind.finding().times(1)
        };
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
        let ran = site.step(&["web-01"]).binary().run();
        site.assert_no_secret(&ran);
        assert_eq!(
            (ran.status, ran.document().partial),
            (0, false),
            "asked again: {ran:?}"
        );
    });
}

/// One host's answer that can't be read is that host's error; the others' rows are whole.
#[test]
fn faults_rows_that_are_none() {
    on_every(|kind| {
        let raw =
            |name: &str, rows: &str| HostSpec::named(name).answering(Answer::RawRows(rows.into()));
        let scenario = Scenario::of([
            host("good"),
            raw("no-rows", "null"),
            raw("numbers", "[1]"),
            raw("nested", r#"[{"pid": {"deep": "marker"}}]"#),
            raw("repeated-keys", r#"[{"pid":"1","pid":"2"}]"#),
            raw("text", r#""rows""#),
            raw("values", r#"[{"a": 1, "b": null, "c": true}]"#),
            raw(
                "marked",
                r#"[{"live_query_matched": "1", "a": 1, "b": null, "c": true}]"#,
            ),
        ]);
        let site = Site::new(kind, scenario);
        let hosts = [
            "good",
            "no-rows",
            "numbers",
            "nested",
            "repeated-keys",
            "text",
            "values",
            "marked",
        ];
        let document = site.run("rows-that-are-none", site.step(&hosts).timeout(10));
        assert_eq!(document.results["good"].len(), 1);
    });
}

#[test]
fn faults_errors_of_hosts() {
    on_every(|kind| {
        let error =
            |name: &str, text: &str| HostSpec::named(name).answering(Answer::Error(text.into()));
        let scenario = Scenario::of([
            host("web-01"),
            error("web-02", "no such table: processes"),
            error("web-03", "\u{1b}[31mred\u{1b}[0m\nsecond line"),
            HostSpec::named("web-04").answering(Answer::StatusOnly(1)),
            HostSpec::named("web-05").answering(Answer::None),
        ]);
        let site = Site::new(kind, scenario);
        let hosts = ["web-01", "web-02", "web-03", "web-04", "web-05"];
        let document = site.run("errors-of-hosts", site.step(&hosts).timeout(10));
        assert!(document.partial);
        assert_eq!(document.campaign().responded, 5);
        let statuses: Vec<&str> = document.statuses().into_values().collect();
        assert_eq!(statuses, ["ok", "error", "error", "error", "ok"]);
        let strict = site.step(&hosts[..2]).arg("--fail-on-partial");
        site.run("errors-of-hosts-fail-on-partial", strict);
    });
}

/// Whatever the order of items and counters, each host counts once.
#[test]
fn faults_answers_twice_and_late() {
    on_every(|kind| {
        let twice = HostSpec {
            behaviour: Behaviour {
                times: 2,
                ..host("x").behaviour
            },
            ..HostSpec::named("twice")
        };
        let late_item = HostSpec {
            behaviour: Behaviour {
                item_lag: Duration::from_millis(500),
                ..host("x").behaviour
            },
            ..HostSpec::named("late-item")
        };
        let late_counter = HostSpec {
            behaviour: Behaviour {
                counter_lag: Duration::from_millis(500),
                ..host("x").behaviour
            },
            ..HostSpec::named("late-counter")
        };
        let last = host("last").delayed(Duration::from_millis(400));
        let site = Site::new(kind, Scenario::of([twice, late_item, late_counter, last]));
        let hosts = ["twice", "late-item", "late-counter", "last"];
        let document = site.run("answers-twice-and-late", site.step(&hosts));
        assert!(!document.partial);
    });
}

/// An answer of a host that nobody asked is nobody's.
#[test]
fn faults_answers_of_foreign_hosts() {
    // An answer that names no host, but the query that it is to, is in `tests/aisoc_direct.rs`.
    on_those(Kind::lists_hosts, |kind| {
        let foreign = HostSpec {
            behaviour: Behaviour {
                answers_as: Some("4C4C4544-FFFF-4000-8000-000000000099".into()),
                ..host("x").behaviour
            },
            ..HostSpec::named("web-02")
        };
        let mut other = host("web-99");
        other.uuid = Some("4C4C4544-FFFF-4000-8000-000000000099".into());
        let site = Site::new(kind, Scenario::of([host("web-01"), foreign, other]));
        let step = site.step(&["web-01", "web-02"]).timeout(4);
        let document = site.run("answers-of-foreign-hosts", step);
        // osctrl counts that there was an answer, and keeps it under another name: who gave it is not known.
        assert_eq!(document.hosts["web-02"].status, "no_answer");
    });
}

#[test]
fn faults_broken_utf_8() {
    // `{"type":"result","data":{"host":{"id":1},"rows":[{"a":"\xff"}]}}` and the same as osctrl's page.
    let message =
        "eyJ0eXBlIjoicmVzdWx0IiwiZGF0YSI6eyJob3N0Ijp7ImlkIjoxfSwicm93cyI6W3siYSI6Iv8ifV19fQ==";
    let socket = SocketFault {
        send_base64: Some(message.into()),
        ..SocketFault::default()
    };
    let fault = Fault::on("results/websocket").times(1).socket(socket);
    let slow = host("web-01").delayed(Duration::from_millis(300));
    let site = Site::new(Kind::Fleet, Scenario::of([slow]).with_fault(fault));
    let document = site.run("broken-utf-8", site.step(&["web-01"]));
    assert!(!document.partial);

    // `{"items":[{"id":1,"data":"\xff"}]}`
    let body = "eyJpdGVtcyI6W3siaWQiOjEsImRhdGEiOiL/In1dfQ==";
    on_those(Kind::is_polled, |kind| {
        let fault = Fault {
            body_base64: Some(body.into()),
            ..kind.polling()
        };
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
        site.run("broken-utf-8", site.step(&["web-01"]));
    });
}

/// 20 MB from one host: above the usual limits of websockets, and whole in the document.
#[test]
fn faults_huge_answer_of_one_host() {
    on_every(|kind| {
        let huge = Huge {
            rows: 20_000,
            row_bytes: 1_010,
        };
        let scenario = Scenario::of([
            host("small"),
            HostSpec::named("huge").answering(Answer::Huge(huge)),
        ]);
        let site = Site::new(kind, scenario);
        let step = site
            .step(&["small", "huge"])
            .with("max_rows_per_host", 100_000);
        let ran = step.binary().run();
        let document = ran.document();
        assert_eq!((ran.status, &*ran.stderr, document.partial), (0, "", false));
        assert_eq!(document.results["huge"].len(), 20_000);
        assert!(ran.stdout.len() > 20_000_000, "{}", ran.stdout.len());
        let row = BTreeMap::from([("name", "init"), ("pid", "1")]);
        assert_eq!(document.rows("small"), [row]);
        let mib = ran.peak_kib / 1024;
        assert!(
            mib < 160,
            "{} MB of document took {mib} MiB",
            ran.stdout.len() / 1_000_000
        );
    });
}

/// A cap cuts rows and says so; what is left is whole.
#[test]
fn faults_caps() {
    on_every(|kind| {
        let many = HostSpec::named("many").answering(Answer::Huge(Huge {
            rows: 50,
            row_bytes: 200,
        }));
        let site = Site::new(kind, Scenario::of([host("few"), many]));
        let step = site.step(&["few", "many"]);
        let document = site.run("rows-cut", step.clone().with("max_rows_per_host", 1));
        assert!(
            document.truncated
                && document.hosts["many"].truncated
                && !document.hosts["few"].truncated
        );
        let ran = step.with("max_bytes", 4_096).binary().run();
        let document = ran.document();
        assert!(ran.stdout.len() <= 4_096, "{}", ran.stdout.len());
        assert!(document.truncated && document.partial);
        assert_eq!(
            document.hosts["many"].rows,
            Some(50),
            "received, before caps"
        );
    });
}
