//! Events of OCSF 1.8: a row or an osquery error is of class 5040 (Live Evidence Info), a host's posture of
//! 5001 (Device Inventory Info), a report that is full of 6008 (Application Error).

use serde_json::{Value, json};

use super::super::observation::object;
use super::super::ocsf;
use super::{is_gone, observed};
use crate::campaign::host::Platform;
use crate::events::{Event, Found, Host};
use crate::severity::Severity;
use crate::time::milliseconds;

/// The event.
pub(crate) fn event(event: &Event<'_>) -> Value {
    let mut made = match (observed(event, ocsf::event), event.host, &event.found) {
        (Some(made), ..) => made,
        (None, Some(_), Found::Posture(status)) => of_class(
            event,
            (5, "Discovery"),
            (5001, "Device Inventory Info"),
            (2, "Collect"),
            (1, "Success", status.name()),
        ),
        _ => of_class(
            event,
            (6, "Application Activity"),
            (6008, "Application Error"),
            (1, "General Error"),
            (2, "Failure", event.kind().name()),
        ),
    };
    if is_gone(event) {
        made["query_result"] = "Does not exist".into();
        made["query_result_id"] = 3.into();
    }
    made["message"] = event.title().into();
    if let Some(host) = event.host {
        made["device"] = device(host);
    }
    made["metadata"]["logged_time"] = event.when.observed_at.into();
    // What no word of the schema is for.
    let mut unmapped = json!({
        "kind": event.kind().name(),
        "dedupe_key": event.dedupe_key.to_string(),
    });
    match (&event.found, event.query) {
        (Found::Row(_, change), _) => unmapped["change"] = change.name().into(),
        (Found::Clipped, Some(query)) => {
            unmapped["query"] = json!({ "id": query.id, "name": query.name, "sql": query.sql });
        }
        _ => {}
    }
    made["unmapped"] = unmapped;
    made
}

fn of_class(
    event: &Event<'_>,
    (category, category_name): (u32, &str),
    (class, class_name): (u32, &str),
    (activity, activity_name): (u32, &str),
    (status, status_name, code): (u32, &str, &str),
) -> Value {
    let (severity, severity_id) = match event.severity {
        Severity::Info => ("Informational", 1),
        Severity::Low => ("Low", 2),
        Severity::Medium => ("Medium", 3),
        Severity::High => ("High", 4),
        Severity::Critical => ("Critical", 5),
    };
    json!({
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": category,
        "category_name": category_name,
        "class_uid": class,
        "class_name": class_name,
        "type_uid": class * 100 + activity,
        "type_name": format!("{class_name}: {activity_name}"),
        "time": event.when.time,
        "severity": severity,
        "severity_id": severity_id,
        "status": status_name,
        "status_id": status,
        "status_code": code,
        "metadata": ocsf::metadata(&event.id.to_string(), None, Some(event.origin.known().name)),
    })
}

fn device(host: &Host) -> Value {
    let number = host.id.map(|id| id.to_string());
    let uid = host.uuid.clone().or_else(|| number.clone());
    let os = host.platform.as_deref().map(|word| {
        let (kind, id) = match (Platform::of_host(word), word) {
            (Some(Platform::Linux), _) => ("Linux", 200),
            (Some(Platform::Darwin), _) => ("macOS", 300),
            (Some(Platform::Windows), _) => ("Windows", 100),
            (None, "ios") => ("iOS", 301),
            (None, "ipados") => ("iPadOS", 302),
            (None, "android") => ("Android", 201),
            (None, "") => ("Unknown", 0),
            (None, _) => ("Other", 99),
        };
        json!({ "name": word, "type": kind, "type_id": id })
    });
    let seen = host.last_seen.as_deref().and_then(milliseconds);
    object([
        ("hostname", Some(host.name().into())),
        ("name", host.display_name.clone().map(Into::into)),
        ("uid", uid.map(Into::into)),
        // The server's own name for it, where the uuid took its place.
        (
            "uid_alt",
            number.filter(|_| host.uuid.is_some()).map(Into::into),
        ),
        ("type", Some("Unknown".into())),
        ("type_id", Some(0.into())),
        ("os", os),
        (
            "last_seen_time",
            seen.filter(|seen| *seen > 0).map(Into::into),
        ),
    ])
}
