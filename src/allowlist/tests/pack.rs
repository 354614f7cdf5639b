//! The built-in templates: their files, their schema, SQLite's check, and osquery's own tables.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::{call, now};
use crate::allowlist::{Registry, Template, embedded};

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

#[test]
fn a_template_for_machines() {
    let template = Registry::embedded().template("running_processes").unwrap();
    let document = template.to_json();
    assert_eq!(document["name"], "running_processes");
    assert_eq!(document["platforms"], json!(["linux", "darwin", "windows"]));
    assert_eq!(document["parameters"][0]["default"], 100);
    assert_eq!(document["parameters"][0]["maximum"], 10_000);
    assert_eq!(document["severity"], "info");
}

/// osquery's tables, where the file of them lies beside the repository.
fn osquery_tables() -> Option<Map<String, Value>> {
    let places = [
        root().join("../shared/osquery/tables-5.23.1.json"),
        root().join("../../shared/osquery/tables-5.23.1.json"),
    ];
    let Some(file) = places.iter().find(|file: &&PathBuf| file.exists()) else {
        #[expect(clippy::print_stderr, reason = "says that the test is skipped")]
        {
            eprintln!("skipped: ../shared/osquery/tables-5.23.1.json is not there");
        }
        return None;
    };
    let tables: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let by_name = tables
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["name"].as_str().unwrap().to_owned(), table.clone()));
    Some(by_name.collect())
}

fn is_on(platforms: &Value, template: &Template) -> bool {
    let platforms: Vec<&str> = platforms
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    template
        .platforms()
        .iter()
        .all(|platform| platforms.contains(&platform.name()))
}

#[test]
fn every_table_and_column_is_osquerys_on_every_platform() {
    let Some(tables) = osquery_tables() else {
        return;
    };
    for template in Registry::embedded().templates() {
        let name = template.name();
        for (table_name, declared) in template.tables() {
            let table = tables
                .get(table_name)
                .unwrap_or_else(|| panic!("{name}: osquery has no table {table_name}"));
            assert!(
                is_on(&table["platforms"], template),
                "{name}: {table_name} is not everywhere"
            );
            let columns = table["columns"].as_array().unwrap();
            let find = |column: &str| {
                let found = columns.iter().find(|known| known["name"] == column);
                found.unwrap_or_else(|| panic!("{name}: {table_name} has no column {column}"))
            };
            for column in declared.all_columns() {
                let platforms = find(column).get("platforms").unwrap_or(&table["platforms"]);
                assert!(
                    is_on(platforms, template),
                    "{name}: {table_name}.{column} is not everywhere"
                );
            }
            for column in &declared.hidden {
                assert_eq!(
                    find(column)["hidden"],
                    true,
                    "{name}: {table_name}.{column}"
                );
            }
            assert_eq!(
                table["evented"], false,
                "{name}: {table_name} needs events to be enabled"
            );
            // `SELECT *` declares all that osquery shows on all the platforms.
            if template.sql().contains("SELECT * FROM") {
                let shown: BTreeSet<&str> = columns
                    .iter()
                    .filter(|column| column["hidden"] == false)
                    .filter(|column| {
                        is_on(
                            column.get("platforms").unwrap_or(&table["platforms"]),
                            template,
                        )
                    })
                    .filter_map(|column| column["name"].as_str())
                    .collect();
                let declared: BTreeSet<&str> =
                    declared.columns.iter().map(String::as_str).collect();
                assert_eq!(declared, shown, "{name}: {table_name}");
            }
        }
    }
}

/// The SQL that a template's own defaults and examples make.
fn example_sql(registry: &Registry, template: &Template) -> String {
    let params: Map<String, Value> = template
        .parameters()
        .iter()
        .filter(|(_, parameter)| parameter.default.is_none())
        .filter_map(|(name, parameter)| Some((name.clone(), json!(parameter.example.as_ref()?))))
        .collect();
    let call = call(template.name(), &Value::Object(params));
    registry.bind(&call, now()).unwrap().sql().to_owned()
}

/// A template's tables that have required columns, and those of its plan's steps that search by one.
///
/// The tables are made with an index on each required column and nothing else: SQLite then searches by
/// it where the SQL constrains it, and scans where it does not.
fn required(
    registry: &Registry,
    template: &Template,
    tables: &Map<String, Value>,
) -> (BTreeSet<String>, Vec<String>) {
    let connection = Connection::open_in_memory().unwrap();
    let mut needy = BTreeSet::new();
    for (name, declared) in template.tables() {
        // osquery takes LIKE for a constraint, which SQLite does by an index without regard to case.
        let columns: Vec<String> = declared
            .all_columns()
            .map(|column| format!("\"{column}\" COLLATE NOCASE"))
            .collect();
        let columns = columns.join(", ");
        connection
            .execute_batch(&format!("CREATE TABLE \"{name}\" ({columns})"))
            .unwrap();
        for column in tables[name]["columns"].as_array().unwrap() {
            if column["required"] != true {
                continue;
            }
            needy.insert(name.clone());
            let column = column["name"].as_str().unwrap();
            if declared.all_columns().any(|read| read == column) {
                let index = format!("\"{name}_{column}\" ON \"{name}\" (\"{column}\")");
                connection
                    .execute_batch(&format!("CREATE INDEX {index}"))
                    .unwrap();
            }
        }
    }
    for function in template.functions() {
        let flags = rusqlite::functions::FunctionFlags::SQLITE_UTF8;
        connection
            .create_scalar_function(function.as_str(), -1, flags, |_| Ok(rusqlite::types::Null))
            .unwrap();
    }
    let sql = format!("EXPLAIN QUERY PLAN {}", example_sql(registry, template));
    let mut statement = connection.prepare(&sql).unwrap();
    let steps = statement
        .query_map([], |row| row.get::<_, String>(3))
        .unwrap();
    let searches = |step: &String| {
        step.starts_with("SEARCH")
            && needy
                .iter()
                .any(|table| step.contains(&format!("{table}_")))
    };
    let searches = steps.map(Result::unwrap).filter(searches).collect();
    (needy, searches)
}

/// Tables such as `file` answer with nothing unless a column that osquery requires is constrained.
#[test]
fn required_columns_are_constrained() {
    let Some(tables) = osquery_tables() else {
        return;
    };
    let registry = Registry::embedded();
    let mut seen = 0;
    for template in registry.templates() {
        let (needy, searches) = required(registry, template, &tables);
        seen += needy.len();
        assert!(
            searches.len() >= needy.len(),
            "{}: a required column of {needy:?} is not constrained",
            template.name()
        );
    }
    assert!(seen > 0, "some templates read tables with required columns");
    // What the test would say of a template that forgets.
    let text = "name: one\nintent: Reads files without saying which.\nplatforms: [linux]\nseverity: info\n\
                sql: SELECT path FROM file WHERE size > 5\ntables:\n  file:\n    columns: [path, size]\n";
    let registry = Registry::new([("one", text)]);
    let (needy, searches) = required(&registry, registry.template("one").unwrap(), &tables);
    assert_eq!((needy.len(), searches.len()), (1, 0));
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
