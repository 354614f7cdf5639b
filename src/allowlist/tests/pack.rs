//! The built-in templates: their files, their schema, SQLite's check, and osquery's own tables.

use std::path::Path;

use serde_json::{Value, json};

use super::now;
use crate::allowlist::{Findings, OsquerySchema, Registry, check_file, embedded};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_file_is_built_in() {
    let mut files: Vec<String> = std::fs::read_dir(root().join("templates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let built_in: Vec<String> = embedded::TEMPLATES
        .iter()
        .map(|(name, _)| format!("{name}.yaml"))
        .collect();
    assert_eq!(
        files, built_in,
        "src/allowlist/embedded.rs lists the files of templates/"
    );
}

#[test]
fn every_template_passes_the_check() {
    assert_eq!(Registry::embedded().check_all(now()), Ok(()));
}

#[test]
fn every_file_keeps_the_schema() {
    let schema: Value =
        serde_json::from_str(include_str!("../../../schemas/template.schema.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for (name, text) in embedded::TEMPLATES {
        let document: Value = serde_saphyr::from_str(text).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| error.to_string())
            .collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
}

/// The templates of which an empty answer proves that there is nothing, or which always have a row.
const PROVEN: [&str; 12] = [
    "clock",
    "hosts_file",
    "macos_gatekeeper",
    "macos_sharing",
    "macos_system_integrity_protection",
    "os_information",
    "osquery_information",
    "system_extensions",
    "system_information",
    "uptime",
    "windows_drives",
    "windows_shares",
];

/// Tables whose rows are fewer than they seem to anybody who does not know them, and a word of what each
/// template that reads them has to say about it.
const KNOWN_LIMITS: [(&str, &[&str]); 14] = [
    ("hash", &["`read_max` (50 MiB unless configured)"]),
    (
        "processes",
        &["ended before the query ran", "closed before the query ran"],
    ),
    (
        "process_open_sockets",
        &["closed before the query ran", "Without root"],
    ),
    ("listening_ports", &["Without root"]),
    ("shadow", &["takes root"]),
    ("sudoers", &["Without root"]),
    ("shell_history", &["directory service"]),
    ("authorized_keys", &["directory service"]),
    ("chrome_extensions", &["directory service"]),
    ("docker_containers", &["Docker only"]),
    ("windows_eventlog", &["Only what the log still holds"]),
    ("safari_extensions", &["Full Disk Access"]),
    ("patches", &["cumulative update"]),
    ("augeas", &["`augeas_lenses`"]),
];

#[test]
fn every_template_says_what_an_empty_answer_proves() {
    let mut wrong = Vec::new();
    for template in Registry::embedded().templates() {
        let name = template.name();
        let limits = template.limits().expect(name);
        assert_eq!(limits.is_empty(), PROVEN.contains(&name), "{name}");
        for (table, words) in KNOWN_LIMITS {
            // A join with `processes` that only names who holds a socket or pipe adds no rows.
            let reads = template.tables().contains_key(table)
                && !(table == "processes" && template.sql().contains("LEFT JOIN processes"));
            let says = limits
                .iter()
                .any(|limit| words.iter().any(|word| limit.contains(word)));
            if reads && !says {
                wrong.push(format!(
                    "{name} reads {table}, and does not say what that leaves open"
                ));
            }
        }
        // Patterns are resolved by glob(3) outside Windows.
        let unix = template
            .platforms()
            .iter()
            .any(|platform| platform.name() != "windows");
        if unix && template.sql().contains("path LIKE") && template.tables().contains_key("file") {
            assert!(
                limits
                    .iter()
                    .any(|limit| limit.contains("begins with a dot")),
                "{name}"
            );
        }
        for text in limits.iter().map(String::as_str).chain([template.intent()]) {
            assert!(
                !text.contains("100 MiB"),
                "{name} promises what osquery does not do"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_template_for_machines() {
    let template = Registry::embedded().template("running_processes").unwrap();
    let document = template.to_json();
    assert_eq!(document["name"], "running_processes");
    assert_eq!(document["platforms"], json!(["linux", "darwin", "windows"]));
    assert_eq!(document["parameters"][0]["default"], 100);
    assert_eq!(document["parameters"][0]["maximum"], 10_000);
    assert_eq!(document["severity"], "info");
    assert_eq!(document["limits"].as_array().map(Vec::len), Some(3));
}

fn osquery_schema() -> Option<OsquerySchema> {
    let text = super::osquery_schema_text()?;
    Some(OsquerySchema::parse(&text).unwrap())
}

#[test]
fn every_template_keeps_to_osquerys_tables() {
    let Some(osquery) = osquery_schema() else {
        return;
    };
    for (name, text) in embedded::TEMPLATES {
        let findings = check_file(name, text, Some(&osquery), now());
        assert_eq!(findings, Findings::default(), "{name}");
        // Without a schema file no more is found.
        assert_eq!(
            check_file(name, text, None, now()),
            Findings::default(),
            "{name}"
        );
    }
    for template in Registry::embedded().templates() {
        for table in template.tables().keys() {
            let name = template.name();
            assert!(
                !osquery.is_evented(table),
                "{name}: {table} needs events to be enabled"
            );
        }
    }
}

#[test]
fn wildcards_over_file_systems_stay_out_of_templates() {
    for template in Registry::embedded().templates() {
        let sql = template.sql();
        assert!(
            !sql.contains("%%"),
            "{}: `%%` walks whole trees",
            template.name()
        );
        let reads_files = template
            .tables()
            .keys()
            .any(|table| table == "file" || table == "hash");
        if reads_files {
            assert!(
                !sql.contains("LIKE '/%"),
                "{}: starts with a wildcard",
                template.name()
            );
            assert!(
                !sql.contains("LIKE '%"),
                "{}: starts with a wildcard",
                template.name()
            );
        }
    }
}

#[test]
fn techniques_are_written_as_attack_writes_them() {
    for template in Registry::embedded().templates() {
        for tag in template.tags() {
            let mut signs = tag.chars();
            if signs.next() == Some('T') {
                let number = signs.as_str();
                let (technique, part) = number.split_once('.').unwrap_or((number, "001"));
                let digits = |text: &str, count: usize| {
                    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
                };
                assert!(
                    digits(technique, 4) && digits(part, 3),
                    "{}: {tag}",
                    template.name()
                );
            } else {
                assert_eq!(*tag, tag.to_lowercase(), "{}", template.name());
            }
        }
    }
}
