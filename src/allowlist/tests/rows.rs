//! What the data in `tests/templates/` cannot hold: templates whose rows depend on the day, or are many.

use rusqlite::Connection;
use rusqlite::types::{Value as Cell, ValueRef};
use serde_json::{Value, json};

use super::{call, now};
use crate::allowlist::Registry;

/// A template's tables with rows, each a list of the columns that matter; all others are NULL.
struct Host {
    connection: Connection,
    template: &'static str,
}

impl Host {
    fn of(template: &'static str) -> Self {
        let connection = Connection::open_in_memory().unwrap();
        let declared = Registry::embedded().template(template).unwrap();
        for (name, table) in declared.tables() {
            let columns: Vec<String> = table
                .all_columns()
                .map(|column| format!("\"{column}\""))
                .collect();
            connection
                .execute_batch(&format!(
                    "CREATE TEMP TABLE \"{name}\" ({})",
                    columns.join(", ")
                ))
                .unwrap();
        }
        Self {
            connection,
            template,
        }
    }

    fn rows(self, table: &str, columns: &[&str], rows: &[Value]) -> Self {
        let names: Vec<String> = columns
            .iter()
            .map(|column| format!("\"{column}\""))
            .collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let sql = format!(
            "INSERT INTO \"{table}\" ({}) VALUES ({marks})",
            names.join(", ")
        );
        for row in rows {
            let cells = row.as_array().unwrap().iter().map(|cell| match cell {
                Value::Number(number) => Cell::Integer(number.as_i64().unwrap()),
                other => Cell::Text(other.as_str().unwrap().to_owned()),
            });
            self.connection
                .execute(&sql, rusqlite::params_from_iter(cells))
                .unwrap();
        }
        self
    }

    /// One column of what the template answers.
    fn answers(&self, params: &Value, column: &str) -> Vec<String> {
        let bound = Registry::embedded().bind(&call(self.template, params), now());
        let sql = bound.unwrap().sql().to_owned();
        let mut statement = self.connection.prepare(&sql).unwrap();
        let index = statement.column_index(column).unwrap();
        let rows = statement.query_map([], |row| {
            Ok(match row.get_ref(index)? {
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{:?}", other.data_type()),
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

#[test]
fn process_tree_ends() {
    // Two processes that are each other's parent, as a reused id makes them.
    let host = Host::of("process_tree").rows(
        "processes",
        &["pid", "parent"],
        &[json!([5, 6]), json!([6, 5])],
    );
    assert_eq!(host.answers(&json!({"pid": 5}), "pid").len(), 33);
}

#[test]
fn password_ages_are_days() {
    let today = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        / 86_400;
    let host = Host::of("password_ages").rows(
        "shadow",
        &["username", "password_status", "last_change"],
        &[
            json!(["anna", "active", today - 40]),
            json!(["bin", "locked", 0]),
        ],
    );
    let ages = host.answers(&json!({}), "age_days");
    assert!(ages == ["40"] || ages == ["41"], "{ages:?}");
}
