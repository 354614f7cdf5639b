//! osctrl ends queries that hosts never saw: its admin service goes by counters, which count answers and not
//! hosts. Such hosts are asked again; they are never said to have answered.

use std::collections::BTreeSet;
use std::time::Duration;

use osquery_simulator::{AdminService, Answer, HostSpec, Observations, Scenario};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::harness::Ran;
use crate::harness::site::{Kind, Site, host, on_all};

const FORMATS: [&str; 2] = ["json", "ndjson"];

fn ended_by_its_counters(hosts: Vec<HostSpec>, meets_new: usize) -> Scenario {
    let mut scenario = Scenario::of(hosts);
    scenario.osctrl.admin_service = Some(AdminService {
        every: Duration::from_millis(10),
        meets_new,
    });
    scenario
}

/// A host that is handed a query twice and answers twice.
fn twice(name: &str) -> HostSpec {
    let mut twice = host(name);
    twice.behaviour.times = 2;
    twice
}

/// A host that checks in only now and then.
fn rare(name: &str) -> HostSpec {
    let mut rare = host(name);
    rare.check_in = Some(Duration::from_millis(1_500));
    // It takes the query up at its second check-in.
    rare.behaviour.check_ins = 2;
    rare
}

/// What the last line says: the document, or the summary of `--format ndjson`.
fn last(ran: &Ran) -> Value {
    let line = ran.stdout.lines().last().expect("a line");
    serde_json::from_str(line).expect("JSON")
}

fn run(site: &Site, hosts: &[&str], timeout: u32, format: &str) -> Ran {
    let step = site.step(hosts).timeout(timeout);
    let ran = step.arg(&format!("--format={format}")).binary().run();
    site.assert_no_secret(&ran);
    if format == "json" {
        ran.document();
    } else {
        ran.lines();
    }
    ran
}

/// The uuids that were handed a query.
fn handed_out(seen: &Observations) -> BTreeSet<&str> {
    let handed = seen.campaigns.iter().flat_map(|one| &one.handed_out);
    handed.map(String::as_str).collect()
}

/// Nobody who was never handed a query is said to have answered one.
#[track_caller]
fn assert_only_who_was_asked_answered(seen: &Observations, summary: &Value) {
    let handed = handed_out(seen);
    for (name, told) in summary["hosts"].as_object().expect("hosts") {
        let answered = matches!(told["status"].as_str(), Some("ok" | "error"));
        let uuid = told["uuid"].as_str().expect("a uuid");
        assert!(!answered || handed.contains(uuid), "{name}: {summary}");
    }
}

#[test]
fn hosts_that_were_never_handed_the_query_are_asked_again() {
    on_all(FORMATS, |format| {
        let hosts = ["a", "b", "c", "d"];
        let specs = vec![twice("a"), twice("b"), rare("c"), rare("d")];
        let site = Site::new(Kind::Osctrl, ended_by_its_counters(specs, 0));
        let ran = run(&site, &hosts, 30, format);
        let seen = site.seen();
        assert_eq!(
            (ran.status, &last(&ran)["partial"]),
            (0, &false.into()),
            "{ran:?}"
        );
        for name in hosts {
            assert_eq!(last(&ran)["hosts"][name]["status"], "ok", "{ran:?}");
        }
        assert_only_who_was_asked_answered(&seen, &last(&ran));
        let asked: Vec<usize> = seen.campaigns.iter().map(|one| one.hosts.len()).collect();
        assert_eq!(asked, [4, 2], "only those that were silent");
        let warning = "warning: osctrl ended the query (its counters count a host twice that answers twice) before 2 hosts had answered: asking again\n";
        assert_eq!(ran.stderr, warning);
    });
}

#[test]
fn queries_that_are_met_while_their_targets_are_written_are_made_again() {
    let cases = FORMATS
        .into_iter()
        .flat_map(|format| [(format, 1), (format, 3)]);
    on_all(cases, |(format, meets_new)| {
        let mut scenario = ended_by_its_counters(vec![host("a"), host("b")], meets_new);
        scenario.osctrl.writing_targets = Duration::from_millis(50);
        scenario.osctrl.admin_service = Some(AdminService {
            every: Duration::from_secs(3_600),
            meets_new,
        });
        let site = Site::new(Kind::Osctrl, scenario);
        let ran = run(&site, &["a", "b"], 40, format);
        assert_eq!(
            (ran.status, &last(&ran)["partial"]),
            (0, &false.into()),
            "{ran:?}"
        );
        let seen = site.seen();
        let asked: Vec<usize> = seen.campaigns.iter().map(|one| one.hosts.len()).collect();
        assert_eq!(asked, vec![2; meets_new + 1]);
        let id = last(&ran)["campaign"]["id"].clone();
        assert_eq!(
            id, seen.campaigns[meets_new].id,
            "the query that was answered"
        );
    });
}

