//! SQLite's judgement of a template: its SQL is prepared on an in-memory database that holds just the
//! tables the template declares, under an authorizer that lets nothing else through. No SQL is ever
//! looked at by patterns here to decide what it reads; SQLite's own parser says so.
//!
//! Why both `sqlite3_stmt_readonly` and an authorizer: `VACUUM INTO` passes an authorizer, and reading
//! `sqlite_master` or an undeclared table is read-only.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Batch, Connection, Statement};

use serde_json::Value;

use super::flaw::{At, Flaw, Invalid};
use super::parameter::{Bound, ParameterType};
use super::template::Template;
use super::{bind, functions};

/// Limits of the sandbox. osquery's own are SQLite's defaults, which are far higher.
const LIMITS: [(Limit, i32); 8] = [
    (Limit::SQLITE_LIMIT_SQL_LENGTH, MOST_SQL_BYTES as i32),
    (Limit::SQLITE_LIMIT_LENGTH, 1 << 20),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 20),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 32),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
];

/// The longest SQL that is sent, in bytes.
pub(super) const MOST_SQL_BYTES: usize = 65_536;

/// A database with a template's tables, in which its SQL can be prepared but has nothing to read.
pub(super) struct Sandbox {
    connection: Connection,
    watch: Arc<Mutex<Watch>>,
}

/// What a statement does, as SQLite's authorizer tells it while it parses: the same for two texts that
/// differ in literals only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    actions: Vec<Action>,
    columns: usize,
}

/// One thing that a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Select,
    Recursive,
    Read(String, String),
    Function(String),
}

/// What the authorizer allows, and what it has seen since it was last asked.
#[derive(Default)]
struct Watch {
    tables: BTreeMap<String, BTreeSet<String>>,
    functions: BTreeSet<String>,
    recursive: bool,
    seen: Vec<Action>,
    denied: Option<Invalid>,
}

impl Sandbox {
    /// Opens the database and creates the tables that the template declares.
    pub(super) fn open(template: &Template) -> rusqlite::Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        // `"typo"` would otherwise turn from a missing column into a string.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        let mut watch = Watch {
            recursive: template.recursive,
            functions: template.functions.iter().cloned().collect(),
            ..Watch::default()
        };
        for (name, table) in &template.tables {
            let columns: Vec<String> = table
                .all_columns()
                .map(|column| format!("\"{column}\""))
                .collect();
            // osquery's tables stand in `temp`: `main.processes` is as unknown here as on a host.
            connection.execute_batch(&format!(
                "CREATE TEMP TABLE \"{name}\" ({})",
                columns.join(", ")
            ))?;
            let columns = table.all_columns().map(str::to_owned).collect();
            watch.tables.insert(name.clone(), columns);
        }
        for name in &template.functions {
            connection.create_scalar_function(
                name.as_str(),
                -1,
                FunctionFlags::SQLITE_UTF8,
                |_| Ok(rusqlite::types::Null),
            )?;
        }
        for name in &template.collations {
            connection
                .create_collation(name.as_str(), |left, right| -> Ordering { left.cmp(right) })?;
        }
        for (limit, most) in LIMITS {
            connection.set_limit(limit, most)?;
        }
        let watch = Arc::new(Mutex::new(watch));
        let watched = Arc::clone(&watch);
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            watched
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .judge(&context)
        }))?;
        Ok(Self { connection, watch })
    }

    /// Prepares SQL that has to be one reading statement, and tells its shape. The error says what is
    /// wrong in words that may quote the SQL, so it is for templates, never for SQL with values in it.
    pub(super) fn prepare(&self, sql: &str) -> Result<(Statement<'_>, Shape), Invalid> {
        {
            let mut watch = self.seen();
            watch.seen.clear();
            watch.denied = None;
        }
        let mut batch = Batch::new(&self.connection, sql);
        let statement = match batch.next() {
            Ok(Some(statement)) => statement,
            Ok(None) => return Err("holds no statement".into()),
            Err(error) => return Err(self.explain(&error)),
        };
        let shape = Shape {
            actions: std::mem::take(&mut self.seen().seen),
            columns: statement.column_count(),
        };
        if statement.is_explain() != 0 {
            return Err("must not be an EXPLAIN".into());
        }
        if !statement.readonly() || shape.columns == 0 {
            return Err("must be a SELECT: this statement does not only read".into());
        }
        match batch.next() {
            Ok(None) => Ok((statement, shape)),
            _ => Err("must be one statement: there is more after the first".into()),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why SQLite did not prepare the statement.
    fn explain(&self, error: &rusqlite::Error) -> Invalid {
        if let Some(denied) = self.seen().denied.take() {
            return denied;
        }
        let (message, offset) = match error {
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                (Some(msg.as_str()), Some(*offset))
            }
            rusqlite::Error::SqliteFailure(_, message) => (message.as_deref(), None),
            _ => (None, None),
        };
        // SQLite gives -1 for places that it does not know, such as that of a table that is not there.
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        let table = || message?.strip_prefix("no such table: ");
        let at = offset.map(At::SqlOffset);
        Invalid {
            at: at.or_else(|| table().map(|name| At::SqlWord(name.to_owned()))),
            reason: message.map_or("is not valid".to_owned(), |message| {
                format!("is not valid: {message}")
            }),
        }
    }
}

