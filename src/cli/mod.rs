//! The command line, as clap has it. Help texts, completions and the man page come from here.

pub mod describe;
mod help;
pub mod manual;

use std::ffi::OsString;
use std::time::Instant;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::call_error::CallError;
use crate::exit::{Code, Exit};
use crate::process::stderr::Settings;
use crate::process::{EventLoop, Process};
use crate::session::failure::Failure;
use crate::verbs::alert::AlertArgs;
use crate::verbs::collect::CollectArgs;
use crate::verbs::dry_run::DryRunArgs;
use crate::verbs::mcp::McpArgs;
use crate::verbs::run::{RunArgs, StepArgs};
use crate::verbs::schema::SchemaArgs;
use crate::verbs::show::ShowArgs;
use crate::verbs::templates::TemplatesArgs;
use crate::verbs::{alert, check, collect, dry_run, mcp, run, schema, show, templates};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "osquery-live-query",
    version,
    about = help::about(),
    long_about = help::program(),
    after_long_help = help::PROGRAM_EXAMPLES,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// The verb; `run` where it is left out.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// Flags of `run`, where the verb is left out.
    #[command(flatten)]
    pub run: RunArgs,
    /// Logging, for every verb.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Execute the step on stdin.
    #[command(long_about = help::RUN, after_long_help = help::run_status())]
    Run(RunArgs),
    /// Everything that `run` does up to the dispatch, and what would be sent to whom.
    #[command(long_about = help::CHECK)]
    Check(StepArgs),
    /// Poll a server once: its hosts' posture and its queries' results as events, a line each.
    #[command(long_about = include_str!("../verbs/collect/help.txt"), after_long_help = help::COLLECT_EXAMPLES)]
    Collect(CollectArgs),
    /// Show a document of `run`: as a table, for a ticket, for spreadsheets and for a SIEM.
    #[command(long_about = show::HELP, after_help = show::EXAMPLES)]
    Show(ShowArgs),
    /// Turn a server's webhook on stdin into a playbook's context.
    #[command(long_about = include_str!("../verbs/alert.txt"), after_long_help = help::ALERT_EXAMPLES)]
    Alert(AlertArgs),
    /// Serve the allowlist to a language model, over the Model Context Protocol on stdio.
    #[command(long_about = mcp::HELP, after_help = mcp::EXAMPLES)]
    Mcp(McpArgs),
    /// Find everything that would go wrong in playbooks and steps, without a network.
    ///
    /// Reads files, folders (*.playbook.yaml, *.step.yaml, also .yml and .json) or stdin (-), and takes
    /// each step the way of `run` up to the dispatch: schema, expressions, template, parameters, SQL; of
    /// playbooks also the form, the ids, the graph and the conditions, in nested steps of `parallel` and
    /// `loop`, too. Keys that only another engine knows are warnings. Opens no socket and needs no secret.
    /// Shows what each step would send; what only the engine knows stands in it as it is written.
    ///
    /// Exit status: 0 clean, 1 problems (errors; with --warnings-as-errors warnings too), 2 wrong flags or
    /// paths.
    DryRun(DryRunArgs),
    /// List the allowlist, or show one template with its SQL and an example step.
    #[command(
        args_conflicts_with_subcommands = true,
        long_about = help::TEMPLATES,
        after_help = help::TEMPLATES_EXAMPLES
    )]
    Templates(TemplatesArgs),
    /// Print a JSON Schema (draft 2020-12).
    #[command(
        long_about = help::SCHEMA,
        after_help = "Example:\n  osquery-live-query schema step > step.schema.json"
    )]
    Schema(SchemaArgs),
    /// Describe this build as JSON, for engines that adapt to it.
    #[command(long_about = help::DESCRIBE)]
    Describe,
    /// Print the completion script of a shell.
    ///
    /// It completes verbs, flags, their values and the names of templates.
    #[command(after_help = help::COMPLETIONS_INSTALL)]
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: ShellName,
    },
    /// Print the manual page.
    #[command(after_help = help::MAN_INSTALL)]
    Man,
    /// Show a whole run against simulated servers of each kind on loopback.
    #[cfg(feature = "demo")]
    Demo(crate::verbs::demo::DemoArgs),
}

/// Flags that every verb takes.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// How stderr is written.
    #[arg(long, value_enum, global = true, default_value_t = LogFormat::Plain)]
    pub log: LogFormat,
    /// More on stderr: -v what is done, -vv every request (never bodies, never secrets).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The shells that have completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShellName {
    /// GNU bash with bash-completion.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// Values of `--log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `warning: …` and `error[CODE]: …`.
    Plain,
    /// A JSON object a line.
    Json,
}

impl From<ShellName> for clap_complete::Shell {
    fn from(name: ShellName) -> Self {
        match name {
            ShellName::Bash => Self::Bash,
            ShellName::Zsh => Self::Zsh,
            ShellName::Fish => Self::Fish,
        }
    }
}

impl From<&LogArgs> for Settings {
    fn from(args: &LogArgs) -> Self {
        Self {
            json: args.log == LogFormat::Json,
            verbosity: args.verbose,
        }
    }
}

/// Runs the verb that the arguments (the program's name first) ask for. Returns the status that the process ends with.
pub fn main(args: &[OsString], started: Instant) -> std::process::ExitCode {
    execute(args, started).into()
}

fn execute(args: &[OsString], started: Instant) -> Exit {
    Process::begin();
    // Before anything else, so that a signal of the first milliseconds finds an ear. What fails is told
    // where the loop is wanted.
    let early = executes(args).then(|| EventLoop::new().ok()).flatten();
    match parse(args) {
        Ok(cli) => {
            let process = Process::new(started, (&cli.log).into());
            verb(cli, &process, early)
        }
        Err(rejected) => {
            let process = Process::new(started, log_settings(args));
            match rejected {
                Rejected::Text(text) => process.text(&text),
                Rejected::Document(failure) => run::refuse(failure, &process),
                Rejected::Usage(text) => {
                    process.stderr.put(&text);
                    process.stderr.flush();
                    Code::Usage.into()
                }
            }
        }
    }
}

