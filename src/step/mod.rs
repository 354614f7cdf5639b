//! The step: its schema, its rendering, and the typed form that the rest of the program works with.
//! Knows nothing of where the step came from; of SQL and of servers no more than a step can say wrong.
//!
//! The way through, stage by stage: [`schema::violations`] of the step as it is written, [`offered_sql`],
//! [`render::render`], [`schema::violations`] of what was rendered, [`typed`]. Each says all that it finds;
//! who takes a step through them decides when to stop.

mod evaluate;
mod expression;
pub mod model;
pub mod render;
pub mod schema;
mod typed;
mod words;

use serde_json::Value;

use crate::known_servers::KnownServer;
use crate::path::Path;
use crate::problem::Problem;
pub(crate) use expression::{holds_expression, is_only_a_reference, meant_reference};
pub(crate) use schema::{whole_number, whole_number_of};
pub(crate) use typed::{DEFAULT_TIMEOUT_SECONDS, insecure, reach, sketch, typed};
pub(crate) use words::{
    TWO_WAYS_IN, for_others_only, no_login, not_with_instance, why_not_a_url, wrong_way_in,
};

/// The instance of the operator's policy that a step names, after the key of `params` that names it:
/// `instance`, or `instance_id`, which means the same.
pub fn instance(step: &Value) -> Option<(&'static str, &str)> {
    let params = step.get("params")?;
    let mut keys = ["instance", "instance_id"].into_iter();
    keys.find_map(|key| Some((key, params.get(key)?.as_str()?)))
}

/// The server that a step names itself.
pub(crate) fn server(step: &Value) -> Option<&'static KnownServer> {
    let backend = step.pointer("/params/backend")?.as_str()?;
    KnownServer::named(backend)
}

/// Keys that offer SQL, or another query than an allowlisted template: the allowlist's refusal, known before
/// anything is rendered or any secret is read.
pub fn offered_sql(step: &Value) -> Vec<Problem> {
    let refused = |path: Path| {
        let message = format!(
            "`{}` is refused: SQL is never taken from a step; name an allowlisted `template` and its `template_params`",
            path.subject()
        );
        Problem::new(path, "raw_sql", message)
    };
    schema::foreign_keys(step)
        .into_iter()
        .map(refused)
        .collect()
}

#[cfg(test)]
mod tests;
