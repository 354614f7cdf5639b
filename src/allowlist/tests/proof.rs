//! Statements that carry their own proof: what SQLite makes of each template inside the fixed statement, over
//! tables that answer the planner as osquery's do, and which templates can have none.

use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Map, Value, json};

use super::{call, now, osquery_schema_text};
use crate::allowlist::proof::{MARKER, wrapped};
use crate::allowlist::sandbox::Sandbox;
use crate::allowlist::{Asking, Origins, OsquerySchema, Registry, Statement, Template, facts};
use crate::known_servers::Proof;

/// A template's call with its examples, for a server that proves so much.
fn bound(registry: &Registry, template: &Template, proof: Proof) -> Result<Statement, String> {
    let parameters = template.parameters().iter();
    let params: Map<String, Value> = parameters
        .filter(|(_, parameter)| parameter.default.is_none())
        .filter_map(|(name, parameter)| Some((name.clone(), parameter.example.as_deref()?.into())))
        .collect();
    let asking = Asking {
        origins: &Origins::unknown(),
        now: now(),
        proof,
    };
    let call = call(template.name(), &params.into());
    let bound = registry.binder().bind(&call, &asking);
    bound.map_err(|error| error.to_string())
}

/// How a host would read its tables: each by its name, with the columns that are used and the comparisons
/// that are handed to it.
fn plan(template: &Template, osquery: Option<&OsquerySchema>, sql: &str) -> Vec<String> {
    let host = |name: &str| {
        let declared = template.tables().get(name)?;
        let known = osquery.and_then(|osquery| osquery.host_table(name, declared));
        Some(known.unwrap_or_else(|| facts::host_table(name, declared)))
    };
    let sandbox = Sandbox::with(template, host).unwrap();
    let plan = sandbox.plan(sql).unwrap();
    let mut read: Vec<String> = plan
        .iter()
        .map(|asked| {
            let mut taken: Vec<String> = asked
                .taken
                .iter()
                .filter_map(|place| asked.offers.get(*place))
                .map(|(offer, value)| {
                    format!("{:?} {:?} {value:?}", offer.column, offer.comparison)
                })
                .collect();
            taken.sort();
            let used: Vec<&str> = asked.table.used(asked.used).collect();
            format!("{} {used:?} {taken:?}", asked.table.name)
        })
        .collect();
    read.sort();
    read
}

#[test]
fn every_template_reads_its_tables_with_its_proof_as_without() {
    let registry = Registry::embedded();
    let schema = osquery_schema_text().map(|text| OsquerySchema::parse(&text).unwrap());
    let (mut templates, mut compared) = (0, 0);
    for template in registry.templates() {
        let name = template.name();
        assert_eq!(registry.unprovable(template, Proof::Marker), None, "{name}");
        let plain = bound(registry, template, Proof::Itself).unwrap();
        let proven = bound(registry, template, Proof::Marker).unwrap();
        assert_eq!(proven.sql(), wrapped(plain.sql()), "{name}");
        assert_eq!((plain.marker(), proven.marker()), (None, Some(MARKER)));
        for osquery in [None, schema.as_ref()] {
            let read = plan(template, osquery, plain.sql());
            compared += read.iter().filter(|read| !read.ends_with("[]")).count();
            assert_eq!(plan(template, osquery, proven.sql()), read, "{name}");
        }
        templates += 1;
    }
    assert!(templates > 150 && compared > 40, "{templates} {compared}");
}

/// A template over one table `processes` with the columns `pid` and `name`.
fn template(sql: &str) -> Registry {
    let text = format!(
        "name: one\nintent: Tries what can stand inside another statement.\nsql: |-\n  {}\n\
         platforms: [linux]\nseverity: info\ntables:\n  processes:\n    columns: [pid, name]\n",
        sql.replace('\n', "\n  ")
    );
    Registry::new([("one", text)])
}

