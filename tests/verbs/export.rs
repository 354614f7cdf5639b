//! `templates export`: what is written is read by a strict reader of each format, made of the keys that the
//! format documents, and its SQL is what a step sends.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{folder_with, json_of, printed};
use crate::harness::{Ran, args, step};

/// A query in Fleet's GitOps file (`fleet.QuerySpec`), every key that Fleet knows and no other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the keys are what is checked")]
struct FleetQuery {
    name: String,
    #[serde(default)]
    description: String,
    query: String,
    #[serde(default)]
    interval: u32,
    #[serde(default)]
    observer_can_run: bool,
    #[serde(default)]
    platform: String,
    #[serde(default)]
    min_osquery_version: String,
    #[serde(default)]
    automations_enabled: bool,
    #[serde(default)]
    logging: String,
    #[serde(default)]
    discard_data: bool,
    #[serde(default)]
    labels_include_any: Vec<String>,
}

/// The part of a GitOps file that has queries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FleetFile {
    queries: Vec<FleetQuery>,
}

/// The body of osctrl's `POST /api/v1/saved-queries/ENVIRONMENT` (`types.SavedQueryCreateRequest`).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OsctrlQuery {
    name: String,
    query: String,
}

/// A query in an osquery pack, as osquery's documentation of the schedule has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the keys are what is checked")]
struct PackQuery {
    query: String,
    interval: u64,
    #[serde(default)]
    platform: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    shard: u8,
    #[serde(default)]
    snapshot: bool,
    #[serde(default)]
    removed: bool,
    #[serde(default)]
    denylist: bool,
    #[serde(default)]
    description: String,
    #[serde(default)]
    value: String,
}

/// An osquery pack.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the keys are what is checked")]
struct Pack {
    queries: BTreeMap<String, PackQuery>,
    #[serde(default)]
    platform: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    shard: u8,
    #[serde(default)]
    discovery: Vec<String>,
}

fn export(format: &str, more: &[&str]) -> Ran {
    args(["templates", "export", "--format", format])
        .args(more)
        .run()
}

/// SQL by name, read back from an export of each format, which has to hold the same.
fn exported(more: &[&str]) -> BTreeMap<String, String> {
    let ran = |format: &str| {
        let ran = export(format, more);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.stdout
    };
    let file: FleetFile = serde_saphyr::from_str(&ran("fleet")).expect("a GitOps file");
    let platforms = ["linux", "darwin", "windows"];
    let fleet: BTreeMap<String, String> = file
        .queries
        .into_iter()
        .map(|query| {
            assert!(
                query.observer_can_run && query.interval == 0,
                "{}",
                query.name
            );
            assert!(
                query.name.is_ascii() && !query.description.is_empty(),
                "{}",
                query.name
            );
            assert!(
                query
                    .platform
                    .split(',')
                    .all(|one| platforms.contains(&one)),
                "{}",
                query.platform
            );
            (query.name, query.query)
        })
        .collect();
    let bodies: Vec<OsctrlQuery> = serde_json::from_str(&ran("osctrl")).expect("saved queries");
    let osctrl: BTreeMap<String, String> = bodies
        .into_iter()
        .map(|body| {
            // osctrl trims both.
            assert_eq!(
                (body.name.trim(), body.query.trim()),
                (&*body.name, &*body.query)
            );
            (body.name, body.query)
        })
        .collect();
    let pack: Pack = serde_json::from_str(&ran("osquery-pack")).expect("a pack");
    let of_pack: BTreeMap<String, String> = pack
        .queries
        .into_iter()
        .map(|(name, query)| {
            // osquery refuses an interval of 0 and one of more than a week.
            assert!(
                (1..=604_800).contains(&query.interval) && query.snapshot,
                "{name}"
            );
            assert!(
                query
                    .platform
                    .split(',')
                    .all(|one| platforms.contains(&one)),
                "{}",
                query.platform
            );
            (name, query.query)
        })
        .collect();
    assert_eq!(fleet, osctrl);
    assert_eq!(fleet, of_pack);
    fleet
}

