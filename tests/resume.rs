//! `--resume`: whoever answered an earlier run is kept, the rest is asked again, and the document is whole.

use std::collections::BTreeMap;

use osquery_simulator::{Answer, HostChange, HostSpec, HostStatus, Observations, Scenario};
use serde_json::{Value, json};

use crate::harness::document::{Document, Host, Line};
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, Step, host, on_all, on_every, on_those, one_row, silent};
use crate::harness::{Binary, Ran, step};

const FORMATS: [&str; 2] = ["json", "ndjson"];

fn away(name: &str) -> HostSpec {
    HostSpec::named(name).offline().answering(one_row())
}

/// The four kinds of hosts: rows, none, an error, silence.
fn four() -> Scenario {
    Scenario::of([
        host("web-01"),
        HostSpec::named("web-02").answering(Answer::None),
        HostSpec::named("web-03").answering(Answer::Error("no such table: processes".into())),
        away("laptop"),
    ])
}

const FOUR: [&str; 4] = ["web-01", "web-02", "web-03", "laptop"];

fn back(site: &Site, name: &str) {
    let change = HostChange::of(name).status(HostStatus::Online);
    site.simulator.change_host(change).expect("a host");
}

/// A run's document, whichever the format: rows come from the lines then.
fn whole(ran: &Ran) -> Document {
    if !ran.stdout.starts_with("{\"type\"") {
        return ran.document();
    }
    let mut document: Value = ran
        .stdout
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .expect("a summary");
    let mut results = BTreeMap::new();
    for line in ran.lines() {
        if let Line::Host { host, rows, .. } = line {
            assert!(results.insert(host, rows).is_none(), "twice: {ran:?}");
        }
    }
    document["results"] = json!(results);
    document
        .as_object_mut()
        .map(|entries| entries.shift_remove("type"));
    let document: Document = serde_json::from_value(document).expect("the document's types");
    document.assert_invariant();
    document
}

/// Uuids that each campaign asked.
fn asked(seen: &Observations) -> Vec<usize> {
    seen.campaigns
        .iter()
        .map(|campaign| campaign.hosts.len())
        .collect()
}

/// How many hosts each run asked. Where each host is a query of its own, they show only in all.
#[track_caller]
fn assert_asked(site: &Site, runs: &[usize]) {
    let asked = asked(&site.seen());
    match site.kind.lists_hosts() {
        true => assert_eq!(asked, runs),
        false => assert_eq!(asked, vec![1; runs.iter().sum()]),
    }
}

fn resuming(step: Step, folder: &Folder, name: &str) -> Step {
    step.arg("--resume").arg(&folder.name(name))
}

#[test]
fn whoever_answered_is_kept_and_the_rest_is_asked_again() {
    on_every(|kind| {
        on_all(FORMATS, |format| {
            let site = Site::new(kind, four());
            let folder = Folder::new();
            let first = site.step(&FOUR).timeout(2).arg("--format").arg(format);
            let ran = first.binary().run();
            let earlier = whole(&ran);
            assert_eq!(earlier.timed_out_hosts, ["laptop"], "{ran:?}");
            folder.file("one", &ran.stdout);
            // Nobody new has come.
            let again = site.step(&FOUR).timeout(2).arg("--format").arg(format);
            let ran = resuming(again, &folder, "one").binary().run();
            let second = whole(&ran);
            assert_eq!(ran.status, 0, "{ran:?}");
            assert_eq!(second.run.resumes.as_ref(), Some(&earlier.run.id));
            assert_eq!(second.run.as_of, earlier.run.as_of);
            assert_eq!(second.timed_out_hosts, ["laptop"]);
            assert!(second.partial && second.executed);
            folder.file("two", &ran.stdout);
            back(&site, "laptop");
            let third = site.step(&FOUR).arg("--format").arg(format);
            let ran = resuming(third, &folder, "two").binary().run();
            let third = whole(&ran);
            assert_eq!(third.run.resumes.as_ref(), Some(&second.run.id));
            assert!(third.timed_out_hosts.is_empty(), "{ran:?}");
            assert_eq!(third.failed_hosts, ["web-03"]);
            for name in ["web-01", "web-02", "web-03"] {
                let but_for_last_seen = |document: &Document| Host {
                    last_seen: None,
                    ..document.hosts[name].clone()
                };
                assert_eq!(but_for_last_seen(&third), but_for_last_seen(&earlier));
                assert_eq!(third.results[name], earlier.results[name]);
            }
            assert_eq!(third.rows("laptop"), earlier.rows("web-01"));
            let campaign = third.campaign();
            assert_eq!(
                (campaign.targeted, campaign.responded, campaign.rows),
                (4, 4, 2)
            );
            assert_asked(&site, &[4, 1, 1]);
            folder.file("three", &ran.stdout);
            // All have answered: nobody is asked.
            let last = site.step(&FOUR).arg("--format").arg(format);
            let ran = resuming(last, &folder, "three").binary().run();
            let last = whole(&ran);
            assert_eq!(last.results, third.results);
            assert_eq!(last.statuses(), third.statuses());
            assert_eq!(
                (
                    last.campaign().id.as_deref(),
                    last.campaign().may_be_running
                ),
                (None, false)
            );
            assert_asked(&site, &[4, 1, 1]);
            site.assert_no_secret(&ran);
        });
    });
}

