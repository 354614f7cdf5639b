//! The step against its JSON Schema, all violations at once, each in the user's words with its path and
//! its rule, never with a value. The rules are the schema's; only their wording, and the parts of a URL
//! that no pattern can say, are here. Knows nothing of expressions beyond that `{{` begins one.

use std::borrow::Cow;
use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use super::words::near;
use crate::invocation::path::show_key;
use crate::invocation::{Document, Path, Segment, kind};
use crate::problem::Problem;

/// The schema's text, draft 2020-12.
pub const STEP_SCHEMA: &str = include_str!("../../schemas/step.schema.json");

/// When a step is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// As it was written: what holds an expression has no type yet.
    Written,
    /// After rendering.
    Rendered,
}

/// The fields that take whole numbers, written as numbers or as numeric strings.
const WHOLE_NUMBERS: &[&str] = &[
    "max_hosts",
    "max_rows_per_host",
    "max_bytes",
    "timeout_seconds",
];

static SCHEMA: LazyLock<Result<(Value, Validator), String>> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(STEP_SCHEMA).map_err(|error| error.to_string())?;
    let validator = jsonschema::draft202012::options()
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|error| error.to_string())?;
    Ok((schema, validator))
});

/// Where a violation is shown.
enum At {
    Value,
    Key,
    /// The mapping that lacks a key.
    Parent,
}

struct Violation {
    path: Path,
    at: At,
    rule: &'static str,
    message: String,
}

/// Checks a step; the document is the text that positions come from. Sorted by position.
///
/// Keys that offer SQL are no violation: they are the allowlist's to refuse ([`foreign_keys`]).
pub fn check(step: &Value, text: &Document, stage: Stage) -> Vec<Problem> {
    let (schema, validator) = match &*SCHEMA {
        Ok(schema) => schema,
        // A test holds that the schema compiles; a step must not pass unchecked if it does not.
        Err(error) => {
            return vec![Problem::new(
                "",
                "$schema",
                format!("the step's schema can't be used (a bug): {error}"),
            )];
        }
    };
    let instance = whole_numbers_as_numbers(step, stage);
    let checker = Checker {
        schema,
        step: &instance,
        stage,
    };
    let mut violations: Vec<Violation> = Vec::new();
    for error in validator.iter_errors(&instance) {
        let path = checker.path_of(error.instance_path().as_str());
        checker.explain(path, error.kind(), &mut violations);
    }
    checker.check_url(&mut violations);
    let mut problems: Vec<Problem> = Vec::new();
    for Violation {
        path,
        at,
        rule,
        message,
    } in violations
    {
        let position = match at {
            At::Value => text.position_of_value(&path),
            At::Key => text.position_of_key(&path),
            At::Parent => text.position_of_value(&path.parent()),
        };
        let problem = Problem::new(path.to_string(), rule, message).at(position);
        // Several rules may be broken by one value (an empty text); the first one says enough.
        if !problems
            .iter()
            .any(|known| known.path == problem.path || known.message == problem.message)
        {
            problems.push(problem);
        }
    }
    sort(&mut problems);
    problems
}

/// Problems in the order of the text.
pub(super) fn sort(problems: &mut [Problem]) {
    problems.sort_by(|one, other| {
        (one.line, one.column, &one.path).cmp(&(other.line, other.column, &other.path))
    });
}

/// Keys of the step and its `params` that offer SQL or another query than a template: never the schema's
/// to refuse, always the allowlist's.
pub fn foreign_keys(step: &Value) -> Vec<Path> {
    let keys = |parent: Path, mapping: Option<&Value>| -> Vec<Path> {
        mapping
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::keys)
            .filter(|key| offers_sql(key))
            .map(|key| parent.key(key))
            .collect()
    };
    let mut foreign = keys(Path::default(), Some(step));
    foreign.extend(keys(Path::of(&["params"]), step.get("params")));
    foreign
}

/// Whether a key is meant to bring SQL, or a query by other means than a template.
pub(super) fn offers_sql(key: &str) -> bool {
    let key = key.to_lowercase();
    ["sql", "query", "queries"]
        .iter()
        .any(|word| key.contains(word))
        || ["statement", "statements", "select"].contains(&key.as_str())
}

