//! The state: it moves on only with what was written, dies with nobody, and what is no state of this connector
//! is refused and left alone.

use std::fs;
use std::process::Stdio;

use osquery_simulator::{Cells, Fault, HostSpec, ReportSpec, Scenario, Snapshot};
use rusqlite::Connection;
use serde_json::json;

use super::{Connector, Polled, fleet, told};
use crate::harness::Ran;
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site};

/// The format of a state that is written.
const FORMAT: i32 = 2;

fn site() -> Site {
    fleet(Scenario::of([
        HostSpec::named("web-01"),
        HostSpec::named("web-02"),
    ]))
}

fn hosts(site: &Site) -> Connector {
    Connector::of(Kind::Fleet, &site.simulator).with("streams", vec!["hosts"])
}

#[track_caller]
fn assert_refused(poll: &Connector, folder: &Folder, status: i32, words: &str) {
    let before = fs::read(folder.at("state")).expect("a state");
    let ran: Ran = poll.binary().run();
    assert_eq!((ran.status, &*ran.stdout), (status, ""), "{ran:?}");
    assert!(ran.stderr.contains(words), "{ran:?}");
    assert_eq!(
        fs::read(folder.at("state")).expect("a state"),
        before,
        "{words}: it was changed"
    );
}

#[test]
fn a_state_that_is_none_of_this_connector_is_refused_and_left_alone() {
    let (site, other) = (site(), site());
    let folder = Folder::new();
    let poll = hosts(&site).state(&folder);
    poll.poll().whole();
    assert_refused(
        &hosts(&other).state(&folder),
        &folder,
        2,
        "is of another server",
    );
    // Nobody but its owner reads hosts' names in it.
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(folder.at("state"))
        .expect("a state")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let database = Connection::open(folder.at("state")).expect("a database");
    database
        .pragma_update(None, "user_version", FORMAT + 1)
        .expect("a version");
    assert_refused(&poll, &folder, 2, "was written by a newer version");
    database
        .pragma_update(None, "user_version", FORMAT)
        .expect("a version");
    database
        .execute("UPDATE about SET value = 7 WHERE name = 'team'", [])
        .expect("a team");
    assert_refused(&poll, &folder, 2, "is of another team");
    database
        .pragma_update(None, "application_id", 1)
        .expect("an id");
    assert_refused(&poll, &folder, 2, "is no state of `collect`");
    drop(database);
    folder.file("state", "what a text says\n".repeat(400));
    assert_refused(&poll, &folder, 2, "is no state of `collect`");
}

