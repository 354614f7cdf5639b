//! Verbs that run no step: what they print is whole, and for machines valid.

use serde_json::Value;

use crate::harness::args;

#[test]
fn describe_names_every_exit_code() {
    let ran = args(["describe"]).run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let description: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(description["name"], "osquery-live-query");
    assert_eq!(description["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(description["protocols"], serde_json::json!([1]));
    assert_eq!(
        description["backends"],
        serde_json::json!(["fleetdm", "osctrl", "aisoc_direct"])
    );
    let codes = description["exit_codes"].as_array().expect("a list");
    let named: Vec<(u64, &str, Option<bool>)> = codes
        .iter()
        .map(|code| {
            assert!(
                code["meaning"]
                    .as_str()
                    .is_some_and(|meaning| !meaning.is_empty())
            );
            let number = code["exit_code"].as_u64().expect("a number");
            (
                number,
                code["name"].as_str().expect("a name"),
                code["retryable"].as_bool(),
            )
        })
        .collect();
    // The contract's table.
    let table = [
        (0, "ok", None),
        (2, "usage", Some(false)),
        (3, "partial", Some(true)),
        (10, "decode", Some(false)),
        (11, "schema", Some(false)),
        (12, "render", Some(false)),
        (13, "allowlist", Some(false)),
        (14, "policy", Some(false)),
        (20, "auth", Some(false)),
        (21, "targets", Some(false)),
        (22, "backend", Some(false)),
        (23, "unreachable", Some(true)),
        (24, "busy", Some(true)),
        (25, "deadline", Some(true)),
        (70, "internal", Some(false)),
        (74, "output", Some(false)),
        (130, "interrupted", None),
        (143, "terminated", None),
    ];
    assert_eq!(named, table);
}

#[test]
fn schemas_are_schemas() {
    for name in ["step", "output", "template", "dry-run"] {
        let ran = args(["schema", name]).run();
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{name}");
        let schema: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(
            schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{name}"
        );
        jsonschema::meta::validate(&schema).expect("a schema of its draft");
        let file = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read_to_string(file).expect("the schema's file");
        let file: Value = serde_json::from_str(&file).expect("JSON");
        for key in ["$id", "title", "description", "examples"] {
            assert_eq!(schema[key], file[key], "{name}: {key}");
        }
    }
}

#[test]
fn templates_for_people_and_machines() {
    let ran = args(["templates", "--format", "json"]).run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let listed: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let listed = serde_json::to_string(&listed).expect("JSON");
    let table = args(["templates"]).run();
    assert_eq!((table.status, &*table.stderr), (0, ""));
    for name in [
        "running_processes",
        "active_connections",
        "logged_in_users",
        "recently_modified_files",
        "listening_ports",
    ] {
        assert!(
            listed.contains(&format!("\"{name}\"")),
            "{name} in {listed}"
        );
        assert!(table.stdout.contains(name), "{name} in {}", table.stdout);
        let one = args(["templates", name]).run();
        assert_eq!((one.status, &*one.stderr), (0, ""));
        assert!(one.stdout.contains("SELECT * FROM"), "{}", one.stdout);
        let one = args(["templates", name, "--format", "json"]).run();
        serde_json::from_str::<Value>(&one.stdout).expect("JSON");
    }
    let unknown = args(["templates", "running_process"]).run();
    assert_eq!((unknown.status, &*unknown.stdout), (13, ""), "{unknown:?}");
    let message =
        "error[allowlist]: unknown template `running_process`: did you mean `running_processes`?";
    assert!(unknown.stderr.starts_with(message), "{}", unknown.stderr);
}

#[test]
fn help_and_version_are_text() {
    let version = args(["--version"]).run();
    let expected = format!("osquery-live-query {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (version.status, &*version.stdout, &*version.stderr),
        (0, &*expected, "")
    );
    for verb in ["run", "check", "dry-run", "templates", "schema", "describe"] {
        let help = args([verb, "--help"]).run();
        assert_eq!((help.status, &*help.stderr), (0, ""), "{verb}");
        assert!(help.stdout.contains("Usage: "), "{}", help.stdout);
        let short = args([verb, "-h"]).run();
        assert_eq!(short.status, 0, "{verb}");
    }
    let help = args(["--help"]).run();
    assert_eq!((help.status, &*help.stderr), (0, ""));
    for verb in ["run", "check", "dry-run", "templates", "schema", "describe"] {
        assert!(
            help.stdout.contains(&format!("\n  {verb} ")),
            "{verb} in {}",
            help.stdout
        );
    }
}

/// Statuses stand in one place of the code; the README, the help and the output's schema repeat it.
#[test]
fn the_exit_codes_are_the_same_wherever_they_stand() {
    let ran = args(["describe"]).run();
    let description: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let codes = description["exit_codes"].as_array().expect("a list");
    let text = |code: &Value, key: &str| code[key].as_str().expect(key).to_owned();
    let readme = include_str!("../../README.md").replace('`', "");
    let help = args(["run", "--help"]).run().stdout;
    for code in codes {
        let row = format!(
            "\n| {} | {} | {} | ",
            code["exit_code"],
            text(code, "name"),
            text(code, "meaning")
        );
        let (_, rest) = readme.split_once(&row).expect(&row);
        let retryable = match rest.split_once("|").expect("a cell").0.trim() {
            "" => None,
            // What can't heal by itself is known of the failure itself, too.
            yes if yes.starts_with("yes") => Some(true),
            // What a 502 says is known of the failure itself.
            "no" | "for 502, 503, 504" => Some(false),
            other => panic!("{row}{other}"),
        };
        assert_eq!(code["retryable"].as_bool(), retryable, "{row}");
        let status = code["exit_code"].as_u64().expect("a number");
        let line = format!("\n{status:>5}  {:<11}  ", text(code, "name"));
        let (_, rest) = help.split_once(&line).expect(&line);
        let words: Vec<&str> = rest.split_whitespace().collect();
        let meaning = text(code, "meaning");
        let meaning: Vec<&str> = meaning.split_whitespace().collect();
        assert!(words.starts_with(&meaning), "{line}{rest}");
    }
    let schema = args(["schema", "output"]).run().stdout;
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let error = &schema["$defs"]["error"]["properties"];
    let failures = || {
        codes
            .iter()
            .filter(|code| code["retryable"].is_boolean() && code["name"] != "partial")
    };
    let of = |key: &str| failures().map(|code| code[key].clone()).collect::<Value>();
    assert_eq!(error["code"]["enum"], of("name"));
    assert_eq!(error["exit_code"]["enum"], of("exit_code"));
}
