//! What an agent does with a statement: SQLite over the host's tables, every value as text. The functions
//! that osquery adds to SQLite belong into [`add_osquery_functions`].

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering as Atomically};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};

use crate::rows::{Answered, RowsText};
use crate::scenario::{Cells, ScenarioError, TableSpec};
use crate::tables::{self, Cell};
use crate::versions::{self, Flavor};

/// The tables of one host, or of all hosts of one pattern.
pub(crate) struct Dataset {
    evaluator: Mutex<Evaluator>,
}

struct Evaluator {
    connection: Connection,
    /// Steps left for the running statement, in units of [`STEPS`].
    fuel: Arc<AtomicU32>,
    /// Hosts of one pattern are asked the same: a statement is run once.
    answers: HashMap<String, Arc<Answered>>,
}

/// Virtual machine steps between two looks at the fuel.
const STEPS: i32 = 100_000;
/// What one statement may burn: some seconds. A runaway recursion ends as osquery's watchdog would end it.
const FUEL: u32 = 200;
/// Statements remembered before all are forgotten.
const REMEMBERED: usize = 256;

impl std::fmt::Debug for Dataset {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Dataset")
    }
}

impl Dataset {
    /// The built-in tables, each replaced by the last layer that has it.
    pub fn new(
        layers: &[&BTreeMap<String, TableSpec>],
        now: SystemTime,
    ) -> Result<Self, ScenarioError> {
        let fail =
            |error: rusqlite::Error| ScenarioError::new(format!("tables: {}", text_of(&error)));
        let mut connection = Connection::open_in_memory().map_err(fail)?;
        let mut specs: BTreeMap<&str, Option<&TableSpec>> = tables::names()
            .into_iter()
            .map(|name| (name, None))
            .collect();
        for layer in layers {
            specs.extend(layer.iter().map(|(name, spec)| (name.as_str(), Some(spec))));
        }
        let transaction = connection.transaction().map_err(fail)?;
        for (name, spec) in specs {
            fill(&transaction, name, spec, now).map_err(fail)?;
        }
        transaction.commit().map_err(fail)?;
        let fuel = Arc::new(AtomicU32::new(FUEL));
        fence(&mut connection, &fuel).map_err(fail)?;
        add_osquery_functions(&connection).map_err(fail)?;
        Ok(Self {
            evaluator: Mutex::new(Evaluator {
                connection,
                fuel,
                answers: HashMap::new(),
            }),
        })
    }

    /// What osquery would answer to the statement.
    pub fn answer(&self, sql: &str) -> Arc<Answered> {
        let mut evaluator = self
            .evaluator
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = evaluator.answers.get(sql) {
            return Arc::clone(answer);
        }
        evaluator.fuel.store(FUEL, Atomically::Relaxed);
        let answer = Arc::new(match evaluate(&evaluator.connection, sql) {
            Ok(rows) => Answered::Rows(rows),
            Err(error) => Answered::Error(text_of(&error)),
        });
        let lower = sql.to_ascii_lowercase();
        if !["now", "random", "current_"]
            .iter()
            .any(|word| lower.contains(word))
        {
            if evaluator.answers.len() >= REMEMBERED {
                evaluator.answers.clear();
            }
            evaluator
                .answers
                .insert(sql.to_owned(), Arc::clone(&answer));
        }
        answer
    }
}

