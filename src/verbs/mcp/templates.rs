//! `find_templates` and `describe_template`: what may be asked. Templates are data of the operator's and of
//! this program; nothing here was written by a host.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use crate::allowlist::Template;
use crate::policy::models::ModelPolicy;
use crate::session::failure::Failure;

/// Templates that are listed where nothing is said.
const USUAL: usize = 20;

/// Arguments of `find_templates`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    text: Option<String>,
    platform: Option<String>,
    tag: Option<String>,
    limit: Option<usize>,
}

/// Arguments of `describe_template`.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    name: String,
}

/// The templates that fit, the best first, within the answer's size.
pub(super) fn find(policy: &ModelPolicy, wanted: &Wanted) -> Value {
    let text = wanted.text.as_deref().unwrap_or_default().to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let fits = |template: &&Template| {
        let on = |platform: &String| {
            let platforms = template.platforms().iter();
            platforms.clone().any(|one| one.name() == platform)
        };
        wanted.platform.as_ref().is_none_or(on)
            && wanted.tag.as_ref().is_none_or(|tag| has_tag(template, tag))
    };
    let mut found: Vec<(usize, &Template)> = policy
        .templates()
        .filter(fits)
        .map(|template| (score(template, &words), template))
        .filter(|(score, _)| words.is_empty() || *score > 0)
        .collect();
    // Stable: what is equally good stays in the order of names.
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let mut templates = Vec::new();
    let mut bytes = 64;
    for (_, template) in found.iter().take(wanted.limit.unwrap_or(USUAL)) {
        let entry = in_short(template);
        bytes += entry.to_string().len() + 1;
        if bytes > policy.max_bytes() && !templates.is_empty() {
            break;
        }
        templates.push(entry);
    }
    json!({ "left_out": found.len() - templates.len(), "templates": templates })
}

/// How well a template fits: a word in its name counts most, then one of its tags, then any other.
fn score(template: &Template, words: &[&str]) -> usize {
    let holds = |text: &str, word: &str| text.to_lowercase().contains(word);
    let of = |word: &&str| {
        if holds(template.name(), word) {
            return 4;
        }
        if template.tags().iter().any(|tag| holds(tag, word)) {
            return 3;
        }
        if holds(template.intent(), word) {
            return 2;
        }
        let mut others = template.tables().keys().chain(template.parameters().keys());
        usize::from(others.any(|other| holds(other, word)))
    };
    words.iter().map(of).sum()
}

/// `T1053` is also the technique of `T1053.005`.
fn has_tag(template: &Template, asked: &str) -> bool {
    template.tags().iter().any(|tag| {
        let technique = tag.split('.').next().unwrap_or_default();
        tag.eq_ignore_ascii_case(asked) || technique.eq_ignore_ascii_case(asked)
    })
}

fn platforms(template: &Template) -> Vec<&'static str> {
    let platforms = template.platforms().iter();
    platforms.map(|one| one.name()).collect()
}

fn in_short(template: &Template) -> Value {
    let parameters = template.parameters().iter().map(|(name, parameter)| {
        json!({
            "name": name,
            "type": parameter.kind.name(),
            "required": parameter.default.is_none(),
        })
    });
    json!({
        "name": template.name(),
        "intent": template.intent(),
        "platforms": platforms(template),
        "tags": template.tags(),
        "parameters": parameters.collect::<Vec<_>>(),
    })
}

/// All of one template.
///
/// # Errors
/// Where a model may not name it, or it can't be used.
pub(super) fn describe(policy: &ModelPolicy, named: &Named) -> Result<Value, Refusal> {
    let template = of_name(policy, &named.name)?;
    whole(policy, template)
}

/// The template that a model may name.
///
/// # Errors
/// Where it may not, or there is none: which of the two is not said.
pub(super) fn of_name<'a>(policy: &'a ModelPolicy, name: &str) -> Result<&'a Template, Refusal> {
    let mut templates = policy.templates();
    templates
        .find(|one| one.name() == name)
        .ok_or_else(|| Refusal::unknown_template(name, policy.templates().map(Template::name)))
}

/// The template as `templates --format json` has it, with its columns and an example.
pub(super) fn whole(policy: &ModelPolicy, template: &Template) -> Result<Value, Refusal> {
    let registry = policy.policy().registry();
    let columns = registry
        .columns(template)
        .map_err(|error| Failure::from(crate::allowlist::AllowlistError::from(error)))?;
    let mut described = template.to_json();
    described["columns"] = columns.into();
    described["example"] = example(policy, template, &described);
    Ok(described)
}

/// Arguments of a call, with the parameters' own examples and defaults.
fn example(policy: &ModelPolicy, template: &Template, described: &Value) -> Value {
    let parameters = described["parameters"].as_array().into_iter().flatten();
    let values: Map<String, Value> = parameters
        .filter_map(|parameter| {
            let value = parameter
                .get("example")
                .or_else(|| parameter.get("default"))?;
            Some((parameter["name"].as_str()?.to_owned(), value.clone()))
        })
        .collect();
    let instance = policy.instances().next().map(|(name, _)| name);
    let mut example = json!({
        "instance": instance,
        "template": template.name(),
        "target_hosts": ["web-01"],
    });
    if !values.is_empty() {
        example["parameters"] = values.into();
    }
    example
}
