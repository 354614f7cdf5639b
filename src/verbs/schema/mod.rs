//! The verb `schema`: prints a JSON Schema, in the form that strict validators take.

mod editor;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::exit::Exit;
use crate::process::Process;
use crate::schema::strict::make_strict;
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
    /// A line of `collect`: an event, or the summary.
    Event,
    /// A connector, as `collect` reads it on stdin.
    Collect,
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

/// Flags of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which schema.
    #[arg(value_enum)]
    pub name: SchemaName,
    /// Leave out what only editors need: the templates' names and parameters, and the list of one step.
    ///
    /// The schemas of steps and playbooks are then a fifth of the size and stay as they are when templates
    /// are added. The others have one form.
    #[arg(long)]
    pub plain: bool,
}

/// Prints it. Returns how the process ends.
pub(crate) fn run(args: &SchemaArgs, process: &Process) -> Exit {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let mut schema = match (args.name, args.plain) {
        (SchemaName::Step, true) => parsed(texts::STEP),
        (SchemaName::Step, false) => editor::step(parsed(texts::STEP)),
        (SchemaName::Playbook, true) => {
            editor::playbook(parsed(texts::PLAYBOOK), parsed(texts::STEP))
        }
        (SchemaName::Playbook, false) => {
            let step = editor::with_templates(parsed(texts::STEP));
            editor::playbook(parsed(texts::PLAYBOOK), step)
        }
        (SchemaName::Output, _) => parsed(texts::OUTPUT),
        (SchemaName::Alert, _) => parsed(texts::ALERT),
        (SchemaName::Event, _) => parsed(texts::EVENT),
        (SchemaName::Collect, _) => parsed(texts::COLLECT),
        (SchemaName::Template, _) => parsed(texts::TEMPLATE),
        (SchemaName::Policy, _) => parsed(texts::POLICY),
        (SchemaName::DryRun, _) => parsed(texts::DRY_RUN),
        (SchemaName::Templates, _) => parsed(texts::TEMPLATES),
        (SchemaName::TemplatesCheck, _) => parsed(texts::TEMPLATES_CHECK),
    };
    make_strict(&mut schema);
    process.text(&format!("{schema:#}\n"))
}
