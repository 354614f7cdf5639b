//! What is read, what is refused, and where.

use super::*;
use serde_json::json;

fn read(text: &str) -> Value {
    compose(text, Repeats::Refused).unwrap().0
}

fn refused(text: &str) -> (String, usize, usize) {
    let error = compose(text, Repeats::Refused).unwrap_err();
    let at = error.position.unwrap();
    (error.message, at.line, at.column)
}

#[test]
fn plain_scalars_are_typed_by_few_rules() {
    assert_eq!(
        read(
            "[~, null, NULL, true, false, 0, -7, +5, 1.5, 1e3, .5, 18446744073709551615, -9223372036854775808]"
        ),
        json!([
            null,
            null,
            null,
            true,
            false,
            0,
            -7,
            5,
            1.5,
            1000.0,
            0.5,
            18446744073709551615_u64,
            -9223372036854775808_i64
        ])
    );
    for text in [
        "no",
        "yes",
        "on",
        "True",
        "FALSE",
        "0777",
        "0o17",
        "0x1F",
        "1_000",
        ".inf",
        ".nan",
        "+",
        ".",
        "1e",
        "e3",
        "1.2.3",
        "2026-01-01",
        "12:30",
        "18446744073709551616",
        "-9223372036854775809",
        "1e999",
        "01.5",
        "NaN",
        "--1",
        "1.5.e3",
    ] {
        assert_eq!(read(&format!("k: {text}")), json!({"k": text}), "{text}");
    }
    assert_eq!(
        read("k:\nj: 'null'\nl: \"5\""),
        json!({"k": null, "j": "null", "l": "5"})
    );
    assert_eq!(read("1: a\ntrue: b"), json!({"1": "a", "true": "b"}));
    assert_eq!(read(""), Value::Null);
    assert_eq!(read("# only a comment\n"), Value::Null);
    assert_eq!(read("---\na: 1\n...\n"), json!({"a": 1}));
}

#[test]
fn what_yaml_offers_beyond_data_is_refused_with_its_place() {
    for (text, message, line, column) in [
        (
            "a: 1\nb: 2\na: 3",
            "the key `a` appears twice in one mapping",
            3,
            1,
        ),
        (
            "{a: 1, \"a\": 2}",
            "the key `a` appears twice in one mapping",
            1,
            8,
        ),
        (
            "a: &x 1\n",
            "anchors (`&name`) are not accepted: write the value out",
            1,
            4,
        ),
        (
            "a: &x\n  b: 1\n",
            "anchors (`&name`) are not accepted: write the value out",
            1,
            4,
        ),
        (
            "a: *x\n",
            "aliases (`*name`) are not accepted: write the value out, or put the text in quotes",
            1,
            4,
        ),
        (
            "a: !!str 1\n",
            "tags (`!name`) are not accepted: remove it, or put the text in quotes",
            1,
            4,
        ),
        (
            "a: ! 1\n",
            "tags (`!name`) are not accepted: remove it, or put the text in quotes",
            1,
            4,
        ),
        (
            "a: !e!x 1\n",
            "tags (`!name`) are not accepted: remove it, or put the text in quotes",
            1,
            4,
        ),
        (
            "a: !secret {b: 1}\n",
            "tags (`!name`) are not accepted: remove it, or put the text in quotes",
            1,
            4,
        ),
        (
            "a: 1\n<<: {b: 2}\n",
            "merge keys (`<<`) are not accepted: write the keys out",
            2,
            1,
        ),
        (
            "? [a]\n: b\n",
            "a key must be plain text, not a list or a mapping",
            1,
            3,
        ),
        (
            "a: {{ alert.host }}\n",
            "an expression must be in quotes: \"{{ alert.host }}\"",
            1,
            5,
        ),
        (
            "a: 1\n---\nb: 2\n",
            "a second document begins here: stdin holds exactly one",
            2,
            1,
        ),
        (
            "%YAML 1.2\n---\na: 1\n",
            "directives (`%YAML`, `%TAG`) are not accepted: remove the line",
            1,
            1,
        ),
    ] {
        assert_eq!(refused(text), (message.to_owned(), line, column), "{text}");
    }
    assert_eq!(read("'<<': 1"), json!({"<<": 1}));
}

#[test]
fn common_mistakes_are_said_in_words() {
    for (text, message, line, column) in [
        (
            "a:\n\tb: 1\n",
            "this is not YAML: a tab can't indent; use spaces",
            2,
            2,
        ),
        (
            "a: b: c\n",
            "this is not YAML: a `:` where no key can stand; check the indentation, and put text that holds `: ` in quotes",
            1,
            5,
        ),
        (
            "a: 1\n b: 2\n",
            "this is not YAML: a `:` where no key can stand; check the indentation, and put text that holds `: ` in quotes",
            2,
            3,
        ),
        (
            "a: 1\nb\nc: 2\n",
            "this is not YAML: a key without `:`, or longer than 1,024 characters",
            2,
            1,
        ),
        (
            "a:\n  b: \"x\n",
            "this is not YAML: a quoted text goes on in a line with less indentation; is its closing quote missing?",
            3,
            1,
        ),
        (
            "a: @b\n",
            "this is not YAML: a character that can't begin a value; put the text in quotes",
            1,
            4,
        ),
        (
            "a: [{{ alert.host }}]\n",
            "an expression must be in quotes: \"{{ alert.host }}\"",
            1,
            6,
        ),
        (
            "a: [*]\n",
            "`*` and `&` begin aliases and anchors, which are not accepted: put the text in quotes",
            1,
            5,
        ),
        (
            "a: 1\n  \nb: 2\n c: 3\n",
            "this is not YAML: a `:` where no key can stand; check the indentation, and put text that holds `: ` in quotes",
            4,
            3,
        ),
        (
            "a: [b}\n",
            "this is not YAML: mismatched bracket '[' closed by '}'",
            1,
            4,
        ),
    ] {
        assert_eq!(refused(text), (message.to_owned(), line, column), "{text}");
    }
}

