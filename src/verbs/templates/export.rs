//! `templates export`: the allowlist as queries that a server keeps, so that a token which may run nothing
//! else is enough, in a server's own form (`servers/`) or as an osquery pack. The SQL of each is, to the
//! letter, the statement that the template becomes with the same parameters.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::Selection;
use crate::allowlist::{Registry, Template};
use crate::call_error::CallError;
use crate::known_servers::{ALL, Kind};
use crate::policy::Policy;
use crate::servers::export::ExportedQuery;
use crate::servers::open;
use crate::session::failure::Failure;
use crate::step::model::TemplateCall;

/// The long help.
pub(super) const HELP: &str = include_str!("export.help.txt");

/// Uses.
pub(super) const EXAMPLES: &str = include_str!("export.examples.txt");

/// Flags of `templates export`.
#[derive(Debug, Args)]
pub struct TemplatesExportArgs {
    /// The templates to write; without any, all whose parameters have defaults.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// For what the queries are written.
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// A value for a template's parameter, instead of its default; may be repeated.
    #[arg(long = "param", value_name = "TEMPLATE.NAME=VALUE")]
    pub params: Vec<String>,
    /// The operator's policy, whose templates are written, too [default: $OSQUERY_LIVE_QUERY_POLICY].
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Which templates are written.
    #[command(flatten)]
    pub selection: Selection,
}

/// Values of `templates export --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Saved queries of a kind of server.
    SavedBy(Kind),
    /// An osquery pack (JSON) that asks once a day.
    OsqueryPack,
}

impl ValueEnum for ExportFormat {
    fn value_variants<'a>() -> &'a [Self] {
        static FORMATS: LazyLock<Vec<ExportFormat>> = LazyLock::new(|| {
            let keeping = ALL.iter().filter(|known| known.saved_queries.is_some());
            let saved = keeping.map(|known| ExportFormat::SavedBy(known.kind));
            saved.chain([ExportFormat::OsqueryPack]).collect()
        });
        &FORMATS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::SavedBy(kind) => {
                let form = kind.known().saved_queries.as_ref()?;
                PossibleValue::new(form.format).help(form.what)
            }
            Self::OsqueryPack => PossibleValue::new("osquery-pack")
                .help("An osquery pack (JSON) that asks once a day"),
        })
    }
}

/// How often a pack asks, in seconds: once a day. Servers ask when they are told to.
const PACK_INTERVAL: u64 = 86_400;

/// Between the two moments at which a statement has to be the same.
const LATER: Duration = Duration::from_secs(3_600);

/// More names than this are not listed in a warning.
const MOST_NAMED: usize = 12;

/// A template with the parameters that it is exported with.
struct Saved<'a> {
    template: &'a Template,
    /// The template's name, and the parameters that were given, so that one can be saved several times.
    name: String,
    sql: String,
}

/// The text of the export, and what was left out of it, in sentences.
#[derive(Debug)]
pub struct Exported {
    /// For stdout.
    pub text: String,
    /// For stderr.
    pub warnings: Vec<String>,
}

/// Exports the templates that are named, or all that need no parameter to be given.
///
/// # Errors
/// `usage` where the flags don't fit together, `allowlist` where a name or a value does not fit, `policy` where
/// the policy holds a template back or can't be used.
pub fn run(args: &TemplatesExportArgs) -> Result<Exported, Failure> {
    let policy = Policy::of_process(args.policy.as_deref())?;
    let registry = policy.registry();
    let given = parameters(&args.params)?;
    let chosen = chosen(args, &policy, registry)?;
    for name in given.keys() {
        if !chosen.iter().any(|template| template.name() == name) {
            return Err(match registry.template(name) {
                Ok(_) => usage(format!("`--param` is for `{name}`, which is not exported")),
                Err(error) => error.into(),
            });
        }
    }
    let mut saved = Vec::new();
    let (mut without_value, mut of_the_moment) = (Vec::new(), Vec::new());
    for template in chosen {
        let name = template.name();
        let params = given.get(name).cloned().unwrap_or_default();
        // What was asked for by name has to work out.
        let is_asked_for = !args.names.is_empty() || !params.is_empty();
        let lacks = |(parameter, declared): (&String, &crate::allowlist::Parameter)| {
            declared.default.is_none() && !params.contains_key(parameter)
        };
        if !is_asked_for && template.parameters().iter().any(lacks) {
            without_value.push(name);
            continue;
        }
        let now = SystemTime::now();
        let call = TemplateCall {
            name: name.to_owned(),
            params,
        };
        let bind = |moment| {
            let bound = registry.bind(&call, moment);
            bound.map_err(|error| CallError::NoStatement(error.to_string()))
        };
        let sql = bind(now)?.sql().to_owned();
        // An age becomes a moment when the statement is made: the next run's would be another.
        let is_fixed = bind(now + LATER).is_ok_and(|later| later.sql() == sql);
        match (is_fixed, is_asked_for) {
            (true, _) => saved.push(Saved {
                template,
                name: named(name, &call.params),
                sql,
            }),
            (false, true) => {
                let message = format!(
                    "the SQL of `{name}` holds the moment at which an age was counted, so no later run would match it: \
                     give a time instead of the age, in unix seconds"
                );
                return Err(CallError::NoStatement(message).into());
            }
            (false, false) => of_the_moment.push(name),
        }
    }
    if saved.is_empty() {
        return Err(usage("no template is left to export".to_owned()));
    }
    let text = match args.format {
        ExportFormat::SavedBy(kind) => saved_by(kind, &saved),
        ExportFormat::OsqueryPack => pack(&saved),
    };
    let left_out = [
        (
            without_value,
            "a parameter has no default: give it with `--param TEMPLATE.NAME=VALUE`",
        ),
        (
            of_the_moment,
            "an age is counted back from each run, so its SQL is never the same twice: give a time with `--param`",
        ),
    ];
    let warnings = left_out.into_iter().filter(|(names, _)| !names.is_empty());
    Ok(Exported {
        text,
        warnings: warnings.map(|(names, why)| left(&names, why)).collect(),
    })
}

