//! Comparing a recorded document with the simulator's: same keys, same types, same values, except for
//! what differs from run to run; and carrying over what later requests refer to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What the recording calls by one name and this run by another.
#[derive(Default)]
pub struct Carried {
    names: BTreeMap<String, String>,
    numbers: BTreeMap<(&'static str, u64), u64>,
}

/// Placeholders that stand for tokens which a login hands out.
const HANDED_OUT: [&str; 6] = [
    "SESSION_TOKEN",
    "LOGIN_TOKEN_1",
    "LOGIN_TOKEN_2",
    "NODE_KEY",
    "NODE_KEY_2",
    "NODE_KEY_3",
];

impl Carried {
    /// A recorded request's text with this run's names.
    pub fn apply(&self, text: &str) -> String {
        // Backwards: a name that begins with another comes first.
        self.names
            .iter()
            .rev()
            .fold(text.to_owned(), |text, (recorded, actual)| {
                text.replace(recorded, actual)
            })
    }

    /// A recorded request's JSON with this run's names and ids.
    pub fn apply_json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.apply(text)),
            Value::Array(items) => items.iter().map(|item| self.apply_json(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| {
                    let number = value.as_u64().filter(|_| key == "campaign_id");
                    let known = number.and_then(|id| self.numbers.get(&("query", id)));
                    let value = known.map_or_else(|| self.apply_json(value), |id| (*id).into());
                    (self.apply(key), value)
                })
                .collect(),
            other => other.clone(),
        }
    }

    /// A path's segments that are ids of queries.
    pub fn apply_path(&self, path: &str) -> String {
        self.apply(path)
            .split('/')
            .map(|part| match part.parse::<u64>() {
                Ok(id) if path.contains("/fleet/queries/") => self
                    .numbers
                    .get(&("query", id))
                    .map_or_else(|| part.to_owned(), u64::to_string),
                _ => part.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("/")
    }

    fn same_number(&mut self, kind: &'static str, recorded: u64, actual: u64) -> bool {
        if (recorded == 0) != (actual == 0) {
            return false;
        }
        *self.numbers.entry((kind, recorded)).or_insert(actual) == actual
    }

    fn same_name(&mut self, recorded: &str, actual: &str) -> bool {
        let known = self.names.entry(recorded.to_owned());
        known.or_insert_with(|| actual.to_owned()) == actual
    }

    /// Compares; what differs is added to the faults.
    pub fn compare(
        &mut self,
        path: &str,
        recorded: &Value,
        actual: &Value,
        faults: &mut Vec<String>,
    ) {
        match (recorded, actual) {
            (Value::Object(recorded), Value::Object(actual)) => {
                // Some keys are names themselves.
                let recorded: serde_json::Map<String, Value> = recorded
                    .iter()
                    .map(|(key, value)| (self.apply(key), value.clone()))
                    .collect();
                for key in recorded.keys().filter(|key| !actual.contains_key(*key)) {
                    faults.push(format!("{path}: {key} is missing"));
                }
                for key in actual.keys().filter(|key| !recorded.contains_key(*key)) {
                    faults.push(format!("{path}: {key} is not in the recording"));
                }
                for (key, recorded_value) in &recorded {
                    let Some(actual_value) = actual.get(key) else {
                        continue;
                    };
                    let inner = format!("{path}.{key}");
                    let kind = run_specific(key, &recorded);
                    match kind {
                        Some(Kind::Free) => {
                            same_type(&inner, recorded_value, actual_value, faults);
                        }
                        Some(Kind::Shape) => {
                            same_shape(&inner, recorded_value, actual_value, faults);
                        }
                        Some(Kind::Name) => {
                            let pair = (recorded_value.as_str(), actual_value.as_str());
                            let same = matches!(pair, (Some(recorded), Some(actual))
                                if self.same_name(recorded, actual));
                            if !same {
                                faults.push(format!(
                                    "{inner}: {recorded_value} was recorded, {actual_value} is no \
                                     other name for it"
                                ));
                            }
                        }
                        Some(Kind::Number(kind)) => {
                            let pair = (recorded_value.as_u64(), actual_value.as_u64());
                            let same = matches!(pair, (Some(recorded), Some(actual))
                                if self.same_number(kind, recorded, actual));
                            if !same {
                                faults.push(format!(
                                    "{inner}: {recorded_value} was recorded, {actual_value} is no \
                                     other name for it"
                                ));
                            }
                        }
                        None => self.compare(&inner, recorded_value, actual_value, faults),
                    }
                }
            }
            (Value::Array(recorded), Value::Array(actual)) => {
                if recorded.len() != actual.len() {
                    faults.push(format!(
                        "{path}: {} items were recorded, here are {}",
                        recorded.len(),
                        actual.len()
                    ));
                }
                for (index, (recorded, actual)) in recorded.iter().zip(actual).enumerate() {
                    self.compare(&format!("{path}[{index}]"), recorded, actual, faults);
                }
            }
            (Value::String(recorded), Value::String(actual)) => {
                self.compare_texts(path, recorded, actual, faults);
            }
            (recorded, actual) if recorded == actual => {}
            (recorded, actual) => {
                faults.push(format!("{path}: {recorded} was recorded, here is {actual}"));
            }
        }
    }

    fn compare_texts(
        &mut self,
        path: &str,
        recorded: &str,
        actual: &str,
        faults: &mut Vec<String>,
    ) {
        let same = if HANDED_OUT.contains(&recorded) || is_query_name(recorded) {
            self.same_name(recorded, actual) && is_query_name(recorded) == is_query_name(actual)
        } else if is_time(recorded) {
            const NEVER: &str = "0001-01-01T00:00:00Z";
            is_time(actual)
                && (recorded == NEVER) == (actual == NEVER)
                && (recorded.contains('.') || !actual.contains('.'))
        } else if path.ends_with(".data") && recorded.starts_with('{') {
            match (serde_json::from_str(recorded), serde_json::from_str(actual)) {
                (Ok(recorded), Ok(actual)) => {
                    self.compare(path, &recorded, &actual, faults);
                    true
                }
                _ => false,
            }
        } else if let (Some((words, id)), Some((here, actual))) =
            (campaign_at_end(recorded), campaign_at_end(actual))
        {
            words == here && self.same_number("query", id, actual)
        } else {
            self.apply(recorded) == actual
        };
        if !same {
            faults.push(format!(
                "{path}: '{recorded}' was recorded, here is '{actual}'"
            ));
        }
    }
}

/// Words that end in a campaign's id.
fn campaign_at_end(text: &str) -> Option<(&str, u64)> {
    let (words, id) = text.split_once(", campaignID=")?;
    Some((words, id.parse().ok()?))
}

enum Kind {
    /// Only the type counts.
    Free,
    /// Every item has the shape of the first recorded one, however many there are.
    Shape,
    /// A text that is an id: the same here wherever it is the same there.
    Name,
    /// An id: the same here wherever it is the same there.
    Number(&'static str),
}

fn run_specific(key: &str, fields: &serde_json::Map<String, Value>) -> Option<Kind> {
    let has = |name: &str| fields.contains_key(name);
    match key {
        // The uuid of an error; a host's is the fixture's.
        "uuid" if has("errors") => Some(Kind::Free),
        "node_key" if has("node_invalid") => None,
        "bytes_received" | "node_key" | "csrf_token" => Some(Kind::Free),
        // A host whose details were never fetched, or not since the server started.
        "refetch_requested" | "uptime" if has("hardware_serial") => Some(Kind::Free),
        "last_restarted_at" | "public_ip" if fields.get("uptime") == Some(&json!(0)) => {
            Some(Kind::Free)
        }
        "os_version" | "platform_like" | "code_name" | "memory" | "cpu_type" | "cpu_brand"
        | "cpu_physical_cores" | "cpu_logical_cores" | "hardware_vendor" | "hardware_model"
        | "hardware_version"
            if fields.get("memory") == Some(&json!(0)) =>
        {
            Some(Kind::Free)
        }
        // The recorded agents answered every label's query.
        "labels" if has("hardware_serial") => Some(Kind::Shape),
        "distributed_query_execution_id" => Some(Kind::Number("query")),
        "query_id" if fields["query_id"].is_string() => Some(Kind::Name),
        "query_id" => Some(Kind::Number("query")),
        "id" if has("Metrics") || has("observer_can_run") => Some(Kind::Number("query")),
        "id" if has("executions") => Some(Kind::Number("osctrl query")),
        "id" if has("data") => Some(Kind::Number("item")),
        _ => None,
    }
}

fn same_type(path: &str, recorded: &Value, actual: &Value, faults: &mut Vec<String>) {
    if std::mem::discriminant(recorded) != std::mem::discriminant(actual) {
        faults.push(format!(
            "{path}: another type than the recorded {recorded}: {actual}"
        ));
    }
}

fn same_shape(path: &str, recorded: &Value, actual: &Value, faults: &mut Vec<String>) {
    let (Some(first), Some(items)) = (recorded.get(0), actual.as_array()) else {
        faults.push(format!("{path}: not a list with items"));
        return;
    };
    let keys = |value: &Value| -> Vec<String> {
        let fields = value.as_object().map(|fields| fields.keys().cloned());
        let mut keys: Vec<String> = fields.into_iter().flatten().collect();
        keys.sort();
        keys
    };
    for item in items {
        if keys(item) != keys(first) {
            faults.push(format!("{path}: an item of another shape: {item}"));
        }
        for (key, value) in first.as_object().into_iter().flatten() {
            same_type(&format!("{path}[].{key}"), value, &item[key], faults);
        }
    }
}

fn is_query_name(text: &str) -> bool {
    text.strip_prefix("query_")
        .is_some_and(|hex| hex.len() == 32 && hex.chars().all(|digit| digit.is_ascii_hexdigit()))
}

/// `2026-11-20T23:53:11Z`, with or without a fraction.
fn is_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else {
        return false;
    };
    let digits = |text: &str, marks: &str| {
        text.chars()
            .all(|character| character.is_ascii_digit() || marks.contains(character))
    };
    date.len() == 10 && digits(date, "-") && time.ends_with('Z') && digits(time, ":.Z")
}
