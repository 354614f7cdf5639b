//! What the allowlist has to say when it refuses: a call by a step, or a template itself. Messages hold
//! names and rules, never a value that a step gave.

use crate::problem::{Placed, Problem};

/// Why a step's call of a template does not become a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowlistError {
    /// The call is not allowed; every problem of it at once.
    #[error("{}", listed_in_a_line(.0.iter().map(|problem| problem.message.clone())))]
    Refused(Vec<Problem>),
    /// The template that the call names is itself broken: its author has to mend it.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl AllowlistError {
    /// Everything that is wrong, for the document's `error.details`, with paths in the step.
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Refused(problems) => problems.clone(),
            // Positions in the template's file would look like positions in the step.
            Self::Template(error) => {
                let of_step = |placed: &Placed| {
                    let message = format!("template {}: {}", error.label, with_its_place(placed));
                    Problem::new("params.template", placed.problem.rule.as_str(), message)
                };
                error.problems.iter().map(of_step).collect()
            }
        }
    }
}

/// What is wrong with a template: its form, its SQL, or what it says about itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {label}: {}", listed_in_a_line(.problems.iter().map(with_its_place)))]
pub struct TemplateError {
    /// The template's name in backquotes, or its file where it has no name yet.
    pub label: String,
    /// All that is wrong, with paths and places inside the template's file.
    pub problems: Vec<Placed>,
}

fn listed_in_a_line(messages: impl Iterator<Item = String>) -> String {
    messages.collect::<Vec<_>>().join("; ")
}

/// A problem's message after its position, where it has one.
fn with_its_place(Placed { problem, at }: &Placed) -> String {
    match at {
        Some(at) => format!(
            "line {}, column {}: {}",
            at.line, at.column, problem.message
        ),
        None => problem.message.clone(),
    }
}

/// How a name from a document is shown. Names are words; what is not one may be a value that slipped
/// into a key, or carry control characters to a terminal, and is not shown.
pub(super) fn shown(name: &str) -> Option<&str> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
    (!name.is_empty() && name.len() <= 64 && name.chars().all(plain)).then_some(name)
}

/// The known names that share a word with the one that is not known, five at most.
pub(super) fn alike<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    // `user` and `users` are one word.
    let words: Vec<&str> = name
        .split('_')
        .map(|word| word.trim_end_matches('s'))
        .filter(|word| word.len() > 2)
        .collect();
    let shares = |other: &&str| {
        other
            .split('_')
            .any(|word| words.contains(&word.trim_end_matches('s')))
    };
    known.into_iter().filter(shares).take(5).collect()
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
    fn a_broken_template_is_a_problem_of_the_step_that_names_it() {
        let position = crate::problem::Position { line: 3, column: 6 };
        let error = AllowlistError::Template(TemplateError {
            label: "`one`".into(),
            problems: vec![
                Problem::new("sql", "sql", "`sql` holds no statement").at(Some(position)),
                Problem::new("name", "name", "wrong").into(),
            ],
        });
        let of_step = |rule: &str, message: &str| Problem::new("params.template", rule, message);
        assert_eq!(
            error.problems(),
            [
                of_step(
                    "sql",
                    "template `one`: line 3, column 6: `sql` holds no statement"
                ),
                of_step("name", "template `one`: wrong"),
            ]
        );
        assert_eq!(
            error.to_string(),
            "template `one`: line 3, column 6: `sql` holds no statement; wrong"
        );
    }

    #[test]
    fn shares_words() {
        let known = ["listening_ports", "container_ports", "users"];
        assert_eq!(
            alike("open_port", known),
            ["listening_ports", "container_ports"]
        );
        assert_eq!(alike("", known), Vec::<&str>::new());
    }

    #[test]
    fn shows_words_only() {
        assert_eq!(shown("limit"), Some("limit"));
        for name in ["", "a b", "\u{1b}[2J", "é", &"a".repeat(65)] {
            assert_eq!(shown(name), None);
        }
    }
}
