//! What `templates check` says of a template's file: every problem with its line and column, with a small
//! schema of osquery.

use super::now;
use crate::allowlist::{OsquerySchema, check_file};
use crate::problem::Placed;

const SCHEMA: &str = r#"[
  {"name": "users", "platforms": ["darwin", "linux", "windows"], "evented": false, "columns": [
    {"name": "uid", "hidden": false, "required": false},
    {"name": "username", "hidden": false, "required": false},
    {"name": "is_hidden", "hidden": true, "required": false, "platforms": ["darwin"]}]},
  {"name": "file", "platforms": ["darwin", "linux", "windows"], "columns": [
    {"name": "path", "required": true}, {"name": "directory", "required": true}, {"name": "size"}]},
  {"name": "shadow", "platforms": ["linux"], "columns": [{"name": "username"}]},
  {"name": "process_events", "platforms": ["linux"], "evented": true, "columns": [{"name": "pid"}]}
]"#;

fn schema() -> OsquerySchema {
    OsquerySchema::parse(SCHEMA).unwrap()
}

/// The problems of a file that is called `one`, as `LINE:COLUMN RULE MESSAGE`.
fn found(text: &str) -> Vec<String> {
    let findings = check_file("one", text, Some(&schema()), now());
    findings
        .problems
        .into_iter()
        .map(|Placed { problem, at }| {
            let at = at.map_or("?:?".into(), |at| format!("{}:{}", at.line, at.column));
            format!("{at} {} {}", problem.rule, problem.message)
        })
        .collect()
}

/// A template that reads tables, from its third line on.
fn template(rest: &str) -> String {
    format!("name: one\nintent: Reads what the test is about.\n{rest}\nseverity: info\n")
}

#[test]
fn a_right_template_has_no_problems() {
    let text = template(
        "platforms: [linux, darwin]\nsql: SELECT uid, username FROM users\ntables:\n  users:\n    columns: [uid, username]",
    );
    assert_eq!(found(&text), Vec::<String>::new());
    assert!(schema().is_evented("process_events") && !schema().is_evented("users"));
}

#[test]
fn problems_of_sql_are_placed_in_the_block() {
    let block = |sql: &str, columns: &str| {
        template(&format!(
            "platforms: [linux]\nsql: |-\n  SELECT uid,\n    {sql}\n  FROM users\ntables:\n  users:\n    columns: [{columns}]"
        ))
    };
    assert_eq!(
        found(&block("username", "uid")),
        ["6:5 sql `sql` is not valid: no such column: username",]
    );
    assert_eq!(
        found(&block("randomblob(5) AS x", "uid")),
        ["6:5 sql `sql` calls `randomblob`, which templates may not"]
    );
    assert_eq!(
        found(&block("username AS, 1", "uid, username")),
        ["6:16 sql `sql` is not valid: near \",\": syntax error"]
    );
    assert_eq!(
        found(&block(":limit AS l", "uid")),
        ["6:6 undeclared_parameter `sql` uses `:limit`, which `parameters` does not declare"]
    );
    assert_eq!(
        found(&block("1 AS one", "uid, username")),
        ["10:20 unused_column `tables.users` declares `username`, but the SQL does not read it"]
    );
}

#[test]
fn problems_of_sql_are_placed_on_the_keys_line() {
    let text = template(
        "platforms: [linux]\nsql: SELECT uid FROM users JOIN shadow USING (username)\ntables:\n  users:\n    columns: [uid, username]",
    );
    assert_eq!(
        found(&text),
        ["4:33 sql `sql` is not valid: no such table: shadow"]
    );
}

#[test]
fn tables_and_columns_that_osquery_does_not_have() {
    let text = template(
        "platforms: [linux, darwin]\nsql: SELECT uid, usernam FROM users\ntables:\n  users:\n    columns: [uid, usernam]",
    );
    assert_eq!(
        found(&text),
        ["7:20 unknown_column `users` has no column `usernam`: did you mean `username`?"]
    );
    let text = template(
        "platforms: [linux, darwin]\nsql: SELECT uid FROM user\ntables:\n  user:\n    columns: [uid]",
    );
    assert_eq!(
        found(&text),
        ["4:22 unknown_table osquery has no table `user`: did you mean `users`?"]
    );
}

