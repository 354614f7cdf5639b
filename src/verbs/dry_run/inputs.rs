//! What a playbook declares as its inputs, and the values that are known of them: the context's own, what
//! the context has at an input's `field`, its default. Knows nothing of steps.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::examine::Settings;
use super::finding::{FileReport, Finding, Severity};
use super::names;
use crate::input::{Document, kind};
use crate::path::{Path, show_key};
use crate::problem::Problem;
use crate::step::render::{NoField, field_of};

/// The names of the inputs.
pub(super) fn names(playbook: &Value) -> BTreeSet<String> {
    declared(playbook).map(|(name, _)| name.clone()).collect()
}

/// The context with the values of the inputs as far as they are known, under `inputs`.
pub(super) fn context_with(playbook: &Value, context: &Map<String, Value>) -> Map<String, Value> {
    let mut values = Map::new();
    for (name, input) in declared(playbook) {
        let taken = field(input).and_then(|field| field_of(field, context).ok());
        let taken = taken.filter(|value| !value.is_null());
        if let Some(value) = taken.or_else(|| default_of(input).cloned()) {
            values.insert(name.clone(), value);
        }
    }
    let mut context = context.clone();
    if let Some(Value::Object(given)) = context.remove("inputs") {
        values.extend(given);
    }
    context.insert("inputs".into(), Value::Object(values));
    context
}

/// Says what is wrong with the inputs: a default of another type than the declared one, a field that the
/// context does not have.
pub(super) fn check(playbook: &Document, settings: &Settings, report: &mut FileReport) {
    let none = Map::new();
    let context = settings.context.as_ref().unwrap_or(&none);
    let given = context.get("inputs").and_then(Value::as_object);
    let (mut problems, mut severities) = (Vec::new(), Vec::new());
    for (name, input) in declared(playbook.value()) {
        if let Some(problem) = wrong_default(name, input) {
            problems.push(problem);
            severities.push(Severity::Error);
        }
        let is_given = given.is_some_and(|given| given.contains_key(name));
        if let Some(field) = field(input).filter(|_| !is_given)
            && let Some((severity, problem)) = wrong_field(name, input, field, context, settings)
        {
            problems.push(problem);
            severities.push(severity);
        }
    }
    let placed = playbook.placed(problems).into_iter().zip(severities);
    let findings = placed.map(|(placed, severity)| Finding::of(severity, placed));
    report.findings.extend(findings);
}

fn declared(playbook: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let declared = playbook.get("inputs").and_then(Value::as_object);
    declared.into_iter().flatten()
}

fn default_of(input: &Value) -> Option<&Value> {
    let default = match input {
        Value::Object(input) => input.get("default")?,
        other => other,
    };
    (!default.is_null()).then_some(default)
}

/// The path in the context that the input is taken from; an empty one is the schema's to refuse.
fn field(input: &Value) -> Option<&str> {
    let field = input.as_object()?.get("field")?.as_str()?;
    (!field.is_empty()).then_some(field)
}

fn wrong_default(name: &str, input: &Value) -> Option<Problem> {
    let default = default_of(input)?;
    let expected = mismatch(input.get("type")?.as_str()?, default)?;
    let message = format!(
        "the default of the input `{}` must be {expected}, not {}",
        show_key(name),
        kind(default)
    );
    let path = Path::of(&["inputs", name, "default"]);
    Some(Problem::new(path, "input_default", message))
}

/// What a declared type expects, where a default is something else.
fn mismatch(declared: &str, default: &Value) -> Option<&'static str> {
    let (fits, expected) = match declared {
        "string" => (default.is_string(), "text"),
        "integer" => (default.is_i64() || default.is_u64(), "a whole number"),
        "number" => (default.is_number(), "a number"),
        "boolean" => (default.is_boolean(), "true or false"),
        "list" => (default.is_array(), "a list"),
        _ => (true, ""),
    };
    (!fits).then_some(expected)
}

/// What is wrong with an input's field, as far as it can be known.
fn wrong_field(
    name: &str,
    input: &Value,
    field: &str,
    context: &Map<String, Value>,
    settings: &Settings,
) -> Option<(Severity, Problem)> {
    let path = Path::of(&["inputs", name, "field"]);
    let told = |severity, rule: &str, message: &str| {
        let message = format!("`{path}` {message}");
        Some((severity, Problem::new(&path, rule, message)))
    };
    let (root, missing) = match field_of(field, context) {
        Ok(_) => return None,
        Err(NoField::NotAPath) => {
            let message = "must be a path into the context such as `alert.host`, without braces";
            return told(Severity::Error, "input_field", message);
        }
        Err(NoField::Missing { root, message }) => (root, message),
    };
    if names::has_root(settings, &root) {
        let needed = default_of(input).is_none() && input.get("required") != Some(&false.into());
        return match needed {
            true => told(Severity::Error, "input_field", &missing),
            false => {
                let message = format!("{missing}: the input has no value then");
                told(Severity::Warning, "input_field", &message)
            }
        };
    }
    if names::may_be_there(settings, &root) {
        return None;
    }
    // Some engines put an alert's own fields at the top of the context.
    let severity = match names::likely_root(settings, &root) {
        Some(_) => Severity::Error,
        None => Severity::Warning,
    };
    let message = names::undefined_root(settings, field, &root);
    told(severity, "undefined_root", &message)
}
