//! Events as the connectors of AiSOC (September 2026 sources) make them, for its detections match the names at
//! the top: a row's columns, and over them the fields that every event has. The event as this program knows it
//! is in `raw`.

use serde_json::{Map, Value, json};

use crate::events::{CATEGORY, Change, Event, Found, Tables};
use crate::known_servers::RowIds;

/// Letters of the SQL in `description`.
const MOST_SQL: usize = 400;

/// The event.
pub(crate) fn event(event: &Event<'_>) -> Value {
    let mut made = match &event.found {
        Found::Row(row, _) => row.to_map(),
        _ => Map::new(),
    };
    // A column may have any name; the fields win.
    let mut put = |name: &str, value: Value| drop(made.insert(name.to_owned(), value));
    let known = event.origin.known();
    let hostname = match event.host {
        Some(host) if !host.hostname.is_empty() => host.hostname.as_str().into(),
        Some(host) => host.name().into(),
        None => Value::Null,
    };
    put("source", known.name.into());
    put("category", CATEGORY.into());
    put("severity", event.severity.name().into());
    put("alert_id", alert_id(event).into());
    put("hostname", hostname.clone());
    put("host", hostname);
    let title = known.events.title;
    if let Some(query) = event.query {
        let kind = match &event.found {
            // What is gone must not match as what is there.
            Found::Row(_, Change::Removed) => "osquery_query_row_removed".to_owned(),
            _ => format!("osquery_{}", event.kind().name()),
        };
        let table = match query.tables() {
            Tables::Known(tables) => tables.first().cloned(),
            Tables::Unknown(_) => None,
        };
        let id = query.id.map(|id| id.to_string());
        let sql: String = query.sql.chars().take(MOST_SQL).collect();
        put("event_type", kind.into());
        put("title", format!("{title} query: {}", query.name).into());
        put("description", sql.into());
        put("external_id", id.into());
        put("osquery_table", table.into());
        put("query_name", query.name.clone().into());
    } else if let (Some(host), Found::Posture(status)) = (event.host, &event.found) {
        let platform = host.platform.as_deref().unwrap_or_default();
        let description = format!("hostname={} platform={platform}", host.hostname);
        let title = format!("{title} host status: {}", status.name());
        put("title", title.into());
        put("description", description.into());
        put("external_id", host.id.map(|id| id.to_string()).into());
    }
    let raw_event = match &event.found {
        Found::Row(row, _) => Value::Object(row.to_map()),
        Found::Posture(_) => json!(event.host),
        Found::Error(error) => json!({ "error": error }),
        Found::Clipped => Value::Null,
    };
    put("raw_event", raw_event);
    put("raw", json!(event));
    Value::Object(made)
}

/// The name by which the engine holds alerts together: of a host and status, or of a query and host, however
/// many rows there are.
fn alert_id(event: &Event<'_>) -> String {
    let known = event.origin.known();
    let source = known.name;
    let host = event.host.map(|host| {
        let id = host.id.map(|id| id.to_string());
        id.unwrap_or_else(|| host.name().to_owned())
    });
    let host = host.unwrap_or_default();
    let uuid = event.host.and_then(|host| host.uuid.clone());
    let (id, name) = event.query.map_or((String::new(), ""), |query| {
        let id = query.id.map(|id| id.to_string());
        (id.unwrap_or_else(|| query.name.clone()), &query.name)
    });
    match (&event.found, known.events.row_ids) {
        (Found::Posture(status), _) => format!("{source}-host-{host}-{}", status.name()),
        (Found::Clipped, _) => format!("{source}-q{id}-clipped"),
        (Found::Row(..) | Found::Error(_), RowIds::Numbers) => format!("{source}-q{id}-h{host}"),
        (Found::Row(..) | Found::Error(_), RowIds::Names) => {
            format!("{name}::{}", uuid.unwrap_or(host))
        }
    }
}
