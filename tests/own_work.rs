//! Work that the input alone makes: what multiplies is counted before it is built, what is wrong a hundred
//! thousand times is told a hundred times, and what nobody names is not looked at.

use osquery_simulator::Scenario;
use serde_json::{Value, json};

use crate::harness::folder::Folder;
use crate::harness::site::{Site, host, on_all, on_every};
use crate::harness::{Ran, args, step};

/// A step's input costs some multiple of its 4 MiB, not of what it could be made to multiply to.
const MOST_KIB: u64 = 220 * 1024;

/// Nothing that expressions make may cost as much: all of them together make 64 MiB.
const EXPRESSION_KIB: u64 = 200 * 1024;

fn params(changes: &Value) -> Value {
    let mut params = json!({
        "backend": "fleetdm", "base_url": "https://127.0.0.1:9", "api_token": "{{ secrets.token }}",
        "template": "running_processes", "target_hosts": ["web-01"],
    });
    for (key, value) in changes.as_object().expect("a mapping") {
        params[key] = value.clone();
    }
    params
}

fn invocation(changes: &Value, context: &Value) -> String {
    json!({
        "protocol": 1, "context": context, "secrets": {"token": "a-token"},
        "step": {"id": "s", "name": "s", "type": "osquery_live_query", "params": params(changes)},
    })
    .to_string()
}

#[track_caller]
fn cheap(ran: &Ran, most_kib: u64, about: &str) {
    assert!(ran.peak_kib > 0, "{about}: nothing was measured");
    assert!(ran.peak_kib < most_kib, "{about}: {} KiB", ran.peak_kib);
    assert!(
        ran.stdout.len() + ran.stderr.len() < 1 << 20,
        "{about}: much is said"
    );
}

#[test]
fn an_expression_is_counted_before_it_is_built() {
    let long = "x".repeat(65_000);
    let context = json!({"alert": {
        "items": vec!["a"; 10_000],
        "objects": vec![json!({"a": "b"}); 10_000],
        "long": "ß".repeat(32_000),
        "short": "y".repeat(100),
    }});
    let many = |expression: &str, count: usize| expression.repeat(count);
    let size = "yields text of more than 64 KiB";
    for (about, changes, message) in [
        (
            "a long separator",
            json!({"target_hosts": format!("{{{{ alert.items | join('{long}') }}}}")}),
            size,
        ),
        (
            "a long separator of plucked",
            json!({"target_hosts": format!("{{{{ alert.objects | pluck('a') | join('{long}') }}}}")}),
            size,
        ),
        (
            "joined twice",
            json!({"target_hosts": format!("{{{{ alert.items | join('{}') | upper }}}}", "y".repeat(100))}),
            size,
        ),
        (
            "one text of many",
            json!({"target_hosts": [many("{{ alert.long }}", 3_000)]}),
            size,
        ),
        (
            "one text of many short ones",
            json!({"target_hosts": [many("{{ alert.short }}", 3_000)]}),
            size,
        ),
        (
            "letters that grow",
            json!({"target_hosts": ["{{ alert.long | upper }}", "{{ alert.long | upper }}x{{ alert.long }}"]}),
            size,
        ),
        (
            "many texts",
            json!({"template_params": {"x": vec!["{{ alert.long }}"; 9_000]}}),
            "yield more than 64 MiB",
        ),
        (
            "many lists",
            json!({"target_hosts": vec!["{{ alert.items | join('-') }}"; 9_000]}),
            "yield more than 64 MiB",
        ),
        (
            "many plucked",
            json!({"target_hosts": vec!["{{ alert.objects | pluck('a') | first }}"; 9_900]}),
            "yield more than 64 MiB",
        ),
    ] {
        let ran = step(invocation(&changes, &context)).run();
        assert_eq!(ran.status, 12, "{about}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{about}: {}", ran.stderr);
        cheap(&ran, EXPRESSION_KIB, about);
    }
}

#[test]
fn what_is_wrong_many_times_is_told_a_hundred_times() {
    let bad = Value::Array(vec![json!([]); 600_000]);
    let wrong = [
        json!({"target_hosts": bad}),
        json!({"target_labels": bad}),
        json!({"target_platforms": bad}),
        json!({"also_match": bad}),
        json!({"target_host_ids": bad}),
        json!({"template_params": {"limit": bad}}),
        json!({"template": bad}),
        json!({"target_hosts": vec![json!("\u{1}"); 400_000]}),
    ];
    on_all(wrong.chunks(4), |wrong| {
        for changes in wrong {
            let about = changes
                .as_object()
                .and_then(|all| all.keys().next().cloned());
            let about = about.expect("a key");
            let text = invocation(changes, &json!({}));
            for verb in [
                &["run"][..],
                &["check"],
                &["dry-run", "-", "--format", "json"],
            ] {
                let ran = step(&text).args(verb).run();
                assert!([1, 11, 12, 13].contains(&ran.status), "{about}: {ran:?}");
                cheap(&ran, MOST_KIB, &format!("{about} {verb:?}"));
                if verb[0] != "dry-run" {
                    let details = ran.document().error.expect("an error").details.len();
                    assert!((1..=130).contains(&details), "{about}: {details}");
                }
            }
        }
    });
}

