//! Every form of input, and every way to get it wrong.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn refused(bytes: &[u8]) -> (String, Option<(usize, usize)>) {
    let error = decode(bytes).unwrap_err();
    (
        error.message,
        error
            .position
            .map(|position| (position.line, position.column)),
    )
}

#[test]
fn three_forms_in_two_languages() {
    let step = json!({"id": "a", "type": "osquery_live_query", "params": {"limit": 1}});
    for (text, form) in [
        (
            "id: a\ntype: osquery_live_query\nparams: {limit: 1}\n",
            Form::Step,
        ),
        (
            "- id: a\n  type: osquery_live_query\n  params:\n    limit: 1\n",
            Form::List,
        ),
        (
            "\u{feff}[{id: a, type: osquery_live_query, params: {limit: 1}}]",
            Form::List,
        ),
        (
            r#" {"id":"a","type":"osquery_live_query","params":{"limit":1}}"#,
            Form::Step,
        ),
        (
            r#"[{"id":"a","type":"osquery_live_query","params":{"limit":1}}]"#,
            Form::List,
        ),
        (
            r#"{"protocol":1,"step":{"id":"a","type":"osquery_live_query","params":{"limit":1}},"context":{"alert":{"host":"h"}},"secrets":{"t":"s"}}"#,
            Form::Invocation,
        ),
        (
            "protocol: 1\nstep:\n  id: a\n  type: osquery_live_query\n  params: {limit: 1}\ncontext: {alert: {host: h}}\nsecrets: {t: s}\n",
            Form::Invocation,
        ),
    ] {
        let invocation = decode(text.as_bytes()).unwrap();
        assert_eq!(invocation.form, form, "{text}");
        assert_eq!(invocation.step.value(), &step, "{text}");
        if form == Form::Invocation {
            assert_eq!(invocation.context.unwrap()["alert"]["host"], "h");
            assert_eq!(invocation.secrets["t"].expose(), "s");
        } else {
            assert!(invocation.context.is_none() && invocation.secrets.is_empty());
        }
    }
}

#[test]
fn places_are_those_of_the_whole_text_in_every_form() {
    for (text, key, value) in [
        ("id: a\nparams:\n  limit: 1", (3, 3), (3, 10)),
        ("- id: a\n  params: {é: 2, limit: 1}", (2, 18), (2, 25)),
        (
            "{\"é\": 2,\n \"params\": {\"limit\": 1}, \"id\": 1}",
            (2, 13),
            (2, 22),
        ),
        (
            "[{\"é\": 2, \"params\": {\"limit\": 1}, \"id\": 1}]",
            (1, 22),
            (1, 31),
        ),
        (
            "{\"protocol\": 1, \"step\": {\"params\": {\"limit\":\n1}}}",
            (1, 37),
            (2, 1),
        ),
        (
            "protocol: 1\nstep:\n  params:\n    limit: 1",
            (4, 5),
            (4, 12),
        ),
    ] {
        let step = decode(text.as_bytes()).unwrap().step;
        let path = Path::of(&["params", "limit"]);
        let pair = |position: Option<Position>| position.map(|at| (at.line, at.column)).unwrap();
        assert_eq!(pair(step.position_of_key(&path)), key, "{text}");
        assert_eq!(pair(step.position_of_value(&path)), value, "{text}");
    }
}

