//! What the rules of a schema say of any document.

use serde_json::Value;

use super::Violation;
use super::tree::Node;
use crate::input::kind;
use crate::nearest::question;
use crate::path::{Path, show_key};
use crate::problem::Problem;

/// As many known keys are listed where one is unknown; of more, nobody reads the list.
const MOST_LISTED: usize = 8;

/// The problem that a violation of a document is.
pub(super) fn problem(document: &str, violation: &Violation<'_>) -> Problem {
    violation.says(match violation.rule {
        "additionalProperties" => unknown_key(document, violation),
        _ => {
            let subject = subject(document, violation.path);
            format!("{subject} {}", predicate(document, violation))
        }
    })
}

fn subject(document: &str, path: &Path) -> String {
    match path.subject() {
        whole if whole.is_empty() => format!("the {document}"),
        subject => format!("`{subject}`"),
    }
}

fn unknown_key(document: &str, violation: &Violation<'_>) -> String {
    let key = violation.path.last_key().unwrap_or_default();
    let parent = violation.path.parent();
    let known = violation.known_keys(&parent);
    let (shown, likely) = (show_key(key), question(key, known.iter().copied()));
    match likely {
        Some(question) => format!("unknown key `{shown}`: {question}"),
        None if (1..=MOST_LISTED).contains(&known.len()) => {
            let known = quoted(known.into_iter());
            format!("unknown key `{shown}`; the keys here are {known}")
        }
        None => {
            let place = subject(document, &parent);
            format!("unknown key `{shown}`: {place} has no such key")
        }
    }
}

/// What a value must be, or is: a sentence without its subject.
fn predicate(document: &str, violation: &Violation<'_>) -> String {
    let keyword = |name: &str| violation.keyword(name);
    let limit = || keyword(violation.rule).map_or("null".to_owned(), Node::to_string);
    if violation.rule == "required" {
        return "is required".to_owned();
    }
    if let (Some(minimum), Some(maximum)) = (keyword("minimum"), keyword("maximum")) {
        return format!("must be a whole number from {minimum} to {maximum}");
    }
    if let Some(Node::List(options)) = keyword("enum") {
        let options = options.iter().filter_map(Node::as_str);
        let likely = match violation.value {
            Some(Value::String(given)) => question(given, options.clone()),
            _ => None,
        };
        let likely = likely.map_or(String::new(), |likely| format!("; {likely}"));
        return format!("must be one of {}{likely}", quoted(options));
    }
    match violation.rule {
        "not" => "is not accepted here".to_owned(),
        "minItems" => "is an empty list".to_owned(),
        "maxItems" => format!("has more than {} items", limit()),
        "minLength" => "must not be empty".to_owned(),
        "maxLength" => format!("has more than {} characters", limit()),
        "pattern" => "must not be blank, and must not hold control characters".to_owned(),
        "type" => wrong_kind(keyword("type"), violation.value),
        rule => format!("breaks the rule `{rule}` of the {document}'s schema"),
    }
}

fn wrong_kind(wanted: Option<&Node<'_>>, value: Option<&Value>) -> String {
    let wanted = expected(wanted);
    match value {
        Some(Value::String(_)) if wanted == BOOLEAN => {
            format!("must be {BOOLEAN}, in lower case and without quotes")
        }
        Some(value @ (Value::Number(_) | Value::Bool(_))) if wanted == TEXT => {
            format!("must be {TEXT}, not {}: put it in quotes", kind(value))
        }
        value => format!("must be {wanted}, not {}", value.map_or("nothing", kind)),
    }
}

const BOOLEAN: &str = "true or false";
const TEXT: &str = "text";

/// The kinds of values that a schema's `type` names.
fn expected(types: Option<&Node<'_>>) -> String {
    let word = |name: &str| match name {
        "string" => TEXT,
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => BOOLEAN,
        "array" => "a list",
        "object" => "a mapping",
        _ => "nothing",
    };
    match types {
        Some(Node::Text(name)) => word(name).to_owned(),
        Some(Node::List(names)) => {
            let words: Vec<&str> = names.iter().filter_map(Node::as_str).map(word).collect();
            words.join(" or ")
        }
        _ => "of another kind".to_owned(),
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
