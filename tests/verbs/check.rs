//! `templates check`: problems with their places, for people and machines.

use std::path::Path;

use serde_json::json;

use super::{Folder, json_of, printed, valid};
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
    let folder = Folder::with(
        "check",
        &[
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
        ],
    );
    let pack = folder.path("pack");
    let ran = args(["templates", "check"])
        .arg(&pack)
        .arg(folder.path("other/good.yaml"))
        .arg("--osquery-schema")
        .arg(folder.path("osquery.json"))
        .run();
    let other = folder.path("other");
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
                "pack/deeper/unconstrained.yml:5:8: `sql` must constrain `path` of `file`, for osquery answers with nothing otherwise [required_column]",
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
    let folder = Folder::with(
        "statuses",
        &[
            ("good.yaml", GOOD),
            ("wrong_column.yaml", WRONG_COLUMN),
            ("osquery.json", OSQUERY),
            ("no_schema.json", "{}"),
            ("empty/.keep", ""),
        ],
    );
    let check =
        |file: &str| args(["templates", "check", "--format", "json"]).arg(folder.path(file));
    let ran = check("good.yaml").run();
    let document = json_of(&ran.stdout);
    valid("templates-check", &document);
    assert_eq!(
        (ran.status, &document["summary"]),
        (0, &json!({"files": 1, "problems": 0}))
    );

    let osquery = folder.path("osquery.json");
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
    let missing = folder.path("missing.yaml");
    usage(
        check("missing.yaml").run(),
        &format!("{missing} can't be read: entity not found"),
    );
    let empty = folder.path("empty");
    usage(
        check("empty").run(),
        &format!("{empty} holds no template (*.yaml, *.yml)"),
    );
    let no_schema = folder.path("no_schema.json");
    usage(
        check("good.yaml")
            .arg("--osquery-schema")
            .arg(&no_schema)
            .run(),
        &format!("{no_schema} is not a schema of osquery"),
    );
    assert_eq!(args(["templates", "check", "--nope"]).run().status, 2);
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
