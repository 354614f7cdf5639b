use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::allowlist::Registry;
use crate::events::Tables;

fn known(sql: &str) -> Vec<String> {
    match Tables::of(sql) {
        Tables::Known(tables) => tables,
        Tables::Unknown(why) => panic!("{sql}: {why}"),
    }
}

fn unknown(sql: &str) -> String {
    match Tables::of(sql) {
        Tables::Unknown(why) => why,
        Tables::Known(tables) => panic!("{sql}: {tables:?}"),
    }
}

#[test]
fn the_tables_of_any_sql() {
    let rows: &[(&str, &[&str])] = &[
        ("SELECT 1", &[]),
        ("", &[]),
        (" ;; -- nothing\n; /* at all */ ", &[]),
        ("SELECT * FROM startup_items", &["startup_items"]),
        ("select * from Startup_Items;", &["startup_items"]),
        (
            "SELECT name FROM \"processes\" WHERE path = \"/bin/sh\"",
            &["processes"],
        ),
        ("SELECT [name] FROM [processes]", &["processes"]),
        ("SELECT `name` FROM `processes`", &["processes"]),
        ("SELECT name FROM temp.processes", &["processes"]),
        ("SELECT name FROM main.processes", &["processes"]),
        ("SELECT name FROM \"temp.processes\"", &["temp.processes"]),
        ("SELECT count(*) FROM processes", &["processes"]),
        ("SELECT 1 FROM processes", &["processes"]),
        ("SELECT 1 FROM processes WHERE 0", &["processes"]),
        // Joins.
        (
            "SELECT p.name, l.port FROM processes p JOIN listening_ports l ON p.pid = l.pid",
            &["processes", "listening_ports"],
        ),
        (
            "SELECT p.name FROM processes AS p, users AS u WHERE p.uid = u.uid",
            &["processes", "users"],
        ),
        (
            "SELECT name FROM processes JOIN listening_ports USING (pid)",
            &["processes", "listening_ports"],
        ),
        (
            "SELECT name FROM processes JOIN listening_ports USING (pid, uid) JOIN users USING (uid)",
            &["processes", "listening_ports", "users"],
        ),
        (
            "SELECT name FROM processes NATURAL JOIN hash",
            &["processes", "hash"],
        ),
        (
            "SELECT * FROM a LEFT JOIN b USING (x) LEFT JOIN c USING (x) LEFT JOIN d USING (y)",
            &["a", "b", "c", "d"],
        ),
        (
            "SELECT * FROM a RIGHT JOIN b ON a.x = b.x FULL JOIN c ON b.x = c.x",
            &["a", "b", "c"],
        ),
        (
            "SELECT a.pid FROM processes a JOIN processes b ON a.parent = b.pid",
            &["processes"],
        ),
        (
            "SELECT p.*, l.* FROM processes p CROSS JOIN listening_ports l",
            &["processes", "listening_ports"],
        ),
        (
            "SELECT x FROM (a JOIN b USING (x)) JOIN c USING (x)",
            &["a", "b", "c"],
        ),
        // Subqueries, wherever one can stand.
        (
            "SELECT * FROM (SELECT pid, path FROM processes) AS p JOIN hash USING (path)",
            &["processes", "hash"],
        ),
        (
            "SELECT name FROM users WHERE uid IN (SELECT uid FROM logged_in_users)",
            &["users", "logged_in_users"],
        ),
        (
            "SELECT name FROM users WHERE uid IN logged_in_users",
            &["users", "logged_in_users"],
        ),
        ("SELECT (SELECT count(*) FROM users) AS n", &["users"]),
        (
            "SELECT name FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.x = a.x)",
            &["a", "b"],
        ),
        (
            "SELECT x FROM a ORDER BY (SELECT x FROM b) LIMIT (SELECT y FROM c)",
            &["a", "b", "c"],
        ),
        (
            "SELECT x, sum(y) FROM a GROUP BY (SELECT 1 FROM b) HAVING (SELECT z FROM c) > 1",
            &["a", "b", "c"],
        ),
        (
            "SELECT CASE WHEN x THEN (SELECT y FROM b) END FROM a",
            &["a", "b"],
        ),
        ("SELECT f(x, (SELECT y FROM b)) FROM a", &["a", "b"]),
        (
            "SELECT x FROM a JOIN b ON a.x = (SELECT max(y) FROM c)",
            &["a", "b", "c"],
        ),
        (
            "SELECT sum(x) FILTER (WHERE y IN (SELECT z FROM b)) OVER (PARTITION BY (SELECT 1 FROM c)) FROM a",
            &["a", "c", "b"],
        ),
        (
            "SELECT x FROM a UNION SELECT y FROM b UNION ALL SELECT z FROM c EXCEPT SELECT z FROM d",
            &["d", "c", "b", "a"],
        ),
        ("VALUES (1), ((SELECT x FROM a))", &["a"]),
        // Common table expressions.
        (
            "WITH p AS (SELECT * FROM processes) SELECT * FROM p",
            &["processes"],
        ),
        (
            "WITH p AS (SELECT * FROM processes), q AS (SELECT * FROM p JOIN hash USING (path)) SELECT q.* FROM q",
            &["processes", "hash"],
        ),
        (
            "WITH p(a, b, c) AS (SELECT * FROM processes) SELECT a FROM p",
            &["processes"],
        ),
        (
            "WITH p(a, b, c) AS (SELECT x.*, 1 FROM processes x) SELECT a FROM p",
            &["processes"],
        ),
        (
            "WITH p(a, b, c, d) AS (SELECT * FROM processes, users) SELECT a FROM p",
            &["processes", "users"],
        ),
        (
            "WITH p(a, b, c, d, e, f, g) AS (SELECT y.*, 1, y.* FROM processes x, users y) SELECT a FROM p",
            &["processes", "users"],
        ),
        (
            "WITH processes AS (SELECT * FROM users) SELECT * FROM processes",
            &["users"],
        ),
        (
            "SELECT * FROM (WITH p AS (SELECT * FROM a) SELECT * FROM p) JOIN p",
            &["a", "p"],
        ),
        ("WITH never AS (SELECT * FROM a) SELECT 1", &[]),
        (
            "WITH p AS MATERIALIZED (SELECT * FROM a) SELECT * FROM p, p AS q",
            &["a"],
        ),
        (
            "WITH RECURSIVE up(pid, parent) AS (SELECT pid, parent FROM processes WHERE pid = 7 \
             UNION ALL SELECT p.pid, p.parent FROM processes p JOIN up ON p.pid = up.parent) SELECT * FROM up",
            &["processes"],
        ),
        (
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT * FROM n JOIN users",
            &["users"],
        ),
        // What no schema knows: tables of extensions, functions and collations of osquery.
        (
            "SELECT wifi_ssid FROM acme_corp_wifi_view",
            &["acme_corp_wifi_view"],
        ),
        (
            "SELECT no_such_column FROM processes JOIN no_such_table USING (neither)",
            &["processes", "no_such_table"],
        ),
        (
            "SELECT split(path, '/', 0), regex_match(name, '^a', 0), in_cidr_block('10.0.0.0/8', address) FROM a, b",
            &["a", "b"],
        ),
        (
            "SELECT name FROM deb_packages WHERE version < '1' COLLATE version_dpkg",
            &["deb_packages"],
        ),
        ("SELECT value FROM a, json_each(a.list)", &["a"]),
        (
            "SELECT pid, pid FROM processes, listening_ports ORDER BY 9",
            &["processes", "listening_ports"],
        ),
        ("SELECT * FROM a UNION SELECT x, y FROM b", &["b", "a"]),
        ("SELECT * FROM \"quo\"\"ted\"", &["quo\"ted"]),
        ("SELECT * FROM größe", &["größe"]),
        // Words in the text are no tables.
        (
            "SELECT ' from users ' AS x /* FROM hash */ FROM processes -- from shadow",
            &["processes"],
        ),
        ("SELECT \"from users\" FROM processes", &["processes"]),
        ("SELECT(1)FROM(processes)", &["processes"]),
        ("SELECT\n1\nFROM\tprocesses", &["processes"]),
        // Several statements, whole or not.
        ("SELECT 1 FROM a; SELECT 2 FROM b;", &["a", "b"]),
        (
            "SELECT x FROM a;\n-- and\nSELECT no_such(x) FROM b -- that is all",
            &["a", "b"],
        ),
        (
            "SELECT 1 FROM a; SELECT x FROM b; SELECT 3 FROM a",
            &["a", "b"],
        ),
        (";; SELECT x FROM a ;; SELECT y FROM b ;;", &["a", "b"]),
        (
            "SELECT ';' FROM a; SELECT '; SELECT 1 FROM c' FROM b",
            &["a", "b"],
        ),
        ("SELECT 1 FROM a WHERE x = 1 OR :y", &["a"]),
        ("SELECT count(*) FROM a WHERE 1 = ?1", &["a"]),
    ];
    for (sql, tables) in rows {
        assert_eq!(known(sql), *tables, "{sql}");
    }
}

