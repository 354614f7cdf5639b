//! osquery's own tables, from a schema file as osquery publishes it for each version (a JSON list of
//! tables), and what a template says that is not so there. Knows nothing of files or of YAML.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use serde::Deserialize;

use super::flaw::{At, Flaw};
use super::template::{Table, Template};
use crate::nearest::question;

/// The tables of one version of osquery.
#[derive(Debug, Clone)]
pub struct OsquerySchema {
    tables: BTreeMap<String, TableSpec>,
}

#[derive(Debug, Clone, Deserialize)]
struct TableSpec {
    name: String,
    #[serde(default)]
    platforms: Vec<String>,
    #[serde(default)]
    evented: bool,
    columns: Vec<ColumnSpec>,
}

#[derive(Debug, Clone, Deserialize)]
struct ColumnSpec {
    name: String,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    required: bool,
    /// Where it exists on some of the table's platforms only.
    #[serde(default)]
    platforms: Option<Vec<String>>,
}

impl OsquerySchema {
    /// Reads a schema file's text.
    ///
    /// # Errors
    /// What is wrong with it, in words that go on after the file's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tables: Vec<TableSpec> = serde_json::from_str(text).map_err(|error| {
            format!(
                "is not a schema of osquery (a JSON list of tables with `name`, `platforms` and `columns`): \
                 line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        if tables.is_empty() {
            return Err("lists no tables".to_owned());
        }
        let by_name = tables.into_iter().map(|table| (table.name.clone(), table));
        Ok(Self {
            tables: by_name.collect(),
        })
    }

    /// Whether the table only has rows where osquery's events are enabled.
    pub fn is_evented(&self, table: &str) -> bool {
        self.tables.get(table).is_some_and(|table| table.evented)
    }

    /// What the template says of osquery that is not so; `sql` is its statement with values in it.
    pub(super) fn flaws(&self, template: &Template, sql: &str) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for (name, declared) in &template.tables {
            match self.tables.get(name) {
                Some(table) => table_flaws(template, table, declared, &mut flaws),
                None => flaws.push(self.unknown_table(name)),
            }
        }
        if flaws.is_empty() {
            flaws.extend(self.unconstrained(template, sql));
        }
        flaws
    }

    fn unknown_table(&self, name: &str) -> Flaw {
        let near = question(name, self.tables.keys().map(String::as_str));
        let near = near.map_or_else(String::new, |question| format!(": {question}"));
        let message = format!("osquery has no table `{name}`{near}");
        Flaw::new(&format!("tables.{name}"), "unknown_table", message)
            .at(At::SqlWord(name.to_owned()))
    }

    /// Tables such as `file` answer with nothing unless a column that osquery requires is constrained.
    ///
    /// SQLite says whether it is: the tables are made with an index on each required column and nothing
    /// else, and a cursor that begins at a table's first row instead of seeking reads it unconstrained.
    fn unconstrained(&self, template: &Template, sql: &str) -> Vec<Flaw> {
        let needy: Vec<(&TableSpec, &Table)> = template
            .tables
            .iter()
            .filter_map(|(name, declared)| Some((self.tables.get(name)?, declared)))
            .filter(|(table, _)| table.columns.iter().any(|column| column.required))
            .collect();
        if needy.is_empty() {
            return Vec::new();
        }
        let scanned = match scanned(template, &needy, sql) {
            Ok(scanned) => scanned,
            Err(error) => {
                let message = format!("`sql` cannot be planned over osquery's tables: {error}");
                return vec![Flaw::new("sql", "plan", message)];
            }
        };
        let flaw = |(table, _): &(&TableSpec, &Table)| {
            let required: Vec<String> = table
                .columns
                .iter()
                .filter(|column| column.required)
                .map(|column| format!("`{}`", column.name))
                .collect();
            let message = format!(
                "`sql` must constrain {} of `{}`, for osquery answers with nothing otherwise",
                required.join(" or "),
                table.name
            );
            Flaw::new("sql", "required_column", message).at(At::SqlWord(table.name.clone()))
        };
        needy
            .iter()
            .filter(|(table, _)| scanned.contains(&table.name))
            .map(flaw)
            .collect()
    }
}

