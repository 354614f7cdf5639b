//! A template's parameters as JSON Schema, for editors: what a value may look like before it is bound. The
//! types know more than a schema can say, so the schema takes all that they take and perhaps more; what it
//! refuses, they refuse (`tests/editor.rs`).

use serde_json::{Map, Value, json};

use super::kind::ParameterType;
use super::parameter::Parameter;
use super::template::Template;

impl Template {
    /// The schema of `template_params` for this template.
    pub fn parameters_schema(&self) -> Value {
        let properties: Map<String, Value> = self
            .parameters
            .iter()
            .map(|(name, parameter)| (name.clone(), parameter.schema()))
            .collect();
        let mut schema = json!({
            "title": format!("Parameters of {}", self.name),
            "description": self.intent,
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
        });
        let required = self.required_parameters();
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }

    /// The parameters that a step has to give.
    pub fn required_parameters(&self) -> Vec<&str> {
        let parameters = self.parameters.iter();
        parameters
            .filter(|(_, parameter)| parameter.default.is_none())
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

impl Parameter {
    fn schema(&self) -> Value {
        let documented = self.to_json("");
        let mut forms = self.kind.forms();
        forms.push(json!({
            "description": "An expression: a path into the context.",
            "type": "string",
            "pattern": "\\{\\{",
        }));
        let mut schema = json!({
            "description": format!("{} Takes {}.", self.description, self.kind.expectation()),
            "anyOf": forms,
        });
        let example = documented.get("example").or(documented.get("default"));
        if let Some(example) = example {
            schema["examples"] = json!([example]);
        }
        if let Some(default) = documented.get("default") {
            schema["default"] = default.clone();
        }
        schema
    }
}

impl ParameterType {
    /// The forms in which a step may write a value, as schemas.
    fn forms(&self) -> Vec<Value> {
        let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
        let number = |minimum: i64, maximum: i64| json!({ "type": "integer", "minimum": minimum, "maximum": maximum });
        match self {
            Self::Integer { minimum, maximum } => {
                vec![number(*minimum, *maximum), text("^-?(0|[1-9][0-9]*)$")]
            }
            Self::Port => vec![number(1, 65_535), text("^[1-9][0-9]{0,4}$")],
            Self::Pid => vec![
                number(0, u32::MAX.into()),
                text("^(0|[1-9][0-9]{0,9}|0[xX][0-9a-fA-F]+)$"),
            ],
            Self::Since { .. } => vec![
                json!({ "type": "integer", "minimum": 0 }),
                text("^(-[0-9]+[smhdw]|[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].+)$"),
            ],
            Self::Boolean => vec![json!({ "type": "boolean" }), text("^(true|false)$")],
            Self::Hotfix => vec![json!({ "type": "integer", "minimum": 0 }), text("[0-9]{6}")],
            Self::Hash { .. } => vec![text("[0-9A-Fa-f]{2}[: -]?[0-9A-Fa-f]{2}")],
            Self::ChromeExtension => vec![text("[A-Pa-p]{32}")],
            Self::Choice { choices } => {
                vec![json!({ "enum": choices }), text(&in_any_case(choices))]
            }
            Self::Text { maximum_length, .. } => vec![json!({
                "type": "string",
                "maxLength": maximum_length,
                "pattern": "\\S",
            })],
            _ => vec![text("\\S")],
        }
    }
}

/// A pattern of these words, whatever their case, perhaps with blanks or quotes around them.
fn in_any_case(words: &[String]) -> String {
    let letter = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' => {
            let (upper, lower) = (letter.to_ascii_uppercase(), letter.to_ascii_lowercase());
            format!("[{upper}{lower}]")
        }
        '0'..='9' | '_' => letter.to_string(),
        // Nothing of a choice may be read as a part of a pattern.
        other => format!("\\u{:04x}", u32::from(other)),
    };
    let words: Vec<String> = words
        .iter()
        .map(|word| word.chars().map(letter).collect())
        .collect();
    format!("^[\\s\"'`]*({})[\\s\"'`]*$", words.join("|"))
}
