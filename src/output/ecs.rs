//! `--format ecs`: events with the field names of the Elastic Common Schema 9. `event.*`, `host.*` and what the
//! row is of (`process.*`, `file.*`, …) are the schema's; the row itself stands whole in `osquery.result`, under
//! the names that Filebeat's module for osquery gives it. `tests/show/ecs-9.4.0.txt` holds it to the schema.

use serde_json::{Map, Value, json};

use super::observation::{Artifact, Cells, Found, Observation, file_name, object};
use crate::time::rfc3339_of as moment;

/// The schema's version.
pub(super) const VERSION: &str = "9.4.0";

/// The event of an observation.
pub(crate) fn event(seen: &Observation<'_>) -> Value {
    let outcome = match seen.found {
        Found::Row { .. } | Found::Nothing => "success",
        Found::Error(_) => "failure",
        Found::Unsupported | Found::Unknown(_) => "unknown",
    };
    let (artifact, row) = match seen.found {
        Found::Row { row, .. } => (Artifact::of(seen.query.tables, Cells(row)), Some(row)),
        _ => (Artifact::Other, None),
    };
    let reason = match seen.found {
        Found::Unsupported => Some("the host runs no osquery"),
        Found::Unknown(why) => Some(why),
        _ => None,
    };
    let mut event = json!({
        "@timestamp": moment(seen.time),
        "ecs": { "version": VERSION },
        "message": seen.message(),
        "event": object([
            ("id", Some(seen.id.into())),
            ("kind", Some("event".into())),
            ("category", Some(json!([category(artifact)]))),
            ("type", Some(json!(["info"]))),
            ("module", Some("osquery".into())),
            ("dataset", Some("osquery.result".into())),
            ("provider", seen.server.map(Into::into)),
            ("action", seen.query.name.map(Into::into)),
            ("outcome", Some(outcome.into())),
            ("reason", reason.map(Into::into)),
            ("severity", severity(seen).map(Into::into)),
            ("start", seen.query.asked.map(|at| moment(at).into())),
        ]),
        "host": object([
            ("name", Some(seen.host.hostname.into())),
            ("hostname", Some(seen.host.hostname.into())),
            ("id", seen.host.uuid.map(Into::into)),
        ]),
        "related": { "hosts": [seen.host.hostname] },
    });
    if let Some(trace) = seen.trace {
        event["trace"] = json!({ "id": trace });
    }
    if let Found::Error(message) = seen.found {
        event["error"] = json!({ "message": message });
    }
    if let (Some(row), Value::Object(event)) = (row, &mut event) {
        event.extend(of_the_row(artifact, Cells(row)));
    }
    event["osquery"] = json!({
        "result": object([
            ("name", seen.query.name.map(Into::into)),
            ("query", seen.query.sql.map(Into::into)),
            ("run", seen.run.map(Into::into)),
            ("host_identifier", Some(seen.host.uuid.unwrap_or(seen.host.hostname).into())),
            ("unix_time", Some(seen.time.div_euclid(1_000).into())),
            ("columns", row.map(|row| Value::Object(row.clone()))),
        ]),
    });
    event
}

/// As Elastic's own rules count: 21 low, 47 medium, 73 high, 99 critical.
fn severity(seen: &Observation<'_>) -> Option<i64> {
    match (seen.found, seen.severity?) {
        (Found::Row { .. }, "low") => Some(21),
        (Found::Row { .. }, "medium") => Some(47),
        (Found::Row { .. }, "high") => Some(73),
        (Found::Row { .. }, "critical") => Some(99),
        _ => Some(0),
    }
}

fn category(artifact: Artifact) -> &'static str {
    match artifact {
        Artifact::Connection => "network",
        Artifact::RegistryValue => "registry",
        Artifact::Session => "session",
        Artifact::Kernel => "driver",
        Artifact::Process => "process",
        Artifact::File => "file",
        Artifact::User => "iam",
        Artifact::Job
        | Artifact::StartupItem
        | Artifact::Service
        | Artifact::Interface
        | Artifact::Peripheral
        | Artifact::Other => "host",
    }
}

