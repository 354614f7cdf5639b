//! `--format ocsf`: events of the Open Cybersecurity Schema Framework 1.8, class 5040 (Live Evidence Info) of
//! the category Discovery. One event a row, and one for each target that has none, so that who did not answer
//! is in them, too. The row stands whole in `query_info.data`, and as far as the schema has a word for what it
//! is of, in `query_evidence`. `tests/show/ocsf-1.8.0.schema.json` holds it to the published schema.

use serde_json::{Value, json};

use super::observation::{Artifact, Cells, Found, Observation, file_name, object};

/// The schema's version.
const VERSION: &str = "1.8.0";

/// The event of an observation.
pub(crate) fn event(seen: &Observation<'_>) -> Value {
    let (result, result_id) = match seen.found {
        Found::Row { all: true, .. } => ("Exists", 1),
        Found::Row { all: false, .. } => ("Partial", 2),
        Found::Nothing => ("Does not exist", 3),
        Found::Error(_) => ("Error", 4),
        Found::Unsupported => ("Unsupported", 5),
        Found::Unknown(_) => ("Unknown", 0),
    };
    let (status, status_id) = match seen.found {
        Found::Row { .. } | Found::Nothing => ("Success", 1),
        Found::Error(_) | Found::Unsupported | Found::Unknown(_) => ("Failure", 2),
    };
    let detail = match seen.found {
        Found::Error(detail) | Found::Unknown(detail) => Some(detail),
        _ => None,
    };
    let (severity, severity_id) = severity(seen);
    let mut event = json!({
        "activity_id": 1,
        "activity_name": "Query",
        "category_uid": 5,
        "category_name": "Discovery",
        "class_uid": 5040,
        "class_name": "Live Evidence Info",
        "type_uid": 504_001,
        "type_name": "Live Evidence Info: Query",
        "time": seen.time,
        "severity": severity,
        "severity_id": severity_id,
        "status": status,
        "status_id": status_id,
        "query_result": result,
        "query_result_id": result_id,
        "message": seen.message(),
        "device": device(seen),
        "metadata": metadata(seen.id, seen.run, seen.server),
        "query_evidence": evidence(seen),
    });
    if let Some(detail) = detail {
        event["status_detail"] = detail.into();
    }
    // Without its text the schema knows no query.
    if let Some(sql) = seen.query.sql {
        let data = match seen.found {
            Found::Row { row, .. } => Some(Value::Object(row.clone())),
            _ => None,
        };
        event["query_info"] = object([
            // One of the two has to be there.
            ("name", Some(seen.query.name.unwrap_or("live query").into())),
            ("uid", seen.query.id.map(Into::into)),
            ("query_string", Some(sql.into())),
            ("query_time", seen.query.asked.map(Into::into)),
            ("data", data),
        ]);
    } else if let Found::Row { row, .. } = seen.found {
        event["unmapped"] = json!({ "row": row });
    }
    event
}

/// A row's severity is its query's; that there is none is no finding.
fn severity(seen: &Observation<'_>) -> (&'static str, u8) {
    match (seen.found, seen.severity) {
        (Found::Row { .. }, None) => ("Unknown", 0),
        (Found::Row { .. }, Some("low")) => ("Low", 2),
        (Found::Row { .. }, Some("medium")) => ("Medium", 3),
        (Found::Row { .. }, Some("high")) => ("High", 4),
        (Found::Row { .. }, Some("critical")) => ("Critical", 5),
        _ => ("Informational", 1),
    }
}

fn device(seen: &Observation<'_>) -> Value {
    object([
        ("hostname", Some(seen.host.hostname.into())),
        ("uid", seen.host.uuid.map(Into::into)),
        ("type", Some("Unknown".into())),
        ("type_id", Some(0.into())),
    ])
}

/// Of an event with this id, of a run, from a kind of server.
pub(super) fn metadata(id: &str, run: Option<&str>, server: Option<&str>) -> Value {
    object([
        ("version", Some(VERSION.into())),
        (
            "product",
            Some(json!({
                "name": env!("CARGO_PKG_NAME"),
                "vendor_name": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
            })),
        ),
        ("uid", Some(id.into())),
        ("correlation_uid", run.map(Into::into)),
        ("log_provider", server.map(Into::into)),
    ])
}