fn usage(message: String) -> Failure {
    let verb = "templates export";
    CallError::Flags { verb, message }.into()
}

/// The templates that are named or selected, as far as the policy allows them.
fn chosen<'a>(
    args: &TemplatesExportArgs,
    policy: &'a Policy,
    registry: &'a Registry,
) -> Result<Vec<&'a Template>, Failure> {
    if args.names.is_empty() {
        let mut chosen = args.selection.of(registry);
        chosen.retain(|template| policy.allows_template(template).is_ok());
        return Ok(chosen);
    }
    if args.selection.is_some() {
        return Err(usage(
            "`--tag`, `--platform` and `--search` choose from all; leave them out where templates are named".to_owned(),
        ));
    }
    let mut chosen: Vec<&Template> = Vec::new();
    for name in &args.names {
        let template = registry.template(name)?;
        policy
            .allows_template(template)
            .map_err(CallError::Withheld)?;
        if !chosen.iter().any(|known| known.name() == name) {
            chosen.push(template);
        }
    }
    Ok(chosen)
}

/// `TEMPLATE.NAME=VALUE` by template and parameter.
fn parameters(written: &[String]) -> Result<BTreeMap<String, Map<String, Value>>, Failure> {
    let mut given: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for text in written {
        let parts = text
            .split_once('=')
            .and_then(|(path, value)| Some((path.split_once('.')?, value)));
        let Some(((template, name), value)) = parts else {
            return Err(usage(
                "`--param` takes TEMPLATE.NAME=VALUE, such as `running_processes.limit=50`"
                    .to_owned(),
            ));
        };
        let of_template = given.entry(template.to_owned()).or_default();
        if of_template
            .insert(name.to_owned(), Value::from(value))
            .is_some()
        {
            return Err(usage(format!("`--param {template}.{name}` is given twice")));
        }
    }
    Ok(given)
}

/// The saved query's name, in ASCII: not every server takes more.
fn named(template: &str, params: &Map<String, Value>) -> String {
    if params.is_empty() {
        return template.to_owned();
    }
    let value = |value: &Value| {
        value
            .as_str()
            .unwrap_or_default()
            .escape_default()
            .to_string()
    };
    let params: Vec<String> = params
        .iter()
        .map(|(name, given)| format!("{name}={}", value(given)))
        .collect();
    format!("{template} ({})", params.join(", "))
}

/// What was left out and why.
fn left(names: &[&str], why: &str) -> String {
    let mut shown: Vec<String> = names
        .iter()
        .take(MOST_NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.len() > MOST_NAMED {
        shown.push(format!("{} more", names.len() - MOST_NAMED));
    }
    format!("left out, for {why}: {}", shown.join(", "))
}

fn platforms(template: &Template) -> String {
    let names: Vec<&str> = template
        .platforms()
        .iter()
        .map(|platform| platform.name())
        .collect();
    names.join(",")
}

/// The form of a server.
fn saved_by(kind: Kind, saved: &[Saved<'_>]) -> String {
    let platforms: Vec<String> = saved.iter().map(|one| platforms(one.template)).collect();
    let queries: Vec<ExportedQuery<'_>> = saved
        .iter()
        .zip(&platforms)
        .map(|(one, platforms)| ExportedQuery {
            name: &one.name,
            intent: one.template.intent(),
            sql: &one.sql,
            platforms,
        })
        .collect();
    open::export(kind, &queries)
}

/// An osquery pack, which asks once a day and reports all rows each time.
fn pack(saved: &[Saved<'_>]) -> String {
    let queries: Map<String, Value> = saved
        .iter()
        .map(|one| {
            let query = json!({
                "query": one.sql,
                "interval": PACK_INTERVAL,
                "platform": platforms(one.template),
                "snapshot": true,
                "description": one.template.intent(),
            });
            (one.name.clone(), query)
        })
        .collect();
    format!("{:#}\n", json!({ "queries": queries }))
}
