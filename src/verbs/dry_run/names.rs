//! Names in expressions that the context does not have: which of them can't be there later either. Knows
//! nothing of how expressions are evaluated.

use super::examine::{Scope, Settings};
use crate::nearest::question;
use crate::path::{Path, Segment, show_key};
use crate::problem::Problem;
use crate::step::render::Unknown;

/// Roots of the context that every engine gives.
const ROOTS: [&str; 3] = ["alert", "inputs", "steps"];

/// Names that can't be there later either.
pub(super) fn unknown_names(
    settings: &Settings,
    unknown: &[Unknown],
    scope: &Scope,
) -> Vec<Problem> {
    let problems = unknown.iter().flat_map(|unknown| {
        let missing = unknown.missing.iter();
        missing.filter_map(|missing| {
            unknown_name(settings, unknown, &missing.name, &missing.problem, scope)
        })
    });
    problems.collect()
}

/// Whether a name that the context does not have can't be there later either.
fn unknown_name(
    settings: &Settings,
    unknown: &Unknown,
    name: &Path,
    problem: &Problem,
    scope: &Scope,
) -> Option<Problem> {
    let Some(Segment::Key(root)) = name.segments().first() else {
        return None;
    };
    let member = match name.segments().get(1) {
        Some(Segment::Key(member)) => Some(member.as_str()),
        _ => None,
    };
    let told = |rule: &str, message: String| {
        let subject = unknown.path.subject();
        Some(Problem {
            rule: rule.to_owned(),
            message: format!("`{subject}` {message}"),
            ..problem.clone()
        })
    };
    let likely = |name: &str, known: &mut dyn Iterator<Item = &str>| {
        question(name, known)
            .map(|question| format!(" ({question})"))
            .unwrap_or_default()
    };
    match (root.as_str(), &scope.names) {
        ("inputs", Some(names)) => {
            let member = member.unwrap_or_default();
            if names.inputs.contains(member) {
                return None;
            }
            let likely = likely(member, &mut names.inputs.iter().map(String::as_str));
            told(
                "undefined_input",
                format!("names `{name}`, but the playbook declares no such input{likely}"),
            )
        }
        ("steps", Some(names)) => {
            // A name with a `-` in it is written `steps['some-id']`.
            let member = member.unwrap_or_default();
            if names.steps.contains(member) {
                return None;
            }
            let likely = likely(member, &mut names.steps.iter().map(String::as_str));
            told(
                "unknown_step",
                format!("names `{name}`, but the playbook has no such step{likely}"),
            )
        }
        ("inputs" | "steps", None) => None,
        (root, _) if has_root(settings, root) => Some(problem.clone()),
        (root, _) if ROOTS.contains(&root) || is_given_root(settings, root) => None,
        (root, _) => {
            let given = settings.roots.iter().map(String::as_str);
            let likely = likely(root, &mut ROOTS.into_iter().chain(given));
            told(
                "undefined_root",
                format!(
                    "names `{name}`, but no `{}` is in the context{likely}: there are `alert`, `inputs` and `steps`; `--context-root` or `--context` tells of others",
                    show_key(root)
                ),
            )
        }
    }
}

/// Whether the context file has it: then it has all of it.
fn has_root(settings: &Settings, root: &str) -> bool {
    let context = settings.context.as_ref();
    context.is_some_and(|context| context.contains_key(root))
}

fn is_given_root(settings: &Settings, root: &str) -> bool {
    settings.roots.iter().any(|given| given == root)
}
