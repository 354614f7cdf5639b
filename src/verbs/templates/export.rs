//! `templates export`: the allowlist as queries that a server keeps, so that a token which may run nothing
//! else is enough: Fleet's GitOps file, osctrl's saved queries, or an osquery pack. The SQL of each is, to the
//! letter, the statement that the template becomes with the same parameters.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::Selection;
use crate::allowlist::{Registry, Template};
use crate::call_error::CallError;
use crate::policy::Policy;
use crate::session::failure::Failure;
use crate::step::model::TemplateCall;

/// The long help.
pub(super) const HELP: &str = "\
Write the allowlist as queries that a server keeps, for tokens that may run nothing else.

The SQL of each query is, to the letter, what a step with the same parameters sends. On Fleet an
observer may run such queries and no others, so an observer's token is enough for steps that name
these templates, and a stolen one runs only what was approved. A template with a parameter that has
no default, or with an age (counted back from each run), is left out unless --param gives a value.
Touches no network.";

/// Uses.
pub(super) const EXAMPLES: &str = "\
Examples:
  osquery-live-query templates export --format fleet > queries.yml
  osquery-live-query templates export --format fleet uptime running_processes \\
    --param running_processes.limit=50
  osquery-live-query templates export --format osquery-pack --tag persistence > persistence.conf";

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Fleet's GitOps file (YAML): queries that observers may run.
    Fleet,
    /// osctrl's saved queries (JSON): the bodies of POST /api/v1/saved-queries/ENVIRONMENT.
    Osctrl,
    /// An osquery pack (JSON) that asks once a day.
    OsqueryPack,
}

/// How often a pack asks, in seconds: once a day. Fleet and osctrl ask when they are told to.
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
                    "the SQL of `{name}` holds the moment at which an age was counted, so no later run would be it: \
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
        ExportFormat::Fleet => fleet(&saved),
        ExportFormat::Osctrl => osctrl(&saved),
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

/// The saved query's name: Fleet takes ASCII only.
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

/// Fleet's GitOps file. Observers may run the queries, and nothing runs them by itself (`interval: 0`).
fn fleet(saved: &[Saved<'_>]) -> String {
    let mut text = "\
# Written by `osquery-live-query templates export --format fleet`: queries that observers may run.
# For GitOps: belongs into default.yml or a fleet's file; from Fleet 4.82 on the key is called `reports`.
queries:
"
    .to_owned();
    for one in saved {
        text.push_str(&format!(
            "  - name: {}\n    description: {}\n    query: {}\n    platform: {}\n    interval: 0\n    observer_can_run: true\n",
            quoted(&one.name),
            quoted(one.template.intent()),
            block(&one.sql, "      "),
            platforms(one.template)
        ));
    }
    text
}

/// osctrl's saved queries: each is the body of `POST /api/v1/saved-queries/ENVIRONMENT`.
fn osctrl(saved: &[Saved<'_>]) -> String {
    let bodies: Vec<Value> = saved
        .iter()
        .map(|one| json!({ "name": one.name, "query": one.sql }))
        .collect();
    format!("{:#}\n", Value::from(bodies))
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

/// Text as a YAML block where every reader of YAML gives it back to the letter, else in quotes.
fn block(text: &str, indent: &str) -> String {
    let plain = |sign: char| sign == '\n' || sign == ' ' || sign.is_ascii_graphic();
    let first = text.chars().next();
    let fits = text.chars().all(plain)
        && first.is_some_and(|first| first.is_ascii_graphic())
        && !text.ends_with('\n');
    if !fits {
        return quoted(text);
    }
    let lines = text.split('\n').map(|line| {
        if line.is_empty() {
            "\n".to_owned()
        } else {
            format!("\n{indent}{line}")
        }
    });
    format!("|-{}", lines.collect::<String>())
}

/// Text as a scalar of YAML 1.1 and 1.2 alike, whatever it holds.
fn quoted(text: &str) -> String {
    let mut written = String::from("\"");
    for sign in text.chars() {
        match sign {
            '"' | '\\' => written.extend(['\\', sign]),
            ' ' => written.push(sign),
            _ if sign.is_ascii_graphic() => written.push(sign),
            _ => written.push_str(&format!("\\U{:08X}", u32::from(sign))),
        }
    }
    written.push('"');
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{block, quoted};

    proptest! {
        /// Whatever stands in SQL, the file holds it to the letter.
        #[test]
        fn text_survives_yaml(text in "[ -~\n\té\u{85}\u{2028}\u{1F600}]{1,60}") {
            let file = format!("a:\n  - b: {}\n    c: {}\n    d: 1\n", block(&text, "      "), quoted(&text));
            let read: serde_json::Value = serde_saphyr::from_str(&file).map_err(|error| {
                TestCaseError::fail(format!("{file}: {error}"))
            })?;
            prop_assert_eq!(&read["a"][0]["b"], text.as_str());
            prop_assert_eq!(&read["a"][0]["c"], text.as_str());
            prop_assert_eq!(&read["a"][0]["d"], 1);
        }
    }
}
