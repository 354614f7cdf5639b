//! SIGKILL and SIGTERM at random moments of polls over hosts and reports that change meanwhile: every event is
//! written at least once, whatever repeats has the same id, and the state is never damaged nor ahead of what was
//! written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use osquery_simulator::{
    Cells, HostChange, HostSpec, HostStatus, QuerySpec, QueryState, ReportSpec, ResultSpec,
    Scenario, Snapshot,
};
use serde_json::json;

use super::{Connector, LONG, short};
use crate::harness::Ran;
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, on_all};

/// All kills; each thread has its part of them.
const KILLS: usize = 200;
const THREADS: usize = 4;
const TERMS: usize = 60;
/// So many, then a poll that may end.
const ENDS_A_ROUND: usize = 5;
const HOSTS: usize = 40;
const REPORTS: usize = 3;

/// Numbers that look random, and are the same in every run of the test.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn row(name: &str) -> Cells {
    let row = json!({ "name": name });
    row.as_object().cloned().unwrap_or_default()
}

fn host(number: usize) -> String {
    format!("host-{number:02}")
}

/// What the world is, and which events its changes are.
struct World {
    site: Site,
    dice: Dice,
    /// Rows by report and host.
    rows: BTreeMap<(usize, usize), BTreeSet<String>>,
    offline: BTreeSet<usize>,
    /// Hosts that changed in this round: back and forth would be no change.
    changed: BTreeSet<usize>,
    next: usize,
    expected: BTreeSet<String>,
}

impl World {
    fn of(kind: Kind, seed: usize) -> Self {
        let mut scenario = Scenario::of([HostSpec {
            enrolled_at: Some("2020-01-01T00:00:00Z".into()),
            ..HostSpec::many(HOSTS, "host-{n:02}")
        }]);
        let name = |report| format!("report {report}");
        scenario.fleet.report_cap = 1_000_000;
        scenario.fleet.reports = (0..REPORTS)
            .map(|report| ReportSpec::of(name(report), "SELECT name FROM startup_items"))
            .collect();
        scenario.osctrl.queries = (0..REPORTS)
            .map(|report| {
                QuerySpec::of(name(report), "SELECT name FROM users").state(QueryState::Active)
            })
            .collect();
        Self {
            site: Site::new(kind, scenario),
            dice: Dice(0x9e37_79b9_7f4a_7c15 ^ (seed as u64 + 1)),
            rows: BTreeMap::new(),
            offline: BTreeSet::new(),
            changed: BTreeSet::new(),
            next: 0,
            expected: BTreeSet::new(),
        }
    }

    fn change(&mut self) {
        for _ in 0..=self.dice.below(6) {
            match self.site.kind {
                Kind::Fleet if self.dice.below(3) == 0 => self.posture(),
                _ => self.result(),
            }
        }
    }

    fn posture(&mut self) {
        let number = self.dice.below(HOSTS);
        if !self.changed.insert(number) {
            return;
        }
        let (status, word) = match self.offline.remove(&number) {
            true => (HostStatus::Online, "online"),
            false => {
                self.offline.insert(number);
                (HostStatus::Offline, "offline")
            }
        };
        let change = HostChange::of(host(number)).status(status);
        self.site.simulator.change_host(change).expect("a host");
        self.expected
            .insert(format!("host {} {word}", host(number)));
    }

    /// A host's new result: what it had, less something perhaps, and more.
    fn result(&mut self) {
        let (report, number) = (self.dice.below(REPORTS), self.dice.below(HOSTS));
        let forget = self.dice.below(4) == 0;
        let rows = self.rows.entry((report, number)).or_default();
        if forget && let Some(first) = rows.first().cloned() {
            // What comes in this round has to be seen before it goes.
            let told = format!("row {} added {}", host(number), json!(row(&first)));
            if !self.expected.contains(&told) {
                rows.remove(&first);
            }
        }
        for _ in 0..=self.dice.below(3) {
            let name = format!("row {}", self.next);
            self.next += 1;
            let told = format!("row {} added {}", host(number), json!(row(&name)));
            self.expected.insert(told);
            rows.insert(name);
        }
        let name = format!("report {report}");
        let cells: Vec<Cells> = rows.iter().map(|name| row(name)).collect();
        match self.site.kind {
            Kind::Fleet => {
                let snapshot = Snapshot::of(name, host(number)).rows(cells);
                self.site.simulator.take_snapshot(snapshot).expect("it");
            }
            Kind::Osctrl => {
                let result = ResultSpec::of(host(number)).rows(cells);
                self.site.simulator.take_result(&name, result).expect("it");
            }
            Kind::AisocDirect => unreachable!("it has nothing that is polled"),
        }
    }

