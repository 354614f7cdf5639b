//! The JSON of the service's two calls, as it sends it (transcripts in `tests/transcripts/aisoc_direct/`), and
//! what an answer means. Pure: bytes in, meaning out.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::campaign::host::Answer;
use crate::campaign::rows::{Keep, Rows, RowsError};

/// What a host's failed query looks like: the service drops osquery's status and message and stores an empty
/// list (transcript `query-empty-and-error`), so that not even the row came that says that there is none.
const FAILED: &str = "the query failed on this host: its answer has not even the row that says that nothing was found. osquery's own message is lost, since AiSOC's osquery service drops it; the host's osquery log has it";

/// The answer to `POST …/enqueue`.
#[derive(Debug, Deserialize)]
pub(super) struct Enqueued {
    /// A uuid; whoever has it can read and write the rows.
    pub query_id: String,
}

/// A refusal as FastAPI writes it: a text, or (422) a list that echoes what was sent.
#[derive(Debug, Deserialize)]
struct Refusal {
    detail: Value,
}

/// One thing that is wrong with a request.
#[derive(Debug, Deserialize)]
struct Wrong {
    #[serde(default)]
    loc: Vec<Value>,
    #[serde(default)]
    msg: String,
}

/// What a refusal says, without what it echoes; empty where it is none of FastAPI's.
pub(super) fn detail(body: &[u8]) -> String {
    let Ok(Refusal { detail }) = serde_json::from_slice(body) else {
        return String::new();
    };
    match detail {
        Value::String(text) => text,
        Value::Array(wrong) => {
            let wrong = wrong.into_iter().filter_map(|one| {
                let Wrong { loc, msg } = serde_json::from_value(one).ok()?;
                let place: Vec<String> = loc
                    .iter()
                    .map(|part| match part {
                        Value::String(key) => key.clone(),
                        other => other.to_string(),
                    })
                    .collect();
                Some(format!("{}: {msg}", place.join(".")))
            });
            wrong.collect::<Vec<_>>().join("; ")
        }
        _ => String::new(),
    }
}

/// Whether a refusal says that no host of that name is enrolled, which any release says so.
pub(super) fn is_unknown_host(detail: &str) -> bool {
    detail.starts_with("Node '") && detail.contains("' not enrolled")
}

/// Whether a refusal says that there is no such query, as only this service does.
pub(super) fn is_unknown_query(detail: &str) -> bool {
    detail.starts_with("Query '") && detail.ends_with("' not found")
}

/// The answer to `GET …/{query_id}`; all four keys are always there.
#[derive(Debug, Deserialize)]
struct Query<'a> {
    #[serde(borrow)]
    query_id: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    rows: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// What became of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The host has not answered.
    Pending,
    /// It has; error texts are as the server sent them.
    Answered(Answer),
}

/// How an answer is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// How much of it is kept.
    pub keep: Keep,
    /// The column by which it proves itself; statements for this server have one.
    pub marker: Option<&'static str>,
}

impl Reader {
    /// What became of the query `id`.
    ///
    /// # Errors
    /// Where the body is no such answer.
    pub fn read(self, id: &str, body: &[u8]) -> serde_json::Result<Seen> {
        let query: Query<'_> = serde_json::from_slice(body)?;
        Ok(Seen::Answered(match &*query.status {
            _ if query.query_id != id => {
                Answer::Error("the server answered with another query than was asked for".into())
            }
            "pending" => return Ok(Seen::Pending),
            status => match (query.error.and_then(text), status) {
                (Some(error), _) => Answer::Error(error),
                (None, "completed") => self.rows(query.rows.map_or("null", RawValue::get)),
                (None, other) => Answer::Error(format!(
                    "the server says of the query that it is `{other}`, which is not known here"
                )),
            },
        }))
    }

    fn rows(self, rows: &str) -> Answer {
        let Some(marker) = self.marker else {
            return Answer::Error(
                "the query has no proof, so that its answer tells nothing".into(),
            );
        };
        match Rows::read_marked(rows, marker, self.keep) {
            Ok(Some(rows)) => Answer::Rows(rows),
            Ok(None) => Answer::Error(FAILED.into()),
            Err(error @ RowsError::Unmarked) => Answer::Error(format!(
                "{error}: whoever knows a query's id may write rows to it"
            )),
            Err(error) => Answer::Error(format!("the answer could not be read: {error}")),
        }
    }
}

