//! The value of an expression: the path is walked here, so that every missing name is named; the filters
//! are minijinja's. Bounded in size and in work. Knows nothing of fields.

use std::cell::Cell;

use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value};

use super::expression::{Expression, Filter, FilterCall, Literal};
use crate::input::kind;
use crate::nearest::{asked, nearest};
use crate::path::{Path, Segment, is_plain_name, show_key};

/// Bytes of a rendered scalar at most.
pub(super) const MAX_SCALAR_BYTES: usize = 64 * 1024;

/// Items of a rendered list at most.
pub(super) const MAX_ITEMS: usize = 10_000;

/// Bytes that the expressions of one step may read and make, all together: some hundred times what a
/// large step needs, and a fraction of a second of work.
const FUEL: usize = 64 * 1024 * 1024;

/// What an expression costs before it has read anything.
const EXPRESSION_COST: usize = 256;

/// Evaluates expressions against one context, within one step's fuel.
pub(super) struct Evaluator<'a> {
    context: Option<&'a Map<String, Value>>,
    filters: Environment<'static>,
    fuel: Cell<usize>,
}

/// Why an expression has no value: the rule, and the end of a sentence that begins with the field's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoValue {
    pub rule: &'static str,
    pub message: String,
}

pub(super) fn no_value(rule: &'static str, message: impl Into<String>) -> NoValue {
    NoValue {
        rule,
        message: message.into(),
    }
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(context: Option<&'a Map<String, Value>>) -> Self {
        let mut filters = Environment::empty();
        filters.set_undefined_behavior(UndefinedBehavior::Strict);
        filters.add_filter("lower", minijinja::filters::lower);
        filters.add_filter("upper", minijinja::filters::upper);
        filters.add_filter("trim", minijinja::filters::trim);
        filters.add_filter("first", minijinja::filters::first);
        filters.add_filter("last", minijinja::filters::last);
        filters.add_filter("join", minijinja::filters::join);
        filters.add_filter("int", minijinja::filters::int);
        Self {
            context,
            filters,
            fuel: Cell::new(FUEL),
        }
    }

    /// The expression's value: never null, never too large.
    pub(super) fn value(&self, expression: &Expression) -> Result<Value, NoValue> {
        self.burn(EXPRESSION_COST)?;
        let name = expression.path.to_string();
        let mut filters = expression.filters.as_slice();
        let mut value = match (self.walk(&expression.path)?, filters) {
            // Of the list's items only what is taken counts: an alert's hosts may be large otherwise.
            (Ok(list), [call, rest @ ..]) if call.filter == Filter::Pluck => {
                filters = rest;
                self.pluck(call, list, &name)?
            }
            (Ok(value), _) => {
                self.bound(value)?;
                Ok(value.clone())
            }
            (Err(undefined), _) => Err(undefined),
        };
        for call in filters {
            value = self.apply(call, value, &name)?;
        }
        match value {
            Ok(Value::Null) => Err(no_value(
                "null",
                format!(
                    "names `{name}`, which is null: `default('…', true)` gives a value for that"
                ),
            )),
            Ok(value) => Ok(value),
            Err(undefined) => Err(undefined),
        }
    }

    /// The inner error says which name is missing, as the last on the path: `default` may stand in for it.
    fn walk(&self, path: &Path) -> Result<Result<&'a Value, NoValue>, NoValue> {
        let undefined = |message: String| no_value("undefined", message);
        let Some(context) = self.context else {
            return Err(undefined(format!(
                "names `{path}`, but there is no context: give it in the invocation or with `--context`"
            )));
        };
        let mut walked = Path::default();
        let mut node: Option<&Value> = None;
        let last = path.segments().len() - 1;
        for (depth, segment) in path.segments().iter().enumerate() {
            let parent = walked;
            walked = parent.with(segment.clone());
            let missing = |likely: Option<Path>| {
                let likely = likely
                    .map(|likely| format!(" ({})", asked(&likely)))
                    .unwrap_or_default();
                undefined(format!(
                    "names `{walked}`, which is not in the context{likely}"
                ))
            };
            let next = match (node, segment) {
                (None, Segment::Key(key)) => context
                    .get(key)
                    .ok_or_else(|| missing(likely(&parent, key, context))),
                (Some(Value::Object(entries)), Segment::Key(key)) => entries
                    .get(key)
                    .ok_or_else(|| missing(likely(&parent, key, entries))),
                (Some(Value::Array(items)), Segment::Index(index)) => {
                    items.get(*index).ok_or_else(|| {
                        undefined(format!(
                            "names `{walked}`, which is not in the context: the list has {} items",
                            items.len()
                        ))
                    })
                }
                (Some(other), _) => {
                    return Err(undefined(format!(
                        "names `{walked}`, but `{parent}` is {}",
                        kind(other)
                    )));
                }
                (None, Segment::Index(_)) => return Err(missing(None)),
            };
            match next {
                Ok(next) => node = Some(next),
                Err(missing) if depth == last => return Ok(Err(missing)),
                Err(missing) => return Err(missing),
            }
        }
        Ok(node.ok_or_else(|| undefined("names nothing".into())))
    }

    fn apply(
        &self,
        call: &FilterCall,
        value: Result<Value, NoValue>,
        name: &str,
    ) -> Result<Result<Value, NoValue>, NoValue> {
        if call.filter == Filter::Default {
            return Ok(Ok(default(call, value)));
        }
        let value = value?;
        if call.filter == Filter::Pluck {
            return self.pluck(call, &value, name);
        }
        let filter = call.filter.name();
        let fits = match call.filter {
            Filter::Lower | Filter::Upper | Filter::Trim | Filter::Int => {
                matches!(value, Value::String(_) | Value::Number(_))
            }
            Filter::First | Filter::Last => matches!(value, Value::String(_) | Value::Array(_)),
            Filter::Join => match &value {
                Value::Array(items) => items.iter().all(|item| {
                    matches!(item, Value::String(_) | Value::Number(_) | Value::Bool(_))
                }),
                _ => false,
            },
            Filter::Default | Filter::Pluck => true,
        };
        if !fits {
            let takes = match call.filter {
                Filter::Join => "a list of texts and numbers",
                Filter::First | Filter::Last => "a list or text",
                _ => "text or a number",
            };
            let found = match (&value, call.filter) {
                (Value::Array(_), Filter::Join) => "a list with other things in it",
                (value, _) => kind(value),
            };
            return Err(no_value(
                "filter",
                format!("uses `{filter}` on `{name}`: it takes {takes}, not {found}"),
            ));
        }
        self.bound(&value)?;
        if let (Filter::Join, Value::Array(items)) = (call.filter, &value) {
            self.joined_fits(call, items)?;
        }
        let mut arguments = vec![minijinja::Value::from(minijinja::value::Serde(&value))];
        arguments.extend(call.arguments.iter().map(|argument| match argument {
            Literal::Text(text) => minijinja::Value::from(text.as_str()),
            Literal::Integer(integer) => minijinja::Value::from(*integer),
            Literal::Fraction(fraction) => minijinja::Value::from(*fraction),
            Literal::Boolean(boolean) => minijinja::Value::from(*boolean),
        }));
        // minijinja's messages may print values: these are ours.
        let failed = || {
            no_value(
                "filter",
                match call.filter {
                    Filter::Int => {
                        format!("uses `int` on `{name}`, which is not a whole number of 64 bits")
                    }
                    _ => format!("uses `{filter}` on `{name}`, which it can't take"),
                },
            )
        };
        let result = self
            .filters
            .empty_state()
            .apply_filter(filter, &arguments)
            .map_err(|_| failed())?;
        if result.is_undefined() {
            return Ok(Err(no_value(
                "undefined",
                format!("uses `{filter}` on `{name}`, which is empty"),
            )));
        }
        let result = serde_json::to_value(&result).map_err(|_| failed())?;
        if call.filter == Filter::Int && result.as_i64().is_none() && result.as_u64().is_none() {
            return Err(failed());
        }
        self.bound(&result)?;
        Ok(Ok(result))
    }

    /// One key of each item of a list of mappings. The inner error is of an item that lacks the key:
    /// `default` may stand in for the whole list.
    fn pluck(
        &self,
        call: &FilterCall,
        value: &Value,
        name: &str,
    ) -> Result<Result<Value, NoValue>, NoValue> {
        let [Literal::Text(key)] = call.arguments.as_slice() else {
            return Err(no_value("filter", "uses `pluck` without a key"));
        };
        let wrong = |found: &str| {
            no_value(
                "filter",
                format!("uses `pluck` on `{name}`: it takes a list of mappings, not {found}"),
            )
        };
        let Value::Array(items) = value else {
            return Err(wrong(kind(value)));
        };
        self.countable(items.len())?;
        let mut taken = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let Value::Object(entries) = item else {
                return Err(wrong("a list with other things in it"));
            };
            let Some(value) = entries.get(key) else {
                let known = entries.keys().map(String::as_str).take(1_000);
                let likely = nearest(key, known.filter(|name| is_plain_name(name)))
                    .map(|likely| format!(" (did you mean `{likely}`?)"))
                    .unwrap_or_default();
                let message = format!(
                    "takes `{}` of each item of `{name}`, which item {index} does not have{likely}",
                    show_key(key)
                );
                return Ok(Err(no_value("undefined", message)));
            };
            self.bound(value)?;
            taken.push(value.clone());
        }
        Ok(Ok(Value::Array(taken)))
    }

    /// Whether a list, joined, is within the size of a text: counted, for a long separator between many
    /// items makes gigabytes.
    fn joined_fits(&self, call: &FilterCall, items: &[Value]) -> Result<(), NoValue> {
        let separator = match call.arguments.as_slice() {
            [Literal::Text(text)] => text.len(),
            _ => 0,
        };
        let of_items = items.iter().map(|item| match item {
            Value::String(text) => text.len(),
            // No number and no boolean is longer.
            _ => 32,
        });
        let between = separator.saturating_mul(items.len().saturating_sub(1));
        let length = of_items.fold(between, usize::saturating_add);
        // What is counted generously may still fit: the text itself is held to the limit, too.
        let most = MAX_SCALAR_BYTES + 32 * items.len();
        if length > most {
            return Err(too_long());
        }
        self.burn(length)
    }

    fn countable(&self, items: usize) -> Result<(), NoValue> {
        self.burn(items)?;
        if items > MAX_ITEMS {
            return Err(no_value(
                "size",
                format!("yields a list of more than {MAX_ITEMS} items"),
            ));
        }
        Ok(())
    }

    /// Holds a value to the limits, and takes its size from the fuel.
    fn bound(&self, value: &Value) -> Result<(), NoValue> {
        match value {
            Value::String(text) => {
                self.burn(text.len())?;
                if text.len() > MAX_SCALAR_BYTES {
                    return Err(too_long());
                }
            }
            Value::Array(items) => {
                self.countable(items.len())?;
                for item in items {
                    self.bound(item)?;
                }
            }
            Value::Object(entries) => {
                for (key, item) in entries {
                    self.burn(key.len())?;
                    self.bound(item)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn burn(&self, cost: usize) -> Result<(), NoValue> {
        match self.fuel.get().checked_sub(cost) {
            Some(left) => {
                self.fuel.set(left);
                Ok(())
            }
            None => {
                self.fuel.set(0);
                Err(no_value(
                    "fuel",
                    "can't be rendered: the step's expressions yield more than 64 MiB",
                ))
            }
        }
    }
}

pub(super) fn too_long() -> NoValue {
    no_value(
        "size",
        format!("yields text of more than {} KiB", MAX_SCALAR_BYTES >> 10),
    )
}

/// As minijinja's: stands in for what is not there, with `true` for null, empty, zero and false, too.
fn default(call: &FilterCall, value: Result<Value, NoValue>) -> Value {
    let also_false = call.arguments.get(1) == Some(&Literal::Boolean(true));
    match value {
        Ok(value) if !also_false || is_true(&value) => value,
        _ => match call.arguments.first() {
            None => Value::from(""),
            Some(Literal::Text(text)) => text.as_str().into(),
            Some(Literal::Integer(integer)) => (*integer).into(),
            Some(Literal::Fraction(fraction)) => (*fraction).into(),
            Some(Literal::Boolean(boolean)) => (*boolean).into(),
        },
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(boolean) => *boolean,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

/// The near name beside a missing one. Only names that look like names: an alert's keys may hold anything.
fn likely(parent: &Path, key: &str, entries: &Map<String, Value>) -> Option<Path> {
    let names = entries
        .keys()
        .map(String::as_str)
        .filter(|name| is_plain_name(name))
        .take(1_000);
    nearest(key, names).map(|name| parent.key(name))
}
