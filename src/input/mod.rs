//! From stdin's bytes to one step with its context and its secrets: sizes, encodings, the three forms of
//! input, and strict YAML and JSON. Knows nothing of what a step means.

pub mod document;
mod json;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

pub use document::Document;

use crate::path::{Path, Segment, show_key};
use crate::problem::Position;
use crate::secret::Secret;

/// Bytes of input at most; of a context file, too.
pub const MAX_INPUT_BYTES: usize = 4 * 1024 * 1024;

/// How deep lists and mappings of a step (or a playbook) may be nested.
const STEP_DEEPEST: usize = 64;

/// The same of a context: what an alert brings is its sender's choice, and only what a step names is read.
const CONTEXT_DEEPEST: usize = 256;

/// The versions of the invocation's protocol that are spoken.
pub const PROTOCOLS: &[u64] = &[1];

/// The keys of an invocation.
const INVOCATION_KEYS: &[&str] = &["protocol", "step", "context", "secrets"];

/// One step to execute, with what the engine gave along. Its `Debug` shows no value.
pub struct Invocation {
    /// The step as it was written; not yet checked.
    pub step: Document,
    /// What expressions in the step may name; `None` where the engine gave none.
    pub context: Option<Map<String, Value>>,
    /// Secrets by name, of the invocation itself.
    pub secrets: BTreeMap<String, Secret>,
    /// How the input was written.
    pub form: Form,
}

impl fmt::Debug for Invocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Invocation")
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

/// The forms of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A step as the playbook has it.
    Step,
    /// A list of exactly one step.
    List,
    /// `{protocol: 1, step, context?, secrets?}`.
    Invocation,
}

/// Why input is not one document of the three forms. Never shows a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// What is wrong, in the user's words.
    pub message: String,
    /// Where, if it is at a place.
    pub position: Option<Position>,
    /// What to do, if the message does not say it.
    pub hint: Option<String>,
    /// Whether the text has no second line.
    pub of_one_line: bool,
}

impl DecodeError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            position: None,
            hint: None,
            of_one_line: false,
        }
    }

    /// The error as one of this input.
    fn of(mut self, bytes: &[u8]) -> Self {
        self.of_one_line = !bytes.trim_ascii_end().contains(&b'\n');
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }
}

/// Why `--context FILE` can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// The input is an invocation, which brings its own context.
    #[error("`--context` does not go with an invocation: its context is the key `context`")]
    InvocationHasItsOwn,
    /// The file is not one YAML or JSON mapping.
    #[error("the context file: {0}")]
    Decode(#[from] DecodeError),
}

impl Invocation {
    /// Gives a step that came alone its context: the bytes of a YAML or JSON mapping.
    ///
    /// # Errors
    /// With an invocation, and where the bytes are not a mapping.
    pub fn with_context(mut self, bytes: &[u8]) -> Result<Self, ContextError> {
        if self.form == Form::Invocation {
            return Err(ContextError::InvocationHasItsOwn);
        }
        self.context = Some(decode_context(bytes)?);
        Ok(self)
    }
}

/// Decodes a context: the bytes of a YAML or JSON mapping.
///
/// # Errors
/// Where the bytes are not a mapping.
pub fn decode_context(bytes: &[u8]) -> Result<Map<String, Value>, DecodeError> {
    let context = text_of(bytes)
        .and_then(|text| Document::parse_as(text, yaml::Repeats::Refused))
        .map_err(|error| error.of(bytes))?;
    match context.into_value() {
        Value::Object(context) => Ok(context),
        Value::Null => Ok(Map::new()),
        other => Err(DecodeError::new(format!(
            "expected a mapping such as `alert: {{…}}`, found {}",
            kind(&other)
        ))),
    }
}

/// Decodes a JSON mapping that somebody else's program has written, of at most so many bytes.
///
/// # Errors
/// Where the bytes are not one.
pub fn decode_json(bytes: &[u8], most: usize) -> Result<Map<String, Value>, DecodeError> {
    let text = utf8(bytes, most)?;
    if text.trim().is_empty() {
        return Err(DecodeError::new(
            "the input is empty: expected one JSON document",
        ));
    }
    match json::parse(text) {
        Ok(Value::Object(entries)) => Ok(entries),
        Ok(other) => Err(DecodeError::new(format!(
            "expected a JSON mapping, found {}",
            kind(&other)
        ))),
        Err(json::JsonError::Refused(error) | json::JsonError::Syntax(error)) => Err(error),
    }
}

