//! osquery's own tables, from a schema file as osquery publishes it for each version (a JSON list of
//! tables), and what a template says that is not so there. Knows nothing of files or of YAML.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::flaw::{At, Flaw};
use super::host_table::{Content, HostTable, Lookup};
use super::sandbox::Sandbox;
use super::template::{Table, Template};
use super::words::words;
use super::{facts, powers};
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
    #[serde(default)]
    index: bool,
    #[serde(default)]
    r#type: String,
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

    /// Adds the tables of another file, such as those of an extension; a table that both have is taken from it.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.tables.extend(other.tables);
        self
    }

    /// Whether the table only has rows where osquery's events are enabled.
    pub fn is_evented(&self, table: &str) -> bool {
        self.tables.get(table).is_some_and(|table| table.evented)
    }

    /// What the template says of osquery's tables that is not so.
    pub(super) fn flaws(&self, template: &Template) -> Vec<Flaw> {
        let mut flaws = Vec::new();
        for (name, declared) in &template.tables {
            match self.table(name) {
                Some(table) => table_flaws(template, name, table, declared, &mut flaws),
                None => flaws.push(self.unknown_table(name)),
            }
        }
        if flaws.is_empty() {
            flaws = self.brought_by_star(template);
        }
        flaws
    }

    /// Columns that `SELECT *` brings on a host and that the template does not list. Read on whole tables,
    /// so that it is SQLite who says what a `*` stands for: a table, a subquery, one side of a join.
    fn brought_by_star(&self, template: &Template) -> Vec<Flaw> {
        let platforms = template.platforms.len();
        let on = |table: &TableSpec, column: &ColumnSpec| {
            let named = column.platforms.as_ref().unwrap_or(&table.platforms);
            platforms - missing(template, named).len()
        };
        let whole = |name: &String| {
            let table = self.table(name)?;
            let names = |hidden: bool| {
                let there = table.columns.iter().filter(|column| on(table, column) > 0);
                let kept = there.filter(|column| column.hidden == hidden);
                kept.map(|column| column.name.clone()).collect()
            };
            let columns = Table {
                columns: names(false),
                hidden: names(true),
            };
            Some(HostTable::declared(name, &columns))
        };
        let tables: Vec<HostTable> = template.tables.keys().filter_map(whole).collect();
        let Ok(sandbox) = Sandbox::whole(template, tables.clone()) else {
            return Vec::new();
        };
        // Whole tables can make a name ambiguous that is none over the columns that are declared.
        let (_, shape) = match sandbox.prepare(&template.sql) {
            Ok(prepared) => prepared,
            Err(invalid) => {
                let message = format!(
                    "`sql` {} on hosts, where the tables have all their columns",
                    invalid.reason
                );
                let flaw = Flaw::new("sql", "sql", message);
                return vec![Flaw {
                    at: invalid.at,
                    ..flaw
                }];
            }
        };
        let used = sandbox.read();
        let is_natural = words(&template.sql).iter().any(|word| word.is("natural"));
        let by = if is_natural {
            "`NATURAL` compares"
        } else {
            "`SELECT *` brings"
        };
        let mut flaws = Vec::new();
        for table in &tables {
            let declared = &template.tables[&table.name];
            let path = format!("tables.{}", table.name);
            let is_used = |place: usize, column: &str| {
                // SQLite counts the columns of very wide tables together.
                let counted = place < 63
                    && used
                        .get(&table.name)
                        .is_some_and(|used| used.contains(column));
                counted || shape.reads_column(&table.name, column)
            };
            for (place, column) in table
                .columns
                .iter()
                .enumerate()
                .filter(|(_, column)| !column.hidden)
            {
                let name = &column.name;
                // What only some of the platforms have, a template can't list.
                let everywhere = self.table(&table.name).is_some_and(|spec| {
                    let mut columns = spec.columns.iter();
                    columns.any(|known| known.name == *name && on(spec, known) == platforms)
                });
                if everywhere
                    && is_used(place, name)
                    && !declared.all_columns().any(|known| known == name)
                {
                    let message = format!("`{path}` must list `{name}` too, for {by} it");
                    flaws.push(Flaw::new(&path, "select_all", message));
                }
            }
        }
        flaws
    }

    /// The table as a host has it, with the columns that the template declares; none where it is unknown.
    pub(super) fn host_table(&self, name: &str, declared: &Table) -> Option<HostTable> {
        let spec = self.table(name)?;
        let mut table = HostTable::declared(name, declared);
        // osquery makes each column of an extension's table one that is looked up.
        let of_extension = !powers::is_of_osquery(name);
        for column in &mut table.columns {
            let Some(spec) = spec.columns.iter().find(|known| known.name == column.name) else {
                continue;
            };
            column.content = match spec.r#type.to_ascii_lowercase().as_str() {
                "text" => Content::Text,
                "integer" | "bigint" | "unsigned_bigint" | "double" => Content::Numbers,
                _ => Content::Unknown,
            };
            if spec.index || of_extension || facts::per_user(name) == Some(&column.name) {
                column.lookup = Lookup::Index;
            }
        }
        for column in spec.columns.iter().filter(|column| column.required) {
            table.require(&column.name);
        }
        Some(table)
    }

    /// The table of that name, which may be a second one.
    fn table(&self, name: &str) -> Option<&TableSpec> {
        let named = self.tables.get(name);
        named.or_else(|| self.tables.get(powers::first_name(name)))
    }

    fn unknown_table(&self, name: &str) -> Flaw {
        let near = question(name, self.tables.keys().map(String::as_str));
        let near = near.map_or_else(String::new, |question| format!(": {question}"));
        let message = format!("osquery has no table `{name}`{near}");
        Flaw::new(&format!("tables.{name}"), "unknown_table", message)
            .at(At::SqlWord(name.to_owned()))
    }
}

/// What is wrong with the columns and platforms of one table.
fn table_flaws(
    template: &Template,
    name: &str,
    table: &TableSpec,
    declared: &Table,
    flaws: &mut Vec<Flaw>,
) {
    let path = format!("tables.{name}");
    let missing = missing_on(template, &table.platforms);
    if !missing.is_empty() {
        let message = format!("`{name}` does not exist on {missing}, which `platforms` names");
        flaws.push(Flaw::new(&path, "platform", message));
        return;
    }
    let known = |column: &str| table.columns.iter().find(|known| known.name == column);
    let at = |column: &str| At::Column {
        table: name.to_owned(),
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
}

/// The template's platforms that are not among these, in words; empty where all are.
fn missing_on(template: &Template, platforms: &[String]) -> String {
    missing(template, platforms).join(" and ")
}

/// The template's platforms that are not among these. A file that names none says nothing of them; those of
/// extensions may say `macos`.
fn missing(template: &Template, platforms: &[String]) -> Vec<&'static str> {
    let is_on = |name: &str| {
        platforms.is_empty()
            || platforms
                .iter()
                .any(|platform| platform == name || (platform == "macos" && name == "darwin"))
    };
    let names = template.platforms.iter().map(|platform| platform.name());
    names.filter(|name| !is_on(name)).collect()
}
