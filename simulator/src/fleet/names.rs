//! Names of fields since Fleet 4.82: queries are reports and teams are fleets. Requests may use one name of
//! a field, answers carry both.

use serde_json::{Map, Value};

use super::{bad_request, is_new_path};
use crate::body::Content;
use crate::http::{Call, FLEET_JSON, Reply};

/// Old names and new ones.
const TWINS: [(&str, &str); 5] = [
    ("team_id", "fleet_id"),
    ("team_name", "fleet_name"),
    ("teams", "fleets"),
    ("query_id", "report_id"),
    ("queries", "reports"),
];

/// Brings a request into the old names, which the rest of the server speaks; the refusal says which field
/// has both. The paths that were renamed know the names of their own time only: stricter than the real
/// server, which takes either name, so that a client shows that it keeps them apart.
pub(super) fn understand(call: &mut Call, path: &[&str]) -> Result<(), Reply> {
    let known = match path.first() {
        Some(&("queries" | "teams")) => Known::Old,
        _ if is_new_path(path) => Known::New,
        _ => Known::Either,
    };
    for (old, new) in TWINS {
        let has = |call: &Call, name: &str| call.parameter(name).is_some();
        if has(call, old) && has(call, new) {
            return Err(conflict(old, new));
        }
        for (name, _) in &mut call.query {
            known.translate(name, old, new);
        }
    }
    if let Some(mut body) = call.json() {
        understand_body(&mut body, known)?;
        call.body = body.to_string().into();
    }
    Ok(())
}

/// Which names a path knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Old,
    New,
    Either,
}

impl Known {
    /// A name that the path does not know becomes one that nobody knows.
    fn translate(self, name: &mut String, old: &str, new: &str) {
        let foreign = match self {
            Self::Old => name == new,
            Self::New => name == old,
            Self::Either => false,
        };
        if foreign {
            name.insert_str(0, "unknown ");
        } else if name == new {
            old.clone_into(name);
        }
    }
}

fn understand_body(value: &mut Value, known: Known) -> Result<(), Reply> {
    match value {
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| understand_body(item, known)),
        Value::Object(fields) => {
            for (old, new) in TWINS {
                if fields.contains_key(old) && fields.contains_key(new) {
                    return Err(conflict(old, new));
                }
            }
            let translated = std::mem::take(fields).into_iter().map(|(mut name, value)| {
                for (old, new) in TWINS {
                    known.translate(&mut name, old, new);
                }
                (name, value)
            });
            *fields = translated.collect();
            fields
                .values_mut()
                .try_for_each(|value| understand_body(value, known))
        }
        _ => Ok(()),
    }
}

fn conflict(old: &str, new: &str) -> Reply {
    let reason = format!(
        "Conflicting field names: cannot specify both \"{old}\" (deprecated) and \"{new}\" \
         in the same request"
    );
    bad_request(FLEET_JSON, &reason)
}

/// Gives an answer's fields both names.
pub(super) fn twin(reply: &mut Reply) {
    // What is made while it is sent has its names already.
    let Content::Bytes(bytes) = &reply.body else {
        return;
    };
    let bytes = bytes.clone();
    reply.body = Content::Bytes(match serde_json::from_slice::<Value>(&bytes) {
        Ok(mut document) => {
            twin_fields(&mut document);
            document.to_string().into()
        }
        Err(_) => bytes,
    });
}

/// A host's document with both names, for lists that are made while they are sent.
pub(super) fn twinned(mut document: Value) -> Value {
    twin_fields(&mut document);
    document
}

fn twin_fields(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(twin_fields),
        Value::Object(fields) => {
            let mut added = Map::new();
            for (name, value) in fields.iter_mut() {
                // Rows are the hosts' own.
                if matches!(name.as_str(), "rows" | "columns") {
                    continue;
                }
                match new_name(name, value) {
                    Some(new) => {
                        added.insert(new.to_owned(), renamed(value));
                    }
                    None => twin_fields(value),
                }
            }
            for (name, value) in added {
                fields.entry(name).or_insert(value);
            }
        }
        _ => {}
    }
}

fn new_name(name: &str, value: &Value) -> Option<&'static str> {
    // A saved query's statement is called `query` in both languages, the saved query itself is not.
    if name == "query" && value.is_object() {
        return Some("report");
    }
    TWINS
        .iter()
        .find(|(old, _)| *old == name)
        .map(|(_, new)| *new)
}

/// A copy under new names only.
fn renamed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(renamed).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let name = new_name(name, value).unwrap_or(name);
                (name.to_owned(), renamed(value))
            })
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_carry_both_names_and_copies_only_new_ones() {
        let document = json!({
            "queries": [{"id": 1, "team_id": 2, "query": "SELECT 1"}],
            "campaign": {"query_id": 1},
            "query": {"team_id": null, "query": "SELECT 1"},
            "rows": [{"team_id": "a column"}],
        });
        assert_eq!(
            twinned(document),
            json!({
                "queries": [{"id": 1, "team_id": 2, "query": "SELECT 1"}],
                "campaign": {"query_id": 1, "report_id": 1},
                "query": {"team_id": null, "query": "SELECT 1"},
                "rows": [{"team_id": "a column"}],
                "reports": [{"id": 1, "fleet_id": 2, "query": "SELECT 1"}],
                "report": {"fleet_id": null, "query": "SELECT 1"},
            })
        );
    }

    #[test]
    fn renamed_paths_know_the_names_of_their_time() {
        let body = |known| {
            let mut body = json!({"report_id": 1, "selected": {"teams": [2]}});
            understand_body(&mut body, known).map(|()| body)
        };
        let read = |known| body(known).expect("no conflict");
        assert_eq!(
            read(Known::New),
            json!({"query_id": 1, "selected": {"unknown teams": [2]}})
        );
        assert_eq!(
            read(Known::Old),
            json!({"unknown report_id": 1, "selected": {"teams": [2]}})
        );
        let mut both = json!({"selected": {"teams": [], "fleets": []}});
        assert!(understand_body(&mut both, Known::Either).is_err());
    }
}