impl Watch {
    /// Lets through reading of declared columns and calls of declared or harmless functions.
    fn judge(&mut self, context: &AuthContext<'_>) -> Authorization {
        let action = match context.action {
            AuthAction::Select => Ok(Action::Select),
            AuthAction::Recursive if self.recursive => Ok(Action::Recursive),
            AuthAction::Recursive => {
                Err("is a recursive query: say `recursive: true` where that is meant".into())
            }
            AuthAction::Read {
                table_name,
                column_name,
            } => self.read(table_name, column_name),
            AuthAction::Function { function_name } => self.function(function_name),
            AuthAction::Pragma { .. } => Err("must not use a PRAGMA".into()),
            AuthAction::Attach { .. } => Err("must not attach a database".into()),
            _ => Err("must be a SELECT: this statement does not only read".into()),
        };
        match action {
            Ok(action) => {
                self.seen.push(action);
                Authorization::Allow
            }
            Err(reason) => {
                self.denied.get_or_insert(reason);
                Authorization::Deny
            }
        }
    }

    fn read(&self, table: &str, column: &str) -> Result<Action, Invalid> {
        let Some(columns) = self.tables.get(&table.to_ascii_lowercase()) else {
            return Err(Invalid {
                reason: format!("reads `{table}`, which `tables` does not declare"),
                at: Some(At::SqlWord(table.to_owned())),
            });
        };
        // An empty name stands for a table of which no column is read, as in `count(*)`.
        if !column.is_empty() && !columns.contains(&column.to_ascii_lowercase()) {
            return Err(Invalid {
                reason: format!(
                    "reads the column `{column}` of `{table}`, which `tables` does not declare"
                ),
                at: Some(At::SqlWord(column.to_owned())),
            });
        }
        Ok(Action::Read(
            table.to_ascii_lowercase(),
            column.to_ascii_lowercase(),
        ))
    }

    fn function(&self, written: &str) -> Result<Action, Invalid> {
        let name = written.to_ascii_lowercase();
        if functions::is_harmless(&name) || self.functions.contains(&name) {
            return Ok(Action::Function(name));
        }
        let reason = if functions::OF_OSQUERY.contains(&name.as_str()) {
            format!("calls `{name}`, a function of osquery that `functions` does not declare")
        } else {
            format!("calls `{name}`, which templates may not")
        };
        Err(Invalid {
            reason,
            at: Some(At::SqlWord(name)),
        })
    }
}

impl Shape {
    fn reads(&self, table: &str) -> bool {
        self.actions
            .iter()
            .any(|action| matches!(action, Action::Read(read, _) if read == table))
    }

    fn reads_column(&self, table: &str, column: &str) -> bool {
        self.actions.iter().any(
            |action| matches!(action, Action::Read(read, name) if read == table && name == column),
        )
    }
}

/// Checks a template's SQL and what it declares; all problems at once, as far as the SQL can be prepared.
/// Gives the shape that every statement made of it must have.
pub(super) fn check(template: &Template, sandbox: &Sandbox) -> Result<Shape, Vec<Flaw>> {
    let sql = template.sql.as_str();
    let of_sql = |invalid: Invalid| {
        let flaw = Flaw::new("sql", "sql", format!("`sql` {}", invalid.reason));
        vec![Flaw {
            at: invalid.at,
            ..flaw
        }]
    };
    if sql
        .chars()
        .any(|sign| sign.is_control() && !"\n\t".contains(sign))
    {
        return Err(of_sql("must not hold control characters".into()));
    }
    if sql.to_ascii_lowercase().contains("carves") {
        return Err(of_sql(
            "must not hold the word `carves`: osctrl takes any SQL with that word for a file carve"
                .into(),
        ));
    }
    let (statement, shape) = sandbox.prepare(sql).map_err(of_sql)?;
    let mut problems = parameters(template, &statement);
    let words: BTreeSet<String> = sql
        .split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_')
        .map(str::to_ascii_lowercase)
        .collect();
    for (name, table) in &template.tables {
        let path = format!("tables.{name}");
        if !shape.reads(name) {
            let message = format!("`{path}` is declared, but the SQL does not read that table");
            problems.push(Flaw::new(&path, "unused_table", message));
            continue;
        }
        // SQLite does not report the columns of USING, hence the second look at the words.
        for column in table.all_columns() {
            if !shape.reads_column(name, column) && !words.contains(column) {
                let message = format!("`{path}` declares `{column}`, but the SQL does not read it");
                let at = At::Column {
                    table: name.clone(),
                    column: column.to_owned(),
                };
                problems.push(Flaw::new(&path, "unused_column", message).at(at));
            }
        }
    }
    for name in &template.functions {
        if !shape.actions.contains(&Action::Function(name.clone())) {
            let message = format!("`functions` declares `{name}`, but the SQL does not call it");
            problems.push(Flaw::new("functions", "unused_function", message));
        }
    }
    for name in &template.collations {
        if !words.contains(name) {
            let message = format!("`collations` declares `{name}`, but the SQL does not name it");
            problems.push(Flaw::new("collations", "unused_collation", message));
        }
    }
    if template.recursive && !shape.actions.contains(&Action::Recursive) {
        let message = "`recursive` is true, but the SQL is not recursive".to_owned();
        problems.push(Flaw::new("recursive", "unused_recursive", message));
    }
    if problems.is_empty() {
        Ok(shape)
    } else {
        Err(problems)
    }
}

