//! `alert`: what servers post becomes a playbook's context. Every recorded webhook, every kind in both name
//! families, batches, signatures, and documents that nobody posts in good faith.

use std::collections::BTreeSet;

use osquery_simulator::{HostSpec, Scenario};
use serde_json::{Value, json};

use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, host, one_row};
use crate::harness::{Binary, Ran, args, step};

fn posted(document: &Value) -> Binary {
    step(document.to_string()).arg("alert")
}

/// The alert on stdout, which keeps its schema; nothing on stderr.
#[track_caller]
fn alert_of(ran: &Ran) -> Value {
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    read(ran)
}

#[track_caller]
fn read(ran: &Ran) -> Value {
    let line = ran.stdout.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n'), "{ran:?}");
    let mut context: Value = serde_json::from_str(line).expect("JSON");
    let schema = args(["schema", "alert"]).run().stdout;
    let schema = serde_json::from_str(&schema).expect("a schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let wrong: Vec<String> = validator
        .iter_errors(&context)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    context["alert"].take()
}

fn recorded() -> Vec<Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/transcripts/fleet/webhooks.json"
    );
    let text = std::fs::read_to_string(path).expect("the transcript");
    let transcript: Value = serde_json::from_str(&text).expect("JSON");
    let steps = transcript["steps"].as_array().expect("steps").clone();
    steps
        .into_iter()
        .map(|mut step| step["request"]["body"].take())
        .collect()
}

fn policy(hosts: Value) -> Value {
    json!({
        "timestamp": "2026-11-21T15:25:09Z",
        "policy": {"id": 3, "name": "Disk encryption", "critical": false},
        "hosts": hosts,
    })
}

fn vulnerability(entries: Value) -> Value {
    let mut found = json!({"cve": "CVE-2026-1234", "hosts_affected": []});
    let map = found.as_object_mut().expect("a mapping");
    map.extend(entries.as_object().expect("a mapping").clone());
    json!({"timestamp": "2026-11-21T15:25:09Z", "vulnerability": found})
}

#[test]
fn every_recorded_webhook_is_an_alert_and_keeps_all_that_was_posted() {
    let documents = recorded();
    assert!(documents.len() > 5, "the transcript was not read");
    let mut kinds = BTreeSet::new();
    for document in documents {
        let alert = alert_of(&posted(&document).run());
        assert_eq!(alert["raw"], document);
        assert_eq!(alert["source"], "fleet");
        kinds.insert(alert["type"].as_str().expect("text").to_owned());
        // The same post again is the same alert.
        let again = alert_of(&posted(&document).run());
        assert_eq!(again["id"], alert["id"]);
        let ids = |value: &Value| -> Vec<u64> {
            let ids = value.as_array().expect("a list").iter();
            ids.filter_map(Value::as_u64).collect()
        };
        match alert["type"].as_str() {
            Some("policy") => {
                assert_eq!(alert["severity"], "medium");
                assert_eq!(alert["host"], document["hosts"][0]["hostname"]);
                assert_eq!(alert["time"], document["timestamp"]);
                assert_eq!(alert["policy"]["query"], document["policy"]["query"]);
                assert_eq!(alert["counts"]["failing_hosts"], 7);
                let hosts = document["hosts"].as_array().expect("a list");
                let all: Vec<u64> = hosts.iter().filter_map(|it| it["id"].as_u64()).collect();
                assert_eq!(ids(&alert["host_ids"]), all);
            }
            Some("host_status") => {
                assert_eq!(
                    alert["title"],
                    "Not seen for more than 3 days: 1 of 11 hosts"
                );
                assert_eq!(ids(&alert["host_ids"]), [9]);
                assert_eq!(
                    (&alert["host"], &alert["hosts"]),
                    (&Value::Null, &json!([]))
                );
                assert_eq!(alert["severity"], "low");
            }
            _ => {
                assert_eq!(alert["activity"]["actor"], "admin");
                assert_eq!(alert["activity"]["type"], document["type"]);
                assert_eq!(alert["severity"], "info");
            }
        }
    }
    assert_eq!(kinds.len(), 3, "{kinds:?}");
}

