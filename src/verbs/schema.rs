//! The verb `schema`: prints a JSON Schema.

use clap::ValueEnum;

use crate::exit::Exit;
use crate::process::Process;
use crate::schema::texts;

/// The schemas that can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaName {
    /// A step, as it is read on stdin.
    Step,
    /// The document on stdout.
    Output,
    /// What `alert` makes of a webhook.
    Alert,
    /// A template of the allowlist, as its file is written.
    Template,
    /// The operator's policy.
    Policy,
    /// A playbook.
    Playbook,
    /// The report of `dry-run --format json`.
    DryRun,
    /// What `templates --format json` prints.
    Templates,
    /// What `templates check --format json` prints.
    TemplatesCheck,
}

/// Prints it. Returns how the process ends.
pub(crate) fn run(name: SchemaName, process: &Process) -> Exit {
    process.text(match name {
        SchemaName::Step => texts::STEP,
        SchemaName::Output => texts::OUTPUT,
        SchemaName::Alert => texts::ALERT,
        SchemaName::Template => texts::TEMPLATE,
        SchemaName::Policy => texts::POLICY,
        SchemaName::Playbook => return process.text(&texts::playbook()),
        SchemaName::DryRun => texts::DRY_RUN,
        SchemaName::Templates => texts::TEMPLATES,
        SchemaName::TemplatesCheck => texts::TEMPLATES_CHECK,
    })
}