/// Decodes a connector's configuration: a YAML or JSON mapping, as strictly as a step.
///
/// # Errors
/// Where the bytes are not exactly one such document.
pub fn decode_connector(bytes: &[u8]) -> Result<Document, DecodeError> {
    let decoded = || {
        let document = Document::parse_as(text_of(bytes)?, yaml::Repeats::Refused)?;
        match document.value() {
            Value::Object(_) => within_depth(document),
            Value::Null => Err(DecodeError::new(
                "stdin is empty: expected a connector's configuration as YAML or JSON",
            )
            .hint("for example: osquery-live-query collect < connector.yaml")),
            other => Err(DecodeError::new(format!(
                "expected a connector's configuration (a mapping with `connector` and `base_url`), found {}",
                kind(other)
            ))
            .at(document.position_of_value(&Path::default()))),
        }
    };
    decoded().map_err(|error| error.of(bytes))
}

/// Decodes one of the three forms.
///
/// # Errors
/// Where the bytes are not exactly one YAML or JSON document of such a form.
pub fn decode(bytes: &[u8]) -> Result<Invocation, DecodeError> {
    decoded(bytes).map_err(|error| error.of(bytes))
}

fn decoded(bytes: &[u8]) -> Result<Invocation, DecodeError> {
    let document = Document::parse_as(text_of(bytes)?, yaml::Repeats::Refused)?;
    let top = document.position_of_value(&Path::default());
    match document.value() {
        Value::Null => Err(empty()),
        Value::Array(items) => match items.as_slice() {
            [Value::Object(_)] => {
                let step = document.into_child(Segment::Index(0)).ok_or_else(empty)?;
                Ok(alone(within_depth(step)?, Form::List))
            }
            [other] => Err(DecodeError::new(format!(
                "the list holds {} where a step (a mapping) is expected",
                kind(other)
            ))
            .at(document.position_of_value(&Path::default().index(0)))),
            items => Err(DecodeError::new(format!(
                "expected one step, found a list of {}",
                items.len()
            ))
            .at(top)
            .hint("the engine starts this program once for each step; `dry-run` reads whole playbooks")),
        },
        Value::Object(entries) => {
            let has = |key: &str| entries.contains_key(key);
            let is_step = has("id") || has("type") || has("params");
            if has("protocol") || (has("step") && !is_step) {
                decode_invocation(document)
            } else if has("steps") && !is_step {
                Err(
                    DecodeError::new("expected one step, found what looks like a playbook (it has `steps`)")
                        .at(document.position_of_key(&Path::of(&["steps"])))
                        .hint("the engine starts this program once for each step; `dry-run` reads whole playbooks"),
                )
            } else {
                Ok(alone(within_depth(document)?, Form::Step))
            }
        }
        other => Err(DecodeError::new(format!(
            "expected a step (a mapping with `id`, `type` and `params`), found {}",
            kind(other)
        ))
        .at(top)),
    }
}

fn alone(step: Document, form: Form) -> Invocation {
    Invocation {
        step,
        context: None,
        secrets: BTreeMap::new(),
        form,
    }
}

fn decode_invocation(mut document: Document) -> Result<Invocation, DecodeError> {
    let at = |key: &str| document.position_of_value(&Path::of(&[key]));
    let spoken = PROTOCOLS
        .iter()
        .map(u64::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let entries = document.value().as_object().ok_or_else(empty)?;
    match entries.get("protocol") {
        None => {
            return Err(DecodeError::new(
                "`protocol` is missing: an invocation says `protocol: 1`",
            )
            .at(document.position_of_value(&Path::default())));
        }
        Some(protocol)
            if !protocol
                .as_u64()
                .is_some_and(|spoken| PROTOCOLS.contains(&spoken)) =>
        {
            return Err(DecodeError::new(format!(
                "this `protocol` is not supported; supported: {spoken}"
            ))
            .at(at("protocol")));
        }
        Some(_) => {}
    }
    if let Some(key) = entries
        .keys()
        .find(|key| !INVOCATION_KEYS.contains(&key.as_str()))
    {
        return Err(DecodeError::new(format!(
            "an invocation has no key `{}`: it has `protocol`, `step`, `context` and `secrets`",
            show_key(key)
        ))
        .at(document.position_of_key(&Path::of(&[key]))));
    }
    let context = match entries.get("context") {
        None | Some(Value::Null) => None,
        Some(Value::Object(_)) => Some(()),
        Some(other) => {
            return Err(DecodeError::new(format!(
                "`context` must be a mapping, not {}",
                kind(other)
            ))
            .at(at("context")));
        }
    };
    let secrets = match entries.get("secrets") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(secrets)) => secrets
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) => Ok((name.clone(), Secret::new(text.clone()))),
                other => Err(DecodeError::new(format!(
                    "the secret `{}` must be text, not {}",
                    show_key(name),
                    kind(other)
                ))
                .at(document.position_of_value(&Path::of(&["secrets", name])))),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => {
            return Err(DecodeError::new(format!(
                "`secrets` must be a mapping of names to texts, not {}",
                kind(other)
            ))
            .at(at("secrets")));
        }
    };
    match entries.get("step") {
        Some(Value::Object(_)) => {}
        Some(other) => {
            return Err(DecodeError::new(format!(
                "`step` must be one step (a mapping), not {}",
                kind(other)
            ))
            .at(at("step")));
        }
        None => {
            return Err(
                DecodeError::new("`step` is missing: an invocation holds the step to run")
                    .at(document.position_of_value(&Path::default())),
            );
        }
    }
    // Taken, not copied: a context may be most of the input.
    let context = context.and_then(|()| match document.take("context") {
        Value::Object(context) => Some(context),
        _ => None,
    });
    let step = document
        .into_child(Segment::Key("step".into()))
        .ok_or_else(empty)?;
    Ok(Invocation {
        step: within_depth(step)?,
        context,
        secrets,
        form: Form::Invocation,
    })
}

