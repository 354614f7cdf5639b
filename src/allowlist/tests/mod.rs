//! Tests of the allowlist as a whole, one file a topic.

mod binding;
mod calls;
mod check;
mod editor;
mod files;
mod forms;
mod osquery;
mod pack;
mod proof;
mod properties;
mod rows;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::{AllowlistError, Registry, Statement};
use crate::step::model::TemplateCall;

/// A fixed moment, in unix seconds.
const NOW: i64 = 1_795_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs())
}

/// A call of a template with parameters written as JSON.
fn call(name: &str, params: &Value) -> TemplateCall {
    TemplateCall {
        name: name.to_owned(),
        params: params.as_object().cloned().unwrap_or_else(Map::new),
    }
}

/// What the built-in template of that name becomes.
fn bind(name: &str, params: &Value) -> Result<Statement, AllowlistError> {
    Registry::embedded().bind(&call(name, params), now())
}

/// What a parameter of a template for these platforms is bound as, an SQL literal; `lines` are those of the
/// parameter, whoever gave the value.
fn with(platforms: &str, lines: &str, value: &Value) -> Result<String, String> {
    let lines: String = lines
        .lines()
        .map(|line| format!("    {}\n", line.trim()))
        .collect();
    let operator = if lines.contains("pattern") || lines.contains("every_user") {
        "LIKE"
    } else {
        "="
    };
    let text = format!(
        "name: one\nintent: Tries a parameter of some type in tests.\n\
         sql: SELECT pid FROM processes WHERE name {operator} :value\nplatforms: [{platforms}]\n\
         severity: info\ntables:\n  processes:\n    columns: [pid, name]\n\
         parameters:\n  value:\n    description: The value.\n{lines}"
    );
    let call = call("one", &serde_json::json!({ "value": value }));
    let registry = Registry::new([("one", text)]);
    let bound = registry.bind(&call, now());
    let template = registry.template("one").expect("the template");
    editor::assert_agrees(template, &call.params, bound.is_ok());
    let sql = bound.map_err(|error| error.to_string())?.sql().to_owned();
    let literal = sql.split(&format!(" {operator} ")).nth(1);
    Ok(literal.unwrap_or_default().to_owned())
}

/// The statement's SQL, or the error as printed.
fn sql(name: &str, params: &Value) -> Result<String, String> {
    bind(name, params)
        .map(|statement| statement.sql().to_owned())
        .map_err(|error| error.to_string())
}

/// Where osquery's schema lies beside the repository, its text; where it does not, that is said.
fn osquery_schema_text() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../shared", "../../shared"]
        .map(|shared| root.join(shared).join("osquery/tables-5.23.1.json"));
    let text = places
        .iter()
        .find_map(|file| std::fs::read_to_string(file).ok());
    if text.is_none() {
        #[expect(clippy::print_stderr, reason = "says that the test is skipped")]
        {
            eprintln!("skipped: ../shared/osquery/tables-5.23.1.json is not there");
        }
    }
    text
}

/// osquery's tables as the schema has them, where it is there.
pub(super) fn osquery_tables() -> Option<Vec<Value>> {
    let text = osquery_schema_text()?;
    Some(serde_json::from_str(&text).expect("a list of tables"))
}
