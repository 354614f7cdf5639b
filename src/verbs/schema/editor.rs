//! What editors need of the schemas of steps and playbooks: the templates by name with their intents, the
//! parameters of each, and both forms in which a step is written. Draft 2020-12 without keywords of any one
//! editor, so that strict validators take it.

use serde_json::{Map, Value, json};

use crate::allowlist::Registry;
use crate::schema::strict::each_child;

/// The schema of a step, for editors: one step, or a list of exactly one.
pub(super) fn step(plain: Value) -> Value {
    let step = with_templates(plain);
    let whole = ["$schema", "$id", "title", "description", "examples"];
    let mut schema = Map::new();
    for key in whole {
        schema.insert(key.to_owned(), step[key].clone());
    }
    schema.insert("if".to_owned(), json!({ "type": "array" }));
    schema.insert(
        "then".to_owned(),
        json!({
            "title": "List of one step",
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": { "$ref": "#/$defs/step" },
        }),
    );
    schema.insert("else".to_owned(), json!({ "$ref": "#/$defs/step" }));
    let (step, mut definitions) = apart(step, |name| name.to_owned());
    definitions.insert("step".to_owned(), step);
    schema.insert("$defs".to_owned(), definitions.into());
    schema.into()
}

/// The schema of a playbook with that of a step inside, so that editors need one file. References are local:
/// not every editor follows a `$id` that is no address.
pub(super) fn playbook(mut playbook: Value, step: Value) -> Value {
    let (step, definitions) = apart(step, |name| format!("liveQuery_{name}"));
    playbook["$defs"]["step"]["if"] = json!({
        "properties": { "type": { "const": "osquery_live_query" } },
        "required": ["type"],
    });
    playbook["$defs"]["step"]["then"] = json!({ "$ref": "#/$defs/liveQueryStep" });
    if let Some(all) = playbook["$defs"].as_object_mut() {
        all.insert("liveQueryStep".to_owned(), step);
        all.extend(definitions);
    }
    playbook
}

/// The step's own schema, and its definitions under other names.
fn apart(mut step: Value, renamed: fn(&str) -> String) -> (Value, Map<String, Value>) {
    let mut definitions = Map::new();
    if let Some(step) = step.as_object_mut() {
        for key in ["$schema", "$id", "examples"] {
            step.shift_remove(key);
        }
        if let Some(Value::Object(old)) = step.shift_remove("$defs") {
            definitions = old;
        }
    }
    refer(&mut step, renamed);
    let definitions = definitions.into_iter().map(|(name, mut definition)| {
        refer(&mut definition, renamed);
        (renamed(&name), definition)
    });
    (step, definitions.collect())
}

/// Writes references to definitions anew.
fn refer(schema: &mut Value, renamed: fn(&str) -> String) {
    if let Some(Value::String(reference)) = schema.get_mut("$ref")
        && let Some(name) = reference.strip_prefix("#/$defs/")
    {
        *reference = format!("#/$defs/{}", renamed(name));
    }
    each_child(schema, &mut |child| refer(child, renamed));
}

/// The schema of a step in which the templates stand by name, each with its parameters.
pub(super) fn with_templates(mut step: Value) -> Value {
    let registry = Registry::embedded();
    let names: Vec<Value> = registry
        .templates()
        .map(|template| json!({ "const": template.name(), "description": template.intent() }))
        .collect();
    let params = &mut step["$defs"]["params"];
    let template = &mut params["properties"]["template"];
    if let Some(template) = template.as_object_mut() {
        for keyword in ["minLength", "maxLength", "pattern"] {
            template.shift_remove(keyword);
        }
        template.insert("oneOf".to_owned(), names.into());
    }
    let is =
        |names: Value| json!({ "properties": { "template": names }, "required": ["template"] });
    let (without, with): (Vec<_>, Vec<_>) = registry
        .templates()
        .partition(|template| template.parameters().is_empty());
    let without: Vec<&str> = without.iter().map(|template| template.name()).collect();
    let mut conditions = vec![json!({
        "if": is(json!({ "enum": without })),
        "then": { "properties": { "template_params": { "$ref": "#/$defs/no_parameters" } } },
    })];
    let mut definitions = Map::new();
    definitions.insert(
        "no_parameters".to_owned(),
        json!({
            "description": "This template takes no parameters.",
            "type": "object",
            "maxProperties": 0,
        }),
    );
    for template in with {
        let definition = format!("parameters_of_{}", template.name());
        let mut then = json!({
            "properties": { "template_params": { "$ref": format!("#/$defs/{definition}") } },
        });
        if !template.required_parameters().is_empty() {
            then["required"] = json!(["template_params"]);
        }
        conditions.push(json!({
            "if": is(json!({ "const": template.name() })),
            "then": then,
        }));
        definitions.insert(definition, template.parameters_schema());
    }
    if let Some(all) = params["allOf"].as_array_mut() {
        all.extend(conditions);
    }
    if let Some(all) = step["$defs"].as_object_mut() {
        all.extend(definitions);
    }
    step
}
