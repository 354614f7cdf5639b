//! From the command line to a verb, and the way out of a bug: whatever happens, `run` and `check` write
//! one document.

#[cfg(feature = "demo")]
pub mod demo;
pub mod dry_run;
pub mod run;
pub mod templates;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::cli::{self, Cli, Rejected, SchemaName, TemplatesVerb, Verb};
use crate::cli::{describe, manual};
use crate::exit::{Code, Exit};
use crate::process::stdout::{self, Format};
use crate::process::{panics, stderr};
use crate::schema::texts;
use crate::session::drive;
use crate::session::failure::Failure;

/// Runs the verb that the arguments (the program's name first) ask for. Returns how the process ends.
pub fn execute(args: &[OsString], started: Instant) -> std::process::ExitCode {
    parsed(args, started).into()
}

fn parsed(args: &[OsString], started: Instant) -> Exit {
    match cli::parse(args) {
        Ok(cli) => {
            stderr::start((&cli.log).into());
            verb(cli, started)
        }
        Err(Rejected::Text(text)) => {
            stderr::start(cli::log_settings(args));
            written(stdout::write_text(&text))
        }
        Err(Rejected::Document(failure)) => {
            stderr::start(cli::log_settings(args));
            run::write_failure(failure, Format::Json)
        }
        Err(Rejected::Usage(text)) => {
            use std::io::Write;
            // stderr may be closed; the status tells the rest.
            let _ = std::io::stderr().write_all(text.as_bytes());
            Code::Usage.into()
        }
    }
}

fn verb(cli: Cli, started: Instant) -> Exit {
    match cli.verb {
        None => guarded(&cli.run.into(), started),
        Some(Verb::Run(args)) => guarded(&args.into(), started),
        Some(Verb::Check(args)) => guarded(&args.into(), started),
        Some(Verb::Templates(args)) => match &args.verb {
            Some(TemplatesVerb::Check(args)) => match templates::check(args) {
                Ok(checked) => match written(stdout::write_text(&checked.text)) {
                    Exit::Ok if !checked.clean => Exit::Problems,
                    exit => exit,
                },
                Err(failure) => failed(&failure),
            },
            None => text(templates::text(&args)),
        },
        Some(Verb::DryRun(args)) => crate::verbs::dry_run::run(&args.into()),
        Some(Verb::Schema { name }) => written(stdout::write_text(match name {
            SchemaName::Step => texts::STEP,
            SchemaName::Output => texts::OUTPUT,
            SchemaName::Template => texts::TEMPLATE,
            SchemaName::Policy => texts::POLICY,
            SchemaName::Playbook => return written(stdout::write_text(&texts::playbook())),
            SchemaName::DryRun => texts::DRY_RUN,
            SchemaName::Templates => texts::TEMPLATES,
            SchemaName::TemplatesCheck => texts::TEMPLATES_CHECK,
        })),
        Some(Verb::Completions { shell }) => text(Ok(manual::completions(shell.into()))),
        Some(Verb::Man) => match manual::page() {
            Ok(page) => text(Ok(page)),
            Err(error) => written(Err(error)),
        },
        Some(Verb::Describe) => written(stdout::write_text(&describe::text())),
        #[cfg(feature = "demo")]
        Some(Verb::Demo) => crate::verbs::demo::run(),
    }
}

/// Writes what a verb without a document has to say.
fn text(result: Result<String, Failure>) -> Exit {
    match result {
        Ok(text) => written(stdout::write_text(&text)),
        Err(failure) => failed(&failure),
    }
}

/// Says why such a verb failed, and what to do, which no document says here.
fn failed(failure: &Failure) -> Exit {
    let mut said = failure.clone();
    if let Some(hint) = &failure.hint {
        said.message = format!("{}; {hint}", failure.message);
    }
    stderr::failure(&said);
    failure.code.into()
}

/// Runs the step; a panic ends as `internal`, with a document.
fn guarded(options: &run::Options, started: Instant) -> Exit {
    panics::remember_panics();
    catch_unwind(AssertUnwindSafe(|| run::run(options, started)))
        .unwrap_or_else(|_| run::write_failure(panics::failure(), options.format))
}

fn written(result: std::io::Result<()>) -> Exit {
    match result {
        Ok(()) => Exit::Ok,
        Err(error) => {
            let failure = drive::not_written(&error);
            stderr::failure(&failure);
            failure.code.into()
        }
    }
}
