//! The JSON Schemas, embedded as they are in `schemas/`.

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
/// A playbook; its live-query steps are [`STEP`]'s, which the verb `schema` puts in.
pub const PLAYBOOK: &str = include_str!("../../schemas/playbook.schema.json");
/// The report of `dry-run --format json`.
pub const DRY_RUN: &str = include_str!("../../schemas/dry-run.schema.json");
/// What `alert` makes of a webhook.
pub const ALERT: &str = include_str!("../../schemas/alert.schema.json");
/// A line of `collect`: an event, or its summary.
pub const EVENT: &str = include_str!("../../schemas/event.schema.json");
/// A connector, as `collect` reads it on stdin.
pub const COLLECT: &str = include_str!("../../schemas/collect.schema.json");
