//! The JSON Schemas, embedded as they are in `schemas/`.

/// A step, as it is read on stdin.
pub const STEP: &str = include_str!("../schemas/step.schema.json");
/// The document on stdout.
pub const OUTPUT: &str = include_str!("../schemas/output.schema.json");
/// A template of the allowlist.
pub const TEMPLATE: &str = include_str!("../schemas/template.schema.json");
/// The operator's policy.
pub const POLICY: &str = include_str!("../schemas/policy.schema.json");
/// What `templates --format json` prints.
pub const TEMPLATES: &str = include_str!("../schemas/templates-output.schema.json");
/// What `templates check --format json` prints.
pub const TEMPLATES_CHECK: &str = include_str!("../schemas/templates-check.schema.json");
