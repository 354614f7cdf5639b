//! Forms in which alerts, tools and people write a value, type by type: each that is taken becomes the one
//! form that osquery's tables hold, and each other is refused with the form that works. What is neither
//! would be compared with nothing like it, and the host's empty list would look like an answer.

mod names;
mod numbers;
mod packages;
mod paths;

use serde_json::{Value, json};

use super::with;
use crate::allowlist::declaration;

/// A type as a template's lines declare it, with what becomes of values.
struct Forms {
    /// The parameter's lines after its description; the first one is its type.
    lines: &'static str,
    /// Platforms of the template.
    platforms: &'static str,
    /// The form of the tables, as an SQL literal, and values that become it.
    taken: Vec<(String, Vec<Value>)>,
    /// Values that are refused, with what the message says to do.
    refused: Vec<(Value, &'static str)>,
}

const ALL: &str = "linux, darwin, windows";
const UNIX: &str = "linux, darwin";
const WINDOWS: &str = "windows";

/// Texts that become a text.
fn text(form: &str, values: &[&str]) -> (String, Vec<Value>) {
    let literal = format!("'{}'", form.replace('\'', "''"));
    (literal, values.iter().map(|value| json!(value)).collect())
}

fn number(form: i64, values: &[Value]) -> (String, Vec<Value>) {
    (form.to_string(), values.to_vec())
}

fn refused(values: &[(&str, &'static str)]) -> Vec<(Value, &'static str)> {
    values
        .iter()
        .map(|(value, why)| (json!(value), *why))
        .collect()
}

fn of(
    lines: &'static str,
    platforms: &'static str,
    taken: Vec<(String, Vec<Value>)>,
    refused: Vec<(Value, &'static str)>,
) -> Forms {
    Forms {
        lines,
        platforms,
        taken,
        refused,
    }
}

fn all() -> Vec<Forms> {
    [
        numbers::numbers(),
        paths::paths(),
        names::accounts(),
        names::network(),
        packages::digests(),
        packages::packages(),
        packages::texts(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the value is bound as, or why not.
fn bound(forms: &Forms, value: &Value) -> Result<String, String> {
    with(forms.platforms, forms.lines, value)
}

#[test]
fn each_form_becomes_that_of_the_tables() {
    let mut wrong = Vec::new();
    for forms in all() {
        for (literal, values) in &forms.taken {
            for value in values {
                let bound = bound(&forms, value);
                if bound.as_ref() != Ok(literal) {
                    wrong.push(format!(
                        "{:?} on {}: {value} became {bound:?}, not {literal}",
                        forms.lines, forms.platforms
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn other_forms_are_refused_with_the_one_that_works() {
    let mut wrong = Vec::new();
    for forms in all() {
        for (value, why) in &forms.refused {
            let bound = bound(&forms, value);
            let said = bound
                .as_ref()
                .err()
                .is_some_and(|error| error.contains(why));
            let shown = value
                .as_str()
                .filter(|text| text.len() > 12)
                .is_some_and(|text| bound.as_ref().is_err_and(|error| error.contains(text)));
            if !said || shown {
                wrong.push(format!(
                    "{:?} on {}: {value} became {bound:?}, not “{why}”",
                    forms.lines, forms.platforms
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// No type is without its forms, and each has one beyond the form of the tables, or is of those for which
/// nothing else can be meant.
#[test]
fn every_type_is_held_to_its_forms() {
    const ONE_FORM_ONLY: [&str; 3] = ["process_name", "text", "pattern"];
    let all = all();
    for name in declaration::TYPES {
        let of_type: Vec<&Forms> = all
            .iter()
            .filter(|forms| forms.lines.lines().next() == Some(&format!("type: {name}")))
            .collect();
        assert!(!of_type.is_empty(), "{name} has no forms");
        assert!(
            of_type.iter().all(|forms| !forms.refused.is_empty()),
            "{name}"
        );
        let several = of_type
            .iter()
            .flat_map(|forms| &forms.taken)
            .any(|(_, values)| values.len() > 1);
        assert_eq!(several, !ONE_FORM_ONLY.contains(&name), "{name}");
    }
}