/// What the row is of. Exactly one of the schema's objects has to be there; where none fits, it is the one
/// that is a list, and empty, for that claims nothing.
fn evidence(seen: &Observation<'_>) -> Value {
    let none = json!({ "query_type_id": 99, "query_type": "Other", "network_interfaces": [] });
    let Found::Row { row, .. } = seen.found else {
        return none;
    };
    let row = Cells(row);
    let (id, kind, name, what) = match Artifact::of(seen.query.tables, row) {
        Artifact::Connection => return connection(row),
        Artifact::Process => (10, "Process", "process", process(row)),
        Artifact::File => (
            2,
            "File",
            "file",
            row.text("path").map(|path| file(path, row)),
        ),
        Artifact::User => (13, "User", "user", user(row)),
        Artifact::Session => (12, "Session", "session", Some(session(row))),
        Artifact::Service => (11, "Service", "service", service(row)),
        Artifact::Job => (5, "Job", "job", job(row)),
        Artifact::StartupItem => (15, "Startup Item", "startup_item", startup_item(row)),
        Artifact::RegistryValue => (17, "Registry Value", "reg_value", registry_value(row)),
        Artifact::Peripheral => (9, "Peripheral Device", "peripheral_device", peripheral(row)),
        Artifact::Kernel => (1, "Kernel", "kernel", kernel(row)),
        Artifact::Interface => (
            8,
            "Network Interfaces",
            "network_interfaces",
            interface(row),
        ),
        Artifact::Other => return none,
    };
    match what {
        Some(what) => {
            let mut evidence = json!({ "query_type_id": id, "query_type": kind });
            evidence[name] = what;
            evidence
        }
        None => none,
    }
}

fn text(value: Option<&str>) -> Option<Value> {
    value.map(Into::into)
}

fn connection(row: Cells<'_>) -> Value {
    let family = match row.number("family") {
        // AF_INET, and AF_INET6 of Linux, macOS and Windows.
        Some(2) => Some(("Internet Protocol version 4 (IPv4)", 4)),
        Some(10 | 30 | 23) => Some(("Internet Protocol version 6 (IPv6)", 6)),
        _ => None,
    };
    let protocol = row
        .number("protocol")
        .filter(|number| (0..256).contains(number));
    let info = object([
        ("direction", Some("Unknown".into())),
        ("direction_id", Some(0.into())),
        ("protocol_num", protocol.map(Into::into)),
        (
            "protocol_name",
            match protocol {
                Some(6) => Some("tcp".into()),
                Some(17) => Some("udp".into()),
                _ => None,
            },
        ),
        ("protocol_ver", family.map(|(name, _)| name.into())),
        ("protocol_ver_id", family.map(|(_, id)| id.into())),
    ]);
    let state = row.text("state");
    let known = state.and_then(|state| {
        let id = match state {
            "ESTABLISHED" => 1,
            "SYN_SENT" => 2,
            "SYN_RECV" | "SYN_RECEIVED" => 3,
            "FIN_WAIT1" | "FIN_WAIT_1" => 4,
            "FIN_WAIT2" | "FIN_WAIT_2" => 5,
            "TIME_WAIT" => 6,
            "CLOSED" | "CLOSE" => 7,
            "CLOSE_WAIT" => 8,
            "LAST_ACK" => 9,
            "LISTEN" => 10,
            "CLOSING" => 11,
            _ => return None,
        };
        Some(Value::from(id))
    });
    object([
        ("query_type_id", Some(7.into())),
        ("query_type", Some("Network Connection".into())),
        ("connection_info", Some(info)),
        ("state", text(state)),
        ("tcp_state_id", known),
    ])
}

fn process(row: Cells<'_>) -> Option<Value> {
    let parent = row.number("parent").map(|pid| json!({ "pid": pid }));
    Some(object([
        ("pid", Some(row.number("pid")?.into())),
        ("name", text(row.text("name"))),
        ("path", text(row.text("path"))),
        ("cmd_line", text(row.text("cmdline"))),
        ("working_directory", text(row.text("cwd"))),
        ("created_time", row.moment("start_time").map(Into::into)),
        ("parent_process", parent),
        ("user", user(row)),
    ]))
}