fn verb(cli: Cli, process: &Process, early: Option<EventLoop>) -> Exit {
    match cli.verb {
        None => run::run(cli.run, process, early),
        Some(Verb::Run(args)) => run::run(args, process, early),
        Some(Verb::Check(args)) => check::run(args, process, early),
        Some(Verb::Collect(args)) => collect::run(args, process, early),
        Some(Verb::Templates(args)) => templates::run(&args, process),
        Some(Verb::Show(args)) => show::run(&args, process),
        Some(Verb::Alert(args)) => alert::run(&args, process),
        Some(Verb::Mcp(args)) => mcp::run(args, process),
        Some(Verb::DryRun(args)) => dry_run::run(args, process),
        Some(Verb::Schema(args)) => schema::run(&args, process),
        Some(Verb::Completions { shell }) => process.text(&manual::completions(shell.into())),
        Some(Verb::Man) => match manual::page() {
            Ok(page) => process.text(&page),
            Err(error) => process.fail(&Failure::not_written(&error.kind().to_string())),
        },
        Some(Verb::Describe) => process.text(&describe::text()),
        #[cfg(feature = "demo")]
        Some(Verb::Demo(args)) => crate::verbs::demo::run(&args, process),
    }
}

/// What a command line that does not parse leads to.
#[derive(Debug)]
pub enum Rejected {
    /// `--help` or `--version`: text for stdout, status 0.
    Text(String),
    /// Wrong flags of a verb that writes a document.
    Document(Failure),
    /// Wrong flags of another verb: text for stderr.
    Usage(String),
}

/// Parses the arguments, the program's name first.
///
/// # Errors
/// [`Rejected`], which also carries `--help` and `--version`.
pub fn parse(args: &[OsString]) -> Result<Cli, Rejected> {
    if let Some(usual) = usual(args) {
        return Ok(usual);
    }
    Cli::try_parse_from(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Rejected::Text(error.to_string()),
        _ if writes_document(args) => Rejected::Document(usage_failure(&error, args)),
        _ => Rejected::Usage(error.to_string()),
    })
}

/// What an engine asks for that gives no flags. clap would first make all that it knows of every verb, which took a
/// tenth of the instructions of a refusal.
fn usual(args: &[OsString]) -> Option<Cli> {
    let verb = match args {
        [_] => None,
        [_, verb] if verb == "run" => Some(Verb::Run(RunArgs::default())),
        [_, verb] if verb == "check" => Some(Verb::Check(StepArgs::default())),
        _ => return None,
    };
    Some(Cli {
        verb,
        run: RunArgs::default(),
        log: LogArgs {
            log: LogFormat::Plain,
            verbose: 0,
        },
    })
}

/// How stderr is wanted, as far as arguments that do not parse say so.
pub fn log_settings(args: &[OsString]) -> Settings {
    let follows = |pair: &[OsString]| pair[0] == "--log" && pair[1] == "json";
    Settings {
        json: args.iter().any(|arg| arg == "--log=json") || args.windows(2).any(follows),
        ..Settings::default()
    }
}

/// Whether the caller waits for a document: `run`, `check`, or no verb.
fn writes_document(args: &[OsString]) -> bool {
    !matches!(
        verb_of(args),
        Some(
            "alert"
                | "mcp"
                | "collect"
                | "show"
                | "dry-run"
                | "templates"
                | "schema"
                | "describe"
                | "completions"
                | "man"
                | "demo"
                | "help"
        )
    )
}

/// Whether the arguments certainly ask for a step to be executed: other verbs end by a signal as programs
/// do. (Not so where a flag's value stands before the verb; then the loop is made a little later.)
fn executes(args: &[OsString]) -> bool {
    let text = |arg: &OsString| arg == "--help" || arg == "-h" || arg == "--version" || arg == "-V";
    matches!(verb_of(args), None | Some("run" | "check" | "collect")) && !args.iter().any(text)
}

fn verb_of(args: &[OsString]) -> Option<&str> {
    let mut words = args.iter().skip(1).filter_map(|arg| arg.to_str());
    words.find(|word| !word.starts_with('-'))
}

/// clap's first paragraph on one line; its tips become the hint.
fn usage_failure(error: &clap::Error, args: &[OsString]) -> Failure {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let first = paragraphs.next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(&first);
    let tip: String = paragraphs
        .filter_map(|paragraph| Some(format!("{}; ", paragraph.strip_prefix("tip: ")?)))
        .collect();
    let verb = if verb_of(args) == Some("check") {
        "check"
    } else {
        "run"
    };
    let help = format!("{tip}see `osquery-live-query {verb} --help`");
    let message = message.to_owned();
    CallError::Arguments { message, help }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_means_what_clap_says() {
        for words in [
            &["osquery-live-query"][..],
            &["osquery-live-query", "run"],
            &["osquery-live-query", "check"],
        ] {
            let args: Vec<OsString> = words.iter().map(OsString::from).collect();
            let usual = usual(&args).expect("it is usual");
            let parsed = Cli::try_parse_from(&args).expect("it parses");
            assert_eq!(format!("{usual:?}"), format!("{parsed:?}"));
        }
        for words in [
            &[][..],
            &["x", "runs"],
            &["x", "run", "-v"],
            &["x", "--help"],
        ] {
            let args: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert!(usual(&args).is_none(), "{words:?}");
        }
    }
}
