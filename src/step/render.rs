//! Rendering: each string of `params` by itself, once. Where an expression may stand is decided here: an
//! alert chooses hosts, labels, template parameters and two numbers, never the server or the template,
//! and a secret goes into a credential as a whole or not at all. A value never adds structure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use super::evaluate::{Evaluator, MAX_ITEMS, MAX_SCALAR_BYTES, NoValue, no_value, too_long};
use super::expression::{Part, Template, holds_expression, meant_reference, secret_reference};
use super::schema::offers_sql;
use super::words::target_fault;
use crate::input::kind;
use crate::path::{Path, Segment};
use crate::problem::{Problem, Problems};
use crate::secret::{Secret, SecretSources};

/// Lists of names: a list, one name, or one expression that yields a list.
const TARGETS: &[&str] = &["target_hosts", "target_labels"];
/// The same, of numbers.
const HOST_IDS: &str = "target_host_ids";
/// The same, but an alert does not choose among them.
const TEAMS: &str = "target_teams";
/// Numbers that the context may give.
const NUMBERS: &[&str] = &["timeout_seconds", "max_hosts"];
/// The only fields that a secret goes into.
const CREDENTIALS: &[&str] = &["api_token", "username", "password"];

/// The references to secrets in a step as it is written: field and name.
pub fn credential_references(step: &Value) -> impl Iterator<Item = (&'static str, &str)> {
    let params = step.get("params");
    CREDENTIALS.iter().filter_map(move |field| {
        let text = params?.get(*field)?.as_str()?;
        Some((*field, secret_reference(text)?))
    })
}

/// The parameters of a step's template in whose values, as they are written, an expression stands: they come
/// from the context. In order of the text.
pub fn parameters_from_context(step: &Value) -> impl Iterator<Item = &str> {
    fn holds(value: &Value) -> bool {
        match value {
            Value::String(text) => holds_expression(text),
            Value::Array(items) => items.iter().any(holds),
            Value::Object(entries) => entries.values().any(holds),
            _ => false,
        }
    }
    let params = step.pointer("/params/template_params");
    let params = params.and_then(Value::as_object).into_iter().flatten();
    params
        .filter(|(_, value)| holds(value))
        .map(|(name, _)| name.as_str())
}

/// Why there is no value at a path into a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoField {
    /// The text is no path.
    NotAPath,
    /// The context has nothing there.
    Missing {
        /// The path's first name.
        root: String,
        /// The end of a sentence that begins with the name of what holds the path.
        message: String,
    },
}

/// The value at a path into a context, which is written as in an expression, but without braces and
/// filters: `alert.host`.
///
/// # Errors
/// Where it is no path, or leads to nothing.
pub fn field_of(text: &str, context: &Map<String, Value>) -> Result<Value, NoField> {
    let template = Template::parse(&format!("{{{{ {text} }}}}"));
    let template = template.map_err(|_| NoField::NotAPath)?;
    let expression = template.whole().filter(|it| it.filters.is_empty());
    let expression = expression.ok_or(NoField::NotAPath)?;
    let Some(Segment::Key(root)) = expression.path.segments().first() else {
        return Err(NoField::NotAPath);
    };
    match Evaluator::new(Some(context)).value(expression) {
        Err(fault) if fault.rule == "null" => Ok(Value::Null),
        found => found.map_err(|fault| NoField::Missing {
            root: root.clone(),
            message: fault.message,
        }),
    }
}

/// What to do about references to secrets.
#[derive(Debug, Clone, Copy)]
pub enum SecretUse<'a> {
    /// Look them up.
    Resolve(&'a SecretSources),
    /// Only check how they are written.
    CheckFormOnly,
}

/// How much of the context is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextIs {
    /// All of it: a name that is not there is an error.
    Complete,
    /// Perhaps not all: what names something else stays as it is written, and is listed.
    Partial,
}

/// A step with its expressions rendered. Its `Debug` shows no value: a credential may be written out.
pub struct Rendering {
    /// The step; credentials stand in it as they were written, and targets are lists.
    pub step: Value,
    /// Credentials by field, those that are known.
    pub credentials: BTreeMap<&'static str, Credential>,
    /// What names something that a partial context does not have.
    pub unknown: Vec<Unknown>,
    /// Everything that could not be rendered.
    pub problems: Vec<Problem>,
    /// The template's parameters in which something stays as it is written.
    pub open_parameters: BTreeSet<String>,
    /// What the step's author should know although it works.
    pub warnings: Vec<Problem>,
}

/// A string that stays as it is written, for a partial context does not have all that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Where the string stands.
    pub path: Path,
    /// What is not in the context.
    pub missing: Vec<Missing>,
}

