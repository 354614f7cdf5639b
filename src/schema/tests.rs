//! What the engine says of any document, and how it finds its way in a schema.

use serde_json::json;

use super::*;

/// A schema with one of each rule.
const TEXT: &str = r##"{
  "type": "object",
  "required": ["name", "size"],
  "additionalProperties": false,
  "properties": {
    "name": { "type": "string", "minLength": 1, "maxLength": 4, "pattern": "^[a-z]*$" },
    "size": { "type": "integer", "minimum": 1, "maximum": 9 },
    "kind": { "enum": ["small", "large"] },
    "on": { "type": "boolean" },
    "list": { "type": "array", "minItems": 1, "maxItems": 2, "items": { "$ref": "#/$defs/item" } },
    "either": { "type": ["string", "number"] },
    "never": false,
    "any": { "type": "object", "additionalProperties": { "type": "integer" } },
    "fits": { "multipleOf": 2 }
  },
  "$defs": {
    "item": {
      "if": { "type": "object" },
      "then": { "additionalProperties": false, "properties": { "a": { "type": "string" }, "b": {} } }
    }
  }
}"##;

struct Plain;

impl Words for Plain {
    fn own(&self, _violation: &Violation<'_>) -> Option<Problem> {
        None
    }
}

fn told(changes: Value) -> Vec<String> {
    let mut document = json!({"name": "a", "size": 1});
    for (key, value) in changes.as_object().unwrap() {
        document[key] = value.clone();
    }
    told_of(&document)
}

fn told_of(document: &Value) -> Vec<String> {
    let schema = Schema::new("thing", TEXT);
    let problems = schema.violations(document, &Plain);
    let problems = problems.into_vec().into_iter();
    problems
        .map(|problem| format!("{}: {}: {}", problem.path, problem.rule, problem.message))
        .collect()
}

#[test]
fn each_rule_has_its_words() {
    for (changes, said) in [
        (
            json!({"name": ""}),
            "name: minLength: `name` must not be empty",
        ),
        (
            json!({"name": "aaaaa"}),
            "name: maxLength: `name` has more than 4 characters",
        ),
        (
            json!({"name": "A"}),
            "name: pattern: `name` must not be blank, and must not hold control characters",
        ),
        (
            json!({"name": 1}),
            "name: type: `name` must be text, not a number: put it in quotes",
        ),
        (
            json!({"name": []}),
            "name: type: `name` must be text, not a list",
        ),
        (
            json!({"size": 0}),
            "size: minimum: `size` must be a whole number from 1 to 9",
        ),
        (
            json!({"size": "1"}),
            "size: type: `size` must be a whole number from 1 to 9",
        ),
        (
            json!({"kind": "x"}),
            "kind: enum: `kind` must be one of `small`, `large`",
        ),
        (
            json!({"kind": "Lagre"}),
            "kind: enum: `kind` must be one of `small`, `large`; did you mean `large`?",
        ),
        (
            json!({"on": "yes"}),
            "on: type: `on` must be true or false, in lower case and without quotes",
        ),
        (
            json!({"on": null}),
            "on: type: `on` must be true or false, not nothing (null)",
        ),
        (
            json!({"list": []}),
            "list: minItems: `list` is an empty list",
        ),
        (
            json!({"list": [1, 1, 1]}),
            "list: maxItems: `list` has more than 2 items",
        ),
        (
            json!({"either": []}),
            "either: type: `either` must be text or a number, not a list",
        ),
        (
            json!({"never": 1}),
            "never: not: `never` is not accepted here",
        ),
        (
            json!({"any": {"b c": "x"}}),
            "any['b c']: type: `any['b c']` must be a whole number, not text",
        ),
        (
            json!({"fits": 3}),
            "fits: schema: `fits` breaks the rule `schema` of the thing's schema",
        ),
        (
            json!({"list": [{"a": 1}]}),
            "list[0].a: type: `list[0].a` must be text, not a number: put it in quotes",
        ),
        (
            json!({"list": [7, {"zzz": 1}]}),
            "list[1].zzz: additionalProperties: unknown key `zzz`; the keys here are `a`, `b`",
        ),
        (
            json!({"nmae": 1}),
            "nmae: additionalProperties: unknown key `nmae`: did you mean `name`?",
        ),
        (
            json!({"zzz": 1}),
            "zzz: additionalProperties: unknown key `zzz`: the thing has no such key",
        ),
    ] {
        assert_eq!(told(changes.clone()), [said], "{changes}");
    }
    assert_eq!(
        told_of(&json!({})),
        [
            "name: required: `name` is required",
            "size: required: `size` is required"
        ]
    );
    assert_eq!(
        told_of(&json!([])),
        [": type: the thing must be a mapping, not a list"]
    );
}

#[test]
fn of_one_value_the_first_rule_is_told() {
    assert_eq!(told(json!({"name": "AAAAA"})).len(), 1);
}

#[test]
fn a_schema_that_cant_be_used_lets_nothing_pass() {
    for text in ["{", r#"{"type": "nonsense"}"#] {
        let schema = Schema::new("thing", text);
        let problems = schema.violations(&json!({}), &Plain).into_vec();
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0]
                .message
                .starts_with("the thing's schema can't be used (a bug): "),
            "{problems:?}"
        );
    }
}

#[test]
fn the_schemas_of_steps_playbooks_and_policies_can_be_used() {
    for text in [texts::STEP, texts::PLAYBOOK, texts::POLICY] {
        assert!(Schema::new("thing", text).compiled().is_ok());
    }
}
