//! The form of a playbook: its JSON Schema, worded for people. What belongs to the step's own schema is
//! left to it. Knows nothing of graphs or templates.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::input::kind;
use crate::nearest::question;
use crate::path::{Path, Segment, show_key};
use crate::problem::{Problem, Problems};
use crate::schema::texts;

/// The type of the steps that are this program's.
pub const STEP_TYPE: &str = "osquery_live_query";

static SCHEMA: LazyLock<Result<(Value, Validator), String>> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(texts::PLAYBOOK).map_err(|error| error.to_string())?;
    let validator = jsonschema::draft202012::options()
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|error| error.to_string())?;
    Ok((schema, validator))
});

/// Every violation of the playbook's form.
pub(super) fn violations(playbook: &Value) -> Vec<Problem> {
    let (schema, validator) = match &*SCHEMA {
        Ok(schema) => schema,
        // A test holds that the schema compiles; a playbook must not pass unchecked if it does not.
        Err(error) => {
            let message = format!("the playbook's schema can't be used (a bug): {error}");
            return vec![Problem::new("", "schema", message)];
        }
    };
    let mut problems = Problems::default();
    for error in validator.iter_errors(playbook) {
        let path = path_of(error.instance_path().as_str(), playbook);
        if !is_left_to_the_step(&path, error.kind(), playbook) {
            explain(schema, playbook, path, error.kind(), &mut problems);
        }
    }
    problems.into_vec()
}

/// A JSON pointer as a path.
fn path_of(pointer: &str, value: &Value) -> Path {
    let mut node = Some(value);
    let mut path = Path::default();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        let segment = match node {
            Some(Value::Array(_)) => Segment::Index(part.parse().unwrap_or(usize::MAX)),
            _ => Segment::Key(part),
        };
        node = node.and_then(|node| at(node, &segment));
        path = path.with(segment);
    }
    path
}

fn at<'a>(node: &'a Value, segment: &Segment) -> Option<&'a Value> {
    match segment {
        Segment::Key(key) => node.get(key.as_str()),
        Segment::Index(index) => node.get(*index),
    }
}

fn value_at<'a>(value: &'a Value, path: &Path) -> Option<&'a Value> {
    path.segments().iter().try_fold(value, at)
}

/// What the step's own schema says of our steps, in better words.
fn is_left_to_the_step(path: &Path, error: &Kind, value: &Value) -> bool {
    let (step, key) = match path.segments() {
        [Segment::Key(steps), index] if steps == "steps" => (index, None),
        [Segment::Key(steps), index, Segment::Key(key), ..] if steps == "steps" => {
            (index, Some(key.as_str()))
        }
        _ => return false,
    };
    let ours = value
        .get("steps")
        .and_then(|steps| at(steps, step))
        .and_then(|step| step.get("type"))
        .and_then(Value::as_str)
        == Some(STEP_TYPE);
    let of_step = matches!(key, Some("id" | "params" | "type"))
        || key.is_none()
            && matches!(
                error,
                Kind::AdditionalProperties { .. } | Kind::Required { .. }
            );
    ours && of_step
}

fn explain(schema: &Value, value: &Value, path: Path, error: &Kind, problems: &mut Problems) {
    let subject = match path.to_string() {
        text if text.is_empty() => "the playbook".to_owned(),
        text => format!("`{text}`"),
    };
    let property = property(schema, &path);
    let limit = |key: &str| {
        property
            .and_then(|property| property.get(key))
            .cloned()
            .unwrap_or_default()
    };
    let (rule, message) = match error {
        Kind::AdditionalProperties { unexpected } => {
            let known = property.and_then(|property| property.get("properties"));
            let known: Vec<&str> = known
                .and_then(Value::as_object)
                .map(|known| known.keys().map(String::as_str).collect())
                .unwrap_or_default();
            for key in unexpected {
                problems.add(|| {
                    let message = match question(key, known.iter().copied()) {
                        Some(question) => format!("unknown key `{}`: {question}", show_key(key)),
                        None => format!("unknown key `{}` in {subject}", show_key(key)),
                    };
                    Problem::new(path.key(key), "additionalProperties", message)
                });
            }
            return;
        }
        Kind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            ("required", format!("{subject} needs `{key}`"))
        }
        Kind::Type { .. } => {
            let found = value_at(value, &path).map_or("nothing", kind);
            (
                "type",
                format!(
                    "{subject} must be {}, not {found}",
                    expected(&limit("type"))
                ),
            )
        }
        Kind::Enum { .. } => {
            let options = limit("enum");
            let options: Vec<String> = options
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|option| format!("`{option}`"))
                .collect();
            (
                "enum",
                format!("{subject} must be one of {}", options.join(", ")),
            )
        }
        Kind::Minimum { .. } | Kind::Maximum { .. } => (
            if matches!(error, Kind::Minimum { .. }) {
                "minimum"
            } else {
                "maximum"
            },
            format!(
                "{subject} must be a whole number from {} to {}",
                limit("minimum"),
                limit("maximum")
            ),
        ),
        Kind::MinItems { .. } => ("minItems", format!("{subject} is an empty list")),
        Kind::MaxItems { .. } => (
            "maxItems",
            format!("{subject} has more than {} items", limit("maxItems")),
        ),
        Kind::MinLength { .. } => ("minLength", format!("{subject} must not be empty")),
        Kind::MaxLength { .. } => (
            "maxLength",
            format!("{subject} has more than {} characters", limit("maxLength")),
        ),
        Kind::Pattern { .. } => (
            "pattern",
            format!("{subject} must not be blank, and must not hold control characters"),
        ),
        _ => ("schema", format!("{subject} breaks the playbook's schema")),
    };
    let told = problems.kept().iter().any(|known| known.path == path);
    if !told || rule == "required" {
        problems.add(|| Problem::new(path, rule, message));
    }
}

/// The schema of the node at a path.
fn property<'a>(schema: &'a Value, path: &Path) -> Option<&'a Value> {
    let mut node = schema;
    for segment in path.segments() {
        let then = node.get("then").unwrap_or(node);
        node = match segment {
            Segment::Key(key) => then
                .get("properties")
                .and_then(|properties| properties.get(key.as_str()))
                .or_else(|| then.get("additionalProperties"))?,
            Segment::Index(_) => node.get("items")?,
        };
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            node = schema.pointer(reference.strip_prefix('#')?)?;
        }
    }
    Some(node.get("then").unwrap_or(node))
}

fn expected(types: &Value) -> String {
    let word = |name: &str| match name {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        _ => "nothing",
    };
    match types {
        Value::String(name) => word(name).to_owned(),
        Value::Array(names) => {
            let words: Vec<&str> = names.iter().filter_map(Value::as_str).map(word).collect();
            words.join(" or ")
        }
        _ => "of another kind".to_owned(),
    }
}
