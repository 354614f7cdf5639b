//! Request bodies as FastAPI and pydantic read them: what is wrong with one is said in their words, and
//! echoed.

use serde_json::{Map, Value, json};

use super::detail;
use crate::http::{Call, Reply};

/// The body's fields; or the 422 that says that it is no object.
pub(super) fn fields(call: &Call) -> Result<Map<String, Value>, Reply> {
    if call.body.is_empty() {
        return Err(refuse(vec![missing(&["body"], &Value::Null)]));
    }
    match read(call)? {
        Value::Object(fields) => Ok(fields),
        other => Err(refuse(vec![json!({
            "type": "model_attributes_type",
            "loc": ["body"],
            "msg": "Input should be a valid dictionary or object to extract fields from",
            "input": other,
        })])),
    }
}

fn read(call: &Call) -> Result<Value, Reply> {
    let kind = call.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_json =
        kind.is_empty() || kind == "application/json" || kind.to_lowercase().ends_with("+json");
    if !is_json {
        return Ok(String::from_utf8_lossy(&call.body).into());
    }
    serde_json::from_slice(&call.body).map_err(|error| {
        let lines = call.body.split(|byte| *byte == b'\n');
        let before: usize = lines
            .take(error.line().saturating_sub(1))
            .map(|line| line.len() + 1)
            .sum();
        refuse(vec![json!({
            "type": "json_invalid",
            "loc": ["body", before + error.column().saturating_sub(1)],
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": "Expecting value"},
        })])
    })
}

/// A field that must be text, in a row of others: what is wrong with it joins the problems.
pub(super) fn text(
    fields: &Map<String, Value>,
    name: &str,
    required: bool,
    problems: &mut Vec<Value>,
) -> Option<String> {
    match fields.get(name) {
        Some(Value::String(text)) => return Some(text.clone()),
        None if required => {
            let input = Value::Object(fields.clone());
            problems.push(missing(&["body", name], &input));
        }
        None => {}
        Some(Value::Null) if !required => {}
        Some(other) => problems.push(json!({
            "type": "string_type",
            "loc": ["body", name],
            "msg": "Input should be a valid string",
            "input": other,
        })),
    }
    None
}

/// What is wrong with a host's rows that are no list.
pub(super) fn no_list(query: &str, input: &Value) -> Value {
    json!({
        "type": "list_type",
        "loc": ["body", "queries", query],
        "msg": "Input should be a valid list",
        "input": input,
    })
}

fn missing(place: &[&str], input: &Value) -> Value {
    json!({"type": "missing", "loc": place, "msg": "Field required", "input": input})
}

/// The 422.
pub(super) fn refuse(problems: Vec<Value>) -> Reply {
    detail(422, problems)
}
