//! Ten thousand hosts with twenty rows each: every host once, every row, and memory that stays near the
//! document's size.

use std::time::Duration;

use osquery_simulator::{Answer, HostSpec, Huge, Scenario, ServerVersion};
use serde_json::json;

use crate::harness::args;
use crate::harness::document::{Document, Line};
use crate::harness::site::{Kind, Site, Step, on_every, one_row};

const HOSTS: usize = 10_000;
const ROWS: usize = 20;

/// One kind of server after the other: each takes both cores.
#[test]
fn faults_ten_thousand_hosts() {
    for kind in Kind::ALL {
        // Where each host is a request of its own and some looks, a fifth of them is as much work.
        let count = if kind.lists_hosts() { HOSTS } else { HOSTS / 5 };
        let row = |number: usize| json!({"pid": number.to_string(), "name": "bash", "path": "/usr/bin/bash", "on_disk": "1"});
        let rows = (0..ROWS).map(|number| row(number).as_object().cloned().unwrap_or_default());
        let hosts = HostSpec::many(count, "pod-{n:05}").answering(Answer::Rows(rows.collect()));
        let site = Site::new(
            kind,
            Scenario {
                check_in: Duration::from_millis(500),
                ..Scenario::of([hosts])
            },
        );
        let step = all_of(&site, count, "pod-", 5)
            .with("max_hosts", count)
            .timeout(50);
        let ran = step.clone().binary().run();
        assert_eq!((ran.status, &*ran.stderr), (0, ""));
        let document: Document = serde_json::from_str(&ran.stdout).expect("the document's types");
        document.assert_invariant();
        assert!(!document.partial);
        assert_eq!(document.results.len(), count);
        for number in 0..count {
            let rows = &document.results[&format!("pod-{number:05}")];
            assert_eq!(rows.len(), ROWS);
            assert!(
                rows.iter()
                    .enumerate()
                    .all(|(pid, row)| row["pid"] == *pid.to_string() && row.len() == 4)
            );
        }
        let campaign = document.campaign();
        let counted = [campaign.targeted, campaign.responded, campaign.rows];
        assert_eq!(
            counted.map(|count| count as usize),
            [count, count, count * ROWS]
        );
        let once = if kind.lists_hosts() { 1 } else { count };
        assert_eq!(site.seen().campaigns.len(), once, "everybody is asked once");
        // What the program takes for itself is no matter of hosts.
        let own = args(["describe"]).run().peak_kib;
        let took = ran.peak_kib.saturating_sub(own) * 1024;
        let size = ran.stdout.len() as u64;
        // Nor is what a client for HTTP takes, which counts where the document is small.
        let client = if count < HOSTS { 12 << 20 } else { 0 };
        assert!(
            took * 2 < 9 * size + 2 * client,
            "{kind:?}: {took} bytes of memory for {size} of document"
        );

        let one_less = step.clone().with("max_hosts", count - 1).binary().run();
        assert_eq!(one_less.status, 21, "{one_less:?}");
    }
}

/// A step for all hosts of a site: of a platform where there are lists of hosts, else each by its name.
fn all_of(site: &Site, count: usize, prefix: &str, width: usize) -> Step {
    let step = site.step(&[]);
    if site.kind.lists_hosts() {
        return step
            .without("target_hosts")
            .with("target_platforms", vec!["linux"]);
    }
    let names: Vec<String> = (0..count)
        .map(|number| format!("{prefix}{number:0width$}"))
        .collect();
    step.with("target_hosts", names)
}

/// With a line for each host the rows are not kept: 20 MB of them cost no more than a few.
#[test]
fn faults_lines_do_not_pile_up() {
    on_every(|kind| {
        let rows = Huge {
            rows: 100,
            row_bytes: 1_000,
        };
        let hosts = HostSpec::many(200, "pod-{n:03}").answering(Answer::Huge(rows));
        // Answers come one after the other, as they do.
        let hosts = (0..4).map(|number| {
            let mut part = hosts.clone();
            part.first = 50 * number;
            part.count = 50;
            part.delayed(Duration::from_millis(300 * number as u64))
        });
        let site = Site::new(kind, Scenario::of(hosts));
        let step = all_of(&site, 200, "pod-", 3).arg("--format=ndjson");
        let ran = step.binary().run();
        assert_eq!((ran.status, &*ran.stderr), (0, ""));
        let hosts = ran
            .stdout
            .lines()
            .map(|line| match serde_json::from_str(line) {
                Ok(Line::Host { rows, .. }) => rows.len(),
                Ok(Line::Summary { partial, .. }) => usize::from(partial),
                Err(error) => panic!("{error}: {line}"),
            });
        assert_eq!(hosts.sum::<usize>(), 200 * 100);
        assert!(ran.stdout.len() > 19_000_000);
        let mib = ran.peak_kib / 1024;
        let most = match kind {
            Kind::Fleet => 42,
            // A page of results may hold them all at once on a machine that is slow to poll.
            Kind::Osctrl => 120,
            // Thirty-two answers are on their way at once.
            Kind::AisocDirect => 56,
        };
        assert!(mib < most, "{mib} MiB");
    });
}

/// A body that names the hosts stays below 1 MiB (Fleet refuses larger ones from 4.82 on): of so many there
/// are two campaigns, and one document. Most are offline: their answers are not what this is about.
#[test]
fn faults_more_hosts_than_one_campaign_takes() {
    const OFFLINE: usize = 50_000;
    let away = HostSpec::many(OFFLINE, "away-{n:05}").offline();
    let hosts = HostSpec::many(10, "pod-{n}").answering(one_row());
    let mut scenario = Scenario::of([away, hosts]);
    scenario.fleet.version = Some(ServerVersion::FLEET_2026);
    let site = Site::new(Kind::Fleet, scenario);
    let step = site
        .step(&[])
        .without("target_hosts")
        .with("target_platforms", vec!["linux"])
        .with("max_hosts", OFFLINE + 10)
        .with("offline_hosts", "skip")
        .timeout(55);
    let ran = step.binary().run();
    let document = ran.document();
    assert_eq!((ran.status, document.partial), (0, true));
    assert_eq!(document.results.len(), 10);
    assert_eq!(document.timed_out_hosts.len(), OFFLINE);
    let seen = site.seen();
    let asked = seen.campaigns.iter().map(|campaign| campaign.hosts.len());
    assert_eq!(asked.collect::<Vec<_>>(), [50_000, 10]);
    for request in &seen.requests {
        assert!(request.body.len() < 1 << 20, "{}", request.path);
    }
}

/// What is told with `-vv` grows with requests, never with hosts, and names none of them.
#[test]
fn faults_many_hosts_add_no_words() {
    on_every(|kind| {
        let hosts = HostSpec::many(2_000, "pod-{n:04}").answering(one_row());
        let site = Site::new(kind, Scenario::of([hosts]));
        let step = all_of(&site, 2_000, "pod-", 4).with("max_hosts", 2_000);
        let ran = step.arg("-vv").binary().run();
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        let requests = site.seen().requests.len();
        let lines = ran.stderr.lines().count();
        assert!(
            lines > 0 && lines <= 2 * requests + 20,
            "{kind:?}: {lines} lines, {requests} requests"
        );
        // Where each host is a request, there are as many lines of requests.
        assert!(
            (lines < 1_000 || !kind.lists_hosts()) && !ran.stderr.contains("pod-"),
            "{}",
            ran.stderr
        );
    });
}
