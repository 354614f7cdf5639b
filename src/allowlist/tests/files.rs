//! The form of template files: what the loader refuses, and where it says so.

use serde_json::Value;

use super::now;
use crate::allowlist::Registry;

const GOOD: &str = "\
name: one
intent: Lists processes by their id for tests.
sql: SELECT pid FROM processes WHERE pid = :pid
platforms: [linux]
severity: info
tables:
  processes:
    columns: [pid]
parameters:
  pid:
    type: integer
    description: The process.
    minimum: 0
    maximum: 9
    default: 1
";

/// What is wrong with the good template once `from` is replaced.
fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let registry = Registry::new([("one", GOOD.replace(from, to))]);
    let error = registry.check_all(now()).unwrap_err()[0].to_string();
    error
        .strip_prefix("template `one`: ")
        .map(str::to_owned)
        .unwrap_or(error)
}

#[test]
fn the_good_template_is_good() {
    assert_eq!(Registry::new([("one", GOOD)]).check_all(now()), Ok(()));
}

#[test]
fn each_mistake_has_its_place() {
    for (from, to, why) in [
        (
            "name: one",
            "name: two",
            "line 1, column 7: `name` must be `one`, as the file is called",
        ),
        (
            "name: one",
            "name: One",
            "line 1, column 7: `name` must be lower-case letters, digits and `_`, 64 at most",
        ),
        (
            "intent: Lists processes by their id for tests.",
            "intent: Short.",
            "line 2, column 9: `intent` must be one line of 20 to 400 characters",
        ),
        (
            "platforms: [linux]",
            "platforms: [linux, macos]",
            "line 4, column 12: `platforms` must be some of `linux`, `darwin`, `windows`, each once",
        ),
        (
            "platforms: [linux]",
            "platforms: []",
            "line 4, column 12: `platforms` must name at least one platform",
        ),
        (
            "severity: info",
            "severity: bad",
            "line 5, column 11: `severity` must be one of `info`, `low`, `medium`, `high`, `critical`",
        ),
        (
            "severity: info",
            "severity: info\ntags: [a b]",
            "line 6, column 8: `tags` must be words such as `T1053.003` or `persistence`",
        ),
        (
            "severity: info",
            "severity: info\ncollations: [nocase]",
            "line 6, column 14: `collations` must be some of osquery's, each once: `version`, `version_arch`, \
             `version_dpkg`, `version_rhel`",
        ),
        (
            "    columns: [pid]",
            "    columns: [pid, pid]",
            "line 8, column 14: `tables.processes` must list columns as osquery spells them, each once",
        ),
        (
            "    columns: [pid]",
            "    columns: ['pid\" TEXT); DROP']",
            "line 8, column 14: `tables.processes` must list columns as osquery spells them, each once",
        ),
        (
            "    columns: [pid]",
            "    columns: []",
            "`sql` is not valid: no such column: pid",
        ),
        (
            "    minimum: 0",
            "    minimum: 10",
            "line 11, column 5: `parameters.pid`: needs `minimum` and `maximum`, the first not above the second",
        ),
        (
            "    default: 1",
            "    default: 10",
            "line 15, column 14: `parameters.pid.default` must be an integer from 0 to 9",
        ),
        (
            "    default: 1",
            "    example: ten",
            "line 15, column 14: `parameters.pid.example` must be an integer from 0 to 9, not other text",
        ),
        (
            "    default: 1\n",
            "",
            "line 11, column 5: `parameters.pid` needs an `example`, because it has no `default`",
        ),
        (
            "    default: 1",
            "    default: 1\n    choices: [a]",
            "line 11, column 5: `parameters.pid`: a parameter of the type `integer` takes no `choices`",
        ),
    ] {
        assert_eq!(refusal(from, to), why, "{to}");
    }
}

#[test]
fn yaml_is_read_strictly() {
    for (from, to, why) in [
        (
            "severity: info",
            "severity: info\nseverity: low",
            "line 6, column 1: the key `severity` appears twice",
        ),
        (
            "severity: info",
            "severity: info\nplatfrms: []",
            "line 6, column 1: unknown key `platfrms`: did you mean `platforms`?",
        ),
        (
            "severity: info",
            "severity: info\nquery: x",
            "line 6, column 1: unknown key `query`; the keys are `name`, `intent`, `sql`, `tables`, `platforms`, \
             `tags`, `severity`, `limits`, `functions`, `collations`, `recursive`, `parameters`",
        ),
        (
            "severity: info\n",
            "",
            "line 1, column 1: the key `severity` is missing",
        ),
        (
            "severity: info",
            "severity: &anchor info",
            "line 5, column 19: anchors and aliases are not allowed",
        ),
        (
            "severity: info",
            "severity: !word info",
            "line 5, column 17: YAML tags are not allowed",
        ),
        (
            "severity: info",
            "severity: info\nrecursive: yes",
            "line 6, column 12: must be true or false",
        ),
        (
            "severity: info",
            "severity: info\n<<: {recursive: true}",
            "line 6, column 1: merge keys (`<<`) are not allowed",
        ),
        (
            "platforms: [linux]",
            "platforms: linux",
            "line 4, column 12: must be a list",
        ),
        (
            "    columns: [pid]",
            "    columns: [pid",
            "line 9, column 11: is not valid YAML: illegal placement of ':' indicator",
        ),
        (
            "    minimum: 0",
            "    minimum: zero",
            "line 13, column 14: must be a whole number",
        ),
        (
            "    description: The process.\n",
            "",
            "line 14, column 5: the key `description` is missing",
        ),
        (
            "    default: 1\n",
            "    default: 1\n---\nname: two\n",
            "line 16, column 1: must be one YAML document",
        ),
    ] {
        assert_eq!(refusal(from, to), why, "{to}");
    }
}

#[test]
fn the_schema_agrees_with_the_loader() {
    let schema: Value =
        serde_json::from_str(include_str!("../../../schemas/template.schema.json")).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for example in schema["examples"].as_array().unwrap() {
        assert!(validator.is_valid(example));
        let name = example["name"].as_str().unwrap().to_owned();
        assert_eq!(
            Registry::new([(name, example.to_string())]).check_all(now()),
            Ok(())
        );
    }
    // Every property is described with a title and examples, and every type is one of the loader's.
    let parts = [
        &schema,
        &schema["$defs"]["table"],
        &schema["$defs"]["parameter"],
    ];
    for (name, property) in parts
        .iter()
        .flat_map(|part| part["properties"].as_object().unwrap())
    {
        for key in ["title", "description", "examples"] {
            assert!(property.get(key).is_some(), "{name} has no {key}");
        }
    }
    let types = &schema["$defs"]["parameter"]["properties"]["type"]["enum"];
    assert_eq!(
        *types,
        serde_json::json!(crate::allowlist::declaration::TYPES)
    );
    // What the schema does not know, the loader refuses, and the other way round.
    for (from, to) in [
        ("severity: info", "severity: info\nqueries: []"),
        ("severity: info\n", ""),
    ] {
        let document: Value = serde_saphyr::from_str(&GOOD.replace(from, to)).unwrap();
        assert!(!validator.is_valid(&document));
    }
    let document: Value = serde_saphyr::from_str(GOOD).unwrap();
    assert!(validator.is_valid(&document));
}
