//! The built-in templates on data: `tests/templates/NAME.yaml` holds what a host's tables hold and what
//! the template has to find there, and each is asked for through the real binary and a simulated
//! Fleet or osctrl.
//!
//! A column of numbers stands as numbers and a column of text as text, as osquery types them: SQLite
//! compares by that. Expected rows name the columns that matter; where the SQL sorts, their order counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use osquery_live_query::allowlist::{Registry, Template};
use osquery_simulator::{
    Cells, FLEET_MAINTAINER_TOKEN, HostSpec, OSCTRL_PLUGIN_TOKEN, Scenario, Simulator, TableSpec,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::harness::step;

/// A file of `tests/templates/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    /// What the host's tables hold.
    tables: BTreeMap<String, Vec<Map<String, Value>>>,
    /// What the template finds there.
    finds: Vec<Finding>,
}

/// One call of the template.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finding {
    /// `template_params`.
    #[serde(default)]
    params: Map<String, Value>,
    /// The rows that come, no others; values as osquery sends them.
    rows: Vec<BTreeMap<String, String>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates")
}

fn fixture(name: &str) -> Fixture {
    let path = folder().join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|_| panic!("tests/templates/{name}.yaml is missing"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}.yaml: {error}"))
}

fn templates() -> Vec<(&'static Template, Fixture)> {
    let templates = Registry::embedded().templates();
    templates
        .map(|template| (template, fixture(template.name())))
        .collect()
}

