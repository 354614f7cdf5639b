//! Every recorded body of a running osctrl goes through the wire's types.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

const EVERYTHING: Keep = Keep {
    rows: usize::MAX,
    bytes: usize::MAX,
};

fn reader() -> Reader<impl Fn(&str) -> String> {
    Reader {
        keep: EVERYTHING,
        shown: |text: &str| text.trim().to_owned(),
    }
}

/// An item as it stands in a body, read to its answer.
fn answer_of(item: &str) -> Answer {
    reader().answer(Unread::of(item.as_bytes().to_vec(), true).unwrap())
}

fn rows_of(answer: Answer) -> Rows {
    match answer {
        Answer::Rows(rows) => rows,
        Answer::Error(message) => panic!("an error instead of rows: {message}"),
    }
}

fn error_of(answer: Answer) -> String {
    match answer {
        Answer::Error(message) => message,
        Answer::Rows(rows) => panic!("rows instead of an error: {}", rows.json()),
    }
}

/// Path and body of every recorded success, and every refusal.
fn recorded() -> Vec<(String, String, u64, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts/osctrl");
    let mut steps = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let transcript: Value = serde_json::from_str(&text).unwrap();
        for step in transcript["steps"].as_array().unwrap() {
            let request = &step["request"];
            steps.push((
                request["method"].as_str().unwrap().to_owned(),
                request["path"].as_str().unwrap().to_owned(),
                step["response"]["status"].as_u64().unwrap(),
                step["response"]["body"].clone(),
            ));
        }
    }
    assert!(steps.len() > 60, "only {} recorded steps", steps.len());
    steps
}

#[test]
fn understands_every_recorded_body() {
    let (mut pages, mut states, mut answers, mut refusals) = (0, 0, 0, 0);
    for (method, path, status, body) in recorded() {
        let text = body.to_string();
        let path = path.trim_start_matches("/api/v1/");
        let path = path.split('?').next().unwrap();
        let segments: Vec<&str> = path.split('/').collect();
        match (method.as_str(), segments.as_slice(), status) {
            // The last is a path that the router does not have: text.
            (_, _, 302 | 429) | (_, ["checks-auth"], _) | (_, ["nodes"], 404) => {}
            (_, _, 400..) => {
                let refusal: Refusal = serde_json::from_str(&text).unwrap();
                assert!(!refusal.error.is_empty(), "{path}");
                refusals += 1;
            }
            ("POST", ["login"], _) => {
                let session: LoggedIn = serde_json::from_str(&text).unwrap();
                assert!(session.token.unwrap().starts_with("LOGIN_TOKEN"));
            }
            ("POST", ["queries", _], _) => {
                let dispatched: Dispatched = serde_json::from_str(&text).unwrap();
                assert!(dispatched.query_name.unwrap().starts_with("query_"));
            }
            ("GET", ["nodes", _], _) => {
                let page: Page<Node> = serde_json::from_str(&text).unwrap();
                let items = page.items.unwrap();
                assert_eq!(
                    items.len() as u64,
                    page.page_size.unwrap().0.min(page.total_items.unwrap().0),
                );
                for node in items {
                    assert_host(node);
                }
                pages += 1;
            }
            ("GET", ["nodes", _, "all"], _) => {
                for node in serde_json::from_str::<Vec<Node>>(&text).unwrap() {
                    assert_host(node);
                }
            }
            ("POST", ["nodes", "lookup"], _) | ("GET", ["nodes", _, "node", _], _) => {
                assert_host(serde_json::from_str(&text).unwrap());
            }
            ("GET", ["queries", _, "results", _], _) => {
                let total = total_of_results(text.as_bytes()).unwrap();
                let items = body["items"].as_array().unwrap();
                let (page, size) = (&body["page"], &body["page_size"]);
                let before = (page.as_u64().unwrap() - 1) * size.as_u64().unwrap();
                assert_eq!(before + items.len() as u64, total.unwrap());
                for item in items {
                    match answer_of(&item.to_string()) {
                        Answer::Rows(rows) => assert!(matches!(rows.received(), 0 | 2)),
                        Answer::Error(message) => assert_eq!(message, "no such table: nope"),
                    }
                    answers += 1;
                }
            }
            ("GET", ["queries", _, name], _) => {
                let state: State = serde_json::from_str(&text).unwrap();
                assert_eq!(state.id == Count(0), *name == "nosuch", "{path}");
                assert_eq!(
                    state.completed,
                    body["completed"].as_bool().unwrap(),
                    "{path}"
                );
                states += 1;
            }
            ("GET", ["queries", _] | ["queries", _, "list", _], _)
            | ("POST", ["queries", _, _, _], _) => {}
            other => panic!("a recorded call that no type is for: {other:?}"),
        }
    }
    assert!(pages > 5 && states > 8 && answers > 12 && refusals > 12);
}

