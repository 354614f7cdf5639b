//! From the command line to a verb, and the way out of a bug: whatever happens, `run` and `check` write
//! one document.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::cli::{self, Cli, Rejected, SchemaName, TemplatesVerb, Verb};
use crate::exit::{self, Code};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::{bug, describe, logs, manual, run, schemas, templates};

/// Runs the verb that the arguments (the program's name first) ask for. Returns the exit status.
pub fn execute(args: &[OsString], started: Instant) -> u8 {
    match cli::parse(args) {
        Ok(cli) => {
            logs::start((&cli.log).into());
            verb(cli, started)
        }
        Err(Rejected::Text(text)) => {
            logs::start(cli::log_settings(args));
            written(output::write_text(&text))
        }
        Err(Rejected::Document(failure)) => {
            logs::start(cli::log_settings(args));
            run::write_failure(failure, Format::Json)
        }
        Err(Rejected::Usage(text)) => {
            use std::io::Write;
            // stderr may be closed; the status tells the rest.
            let _ = std::io::stderr().write_all(text.as_bytes());
            Code::Usage.exit_status()
        }
    }
}

fn verb(cli: Cli, started: Instant) -> u8 {
    match cli.verb {
        None => guarded(&cli.run.into(), started),
        Some(Verb::Run(args)) => guarded(&args.into(), started),
        Some(Verb::Check(args)) => guarded(&args.into(), started),
        Some(Verb::Templates(args)) => match &args.verb {
            Some(TemplatesVerb::Check(args)) => match templates::check(args) {
                Ok(checked) => match written(output::write_text(&checked.text)) {
                    exit::OK if !checked.clean => exit::PROBLEMS,
                    status => status,
                },
                Err(failure) => failed(&failure),
            },
            None => text(templates::text(&args)),
        },
        Some(Verb::DryRun(args)) => crate::dry_run::run(&args.into()),
        Some(Verb::Schema { name }) => written(output::write_text(match name {
            SchemaName::Step => schemas::STEP,
            SchemaName::Output => schemas::OUTPUT,
            SchemaName::Template => schemas::TEMPLATE,
            SchemaName::Policy => schemas::POLICY,
            SchemaName::Playbook => return written(output::write_text(&schemas::playbook())),
            SchemaName::DryRun => schemas::DRY_RUN,
            SchemaName::Templates => schemas::TEMPLATES,
            SchemaName::TemplatesCheck => schemas::TEMPLATES_CHECK,
        })),
        Some(Verb::Completions { shell }) => text(Ok(manual::completions(shell.into()))),
        Some(Verb::Man) => match manual::page() {
            Ok(page) => text(Ok(page)),
            Err(error) => written(Err(error)),
        },
        Some(Verb::Describe) => written(output::write_text(&describe::text())),
        #[cfg(feature = "demo")]
        Some(Verb::Demo) => crate::demo::run(),
    }
}

/// Writes what a verb without a document has to say.
fn text(result: Result<String, Failure>) -> u8 {
    match result {
        Ok(text) => written(output::write_text(&text)),
        Err(failure) => failed(&failure),
    }
}

/// Says why such a verb failed, and what to do, which no document says here.
fn failed(failure: &Failure) -> u8 {
    let mut said = failure.clone();
    if let Some(hint) = &failure.hint {
        said.message = format!("{}; {hint}", failure.message);
    }
    logs::failure(&said);
    failure.code.exit_status()
}

/// Runs the step; a panic ends as `internal`, with a document.
fn guarded(options: &run::Options, started: Instant) -> u8 {
    bug::remember_panics();
    catch_unwind(AssertUnwindSafe(|| run::run(options, started)))
        .unwrap_or_else(|_| run::write_failure(bug::failure(), options.format))
}

fn written(result: std::io::Result<()>) -> u8 {
    match result {
        Ok(()) => exit::OK,
        Err(error) => {
            let failure = run::drive::not_written(&error);
            logs::failure(&failure);
            failure.code.exit_status()
        }
    }
}