/// What a step with these parameters sends.
fn sent(template: &str, params: &Value) -> String {
    let text = json!({"id": "one", "type": "osquery_live_query", "params": {
        "backend": "fleet", "base_url": "https://fleet.example.com", "api_token": "{{ secrets.t }}",
        "target_hosts": ["a"], "template": template, "template_params": params,
    }});
    let ran = step(text.to_string())
        .args(&["dry-run", "--format", "json", "-"])
        .run();
    let report = json_of(&ran.stdout);
    let sql = &report["files"][0]["steps"][0]["sql"];
    sql.as_str()
        .unwrap_or_else(|| panic!("{}", ran.stdout))
        .to_owned()
}

#[test]
fn all_that_need_no_value_are_written_as_steps_send_them() {
    let listed = json_of(&printed(["templates", "--format", "json"]));
    let mut without_value = Vec::new();
    let mut of_the_moment = Vec::new();
    let mut expected = BTreeSet::new();
    for template in listed["templates"].as_array().expect("templates") {
        let name = template["name"].as_str().expect("a name").to_owned();
        let parameters = template["parameters"].as_array().expect("parameters");
        if parameters.iter().any(|one| one.get("default").is_none()) {
            without_value.push(name);
        } else if parameters.iter().any(|one| one["type"] == "since") {
            of_the_moment.push(name);
        } else {
            expected.insert(name);
        }
    }
    let saved = exported(&[]);
    assert_eq!(saved.keys().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(expected.len() > 80, "{}", expected.len());
    for name in [
        "running_processes",
        "accounts_with_root_rights",
        "process_environment",
        "wmi_event_consumers",
    ] {
        if let Some(sql) = saved.get(name) {
            assert_eq!(*sql, sent(name, &json!({})), "{name}");
        }
    }
    let names = |names: &[String]| {
        let shown: Vec<String> = names
            .iter()
            .take(12)
            .map(|name| format!("`{name}`"))
            .collect();
        format!("{}, {} more", shown.join(", "), names.len() - 12)
    };
    assert_eq!(
        export("fleet", &[]).stderr,
        format!(
            "warning: left out, for a parameter has no default: give it with `--param TEMPLATE.NAME=VALUE`: {}\n\
             warning: left out, for an age is counted back from each run, so its SQL is never the same twice: \
             give a time with `--param`: {}\n",
            names(&without_value),
            names(&of_the_moment)
        )
    );
}

#[test]
fn what_is_named_is_written_with_the_values_that_are_given() {
    let more = [
        "running_processes",
        "process_details",
        "files_in_directory",
        "running_processes",
        "--param",
        "running_processes.limit=50",
        "--param",
        "process_details.pid=7",
        "--param",
        "files_in_directory.directory=/opt/O'Brien\u{e9}",
    ];
    let saved = exported(&more);
    let expected = [
        (
            "files_in_directory (directory=/opt/O\\'Brien\\u{e9})",
            "files_in_directory",
            json!({"directory": "/opt/O'Brien\u{e9}"}),
        ),
        (
            "process_details (pid=7)",
            "process_details",
            json!({"pid": 7}),
        ),
        (
            "running_processes (limit=50)",
            "running_processes",
            json!({"limit": 50}),
        ),
    ];
    let expected: BTreeMap<String, String> = expected
        .into_iter()
        .map(|(name, template, params)| (name.to_owned(), sent(template, &params)))
        .collect();
    assert_eq!(saved, expected);
    assert_eq!(
        export("fleet", &["uptime"]).stdout,
        "# Written by `osquery-live-query templates export --format fleet`: queries that observers may run.\n\
         # For GitOps: belongs into default.yml or a fleet's file; from Fleet 4.82 on the key is called `reports`.\n\
         queries:\n  - name: \"uptime\"\n    description: \"Shows how long the machine has run.\"\n    query: |-\n      \
         SELECT days, hours, minutes, seconds, total_seconds FROM uptime\n    platform: linux,darwin,windows\n    \
         interval: 0\n    observer_can_run: true\n"
    );
    let of_windows = exported(&["--platform", "windows", "--tag", "persistence"]);
    assert!(
        of_windows.contains_key("registry_image_hijacks")
            || of_windows.contains_key("windows_services")
    );
    assert!(!of_windows.contains_key("launchd_items"));
}

#[test]
fn a_time_instead_of_an_age_makes_a_query_that_stays() {
    let moment = "1790000000";
    let param = format!("recently_modified_files.since={moment}");
    let more = ["recently_modified_files", "--param", &param];
    let with_directory = |ran: &Ran| ran.stderr.clone();
    let ran = export("osctrl", &more);
    assert_eq!(ran.status, 0, "{}", with_directory(&ran));
    assert!(ran.stdout.contains(moment), "{}", ran.stdout);
    let ran = export("osctrl", &["recently_modified_files"]);
    assert_eq!(
        (ran.status, &*ran.stdout, &*ran.stderr),
        (
            13,
            "",
            "error[allowlist]: the SQL of `recently_modified_files` holds the moment at which an age was counted, so no later run would match it: give a time instead of the age, in unix seconds\nhint: see `osquery-live-query templates NAME` for a \
             template's parameters\n"
        )
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    for (more, status, message) in [
        (
            &["no_such_template"][..],
            13,
            "error[allowlist]: unknown template `no_such_template`",
        ),
        (
            &["process_details"],
            13,
            "error[allowlist]: template `process_details` needs the parameter `pid`",
        ),
        (
            &["process_details", "--param", "process_details.pid=many"],
            13,
            "error[allowlist]: parameter `pid` must be a process id",
        ),
        (
            &["running_processes", "--param", "running_processes.limt=5"],
            13,
            "error[allowlist]: unknown parameter `limt` of template `running_processes`: did you mean `limit`?",
        ),
        (
            &["--param", "no_such_template.limit=5"],
            13,
            "error[allowlist]: unknown template `no_such_template`",
        ),
        (
            &["uptime", "--param", "running_processes.limit=5"],
            2,
            "error[usage]: `--param` is for `running_processes`, which is not exported",
        ),
        (
            &["--param", "limit=5"],
            2,
            "error[usage]: `--param` takes TEMPLATE.NAME=VALUE",
        ),
        (
            &[
                "--param",
                "running_processes.limit=5",
                "--param",
                "running_processes.limit=6",
            ],
            2,
            "error[usage]: `--param running_processes.limit` is given twice",
        ),
        (
            &["uptime", "--tag", "files"],
            2,
            "error[usage]: `--tag`, `--platform` and `--search` choose from all",
        ),
        (
            &["--search", "nothing has this text"],
            2,
            "error[usage]: no template is left to export",
        ),
    ] {
        let ran = export("fleet", more);
        assert_eq!(
            (ran.status, &*ran.stdout),
            (status, ""),
            "{more:?}: {}",
            ran.stderr
        );
        assert!(ran.stderr.starts_with(message), "{more:?}: {}", ran.stderr);
    }
    assert_eq!(args(["templates", "export"]).run().status, 2);
}

#[test]
fn the_policy_decides_what_is_written() {
    let folder = folder_with(&[
        (
            "policy.yaml",
            "template_dirs: [own]\ntemplates:\n  deny: {names: [uptime]}\n",
        ),
        (
            "own/own_users.yaml",
            "name: own_users\nintent: Lists the accounts of a host.\nsql: SELECT uid FROM users\nplatforms: [linux]\n\
                 severity: info\ntables:\n  users:\n    columns: [uid]\n",
        ),
    ]);
    let policy = folder.name("policy.yaml");
    let saved = exported(&["own_users", "--policy", &policy]);
    assert_eq!(
        saved.get("own_users").map(String::as_str),
        Some("SELECT uid FROM users")
    );
    let ran = export("fleet", &["uptime", "--policy", &policy]);
    assert_eq!(
        (ran.status, &*ran.stderr),
        (
            14,
            "error[policy]: the template `uptime` is on the policy's list `templates.deny`\n"
        )
    );
    assert!(!exported(&["--policy", &policy]).contains_key("uptime"));
}
