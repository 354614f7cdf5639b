//! The verb `templates`: the allowlist for people (a table, or one template with an example step), for
//! machines (JSON) and for documentation (Markdown). Reads the registry and writes text; knows nothing of
//! steps beyond the example that it prints.

mod check;
mod export;
mod markdown;
mod page;
mod select;
mod table;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use serde_json::{Value, json};

use crate::allowlist::{Registry, Template, embedded_files};
use crate::call_error::CallError;
use crate::exit::Exit;
use crate::known_servers::{self, KnownServer};
use crate::policy::Policy;
use crate::process::Process;
use crate::session::failure::Failure;

pub use export::TemplatesExportArgs;
pub use select::Selection;

/// The long help of `templates check`.
const CHECK_HELP: &str = "\
Check templates that you write: form, SQL, parameters and osquery's own tables.

All problems at once, each as PATH:LINE:COLUMN: MESSAGE [RULE]. SQLite reads the SQL: one
statement that only reads the declared columns of the declared tables, with every parameter
declared and used. It plans the SQL over tables that take comparisons as osquery's do, so that
no table stays empty for want of one, or tells of one user only. With --osquery-schema every table
and column has to exist on the template's platforms. What only the author can decide is a warning:
tables that need events to be collected, comparisons that may never be true.
Touches no network.

Exit status: 0 no problems, 1 problems (with --warnings-as-errors: or warnings), 2 wrong flags or
unreadable files.";

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
    #[command(long_about = CHECK_HELP)]
    Check(TemplatesCheckArgs),
    /// Write the allowlist as queries that a server keeps, for tokens that may run nothing else.
    #[command(long_about = export::HELP, after_help = export::EXAMPLES)]
    Export(TemplatesExportArgs),
}

/// Flags of `templates check`.
#[derive(Debug, Args)]
pub struct TemplatesCheckArgs {
    /// Template files, and folders with them (*.yaml, *.yml); without any, the built-in templates are checked.
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// osquery's schema of the version that your hosts run, as JSON: osquery-site publishes it as src/data/osquery_schema_versions/VERSION.json.
    #[arg(
        long,
        value_name = "FILE",
        value_hint = clap::ValueHint::FilePath,
        long_help = include_str!("check.osquery-schema.txt")
    )]
    pub osquery_schema: Vec<PathBuf>,
    /// Exit with 1 where there are warnings only, too.
    #[arg(long)]
    pub warnings_as_errors: bool,
    /// For people and editors, or JSON (`schema templates-check`).
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    pub format: ListFormat,
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

/// Values of `templates check --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Shows, checks or exports templates. Returns how the process ends.
pub(crate) fn run(args: &TemplatesArgs, process: &Process) -> Exit {
    match &args.verb {
        Some(TemplatesVerb::Check(args)) => match check::run(args) {
            Ok(checked) => match process.text(&checked.text) {
                Exit::Ok if !checked.clean => Exit::Problems,
                status => status,
            },
            Err(failure) => process.fail(&failure),
        },
        Some(TemplatesVerb::Export(args)) => match export::run(args) {
            Ok(exported) => {
                for warning in &exported.warnings {
                    process.stderr.warn(warning);
                }
                process.text(&exported.text)
            }
            Err(failure) => process.fail(&failure),
        },
        None => match text(args, &|warning| process.stderr.warn(warning)) {
            Ok(text) => process.text(&text),
            Err(failure) => process.fail(&failure),
        },
    }
}