#[test]
fn check_says_who_would_be_asked() {
    on_every(|kind| {
        let site = Site::new(kind, four());
        let folder = Folder::new();
        let ran = site.step(&FOUR).timeout(2).binary().run();
        folder.file("one", &ran.stdout);
        let step = resuming(site.step(&FOUR).arg("check"), &folder, "one");
        let document = step.binary().run().document();
        let planned = document.planned.expect("a plan");
        assert_eq!(planned.hosts, ["laptop"]);
        assert_eq!(document.run.resumes, Some(ran.document().run.id));
        assert_asked(&site, &[4]);
    });
}

#[test]
fn the_audit_log_says_it() {
    let site = Site::new(Kind::Osctrl, four());
    let folder = Folder::new();
    folder.policy("audit_log: audit.jsonl\n");
    let policy = folder.name("policy.yaml");
    let ran = site
        .step(&FOUR)
        .timeout(2)
        .arg("--policy")
        .arg(&policy)
        .binary()
        .run();
    folder.file("one", &ran.stdout);
    let step = site.step(&FOUR).timeout(2).arg("--policy").arg(&policy);
    resuming(step, &folder, "one").binary().run();
    let log = folder.text("audit.jsonl");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let resumes = |line: &Value| {
        line.get("resumes")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    assert_eq!(
        lines.iter().map(resumes).collect::<Vec<_>>(),
        [None, None, Some(ran.document().run.id), None]
    );
}

/// Ages count back from the same moment, or the SQL would be another.
#[test]
fn ages_count_back_from_the_earlier_run() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01"), silent("web-02")]));
        let folder = Folder::new();
        let ask = || {
            let step = site.step(&["web-01", "web-02"]).timeout(2);
            let step = step.with("template", "recently_modified_files");
            step.with("template_params", json!({"since": "-24h"}))
        };
        let ran = ask().binary().run();
        let mut document: Value = serde_json::from_str(&ran.stdout).expect("a document");
        // A day ago, as far as the file says.
        let sql = document["run"]["sql"].as_str().expect("SQL").to_owned();
        let moment: u64 = sql
            .split(|letter: char| !letter.is_ascii_digit())
            .find(|digits| digits.len() == 10)
            .and_then(|digits| digits.parse().ok())
            .expect("a moment");
        let as_of = document["run"]["as_of"]
            .as_str()
            .expect("a moment")
            .to_owned();
        let day: u32 = as_of[8..10].parse().expect("a day");
        let (earlier, days) = if day > 1 {
            (day - 1, 1)
        } else {
            (day + 1, -1_i64)
        };
        let shifted = moment.checked_add_signed(-86_400 * days).expect("a moment");
        document["run"]["sql"] = sql
            .replace(&moment.to_string(), &shifted.to_string())
            .into();
        document["run"]["as_of"] = format!("{}{earlier:02}{}", &as_of[..8], &as_of[10..]).into();
        folder.file("one", document.to_string());
        let ran = resuming(ask(), &folder, "one").binary().run();
        if days < 0 {
            // A moment that is still to come.
            return;
        }
        let resumed = ran.document();
        assert_eq!(
            resumed.run.sql.as_deref(),
            document["run"]["sql"].as_str(),
            "{ran:?}"
        );
        assert_eq!(resumed.timed_out_hosts, ["web-02"]);
        assert_eq!(
            site.seen().campaigns.last().map(|one| one.sql.clone()),
            resumed.run.sql
        );
    });
}

