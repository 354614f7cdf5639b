//! The step: its schema, its rendering, and the typed form that the rest of the program works with.
//! Knows nothing of where the step came from, of SQL, or of servers.

mod evaluate;
mod expression;
pub mod model;
pub mod render;
pub mod schema;
mod typed;
mod words;

use crate::invocation::{Invocation, Path};
use crate::problem::Problem;
use crate::secret::SecretSources;
use model::RenderedStep;
use render::{ContextIs, SecretUse};
use schema::Stage;

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

/// The first problem, and how many more there are.
fn summary(problems: &[Problem]) -> String {
    match problems {
        [] => String::new(),
        [only] => only.message.clone(),
        [first, others @ ..] => format!("{} (and {} more)", first.message, others.len()),
    }
}

/// Checks the step, renders it with the invocation's context, checks it again and types it.
///
/// # Errors
/// All problems of the first of these that fails.
pub fn prepare(
    invocation: &Invocation,
    secrets: &SecretSources,
) -> Result<RenderedStep, StepError> {
    let document = &invocation.step;
    check_written(document)?;
    let rendering = render::render(
        document,
        invocation.context.as_ref(),
        ContextIs::Complete,
        SecretUse::Resolve(secrets),
    )
    .map_err(StepError::Render)?;
    let problems = schema::check(&rendering.step, document, Stage::Rendered);
    if !problems.is_empty() {
        return Err(StepError::Schema(problems));
    }
    typed::type_step(rendering).map_err(|problem| StepError::Schema(vec![problem]))
}

/// What is known of a step before any context or secret: its schema, and whether it offers SQL.
///
/// # Errors
/// All violations of the schema; else, keys that offer SQL.
pub fn check_written(document: &crate::invocation::Document) -> Result<(), StepError> {
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
