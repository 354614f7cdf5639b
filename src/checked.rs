//! From stdin's bytes to a step that may be dispatched: decode, schema, rendering, allowlist. Nothing
//! here touches the network; `run`, `check` and `dry-run` take this one path.

use crate::allowlist::Statement;
use crate::step::model::RenderedStep;

/// A step that keeps its schema and whose SQL the allowlist made. Only this can be dispatched.
#[derive(Debug)]
pub struct CheckedStep {
    step: RenderedStep,
    statement: Statement,
}

impl CheckedStep {
    /// The step.
    pub fn step(&self) -> &RenderedStep {
        &self.step
    }

    /// The SQL that it is allowed to send.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}
