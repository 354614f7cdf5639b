//! What the allowlist has to say when it refuses: a call by a step, or a template itself. Messages hold
//! names and rules, never a value that a step gave.

use crate::problem::Problem;

/// Why a step's call of a template does not become a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowlistError {
    /// The call is not allowed; every problem of it at once.
    #[error("{}", joined(.0))]
    Refused(Vec<Problem>),
    /// The template that the call names is itself broken: its author has to mend it.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl AllowlistError {
    /// Everything that is wrong, for the document's `error.details`.
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Refused(problems) => problems.clone(),
            Self::Template(error) => error.problems.clone(),
        }
    }
}

/// What is wrong with a template: its form, its SQL, or what it says about itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {label}: {}", joined(.problems))]
pub struct TemplateError {
    /// The template's name in backquotes, or its file where it has no name yet.
    pub label: String,
    /// All that is wrong, with paths inside the template's file.
    pub problems: Vec<Problem>,
}

/// The problems as one line.
fn joined(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| match (problem.line, problem.column) {
            (Some(line), Some(column)) => {
                format!("line {line}, column {column}: {}", problem.message)
            }
            _ => problem.message.clone(),
        })
        .collect();
    lines.join("; ")
}

/// How a name from a document is shown. Names are words; what is not one may be a value that slipped
/// into a key, or carry control characters to a terminal, and is not shown.
pub(super) fn shown(name: &str) -> Option<&str> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
    (!name.is_empty() && name.len() <= 64 && name.chars().all(plain)).then_some(name)
}

/// The known name that a mistyped one most likely means.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let within = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|other| (strsim::damerau_levenshtein(&name, other), other))
        .filter(|(distance, _)| *distance <= within)
        .min()
        .map(|(_, other)| other)
}

/// Names as a list in a sentence, each in backquotes.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["running_processes", "listening_ports"];
        assert_eq!(
            nearest("runing_processes", known),
            Some("running_processes")
        );
        assert_eq!(
            nearest("Running-Processes", known),
            Some("running_processes")
        );
        assert_eq!(nearest("users", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn shows_words_only() {
        assert_eq!(shown("limit"), Some("limit"));
        for name in ["", "a b", "\u{1b}[2J", "é", &"a".repeat(65)] {
            assert_eq!(shown(name), None);
        }
    }
}
