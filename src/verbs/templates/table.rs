//! The list of templates: grouped and short-lined on a terminal, one line a template elsewhere, so that
//! `grep`, `sort` and `cut` work on it.

use crate::allowlist::Template;

use super::{by_topic, platforms};

/// The parameters' names; those with a default in brackets.
fn parameters(template: &Template) -> String {
    let names: Vec<String> = template
        .parameters()
        .iter()
        .map(|(name, parameter)| match parameter.default {
            Some(_) => format!("[{name}]"),
            None => name.clone(),
        })
        .collect();
    names.join(" ")
}

/// One line a template, in columns.
pub(super) fn lines(templates: &[&Template]) -> String {
    let rows: Vec<[String; 4]> = templates
        .iter()
        .map(|template| {
            [
                template.name().to_owned(),
                platforms(template),
                parameters(template),
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

/// By topic, two lines a template: what it is called and takes, then what it is for.
pub(super) fn grouped(templates: &[&Template]) -> String {
    let mut text = String::new();
    for (topic, templates) in by_topic(templates) {
        text.push_str(&format!("{} ({})\n", topic.to_uppercase(), templates.len()));
        for template in templates {
            let taken = parameters(template);
            let gap = if taken.is_empty() { "" } else { " " };
            text.push_str(&format!(
                "  {}{gap}{taken}  ({})\n      {}\n",
                template.name(),
                platforms(template),
                template.intent()
            ));
        }
        text.push('\n');
    }
    text.push_str(
        "[parameter] has a default. `osquery-live-query templates NAME` shows one whole; \
         `--tag`, `--platform` and `--search` narrow the list.\n",
    );
    text
}