/// The number that a numeric string means: decimal digits without leading zeros.
pub(super) fn whole_number(text: &str) -> Option<u64> {
    let plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    // More digits than fit are beyond every maximum.
    plain.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The step with numeric strings as numbers, so that minimum and maximum are said of them, too.
fn whole_numbers_as_numbers(step: &Value, stage: Stage) -> Cow<'_, Value> {
    let Some(params) = step.get("params").and_then(Value::as_object) else {
        return Cow::Borrowed(step);
    };
    let mut changed = Vec::new();
    for field in WHOLE_NUMBERS {
        if let Some(Value::String(text)) = params.get(*field) {
            if let Some(number) = whole_number(text.trim()) {
                changed.push((field, Value::from(number)));
            } else if stage == Stage::Rendered {
                // Rendered text that looks like an expression is no number either.
                changed.push((field, Value::from("")));
            }
        }
    }
    if changed.is_empty() {
        return Cow::Borrowed(step);
    }
    let mut step = step.clone();
    if let Some(params) = step.get_mut("params").and_then(Value::as_object_mut) {
        for (field, value) in changed {
            params.insert((*field).to_owned(), value);
        }
    }
    Cow::Owned(step)
}

struct Checker<'a> {
    schema: &'a Value,
    step: &'a Value,
    stage: Stage,
}

