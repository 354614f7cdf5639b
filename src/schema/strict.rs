//! A schema in the form that strict validators take (ajv's `strict: true`): every value has one type, and a
//! key that is required stands among the properties. It says the same as before.

use serde_json::{Map, Value, json};

/// Keywords that hold one schema.
const ONE: [&str; 8] = [
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
];
/// Keywords that hold a list of schemas.
const LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords that hold schemas by name.
const NAMED: [&str; 3] = ["$defs", "patternProperties", "properties"];

/// The keywords that speak of one type only.
fn keywords_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "string" => &["format", "maxLength", "minLength", "pattern"],
        "integer" | "number" => &["maximum", "minimum", "multipleOf"],
        "array" => &["items", "maxItems", "minItems", "uniqueItems"],
        "object" => &[
            "additionalProperties",
            "maxProperties",
            "minProperties",
            "patternProperties",
            "properties",
            "propertyNames",
            "required",
        ],
        _ => &[],
    }
}

/// Calls with each schema that stands directly in a schema.
pub(crate) fn each_child(schema: &mut Value, with: &mut dyn FnMut(&mut Value)) {
    let Some(node) = schema.as_object_mut() else {
        return;
    };
    for (keyword, value) in node {
        if ONE.contains(&keyword.as_str()) {
            with(value);
        } else if LIST.contains(&keyword.as_str()) {
            value
                .as_array_mut()
                .into_iter()
                .flatten()
                .for_each(&mut *with);
        } else if NAMED.contains(&keyword.as_str()) {
            let named = value.as_object_mut().into_iter();
            named.flat_map(Map::values_mut).for_each(&mut *with);
        }
    }
}

/// Brings a schema into the strict form.
pub(crate) fn make_strict(schema: &mut Value) {
    if let Some(node) = schema.as_object_mut() {
        one_type_each(node);
        name_what_is_required(node);
    }
    each_child(schema, &mut make_strict);
}

/// `{type: [a, b], …}` as one alternative a type, each with the keywords that are its own.
fn one_type_each(node: &mut Map<String, Value>) {
    let Some(Value::Array(kinds)) = node.get("type").cloned() else {
        return;
    };
    node.shift_remove("type");
    let alternatives: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            let mut alternative = json!({ "type": kind });
            for keyword in keywords_of(kind.as_str().unwrap_or_default()) {
                if let Some(value) = node.get(*keyword) {
                    alternative[*keyword] = value.clone();
                }
            }
            alternative
        })
        .collect();
    for kind in &kinds {
        for keyword in keywords_of(kind.as_str().unwrap_or_default()) {
            node.shift_remove(*keyword);
        }
    }
    let alternatives = json!(alternatives);
    match node.contains_key("anyOf") {
        false => node.insert("anyOf".to_owned(), alternatives),
        true => {
            let all = node.entry("allOf").or_insert_with(|| json!([]));
            if let Some(all) = all.as_array_mut() {
                all.push(json!({ "anyOf": alternatives }));
            }
            None
        }
    };
}

fn name_what_is_required(node: &mut Map<String, Value>) {
    let Some(Value::Array(required)) = node.get("required").cloned() else {
        return;
    };
    let properties = node.entry("properties").or_insert_with(|| json!({}));
    let Some(properties) = properties.as_object_mut() else {
        return;
    };
    for key in required.iter().filter_map(Value::as_str) {
        if !properties.contains_key(key) {
            properties.insert(key.to_owned(), json!(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_type_and_what_is_required_is_named() {
        let mut schema = json!({
            "type": "object",
            "required": ["a"],
            "properties": {
                "b": {
                    "title": "B",
                    "type": ["integer", "string"],
                    "minimum": 1,
                    "pattern": "^x",
                    "default": {"type": ["left", "alone"]},
                },
                "c": { "type": ["array", "null"], "items": { "type": ["number", "boolean"] }, "anyOf": [true] },
            },
        });
        make_strict(&mut schema);
        assert_eq!(
            schema,
            json!({
                "type": "object",
                "required": ["a"],
                "properties": {
                    "a": true,
                    "b": {
                        "title": "B",
                        "anyOf": [
                            { "type": "integer", "minimum": 1 },
                            { "type": "string", "pattern": "^x" },
                        ],
                        "default": {"type": ["left", "alone"]},
                    },
                    "c": {
                        "anyOf": [true],
                        "allOf": [{ "anyOf": [
                            { "type": "array", "items": { "anyOf": [{ "type": "number" }, { "type": "boolean" }] } },
                            { "type": "null" },
                        ] }],
                    },
                },
            })
        );
    }
}
