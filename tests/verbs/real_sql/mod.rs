//! `templates check` on SQL as people write it for osquery: what hosts run well has to pass, and what would
//! come back empty, or with less than it seems, has to be refused with what to write instead. The schema
//! here is a part of osquery's, so that these tests run where the whole is not at hand; where it is, the
//! right ones are checked with it as well.

mod packs;
mod passes;
mod refused;
mod schemas;
mod warned;

use std::path::Path;

use serde_json::Value;

use super::{folder_with, json_of};
use crate::harness::args;

/// Tables as osquery has them; `*` marks a required column, `+` one that is looked up by, `#` a hidden one.
const TABLES: &str = "
    authorized_keys: uid algorithm key key_file
    chrome_extensions: +uid name identifier version
    device_hash: *device *partition *inode md5
    file: *+path *directory filename inode uid size mtime type mode
    groups: +gid groupname
    hash: *+path *directory md5 sha1 sha256
    interface_addresses: interface address
    launchd: +path name label program run_at_load
    listening_ports: pid port protocol address path
    logged_in_users: user host time pid
    os_version: name version platform
    plist: key subkey value *path
    preferences: domain key value username
    process_events: pid path cmdline time
    process_memory_map: +pid path
    process_open_handles: *+pid handle type name
    process_open_sockets: pid remote_address remote_port local_port state
    processes: +pid name path cmdline uid parent start_time on_disk resident_size
    registry: key +path name type data mtime
    scheduled_tasks: name action path enabled hidden
    shell_history: uid time command history_file
    time: unix_time
    uptime: total_seconds days
    user_groups: +uid +gid
    users: +uid gid username directory shell +uuid
    windows_eventlog: channel *channel datetime eventid data #*xpath
    yara_file: *+path matches count sig_group #sigurl
";

/// Columns of numbers; the others hold text.
const NUMBERS: [&str; 24] = [
    "uid",
    "gid",
    "pid",
    "parent",
    "port",
    "protocol",
    "size",
    "mtime",
    "time",
    "inode",
    "start_time",
    "on_disk",
    "resident_size",
    "remote_port",
    "local_port",
    "unix_time",
    "total_seconds",
    "days",
    "enabled",
    "hidden",
    "eventid",
    "count",
    "run_at_load",
    "handle",
];

/// A part of osquery's schema, as a file.
fn schema() -> String {
    let tables: Vec<String> = TABLES
        .lines()
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(name, columns)| {
            let columns: Vec<String> = columns.split_whitespace().map(column).collect();
            let events = name.ends_with("_events");
            format!(
                r#"{{"name": "{name}", "evented": {events}, "columns": [{}]}}"#,
                columns.join(", ")
            )
        })
        .collect();
    format!("[{}]", tables.join(", "))
}

fn column(written: &str) -> String {
    let name = written.trim_start_matches(['*', '+', '#']);
    let has = |mark: char| written[..written.len() - name.len()].contains(mark);
    let kind = if NUMBERS.contains(&name) {
        "bigint"
    } else {
        "text"
    };
    format!(
        r#"{{"name": "{name}", "type": "{kind}", "required": {}, "index": {}, "hidden": {}}}"#,
        has('*'),
        has('+'),
        has('#')
    )
}
/// The template of the SQL; `reads` is `TABLE: COLUMN…` for each table, `more` further lines of its file.
fn template(sql: &str, reads: &[&str], more: &str) -> String {
    let tables: String = reads
        .iter()
        .map(|table| {
            let (name, columns) = table.split_once(':').expect("columns");
            let (columns, hidden) = columns.split_once('#').unwrap_or((columns, ""));
            let list = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(", ");
            format!(
                "  {name}:\n    columns: [{}]\n    hidden: [{}]\n",
                list(columns),
                list(hidden)
            )
        })
        .collect();
    format!(
        "intent: Reads what the test is about.\nplatforms: [linux]\nseverity: info\nsql: |-\n  {}\ntables:\n{tables}{more}",
        sql.replace('\n', "\n  ")
    )
}
/// What is said of a template.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    problems: Vec<String>,
    warnings: Vec<String>,
}

