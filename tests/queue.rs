//! `offline_hosts: queue`: the query outlives the run, for hosts that come back, and nothing else does.

use std::time::{Duration, SystemTime};

use osquery_simulator::{CampaignState, HostChange, HostSpec, HostStatus, Scenario};
use serde_json::{Value, json};

use crate::harness::document::Document;
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, Step, host, one_row};
use crate::harness::{args, step};

/// A host that is away, and answers once it is back.
fn away(name: &str) -> HostSpec {
    HostSpec::named(name).offline().answering(one_row())
}

fn queued(site: &Site, hosts: &[&str]) -> Step {
    site.step(hosts).with("offline_hosts", "queue").timeout(2)
}

/// How many hours after now a moment of a document is, to the next.
fn hours_from_now(text: &str) -> i64 {
    let parse = |part: &str| part.parse::<i64>().expect("a number");
    let (date, time) = text.split_once('T').expect("RFC 3339");
    let date: Vec<i64> = date.split('-').map(parse).collect();
    let time: Vec<i64> = time[..8].split(':').map(parse).collect();
    // Days since 1970-03-01, whose months' lengths repeat.
    let (year, month) = match date[1] {
        1 | 2 => (date[0] - 1, date[1] + 9),
        month => (date[0], month - 3),
    };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date[2] - 1;
    let seconds = (days - 719_468) * 86_400 + time[0] * 3_600 + time[1] * 60 + time[2];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = i64::try_from(now.expect("after 1970").as_secs()).expect("a time");
    (seconds - now + 1_800).div_euclid(3_600)
}

fn dispatched(site: &Site) -> Vec<Value> {
    let seen = site.seen();
    let sent = seen.requests_to("POST", "/queries/dev");
    let sent = sent.filter(|request| !request.path.contains("/expire/"));
    sent.map(|request| serde_json::from_str(&request.body).expect("JSON"))
        .collect()
}

fn expired(site: &Site) -> usize {
    site.seen().requests_to("POST", "/expire/").count()
}

#[test]
fn the_query_stays_with_the_server_for_hosts_that_come_back() {
    for (asked, hours) in [(None, 24), (Some(json!(1)), 1), (Some(json!("168")), 168)] {
        let site = Site::new(Kind::Osctrl, Scenario::of([host("web-01"), away("laptop")]));
        let folder = Folder::new();
        folder.policy("audit_log: audit.jsonl\n");
        let mut step = queued(&site, &["web-01", "laptop"]);
        if let Some(asked) = asked {
            step = step.with("queue_hours", asked);
        }
        let step = step.arg("--policy").arg(&folder.name("policy.yaml"));
        let ran = step.binary().run();
        let document = ran.document();
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(document.timed_out_hosts, ["laptop"]);
        assert!(document.partial && document.campaign().may_be_running);
        let until = document.queued_until.expect("it is queued");
        assert_eq!(hours_from_now(&until), hours, "{until}");
        let told = format!(
            "warning: the query stays with the server until {until} for the hosts that have not answered (1 of 2): `run --resume` with this run's document brings their answers\n"
        );
        assert!(ran.stderr.contains(&told), "{ran:?}");
        let bodies = dispatched(&site);
        assert_eq!(bodies.len(), 1);
        assert_eq!(bodies[0]["exp_hours"], hours);
        assert_eq!(expired(&site), 0);
        // The process is gone; the host comes back.
        let back = HostChange::of("laptop").status(HostStatus::Online);
        site.simulator.change_host(back).expect("a host");
        site.wait("its answer", |seen| seen.campaigns[0].items == 2);
        // Both lines of the log say it.
        let log = folder.text("audit.jsonl");
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines[0]["queue_hours"], hours);
        assert_eq!(lines[1]["queued_until"], until.as_str());
        assert_eq!(lines[1]["may_be_running"], true);
    }
}

/// What became of the query once the process has ended.
fn state(site: &Site) -> CampaignState {
    site.simulator.campaigns()[0].state
}

#[track_caller]
fn assert_not_queued(document: &Document) {
    assert_eq!(document.queued_until, None, "{document:?}");
}

#[test]
fn nothing_is_left_where_all_have_answered() {
    let site = Site::new(Kind::Osctrl, Scenario::of([host("web-01")]));
    let ran = queued(&site, &["web-01"]).binary().run();
    let document = ran.document();
    assert_not_queued(&document);
    assert!(!document.partial && !document.campaign().may_be_running);
    assert_eq!(ran.stderr, "");
    assert_eq!(state(&site), CampaignState::Completed);
}

#[test]
fn a_run_that_is_cancelled_takes_its_query_back() {
    for signal in ["INT", "TERM"] {
        let site = Site::new(Kind::Osctrl, Scenario::of([host("web-01"), away("laptop")]));
        let step = queued(&site, &["web-01", "laptop"]).timeout(30);
        let running = step.binary().start();
        site.wait("the first answer", |seen| {
            seen.campaigns.first().is_some_and(|query| query.items == 1)
        });
        running.signal(signal);
        let document = running.wait().document();
        assert!(document.cancelled);
        assert_not_queued(&document);
        assert_eq!(state(&site), CampaignState::Expired);
    }
}

#[test]
fn a_query_that_no_document_names_is_taken_back() {
    let site = Site::new(Kind::Osctrl, Scenario::of([host("web-01"), away("laptop")]));
    let full = std::fs::File::options().write(true).open("/dev/full");
    let step = queued(&site, &["web-01", "laptop"]).binary();
    let ran = step.stdout_to(full.expect("/dev/full")).run();
    assert_eq!(ran.status, 74, "{ran:?}");
    assert_eq!(state(&site), CampaignState::Expired);
}

