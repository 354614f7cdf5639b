//! The verb `templates`: the allowlist for people (a table, or one template with an example step) and
//! for machines (JSON).

use serde_json::json;

use crate::allowlist::Template;
use crate::cli::{ListFormat, TemplatesArgs};
use crate::exit::Code;
use crate::failure::Failure;
use crate::policy::Policy;

/// What the verb prints: all templates that the operator's policy allows, or the one named.
///
/// # Errors
/// `allowlist` where no template has that name, `policy` where steps may not name it or the policy can't be
/// used.
pub fn text(args: &TemplatesArgs) -> Result<String, Failure> {
    let (name, format) = (args.name.as_deref(), args.format);
    let policy = Policy::of_process(args.policy.as_deref())?;
    let registry = policy.registry();
    let shown: Vec<&Template> = match name {
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
            let all = registry.templates();
            all.filter(|template| policy.allows_template(template).is_ok())
                .collect()
        }
    };
    Ok(match (format, name) {
        (ListFormat::Json, _) => {
            let templates: Vec<_> = shown.iter().map(|template| template.to_json()).collect();
            format!("{:#}\n", json!({ "templates": templates }))
        }
        (ListFormat::Text, Some(_)) => shown.iter().map(|template| page(template)).collect(),
        (ListFormat::Text, None) => table(&shown),
    })
}

fn platforms(template: &Template) -> String {
    let names: Vec<_> = template
        .platforms()
        .iter()
        .map(|platform| platform.name())
        .collect();
    names.join(", ")
}

fn table(templates: &[&Template]) -> String {
    let rows: Vec<[String; 4]> = templates
        .iter()
        .map(|template| {
            let parameters: Vec<_> = template.parameters().keys().map(String::as_str).collect();
            [
                template.name().to_owned(),
                platforms(template),
                parameters.join(", "),
                template.intent().to_owned(),
            ]
        })
        .collect();
    let head = ["TEMPLATE", "PLATFORMS", "PARAMETERS", "INTENT"].map(str::to_owned);
    let mut widths = [0; 3];
    for row in std::iter::once(&head).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [name, platform, parameter] = widths;
    std::iter::once(&head)
        .chain(&rows)
        .map(|[one, two, three, four]| {
            format!("{one:name$}  {two:platform$}  {three:parameter$}  {four}\n")
        })
        .collect()
}

fn page(template: &Template) -> String {
    let mut text = format!(
        "{}\n\n  {}\n\n  platforms   {}\n  severity    {}\n",
        template.name(),
        template.intent(),
        platforms(template),
        template.severity().name()
    );
    if !template.tags().is_empty() {
        text.push_str(&format!("  tags        {}\n", template.tags().join(", ")));
    }
    text.push_str(&format!(
        "\nSQL\n\n  {}\n",
        template.sql().trim().replace('\n', "\n  ")
    ));
    if !template.parameters().is_empty() {
        text.push_str("\nParameters\n\n");
    }
    for (name, parameter) in template.parameters() {
        let default = match &parameter.default {
            Some(default) => format!(" (default {default})"),
            None => " (required)".into(),
        };
        text.push_str(&format!(
            "  {name}{default}\n      {}\n",
            parameter.description
        ));
        text.push_str(&format!("      {}\n", parameter.kind.expectation()));
    }
    text.push_str("\nExample step\n\n");
    let params = template
        .parameters()
        .iter()
        .filter_map(|(name, parameter)| {
            let value = parameter.example.as_ref().or(parameter.default.as_ref())?;
            Some(format!("      {name}: {}\n", json!(value)))
        });
    let params: String = params.collect();
    text.push_str(&format!(
        "  id: {}\n  type: osquery_live_query\n  params:\n    backend: fleetdm\n    base_url: https://fleet.example.com\n    api_token: \"{{{{ secrets.fleet_token }}}}\"\n    template: {}\n",
        template.name().replace('_', "-"),
        template.name()
    ));
    if !params.is_empty() {
        text.push_str(&format!("    template_params:\n{params}"));
    }
    text.push_str("    target_hosts: [\"{{ alert.host }}\"]\n");
    text
}