#[test]
fn messages_word_for_word() {
    let step = r#"{"id":"a","type":"b","params":{}}"#;
    for (text, message, at) in [
        (
            "".into(),
            "stdin is empty: expected one `osquery_live_query` step as YAML or JSON",
            None,
        ),
        (
            " \n# nothing\n".into(),
            "stdin is empty: expected one `osquery_live_query` step as YAML or JSON",
            None,
        ),
        (
            "marker".into(),
            "expected a step (a mapping with `id`, `type` and `params`), found text",
            Some((1, 1)),
        ),
        (
            "[]".into(),
            "expected one step, found a list of 0",
            Some((1, 1)),
        ),
        (
            format!("[{step}, {step}]"),
            "expected one step, found a list of 2",
            Some((1, 1)),
        ),
        (
            "- marker".into(),
            "the list holds text where a step (a mapping) is expected",
            Some((1, 3)),
        ),
        (
            "name: x\nsteps: []".into(),
            "expected one step, found what looks like a playbook (it has `steps`)",
            Some((2, 1)),
        ),
        (
            format!("step: {step}"),
            "`protocol` is missing: an invocation says `protocol: 1`",
            Some((1, 1)),
        ),
        (
            format!("protocol: 2\nstep: {step}"),
            "this `protocol` is not supported; supported: 1",
            Some((1, 11)),
        ),
        (
            format!("protocol: 'marker'\nstep: {step}"),
            "this `protocol` is not supported; supported: 1",
            Some((1, 11)),
        ),
        (
            format!("protocol: true\nstep: {step}"),
            "this `protocol` is not supported; supported: 1",
            Some((1, 11)),
        ),
        (
            "protocol: 1".into(),
            "`step` is missing: an invocation holds the step to run",
            Some((1, 1)),
        ),
        (
            "protocol: 1\nstep: [marker]".into(),
            "`step` must be one step (a mapping), not a list",
            Some((2, 7)),
        ),
        (
            format!("protocol: 1\nstep: {step}\nsecret: marker"),
            "an invocation has no key `secret`: it has `protocol`, `step`, `context` and `secrets`",
            Some((3, 1)),
        ),
        (
            format!("protocol: 1\nstep: {step}\ncontext: [marker]"),
            "`context` must be a mapping, not a list",
            Some((3, 10)),
        ),
        (
            format!("protocol: 1\nstep: {step}\nsecrets: marker"),
            "`secrets` must be a mapping of names to texts, not text",
            Some((3, 10)),
        ),
        (
            format!("protocol: 1\nstep: {step}\nsecrets: {{a: 4711}}"),
            "the secret `a` must be text, not a number",
            Some((3, 14)),
        ),
        (
            format!("{step} marker"),
            "this is not JSON: more text follows the document; stdin holds one",
            Some((1, 35)),
        ),
        (
            "{id: a} marker".into(),
            "this is not YAML: more text follows the document; stdin holds one",
            Some((1, 9)),
        ),
        (
            "id: a\n...\nmarker: 1".into(),
            "a second document begins here: stdin holds exactly one",
            Some((3, 1)),
        ),
        (
            "id: \"a\u{1}\"".into(),
            "a control character that neither YAML nor JSON may hold",
            Some((1, 7)),
        ),
    ] as [(String, &str, Option<(usize, usize)>); 21]
    {
        assert_eq!(refused(text.as_bytes()), (message.to_owned(), at), "{text}");
    }
}

#[test]
fn encodings_and_sizes() {
    assert_eq!(
        refused(b"id: \xc3\xa9\nname: \xc3\xa9\xff"),
        (
            "the input is not UTF-8: this byte begins no character".into(),
            Some((2, 8))
        )
    );
    let utf16: Vec<u8> = "id: a".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [
        utf16.clone(),
        [vec![0xff, 0xfe], utf16].concat(),
        b"\0i\0d".to_vec(),
    ] {
        assert_eq!(
            refused(&bytes),
            (
                "the input is UTF-16 or UTF-32: write it as UTF-8".into(),
                Some((1, 1))
            )
        );
    }
    assert_eq!(
        refused(&vec![b'a'; MAX_INPUT_BYTES + 1]),
        ("the input is longer than 4 MiB".into(), None)
    );
}