/// The check of a template, with its SQL bound to its defaults, its examples and the edges of its types;
/// `now` is unix seconds.
pub(super) fn at_its_edges(template: &Template, now: i64) -> Result<(), Vec<Flaw>> {
    let sandbox = Sandbox::open(template).map_err(|error| vec![unopened(&error)])?;
    let shape = check(template, &sandbox)?;
    let texts = |kind: &ParameterType, own: [&Option<String>; 2]| {
        let mut texts: Vec<String> = own.into_iter().flatten().cloned().collect();
        texts.extend(kind.edges());
        texts
    };
    // Each text of each parameter once, the others at their first text.
    let of_each: BTreeMap<&str, Vec<Bound>> = template
        .parameters
        .iter()
        .map(|(name, parameter)| {
            let bound = texts(&parameter.kind, [&parameter.default, &parameter.example])
                .iter()
                .filter_map(|text| parameter.kind.accept(&Value::from(text.as_str()), now).ok())
                .collect();
            (name.as_str(), bound)
        })
        .collect();
    let most = of_each.values().map(Vec::len).max().unwrap_or(1);
    for turn in 0..most {
        let values = of_each
            .iter()
            .filter_map(|(name, bound)| {
                let value = bound.get(turn).or_else(|| bound.first())?;
                Some((*name, value.clone()))
            })
            .collect();
        bind::bind(template, &sandbox, &shape, &values).map_err(|reason| {
            let message = format!("`sql` cannot be bound to its own examples: {reason}");
            vec![Flaw::new("sql", "binding", message)]
        })?;
    }
    Ok(())
}

/// SQLite could not make the sandbox: the tables are declared in a way that it does not take.
pub(super) fn unopened(error: &rusqlite::Error) -> Flaw {
    Flaw::new(
        "tables",
        "tables",
        format!("SQLite cannot hold the tables that `tables` declares: {error}"),
    )
}

/// Every parameter of the SQL is named and declared, every declared one is used, and `LIKE` is given
/// patterns only: `%` and `_` are wildcards to it whatever the value's type.
fn parameters(template: &Template, statement: &Statement<'_>) -> Vec<Flaw> {
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).unwrap_or_default();
        let Some(name) = name.strip_prefix(':') else {
            let message = "`sql` must name its parameters as `:name`, not `?`, `@name` or `$name`";
            let at = At::SqlWord(name.to_owned());
            problems.push(Flaw::new("sql", "parameter_form", message).at(at));
            continue;
        };
        used.insert(name);
        if !template.parameters.contains_key(name) {
            let message = format!("`sql` uses `:{name}`, which `parameters` does not declare");
            let at = At::SqlWord(name.to_owned());
            problems.push(Flaw::new("sql", "undeclared_parameter", message).at(at));
        }
    }
    let compared = compared_by_pattern(&template.sql);
    for (name, parameter) in &template.parameters {
        let path = format!("parameters.{name}");
        if !used.contains(name.as_str()) {
            let message = format!("`{path}` is declared, but the SQL does not use `:{name}`");
            problems.push(Flaw::new(&path, "unused_parameter", message));
        }
        if compared.contains(name.as_str()) && !parameter.kind.is_pattern() {
            let message = format!(
                "`{path}` stands after LIKE: make it a `pattern` or a `path_pattern`, or compare with ="
            );
            problems.push(Flaw::new(&path, "wildcards", message));
        }
        if matches!(&parameter.kind, ParameterType::Choice { choices } if choices.is_empty()) {
            let message = format!("`{path}` needs `choices`");
            problems.push(Flaw::new(&path, "choices", message));
        }
    }
    problems
}

/// The parameters that stand in what LIKE and its kin compare with, `'%' || :name` included. This looks
/// at words and may see one too many; it guards against a slip of the template's author, not of a step.
fn compared_by_pattern(sql: &str) -> BTreeSet<String> {
    const OPERATORS: [&str; 4] = ["like", "glob", "match", "regexp"];
    const ENDS: [&str; 8] = [
        "and", "or", "limit", "order", "group", "union", "where", "from",
    ];
    let mut found = BTreeSet::new();
    let mut inside = false;
    for word in sql.to_ascii_lowercase().split_whitespace() {
        if OPERATORS.contains(&word) {
            inside = true;
        } else if ENDS.contains(&word) {
            inside = false;
        } else if inside {
            let is_name = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
            for part in word.split(':').skip(1) {
                found.insert(part.chars().take_while(|sign| is_name(*sign)).collect());
            }
        }
    }
    found
}
