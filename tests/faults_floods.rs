//! Servers that send without end: on the results socket, and in answers over HTTP. What came before is kept,
//! the error says what came, deadline and signals are served, and memory stays bounded.

use std::time::Duration;

use osquery_simulator::{
    Answer, Endless, Fault, Flood, FloodOf, HostSpec, Huge, MadeBody, Scenario, SlowBody,
    SocketFault,
};

use crate::harness::Ran;
use crate::harness::document::Line;
use crate::harness::site::{Kind, Site, host, on_all, on_every, on_those, silent};

/// A fourth of a second, and as much again for a machine that does other things.
const LATE: Duration = Duration::from_millis(500);
/// What a process may take beyond the rows that it keeps.
const MOST_KIB: u64 = 150 * 1_024;

/// One host answers, then the flood begins; the other never answers.
fn flooded(of: FloodOf, bytes: usize, deaf: bool) -> Site {
    let mut flood = Flood::of(of, bytes);
    flood.deaf = deaf;
    let fault = Fault::on("results/websocket").socket(SocketFault {
        after_results: 1,
        flood: Some(flood),
        ..SocketFault::default()
    });
    let hosts = [host("web-01"), silent("web-02")];
    Site::new(Kind::Fleet, Scenario::of(hosts).with_fault(fault))
}

#[track_caller]
fn assert_bounded(ran: &Ran, what: &str) {
    assert!(ran.peak_kib < MOST_KIB, "{what}: {} KiB", ran.peak_kib);
}

/// A server that only makes noise is given up, with what it was.
#[test]
fn faults_floods_on_the_results_stream_are_given_up() {
    const FLOODS: &str = "floods the results stream: ";
    let floods = [
        (FloodOf::Pings, 0, true, " pings"),
        (FloodOf::Pings, 125, false, " pings"),
        (FloodOf::Pongs, 0, false, " pongs"),
        (FloodOf::Empty, 0, false, " empty messages"),
        (FloodOf::Binary, 0, false, " binary messages"),
        (FloodOf::Binary, 100_000, true, " binary messages"),
        (FloodOf::Junk, 100, false, " messages that can't be read"),
        (FloodOf::Unknown, 10, false, " status messages"),
        (FloodOf::Status, 0, false, " status messages"),
    ];
    for floods in floods.chunks(4) {
        on_all(floods, |(of, bytes, deaf, words)| {
            let site = flooded(*of, *bytes, *deaf);
            let step = site.step(&["web-01", "web-02"]).timeout(50);
            let ran = step.binary().run();
            let what = format!("{of:?} of {bytes}: {}", ran.stderr);
            let document = ran.document();
            let error = document.error.as_ref().expect("an error");
            assert_eq!((ran.status, &*error.code), (22, "backend"), "{what}");
            assert!(
                error.message.contains(FLOODS) && error.message.contains(words),
                "{what}"
            );
            assert_eq!(document.results["web-01"].len(), 1, "what came is kept");
            assert!(ran.elapsed < Duration::from_secs(45), "{what}");
            assert_bounded(&ran, &what);
            site.assert_no_secret(&ran);
        });
    }
}

/// One message that never ends is given up when it is larger than an answer may be.
#[test]
fn faults_a_message_that_does_not_end() {
    let site = flooded(FloodOf::Fragments, 50_000, false);
    let step = site.step(&["web-01", "web-02"]).timeout(50);
    let ran = step.binary().run();
    let document = ran.document();
    let error = document.error.as_ref().expect("an error");
    assert_eq!((ran.status, &*error.code), (22, "backend"), "{ran:?}");
    assert!(
        error.message.contains("sent an answer of more than 67 MB"),
        "{error:?}"
    );
    assert_eq!(document.results["web-01"].len(), 1, "what came is kept");
    assert_bounded(&ran, "fragments");
}

