//! The published schemas of events, as `vendor.py` took them from packages: what a validator of OCSF or a
//! mapping of ECS would say of an event.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use super::here;

/// The classes that are written, each by its number.
static OCSF: LazyLock<BTreeMap<u64, Validator>> = LazyLock::new(|| {
    let classes = [
        (5040, "ocsf-1.8.0.schema.json"),
        (5001, "ocsf-1.8.0.inventory-info.schema.json"),
        (6008, "ocsf-1.8.0.application-error.schema.json"),
    ];
    let validators = classes.map(|(class, file)| {
        let schema = std::fs::read_to_string(here(file)).expect("the schema");
        let schema = serde_json::from_str(&schema).expect("JSON");
        (class, jsonschema::validator_for(&schema).expect("a schema"))
    });
    BTreeMap::from(validators)
});

/// What OCSF 1.8 has against an event of its class.
pub fn against_ocsf(event: &Value) -> Vec<String> {
    let class = event["class_uid"].as_u64().and_then(|uid| OCSF.get(&uid));
    let Some(class) = class else {
        return vec![format!(
            "{} is no class that is written",
            event["class_uid"]
        )];
    };
    let errors = class.iter_errors(event);
    errors
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect()
}

struct Field {
    kind: String,
    array: bool,
    values: Vec<String>,
}

static ECS: LazyLock<BTreeMap<String, Field>> = LazyLock::new(|| {
    let text = std::fs::read_to_string(here("ecs-9.4.0.txt")).expect("the fields");
    let fields = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [name, kind, array, values] = *line.split(' ').collect::<Vec<_>>() else {
                panic!("{line}");
            };
            let values = values.split(',').filter(|value| *value != "-");
            let field = Field {
                kind: kind.to_owned(),
                array: array == "array",
                values: values.map(str::to_owned).collect(),
            };
            (name.to_owned(), field)
        });
    fields.collect()
});

/// What ECS 9 has against an event; `osquery.*` is not its own.
pub fn against_ecs(event: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for name in ["@timestamp", "ecs"] {
        if event.get(name).is_none() {
            problems.push(format!("{name} is missing"));
        }
    }
    for (name, value) in event.as_object().expect("an event") {
        if name != "osquery" {
            look("", name, value, &mut problems);
        }
    }
    problems
}

fn look(above: &str, name: &str, value: &Value, problems: &mut Vec<String>) {
    let path = format!("{above}{name}");
    match (value, ECS.get(&path)) {
        (Value::Object(entries), None) => {
            if entries.is_empty() {
                problems.push(format!("{path} is empty"));
            }
            for (name, value) in entries {
                look(&format!("{path}."), name, value, problems);
            }
        }
        (_, None) => problems.push(format!("{path} is no field")),
        (Value::Array(items), Some(field)) if field.array => {
            problems.extend(items.iter().filter_map(|item| fits(&path, field, item)));
        }
        (_, Some(field)) if field.array => problems.push(format!("{path} must be a list")),
        (value, Some(field)) => problems.extend(fits(&path, field, value)),
    }
}

fn fits(path: &str, field: &Field, value: &Value) -> Option<String> {
    let text = value.as_str();
    let right = match field.kind.as_str() {
        "keyword" | "constant_keyword" | "wildcard" | "match_only_text" => text.is_some(),
        "long" => value.is_i64(),
        "ip" => text.is_some_and(|text| text.parse::<IpAddr>().is_ok()),
        "date" => text.is_some_and(|text| {
            let form = "0000-00-00T00:00:00.000Z";
            let digits = |letter: char| if letter.is_ascii_digit() { '0' } else { letter };
            text.chars().map(digits).collect::<String>() == form
        }),
        other => panic!("{path} is of a kind that is not looked at: {other}"),
    };
    let allowed = field.values.is_empty()
        || text.is_some_and(|text| field.values.iter().any(|value| value == text));
    (!right || !allowed).then(|| format!("{path} can't be {value} ({})", field.kind))
}

/// A check that can't fail says nothing.
#[test]
fn the_schemas_refuse_what_they_should() {
    let ran = super::show("ocsf", super::sample().to_string()).run();
    let event: Value =
        serde_json::from_str(ran.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!(against_ocsf(&event), Vec::<String>::new());
    let pointers = [
        ("/class_uid", 5_041.into()),
        ("/time", "2026-11-27T07:04:51.123Z".into()),
        ("/severity_id", 7.into()),
        ("/query_result_id", 6.into()),
        ("/device", serde_json::json!({"type_id": 0})),
        ("/device/unknown", 1.into()),
        (
            "/query_evidence/file",
            serde_json::json!({"name": "a", "type_id": 1}),
        ),
        ("/query_evidence/process/pid", "1".into()),
        ("/query_info/query_string", Value::Null),
        ("/metadata/product", Value::Null),
    ];
    for (pointer, value) in pointers {
        let mut broken = event.clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        broken.pointer_mut(parent).expect("a parent")[name] = value;
        assert!(!against_ocsf(&broken).is_empty(), "{pointer}");
    }
    let ran = super::show("ecs", super::sample().to_string()).run();
    let event: Value =
        serde_json::from_str(ran.stdout.lines().next().expect("a line")).expect("JSON");
    assert_eq!(against_ecs(&event), Vec::<String>::new());
    for (pointer, value) in [
        ("/process/pid", "1".into()),
        ("/process/parent/pid", "1".into()),
        ("/process/nothing", 1.into()),
        ("/event/category", "process".into()),
        ("/event/outcome", "good".into()),
        ("/@timestamp", "yesterday".into()),
        ("/host", serde_json::json!({})),
        ("/columns", serde_json::json!({"a": 1})),
    ] {
        let mut broken = event.clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        broken.pointer_mut(parent).expect("a parent")[name] = value;
        assert!(!against_ecs(&broken).is_empty(), "{pointer}");
    }
}