/// What is wrong with the columns and platforms of one table.
fn table_flaws(template: &Template, table: &TableSpec, declared: &Table, flaws: &mut Vec<Flaw>) {
    let name = &table.name;
    let path = format!("tables.{name}");
    let missing = missing_on(template, &table.platforms);
    if !missing.is_empty() {
        let message = format!("`{name}` does not exist on {missing}, which `platforms` names");
        flaws.push(Flaw::new(&path, "platform", message));
        return;
    }
    let known = |column: &str| table.columns.iter().find(|known| known.name == column);
    let at = |column: &str| At::Column {
        table: name.clone(),
        column: column.to_owned(),
    };
    for column in declared.all_columns() {
        let Some(spec) = known(column) else {
            let near = question(
                column,
                table.columns.iter().map(|known| known.name.as_str()),
            );
            let near = near.map_or_else(String::new, |question| format!(": {question}"));
            let message = format!("`{name}` has no column `{column}`{near}");
            flaws.push(Flaw::new(&path, "unknown_column", message).at(at(column)));
            continue;
        };
        let platforms = spec.platforms.as_ref().unwrap_or(&table.platforms);
        let missing = missing_on(template, platforms);
        if !missing.is_empty() {
            let message =
                format!("`{name}.{column}` does not exist on {missing}, which `platforms` names");
            flaws.push(Flaw::new(&path, "platform", message).at(at(column)));
        }
        let under_hidden = declared.hidden.iter().any(|hidden| hidden == column);
        if spec.hidden != under_hidden {
            let message = if spec.hidden {
                format!("`{name}.{column}` is left out of `SELECT *`: list it under `hidden`")
            } else {
                format!("`{name}.{column}` is not hidden: list it under `columns`")
            };
            flaws.push(Flaw::new(&path, "hidden_column", message).at(at(column)));
        }
    }
    if selects_all(&template.sql) {
        for column in table.columns.iter().filter(|column| !column.hidden) {
            let platforms = column.platforms.as_ref().unwrap_or(&table.platforms);
            if missing_on(template, platforms).is_empty()
                && !declared.columns.contains(&column.name)
            {
                let message = format!(
                    "`{path}` must list `{}` too, for `SELECT *` brings it",
                    column.name
                );
                flaws.push(Flaw::new(&path, "select_all", message));
            }
        }
    }
}

/// The template's platforms that are not among these, in words; empty where all are.
fn missing_on(template: &Template, platforms: &[String]) -> String {
    let missing: Vec<&str> = template
        .platforms
        .iter()
        .map(|platform| platform.name())
        .filter(|name| !platforms.iter().any(|platform| platform == name))
        .collect();
    missing.join(" and ")
}

/// Whether the SQL asks for all columns. It looks at words: what it misses is only said less closely.
fn selects_all(sql: &str) -> bool {
    let words: Vec<String> = sql
        .split_whitespace()
        .map(str::to_ascii_lowercase)
        .collect();
    words
        .windows(2)
        .any(|pair| pair[0] == "select" && (pair[1] == "*" || pair[1] == "*,"))
}

/// The names of the tables that SQLite would read from their first row on.
fn scanned(
    template: &Template,
    needy: &[(&TableSpec, &Table)],
    sql: &str,
) -> rusqlite::Result<BTreeSet<String>> {
    let connection = Connection::open_in_memory()?;
    // osquery's tables have no indexes that SQLite could make as it goes.
    connection.pragma_update(None, "automatic_index", false)?;
    for (name, declared) in &template.tables {
        // osquery takes LIKE for a constraint, which SQLite does by an index without regard to case.
        let columns: Vec<String> = declared
            .all_columns()
            .map(|column| format!("\"{column}\" COLLATE NOCASE"))
            .collect();
        connection.execute_batch(&format!("CREATE TABLE \"{name}\" ({})", columns.join(", ")))?;
    }
    for (table, declared) in needy {
        let name = &table.name;
        for column in table.columns.iter().filter(|column| column.required) {
            let column = &column.name;
            if declared.all_columns().any(|read| read == column) {
                connection.execute_batch(&format!(
                    "CREATE INDEX \"{name}.{column}\" ON \"{name}\" (\"{column}\")"
                ))?;
            }
        }
    }
    for function in &template.functions {
        connection.create_scalar_function(
            function.as_str(),
            -1,
            FunctionFlags::SQLITE_UTF8,
            |_| Ok(rusqlite::types::Null),
        )?;
    }
    for collation in &template.collations {
        connection.create_collation(collation.as_str(), |left, right| left.cmp(right))?;
    }
    let pages: BTreeMap<i64, String> = connection
        .prepare("SELECT rootpage, tbl_name FROM sqlite_schema")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare(&format!("EXPLAIN {sql}"))?;
    let steps: Vec<(String, i64, i64, i64)> = statement
        .query_map([], |row| {
            Ok((
                row.get("opcode")?,
                row.get("p1")?,
                row.get("p2")?,
                row.get("p3")?,
            ))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let cursors: BTreeMap<i64, &String> = steps
        .iter()
        .filter(|(opcode, _, _, database)| opcode == "OpenRead" && *database == 0)
        .filter_map(|(_, cursor, page, _)| Some((*cursor, pages.get(page)?)))
        .collect();
    let from_the_first_row = ["Rewind", "Last", "Count"];
    let scanned = steps
        .iter()
        .filter(|(opcode, ..)| from_the_first_row.contains(&opcode.as_str()))
        .filter_map(|(_, cursor, ..)| cursors.get(cursor).map(|name| (*name).clone()))
        .filter(|name| needy.iter().any(|(table, _)| table.name == *name));
    Ok(scanned.collect())
}
