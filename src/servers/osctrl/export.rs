//! Saved queries as osctrl takes them: a JSON list, each item the body of
//! `POST /api/v1/saved-queries/ENVIRONMENT`.

use serde_json::{Value, json};

use crate::servers::export::ExportedQuery;

/// The bodies, one after the other.
pub fn bodies(saved: &[ExportedQuery<'_>]) -> String {
    let bodies: Vec<Value> = saved
        .iter()
        .map(|one| json!({ "name": one.name, "query": one.sql }))
        .collect();
    format!("{:#}\n", Value::from(bodies))
}
