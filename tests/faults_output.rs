//! stdout and stderr, whatever happens: one document or its lines, nothing else, and no panic.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use osquery_simulator::{Answer, Fault, HostSpec, Huge, Scenario};
use serde_json::Value;

use crate::harness::document::Line;
use crate::harness::site::{Kind, Site, WRONG_TOKEN, compare_text, host, on_every, silent};
use crate::harness::{Ran, step};

/// The reader is gone before the document is written, or reads a part of it.
#[test]
fn faults_reader_that_leaves() {
    on_every(|kind| {
        let huge = HostSpec::named("huge").answering(Answer::Huge(Huge {
            rows: 2_000,
            row_bytes: 1_000,
        }));
        let site = Site::new(kind, Scenario::of([host("web-01"), huge]));
        // What is small is whole in the pipe before its reader goes.
        for (format, hosts, read) in [
            ("json", ["web-01"], &[0][..]),
            ("json", ["huge"], &[0, 100]),
            ("ndjson", ["huge"], &[0, 100]),
        ] {
            for &bytes in read {
                let (mut reader, writer) = std::io::pipe().expect("a pipe");
                let step = site.step(&hosts).arg("--format").arg(format);
                let running = step.binary().stdout_to(writer).start();
                if bytes > 0 {
                    reader
                        .read_exact(&mut vec![0; bytes])
                        .expect("the document's beginning");
                }
                drop(reader);
                let ran = running.wait();
                site.assert_no_secret(&ran);
                let line = not_written("its reader has gone");
                assert_eq!(
                    (ran.status, without_the_missing(&ran)),
                    (74, line),
                    "{format} {hosts:?} {bytes}"
                );
            }
        }
    });
}

/// What a server that can take nothing back leaves behind; names follow.
pub const RUNS_ON: &str =
    "the query can't be taken back, and runs whenever these check in, hours or days from now";

/// The same where the answer to the first dispatch had not come.
pub const MAY_RUN: &str =
    "the query may be queued for the first of the hosts, where it can't be taken back";

/// stderr without the lines that name who is missing: who that is depends on the moment of the end.
pub fn without_the_missing(ran: &Ran) -> String {
    let kinds = [
        "asked, but did not answer",
        "not asked before the run ended",
        RUNS_ON,
        MAY_RUN,
    ];
    let tells = |line: &&str| {
        let warning = line.strip_prefix("warning: ");
        warning.is_some_and(|text| kinds.iter().any(|kind| text.starts_with(kind)))
    };
    let lines = ran.stderr.split_inclusive('\n');
    lines.filter(|line| !tells(line)).collect()
}

/// What stderr says of a document that stdout did not take.
pub fn not_written(why: &str) -> String {
    format!(
        "error[output]: the document can't be written to stdout: {why}\nhint: look at what stdout leads to: a full disk, a closed file, a reader that has stopped\n"
    )
}

#[test]
fn faults_reader_that_leaves_before_an_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ran = step("id: half a step").stdout_to(writer).start().wait();
    assert_eq!(ran.status, 11);
    assert!(!ran.stderr.contains("error[output]"), "{}", ran.stderr);
}

#[test]
fn faults_full_disk() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        for format in ["json", "ndjson"] {
            let full = File::options()
                .write(true)
                .open("/dev/full")
                .expect("a full device");
            let step = site.step(&["web-01"]).arg("--format").arg(format);
            let ran = step.binary().stdout_to(full).start().wait();
            let line = not_written("no storage space");
            assert_eq!((ran.status, &*ran.stderr), (74, &*line), "{format}");
        }
    });
    for verb in ["describe", "templates", "--help", "--version"] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("a full device");
        let ran = step("").arg(verb).stdout_to(full).start().wait();
        assert_eq!(ran.status, 74, "{verb}: {ran:?}");
        assert_eq!(ran.stderr, not_written("no storage space"), "{verb}");
    }
}

