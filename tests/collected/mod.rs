//! The formats of `collect`: each event in each of them, held to the schema that is published for it.

mod gauges;
mod shippers;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use osquery_live_query::inside::Registry;
use osquery_live_query::inside::events::{
    Change, Event, EventFormat, Host, Origin, Query, Reply, Row, Severities, Status, Tables, When,
};
use osquery_live_query::inside::{Access, KnownServer, texts};
use serde_json::{Value, json};

use crate::show::schemas::{against_ecs, against_ocsf};

const FORMATS: [(&str, EventFormat); 4] = [
    ("events", EventFormat::Events),
    ("ocsf", EventFormat::Ocsf),
    ("ecs", EventFormat::Ecs),
    ("aisoc", EventFormat::Aisoc),
];

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/collected")
        .join(name)
}

fn fleet() -> &'static KnownServer {
    Access::Fleet.known()
}

fn osctrl() -> &'static KnownServer {
    let environment = "prod".to_owned();
    Access::Osctrl { environment }.known()
}

fn line(format: EventFormat, event: &Event<'_>) -> Value {
    let mut line = Vec::new();
    format.write(event, &mut line).expect("a buffer");
    let text = String::from_utf8(line).expect("UTF-8");
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    assert!(text.ends_with('\n'));
    serde_json::from_str(&text).expect("JSON")
}

/// The event in a format, which has to be valid.
#[track_caller]
fn valid(name: &str, format: EventFormat, event: &Event<'_>) -> Value {
    let line = line(format, event);
    let against = match format {
        EventFormat::Ocsf => against_ocsf(&line),
        EventFormat::Ecs => against_ecs(&line),
        EventFormat::Events => against_own(&line),
        EventFormat::Aisoc => against_aisoc(&line, event),
    };
    assert!(against.is_empty(), "{name}: {against:?} {line:#}");
    line
}

static OWN: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(texts::EVENT).expect("JSON");
    jsonschema::draft202012::new(&schema).expect("a schema")
});

/// What this program's own schema has against a line.
pub fn against_own(line: &Value) -> Vec<String> {
    let errors = OWN.iter_errors(line);
    errors
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect()
}

/// The fields that AiSOC's connectors write (wire facts), beside a row's columns: all of them and no others.
fn against_aisoc(line: &Value, event: &Event<'_>) -> Vec<String> {
    let of_all = [
        "source",
        "category",
        "severity",
        "title",
        "description",
        "alert_id",
        "hostname",
        "host",
        "external_id",
        "raw_event",
        "raw",
    ];
    let of_queries = ["event_type", "osquery_table", "query_name"];
    let mut names: Vec<&str> = of_all.to_vec();
    if event.query.is_some() {
        names.extend(of_queries);
    }
    let fields = line.as_object().expect("an object");
    let columns = fields["raw_event"].as_object();
    let missing = names.iter().filter(|name| !fields.contains_key(**name));
    let mut against: Vec<String> = missing.map(|name| format!("{name} is missing")).collect();
    let is_row = fields.get("event_type").is_some_and(|kind| {
        kind.as_str()
            .is_some_and(|kind| kind.starts_with("osquery_query_row"))
    });
    for (name, value) in fields {
        let column = columns.filter(|_| is_row).and_then(|row| row.get(name));
        if !names.contains(&name.as_str()) && column != Some(value) {
            against.push(format!("{name} is no field"));
        }
    }
    for name in columns
        .filter(|_| is_row)
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
    {
        if !fields.contains_key(name) {
            against.push(format!("the column {name} is missing"));
        }
    }
    against
}

/// 2026-11-27T07:24:51.123Z, and nine seconds later.
const WHEN: (i64, i64) = (1_795_764_291_123, 1_795_764_300_000);

fn host() -> Host {
    Host {
        id: Some(12),
        uuid: Some("4C4C4544-0000-4000-8000-0000000000AB".to_owned()),
        hostname: "web-01.corp.example.com".to_owned(),
        display_name: Some("Web 1".to_owned()),
        platform: Some("ubuntu".to_owned()),
        status: Some(Status::Online),
        team_id: Some(3),
        last_seen: Some("2026-11-27T07:20:00Z".to_owned()),
    }
}

