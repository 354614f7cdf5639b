//! What `run` can't know of a step, or accepts: platforms that its template does not work on, and the
//! engine's own timeout. Knows nothing of playbooks.

use serde_json::Value;

use super::finding::{Finding, Severity};
use crate::allowlist::Registry;
use crate::campaign::host::Platform;
use crate::input::Document;
use crate::path::Path;
use crate::step::DEFAULT_TIMEOUT_SECONDS;

/// `target_platforms` as a step has them that could not be examined.
pub fn platforms_written(step: &Value) -> Vec<Platform> {
    let platforms = step
        .get("params")
        .and_then(|params| params.get("target_platforms"));
    let names = platforms.and_then(Value::as_array).into_iter().flatten();
    names
        .filter_map(|name| match name.as_str()? {
            "linux" => Some(Platform::Linux),
            "darwin" => Some(Platform::Darwin),
            "windows" => Some(Platform::Windows),
            _ => None,
        })
        .collect()
}

/// A template that can't answer on the platforms that are asked.
pub fn platforms(
    registry: &Registry,
    document: &Document,
    template: &str,
    asked: &[Platform],
) -> Option<Finding> {
    let template = registry.template(template).ok()?;
    let outside: Vec<&str> = asked
        .iter()
        .filter(|platform| !template.platforms().contains(platform))
        .map(|platform| platform.name())
        .collect();
    if outside.is_empty() {
        return None;
    }
    let known: Vec<&str> = template.platforms().iter().map(|one| one.name()).collect();
    let known = known.join(", ");
    let (severity, message) = if outside.len() == asked.len() {
        (
            Severity::Error,
            format!(
                "template `{}` works on {known} only: no host of `target_platforms` can answer it",
                template.name()
            ),
        )
    } else {
        (
            Severity::Warning,
            format!(
                "template `{}` works on {known} only: hosts with {} will answer with an error",
                template.name(),
                outside.join(" or ")
            ),
        )
    };
    let path = Path::of(&["params", "target_platforms"]);
    let at = document.position_of_value(&path);
    Some(Finding::new(severity, "platforms", message, at))
}

/// The engine's timeout of the step against the query's own deadline.
pub fn engine_timeout(document: &Document, deadline: Option<u64>) -> Option<Finding> {
    let step = document.value();
    let engine = step.get("timeout_seconds")?.as_u64()?;
    let written = step.get("params")?.get("timeout_seconds");
    let deadline = match (deadline, written) {
        (_, Some(Value::String(text))) if text.contains("{{") => return None,
        (Some(deadline), _) => deadline,
        (None, Some(written)) => written.as_u64()?,
        (None, None) => DEFAULT_TIMEOUT_SECONDS,
    };
    let (severity, message) = if engine < deadline {
        (
            Severity::Error,
            format!(
                "the engine gives up on the step after {engine} s, before its query's deadline of {deadline} s: nothing would come back; raise `timeout_seconds` of the step, or lower `params.timeout_seconds`"
            ),
        )
    } else if engine < deadline + 3 {
        (
            Severity::Warning,
            format!(
                "the engine gives up on the step after {engine} s, and its query's deadline is {deadline} s: leave some seconds for the document and for stopping the query on the server"
            ),
        )
    } else {
        return None;
    };
    let at = document.position_of_value(&Path::of(&["timeout_seconds"]));
    Some(Finding::new(severity, "timeout", message, at))
}
