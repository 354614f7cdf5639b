//! A whole playbook: its form, its inputs, its graph, and each of its steps, nested ones too. Knows nothing
//! of files or reports.

use serde_json::{Map, Value};

use super::conditions;
use super::examine::{Examiner, Names, Scope};
use super::finding::{FileReport, Finding, Severity};
use super::form::{self, STEP_TYPE};
use super::graph::{self, Body, Place};
use super::inputs;
use crate::input::Document;
use crate::path::{Path, Segment, show_key};
use crate::problem::{Position, Problem};
use crate::step::render::ContextIs;
use crate::step::schema::keys_of_others;

/// More steps than this are not looked at one by one; the schema's limit.
const MOST_STEPS: usize = 1_000;

/// How deep steps may be nested within those of the playbook.
const DEEPEST: usize = 3;

/// Examines a playbook; findings and plans go to the report.
pub fn examine(examiner: &mut Examiner<'_>, playbook: Document, report: &mut FileReport) {
    let steps = nested(playbook.value());
    let mut told = Told::default();
    for problem in form::violations(playbook.value(), examiner.settings.strict) {
        let severity = form::severity(&problem.rule);
        let length = form::length_of_step(&problem.path);
        let at = problem.path.segments().get(..length).unwrap_or_default();
        let step = steps.iter().find(|step| step.path.segments() == at);
        told.add(severity, problem, step.and_then(|step| id_of(step.value)));
    }
    if playbook.value().get("id").is_none() && playbook.value().is_object() {
        let message = "the playbook has no `id`: every engine makes one of its own";
        let problem = Problem::new(Path::default(), "required", message);
        told.add(Severity::Warning, problem, None);
    }
    if let Some(id) = playbook.value().get("id").and_then(Value::as_str) {
        let at = playbook.position_of_value(&Path::of(&["id"]));
        let at = at.unwrap_or(Position { line: 1, column: 1 });
        report.playbook = Some((show_key(id), at));
    }
    inputs::check(&playbook, examiner.settings, report);
    if steps.len() > MOST_STEPS {
        let path = Path::of(&["steps"]);
        let message =
            format!("the playbook has more than {MOST_STEPS} steps, nested ones included");
        // Where one list has them all, the schema says so.
        if !told.tell_of(&path) {
            told.add(
                Severity::Error,
                Problem::new(path, "maxItems", message),
                None,
            );
        }
        return told.report(&playbook, report);
    }
    for step in &steps {
        incomplete(step, &mut told);
    }
    check_graph(&steps, &mut told);
    let none = Map::new();
    let context = examiner.settings.context.as_ref().unwrap_or(&none);
    let mut scope = Scope {
        context: Some(inputs::context_with(playbook.value(), context)),
        context_is: ContextIs::Partial,
        names: Some(Names {
            inputs: inputs::names(playbook.value()),
            steps: steps.iter().filter_map(|step| id_of(step.value)).collect(),
        }),
        in_loop: false,
    };
    told.report(&playbook, report);
    for step in items(playbook) {
        examine_step(examiner, step, &mut scope, report);
    }
}

/// One step, and then those that are nested in it.
fn examine_step(
    examiner: &mut Examiner<'_>,
    step: Document,
    scope: &mut Scope,
    report: &mut FileReport,
) {
    if is_ours(step.value()) {
        return examine_ours(examiner, step, scope, report);
    }
    let around = scope.in_loop;
    scope.in_loop |= body_of(step.value()) == Body::Repeated;
    for inner in items(step) {
        examine_step(examiner, inner, scope, report);
    }
    scope.in_loop = around;
}

/// A step of this program: an engine's own keys are told, and the rest goes the way of `run`.
fn examine_ours(
    examiner: &mut Examiner<'_>,
    step: Document,
    scope: &Scope,
    report: &mut FileReport,
) {
    if examiner.settings.strict {
        return examiner.step(&step, scope, report);
    }
    let foreign = keys_of_others(step.value());
    let problems = foreign.iter().map(|key| {
        let message = format!(
            "unknown key `{}`: `run` refuses a step with it, so the engine must not pass it on",
            show_key(key)
        );
        Problem::new(Path::of(&[key]), form::UNKNOWN_KEY, message)
    });
    let id = id_of(step.value());
    for placed in step.placed(problems.collect()) {
        let finding = Finding::of(Severity::Warning, placed).in_step(id.as_deref());
        report.findings.push(finding);
    }
    let foreign: Vec<String> = foreign.into_iter().map(str::to_owned).collect();
    let step = step.without(|key| foreign.iter().any(|foreign| foreign == key));
    examiner.step(&step, scope, report);
}

/// The steps in a playbook or a step, each with its places.
fn items(outer: Document) -> Vec<Document> {
    let steps = outer.into_child(Segment::Key("steps".into()));
    steps.map(Document::into_items).unwrap_or_default()
}

/// Findings that wait for their places, which are looked up all at once.
#[derive(Default)]
struct Told {
    problems: Vec<Problem>,
    about: Vec<(Severity, Option<String>)>,
}