fn row(json: &str) -> Row<'_> {
    Row::read(json).expect("a row")
}

/// Every kind of event of both servers, in every format: what is written is seen in review.
#[test]
fn every_kind_of_event_in_every_format() {
    let when = When::at(WHEN.0, WHEN.1);
    let host = host();
    let bare = Host {
        uuid: Some("4c4c4544-0000-4000-8000-0000000000ac".to_owned()),
        ..Host::default()
    };
    let severities = Severities::default();
    let fleets = Origin::new(fleet(), "https://fleet.example.com", None);
    let osctrls = Origin::new(osctrl(), "https://osctrl.example.com", Some("prod"));
    let startup = Query::new(
        Some(7),
        "startup items",
        "SELECT s.name, s.path, h.sha256 FROM startup_items s JOIN hash h USING (path)",
        &severities,
    );
    let ports = Query::new(
        Some(9),
        "ports",
        "SELECT pid, port, protocol, family, address FROM listening_ports",
        &severities,
    );
    let odd = Query::new(None, "hunt", "SELEC pid FROM processes", &severities);
    let of = |host, query| Reply { host, query, when };
    let port = r#"{"pid":"77","port":"4444","protocol":"6","family":"2","address":"0.0.0.0","source":"a column","raw":"another"}"#;
    let events = [
        fleets.row(
            of(&host, &startup),
            row(r#"{"name":"evil","path":"/etc/init.d/evil","sha256":""}"#),
            Change::Added,
            0,
        ),
        fleets.row(of(&host, &ports), row(port), Change::Removed, 0),
        fleets.row(of(&host, &ports), row(port), Change::Present, 1),
        osctrls.row(of(&bare, &odd), row("{}"), Change::Added, 0),
        osctrls.row(of(&host, &ports), row(port), Change::Added, 0),
        osctrls.error(of(&bare, &odd), "near \"SELEC\": syntax error"),
        fleets.error(of(&host, &ports), "no such column: prot"),
        fleets.host(&host, Status::Online, when),
        fleets.host(&host, Status::Offline, when),
        fleets.host(&bare, Status::Missing, when),
        fleets.clipped(&ports, when),
        osctrls.clipped(&odd, when),
    ];
    for (name, format) in FORMATS {
        let lines: Vec<String> = events
            .iter()
            .map(|event| {
                let line = valid(name, format, event);
                // The version changes with each release.
                line.to_string()
                    .replace(env!("CARGO_PKG_VERSION"), "VERSION")
                    + "\n"
            })
            .collect();
        let golden = here("golden").join(format!("{name}.ndjson"));
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&golden, lines.concat()).expect("the file");
        }
        let expected = std::fs::read_to_string(&golden).expect("the golden file");
        assert_eq!(
            lines.concat(),
            expected,
            "{name} (UPDATE_CASES=1 writes it again)"
        );
    }
}