/// Where every query is ended at once, nobody is said to have answered, the run does not end early, and the
/// server is not flooded with queries.
#[test]
fn a_server_that_ends_every_query_is_waited_for_until_the_deadline() {
    on_all(FORMATS, |format| {
        let mut scenario = ended_by_its_counters(vec![host("a"), host("b")], 1_000);
        scenario.osctrl.writing_targets = Duration::from_millis(20);
        let site = Site::new(Kind::Osctrl, scenario);
        let ran = run(&site, &["a", "b"], 14, format);
        let summary = last(&ran);
        assert_eq!(
            (ran.status, &summary["partial"]),
            (0, &true.into()),
            "{ran:?}"
        );
        assert_eq!(summary["hosts"]["a"]["status"], "no_answer");
        assert_eq!(summary["timed_out_hosts"], serde_json::json!(["a", "b"]));
        assert!(ran.elapsed >= Duration::from_secs(14));
        let seen = site.seen();
        assert_eq!(seen.campaigns.len(), 4, "one, and three more");
        assert!(
            ran.stderr.ends_with(
                "warning: osctrl has ended 4 queries in a row before 2 hosts had answered: late \
                                  answers are waited for, nobody is asked again\nwarning: asked, but did not answer: a, b\n"
            ),
            "{}",
            ran.stderr
        );
    });
}

/// A query that brought an answer begins the count anew: five in a row, each brings one.
#[test]
fn queries_that_bring_answers_are_made_as_long_as_it_takes() {
    on_all(FORMATS, |format| {
        let names = ["a", "b", "c", "d", "e", "f"];
        // Each answers as often as all that are left: so each query ends with one host's answers.
        let specs = names.iter().enumerate().map(|(index, name)| {
            let mut spec = host(name);
            spec.behaviour.times = 6 - u32::try_from(index).expect("few");
            spec.behaviour.delay = Duration::from_millis(400 * index as u64);
            spec
        });
        let site = Site::new(Kind::Osctrl, ended_by_its_counters(specs.collect(), 0));
        let ran = run(&site, &names, 50, format);
        assert_eq!(
            (ran.status, &last(&ran)["partial"]),
            (0, &false.into()),
            "{ran:?}"
        );
        assert_only_who_was_asked_answered(&site.seen(), &last(&ran));
    });
}

/// A host that fails without a text is told from one that was never asked.
#[test]
fn an_error_without_a_text_is_the_hosts_that_failed() {
    on_all(FORMATS, |format| {
        let mut failing = HostSpec::named("failing").answering(Answer::StatusOnly(1));
        failing.behaviour.times = 2;
        let specs = vec![failing, twice("a"), rare("b"), host("c")];
        let site = Site::new(Kind::Osctrl, ended_by_its_counters(specs, 0));
        let ran = run(&site, &["failing", "a", "b", "c"], 30, format);
        let summary = last(&ran);
        let status = |name: &str| summary["hosts"][name]["status"].clone();
        assert_eq!(
            [status("failing"), status("a"), status("b"), status("c")],
            ["error", "ok", "ok", "ok"],
            "{ran:?}"
        );
        assert_only_who_was_asked_answered(&site.seen(), &summary);
    });
}

#[derive(Debug, Clone)]
struct Case {
    /// How often each answers, after what, what, and whether it checks in rarely.
    hosts: Vec<(u32, u64, Answer, bool)>,
    every: u64,
    writing: u64,
    meets_new: usize,
}

fn case() -> impl Strategy<Value = Case> {
    let answer = prop_oneof![
        3 => Just(Answer::None),
        1 => Just(Answer::Error("no such table: x".into())),
        2 => Just(Answer::StatusOnly(1)),
        1 => Just(Answer::Silent),
    ];
    let hosts = (1_u32..4, 0_u64..300, answer, any::<bool>());
    (
        prop::collection::vec(hosts, 1..7),
        1_u64..60,
        0_u64..60,
        0_usize..3,
    )
        .prop_map(|(hosts, every, writing, meets_new)| Case {
            hosts,
            every,
            writing,
            meets_new,
        })
}

/// Whatever the counters say, and whenever queries are ended: no host that was not handed a query is
/// reported as having answered.
#[test]
fn nobody_is_said_to_have_answered_who_was_not_asked() {
    let mut runner = TestRunner::deterministic();
    let cases: Vec<Case> = (0..24)
        .map(|_| case().new_tree(&mut runner).expect("a case").current())
        .collect();
    on_all(cases.chunks(6), |cases| {
        for case in cases {
            let specs = case.hosts.iter().enumerate();
            let specs = specs.map(|(index, (times, delay, answer, rarely))| {
                let name = format!("h{index}");
                let base = if *rarely { rare(&name) } else { host(&name) };
                let mut spec = base
                    .answering(answer.clone())
                    .delayed(Duration::from_millis(*delay));
                spec.behaviour.times = *times;
                spec
            });
            let mut scenario = ended_by_its_counters(specs.collect(), case.meets_new);
            scenario.osctrl.writing_targets = Duration::from_millis(case.writing);
            if let Some(service) = &mut scenario.osctrl.admin_service {
                service.every = Duration::from_millis(case.every);
            }
            let site = Site::new(Kind::Osctrl, scenario);
            let names: Vec<String> = (0..case.hosts.len()).map(|n| format!("h{n}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let ran = run(&site, &names, 5, "json");
            assert_eq!(ran.status, 0, "{case:?}: {ran:?}");
            assert_only_who_was_asked_answered(&site.seen(), &last(&ran));
        }
    });
}
