//! A parameter as a template declares it, what is bound for it, and why a value is refused. Values are
//! brought into the form that osquery's tables hold where it is certain which one that is, and refused
//! otherwise, with the form that works: what is compared in another form finds nothing, silently.

use serde_json::{Value, json};

use super::kind::ParameterType;

/// A declared parameter.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// What may stand in it.
    pub kind: ParameterType,
    /// What it is for.
    pub description: String,
    /// What is bound where a step gives nothing; a parameter without one has to be given.
    pub default: Option<String>,
    /// A value that fits, for documentation and for the check.
    pub example: Option<String>,
}

/// A value that fits its type, ready to be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    /// An SQL integer.
    Integer(i64),
    /// An SQL text; no NUL, no control characters.
    Text(String),
}

impl rusqlite::ToSql for Bound {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Integer(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

/// Why a value does not fit; goes on after "parameter `NAME` " and never holds the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `parameter_type`, `parameter_range`, `parameter_value` or `parameter_unc`.
    pub(super) rule: &'static str,
    /// "must be …" or "must not …".
    pub(super) reason: String,
}

impl Refusal {
    /// The wrong kind of value altogether.
    pub(super) fn kind(reason: impl Into<String>) -> Self {
        Self {
            rule: "parameter_type",
            reason: reason.into(),
        }
    }

    /// A number or a time outside its bounds.
    pub(super) fn range(reason: impl Into<String>) -> Self {
        Self {
            rule: "parameter_range",
            reason: reason.into(),
        }
    }

    /// Text that is not of the type's form.
    pub(super) fn value(reason: impl Into<String>) -> Self {
        Self {
            rule: "parameter_value",
            reason: reason.into(),
        }
    }
}

impl Parameter {
    /// The parameter for machines.
    pub(super) fn to_json(&self, name: &str) -> Value {
        let mut document = json!({
            "name": name,
            "type": self.kind.name(),
            "description": self.description,
        });
        let typed = |text: &String| match &self.kind {
            ParameterType::Integer { .. } | ParameterType::Port | ParameterType::Pid => text
                .parse::<i64>()
                .map_or_else(|_| json!(text), |number| json!(number)),
            ParameterType::Boolean => json!(text == "true"),
            _ => json!(text),
        };
        if let Some(default) = &self.default {
            document["default"] = typed(default);
        }
        if let Some(example) = &self.example {
            document["example"] = typed(example);
        }
        match &self.kind {
            ParameterType::Integer { minimum, maximum } => {
                document["minimum"] = json!(minimum);
                document["maximum"] = json!(maximum);
            }
            ParameterType::Choice { choices } => document["choices"] = json!(choices),
            _ => {}
        }
        document
    }
}