fn fill(
    connection: &Connection,
    name: &str,
    spec: Option<&TableSpec>,
    now: SystemTime,
) -> rusqlite::Result<()> {
    let built_in = tables::typed_columns(name);
    let (columns, rows): (Vec<(String, &str)>, Vec<Vec<Cell>>) = match (built_in, spec) {
        (Some(columns), None | Some(TableSpec::Generate(_))) => {
            let count = match spec {
                Some(TableSpec::Generate(generate)) => Some(generate.generate),
                _ => None,
            };
            (owned(columns), tables::rows(name, count, now))
        }
        (built_in, Some(TableSpec::Rows(rows))) => {
            let columns = built_in.map_or_else(
                || {
                    let mut columns: Vec<(String, &str)> = Vec::new();
                    for column in rows.iter().flat_map(|row| row.keys()) {
                        if !columns.iter().any(|(known, _)| known == column) {
                            columns.push((column.clone(), affinity(rows, column)));
                        }
                    }
                    columns
                },
                owned,
            );
            let cells = rows
                .iter()
                .map(|row| {
                    columns
                        .iter()
                        .map(|(column, _)| row.get(column).map_or(Cell::Null, Cell::from))
                        .collect()
                })
                .collect();
            (columns, cells)
        }
        // Refused when the scenario was read.
        (None, _) => (Vec::new(), Vec::new()),
    };
    if columns.is_empty() {
        return Ok(());
    }
    let definitions: Vec<String> = columns
        .iter()
        .map(|(column, kind)| format!("{} {kind}", quoted(column)))
        .collect();
    connection.execute_batch(&format!(
        "CREATE TABLE {} ({})",
        quoted(name),
        definitions.join(", ")
    ))?;
    let marks = vec!["?"; columns.len()].join(", ");
    let mut insert =
        connection.prepare(&format!("INSERT INTO {} VALUES ({marks})", quoted(name)))?;
    for row in rows {
        insert.execute(params_from_iter(row))?;
    }
    Ok(())
}

/// The type of a column that only the scenario knows, from its first cell: SQLite compares a column of
/// text with a number as text, and a column of numbers with text as numbers, as on a real host.
fn affinity(rows: &[Cells], column: &str) -> &'static str {
    let mut cells = rows.iter().filter_map(|row| row.get(column));
    match cells.find(|cell| !cell.is_null()) {
        Some(serde_json::Value::Number(number)) if number.is_f64() => "DOUBLE",
        Some(serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => "BIGINT",
        Some(_) => "TEXT",
        None => "",
    }
}

impl rusqlite::ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, Value};
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Integer(value) => ToSqlOutput::Owned(Value::Integer(*value)),
            Self::Real(value) => ToSqlOutput::Owned(Value::Real(*value)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

fn owned(columns: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    columns
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), *kind))
        .collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whoever sends SQL reads tables and does nothing else to this process or its files.
fn fence(connection: &mut Connection, fuel: &Arc<AtomicU32>) -> rusqlite::Result<()> {
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.authorizer(Some(
        |context: rusqlite::hooks::AuthContext<'_>| match context.action {
            AuthAction::Select
            | AuthAction::Read { .. }
            | AuthAction::Function { .. }
            | AuthAction::Recursive => Authorization::Allow,
            _ => Authorization::Deny,
        },
    ))?;
    let fuel = Arc::clone(fuel);
    connection.progress_handler(
        STEPS,
        Some(move || {
            fuel.fetch_update(Atomically::Relaxed, Atomically::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_err()
        }),
    )
}

/// Runs every statement of the text, as osquery does, and gathers their rows.
fn evaluate(connection: &Connection, sql: &str) -> rusqlite::Result<RowsText> {
    let mut answer = RowsText::default();
    let mut batch = rusqlite::Batch::new(connection, sql);
    while let Some(mut statement) = rusqlite::fallible_iterator::FallibleIterator::next(&mut batch)?
    {
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut cells = Vec::with_capacity(columns.len());
            for (index, column) in columns.iter().enumerate() {
                cells.push((column.clone(), text(row.get_ref(index)?)));
            }
            answer.push(cells);
        }
    }
    Ok(answer)
}

/// osquery sends every value as text, NULL as the empty one.
fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(value) => value.to_string(),
        // SQLite writes fractions with a point always; so does osquery.
        ValueRef::Real(value) if value.fract() == 0.0 && value.abs() < 1e15 => {
            format!("{value:.1}")
        }
        ValueRef::Real(value) => value.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
    }
}

/// SQLite's own message, which is what osquery answers.
fn text_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

