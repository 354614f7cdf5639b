//! Where the time of a run went: in the document, and with `-v` in words. That the parts follow each other, and
//! that answers are counted where there are some, is held of every document (`tests/harness/document.rs`).

use std::time::Duration;

use osquery_simulator::Scenario;
use serde_json::json;

use crate::harness::document::Timings;
use crate::harness::site::{Kind, Site, Step, host, on_every};
use crate::harness::step;

fn one_host(kind: Kind) -> Site {
    let hosts = vec![host("web-01").delayed(Duration::from_millis(300))];
    Site::new(
        kind,
        Scenario {
            hosts,
            ..Scenario::default()
        },
    )
}

/// Which of them are known.
fn known(timings: &Timings) -> [bool; 6] {
    let Timings {
        connect_ms,
        auth_ms,
        resolve_ms,
        dispatch_ms,
        first_answer_ms,
        last_answer_ms,
    } = timings;
    [
        connect_ms,
        auth_ms,
        resolve_ms,
        dispatch_ms,
        first_answer_ms,
        last_answer_ms,
    ]
    .map(|it| it.is_some())
}

#[test]
fn a_run_says_where_its_time_went() {
    on_every(|kind| {
        let site = one_host(kind);
        let ran = site.step(&["web-01"]).arg("-v").binary().run();
        let timings = ran.document().campaign().timings.clone();
        assert_eq!(known(&timings), [true; 6], "{kind:?}: {timings:?}");
        // The host thinks for so long, from when it is asked: somewhere in the dispatch.
        let waited = timings.dispatch_ms.unwrap_or(0) + timings.first_answer_ms.unwrap_or(0);
        assert!(waited >= 299, "{kind:?}: {timings:?}");
        let said = format!(
            "info: it took {} ms to connect, {} ms to log in, {} ms to find the hosts, {} ms to dispatch; the first answer came {} ms after the dispatch, the last {} ms\n",
            timings.connect_ms.unwrap_or_default(),
            timings.auth_ms.unwrap_or_default(),
            timings.resolve_ms.unwrap_or_default(),
            timings.dispatch_ms.unwrap_or_default(),
            timings.first_answer_ms.unwrap_or_default(),
            timings.last_answer_ms.unwrap_or_default(),
        );
        assert!(ran.stderr.contains(&said), "{said}{}", ran.stderr);
    });
}

#[test]
fn lines_say_it_in_their_summary() {
    on_every(|kind| {
        let site = one_host(kind);
        let ran = site
            .step(&["web-01"])
            .arg("--format")
            .arg("ndjson")
            .binary()
            .run();
        let summary = ran.stdout.lines().last().expect("a summary");
        let summary: serde_json::Value = serde_json::from_str(summary).expect("JSON");
        let timings = &summary["campaign"]["timings"];
        for part in [
            "connect_ms",
            "auth_ms",
            "resolve_ms",
            "dispatch_ms",
            "last_answer_ms",
        ] {
            assert!(timings[part].is_u64(), "{kind:?}: {part} of {timings}");
        }
    });
}

#[test]
fn a_slow_dispatch_is_told_from_a_slow_network() {
    on_every(|kind| {
        let late = osquery_simulator::Fault {
            delay: Duration::from_millis(400),
            ..kind.dispatching()
        };
        let site = Site::new(
            kind,
            Scenario {
                hosts: vec![host("web-01")],
                faults: vec![late],
                ..Scenario::default()
            },
        );
        let ran = site.step(&["web-01"]).binary().run();
        let timings = ran.document().campaign().timings.clone();
        assert!(timings.dispatch_ms >= Some(400), "{kind:?}: {timings:?}");
        assert!(timings.connect_ms < Some(400), "{kind:?}: {timings:?}");
    });
}

#[test]
fn a_server_that_is_not_there_took_its_time_to_connect() {
    // Nobody listens at port 1.
    on_every(|kind| {
        let ran = Step::of(kind, "http://127.0.0.1:1", &["web-01"])
            .timeout(1)
            .binary()
            .run();
        let document = ran.document();
        assert_eq!(
            document.error.as_ref().map(|it| it.code.as_str()),
            Some("unreachable")
        );
        let timings = &document.campaign().timings;
        let [connect, auth, _, dispatch, first, last] = known(timings);
        assert!(connect && auth, "{kind:?}: {timings:?}");
        // This server is dialled only for the dispatch.
        assert_eq!(dispatch, kind == Kind::AisocDirect, "{kind:?}: {timings:?}");
        assert!(!first && !last, "{kind:?}: {timings:?}");
    });
}

#[test]
fn a_step_that_is_refused_has_none() {
    let ran = step(json!({"action": "osquery_live_query"}).to_string()).run();
    assert!(ran.document().campaign.is_none());
}
