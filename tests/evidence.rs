//! What makes a document evidence: which run it is of, what was asked and when, under the id that the audit
//! log and the servers' traces have, too; on every way out.

use std::collections::BTreeSet;

use osquery_simulator::{FLEET_MAINTAINER_TOKEN, HostSpec, Scenario};
use serde_json::{Value, json};

use crate::harness::document::{Line, Run};
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, Step, host, on_every, on_those, silent};
use crate::harness::{args, step};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UUID: &str = "4C4C4544-0000-4000-8000-0000000000AB";
const SQL: &str = "SELECT * FROM processes LIMIT 7";

/// The ids of the runs in an audit log, and how many lines there are.
fn runs(log: &str) -> (BTreeSet<String>, usize) {
    let lines = log.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a whole line");
        line["run"].as_str().expect("an id").to_owned()
    });
    let lines: Vec<String> = lines.collect();
    let count = lines.len();
    (lines.into_iter().collect(), count)
}

fn hosts() -> Scenario {
    Scenario::of([
        host("web-01"),
        HostSpec {
            uuid: Some(UUID.into()),
            ..host("web-02")
        },
        silent("web-03"),
    ])
}

fn asking(site: &Site) -> Step {
    site.step(&["web-01", UUID, "web-03"])
        .with("template_params", json!({"limit": 7}))
        .timeout(2)
}

/// What a run says of what it asked for.
fn asked(run: &Run) -> [Value; 4] {
    let text = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
    let parameters = run.parameters.clone().map_or(Value::Null, Value::Object);
    [
        text(&run.step),
        text(&run.template),
        parameters,
        text(&run.sql),
    ]
}

#[test]
fn a_document_says_which_run_it_is_of() {
    // A host under its uuid; what stands for all servers alike is in the cases.
    on_those(Kind::lists_hosts, |kind| {
        for format in ["json", "ndjson"] {
            let site = Site::new(kind, hosts());
            let folder = Folder::new();
            folder.policy("audit_log: audit.jsonl\n");
            let policy = folder.name("policy.yaml");
            let step = asking(&site).arg("--policy").arg(&policy);
            let step = step.arg("--format").arg(format).binary();
            let ran = step.env("TRACEPARENT", TRACE).run();
            assert_eq!(ran.status, 0, "{ran:?}");
            let (run, executed, answers) = match format {
                "json" => {
                    let document = ran.document();
                    let of = |name: &str| document.hosts[name].clone();
                    assert_eq!(of("web-01").hostname, None);
                    assert_eq!(of(UUID).hostname.as_deref(), Some("web-02"));
                    let answers: Vec<String> = document
                        .hosts
                        .values()
                        .filter_map(|host| host.answered_at.clone())
                        .collect();
                    (document.run, document.executed, answers)
                }
                _ => {
                    let mut lines = ran.lines();
                    let Some(Line::Summary { run, executed, .. }) = lines.pop() else {
                        panic!("no summary: {ran:?}");
                    };
                    let answers = lines.into_iter().map(|line| match line {
                        Line::Host {
                            host,
                            hostname,
                            uuid,
                            answered_at,
                            ..
                        } => {
                            assert_eq!(hostname.is_some(), host == UUID, "{ran:?}");
                            assert!(uuid.is_some(), "{ran:?}");
                            answered_at
                        }
                        Line::Summary { .. } => panic!("two summaries: {ran:?}"),
                    });
                    (*run, executed, answers.collect())
                }
            };
            assert!(executed);
            assert_eq!(answers.len(), 2, "{ran:?}");
            for at in answers {
                assert!(run.started_at <= at && at <= run.finished_at, "{ran:?}");
            }
            assert_eq!(
                asked(&run),
                [
                    json!("ask"),
                    json!("running_processes"),
                    json!({"limit": 7}),
                    json!(SQL)
                ]
            );
            assert_eq!(run.traceparent.as_deref(), Some(TRACE));
            let (runs, lines) = runs(&folder.text("audit.jsonl"));
            assert_eq!((runs, lines), (BTreeSet::from([run.id]), 2));
            let seen = site.seen();
            assert!(seen.campaigns.iter().all(|campaign| campaign.sql == SQL));
            assert!(!seen.requests.is_empty());
            for request in &seen.requests {
                let trace = ("traceparent".to_owned(), TRACE.to_owned());
                assert!(request.headers.contains(&trace), "{request:?}");
            }
        }
    });
}