#[test]
fn platforms_and_hidden_columns() {
    let text = template(
        "platforms: [linux, darwin]\nsql: SELECT username FROM shadow\ntables:\n  shadow:\n    columns: [username]",
    );
    assert_eq!(
        found(&text),
        ["7:14 platform `shadow` does not exist on darwin, which `platforms` names"]
    );
    let text = template(
        "platforms: [linux, darwin]\nsql: SELECT uid, is_hidden FROM users\ntables:\n  users:\n    columns: [uid, is_hidden]",
    );
    assert_eq!(
        found(&text),
        [
            "7:20 platform `users.is_hidden` does not exist on linux, which `platforms` names",
            "7:20 hidden_column `users.is_hidden` is left out of `SELECT *`: list it under `hidden`",
        ]
    );
    let text = template(
        "platforms: [linux]\nsql: SELECT * FROM users\ntables:\n  users:\n    columns: [uid]",
    );
    assert_eq!(
        found(&text),
        ["7:14 select_all `tables.users` must list `username` too, for `SELECT *` brings it"]
    );
    for (sql, columns, missing) in [
        ("SELECT DISTINCT u.* FROM users AS u", "uid", true),
        ("SELECT * FROM (SELECT uid FROM users)", "uid", false),
        (
            "SELECT count(*) AS accounts FROM users WHERE uid > 5",
            "uid",
            false,
        ),
        (
            "SELECT s.* FROM (SELECT uid AS id FROM users) AS u, shadow AS s",
            "uid",
            false,
        ),
        ("SELECT * FROM users", "uid, username", false),
        ("SELECT uid FROM users NATURAL JOIN shadow", "uid", true),
    ] {
        let text = template(&format!(
            "platforms: [linux]\nsql: {sql}\ntables:\n  users:\n    columns: [{columns}]{}",
            if sql.contains("NATURAL") {
                "\n  shadow:\n    columns: []"
            } else if sql.contains("shadow") {
                "\n  shadow:\n    columns: [username]"
            } else {
                ""
            }
        ));
        let brought =
            ["7:14 select_all `tables.users` must list `username` too, for `SELECT *` brings it"];
        let compared = [
            "7:14 select_all `tables.users` must list `username` too, for `NATURAL` compares it",
            "9:14 select_all `tables.shadow` must list `username` too, for `NATURAL` compares it",
        ];
        let expected: &[&str] = match (missing, sql.contains("NATURAL")) {
            (true, true) => &compared,
            (true, false) => &brought,
            _ => &[],
        };
        assert_eq!(found(&text), expected, "{sql}");
    }
    let text = template(
        "platforms: [linux]\nsql: SELECT username FROM shadow, users\ntables:\n  users:\n    columns: []\n  shadow:\n    columns: [username]",
    );
    assert_eq!(
        found(&text),
        [
            "4:13 sql `sql` is not valid: ambiguous column name: username on hosts, where the tables have all their columns"
        ]
    );
}

#[test]
fn required_columns_have_to_be_constrained() {
    let of = |condition: &str| {
        found(&template(&format!(
            "platforms: [linux]\nsql: SELECT f.path, f.size FROM file AS f, users AS u WHERE {condition}\ntables:\n  users:\n    columns: [username]\n  file:\n    columns: [path, size]"
        )))
    };
    let wrong = [
        "4:33 required_column `sql` must compare `path` or `directory` of `file` by `=`, `IN` or `LIKE`, because osquery returns no rows otherwise; where another table has what it is compared with, that one comes first: `FROM other CROSS JOIN file ON …`",
    ];
    assert_eq!(of("f.size > 5 AND u.username = 'a'"), wrong);
    assert_eq!(
        of("(f.path = '/etc/a' OR f.size > 5) AND u.username = 'a'"),
        wrong
    );
    for right in [
        "f.path = '/etc/' || u.username",
        "f.path LIKE '/etc/%' AND u.username = 'a'",
        "f.path IN ('/etc/a', '/etc/b') AND u.username = 'a'",
        "(f.path = '/etc/a' OR f.path LIKE '/opt/%') AND u.username = 'a'",
    ] {
        assert_eq!(of(right), Vec::<String>::new(), "{right}");
    }
}

#[test]
fn what_is_no_schema_is_said_without_its_content() {
    let error = OsquerySchema::parse("{\"secret\": 1}").unwrap_err();
    assert!(error.starts_with("is not a schema of osquery"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    assert_eq!(OsquerySchema::parse("[]").unwrap_err(), "lists no tables");
}

#[test]
fn problems_of_form_do_not_hide_each_other() {
    let text = "name: one\nintent: short\nsql: SELECT uid FROM users\nplatfroms: [linux, plan9]\nowner:\n  - me\n\
                tabels:\n  users:\n    columns: [uid, username]\nname: two\n";
    assert_eq!(
        found(text),
        [
            "1:1 yaml the key `severity` is missing",
            "2:9 intent `intent` must be one line of 20 to 400 characters",
            "4:1 yaml unknown key `platfroms`: did you mean `platforms`?",
            "4:12 platforms `platforms` must be some of `linux`, `darwin`, `windows`, each once",
            "5:1 yaml unknown key `owner`; the keys are `name`, `intent`, `sql`, `tables`, `platforms`, `tags`, `severity`, `limits`, `functions`, `collations`, `recursive`, `parameters`",
            "7:1 yaml unknown key `tabels`: did you mean `tables`?",
            "10:1 yaml the key `name` appears twice",
        ]
    );
    // What is meant can't be told where there is no SQL.
    assert_eq!(
        found("name: one\nseverity: info\n").len(),
        2,
        "the intent and the SQL are missing"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

    /// Whatever happens to a template's text, the check ends and points into it.
    #[test]
    fn damaged_files_are_told_with_places_inside_them(
        line in 0usize..10,
        cut in 0usize..40,
        put in "[a-z:{}\\[\\]'\"|&*!<>% \\-é\n]{0,6}",
    ) {
        let text = template(
            "platforms: [linux]\nsql: |-\n  SELECT uid, username\n  FROM users\n  WHERE uid = :uid\ntables:\n  users:\n    columns: [uid, username]\nparameters:\n  uid: {type: integer, description: The id., minimum: 0, maximum: 9, default: 1}",
        );
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = lines[line].char_indices().nth(cut).map_or(lines[line].len(), |(at, _)| at);
        lines[line].insert_str(at, &put);
        let text = lines.join("\n");
        for problem in check_file("one", &text, Some(&schema()), now()).problems {
            let count = text.lines().count() + 2;
            proptest::prop_assert!(problem.at.is_none_or(|at| (1..=count).contains(&at.line)), "{problem:?}");
            proptest::prop_assert!(!problem.problem.message.is_empty());
        }
    }
}
