//! The deadline and signals: whenever they come, one document is written, what came is kept, and the
//! server is told to stop.

use std::io::Read;
use std::time::{Duration, Instant};

use osquery_simulator::{Answer, Fault, HostSpec, Huge, Scenario};

use crate::faults_output::{RUNS_ON, without_the_missing};
use crate::harness::document::Document;
use crate::harness::site::{Kind, Site, compare, host, on_all, on_every, on_those, silent};
use crate::harness::step;

/// A slow machine writes its document later than in 250 ms; nothing but a hang takes 2 s.
const NEVER_AFTER_THE_DEADLINE: Duration = Duration::from_secs(2);

#[track_caller]
fn assert_in_time(started: Instant, timeout: u64) {
    let late = started
        .elapsed()
        .saturating_sub(Duration::from_secs(timeout));
    assert!(
        late < NEVER_AFTER_THE_DEADLINE,
        "{late:?} after the deadline"
    );
}

#[test]
fn faults_deadline_before_the_dispatch() {
    // Where no hosts are listed nothing comes before it.
    on_those(Kind::lists_hosts, |kind| {
        let stages = [
            ("deadline-at-login", kind.logging_in()),
            ("deadline-at-finding", kind.finding()),
        ];
        on_all(stages, |(name, fault)| {
            let fault = Fault {
                hang: true,
                ..fault
            };
            let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
            let mut step = site.step(&["web-01", "db-1"]).timeout(2);
            if name == "deadline-at-login" {
                step = step.logging_in(kind);
            }
            let started = Instant::now();
            let document = site.run(name, step);
            assert_in_time(started, 2);
            assert_eq!(document.timed_out_hosts, ["web-01", "db-1"]);
            assert!(site.seen().campaigns.is_empty());
        });
    });
}

/// The server has the dispatch and does not answer: nobody knows what runs there.
#[test]
fn faults_deadline_at_the_dispatch() {
    on_every(|kind| {
        let fault = Fault {
            hang: true,
            handled: true,
            ..kind.dispatching()
        };
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
        let started = Instant::now();
        let document = site.run(
            "deadline-at-the-dispatch",
            site.step(&["web-01"]).timeout(3),
        );
        // Tidying up has 2 s more; the document has long been written then.
        assert_in_time(started, 5);
        assert!(document.campaign().may_be_running);
        assert_eq!(kind.dispatches(&site.seen()), 1);
    });
}

/// The document begins with the deadline, before any tidying up.
#[test]
fn faults_deadline_while_the_stop_hangs() {
    let hangs = Fault {
        hang: true,
        ..Fault::on("/expire/")
    };
    let scenario = Scenario::of([host("web-01"), silent("web-02")]).with_fault(hangs);
    let site = Site::new(Kind::Osctrl, scenario);
    let started = Instant::now();
    let running = site.step(&["web-01", "web-02"]).timeout(4).binary().start();
    running.wait_for_stdout("\n");
    assert_in_time(started, 4);
    let document = site.compare("stop-that-hangs", running);
    assert!(document.campaign().may_be_running);
    assert_in_time(started, 6);
}

#[test]
fn faults_signals_in_the_middle() {
    on_every(|kind| {
        for (signal, status) in [("TERM", 143), ("INT", 130)] {
            let mut scenario = Scenario::of([host("web-01"), silent("web-02")]);
            scenario.fleet.tick = Duration::from_millis(300);
            let site = Site::new(kind, scenario);
            let running = site.step(&["web-01", "web-02"]).binary().start();
            wait_for_an_answer(&site);
            running.signal(signal);
            let name = format!("signal-{}-in-the-middle", signal.to_lowercase());
            let ran = running.wait();
            assert_eq!(ran.status, status);
            // Whether the answer had reached the process when the signal came is not known.
            site.assert_no_secret(&ran);
            let document = ran.document();
            assert_cancelled(&document, &name);
            let silent = &document.timed_out_hosts;
            let silent = silent.join(", ");
            let mut missing = format!("warning: asked, but did not answer: {silent}\n");
            if !kind.stops() {
                missing += &format!("warning: {RUNS_ON}: {silent}\n");
            }
            assert_eq!(ran.stderr, missing);
            site.wait_for_the_end();
        }
    });
}

fn wait_for_an_answer(site: &Site) {
    site.wait("an answer", |seen| !seen.answers.is_empty());
}

#[track_caller]
fn assert_cancelled(document: &Document, name: &str) {
    assert!(
        document.cancelled && document.partial && document.error.is_none(),
        "{name}: {document:?}"
    );
}

