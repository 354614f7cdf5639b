//! One message of the results socket, read and put into few words. Pure: text in, meaning out, so that long
//! ones can be read on another thread. Knows nothing of who is still missing.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::wire::{self, Message, ResultData, ResultHost};
use crate::campaign::host::Answer;
use crate::campaign::rows::{Keep, Rows};

/// What came.
#[derive(Debug)]
pub(super) enum Heard {
    /// A host's answer.
    Answer {
        /// Fleet's id of it.
        host: u64,
        /// What it said; error texts are as the host sent them.
        answer: Answer,
    },
    /// The server's `error` message: no answer comes on this socket any more.
    Refused(String),
    /// Counts, or a kind of message that is not known: a sign of life.
    Alive,
    /// A message that can't be read; which part of it, never what.
    Garbled(&'static str),
}

/// How a server begins a result.
const RESULT: &str = r#"{"type":"result","data":{"#;

/// A result as servers write it, in one pass over its text; nothing where it is of another form, or has an error.
fn usual_result(text: &str, keep: Keep) -> Option<Heard> {
    let mut at = RESULT.len();
    text.strip_prefix(RESULT)?;
    let (mut host, mut answer, mut error) = (None, None, None);
    loop {
        let (name, end) = value_at::<Cow<'_, str>>(text, at)?;
        at = end + 1;
        text[end..].strip_prefix(':')?;
        at = match name.as_ref() {
            "rows" if answer.is_none() => {
                match Rows::read_at(text, at, wire::ADDED_COLUMNS, keep) {
                    Ok(Some((rows, end))) => {
                        answer = Some(Answer::Rows(rows));
                        end
                    }
                    _ => return None,
                }
            }
            "host" if host.is_none() => {
                let (found, end) = value_at::<ResultHost>(text, at)?;
                host = Some(found.id);
                end
            }
            // With an error the rows mean nothing.
            "error" if error.is_none() => {
                let (none, end) = value_at::<()>(text, at)?;
                error = Some(none);
                end
            }
            "rows" | "host" | "error" => return None,
            _ => value_at::<IgnoredAny>(text, at)?.1,
        };
        match &text[at..] {
            "}}" => break,
            rest => rest.strip_prefix(',')?,
        };
        at += 1;
    }
    Some(Heard::Answer {
        host: host?,
        answer: answer?,
    })
}

/// A value that begins at a place of a text, and where it ends.
fn value_at<'a, T: Deserialize<'a>>(text: &'a str, at: usize) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter();
    let value = values.next()?.ok()?;
    Some((value, at + values.byte_offset()))
}

/// A message of the server.
pub(super) fn read(text: &str, keep: Keep) -> Heard {
    if let Some(result) = usual_result(text, keep) {
        return result;
    }
    let Ok(message) = serde_json::from_str::<Message<'_>>(text) else {
        return Heard::Garbled("a message that is not JSON of the expected form");
    };
    match message.kind.as_ref() {
        "result" => {
            let data = message.data.map_or("null", |data| data.get());
            match serde_json::from_str::<ResultData<'_>>(data) {
                Ok(data) => result(&data, keep),
                Err(_) => Heard::Garbled("a result without a host"),
            }
        }
        "error" => Heard::Refused(
            wire::error_text(message.data).map_or(String::new(), std::borrow::Cow::into_owned),
        ),
        // `totals` and `status` come with a 5-second tick: nothing may wait for them.
        _ => Heard::Alive,
    }
}

fn result(data: &ResultData<'_>, keep: Keep) -> Heard {
    let answer = match data.error() {
        Some(error) => Answer::Error(error.into_owned()),
        None => answer(data.rows.map(|rows| rows.get()), wire::ADDED_COLUMNS, keep),
    };
    Heard::Answer {
        host: data.host.id,
        answer,
    }
}

