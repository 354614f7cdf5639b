//! The operator's own templates: every NAME.yaml of `template_dirs`, beside the built-in ones. What a
//! template is, the allowlist knows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::trust;
use crate::allowlist::Registry;
use crate::path::Path as Place;
use crate::problem::Problem;

/// A template that is larger is none.
const MAX_BYTES: usize = 256 * 1024;

/// Templates of one folder at most.
const MOST_TEMPLATES: usize = 2_000;

/// The built-in templates and those of the folders; `None` without folders.
pub(super) fn registry(dirs: &[PathBuf], problems: &mut Vec<Problem>) -> Option<Registry> {
    if dirs.is_empty() {
        return None;
    }
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for (index, dir) in dirs.iter().enumerate() {
        let mut refuse = |message: String| {
            let place = Place::of(&["template_dirs"]).index(index);
            let message = format!("`template_dirs[{index}]`: {message}");
            problems.push(Problem::new(place, "template_dirs", message));
        };
        if let Err(error) = trust::folder(dir) {
            refuse(format!("the folder {} {error}", dir.display()));
            continue;
        }
        let files = match files(dir) {
            Ok(files) => files,
            Err(message) => {
                refuse(message);
                continue;
            }
        };
        for (name, path) in files {
            let shown = path.display();
            if Registry::embedded().names().any(|known| known == name) {
                refuse(format!(
                    "{shown} has the name of a built-in template: give it another"
                ));
                continue;
            }
            let Entry::Vacant(place) = texts.entry(name) else {
                refuse(format!(
                    "{shown} is in another folder too: keep one of them"
                ));
                continue;
            };
            match trust::read(&path, MAX_BYTES) {
                Ok(text) => drop(place.insert(text)),
                Err(error) => refuse(format!("{shown} {error}")),
            }
        }
    }
    Some(Registry::with_own(texts))
}

/// The templates in a folder, by name, in order.
fn files(dir: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let cant = |error: std::io::Error| {
        format!(
            "the folder {} can't be read: {}",
            dir.display(),
            error.kind()
        )
    };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(cant)? {
        let path = entry.map_err(cant)?.path();
        if path.extension() != Some(OsStr::new("yaml")) {
            continue;
        }
        let Some(name) = path.file_stem().and_then(OsStr::to_str) else {
            return Err(format!("{} has a name that is not UTF-8", path.display()));
        };
        // Links that editors leave behind (`.#name.yaml`), and files that are hidden on purpose.
        if name.starts_with('.') {
            continue;
        }
        files.insert(name.to_owned(), path.clone());
        if files.len() > MOST_TEMPLATES {
            return Err(format!(
                "the folder {} holds more than {MOST_TEMPLATES} templates",
                dir.display()
            ));
        }
    }
    Ok(files)
}