#[test]
fn every_template_has_data_and_no_data_is_without_a_template() {
    let mut files: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("tests/templates is there")
        .map(|file| {
            file.expect("a file")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    for (template, fixture) in templates() {
        let name = template.name();
        files.remove(&format!("{name}.yaml"));
        let tables: BTreeSet<&String> = template.tables().keys().collect();
        assert_eq!(
            fixture.tables.keys().collect::<BTreeSet<_>>(),
            tables,
            "{name}"
        );
        let most = fixture.finds.iter().map(|found| found.rows.len()).max();
        assert!(most > Some(0), "{name}: nothing that must match");
        // Whatever chooses has something that it must not choose.
        if template.sql().contains("WHERE") {
            let largest = fixture.tables.values().map(Vec::len).max();
            let least = fixture.finds.iter().map(|found| found.rows.len()).min();
            assert!(least < largest, "{name}: nothing that must not match");
        }
    }
    assert!(files.is_empty(), "data of no template: {files:?}");
}

/// The host of a template: its tables with every column that the template reads.
fn host(template: &Template, fixture: &Fixture) -> HostSpec {
    let mut host = HostSpec::named(template.name());
    for (name, rows) in &fixture.tables {
        let table = &template.tables()[name];
        let whole = |row: &Map<String, Value>| -> Cells {
            for column in row.keys() {
                assert!(
                    table.all_columns().any(|known| known == column),
                    "{}: {name}.{column} is not read",
                    template.name()
                );
            }
            let cell = |column: &str| row.get(column).cloned().unwrap_or(Value::Null);
            table
                .all_columns()
                .map(|column| (column.to_owned(), cell(column)))
                .collect()
        };
        host = host.with_table(name, TableSpec::Rows(rows.iter().map(whole).collect()));
    }
    host
}

#[test]
fn templates_find_what_they_must_and_nothing_else() {
    let templates = templates();
    let servers = [false, true].map(|osctrl| {
        let hosts = templates
            .iter()
            .filter(|(template, _)| through_osctrl(template) == osctrl)
            .map(|(template, fixture)| host(template, fixture));
        let mut scenario = Scenario::of(hosts);
        scenario.check_in = std::time::Duration::from_millis(20);
        Simulator::spawn(scenario).expect("a simulator")
    });
    let queue: Mutex<Vec<_>> = Mutex::new(
        templates
            .iter()
            .flat_map(|(template, fixture)| {
                fixture.finds.iter().map(move |finding| (template, finding))
            })
            .collect(),
    );
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((template, finding)) = queue.lock().expect("the queue").pop() else {
                        return;
                    };
                    if let Err(message) = ask(&servers, template, finding) {
                        wrong.lock().expect("the list").push(message);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("the list");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

/// A few templates are asked for through osctrl, whose simulated agents look through every query so far;
/// the others through Fleet.
fn through_osctrl(template: &Template) -> bool {
    template.name().len().is_multiple_of(6)
}

/// Runs the template once and compares.
fn ask(servers: &[Simulator; 2], template: &Template, finding: &Finding) -> Result<(), String> {
    let name = template.name();
    let [fleet, osctrl] = servers;
    let server = if through_osctrl(template) {
        osctrl
    } else {
        fleet
    }
    .base_url();
    let mut document = json!({
        "protocol": 1,
        "secrets": {"token": FLEET_MAINTAINER_TOKEN},
        "step": {"id": name, "type": "osquery_live_query", "params": {
            "backend": "fleetdm", "base_url": server, "api_token": "{{ secrets.token }}",
            "template": name, "template_params": finding.params,
            "target_hosts": [name], "timeout_seconds": 30,
        }},
    });
    if through_osctrl(template) {
        document["secrets"]["token"] = OSCTRL_PLUGIN_TOKEN.into();
        document["step"]["params"]["backend"] = "osctrl".into();
        document["step"]["params"]["environment"] = "dev".into();
    }
    let ran = step(document.to_string()).run();
    let document: Value = serde_json::from_str(&ran.stdout).map_err(|error| error.to_string())?;
    if document["partial"] != false {
        return Err(format!("{name}: {document}"));
    }
    let rows = document["results"][name].as_array().ok_or("no rows")?;
    let mut came: Vec<BTreeMap<String, String>> = Vec::new();
    // Expected rows may differ in which columns they name: each is compared by its own.
    let mut expected = finding.rows.clone();
    for row in rows {
        let cell = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let row = row.as_object().ok_or("a row is no object")?;
        came.push(
            row.iter()
                .map(|(column, value)| (column.clone(), cell(value)))
                .collect(),
        );
    }
    let fits = |expected: &BTreeMap<String, String>, row: &BTreeMap<String, String>| {
        expected
            .iter()
            .all(|(column, value)| row.get(column) == Some(value))
    };
    let said = || {
        format!(
            "{name} {:?}\n  expected {:?}\n  found {came:?}",
            finding.params, finding.rows
        )
    };
    if expected.len() != came.len() {
        return Err(said());
    }
    if template.sql().contains("ORDER BY") {
        let same = expected
            .iter()
            .zip(&came)
            .all(|(expected, row)| fits(expected, row));
        return if same { Ok(()) } else { Err(said()) };
    }
    for row in &came {
        match expected.iter().position(|expected| fits(expected, row)) {
            Some(index) => drop(expected.remove(index)),
            None => return Err(said()),
        }
    }
    Ok(())
}

/// The types that the data has are osquery's, where osquery's schema lies beside the repository.
#[test]
fn data_has_osquerys_types() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = ["../shared/osquery", "../../shared/osquery"]
        .map(|folder| root.join(folder).join("tables-5.23.1.json"))
        .into_iter()
        .find(|file| file.exists());
    let Some(file) = file else {
        #[expect(clippy::print_stderr, reason = "says that the test is skipped")]
        {
            eprintln!("skipped: ../shared/osquery/tables-5.23.1.json is not there");
        }
        return;
    };
    let schema: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(file).expect("the file")).expect("JSON");
    let mut wrong = Vec::new();
    for (template, fixture) in templates() {
        for (name, rows) in &fixture.tables {
            let table = schema
                .iter()
                .find(|table| table["name"] == **name)
                .expect("a table");
            let columns = table["columns"].as_array().expect("columns");
            for (column, value) in rows.iter().flatten() {
                let spec = columns
                    .iter()
                    .find(|spec| spec["name"] == **column)
                    .expect("a column");
                let is_text = spec["type"] == "text";
                if is_text != value.is_string() {
                    wrong.push(format!(
                        "{}: {name}.{column} is {}",
                        template.name(),
                        spec["type"]
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