/// Rows, or in whose words they are none. Missing rows are never "no rows": a host that has none to show
/// sends an empty list (transcripts `campaign-mixed`, `rest-one-host`).
pub(super) fn answer(rows: Option<&str>, added: &[&str], keep: Keep) -> Answer {
    match Rows::read(rows.unwrap_or("null"), added, keep) {
        Ok(rows) => Answer::Rows(rows),
        Err(error) => Answer::Error(format!("the answer could not be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::servers::fleet::wire::tests::transcripts;

    const ALL: Keep = Keep {
        rows: usize::MAX,
        bytes: usize::MAX,
    };

    /// Every message that a real server sent, with the recording's name.
    static RECORDED: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
        transcripts()
            .into_iter()
            .flat_map(|(name, transcript)| {
                let steps = transcript["steps"].as_array().unwrap().clone();
                steps
                    .into_iter()
                    .flat_map(|step| step["websocket"]["frames"].as_array().cloned())
                    .flatten()
                    .filter_map(|frame| frame.get("server").cloned())
                    .map(move |message| (name.clone(), message))
            })
            .collect()
    });

    #[test]
    fn reads_every_recorded_message() {
        let mut answers = 0;
        for (name, message) in RECORDED.iter() {
            let data = &message["data"];
            match (
                message["type"].as_str().unwrap(),
                read(&message.to_string(), ALL),
            ) {
                ("totals" | "status", Heard::Alive) => {}
                ("error", Heard::Refused(text)) => assert_eq!(*data, Value::from(text)),
                ("result", Heard::Answer { host, answer }) => {
                    answers += 1;
                    assert_eq!(data["host"]["id"], host);
                    match answer {
                        Answer::Error(text) => assert_eq!(data["error"], Value::from(text)),
                        Answer::Rows(rows) => {
                            let mut expected = data["rows"].clone();
                            for row in expected.as_array_mut().unwrap() {
                                for added in wire::ADDED_COLUMNS {
                                    row.as_object_mut().unwrap().remove(*added).unwrap();
                                }
                            }
                            let rows: Value = serde_json::from_str(rows.json()).unwrap();
                            assert_eq!(rows, expected, "{name}");
                        }
                    }
                }
                (kind, heard) => panic!("{name}: {kind} became {heard:?}"),
            }
        }
        let results = |(_, message): &&(String, Value)| message["type"] == "result";
        assert_eq!(answers, RECORDED.iter().filter(results).count());
        assert!(answers > 17, "only {answers} answers were recorded");
    }

    /// What is read in one pass is what serde reads of it, wherever a message is damaged.
    #[test]
    fn a_result_in_one_pass_is_the_same() {
        let mut passed = 0;
        for (_, message) in RECORDED.iter().filter(|it| it.1["type"] == "result") {
            let text = message.to_string();
            for at in 0..=text.len() {
                for damage in [
                    "",
                    "}",
                    "\"",
                    ",",
                    "null",
                    "\"rows\":[],",
                    "\"error\":null,",
                    "\"host\":{\"id\":9},",
                ] {
                    if !text.is_char_boundary(at) {
                        continue;
                    }
                    let (before, after) = text.split_at(at);
                    let damaged = format!("{before}{damage}{after}");
                    let Some(Heard::Answer { host, answer }) = usual_result(&damaged, ALL) else {
                        continue;
                    };
                    passed += 1;
                    let message: Message<'_> = serde_json::from_str(&damaged).expect(&damaged);
                    let data = serde_json::from_str(message.data.unwrap().get()).expect(&damaged);
                    let Heard::Answer {
                        host: expected,
                        answer: other,
                    } = result(&data, ALL)
                    else {
                        panic!("{damaged}");
                    };
                    assert_eq!((host, answer), (expected, other), "{damaged}");
                }
            }
        }
        assert!(passed > 1_000, "{passed}");
    }

    #[test]
    fn rows_that_no_host_sends_are_that_hosts_error() {
        let message = r#"{"type":"result","data":{"host":{"id":4},"rows":[{"pid":["secret"]}]}}"#;
        let Heard::Answer {
            host: 4,
            answer: Answer::Error(text),
        } = read(message, ALL)
        else {
            panic!("not an error of host 4");
        };
        assert!(text.starts_with("the answer could not be read: "), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn missing_rows_are_never_no_rows() {
        for data in [
            r#"{"host":{"id":4},"rows":null}"#,
            r#"{"host":{"id":4}}"#,
            r#"{"host":{"id":4},"rows":null,"error":null}"#,
            r#"{"host":{"id":4},"error":""}"#,
        ] {
            let message = format!(r#"{{"type":"result","data":{data}}}"#);
            let Heard::Answer { host: 4, answer } = read(&message, ALL) else {
                panic!("not an answer of host 4");
            };
            let Answer::Error(text) = answer else {
                panic!("{data} became rows");
            };
            assert!(text.contains("the rows are missing"), "{text}");
        }
        let error =
            r#"{"type":"result","data":{"host":{"id":4},"rows":null,"error":"no such table"}}"#;
        assert!(matches!(
            read(error, ALL),
            Heard::Answer { answer: Answer::Error(text), .. } if text == "no such table"
        ));
    }

    #[test]
    fn tells_garbled_messages_from_unknown_ones() {
        for garbled in [
            "",
            "o",
            "[]",
            "{",
            r#"{"data":{}}"#,
            r#"{"type":7}"#,
            r#"{"type":"result"}"#,
            r#"{"type":"result","data":{"host":{"id":"4"},"rows":[]}}"#,
            r#"{"type":"result","data":{"host":{"id":-4},"rows":[]}}"#,
            r#"{"type":"result","data":{"rows":[]}}"#,
        ] {
            assert!(matches!(read(garbled, ALL), Heard::Garbled(_)), "{garbled}");
        }
        for alive in [
            r#"{"type":"totals","data":null}"#,
            r#"{"type":"status"}"#,
            r#"{"data":[1],"type":"later","more":1}"#,
        ] {
            assert!(matches!(read(alive, ALL), Heard::Alive), "{alive}");
        }
        let silent = r#"{"type":"error"}"#;
        assert!(matches!(read(silent, ALL), Heard::Refused(text) if text.is_empty()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// A message that is cut or overwritten anywhere is never read as another host's answer.
        #[test]
        fn damaged_messages_name_no_other_host(pick in 0usize..1_000, at in 0usize..4_000, byte in "[ -~]?") {
            let (_, message) = &RECORDED[pick % RECORDED.len()];
            let text = message.to_string();
            let mut end = at % (text.len() + 1);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let damaged = format!("{}{byte}", &text[..end]);
            // With a blank behind it, a message is whole.
            if damaged.trim_end() != text {
                prop_assert!(!matches!(read(&damaged, ALL), Heard::Answer { .. }), "{}", damaged);
            }
        }
    }
}
