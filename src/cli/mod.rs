//! The command line, as clap has it. Help texts, completions and the man page come from here.

pub mod describe;
mod help;
pub mod manual;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::exit::Code;
use crate::process::stderr;
use crate::process::stdout::Format;
use crate::session::failure::Failure;
use crate::session::prepare::Sources;
use crate::verbs::dry_run;
use crate::verbs::run;
use crate::verbs::templates::Selection;

/// Runs one allowlisted osquery live query against Fleet or osctrl.
#[derive(Debug, Parser)]
#[command(
    name = "osquery-live-query",
    version,
    long_about = help::PROGRAM,
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
    /// Find everything that would go wrong in playbooks and steps, without a network.
    ///
    /// Reads files, folders (*.playbook.yaml, *.step.yaml, also .yml and .json) or stdin (-), and takes
    /// each step the way of `run` up to the dispatch: schema, expressions, template, parameters, SQL; of
    /// playbooks also the form, the ids, the graph and the conditions. Opens no socket and needs no secret.
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
    Schema {
        /// Which schema.
        #[arg(value_enum)]
        name: SchemaName,
    },
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
    /// Show a whole run against a simulated Fleet and a simulated osctrl on loopback.
    #[cfg(feature = "demo")]
    Demo,
}

/// Flags of verbs that read a step.
#[derive(Debug, Args, Default)]
pub struct StepArgs {
    /// A YAML or JSON file with the context ({alert: …}) for a step that comes without an invocation.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub context: Option<PathBuf>,
    /// A directory with one file per secret [default: $CREDENTIALS_DIRECTORY].
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub secrets_dir: Option<PathBuf>,
    /// The operator's policy [default: $OSQUERY_LIVE_QUERY_POLICY, which wins].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Flags of `run`.
#[derive(Debug, Args, Default)]
pub struct RunArgs {
    /// Where context and secrets come from.
    #[command(flatten)]
    pub step: StepArgs,
    /// Exit with 3 where the document is partial.
    #[arg(long)]
    pub fail_on_partial: bool,
    /// One document, or a line per host as it answers and a summary.
    #[arg(long, value_enum, default_value_t = FormatName::Json)]
    pub format: FormatName,
}

/// Flags of `dry-run`.
#[derive(Debug, Args, Default)]
pub struct DryRunArgs {
    /// Files, folders, or - for stdin [default: the current folder].
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How the report is written: for people, for machines, for code scanning, as annotations on GitHub.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
    /// Leave out what would be sent; --format text only.
    #[arg(short, long)]
    pub quiet: bool,
    /// Colour in --format text: on a terminal unless NO_COLOR is set, always, or never.
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub color: Colour,
    /// Exit with 1 where there are warnings only, too.
    #[arg(long)]
    pub warnings_as_errors: bool,
    /// A YAML or JSON file with an example of the engine's context ({alert: …}): fills placeholders in.
    ///
    /// What it has is taken to be whole: a name under one of its keys that is not there is an error.
    #[arg(long, value_name = "FILE")]
    pub context: Option<PathBuf>,
    /// A key that the engine's context has beside `alert`, `inputs` and `steps`; may be repeated.
    #[arg(long = "context-root", value_name = "NAME")]
    pub context_roots: Vec<String>,
    /// Check that each secret is there, also as a file in this directory.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Check that each secret is there: in $CREDENTIALS_DIRECTORY or the environment.
    #[arg(long)]
    pub require_secrets: bool,
    /// The operator's policy: what it would refuse is found, too [default: $OSQUERY_LIVE_QUERY_POLICY].
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Rehearse: run the steps one after the other against a simulator on loopback with the hosts of FILE.
    #[cfg(feature = "demo")]
    #[arg(long, value_name = "FILE")]
    pub simulate: Option<PathBuf>,
}

/// Flags of `templates`.
#[derive(Debug, Args)]
pub struct TemplatesArgs {
    /// What is done with templates beside showing them.
    #[command(subcommand)]
    pub verb: Option<TemplatesVerb>,
    /// Show this template whole, with an example step.
    pub name: Option<String>,
    /// The operator's policy, whose templates are shown, too [default: $OSQUERY_LIVE_QUERY_POLICY].
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Which templates are listed.
    #[command(flatten)]
    pub selection: Selection,
    /// How they are shown.
    #[arg(long, value_enum, default_value_t = TemplatesFormat::Text)]
    pub format: TemplatesFormat,
}

/// Verbs of `templates`.
#[derive(Debug, Subcommand)]
pub enum TemplatesVerb {
    /// Check templates that you write: form, SQL, parameters and osquery's own tables.
    #[command(long_about = help::TEMPLATES_CHECK)]
    Check(TemplatesCheckArgs),
}

/// Flags of `templates check`.
#[derive(Debug, Args)]
pub struct TemplatesCheckArgs {
    /// Template files, and folders with them (*.yaml, *.yml); without any, the built-in templates are checked.
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// osquery's schema of the version that your hosts run, as JSON: osquery-site publishes it as src/data/osquery_schema_versions/VERSION.json.
    ///
    /// Give it again for tables of extensions; fleetd's are in Fleet's schema/osquery_fleet_schema.json. Where
    /// two files have a table, the later one counts.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub osquery_schema: Vec<PathBuf>,
    /// Exit with 1 where there are warnings only, too.
    #[arg(long)]
    pub warnings_as_errors: bool,
    /// For people and editors, or JSON (`schema templates-check`).
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    pub format: ListFormat,
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

/// Values of `run --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum FormatName {
    /// One document at the end.
    #[default]
    Json,
    /// A line per host, then a summary; memory does not grow with the rows.
    Ndjson,
}

/// Values of `templates --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TemplatesFormat {
    /// For people.
    Text,
    /// For machines (`schema templates`).
    Json,
    /// For documentation.
    Markdown,
    /// Only the example step of the template that is named, as YAML to start from.
    Step,
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

/// Values of `templates check --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Values of `dry-run --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// For machines; `schema dry-run` describes it.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of GitHub's runner.
    Github,
}