#[test]
fn the_levels_of_a_context_and_no_more() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(compose(&nested(DEEPEST), Repeats::Refused).is_ok());
    assert_eq!(
        refused(&nested(DEEPEST + 1)),
        (
            "lists and mappings are nested more than 256 deep".into(),
            1,
            258
        )
    );
    let block: String = (0..270).map(|depth| " ".repeat(depth) + "a:\n").collect();
    assert_eq!(
        refused(&block).0,
        "lists and mappings are nested more than 256 deep"
    );
    let mixed: String = (0..140)
        .map(|depth| " ".repeat(depth) + "a:\n")
        .collect::<String>()
        + &" ".repeat(140)
        + &nested(140);
    assert_eq!(
        refused(&mixed).0,
        "lists and mappings are nested more than 256 deep"
    );
}

#[test]
fn syntax_errors_show_no_text_of_the_document() {
    for text in [
        "a: 'marker",
        "a: @marker",
        "a: [marker",
        "a: b: marker",
        "- marker\nb",
        "a: \"\\qmarker\"",
        "a: %marker",
    ] {
        let error = compose(text, Repeats::Refused).unwrap_err();
        assert!(!error.message.contains("marker"), "{}", error.message);
        assert!(error.position.is_some());
    }
}

fn expanded(text: &str) -> Value {
    compose(text, Repeats::Expanded).unwrap().0
}

#[test]
fn files_may_repeat_themselves() {
    assert_eq!(
        expanded("a: &x {k: 1}\nb: *x\nc: [*x, &y 2, *y]\n"),
        json!({"a": {"k": 1}, "b": {"k": 1}, "c": [{"k": 1}, 2, 2]})
    );
    // Keys of the mapping itself win over merged ones, earlier ones over later ones.
    assert_eq!(
        expanded("x: &x {k: 1, l: 1}\ny: &y {l: 2, m: 2}\nz:\n  <<: [*x, *y]\n  k: 0\n"),
        json!({"x": {"k": 1, "l": 1}, "y": {"l": 2, "m": 2}, "z": {"k": 0, "l": 1, "m": 2}})
    );
    // What is copied keeps the place that it has at its anchor.
    let text = "x: &x\n  k: 1\ny:\n  <<: *x\nz: *x\n";
    let document = crate::input::decode_file(text.as_bytes()).unwrap();
    for path in [["x", "k"], ["y", "k"], ["z", "k"]] {
        let at = document.position_of_key(&crate::path::Path::of(&path));
        assert_eq!(at, Some(Position { line: 2, column: 3 }), "{path:?}");
    }
}

#[test]
fn repeats_have_limits() {
    let refused = |text: &str| {
        let error = compose(text, Repeats::Expanded).unwrap_err();
        let at = error.position.unwrap();
        (error.message, at.line, at.column)
    };
    let bomb: String = (1..12)
        .map(|level| {
            let inner = vec![format!("*a{}", level - 1); 9].join(", ");
            format!("a{level}: &a{level} [{inner}]\n")
        })
        .collect();
    let (message, line, _) = refused(&format!("a0: &a0 x\n{bomb}"));
    assert!(message.starts_with("the aliases make this file too large"));
    assert!(line < 8, "{line}");
    let deep: String = (1..300)
        .map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1))
        .collect();
    assert!(
        refused(&format!("a0: &a0 x\n{deep}"))
            .0
            .contains("nested more than 256 deep")
    );
    for (text, message, line, column) in [
        (
            "a: &a [*a]",
            "this alias is inside what its anchor names, so it would never end",
            1,
            8,
        ),
        (
            "a: *b",
            "this alias (`*name`) names no anchor (`&name`) before it: put the text in quotes if none is meant",
            1,
            4,
        ),
        (
            "a: &a 1\nb:\n  <<: *a",
            "`<<` takes a mapping or a list of mappings, such as `<<: *defaults`",
            1,
            7,
        ),
        (
            "a: !x 1",
            "tags (`!name`) are not accepted: remove it, or put the text in quotes",
            1,
            4,
        ),
        (
            "a: 1\na: 2",
            "the key `a` appears twice in one mapping",
            2,
            1,
        ),
        (
            "&a b: 1",
            "a key takes no anchor (`&name`): remove it",
            1,
            4,
        ),
        (
            "a: 1\n---\nb: 2",
            "a second document begins here: a file holds exactly one",
            2,
            1,
        ),
    ] {
        assert_eq!(refused(text), (message.to_owned(), line, column), "{text}");
    }
}
