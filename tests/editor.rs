//! The schemas as editors and strict validators read them: `schema NAME`, and `schema NAME --plain`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::cases;
use crate::harness::args;

const NAMES: [&str; 10] = [
    "alert",
    "event",
    "step",
    "output",
    "template",
    "policy",
    "playbook",
    "dry-run",
    "templates",
    "templates-check",
];

fn printed(name: &str, plain: bool) -> Value {
    let mut binary = args(["schema", name]);
    if plain {
        binary = binary.arg("--plain");
    }
    let ran = binary.run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{name}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::draft202012::new(schema).expect("a schema")
}

/// Each schema, with the place of it, below this one.
fn each(schema: &Value, place: &str, with: &mut dyn FnMut(&str, &serde_json::Map<String, Value>)) {
    let Some(node) = schema.as_object() else {
        assert!(schema.is_boolean(), "{place} is no schema: {schema}");
        return;
    };
    with(place, node);
    for (keyword, value) in node {
        let below = |name: &str| format!("{place}/{keyword}/{name}");
        match keyword.as_str() {
            "properties" | "patternProperties" | "$defs" => {
                for (name, schema) in value.as_object().expect("schemas by name") {
                    each(schema, &below(name), with);
                }
            }
            "allOf" | "anyOf" | "oneOf" => {
                for (index, schema) in value.as_array().expect("schemas").iter().enumerate() {
                    each(schema, &below(&index.to_string()), with);
                }
            }
            "items" | "additionalProperties" | "propertyNames" | "if" | "then" | "else" | "not" => {
                each(value, &format!("{place}/{keyword}"), with);
            }
            _ => {}
        }
    }
}

/// What ajv's strict mode asks, as far as it can be said without it; `tests/tools/run` asks ajv itself.
#[test]
fn schemas_keep_the_rules_of_strict_validators() {
    const KNOWN: [&str; 35] = [
        "$defs",
        "dependentRequired",
        "$id",
        "$ref",
        "$schema",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "default",
        "description",
        "else",
        "enum",
        "examples",
        "if",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "not",
        "oneOf",
        "pattern",
        "patternProperties",
        "properties",
        "propertyNames",
        "required",
        "then",
        "title",
        "type",
        "uniqueItems",
    ];
    for (name, plain) in NAMES
        .into_iter()
        .flat_map(|name| [(name, false), (name, true)])
    {
        let schema = printed(name, plain);
        jsonschema::meta::validate(&schema).expect("a schema of its draft");
        each(&schema, "", &mut |place, node| {
            let place = format!("{name}{place}");
            for keyword in node.keys() {
                assert!(KNOWN.contains(&keyword.as_str()), "{place}: {keyword}");
            }
            assert!(!node.get("type").is_some_and(Value::is_array), "{place}");
            for key in node
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let key = key.as_str().expect("a name");
                assert!(node["properties"].get(key).is_some(), "{place}: {key}");
            }
            if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
                let there = schema.pointer(reference.strip_prefix('#').expect("a local reference"));
                assert!(there.is_some(), "{place}: {reference}");
            }
        });
    }
}

#[test]
fn the_plain_forms_stay_small() {
    for name in ["step", "playbook"] {
        let size = |plain| printed(name, plain).to_string().len();
        assert!(size(true) < 40_000, "{name}: {}", size(true));
        assert!(size(false) > 4 * size(true), "{name}");
        assert!(
            !printed(name, true)
                .to_string()
                .contains("running_processes_")
        );
    }
}

/// The steps in `tests/cases/`, by name, with the code that `run` ended with.
fn pinned() -> Vec<(String, Value, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut pinned = Vec::new();
    for (name, path) in cases::steps() {
        let document = fs::read_to_string(folder.join(format!("{name}.document.json")));
        let document: Value = serde_json::from_str(&document.expect("a document")).expect("JSON");
        let code = document["error"]["code"]
            .as_str()
            .unwrap_or("ok")
            .to_owned();
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        let text = text.replace("$SERVER", "https://server.example.com");
        let Ok(mut step) = serde_saphyr::from_str::<Value>(&text) else {
            continue;
        };
        if step.get("protocol").is_some() {
            step = step["step"].take();
        }
        pinned.push((name, step, code));
    }
    pinned
}

