//! What the engine says of any document, and how it finds its way in a schema.

use proptest::prelude::*;
use serde_json::json;

use super::pattern::Pattern;
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
        assert!(Schema::new("thing", text).rules().is_ok());
    }
}

/// The same by the crate that compiles schemas.
fn of_the_other_engine(schema: &Value, document: &Value) -> Vec<(String, &'static str)> {
    use jsonschema::error::ValidationErrorKind as Kind;
    let options = jsonschema::draft202012::options();
    let options = options.with_pattern_options(jsonschema::PatternOptions::regex());
    let validator = options.build(schema).unwrap();
    let mut told = Vec::new();
    for error in validator.iter_errors(document) {
        let path = error.instance_path().as_str().to_owned();
        match error.kind() {
            Kind::AdditionalProperties { unexpected } => {
                let keys = unexpected.iter();
                told.extend(keys.map(|key| (format!("{path}/{key}"), "additionalProperties")));
            }
            Kind::Required { property } => {
                told.push((format!("{path}/{}", property.as_str().unwrap()), "required"));
            }
            Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => {
                told.push((path, "oneOf"));
            }
            Kind::AnyOf { .. } => told.push((path, "anyOf")),
            Kind::Constant { .. } => told.push((path, "const")),
            Kind::Enum { .. } => told.push((path, "enum")),
            Kind::FalseSchema => told.push((path, "not")),
            Kind::MaxItems { .. } => told.push((path, "maxItems")),
            Kind::Maximum { .. } => told.push((path, "maximum")),
            Kind::MaxLength { .. } => told.push((path, "maxLength")),
            Kind::MinItems { .. } => told.push((path, "minItems")),
            Kind::Minimum { .. } => told.push((path, "minimum")),
            Kind::MinLength { .. } => told.push((path, "minLength")),
            Kind::Pattern { .. } => told.push((path, "pattern")),
            Kind::PropertyNames { .. } => told.push((path, "propertyNames")),
            Kind::Type { .. } => told.push((path, "type")),
            _ => told.push((path, "schema")),
        }
    }
    told.sort();
    told
}

fn told_by_rules(rules: &Rules<'_>, document: &Value) -> Vec<(String, &'static str)> {
    let mut told = Vec::new();
    rules
        .ask(document, &mut |path, rule| {
            let parts = path.segments().iter().map(|segment| match segment {
                Segment::Key(key) => format!("/{key}"),
                Segment::Index(index) => format!("/{index}"),
            });
            told.push((parts.collect(), rule));
        })
        .unwrap();
    told.sort();
    told
}

/// Documents of the three kinds to begin with, and values that fit somewhere or nowhere.
fn seeds() -> [(&'static str, Value); 3] {
    [
        (
            texts::STEP,
            json!({"id": "a", "name": "b", "type": "osquery_live_query", "depends_on": ["x"], "params": {
                "backend": "osctrl", "base_url": "https://osctrl.example", "environment": "dev",
                "api_token": "{{ secrets.token }}", "template": "running_processes",
                "template_params": {"name": "x"}, "target_hosts": ["h", "{{ alert.host }}"],
                "target_labels": ["l"], "target_platforms": ["linux"], "also_match": ["short_name"],
                "max_hosts": 5, "max_bytes": "2048", "timeout_seconds": 30, "offline_hosts": "skip",
                "queue_hours": 2, "verify_tls": true, "ca_file": "/etc/ca.pem"}}),
        ),
        (
            texts::POLICY,
            json!({"version": 1, "servers": ["https://a.example"], "templates": ["*"], "max_hosts": 5,
                "deny_tables": ["curl"], "limits": {"max_hosts": 3}, "instances": {"a": {"backend": "fleetdm"}}}),
        ),
        (
            texts::PLAYBOOK,
            json!({"version": 1, "id": "p", "name": "n", "steps": [
                {"id": "a", "type": "condition", "params": {"condition": "x"}},
                {"id": "b", "type": "parallel", "params": {"steps": [{"id": "c", "type": "x"}]}}]}),
        ),
    ]
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        prop::sample::select(vec![
            json!(0),
            json!(1),
            json!(1.0),
            json!(1.5),
            json!(-3),
            json!(99999999999_u64),
            json!(u64::MAX),
            json!([]),
            json!({}),
            json!(["a", "a"]),
            json!([1]),
            json!({"a": {"b": 1}}),
            json!("0"),
            json!("12"),
            json!("linux"),
        ]),
        "[a-zA-Z0-9 ._/:{}@\\u{7f}\\u{a0}\\u{3000}\\n-]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "https://h/p",
            "http://a@b",
            "{{ x }}",
            "a{{b}}",
            "fleetdm",
            "osctrl",
            "fleet",
            "wait",
            "queue",
            "skip",
            "condition",
            "parallel",
            "loop",
            "osquery_live_query",
        ])
        .prop_map(Value::from),
    ]
}