/// The functions that osquery adds and that templates use.
fn add_osquery_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("split", 3, flags, |call| {
        let (text, separators): (String, String) = (call.get(0)?, call.get(1)?);
        let index: usize = usize::try_from(call.get::<i64>(2)?).unwrap_or(usize::MAX);
        let mut parts = text
            .split(|character| separators.contains(character))
            .filter(|part| !part.is_empty());
        Ok(parts.nth(index).map(str::to_owned))
    })?;
    connection.create_scalar_function("regex_match", 3, flags, |call| {
        let (text, pattern): (String, String) = (call.get(0)?, call.get(1)?);
        let group: usize = usize::try_from(call.get::<i64>(2)?).unwrap_or(usize::MAX);
        let pattern = regex::Regex::new(&pattern)
            .map_err(|_| rusqlite::Error::UserFunctionError("Invalid regex pattern".into()))?;
        Ok(pattern
            .captures(&text)
            .and_then(|found| found.get(group).map(|part| part.as_str().to_owned())))
    })?;
    for arguments in [2, 3] {
        connection.create_scalar_function("version_compare", arguments, flags, |call| {
            let (one, other): (String, String) = (call.get(0)?, call.get(1)?);
            let flavor = match call.len() {
                2 => Flavor::Generic,
                _ => match call.get::<String>(2)?.as_str() {
                    "DPKG" => Flavor::Dpkg,
                    "RHEL" => Flavor::Rhel,
                    _ => return Err(rusqlite::Error::UserFunctionError("Unknown flavor".into())),
                },
            };
            Ok(match versions::compare(&one, &other, flavor) {
                Ordering::Less => -1,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            })
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    fn answer(sql: &str) -> String {
        let dataset = Dataset::new(&[], SystemTime::now()).expect("the built-in tables");
        match dataset.answer(sql).as_ref() {
            Answered::Rows(rows) => rows.json(&Host::plain(3, "web-03")),
            Answered::Error(text) => format!("error: {text}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn values_are_text_whatever_their_type() {
        assert_eq!(
            answer("SELECT 1 AS i, 2.5 AS r, NULL AS n, 'x<y' AS t, 3.0 AS w"),
            r#"[{"i":"1","n":"","r":"2.5","t":"x\u003cy","w":"3.0"}]"#
        );
    }

    #[test]
    fn the_templates_of_the_contract_find_something() {
        for (sql, rows) in [
            ("SELECT * FROM processes LIMIT 3", 3),
            (
                "SELECT * FROM process_open_sockets WHERE state='ESTABLISHED'",
                4,
            ),
            ("SELECT * FROM logged_in_users", 2),
            ("SELECT * FROM listening_ports", 5),
        ] {
            let read: Vec<serde_json::Value> = serde_json::from_str(&answer(sql)).expect("rows");
            assert_eq!(read.len(), rows, "{sql}");
        }
        let since = crate::clock::unix(SystemTime::now()) - 86_400;
        let recent = answer(&format!(
            "SELECT * FROM file WHERE path LIKE '/tmp/%' AND mtime > {since}"
        ));
        let read: Vec<serde_json::Value> = serde_json::from_str(&recent).expect("rows");
        assert_eq!(read.len(), 3, "two of the five files are older than a day");
    }

    #[test]
    fn errors_are_sqlites_own_words() {
        assert_eq!(answer("SELECT * FROM nope"), "error: no such table: nope");
        assert_eq!(
            answer("SELECT nope FROM processes"),
            "error: no such column: nope"
        );
        assert_eq!(answer("SELEC 1"), "error: near \"SELEC\": syntax error");
    }

    #[test]
    fn what_is_not_reading_is_refused() {
        for sql in [
            "ATTACH DATABASE '/tmp/x' AS x",
            "DROP TABLE processes",
            "PRAGMA user_version = 1",
            "VACUUM INTO '/tmp/x'",
        ] {
            assert!(answer(sql).starts_with("error: "), "{sql}: {}", answer(sql));
        }
    }

    #[test]
    fn a_runaway_recursion_ends() {
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        assert_eq!(answer(endless), "error: interrupted");
    }

    #[test]
    fn osquerys_functions_are_there() {
        assert_eq!(
            answer(
                "SELECT split('a,b;c', ',;', 2) AS s, regex_match('v12', '(\\d+)', 1) AS r, \
                    version_compare('5.10.0', '5.9.1') AS v"
            ),
            r#"[{"r":"12","s":"c","v":"1"}]"#
        );
    }

    #[test]
    fn placeholders_name_the_host() {
        assert_eq!(
            answer("SELECT hostname FROM system_info"),
            r#"[{"hostname":"web-03"}]"#
        );
    }
}
