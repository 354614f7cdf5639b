//! The sample playbooks: clean, and rehearsed step by step on simulated hosts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use osquery_simulator::{
    FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD, FLEET_MAINTAINER_TOKEN, OSCTRL_PLUGIN_TOKEN, Scenario,
    Simulator,
};
use serde_json::{Map, Value, json};

use super::{Report, json as report_of, report, root};
use crate::harness::{args, step};

fn samples() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join("playbooks")).expect("playbooks");
    let mut files: Vec<PathBuf> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.to_string_lossy().ends_with(".playbook.yaml"))
        .collect();
    files.sort();
    files
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join("playbooks").join(name)).expect("the file")
}

#[test]
fn samples_are_many_clean_and_listed() {
    let names: Vec<String> = samples()
        .iter()
        .map(|path| {
            path.file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    for topic in [
        "ransomware-triage",
        "suspicious-process",
        "new-persistence",
        "lost-laptop",
        "vulnerable-package-sweep",
        "compliance-sweep",
        "new-admin-user",
        "port-scan-source",
    ] {
        assert!(names.contains(&format!("{topic}.playbook.yaml")), "{topic}");
    }
    let readme = read("README.md");
    for name in &names {
        assert!(
            readme.contains(&format!("({name})")),
            "{name} is not in playbooks/README.md"
        );
    }
    let folder = root().join("playbooks");
    let ran = args(["dry-run", "--warnings-as-errors"]).arg(&folder).run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{}", ran.stdout);
    let context = folder.join("incident.example.yaml");
    let mut known = report_of()
        .arg("--warnings-as-errors")
        .arg("--context")
        .arg(context);
    for path in samples() {
        known = known.arg(path);
    }
    let ran = known.run();
    let report = report(&ran);
    assert_eq!(ran.status, 0, "{report:?}");
    // With a context nothing is left open.
    let plans = report.files.iter().flat_map(|file| &file.steps);
    for plan in plans {
        assert!(
            !plan.sql.as_deref().expect("SQL").contains("{{"),
            "{plan:?}"
        );
    }
}

#[test]
fn samples_keep_the_printed_schema() {
    let schema: Value =
        serde_json::from_str(&args(["schema", "playbook"]).run().stdout).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    for path in samples() {
        let playbook = expanded(&path);
        let errors: Vec<String> = validator
            .iter_errors(&playbook)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

/// A playbook with its aliases and merge keys written out by another reader.
fn expanded(path: &PathBuf) -> Value {
    let text = std::fs::read_to_string(path).expect("the file");
    serde_saphyr::from_str(&text).expect("YAML")
}

/// What the rehearsal has to bring: every step of every sample answers wholly, and finds something.
fn assert_found(playbook: &str, id: &str, document: &Value) {
    let name = format!("{playbook} {id}: {document}");
    assert_eq!(document["partial"], json!(false), "{name}");
    assert_eq!(document["timed_out_hosts"], json!([]), "{name}");
    let results = document["results"].as_object().expect("results");
    assert!(results.values().any(|rows| rows != &json!([])), "{name}");
}

#[test]
fn samples_are_rehearsed_through_run() {
    let scenario = Scenario::from_yaml(&read("incident.scenario.yaml")).expect("a scenario");
    let simulator = Simulator::spawn(scenario).expect("a simulator");
    let context: Value = serde_saphyr::from_str(&read("incident.example.yaml")).expect("YAML");
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    for path in samples() {
        let playbook = expanded(&path);
        let mut context = context.clone();
        let inputs = playbook["inputs"].as_object().cloned().unwrap_or_default();
        let defaults: Map<String, Value> = inputs
            .into_iter()
            .map(|(name, input)| (name, input["default"].clone()))
            .collect();
        context["inputs"] = Value::Object(defaults);
        for step_ in playbook["steps"].as_array().expect("steps") {
            if step_["type"] != "osquery_live_query" {
                continue;
            }
            let mut step_ = step_.clone();
            step_["params"]["base_url"] = simulator.base_url().into();
            let invocation = json!({"protocol": 1, "step": step_, "context": context, "secrets": {
                "fleet_token": FLEET_MAINTAINER_TOKEN,
                "osctrl_token": OSCTRL_PLUGIN_TOKEN,
                "fleet_user": FLEET_ADMIN_EMAIL,
                "fleet_password": FLEET_ADMIN_PASSWORD,
            }});
            let ran = step(invocation.to_string()).run();
            assert_eq!(ran.status, 0, "{}", ran.stdout);
            ran.document();
            let document: Value = serde_json::from_str(&ran.stdout).expect("a document");
            let (playbook, id) = (
                playbook["id"].as_str().expect("an id"),
                step_["id"].as_str(),
            );
            let id = id.expect("an id");
            assert_found(playbook, id, &document);
            rows.insert(format!("{playbook}/{id}"), document["results"].clone());
        }
    }
    // Rows that must be found, and rows beside them that must not.
    for (step_, host, column, expected) in [
        (
            "ransomware-triage/temporary",
            "web-01",
            "name",
            json!(["kworkerd"]),
        ),
        (
            "ransomware-triage/changed_files",
            "web-01",
            "filename",
            json!(["accounts.xlsx.locked"]),
        ),
        (
            "suspicious-process/files",
            "web-01",
            "path",
            json!(["/srv/data/accounts.xlsx.locked"]),
        ),
        (
            "suspicious-process/tree",
            "web-01",
            "depth",
            json!(["-2", "-1", "0"]),
        ),
        (
            "suspicious-process/elsewhere",
            "win-01",
            "name",
            json!(["kworkerd"]),
        ),
        (
            "new-persistence/units",
            "web-01",
            "id",
            json!(["kworkerd.service"]),
        ),
        (
            "new-persistence/launchd",
            "mac-01",
            "label",
            json!(["com.example.updater"]),
        ),
        (
            "new-persistence/tasks",
            "win-01",
            "name",
            json!(["Updater"]),
        ),
        (
            "lost-laptop/keys",
            "mac-01",
            "path",
            json!(["/home/mallory/.ssh/id_ed25519"]),
        ),
        (
            "vulnerable-package-sweep/debian",
            "web-01",
            "name",
            json!(["openssl"]),
        ),
        (
            "vulnerable-package-sweep/homebrew",
            "mac-01",
            "name",
            json!(["openssl@3"]),
        ),
        (
            "compliance-sweep/passwords",
            "db-01",
            "username",
            json!(["mallory"]),
        ),
        (
            "new-admin-user/administrators",
            "web-01",
            "username",
            json!(["mallory"]),
        ),
        ("new-admin-user/root", "web-01", "username", json!(["toor"])),
        (
            "port-scan-source/deleted",
            "web-01",
            "name",
            json!(["kworkerd"]),
        ),
        (
            "port-scan-source/typed",
            "web-01",
            "command",
            json!(["nmap -sS 10.0.0.0/8"]),
        ),
    ] {
        let found = rows[step_][host].as_array().expect("rows").iter();
        let found: Vec<&Value> = found.map(|row| &row[column]).collect();
        assert_eq!(json!(found), expected, "{step_} on {host}");
    }
    // `dry-run` shows what was sent: the same SQL, but for moments that count back from now.
    let mut planned = report_of()
        .arg("--context")
        .arg(root().join("playbooks/incident.example.yaml"));
    for path in samples() {
        planned = planned.arg(path);
    }
    let planned: Report = report(&planned.run());
    let planned = planned.files.into_iter().flat_map(|file| file.steps);
    let planned: Vec<String> = planned
        .map(|step| without_moments(&step.sql.expect("SQL")))
        .collect();
    let sent: Vec<String> = simulator
        .campaigns()
        .iter()
        .map(|campaign| without_moments(&campaign.sql))
        .collect();
    assert_eq!(sent, planned);
}

fn without_moments(sql: &str) -> String {
    let words = sql.split_whitespace().map(|word| {
        let digits = word.trim_end_matches(')');
        match digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => "…",
            false => word,
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
