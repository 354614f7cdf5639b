//! Which files are examined: those that are named, and in folders those whose names say what they are.
//! Knows nothing of what is in them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::call_error::CallError;
use crate::input::MAX_INPUT_BYTES;
use crate::process::stdin::read_stdin;
use crate::regular_file::{self, Links, NoFile};
use crate::session::failure::Failure;

/// Folders inside folders: more is taken for a loop.
const DEEPEST: usize = 64;

/// One thing to examine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `-`.
    Stdin,
    /// A file that was named.
    File(PathBuf),
    /// A file that was found in a folder that was named.
    Found {
        /// The file.
        path: PathBuf,
        /// The folder.
        within: PathBuf,
    },
}

/// The endings of names, before which comes what the file is.
const FORMATS: [&str; 3] = ["yaml", "yml", "json"];

/// The files that the paths name: each once, in the order of the arguments, those of a folder by name.
///
/// # Errors
/// `usage`: a path that is not there, a folder without files, stdin twice.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let here = [PathBuf::from(".")];
    let paths = if paths.is_empty() { &here[..] } else { paths };
    let mut found: Vec<Source> = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            found.push(Source::Stdin);
            continue;
        }
        let unusable = |error: &std::io::Error| Failure::of_file("", path, NoFile::of(error));
        let metadata = fs::metadata(path).map_err(|error| unusable(&error))?;
        if !metadata.is_dir() {
            found.push(Source::File(path.clone()));
            continue;
        }
        let mut files = Vec::new();
        folder(path, 0, &mut files).map_err(|error| unusable(&error))?;
        if files.is_empty() {
            let what = "holds no playbooks or steps: they are named `*.playbook.yaml` and `*.step.yaml` (or `.yml`, `.json`)";
            return Err(Failure::from(CallError::File {
                path: path.clone(),
                what: what.to_owned(),
                hint: None,
            }));
        }
        files.sort();
        found.extend(files.into_iter().map(|file| Source::Found {
            path: file,
            within: path.clone(),
        }));
    }
    let mut known = std::collections::HashSet::new();
    found.retain(|source| known.insert(source.shown()));
    Ok(found)
}

fn folder(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type()?;
        // The current folder's files are shown without `./`.
        let path = match path.as_os_str() == "." {
            true => PathBuf::from(entry.file_name()),
            false => entry.path(),
        };
        if kind.is_dir() {
            // `.git` and its like; links to folders are no folders here, so that nothing loops.
            if !name.starts_with('.') && depth < DEEPEST {
                folder(&path, depth + 1, files)?;
            }
        } else if is_named(&name, "playbook") || is_named(&name, "step") {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a file's name is `*.KIND.yaml` (or the like).
fn is_named(name: &str, kind: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let stem = name
        .rsplit_once('.')
        .filter(|(_, end)| FORMATS.contains(end));
    let what = stem.and_then(|(stem, _)| stem.rsplit_once('.'));
    what.is_some_and(|(_, what)| what == kind)
}

impl Source {
    /// The name in reports: the path as it was given or found, `-` for stdin.
    pub fn shown(&self) -> String {
        match self {
            Self::Stdin => "-".into(),
            Self::File(path) | Self::Found { path, .. } => path.display().to_string(),
        }
    }

    /// The file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdin => None,
            Self::File(path) | Self::Found { path, .. } => Some(path),
        }
    }

    /// Whether the name says that it is a playbook.
    pub fn is_playbook(&self) -> bool {
        let name = self.path().and_then(Path::file_name);
        name.is_some_and(|name| is_named(&name.to_string_lossy(), "playbook"))
    }

    /// Its bytes.
    ///
    /// # Errors
    /// In words for a report.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        let read = match self {
            Self::Stdin => return read_stdin().map_err(|error| error.message),
            Self::File(path) => regular_file::read(path, MAX_INPUT_BYTES, Links::Follow),
            // A folder may be anybody's work (a change that was proposed): what it links to elsewhere
            // is not shown.
            Self::Found { path, within } => regular_file::within(within, path)
                .and_then(|real| regular_file::read(&real, MAX_INPUT_BYTES, Links::Refuse)),
        };
        match read {
            Ok(content) => Ok(content.bytes),
            Err(error) => Err(format!("the file {error}: {}", error.advice())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        for name in ["a.playbook.yaml", "a.b.PLAYBOOK.yml", ".playbook.json"] {
            assert!(is_named(name, "playbook"), "{name}");
        }
        for name in [
            "playbook.yaml",
            "a.playbook",
            "a.playbook.yaml.bak",
            "a.step.yaml",
            "a.yaml",
        ] {
            assert!(!is_named(name, "playbook"), "{name}");
        }
    }
}
