//! Runs every case of `tests/cases/` through the real binary: `NAME.step.yaml` (or `.json`) goes to stdin
//! to the letter, `NAME.case.yaml` says what surrounds it, `NAME.document.json` is what has to come out.
//!
//! `$SERVER` in the step stands for the simulator's address. Numbers of milliseconds stand as 0, a
//! campaign's id as `ID`, and when a host was last seen as `TIME`. `UPDATE_CASES=1 cargo test cases`
//! writes what came out; read the difference before you commit it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use osquery_simulator::{Scenario, Simulator};
use serde::Deserialize;
use serde_json::Value;

use crate::harness::{Binary, step};

/// What surrounds a step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What the case shows.
    about: String,
    /// The simulated servers; without it none is started.
    #[serde(default)]
    scenario: Option<Value>,
    /// Arguments.
    #[serde(default)]
    args: Vec<String>,
    /// Variables.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// The context file's content.
    #[serde(default)]
    context: Option<Value>,
    /// Exit status.
    exit: i32,
    /// All of stderr.
    #[serde(default)]
    stderr: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// The cases' names, and the files with their steps.
fn steps() -> Vec<(String, PathBuf)> {
    let files = std::fs::read_dir(folder()).expect("tests/cases is there");
    let mut steps: Vec<(String, PathBuf)> = files
        .map(|file| file.expect("a file").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let (name, rest) = name.split_once('.')?;
            (rest == "step.yaml" || rest == "step.json").then(|| (name.to_owned(), path.clone()))
        })
        .collect();
    steps.sort();
    steps
}

#[test]
fn cases_are_many_and_each_is_whole() {
    let names = steps();
    assert!(names.len() >= 40, "only {} cases", names.len());
    for (name, _) in &names {
        assert!(
            folder().join(format!("{name}.case.yaml")).exists(),
            "{name}.case.yaml"
        );
        assert!(
            folder().join(format!("{name}.document.json")).exists(),
            "{name}.document.json"
        );
    }
    let files = std::fs::read_dir(folder())
        .expect("tests/cases is there")
        .count();
    assert_eq!(
        files,
        3 * names.len() + 1,
        "a file of no case (README.md aside)"
    );
}

#[test]
fn cases_come_out_as_written() {
    let queue = Mutex::new(steps());
    let failures = Mutex::new(Vec::new());
    // Most of a case is waiting, for the simulator and for hosts.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some((name, path)) = queue.lock().expect("no case panicked").pop() else {
                        return;
                    };
                    let result = std::panic::catch_unwind(|| run(&name, &path));
                    if let Err(message) = result.unwrap_or_else(|panic| Err(words(&*panic))) {
                        failures
                            .lock()
                            .expect("no case panicked")
                            .push(format!("{name}: {message}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no case panicked");
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| "panicked".into())
}

fn run(name: &str, path: &Path) -> Result<(), String> {
    let case_path = folder().join(format!("{name}.case.yaml"));
    let case_text = std::fs::read_to_string(&case_path).map_err(|error| error.to_string())?;
    let case: Case = serde_saphyr::from_str(&case_text).map_err(|error| error.to_string())?;
    assert!(!case.about.is_empty());
    let simulator = case.scenario.as_ref().map(|scenario| {
        let scenario = Scenario::from_yaml(&scenario.to_string()).expect("a scenario");
        Simulator::spawn(scenario).expect("a simulator")
    });
    let server = simulator
        .as_ref()
        .map_or("https://unused.invalid".into(), Simulator::base_url);
    let authority = simulator
        .as_ref()
        .and_then(Simulator::ca_path)
        .unwrap_or(Path::new("none"));
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let place = |text: &str| {
        text.replace("$SERVER", &server)
            .replace("$CA_FILE", &authority.display().to_string())
    };
    let input = match String::from_utf8(bytes) {
        Ok(text) => place(&text).into_bytes(),
        Err(not_text) => not_text.into_bytes(),
    };
    let context = case.context.as_ref().map(|context| {
        let file = std::env::temp_dir().join(format!("case-{name}-{}.json", std::process::id()));
        std::fs::write(&file, context.to_string()).expect("a context file");
        file
    });
    let mut binary: Binary = step(input);
    for arg in &case.args {
        binary = binary.arg(place(arg));
    }
    if let Some(file) = &context {
        binary = binary.arg("--context").arg(file);
    }
    for (variable, value) in &case.env {
        binary = binary.env(variable, place(value));
    }
    let ran = binary.run();
    if let Some(file) = context {
        std::fs::remove_file(file).expect("the context file");
    }
    ran.document();
    let mut document: Value = serde_json::from_str(&ran.stdout).expect("a document");
    settle(&mut document);
    let came = format!("{document:#}\n").replace(&server, "$SERVER");
    let stderr = ran.stderr.replace(&server, "$SERVER");
    let document_path = folder().join(format!("{name}.document.json"));
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(&document_path, &came).expect("the document is written");
        std::fs::write(&case_path, updated(&case_text, ran.status, &stderr))
            .expect("the case is written");
        return Ok(());
    }
    let expected = std::fs::read_to_string(&document_path).map_err(|error| error.to_string())?;
    let (got, want) = (
        (ran.status, &stderr, &came),
        (case.exit, &case.stderr, &expected),
    );
    if got == want {
        Ok(())
    } else {
        Err(format!("expected {want:#?}\nfound {got:#?}"))
    }
}

/// The case's text with the status and stderr that came; everything else as it was written.
fn updated(case: &str, status: i32, stderr: &str) -> String {
    let kept = case.split("\nexit:").next().unwrap_or(case);
    let mut text = format!("{}\nexit: {status}\n", kept.trim_end());
    if !stderr.is_empty() {
        text.push_str("stderr: |\n");
        for line in stderr.lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

/// Replaces what differs from run to run.
fn settle(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match (key.as_str(), &*value) {
                    ("elapsed_ms" | "answered_ms", Value::Number(_)) => *value = 0.into(),
                    ("id", Value::String(_)) => *value = "ID".into(),
                    ("last_seen", Value::String(_)) => *value = "TIME".into(),
                    _ => settle(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        _ => {}
    }
}