/// An error that is one: no release was seen to send any, but the service's own client looks for it.
fn text(error: &RawValue) -> Option<String> {
    match serde_json::from_str(error.get()).ok()? {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const READER: Reader = Reader {
        keep: Keep {
            rows: 2,
            bytes: 1_000,
        },
        marker: Some("m"),
    };

    fn read(answer: &Value) -> Seen {
        let mut whole =
            json!({"query_id": "q", "status": "completed", "rows": null, "error": null});
        whole
            .as_object_mut()
            .unwrap()
            .extend(answer.as_object().unwrap().clone());
        READER.read("q", whole.to_string().as_bytes()).unwrap()
    }

    fn rows(rows: &Value) -> Result<(String, usize), String> {
        match read(&json!({"rows": rows})) {
            Seen::Answered(Answer::Rows(rows)) => Ok((rows.json().to_owned(), rows.received())),
            Seen::Answered(Answer::Error(error)) => Err(error),
            Seen::Pending => panic!("it was answered"),
        }
    }

    #[test]
    fn rows_prove_themselves() {
        let row = |pid: &str| json!({"m": "1", "pid": pid});
        let of = |json: &str, received| Ok((json.to_owned(), received));
        assert_eq!(rows(&json!([row("1")])), of(r#"[{"pid":"1"}]"#, 1));
        // Numbers come as they were sent; caps count rows as they are without the marker.
        let three = json!([{"m": 1, "pid": 1}, row("2"), row("3")]);
        assert_eq!(rows(&three), of(r#"[{"pid":1},{"pid":"2"}]"#, 3));
        for nothing in [
            json!([{"m": "", "pid": "", "name": ""}]),
            json!([{"m": null, "pid": null}]),
            json!([{"m": ""}]),
        ] {
            assert_eq!(rows(&nothing), of("[]", 0));
        }
        // A row in which the template found nothing but empty values is a row.
        assert_eq!(
            rows(&json!([{"m": "1", "pid": ""}])),
            of(r#"[{"pid":""}]"#, 1)
        );
    }

    #[test]
    fn what_proves_nothing_is_an_error() {
        assert!(
            rows(&json!([]))
                .unwrap_err()
                .starts_with("the query failed")
        );
        let forged = "the rows are not what this query answers";
        for other in [
            json!([{"pid": "1"}]),
            json!([{"m": "2", "pid": "1"}]),
            json!([{"m": "", "pid": "1"}]),
            json!([{"m": "1", "pid": "1"}, {"m": "", "pid": ""}]),
            json!([{"m": "", "pid": ""}, {"m": "", "pid": ""}]),
            json!([{"m": "1", "pid": "1"}, {"pid": "2"}]),
            json!([{}]),
        ] {
            let error = rows(&other).unwrap_err();
            assert!(error.starts_with(forged), "{other}: {error}");
        }
        let twice = r#"{"query_id": "q", "status": "completed", "rows": [{"m": "1", "m": "1"}], "error": null}"#;
        let Seen::Answered(Answer::Error(error)) = READER.read("q", twice.as_bytes()).unwrap()
        else {
            panic!("two markers are none");
        };
        assert!(error.starts_with(forged), "{error}");
        for unreadable in [json!(null), json!({"m": "1"}), json!(["1"]), json!("[]")] {
            let error = rows(&unreadable).unwrap_err();
            assert!(error.contains("could not be read"), "{error}");
        }
    }

    #[test]
    fn what_became_of_a_query() {
        assert_eq!(read(&json!({"status": "pending"})), Seen::Pending);
        let error = |answer: Value| match read(&answer) {
            Seen::Answered(Answer::Error(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            error(json!({"error": "no such table: x"})),
            "no such table: x"
        );
        assert_eq!(error(json!({"status": "error", "error": "gone"})), "gone");
        assert!(error(json!({"status": "expired"})).contains("`expired`"));
        assert!(error(json!({"query_id": "other"})).contains("another query"));
        for broken in ["", "[]", "{}", r#"{"query_id": 1, "status": "pending"}"#] {
            assert!(READER.read("q", broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn refusals_are_read_without_what_they_echo() {
        let said = |body: Value| detail(body.to_string().as_bytes());
        assert_eq!(said(json!({"detail": "Not Found"})), "Not Found");
        let wrong = json!({"detail": [{"type": "string_type", "loc": ["body", "host_identifier"],
            "msg": "Input should be a valid string", "input": "SELECT secret"}]});
        assert_eq!(
            said(wrong),
            "body.host_identifier: Input should be a valid string"
        );
        for other in [json!({"detail": {"a": 1}}), json!({}), json!("x")] {
            assert_eq!(said(other), "");
        }
        assert_eq!(detail(b"Internal Server Error"), "");
        assert!(is_unknown_host(
            "Node 'a' not enrolled for tenant 'default'"
        ));
        assert!(!is_unknown_host("Not Found") && !is_unknown_query("Not Found"));
        assert!(is_unknown_query("Query 'x' not found"));
    }
}