/// A name that a partial context does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The name, as a path into the context.
    pub name: Path,
    /// The problem that it is where the context is all that there will be.
    pub problem: Problem,
}

impl fmt::Debug for Rendering {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Rendering")
            .field("unknown", &self.unknown)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// What a credential's field holds.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Its text.
    pub text: Secret,
    /// Whether it came from a reference; otherwise it stands in the step.
    pub referenced: bool,
}

/// Renders a step as far as it can be: undefined names, null and structure where text belongs, expressions
/// in fields that take none or beyond the grammar, missing or unusable secrets and sizes are its problems,
/// all of them at once.
pub fn render(
    step: &Value,
    context: Option<&Map<String, Value>>,
    context_is: ContextIs,
    secrets: SecretUse<'_>,
) -> Rendering {
    let mut renderer = Renderer {
        evaluator: Evaluator::new(context),
        context_is,
        problems: Problems::default(),
        unknown: Vec::new(),
        open_parameters: BTreeSet::new(),
    };
    let mut step = step.clone();
    let mut credentials = BTreeMap::new();
    let mut warnings = Vec::new();
    if let Some(params) = step.get_mut("params").and_then(Value::as_object_mut) {
        for (field, value) in params.iter_mut() {
            let path = Path::of(&["params", field]);
            let field = field.as_str();
            if TARGETS.contains(&field) || field == HOST_IDS {
                renderer.targets(&path, value);
            } else if field == TEAMS {
                renderer.no_expression(&path, value);
                renderer.targets(&path, value);
            } else if NUMBERS.contains(&field) {
                renderer.scalar(&path, value);
            } else if field == "template_params" {
                renderer.tree(&path, value);
            } else if let Some(field) = CREDENTIALS.iter().find(|known| **known == field) {
                if let Some(credential) =
                    renderer.credential(field, &path, value, secrets, &mut warnings)
                {
                    credentials.insert(*field, credential);
                }
            } else if !offers_sql(field) {
                renderer.no_expression(&path, value);
            }
        }
    }
    Rendering {
        step,
        credentials,
        unknown: renderer.unknown,
        problems: renderer.problems.into_vec(),
        open_parameters: renderer.open_parameters,
        warnings,
    }
}

struct Renderer<'a> {
    evaluator: Evaluator<'a>,
    context_is: ContextIs,
    problems: Problems,
    unknown: Vec<Unknown>,
    open_parameters: BTreeSet<String>,
}

