//! The database in which a template's SQL is prepared: in memory, with just the tables that the template
//! declares, under an authorizer that lets nothing else through. No SQL is ever looked at by patterns to
//! decide what it reads; SQLite's own parser says so.
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

use super::flaw::{At, Invalid};
use super::functions;
use super::host_table::HostTable;
use super::template::Template;
use super::vtab::{Asked, Tables};

/// Limits of the sandbox. osquery's own are SQLite's defaults: what is deeper or wider than those, no host
/// runs; the others only keep a slip of a template's author from costing memory.
const LIMITS: [(Limit, i32); 8] = [
    (Limit::SQLITE_LIMIT_SQL_LENGTH, MOST_SQL_BYTES as i32),
    (Limit::SQLITE_LIMIT_LENGTH, 1 << 20),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 1_000),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 500),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 32),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
    (Limit::SQLITE_LIMIT_VDBE_OP, 100_000),
];

const NOT_SELECT: &str = "must be a SELECT: this statement does not only read";

/// The longest SQL that is sent, in bytes.
pub(super) const MOST_SQL_BYTES: usize = 65_536;

/// A database with a template's tables, in which its SQL can be prepared but has nothing to read.
pub(super) struct Sandbox {
    connection: Connection,
    tables: Arc<Tables>,
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
        Self::with(template, |name| {
            template
                .tables
                .get(name)
                .map(|table| HostTable::declared(name, table))
        })
    }

    /// The same with tables of which more is known than the template says.
    pub(super) fn with(
        template: &Template,
        host: impl Fn(&str) -> Option<HostTable>,
    ) -> rusqlite::Result<Self> {
        let tables = template.tables.keys().filter_map(|name| host(name));
        let allowed = template.tables.iter().map(|(name, table)| {
            let columns = table.all_columns().map(str::to_owned);
            (name.clone(), columns.collect())
        });
        Self::make(template, tables.collect(), allowed.collect())
    }

    /// The same with whole tables, all of which may be read: for what `*` brings and `NATURAL` compares.
    pub(super) fn whole(template: &Template, tables: Vec<HostTable>) -> rusqlite::Result<Self> {
        let allowed = tables.iter().map(|table| {
            let columns = table.columns.iter().map(|column| column.name.clone());
            (table.name.clone(), columns.collect())
        });
        let allowed = allowed.collect();
        Self::make(template, tables, allowed)
    }

    fn make(
        template: &Template,
        tables: Vec<HostTable>,
        allowed: BTreeMap<String, BTreeSet<String>>,
    ) -> rusqlite::Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        // `"typo"` would otherwise turn from a missing column into a string.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        let watch = Watch {
            recursive: template.recursive,
            functions: template.functions.iter().cloned().collect(),
            tables: allowed,
            ..Watch::default()
        };
        let tables = Tables::create(&connection, tables)?;
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
        Ok(Self {
            connection,
            tables,
            watch,
        })
    }

    /// Prepares SQL that has to be one reading statement, and tells its shape. The error says what is
    /// wrong in words that may quote the SQL, so it is for templates, never for SQL with values in it.
    pub(super) fn prepare(&self, sql: &str) -> Result<(Statement<'_>, Shape), Invalid> {
        {
            let mut watch = self.seen();
            watch.seen.clear();
            watch.denied = None;
        }
        self.tables.take_asked();
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
            return Err(NOT_SELECT.into());
        }
        match batch.next() {
            Ok(None) => Ok((statement, shape)),
            _ => Err("must be one statement: there is more after the first".into()),
        }
    }

    /// The tables that the statement which was prepared last reads, with the columns that it uses: those of
    /// `USING` too, which the authorizer is not told.
    pub(super) fn read(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for asked in self.tables.take_asked() {
            let columns = read.entry(asked.table.name.clone()).or_default();
            columns.extend(asked.table.used(asked.used).map(str::to_owned));
        }
        read
    }

    /// Everything that SQLite asks the tables while it plans a statement.
    pub(super) fn asked(&self, sql: &str) -> rusqlite::Result<Vec<Asked>> {
        self.tables.take_asked();
        let _planned = self.connection.prepare(sql)?;
        Ok(self.tables.take_asked())
    }

    /// How a host would read its tables for the statement: each place in it that reads one.
    pub(super) fn plan(&self, sql: &str) -> rusqlite::Result<Vec<Asked>> {
        self.tables.take_asked();
        let mut explained = self.connection.prepare(&format!("EXPLAIN {sql}"))?;
        let asked = self.tables.take_asked();
        let mut rows = explained.query([])?;
        let mut plan = Vec::new();
        while let Some(row) = rows.next()? {
            if row.get_ref("opcode")?.as_str()? == "VFilter" {
                let way: Option<usize> = row.get::<_, String>("p4")?.parse().ok();
                plan.extend(way.and_then(|way| asked.get(way)).cloned());
            }
        }
        Ok(plan)
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
        if message.is_some_and(|message| message.ends_with("may not be modified")) {
            return NOT_SELECT.into();
        }
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
            _ => Err(NOT_SELECT.into()),
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
    /// Whether the authorizer was told that the table is read.
    pub(super) fn reads(&self, table: &str) -> bool {
        self.actions
            .iter()
            .any(|action| matches!(action, Action::Read(read, _) if read == table))
    }

    /// Whether the authorizer was told that the column is read.
    pub(super) fn reads_column(&self, table: &str, column: &str) -> bool {
        self.actions.iter().any(
            |action| matches!(action, Action::Read(read, name) if read == table && name == column),
        )
    }

    /// Whether the function is called.
    pub(super) fn calls(&self, function: &str) -> bool {
        self.actions
            .iter()
            .any(|action| matches!(action, Action::Function(name) if name == function))
    }

    /// Whether two statements read the same columns and call the same functions, however they are put together.
    pub(super) fn reads_the_same(&self, other: &Self) -> bool {
        let reads = |shape: &Self| -> BTreeSet<Action> {
            let actions = shape.actions.iter();
            actions
                .filter(|action| **action != Action::Select)
                .cloned()
                .collect()
        };
        reads(self) == reads(other)
    }

    /// Whether the statement is recursive.
    pub(super) fn is_recursive(&self) -> bool {
        self.actions.contains(&Action::Recursive)
    }
}
