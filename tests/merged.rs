//! stdout and stderr in one pipe, as many engines read them: everything comes before the document, on every
//! way out. `tests/cases.rs` holds the same of each case.

use osquery_simulator::{Answer, Fault, HostSpec, OSCTRL_PLUGIN_TOKEN, Scenario};
use serde_json::Value;

use crate::harness::site::{Kind, Site, Step, host, on_every, silent};
use crate::harness::{Ran, step};

/// A way out of a run, and what has to be said before its document.
struct Way {
    name: &'static str,
    hosts: Vec<HostSpec>,
    faults: fn(Kind) -> Vec<Fault>,
    step: fn(Step) -> Step,
    status: i32,
    said: &'static str,
}

fn no_faults(_: Kind) -> Vec<Fault> {
    Vec::new()
}

fn ways() -> Vec<Way> {
    let way = |name, hosts, step, status, said| Way {
        name,
        hosts,
        faults: no_faults,
        step,
        status,
        said,
    };
    let web = || vec![host("web-01")];
    let failing = HostSpec::named("web-01").answering(Answer::Error("no such table".into()));
    vec![
        way("rows", web(), |step| step, 0, ""),
        way(
            "warnings",
            web(),
            |step| step.with("target_hosts", vec!["web-01", "web-02"]),
            0,
            "warning: ",
        ),
        way(
            "silence",
            vec![silent("web-01")],
            |step| step.timeout(2),
            0,
            "",
        ),
        way("an osquery error", vec![failing], |step| step, 0, ""),
        way(
            "partial as failure",
            vec![silent("web-01")],
            |step| step.timeout(2).arg("--fail-on-partial"),
            3,
            "",
        ),
        way(
            "schema",
            web(),
            |step| step.with("max_hosts", 0),
            11,
            "error[schema]: ",
        ),
        way(
            "render",
            web(),
            |step| step.with("target_hosts", "{{ alert.host }}"),
            12,
            "error[render]: ",
        ),
        way(
            "allowlist",
            web(),
            |step| step.with("template", "no_such"),
            13,
            "error[allowlist]: ",
        ),
        way(
            "auth",
            web(),
            |step| step.token("wrong"),
            20,
            "error[auth]: ",
        ),
        way(
            "targets",
            web(),
            |step| step.with("target_hosts", "nobody"),
            21,
            "error[targets]: ",
        ),
        Way {
            faults: |kind| vec![kind.dispatching().status(500)],
            ..way("backend", web(), |step| step, 22, "error[backend]: ")
        },
        Way {
            faults: |kind| vec![kind.finding().status(429)],
            ..way("busy", web(), |step| step.timeout(2), 24, "error[busy]: ")
        },
        way(
            "an unknown flag",
            web(),
            |step| step.arg("--no-such-flag"),
            2,
            "error[usage]: ",
        ),
    ]
}

/// The document of a merged stream is its last line, and what was said stands above it.
#[track_caller]
fn assert_last(ran: &Ran, name: &str) -> Value {
    assert!(ran.stdout.ends_with('\n'), "{name}: {ran:?}");
    let document: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{name}: the last line is no document: {error}: {ran:?}"));
    assert!(document["timed_out_hosts"].is_array(), "{name}: {ran:?}");
    document
}

#[test]
fn the_document_is_the_last_line_on_every_way_out() {
    on_every(|kind| {
        for way in ways() {
            for args in [
                &[][..],
                &["-v"],
                &["--format", "ndjson"],
                &["--log", "json"],
            ] {
                let scenario = Scenario {
                    faults: (way.faults)(kind),
                    ..Scenario::of(way.hosts.clone())
                };
                let site = Site::new(kind, scenario);
                let mut step = (way.step)(site.step(&["web-01"]));
                for arg in args {
                    step = step.arg(arg);
                }
                let ran = step.binary().merged().run().apart();
                let name = format!("{} {args:?}", way.name);
                assert_eq!(ran.status, way.status, "{name}: {ran:?}");
                let document = assert_last(&ran, &name);
                if args.is_empty() {
                    assert!(ran.stderr.contains(way.said), "{name}: {ran:?}");
                }
                let lines = args == ["--format", "ndjson"] && way.status != 2;
                let summary = lines.then_some("summary");
                assert_eq!(document["type"].as_str(), summary, "{name}: {ran:?}");
            }
        }
    });
}

#[test]
fn a_signal_ends_the_stream_with_the_document() {
    on_every(|kind| {
        for (signal, status) in [("INT", 130), ("TERM", 143), ("HUP", 143)] {
            let site = Site::new(kind, Scenario::of([silent("web-01")]));
            let running = site.step(&["web-01"]).arg("-v").binary().merged().start();
            site.wait("the campaign", |seen| !seen.campaigns.is_empty());
            running.signal(signal);
            let ran = running.wait().apart();
            assert_eq!(ran.status, status, "{ran:?}");
            assert_eq!(assert_last(&ran, signal)["cancelled"], true);
        }
    });
}

/// Whether the campaign could be stopped is known only after the document.
#[test]
fn what_comes_after_the_document_is_said_with_vv_only() {
    type Change = fn(Step) -> Step;
    let ways: [(Change, Fault, &str); 2] = [
        (
            |step| step.token(OSCTRL_PLUGIN_TOKEN),
            Fault::on_method("POST", "/no-such-path"),
            "the token may not stop queries",
        ),
        (
            |step| step,
            Fault::on_method("POST", "/expire/").status(500),
            "the query could not be stopped: HTTP 500",
        ),
    ];
    for (change, fault, said) in ways {
        let ended = |verbosity: &[&str]| {
            let scenario = Scenario {
                faults: vec![fault.clone()],
                ..Scenario::of([silent("web-01")])
            };
            let site = Site::new(Kind::Osctrl, scenario);
            let mut step = change(site.step(&["web-01"])).timeout(2);
            for flag in verbosity {
                step = step.arg(flag);
            }
            step.binary().merged().run()
        };
        for verbosity in [&[][..], &["-v"]] {
            let ran = ended(verbosity).apart();
            let document = assert_last(&ran, "not stopped");
            assert_eq!(document["campaign"]["may_be_running"], true, "{document}");
            assert!(!ran.stderr.contains(said), "{ran:?}");
        }
        // The document is written at the same time, by another thread.
        let ran = ended(&["-vv"]);
        assert!(ran.stdout.contains(said), "{ran:?}");
    }
}

/// An engine that gives nothing, and one whose step is on one line.
#[test]
fn what_was_not_read_ends_with_a_document_too() {
    for (input, status) in [("", 10), ("[]", 10), ("{\"params\": {}}", 11)] {
        let ran = step(input).merged().run().apart();
        assert_eq!(ran.status, status, "{ran:?}");
        assert_last(&ran, input);
        assert!(!ran.stderr.contains("line 1"), "{ran:?}");
    }
}
