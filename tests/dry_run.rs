//! `dry-run` from outside: what it finds, how it says it, and that it says what `run` says.

mod ci;
mod compare;
mod formats;
mod playbooks;
#[cfg(feature = "demo")]
mod rehearsal;
mod shapes;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::harness::folder::Folder;
use crate::harness::{Binary, Ran, args};

/// The report of `--format json`, written again: the program's own types are not used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub files: Vec<File>,
    pub summary: Summary,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub path: String,
    pub problems: Vec<Problem>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    pub rule: String,
    pub severity: String,
    pub message: String,
    pub line: usize,
    pub column: usize,
    pub step: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub id: Option<String>,
    pub template: Option<String>,
    pub sql: Option<String>,
    pub backend: Option<String>,
    pub targets: Option<Targets>,
    pub timeout_seconds: Option<Value>,
    pub exit_code: Option<u8>,
    pub document: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    pub hosts: Vec<String>,
    pub labels: Vec<String>,
    pub platforms: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    pub files: usize,
    pub steps: usize,
    pub errors: usize,
    pub warnings: usize,
}

/// `dry-run --format json` with more arguments.
pub fn json() -> Binary {
    args(["dry-run", "--format", "json"])
}

/// The repository's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of `tests/dry_run/files/`.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/dry_run/files").join(name)
}

/// The report, checked against its schema; nothing else is on stdout or stderr.
#[track_caller]
pub fn report(ran: &Ran) -> Report {
    assert_eq!(ran.stderr, "", "{}", ran.stdout);
    let schema = include_str!("../schemas/dry-run.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let value: Value = serde_json::from_str(&ran.stdout).expect("a report");
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}\n{}", ran.stdout);
    let report: Report = serde_json::from_value(value).expect("the report's types");
    let count = |severity: &str| {
        let problems = report.files.iter().flat_map(|file| &file.problems);
        problems
            .filter(|problem| problem.severity == severity)
            .count()
    };
    let summary = Summary {
        files: report.files.len(),
        steps: report.files.iter().map(|file| file.steps.len()).sum(),
        errors: count("error"),
        warnings: count("warning"),
    };
    assert_eq!(report.summary, summary);
    report
}
