//! The verbs beside `run`: `templates`, `templates check`, `schema`, `describe`, `completions`, `man`, and
//! the help. None of them may open a socket, and none writes anything but what it says.

mod check;
mod export;
mod list;
mod manual;
mod real_sql;
mod whole;

use serde_json::Value;

use crate::harness::folder::Folder;
use crate::harness::{Ran, args};

/// What a verb printed, which has to have gone well.
#[track_caller]
fn printed<const N: usize>(words: [&str; N]) -> String {
    let ran = args(words).run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{words:?}");
    ran.stdout
}

#[track_caller]
fn failed(ran: &Ran, status: i32, stderr: &str) {
    assert_eq!(
        (ran.status, &*ran.stdout, &*ran.stderr),
        (status, "", stderr)
    );
}

/// The names in a list's first column.
fn names(list: &str) -> Vec<&str> {
    let rows = list.lines().skip(1);
    rows.filter_map(|line| line.split_whitespace().next())
        .collect()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn valid(schema: &str, document: &Value) {
    let schema = json_of(&printed(["schema", schema]));
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let wrong: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Says that a test, or a part of it, did not run.
#[expect(clippy::print_stderr, reason = "says that the test is skipped")]
fn skipped(program: &str) {
    eprintln!("skipped: there is no {program}");
}

/// A folder with these files.
fn folder_with(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    for (file, text) in files {
        folder.file(file, text);
    }
    folder
}
