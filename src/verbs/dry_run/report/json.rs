//! The report for machines; its schema is `schemas/dry-run.schema.json`.

use serde::Serialize;

use crate::verbs::dry_run::finding::{FileReport, Finding, Plan, Summary};

#[derive(Serialize)]
struct Report<'a> {
    files: Vec<File<'a>>,
    summary: &'a Summary,
}

#[derive(Serialize)]
struct File<'a> {
    path: &'a str,
    problems: &'a [Finding],
    steps: &'a [Plan],
}

pub(super) fn write(files: &[FileReport], summary: &Summary) -> String {
    let files = files.iter().map(|file| File {
        path: &file.path,
        problems: &file.findings,
        steps: &file.plans,
    });
    let report = Report {
        files: files.collect(),
        summary,
    };
    // Nothing in it can fail to be JSON: keys are names, numbers are whole.
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}