/// Bugs are provoked by a variable that builds for users do not have.
#[cfg(debug_assertions)]
#[test]
fn faults_bugs() {
    on_every(|kind| {
        for (stage, named) in [("read", 0), ("checked", 2), ("collecting", 1)] {
            let mut scenario = Scenario::of([host("web-01"), silent("web-02")]);
            scenario.fleet.tick = Duration::from_millis(300);
            let site = Site::new(kind, scenario);
            let binary = site.step(&["web-01", "web-02"]).binary();
            let ran = binary.env("OSQUERY_LIVE_QUERY_TEST_PANIC", stage).run();
            site.assert_no_secret(&ran);
            let document = ran.document();
            let error = document.error.as_ref().expect("an error");
            assert_eq!(
                (ran.status, &*error.code, error.exit_code),
                (70, "internal", 70)
            );
            assert!(
                error.message.starts_with("a bug in osquery-live-query "),
                "{ran:?}"
            );
            assert!(
                !error.message.contains("provoked"),
                "a panic's text may hold values"
            );
            let missing = match stage {
                "collecting" if kind.stops() => {
                    "warning: asked, but did not answer: web-02\n".to_owned()
                }
                "collecting" => format!(
                    "warning: asked, but did not answer: web-02\nwarning: {RUNS_ON}: web-02\n"
                ),
                _ => String::new(),
            };
            let hint = error.hint.as_deref().expect("a hint");
            let told = format!(
                "{missing}error[internal]: {}
hint: {hint}
",
                error.message
            );
            assert_eq!(ran.stderr, told);
            assert!(!error.retryable);
            assert_eq!(
                document.timed_out_hosts.len(),
                named,
                "{stage}: {document:?}"
            );
            if stage == "collecting" {
                assert_eq!(document.results["web-01"].len(), 1, "what came is kept");
                site.wait_for_the_end();
            }
        }
    });
}

/// A line as each host answers: the first is there while another host is still silent.
#[test]
fn faults_lines_as_hosts_answer() {
    on_every(|kind| {
        let site = Site::new(
            kind,
            Scenario::of([
                host("web-01"),
                silent("web-02"),
                HostSpec::named("web-03").answering(Answer::Error("no such table: x".into())),
            ]),
        );
        let step = site
            .step(&["web-01", "web-02", "web-03", "db-1"])
            .arg("--format=ndjson");
        let running = step.binary().start();
        running.wait_for_stdout("\"web-01\"");
        running.wait_for_stdout("\"web-03\"");
        running.signal("TERM");
        let ran = running.wait();
        site.assert_no_secret(&ran);
        assert_eq!(ran.status, 143);
        let lines = ran.lines();
        let named: Vec<_> = lines
            .iter()
            .map(|line| match line {
                Line::Host {
                    host,
                    status,
                    rows,
                    error,
                    ..
                } => (host.as_str(), status.as_str(), rows.len(), error.as_deref()),
                Line::Summary { .. } => ("summary", "", 0, None),
            })
            .collect();
        let (ok, error) = (
            ("web-01", "ok", 1, None),
            ("web-03", "error", 0, named[..2].iter().find_map(|it| it.3)),
        );
        let told = error.3.expect("osquery's message");
        assert!(
            told == "no such table: x"
                || !kind.tells_errors() && told.starts_with("the query failed on this host"),
            "{told}"
        );
        assert!(
            named[..2] == [ok, error] || named[..2] == [error, ok],
            "{named:?}"
        );
        assert_eq!(named[2..], [("summary", "", 0, None)]);
        let Line::Summary {
            partial,
            timed_out_hosts,
            hosts,
            campaign,
            error,
            ..
        } = &lines[2]
        else {
            panic!("the last line is the summary");
        };
        assert!(*partial && error.is_none());
        assert_eq!(timed_out_hosts, &["web-02", "db-1"]);
        assert_eq!(hosts.len(), 4);
        let campaign = campaign.as_ref().expect("a campaign");
        assert_eq!(
            (campaign.targeted, campaign.responded, campaign.rows),
            (3, 2, 1)
        );
    });
}

#[test]
fn faults_lines_of_a_whole_run_and_of_a_failure() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01"), host("web-02")]));
        let mut names = vec!["web-01", "web-02"];
        if kind.lists_hosts() {
            // One host in two ways: a line under each name.
            names.push("4C4C4544-0000-4000-8000-000000000001");
        }
        let step = site.step(&names).arg("--format=ndjson");
        let ran = step.binary().run();
        site.assert_no_secret(&ran);
        assert_eq!((ran.status, &*ran.stderr), (0, ""));
        assert_eq!(ran.lines().len(), names.len() + 1, "{}", ran.stdout);
        let summary = ran.lines().pop();
        assert!(matches!(
            summary,
            Some(Line::Summary { partial: false, .. })
        ));

        let step = site
            .step(&["web-01"])
            .token(WRONG_TOKEN)
            .arg("--format=ndjson");
        let ran = step.binary().run();
        site.assert_no_secret(&ran);
        assert_eq!((ran.status, ran.lines().len()), (20, 1));
        let Some(Line::Summary {
            error: Some(error),
            timed_out_hosts,
            ..
        }) = ran.lines().pop()
        else {
            panic!("a summary with an error: {ran:?}");
        };
        assert_eq!(
            (&*error.code, timed_out_hosts),
            ("auth", vec!["web-01".to_owned()])
        );
    });
    let ran = step("- ").arg("--format=ndjson").run();
    assert_eq!((ran.status, ran.lines().len()), (10, 1), "{ran:?}");
}