    /// What the events of a round are, as all of its polls wrote them: each as expected, under one id.
    fn check(&mut self, written: &[String]) {
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for text in written {
            // A line that broke off was not written.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            for line in whole.lines() {
                let event = super::valid(line);
                if event["kind"] != "summary" {
                    let id = super::id(&event).to_owned();
                    ids.entry(short(&event)).or_default().insert(id);
                }
            }
        }
        for (event, ids) in &ids {
            assert!(self.expected.contains(event), "nobody expected {event}");
            assert_eq!(ids.len(), 1, "{event} has several ids: {ids:?}");
        }
        let lost: Vec<&String> = self
            .expected
            .iter()
            .filter(|it| !ids.contains_key(*it))
            .collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        self.expected.clear();
        self.changed.clear();
    }
}

#[test]
fn a_poll_that_is_killed_loses_nothing_and_doubles_nothing() {
    on_all(0..THREADS, |seed| {
        let midway = ended_at_random("KILL", seed, KILLS / THREADS, |ran| ran.killed);
        assert!(
            midway > KILLS / THREADS / 4,
            "only {midway} were killed midway"
        );
    });
}

/// Who is told to end says what came until then, and the state has it.
#[test]
fn a_poll_that_is_told_to_end_loses_nothing_and_doubles_nothing() {
    let midway = AtomicUsize::new(0);
    on_all(0..THREADS, |seed| {
        let of_this = ended_at_random("TERM", seed + 10, TERMS / THREADS, |ran| {
            // Before it has an ear for signals the system ends it.
            assert!(ran.killed || [0, 143].contains(&ran.status), "{ran:?}");
            ran.status == 143 && !ran.killed
        });
        midway.fetch_add(of_this, Ordering::Relaxed);
    });
    assert!(midway.into_inner() > 0, "none was ended midway");
}

/// Ends polls so many times at random moments; of how many that is true.
fn ended_at_random(
    signal: &str,
    seed: usize,
    times: usize,
    is_midway: impl Fn(&Ran) -> bool,
) -> usize {
    let kind = match seed % 4 {
        3 => Kind::Osctrl,
        _ => Kind::Fleet,
    };
    let mut world = World::of(kind, seed);
    let folder = Folder::new();
    let poll = Connector::of(kind, &world.site.simulator)
        .with("since_seconds", LONG)
        .state(&folder);
    // What was there before is no change.
    poll.poll().whole();
    world.change();
    let whole = whole_poll(&mut world, &poll, &folder, Vec::new());
    let mut midway = 0;
    for _ in 0..times / ENDS_A_ROUND {
        let mut written = Vec::new();
        for _ in 0..ENDS_A_ROUND {
            world.change();
            let out = File::create(folder.at("out")).expect("a file");
            let running = poll.binary().stdout_to(out).start();
            let moment = whole.mul_f64(world.dice.below(1_000) as f64 / 900.0);
            let until = Instant::now() + moment;
            while Instant::now() < until {
                std::thread::sleep(Duration::from_micros(200));
            }
            running.signal(signal);
            midway += usize::from(is_midway(&running.wait()));
            written.push(folder.text("out"));
        }
        whole_poll(&mut world, &poll, &folder, written);
    }
    midway
}

/// A poll that may end, after those that were killed; how long it took.
fn whole_poll(
    world: &mut World,
    poll: &Connector,
    folder: &Folder,
    mut written: Vec<String>,
) -> Duration {
    let out = File::create(folder.at("out")).expect("a file");
    let ran = poll.binary().stdout_to(out).run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    written.push(folder.text("out"));
    world.check(&written);
    ran.elapsed
}
