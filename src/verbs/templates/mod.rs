//! The verb `templates`: the allowlist for people (a table, or one template with an example step), for
//! machines (JSON) and for documentation (Markdown). Reads the registry and writes text; knows nothing of
//! steps beyond the example that it prints.

mod check;
mod markdown;
mod page;
mod select;
mod table;

use std::io::IsTerminal;

use serde_json::json;

use crate::allowlist::Template;
use crate::cli::{TemplatesArgs, TemplatesFormat};
use crate::exit::Code;
use crate::policy::Policy;
use crate::session::failure::Failure;

pub use check::{Checked, run as check};
pub use select::Selection;

/// What the verb prints: the templates that were asked for, in the form that was asked for.
///
/// # Errors
/// `allowlist` where no template has the name; `policy` where the policy holds it back or can't be used; `usage` where the flags don't fit together.
pub fn text(args: &TemplatesArgs) -> Result<String, Failure> {
    let policy = Policy::of_process(args.policy.as_deref())?;
    let registry = policy.registry();
    let shown = match &args.name {
        Some(_) if args.selection.is_some() => {
            return Err(usage(
                "`--tag`, `--platform` and `--search` choose from the list; leave them out with a NAME",
            ));
        }
        Some(name) => {
            let template = registry
                .template(name)
                .map_err(|error| Failure::new(Code::Allowlist, error.to_string()))?;
            policy
                .allows_template(template)
                .map_err(|reason| Failure::new(Code::Policy, reason))?;
            vec![template]
        }
        None => {
            for error in policy.broken_templates() {
                tracing::warn!("{error}");
            }
            let mut chosen = args.selection.of(registry);
            chosen.retain(|template| policy.allows_template(template).is_ok());
            chosen
        }
    };
    Ok(match (args.format, args.name.is_some()) {
        (TemplatesFormat::Json, _) => {
            let templates: Vec<_> = shown.iter().map(|template| template.to_json()).collect();
            format!("{:#}\n", json!({ "templates": templates }))
        }
        (TemplatesFormat::Markdown, _) => markdown::text(&shown),
        (TemplatesFormat::Step, true) => shown.iter().map(|one| page::example_step(one)).collect(),
        (TemplatesFormat::Step, false) => {
            return Err(usage(
                "`--format step` prints the example of one template: name it",
            ));
        }
        (TemplatesFormat::Text, true) => shown.iter().map(|one| page::text(one)).collect(),
        (TemplatesFormat::Text, false) if shown.is_empty() => format!(
            "no template fits; `osquery-live-query templates` lists all {}\n",
            registry.names().count()
        ),
        (TemplatesFormat::Text, false) if std::io::stdout().is_terminal() => table::grouped(&shown),
        (TemplatesFormat::Text, false) => table::lines(&shown),
    })
}

fn usage(message: &str) -> Failure {
    Failure::new(Code::Usage, message).hint("see `osquery-live-query templates --help`")
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
