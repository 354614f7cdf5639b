//! Tests of the allowlist as a whole, one file a topic.

mod binding;
mod calls;
mod check;
mod files;
mod osquery;
mod pack;
mod properties;
mod rows;

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
        foreign: Vec::new(),
    }
}

/// What the built-in template of that name becomes.
fn bind(name: &str, params: &Value) -> Result<Statement, AllowlistError> {
    Registry::embedded().bind(&call(name, params), now())
}

/// The statement's SQL, or the error as printed.
fn sql(name: &str, params: &Value) -> Result<String, String> {
    bind(name, params)
        .map(|statement| statement.sql().to_owned())
        .map_err(|error| error.to_string())
}