/// The fields that the schema has for what the row is of.
fn of_the_row(artifact: Artifact, row: Cells<'_>) -> Map<String, Value> {
    let text = |columns: &[&str]| row.first(columns).map(Value::from);
    let fields = match artifact {
        Artifact::Connection => connection(row),
        Artifact::Process => object([("process", Some(process(row))), ("user", user(row))]),
        Artifact::File => object([("file", row.text("path").map(|path| file(path, row)))]),
        Artifact::User | Artifact::Session => object([("user", user(row))]),
        Artifact::RegistryValue => object([(
            "registry",
            Some(object([
                ("path", text(&["path"])),
                ("key", text(&["key"])),
                ("value", text(&["name"])),
                (
                    "data",
                    row.text("data").map(|data| json!({ "strings": [data] })),
                ),
            ])),
        )]),
        Artifact::Service => object([(
            "service",
            Some(object([
                ("name", text(&["name", "id"])),
                ("state", text(&["status", "active_state"])),
            ])),
        )]),
        _ => object([]),
    };
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn connection(row: Cells<'_>) -> Value {
    let transport = match row.number("protocol") {
        Some(6) => Some("tcp"),
        Some(17) => Some("udp"),
        _ => None,
    };
    let kind = match row.number("family") {
        // AF_INET, and AF_INET6 of Linux, macOS and Windows.
        Some(2) => Some("ipv4"),
        Some(10 | 30 | 23) => Some("ipv6"),
        _ => None,
    };
    let end = |addresses: [&str; 2], ports: [&str; 2]| {
        let address = addresses.iter().find_map(|column| row.address(column));
        let port = ports.iter().find_map(|column| row.port(column));
        object([
            ("ip", address.map(Into::into)),
            ("port", port.map(Into::into)),
        ])
    };
    object([
        (
            "network",
            Some(object([
                ("transport", transport.map(Into::into)),
                ("type", kind.map(Into::into)),
            ])),
        ),
        (
            "source",
            Some(end(["local_address", "address"], ["local_port", "port"])),
        ),
        (
            "destination",
            Some(end(["remote_address"; 2], ["remote_port"; 2])),
        ),
        ("process", Some(process(row))),
    ])
}

fn process(row: Cells<'_>) -> Value {
    let parent = row.number("parent").map(|pid| json!({ "pid": pid }));
    let of_process = |column| row.text(column).map(Value::from);
    object([
        ("pid", row.number("pid").map(Into::into)),
        ("name", of_process("name")),
        ("executable", of_process("path")),
        ("command_line", of_process("cmdline")),
        ("working_directory", of_process("cwd")),
        (
            "start",
            row.moment("start_time").map(|at| moment(at).into()),
        ),
        ("parent", parent),
    ])
}

fn user(row: Cells<'_>) -> Option<Value> {
    let name = row.first(&["username", "user"]).map(Value::from);
    let id = row.text("uid").map(Value::from);
    (name.is_some() || id.is_some()).then(|| object([("name", name), ("id", id)]))
}

fn file(path: &str, row: Cells<'_>) -> Value {
    let kind = match row.text("type") {
        Some("regular") => Some("file"),
        Some("directory") => Some("dir"),
        Some("symlink") => Some("symlink"),
        _ => None,
    };
    let at = |column| row.moment(column).map(|at| moment(at).into());
    let digest = |column, digits| row.digest(column, digits).map(Value::from);
    object([
        ("path", Some(path.into())),
        (
            "name",
            Some(row.text("filename").unwrap_or(file_name(path)).into()),
        ),
        ("directory", row.text("directory").map(Into::into)),
        ("type", kind.map(Into::into)),
        ("size", row.long("size").map(Into::into)),
        ("mtime", at("mtime")),
        ("ctime", at("ctime")),
        ("accessed", at("atime")),
        ("created", at("btime")),
        ("uid", row.text("uid").map(Into::into)),
        ("gid", row.text("gid").map(Into::into)),
        (
            "hash",
            Some(object([
                ("md5", digest("md5", 32)),
                ("sha1", digest("sha1", 40)),
                ("sha256", digest("sha256", 64)),
            ])),
        ),
    ])
}