fn file(path: &str, row: Cells<'_>) -> Value {
    let (kind, id) = match row.text("type") {
        Some("regular") => ("Regular File", 1),
        Some("directory") => ("Folder", 2),
        Some("character") => ("Character Device", 3),
        Some("block") => ("Block Device", 4),
        Some("socket") => ("Local Socket", 5),
        Some("fifo") => ("Named Pipe", 6),
        Some("symlink") => ("Symbolic Link", 7),
        _ => ("Unknown", 0),
    };
    let hashes = [
        ("md5", 32, "MD5", 1),
        ("sha1", 40, "SHA-1", 2),
        ("sha256", 64, "SHA-256", 3),
    ];
    let hashes: Vec<Value> = hashes
        .into_iter()
        .filter_map(|(column, digits, algorithm, id)| {
            let value = row.digest(column, digits)?;
            Some(json!({ "algorithm": algorithm, "algorithm_id": id, "value": value }))
        })
        .collect();
    object([
        (
            "name",
            Some(row.text("filename").unwrap_or(file_name(path)).into()),
        ),
        ("path", Some(path.into())),
        ("parent_folder", text(row.text("directory"))),
        ("type", Some(kind.into())),
        ("type_id", Some(id.into())),
        ("size", row.long("size").map(Into::into)),
        ("modified_time", row.moment("mtime").map(Into::into)),
        ("accessed_time", row.moment("atime").map(Into::into)),
        ("created_time", row.moment("btime").map(Into::into)),
        ("owner", row.text("uid").map(|uid| json!({ "uid": uid }))),
        ("hashes", (!hashes.is_empty()).then(|| hashes.into())),
    ])
}

fn user(row: Cells<'_>) -> Option<Value> {
    let name = row.first(&["username", "user"]);
    let uid = row.text("uid");
    (name.is_some() || uid.is_some()).then(|| object([("name", text(name)), ("uid", text(uid))]))
}

fn session(row: Cells<'_>) -> Value {
    let created = row.moment("time").or(row.moment("logon_time"));
    object([
        ("uid", text(row.first(&["logon_id", "session_id", "pid"]))),
        ("terminal", text(row.text("tty"))),
        ("created_time", created.map(Into::into)),
    ])
}

fn service(row: Cells<'_>) -> Option<Value> {
    let name = row.first(&["name", "id"])?;
    Some(json!({ "name": name }))
}

fn job(row: Cells<'_>) -> Option<Value> {
    let command = row.first(&["action", "command"]);
    let name = row.text("name").or(command)?;
    Some(object([
        ("name", Some(name.into())),
        ("cmd_line", text(command)),
        ("run_state", text(row.text("state"))),
        ("last_run_time", row.moment("last_run_time").map(Into::into)),
        ("next_run_time", row.moment("next_run_time").map(Into::into)),
    ]))
}

fn startup_item(row: Cells<'_>) -> Option<Value> {
    let name = row.first(&["name", "label"])?;
    let runs = [
        row.first(&["path", "program"]),
        row.first(&["args", "program_arguments"]),
    ];
    let runs: Vec<&str> = runs.into_iter().flatten().collect();
    let command = (!runs.is_empty()).then(|| Value::from(runs.join(" ")));
    let user = row.first(&["username"]);
    Some(json!({
        "name": name,
        "start_type": "Unknown",
        "start_type_id": 0,
        "job": object([
            ("name", Some(name.into())),
            ("cmd_line", command),
            ("user", user.map(|user| json!({ "name": user }))),
        ]),
    }))
}

fn registry_value(row: Cells<'_>) -> Option<Value> {
    let path = row.first(&["key", "path"])?;
    Some(object([
        ("name", Some(row.text("name")?.into())),
        ("path", Some(path.into())),
        ("data", text(row.text("data"))),
        ("type", text(row.text("type"))),
        ("modified_time", row.moment("mtime").map(Into::into)),
    ]))
}

fn peripheral(row: Cells<'_>) -> Option<Value> {
    Some(object([
        ("name", Some(row.text("model")?.into())),
        ("model", text(row.text("model"))),
        ("vendor_name", text(row.text("vendor"))),
        ("serial_number", text(row.text("serial"))),
    ]))
}

fn kernel(row: Cells<'_>) -> Option<Value> {
    Some(object([
        ("name", Some(row.text("name")?.into())),
        ("type", Some("Other".into())),
        ("type_id", Some(99.into())),
        ("path", text(row.text("path"))),
    ]))
}

fn interface(row: Cells<'_>) -> Option<Value> {
    let mac = row.text("mac").filter(|mac| {
        let parts: Vec<&str> = mac.split([':', '-']).collect();
        let hexadecimal =
            |part: &&str| part.len() == 2 && part.bytes().all(|one| one.is_ascii_hexdigit());
        parts.len() == 6 && parts.iter().all(hexadecimal)
    });
    let interface = object([
        ("name", Some(row.text("interface")?.into())),
        ("mac", text(mac)),
        ("ip", row.address("address").map(Into::into)),
    ]);
    Some(json!([interface]))
}
