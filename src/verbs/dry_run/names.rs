//! Names in expressions that the context does not have: which of them can't be there later either. Knows
//! nothing of how expressions are evaluated.

use std::fmt::Display;

use super::examine::{Scope, Settings};
use crate::nearest::{asked, nearest, question};
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
        (root, _) if may_be_there(settings, root) => None,
        // How a loop's item is called is its engine's choice.
        (root, _) if scope.in_loop && likely_root(settings, root).is_none() => None,
        (root, _) => told("undefined_root", undefined_root(settings, name, root)),
    }
}

/// What to say of a name under a root that no engine is known to give: the end of a sentence.
pub(super) fn undefined_root(settings: &Settings, name: impl Display, root: &str) -> String {
    let likely = likely_root(settings, root)
        .map(|likely| format!(" ({})", asked(&likely)))
        .unwrap_or_default();
    format!(
        "names `{name}`, but no `{}` is in the context{likely}: there are `alert`, `inputs` and `steps`; `--context-root` or `--context` tells of others",
        show_key(root)
    )
}

/// The root that is likely meant.
pub(super) fn likely_root<'a>(settings: &'a Settings, root: &str) -> Option<&'a str> {
    let given = settings.roots.iter().map(String::as_str);
    nearest(root, ROOTS.into_iter().chain(given))
}

/// Whether the context file has it: then it has all of it.
pub(super) fn has_root(settings: &Settings, root: &str) -> bool {
    let context = settings.context.as_ref();
    context.is_some_and(|context| context.contains_key(root))
}

/// Whether an engine gives it, although nothing is known of it.
pub(super) fn may_be_there(settings: &Settings, root: &str) -> bool {
    ROOTS.contains(&root) || settings.roots.iter().any(|given| given == root)
}