#[test]
fn what_sqlite_does_not_understand_is_not_guessed() {
    for (sql, why) in [
        (
            "SELEC * FROM processes",
            "SQLite does not understand its SQL: near \"SELEC\": syntax error",
        ),
        (
            "SELECT * FROM",
            "SQLite does not understand its SQL: incomplete input",
        ),
        (
            "SELECT 'a FROM b",
            "SQLite does not understand its SQL: unrecognized token: \"'a FROM b\"",
        ),
        (
            "SELECT * FROM processes; SELEC 1",
            "SQLite does not understand its SQL: near \"SELEC\": syntax error",
        ),
        (
            "SELECT x.* FROM processes",
            "SQLite does not understand its SQL: no such table: x",
        ),
        (
            "SELECT *",
            "SQLite does not understand its SQL: no tables specified",
        ),
        (
            "SELECT * FROM no_schema.processes",
            "SQLite does not understand its SQL: no such table: no_schema.processes",
        ),
        (
            "WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM a",
            "SQLite does not understand its SQL: circular reference: a",
        ),
        ("SELECT 1\0 FROM a", "its SQL holds a NUL character"),
        ("DELETE FROM processes", "its SQL does more than read"),
        (
            "INSERT INTO a SELECT * FROM b",
            "its SQL does more than read",
        ),
        (
            "CREATE VIEW v AS SELECT * FROM processes; SELECT * FROM v",
            "its SQL does more than read",
        ),
        ("PRAGMA hard_heap_limit = 1", "its SQL does more than read"),
        ("ATTACH '/etc/passwd' AS x", "its SQL does more than read"),
        (
            "EXPLAIN SELECT * FROM processes",
            "its SQL does more than read",
        ),
        ("VACUUM INTO '/tmp/x'", "its SQL does more than read"),
    ] {
        assert_eq!(unknown(sql), why, "{sql}");
    }
    // Nothing of a long text is repeated at length.
    let long = format!("SELECT {}", "é".repeat(10_000) + " é é");
    assert!(unknown(&long).len() < 400);
}