/// A file that is refused, with what is said.
fn refused(binary: Binary, path: &str, what: &str) {
    let hint = "`--resume` names what `run` wrote for the same step: the document, or all lines of `--format ndjson`";
    let ran = binary.run();
    let error = ran.document().error.expect("an error");
    assert_eq!(
        (
            ran.status,
            error.code.as_str(),
            error.message.as_str(),
            error.hint.as_deref()
        ),
        (
            2,
            "usage",
            format!("the earlier document {path}: {what}").as_str(),
            Some(hint)
        ),
        "{ran:?}"
    );
}

#[test]
fn another_step_is_refused_and_the_difference_named() {
    let site = Site::new(Kind::Osctrl, four());
    let folder = Folder::new();
    let ran = site.step(&["web-01"]).binary().run();
    folder.file("one", &ran.stdout);
    let path = folder.name("one");
    let elsewhere = Step::of(Kind::Osctrl, "http://127.0.0.1:9", &["web-01"]);
    let fleet = Step::of(Kind::Fleet, &site.simulator.base_url(), &["web-01"]);
    let same = || site.step(&["web-01"]);
    let asked = asked(&site.seen());
    let requests = site.seen().requests.len();
    for (other, what) in [
        (
            fleet,
            "it is from another kind of server than this step's (`backend`)",
        ),
        (
            elsewhere,
            "it is from another server than this step's (`base_url`)",
        ),
        (
            same().with("environment", "prod"),
            "it is of another `environment` of the server than this step",
        ),
        (
            same().with("template", "uptime"),
            "it is of another template than this step's",
        ),
        (
            same().with("template_params", json!({"limit": 7})),
            "its SQL is not this step's: the parameters differ (`limit`)",
        ),
    ] {
        refused(resuming(other, &folder, "one").binary(), &path, what);
    }
    let mut changed: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    changed["run"]["sql"] = "SELECT 1".into();
    folder.file("two", changed.to_string());
    refused(
        resuming(same(), &folder, "two").binary(),
        &folder.name("two"),
        "its SQL is not this step's, though template and parameters are the same: the template has changed since",
    );
    changed = serde_json::from_str(&ran.stdout).expect("JSON");
    changed["results"]["web-01"] = json!([{"a": {"b": "marker"}}]);
    folder.file("three", changed.to_string());
    refused(
        resuming(same(), &folder, "three").binary(),
        &folder.name("three"),
        "line 1, column 22: these rows are no list of objects of plain values",
    );
    assert_eq!(
        (
            super::resume::asked(&site.seen()),
            site.seen().requests.len()
        ),
        (asked, requests)
    );
}

#[test]
fn a_file_that_is_no_document_is_refused() {
    let folder = Folder::new();
    let text = "id: s\ntype: osquery_live_query\nname: s\nparams: {backend: fleetdm, base_url: 'https://127.0.0.1:9', template: logged_in_users, target_hosts: [web-01], api_token: 'TOKEN'}\n";
    for verb in ["run", "check"] {
        for (content, what) in [
            ("", "it is empty"),
            ("id: marker\n", "line 1, column 1: this is not JSON"),
            (
                "{\"results\": {",
                "line 1, column 14: it ends in the middle: it was not written whole",
            ),
            (
                "{\"marker\": 1}",
                "it is not a document of `run`: `results` is missing",
            ),
        ] {
            let path = folder.file("one", content);
            let binary = step(text).args(&[verb, "--resume"]).arg(&path);
            refused(binary, &folder.name("one"), what);
        }
    }
}