/// A schema that takes everything proves nothing.
#[test]
fn the_schema_refuses_what_it_should() {
    let origin = Origin::new(fleet(), "https://fleet.example.com", None);
    let (host, when) = (host(), When::at(WHEN.0, WHEN.1));
    let query = Query::new(Some(1), "q", "SELECT 1 FROM users", &Severities::default());
    let reply = Reply {
        host: &host,
        query: &query,
        when,
    };
    let event = origin.row(reply, row(r#"{"a":"1"}"#), Change::Added, 0);
    let event = line(EventFormat::Events, &event);
    assert_eq!(against_own(&event), Vec::<String>::new());
    for (pointer, value) in [
        ("/id", json!("x")),
        ("/time", json!("yesterday")),
        ("/kind", json!("host")),
        ("/kind", json!("report_clipped")),
        ("/kind", json!("query_error")),
        ("/severity", json!("grave")),
        ("/change", json!(null)),
        ("/row", json!([])),
        ("/host/status", json!("new")),
        ("/host/other", json!(1)),
        ("/error", json!("x")),
        ("/source", json!("fleet")),
        ("/other", json!(1)),
    ] {
        let mut broken = event.clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        broken.pointer_mut(parent).expect("a parent")[name] = value;
        assert!(!against_own(&broken).is_empty(), "{pointer}");
    }
    // Of a row that is gone only its name may be known.
    let mut gone = event.clone();
    gone.as_object_mut().expect("an event").remove("row");
    assert!(!against_own(&gone).is_empty());
    gone["change"] = "removed".into();
    assert_eq!(against_own(&gone), Vec::<String>::new());
    let summary = json!({
        "kind": "summary", "events": 3, "next_since": "2026-11-27T07:24:51.123Z",
        "streams": {"hosts": {"ok": true, "events": 3}, "queries": {"ok": false, "events": 0, "error": {
            "code": "backend", "exit_code": 22, "message": "…", "retryable": true}}},
    });
    assert_eq!(against_own(&summary), Vec::<String>::new());
    for (pointer, value) in [
        ("/streams/other", json!({"ok": true, "events": 0})),
        ("/events", json!(-1)),
        ("/id", json!("x")),
    ] {
        let mut broken = summary.clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        broken.pointer_mut(parent).expect("a parent")[name] = value;
        assert!(!against_own(&broken).is_empty(), "{pointer}");
    }
}

/// The rows that the templates' own tests have, as a saved query of that SQL brings them; and cells of any kind.
#[test]
fn the_rows_of_every_template_are_valid_events() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates");
    let host = host();
    let origin = Origin::new(fleet(), "https://fleet.example.com", None);
    let odd = [
        r#""""#,
        r#""-1""#,
        r#""99999999999999999999""#,
        r#""::ffff:10.0.0.1%eth0""#,
        r#""\u0000\u202e\u00e9\n""#,
        "-1",
        "1.5",
        "1e999",
        "true",
        "null",
        "{\"a\":[1]}",
        r#""\ud800""#,
    ];
    let mut tried = 0;
    for template in Registry::embedded().templates() {
        let text = std::fs::read_to_string(folder.join(format!("{}.yaml", template.name())));
        let data: Value =
            serde_saphyr::from_str(&text.expect("the template's data")).expect("YAML");
        let tables = data["tables"].as_object().expect("tables").values();
        let query = Query::new(
            Some(1),
            template.name(),
            template.sql(),
            &Severities::default(),
        );
        let Tables::Known(known) = query.tables() else {
            panic!("{}: {:?}", template.name(), query.tables());
        };
        assert_eq!(known.len(), template.tables().len());
        let first = tables.filter_map(Value::as_array).flatten().next().cloned();
        let Some(Value::Object(first)) = first else {
            continue;
        };
        let as_text = |value: &Value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        };
        let plain = first
            .iter()
            .map(|(name, value)| (name.clone(), as_text(value).into()));
        let plain = Value::Object(plain.collect()).to_string();
        let columns: Vec<&String> = first.keys().collect();
        let odd = odd.iter().map(|cell| {
            let cells: Vec<String> = columns
                .iter()
                .map(|name| format!("{}:{cell}", json!(name)))
                .collect();
            format!("{{{}}}", cells.join(","))
        });
        for json in std::iter::once(plain).chain(odd) {
            let reply = Reply {
                host: &host,
                query: &query,
                when: When::at(WHEN.0, WHEN.1),
            };
            let event = origin.row(reply, row(&json), Change::Added, 0);
            for (name, format) in FORMATS {
                let line = valid(name, format, &event);
                let kept = match name {
                    "events" => "/row",
                    "ocsf" => "/query_info/data",
                    "ecs" => "/osquery/result/columns",
                    _ => "/raw_event",
                };
                assert_eq!(
                    line.pointer(kept),
                    Some(&Value::Object(row(&json).to_map())),
                    "{name} {json}"
                );
            }
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}
