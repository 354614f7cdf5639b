//! The wording of a schema's violations: in the user's words, by field and rule, never with a value. What
//! no pattern can say of a URL is here, too.

use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::schema::{Stage, foreign_keys, offers_sql};
use crate::input::kind;
use crate::nearest::question;
use crate::path::{Path, Segment, show_key};
use crate::problem::{Problem, Problems};

pub(super) struct Checker<'a> {
    pub schema: &'a Value,
    pub step: &'a Value,
    pub stage: Stage,
}

impl Checker<'_> {
    pub(super) fn path_of(&self, pointer: &str) -> Path {
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

    pub(super) fn explain(
        &self,
        path: Path,
        error: &ValidationErrorKind,
        violations: &mut Problems,
    ) {
        use ValidationErrorKind as Kind;
        let rule = rule(error);
        match error {
            Kind::AdditionalProperties { unexpected } => {
                for key in unexpected.iter().filter(|key| !offers_sql(key)) {
                    violations.add(|| self.unknown_key(&path, key));
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
                    violations.add(|| Problem::new(path, rule, message));
                }
            }
            Kind::AnyOf { .. } if path == Path::of(&["params"]) => violations.add(|| {
                let message = "no target: name hosts in `target_hosts`, `target_labels` or `target_platforms`";
                Problem::new(path.key("target_hosts"), "required", message)
            }),
            Kind::FalseSchema => {
                violations.add(|| Problem::new(&path, "not", self.not_here(&path)));
            }
            _ if self.stage == Stage::Written && self.holds_expression(&path) => {}
            _ => violations.add(|| Problem::new(&path, rule, self.wrong_value(&path, rule))),
        }
    }

    fn holds_expression(&self, path: &Path) -> bool {
        matches!(self.value(path), Some(Value::String(text)) if text.contains("{{"))
    }

    fn unknown_key(&self, parent: &Path, key: &str) -> Problem {
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
        let likely = question(key, known.iter().map(String::as_str));
        let elsewhere = *parent == Path::default()
            && names(self.schema.pointer("/$defs/params/properties"))
                .iter()
                .any(|name| name == key);
        let message = match likely {
            _ if elsewhere => format!("unknown key `{key}` in the step: it belongs in `params`"),
            Some(question) => format!("unknown key `{}`: {question}", show_key(key)),
            None => format!("unknown key `{}`: {place} has no such key", show_key(key)),
        };
        Problem::new(parent.key(key), "additionalProperties", message)
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
        if self.has("instance") {
            return format!(
                "`{}` does not go with `instance`: the operator's policy says where the instance is and how to get in",
                path.subject()
            );
        }
        match path.last_key() {
            Some("environment") => {
                "`environment` is for osctrl only: remove it, Fleet has none".into()
            }
            Some("username" | "password") => {
                "two ways to get in: give `api_token`, or `username` and `password`, not both"
                    .into()
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
                if expected == "true or false" && text.is_some() {
                    return format!(
                        "{subject} must be true or false, in lower case and without quotes"
                    );
                }
                format!("{subject} must be {expected}{found}{quotes}")
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
    pub(super) fn check_url(&self, violations: &mut Problems) {
        let path = Path::of(&["params", "base_url"]);
        let told = violations.kept().iter().any(|known| known.path == path);
        if told || self.holds_expression(&path) {
            return;
        }
        if let Some(Value::String(text)) = self.value(&path)
            && let Some(reason) = why_not_a_url(text)
        {
            violations.add(|| Problem::new(path, "format", reason));
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
    } else if authority(text).contains('@') {
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

/// What stands between `//` and the path.
fn authority(url: &str) -> &str {
    let rest = url.split_once("//").map_or(url, |(_, rest)| rest);
    rest.split(['/', '\\', '?', '#']).next().unwrap_or(rest)
}