/// What a frame announces that no memory holds, and bytes that are no frames.
#[test]
fn faults_frames_that_are_none() {
    on_all([FloodOf::OneFrame, FloodOf::Noise], |of| {
        let site = flooded(of, 0, false);
        let ran = site.step(&["web-01", "web-02"]).timeout(20).binary().run();
        let document = ran.document();
        assert_eq!(document.results["web-01"].len(), 1, "{of:?}: {ran:?}");
        assert!(document.partial);
        assert_bounded(&ran, &format!("{of:?}"));
    });
}

/// Whatever the flood, the deadline ends it: answers of hosts that nobody asked are no noise by themselves.
#[test]
fn faults_deadline_in_a_flood() {
    on_all(["json", "ndjson"], |format| {
        let site = flooded(FloodOf::Strangers, 200, false);
        let step = site.step(&["web-01", "web-02"]).timeout(3);
        let ran = step.arg(&format!("--format={format}")).binary().run();
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(
            ran.stderr,
            "warning: the server sent answers of hosts that were not asked: they are left out\n\
             warning: asked, but did not answer: web-02\n"
        );
        // The socket's end is told to a server that is still writing.
        let late = ran.elapsed.saturating_sub(Duration::from_secs(3));
        assert!(late < LATE, "{late:?} late");
        assert_bounded(&ran, format);
    });
}

/// A signal is heard through any flood.
#[test]
fn faults_signals_in_a_flood() {
    let floods = [FloodOf::Strangers, FloodOf::Pings, FloodOf::Fragments];
    on_all(floods, |of| {
        let site = flooded(of, 20, false);
        let step = site
            .step(&["web-01", "web-02"])
            .timeout(50)
            .arg("--format=ndjson");
        let running = step.binary().start();
        running.wait_for_stdout("\"web-01\"");
        running.signal("TERM");
        let ran = running.wait();
        let Some(Line::Summary { partial, .. }) = ran.lines().pop() else {
            panic!("{of:?}: no summary: {ran:?}");
        };
        // A flood of pings may have been given up a moment before.
        assert!(matches!(ran.status, 143 | 22) && partial, "{of:?}: {ran:?}");
        assert!(ran.elapsed < Duration::from_secs(20), "{of:?}");
        assert_bounded(&ran, &format!("{of:?}"));
    });
}

/// An extension that nobody asked for would make every frame unreadable.
#[test]
fn faults_compression_that_was_not_asked_for() {
    on_every(|kind| {
        let mut gzip = kind.opening();
        gzip.gzip = true;
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(gzip));
        let ran = site.step(&["web-01"]).binary().run();
        let error = ran.document().error.expect("an error");
        assert_eq!((ran.status, &*error.code), (22, "backend"), "{ran:?}");
        assert!(
            error.message.contains("Content-Encoding: gzip"),
            "{kind:?}: {error:?}"
        );
    });
    let deflate = Fault::on("results/websocket")
        .header("Sec-WebSocket-Extensions", Some("permessage-deflate"));
    let site = Site::new(
        Kind::Fleet,
        Scenario::of([host("web-01")]).with_fault(deflate),
    );
    let ran = site.step(&["web-01"]).binary().run();
    let document = ran.document();
    assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
    assert!(
        ran.stderr.contains("the hosts are asked one by one"),
        "{}",
        ran.stderr
    );
}

/// Answers that never end, at each stage that reads one.
#[test]
fn faults_http_answers_without_end() {
    for endless in Endless::ALL {
        let mut stages = Vec::new();
        for kind in Kind::ALL {
            stages.push((kind, kind.finding()));
            if kind.is_polled() && kind.lists_hosts() {
                stages.push((kind, kind.polling()));
            }
            // The same code reads it as elsewhere: once is enough of those that have a stage more.
            if !kind.is_polled() || endless == Endless::Body {
                stages.push((kind, kind.dispatching()));
            }
        }
        on_all(stages, |(kind, fault)| {
            let path = fault.path.clone();
            let scenario = Scenario::of([host("web-01")]).with_fault(fault.endless(endless));
            let site = Site::new(kind, scenario);
            let ran = site.step(&["web-01"]).timeout(3).binary().run();
            let what = format!("{kind:?}, {endless:?} of {path}: {}", ran.stderr);
            let document = ran.document();
            assert!(document.partial, "{what}");
            // The deadline while answers are collected is no error.
            if let Some(error) = &document.error {
                assert!(
                    matches!(&*error.code, "backend" | "deadline" | "unreachable"),
                    "{what}"
                );
            }
            let late = ran.elapsed.saturating_sub(Duration::from_secs(3));
            // Two seconds are there for telling the server to stop.
            assert!(
                late < Duration::from_secs(2) + LATE,
                "{what}: {late:?} late"
            );
            assert_bounded(&ran, &what);
        });
    }
}