#[test]
fn two_runs_have_two_ids() {
    let ids: BTreeSet<String> = (0..2).map(|_| step("[]").run().document().run.id).collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_run_without_a_trace_names_none() {
    let site = Site::new(Kind::Fleet, hosts());
    for (trace, stderr) in [
        ("", ""),
        (
            "00-nothing",
            "warning: the variable TRACEPARENT does not hold a `traceparent` of W3C Trace Context: this run is not part of a trace\n",
        ),
    ] {
        let step = site.step(&["web-01"]).binary();
        let ran = step.env("TRACEPARENT", trace).run();
        assert_eq!((ran.status, &*ran.stderr), (0, stderr));
        assert_eq!(ran.document().run.traceparent, None);
    }
    let seen = site.seen();
    let traced = |(name, _): &(String, String)| name == "traceparent";
    assert!(
        !seen
            .requests
            .iter()
            .any(|request| request.headers.iter().any(traced))
    );
}

#[test]
fn a_step_needs_no_id() {
    on_every(|kind| {
        let site = Site::new(kind, hosts());
        let ran = site.step(&["web-01"]).without_id().binary().run();
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
        assert_eq!(ran.document().run.step, None);
    });
}

/// What a failed run still knows, stage by stage.
#[test]
fn a_failure_tells_what_was_known_by_then() {
    let nothing = [Value::Null, Value::Null, Value::Null, Value::Null];
    let named =
        |parameters: Value, sql: Value| [json!("ask"), json!("running_processes"), parameters, sql];
    let whole = || named(json!({"limit": 7}), json!(SQL));
    let site = Site::new(Kind::Fleet, hosts());
    let away = "http://127.0.0.1:9";
    let usual = || {
        site.step(&["web-01"])
            .with("template_params", json!({"limit": 7}))
            .timeout(2)
    };
    let rows: Vec<(&str, crate::harness::Binary, bool, [Value; 4])> = vec![
        (
            "usage",
            args(["run", "--no-such-flag"]),
            false,
            nothing.clone(),
        ),
        ("decode", step("{"), false, nothing),
        (
            "schema",
            usual().with("timeout_seconds", 0).binary(),
            false,
            named(Value::Null, json!(SQL)),
        ),
        (
            "render",
            usual().with("target_hosts", "{{ alert.host }}").binary(),
            false,
            named(Value::Null, json!(SQL)),
        ),
        (
            "allowlist",
            usual()
                .with("template_params", json!({"limit": "seven"}))
                .binary(),
            false,
            named(Value::Null, Value::Null),
        ),
        (
            "policy",
            usual()
                .with("base_url", "http://fleet.example.com")
                .binary(),
            false,
            whole(),
        ),
        ("auth", usual().token("wrong").binary(), false, whole()),
        (
            "targets",
            usual().with("target_hosts", json!(["gone"])).binary(),
            false,
            whole(),
        ),
        (
            "unreachable",
            usual().with("base_url", away).binary(),
            false,
            whole(),
        ),
    ];
    for (code, binary, executed, expected) in rows {
        let document = binary.run().document();
        let error = document.error.expect(code);
        assert_eq!(error.code, code);
        assert_eq!(document.executed, executed, "{code}");
        assert_eq!(asked(&document.run), expected, "{code}");
    }
}

#[test]
fn no_token_stands_in_what_was_asked() {
    let site = Site::new(Kind::Fleet, hosts());
    let step = site
        .step(&["web-01"])
        .with("template", "processes_by_name")
        .with("template_params", json!({"name": FLEET_MAINTAINER_TOKEN}));
    let ran = step.binary().run();
    let run = ran.document().run;
    assert_eq!(run.parameters.unwrap()["name"], "[redacted]");
    assert!(run.sql.unwrap().contains("[redacted]"));
    site.assert_no_secret(&ran);
}
