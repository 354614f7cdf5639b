//! Events: valid against the published schemas whatever was asked and whatever came, and with nothing of a
//! row lost.

use std::collections::BTreeSet;
use std::path::Path;

use osquery_live_query::inside::Registry;
use serde_json::{Map, Value, json};

use super::schemas::{against_ecs, against_ocsf};
use super::{sample, show, shown};

/// The events of a document, which all have to be valid.
#[track_caller]
pub fn events(format: &str, document: &Value) -> Vec<Value> {
    let ran = show(format, document.to_string()).run();
    assert_eq!(ran.status, 0, "{ran:?}");
    let events = ran.stdout.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let against = match format {
            "ocsf" => against_ocsf(&event),
            _ => against_ecs(&event),
        };
        assert!(against.is_empty(), "{against:?} {event:#}");
        event
    });
    events.collect()
}

/// A document in which one host answered a template with these rows.
fn answering(template: &str, rows: &[Value]) -> Value {
    let mut document = sample();
    document["results"] = json!({ "web-01": rows });
    document["hosts"] = json!({ "web-01": {
        "status": "ok", "rows": rows.len(), "answered_ms": 1, "answered_at": "2026-11-27T07:04:51.123Z",
    } });
    document["timed_out_hosts"] = json!([]);
    document["failed_hosts"] = json!([]);
    document["run"]["template"] = template.into();
    document
}

/// Every row that the templates' own tests have in a host's tables, as that template's answer.
#[test]
fn the_rows_of_every_template_are_valid_events() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates");
    let mut kinds = BTreeSet::new();
    let mut tried = 0;
    for template in Registry::embedded().templates() {
        let text = std::fs::read_to_string(folder.join(format!("{}.yaml", template.name())));
        let text = text.expect("the template's data");
        let data: Value = serde_saphyr::from_str(&text).expect("YAML");
        let tables = data["tables"].as_object().expect("tables").values();
        let rows = tables.filter_map(Value::as_array).flatten();
        let rows: Vec<Value> = rows.map(as_osquery_sends).collect();
        let document = answering(template.name(), &rows);
        for (format, kept) in [
            ("ocsf", "/query_info/data"),
            ("ecs", "/osquery/result/columns"),
        ] {
            let events = events(format, &document);
            if rows.is_empty() {
                continue;
            }
            assert_eq!(events.len(), rows.len(), "{}", template.name());
            for (event, row) in events.iter().zip(&rows) {
                assert_eq!(event.pointer(kept), Some(row), "{}", template.name());
                if let Some(kind) = event.pointer("/query_evidence/query_type") {
                    kinds.insert(kind.as_str().expect("a text").to_owned());
                }
            }
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried}");
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "File",
            "Job",
            "Kernel",
            "Network Connection",
            "Network Interfaces",
            "Other",
            "Peripheral Device",
            "Process",
            "Registry Value",
            "Service",
            "Session",
            "Startup Item",
            "User",
        ]
    );
}

