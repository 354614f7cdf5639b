//! `templates check`: for people who write templates. Finds the files, has the allowlist check each, and
//! says what is wrong, for people and for machines. Knows of files; what is right is the allowlist's to say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{ListFormat, TemplatesCheckArgs};
use crate::allowlist::{self, Findings, OsquerySchema};
use crate::call_error::CallError;
use crate::problem::{Position, Problem};
use crate::regular_file::{self, Links, NoFile};
use crate::session::failure::Failure;

/// A template larger than this is none.
const MOST_BYTES: usize = 1 << 20;

/// osquery's own schema has 1 MiB, one with the tables of extensions 3 MiB.
const MOST_SCHEMA_BYTES: usize = 32 << 20;

/// What the verb found.
#[derive(Debug)]
pub struct Checked {
    /// The report for stdout.
    pub text: String,
    /// Whether every template is right, and no warning counts as an error.
    pub clean: bool,
}

/// One file and what was found in it.
struct File {
    path: String,
    findings: Findings,
}

/// Checks the files and folders that were named, or the built-in templates where none is.
///
/// # Errors
/// `usage` where something that was named can't be read.
pub fn run(args: &TemplatesCheckArgs) -> Result<Checked, Failure> {
    let mut osquery: Option<OsquerySchema> = None;
    for path in &args.osquery_schema {
        let further = osquery_schema(path)?;
        osquery = Some(match osquery {
            Some(known) => known.and(further),
            None => further,
        });
    }
    let now = SystemTime::now();
    let checked = |stem: &str, text: &str| allowlist::check_file(stem, text, osquery.as_ref(), now);
    let files: Vec<File> = if args.paths.is_empty() {
        let built_in = allowlist::embedded_files().iter();
        built_in
            .map(|(name, text)| File {
                path: format!("built-in/{name}.yaml"),
                findings: checked(name, text),
            })
            .collect()
    } else {
        let mut first: BTreeMap<String, String> = BTreeMap::new();
        let mut files = Vec::new();
        for file in found(&args.paths)? {
            let shown = file.path.display().to_string();
            let stem = file.path.file_stem().unwrap_or_default().to_string_lossy();
            let mut findings = match text_of(&file)? {
                Ok(text) => checked(&stem, &text),
                Err(problem) => Findings {
                    problems: vec![problem.into()],
                    ..Findings::default()
                },
            };
            if let Some(other) = first.get(&*stem) {
                let message = format!("`{stem}` is also the name of the template in {other}");
                let problem = Problem::new("name", "duplicate", message);
                findings.problems.push(problem.into());
            } else {
                first.insert(stem.into_owned(), shown.clone());
            }
            files.push(File {
                path: shown,
                findings,
            });
        }
        files
    };
    Ok(Checked {
        text: match args.format {
            ListFormat::Text => text(&files),
            ListFormat::Json => format!("{:#}\n", document(&files)),
        },
        clean: files.iter().all(|file| {
            let warned = args.warnings_as_errors && !file.findings.warnings.is_empty();
            file.findings.problems.is_empty() && !warned
        }),
    })
}

fn osquery_schema(path: &Path) -> Result<OsquerySchema, Failure> {
    let hint = "`--osquery-schema` takes the JSON that osquery publishes for each version \
                (osquery-site: src/data/osquery_schema_versions/VERSION.json)";
    let failure = |what: String| unusable(path, what, Some(hint));
    let content = regular_file::read(path, MOST_SCHEMA_BYTES, Links::Follow)
        .map_err(|error| failure(error.to_string()))?;
    let text = String::from_utf8(content.bytes).map_err(|_| failure("is not UTF-8".into()))?;
    OsquerySchema::parse(&text).map_err(failure)
}

/// A file that is to be checked, and the folder that it was found in; `None` where it was named itself.
struct Found {
    path: PathBuf,
    within: Option<PathBuf>,
}

/// The files that were named, and the YAML files in the folders that were, in order of their names.
fn found(paths: &[PathBuf]) -> Result<Vec<Found>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            in_folder(path, path, &mut files)?;
            if files.len() == before {
                let what = "holds no template (*.yaml, *.yml)";
                return Err(unusable(path, what.to_owned(), None));
            }
        } else {
            files.push(Found {
                path: path.clone(),
                within: None,
            });
        }
    }
    Ok(files)
}

fn in_folder(within: &Path, folder: &Path, files: &mut Vec<Found>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.map_err(|error| unreadable(folder, NoFile::of(&error)))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        // Symbolic links to folders are left out: they may lead back up.
        let kind = entry
            .file_type()
            .map_err(|error| unreadable(&path, NoFile::of(&error)))?;
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            in_folder(within, &path, files)?;
        } else if path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml")
        {
            files.push(Found {
                path,
                within: Some(within.to_owned()),
            });
        }
    }
    Ok(())
}

/// A file's text, or what is wrong with a file that can be read.
fn text_of(file: &Found) -> Result<Result<String, Problem>, Failure> {
    let read = match &file.within {
        None => regular_file::read(&file.path, MOST_BYTES, Links::Follow),
        Some(folder) => regular_file::within(folder, &file.path)
            .and_then(|real| regular_file::read(&real, MOST_BYTES, Links::Refuse)),
    };
    match read {
        Ok(content) => Ok(String::from_utf8(content.bytes)
            .map_err(|_| Problem::new("", "encoding", "must be UTF-8 text"))),
        Err(error @ NoFile::TooLarge(_)) => Ok(Err(Problem::new(
            "",
            "size",
            format!("{error}, which is not a template: {}", error.advice()),
        ))),
        Err(error) => Err(unreadable(&file.path, error)),
    }
}

fn unreadable(path: &Path, error: NoFile) -> Failure {
    Failure::of_file("", path, error)
}

fn unusable(path: &Path, what: String, hint: Option<&'static str>) -> Failure {
    let path = path.to_owned();
    CallError::File { path, what, hint }.into()
}

/// `PATH:LINE:COLUMN: MESSAGE [RULE]`, as editors and CI read it, warnings with that word in front of the
/// message, and a line that sums up.
fn text(files: &[File]) -> String {
    let mut text = String::new();
    for file in files {
        let Findings { problems, warnings } = &file.findings;
        let all = problems.iter().map(|problem| ("", problem));
        for (kind, placed) in all.chain(warnings.iter().map(|warning| ("warning: ", warning))) {
            let at = placed.at.unwrap_or(Position { line: 1, column: 1 });
            let problem = &placed.problem;
            text.push_str(&format!(
                "{}:{}:{}: {kind}{} [{}]\n",
                file.path, at.line, at.column, problem.message, problem.rule
            ));
        }
    }
    let (problems, warnings) = counts(files);
    text.push_str(&format!(
        "{}, {}",
        counted(files.len(), "template"),
        counted(problems, "problem")
    ));
    if warnings > 0 {
        text.push_str(&format!(", {}", counted(warnings, "warning")));
    }
    text.push('\n');
    text
}

/// How many problems and how many warnings there are.
fn counts(files: &[File]) -> (usize, usize) {
    let problems = files.iter().map(|file| file.findings.problems.len());
    let warnings = files.iter().map(|file| file.findings.warnings.len());
    (problems.sum(), warnings.sum())
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn document(files: &[File]) -> Value {
    let (problems, warnings) = counts(files);
    let entries: Vec<Value> = files
        .iter()
        .map(|file| {
            let Findings { problems, warnings } = &file.findings;
            json!({ "path": file.path, "problems": problems, "warnings": warnings })
        })
        .collect();
    json!({
        "files": entries,
        "summary": { "files": files.len(), "problems": problems, "warnings": warnings },
    })
}
