//! Each refusal of the SQLite check, by a template that deserves it.

use serde_json::json;

use super::{call, now};
use crate::allowlist::Registry;

/// A template around the SQL; `extra` are further lines of the file.
fn template(sql: &str, extra: &str) -> String {
    format!(
        "name: one\nintent: Tries what the check of templates refuses.\nsql: |-\n  {}\nplatforms: [linux]\n\
         severity: info\ntables:\n  processes:\n    columns: [pid, name]\n{extra}",
        sql.replace('\n', "\n  ")
    )
}

/// What the check says, by `check_all` and by a call alike.
fn refusal(sql: &str, extra: &str) -> String {
    let registry = Registry::new([("one", template(sql, extra))]);
    let checked = registry.check_all(now()).unwrap_err()[0].to_string();
    let called = registry
        .bind(&call("one", &json!({"value": 1})), now())
        .unwrap_err();
    if !extra.contains("parameters") && !checked.contains(":value") {
        let called = registry.bind(&call("one", &json!({})), now()).unwrap_err();
        assert_eq!(called.to_string(), checked);
    }
    assert!(!called.problems().is_empty());
    checked
        .strip_prefix("template `one`: ")
        .map(str::to_owned)
        .unwrap_or(checked)
}

const VALUE: &str =
    "parameters:\n  value:\n    type: pid\n    description: A process.\n    example: 1\n";

const TEXT: &str =
    "parameters:\n  value:\n    type: process_name\n    description: A process.\n    example: sh\n";

#[test]
fn a_good_template_passes() {
    for (sql, extra) in [
        ("SELECT pid, name FROM processes", ""),
        ("SELECT * FROM processes", ""),
        ("SELECT pid, name FROM processes;", ""),
        ("SELECT pid, name FROM processes -- the end", ""),
        ("SELECT \"pid\", [name] FROM temp.processes", ""),
        (
            "WITH few AS (SELECT pid, name FROM processes) SELECT * FROM few",
            "",
        ),
        (
            "SELECT count(*), max(pid), lower(name) FROM processes GROUP BY name",
            "",
        ),
        ("SELECT pid, name FROM processes WHERE pid = :value", VALUE),
        (
            "SELECT a.pid, b.name FROM processes a JOIN processes b USING (pid)",
            "",
        ),
        (
            "SELECT pid, split(name, '/', 0) FROM processes",
            "functions: [split]\n",
        ),
        (
            "SELECT pid FROM processes ORDER BY name COLLATE version",
            "collations: [version]\n",
        ),
        (
            "WITH RECURSIVE tree(pid) AS (SELECT pid FROM processes WHERE name = 'x' UNION SELECT p.pid \
             FROM processes p JOIN tree USING (pid)) SELECT pid FROM tree LIMIT 10",
            "recursive: true\n",
        ),
    ] {
        let registry = Registry::new([("one", template(sql, extra))]);
        assert_eq!(registry.check_all(now()), Ok(()), "{sql}");
    }
}

