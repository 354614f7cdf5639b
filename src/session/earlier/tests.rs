//! Whatever the file holds: it is read, or refused with a place, and nothing panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const ID: &str = "5f0c2a54-9a1e-4c37-8b58-0d8f2f3f6f11";

fn document() -> Value {
    json!({
        "results": {"web-01": [{"pid": "1"}], "web-02": []},
        "partial": true,
        "timed_out_hosts": ["web-03"],
        "failed_hosts": ["web-02"],
        "executed": true,
        "hosts": {
            "web-01": {"status": "ok", "rows": 1, "uuid": "A", "answered_ms": 5, "answered_at": "2026-11-20T23:53:12.004Z"},
            "web-02": {"status": "error", "error": "no such table: x", "uuid": "B", "answered_ms": 6, "answered_at": "2026-11-20T23:53:12.005Z"},
            "web-03": {"status": "no_answer", "uuid": "C"},
        },
        "campaign": {"backend": "osctrl", "id": "query_1", "targeted": 3, "responded": 2, "rows": 1, "elapsed_ms": 9},
        "run": {
            "id": ID, "version": "0.1.0", "template": "uptime", "parameters": {}, "sql": "SELECT 1",
            "server": {"backend": "osctrl", "url": "https://h/", "environment": "dev"},
            "started_at": "2026-11-20T23:53:11.190Z", "finished_at": "2026-11-20T23:53:13.000Z",
        },
    })
}

fn read(text: &str) -> Result<Earlier, String> {
    read::read(text.as_bytes().to_vec())
}

/// The document as lines.
fn lines(document: &Value) -> String {
    let mut text = String::new();
    for (key, rows) in document["results"].as_object().unwrap() {
        let line = json!({"type": "host", "host": key, "status": "ok", "rows": rows});
        text.push_str(&format!("{line}\n"));
    }
    let mut summary = document.clone();
    summary.as_object_mut().unwrap().shift_remove("results");
    summary["type"] = "summary".into();
    format!("{text}{summary}\n")
}

