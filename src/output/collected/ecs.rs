//! Events with the field names of ECS 9.

use serde_json::{Value, json};

use super::super::ecs::{self, VERSION};
use super::super::observation::object;
use super::observed;
use crate::events::{Change, Event, Found, Tables};
use crate::severity::Severity;
use crate::time::rfc3339_of;

/// The event.
pub(crate) fn event(event: &Event<'_>) -> Value {
    let mut made = observed(event, ecs::event).unwrap_or_else(|| plain(event));
    made["message"] = event.title().into();
    made["event"]["created"] = rfc3339_of(event.when.observed_at).into();
    // As Elastic's own rules count.
    made["event"]["severity"] = match event.severity {
        Severity::Info => 0,
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    }
    .into();
    if let Some(host) = event.host {
        let number = host.id.map(|id| id.to_string());
        let platform = host.platform.as_deref().filter(|word| !word.is_empty());
        made["host"] = object([
            ("name", Some(host.name().into())),
            ("hostname", Some(host.name().into())),
            ("id", host.uuid.clone().or(number).map(Into::into)),
            (
                "os",
                platform.map(|platform| json!({ "platform": platform })),
            ),
        ]);
    }
    if let Found::Row(_, change) = &event.found {
        // osquery's own words for it, which Filebeat's module has in this place.
        made["osquery"]["result"]["action"] = match change {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Present => "snapshot",
        }
        .into();
    }
    let host = event.host;
    let tables = event.query.and_then(|query| match query.tables() {
        Tables::Known(tables) => Some(json!(tables)),
        Tables::Unknown(_) => None,
    });
    made["osquery"]["collect"] = object([
        ("kind", Some(event.kind().name().into())),
        ("dedupe_key", Some(event.dedupe_key.to_string().into())),
        ("tables", tables),
        (
            "host_id",
            host.and_then(|host| Some(host.id?.to_string().into())),
        ),
        ("team_id", host.and_then(|host| Some(host.team_id?.into()))),
        (
            "last_seen",
            host.and_then(|host| Some(host.last_seen.clone()?.into())),
        ),
    ]);
    made
}

/// What is of a host or a query only.
fn plain(event: &Event<'_>) -> Value {
    let (dataset, action, kind, outcome) = match &event.found {
        Found::Posture(status) => {
            let action = format!("host-{}", status.name());
            ("osquery.host", action, "info", "success")
        }
        _ => {
            let action = event.kind().name().replace('_', "-");
            ("osquery.report", action, "error", "failure")
        }
    };
    let mut made = json!({
        "@timestamp": rfc3339_of(event.when.time),
        "ecs": { "version": VERSION },
        "event": {
            "id": event.id.to_string(),
            "kind": "event",
            "type": [kind],
            "module": "osquery",
            "dataset": dataset,
            "provider": event.origin.known().name,
            "action": action,
            "outcome": outcome,
        },
        "osquery": {},
    });
    if let Some(host) = event.host {
        made["event"]["category"] = json!(["host"]);
        made["related"] = json!({ "hosts": [host.name()] });
    }
    if let Some(query) = event.query {
        made["osquery"]["result"] = json!({ "name": query.name, "query": query.sql });
    }
    made
}