/// What is said of one list of a file's report, each of which has its place.
fn lines(of: &Value, what: &str) -> Vec<String> {
    let list = of[what].as_array().expect("a list").iter();
    let line = |one: &Value| {
        assert!(one["line"].is_u64() && one["column"].is_u64(), "{one}");
        let text = |key: &str| one[key].as_str().expect("a text").to_owned();
        format!("{}: {}", text("rule"), text("message"))
    };
    list.map(line).collect()
}

/// What `templates check` says of each of these templates, with the tables of these files.
fn check(templates: &[String], schemas: &[String]) -> Vec<Said> {
    let name = |place: usize| format!("case_{place:03}");
    let mut files: Vec<(String, String)> = templates
        .iter()
        .enumerate()
        .map(|(place, text)| {
            let name = name(place);
            (format!("pack/{name}.yaml"), format!("name: {name}\n{text}"))
        })
        .collect();
    let schema = |place: usize| format!("schema-{place}.json");
    files.extend(
        schemas
            .iter()
            .enumerate()
            .map(|(place, text)| (schema(place), text.clone())),
    );
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (&**path, &**text))
        .collect();
    let folder = folder_with(&files);
    let mut binary = args(["templates", "check", "--format", "json"]).arg(folder.name("pack"));
    for place in 0..schemas.len() {
        binary = binary
            .arg("--osquery-schema")
            .arg(folder.name(&schema(place)));
    }
    let ran = binary.run();
    let report = json_of(&ran.stdout);
    let checked = report["files"].as_array().expect("files");
    assert_eq!(checked.len(), templates.len(), "{ran:?}");
    let said: Vec<Said> = checked
        .iter()
        .enumerate()
        .map(|(place, file)| {
            let path = file["path"].as_str().expect("a path");
            assert!(path.ends_with(&format!("{}.yaml", name(place))), "{path}");
            Said {
                problems: lines(file, "problems"),
                warnings: lines(file, "warnings"),
            }
        })
        .collect();
    let wrong = said.iter().any(|said| !said.problems.is_empty());
    assert_eq!(
        (ran.status, &*ran.stderr),
        (i32::from(wrong), ""),
        "{ran:?}"
    );
    said
}

/// osquery's whole schema, where it is at hand.
fn whole_schema() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = ["../shared", "../../shared"].into_iter();
    places.find_map(|shared| {
        std::fs::read_to_string(root.join(shared).join("osquery/tables-5.23.1.json")).ok()
    })
}

/// A template as the tests write it: its SQL, what it reads, further lines of its file.
type Case = (&'static str, &'static [&'static str], &'static str);

/// Nothing is said of these, whatever schema is at hand.
fn all_pass(cases: &[Case]) {
    let templates: Vec<String> = cases
        .iter()
        .map(|(sql, reads, more)| template(sql, reads, more))
        .collect();
    for schemas in [vec![schema()], Vec::new()] {
        for ((sql, ..), said) in cases.iter().zip(check(&templates, &schemas)) {
            assert_eq!(said, Said::default(), "{sql}");
        }
    }
    if let Some(whole) = whole_schema() {
        for ((sql, ..), said) in cases.iter().zip(check(&templates, &[whole])) {
            // The platforms are not what this is about.
            let mut wrong = said.problems;
            wrong.retain(|line| !line.starts_with("platform:"));
            assert_eq!(wrong, Vec::<String>::new(), "{sql}");
        }
    }
}

const EMPTY: &str = "because osquery returns no rows otherwise";

/// What is said of a join in the wrong order.
fn comes_first(table: &str) -> String {
    format!(
        "where another table has what it is compared with, that one comes first: `FROM other CROSS JOIN {table} ON …`"
    )
}