#[test]
fn what_is_posted_in_batches_is_one_matter() {
    let batches: Vec<Value> = recorded()
        .into_iter()
        .filter(|document| document.get("policy").is_some())
        .map(|document| alert_of(&posted(&document).run()))
        .collect();
    let distinct = |key: &str| {
        let values = batches.iter().map(|alert| alert[key].to_string());
        values.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(batches.len(), 3);
    assert_eq!((distinct("id"), distinct("dedupe_key")), (3, 1));
    // Another policy, another CVE, another server: other matters.
    let mut other = recorded().remove(2);
    let key = alert_of(&posted(&other).run())["dedupe_key"].clone();
    other["policy"]["id"] = 2.into();
    let of_policy = alert_of(&posted(&other).run())["dedupe_key"].clone();
    other["policy"]["id"] = 1.into();
    other["hosts"][0]["url"] = "https://other.example/hosts/1".into();
    let of_server = alert_of(&posted(&other).run())["dedupe_key"].clone();
    let keys: BTreeSet<String> = [key, of_policy, of_server]
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(keys.len(), 3);
}

#[test]
fn names_stand_once_and_every_id_stands() {
    let hosts = json!([
        {"id": 1, "hostname": "dup", "display_name": "Dup", "url": "https://f.example/hosts/1"},
        {"id": 2, "hostname": "dup", "display_name": "", "url": "https://f.example/hosts/2"},
        {"id": 3, "hostname": "", "display_name": "Anna's Mac"},
        {"id": 4, "hostname": " web ", "later_key": {"kept": true}},
        {"id": 5},
    ]);
    let alert = alert_of(&posted(&policy(hosts.clone())).run());
    assert_eq!(alert["hosts"], json!(["dup", "Anna's Mac", "web"]));
    assert_eq!(alert["host_ids"], json!([1, 2, 3, 4, 5]));
    assert_eq!(alert["batch"], json!({"hosts": 5}));
    assert_eq!(alert["raw"]["hosts"], hosts);
}

#[test]
fn how_bad_it_is_follows_from_what_is_known() {
    let critical = |critical: bool| {
        let mut document = policy(json!([]));
        document["policy"]["critical"] = critical.into();
        document
    };
    let scored = |score: f64, exploited: bool| {
        vulnerability(json!({"cvss_score": score, "cisa_known_exploit": exploited}))
    };
    for (document, severity) in [
        (critical(true), "high"),
        (critical(false), "medium"),
        (scored(9.0, false), "critical"),
        (scored(8.9, false), "high"),
        (scored(7.0, false), "high"),
        (scored(6.9, false), "medium"),
        (scored(4.0, false), "medium"),
        (scored(3.9, false), "low"),
        (scored(3.9, true), "high"),
        (scored(9.8, true), "critical"),
        (vulnerability(json!({})), "medium"),
        (vulnerability(json!({"cisa_known_exploit": true})), "high"),
        (json!({"data": {"unseen_hosts": 1}}), "low"),
        (json!({"type": "live_query", "details": {}}), "info"),
        (
            json!({"rule": "r", "rule_id": 1, "environment": "e", "node": "u"}),
            "medium",
        ),
    ] {
        let alert = alert_of(&posted(&document).run());
        assert_eq!(alert["severity"], severity, "{document}");
    }
}

#[test]
fn old_and_new_names_mean_the_same() {
    for key in ["team_id", "fleet_id"] {
        for (document, at) in [
            (policy(json!([])), "/policy"),
            (
                json!({"data": {"unseen_hosts": 1, "host_ids": [4, 5]}}),
                "/data",
            ),
            (
                json!({"type": "a", "actor_full_name": null, "details": {"host_id": 4, "host_display_name": "web", "host_ids": [5]}}),
                "/details",
            ),
        ] {
            let mut document = document;
            document.pointer_mut(at).expect("a mapping")[key] = 7.into();
            let alert = alert_of(&posted(&document).run());
            assert_eq!(alert["team_id"], 7, "{document}");
            if at != "/policy" {
                assert_eq!(alert["host_ids"], json!([4, 5]), "{document}");
            }
            if at == "/details" {
                assert_eq!(alert["host"], "web");
                assert_eq!(alert["title"], "Fleet: a");
            }
        }
    }
    let found = json!({
        "details_link": "https://nvd.example", "epss_probability": 0.5, "cvss_score": 5,
        "hosts_affected": [{"id": 2, "hostname": "web", "software_installed_paths": ["/opt/x"]}],
    });
    let alert = alert_of(&posted(&vulnerability(found)).run());
    assert_eq!(alert["cve"], "CVE-2026-1234");
    assert_eq!(
        (&alert["cvss_score"], &alert["epss_probability"]),
        (&json!(5.0), &json!(0.5))
    );
    assert_eq!(alert["hosts"], json!(["web"]));
}

#[test]
fn an_empty_text_is_as_none() {
    let mut rule = json!({"rule": "r", "rule_id": 0, "environment": "dev", "node": "u", "entity": "", "detail": "", "timestamp": ""});
    let alert = alert_of(&posted(&rule).run());
    assert_eq!(alert["title"], "r");
    assert!(
        alert["time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{alert}"
    );
    assert_eq!(
        alert["rule"],
        json!({"name": "r", "id": 0, "environment": "dev"})
    );
    rule["rule"] = "".into();
    assert_eq!(posted(&rule).run().status, 10);
    let unnamed = vulnerability(json!({"cve": "", "hosts_affected": []}));
    assert_eq!(posted(&unnamed).run().status, 10);
    let mut activity =
        json!({"timestamp": " ", "type": "created_pack", "details": {"host_display_name": ""}});
    activity["actor_full_name"] = "".into();
    let alert = alert_of(&posted(&activity).run());
    assert_eq!(
        (&alert["title"], &alert["hosts"]),
        (&json!("Fleet: created_pack"), &json!([]))
    );
}

#[test]
fn receipts_are_no_alerts() {
    for receipt in ["ran_automation_webhook", "failed_automation_webhook"] {
        let document = json!({"timestamp": "2026-11-21T15:22:38Z", "type": receipt, "details": {"status": 500}});
        let ran = posted(&document).run();
        assert_eq!(
            (ran.status, &*ran.stdout, &*ran.stderr),
            (0, "{\"alert\":null}\n", "")
        );
    }
}

const LACKS: &str = "error[decode]: this is not an alert of a known kind; what is missing for each: Fleet's failing policies: `policy` and `hosts`; Fleet's vulnerability: `vulnerability.cve`; Fleet's host status: `data.unseen_hosts`; osctrl's alert: `rule` and `environment` and `node`; Fleet's activity: ";

#[test]
fn what_is_no_alert_is_told_with_what_each_kind_has() {
    for (document, error) in [
        (json!({}), format!("{LACKS}`type` and `details`\n")),
        (json!({"type": "push"}), format!("{LACKS}`details`\n")),
        (
            json!({"type": null, "details": {}}),
            format!("{LACKS}`type`\n"),
        ),
        (
            json!({"type": " ", "details": {}}),
            format!("{LACKS}`type`\n"),
        ),
        (
            json!([policy(json!([]))]),
            "error[decode]: expected a JSON mapping, found a list\n".into(),
        ),
        (
            policy(json!({})),
            "error[decode]: this is an alert (Fleet's failing policies), but `hosts` must be a list of mappings, not a mapping\n".into(),
        ),
        (
            policy(json!([{"id": 1}, {"id": "2"}])),
            "error[decode]: this is an alert (Fleet's failing policies), but `hosts[1].id` must be a whole number, not text\n".into(),
        ),
        (
            policy(json!([7])),
            "error[decode]: this is an alert (Fleet's failing policies), but `hosts[0]` must be a mapping, not a number\n".into(),
        ),
        (
            vulnerability(json!({"cvss_score": "9"})),
            "error[decode]: this is an alert (Fleet's vulnerability), but `vulnerability.cvss_score` must be a number, not text\n".into(),
        ),
        (
            json!({"data": {"unseen_hosts": 1, "host_ids": [1, null]}}),
            "error[decode]: this is an alert (Fleet's host status), but `data.host_ids` must be a list of whole numbers, not a list\n".into(),
        ),
    ] {
        let ran = posted(&document).run();
        assert_eq!((ran.status, &*ran.stdout), (10, ""), "{document}");
        assert_eq!(ran.stderr, error, "{document}");
    }
    for (text, words) in [
        ("", "the input is empty"),
        ("nothing", "this is not JSON"),
        ("{\"policy\": 1, \"policy\": 2}", "policy"),
        ("{\"policy\": {}, \"hosts\": []} {}", "more text follows"),
    ] {
        let ran = step(text).arg("alert").run();
        assert_eq!((ran.status, &*ran.stdout), (10, ""), "{text}");
        assert!(ran.stderr.contains(words), "{text}: {}", ran.stderr);
    }
}

#[test]
fn nothing_in_a_document_is_rendered_or_acts_on_a_terminal() {
    let hosts = json!([
        {"id": 1, "hostname": "{{ secrets.token }}", "url": "https://f.example/\u{1b}[2J"},
        {"id": 2, "hostname": "red\u{1b}[31m"},
        {"id": 3, "hostname": "tfel\u{202e}right"},
        {"id": 4, "hostname": "two\nlines"},
        {"id": 5, "hostname": "tag\u{e0041}"},
    ]);
    let document = policy(hosts);
    let ran = posted(&document)
        .env("OSQUERY_LIVE_QUERY_SECRET_TOKEN", "marker-of-a-secret")
        .run();
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(
        ran.stderr,
        "warning: the names of 2 hosts hold control characters: they are in `alert.host_ids` and `alert.raw` only\n"
    );
    let alert = read(&ran);
    assert_eq!(
        alert["hosts"],
        json!(["{{ secrets.token }}", "tfel\u{202e}right", "tag\u{e0041}"])
    );
    assert_eq!(alert["host_ids"], json!([1, 2, 3, 4, 5]));
    assert_eq!(alert["raw"], document);
    let line = ran.stdout.trim_end();
    assert!(!line.contains("marker"), "{line}");
    let hidden = |letter: char| letter.is_control() || "\u{202e}\u{e0041}".contains(letter);
    assert!(!line.contains(hidden), "{line}");
}

#[test]
fn size_and_depth_have_limits_and_a_whole_fleet_is_within_them() {
    let nested = |deep: usize| {
        let inner = format!("{}1{}", "[".repeat(deep), "]".repeat(deep));
        step(format!(
            "{{\"type\": \"a\", \"details\": {{\"x\": {inner}}}}}"
        ))
        .arg("alert")
        .run()
    };
    assert_eq!(nested(200).status, 0);
    assert_eq!(nested(100_000).status, 10);
    let large = |bytes: usize| {
        let text = "x".repeat(bytes);
        posted(&json!({"type": text, "details": {}})).run()
    };
    let refused = large(16 << 20);
    assert_eq!(
        (refused.status, &*refused.stderr),
        (10, "error[decode]: the input is longer than 16 MiB\n")
    );
    assert_eq!(large((16 << 20) - 100).status, 0);
    let hosts: Vec<Value> = (0..100_000)
        .map(|n| json!({"id": n, "hostname": format!("web-{n:06}"), "url": format!("https://f.example/hosts/{n}")}))
        .collect();
    let alert = alert_of(&posted(&policy(hosts.into())).run());
    assert_eq!(alert["hosts"].as_array().expect("names").len(), 100_000);
    assert_eq!(alert["batch"]["hosts"], 100_000);
}

fn signature(document: &str, secret: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, document.as_bytes());
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn an_alert_that_is_signed_is_checked_against_its_secret() {
    const SECRET: &str = "marker-of-a-channel";
    let document = json!({
        "rule": "New root key", "rule_id": 12, "environment": "dev",
        "node": "4C4C4544-0000-4000-8000-00000000ABCD", "entity": "authorized_keys",
        "detail": "one more key", "timestamp": "2026-11-21T15:22:38Z", "later": 1,
    });
    let signed = |document: &Value, signature: &str| {
        let flags = ["--signature", signature, "--signature-secret", "channel"];
        let binary = posted(document).args(&flags);
        binary
            .env("OSQUERY_LIVE_QUERY_SECRET_CHANNEL", SECRET)
            .run()
    };
    let good = signature(&document.to_string(), SECRET);
    for good in [good.clone(), good.to_uppercase(), format!("sha256={good}")] {
        let alert = alert_of(&signed(&document, &good));
        assert_eq!(
            (&alert["source"], &alert["type"]),
            (&json!("osctrl"), &json!("osctrl_alert"))
        );
        assert_eq!(
            alert["hosts"],
            json!(["4C4C4544-0000-4000-8000-00000000ABCD"])
        );
        assert_eq!(alert["title"], "New root key: authorized_keys");
        assert_eq!(
            alert["rule"],
            json!({"name": "New root key", "id": 12, "environment": "dev", "entity": "authorized_keys", "detail": "one more key"})
        );
    }
    let mut changed = document.clone();
    changed["node"] = "another".into();
    let other = signature(&document.to_string(), "another secret");
    for (document, signature) in [
        (&changed, good.as_str()),
        (&document, &other),
        (&document, &good[..62]),
        (&document, "00"),
    ] {
        let ran = signed(document, signature);
        assert_eq!((ran.status, &*ran.stdout), (20, ""), "{signature}");
        assert!(
            ran.stderr.starts_with(
                "error[auth]: the signature does not fit this document and the secret `channel`"
            ),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains(SECRET));
    }
    for signature in ["", "0", "xy", "0x00"] {
        let ran = signed(&document, signature);
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{signature}: {ran:?}");
    }
    let missing = posted(&document).args(&["--signature", "00", "--signature-secret", "channel"]);
    let missing = missing.run();
    assert_eq!(missing.status, 12, "{missing:?}");
    assert!(missing.stderr.contains("the secret `channel` is missing"));
    let alone = posted(&document).args(&["--signature", "00"]).run();
    assert_eq!((alone.status, &*alone.stdout), (2, ""), "{alone:?}");
}

/// A step that asks the hosts of an alert, by whatever it has.
fn asking(site: &Site, target: &str) -> String {
    let (field, expression) = match target {
        "ids" => ("target_host_ids", "{{ alert.host_ids }}"),
        _ => ("target_hosts", "{{ alert.hosts }}"),
    };
    json!({
        "id": "triage", "type": "osquery_live_query",
        "params": {
            "backend": "fleetdm", "base_url": site.simulator.base_url(),
            "api_token": "{{ secrets.token }}", "template": "running_processes",
            "timeout_seconds": 30, field: expression,
        },
    })
    .to_string()
}

#[test]
fn an_alert_leads_to_its_hosts_answers_in_one_pipe_or_by_a_file() {
    let site = Site::new(
        Kind::Fleet,
        Scenario::of([
            HostSpec::many(40, "web-{n:02}").answering(one_row()),
            host("other"),
        ]),
    );
    let folder = Folder::new();
    let token = osquery_simulator::FLEET_MAINTAINER_TOKEN;
    let hosts: Vec<Value> = (1..=3)
        .map(|id| json!({"id": id, "hostname": format!("web-{:02}", id - 1)}))
        .collect();
    for (document, target) in [
        (policy(hosts.clone().into()), "names"),
        (policy(hosts.into()), "ids"),
        (
            json!({"text": "…", "data": {"unseen_hosts": 3, "total_hosts": 41, "host_ids": [1, 2, 3]}}),
            "ids",
        ),
    ] {
        let file = folder.file("triage.step.yaml", asking(&site, target));
        let made = posted(&document).arg("--invocation").arg(&file).run();
        assert_eq!((made.status, &*made.stderr), (0, ""), "{made:?}");
        let in_one_pipe = step(&made.stdout)
            .env("OSQUERY_LIVE_QUERY_SECRET_TOKEN", token)
            .run();
        let context = folder.file("context.json", posted(&document).run().stdout);
        let by_a_file = step(asking(&site, target))
            .args(&["run", "--context"])
            .arg(&context)
            .env("OSQUERY_LIVE_QUERY_SECRET_TOKEN", token)
            .run();
        for ran in [in_one_pipe, by_a_file] {
            let document = ran.document();
            assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
            assert_eq!(document.results.len(), 3, "{target}");
        }
    }
    assert!(site.seen().campaigns.iter().all(|it| it.hosts.len() == 3));
    for (text, words) in [
        (
            "protocol: 1\nstep: {id: a, type: osquery_live_query, params: {}}\n",
            "is an invocation already",
        ),
        ("steps: []\n", "can't be read as a step"),
        ("id: [\n", "can't be read as a step (line "),
    ] {
        let file = folder.file("wrong.yaml", text);
        let ran = posted(&policy(json!([])))
            .arg("--invocation")
            .arg(&file)
            .run();
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{text}");
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}

/// The commands of a section of docs/alerts.md.
fn commands(section: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.md");
    let text = std::fs::read_to_string(path).expect("docs/alerts.md");
    let (_, section) = text
        .split_once(&format!("\n## {section}"))
        .unwrap_or_else(|| panic!("no section {section}"));
    let block = section.split("```").nth(1).expect("commands");
    let lines = block.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.map(str::to_owned).collect()
}

/// A folder with the files of playbooks/alerts, whose steps go to the simulated server.
fn files_of_the_loops(site: &Site) -> Folder {
    let folder = Folder::new();
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/alerts");
    for entry in std::fs::read_dir(files).expect("playbooks/alerts") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a file");
        let name = path.file_name().expect("a name").to_string_lossy();
        let text = match name.ends_with(".step.yaml") {
            true => text.replace("https://fleet.corp.example.com", &site.simulator.base_url()),
            false => text,
        };
        folder.file(&name, text);
    }
    folder
}

/// Runs each command in a shell, as a person types it; the last one's stdout.
fn typed(folder: &Folder, section: &str) -> String {
    let mut last = String::new();
    let commands = commands(section);
    assert!(commands.len() > 1, "{commands:?}");
    for command in commands {
        let line = command.replace("osquery-live-query", "\"$1\"");
        let ran = args([])
            .by_shell(format!("cd '{}' && {line}", folder.name("")))
            .env(
                "OSQUERY_LIVE_QUERY_SECRET_FLEET_TOKEN",
                osquery_simulator::FLEET_MAINTAINER_TOKEN,
            )
            .run();
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{command}: {ran:?}");
        last = ran.stdout;
    }
    last
}

fn document(folder: &Folder, name: &str) -> Value {
    serde_json::from_str(&folder.text(name)).expect("a document")
}

#[test]
fn a_failing_policy_becomes_a_ticket() {
    let site = Site::new(
        Kind::Fleet,
        Scenario::of([1, 2, 3].map(|n| host(&format!("laptop-0{n}")).on("darwin"))),
    );
    let folder = files_of_the_loops(&site);
    typed(&folder, "A policy fails");
    let ticket = folder.text("ticket.md");
    for part in [
        "## Live query `disk_encryption`",
        "`laptop-01`",
        "`laptop-02`",
        "`laptop-03`",
    ] {
        assert!(ticket.contains(part), "{part}: {ticket}");
    }
    assert_eq!(
        document(&folder, "context.json")["alert"]["severity"],
        "high"
    );
}

#[test]
fn a_vulnerability_in_three_batches_is_one_matter_and_every_host_is_asked() {
    let many = HostSpec::many(41, "build-{n:02}").answering(one_row());
    let site = Site::new(Kind::Fleet, Scenario::of([many]));
    let folder = files_of_the_loops(&site);
    typed(&folder, "A vulnerability on 40 hosts");
    let mut asked = BTreeSet::new();
    let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for batch in 1..=3 {
        let ran = document(&folder, &format!("batch-{batch}.json"));
        assert_eq!(ran["partial"], false);
        let results = ran["results"].as_object().expect("results");
        asked.extend(results.keys().cloned());
        let posted = folder.text(&format!("vulnerability-{batch}.webhook.json"));
        let alert = alert_of(&step(posted).arg("alert").run());
        ids.insert(alert["id"].to_string());
        keys.insert(alert["dedupe_key"].to_string());
        assert_eq!(
            (&alert["severity"], &alert["known_exploited"]),
            (&json!("high"), &json!(true))
        );
    }
    assert_eq!((asked.len(), ids.len(), keys.len()), (40, 3, 1));
    assert_eq!(site.seen().campaigns.len(), 3);
}

#[test]
fn hosts_that_were_not_seen_are_asked_by_their_ids() {
    let site = Site::new(
        Kind::Fleet,
        Scenario::of([1, 2, 3, 4].map(|n| host(&format!("laptop-0{n}")))),
    );
    let folder = files_of_the_loops(&site);
    let table = typed(&folder, "Hosts that were not seen");
    assert!(table.contains("uptime"), "{table}");
    let ran = document(&folder, "back.json");
    assert_eq!(ran["partial"], false);
    assert_eq!(ran["hosts"]["2"]["hostname"], "laptop-02");
    assert_eq!(ran["hosts"]["3"]["hostname"], "laptop-03");
    assert_eq!(ran["hosts"].as_object().expect("hosts").len(), 2);
}