/// Reads a file that people keep (a playbook, a context): as stdin is read, but YAML's anchors, aliases
/// and merge keys are written out, within limits.
///
/// # Errors
/// Where the bytes are not exactly one YAML or JSON document.
pub fn decode_file(bytes: &[u8]) -> Result<Document, DecodeError> {
    within_depth(Document::parse_as(
        text_of(bytes)?,
        yaml::Repeats::Expanded,
    )?)
}

/// Reads text as YAML whatever it looks like, for the places of JSON's nodes: JSON is nearly always YAML.
pub(crate) fn decode_as_yaml(text: &str) -> Result<Document, DecodeError> {
    Document::parse_yaml(text, yaml::Repeats::Expanded)
}

/// The document, where it is no deeper than a step may be.
fn within_depth(document: Document) -> Result<Document, DecodeError> {
    match too_deep_at(document.value(), STEP_DEEPEST, &Path::default()) {
        None => Ok(document),
        Some(path) => {
            Err(DecodeError::new(nested_more_than(STEP_DEEPEST))
                .at(document.position_of_value(&path)))
        }
    }
}

/// The first list or mapping that stands deeper than so many levels.
fn too_deep_at(value: &Value, levels: usize, path: &Path) -> Option<Path> {
    if !value.is_array() && !value.is_object() {
        return None;
    }
    let Some(levels) = levels.checked_sub(1) else {
        return Some(path.clone());
    };
    let holds_more = |value: &Value| value.is_array() || value.is_object();
    match value {
        Value::Array(items) => {
            let mut inner = items
                .iter()
                .enumerate()
                .filter(|(_, item)| holds_more(item));
            inner.find_map(|(index, item)| too_deep_at(item, levels, &path.index(index)))
        }
        Value::Object(entries) => {
            let mut inner = entries.iter().filter(|(_, item)| holds_more(item));
            inner.find_map(|(key, item)| too_deep_at(item, levels, &path.key(key)))
        }
        _ => None,
    }
}

fn nested_more_than(levels: usize) -> String {
    format!("lists and mappings are nested more than {levels} deep")
}

/// Bytes of at most 4 MiB as the UTF-8 text that they are.
fn text_of(bytes: &[u8]) -> Result<&str, DecodeError> {
    utf8(bytes, MAX_INPUT_BYTES)
}

/// Bytes, no more than so many, as the UTF-8 text that they are.
fn utf8(bytes: &[u8], most: usize) -> Result<&str, DecodeError> {
    if bytes.len() > most {
        return Err(too_long(most));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if matches!(
        bytes,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..]
    ) {
        return Err(
            DecodeError::new("the input is UTF-16 or UTF-32: write it as UTF-8")
                .at(Some(Position { line: 1, column: 1 })),
        );
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let valid = std::str::from_utf8(valid).unwrap_or_default();
        DecodeError::new("the input is not UTF-8: this byte begins no character")
            .at(Some(json::position_of(valid, valid.len())))
    })
}

pub(crate) fn too_long(bytes: usize) -> DecodeError {
    DecodeError::new(format!("the input is longer than {} MiB", bytes >> 20))
}

fn empty() -> DecodeError {
    DecodeError::new("stdin is empty: expected one `osquery_live_query` step as YAML or JSON")
        .hint("for example: osquery-live-query run < step.yaml")
}

/// What a value is, in words; never what is in it.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing (null)",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests;