/// A state of the format before this one is gone on with: nothing is told again, and what is new is told.
#[test]
fn an_older_state_is_read() {
    let row = |name: &str| -> Cells {
        let row = json!({ "name": name });
        row.as_object().cloned().unwrap_or_default()
    };
    for rows in ["new", "changes", "all"] {
        let mut scenario = Scenario::of([HostSpec::named("web-01"), HostSpec::named("web-02")]);
        let report = ReportSpec::of("startup", "SELECT name FROM startup_items");
        scenario.fleet.reports = vec![
            report
                .with_rows("web-01", vec![row("cron"), row("cron"), row("ssh")])
                .with_rows("web-02", vec![row("cron")]),
        ];
        let site = fleet(scenario);
        let folder = Folder::new();
        let poll = Connector::of(Kind::Fleet, &site.simulator).with("rows", rows);
        let poll = poll.with("streams", vec!["queries"]).state(&folder);
        assert_eq!(poll.poll().whole().events.len(), 4);
        let version = || -> i32 {
            let database = Connection::open(folder.at("state")).expect("a database");
            let pragma = "PRAGMA user_version";
            let version = database.query_row(pragma, [], |row| row.get(0));
            version.expect("a version")
        };
        let back = Connection::open(folder.at("state")).expect("a database");
        back.execute_batch(
            "ALTER TABLE result DROP COLUMN mark; DELETE FROM about WHERE name = 'key'; PRAGMA user_version = 1;",
        )
        .expect("what the format before had");
        drop(back);
        // Who is refused changes nothing in it.
        let other = self::site();
        let refused = Connector::of(Kind::Fleet, &other.simulator).state(&folder);
        assert_refused(&refused, &folder, 2, "is of another server");
        assert_eq!(version(), 1);
        for _ in 0..2 {
            assert_eq!(poll.poll().whole().told(), told([]), "{rows}");
            assert_eq!(version(), FORMAT);
        }
        let snapshot = Snapshot::of("startup", "web-02").rows(vec![row("cron"), row("evil")]);
        let later = snapshot.fetched("2036-01-01T00:00:00Z");
        site.simulator.take_snapshot(later).expect("a report");
        let told_now = poll.poll().whole().told();
        assert!(
            told_now.contains(r#"row web-02 added {"name":"evil"}"#),
            "{rows}: {told_now:?}"
        );
        assert_eq!(told_now.len(), if rows == "all" { 2 } else { 1 }, "{rows}");
        assert_eq!(poll.poll().whole().told(), told([]), "{rows}");
    }
}

#[test]
fn a_damaged_state_is_refused_and_left_alone() {
    let site = fleet(Scenario::of([HostSpec::many(500, "host-{n}")]));
    let folder = Folder::new();
    let poll = hosts(&site).state(&folder);
    poll.poll().whole();
    let whole = fs::read(folder.at("state")).expect("a state");
    folder.file("state", &whole[..whole.len() - 4_096]);
    assert_refused(&poll, &folder, 2, "is damaged");
    for at in (4_096..whole.len()).step_by(8_192) {
        let mut damaged = whole.clone();
        damaged[at..at + 64].fill(0xa5);
        folder.file("state", damaged);
        assert_refused(&poll, &folder, 2, "is damaged");
    }
    folder.file("state", whole);
    assert_eq!(poll.poll().whole().told(), told([]));
}

#[test]
fn the_second_process_is_told_that_the_state_is_in_use() {
    let mut scenario = Scenario::of([HostSpec::named("web-01")]);
    scenario.faults = vec![Fault {
        hang: true,
        times: Some(1),
        ..Fault::on("/fleet/hosts")
    }];
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = hosts(&site).state(&folder);
    let first = poll.binary().start();
    site.wait("the first poll", |seen| !seen.requests.is_empty());
    assert_refused(&poll, &folder, 24, "is in use by another process");
    first.signal("TERM");
    let first = first.wait();
    assert_eq!(first.status, 143, "{first:?}");
    assert_eq!(poll.poll().whole().told(), told(["host web-01 online"]));
}

/// What nobody has taken is told again.
#[test]
fn without_a_reader_the_state_stays_where_it_is() {
    let site = fleet(Scenario::of([HostSpec::many(4_000, "host-{n}")]));
    let folder = Folder::new();
    let poll = hosts(&site).state(&folder);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ran = poll.binary().stdout_to(Stdio::from(writer)).run();
    assert_eq!(ran.status, 74, "{ran:?}");
    // A full disk is no reader either.
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("it");
    let ran = poll.binary().stdout_to(full).run();
    assert_eq!(ran.status, 74, "{ran:?}");
    assert_eq!(poll.poll().whole().events.len(), 4_000);
    assert_eq!(poll.poll().whole().events.len(), 0);
}

#[test]
fn a_reader_that_stalls_ends_the_poll_and_loses_nothing() {
    let site = fleet(Scenario::of([HostSpec::many(6_000, "host-{n}")]));
    let folder = Folder::new();
    let poll = hosts(&site).with("timeout_seconds", 6).state(&folder);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let ran = poll.binary().stdout_to(Stdio::from(writer)).run();
    drop(reader);
    assert_eq!(ran.status, 74, "{ran:?}");
    let poll = poll.with("timeout_seconds", 40);
    assert_eq!(poll.poll().whole().events.len(), 6_000);
}

/// A file is no state that can be written to: nothing is lost, the same events come again.
#[test]
fn a_disk_that_is_full_under_the_state_is_said() {
    let site = fleet(Scenario::of([HostSpec::many(3_000, "host-{n}")]));
    let folder = Folder::new();
    let poll = hosts(&site).state(&folder);
    let limited = poll.binary().by_shell("ulimit -f 64; exec \"$@\"");
    let polled = Polled::of(limited.run());
    assert_eq!(polled.ran.status, 74, "{}", polled.ran.stderr);
    assert_eq!(
        polled.summary["streams"]["hosts"]["error"]["code"], "output",
        "{}",
        polled.summary
    );
    let again = poll.poll().whole();
    assert_eq!(again.events.len(), 3_000);
    let ids = |polled: &Polled| -> std::collections::BTreeSet<String> {
        polled
            .events
            .iter()
            .map(|it| super::id(it).to_owned())
            .collect()
    };
    assert!(ids(&polled).is_subset(&ids(&again)));
}

#[test]
fn a_folder_that_is_not_there_or_closed_is_said() {
    let site = site();
    let folder = Folder::new();
    let nowhere = hosts(&site).arg("--state").arg(folder.name("no/state"));
    let ran = nowhere.binary().run();
    assert_eq!((ran.status, &*ran.stdout), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("no/state does not exist"), "{ran:?}");
}

#[test]
fn a_signal_ends_it_and_what_was_through_lasts() {
    let mut scenario = Scenario::of([HostSpec::named("web-01")]);
    scenario.fleet.reports = vec![osquery_simulator::ReportSpec::of("q", "SELECT 1")];
    scenario.faults = vec![Fault {
        hang: true,
        ..Fault::on("/report?")
    }];
    let site = fleet(scenario);
    let folder = Folder::new();
    let poll = Connector::of(Kind::Fleet, &site.simulator).state(&folder);
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        let running = poll.binary().start();
        let reports = |seen: &osquery_simulator::Observations| {
            seen.requests
                .iter()
                .filter(|it| it.path.contains("/report?"))
                .count()
        };
        let before = reports(&site.seen());
        site.wait("the report is asked for", |seen| reports(seen) > before);
        running.signal(signal);
        let polled = Polled::of(running.wait());
        assert_eq!(polled.ran.status, status, "{:?}", polled.ran);
        assert_eq!(polled.summary["cancelled"], true);
        let expected = match signal {
            "TERM" => told(["host web-01 online"]),
            _ => told([]),
        };
        assert_eq!(polled.told(), expected);
    }
}