impl Told {
    fn add(&mut self, severity: Severity, problem: Problem, step: Option<String>) {
        self.problems.push(problem);
        self.about.push((severity, step));
    }

    fn tell_of(&self, path: &Path) -> bool {
        self.problems.iter().any(|problem| problem.path == *path)
    }

    fn report(self, playbook: &Document, report: &mut FileReport) {
        let placed = playbook.placed(self.problems).into_iter().zip(self.about);
        let findings = placed.map(|(placed, (severity, step))| {
            Finding::of(severity, placed).in_step(step.as_deref())
        });
        report.findings.extend(findings);
    }
}

/// A step of a playbook, wherever in it.
struct Nested<'a> {
    value: &'a Value,
    path: Path,
    /// The step that it is nested in, by its place among all.
    parent: Option<usize>,
}

/// All steps, each before those that are nested in it; one more than are looked at, at most.
fn nested(playbook: &Value) -> Vec<Nested<'_>> {
    let mut found = Vec::new();
    collect(playbook, &Path::default(), None, &mut found);
    found
}

fn collect<'a>(outer: &'a Value, path: &Path, parent: Option<usize>, found: &mut Vec<Nested<'a>>) {
    let steps = outer.get("steps").and_then(Value::as_array);
    let steps = steps.map(Vec::as_slice).unwrap_or_default();
    for (index, value) in steps.iter().enumerate() {
        if found.len() > MOST_STEPS {
            return;
        }
        let path = path.key("steps").index(index);
        let own = found.len();
        found.push(Nested {
            value,
            path: path.clone(),
            parent,
        });
        if !is_ours(value) {
            collect(value, &path, Some(own), found);
        }
    }
}

/// The steps of this program, in the order in which they are examined.
#[cfg(feature = "demo")]
pub fn own_steps(playbook: &Value) -> Vec<&Value> {
    let steps = nested(playbook).into_iter().map(|step| step.value);
    steps.filter(|step| is_ours(step)).collect()
}

fn is_ours(step: &Value) -> bool {
    step.get("type").and_then(Value::as_str) == Some(STEP_TYPE)
}

/// How the steps in a step run.
fn body_of(step: &Value) -> Body {
    match step.get("type").and_then(Value::as_str) {
        Some("parallel") => Body::AtOnce,
        Some("loop") => Body::Repeated,
        _ => Body::InOrder,
    }
}

/// A step's id as it may be shown.
pub fn id_of(step: &Value) -> Option<String> {
    let id = step.get("id").and_then(Value::as_str)?;
    (!id.trim().is_empty()).then(|| show_key(id))
}

/// What a step should have although engines do without, and what they do not do.
fn incomplete(step: &Nested<'_>, told: &mut Told) {
    if !step.value.is_object() {
        return;
    }
    let id = id_of(step.value);
    for (key, message) in [
        (
            "name",
            "the step has no `name`: people read it in the engine's log",
        ),
        (
            "id",
            "the step has no `id`: the engine makes one, and no other step can name it",
        ),
    ] {
        if step.value.get(key).is_none() {
            let problem = Problem::new(&step.path, "required", message);
            told.add(Severity::Warning, problem, id.clone());
        }
    }
    let depth = step.path.segments().len() / 2 - 1;
    let has_steps = step.value.get("steps").is_some_and(Value::is_array);
    if depth == DEEPEST && has_steps {
        let message =
            format!("steps are nested more than {DEEPEST} levels deep here: engines refuse that");
        let problem = Problem::new(step.path.key("steps"), "nesting", message);
        told.add(Severity::Warning, problem, id);
    }
}

fn check_graph(steps: &[Nested<'_>], told: &mut Told) {
    let text = |step: &Value, key: &str| step.get(key).and_then(Value::as_str).map(show_key);
    let nodes: Vec<graph::Step> = steps
        .iter()
        .map(|Nested { value, parent, .. }| graph::Step {
            id: id_of(value),
            next_true: text(value, "next_true"),
            next_false: text(value, "next_false"),
            depends_on: match value.get("depends_on") {
                Some(Value::String(id)) => vec![show_key(id)],
                Some(Value::Array(ids)) => {
                    ids.iter().filter_map(Value::as_str).map(show_key).collect()
                }
                _ => Vec::new(),
            },
            condition: value
                .get("condition")
                .map(conditions::named_steps)
                .unwrap_or_default()
                .iter()
                .map(|name| show_key(name))
                .collect(),
            parent: *parent,
            body: body_of(value),
        })
        .collect();
    for fault in graph::faults(&nodes) {
        let Nested { value, path, .. } = &steps[fault.step];
        let path = match fault.place {
            Place::Id if value.get("id").is_some() => path.key("id"),
            Place::Id => path.clone(),
            Place::Key(key) => path.key(key),
            Place::DependsOn(index) => path.key("depends_on").index(index),
        };
        let problem = Problem::new(path, fault.rule, fault.message);
        told.add(fault.severity, problem, nodes[fault.step].id.clone());
    }
}
