//! What hosts answered between two runs: `--resume` reads it where the server keeps it, and asks nobody twice
//! who is still in the queue. And across kills: no answer is lost, none is there twice.

use std::io::{Read, Write};
use std::net::TcpStream;

use osquery_simulator::{
    CampaignState, Fault, HostChange, HostSpec, HostStatus, OSCTRL_ADMIN_TOKEN,
    OSCTRL_PLUGIN_TOKEN, Scenario,
};
use serde_json::{Value, json};

use crate::harness::document::Document;
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, Step, host, on_all, on_every, one_row, silent};
use crate::harness::{Ran, Running};

fn away(name: &str) -> HostSpec {
    HostSpec::named(name).offline().answering(one_row())
}

/// The host is back, and its answer is at the server.
fn comes_back(site: &Site, name: &str, items: usize) {
    let back = HostChange::of(name).status(HostStatus::Online);
    site.simulator.change_host(back).expect("a host");
    site.wait("its answer", |seen| seen.campaigns[0].items == items);
}

/// What an administrator does by hand.
fn by_hand(site: &Site, action: &str, query: &str) {
    let mut stream = TcpStream::connect(site.simulator.addr()).expect("the server is there");
    let request = format!(
        "POST /api/v1/queries/dev/{action}/{query} HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\nAuthorization: Bearer {OSCTRL_ADMIN_TOKEN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

const HOSTS: [&str; 2] = ["web-01", "laptop"];

fn site(hosts: impl IntoIterator<Item = HostSpec>) -> Site {
    Site::new(Kind::Osctrl, Scenario::of(hosts))
}

fn queued(site: &Site) -> Step {
    site.step(&HOSTS).with("offline_hosts", "queue").timeout(2)
}

fn resuming(step: Step, folder: &Folder, name: &str) -> Step {
    step.arg("--resume").arg(&folder.name(name))
}

/// Runs the step, keeps its document under a name, and returns it.
fn run(step: Step, folder: &Folder, name: &str) -> (Document, Ran) {
    let ran = step.binary().run();
    folder.file(name, &ran.stdout);
    (ran.document(), ran)
}

fn dispatches(site: &Site) -> usize {
    site.seen().campaigns.len()
}

/// Each host has one row, the one that it gave.
#[track_caller]
fn assert_whole(document: &Document) {
    assert!(!document.partial, "{document:?}");
    for name in HOSTS {
        let rows = document.rows(name);
        assert_eq!(rows.len(), 1, "{document:?}");
        assert_eq!(rows[0]["name"], "init");
    }
    assert_eq!(document.queued_until, None);
}

#[test]
fn an_answer_that_came_between_the_runs_is_read() {
    on_all(["queue", "wait"], |offline| {
        let site = site([host("web-01"), away("laptop")]);
        let folder = Folder::new();
        // This token may not end queries: they stay for an hour in any case.
        let ask = || {
            let step = site.step(&HOSTS).with("offline_hosts", offline);
            step.token(OSCTRL_PLUGIN_TOKEN).timeout(2)
        };
        let (first, _) = run(ask(), &folder, "one");
        assert_eq!(first.timed_out_hosts, ["laptop"]);
        assert_eq!(first.queued_until.is_some(), offline == "queue");
        comes_back(&site, "laptop", 2);
        let (second, ran) = run(resuming(ask(), &folder, "one").timeout(20), &folder, "two");
        assert_whole(&second);
        assert_eq!(
            second.hosts["web-01"].answered_at,
            first.hosts["web-01"].answered_at
        );
        assert_eq!(second.campaign().id, first.campaign().id);
        assert!(!second.campaign().may_be_running);
        assert_eq!((dispatches(&site), ran.stderr.as_str()), (1, ""));
    });
}

#[test]
fn who_is_in_the_queue_is_not_asked_twice() {
    let site = site([host("web-01"), away("laptop")]);
    let folder = Folder::new();
    let (first, _) = run(queued(&site), &folder, "one");
    let mut last = "one".to_owned();
    for name in ["two", "three"] {
        let (again, ran) = run(resuming(queued(&site), &folder, &last), &folder, name);
        assert_eq!(again.timed_out_hosts, ["laptop"], "{ran:?}");
        assert_eq!(again.statuses()["laptop"], "no_answer");
        assert_eq!(again.queued_until, first.queued_until);
        assert_eq!(again.campaign().id, first.campaign().id);
        assert!(again.campaign().may_be_running);
        assert!(
            ran.stderr.contains("the query stays with the server until"),
            "{ran:?}"
        );
        last = name.to_owned();
    }
    // It comes back while a run listens.
    let step = resuming(queued(&site), &folder, &last).timeout(30);
    let running = step.arg("-v").binary().start();
    running.wait_for_stderr("asked 2 hosts");
    comes_back(&site, "laptop", 2);
    assert_whole(&running.wait().document());
    assert_eq!(dispatches(&site), 1);
    assert_eq!(site.seen().requests_to("POST", "/expire/").count(), 0);
}

#[test]
fn once_the_queue_is_over_the_rest_is_asked_again() {
    on_all(["expire", "complete", "delete"], |action| {
        let site = site([host("web-01"), away("laptop")]);
        let folder = Folder::new();
        let (first, _) = run(queued(&site), &folder, "one");
        let id = first
            .campaign
            .and_then(|campaign| campaign.id)
            .expect("an id");
        by_hand(&site, action, &id);
        let (second, ran) = run(
            resuming(queued(&site), &folder, "one").timeout(4),
            &folder,
            "two",
        );
        assert_eq!(second.timed_out_hosts, ["laptop"], "{ran:?}");
        assert_eq!(dispatches(&site), 2, "{action}");
        assert!(second.queued_until > first.queued_until);
        assert_ne!(second.campaign().id.as_ref(), Some(&id));
        let gone = "a query of the earlier run is no longer on the server";
        assert_eq!(ran.stderr.contains(gone), action == "delete", "{ran:?}");
        let back = HostChange::of("laptop").status(HostStatus::Online);
        site.simulator.change_host(back).expect("a host");
        site.wait("its answer", |seen| seen.campaigns[1].items == 1);
        let (third, _) = run(resuming(queued(&site), &folder, "two"), &folder, "three");
        assert_whole(&third);
        assert_eq!(dispatches(&site), 2);
    });
}

#[test]
fn a_query_that_expires_while_it_is_waited_for_is_asked_again() {
    let site = site([host("web-01"), away("laptop")]);
    let folder = Folder::new();
    let (first, _) = run(queued(&site), &folder, "one");
    let id = first
        .campaign
        .and_then(|campaign| campaign.id)
        .expect("an id");
    let step = resuming(queued(&site), &folder, "one").timeout(30);
    let running = step.arg("-v").binary().start();
    running.wait_for_stderr("asked 2 hosts");
    by_hand(&site, "expire", &id);
    site.wait("a second query", |seen| seen.campaigns.len() == 2);
    let back = HostChange::of("laptop").status(HostStatus::Online);
    site.simulator.change_host(back).expect("a host");
    assert_whole(&running.wait().document());
}

#[test]
fn without_a_queue_the_rest_is_asked_again_and_the_earlier_query_ended() {
    let site = site([host("web-01"), away("laptop")]);
    let folder = Folder::new();
    run(queued(&site), &folder, "one");
    let step = resuming(queued(&site).with("offline_hosts", "wait"), &folder, "one");
    let (second, _) = run(step.timeout(3), &folder, "two");
    assert_eq!(second.queued_until, None);
    assert_eq!(second.timed_out_hosts, ["laptop"]);
    let states: Vec<CampaignState> = site
        .simulator
        .campaigns()
        .iter()
        .map(|query| query.state)
        .collect();
    assert_eq!(states, [CampaignState::Expired, CampaignState::Expired]);
}

#[test]
fn a_host_that_is_not_in_the_queue_is_asked() {
    let site = site([host("web-01"), away("laptop"), host("new")]);
    let folder = Folder::new();
    site.simulator
        .change_host(HostChange::of("new").deleted())
        .expect("a host");
    let ask = || {
        let step = site.step(&["web-01", "laptop", "new"]);
        step.with("offline_hosts", "queue").timeout(2)
    };
    let (first, _) = run(ask(), &folder, "one");
    assert_eq!(first.statuses()["new"], "unknown");
    site.simulator
        .change_host(HostChange::of("new").enrolled())
        .expect("a host");
    let (second, ran) = run(resuming(ask(), &folder, "one"), &folder, "two");
    assert_eq!(second.timed_out_hosts, ["laptop"], "{ran:?}");
    let seen = site.seen();
    assert_eq!(
        seen.campaigns
            .iter()
            .map(|query| query.hosts.len())
            .collect::<Vec<_>>(),
        [2, 1]
    );
    // The queue of the first goes on, and both are named.
    assert_eq!(seen.campaigns[0].state, CampaignState::Running);
    let campaign = second.campaign();
    let mut named = campaign.other_ids.clone();
    named.extend(campaign.id.clone());
    named.sort();
    let mut queries: Vec<String> = seen.campaigns.into_iter().map(|query| query.id).collect();
    queries.sort();
    assert_eq!(named, queries);
    comes_back(&site, "laptop", 2);
    let (third, _) = run(resuming(ask(), &folder, "two"), &folder, "three");
    assert!(!third.partial, "{third:?}");
    assert_eq!(dispatches(&site), 2);
}

/// The file is what somebody wrote: a query that asks something else is neither read nor ended.
#[test]
fn another_s_query_is_left_alone() {
    for (id, told) in [
        (None, true),
        (Some("query_that_nobody_has".to_owned()), true),
        (Some("../../nodes/dev".to_owned()), true),
        (Some("..".to_owned()), false),
    ] {
        let site = site([host("web-01"), away("laptop")]);
        let folder = Folder::new();
        let other = queued(&site).with("template", "uptime");
        let (other, _) = run(other, &folder, "other");
        let ran = site.step(&HOSTS).timeout(2).binary().run();
        let mut document: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let is_other = id.is_none();
        document["campaign"]["id"] = match id {
            None => json!(other.campaign().id),
            Some(id) => id.into(),
        };
        folder.file("one", document.to_string());
        comes_back(&site, "laptop", 2);
        let ran = resuming(site.step(&HOSTS), &folder, "one").binary().run();
        assert_whole(&ran.document());
        assert_eq!(dispatches(&site), 3, "{ran:?}");
        assert_eq!(
            ran.stderr.contains("or belongs to another step"),
            told,
            "{ran:?}"
        );
        let expired = site.seen();
        let name = &expired.campaigns[0].id;
        let ended = expired
            .requests_to("POST", "/expire/")
            .any(|request| request.path.contains(name.as_str()));
        assert!(!(is_other && ended), "{ran:?}");
    }
}

/// The earlier query had many more hosts than are wanted now, and some answered twice.
#[test]
fn a_few_late_answers_are_found_among_many() {
    let mut many = HostSpec::many(1_500, "pod-{n:04}").answering(one_row());
    many.behaviour.times = 2;
    let mut scenario = Scenario::of([many, away("laptop")]);
    scenario.osctrl.version = osquery_simulator::ServerVersion(0, 5, 6);
    scenario.osctrl.admin_service = None;
    let site = Site::new(Kind::Osctrl, scenario);
    let folder = Folder::new();
    let ask = || {
        let step = site.step(&["laptop"]).without("target_hosts");
        let step = step.with("target_platforms", json!(["linux", "darwin", "windows"]));
        step.with("max_hosts", 5_000)
            .with("offline_hosts", "queue")
            .timeout(8)
    };
    let (first, _) = run(ask(), &folder, "one");
    assert_eq!(first.timed_out_hosts, ["laptop"]);
    let back = HostChange::of("laptop").status(HostStatus::Online);
    site.simulator.change_host(back).expect("a host");
    site.wait("its answer", |seen| {
        seen.answers
            .iter()
            .any(|answer| answer.host == first.hosts["laptop"].uuid.clone().unwrap_or_default())
    });
    let (second, ran) = run(resuming(ask(), &folder, "one").timeout(30), &folder, "two");
    assert!(!second.partial, "{}", ran.stderr);
    assert_eq!((second.results.len(), dispatches(&site)), (1_501, 1));
}

/// A run that fails before it came to ask keeps what the queue is known by.
#[test]
fn a_run_that_fails_keeps_the_way_to_the_queue() {
    let site = site([host("web-01"), away("laptop")]);
    let folder = Folder::new();
    let (first, _) = run(queued(&site), &folder, "one");
    let (failed, _) = run(
        resuming(queued(&site).token("wrong"), &folder, "one"),
        &folder,
        "two",
    );
    assert_eq!(
        failed.error.as_ref().map(|error| error.code.as_str()),
        Some("auth")
    );
    assert_eq!(failed.campaign().id, first.campaign().id);
    assert_eq!(failed.queued_until, first.queued_until);
    comes_back(&site, "laptop", 2);
    let (last, _) = run(resuming(queued(&site), &folder, "two"), &folder, "three");
    assert_whole(&last);
    assert_eq!(dispatches(&site), 1);
}

/// Waits until the whole document is out, and kills the process before it does anything else.
fn killed_after_the_document(running: Running) -> String {
    running.wait_for_stdout("}\n");
    running.signal("KILL");
    running.wait().stdout
}

#[test]
fn a_run_that_is_killed_after_its_document_is_gone_on_with() {
    on_every(|kind| {
        on_all(["wait", "queue"], |offline| {
            if kind != Kind::Osctrl && offline == "queue" {
                return;
            }
            // The server is slow to be told that the query is over.
            let mut slow = Fault::on_method("POST", "/expire/");
            slow.hang = true;
            slow.times = Some(1);
            let scenario = Scenario {
                faults: vec![slow],
                ..Scenario::of([host("web-01"), away("laptop")])
            };
            let site = Site::new(kind, scenario);
            let folder = Folder::new();
            let ask = || site.step(&HOSTS).with("offline_hosts", offline);
            let text = killed_after_the_document(ask().timeout(2).binary().start());
            folder.file("one", &text);
            let back = HostChange::of("laptop").status(HostStatus::Online);
            site.simulator.change_host(back).expect("a host");
            if kind == Kind::Osctrl {
                site.wait("its answer", |seen| seen.campaigns[0].items == 2);
            }
            let (last, _) = run(resuming(ask().timeout(30), &folder, "one"), &folder, "two");
            assert_whole(&last);
            // Fleet keeps nothing, and nothing of AiSOC's is kept here: the one that was silent is asked again,
            // and nobody else.
            let hosts: Vec<usize> = site
                .seen()
                .campaigns
                .iter()
                .map(|one| one.hosts.len())
                .collect();
            assert_eq!(
                hosts,
                match kind {
                    Kind::Fleet => vec![2, 1],
                    Kind::Osctrl => vec![2],
                    Kind::AisocDirect => vec![1, 1, 1],
                }
            );
        });
    });
}

#[test]
fn a_resumed_run_that_is_killed_in_the_middle_loses_nothing() {
    on_every(|kind| {
        on_all(["json", "ndjson"], |format| {
            let scenario = Scenario::of([
                host("web-01"),
                away("laptop"),
                silent("mute"),
                away("tablet"),
            ]);
            let site = Site::new(kind, scenario);
            let folder = Folder::new();
            let hosts = ["web-01", "laptop", "mute", "tablet"];
            let ask = || site.step(&hosts).arg("--format").arg(format);
            let first = ask().timeout(2).binary().run();
            folder.file("one", &first.stdout);
            // One more answers, and then the process is gone.
            let back = |name: &str| {
                let change = HostChange::of(name).status(HostStatus::Online);
                site.simulator.change_host(change).expect("a host");
            };
            let earlier = site.seen().campaigns.len();
            back("laptop");
            let running = resuming(ask(), &folder, "one").binary().start();
            site.wait("an answer", |seen| {
                let mut new = seen.campaigns.iter().skip(earlier);
                new.any(|campaign| campaign.answers == 1)
            });
            if format == "ndjson" {
                running.wait_for_stdout("\"laptop\"");
            }
            running.signal("KILL");
            let killed = running.wait();
            assert!(killed.killed, "{killed:?}");
            folder.file("two", &killed.stdout);
            if format == "ndjson" {
                // What it wrote is no whole run, and is not taken for one.
                let refused = resuming(ask(), &folder, "two").binary().run();
                assert_eq!(refused.status, 2, "{refused:?}");
                assert!(refused.stderr.contains("it has no summary"), "{refused:?}");
            }
            back("tablet");
            let last = resuming(site.step(&hosts).timeout(8), &folder, "one")
                .binary()
                .run();
            let document = last.document();
            assert_eq!(document.timed_out_hosts, ["mute"], "{last:?}");
            for name in ["web-01", "laptop", "tablet"] {
                assert_eq!(document.rows(name).len(), 1, "{last:?}");
            }
            assert_eq!(document.campaign().rows, 3);
        });
    });
}
