//! The built-in templates on data: `tests/templates/NAME.yaml` holds what a host's tables hold and what
//! the template has to find there, and each is asked for through the real binary and a simulated
//! Fleet, osctrl or AiSOC, which is sent each inside a statement that proves an empty answer.
//!
//! A column of numbers stands as numbers and a column of text as text, as osquery types them: SQLite
//! compares by that. Expected rows name the columns that matter; where the SQL sorts, their order counts.
//!
//! `spellings` are other ways to write a parameter, each of which has to find the same rows: a value that
//! is compared in a form that no table holds finds nothing, and the empty list looks like an answer.
//! `refused` are those that are no such way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use osquery_live_query::inside::Registry;
use osquery_live_query::inside::Template;
use osquery_simulator::{
    AISOC_CONSOLE_TOKEN, Cells, FLEET_MAINTAINER_TOKEN, HostSpec, OSCTRL_PLUGIN_TOKEN, Scenario,
    Simulator, TableSpec,
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
    /// Parameters that have one spelling only, and why.
    #[serde(default)]
    one_spelling: BTreeMap<String, String>,
    /// Values of parameters that no table holds in any form, in place of those of the first finding.
    #[serde(default)]
    refused: BTreeMap<String, Vec<Value>>,
}

/// One call of the template.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finding {
    /// `template_params`.
    #[serde(default)]
    params: Map<String, Value>,
    /// By parameter, other ways to write it that find the same rows.
    #[serde(default)]
    spellings: BTreeMap<String, Vec<Value>>,
    /// The rows that come, no others; values as osquery sends them.
    rows: Vec<BTreeMap<String, String>>,
}

impl Finding {
    /// The parameters as they stand, and with each other spelling in turn.
    fn calls(&self) -> impl Iterator<Item = Map<String, Value>> {
        let spelled = self.spellings.iter().flat_map(|(name, values)| {
            let with = |value: &Value| with(&self.params, name, value);
            values.iter().map(with)
        });
        std::iter::once(self.params.clone()).chain(spelled)
    }
}