#[test]
fn sql_that_does_not_only_read_what_it_declares() {
    let not_select = "`sql` must be a SELECT: this statement does not only read";
    for (sql, why) in [
        (
            "SELECT pid, name FROM processes; SELECT 1",
            "`sql` must be one statement: there is more after the first",
        ),
        (
            "SELECT pid, name FROM processes; DROP TABLE processes",
            "`sql` must be one statement: there is more after the first",
        ),
        (
            "SELECT pid, name FROM processes; nonsense",
            "`sql` must be one statement: there is more after the first",
        ),
        ("-- nothing", "`sql` holds no statement"),
        ("INSERT INTO processes VALUES (1, 'a')", not_select),
        ("WITH x AS (SELECT 1) DELETE FROM processes", not_select),
        ("UPDATE processes SET pid = 1", not_select),
        ("REPLACE INTO processes VALUES (1, 'a')", not_select),
        ("CREATE TABLE t AS SELECT * FROM processes", not_select),
        ("CREATE VIEW v AS SELECT * FROM processes", not_select),
        ("DROP TABLE processes", not_select),
        ("ALTER TABLE processes RENAME TO p", not_select),
        ("VACUUM", not_select),
        ("VACUUM INTO '/tmp/x'", not_select),
        ("REINDEX", not_select),
        ("ANALYZE", not_select),
        ("BEGIN", not_select),
        ("SAVEPOINT x", not_select),
        (
            "EXPLAIN SELECT pid, name FROM processes",
            "`sql` must not be an EXPLAIN",
        ),
        (
            "EXPLAIN QUERY PLAN SELECT pid, name FROM processes",
            "`sql` must not be an EXPLAIN",
        ),
        (
            "PRAGMA table_info(processes)",
            "`sql` must not use a PRAGMA",
        ),
        ("PRAGMA journal_mode", "`sql` must not use a PRAGMA"),
        ("ATTACH '/tmp/x' AS x", "`sql` must not attach a database"),
        (
            "SELECT name FROM sqlite_master",
            "`sql` reads `sqlite_master`, which `tables` does not declare",
        ),
        (
            "SELECT name FROM sqlite_temp_schema",
            "`sql` reads `sqlite_temp_master`, which `tables` does not declare",
        ),
        (
            "SELECT pid, name, (SELECT count(*) FROM pragma_function_list) FROM processes",
            "`sql` reads `pragma_function_list`, which `tables` does not declare",
        ),
        (
            "SELECT pid, name FROM processes, json_each('[1]')",
            "`sql` reads `json_each`, which `tables` does not declare",
        ),
        (
            "SELECT * FROM users",
            "`sql` is not valid: no such table: users",
        ),
        (
            "SELECT pid, name FROM processes UNION SELECT 1, url FROM curl",
            "`sql` is not valid: no such table: curl",
        ),
        (
            "WITH processes AS (SELECT * FROM curl) SELECT * FROM processes",
            "`sql` is not valid: no such table: curl",
        ),
        (
            "SELECT pid, name FROM main.processes",
            "`sql` is not valid: no such table: main.processes",
        ),
        (
            "SELECT pid, cmdline FROM processes",
            "`sql` is not valid: no such column: cmdline",
        ),
        (
            "SELECT rowid, pid, name FROM processes",
            "`sql` reads the column `ROWID` of `processes`, which `tables` does not declare",
        ),
        (
            "SELECT pid, name FROM processes WHERE name = \"bash\"",
            "`sql` is not valid: no such column: \"bash\" - should this be a string literal in single-quotes?",
        ),
        (
            "SELECT pid, name FROM processes WHERE nope(pid)",
            "`sql` is not valid: no such function: nope",
        ),
        (
            "SELECT pid, name, load_extension('x') FROM processes",
            "`sql` calls `load_extension`, which templates may not",
        ),
        (
            "SELECT pid, name, randomblob(9) FROM processes",
            "`sql` calls `randomblob`, which templates may not",
        ),
        (
            "SELECT pid, name, split(name, '/', 0) FROM processes",
            "`sql` is not valid: no such function: split",
        ),
        (
            "SELECT pid, name, concat(name, 'x') FROM processes",
            "`sql` calls `concat`, a function of osquery that `functions` does not declare",
        ),
        (
            "SELECT pid FROM processes ORDER BY name COLLATE version",
            "`sql` is not valid: no such collation sequence: version",
        ),
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT pid, name, i FROM processes, n",
            "`sql` is a recursive query: say `recursive: true` where that is meant",
        ),
        (
            "SELECT pid, name FROM processes WHERE name = 'carves'",
            "`sql` must not hold the word `carves`: osctrl takes any SQL with that word for a file carve",
        ),
        (
            "SELECT pid, name FROM",
            "`sql` is not valid: incomplete input",
        ),
    ] {
        assert_eq!(refusal(sql, ""), why, "{sql}");
    }
}

