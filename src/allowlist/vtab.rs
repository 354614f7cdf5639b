//! osquery's tables for SQLite: virtual tables that have no row and answer the planner as osquery's do,
//! and that keep what they were asked. What they answer is [`HostTable::answer`]'s to say.
//!
//! The only `unsafe` of the program: rusqlite's two traits are, since SQLite casts what implements them to
//! C structures.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_int};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::types::{Null, ValueRef};
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection,
    VTabCursor, VTabKind, sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};

use super::host_table::{Comparison, HostTable, Offer};

/// SQLite's name for what makes the tables.
const MODULE_NAME: &CStr = c"osquery";

/// The tables of a host, and what SQLite asked them while it planned.
#[derive(Debug, Default)]
pub(super) struct Tables {
    by_name: BTreeMap<String, Arc<HostTable>>,
    asked: Mutex<Vec<Asked>>,
}

/// A question of SQLite's planner and the answer: one way to read a table.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The table.
    pub(super) table: Arc<HostTable>,
    /// SQLite's mask of the columns that the statement uses.
    pub(super) used: u64,
    /// Every comparison that was offered, with the value where it is written in the statement.
    pub(super) offers: Vec<(Offer, Option<String>)>,
    /// The places of the offers that the table takes.
    pub(super) taken: Vec<usize>,
}

impl Tables {
    /// Creates the tables in the connection's `temp` schema, where osquery has them too: `main.processes`
    /// is as unknown here as on a host.
    pub(super) fn create(
        connection: &Connection,
        tables: impl IntoIterator<Item = HostTable>,
    ) -> Result<Arc<Self>> {
        const MODULE: Module<Mirror> = Module::read_only_module();
        let by_name: BTreeMap<String, Arc<HostTable>> = tables
            .into_iter()
            .map(|table| (table.name.clone(), Arc::new(table)))
            .collect();
        let tables = Arc::new(Self {
            by_name,
            asked: Mutex::default(),
        });
        connection.create_module(MODULE_NAME, &MODULE, Some(Arc::clone(&tables)))?;
        for name in tables.by_name.keys() {
            connection.execute_batch(&format!(
                "CREATE VIRTUAL TABLE temp.\"{name}\" USING osquery"
            ))?;
        }
        Ok(tables)
    }

    /// What was asked since this was last called.
    pub(super) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked())
    }

    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table as SQLite holds it.
#[repr(C)]
struct Mirror {
    /// SQLite's own part, which has to come first.
    base: sqlite3_vtab,
    table: Arc<HostTable>,
    tables: Arc<Tables>,
}

/// A cursor over no rows.
#[repr(C)]
struct NoRows {
    /// SQLite's own part, which has to come first.
    base: sqlite3_vtab_cursor,
}

// SAFETY: the struct is `repr(C)` and begins with `sqlite3_vtab`, as the trait asks for.
unsafe impl VTab<'_> for Mirror {
    type Aux = Arc<Tables>;
    type Cursor = NoRows;

    fn connect(
        _: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _module: &[u8],
        _database: &[u8],
        name: &[u8],
        _arguments: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let known = aux.and_then(|tables| {
            let table = tables.by_name.get(std::str::from_utf8(name).ok()?)?;
            Some((table, tables))
        });
        let (table, tables) = known.ok_or(Error::InvalidQuery)?;
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| {
                format!(
                    "\"{}\"{}",
                    column.name,
                    if column.hidden { " HIDDEN" } else { "" }
                )
            })
            .collect();
        // SQLite knows no table without a column; this one has no name that a statement could read.
        let columns = if columns.is_empty() {
            "\"no column\" HIDDEN".to_owned()
        } else {
            columns.join(", ")
        };
        let declaration = CString::new(format!("CREATE TABLE x ({columns})"))?;
        let mirror = Self {
            base: sqlite3_vtab::default(),
            table: Arc::clone(table),
            tables: Arc::clone(tables),
        };
        Ok((Cow::Owned(declaration), mirror))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let offers: Vec<Offer> = info
            .constraints()
            .map(|constraint| Offer {
                column: usize::try_from(constraint.column()).ok(),
                comparison: comparison(&constraint.operator()),
                usable: constraint.is_usable() && !is_limit(&constraint.operator()),
            })
            .collect();
        let used = info.col_used();
        let answer = self.table.answer(used, &offers);
        for (argument, place) in (1..).zip(&answer.taken) {
            info.constraint_usage(*place).set_argv_index(argument);
        }
        info.set_estimated_cost(answer.cost);
        let mut valued = Vec::with_capacity(offers.len());
        for (place, offer) in offers.into_iter().enumerate() {
            valued.push((offer, info.rhs_value(place)?.and_then(written)));
        }
        let mut asked = self.tables.asked();
        // How `EXPLAIN` names this way of reading the table.
        info.set_idx_str(&asked.len().to_string());
        asked.push(Asked {
            table: Arc::clone(&self.table),
            used,
            offers: valued,
            taken: answer.taken,
        });
        Ok(true)
    }

    fn open(&mut self) -> Result<NoRows> {
        Ok(NoRows {
            base: sqlite3_vtab_cursor::default(),
        })
    }
}

impl CreateVTab<'_> for Mirror {
    const KIND: VTabKind = VTabKind::Default;
}

// SAFETY: the struct is `repr(C)` and begins with `sqlite3_vtab_cursor`, as the trait asks for.
unsafe impl VTabCursor for NoRows {
    fn filter(&mut self, _: c_int, _: Option<&str>, _: &Filters<'_>) -> Result<()> {
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        Ok(())
    }

    fn eof(&self) -> bool {
        true
    }

    fn column(&self, context: &mut Context, _: c_int) -> Result<()> {
        context.set_result(Null)
    }

    fn rowid(&self) -> Result<i64> {
        Ok(0)
    }
}

fn comparison(operator: &IndexConstraintOp) -> Comparison {
    use IndexConstraintOp as Op;
    match operator {
        Op::SQLITE_INDEX_CONSTRAINT_EQ => Comparison::Equal,
        Op::SQLITE_INDEX_CONSTRAINT_LIKE => Comparison::Like,
        Op::SQLITE_INDEX_CONSTRAINT_GLOB => Comparison::Glob,
        Op::SQLITE_INDEX_CONSTRAINT_GT
        | Op::SQLITE_INDEX_CONSTRAINT_GE
        | Op::SQLITE_INDEX_CONSTRAINT_LT
        | Op::SQLITE_INDEX_CONSTRAINT_LE => Comparison::Range,
        _ => Comparison::Other,
    }
}

/// SQLite tells a table of LIMIT and OFFSET too, as comparisons of no column.
fn is_limit(operator: &IndexConstraintOp) -> bool {
    matches!(
        operator,
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIMIT
            | IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_OFFSET
    )
}

/// A value that is written in the statement, as text.
fn written(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    }
}
