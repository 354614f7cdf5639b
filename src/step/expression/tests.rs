//! Every rule of the grammar, and its message.

use super::*;
use proptest::prelude::*;

fn only(text: &str) -> Expression {
    Template::parse(text).unwrap().whole().unwrap().clone()
}

#[test]
fn paths_and_filters() {
    let expression =
        only("{{ alert.tags[0]['a b'][\"c\\\"d\"] | default(\"x\", true)|lower | join(', ') }}");
    assert_eq!(
        expression.path,
        Path::of(&["alert", "tags"]).index(0).key("a b").key("c\"d")
    );
    assert_eq!(
        expression.filters,
        [
            FilterCall {
                filter: Filter::Default,
                arguments: vec![Literal::Text("x".into()), Literal::Boolean(true)]
            },
            FilterCall {
                filter: Filter::Lower,
                arguments: vec![]
            },
            FilterCall {
                filter: Filter::Join,
                arguments: vec![Literal::Text(", ".into())]
            },
        ]
    );
    for (literal, value) in [
        ("-5", Literal::Integer(-5)),
        ("1.5", Literal::Fraction(1.5)),
        ("'}}'", Literal::Text("}}".into())),
        ("false", Literal::Boolean(false)),
    ] {
        let expression = only(&format!("{{{{a|default({literal})}}}}"));
        assert_eq!(expression.filters[0].arguments, [value]);
    }
    assert_eq!(only("\n{{ a }}\n").path, Path::of(&["a"]));
    let template = Template::parse("a }} {{ b }}c").unwrap();
    assert_eq!(template.parts.len(), 3);
    assert!(template.whole().is_none());
    assert!(Template::parse("{{ a }}{{ b }}").unwrap().whole().is_none());
}

#[test]
fn everything_else_is_refused_in_words() {
    let more = "holds more than a path such as `alert.host` or `alert.tags[0]` and filters: no arithmetic, comparisons, conditions, calls or literals";
    let secrets = "may not name `secrets`: a secret is allowed only in `api_token`, `username` and `password`, as exactly `{{ secrets.NAME }}`";
    for (text, message) in [
        ("{{ a + b }}", more),
        ("{{ 'x' * 100000000 }}", more),
        ("{{ a ~ b }}", more),
        ("{{ a == b }}", more),
        ("{{ a if b else c }}", more),
        ("{{ a and b }}", more),
        ("{{ range(10) }}", more),
        ("{{ a.b() }}", more),
        ("{{ [a] }}", more),
        ("{{ {'a': b} }}", more),
        ("{{ (a) }}", more),
        ("{{ 5 }}", more),
        ("{{ -a }}", more),
        ("{{ not a }}", more),
        ("{{ true }}", more),
        ("{{ a, b }}", more),
        ("{{ a is defined }}", more),
        ("{{ a }", more),
        ("{{ ä }}", more),
        ("{{ secrets.token }}", secrets),
        ("x{{ secrets }}", secrets),
        ("{{ secrets[alert.x] }}", secrets),
        (
            "{{ a[b] }}",
            "holds an index that is neither a number nor a quoted name: nothing is computed",
        ),
        (
            "{{ a[0:2] }}",
            "holds a `[` without its `]`: it takes one number or one quoted name",
        ),
        (
            "{{ a[-1] }}",
            "holds a negative index: use the filter `last` for the last item",
        ),
        (
            "{{ a[99999999999999999999] }}",
            "holds an index that is too large",
        ),
        ("{{ a['b }}", "holds a quote that is not closed"),
        (
            "{{ a['\\n'] }}",
            "holds an escape other than `\\\\`, `\\'` and `\\\"` in quotes",
        ),
        (
            "{{ a.0 }}",
            "holds a `.` without a name after it: write `alert['some name']` for a name that is no word, `alert.tags[0]` for an item",
        ),
        ("{{ a", "holds a `{{` without its `}}`"),
        ("x {{", "holds a `{{` without its `}}`"),
        ("{{ }}", "holds an empty expression (`{{ }}`)"),
        (
            "{{- a }}",
            "trims blanks (`{{-`): write `{{`, and the filter `trim` where needed",
        ),
        (
            "{{ a -}}",
            "trims blanks (`-}}`): write `}}`, and the filter `trim` where needed",
        ),
        (
            "{% for a in b %}",
            "holds a statement (`{%`): only expressions (`{{ … }}`) are rendered",
        ),
        (
            "{{ a }}{# b #}",
            "holds a comment (`{#`): only expressions (`{{ … }}`) are rendered",
        ),
        ("{{ a | }}", "holds a `|` without a filter after it"),
        (
            "{{ a | lowr }}",
            "uses an unknown filter `lowr` (did you mean `lower`?): there are default, lower, upper, trim, first, last, join, int, pluck",
        ),
        (
            "{{ a | tojson }}",
            "uses an unknown filter `tojson`: there are default, lower, upper, trim, first, last, join, int, pluck",
        ),
        (
            "{{ a | join(5) }}",
            "uses `join` wrongly: it takes one text, the separator",
        ),
        (
            "{{ a | lower('x') }}",
            "uses `lower` wrongly: it takes nothing in brackets",
        ),
        (
            "{{ a | default(b) }}",
            "uses `default` wrongly: it takes one text or number, and `true` where it also stands in for empty and null values",
        ),
        (
            "{{ a | default('x' * 9) }}",
            "uses `default` wrongly: it takes one text or number, and `true` where it also stands in for empty and null values",
        ),
        (
            "{{ a | default(1.) }}",
            "uses `default` wrongly: it takes one text or number, and `true` where it also stands in for empty and null values",
        ),
    ] {
        assert_eq!(
            Template::parse(text).unwrap_err().message,
            message,
            "{text}"
        );
    }
    let filters = "|trim".repeat(MOST_FILTERS + 1);
    assert_eq!(
        Template::parse(&format!("{{{{a{filters}}}}}"))
            .unwrap_err()
            .message,
        "holds more than 16 filters in one expression"
    );
}