impl Checker<'_> {
    fn path_of(&self, pointer: &str) -> Path {
        let mut node = Some(self.step);
        let mut path = Path::default();
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let (segment, next) = match node {
                Some(Value::Array(items)) => {
                    let index = part.parse().unwrap_or(usize::MAX);
                    (Segment::Index(index), items.get(index))
                }
                _ => {
                    let next = node.and_then(|node| node.get(&part));
                    (Segment::Key(part), next)
                }
            };
            node = next;
            path = path.with(segment);
        }
        path
    }

    fn value(&self, path: &Path) -> Option<&Value> {
        path.segments()
            .iter()
            .try_fold(self.step, |node, segment| match segment {
                Segment::Key(key) => node.get(key.as_str()),
                Segment::Index(index) => node.get(*index),
            })
    }

    fn params(&self) -> Option<&Map<String, Value>> {
        self.step.get("params").and_then(Value::as_object)
    }

    fn has(&self, field: &str) -> bool {
        self.params()
            .is_some_and(|params| params.contains_key(field))
    }

    fn explain(&self, path: Path, error: &ValidationErrorKind, violations: &mut Vec<Violation>) {
        use ValidationErrorKind as Kind;
        let rule = rule(error);
        match error {
            Kind::AdditionalProperties { unexpected } => {
                for key in unexpected.iter().filter(|key| !offers_sql(key)) {
                    violations.push(self.unknown_key(&path, key));
                }
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                if let Some(message) = self.missing(&path, key) {
                    // `username` and `password` are only one way to get in: the message names both.
                    let path = match (key, self.has("username") || self.has("password")) {
                        ("username" | "password", false) => path.key("api_token"),
                        _ => path.key(key),
                    };
                    violations.push(Violation {
                        path,
                        at: At::Parent,
                        rule,
                        message,
                    });
                }
            }
            Kind::AnyOf { .. } if path == Path::of(&["params"]) => violations.push(Violation {
                path: path.key("target_hosts"),
                at: At::Parent,
                rule: "required",
                message: "no target: name hosts in `target_hosts` (or `target_labels` with Fleet, or `target_platforms`)".into(),
            }),
            Kind::FalseSchema => violations.push(Violation {
                message: self.not_here(&path),
                path,
                at: At::Key,
                rule: "not",
            }),
            _ if self.stage == Stage::Written && self.holds_expression(&path) => {}
            _ => violations.push(Violation {
                message: self.wrong_value(&path, rule),
                path,
                at: At::Value,
                rule,
            }),
        }
    }

    fn holds_expression(&self, path: &Path) -> bool {
        matches!(self.value(path), Some(Value::String(text)) if text.contains("{{"))
    }

    fn unknown_key(&self, parent: &Path, key: &str) -> Violation {
        let (known, place) = if *parent == Path::of(&["params"]) {
            (self.schema.pointer("/$defs/params/properties"), "`params`")
        } else {
            (self.schema.pointer("/properties"), "the step")
        };
        let names = |properties: Option<&Value>| -> Vec<String> {
            properties
                .and_then(Value::as_object)
                .map(|properties| properties.keys().cloned().collect())
                .unwrap_or_default()
        };
        let known = names(known);
        let likely = near(key, known.iter().map(String::as_str));
        let elsewhere = *parent == Path::default()
            && names(self.schema.pointer("/$defs/params/properties"))
                .iter()
                .any(|name| name == key);
        let message = match likely {
            _ if elsewhere => format!("unknown key `{key}` in the step: it belongs in `params`"),
            Some(likely) => format!("unknown key `{}`: did you mean `{likely}`?", show_key(key)),
            None => format!("unknown key `{}`: {place} has no such key", show_key(key)),
        };
        Violation {
            path: parent.key(key),
            at: At::Key,
            rule: "additionalProperties",
            message,
        }
    }

    /// What to say of a missing key; nothing where something else says it.
    fn missing(&self, parent: &Path, key: &str) -> Option<String> {
        let given: Vec<&str> = ["username", "password"]
            .into_iter()
            .filter(|field| self.has(field))
            .collect();
        Some(match key {
            "environment" => "`environment` is required for osctrl".into(),
            "username" | "password" => match given.first() {
                None => "no credentials: give `api_token`, or `username` and `password`".into(),
                Some(other) => format!("`{key}` is required with `{other}`"),
            },
            "backend" => "`backend` is required: `osctrl` or `fleetdm`".into(),
            "template" if foreign_keys(self.step).is_empty() => {
                "`template` is required: the name of an allowlisted template".into()
            }
            "template" => return None,
            "type" => "`type` is required: `osquery_live_query`".into(),
            key => format!("`{}` is required", parent.key(key).subject()),
        })
    }

    /// What to say of a key that another one shuts out.
    fn not_here(&self, path: &Path) -> String {
        match path.last_key() {
            Some("environment") => "`environment` is for osctrl only: remove it, Fleet has none".into(),
            Some("target_labels") => "`target_labels` is for Fleet only: osctrl can't list the hosts of a tag, so their silence could not be named; name the hosts in `target_hosts`".into(),
            Some("username" | "password") => {
                "two ways to get in: give `api_token`, or `username` and `password`, not both".into()
            }
            _ => format!("`{}` is not accepted here", path.subject()),
        }
    }

    fn wrong_value(&self, path: &Path, rule: &str) -> String {
        let subject = path.subject();
        let subject = if subject.is_empty() {
            "the step"
        } else {
            &format!("`{subject}`")
        };
        let value = self.value(path);
        let text = value.and_then(Value::as_str);
        let property = self.property(path);
        let found = match (rule, value) {
            ("type", Some(value)) => format!(", not {}", kind(value)),
            _ => String::new(),
        };
        if let (Some(minimum), Some(maximum)) = (
            property.and_then(|property| property.get("minimum")),
            property.and_then(|property| property.get("maximum")),
        ) {
            return format!("{subject} must be a whole number from {minimum} to {maximum}");
        }
        if let Some(Value::Array(options)) = property.and_then(|property| property.get("enum")) {
            let options: Vec<String> = options
                .iter()
                .filter_map(Value::as_str)
                .map(|option| format!("`{option}`"))
                .collect();
            return format!("{subject} must be one of {}", options.join(", "));
        }
        let field = path
            .segments()
            .iter()
            .rev()
            .find_map(|segment| match segment {
                Segment::Key(key) => Some(key.as_str()),
                Segment::Index(_) => None,
            });
        match (field, rule) {
            (Some("type"), _) => {
                format!("{subject} must be `osquery_live_query`: no other steps are run")
            }
            (Some("target_hosts" | "target_labels"), _) => {
                self.wrong_target(path, rule, subject, &found)
            }
            (_, "minItems") => {
                format!("{subject} is an empty list: name at least one, or remove it")
            }
            (_, "maxItems" | "maxLength") => {
                let limit = property.and_then(|property| property.get(rule));
                let unit = if rule == "maxItems" {
                    "items"
                } else {
                    "characters"
                };
                format!(
                    "{subject} has more than {} {unit}",
                    limit.cloned().unwrap_or_default()
                )
            }
            (_, "minLength") => format!("{subject} must not be empty"),
            (Some("environment"), "pattern") => format!(
                "{subject} must be an environment's name or uuid: not `.` or `..`, and without slashes, backslashes, leading blanks and control characters"
            ),
            (Some("api_token"), "pattern") => format!(
                "{subject} must be ASCII without blanks and line breaks: anything else can't stand in a header"
            ),
            (Some("base_url"), "pattern") => match text.map(why_not_a_url) {
                Some(Some(reason)) => reason.into(),
                _ => format!("{subject} must be a URL such as `https://fleet.example.com`"),
            },
            (Some("id"), "pattern") => {
                format!("{subject} must not be blank, and must not hold control characters")
            }
            (_, "pattern") => format!("{subject} must not hold control characters"),
            (_, "type") => {
                let expected = match property
                    .and_then(|property| property.get("type"))
                    .and_then(Value::as_str)
                {
                    Some("boolean") => "true or false",
                    Some("object") => "a mapping",
                    Some("array") => "a list",
                    Some("string") => "text",
                    _ => "of another kind",
                };
                let quotes = match (expected, value) {
                    ("text", Some(Value::Number(_) | Value::Bool(_))) => ": put it in quotes",
                    _ => "",
                };
                let without_quotes = match (expected, text) {
                    ("true or false", Some(_)) => "; write it without quotes, in lower case",
                    _ => "",
                };
                format!("{subject} must be {expected}{found}{quotes}{without_quotes}")
            }
            _ => format!("{subject} breaks the rule `{rule}` of the step's schema"),
        }
    }

    fn wrong_target(&self, path: &Path, rule: &str, subject: &str, found: &str) -> String {
        let one = matches!(path.segments().last(), Some(Segment::Index(_)));
        match rule {
            "minItems" => format!("{subject} is an empty list: name at least one, or remove it"),
            "maxItems" => format!("{subject} has more than 10000 items"),
            "maxLength" => format!("{subject} is longer than any name: 65536 characters at most"),
            "type" if one => match self.value(path) {
                Some(Value::Number(_) | Value::Bool(_)) => {
                    format!("{subject} must be text{found}: put it in quotes")
                }
                _ => format!("{subject} must be text{found}"),
            },
            "type" => format!("{subject} must be a list of names or one name{found}"),
            _ => target_fault(self.value(path).and_then(Value::as_str).unwrap_or_default())
                .map_or_else(
                    || format!("{subject} is not a name"),
                    |fault| format!("{subject} {fault}"),
                ),
        }
    }

    /// The schema of the node at a path.
    fn property(&self, path: &Path) -> Option<&Value> {
        let mut node = self.schema;
        for segment in path.segments() {
            node = match segment {
                Segment::Key(key) => node.get("properties")?.get(key.as_str())?,
                Segment::Index(_) => node.get("items")?,
            };
            if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
                node = self.schema.pointer(reference.strip_prefix('#')?)?;
            }
        }
        Some(node)
    }

    /// What a pattern can't say of a URL.
    fn check_url(&self, violations: &mut Vec<Violation>) {
        let path = Path::of(&["params", "base_url"]);
        if violations.iter().any(|known| known.path == path) || self.holds_expression(&path) {
            return;
        }
        if let Some(Value::String(text)) = self.value(&path)
            && let Some(reason) = why_not_a_url(text)
        {
            violations.push(Violation {
                path,
                at: At::Value,
                rule: "format",
                message: reason.into(),
            });
        }
    }
}

