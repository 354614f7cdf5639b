//! Input that may not be sent on: refused before any socket is opened, and in the words of its author.

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::json;

use crate::harness::site::{Kind, Step, WRONG_TOKEN, compare, on_every};
use crate::harness::step;

/// A server that must never be called.
struct Untouched(TcpListener);

impl Untouched {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        Self(listener)
    }

    fn address(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("an address"))
    }
}

impl Drop for Untouched {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let came = self.0.accept().expect_err("nobody connects");
            assert_eq!(came.kind(), ErrorKind::WouldBlock);
        }
    }
}

/// Runs the step, whose server must not be called, and compares all that came out.
fn refused(name: &str, kind: Kind, status: i32, change: impl FnOnce(Step) -> Step) {
    let server = Untouched::new();
    let address = server.address();
    let ran = change(Step::of(kind, &address, &["web-01"])).binary().run();
    assert_eq!(ran.status, status, "{name}: {ran:?}");
    compare(&format!("{name}.{}", kind.backend()), &ran, &address);
}

#[test]
fn faults_raw_sql() {
    on_every(|kind| {
        for parameter in ["query", "sql", "Query", "raw_sql"] {
            let name = format!("offered-{parameter}");
            refused(&name, kind, 13, |step| {
                step.with(parameter, "SELECT * FROM shadow")
            });
        }
        refused("offered-query-alone", kind, 13, |step| {
            step.without("template").with("query", "SELECT 1")
        });
        refused("offered-in-template-params", kind, 13, |step| {
            step.with("template_params", json!({"sql": "SELECT 1"}))
        });
    });
}

#[test]
fn faults_allowlist() {
    on_every(|kind| {
        refused("unknown-template-parameter", kind, 13, |step| {
            step.with("template_params", json!({"limt": 10}))
        });
        refused("template-parameter-refused", kind, 13, |step| {
            step.with(
                "template_params",
                json!({"limit": "1; DROP TABLE processes"}),
            )
        });
        refused("template-parameter-out-of-range", kind, 13, |step| {
            step.with("template_params", json!({"limit": 100_000}))
        });
    });
}

/// The allowlist grows, so the message's end does.
#[test]
fn faults_unknown_template() {
    on_every(|kind| {
        let server = Untouched::new();
        let step = Step::of(kind, &server.address(), &["web-01"]);
        let ran = step.with("template", "running_process").binary().run();
        let message = "error[allowlist]: the allowlist refuses the step: unknown template `running_process`: did you mean `running_processes`?";
        assert_eq!(ran.status, 13);
        assert!(ran.stderr.starts_with(message), "{}", ran.stderr);
        assert_eq!(ran.document().timed_out_hosts, ["web-01"]);
    });
}

#[test]
fn faults_schema() {
    on_every(|kind| {
        refused("many-violations", kind, 11, |step| {
            step.with("target_hosts", json!([""]))
                .with("timeout_seconds", 0)
                .with("verify_tls", "marker-value")
                .with("max_hosts", "many")
                .with("targets", json!(["web-01"]))
        });
        refused("unknown-key", kind, 11, |step| {
            step.with("templat_params", json!({}))
        });
        refused("no-target", kind, 11, |step| step.without("target_hosts"));
        refused("two-kinds-of-credentials", kind, 11, |step| {
            step.with("username", "admin")
                .with("password", "{{ secrets.password }}")
        });
    });
    refused("no-environment", Kind::Osctrl, 11, |step| {
        step.without("environment")
    });
    refused("environment", Kind::Fleet, 11, |step| {
        step.with("environment", "dev")
    });
}

#[test]
fn faults_rendering() {
    on_every(|kind| {
        refused("missing-secret", kind, 12, |step| {
            step.with("api_token", "{{ secrets.no_such }}")
        });
        refused("undefined-name", kind, 12, |step| {
            step.with("target_hosts", json!(["{{ alert.host }}"]))
        });
        refused("secret-in-a-target", kind, 12, |step| {
            step.with("target_hosts", json!(["{{ secrets.token }}"]))
        });
        refused("context-in-the-address", kind, 12, |step| {
            step.with("base_url", "https://{{ alert.host }}/")
        });
        refused("arithmetic", kind, 12, |step| {
            step.with("target_hosts", json!(["{{ 'x' * 1000000 }}"]))
        });
    });
}

/// A token in the wrong place is not repeated by the message that refuses it.
#[test]
fn faults_secret_in_the_wrong_field() {
    on_every(|kind| {
        refused("token-as-backend", kind, 11, |step| {
            step.with("backend", WRONG_TOKEN)
        });
        refused("token-as-timeout", kind, 11, |step| {
            step.with("timeout_seconds", WRONG_TOKEN)
        });
        refused("token-as-address", kind, 11, |step| {
            step.with("base_url", WRONG_TOKEN)
        });
    });
}

#[test]
fn faults_decoding() {
    let server = Untouched::new();
    let address = server.address();
    let whole = |params: &str| {
        format!("id: ask\ntype: osquery_live_query\nparams:\n  base_url: {address}\n{params}")
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (name, input) in [
        ("nothing", Vec::new()),
        ("half-a-json", br#"{"id": "ask", "type""#.to_vec()),
        (
            "duplicate-key",
            whole("  template: a\n  template: b\n").into_bytes(),
        ),
        ("anchor", whole("  template: &a b\n  x: *a\n").into_bytes()),
        ("tag", whole("  template: !secret b\n").into_bytes()),
        ("two-documents", whole("---\nid: other\n").into_bytes()),
        (
            "two-steps",
            b"- id: a\n  type: b\n  params: {}\n- id: c\n  type: d\n  params: {}\n".to_vec(),
        ),
        ("not-utf-8", b"id: \xff\n".to_vec()),
        ("too-deep", deep.into_bytes()),
        ("too-long", vec![b' '; (4 << 20) + 1]),
        ("tab", b"id: ask\n\tparams: {}\n".to_vec()),
        ("protocol-2", br#"{"protocol": 2, "step": {}}"#.to_vec()),
    ] {
        let ran = step(input).run();
        assert_eq!(ran.status, 10, "{name}: {ran:?}");
        compare(&format!("decode-{name}"), &ran, &address);
    }
}

#[test]
fn faults_empty_stdin() {
    let line =
        "error[decode]: stdin is empty: expected one `osquery_live_query` step as YAML or JSON\n";
    for args in [&[][..], &["run"], &["check"]] {
        let document = step(" \n")
            .args(args)
            .run()
            .assert_failure(10, "decode", line);
        assert!(document.hosts.is_empty() && document.campaign.is_none());
    }
}
