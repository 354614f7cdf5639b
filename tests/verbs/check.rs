//! `templates check`: problems with their places, for people and machines.

use std::path::Path;

use serde_json::json;

use super::{folder_with, json_of, printed, valid};
use crate::harness::{Ran, args};

const OSQUERY: &str = r#"[
  {"name": "users", "platforms": ["darwin", "linux"], "columns": [{"name": "uid"}, {"name": "username"}]},
  {"name": "file", "platforms": ["darwin", "linux"], "columns": [{"name": "path", "required": true}, {"name": "size"}]}
]"#;

const GOOD: &str = "\
name: good
intent: Lists the accounts of a host.
sql: SELECT uid, username FROM users
platforms: [linux]
severity: info
tables:
  users:
    columns: [uid, username]
";

const WRONG_COLUMN: &str = "\
name: wrong_column
intent: Lists the accounts of a host.
sql: |-
  SELECT uid, usernam
  FROM users
platforms: [linux, windows]
severity: info
tables:
  users:
    columns: [uid, usernam]
";

const UNCONSTRAINED: &str = "\
name: unconstrained
intent: Lists large files of a host.
sql: |-
  SELECT path
  FROM file
  WHERE size > 5
platforms: [linux]
severity: info
tables:
  file:
    columns: [path, size]
";

#[test]
fn templates_check_says_every_problem_with_its_place() {
    let folder = folder_with(&[
        ("pack/good.yaml", GOOD),
        ("pack/deeper/unconstrained.yml", UNCONSTRAINED),
        (
            "pack/wrong_column.yaml",
            &WRONG_COLUMN.replace("windows", "darwin"),
        ),
        ("pack/not_yaml.yaml", "name: [\n"),
        ("pack/notes.txt", "no template"),
        ("other/good.yaml", GOOD),
        ("osquery.json", OSQUERY),
    ]);
    let pack = folder.name("pack");
    let ran = args(["templates", "check"])
        .arg(&pack)
        .arg(folder.name("other/good.yaml"))
        .arg("--osquery-schema")
        .arg(folder.name("osquery.json"))
        .run();
    let other = folder.name("other");
    let lines: Vec<String> = ran
        .stdout
        .lines()
        .map(|line| line.replace(&pack, "pack").replace(&other, "other"))
        .collect();
    assert_eq!(
        (
            ran.status,
            &*ran.stderr,
            lines.iter().map(String::as_str).collect::<Vec<_>>()
        ),
        (
            1,
            "",
            vec![
                "pack/deeper/unconstrained.yml:5:8: `sql` must compare `path` of `file` by `=`, `IN` or `LIKE`, because osquery returns no rows otherwise [required_column]",
                "pack/not_yaml.yaml:1:7: must be text [yaml]",
                "pack/wrong_column.yaml:10:20: `users` has no column `usernam`: did you mean `username`? [unknown_column]",
                "other/good.yaml:1:1: `good` is also the name of the template in pack/good.yaml [duplicate]",
                "5 templates, 4 problems",
            ]
        )
    );
}

#[test]
fn templates_check_for_machines_and_exit_statuses() {
    let folder = folder_with(&[
        ("good.yaml", GOOD),
        ("wrong_column.yaml", WRONG_COLUMN),
        ("osquery.json", OSQUERY),
        ("no_schema.json", "{}"),
        ("empty/.keep", ""),
    ]);
    let check =
        |file: &str| args(["templates", "check", "--format", "json"]).arg(folder.name(file));
    let ran = check("good.yaml").run();
    let document = json_of(&ran.stdout);
    valid("templates-check", &document);
    assert_eq!(
        (ran.status, &document["summary"]),
        (0, &json!({"files": 1, "problems": 0, "warnings": 0}))
    );

    let osquery = folder.name("osquery.json");
    let ran = check("wrong_column.yaml")
        .arg("--osquery-schema")
        .arg(&osquery)
        .run();
    let document = json_of(&ran.stdout);
    valid("templates-check", &document);
    assert_eq!(ran.status, 1);
    assert_eq!(
        document["files"][0]["problems"],
        json!([{
            "path": "tables.users", "rule": "platform", "line": 10, "column": 14,
            "message": "`users` does not exist on windows, which `platforms` names"
        }])
    );

    let usage = |ran: Ran, what: &str| {
        assert_eq!((ran.status, &*ran.stdout), (2, ""));
        let start = format!("error[usage]: {what}");
        assert!(ran.stderr.starts_with(&start), "{}", ran.stderr);
    };
    let missing = folder.name("missing.yaml");
    usage(
        check("missing.yaml").run(),
        &format!("{missing} does not exist"),
    );
    let empty = folder.name("empty");
    usage(
        check("empty").run(),
        &format!("{empty} holds no template (*.yaml, *.yml)"),
    );
    let no_schema = folder.name("no_schema.json");
    usage(
        check("good.yaml")
            .arg("--osquery-schema")
            .arg(&no_schema)
            .run(),
        &format!("{no_schema} is not a schema of osquery"),
    );
    assert_eq!(args(["templates", "check", "--nope"]).run().status, 2);
}

