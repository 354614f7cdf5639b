//! A whole playbook: its form, its inputs, its graph, and each of its steps. Knows nothing of files or
//! reports.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::conditions;
use super::examine::{Examiner, Names, Scope};
use super::finding::{FileReport, Finding, Severity};
use super::form::{self, STEP_TYPE};
use super::graph::{self, Place};
use crate::input::{Document, kind};
use crate::path::{Path, Segment, show_key};
use crate::problem::{Position, Problem};
use crate::step::render::ContextIs;

/// More steps than this are not looked at one by one; the schema's limit.
const MOST_STEPS: usize = 1_000;

/// Examines a playbook; findings and plans go to the report.
pub fn examine(examiner: &mut Examiner<'_>, playbook: Document, report: &mut FileReport) {
    let ids = step_ids(playbook.value());
    for placed in playbook.placed(form::violations(playbook.value())) {
        let id = match placed.problem.path.segments() {
            [Segment::Key(steps), Segment::Index(index), ..] if steps == "steps" => {
                ids.get(*index).and_then(Option::as_deref)
            }
            _ => None,
        };
        report
            .findings
            .push(Finding::of(Severity::Error, placed).in_step(id));
    }
    if let Some(id) = playbook.value().get("id").and_then(Value::as_str) {
        let at = playbook.position_of_value(&Path::of(&["id"]));
        let at = at.unwrap_or(Position { line: 1, column: 1 });
        report.playbook = Some((show_key(id), at));
    }
    let inputs = inputs(&playbook, report);
    let mut context: Map<String, Value> = examiner.settings.context.clone().unwrap_or_default();
    let mut values = inputs.defaults;
    if let Some(Value::Object(given)) = context.remove("inputs") {
        values.extend(given);
    }
    context.insert("inputs".into(), Value::Object(values));
    let many = playbook
        .value()
        .get("steps")
        .and_then(Value::as_array)
        .is_some_and(|steps| steps.len() > MOST_STEPS);
    let steps = if many {
        Vec::new()
    } else {
        let steps = playbook.into_child(Segment::Key("steps".into()));
        steps.map(Document::into_items).unwrap_or_default()
    };
    check_graph(&steps, report);
    let scope = Scope {
        context: Some(context),
        context_is: ContextIs::Partial,
        names: Some(Names {
            inputs: inputs.names,
            steps: ids.iter().flatten().cloned().collect(),
        }),
    };
    for step in &steps {
        let id = id_of(step.value());
        if step.value().get("name").is_none() && step.value().is_object() {
            report.findings.push(
                Finding::new(
                    Severity::Warning,
                    "required",
                    "the step has no `name`: people read it in the engine's log",
                    step.position_of_value(&Path::default()),
                )
                .in_step(id.as_deref()),
            );
        }
        if step.value().get("type").and_then(Value::as_str) == Some(STEP_TYPE) {
            examiner.step(step, &scope, report);
        }
    }
}

fn step_ids(playbook: &Value) -> Vec<Option<String>> {
    let steps = playbook.get("steps").and_then(Value::as_array);
    steps
        .into_iter()
        .flatten()
        .take(MOST_STEPS)
        .map(id_of)
        .collect()
}

/// A step's id as it may be shown.
pub fn id_of(step: &Value) -> Option<String> {
    let id = step.get("id").and_then(Value::as_str)?;
    (!id.trim().is_empty()).then(|| show_key(id))
}

/// The inputs that a playbook declares.
struct Inputs {
    names: BTreeSet<String>,
    defaults: Map<String, Value>,
}

fn inputs(playbook: &Document, report: &mut FileReport) -> Inputs {
    let mut inputs = Inputs {
        names: BTreeSet::new(),
        defaults: Map::new(),
    };
    let declared = playbook.value().get("inputs").and_then(Value::as_object);
    for (name, input) in declared.into_iter().flatten() {
        inputs.names.insert(name.clone());
        let Some(default) = default_of(input) else {
            continue;
        };
        let declared = input.get("type").and_then(Value::as_str);
        if let Some(expected) = declared.and_then(|declared| mismatch(declared, default)) {
            let path = Path::of(&["inputs", name, "default"]);
            let message = format!(
                "the default of the input `{}` must be {expected}, not {}",
                show_key(name),
                kind(default)
            );
            let at = playbook.position_of_value(&path);
            let problem = Problem::new(path, "input_default", message).at(at);
            report.findings.push(Finding::of(Severity::Error, problem));
        }
        inputs.defaults.insert(name.clone(), default.clone());
    }
    inputs
}

/// The inputs that have a default, by name.
#[cfg(feature = "demo")]
pub fn defaults(playbook: &Value) -> Map<String, Value> {
    let declared = playbook.get("inputs").and_then(Value::as_object);
    let declared = declared.into_iter().flatten();
    declared
        .filter_map(|(name, input)| Some((name.clone(), default_of(input)?.clone())))
        .collect()
}

fn default_of(input: &Value) -> Option<&Value> {
    let default = match input {
        Value::Object(input) => input.get("default")?,
        other => other,
    };
    (!default.is_null()).then_some(default)
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

fn check_graph(steps: &[Document], report: &mut FileReport) {
    let text = |step: &Value, key: &str| step.get(key).and_then(Value::as_str).map(show_key);
    let nodes: Vec<graph::Step> = steps
        .iter()
        .map(|step| {
            let step = step.value();
            graph::Step {
                id: id_of(step),
                next_true: text(step, "next_true"),
                next_false: text(step, "next_false"),
                depends_on: match step.get("depends_on") {
                    Some(Value::String(id)) => vec![show_key(id)],
                    Some(Value::Array(ids)) => {
                        ids.iter().filter_map(Value::as_str).map(show_key).collect()
                    }
                    _ => Vec::new(),
                },
                condition: step
                    .get("condition")
                    .map(conditions::named_steps)
                    .unwrap_or_default()
                    .iter()
                    .map(|name| show_key(name))
                    .collect(),
            }
        })
        .collect();
    for fault in graph::faults(&nodes) {
        let step = &steps[fault.step];
        let path = match fault.place {
            Place::Id if step.value().get("id").is_some() => Path::of(&["id"]),
            Place::Id => Path::default(),
            Place::Key(key) => Path::of(&[key]),
            Place::DependsOn(index) => Path::of(&["depends_on"]).index(index),
        };
        report.findings.push(
            Finding::new(
                fault.severity,
                fault.rule,
                fault.message,
                step.position_of_value(&path),
            )
            .in_step(nodes[fault.step].id.as_deref()),
        );
    }
}
