//! A connector's words for what breaks its schema, and what no schema can say of its URL.

use serde_json::Value;

use crate::known_servers::{self, ALL, KnownServer, Stream};
use crate::path::Path;
use crate::problem::Problem;
use crate::schema::{Schema, Violation, Words, texts, value_at};
use crate::step::{
    TWO_WAYS_IN, for_others_only, holds_expression, meant_reference, no_login, not_with_instance,
    whole_number, why_not_a_url, wrong_way_in,
};

static SCHEMA: Schema = Schema::new("connector", texts::COLLECT);

/// The fields that take whole numbers, written as numbers or as numeric strings.
const WHOLE_NUMBERS: [&str; 3] = ["team_id", "since_seconds", "timeout_seconds"];

/// Everything that the schema, and the URL's reader, have to say of a connector as it is written. What an
/// expression stands in is told where it is rendered.
pub fn violations(written: &Value) -> Vec<Problem> {
    let mut numbers = written.clone();
    for field in WHOLE_NUMBERS {
        if let Some(value) = numbers.get_mut(field)
            && let Some(number) = value.as_str().and_then(|text| whole_number(text.trim()))
        {
            // So that minimum and maximum are said of it, too.
            *value = number.into();
        }
    }
    let words = ConnectorWords { written: &numbers };
    let mut problems = SCHEMA.violations(&numbers, &words);
    let path = Path::of(&["base_url"]);
    let url = value_at(written, &path).and_then(Value::as_str);
    let reason = url
        .filter(|url| !holds_expression(url))
        .and_then(why_not_a_url);
    if let Some(reason) = reason.filter(|_| !problems.tell_of(&path)) {
        problems.add(|| Problem::new(path, "format", reason));
    }
    problems.into_vec()
}

/// What to say of a stream that a server has not got.
pub(super) fn no_stream(known: &KnownServer, stream: Stream) -> String {
    let titles = known_servers::titles(|known| known.collects.streams.contains(&stream));
    let name = stream.name();
    format!(
        "the stream `{name}` is for {titles} only: {} has none",
        known.title
    )
}

struct ConnectorWords<'a> {
    written: &'a Value,
}

impl ConnectorWords<'_> {
    fn has(&self, field: &str) -> bool {
        self.written.get(field).is_some()
    }

    /// The server that the connector itself names.
    fn server(&self) -> Option<&'static KnownServer> {
        let connector = self.written.get("connector").and_then(Value::as_str);
        connector.and_then(KnownServer::named)
    }

    fn missing(&self, violation: &Violation<'_>) -> Option<Problem> {
        let key = violation.path.last_key().unwrap_or_default();
        let message = match key {
            // The one that is missing is not there: what is, is the other.
            "username" | "password" => {
                let given = self.has("username") || self.has("password");
                return Some(no_login(violation, given, true));
            }
            "connector" => {
                let names = known_servers::alternatives(
                    ALL.iter()
                        .filter(|known| !known.collects.streams.is_empty())
                        .map(|known| format!("`{}`", known.name)),
                );
                format!("`connector` is required: {names}")
            }
            _ => {
                let (_, titles) = known_servers::need(key)?;
                format!("`{key}` is required for {titles}")
            }
        };
        Some(violation.says(message))
    }

    fn not_here(&self, violation: &Violation<'_>) -> Option<Problem> {
        let field = violation.path.last_key().unwrap_or_default();
        if self.has("instance") {
            return Some(violation.says(not_with_instance(violation.path, "instance")));
        }
        if let Some(lacks) = self.server().and_then(|known| known.lacks_in_polls(field)) {
            return Some(violation.says(lacks));
        }
        if let Some(message) = for_others_only(field, self.server()) {
            return Some(violation.says(message));
        }
        ["username", "password"]
            .contains(&field)
            .then(|| violation.says(TWO_WAYS_IN))
    }
}

impl Words for ConnectorWords<'_> {
    fn leave_out(&self, violation: &Violation<'_>) -> bool {
        let key = violation.path.last_key().unwrap_or_default();
        let text = violation.value.and_then(Value::as_str);
        match violation.rule {
            "additionalProperties" | "required" => false,
            // Of two fields that shut out the same, only the first is told.
            "not" => key == "password" && self.has("username") && !self.has("instance"),
            // A reference that lacks a brace is told as one.
            "pattern" if key == "api_token" => {
                text.is_some_and(|text| holds_expression(text) || meant_reference(text).is_some())
            }
            _ => text.is_some_and(holds_expression),
        }
    }

    fn own(&self, violation: &Violation<'_>) -> Option<Problem> {
        let field = violation.path.field().unwrap_or_default();
        let item = violation.value.and_then(Value::as_str);
        let stream = item.and_then(Stream::named);
        let subject = format!("`{}`", violation.path.subject());
        let message = match (violation.rule, field) {
            ("required", _) => return self.missing(violation),
            ("not", _) => return self.not_here(violation),
            ("enum", "streams") => no_stream(self.server()?, stream?),
            ("minItems", _) => {
                format!("{subject} is an empty list: name at least one, or remove it")
            }
            ("uniqueItems" | "schema", "streams") => format!("{subject} names one twice"),
            ("pattern", "queries") => format!(
                "{subject} must be a query's name: a `*` may only stand at its ends, and control characters nowhere"
            ),
            ("pattern", field) => match wrong_way_in(violation) {
                Some(message) => message,
                None if !WHOLE_NUMBERS.contains(&field) => {
                    format!("{subject} must not hold control characters")
                }
                None => return None,
            },
            ("propertyNames", _) => {
                format!("{subject} must name osquery tables: letters, digits and `_`")
            }
            _ => return None,
        };
        Some(violation.says(message))
    }
}