const EVENTS: &str = "\
name: events
intent: Lists the processes that a host has started.
sql: SELECT pid, path FROM process_events
platforms: [linux]
severity: info
tables:
  process_events:
    columns: [pid, path]
";

const PER_USER: &str = "\
name: per_user
intent: Lists what was typed into shells.
sql: |-
  SELECT command FROM shell_history
platforms: [linux]
severity: info
tables:
  shell_history:
    columns: [command]
";

const OF_FLEETD: &str = "\
name: of_fleetd
intent: Counts the containers of containerd.
sql: |-
  SELECT c.namespace, count(m.destination) AS mounts
  FROM containerd_containers AS c LEFT JOIN containerd_mounts AS m USING (container_id)
  GROUP BY c.container_id
platforms: [linux]
severity: info
tables:
  containerd_containers:
    columns: [namespace, container_id]
  containerd_mounts:
    columns: [container_id, destination]
";

#[test]
fn templates_check_warns_and_knows_the_tables_of_users_without_a_schema() {
    let folder = folder_with(&[("events.yaml", EVENTS), ("per_user.yaml", PER_USER)]);
    let (events, per_user) = (folder.name("events.yaml"), folder.name("per_user.yaml"));
    let check = |more: &[&str]| {
        let ran = args(["templates", "check"]).arg(&events).args(more).run();
        (ran.status, ran.stdout, ran.stderr)
    };
    let warned = format!(
        "{events}:3:28: warning: `process_events` has rows only on hosts that collect these events: osquery needs \
         `--disable_audit=false --audit_allow_config=true --audit_allow_process_events=true` [event_table]\n\
         1 template, no problems, 1 warning\n"
    );
    assert_eq!(check(&[]), (0, warned.clone(), String::new()));
    assert_eq!(check(&["--warnings-as-errors"]), (1, warned, String::new()));
    let (status, stdout, _) = check(&["--format", "json"]);
    let document = json_of(&stdout);
    valid("templates-check", &document);
    assert_eq!(
        (status, &document["summary"]),
        (0, &json!({"files": 1, "problems": 0, "warnings": 1}))
    );
    assert_eq!(document["files"][0]["warnings"][0]["rule"], "event_table");
    let ran = args(["templates", "check"]).arg(&per_user).run();
    assert_eq!(
        (ran.status, ran.stdout),
        (
            1,
            format!(
                "{per_user}:4:23: `shell_history` covers osquery's own user only (root or SYSTEM), unless `uid` is compared: \
                 write `FROM users CROSS JOIN shell_history USING (uid)`, in this order [per_user_table]\n\
                 1 template, 1 problem\n"
            )
        )
    );
}

#[test]
fn templates_check_takes_several_schema_files() {
    let fleetd = r#"[
      {"name": "containerd_containers", "platforms": ["linux"], "evented": false, "columns": [
        {"name": "namespace", "type": "text", "required": false}, {"name": "container_id", "type": "text", "required": false}]},
      {"name": "containerd_mounts", "platforms": ["linux"], "evented": false, "columns": [
        {"name": "container_id", "type": "text", "required": true}, {"name": "destination", "type": "text", "required": false}]}
    ]"#;
    let folder = folder_with(&[
        ("of_fleetd.yaml", OF_FLEETD),
        ("good.yaml", GOOD),
        ("osquery.json", OSQUERY),
        ("fleetd.json", fleetd),
    ]);
    let check = |schemas: &[&str]| {
        let mut command = args(["templates", "check"])
            .arg(folder.name("of_fleetd.yaml"))
            .arg(folder.name("good.yaml"));
        for schema in schemas {
            command = command.arg("--osquery-schema").arg(folder.name(schema));
        }
        command.run()
    };
    let ran = check(&["osquery.json", "fleetd.json"]);
    assert_eq!(
        (ran.status, &*ran.stdout),
        (0, "2 templates, no problems\n")
    );
    let ran = check(&["osquery.json"]);
    assert_eq!(ran.status, 1);
    assert!(
        ran.stdout
            .contains("osquery has no table `containerd_containers`"),
        "{}",
        ran.stdout
    );
}

#[test]
fn templates_check_takes_the_built_in_ones_where_nothing_is_named() {
    assert_eq!(
        printed(["templates", "check"]),
        "158 templates, no problems\n"
    );
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let ran = args(["templates", "check"]).arg(files).run();
    assert_eq!(
        (ran.status, &*ran.stdout),
        (0, "158 templates, no problems\n")
    );
}