#[test]
fn a_document_and_its_lines_say_the_same() {
    let whole = document();
    let said = |earlier: Earlier| {
        let rows = earlier.hosts.iter().map(|host| {
            let rows = host
                .rows
                .clone()
                .map(|range| earlier.text[range].to_owned());
            (host.key.clone(), host.status, rows)
        });
        (
            rows.collect::<Vec<_>>(),
            earlier.run.clone(),
            earlier.campaigns.clone(),
        )
    };
    let one = said(read(&whole.to_string()).unwrap());
    let other = said(read(&lines(&whole)).unwrap());
    assert_eq!(one, other);
    assert_eq!(
        one.0[0],
        ("web-01".into(), Status::Ok, Some(r#"[{"pid":"1"}]"#.into()))
    );
    assert_eq!(one.0[2], ("web-03".into(), Status::NoAnswer, None));
    assert_eq!((one.1.as_str(), one.2), (ID, vec!["query_1".to_owned()]));
    // As editors write it, and with a mark before it.
    let pretty = format!("\u{feff}{:#}\n\n", whole);
    assert_eq!(said(read(&pretty).unwrap()).1, ID);
}

/// What is wrong with a text.
fn wrong(text: &str) -> String {
    read(text).map(|_| ()).unwrap_err()
}

#[test]
fn what_is_no_document_is_told_with_its_place() {
    let change = |pointer: &str, value: Value| {
        let mut whole = document();
        *whole.pointer_mut(pointer).unwrap() = value;
        whole.to_string()
    };
    let without = |parent: &str, key: &str| {
        let mut whole = document();
        let parent = whole.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        parent.shift_remove(key);
        whole.to_string()
    };
    for (text, expected) in [
        (String::new(), "it is empty"),
        (" \n".into(), "it is empty"),
        (
            "{".into(),
            "line 1, column 2: it ends in the middle: it was not written whole",
        ),
        ("id: s\n".into(), "line 1, column 1: this is not JSON"),
        (
            "{\"results\":\n é}".into(),
            "line 2, column 2: this is not JSON",
        ),
        (
            "[]".into(),
            "line 1, column 1: the document must be a mapping",
        ),
        (
            "1 2".into(),
            "line 1, column 1: the document must be a mapping",
        ),
        (
            "{}".into(),
            "it is not a document of `run`: `results` is missing",
        ),
        (
            format!("{}\n{{}}", document()),
            "line 2, column 1: more text follows the document",
        ),
        (
            without("", "run"),
            "it does not say which run it belongs to (`run`): an older version wrote it, or another program",
        ),
        (
            without("/run", "sql"),
            "it does not say which SQL was asked: an older version wrote it, or that run was refused before anything was sent",
        ),
        (
            without("/run", "server"),
            "it does not say which server was asked: an older version wrote it, or that run was refused before anything was sent",
        ),
        (change("/run/id", json!("x")), "`run.id` must be a uuid"),
        (change("/run/id", json!(1)), "`run.id` must be text"),
        (
            change("/run/started_at", json!("today")),
            "`run.started_at` must be a time in RFC 3339, in UTC",
        ),
        (change("/run", json!([1])), "`run` must be a mapping"),
        (
            change("/results", json!([1])),
            "`results` must be a mapping",
        ),
        (
            change("/hosts", json!("secret")),
            "`hosts` must be a mapping",
        ),
        (
            change("/hosts/web-01", json!(7)),
            "a host must be a mapping",
        ),
        (
            change("/hosts/web-01/status", json!("secret")),
            "`status` of a host is none that is known",
        ),
        (
            change("/hosts/web-01/rows", json!(-1)),
            "`rows` of a host must be a whole number",
        ),
        (
            change("/hosts/web-01/uuid", json!(["secret"])),
            "`uuid` of a host must be text",
        ),
        (
            change("/hosts/web-01/status", json!("unknown")),
            "a host that did not answer has rows here",
        ),
        (
            change("/hosts/web-03/status", json!("ok")),
            "a host that answered is missing in `results`",
        ),
        (
            without("/hosts/web-01", "answered_at"),
            "a host that answered does not say when (`answered_at`)",
        ),
        (
            without("/hosts", "web-01"),
            "a host that has rows here is missing in `hosts`",
        ),
        (
            without("/results", "web-01"),
            "a host that answered is missing in `results`",
        ),
        (
            change("/campaign", json!(null)),
            "`campaign` must be a mapping",
        ),
        (
            change("/campaign/id", json!(7)),
            "`campaign.id` must be text",
        ),
        (
            document()
                .to_string()
                .replacen("\"partial\"", "\"planned\":{},\"partial\"", 1),
            "it is a document of `check`, which asks nobody",
        ),
        (
            document()
                .to_string()
                .replacen("\"web-02\":[]", "\"web-01\":[]", 1),
            "a key of `results`appears twice",
        ),
        (
            document()
                .to_string()
                .replacen("\"partial\":true", "\"results\":{}", 1),
            "a key of the documentappears twice",
        ),
        (
            lines(&document()).lines().next().unwrap().into(),
            "it has no summary, which is the last line of a run: that run was ended before it",
        ),
        (
            lines(&document()).replacen("web-02", "web-01", 1),
            "a host has a second line",
        ),
        (
            lines(&document()).replacen("\"host\"", "\"secret\"", 1),
            "`type` must be `host` or `summary`",
        ),
        (
            format!("{0}{0}", lines(&document())),
            "a summary must be the last line, and this is not",
        ),
    ] {
        let came = wrong(&text);
        assert!(came.ends_with(expected), "{came}\n{expected}\n{text}");
        assert!(!came.contains("secret"), "{came}");
    }
    assert!(
        read::read(b"{\"a\": \xff}".to_vec())
            .unwrap_err()
            .ends_with("column 7: this is not UTF-8")
    );
}

#[test]
fn depth_and_numbers_beyond_all_measure_are_survived() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let nested = format!("{}1{}", "{\"a\":".repeat(500_000), "}".repeat(500_000));
    for hostile in [
        deep.as_str(),
        nested.as_str(),
        "1e999999",
        "-0",
        "\"\\ud800\"",
    ] {
        for place in [
            "results",
            "hosts",
            "campaign",
            "run",
            "queued_until",
            "type",
        ] {
            let _ = read(&format!("{{\"{place}\":{hostile}}}"));
            let mut whole = document().to_string();
            whole.insert_str(1, &format!("\"{place}\":{hostile},"));
            let _ = read(&whole);
        }
        for place in ["sql", "parameters", "server", "as_of", "id"] {
            let text = document().to_string();
            let text = text.replacen("\"run\":{", &format!("\"run\":{{\"{place}\":{hostile},"), 1);
            let _ = read(&text);
        }
        for place in ["status", "uuid", "rows", "answered_ms", "error"] {
            let text = document().to_string();
            let _ = read(&text.replacen(
                "\"web-03\":{",
                &format!("\"web-03\":{{\"{place}\":{hostile},"),
                1,
            ));
        }
    }
}

proptest! {
    /// A byte that is changed, put in or taken out anywhere.
    #[test]
    fn no_byte_makes_it_panic(at in 0usize..1_200, byte in any::<u8>(), what in 0u8..3, as_lines in any::<bool>()) {
        let mut bytes = match as_lines {
            true => lines(&document()),
            false => document().to_string(),
        }
        .into_bytes();
        let at = at % bytes.len();
        match what {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => bytes.truncate(at),
        }
        if let Ok(earlier) = read::read(bytes) {
            for host in &earlier.hosts {
                let _ = host.rows.clone().map(|range| earlier.text[range].len());
                let keep = Keep { rows: 10, bytes: 1_000 };
                let _ = earlier.came(host, keep, &Notices::unheard());
            }
        }
    }

    #[test]
    fn no_json_makes_it_panic(text in "\\PC{0,200}|(\\{|\\}|\\[|\\]|\"|,|:|type|results|host|null|1){0,60}") {
        let _ = read(&text);
    }
}

#[test]
fn rows_keep_to_the_caps_and_hold_no_secret() {
    let notices = Notices::unheard();
    notices.learn(&crate::secret::Secret::new("tok\"en-1234".into()));
    let json = json!([{"a": "x tok\"en-1234 y", "b": 1}, {"a": "2", "b": null}]).to_string();
    let keep = Keep {
        rows: 1,
        bytes: 1_000,
    };
    let rows = rows(&json, keep, &notices).unwrap();
    assert_eq!(rows.json(), r#"[{"a":"x [redacted] y","b":1}]"#);
    assert_eq!((rows.received(), rows.truncated()), (2, true));
}