/// `--log json`: every line of stderr is one JSON object.
#[test]
fn faults_log_as_json() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        for (hosts, verbosity, least) in
            [(["web-01", "db-1"], "-v", 2), (["web-1", "db-1"], "-vv", 3)]
        {
            let ran = site
                .step(&hosts)
                .arg("--log=json")
                .arg(verbosity)
                .binary()
                .run();
            site.assert_no_secret(&ran);
            let lines = objects(&ran);
            assert!(lines.len() >= least, "{}", ran.stderr);
            for line in &lines {
                assert!(
                    line["level"].is_string() && line["timestamp"].is_string(),
                    "{line}"
                );
                assert!(line["message"].is_string(), "{line}");
            }
            let told = lines.iter().any(|line| {
                matches!(line["level"].as_str(), Some("WARN" | "ERROR"))
                    && line["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("db-1"))
            });
            assert!(told, "{}", ran.stderr);
            let error = ran.document().error;
            let last = lines.last().expect("a line");
            if let Some(error) = error {
                assert_eq!(
                    (&last["level"], &last["code"]),
                    (&"ERROR".into(), &error.code.into())
                );
                assert_eq!(last["message"], error.message.as_str());
                assert_eq!(last["retryable"], error.retryable);
            }
        }
    });
    let ran = step("id: half a step").arg("--log=json").run();
    assert_eq!((ran.status, objects(&ran).len()), (11, 1), "{ran:?}");
    let ran = step("")
        .args(&["run", "--log=json", "--no-such-flag"])
        .run();
    assert_eq!(
        (ran.status, objects(&ran).len()),
        (2, 1),
        "also where other flags are wrong: {ran:?}"
    );
}

#[track_caller]
fn objects(ran: &Ran) -> Vec<Value> {
    let read = |line| -> Value { serde_json::from_str(line).expect("a line is JSON") };
    ran.stderr.lines().map(read).collect()
}

/// Names and texts of servers can't move a terminal's cursor, or write a line of their own.
#[test]
fn faults_control_characters() {
    let body = "{\"error\":\"bad \\u001b[2J\\r\\nerror[internal]: not ours\"}";
    let fault = Fault {
        status: Some(400),
        ..Kind::Osctrl.finding().body(body)
    };
    let site = Site::new(
        Kind::Osctrl,
        Scenario::of([host("web-01")]).with_fault(fault),
    );
    let ran = site.step(&["web-01"]).binary().run();
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(
        !ran.stderr.trim_end().chars().any(char::is_control),
        "{:?}",
        ran.stderr
    );
}

/// What `check` writes: the plan, and never a campaign.
#[test]
fn faults_check() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01"), host("web-02")]));
        let step = || site.step(&["web-01", "db-1", "web-02"]);
        site.run("check", step().arg("check"));
        site.run("check-wrong-token", step().token(WRONG_TOKEN).arg("check"));
        assert!(site.seen().campaigns.is_empty());
    });
    let observer = osquery_simulator::FLEET_OBSERVER_TOKEN;
    let site = Site::new(Kind::Fleet, Scenario::of([host("web-01")]));
    site.run(
        "check-role",
        site.step(&["web-01"]).token(observer).arg("check"),
    );
}

/// Wrong flags still give whoever started `run` or `check` a document.
#[test]
fn faults_usage() {
    let file = std::env::temp_dir().join(format!("faults-context-{}.yaml", std::process::id()));
    std::fs::write(&file, "alert: {host: web-01}\n").expect("a file");
    let file = file.display().to_string();
    let invocation =
        r#"{"protocol": 1, "step": {"id": "a", "type": "osquery_live_query", "params": {}}}"#;
    let cases: [(&str, &[&str], &str); 8] = [
        ("usage-unknown-flag", &["--no-such-flag"], ""),
        ("usage-flag-nearly", &["run", "--formt", "json"], ""),
        ("usage-value", &["run", "--format", "xml"], ""),
        ("usage-unknown-verb", &["rnu"], ""),
        (
            "usage-flag-of-another-verb",
            &["check", "--fail-on-partial"],
            "",
        ),
        ("usage-missing-value", &["--context"], ""),
        (
            "usage-missing-context",
            &["--context", "/nonexistent/alert.yaml"],
            invocation,
        ),
        ("usage-context-twice", &["--context", &file], invocation),
    ];
    for (name, args, stdin) in cases {
        let ran = step(stdin).args(args).run();
        assert_eq!(ran.status, 2, "{name}: {ran:?}");
        crate::harness::site::compare(name, &ran, &file);
    }
    std::fs::remove_file(file).expect("the file");
    for args in [
        &["templates", "--format", "xml"][..],
        &["schema", "no-such"],
        &["describe", "x"],
    ] {
        let ran = step("").args(args).run();
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{args:?}");
        compare_text(&format!("usage-{}", args[0]), &ran.stderr);
    }
}