/// A context whose alert is so deep, the context itself counted.
fn deep(levels: usize) -> Value {
    let mut value = json!("bottom");
    for level in 0..levels - 2 {
        value = match level % 2 {
            0 => json!([value]),
            _ => json!({"k": value}),
        };
    }
    json!({"alert": {"host": "web-01", "raw": value}})
}

#[test]
fn a_deep_alert_stops_no_triage() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        for levels in [60, 64, 65, 128, 129, 255, 256] {
            // Put in as text: the reader of tests goes less deep.
            let text = invocation(&json!({}), &json!("DEEP"));
            let mut text: Value = serde_json::from_str(&text).expect("JSON");
            text["step"]["params"]["base_url"] = site.simulator.base_url().into();
            text["step"]["params"]["backend"] = kind.backend().into();
            text["step"]["params"]["target_hosts"] = json!("{{ alert.host }}");
            let params = text["step"]["params"].as_object_mut();
            params.expect("a mapping").extend(kind.access());
            text["secrets"]["token"] = kind.token().into();
            let deep = deep(levels).to_string();
            let text = text.to_string().replace("\"DEEP\"", &deep);
            let ran = step(text).run();
            assert_eq!(ran.status, 0, "{levels}: {}", ran.stderr);
        }
    });
    let alone =
        json!({"id": "s", "name": "s", "type": "osquery_live_query", "params": params(&json!({}))});
    let folder = Folder::new();
    for (levels, status) in [(256, 0), (258, 2)] {
        // As YAML, where brackets are the same.
        let context = folder.file("context.yaml", format!("# YAML\n{}", deep(levels)));
        let ran = step(alone.to_string())
            .args(&["dry-run", "-", "--context"])
            .arg(&context)
            .run();
        assert_eq!(ran.status, status, "{levels}: {ran:?}");
    }
    // What is deeper than that is said with its place, and so is a deep step.
    let ran = step(invocation(&json!({}), &deep(300))).run();
    assert_eq!(ran.status, 10, "{ran:?}");
    assert!(ran.stderr.contains("nested more than 256 deep"), "{ran:?}");
    let ran = step(invocation(
        &json!({"template_params": deep(66)}),
        &json!({}),
    ))
    .run();
    assert_eq!(ran.status, 10, "{ran:?}");
    assert!(ran.stderr.contains("nested more than 64 deep"), "{ran:?}");
}

/// Fleet's webhooks name hosts as objects.
#[test]
fn the_hosts_of_a_webhook_are_plucked() {
    let context = json!({"alert": {"hosts": [
        {"id": 1, "hostname": "web-01", "url": "https://fleet.example/hosts/1"},
        {"id": 2, "hostname": "web-02", "url": "https://fleet.example/hosts/2"},
    ]}});
    on_every(|kind| {
        let site = Site::new(
            kind,
            Scenario::of([host("web-01"), host("web-02"), host("web-03")]),
        );
        let step = site
            .step(&[])
            .with("target_hosts", "{{ alert.hosts | pluck('hostname') }}");
        let folder = Folder::new();
        let file = folder.file("context.json", context.to_string());
        let ran = step.clone().binary().arg("--context").arg(&file).run();
        let document = ran.document();
        assert_eq!(ran.status, 0, "{ran:?}");
        let asked: Vec<&str> = document.results.keys().map(String::as_str).collect();
        assert_eq!(asked, ["web-01", "web-02"]);
        // `dry-run` finds a key that is not there, where the context is known.
        let wrong = step.with("target_hosts", "{{ alert.hosts | pluck('hostnam') }}");
        let ran = wrong
            .clone()
            .binary()
            .args(&["dry-run", "-", "--context"])
            .arg(&file)
            .run();
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.stdout.contains("did you mean `hostname`?"), "{ran:?}");
        let ran = wrong.binary().args(&["dry-run", "-"]).run();
        assert_eq!(
            ran.status, 0,
            "what the engine's alert has is not known: {ran:?}"
        );
    });
    let ran = args(["dry-run", "--help"]).run();
    assert_eq!(ran.status, 0);
}