#[test]
fn a_query_that_fails_is_taken_back() {
    use osquery_simulator::Fault;
    // Once the first answer was read, results can't be read any more.
    let mut broken = Fault::on_method("GET", "/queries/dev/results/");
    broken.status = Some(403);
    broken.skip = 3;
    broken.body = Some("{\"error\":\"no access\"}".into());
    let scenario = Scenario {
        faults: vec![broken],
        ..Scenario::of([host("web-01"), away("laptop")])
    };
    let site = Site::new(Kind::Osctrl, scenario);
    let ran = queued(&site, &["web-01", "laptop"])
        .timeout(5)
        .binary()
        .run();
    let document = ran.document();
    assert_eq!(ran.status, 20, "{ran:?}");
    assert_not_queued(&document);
    assert_eq!(state(&site), CampaignState::Expired);
}

/// Steps that are refused before a socket is opened, by `run` and by `dry-run`, in the same words.
#[test]
fn a_queue_is_refused_where_there_can_be_none() {
    let of = |backend: &str, more: &str| {
        let environment = match backend {
            "osctrl" => ", environment: dev",
            _ => "",
        };
        format!(
            "{{id: s, name: s, type: osquery_live_query, params: {{backend: {backend}, base_url: 'https://127.0.0.1:9', api_token: '{{{{ secrets.token }}}}', template: logged_in_users, target_hosts: [web-01]{environment}, {more}}}}}\n"
        )
    };
    let fleet = "`offline_hosts: queue` is for osctrl only: Fleet keeps no live query for hosts that are offline; write `wait` or `skip`";
    let without = "`queue_hours` goes with `offline_hosts: queue` only: add that, or remove it";
    let hours = "`queue_hours` must be a whole number from 1 to 168";
    for (step_text, problems) in [
        (of("fleetdm", "offline_hosts: queue"), vec![fleet]),
        (
            of("fleet", "offline_hosts: queue, queue_hours: 3"),
            vec![fleet],
        ),
        (of("fleetdm", "queue_hours: 3"), vec![without]),
        (of("osctrl", "queue_hours: 3"), vec![without]),
        (
            of("osctrl", "offline_hosts: skip, queue_hours: 3"),
            vec![without],
        ),
        (
            of("osctrl", "offline_hosts: queue, queue_hours: 0"),
            vec![hours],
        ),
        (
            of("osctrl", "offline_hosts: queue, queue_hours: 169"),
            vec![hours],
        ),
        (
            of("osctrl", "offline_hosts: queue, queue_hours: '0'"),
            vec![hours],
        ),
    ] {
        let ran = step(&step_text)
            .env("OSQUERY_LIVE_QUERY_SECRET_TOKEN", "a-token")
            .run();
        assert_eq!(ran.status, 11, "{ran:?}");
        let error = ran.document().error.expect("an error");
        let messages: Vec<String> = error.details.into_iter().map(|one| one.message).collect();
        assert_eq!(messages, problems, "{step_text}");
        let dry = step(&step_text)
            .args(&["dry-run", "-", "--format", "json"])
            .run();
        assert_eq!(dry.status, 1, "{dry:?}");
        for problem in problems {
            let told = serde_json::to_string(problem).expect("JSON");
            assert!(dry.stdout.contains(told.trim_matches('"')), "{dry:?}");
        }
    }
}

#[test]
fn the_server_of_an_instance_counts_too() {
    let folder = Folder::new();
    let policy = folder.policy(
        "instances:\n  corp:\n    backend: fleetdm\n    base_url: https://127.0.0.1:9\n    credentials: {api_token: {env: A_TOKEN}}\n",
    );
    let text = "id: s\nname: s\ntype: osquery_live_query\nparams: {instance: corp, template: logged_in_users, target_hosts: [web-01], offline_hosts: queue}\n";
    let run = step(text).arg("--policy").arg(&policy);
    run.env("A_TOKEN", "a-token").run().assert_failure(
        11,
        "schema",
        "error[schema]: the step does not conform to its schema: `offline_hosts: queue` is for osctrl only: Fleet keeps no live query for hosts that are offline; write `wait` or `skip` (line 4, column 92)\n",
    );
    let dry = step(text)
        .args(&["dry-run", "-", "--policy"])
        .arg(&policy)
        .run();
    assert_eq!(dry.status, 1, "{dry:?}");
    assert!(
        dry.stdout
            .contains("`offline_hosts: queue` is for osctrl only"),
        "{dry:?}"
    );
    let schema = args(["schema", "step"]).run();
    assert!(schema.stdout.contains("\"queue_hours\""), "{schema:?}");
}

#[test]
fn a_token_that_may_not_stop_is_told_how_long_the_query_stays() {
    use osquery_simulator::OSCTRL_PLUGIN_TOKEN;
    let site = Site::new(Kind::Osctrl, Scenario::of([host("web-01"), away("laptop")]));
    let step = queued(&site, &["web-01", "laptop"]).with("queue_hours", 3);
    let step = step.token(OSCTRL_PLUGIN_TOKEN).timeout(30).arg("-vv");
    let running = step.binary().start();
    site.wait("the first answer", |seen| {
        seen.campaigns.first().is_some_and(|query| query.items == 1)
    });
    running.signal("TERM");
    let ran = running.wait();
    assert!(
        ran.stderr
            .contains("until it expires, 3 hours after the dispatch"),
        "{ran:?}"
    );
    assert!(ran.elapsed < Duration::from_secs(20), "{ran:?}");
}