/// Values of `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Values of `--log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `warning: …` and `error[CODE]: …`.
    Plain,
    /// A JSON object a line.
    Json,
}

/// The schemas that can be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaName {
    /// A step, as it is read on stdin.
    Step,
    /// The document on stdout.
    Output,
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

impl From<ShellName> for clap_complete::Shell {
    fn from(name: ShellName) -> Self {
        match name {
            ShellName::Bash => Self::Bash,
            ShellName::Zsh => Self::Zsh,
            ShellName::Fish => Self::Fish,
        }
    }
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Json => Self::Json,
            FormatName::Ndjson => Self::Ndjson,
        }
    }
}

impl From<&LogArgs> for stderr::Settings {
    fn from(args: &LogArgs) -> Self {
        Self {
            json: args.log == LogFormat::Json,
            verbosity: args.verbose,
        }
    }
}

impl From<RunArgs> for run::Options {
    fn from(args: RunArgs) -> Self {
        Self {
            check_only: false,
            sources: Sources {
                context: args.step.context,
                secrets_dir: args.step.secrets_dir,
                policy: args.step.policy,
            },
            fail_on_partial: args.fail_on_partial,
            format: args.format.into(),
        }
    }
}

impl From<DryRunArgs> for dry_run::Options {
    fn from(args: DryRunArgs) -> Self {
        let on_terminal = || {
            let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !dumb
        };
        Self {
            paths: args.paths,
            format: match args.format {
                ReportFormat::Text => dry_run::report::Format::Text,
                ReportFormat::Json => dry_run::report::Format::Json,
                ReportFormat::Sarif => dry_run::report::Format::Sarif,
                ReportFormat::Github => dry_run::report::Format::Github,
            },
            style: dry_run::report::Style {
                colour: match args.color {
                    Colour::Auto => on_terminal(),
                    Colour::Always => true,
                    Colour::Never => false,
                },
                quiet: args.quiet,
            },
            warnings_as_errors: args.warnings_as_errors,
            context: args.context,
            context_roots: args.context_roots,
            secrets_dir: args.secrets_dir,
            require_secrets: args.require_secrets,
            policy: args.policy,
            #[cfg(feature = "demo")]
            simulate: args.simulate,
            #[cfg(not(feature = "demo"))]
            simulate: None,
        }
    }
}

impl From<StepArgs> for run::Options {
    fn from(args: StepArgs) -> Self {
        Self {
            check_only: true,
            ..RunArgs {
                step: args,
                ..RunArgs::default()
            }
            .into()
        }
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
    Cli::try_parse_from(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Rejected::Text(error.to_string()),
        _ if writes_document(args) => Rejected::Document(usage_failure(&error, args)),
        _ => Rejected::Usage(error.to_string()),
    })
}

/// How stderr is wanted, as far as arguments that do not parse say so.
pub fn log_settings(args: &[OsString]) -> stderr::Settings {
    let follows = |pair: &[OsString]| pair[0] == "--log" && pair[1] == "json";
    stderr::Settings {
        json: args.iter().any(|arg| arg == "--log=json") || args.windows(2).any(follows),
        ..stderr::Settings::default()
    }
}

/// Whether the caller waits for a document: `run`, `check`, or no verb.
fn writes_document(args: &[OsString]) -> bool {
    !matches!(
        verb_of(args),
        Some(
            "dry-run"
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
    Failure::new(Code::Usage, message).hint(help)
}
