//! The step: its schema, its rendering, and the typed form that the rest of the program works with.
//! Knows nothing of where the step came from, of SQL, or of servers.

mod evaluate;
mod expression;
pub mod model;
pub mod render;
pub mod schema;
mod typed;
mod violation;

use serde_json::{Map, Value};

use crate::input::Document;
use crate::path::Path;
use crate::problem::Problem;
use model::{BackendKind, NamedServer, RenderedStep};
use render::{ContextIs, Rendering, SecretUse, Unknown};
use schema::Stage;
pub(crate) use typed::{DEFAULT_TIMEOUT_SECONDS, insecure};

/// Why a step can't be run; every problem that could be found, in the order of the text, without values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// It breaks its schema.
    #[error("the step breaks its schema: {}", summary(.0))]
    Schema(Vec<Problem>),
    /// It offers SQL, or another query than an allowlisted template: the allowlist's refusal, known before
    /// anything is rendered or any secret is read.
    #[error("{}", summary(.0))]
    RawSql(Vec<Problem>),
    /// An expression or a secret can't be rendered.
    #[error("the step can't be rendered: {}", summary(.0))]
    Render(Vec<Problem>),
}

impl StepError {
    /// What is wrong, each with its path and its place.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Schema(problems) | Self::RawSql(problems) | Self::Render(problems) => problems,
        }
    }
}

/// Problems of one step at most: more are counted only. An engine's alert may break thousands of targets
/// in the same way, and each problem's place is looked up in the text.
const MOST_PROBLEMS: usize = 50;

/// The rule of the problem that says how many others were left out.
const LEFT_OUT: &str = "more";

/// Says how many problems were left out.
fn left_out(count: usize) -> Option<Problem> {
    (count > 0).then(|| {
        Problem::new(
            "",
            LEFT_OUT,
            format!("and {count} more problems, which are left out here"),
        )
    })
}

/// The first problem, and how many more there are.
fn summary(problems: &[Problem]) -> String {
    match problems {
        [] => String::new(),
        [only] => only.message.clone(),
        [first, .., last] if last.rule == LEFT_OUT => {
            format!(
                "{} (and more than {} others)",
                first.message,
                MOST_PROBLEMS - 1
            )
        }
        [first, others @ ..] => format!("{} (and {} more)", first.message, others.len()),
    }
}

/// A step as far as it is known before it runs.
#[derive(Debug)]
pub struct Outline {
    /// The step; what is unknown stands in it as it was written, or not at all where it is a number.
    pub step: RenderedStep,
    /// What names something that the context does not have; nothing where the context is complete.
    pub unknown: Vec<Unknown>,
}

/// Renders a step that [`check_written`] has nothing against, checks it again and types it; also for those who know only
/// a part of the context, or who must not read secrets. `named` is the server of the instance that the step
/// names.
///
/// # Errors
/// All problems of the rendering, or of the second check.
pub fn outline(
    document: &Document,
    context: Option<&Map<String, Value>>,
    context_is: ContextIs,
    secrets: SecretUse<'_>,
    named: Option<NamedServer>,
) -> Result<Outline, StepError> {
    let mut rendering = render_checked(document, context, context_is, secrets)?;
    let of_osctrl = named
        .as_ref()
        .is_some_and(|named| named.server.backend == BackendKind::Osctrl);
    let labels = Path::of(&["params", "target_labels"]);
    if of_osctrl && rendering.step.pointer("/params/target_labels").is_some() {
        // Which server an instance is, the schema can't know.
        let message = violation::LABELS_ARE_FLEETS;
        let problem = Problem::new(labels.to_string(), "not", message);
        let at = document.position_of_key(&labels);
        return Err(StepError::Schema(vec![problem.at(at)]));
    }
    let unknown = std::mem::take(&mut rendering.unknown);
    let step = typed::type_step(rendering, document, named)
        .map_err(|problem| StepError::Schema(vec![problem]))?;
    Ok(Outline { step, unknown })
}

fn render_checked(
    document: &Document,
    context: Option<&Map<String, Value>>,
    context_is: ContextIs,
    secrets: SecretUse<'_>,
) -> Result<Rendering, StepError> {
    let rendering =
        render::render(document, context, context_is, secrets).map_err(StepError::Render)?;
    // What could not be rendered yet is still without a type.
    let stage = if rendering.unknown.is_empty() {
        Stage::Rendered
    } else {
        Stage::Written
    };
    let problems = schema::check(&rendering.step, document, stage);
    if problems.is_empty() {
        Ok(rendering)
    } else {
        Err(StepError::Schema(problems))
    }
}

/// What is known of a step before any context or secret: its schema, and whether it offers SQL.
///
/// # Errors
/// All violations of the schema; else, keys that offer SQL.
pub fn check_written(document: &Document) -> Result<(), StepError> {
    let step = document.value();
    let problems = schema::check(step, document, Stage::Written);
    if !problems.is_empty() {
        return Err(StepError::Schema(problems));
    }
    let mut problems: Vec<Problem> = schema::foreign_keys(step)
        .into_iter()
        .map(|path: Path| {
            Problem::new(
                path.to_string(),
                "raw_sql",
                format!(
                    "`{}` is refused: SQL is never taken from a step; name an allowlisted `template` and its `template_params`",
                    path.subject()
                ),
            )
            .at(document.position_of_key(&path))
        })
        .collect();
    schema::sort(&mut problems);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(StepError::RawSql(problems))
    }
}

#[cfg(test)]
mod tests;
