//! The step against its JSON Schema: all violations at once. Knows nothing of
//! expressions beyond that `{{` begins one, and nothing of how a violation is worded.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::evaluate::MAX_ITEMS;
use super::words::StepWords;
use crate::nearest::nearest;
use crate::path::Path;
use crate::problem::Problem;
use crate::schema::{Schema, texts};

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
    "queue_hours",
    "timeout_seconds",
];

static SCHEMA: Schema = Schema::new("step", texts::STEP);

/// What the schema has to say of a step, in the schema's order.
///
/// Keys that offer SQL are no violation: they are the allowlist's to refuse ([`foreign_keys`]).
pub fn violations(step: &Value, stage: Stage) -> Vec<Problem> {
    let shortened;
    let step = match has_long_list(step) {
        true => {
            shortened = without_tails(step);
            &shortened
        }
        false => step,
    };
    let step = &*whole_numbers_as_numbers(step, stage);
    let words = StepWords { step, stage };
    let mut problems = SCHEMA.violations(step, &words);
    // What an expression yields is judged where it is rendered: a name out of a list may hold a comma.
    if stage == Stage::Written {
        words.add_several_hosts(&mut problems);
    }
    words.add_wrong_url(&mut problems);
    problems.into_vec()
}

/// One item more than the schema lets any list have.
const ITEMS_LOOKED_AT: usize = MAX_ITEMS + 1;

/// Whether a list has more items than are looked at: it is too long, and the validator would make an error
/// of each further item, hundreds of thousands of them.
fn has_long_list(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.len() > ITEMS_LOOKED_AT || items.iter().any(has_long_list),
        Value::Object(entries) => entries.values().any(has_long_list),
        _ => false,
    }
}

/// The value with no more items in its lists than are looked at.
fn without_tails(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let items = items.iter().take(ITEMS_LOOKED_AT);
            items.map(without_tails).collect()
        }
        Value::Object(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|(key, value)| (key.clone(), without_tails(value)));
            Value::Object(entries.collect())
        }
        other => other.clone(),
    }
}

/// Keys of the step itself that mean nothing here and resemble nothing that does: an engine may have them
/// for itself. Those that belong in `params`, or offer SQL, are none of them.
pub fn keys_of_others(step: &Value) -> Vec<&str> {
    let own = SCHEMA.keys(&Path::default());
    let params = SCHEMA.keys(&Path::of(&["params"]));
    let keys = step.as_object().into_iter().flat_map(Map::keys);
    keys.map(String::as_str)
        .filter(|key| {
            !own.contains(key)
                && !params.contains(key)
                && !offers_sql(key)
                && nearest(key, own.iter().copied()).is_none()
        })
        .collect()
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
pub(crate) fn whole_number(text: &str) -> Option<u64> {
    let plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    // More digits than fit are beyond every maximum.
    plain.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The whole number that a value is, as a number or as a numeric string. JSON Schema holds 60.0 for an integer; so
/// does this.
pub(crate) fn whole_number_of(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => whole_number(text.trim()),
        Value::Number(number) => number.as_u64().or_else(|| {
            number
                .as_f64()
                .filter(|number| number.fract() == 0.0 && (0.0..9.0e15).contains(number))
                .map(|number| number as u64)
        }),
        _ => None,
    }
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