/// A run that fails, or is ended, before the server said who the targets are: what came earlier is in its
/// document, so that the last document of a chain never has less than the one before it.
#[test]
fn nothing_is_lost_by_a_run_that_fails() {
    on_every(|kind| {
        on_all(FORMATS, |format| {
            let site = Site::new(kind, four());
            let folder = Folder::new();
            let ran = site.step(&FOUR).timeout(2).binary().run();
            let earlier = ran.document();
            folder.file("one", &ran.stdout);
            let step = site.step(&FOUR).token("wrong").timeout(5);
            let step = step.arg("--format").arg(format);
            let ran = resuming(step, &folder, "one").binary().run();
            let failed = whole(&ran);
            assert_eq!(ran.status, 20, "{ran:?}");
            assert_eq!(failed.results, earlier.results);
            assert_eq!(failed.timed_out_hosts, ["laptop"]);
            folder.file("two", &ran.stdout);
            back(&site, "laptop");
            let ran = resuming(site.step(&FOUR), &folder, "two").binary().run();
            let last = ran.document();
            assert!(last.timed_out_hosts.is_empty());
            for name in ["web-01", "web-02", "web-03"] {
                assert_eq!(
                    last.hosts[name].answered_at,
                    earlier.hosts[name].answered_at
                );
            }
        });
    });
}

#[test]
fn hosts_that_went_came_and_changed_their_names() {
    on_those(Kind::lists_hosts, |kind| {
        let tagged = |spec: HostSpec| HostSpec {
            labels: vec!["Web".into()],
            tags: vec!["Web".into()],
            ..spec
        };
        let mut scenario = Scenario::of([
            tagged(host("web-01")),
            tagged(host("web-02")),
            tagged(away("web-03")),
            host("db-01"),
            host("new"),
            away("gone"),
        ]);
        scenario.osctrl.version = osquery_simulator::ServerVersion(0, 5, 6);
        let site = Site::new(kind, scenario);
        let folder = Folder::new();
        let ask = || {
            let hosts = ["db-01", "gone", "new"];
            site.step(&hosts)
                .with("target_labels", json!(["Web"]))
                .timeout(3)
        };
        site.simulator
            .change_host(HostChange::of("new").deleted())
            .expect("a host");
        let ran = ask().binary().run();
        let earlier = ran.document();
        assert_eq!(earlier.statuses()["new"], "unknown");
        folder.file("one", &ran.stdout);
        // Two that answered are deleted, one is renamed; one that was unknown enrols.
        for change in [
            HostChange::of("db-01").deleted(),
            HostChange::of("web-01").deleted(),
            HostChange::of("web-02").renamed("www-02"),
            HostChange::of("new").enrolled(),
            HostChange::of("gone").deleted(),
        ] {
            site.simulator.change_host(change).expect("a host");
        }
        let ran = resuming(ask(), &folder, "one").binary().run();
        let document = ran.document();
        assert_eq!(
            document.statuses(),
            BTreeMap::from([
                ("db-01", "ok"),
                ("gone", "unknown"),
                ("new", "ok"),
                ("web-01", "ok"),
                ("www-02", "ok"),
                (
                    "web-03",
                    if kind == Kind::Fleet {
                        "offline"
                    } else {
                        "no_answer"
                    }
                ),
            ])
        );
        for (now, then) in [
            ("db-01", "db-01"),
            ("web-01", "web-01"),
            ("www-02", "web-02"),
        ] {
            assert_eq!(
                document.hosts[now].answered_at,
                earlier.hosts[then].answered_at
            );
            assert_eq!(document.results[now], earlier.results[then]);
        }
        let told = "warning: answered the earlier run but are no longer targets (deleted, renamed, or gone from the label or team): their answers are kept: db-01, web-01\n";
        assert!(ran.stderr.contains(told), "{ran:?}");
        // The new one and the one that is away.
        assert_eq!(asked(&site.seen())[1], 2);
    });
}