impl Renderer<'_> {
    /// A problem as the end of a sentence that begins with the field's name.
    fn report(&mut self, path: &Path, fault: NoValue) {
        self.stays_open(path);
        self.problems.add(|| problem(path, &fault));
    }

    /// Something of the parameter that the path leads into stays as it is written.
    fn stays_open(&mut self, path: &Path) {
        if let [_, Segment::Key(field), Segment::Key(name), ..] = path.segments()
            && field == "template_params"
            && !self.open_parameters.contains(name)
        {
            self.open_parameters.insert(name.clone());
        }
    }

    /// Every name in a string that is not in the context.
    fn missing(&self, path: &Path, text: &str) -> Vec<Missing> {
        let parts = Template::parse(text).map_or_else(|_| Vec::new(), |template| template.parts);
        let missing = parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Expression(expression) => {
                let fault = self.evaluator.value(expression).err()?;
                Some(Missing {
                    name: expression.path.clone(),
                    problem: problem(path, &fault),
                })
            }
        });
        missing.collect()
    }

    /// The value of a string: `None` where there is a problem or a name is unknown.
    fn evaluate(&mut self, path: &Path, text: &str) -> Option<Value> {
        match self.value_of(text) {
            Ok(value) => Some(value),
            Err(fault) if fault.rule == "undefined" && self.context_is == ContextIs::Partial => {
                let missing = self.missing(path, text);
                self.stays_open(path);
                self.unknown.push(Unknown {
                    path: path.clone(),
                    missing,
                });
                None
            }
            Err(fault) => {
                self.report(path, fault);
                None
            }
        }
    }

    fn value_of(&self, text: &str) -> Result<Value, NoValue> {
        self.evaluator.burn(text.len())?;
        if text.len() > MAX_SCALAR_BYTES {
            return Err(no_value(
                "size",
                format!("is longer than {} KiB", MAX_SCALAR_BYTES >> 10),
            ));
        }
        let template =
            Template::parse(text).map_err(|error| no_value(error.rule, error.message))?;
        if let Some(expression) = template.whole() {
            return self.evaluator.value(expression);
        }
        let mut rendered = String::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Expression(expression) => match self.evaluator.value(expression)? {
                    Value::String(text) => rendered.push_str(&text),
                    value @ (Value::Number(_) | Value::Bool(_)) => {
                        rendered.push_str(&value.to_string())
                    }
                    other => {
                        return Err(no_value(
                            "structure",
                            format!(
                                "names `{}` inside other text, but it is {}: take one item, or use `join`",
                                expression.path,
                                kind(&other)
                            ),
                        ));
                    }
                },
            }
            if rendered.len() > MAX_SCALAR_BYTES {
                return Err(too_long());
            }
        }
        Ok(Value::String(rendered))
    }

    /// A string that must stay one scalar.
    fn scalar(&mut self, path: &Path, value: &mut Value) {
        let Value::String(text) = &*value else { return };
        if !holds_expression(text) {
            return;
        }
        match self.evaluate(path, text) {
            Some(structure @ (Value::Array(_) | Value::Object(_))) => self.report(
                path,
                no_value(
                    "structure",
                    format!("yields {}: a single value is expected", kind(&structure)),
                ),
            ),
            Some(scalar) => *value = scalar,
            None => {}
        }
    }

    /// Every string inside; a whole expression keeps its value's type.
    fn tree(&mut self, path: &Path, value: &mut Value) {
        match value {
            Value::String(text) if holds_expression(text) => match self.evaluate(path, text) {
                Some(Value::Object(_)) => self.report(
                    path,
                    no_value(
                        "structure",
                        "yields a mapping: a single value or a list is expected",
                    ),
                ),
                Some(Value::Array(items))
                    if items.iter().any(|item| {
                        matches!(item, Value::Null | Value::Array(_) | Value::Object(_))
                    }) =>
                {
                    self.report(
                        path,
                        no_value("structure", "yields a list with null, lists or mappings in it: single values are expected"),
                    );
                }
                Some(rendered) => *value = rendered,
                None => {}
            },
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.tree(&path.index(index), item);
                }
            }
            Value::Object(entries) => {
                for (key, item) in entries.iter_mut() {
                    self.tree(&path.key(key), item);
                }
            }
            _ => {}
        }
    }

    /// A list of names out of a list, one name or one expression; blanks around names and repetitions of
    /// exactly the same name are dropped.
    fn targets(&mut self, path: &Path, value: &mut Value) {
        let mut names: Vec<Value> = Vec::new();
        let is_ids = path.field() == Some(HOST_IDS);
        let written = match value.take() {
            Value::Number(number) if is_ids => {
                names.push(Value::from(number.to_string()));
                Vec::new()
            }
            Value::String(text) => {
                if !holds_expression(&text) {
                    names.push(Value::from(text.trim()));
                } else {
                    match self.evaluate(path, &text) {
                        Some(Value::Array(items)) if items.is_empty() => self.report(
                            path,
                            no_value(
                                "empty_target",
                                "yields an empty list: no host or label is named",
                            ),
                        ),
                        Some(Value::Array(items)) => {
                            // Of one text among others a comma is a part.
                            let alone = items.len() == 1;
                            for (index, item) in items.iter().enumerate() {
                                let path = path.index(index);
                                names.extend(self.target(&path, item, alone).map(Value::from));
                            }
                        }
                        Some(single) => {
                            names.extend(self.target(path, &single, true).map(Value::from))
                        }
                        None => {}
                    }
                    // What could not be rendered stays as it is: it is no empty list.
                    if names.is_empty() {
                        names.push(Value::from(text));
                    }
                }
                Vec::new()
            }
            // The schema has counted them.
            Value::Array(items) if items.len() > MAX_ITEMS => {
                *value = Value::Array(items);
                return;
            }
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        for (index, item) in written.into_iter().enumerate() {
            let path = path.index(index);
            match item {
                Value::String(text) if holds_expression(&text) => {
                    let name = match self.evaluate(&path, &text) {
                        Some(Value::Array(_)) => {
                            self.report(
                                &path,
                                no_value("structure", "yields a list inside a list: write the one expression in place of the whole list"),
                            );
                            None
                        }
                        Some(single) => self.target(&path, &single, true),
                        None => None,
                    };
                    names.push(Value::from(name.unwrap_or(text)));
                }
                Value::String(text) => names.push(Value::from(text.trim())),
                Value::Number(number) if is_ids => {
                    names.push(Value::from(number.to_string()));
                }
                other => names.push(other),
            }
        }
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.as_str().map(str::to_owned)));
        if names.len() > MAX_ITEMS {
            self.report(
                path,
                no_value("size", format!("names more than {MAX_ITEMS} targets")),
            );
        }
        *value = Value::Array(names);
    }

    /// A rendered name; `alone` where it may be several in one text.
    fn target(&mut self, path: &Path, value: &Value, alone: bool) -> Option<String> {
        let name = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) if !number.is_f64() => number.to_string(),
            Value::Number(_) => {
                self.report(
                    path,
                    no_value("type", "yields a fraction: a name is expected"),
                );
                return None;
            }
            other => {
                self.report(
                    path,
                    no_value(
                        "type",
                        format!("yields {}: a name is expected", kind(other)),
                    ),
                );
                return None;
            }
        };
        let alone = alone && path.field() == Some("target_hosts");
        match target_fault(value.as_str().unwrap_or(&name), alone) {
            None => Some(name),
            Some(fault) => {
                let fault = fault.strip_prefix("is ").map_or_else(
                    || format!("yields a name that {fault}"),
                    |fault| format!("yields a name that is {fault}"),
                );
                self.report(path, no_value("target_name", fault));
                None
            }
        }
    }

    /// A credential: a reference as a whole, or plain text.
    fn credential(
        &mut self,
        field: &str,
        path: &Path,
        value: &Value,
        secrets: SecretUse<'_>,
        warnings: &mut Vec<Problem>,
    ) -> Option<Credential> {
        let Value::String(text) = value else {
            return None;
        };
        let Some(name) = secret_reference(text) else {
            if let Some(name) = meant_reference(text) {
                let message = format!(
                    "must be exactly `{{{{ secrets.NAME }}}}`: did you mean `{{{{ secrets.{name} }}}}`?"
                );
                self.report(path, no_value("secret_reference", message));
                return None;
            }
            if text.contains("{{") {
                self.report(
                    path,
                    no_value(
                        "secret_reference",
                        "must be exactly `{{ secrets.NAME }}` (NAME: letters, digits, `_`, `-`): no other expression, filter or text beside it",
                    ),
                );
                return None;
            }
            if field != "username" {
                warnings.push(Problem::new(
                    path,
                    "credential_written_out",
                    format!(
                        "`{field}` is written out in the step: keep it as a secret and write \"{{{{ secrets.NAME }}}}\""
                    ),
                ));
            }
            return Some(Credential {
                text: Secret::new(text.clone()),
                referenced: false,
            });
        };
        let SecretUse::Resolve(sources) = secrets else {
            return None;
        };
        match sources.find(name) {
            Ok(found) => {
                let warning = found.warning;
                warnings
                    .extend(warning.map(|warning| Problem::new(path, "secret_readable", warning)));
                let text = found.secret.expose();
                let fault = if field == "api_token"
                    && !text.bytes().all(|byte| byte.is_ascii_graphic())
                {
                    Some(
                        "is not a token: a header can't hold blanks, line breaks or characters beyond ASCII",
                    )
                } else if text.chars().any(char::is_control) {
                    Some("holds line breaks or other control characters")
                } else {
                    None
                };
                if let Some(fault) = fault {
                    self.report(
                        path,
                        no_value(
                            "secret_value",
                            format!("names the secret `{name}`, which {fault}"),
                        ),
                    );
                    return None;
                }
                Some(Credential {
                    text: found.secret,
                    referenced: true,
                })
            }
            Err(error) => {
                let rule = match error {
                    crate::secret::SecretError::Missing { .. } => "secret_missing",
                    crate::secret::SecretError::Unusable { .. } => "secret_value",
                };
                self.problems
                    .add(|| Problem::new(path, rule, format!("`{}`: {error}", path.subject())));
                None
            }
        }
    }

    /// Fields that an alert must not choose.
    fn no_expression(&mut self, path: &Path, value: &Value) {
        match value {
            Value::String(text) if holds_expression(text) => {
                let (rule, why) = if text.contains("secrets") && text.contains("{{") {
                    (
                        "secret_field",
                        "takes no secret: a secret is allowed only in `api_token`, `username` and `password`",
                    )
                } else {
                    (
                        "context_field",
                        "takes no expression: an alert must not choose the server, the template or how the step runs; the context is for `target_hosts`, `target_host_ids`, `target_labels`, `template_params`, `timeout_seconds` and `max_hosts`",
                    )
                };
                self.report(path, no_value(rule, why));
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.no_expression(&path.with(Segment::Index(index)), item);
                }
            }
            _ => {}
        }
    }
}

/// A problem as the end of a sentence that begins with the field's name.
fn problem(path: &Path, fault: &NoValue) -> Problem {
    let message = format!("`{}` {}", path.subject(), fault.message);
    Problem::new(path, fault.rule, message)
}
