//! The verbs beside `run`: `templates`, `templates check`, `schema`, `describe`, `completions`, `man`, and
//! the help. None of them may open a socket, and none writes anything but what it says.

mod check;
mod export;
mod list;
mod manual;
mod real_sql;
mod whole;

use std::path::PathBuf;

use serde_json::Value;

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

/// A folder of a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("verbs-{name}-{}", std::process::id()));
        for (file, text) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        Self(folder)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
