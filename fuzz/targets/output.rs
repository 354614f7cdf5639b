//! Any rows and any names, in any order and with any caps: the document is JSON of its schema, and every
//! target is in exactly one of `results` and `timed_out_hosts`. The input is lines: `HOST NAME ROWS`.

#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use osquery_live_query::inside::Keep;
use osquery_live_query::inside::Rows;
use osquery_live_query::inside::Answer;
use osquery_live_query::inside::Asked;
use osquery_live_query::inside::Candidates;
use osquery_live_query::inside::Host;
use osquery_live_query::inside::{HostId, Texts};
use osquery_live_query::Campaign;
use osquery_live_query::{About, End, Format, Outcome, Run};
use osquery_live_query::inside::Roster;
use osquery_live_query::inside::texts;
use osquery_live_query::inside::Limits;
use osquery_live_query::inside::OfflineHosts;
use osquery_live_query::inside::Targets;
use serde_json::Value;

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(texts::OUTPUT).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
});

fuzz_target!(|bytes: &[u8]| {
    let [caps, rest @ ..] = bytes else { return };
    let text = String::from_utf8_lossy(rest);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.splitn(3, '\t').collect()).collect();
    let mut known = HashSet::new();
    let mut hosts = Vec::new();
    let mut names = Vec::new();
    for line in &lines {
        let (id, name) = (line[0], line.get(1).copied().unwrap_or("unnamed"));
        if !name.is_empty() && known.insert(name) {
            names.push(name.to_owned());
        }
        if !id.is_empty() {
            let texts = Texts { hostname: name, uuid: &id.to_uppercase(), ..Texts::default() };
            hosts.push(Host {
                online: Some(id.len() % 2 == 0),
                unsupported: id.len() % 7 == 3,
                ..Host::new(id.into(), &texts)
            });
        }
    }
    let half = hosts.split_off(hosts.len() / 2);
    let targets = Targets { hosts: names, ..Targets::default() };
    let limits = Limits {
        max_hosts: 1_000,
        max_rows_per_host: usize::from(*caps % 8),
        max_bytes: usize::from(*caps) * 16,
    };
    let roster = Roster::new(&targets, Candidates { named: hosts, grouped: half, ..Candidates::default() });
    let mut campaign = Campaign::new(roster, &limits, OfflineHosts::Wait);
    campaign.started(Asked::All, std::time::SystemTime::now());
    let keep = Keep { rows: limits.max_rows_per_host, bytes: limits.max_bytes };
    for line in &lines {
        let answer = match line.get(2).map(|rows| Rows::read(rows, &["host_hostname"], keep)) {
            Some(Ok(rows)) => Answer::Rows(rows),
            Some(Err(error)) => Answer::Error(error.to_string()),
            None => continue,
        };
        campaign.record(&HostId::from(line[0]), answer, Duration::ZERO);
    }
    let targeted: Vec<String> = campaign.roster().keys().map(str::to_owned).collect();
    let about = About {
        backend: "fleetdm",
        id: None,
        elapsed: Duration::ZERO,
        timings: Default::default(),
        may_be_running: false,
        queued_until: None,
        other_ids: Vec::new(),
        saved_query: None,
        note: None,
    };
    let targets = osquery_live_query::Targets::Resolved(Box::new(campaign));
    let outcome = Outcome::Ran { about, targets, end: End::Deadline };
    let mut out = Vec::new();
    Format::Json.write(&Run::begin(), &outcome, &mut out).expect("memory can be written to");
    let value: Value = serde_json::from_slice(&out).expect("the document is JSON");
    assert!(SCHEMA.is_valid(&value), "{value}");
    let silent = value["timed_out_hosts"].as_array().expect("a list");
    for key in &targeted {
        let answered = value["results"].get(key).is_some();
        assert_ne!(answered, silent.iter().any(|name| name == key), "{key}");
    }
    let answered = value["results"].as_object().expect("results").len();
    assert_eq!(answered + silent.len(), targeted.len());
});