/// What SQLite answers to the statement with its proof, over these rows.
fn rows(sql: &str, processes: &[(i64, &str)]) -> Vec<Vec<Cell>> {
    let registry = template(sql);
    let one = registry.template("one").unwrap();
    let proven = bound(&registry, one, Proof::Marker).unwrap();
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch("CREATE TABLE processes (pid, name)")
        .unwrap();
    for row in processes {
        let insert = "INSERT INTO processes VALUES (?, ?)";
        connection
            .execute(insert, [&row.0 as &dyn rusqlite::ToSql, &row.1])
            .unwrap();
    }
    let mut statement = connection.prepare(proven.sql()).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|at| row.get(at)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn rows_keep_their_order_and_their_limit_and_none_is_one_row() {
    let processes = [(3, "c"), (1, "a"), (2, "b")];
    let row = |pid: i64, name: &str| vec![Cell::Integer(1), pid.into(), name.to_owned().into()];
    let nothing = || vec![vec![Cell::Null; 3]];
    for (sql, expected) in [
        (
            "SELECT pid, name FROM processes ORDER BY pid",
            vec![row(1, "a"), row(2, "b"), row(3, "c")],
        ),
        (
            "SELECT pid, name FROM processes ORDER BY pid DESC",
            vec![row(3, "c"), row(2, "b"), row(1, "a")],
        ),
        (
            "SELECT pid, name FROM processes ORDER BY pid LIMIT 2",
            vec![row(1, "a"), row(2, "b")],
        ),
        (
            "SELECT pid, name FROM processes ORDER BY pid LIMIT 1 OFFSET 2;",
            vec![row(3, "c")],
        ),
        (
            "SELECT pid, name FROM processes WHERE pid = 2 -- one",
            vec![row(2, "b")],
        ),
        (
            "SELECT pid, name FROM processes WHERE pid = 2 -- one\n;",
            vec![row(2, "b")],
        ),
        (
            "SELECT pid, name FROM processes WHERE pid = 2 ; \n",
            vec![row(2, "b")],
        ),
        (
            "WITH p AS (SELECT pid, name FROM processes) SELECT * FROM p WHERE pid > 2",
            vec![row(3, "c")],
        ),
        (
            "SELECT pid, name FROM processes WHERE pid > 2 UNION ALL SELECT 9, name FROM processes WHERE pid = 1",
            vec![row(3, "c"), row(9, "a")],
        ),
        (
            "SELECT DISTINCT pid, name FROM processes WHERE pid > 9 ORDER BY pid",
            nothing(),
        ),
        ("SELECT pid, name FROM processes LIMIT 0", nothing()),
    ] {
        assert_eq!(rows(sql, &processes), expected, "{sql}");
    }
    // A count has a row in any case, and names its column as it does outermost.
    let count = "SELECT count(*) FROM processes WHERE pid > 9 OR name = ''";
    assert_eq!(rows(count, &processes), [[1.into(), 0.into()]]);
}

#[test]
fn what_can_have_no_proof_is_refused_for_these_servers_only() {
    for (sql, why) in [
        (
            "SELECT pid, name AS live_query_matched FROM processes",
            "it has a result column called `live_query_matched`, by which an answer without rows is told from one that failed",
        ),
        (
            "SELECT pid, name AS LIVE_query_matched FROM processes",
            "it has a result column called `live_query_matched`, by which an answer without rows is told from one that failed",
        ),
        (
            "SELECT pid, name AS PID FROM processes",
            "it has a result column `PID` whose name another one has in other letters, which SQLite keeps apart only in the outermost statement",
        ),
        (
            "SELECT pid, name FROM processes; -- all",
            "it can't stand inside another statement",
        ),
    ] {
        let registry = template(sql);
        let one = registry.template("one").unwrap();
        assert_eq!(
            bound(&registry, one, Proof::Itself).map(|it| it.marker()),
            Ok(None),
            "{sql}"
        );
        let said = format!(
            "template `one` can't be asked for through this server, which drops hosts' errors: {why}"
        );
        let refused = bound(&registry, one, Proof::Marker).unwrap_err();
        assert_eq!(refused, said, "{sql}");
        let listed = registry.unprovable(one, Proof::Marker);
        assert_eq!(listed.map(|why| format!("it {why}")).as_deref(), Some(why));
        assert_eq!(registry.unprovable(one, Proof::Itself), None);
    }
}

#[test]
fn what_is_sent_is_no_longer_than_any_sql() {
    let sql = |length: usize| {
        format!(
            "SELECT pid, name FROM processes WHERE name != '{}'",
            "x".repeat(length)
        )
    };
    for (length, fits) in [(60_000, true), (65_440, false)] {
        let registry = template(&sql(length));
        let one = registry.template("one").unwrap();
        assert!(bound(&registry, one, Proof::Itself).is_ok());
        assert_eq!(
            bound(&registry, one, Proof::Marker).is_ok(),
            fits,
            "{length}"
        );
    }
}

#[test]
fn a_preview_shows_what_would_be_sent() {
    let asking = Asking {
        origins: &Origins::unknown(),
        now: now(),
        proof: Proof::Marker,
    };
    let call = call("running_processes", &json!({"limit": "{{ alert.n }}"}));
    let mut binder = Registry::embedded().binder();
    let preview = binder.preview(&call, &["limit"], &asking).unwrap();
    let plain = "SELECT * FROM processes LIMIT {{ alert.n }}";
    assert_eq!(preview, wrapped(plain));
}
