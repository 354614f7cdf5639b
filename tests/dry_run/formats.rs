//! What is found, in each format; exit codes, inputs, context and secrets.

use serde_json::{Value, json};

use super::{Folder, fixture, json as report_of, report};
use crate::harness::{args, step};

/// Compares with a file beside the fixtures. `UPDATE_DRY_RUN=1 cargo test --test outside dry_run` writes
/// it; read the difference before you commit it.
#[track_caller]
pub fn assert_as_written(name: &str, came: &str) {
    let folder = fixture("");
    let templates = args(["templates"]).run().stdout.lines().count() - 1;
    let came = came
        .replace(&folder.display().to_string(), "")
        .replace(&format!("lists all {templates}"), "lists all N");
    let path = fixture(name);
    if std::env::var_os("UPDATE_DRY_RUN").is_some() {
        std::fs::write(path, came).expect("the file is written");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(came == expected, "expected\n{expected}\nfound\n{came}");
}

#[test]
fn every_fault_is_found_at_once_with_its_place() {
    let ran = args(["dry-run"]).arg(fixture("faults.playbook.yaml")).run();
    assert_eq!((ran.status, &*ran.stderr), (1, ""));
    assert_as_written("faults.txt", &ran.stdout);
    assert!(!ran.stdout.contains("hunter2"), "{}", ran.stdout);
    let github = args(["dry-run", "--format", "github"])
        .arg(fixture("faults.playbook.yaml"))
        .run();
    assert_as_written("faults.github.txt", &github.stdout);
    let report = report(&report_of().arg(fixture("faults.playbook.yaml")).run());
    let rules: std::collections::BTreeSet<&str> = report.files[0]
        .problems
        .iter()
        .map(|problem| &*problem.rule)
        .collect();
    for rule in [
        "additionalProperties",
        "input_default",
        "repeated_step_id",
        "unknown_step",
        "unreached_step",
        "cycle",
        "step_order",
        "enum",
        "type",
        "required",
        "unknown_template",
        "unknown_parameter",
        "parameter_range",
        "secret_field",
        "secret_reference",
        "credential_written_out",
        "raw_sql",
        "undefined_root",
        "undefined_input",
        "context_field",
        "timeout",
        "platforms",
        "insecure",
    ] {
        assert!(rules.contains(rule), "{rule} is not among {rules:?}");
    }
    // Every finding of a step names it, and places lie in the file.
    let text = std::fs::read_to_string(fixture("faults.playbook.yaml")).expect("the file");
    let lines: Vec<&str> = text.lines().collect();
    for problem in &report.files[0].problems {
        let line = lines.get(problem.line - 1).expect("the line is there");
        assert!(problem.column <= line.chars().count() + 1, "{problem:?}");
    }
}

#[test]
fn what_would_be_sent_is_shown() {
    let clean = fixture("clean.playbook.yaml");
    let ran = args(["dry-run"]).arg(&clean).run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{}", ran.stdout);
    assert_as_written("clean.txt", &ran.stdout);
    let quiet = args(["dry-run", "-q"]).arg(&clean).run();
    assert_eq!(
        quiet.stdout,
        "1 file, 2 live-query steps: 0 errors, 0 warnings\n"
    );
    let report = report(&report_of().arg(&clean).run());
    let steps = serde_json::to_value(
        report.files[0]
            .steps
            .iter()
            .map(|step| {
                json!([
                    step.id,
                    step.template,
                    step.sql,
                    step.backend,
                    step.timeout_seconds
                ])
            })
            .collect::<Vec<_>>(),
    )
    .expect("JSON");
    assert_eq!(
        steps,
        json!([
            [
                "processes",
                "running_processes",
                "SELECT * FROM processes LIMIT 20",
                "fleetdm",
                30
            ],
            [
                "files",
                "process_open_files",
                "SELECT pid, fd, path FROM process_open_files WHERE pid = {{ inputs.pid }}",
                "fleetdm",
                "{{ alert.timeout }}"
            ],
        ])
    );
    assert_eq!(
        report.files[0].steps[0]
            .targets
            .as_ref()
            .expect("targets")
            .hosts,
        ["{{ alert.host }}", "web-01"]
    );
}

#[test]
fn a_context_fills_placeholders_in_and_what_it_lacks_is_an_error() {
    let folder = Folder::new();
    let context = folder.file(
        "context.yaml",
        "alert: {host: db-01, hosts: [a, b], timeout: 50}\ninputs: {pid: 4242, limit: 7}\n",
    );
    let clean = fixture("clean.playbook.yaml");
    let ran = report_of().arg("--context").arg(&context).arg(&clean).run();
    let found = report(&ran);
    assert_eq!(ran.status, 0, "{found:?}");
    let steps = &found.files[0].steps;
    assert_eq!(
        steps[0].sql.as_deref(),
        Some("SELECT * FROM processes LIMIT 7")
    );
    assert!(
        steps[1]
            .sql
            .as_deref()
            .expect("SQL")
            .ends_with("WHERE pid = 4242")
    );
    assert_eq!(
        steps[1].targets.as_ref().expect("targets").hosts,
        ["a", "b"]
    );
    assert_eq!(steps[1].timeout_seconds, Some(json!(50)));
    let poor = folder.file("poor.yaml", "alert: {host: db-01, hots: [a]}\n");
    let ran = report_of().arg("--context").arg(poor).arg(&clean).run();
    let found = report(&ran);
    let told: Vec<(&str, &str, usize)> = found.files[0]
        .problems
        .iter()
        .map(|problem| (&*problem.rule, &*problem.message, problem.line))
        .collect();
    assert_eq!(
        told,
        [
            (
                "undefined",
                "`target_hosts` names `alert.hosts`, which is not in the context (did you mean `alert.host`?)",
                44
            ),
            (
                "undefined",
                "`timeout_seconds` names `alert.timeout`, which is not in the context",
                45
            ),
        ]
    );
    for (file, message) in [
        ("none.yaml", "can't be opened: entity not found"),
        ("clean.yaml", "(line 1, column 1): this is not JSON"),
    ] {
        let path = folder.path().join(file);
        if file == "clean.yaml" {
            std::fs::write(&path, "{\"a\"").expect("a file");
        }
        let ran = report_of().arg("--context").arg(path).arg(&clean).run();
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{message}");
        assert!(
            ran.stderr.starts_with("error[usage]: the context file "),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn engines_may_give_other_roots() {
    let step = |root: &str| {
        format!(
            "id: a\ntype: osquery_live_query\nparams:\n  backend: fleetdm\n  base_url: https://h\n  api_token: \"{{{{ secrets.t }}}}\"\n  template: listening_ports\n  target_hosts: [\"{{{{ {root}.host }}}}\"]\n"
        )
    };
    for (root, flags, status) in [
        ("alert", &[][..], 0),
        ("steps", &[][..], 0),
        ("incident", &[][..], 1),
        ("incident", &["--context-root", "incident"][..], 0),
    ] {
        let mut binary = crate::harness::step(step(root)).arg("dry-run").arg("-");
        for flag in flags {
            binary = binary.arg(flag);
        }
        let ran = binary.run();
        assert_eq!(ran.status, status, "{root} {flags:?}: {}", ran.stdout);
    }
}

#[test]
fn secrets_are_looked_up_only_on_demand() {
    let folder = Folder::new();
    folder.file("fleet_token", "hunter2");
    let clean = fixture("clean.playbook.yaml");
    assert_eq!(report_of().arg(&clean).run().status, 0);
    let there = report_of()
        .arg("--secrets-dir")
        .arg(folder.path())
        .arg(&clean)
        .run();
    assert_eq!(there.status, 0, "{}", there.stdout);
    let missing = report(&report_of().arg("--require-secrets").arg(&clean).run());
    let lines: Vec<(&str, usize)> = missing.files[0]
        .problems
        .iter()
        .map(|problem| (&*problem.rule, problem.line))
        .collect();
    // The anchor's line, for each step that merges it.
    assert_eq!(lines, [("secret_missing", 13), ("secret_missing", 13)]);
}

#[test]
fn folders_hold_playbooks_and_steps_by_their_names() {
    let folder = Folder::new();
    let playbook =
        |id: &str| format!("id: {id}\nname: N\nsteps: [{{id: a, name: A, type: notify}}]\n");
    folder.file("b.playbook.yaml", playbook("one"));
    folder.file("a/c.playbook.yml", playbook("two"));
    folder.file("a/d.playbook.json", "{\"id\": \"one\", \"name\": \"N\", \"steps\": [{\"id\": \"a\", \"name\": \"A\", \"type\": \"notify\"}]}");
    folder.file("a/e.step.yaml", "id: a\n");
    folder.file("a/readme.yaml", "not: one");
    folder.file(".git/f.playbook.yaml", "not: one");
    let ran = report_of().arg(folder.path()).run();
    let found = report(&ran);
    let told: Vec<(String, Vec<&str>)> = found
        .files
        .iter()
        .map(|file| {
            let name = file
                .path
                .strip_prefix(&folder.name(""))
                .expect("the folder");
            let name = name.strip_prefix('/').expect("a file").to_owned();
            (
                name,
                file.problems.iter().map(|problem| &*problem.rule).collect(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("a/c.playbook.yml".into(), vec![]),
            ("a/d.playbook.json".into(), vec![]),
            ("a/e.step.yaml".into(), vec!["required", "required"]),
            ("b.playbook.yaml".into(), vec!["repeated_playbook_id"]),
        ]
    );
    let repeated = &found.files[3].problems[0];
    assert!(
        repeated.message.contains("a/d.playbook.json:1 has it too"),
        "{repeated:?}"
    );
    assert_eq!((repeated.line, repeated.column), (1, 5));
}

#[test]
fn a_playbook_is_known_by_its_content_too() {
    let folder = Folder::new();
    for name in ["clean", "faults"] {
        let text = std::fs::read(fixture(&format!("{name}.playbook.yaml"))).expect("the file");
        let named = report(
            &report_of()
                .arg(fixture(&format!("{name}.playbook.yaml")))
                .run(),
        );
        let other = folder.file(&format!("{name}.yaml"), &text);
        for (binary, path) in [
            (report_of().arg(&other), other.display().to_string()),
            (
                step(&text)
                    .arg("dry-run")
                    .arg("--format")
                    .arg("json")
                    .arg("-"),
                "-".into(),
            ),
        ] {
            let mut found = report(&binary.run());
            assert_eq!(found.files[0].path, path);
            found.files[0].path.clone_from(&named.files[0].path);
            assert_eq!(found, named);
        }
    }
    let plain = folder.file(
        "plain.yaml",
        "id: a\nname: A\nsteps: [{id: b, name: B, type: notify}]\n",
    );
    assert_eq!(report_of().arg(plain).run().status, 0);
}

#[test]
fn exit_codes() {
    let folder = Folder::new();
    let warning = "id: a\ntype: osquery_live_query\nparams:\n  backend: fleetdm\n  base_url: https://h\n  api_token: written-out\n  template: listening_ports\n  target_hosts: [a]\n";
    let file = folder.file("a.step.yaml", warning);
    assert_eq!(args(["dry-run"]).arg(&file).run().status, 0);
    assert_eq!(
        args(["dry-run", "--warnings-as-errors"])
            .arg(&file)
            .run()
            .status,
        1
    );
    assert_eq!(step(warning).arg("dry-run").arg("-").run().status, 0);
    assert_eq!(step("").arg("dry-run").arg("-").run().status, 1);
    for (path, message) in [
        (
            "no/such.yaml",
            "error[usage]: no/such.yaml does not exist\nhint: check the spelling of the path\n",
        ),
        (
            "src/verbs/dry_run",
            "error[usage]: src/verbs/dry_run holds no playbooks or steps: they are named `*.playbook.yaml` and `*.step.yaml` (or `.yml`, `.json`)\n",
        ),
    ] {
        let ran = args(["dry-run", path]).run();
        assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), (2, "", message));
    }
    let ran = args(["dry-run", "--no-such-flag"]).run();
    assert_eq!((ran.status, &*ran.stdout), (2, ""));
    assert!(ran.stderr.contains("--no-such-flag"));
}

#[test]
fn files_that_are_no_playbook_are_told_in_words() {
    let folder = Folder::new();
    for (name, text, expected) in [
        (
            "empty.playbook.yaml",
            "",
            "expected a playbook (a mapping with `name` and `steps`), found nothing (null)",
        ),
        (
            "list.playbook.yaml",
            "- id: a\n- id: b\n",
            "expected a playbook (a mapping with `name` and `steps`), found a list",
        ),
        (
            "two.playbook.yaml",
            "id: a\n---\nid: b\n",
            "a second document begins here: a file holds exactly one",
        ),
        (
            "none.step.yaml",
            "",
            "the file is empty: expected one `osquery_live_query` step as YAML or JSON",
        ),
        (
            "steps.playbook.yaml",
            "id: a\nname: b\nsteps: {}\n",
            "`steps` must be a list, not a mapping",
        ),
        (
            "bytes.playbook.yaml",
            "id: \u{1}",
            "a control character that neither YAML nor JSON may hold",
        ),
    ] {
        let file = folder.file(name, text);
        let ran = report_of().arg(file).run();
        assert_eq!(ran.status, 1, "{name}");
        let found = report(&ran);
        assert_eq!(found.files[0].problems[0].message, expected, "{name}");
    }
    let named = report_of().arg("/dev/null").run();
    assert_eq!(report(&named).files[0].problems[0].rule, "unreadable");
}

#[test]
#[allow(clippy::print_stderr)] // Says what is skipped.
fn colour_is_for_terminals() {
    let file = fixture("faults.playbook.yaml");
    let plain = args(["dry-run"]).arg(&file).run();
    assert!(!plain.stdout.contains('\x1b'));
    let colour = args(["dry-run", "--color", "always"]).arg(&file).run();
    assert!(colour.stdout.contains("\x1b[1;31merror[raw_sql]\x1b[0m"));
    let stripped = colour.stdout.split('\x1b').map(|part| {
        part.strip_prefix('[')
            .and_then(|part| part.split_once('m'))
            .map_or(part, |(_, rest)| rest)
    });
    assert_eq!(stripped.collect::<String>(), plain.stdout);
    // A terminal: `script` of Linux gives the program one, where the machine has it.
    let binary = env!("CARGO_BIN_EXE_osquery-live-query");
    let on_terminal = |variable: &str| {
        let command = format!("{variable} {binary} dry-run -q {}", file.display());
        let script = if cfg!(target_os = "linux") {
            "script"
        } else {
            "no-script"
        };
        std::process::Command::new(script)
            .args(["-qec", &command, "/dev/null"])
            .stdin(std::process::Stdio::null())
            .output()
    };
    match on_terminal("TERM=xterm") {
        Ok(ran) => {
            assert!(String::from_utf8_lossy(&ran.stdout).contains("\x1b[1;31merror["));
            let ran = on_terminal("NO_COLOR=1").expect("script runs again");
            assert!(!String::from_utf8_lossy(&ran.stdout).contains("\x1b[1;31m"));
        }
        Err(_) => eprintln!("skipped: this machine has no `script`"),
    }
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

/// OASIS's schema of SARIF 2.1.0, and what GitHub's code scanning needs beyond it; `tests/tools/run` asks
/// Microsoft's validator.
#[test]
fn sarif_has_what_code_scanning_needs() {
    let ran = args(["dry-run", "--format", "sarif"])
        .arg(fixture("faults.playbook.yaml"))
        .arg(fixture("clean.playbook.yaml"))
        .run();
    assert_eq!((ran.status, &*ran.stderr), (1, ""));
    let log: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let schema = include_str!("files/sarif-2.1.0.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let errors: Vec<String> = validator
        .iter_errors(&log)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    let run = &log["runs"][0];
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let driver = &run["tool"]["driver"];
    assert!(is_text(&driver["informationUri"]) && is_text(&driver["semanticVersion"]));
    for rule in driver["rules"].as_array().expect("rules") {
        let told = [
            &rule["name"],
            &rule["shortDescription"]["text"],
            &rule["fullDescription"]["text"],
            &rule["help"]["text"],
            &rule["help"]["markdown"],
            &rule["helpUri"],
        ];
        assert!(told.into_iter().all(is_text), "{rule:#}");
    }
    let results = run["results"].as_array().expect("results");
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(
            run["tool"]["driver"]["rules"][index]["id"],
            result["ruleId"]
        );
        assert!(is_text(&result["partialFingerprints"]["stepAndRule/v1"]));
        let uri = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert!(is_text(uri));
    }
    let found = report(&report_of().arg(fixture("faults.playbook.yaml")).run());
    assert_eq!(results.len(), found.files[0].problems.len());
    assert!(!ran.stdout.contains("hunter2"));
}

#[test]
fn the_schemas_are_printed_and_hold_what_they_describe() {
    let ran = args(["schema", "playbook"]).run();
    let schema: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let valid = json!({"id": "a", "name": "A", "steps": [{"id": "b", "type": "notify"}]});
    assert!(validator.is_valid(&valid));
    let examples = schema["examples"].as_array().expect("examples");
    assert!(examples.iter().all(|example| validator.is_valid(example)));
    // Our steps are held to the step's own schema, which is inside.
    let mut wrong = examples[0].clone();
    wrong["steps"][0]["params"]["backend"] = json!("other");
    assert!(!validator.is_valid(&wrong));
    let ran = args(["schema", "dry-run"]).run();
    let schema: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let report =
        json!({"files": [], "summary": {"files": 0, "steps": 0, "errors": 0, "warnings": 0}});
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    assert!(validator.is_valid(&report) && !validator.is_valid(&json!({"files": []})));
}

#[test]
fn aliases_are_for_playbooks_only() {
    let folder = Folder::new();
    let step = "id: a\ntype: osquery_live_query\nparams: &p\n  backend: fleetdm\n  base_url: https://h\n  api_token: \"{{ secrets.t }}\"\n  template: listening_ports\n  target_hosts: [a]\n";
    let found = report(&report_of().arg(folder.file("a.step.yaml", step)).run());
    let problem = &found.files[0].problems[0];
    assert_eq!(
        (&*problem.rule, problem.line, problem.column),
        ("decode", 3, 9)
    );
    let bomb: String = (1..10)
        .map(|level| {
            format!(
                "x-a{level}: &a{level} [{}]\n",
                vec![format!("*a{}", level - 1); 9].join(", ")
            )
        })
        .collect();
    let started = std::time::Instant::now();
    let found = report(
        &report_of()
            .arg(folder.file("b.playbook.yaml", format!("x-a0: &a0 x\n{bomb}")))
            .run(),
    );
    assert!(
        found.files[0].problems[0]
            .message
            .starts_with("the aliases make this file too large")
    );
    assert!(started.elapsed().as_secs() < 10);
}
