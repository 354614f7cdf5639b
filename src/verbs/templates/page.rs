//! One template whole: what it is for, its SQL, its parameters, and a step that calls it.

use serde_json::Value;

use crate::allowlist::Template;
use crate::known_servers::{ALL, KnownServer};

use super::platforms;

/// What an empty answer means where nothing limits it.
pub(super) const PROVES: &str = "proves that there is nothing.";

/// The page of one template, with the servers through which it can't be asked for.
pub(super) fn text(template: &Template, refused_by: &[(&KnownServer, String)]) -> String {
    let tables: Vec<&str> = template.tables().keys().map(String::as_str).collect();
    let mut text = format!(
        "{}\n\n  {}\n\n  platforms   {}\n  tables      {}\n  severity    {}\n",
        template.name(),
        template.intent(),
        platforms(template),
        tables.join(", "),
        template.severity().name()
    );
    if !template.tags().is_empty() {
        text.push_str(&format!("  tags        {}\n", template.tags().join(", ")));
    }
    text.push_str(&format!("\nSQL\n\n{}", indented(template.sql())));
    if let Some(limits) = template.limits() {
        text.push_str("\nAn empty answer\n\n");
        if limits.is_empty() {
            text.push_str(&format!("  {PROVES}\n"));
        }
        for limit in limits {
            text.push_str(&format!("  - {limit}\n"));
        }
    }
    if !refused_by.is_empty() {
        text.push_str("\nServers\n\n");
    }
    for (known, reason) in refused_by {
        text.push_str(&format!("  not through {}: it {reason}\n", known.title));
    }
    if !template.parameters().is_empty() {
        text.push_str("\nParameters\n\n");
    }
    for (name, parameter) in template.parameters() {
        let default = match &parameter.default {
            Some(default) => format!("default {default}"),
            None => "required".into(),
        };
        text.push_str(&format!(
            "  {name} ({}, {default})\n      {}\n      {}\n",
            parameter.kind.name(),
            parameter.description,
            sentence(&parameter.kind.expectation())
        ));
    }
    text.push_str(&format!(
        "\nExample step (`--format step` prints it alone)\n\n{}",
        indented(&example_step(template))
    ));
    text
}

/// A step that calls the template with its defaults and examples, as YAML. It passes every check.
pub(super) fn example_step(template: &Template) -> String {
    let server = &ALL[0];
    let needs = server.needs.iter().filter(|need| need.required);
    let needs: String = needs
        .map(|need| format!("  {}: {}\n", need.field, need.example))
        .collect();
    let mut text = format!(
        "id: {}\n\
         type: osquery_live_query\n\
         params:\n\
         \x20 backend: {}\n\
         \x20 base_url: {}\n{needs}\
         \x20 api_token: \"{{{{ secrets.{} }}}}\"\n\
         \x20 template: {}\n",
        template.name().replace('_', "-"),
        server.name,
        server.example.url,
        server.example.secret,
        template.name()
    );
    let document = template.to_json();
    let parameters = document["parameters"].as_array().into_iter().flatten();
    let values: String = parameters
        .filter_map(|parameter| {
            let value = parameter
                .get("example")
                .or_else(|| parameter.get("default"))?;
            Some(format!(
                "    {}: {}\n",
                parameter["name"].as_str()?,
                scalar(value)
            ))
        })
        .collect();
    if !values.is_empty() {
        text.push_str(&format!("  template_params:\n{values}"));
    }
    text.push_str("  target_hosts: [\"{{ alert.host }}\"]\n");
    text
}

/// A value as YAML: single quotes take backslashes as they are.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains('\\') => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}

fn indented(text: &str) -> String {
    text.trim_end()
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect()
}

/// The text with an upper-case beginning and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}