#[test]
fn a_name_that_another_host_has_now_is_asked_and_the_earlier_answer_kept() {
    // Elsewhere a host is its name.
    on_those(Kind::lists_hosts, |kind| {
        let uuid = |spec: HostSpec, last: &str| HostSpec {
            uuid: Some(format!("4C4C4544-0000-4000-8000-0000000000{last}")),
            ..spec
        };
        let site = Site::new(
            kind,
            Scenario::of([uuid(host("web-01"), "AA"), uuid(host("other"), "BB")]),
        );
        let folder = Folder::new();
        let ran = site.step(&["web-01"]).binary().run();
        folder.file("one", &ran.stdout);
        for change in [
            HostChange::of("web-01").deleted(),
            HostChange::of("other").renamed("web-01"),
        ] {
            site.simulator.change_host(change).expect("a host");
        }
        let ran = resuming(site.step(&["web-01"]), &folder, "one")
            .binary()
            .run();
        let document = ran.document();
        let kept = "web-01@4C4C4544-0000-4000-8000-0000000000AA";
        assert_eq!(
            document.statuses(),
            BTreeMap::from([("web-01", "ok"), (kept, "ok")])
        );
        assert!(
            document.hosts["web-01"]
                .uuid
                .as_ref()
                .is_some_and(|uuid| uuid.ends_with("BB"))
        );
        assert!(
            ran.stderr
                .contains("under a name that another host has now"),
            "{ran:?}"
        );
    });
}

#[test]
fn caps_hold_over_kept_and_new_rows() {
    on_every(|kind| {
        let rows = |count: usize| {
            let row = json!({"pid": "1", "text": "x".repeat(100)});
            Answer::Rows(vec![row.as_object().cloned().unwrap_or_default(); count])
        };
        let scenario = Scenario::of([
            HostSpec::named("web-01").answering(rows(20)),
            away("laptop"),
            host("more"),
        ]);
        let site = Site::new(kind, scenario);
        let folder = Folder::new();
        let hosts = ["web-01", "laptop"];
        let ran = site
            .step(&hosts)
            .with("max_rows_per_host", 15)
            .timeout(2)
            .binary()
            .run();
        assert!(ran.document().truncated);
        folder.file("one", &ran.stdout);
        back(&site, "laptop");
        // Fewer rows, fewer bytes, and as many as before.
        for (limit, value, kept) in [
            ("max_rows_per_host", 5, 5),
            ("max_rows_per_host", 10_000, 15),
            ("max_bytes", 2_600, 8),
        ] {
            let step = site.step(&hosts).with(limit, value);
            let ran = resuming(step, &folder, "one").binary().run();
            let document = ran.document();
            assert_eq!(document.hosts["web-01"].rows, Some(20), "{ran:?}");
            assert!(document.truncated && document.hosts["web-01"].truncated && document.partial);
            let rows = document.results["web-01"].len();
            // How many bytes all the rest has differs: SQL that carries its proof, hosts without uuids.
            let exactly = limit != "max_bytes" || kind.lists_hosts();
            let near = !exactly || (rows <= kept && rows + 2 > kept);
            assert!(near && (1..20).contains(&rows), "{limit}: {rows}");
            assert!(
                limit != "max_bytes" || ran.stdout.len() <= 2_600,
                "{}",
                ran.stdout.len()
            );
        }
        let step = site.step(&hosts).with("max_hosts", 1);
        let ran = resuming(step, &folder, "one").binary().run();
        assert_eq!(ran.status, 21, "{ran:?}");
        assert_eq!(ran.document().results.len(), 1, "{ran:?}");
        // A host that is no target of the step is left out.
        let ran = resuming(site.step(&["more", "laptop"]), &folder, "one")
            .binary()
            .run();
        let document = ran.document();
        assert_eq!(
            document.statuses(),
            BTreeMap::from([("more", "ok"), ("laptop", "ok")])
        );
        assert!(
            ran.stderr
                .contains("not among this step's targets: left out: web-01\n"),
            "{ran:?}"
        );
    });
}

#[test]
fn kept_rows_pass_this_run_s_redactor() {
    let site = Site::new(Kind::Fleet, four());
    let folder = Folder::new();
    let ran = site.step(&FOUR).timeout(2).binary().run();
    let mut document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let token = osquery_simulator::FLEET_MAINTAINER_TOKEN;
    document["results"]["web-01"] = json!([{"cmdline": format!("curl -H {token}")}]);
    document["hosts"]["web-03"]["error"] = token.into();
    folder.file("one", document.to_string());
    let ran = resuming(site.step(&FOUR).timeout(2), &folder, "one")
        .binary()
        .run();
    site.assert_no_secret(&ran);
    assert_eq!(
        ran.document().rows("web-01")[0]["cmdline"],
        "curl -H [redacted]"
    );
}
