//! AiSOC's own osquery service: a query for each host, which nothing takes back. What is asked when, what is
//! never asked twice, and what the document says of hosts that fail, stay silent or are nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use osquery_simulator::{
    AISOC_CONSOLE_TOKEN, Answer, Behaviour, Burst, Cut, Fault, HostSpec, Outage, Part, Scenario,
    Server,
};
use serde_json::{Value, json};

use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, Step, host, on_all, silent};

const FORMATS: [&str; 2] = ["json", "ndjson"];

fn site_of(scenario: Scenario) -> Site {
    Site::new(Kind::AisocDirect, scenario)
}

fn look() -> Fault {
    Kind::AisocDirect.finding()
}

fn enqueue() -> Fault {
    Kind::AisocDirect.dispatching()
}

/// Names of many hosts.
fn many(count: usize) -> (HostSpec, Vec<String>) {
    let names = (0..count).map(|number| format!("host-{number}")).collect();
    let hosts = HostSpec {
        behaviour: host("x").behaviour,
        ..HostSpec::many(count, "host-{n}")
    };
    (hosts, names)
}

fn step(site: &Site, names: &[String]) -> Step {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    site.step(&names)
}

/// Every host that was asked was asked once.
#[track_caller]
fn assert_asked_once(site: &Site, hosts: usize) {
    let seen = site.seen();
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    for query in &seen.campaigns {
        assert_eq!(query.server, Server::AisocDirect);
        for host in &query.hosts {
            *asked.entry(host).or_default() += 1;
        }
    }
    assert_eq!(asked.len(), hosts);
    assert!(asked.values().all(|times| *times == 1), "{asked:?}");
}

#[test]
fn each_host_is_asked_once_over_a_connection_of_its_own() {
    let (hosts, names) = many(150);
    let site = site_of(Scenario::of([hosts]));
    let ran = step(&site, &names).binary().run();
    site.assert_no_secret(&ran);
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let document = ran.document();
    assert_eq!(
        (document.partial, document.campaign().responded),
        (false, 150)
    );
    assert!(!document.campaign().may_be_running);
    assert_eq!(document.campaign().id, None);
    assert_asked_once(&site, 150);
    let seen = site.seen();
    let dispatches: Vec<_> = seen.requests_to("POST", "/enqueue").collect();
    let connections: BTreeSet<usize> = dispatches.iter().map(|call| call.connection).collect();
    assert_eq!((dispatches.len(), connections.len()), (150, 150));
    for call in dispatches {
        let body: Value = serde_json::from_str(&call.body).expect("JSON");
        let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["host_identifier", "query_text"]);
        assert_eq!(
            call.header("x-aisoc-tenant-id"),
            Some(osquery_simulator::AISOC_TENANT)
        );
    }
    // 32 at once, and those whose end the server has not seen yet.
    assert!(seen.most_connections < 64, "{}", seen.most_connections);
}

/// Under a burst the service resets connections that were kept, with whatever comes on them.
#[test]
fn connections_that_are_reset_or_closed_cost_nothing() {
    on_all([0, 1], |which| {
        let (hosts, names) = many(80);
        let slow = HostSpec {
            behaviour: Behaviour {
                delay: Duration::from_millis(700),
                ..hosts.behaviour.clone()
            },
            ..hosts
        };
        let mut scenario = Scenario::of([slow]);
        match which {
            0 => {
                scenario.aisoc_direct.burst = Some(Burst {
                    requests: 20,
                    idle: Duration::from_millis(1),
                });
            }
            _ => scenario.aisoc_direct.idle = Duration::from_millis(40),
        }
        let site = site_of(scenario);
        let ran = step(&site, &names).binary().run();
        site.assert_no_secret(&ran);
        assert_eq!((ran.status, ran.document().partial), (0, false), "{ran:?}");
        assert_asked_once(&site, 80);
    });
}

/// A host that is silent is looked at less and less.
#[test]
fn looks_thin_out() {
    let site = site_of(Scenario::of([silent("web-01"), host("web-02")]));
    let ran = site.step(&["web-01", "web-02"]).timeout(6).binary().run();
    let document = ran.document();
    assert_eq!(document.timed_out_hosts, ["web-01"]);
    let seen = site.seen();
    let id = &seen.campaigns[0].id;
    // After 100, 200, 400, 800 ms, and then each second.
    let looks = seen.polls(id);
    assert!((4..=12).contains(&looks), "{looks}");
}