/// Puts a value somewhere into a document, under a key that is there or another, or takes one away.
fn changed(document: &mut Value, place: &[prop::sample::Index], key: &str, value: Option<Value>) {
    let mut node = document;
    for index in place {
        let inner = match node {
            Value::Object(entries) if !entries.is_empty() => {
                let at = index.index(entries.len());
                entries.values_mut().nth(at)
            }
            Value::Array(items) if !items.is_empty() => {
                let at = index.index(items.len());
                items.get_mut(at)
            }
            _ => None,
        };
        // The borrow of what is looked into ends where nothing is found.
        match inner {
            Some(inner) => node = inner,
            None => return,
        }
    }
    match (node, value) {
        (Value::Object(entries), Some(value)) if !key.is_empty() => {
            entries.insert(key.to_owned(), value);
        }
        (node, Some(value)) => *node = value,
        (Value::Object(entries), None) => {
            let first = entries.keys().next().cloned();
            first.map(|first| entries.shift_remove(&first));
        }
        (Value::Array(items), None) => {
            items.pop();
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What is broken, and where, is what the crate says that compiles schemas.
    #[test]
    fn says_the_same_as_the_other_engine(
        which in 0_usize..3,
        changes in prop::collection::vec(
            (prop::collection::vec(any::<prop::sample::Index>(), 0..5), "|[a-z]{1,3}|max_hosts|target_hosts|type|params|id", prop::option::weighted(0.9, odd())),
            0..5,
        ),
    ) {
        let (text, mut document) = seeds()[which].clone();
        for (place, key, value) in changes {
            changed(&mut document, &place, &key, value);
        }
        let rules = Rules::read(text).unwrap();
        prop_assert_eq!(told_by_rules(&rules, &document), of_the_other_engine(&rules.schema().into(), &document), "{}", document);
    }

    /// Patterns are found where the other engine finds them.
    #[test]
    fn patterns_are_those_of_the_other_engine(text in "[a-z0-9A-Z._/:{}?#@ \\n\\x00-\\x20\\u{7f}-\\u{a1}\\u{3000}\\\\-]{0,12}|https?://[a-z]{1,4}/?[a-z?#]{0,3}|[1-9][0-9]{0,11}|.{0,4}\\{\\{") {
        for schema in [texts::STEP, texts::PLAYBOOK, texts::POLICY] {
            let schema = Rules::read(schema).unwrap();
            for pattern in schema.patterns() {
                let asked = json!({"pattern": pattern});
                let other = of_the_other_engine(&asked, &json!(text)).is_empty();
                prop_assert_eq!(Pattern::read(pattern).unwrap().is_in(&text), other, "{} in {:?}", pattern, text);
            }
        }
    }
}

#[test]
fn classes_hold_the_characters_that_they_hold_in_the_other_engine() {
    for pattern in ["^\\s$", "^[^\\s]$", "^[a-z0-9_-]$"] {
        let ours = Pattern::read(pattern).unwrap();
        let asked = json!({"pattern": pattern});
        let theirs = jsonschema::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(&asked)
            .unwrap();
        for character in '\0'..='\u{ffff}' {
            let text = character.to_string();
            let other = theirs.is_valid(&json!(text));
            assert_eq!(ours.is_in(&text), other, "{pattern} and {character:?}");
        }
    }
}

/// A schema may have no keyword that is not asked.
#[test]
fn all_of_every_schema_is_understood() {
    fn look(node: &Value) {
        let empty = json!(null);
        let text = node.to_string();
        Rules::read(&text)
            .unwrap()
            .ask(&empty, &mut |_, _| {})
            .map_err(|error| format!("{error}: {node}"))
            .or_else(|error| {
                if error.contains("refers to nothing") {
                    Ok(())
                } else {
                    Err(error)
                }
            })
            .unwrap();
        let mut node = node.clone();
        strict::each_child(&mut node, &mut |child| look(child));
    }
    for text in [texts::STEP, texts::PLAYBOOK, texts::POLICY] {
        look(&serde_json::from_str(text).unwrap());
    }
}