#[test]
fn a_reference_to_a_secret_is_written_out() {
    for text in [
        "{{ secrets.a_b-9 }}",
        "{{secrets.a_b-9}}",
        "{{\tsecrets.a_b-9  }}",
    ] {
        assert_eq!(secret_reference(text), Some("a_b-9"), "{text}");
    }
    for text in [
        "{{ secrets.a.b }}",
        "{{ secrets['a'] }}",
        "{{ secrets. a }}",
        "{{ secrets.a | trim }}",
        " {{ secrets.a }}",
        "Bearer {{ secrets.a }}",
        "{{ secrets }}",
        "{{ secrets. }}",
        "{{ secrets.{{ a }} }}",
        "{{ alert.token }}",
        "secrets.a",
    ] {
        assert_eq!(secret_reference(text), None, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_it_panic(text in r#"(\{\{|\}\}|a|é|\.|\[|\]|0|-|'|"|\\|\||default|\(|\)|,| |\{%){0,20}"#) {
        let _ = Template::parse(&text);
    }

    #[test]
    fn text_without_marks_stays_as_it_is(text in "\\PC{0,40}") {
        prop_assume!(!holds_expression(&text) && !text.is_empty());
        prop_assert_eq!(Template::parse(&text).unwrap().parts, [Part::Text(text)]);
    }
}

#[test]
fn references_that_are_meant_are_told_from_values() {
    for text in [
        "{{ secret.a_b-9 }}",
        "{{ Secrets.a_b-9 }}",
        "{{ secrets.a_b-9 }",
        "{ secrets.a_b-9 }}",
        "{{secrets.a_b-9",
        "${{ secrets.a_b-9 }}",
        "{{ secrets['a_b-9'] }}",
        "{{ secrets[\"a_b-9\"] }}",
        "{{ secrets.a_b-9 | trim | lower }}",
        " {{ secrets.a_b-9 }}\n",
    ] {
        assert_eq!(meant_reference(text), Some("a_b-9"), "{text}");
        assert!(is_only_a_reference(text), "{text}");
    }
    for text in [
        "secrets.a",
        "{hunter2}",
        "{{ hunter2 }}",
        "{{ hunter2.a }}",
        "hunter2{{ secrets.a }}",
        "{{ secrets.a }}hunter2",
        "{{ secrets.a | default('hunter2') }}",
        "{{ secrets.a | hunter2 }}",
        "{{ secrets['hunter2\"] }}",
        "{{ alert.a | default('hunter2') }}",
        "",
        "{",
    ] {
        assert_eq!(meant_reference(text), None, "{text}");
        assert!(!is_only_a_reference(text), "{text}");
    }
    assert_eq!(meant_reference("{{ secrets.a }}"), None);
    for text in ["{{ secrets.a }}", "{{ alert.token }}", "{{ secrets.a b }}"] {
        assert!(is_only_a_reference(text), "{text}");
    }
}