fn rule(error: &ValidationErrorKind) -> &'static str {
    use ValidationErrorKind as Kind;
    match error {
        Kind::AdditionalProperties { .. } => "additionalProperties",
        Kind::AnyOf { .. } => "anyOf",
        Kind::Constant { .. } => "const",
        Kind::Enum { .. } => "enum",
        Kind::FalseSchema => "not",
        Kind::MaxItems { .. } => "maxItems",
        Kind::Maximum { .. } => "maximum",
        Kind::MaxLength { .. } => "maxLength",
        Kind::MinItems { .. } => "minItems",
        Kind::Minimum { .. } => "minimum",
        Kind::MinLength { .. } => "minLength",
        Kind::Pattern { .. } => "pattern",
        Kind::Required { .. } => "required",
        Kind::Type { .. } => "type",
        _ => "schema",
    }
}

/// What is wrong with a target's name, as the end of a sentence.
pub(super) fn target_fault(name: &str) -> Option<&'static str> {
    if name.chars().any(char::is_control) {
        Some("holds a control character: no host or label is named so")
    } else if name.trim().is_empty() {
        Some("is empty: an empty name would address hosts that nobody meant")
    } else {
        None
    }
}

/// Why text is not the URL of a server.
fn why_not_a_url(text: &str) -> Option<&'static str> {
    let Ok(url) = url::Url::parse(text) else {
        return Some("`base_url` must be a URL such as `https://fleet.example.com`");
    };
    if !matches!(url.scheme(), "http" | "https") {
        Some("`base_url` must begin with `https://` or `http://`")
    } else if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        Some(
            "`base_url` must not hold a user name or password: give `api_token`, or `username` and `password`",
        )
    } else if url.query().is_some() || url.fragment().is_some() {
        Some("`base_url` must not have a query (`?`) or a fragment (`#`)")
    } else if url.host_str().is_none_or(str::is_empty) {
        Some("`base_url` names no server")
    } else {
        None
    }
}
