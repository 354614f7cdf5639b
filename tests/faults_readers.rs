//! Nothing outside holds up the way out: readers of stdout that stop or leave, a stderr that nobody drains,
//! files that are full or closed, and the death of the process that started this one.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use osquery_simulator::{Answer, HostSpec, Huge, Scenario};

use crate::faults_output::{not_written, without_the_missing};
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, host, on_all, on_every, silent};
use crate::harness::{Ran, step};

/// After the deadline and the two seconds of a stalled reader; a slow machine needs more, a hang takes all.
const WELL_AFTER: Duration = Duration::from_secs(12);
const STALLED: &str = "its reader has stopped reading";
const GONE: &str = "its reader has gone";

/// More than any pipe holds.
fn huge(name: &str) -> HostSpec {
    HostSpec::named(name).answering(Answer::Huge(Huge {
        rows: 300,
        row_bytes: 1_000,
    }))
}

fn site(kind: Kind) -> Site {
    let mut scenario = Scenario::of([host("web-01"), huge("huge"), silent("web-02")]);
    scenario.fleet.tick = Duration::from_millis(300);
    Site::new(kind, scenario)
}

#[track_caller]
fn assert_ended(ran: &Ran, status: i32, why: &str) {
    let said = match status {
        0 => String::new(),
        _ => not_written(why),
    };
    assert_eq!((ran.status, without_the_missing(ran)), (status, said));
    assert!(ran.elapsed < WELL_AFTER, "{:?}", ran.elapsed);
}

/// A reader that stops reading keeps neither the process nor the campaign.
#[test]
fn faults_reader_that_stops() {
    on_every(|kind| {
        on_all(["json", "ndjson"], |format| {
            for hosts in [["web-01", "huge"], ["web-02", "huge"]] {
                let site = site(kind);
                let (reader, writer) = std::io::pipe().expect("a pipe");
                let step = site.step(&hosts).timeout(3).arg("--format").arg(format);
                let running = step.binary().stdout_to(writer).start();
                let ran = running.wait();
                drop(reader);
                site.assert_no_secret(&ran);
                assert_ended(&ran, 74, STALLED);
                site.wait_for_the_end();
            }
        });
    });
}

/// A signal is served although nobody reads; the document is not, and the status says so.
#[test]
fn faults_signal_while_the_reader_stops() {
    on_every(|kind| {
        on_all(["json", "ndjson"], |format| {
            let site = site(kind);
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let step = site.step(&["huge", "web-02"]).arg("--format").arg(format);
            let running = step.binary().stdout_to(writer).start();
            site.wait("a campaign", |seen| !seen.campaigns.is_empty());
            running.signal("TERM");
            let ran = running.wait();
            drop(reader);
            // Where the signal came before the huge answer, the document fits into the pipe.
            let stalled = not_written(STALLED);
            assert!(
                [(74, &*stalled), (143, "")].contains(&(ran.status, &*without_the_missing(&ran))),
                "{format}: {ran:?}"
            );
            assert!(ran.elapsed < WELL_AFTER, "{:?}", ran.elapsed);
            site.wait_for_the_end();
        });
    });
}

/// A reader that stalls for a while and reads on loses nothing.
#[test]
fn faults_reader_that_stalls_for_a_while() {
    on_every(|kind| {
        let site = site(kind);
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let step = site.step(&["huge", "web-02"]).timeout(4);
        let step = step.arg("--format").arg("ndjson");
        let running = step.binary().stdout_to(writer).start();
        // Said at the deadline, before the document: that one waits in the pipe by then.
        running.wait_for_stderr("did not answer");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("UTF-8");
        let ran = running.wait();
        assert_ended(&ran, 0, "");
        assert_eq!(text.lines().count(), 2, "a host and the summary");
        assert!(text.len() > 250_000, "{}", text.len());
    });
}

/// A reader that has gone ends a run that would wait for a silent host, and its campaign.
#[test]
fn faults_reader_that_leaves_while_hosts_are_silent() {
    on_every(|kind| {
        on_all(["json", "ndjson"], |format| {
            let site = site(kind);
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let step = site.step(&["web-02"]).timeout(300);
            let running = step
                .arg("--format")
                .arg(format)
                .binary()
                .stdout_to(writer)
                .start();
            site.wait("a campaign", |seen| !seen.campaigns.is_empty());
            drop(reader);
            assert_ended(&running.wait(), 74, GONE);
            site.wait_for_the_end();
        });
    });
}