#[test]
fn limits_of_the_sandbox() {
    let all = |count: usize| {
        let terms = vec!["pid != 1"; count].join(" AND ");
        format!("SELECT pid, name FROM processes WHERE {terms}")
    };
    // A host's SQLite takes a thousand.
    let registry = Registry::new([("one", template(&all(900), ""))]);
    assert_eq!(registry.check_all(now()), Ok(()));
    let deep = refusal(&all(1_100), "");
    assert!(deep.contains("maximum depth 1000"), "{deep}");
    let wide = format!(
        "SELECT pid, name FROM processes{}",
        " UNION SELECT 1, 2".repeat(600)
    );
    assert!(refusal(&wide, "").contains("too many terms in compound SELECT"));
    let long = format!(
        "SELECT pid, name FROM processes WHERE name = '{}'",
        "a".repeat(70_000)
    );
    assert!(refusal(&long, "").starts_with("`sql` is not valid"));
}

#[test]
fn what_a_template_says_has_to_be_so() {
    for (sql, extra, why) in [
        (
            "SELECT pid FROM processes",
            "",
            "`tables.processes` declares `name`, but the SQL does not read it",
        ),
        (
            "WITH processes AS (SELECT 1 AS pid, 2 AS name) SELECT pid, name FROM processes",
            "",
            "`tables.processes` is declared, but the SQL does not read that table",
        ),
        (
            "SELECT pid, name FROM processes",
            "functions: [split]\n",
            "`functions` declares `split`, but the SQL does not call it",
        ),
        (
            "SELECT pid, name FROM processes",
            "collations: [version]\n",
            "`collations` declares `version`, but the SQL does not name it",
        ),
        (
            "SELECT pid, name FROM processes",
            "recursive: true\n",
            "`recursive` is true, but the SQL is not recursive",
        ),
        (
            "SELECT pid, name FROM processes WHERE pid = :value",
            "",
            "`sql` uses `:value`, which `parameters` does not declare",
        ),
        (
            "SELECT pid, name FROM processes",
            VALUE,
            "`parameters.value` is declared, but the SQL does not use `:value`",
        ),
        (
            "SELECT pid, name FROM processes WHERE pid = ':value'",
            VALUE,
            "`parameters.value` is declared, but the SQL does not use `:value`",
        ),
        (
            "SELECT pid, name FROM processes WHERE pid = ?",
            "",
            "`sql` must name its parameters as `:name`, not `?`, `@name` or `$name`",
        ),
        (
            "SELECT pid, name FROM processes WHERE pid = $value",
            "",
            "`sql` must name its parameters as `:name`, not `?`, `@name` or `$name`",
        ),
        (
            "SELECT pid, name FROM processes WHERE name LIKE '%' || lower(:value) OR pid = 1",
            TEXT,
            "`parameters.value` stands after LIKE: make it a `pattern` or a `path_pattern`, or compare with =",
        ),
        (
            "SELECT pid, name FROM processes WHERE name NOT LIKE\n :value",
            TEXT,
            "`parameters.value` stands after LIKE: make it a `pattern` or a `path_pattern`, or compare with =",
        ),
    ] {
        assert_eq!(refusal(sql, extra), why, "{sql}");
    }
}

#[test]
fn a_parameter_that_decides_what_is_read_is_refused_when_the_template_is_checked() {
    // SQLite drops the other side of `AND 0` as it parses: the statement would differ by its value.
    let registry = Registry::new([(
        "one",
        template(
            "SELECT pid FROM processes WHERE :value AND name = 'x'",
            "parameters:\n  value:\n    type: boolean\n    description: Whether.\n    default: true\n",
        ),
    )]);
    assert_eq!(
        registry.check_all(now()).unwrap_err()[0].to_string(),
        "template `one`: `sql` cannot be bound to its own examples: the values change what the statement does"
    );
}