#[test]
fn what_run_takes_the_schema_of_editors_takes() {
    let (editor, plain) = (
        validator(&printed("step", false)),
        validator(&printed("step", true)),
    );
    let mut taken = 0;
    for (name, step, code) in pinned() {
        if ["usage", "decode", "schema", "render", "allowlist", "policy"].contains(&&*code) {
            continue;
        }
        let told: Vec<String> = editor
            .iter_errors(&step)
            .map(|error| error.to_string())
            .collect();
        assert!(told.is_empty(), "{name}: {told:?}");
        if !step.is_array() {
            assert!(plain.is_valid(&step), "{name}");
            assert!(editor.is_valid(&json!([step])), "{name}, as a list");
            assert!(!editor.is_valid(&json!([step, step])), "{name}, twice");
        }
        taken += 1;
    }
    assert!(taken > 60, "only {taken}");
}

/// What is written in the step is seen in the editor; what a context brings can't be.
#[test]
fn what_the_allowlist_refuses_the_schema_of_editors_refuses() {
    let editor = validator(&printed("step", false));
    let only_at_run = [
        "since-in-microseconds",
        "since-without-zone",
        "age-without-minus",
    ];
    for (name, step, code) in pinned() {
        if code != "allowlist" || only_at_run.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        assert!(!editor.is_valid(&step), "{name}");
    }
}

#[test]
fn every_template_stands_with_its_intent_and_takes_its_example() {
    let schema = printed("step", false);
    let editor = validator(&schema);
    let listed = args(["templates", "--format", "json"]).run().stdout;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let listed = listed["templates"].as_array().expect("a list");
    let offered = schema["$defs"]["params"]["properties"]["template"]["oneOf"].as_array();
    let offered = offered.expect("a list");
    assert_eq!(offered.len(), listed.len());
    for (template, offered) in listed.iter().zip(offered) {
        let name = template["name"].as_str().expect("a name");
        assert_eq!(offered["const"], name);
        assert_eq!(offered["description"], template["intent"]);
        let step = args(["templates", name, "--format", "step"]).run().stdout;
        let step: Value = serde_saphyr::from_str(&step).expect("YAML");
        let told: Vec<String> = editor
            .iter_errors(&step)
            .map(|error| error.to_string())
            .collect();
        assert!(told.is_empty(), "{name}: {told:?}");
        let mut other = step.clone();
        let params = match other.is_array() {
            true => &mut other[0]["params"],
            false => &mut other["params"],
        };
        params["template_params"]["no_such_parameter"] = json!(1);
        assert!(!editor.is_valid(&other), "{name}");
    }
}

#[test]
fn the_playbooks_here_are_playbooks_in_both_forms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for plain in [false, true] {
        let playbook = validator(&printed("playbook", plain));
        let mut seen = 0;
        for file in fs::read_dir(root.join("playbooks")).expect("playbooks") {
            let path = file.expect("a file").path();
            if !path.to_string_lossy().ends_with(".playbook.yaml") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a playbook");
            let mut value: Value = serde_saphyr::from_str(&text).expect("YAML");
            let told: Vec<String> = playbook
                .iter_errors(&value)
                .map(|error| error.to_string())
                .collect();
            assert!(told.is_empty(), "{}: {told:?}", path.display());
            let steps = value["steps"].as_array_mut().expect("steps");
            let ours = steps
                .iter_mut()
                .find(|step| step["type"] == "osquery_live_query");
            ours.expect("a step of ours")["params"]["template"] = json!("no_such_template");
            assert_eq!(playbook.is_valid(&value), plain, "{}", path.display());
            seen += 1;
        }
        assert!(seen >= 8, "only {seen}");
    }
}
