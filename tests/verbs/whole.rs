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
        serde_json::json!(["fleetdm", "osctrl"])
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
        assert_eq!(
            ran.stdout,
            std::fs::read_to_string(file).expect("the schema's file")
        );
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

/// The text of `run --help` names every exit code of the table.
#[test]
fn help_of_run_names_the_exit_codes() {
    let help = args(["run", "--help"]).run().stdout;
    for code in [
        "2 ", "3 ", "10 ", "11 ", "12 ", "13 ", "14 ", "20 ", "21 ", "22 ", "23 ", "24 ", "25 ",
        "70 ", "130 ", "143 ",
    ] {
        assert!(help.contains(code), "{code} in {help}");
    }
}