/// The tables that each template declares, which SQLite holds its SQL to by other ways.
#[test]
fn the_templates_read_what_they_declare() {
    let mut read = 0;
    for template in Registry::embedded().templates() {
        let mut tables = known(template.sql());
        tables.sort();
        let declared: Vec<&String> = template.tables().keys().collect();
        assert_eq!(
            tables.iter().collect::<Vec<_>>(),
            declared,
            "{}",
            template.name()
        );
        read += tables.len();
    }
    assert!(read > 100, "{read}");
}

/// Texts that are made to cost. Each is read or not, in a time that a thousand of them can take.
#[test]
fn hostile_sql_costs_little() {
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!(
            "SELECT * FROM a WHERE x = {}{inner}{}",
            open.repeat(times),
            close.repeat(times)
        )
    };
    let doubled = |levels: usize| {
        let mut sql = "WITH c0 AS (SELECT x FROM a)".to_owned();
        for level in 1..=levels {
            let below = level - 1;
            sql += &format!(", c{level} AS (SELECT * FROM c{below} AS l, c{below} AS r)");
        }
        format!("{sql} SELECT * FROM c{levels}")
    };
    let doubled_in_expressions = |levels: usize| {
        let mut sql = "WITH c0 AS (SELECT x FROM a)".to_owned();
        for level in 1..=levels {
            let below = level - 1;
            sql += &format!(
                ", c{level} AS (SELECT (SELECT 1 FROM c{below}) + (SELECT 2 FROM c{below}))"
            );
        }
        format!("{sql} SELECT * FROM c{levels}")
    };
    let tables = |number: usize, between: &str| {
        let tables: Vec<String> = (0..number)
            .map(|table| format!("(SELECT 1 FROM t{table})"))
            .collect();
        format!("SELECT {}", tables.join(between))
    };
    let texts = [
        "a".repeat(10 << 20),
        format!("SELECT '{}' FROM a", "x".repeat(10 << 20)),
        format!("SELECT '{}' FROM a", "x".repeat(200_000)),
        nested("(", "1", ")", 100_000),
        nested("(", "1", ")", 400),
        nested("-", "1", "", 100_000),
        nested("NOT ", "1", "", 60_000),
        nested("(SELECT ", "1", ")", 10_000),
        nested("(SELECT 1 FROM (SELECT ", "1", "))", 5_000),
        nested("x+", "1", "", 100_000),
        format!(
            "SELECT * FROM {}a{}",
            "(".repeat(100_000),
            ")".repeat(100_000)
        ),
        format!(
            "SELECT * FROM {}a{}",
            "(SELECT * FROM ".repeat(15_000),
            ")".repeat(15_000)
        ),
        format!(
            "SELECT * FROM {}a{}",
            "(SELECT * FROM ".repeat(200),
            ")".repeat(200)
        ),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(15_000)),
        format!("SELECT 1 FROM a{}", " JOIN a".repeat(30_000)),
        format!("SELECT * FROM a{}", ", a".repeat(63)),
        format!("SELECT {}1 FROM a", "*,".repeat(100_000)),
        "SELECT 1;".repeat(20_000),
        "SELECT x FROM a;".repeat(15_000),
        format!("{}SELECT 1 FROM a", "/**/".repeat(60_000)),
        format!("{}SELECT 1 FROM a", ";".repeat(200_000)),
        doubled(10),
        doubled(30),
        doubled(60),
        doubled_in_expressions(10),
        doubled_in_expressions(22),
        doubled_in_expressions(60),
        tables(200, ", "),
        tables(5_000, ", "),
        tables(300, " + "),
        format!(
            "WITH RECURSIVE {} SELECT 1 FROM c499",
            (0..500)
                .map(|n| format!("c{n} AS (SELECT * FROM c{})", (n + 1) % 500))
                .collect::<Vec<_>>()
                .join(",")
        ),
        format!(
            "WITH a({}) AS (SELECT * FROM b) SELECT 1 FROM a",
            (0..20_000)
                .map(|n| format!("c{n}"))
                .collect::<Vec<_>>()
                .join(",")
        ),
        format!(
            "SELECT 1 FROM a JOIN b USING ({})",
            (0..5_000)
                .map(|n| format!("c{n}"))
                .collect::<Vec<_>>()
                .join(",")
        ),
        format!("SELECT x IN ({}) FROM a", "1,".repeat(100_000) + "1"),
        format!("SELECT x LIKE '{}' FROM a", "%_".repeat(60_000)),
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
            .to_owned(),
        "SELECT randomblob(1000000000), zeroblob(1000000000), load_extension('/x') FROM a"
            .to_owned(),
        "SELECT printf('%1000000000d', 1) FROM a".to_owned(),
    ];
    for text in &texts {
        let began = Instant::now();
        let _ = Tables::of(text);
        let took = began.elapsed();
        let begins: String = text.chars().take(60).collect();
        assert!(took < Duration::from_secs(20), "{begins}: {took:?}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(sql in "\\PC{0,60}|(SELECT|FROM|WITH|AS|a|b|\\*|,|\\(|\\)|JOIN|USING|;|'|\"|\\.| |1|UNION|VALUES|x){0,30}") {
        if let Tables::Known(tables) = Tables::of(&sql) {
            for table in &tables {
                prop_assert!(sql.to_ascii_lowercase().contains(table.as_str()) || table.contains('"'));
            }
        }
    }

    /// Whatever names are put together: all of them, and in their order.
    #[test]
    fn joined_tables_are_all_found(names in proptest::collection::vec("[a-z_]{1,12}|[A-Za-z\u{e4}-\u{fc} .'-]{1,12}", 1..12)) {
        let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
        let joined: Vec<String> = names.iter().map(quoted).collect();
        let mut expected: Vec<String> = Vec::new();
        for name in names.iter().map(|name| name.to_ascii_lowercase()) {
            // SQLite's own tables, and those that are functions.
            prop_assume!(!name.starts_with("sqlite_") && !name.starts_with("json_") && !name.starts_with("pragma_"));
            if !expected.contains(&name) {
                expected.push(name);
            }
        }
        for sql in [
            format!("SELECT * FROM {}", joined.join(" JOIN ")),
            format!("SELECT {}", joined.iter().map(|name| format!("(SELECT x FROM {name})")).collect::<Vec<_>>().join(", ")),
            joined.iter().map(|name| format!("SELECT no_such(y) FROM {name}")).collect::<Vec<_>>().join(";"),
            format!("WITH {} SELECT * FROM {}",
                joined.iter().enumerate().map(|(n, name)| format!("\"{n}\" AS (SELECT * FROM {name})")).collect::<Vec<_>>().join(","),
                (0..joined.len()).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",")),
        ] {
            prop_assert_eq!(Tables::of(&sql), Tables::Known(expected.clone()), "{}", sql);
        }
    }
}