#[test]
fn a_context_file_goes_with_a_step_alone() {
    let step = || decode(b"id: a").unwrap();
    let context = step()
        .with_context(b"alert:\n  host: h")
        .unwrap()
        .context
        .unwrap();
    assert_eq!(context["alert"]["host"], "h");
    assert!(step().with_context(b"{\"a\": \"\x7f\"}").is_ok());
    assert_eq!(
        step().with_context(b"[marker]").unwrap_err().to_string(),
        "the context file: expected a mapping such as `alert: {…}`, found a list"
    );
    assert_eq!(
        step().with_context(b"a: 1\na: 2").unwrap_err().to_string(),
        "the context file: the key `a` appears twice in one mapping"
    );
    let invocation = decode(b"protocol: 1\nstep: {}").unwrap();
    assert_eq!(
        invocation.with_context(b"a: 1").unwrap_err(),
        ContextError::InvocationHasItsOwn
    );
}

/// Not a measurement: these only must not take minutes, debug build and a busy machine included.
#[test]
fn hostile_input_is_refused_soon() {
    let mib4 = MAX_INPUT_BYTES;
    let mut bomb = String::from("a0: &a0 [x]\n");
    for level in 1..10 {
        bomb += &format!(
            "a{level}: &a{level} [{}]\n",
            vec![format!("*a{}", level - 1); 9].join(",")
        );
    }
    for (name, text) in [
        ("brackets", "[".repeat(100_000)),
        ("4 MiB of brackets", "[".repeat(mib4)),
        ("braces", "{".repeat(mib4)),
        ("keys in keys", "{a: ".repeat(mib4 / 4)),
        ("explicit keys", "? ".repeat(mib4 / 2)),
        ("dashes", "- ".repeat(mib4 / 2)),
        ("alias bomb", bomb),
        ("one key without end", "k".repeat(mib4)),
        ("one key", "k".repeat(mib4 - 4) + ": 1"),
        ("one quoted key", format!("\"{}\": 1", "k".repeat(mib4 - 8))),
        ("an open quote", "a: \"".to_owned() + &"k".repeat(mib4 - 8)),
        ("anchors", "&a ".repeat(mib4 / 3)),
        ("tags", "!a ".repeat(mib4 / 3)),
        ("comments", "#\n".repeat(mib4 / 2)),
        ("documents", "---\n".repeat(mib4 / 4)),
        (
            "surrogates and numbers",
            format!(
                "[\"{}\",{}",
                "\\ud800".repeat(mib4 / 12),
                "1e999,".repeat(mib4 / 12 - 10)
            ),
        ),
        (
            "a quote and escapes",
            format!("{{\"{}\":1,\"", "\\\"".repeat(mib4 / 2 - 10)),
        ),
        (
            "twice a long key",
            format!("{{\"{0}\":1,\"{0}\":2}}", "\\\"".repeat(mib4 / 4 - 10)),
        ),
        ("spaces", " ".repeat(mib4)),
        ("tabs", "\t".repeat(mib4)),
    ] {
        let start = Instant::now();
        assert!(decode(text.as_bytes()).is_err(), "{name}");
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{name}: {:?}",
            start.elapsed()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn no_text_like_yaml_or_json_makes_it_panic(text in r#"([{}\[\]:,"'&*!|>%@?#~\\ \n\t-]|a|1|: |- |é|\\u|d800){0,60}"#) {
        if let Err(error) = decode(text.as_bytes()) {
            prop_assert!(!error.message.is_empty());
        }
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it(keys in prop::collection::btree_map("\\PC{0,6}|[\\x00-\\x1f\"\\\\\\x7f]{1,3}", any::<Option<i64>>(), 0..6), inner in "\\PC{0,20}") {
        let step = json!({"id": keys, "x": [inner, 1.5, true]});
        for text in [step.to_string(), serde_json::to_string_pretty(&step).unwrap()] {
            let invocation = decode(text.as_bytes()).unwrap();
            prop_assert_eq!(invocation.step.value(), &step);
            for key in step["id"].as_object().unwrap().keys() {
                let at = invocation.step.position_of_key(&Path::of(&["id", key])).unwrap();
                let line = text.split('\n').nth(at.line - 1).unwrap();
                let rest: String = line.chars().skip(at.column - 1).collect();
                prop_assert!(rest.starts_with(&json!(key).to_string()), "{}", rest);
            }
        }
    }
}
