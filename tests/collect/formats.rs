//! Every format as the binary writes it, stdout whole: `tests/collect/golden/`. `UPDATE_CASES=1` writes them
//! again. Digests stand there as `DIGEST-1`, `DIGEST-2`, …, for they go by the server's address; the moment of
//! the poll as `NOW`.

use std::collections::BTreeMap;
use std::path::Path;

use osquery_simulator::{
    Cells, HostSpec, QuerySpec, QueryState, ReportSpec, ResultSpec, Scenario, Snapshot,
};
use serde_json::{Value, json};

use super::Connector;
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, on_those};
use crate::show::schemas::{against_ecs, against_ocsf};

const FORMATS: [&str; 5] = ["events", "ocsf", "ecs", "aisoc", "prometheus"];
const SQL: &str = "SELECT name, path FROM startup_items";

fn rows(names: &[&str]) -> Vec<Cells> {
    let rows = names
        .iter()
        .map(|name| json!({"name": name, "path": format!("/etc/{name}")}));
    rows.filter_map(|row| row.as_object().cloned()).collect()
}

fn site(kind: Kind) -> Site {
    let mut gone = HostSpec::named("db-01").offline();
    gone.last_seen = Some("2026-11-20T10:00:00Z".into());
    let mut scenario = Scenario::of([HostSpec::named("web-01"), gone]);
    for host in &mut scenario.hosts {
        host.enrolled_at = Some("2026-11-01T00:00:00Z".into());
    }
    scenario.fleet.report_cap = 3;
    scenario.fleet.reports = vec![ReportSpec::of("startup \"items\"", SQL)];
    scenario.osctrl.queries = vec![
        QuerySpec::of("hunt", SQL)
            .state(QueryState::Active)
            .with_result(
                ResultSpec::of("web-01")
                    .rows(rows(&["cron", "evil\u{1b}"]))
                    .at("2026-11-21T10:00:00.5Z"),
            )
            .with_result(
                ResultSpec::of("db-01")
                    .error("no such table: startup_items")
                    .at("2026-11-21T10:00:01Z"),
            ),
    ];
    let site = Site::new(kind, scenario);
    if kind == Kind::Fleet {
        let snapshot =
            Snapshot::of("startup \"items\"", "web-01").rows(rows(&["cron", "evil\u{1b}", "ssh"]));
        let snapshot = snapshot.fetched("2026-11-21T10:00:00Z");
        site.simulator.take_snapshot(snapshot).expect("a report");
    }
    site
}

/// What differs from poll to poll.
fn settled(text: &str, address: &str) -> String {
    let text = text
        .replace(address, "$SERVER")
        .replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let mut digests: BTreeMap<String, usize> = BTreeMap::new();
    let mut settled = String::new();
    let mut word = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_alphanumeric() {
            word.push(letter);
            continue;
        }
        let is_digest = word.len() == 32 && word.chars().all(|digit| digit.is_ascii_hexdigit());
        if is_digest {
            let next = digests.len() + 1;
            let number = digests.entry(word.clone()).or_insert(next);
            settled.push_str(&format!("DIGEST-{number}"));
        } else {
            settled.push_str(&word);
        }
        word.clear();
        settled.push(letter);
    }
    settled.pop();
    settled
}

/// The moment of the poll as an event has it, in text or in milliseconds.
fn nows(value: &Value) -> Vec<String> {
    let places = [
        "/observed_at",
        "/metadata/logged_time",
        "/event/created",
        "/raw/observed_at",
    ];
    let found = places.iter().filter_map(|place| value.pointer(place));
    found
        .map(|now| now.as_str().map_or_else(|| now.to_string(), str::to_owned))
        .collect()
}

/// When a host that is online was seen.
fn without_now(value: &mut Value, online: bool) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "next_since" => *value = "NOW".into(),
                    "last_seen" | "last_seen_time" if online => *value = "NOW".into(),
                    _ => without_now(value, online),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without_now(item, online)),
        _ => {}
    }
}

fn of_text(text: &str) -> String {
    let prefix = "osquery_live_query_collect_last_success_timestamp_seconds ";
    let lines = text.lines().map(|line| match line.strip_prefix(prefix) {
        Some(moment) => {
            assert!(moment.parse::<f64>().expect("seconds") > 1.7e9, "{line}");
            format!("{prefix}NOW\n")
        }
        None => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn every_format_whole() {
    on_those(Kind::is_collected, |kind| {
        for format in FORMATS {
            let site = site(kind);
            let folder = Folder::new();
            let poll = Connector::of(kind, &site.simulator)
                .state(&folder)
                .arg("--format")
                .arg(format);
            let ran = poll.binary().run();
            assert_eq!(ran.status, 0, "{ran:?}");
            site.assert_no_secret(&ran);
            assert!(ran.stdout.ends_with('\n'));
            assert!(!ran.stdout.contains('\u{1b}'), "{format}");
            let mut text = String::new();
            if format == "prometheus" {
                text = of_text(&ran.stdout);
            } else {
                let lines: Vec<&str> = ran.stdout.lines().collect();
                let (summary, events) = lines.split_last().expect("a summary");
                for line in events {
                    let event: Value = serde_json::from_str(line).expect("JSON");
                    let against = match format {
                        "ocsf" => against_ocsf(&event),
                        "ecs" => against_ecs(&event),
                        _ => Vec::new(),
                    };
                    assert!(against.is_empty(), "{format}: {against:?} {event:#}");
                }
                for line in events.iter().chain([summary]) {
                    if format == "events" {
                        super::valid(line);
                    }
                    let mut value: Value = serde_json::from_str(line).expect("JSON");
                    let nows = nows(&value);
                    without_now(&mut value, line.contains("web-01"));
                    let mut line = format!("{value}\n");
                    for now in nows {
                        line = line.replace(&now, "NOW");
                    }
                    text.push_str(&line);
                }
            }
            let text = settled(&text, &site.simulator.base_url());
            let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/collect/golden")
                .join(format!("{}.{format}.txt", kind.backend()));
            if std::env::var_os("UPDATE_CASES").is_some() {
                std::fs::write(&golden, &text).expect("the file");
            }
            let expected = std::fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(text, expected, "{format} of {}", kind.backend());
        }
    });
}