/// What has come is kept: here the process itself has shown that it has the row.
#[test]
fn faults_signal_keeps_the_rows() {
    on_every(|kind| {
        let scenario = Scenario::of([host("web-01"), silent("web-02")]);
        let site = Site::new(kind, scenario);
        let step = site.step(&["web-01", "web-02"]);
        let lines = step.clone().arg("--format=ndjson").binary().start();
        lines.wait_for_stdout("web-01");
        lines.signal("TERM");
        let ran = lines.wait();
        assert_eq!((ran.status, ran.lines().len()), (143, 2), "{ran:?}");

        // With the one document the rows can't be seen before; two polls later they have been
        // read; Fleet shows nothing.
        if kind.is_polled() {
            let earlier = site.seen().campaigns.len();
            let running = step.binary().start();
            site.wait("polls after the answer", |seen| {
                let mut answers = seen.answers.iter();
                let Some(first) = answers.find(|answer| answer.campaign >= earlier) else {
                    return false;
                };
                let polling = kind.polling();
                let polls = seen.requests_to("GET", &polling.path);
                polls.filter(|poll| poll.at > first.at).count() > 2
            });
            running.signal("TERM");
            let document = site.compare("signal-keeps-the-rows", running);
            assert_eq!(document.results["web-01"].len(), 1);
        }
    });
}

#[test]
fn faults_signal_before_the_dispatch() {
    // Where no hosts are listed nothing comes before it.
    on_those(Kind::lists_hosts, |kind| {
        let fault = Fault {
            hang: true,
            ..kind.finding()
        };
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
        let running = site.step(&["web-01", "db-1"]).binary().start();
        site.wait("the search", |seen| {
            seen.requests_to("GET", &kind.finding().path)
                .next()
                .is_some()
        });
        running.signal("TERM");
        let document = site.compare("signal-before-the-dispatch", running);
        assert_cancelled(&document, "before the dispatch");
        assert_eq!(document.timed_out_hosts, ["web-01", "db-1"]);
        assert!(site.seen().campaigns.is_empty());
    });
}

/// The campaign exists although its id is not known yet: Fleet's is ended as soon as it is.
#[test]
fn faults_signal_while_the_dispatch_is_under_way() {
    on_every(|kind| {
        let mut scenario = Scenario::of([silent("web-01")]);
        scenario.fleet.tick = Duration::from_millis(300);
        scenario.faults.push(Fault {
            answer_delay: Duration::from_millis(500),
            ..kind.dispatching()
        });
        let site = Site::new(kind, scenario);
        let running = site.step(&["web-01"]).binary().start();
        site.wait("the campaign", |seen| !seen.campaigns.is_empty());
        running.signal("TERM");
        let document = site.compare("signal-while-dispatching", running);
        assert!(
            document.campaign().may_be_running,
            "as things stood when it was written"
        );
        site.wait_for_the_end();
    });
}

#[test]
fn faults_signal_while_stdin_is_open() {
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        let running = step("id: half a step")
            .arg("-vv")
            .stdin_stays_open()
            .start();
        running.wait_until_handled(signal);
        running.signal(signal);
        let ran = running.wait();
        assert_eq!(ran.status, status);
        compare(
            &format!("signal-{}-while-stdin-is-open", signal.to_lowercase()),
            &ran,
            "none",
        );
    }
}

/// A second signal ends the tidying up: the document is there already.
#[test]
fn faults_second_signal() {
    let hangs = Fault {
        hang: true,
        ..Fault::on("/expire/")
    };
    let scenario = Scenario::of([silent("web-01")]).with_fault(hangs);
    let site = Site::new(Kind::Osctrl, scenario);
    let running = site.step(&["web-01"]).binary().start();
    site.wait("the query", |seen| {
        seen.requests_to("GET", "/results/").next().is_some()
    });
    running.signal("INT");
    running.wait_for_stdout("\n");
    site.wait("the stop", |seen| {
        seen.requests_to("POST", "/expire/").next().is_some()
    });
    let second = Instant::now();
    running.signal("INT");
    let document = site.compare("second-signal", running);
    assert_cancelled(&document, "second signal");
    assert!(
        second.elapsed() < Duration::from_millis(1_500),
        "the 2 s were not waited for"
    );
}

/// A reader that is slow, or stuck, does not keep the campaign running.
#[test]
fn faults_reader_that_waits() {
    on_every(|kind| {
        let rows = Huge {
            rows: 2_000,
            row_bytes: 1_000,
        };
        let huge = HostSpec::named("huge").answering(Answer::Huge(rows));
        let mut scenario = Scenario::of([huge, silent("web-02")]);
        scenario.fleet.tick = Duration::from_millis(300);
        let site = Site::new(kind, scenario);
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let step = site.step(&["huge", "web-02"]).timeout(6);
        let running = step.binary().stdout_to(writer).start();
        running.wait_for_stderr("did not answer");
        site.wait_for_the_end();
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("the document");
        let ran = running.wait();
        assert_eq!((ran.status, without_the_missing(&ran)), (0, String::new()));
        let document: Document = serde_json::from_str(&text).expect("the whole document");
        document.assert_invariant();
        assert_eq!(document.results["huge"].len(), 2_000);
        assert_eq!(document.timed_out_hosts, ["web-02"]);
    });
}
