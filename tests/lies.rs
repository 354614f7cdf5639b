//! Servers that lie and alerts that are odd, through the real binary: terminals are not driven, memory is
//! not filled, and no alert stops its own triage.

use osquery_simulator::{Answer, Cells, Fault, HostSpec, Scenario};
use serde_json::{Value, json};

use crate::harness::site::{Kind, Site, host, on_every, on_those};
use crate::harness::step;

/// Clears the screen, and a C1 control sequence introducer.
const EVIL: &str = "web\u{1b}[2J\u{9b}31m";

#[test]
fn names_and_columns_of_hosts_do_not_drive_a_terminal() {
    let mut cells = Cells::new();
    cells.insert(format!("{EVIL}\n"), json!(format!("{EVIL}\u{0}")));
    // Two of one name, so that a warning names them.
    let evil = || HostSpec::named(EVIL).answering(Answer::Rows(vec![cells.clone()]));
    let site = Site::new(
        Kind::Fleet,
        Scenario::of([evil().labelled("Odd"), evil().labelled("Odd")]),
    );
    let step = site.step(&[]).without("target_hosts");
    let ran = step.with("target_labels", json!(["Odd"])).binary().run();
    site.assert_no_secret(&ran);
    let document = ran.document();
    assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
    assert_eq!(document.results.len(), 2);
    for (key, rows) in &document.results {
        // A name that the server chose is written out; a row's columns are osquery's own.
        assert!(key.starts_with(r"web\u{1b}[2J\u{9b}31m@"), "{key:?}");
        assert_eq!(rows[0][&format!("{EVIL}\n")], json!(format!("{EVIL}\u{0}")));
    }
    assert!(
        ran.stderr.contains(r"web\u{1b}[2J\u{9b}31m"),
        "{}",
        ran.stderr
    );
    for output in [&ran.stderr, &ran.stdout] {
        let control = output
            .chars()
            .find(|character| character.is_ascii_control() && *character != '\n');
        assert_eq!(control, None);
    }
}

#[test]
fn compressed_bodies_that_nobody_asked_for_are_not_unpacked() {
    // 20 MB of blanks.
    let packed = include_str!("fixtures/blanks-20-mb.gz.base64");
    on_every(|kind| {
        let mut fault = kind.opening();
        fault.status = Some(200);
        fault.body_base64 = Some(packed.to_owned());
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
        let ran = site.step(&["web-01"]).binary().run();
        site.assert_no_secret(&ran);
        let document = ran.document();
        let error = document.error.expect("an error");
        assert_eq!(
            (ran.status, &*error.code),
            (22, "backend"),
            "{}",
            ran.stderr
        );
        assert!(error.message.contains("not JSON"), "{}", error.message);
        let asked = site.seen().requests;
        assert!(
            asked
                .iter()
                .all(|request| request.header("accept-encoding") == Some("identity"))
        );
    });
}

#[test]
fn pages_that_never_end_do_not_keep_the_step() {
    on_those(Kind::lists_hosts, |kind| {
        let page = match kind {
            Kind::Fleet => {
                let hosts: Vec<Value> = (0..100)
                    .map(|id| json!({"id": id, "hostname": format!("other-{id}"), "uuid": "", "hardware_serial": ""}))
                    .collect();
                json!({"hosts": hosts})
            }
            Kind::Osctrl => {
                let nodes: Vec<Value> = (0..500)
                    .map(|id| json!({"id": id, "hostname": format!("other-{id}"), "uuid": format!("U-{id}")}))
                    .collect();
                json!({"items": nodes, "page": 1, "page_size": 500, "total_items": 9_000_000_000_000_000_000_u64, "total_pages": 18_000_000_000_000_000_u64})
            }
            Kind::AisocDirect => unreachable!("it has no pages of hosts"),
        };
        let mut fault: Fault = kind.finding();
        fault.status = Some(200);
        fault.content_type = Some("application/json".into());
        fault.body = Some(page.to_string());
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
        let ran = site.step(&["web-01"]).binary().run();
        site.assert_no_secret(&ran);
        let document = ran.document();
        assert_eq!(
            document.error.map(|error| error.code).as_deref(),
            Some("targets"),
            "{}",
            ran.stderr
        );
        assert_eq!(
            (ran.status, document.timed_out_hosts),
            (21, vec!["web-01".to_owned()])
        );
    });
}

#[test]
fn an_alert_does_not_stop_its_own_triage() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        let mut deep = json!("end");
        for level in 0..40 {
            deep = if level % 2 == 0 {
                json!([deep])
            } else {
                json!({ "in": deep })
            };
        }
        let long = "x".repeat(1 << 20);
        let mut alert = json!({
            "host": "web-01", "deep": deep, "long": long, "": null, "n": -1.5e300, "list": [[], {}, null],
            "control": "\u{0}\u{1b}\u{7f}\u{9b}\u{202e}", "template": "{{ secrets.token }} {% raw %} ${{x}}",
        });
        alert[&"k".repeat(5_000)] = json!(true);
        let mut params = json!({
            "backend": kind.backend(), "base_url": site.simulator.base_url(), "api_token": "{{ secrets.token }}",
            "template": "running_processes", "target_hosts": ["{{ alert.host }}"], "timeout_seconds": 30,
        });
        params
            .as_object_mut()
            .expect("an object")
            .extend(kind.access());
        let token = kind.token();
        let invocation = json!({
            "protocol": 1, "context": {"alert": alert}, "secrets": {"token": token},
            "step": {"id": "odd", "type": "osquery_live_query", "params": params},
        });
        // As some engines write it: a raw DEL, which JSON allows.
        let text = invocation.to_string().replace("\\u007f", "\u{7f}");
        let ran = step(text).run();
        site.assert_no_secret(&ran);
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{}", ran.stdout);
        assert_eq!(ran.document().rows("web-01").len(), 1);
    });
}