/// What stays silent can't be taken back, and that is said with its names.
#[test]
fn what_still_runs_is_said() {
    let hosts: Vec<HostSpec> = (0..8).map(|n| silent(&format!("laptop-{n}"))).collect();
    let names: Vec<String> = (0..8).map(|n| format!("laptop-{n}")).collect();
    let site = site_of(Scenario::of(hosts));
    let ran = step(&site, &names).timeout(2).binary().run();
    assert!(ran.document().campaign().may_be_running);
    let told = "warning: the query can't be taken back, and runs whenever these check in, hours or days from now: laptop-0, laptop-1, laptop-2, laptop-3, laptop-4 and 3 more\n";
    assert!(ran.stderr.ends_with(told), "{}", ran.stderr);
    let running = step(&site, &names).binary().start();
    site.wait("the dispatch", |seen| seen.campaigns.len() == 16);
    running.signal("TERM");
    let ran = running.wait();
    site.assert_no_secret(&ran);
    let document = ran.document();
    assert!(document.cancelled && document.campaign().may_be_running);
    assert!(ran.stderr.ends_with(told), "{}", ran.stderr);
}

/// One dispatch of many that is lost is that host's silence: the others go on, and nobody waits for it.
#[test]
fn a_lost_dispatch_is_one_hosts() {
    let faults = [
        enqueue().skipping(2).times(1).cut(Cut::After),
        enqueue()
            .skipping(2)
            .times(1)
            .status(500)
            .body("Internal Server Error"),
        enqueue().skipping(2).times(1).status(502),
        enqueue().skipping(2).times(1).body("<html>").handled(),
        enqueue()
            .skipping(2)
            .times(1)
            .body(r#"{"query_id":"../../x"}"#)
            .handled(),
        enqueue()
            .skipping(2)
            .times(1)
            .body(r#"{"query_id":7}"#)
            .handled(),
    ];
    on_all(faults, |fault| {
        let (hosts, names) = many(12);
        let site = site_of(Scenario::of([hosts]).with_fault(fault.clone()));
        let ran = step(&site, &names).binary().run();
        site.assert_no_secret(&ran);
        let document = ran.document();
        assert_eq!(
            (ran.status, document.results.len()),
            (0, 11),
            "{fault:?}: {ran:?}"
        );
        assert!(document.error.is_none() && document.campaign().may_be_running);
        let statuses = document.statuses();
        let lost = statuses.values().filter(|status| **status == "no_answer");
        assert_eq!(lost.count(), 1, "{statuses:?}");
        assert!(
            ran.stderr
                .starts_with("warning: it is not known whether host-"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.elapsed < Duration::from_secs(15),
            "nothing was left to wait for"
        );
        assert_eq!(
            site.seen().requests_to("POST", "/enqueue").count(),
            12,
            "{fault:?}"
        );
    });
}

/// What is refused of one host is not held against the others: nothing is queued for it, and nothing of it
/// runs on.
#[test]
fn a_refused_dispatch_is_one_hosts() {
    let wrong = r#"{"detail":[{"type":"string_too_long","loc":["body","host_identifier"],"msg":"String should have at most 8 characters","input":"host-2"}]}"#;
    let refused = |status| enqueue().skipping(2).times(1).status(status);
    let faults = [
        refused(422).body(wrong),
        refused(400).body(r#"{"detail":"Invalid HTTP request received."}"#),
        refused(404).body("<html>a proxy's</html>"),
        refused(413),
    ];
    on_all(faults, |fault| {
        let (hosts, names) = many(12);
        let mute = silent("mute");
        let site = site_of(Scenario::of([hosts, mute]).with_fault(fault.clone()));
        let mut names = names;
        // Asked first, and alone.
        names.insert(0, "mute".into());
        let ran = step(&site, &names).timeout(4).binary().run();
        site.assert_no_secret(&ran);
        let document = ran.document();
        assert_eq!(
            (ran.status, document.results.len()),
            (0, 11),
            "{fault:?}: {ran:?}"
        );
        let statuses = document.statuses();
        let of = |status: &str| {
            let named = statuses.iter().filter(|(_, is)| **is == status);
            named.map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let (refused, silent) = (of("not_asked"), of("no_answer"));
        assert_eq!((refused.len(), &*silent), (1, &["mute"][..]), "{ran:?}");
        let told = format!("warning: {} was not asked: ", refused[0]);
        assert!(ran.stderr.starts_with(&told), "{}", ran.stderr);
        assert!(
            !ran.stderr.contains("at most 8 characters\",\"input"),
            "{}",
            ran.stderr
        );
        // Only what was queued can run on.
        assert!(
            ran.stderr.ends_with("hours or days from now: mute\n"),
            "{}",
            ran.stderr
        );
    });
}

/// What can't have arrived is sent again.
#[test]
fn a_dispatch_that_did_not_arrive_is_repeated() {
    let refused = Fault {
        retry_after: Some("1".into()),
        ..enqueue().skipping(1).times(3).status(429)
    };
    let (hosts, names) = many(10);
    let site = site_of(Scenario::of([hosts]).with_fault(refused));
    let ran = step(&site, &names).binary().run();
    assert_eq!(
        (ran.status, &*ran.stderr, ran.document().partial),
        (0, "", false)
    );
    assert_asked_once(&site, 10);
    assert_eq!(site.seen().requests_to("POST", "/enqueue").count(), 13);
}

/// What is no answer of the service is looked at again: a page of a proxy is gone the next time. What stays so is
/// that host's error.
#[test]
fn a_look_that_brings_no_answer_is_made_again() {
    let bodies = [
        "<html>a web page</html>".to_owned(),
        "[1, 2]".to_owned(),
        "{}".to_owned(),
        r#"{"query_id": 7, "status": {}, "rows": 1}"#.to_owned(),
    ];
    let run = |fault: Fault| {
        let site = site_of(Scenario::of([host("web-01"), host("web-02")]).with_fault(fault));
        let ran = site.step(&["web-01", "web-02"]).binary().run();
        site.assert_no_secret(&ran);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(site.seen().campaigns.len(), 2);
        let looks = site.seen().requests_to("GET", "/distributed/").count();
        (ran, looks)
    };
    on_all(bodies, |body| {
        let (ran, _) = run(look().times(4).body(&body));
        assert!(!ran.document().partial, "{body}: {ran:?}");
        let (ran, looks) = run(look().body(&body));
        let document = ran.document();
        assert_eq!(document.failed_hosts, ["web-01", "web-02"], "{body}");
        assert_eq!(looks, 6, "{body}");
        assert!(ran.elapsed < Duration::from_secs(15), "{:?}", ran.elapsed);
    });
}

/// An answer that names another query than was asked for is that host's error at once.
#[test]
fn an_answer_to_another_query_is_one_hosts_error() {
    let id = "00000000-0000-4000-8000-000000000000";
    let other = format!(
        r#"{{"query_id":"{id}","status":"completed","rows":[{{"live_query_matched":"1"}}],"error":null}}"#
    );
    let fault = look().times(1).body(&other);
    let site = site_of(Scenario::of([host("web-01"), host("web-02")]).with_fault(fault));
    let ran = site.step(&["web-01", "web-02"]).binary().run();
    site.assert_no_secret(&ran);
    let document = ran.document();
    assert_eq!((ran.status, document.failed_hosts.len()), (0, 1), "{ran:?}");
    assert_eq!(document.results.len(), 2);
}

/// The database goes away and comes back, the service is restarted: queries and ids outlive that, an answer
/// on its way does not, and the host runs the query again.
#[test]
fn a_part_that_comes_back_ends_nothing() {
    let moments: [fn(Outage) -> Outage; 3] = [
        |outage| outage.after_campaigns(3).after(Duration::from_millis(500)),
        |outage| outage.after_answers(1),
        |outage| outage.after_answers(1).after(Duration::from_millis(400)),
    ];
    let mut cases = Vec::new();
    for part in [Part::Service, Part::Database] {
        for moment in moments {
            cases.extend(FORMATS.map(|format| (part, moment, format)));
        }
    }
    on_all(cases, |(part, moment, format)| {
        let hosts = [
            host("quick").delayed(Duration::from_millis(1_000)),
            host("slow").delayed(Duration::from_millis(1_900)),
            host("slower").delayed(Duration::from_millis(2_800)),
        ];
        let outage = moment(Outage::of(part, Duration::from_secs(3)));
        let site = site_of(Scenario::of(hosts).with_outage(outage));
        let step = site.step(&["quick", "slow", "slower"]).timeout(40);
        let ran = step.arg(&format!("--format={format}")).binary().run();
        site.assert_no_secret(&ran);
        let summary = ran.stdout.lines().last().expect("a line");
        let summary: Value = serde_json::from_str(summary).expect("JSON");
        assert_eq!(
            (ran.status, &summary["partial"]),
            (0, &false.into()),
            "{part:?} {format}: {ran:?}"
        );
        assert_asked_once(&site, 3);
    });
}

/// What fails for good ends with what came.
#[test]
fn looks_that_fail_for_good() {
    for (status, code) in [
        (500, None),
        (503, Some("busy")),
        (401, Some("auth")),
        (403, Some("auth")),
    ] {
        let fault = look().skipping(3).status(status).body(r#"{"detail":"no"}"#);
        let scenario = Scenario::of([host("web-01"), silent("web-02")]).with_fault(fault);
        let site = site_of(scenario);
        let ran = site.step(&["web-01", "web-02"]).timeout(4).binary().run();
        site.assert_no_secret(&ran);
        let document = ran.document();
        let said = document.error.as_ref().map(|error| &*error.code);
        assert_eq!(said, code, "{status}: {ran:?}");
        assert_eq!(
            document.results["web-01"].len(),
            1,
            "{status}: what came is kept"
        );
        assert!(document.campaign().may_be_running, "{status}");
    }
}

/// A query that the service has forgotten is never answered; the others are waited for, and it is not.
#[test]
fn a_query_that_is_gone_is_not_waited_for() {
    let gone = look()
        .times(1)
        .status(404)
        .body(r#"{"detail":"Query 'x' not found"}"#);
    let site = site_of(Scenario::of([host("web-01"), host("web-02")]).with_fault(gone));
    let ran = site.step(&["web-01", "web-02"]).binary().run();
    let document = ran.document();
    assert_eq!((ran.status, document.results.len()), (0, 1), "{ran:?}");
    assert!(
        ran.stderr.contains("does not know the query of web-0"),
        "{}",
        ran.stderr
    );
    assert!(ran.elapsed < Duration::from_secs(15));
}

/// What a wrong token costs the service: one request, and nobody is asked.
#[test]
fn the_first_host_is_asked_alone() {
    let (hosts, names) = many(50);
    let site = site_of(Scenario::of([hosts]));
    let ran = step(&site, &names).token("wrong-token").binary().run();
    assert_eq!(ran.status, 20);
    assert_eq!(site.seen().requests.len(), 1);
    assert_eq!(ran.document().timed_out_hosts.len(), 50);
}

/// More names than allowed are refused before the first request.
#[test]
fn max_hosts_counts_names() {
    let (hosts, names) = many(5);
    let site = site_of(Scenario::of([hosts]));
    let ran = step(&site, &names).with("max_hosts", 4).binary().run();
    assert_eq!(
        (
            ran.status,
            ran.document().error.expect("an error").code.as_str()
        ),
        (21, "targets")
    );
    assert!(site.seen().requests.is_empty());
}

/// A check asks for a query that nobody has, and nothing else.
#[test]
fn a_check_runs_nothing() {
    let site = site_of(Scenario::of([host("web-01")]));
    let ran = site.step(&["web-01", "nobody"]).arg("check").binary().run();
    let planned = ran.document().planned.expect("a plan");
    assert!(
        planned.unresolved && planned.hosts == ["web-01", "nobody"] && planned.unknown.is_empty()
    );
    assert!(
        ran.stderr.contains("knows nothing of the hosts"),
        "{}",
        ran.stderr
    );
    let seen = site.seen();
    assert!(seen.campaigns.is_empty());
    let asked: Vec<&str> = seen.requests.iter().map(|call| &*call.method).collect();
    assert_eq!(asked, ["GET"]);
    // What answers 404 to everything is not the service.
    let other = look().status(404).body(r#"{"detail":"Not Found"}"#);
    let site = site_of(Scenario::of([host("web-01")]).with_fault(other));
    let ran = site.step(&["web-01"]).arg("check").binary().run();
    assert_eq!(ran.status, 22, "{ran:?}");
}

/// Whoever answered is kept; who was silent is asked by a new query, and that it has two now is said.
#[test]
fn a_run_is_resumed() {
    let folder = Folder::new();
    let back = HostSpec {
        behaviour: Behaviour {
            comes_back: Some(Duration::from_secs(4)),
            ..host("x").behaviour
        },
        ..HostSpec::named("laptop").offline()
    };
    let site = site_of(Scenario::of([host("web-01"), back]));
    let step = site.step(&["web-01", "laptop", "nobody"]);
    let first = step.clone().timeout(2).binary().run();
    assert_eq!(first.document().timed_out_hosts, ["laptop", "nobody"]);
    folder.file("1.json", &first.stdout);
    let again = step.timeout(20).arg("--resume").arg(&folder.name("1.json"));
    let ran = again.binary().run();
    site.assert_no_secret(&ran);
    let document = ran.document();
    assert_eq!(document.timed_out_hosts, ["nobody"], "{ran:?}");
    assert_eq!(document.results.len(), 2);
    assert!(
        ran.stderr.contains("run both when they check in"),
        "{}",
        ran.stderr
    );
    let asked = site.seen();
    let of = |name: &str| {
        asked
            .requests_to("POST", "/enqueue")
            .filter(|call| call.body.contains(name))
            .count()
    };
    assert_eq!((of("web-01"), of("laptop")), (1, 2));
}

/// An instance of the policy brings address, tenant and token.
#[test]
fn an_instance_has_a_tenant_and_a_token() {
    let folder = Folder::new();
    let site = site_of(Scenario::of([host("web-01")]));
    let policy = |credentials: &str, more: &str| {
        format!(
            "instances:\n  soc:\n    backend: aisoc_direct\n    base_url: {}\n{more}    credentials: {credentials}\n",
            site.simulator.base_url()
        )
    };
    let run = |policy: &str, params: &Value| {
        let mut step = json!({"id": "a", "type": "osquery_live_query", "params": {
            "instance": "soc", "template": "uptime", "target_hosts": ["web-01"], "timeout_seconds": 20}});
        step["params"]
            .as_object_mut()
            .expect("a mapping")
            .extend(params.as_object().expect("a mapping").clone());
        let file = folder.policy(policy);
        crate::harness::step(step.to_string())
            .arg("--policy")
            .arg(&file)
            .env("SERVICE", osquery_simulator::AISOC_SERVICE_TOKEN)
            .env("CONSOLE", AISOC_CONSOLE_TOKEN)
            .run()
    };
    let tenant = format!("    tenant_id: {}\n", osquery_simulator::AISOC_TENANT);
    for (credentials, more) in [
        ("{api_token: {env: SERVICE}}", &*tenant),
        ("{api_token: {env: CONSOLE}}", ""),
    ] {
        let ran = run(&policy(credentials, more), &json!({}));
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    }
    // What the server of an instance has not is refused as in a step that names it itself.
    let good = policy("{api_token: {env: CONSOLE}}", "");
    for (params, words) in [
        (
            json!({"target_platforms": ["linux"]}),
            "`target_platforms` is not for AiSOC's osquery service",
        ),
        (
            json!({"offline_hosts": "skip"}),
            "`offline_hosts: skip` is not for AiSOC's osquery service",
        ),
        (
            json!({"tenant_id": osquery_simulator::AISOC_TENANT}),
            "`tenant_id` does not go with `instance`",
        ),
    ] {
        let ran = run(&good, &params);
        assert_eq!(ran.status, 11, "{ran:?}");
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    let login = policy("{username: {text: a}, password: {env: SERVICE}}", "");
    let ran = run(&login, &json!({}));
    assert_eq!(ran.status, 14, "{ran:?}");
    let ran = run(
        &policy("{api_token: {env: CONSOLE}}", "    tenant_id: default\n"),
        &json!({}),
    );
    assert!(
        ran.status == 14 && ran.stderr.contains("must be a tenant's uuid"),
        "{ran:?}"
    );
}

/// The audit log knows the run and its step, and no id of the service.
#[test]
fn the_audit_log_has_no_ids() {
    let folder = Folder::new();
    let site = site_of(Scenario::of([host("web-01"), silent("web-02")]));
    let log = folder.name("audit.jsonl");
    let policy = folder.policy(&format!("audit_log: {log}\n"));
    let step = site.step(&["web-01", "web-02"]).timeout(3);
    let ran = step.binary().arg("--policy").arg(&policy).run();
    assert_eq!(ran.status, 0, "{ran:?}");
    let log = std::fs::read_to_string(log).expect("the log");
    assert!(
        log.contains("\"backend\":\"aisoc_direct\"") && log.contains("\"may_be_running\":true"),
        "{log}"
    );
    for query in site.seen().campaigns {
        assert!(!log.contains(&query.id), "{log}");
    }
}

/// Rows that somebody else wrote are not the host's.
#[test]
fn rows_that_prove_nothing_are_errors() {
    let raw =
        |name: &str, rows: &str| HostSpec::named(name).answering(Answer::RawRows(rows.into()));
    let hosts = [
        raw("forged", r#"[{"pid":"1","name":"init"}]"#),
        raw(
            "half",
            r#"[{"live_query_matched":"1","pid":"1"},{"pid":"2"}]"#,
        ),
        raw("nothing", r#"[{"live_query_matched":"","pid":""}]"#),
        raw("failed", "[]"),
        raw("numbers", r#"[{"live_query_matched":1,"pid":1}]"#),
    ];
    let names = ["forged", "half", "nothing", "failed", "numbers"];
    let site = site_of(Scenario::of(hosts));
    let document = site.run("rows-that-prove-nothing", site.step(&names).timeout(10));
    assert_eq!(document.failed_hosts, ["forged", "half", "failed"]);
}
