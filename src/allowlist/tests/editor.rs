//! What editors are told of parameters, and what is bound: a schema refuses nothing that a step may give.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::properties::{any_value, examples};
use super::{call, now};
use crate::allowlist::{Registry, Template};
use crate::schema::strict::make_strict;

/// What is bound, the schema takes; so what it refuses is refused.
#[track_caller]
pub(super) fn assert_agrees(template: &Template, params: &Map<String, Value>, is_bound: bool) {
    if is_bound {
        let params = Value::Object(params.clone());
        assert!(takes(template, &params), "{}: {params}", template.name());
    }
}

fn takes(template: &Template, params: &Value) -> bool {
    let mut schema = template.parameters_schema();
    make_strict(&mut schema);
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    validator.is_valid(params)
}

#[test]
fn a_schema_takes_every_value_that_is_bound() {
    let registry = Registry::embedded();
    let subjects: Vec<(&Template, &str)> = registry
        .templates()
        .flat_map(|template| {
            let names = template.parameters().keys();
            names.map(move |name| (template, name.as_str()))
        })
        .collect();
    assert!(subjects.len() > 90, "only {}", subjects.len());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let given = (any::<prop::sample::Index>(), any_value());
    runner
        .run(&given, |(index, value)| {
            let (template, name) = subjects[index.index(subjects.len())];
            let mut params = examples(template);
            params.insert(name.to_owned(), value);
            let call = call(template.name(), &Value::Object(params.clone()));
            assert_agrees(template, &params, registry.bind(&call, now()).is_ok());
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_schema_refuses_what_can_be_known_from_the_step() {
    let refused = [
        ("running_processes", json!({"limit": 0})),
        ("running_processes", json!({"limit": 10_001})),
        ("running_processes", json!({"limit": true})),
        ("running_processes", json!({"limit": "many"})),
        ("running_processes", json!({"limit": [1]})),
        ("running_processes", json!({"limit": null})),
        ("running_processes", json!({"limti": 1})),
        ("running_processes", json!([])),
        ("process_tree", json!({})),
        ("process_tree", json!({"pid": -1})),
        ("process_tree", json!({"pid": "bash"})),
        ("process_tree", json!({"pid": 4_294_967_296_i64})),
        ("connections_to_port", json!({"port": 0})),
        ("connections_to_port", json!({"port": 65_536})),
        ("recently_modified_files", json!({"since": "yesterday"})),
        ("recently_modified_files", json!({"since": "2026-11-20"})),
        ("recently_modified_files", json!({"since": -5})),
        ("processes_by_hash", json!({"hash": "no digest"})),
        ("processes_by_hash", json!({"hash": 5})),
    ];
    for (name, params) in refused {
        let template = Registry::embedded().template(name).expect("a template");
        assert!(!takes(template, &params), "{name}: {params}");
        let bound = Registry::embedded().bind(&call(name, &params), now());
        assert!(bound.is_err() || params.is_array(), "{name}: {params}");
    }
    // What only a context knows is left open.
    for template in Registry::embedded().templates() {
        let names = template.parameters().keys();
        let open: Map<String, Value> = names
            .map(|name| (name.clone(), json!("{{ alert.value }}")))
            .collect();
        assert!(takes(template, &Value::Object(open)), "{}", template.name());
    }
}

/// A choice is offered as it is written, and taken whatever its case, as it is bound.
#[test]
fn choices_are_offered_and_taken_in_any_case() {
    let text = "name: one\nintent: Tries a choice in a test of schemas.\n\
                sql: SELECT pid FROM process_open_sockets WHERE protocol = :kind\n\
                platforms: [linux]\nseverity: info\ntables:\n  process_open_sockets:\n    columns: [pid, protocol]\n\
                parameters:\n  kind:\n    type: choice\n    description: The kind.\n    choices: [tcp-4, 'a.b(c']\n    example: tcp-4\n";
    let registry = Registry::new([("one", text.to_owned())]);
    let template = registry.template("one").expect("the template");
    for (value, is_taken) in [
        ("tcp-4", true),
        ("TCP-4", true),
        (" 'Tcp-4' ", true),
        ("A.B(c", true),
        ("axb(c", false),
        ("udp", false),
    ] {
        let params = json!({"kind": value});
        assert_eq!(takes(template, &params), is_taken, "{value}");
        let bound = registry.bind(&call("one", &params), now());
        assert_eq!(bound.is_ok(), is_taken, "{value}");
    }
}