/// Warnings that nobody reads hold up neither the document nor the end.
#[test]
fn faults_stderr_that_nobody_drains() {
    on_every(|kind| {
        let site = site(kind);
        // Some times what a pipe holds; more would only take longer.
        let mut names: Vec<String> = (0..4)
            .map(|number| format!("{number}{}", "x".repeat(60_000)))
            .collect();
        names.push("web-01".into());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let ran = site
            .step(&names)
            .arg("-vv")
            .binary()
            .stderr_to(writer)
            .run();
        drop(reader);
        let document = ran.document();
        assert_eq!((ran.status, document.results.len()), (0, 1));
        assert_eq!(document.timed_out_hosts.len(), 4);
        assert!(ran.elapsed < WELL_AFTER, "{:?}", ran.elapsed);
    });
}

/// Whatever an alert names, a line about it stays a line.
#[test]
fn faults_lines_do_not_grow_with_names() {
    on_every(|kind| {
        let site = site(kind);
        let mut names: Vec<String> = (0..500)
            .map(|number| format!("{number}{}", "x".repeat(1_000)))
            .collect();
        names.push("web-01".into());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let step = site.step(&names).with("max_hosts", 5_000);
        let ran = step.binary().run();
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert!(ran.stderr.len() < 2_000, "{}", ran.stderr.len());
        assert!(ran.stderr.contains(" and 495 more"), "{}", ran.stderr);
    });
}

#[test]
fn faults_stdout_that_is_closed_or_may_not_grow() {
    on_every(|kind| {
        let site = site(kind);
        let folder = Folder::new();
        let file = folder.at("document");
        for format in ["json", "ndjson"] {
            let step = |hosts: &[&str]| site.step(hosts).arg("--format").arg(format).binary();
            let closed = step(&["web-01"]).by_shell("exec \"$@\" >&-").run();
            assert_eq!(closed.status, 74, "{closed:?}");
            assert!(closed.stderr.contains("stdout: it is closed"), "{closed:?}");
            let limited = step(&["huge"])
                .stdout_to(File::create(&file).expect("a file"))
                .by_shell("ulimit -f 16; exec \"$@\"")
                .run();
            let line = not_written("file too large");
            assert_eq!((limited.status, limited.stderr), (74, line));
        }
        site.wait_for_the_end();
    });
}

#[test]
fn faults_hang_up() {
    on_every(|kind| {
        let site = site(kind);
        let running = site.step(&["web-01", "web-02"]).binary().start();
        running.wait_until_handled("HUP");
        site.wait("a campaign", |seen| !seen.campaigns.is_empty());
        running.signal("HUP");
        let ran = running.wait();
        let document = ran.document();
        assert_eq!((ran.status, document.cancelled), (143, true));
        site.wait_for_the_end();
    });
}

/// An engine that is killed leaves no campaign behind.
#[test]
fn faults_parent_that_is_killed() {
    on_every(|kind| {
        let site = site(kind);
        let step = site
            .step(&["web-01", "web-02"])
            .timeout(300)
            .arg("--exit-with-parent");
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        // The shell stays between, as an engine does, until it is killed. A job in the background has no
        // stdin of its own, so it is handed over.
        let running = step
            .binary()
            .stdout_to(writer)
            .stderr_to(Stdio::null())
            .by_shell("exec 3<&0; \"$@\" <&3 3<&- & wait")
            .start();
        site.wait("a campaign", |seen| !seen.campaigns.is_empty());
        running.signal("KILL");
        assert_eq!(running.wait().status, 128 + 9);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("UTF-8");
        let document: serde_json::Value = serde_json::from_str(&text).expect("one document");
        assert_eq!(document["cancelled"], true, "{document}");
        site.wait_for_the_end();
    });
}

/// Verbs that print text end quietly when their reader has seen enough.
#[test]
fn faults_text_whose_reader_leaves() {
    let ran = Command::new("/bin/sh")
        .args(["-c", "\"$1\" templates --format markdown | head -1"])
        .args(["sh", env!("CARGO_BIN_EXE_osquery-live-query")])
        .output()
        .expect("sh runs");
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    let full = File::options().write(true).open("/dev/full");
    let ran = step("")
        .arg("templates")
        .stdout_to(full.expect("a full device"))
        .run();
    assert_eq!(ran.status, 74, "{ran:?}");
}