/// Cells as text, as osquery sends them.
fn as_osquery_sends(row: &Value) -> Value {
    let row = row.as_object().expect("a row").iter();
    let cells = row.map(|(column, cell)| {
        let text = match cell {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        (column.clone(), text.into())
    });
    Value::Object(cells.collect())
}

/// A column may hold anything: a row of each kind with each of its cells replaced by what has not its type.
#[test]
fn cells_of_any_kind_are_valid_events() {
    let odd = [
        json!(""),
        json!(" "),
        json!("-1"),
        json!("99999999999999999999"),
        json!("0x1f"),
        json!("1e3"),
        json!("::ffff:10.0.0.1%eth0"),
        json!("not an address"),
        json!("\u{0}\u{202e}é漢"),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(true),
        json!(null),
    ];
    let columns = [
        "pid",
        "parent",
        "name",
        "path",
        "cmdline",
        "cwd",
        "uid",
        "start_time",
        "username",
        "user",
        "tty",
        "time",
        "protocol",
        "family",
        "state",
        "local_address",
        "local_port",
        "remote_address",
        "remote_port",
        "address",
        "port",
        "filename",
        "directory",
        "type",
        "size",
        "mtime",
        "atime",
        "ctime",
        "btime",
        "md5",
        "sha1",
        "sha256",
        "key",
        "data",
        "id",
        "status",
        "action",
        "command",
        "last_run_time",
        "next_run_time",
        "label",
        "program",
        "args",
        "model",
        "vendor",
        "serial",
        "interface",
        "mac",
        "logon_id",
        "gid",
    ];
    let mut rows = Vec::new();
    for value in &odd {
        let row = |cell: &dyn Fn(usize) -> Value| -> Value {
            let cells = columns.iter().enumerate();
            Value::Object(
                cells
                    .map(|(at, name)| ((*name).to_owned(), cell(at)))
                    .collect::<Map<_, _>>(),
            )
        };
        rows.push(row(&|_| value.clone()));
        // All but one are good.
        rows.extend(
            (0..columns.len())
                .map(|one| row(&|at| if at == one { value.clone() } else { "1".into() })),
        );
    }
    // One template of each kind of row.
    for template in [
        "running_processes",
        "active_connections",
        "listening_ports",
        "logged_in_users",
        "recently_modified_files",
        "startup_items",
        "kernel_modules",
    ] {
        assert!(
            Registry::embedded().template(template).is_ok(),
            "{template}"
        );
        for format in ["ocsf", "ecs"] {
            let events = events(format, &answering(template, &rows));
            assert_eq!(events.len(), rows.len(), "{template} {format}");
        }
    }
}

/// Who did not answer is an event, too: what is known of each kind of target.
#[test]
fn every_target_is_in_the_events() {
    let document = sample();
    let ocsf = events("ocsf", &document);
    let of = |host: &str, key: &str| {
        let event = ocsf
            .iter()
            .find(|event| event["device"]["hostname"] == host);
        event.unwrap_or_else(|| panic!("no event of {host}"))[key].clone()
    };
    for (host, result, status) in [
        ("web-01", 1, 1),
        ("win-02", 1, 1),
        ("web-03", 3, 1),
        ("web-04", 2, 1),
        ("old-server", 4, 2),
        ("db-7", 0, 2),
        ("laptop-0042", 0, 2),
        ("db-8", 0, 2),
        ("ipad-3", 5, 2),
        ("wbe-01", 0, 2),
    ] {
        assert_eq!(of(host, "query_result_id"), result, "{host}");
        assert_eq!(of(host, "status_id"), status, "{host}");
    }
    assert_eq!(ocsf.len(), 12);
    assert_eq!(of("old-server", "status_detail"), "no such column: cwd");
    let ids: BTreeSet<&str> = ocsf
        .iter()
        .filter_map(|event| event["metadata"]["uid"].as_str())
        .collect();
    assert_eq!(ids.len(), ocsf.len(), "an id twice");
    let ecs = events("ecs", &document);
    let outcomes: Vec<&str> = ecs
        .iter()
        .filter_map(|event| event["event"]["outcome"].as_str())
        .collect();
    assert_eq!(outcomes.len(), 12);
    for (outcome, count) in [("success", 6), ("failure", 1), ("unknown", 5)] {
        assert_eq!(
            outcomes.iter().filter(|one| **one == outcome).count(),
            count,
            "{outcome}"
        );
    }
    assert_eq!(ecs[0]["trace"]["id"], "0af7651916cd43dd8448eb211c80319c");
}

/// The class's words are the schema's captions of their ids (OCSF: "normalized to the caption").
#[test]
fn severities_are_those_of_the_templates() {
    for (template, ocsf, ecs) in [
        ("running_processes", json!(["Informational", 1]), 0),
        ("an_operators_own", json!(["Unknown", 0]), -1),
    ] {
        let document = answering(template, &[json!({"pid": "1"})]);
        let event = &events("ocsf", &document)[0];
        assert_eq!(
            json!([event["severity"], event["severity_id"]]),
            ocsf,
            "{template}"
        );
        let event = &events("ecs", &document)[0];
        assert_eq!(
            event["event"]["severity"].as_i64().unwrap_or(-1),
            ecs,
            "{template}"
        );
    }
    let named = |severity: &str| {
        let mut templates = Registry::embedded().templates();
        templates
            .find(|template| template.severity().name() == severity)
            .expect("one")
            .name()
    };
    for (severity, ocsf, ecs) in [
        ("low", json!(["Low", 2]), 21),
        ("medium", json!(["Medium", 3]), 47),
        ("high", json!(["High", 4]), 73),
    ] {
        let document = answering(named(severity), &[json!({"a": "1"})]);
        let event = &events("ocsf", &document)[0];
        assert_eq!(json!([event["severity"], event["severity_id"]]), ocsf);
        assert_eq!(events("ecs", &document)[0]["event"]["severity"], ecs);
        // That there is nothing is no finding.
        let event = &events("ocsf", &answering(named(severity), &[]))[0];
        assert_eq!(event["severity_id"], 1);
    }
}

/// A document that names no moment, no run and no SQL, as other programs write it.
#[test]
fn three_keys_are_enough() {
    let document = json!({"results": {"a": [{"pid": "1"}], "b": []}, "partial": true, "timed_out_hosts": ["c"]});
    for format in ["ocsf", "ecs"] {
        assert_eq!(events(format, &document).len(), 3);
    }
    let event = &events("ocsf", &document)[0];
    assert_eq!(event["unmapped"], json!({"row": {"pid": "1"}}));
    assert!(event["time"].as_i64().expect("a moment") > 1_700_000_000_000);
    for format in super::FORMATS {
        assert!(
            shown(show(format, document.to_string())).contains('a'),
            "{format}"
        );
    }
}