/// What the verb prints: the templates that were asked for, in the form that was asked for.
///
/// # Errors
/// `allowlist` where no template has the name; `policy` where the policy holds it back or can't be used; `usage` where the flags don't fit together.
pub fn text(args: &TemplatesArgs, warn: &dyn Fn(&str)) -> Result<String, Failure> {
    let policy = Policy::of_process(args.policy.as_deref())?;
    let registry = policy.registry();
    let shown = match &args.name {
        Some(_) if args.selection.is_some() => {
            return Err(usage(
                "`--tag`, `--platform` and `--search` choose from the list; leave them out with a NAME",
            ));
        }
        Some(name) => {
            let template = registry.template(name)?;
            policy
                .allows_template(template)
                .map_err(CallError::Withheld)?;
            vec![template]
        }
        None => {
            for error in policy.broken_templates() {
                warn(&error.to_string());
            }
            let mut chosen = args.selection.of(registry);
            chosen.retain(|template| policy.allows_template(template).is_ok());
            chosen
        }
    };
    Ok(match (args.format, args.name.is_some()) {
        (TemplatesFormat::Json, _) => {
            let templates: Vec<_> = shown.iter().map(|one| described(registry, one)).collect();
            format!("{:#}\n", json!({ "templates": templates }))
        }
        (TemplatesFormat::Markdown, _) => markdown::text(&shown),
        (TemplatesFormat::Step, true) => shown.iter().map(|one| page::example_step(one)).collect(),
        (TemplatesFormat::Step, false) => {
            return Err(usage(
                "`--format step` prints the example of one template: name it",
            ));
        }
        (TemplatesFormat::Text, true) => shown
            .iter()
            .map(|one| page::text(one, &refused_by(registry, one)))
            .collect(),
        (TemplatesFormat::Text, false) if shown.is_empty() => format!(
            "no template fits; `osquery-live-query templates` lists all {}\n",
            registry.names().count()
        ),
        (TemplatesFormat::Text, false) => {
            for template in &shown {
                for (known, reason) in refused_by(registry, template) {
                    warn(&format!(
                        "`{}` can't be asked for through {}: it {reason}",
                        template.name(),
                        known.title
                    ));
                }
            }
            match std::io::stdout().is_terminal() {
                true => table::grouped(&shown),
                false => table::lines(&shown),
            }
        }
    })
}

/// Servers through which a template can't be asked for, each with the reason, as the end of a sentence that
/// begins with "it". Those that are built in go through all.
fn refused_by(registry: &Registry, template: &Template) -> Vec<(&'static KnownServer, String)> {
    let built_in = |(name, _): &(&str, &str)| *name == template.name();
    if embedded_files().iter().any(built_in) {
        return Vec::new();
    }
    let refuses = |known: &KnownServer| registry.unprovable(template, known.proof);
    let all = known_servers::ALL.iter();
    all.filter_map(|known| Some((known, refuses(known)?)))
        .collect()
}

fn described(registry: &Registry, template: &Template) -> Value {
    let mut document = template.to_json();
    let refused = refused_by(registry, template);
    if !refused.is_empty() {
        let refused = refused.into_iter();
        let refused: serde_json::Map<String, Value> = refused
            .map(|(known, reason)| (known.name.to_owned(), format!("it {reason}").into()))
            .collect();
        document["refused_by"] = refused.into();
    }
    document
}

fn usage(message: &str) -> Failure {
    let (verb, message) = ("templates", message.to_owned());
    CallError::Flags { verb, message }.into()
}

/// A template's platforms in words.
fn platforms(template: &Template) -> String {
    let names: Vec<_> = template
        .platforms()
        .iter()
        .map(|platform| platform.name())
        .collect();
    names.join(", ")
}

/// The topic that a template is listed under: its first tag.
fn topic(template: &Template) -> &str {
    template.tags().first().map_or("other", String::as_str)
}

/// The topics in the order in which a responder asks, each with its templates.
fn by_topic<'a>(templates: &[&'a Template]) -> Vec<(&'a str, Vec<&'a Template>)> {
    /// What an investigation begins with, then what it looks into, then what is asked at leisure.
    const ORDER: [&str; 10] = [
        "triage",
        "persistence",
        "network",
        "files",
        "accounts",
        "containers",
        "packages",
        "certificates",
        "compliance",
        "inventory",
    ];
    let mut topics: Vec<(&str, Vec<&Template>)> = Vec::new();
    for template in templates {
        let topic = topic(template);
        match topics.iter_mut().find(|(known, _)| *known == topic) {
            Some((_, templates)) => templates.push(template),
            None => topics.push((topic, vec![template])),
        }
    }
    topics.sort_by_key(|(topic, _)| {
        let place = ORDER.iter().position(|known| known == topic);
        (place.unwrap_or(ORDER.len()), *topic)
    });
    topics
}