fn assert_host(node: Node) {
    let host = node.into_host().unwrap();
    assert_eq!(host.id.text(), host.uuid());
    let (kind, number) = host.hostname().split_once('-').unwrap();
    assert!(["host", "dup", "db", "lt"].contains(&kind) && number.len() == 4);
    assert!(host.serial().starts_with("SER"));
    assert_eq!(host.platform, Some(Platform::Linux));
    // Go's zero time, of a host that was enrolled and never seen, is no moment.
    assert!(
        host.last_seen()
            .is_none_or(|at| at.starts_with("2026-11-2"))
    );
    assert_eq!(host.online, None);
}

#[test]
fn keeps_rows_as_osquery_sent_them() {
    let item = r#"{"id":1,"uuid":"A","status":0,"data":"{\"result\":[{\"cmdline\":\"\\\"q\\\" \\u003cé\\u003e\"}],\"status\":0,\"message\":\"\"}"}"#;
    assert_eq!(
        rows_of(answer_of(item)).json(),
        r#"[{"cmdline":"\"q\" <é>"}]"#
    );
}

#[test]
fn reads_what_older_servers_write() {
    let item = r#"{"ID":7,"UUID":"abc","Name":"q","Status":0,"Data":{"result":[],"status":0}}"#;
    assert_eq!(rows_of(answer_of(item)).json(), "[]");
    let named = Item::read(item.as_bytes()).unwrap().named(item.as_bytes());
    assert_eq!((&*named.id, named.host), ("7", Some(HostId::from("ABC"))));
    let failed = r#"{"ID":8,"UUID":"def","Data":"{\"status\":1,\"message\":\"no\"}"}"#;
    assert_eq!(error_of(answer_of(failed)), "no");
    let state: State = serde_json::from_str(r#"{"ID":3,"Expected":2,"Completed":true}"#).unwrap();
    assert_eq!((state.id, state.expected), (Count(3), Count(2)));
    assert!(state.completed);
    let node: Node = serde_json::from_str(
        r#"{"ID":1,"UUID":"a-b","Hostname":"h","HardwareSerial":"S","Platform":"windows"}"#,
    )
    .unwrap();
    let host = node.into_host().unwrap();
    assert_eq!((&*host.id.text(), host.uuid()), ("A-B", "a-b"));
    assert_eq!(host.platform, Some(Platform::Windows));
}

#[test]
fn either_status_makes_an_error() {
    for (item, message) in [
        (
            r#"{"uuid":"A","status":0,"data":"{\"status\":1,\"message\":\" no such table \"}"}"#,
            "no such table",
        ),
        (
            r#"{"uuid":"A","status":1,"data":"{\"status\":0,\"result\":[],\"message\":\"m\"}"}"#,
            "m",
        ),
        (
            r#"{"uuid":"A","status":-1,"data":"{}"}"#,
            "osquery reported an error without a message",
        ),
        (
            r#"{"uuid":"A","status":2,"data":null}"#,
            "osquery reported an error without a message",
        ),
        (
            r#"{"uuid":"A","data":"{\"status\":\"1\"}"}"#,
            "osquery reported an error without a message",
        ),
    ] {
        assert_eq!(error_of(answer_of(item)), message, "{item}");
    }
}

#[test]
fn unreadable_data_is_that_hosts_error_and_never_shown() {
    for (item, message) in [
        (r#"{"uuid":"A"}"#, "it is missing"),
        (r#"{"uuid":"A","data":12}"#, "it is missing"),
        (
            r#"{"uuid":"A","data":"secret"}"#,
            "not JSON (line 1, column 1)",
        ),
        (
            r#"{"uuid":"A","data":"{\"result\":"}"#,
            "not JSON (line 1, column 10)",
        ),
        (
            r#"{"uuid":"A","data":"{\"result\":[\"secret\"]}"}"#,
            "the rows are not osquery's: not a list of objects of plain values (line 1, column 9)",
        ),
        (r#"{"uuid":"A","data":"{}"}"#, "the rows are missing"),
        (
            r#"{"uuid":"A","data":"{\"result\":null,\"status\":0}"}"#,
            "the rows are missing",
        ),
        (
            r#"{"uuid":"A","data":"{\"message\":{\"secret\":1}}"}"#,
            "JSON that does not have osctrl's form (line 1, column 11)",
        ),
        (
            r#"{"uuid":"A","data":"\ud800secret"}"#,
            "not JSON (line 1, column 8)",
        ),
    ] {
        let text = error_of(answer_of(item));
        assert_eq!(text, format!("the answer could not be read: {message}"));
    }
}

#[test]
fn counts_are_never_too_large_or_negative() {
    let count = |text: &str| serde_json::from_str::<Count>(text).unwrap().0;
    assert_eq!(count("-5"), 0);
    assert_eq!(count("null"), 0);
    assert_eq!(count("-1.5e300"), 0);
    assert_eq!(count("99999999999999999999999"), u64::MAX);
    assert_eq!(count("18446744073709551615"), u64::MAX);
    assert!(serde_json::from_str::<Count>(r#""5""#).is_err());
}

#[test]
fn missing_and_null_lists_are_empty() {
    for around in [r#"{"items":null}"#, "{}", " []", r#"{"items":[]}"#] {
        assert_eq!(total_of_results(around.as_bytes()).unwrap(), None);
    }
    let total = total_of_results(br#"{"items":[],"total_items":7}"#);
    assert_eq!(total.unwrap(), Some(7));
    for none in ["<html>", r#"{"items":{}}"#, r#"{"items":7}"#] {
        assert!(total_of_results(none.as_bytes()).is_err(), "{none}");
    }
    let page: Page<Node> = serde_json::from_str("{}").unwrap();
    assert!(page.items.is_none());
}

#[test]
fn a_node_without_a_uuid_is_no_host_and_never_seen_has_no_time() {
    let node = |text: &str| serde_json::from_str::<Node>(text).unwrap().into_host();
    assert_eq!(node(r#"{"hostname":"h"}"#), None);
    assert_eq!(node(r#"{"hostname":"h","uuid":" "}"#), None);
    let host = node(r#"{"uuid":"u","last_seen":"0001-01-01T00:00:00Z","node_key":"k"}"#).unwrap();
    assert_eq!(host.last_seen(), None);
    assert!(!format!("{host:?}").contains("\"k\""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever stands in a body, in an item or in its data, it is read or refused.
    #[test]
    fn nothing_that_is_sent_makes_it_fail(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u00", "d8", "null", "1", "-1e999", "true",
            "\"items\"", "\"data\"", "\"id\"", "\"uuid\"", "\"status\"", "\"result\"", "\"message\"", "é",
        ]), 0..24),
    ) {
        let text = pieces.concat();
        let _ = total_of_results(text.as_bytes());
        for whole in [true, false] {
            let item = Unread::of(text.as_bytes().to_vec(), whole);
            let _ = item.map(|item| reader().answer(item));
        }
        for data in [text.clone(), serde_json::Value::from(text.as_str()).to_string()] {
            for status in [0, 1] {
                let item = format!("{{\"status\":{status},\"data\":{data}}}");
                let item = Unread::of(item.into_bytes(), true);
                if let Some(Answer::Error(message)) = item.map(|item| reader().answer(item)) {
                    prop_assert!(!message.is_empty());
                }
            }
        }
        let _ = serde_json::from_str::<State>(&text);
        let _ = serde_json::from_str::<Page<Node>>(&text);
    }

    /// What is read in one pass is what serde reads of it, wherever it is damaged.
    #[test]
    fn data_in_one_pass_is_the_same(
        rows in prop::collection::vec(prop::collection::btree_map("[a-z]{1,3}", "[a-z\"\\\\]{0,4}", 0..3), 0..3),
        damage in prop::sample::select(vec!["", "}", "\"", ",", "null", "\"result\":[],", "\"status\":1,", "\"status\":0,", "\"message\":\"\","]),
        at in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut data = json!({"name": "q", "result": rows, "status": 0, "message": ""}).to_string();
        if !whole {
            data.insert_str(at.index(data.len() + 1), damage);
        }
        let usual = usual_rows(&data, EVERYTHING);
        prop_assert!(usual.is_some() || !whole);
        if let Some(usual) = usual {
            let read: Data<'_> = serde_json::from_str(&data).unwrap();
            prop_assert!(is_success(read.status));
            prop_assert_eq!(Ok(usual), Rows::read(read.result.map_or("null", RawValue::get), &[], EVERYTHING));
        }
    }

    /// Rows that osquery sent come out of the string in a string as they were.
    #[test]
    fn rows_survive_being_json_in_json(
        rows in prop::collection::vec(prop::collection::btree_map("[a-z_]{1,8}", "\\PC{0,12}", 0..4), 0..5),
    ) {
        let data = json!({"name": "q", "result": rows, "status": 0, "message": ""}).to_string();
        let item = json!({"id": 1, "uuid": "U", "status": 0, "data": data}).to_string();
        let kept = rows_of(answer_of(&item));
        prop_assert_eq!(kept.received(), rows.len());
        prop_assert_eq!(serde_json::from_str::<Value>(kept.json()).unwrap(), json!(rows));
    }
}

/// What is read in one pass is what serde reads of it, wherever an item is damaged.
#[test]
fn an_item_in_one_pass_is_the_same() {
    let data =
        r#"{\"name\":\"q\",\"result\":[{\"a\":\"\\\\\u003c\u00e9\ud83d\ude00\"}],\"status\":0}"#;
    let item = format!(
        r#"{{"id":12,"created_at":"2026-11-27T10:00:00Z","uuid":"A-\u0042","environment":"dev","name":"q","data":"{data}","status":0}}"#
    );
    assert!(usual_item(&item).is_some(), "{item}");
    let mut passed = 0;
    for at in 0..=item.len() {
        for damage in [
            "",
            "}",
            "\"",
            ",",
            "\\",
            "\n",
            " ",
            "null",
            "\\u12",
            "\"id\":null,",
            "\"uuid\":null,",
            "\"status\":null,",
            "\"data\":\"\",",
            "\"Data\":null,",
            "\"UUID\":\"x\",",
        ] {
            // Put in, and in place of what stood there.
            for after in [at, at + 1] {
                let (Some(before), Some(after)) = (item.get(..at), item.get(after..)) else {
                    continue;
                };
                let damaged = format!("{before}{damage}{after}");
                let Some((named, data)) = usual_item(&damaged) else {
                    continue;
                };
                passed += 1;
                let expected = Unread::of_any_form(damaged.clone().into_bytes(), true);
                let expected = expected.expect(&damaged);
                assert_eq!(
                    (named, Some(data)),
                    (expected.named, expected.data),
                    "{damaged}"
                );
            }
        }
    }
    assert!(passed > 1_000, "{passed}");
}