/// Bytes that come one by one.
#[test]
fn faults_slow_bytes() {
    on_every(|kind| {
        let drops = SlowBody {
            bytes: 1,
            every: Duration::from_millis(300),
        };
        let mut slow_body = kind.opening();
        slow_body.slow = Some(drops);
        let mut slow_head = kind.opening();
        slow_head.slow_head = Some(drops);
        on_all([slow_body, slow_head], |fault| {
            let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
            let ran = site.step(&["web-01"]).timeout(3).binary().run();
            let error = ran.document().error.expect("an error");
            assert_eq!((ran.status, &*error.code), (25, "deadline"), "{ran:?}");
            let late = ran.elapsed.saturating_sub(Duration::from_secs(3));
            assert!(late < LATE, "{kind:?}: {late:?} late");
        });
    });
}

/// A page of hosts of any size is read no further than its limit, and not held.
#[test]
fn faults_pages_of_hosts_that_are_too_large() {
    on_those(Kind::lists_hosts, |kind| {
        let (before, after) = match kind {
            Kind::Fleet => (r#"{"hosts":["#, "]}"),
            Kind::Osctrl => (r#"{"items":["#, r#"],"total_items":1000000}"#),
            Kind::AisocDirect => unreachable!("it has no pages of hosts"),
        };
        let uuid = "4C4C4544-0000-4000-8000-{n}";
        let made = MadeBody {
            before: before.into(),
            repeat: format!(
                r#"{{"id":{{n}},"uuid":"{uuid}","hostname":"h","padding":"{}"}}"#,
                "x".repeat(100_000)
            ),
            times: 400,
            between: ",".into(),
            after: after.into(),
        };
        let scenario = Scenario::of([host("web-01")]).with_fault(kind.finding().made(made));
        let site = Site::new(kind, scenario);
        let ran = site.step(&["web-01"]).timeout(40).binary().run();
        let error = ran.document().error.expect("an error");
        assert_eq!((ran.status, &*error.code), (22, "backend"), "{ran:?}");
        assert!(
            error.message.contains("with more than 16 MiB"),
            "{kind:?}: {error:?}"
        );
        assert_bounded(&ran, &format!("{kind:?}"));
    });
}

/// One host's answer that is too large is that host's error, and the others' answers are read.
#[test]
fn faults_an_answer_that_is_too_large() {
    // Fleet's stream ends with such a message: `faults_a_message_that_does_not_end`.
    on_those(Kind::is_polled, |kind| {
        let huge = HostSpec::named("huge").answering(Answer::Huge(Huge {
            rows: 1,
            row_bytes: 80_000_000,
        }));
        let later = host("web-01").delayed(Duration::from_millis(300));
        let site = Site::new(kind, Scenario::of([huge, later]));
        let ran = site.step(&["huge", "web-01"]).timeout(40).binary().run();
        let document = ran.document();
        assert_eq!((ran.status, document.partial), (0, true), "{ran:?}");
        assert_eq!(document.failed_hosts, ["huge"]);
        let error = document.hosts["huge"].error.as_deref().unwrap_or_default();
        assert!(
            error.starts_with("the answer could not be read: ")
                && error.contains("more than 64 MiB, the most that is read of"),
            "{error}"
        );
        assert_eq!(document.results["web-01"].len(), 1);
        assert_bounded(&ran, "an answer of 80 MB");
    });
}
