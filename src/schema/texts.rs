//! The JSON Schemas, embedded as they are in `schemas/`.

use serde_json::{Value, json};

/// A step, as it is read on stdin.
pub const STEP: &str = include_str!("../../schemas/step.schema.json");
/// The document on stdout.
pub const OUTPUT: &str = include_str!("../../schemas/output.schema.json");
/// A template of the allowlist.
pub const TEMPLATE: &str = include_str!("../../schemas/template.schema.json");
/// The operator's policy.
pub const POLICY: &str = include_str!("../../schemas/policy.schema.json");
/// What `templates --format json` prints.
pub const TEMPLATES: &str = include_str!("../../schemas/templates-output.schema.json");
/// What `templates check --format json` prints.
pub const TEMPLATES_CHECK: &str = include_str!("../../schemas/templates-check.schema.json");
/// A playbook; its live-query steps are [`STEP`]'s, which [`playbook`] puts in.
pub const PLAYBOOK: &str = include_str!("../../schemas/playbook.schema.json");
/// The report of `dry-run --format json`.
pub const DRY_RUN: &str = include_str!("../../schemas/dry-run.schema.json");

/// What `alert` makes of a webhook.
pub const ALERT: &str = include_str!("../../schemas/alert.schema.json");

/// The schema of a playbook with the step's schema inside, so that editors need one file.
pub fn playbook() -> String {
    let schema = |text| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (mut playbook, step) = (schema(PLAYBOOK), schema(STEP));
    playbook["$defs"]["step"]["if"] = json!({
        "properties": { "type": { "const": "osquery_live_query" } },
        "required": ["type"],
    });
    playbook["$defs"]["step"]["then"] = json!({ "$ref": step["$id"] });
    playbook["$defs"]["liveQueryStep"] = step;
    format!("{playbook:#}\n")
}