/// The parameters with another value for one of them.
fn with(params: &Map<String, Value>, name: &str, value: &Value) -> Map<String, Value> {
    let mut params = params.clone();
    params.insert(name.to_owned(), value.clone());
    params
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

/// Every parameter is found by a spelling other than that of the table, or says that it has only one.
#[test]
fn every_parameter_has_its_spellings() {
    let mut wrong = Vec::new();
    for (template, fixture) in templates() {
        let name = template.name();
        let known = |parameter: &String| template.parameters().contains_key(parameter);
        for parameter in template.parameters().keys() {
            let other = fixture.finds.iter().any(|finding| {
                let others = finding.spellings.get(parameter).into_iter().flatten();
                let written = finding.params.get(parameter);
                !finding.rows.is_empty() && others.into_iter().any(|value| Some(value) != written)
            });
            let only = fixture.one_spelling.get(parameter);
            if other == only.is_some_and(|why| why.len() > 20) {
                wrong.push(format!(
                    "{name}: `{parameter}` needs spellings, or why it has one"
                ));
            }
        }
        let spelled = fixture
            .finds
            .iter()
            .flat_map(|finding| finding.spellings.keys());
        let named = fixture.one_spelling.keys().chain(fixture.refused.keys());
        for parameter in spelled.chain(named).filter(|name| !known(name)) {
            wrong.push(format!("{name}: no parameter `{parameter}`"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
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
    let servers = [Through::Fleet, Through::Osctrl, Through::AisocDirect].map(|server| {
        let osctrl = server == Through::Osctrl;
        let hosts = templates
            .iter()
            .filter(|(template, _)| !osctrl || through_osctrl(template))
            .map(|(template, fixture)| host(template, fixture));
        let mut scenario = Scenario::of(hosts);
        scenario.check_in = std::time::Duration::from_millis(20);
        Simulator::spawn(scenario).expect("a simulator")
    });
    let mut calls = Vec::new();
    for (template, fixture) in &templates {
        for finding in &fixture.finds {
            let rows = Some(finding.rows.as_slice());
            let found = finding.calls().enumerate();
            calls.extend(found.map(|(index, params)| Call {
                template,
                params,
                rows,
                through: match index == 0 && through_osctrl(template) {
                    true => Through::Osctrl,
                    false => Through::Fleet,
                },
            }));
            // There the statement goes inside another one: each finds the same as without.
            calls.push(Call {
                template,
                params: finding.params.clone(),
                rows,
                through: Through::AisocDirect,
            });
        }
        for (name, values) in &fixture.refused {
            let first = &fixture.finds[0].params;
            let refused = values.iter().map(|value| with(first, name, value));
            calls.extend(refused.map(|params| Call {
                template,
                params,
                rows: None,
                through: Through::Fleet,
            }));
        }
    }
    assert!(calls.len() > 600, "{}", calls.len());
    let queue = Mutex::new(calls);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(call) = queue.lock().expect("the queue").pop() else {
                        return;
                    };
                    if let Err(message) = call.ask(&servers) {
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
/// the others, and all other spellings, through Fleet.
fn through_osctrl(template: &Template) -> bool {
    template.name().len().is_multiple_of(6)
}

/// Which server a template is asked for through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Through {
    Fleet,
    Osctrl,
    AisocDirect,
}

/// One run of a template.
struct Call<'a> {
    template: &'a Template,
    params: Map<String, Value>,
    /// The rows that come; without any word of rows, the call has to be refused.
    rows: Option<&'a [BTreeMap<String, String>]>,
    through: Through,
}

impl Call<'_> {
    /// Runs the template once and compares.
    fn ask(&self, servers: &[Simulator; 3]) -> Result<(), String> {
        let name = self.template.name();
        let server = servers[self.through as usize].base_url();
        let mut document = json!({
            "protocol": 1,
            "secrets": {"token": FLEET_MAINTAINER_TOKEN},
            "step": {"id": name, "type": "osquery_live_query", "params": {
                "backend": "fleetdm", "base_url": server, "api_token": "{{ secrets.token }}",
                "template": name, "template_params": self.params,
                "target_hosts": [name], "timeout_seconds": 30,
            }},
        });
        let params = &mut document["step"]["params"];
        match self.through {
            Through::Fleet => {}
            Through::Osctrl => {
                params["backend"] = "osctrl".into();
                params["environment"] = "dev".into();
                document["secrets"]["token"] = OSCTRL_PLUGIN_TOKEN.into();
            }
            Through::AisocDirect => {
                params["backend"] = "aisoc_direct".into();
                document["secrets"]["token"] = AISOC_CONSOLE_TOKEN.into();
            }
        }
        let ran = step(document.to_string()).run();
        let document: Value =
            serde_json::from_str(&ran.stdout).map_err(|error| error.to_string())?;
        match self.rows {
            None if document["error"]["code"] == "allowlist" => Ok(()),
            None => Err(format!(
                "{name} {:?} is not refused: {document}",
                self.params
            )),
            Some(_) if document["partial"] != false => Err(format!("{name}: {document}")),
            Some(rows) => self.compare(rows, &document["results"][name]),
        }
    }

    /// Whether these rows came, and no others.
    fn compare(&self, expected: &[BTreeMap<String, String>], came: &Value) -> Result<(), String> {
        let cell = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut rows: Vec<BTreeMap<String, String>> = Vec::new();
        for row in came.as_array().ok_or("no rows")? {
            let row = row.as_object().ok_or("a row is no object")?;
            let cells = row.iter();
            rows.push(
                cells
                    .map(|(column, value)| (column.clone(), cell(value)))
                    .collect(),
            );
        }
        let fits = |expected: &BTreeMap<String, String>, row: &BTreeMap<String, String>| {
            expected
                .iter()
                .all(|(column, value)| row.get(column) == Some(value))
        };
        let same = if expected.len() != rows.len() {
            false
        } else if self.template.sql().contains("ORDER BY") {
            expected
                .iter()
                .zip(&rows)
                .all(|(expected, row)| fits(expected, row))
        } else {
            // Expected rows may differ in which columns they name: each is compared by its own.
            let mut left = expected.to_vec();
            rows.iter().all(|row| {
                let found = left.iter().position(|expected| fits(expected, row));
                found.map(|index| left.remove(index)).is_some()
            })
        };
        if same {
            return Ok(());
        }
        let name = self.template.name();
        Err(format!(
            "{name} {:?}\n  expected {expected:?}\n  found {rows:?}",
            self.params
        ))
    }
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
