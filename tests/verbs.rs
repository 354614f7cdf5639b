//! The verbs beside `run`: `templates`, `templates check`, `schema`, `describe`, `completions`, `man`, and
//! the help. None of them may open a socket, and none writes anything but what it says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Ran, args, step};

/// What a verb printed, which has to have gone well.
#[track_caller]
fn printed<const N: usize>(words: [&str; N]) -> String {
    let ran = args(words).run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{words:?}");
    ran.stdout
}

#[track_caller]
fn failed(ran: &Ran, status: i32, stderr: &str) {
    assert_eq!(
        (ran.status, &*ran.stdout, &*ran.stderr),
        (status, "", stderr)
    );
}

/// The names in a list's first column.
fn names(list: &str) -> Vec<&str> {
    let rows = list.lines().skip(1);
    rows.filter_map(|line| line.split_whitespace().next())
        .collect()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn valid(schema: &str, document: &Value) {
    let schema = json_of(&printed(["schema", schema]));
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let wrong: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Says that a test, or a part of it, did not run.
#[expect(clippy::print_stderr, reason = "says that the test is skipped")]
fn skipped(program: &str) {
    eprintln!("skipped: there is no {program}");
}

/// A folder of a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("verbs-{name}-{}", std::process::id()));
        for (file, text) in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        Self(folder)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_list_has_a_line_for_every_template() {
    let list = printed(["templates"]);
    let head = list.lines().next().expect("a head");
    let words: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(words, ["TEMPLATE", "PLATFORMS", "PARAMETERS", "INTENT"]);
    let description = json_of(&printed(["describe"]));
    let all: Vec<&str> = description["templates"]
        .as_array()
        .expect("templates")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(names(&list), all);
    assert!(all.len() >= 60);
    let line = list
        .lines()
        .find(|line| line.starts_with("recently_changed_files "))
        .expect("its line");
    assert!(line.contains("  linux, darwin, windows  "), "{line}");
    assert!(line.contains("  directory [limit] [since]  "), "{line}");
}

#[test]
fn the_list_can_be_narrowed() {
    let of = |words: &[&str]| -> Vec<String> {
        let mut command = args(["templates"]);
        for word in words {
            command = command.arg(*word);
        }
        let ran = command.run();
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{words:?}");
        names(&ran.stdout).into_iter().map(str::to_owned).collect()
    };
    let tasks = ["hidden_scheduled_tasks", "scheduled_tasks"];
    assert_eq!(of(&["--tag", "t1053.005"]), tasks);
    assert_eq!(of(&["--tag", "T1053", "--platform", "windows"]), tasks);
    assert!(of(&["--tag", "T1053"]).contains(&"crontab_entries".to_owned()));
    assert_eq!(
        of(&["--search", "SUDO", "--search", "password"]),
        ["sudo_rules_without_password"]
    );
    // By table and by parameter too.
    assert!(of(&["--search", "augeas"]).contains(&"sshd_configuration".to_owned()));
    let nothing = printed(["templates", "--search", "nothing of the kind"]);
    assert!(nothing.starts_with("no template fits; "), "{nothing}");
    let document = json_of(&printed([
        "templates",
        "--search",
        "nothing",
        "--format",
        "json",
    ]));
    assert_eq!(document, json!({"templates": []}));
}

#[test]
fn flags_that_do_not_fit_together_are_refused() {
    failed(
        &args(["templates", "uptime", "--tag", "x"]).run(),
        2,
        "error[usage]: `--tag`, `--platform` and `--search` choose from the list; leave them out with a NAME; see `osquery-live-query templates --help`\n",
    );
    failed(
        &args(["templates", "--format", "step"]).run(),
        2,
        "error[usage]: `--format step` prints the example of one template: name it; see `osquery-live-query templates --help`\n",
    );
    failed(
        &args(["templates", "uptme"]).run(),
        13,
        "error[allowlist]: unknown template `uptme`: did you mean `uptime`? `osquery-live-query templates` lists all 158\n",
    );
}

#[test]
fn one_template_is_shown_whole() {
    let page = printed(["templates", "process_open_files"]);
    assert_eq!(
        page,
        "process_open_files\n\
         \n\
         \x20 Lists the files that a process holds open.\n\
         \n\
         \x20 platforms   linux, darwin\n\
         \x20 tables      process_open_files\n\
         \x20 severity    info\n\
         \x20 tags        triage, processes\n\
         \n\
         SQL\n\
         \n\
         \x20 SELECT pid, fd, path FROM process_open_files WHERE pid = :pid\n\
         \n\
         Parameters\n\
         \n\
         \x20 pid (pid, required)\n\
         \x20     The process id.\n\
         \x20     A process id from 0 to 4294967295.\n\
         \n\
         Example step (`--format step` prints it alone)\n\
         \n\
         \x20 id: process-open-files\n\
         \x20 type: osquery_live_query\n\
         \x20 params:\n\
         \x20   backend: fleetdm\n\
         \x20   base_url: https://fleet.example.com\n\
         \x20   api_token: \"{{ secrets.fleet_token }}\"\n\
         \x20   template: process_open_files\n\
         \x20   template_params:\n\
         \x20     pid: 4242\n\
         \x20   target_hosts: [\"{{ alert.host }}\"]\n"
    );
}

#[test]
fn the_list_for_machines_keeps_its_schema() {
    let document = json_of(&printed(["templates", "--format", "json"]));
    valid("templates", &document);
    let one = json_of(&printed([
        "templates",
        "running_processes",
        "--format",
        "json",
    ]));
    valid("templates", &one);
    let all = document["templates"].as_array().expect("a list");
    let running = all.iter().find(|one| one["name"] == "running_processes");
    assert_eq!(running, one["templates"].get(0));
    let running = running.expect("it is there");
    let keys: Vec<&String> = running.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "name",
            "intent",
            "sql",
            "platforms",
            "tables",
            "tags",
            "severity",
            "parameters"
        ]
    );
    assert_eq!(
        running["parameters"],
        json!([{
            "name": "limit", "type": "integer", "description": "How many processes are listed at most.",
            "default": 100, "minimum": 1, "maximum": 10000
        }])
    );
}

/// Every example step passes every check: nothing but the missing server ends it.
#[test]
fn every_example_step_passes_the_checks() {
    use osquery_live_query::checked::{Sources, check};
    let folder = Folder::with(
        "example",
        &[
            ("context.yaml", "alert: {host: web-1}\n"),
            ("fleet_token", "t"),
        ],
    );
    let sources = Sources {
        context: Some(folder.0.join("context.yaml")),
        secrets_dir: Some(folder.0.clone()),
    };
    let page = printed(["templates", "--format", "markdown"]);
    let list = printed(["templates"]);
    for name in names(&list) {
        // The page shows the very step that `--format step` prints.
        let step = example(name);
        if step.contains("template_params") {
            assert!(page.contains(&format!("```yaml\n{step}```\n")), "{name}");
        }
        let checked = check(step.as_bytes(), &sources);
        let refused = checked.as_ref().err().map(|refused| &refused.failure);
        assert_eq!(refused, None, "{name}");
        assert_eq!(checked.expect("no refusal").statement().template(), name);
    }
}

fn example(name: &str) -> String {
    use osquery_live_query::cli::{TemplatesArgs, TemplatesFormat};
    let args = TemplatesArgs {
        verb: None,
        name: Some(name.to_owned()),
        selection: Default::default(),
        format: TemplatesFormat::Step,
    };
    osquery_live_query::templates::text(&args).expect("a step")
}

#[test]
fn an_example_step_runs_up_to_the_server_that_is_not_there() {
    for name in [
        "registry_key",
        "files_by_pattern",
        "deb_package_below",
        "uptime",
    ] {
        let text = printed(["templates", name, "--format", "step"]);
        assert_eq!(text, example(name));
        // Port 9 of loopback is closed; a deadline of a second ends the attempts.
        let text = text
            .replace("https://fleet.example.com", "http://127.0.0.1:9")
            .replace("{{ alert.host }}", "web-1")
            + "  timeout_seconds: 1\n";
        let ran = step(text)
            .env("OSQUERY_LIVE_QUERY_SECRET_FLEET_TOKEN", "t")
            .run();
        let document = ran.document();
        let error = document.error.expect("an error");
        assert_eq!(
            (ran.status, &*error.code),
            (23, "unreachable"),
            "{name}: {error:?}"
        );
    }
}

/// `docs/templates.md` is generated: `UPDATE_DOCS=1 cargo test docs` writes it.
#[test]
fn docs_of_the_templates_are_fresh() {
    let generated = printed(["templates", "--format", "markdown"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/templates.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).expect("docs/templates.md is written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        generated == committed,
        "docs/templates.md is stale: UPDATE_DOCS=1 cargo test docs_of_the_templates"
    );
}

const OSQUERY: &str = r#"[
  {"name": "users", "platforms": ["darwin", "linux"], "columns": [{"name": "uid"}, {"name": "username"}]},
  {"name": "file", "platforms": ["darwin", "linux"], "columns": [{"name": "path", "required": true}, {"name": "size"}]}
]"#;

const GOOD: &str = "\
name: good
intent: Lists the accounts of a host.
sql: SELECT uid, username FROM users
platforms: [linux]
severity: info
tables:
  users:
    columns: [uid, username]
";

const WRONG_COLUMN: &str = "\
name: wrong_column
intent: Lists the accounts of a host.
sql: |-
  SELECT uid, usernam
  FROM users
platforms: [linux, windows]
severity: info
tables:
  users:
    columns: [uid, usernam]
";

const UNCONSTRAINED: &str = "\
name: unconstrained
intent: Lists large files of a host.
sql: |-
  SELECT path
  FROM file
  WHERE size > 5
platforms: [linux]
severity: info
tables:
  file:
    columns: [path, size]
";

#[test]
fn templates_check_says_every_problem_with_its_place() {
    let folder = Folder::with(
        "check",
        &[
            ("pack/good.yaml", GOOD),
            ("pack/deeper/unconstrained.yml", UNCONSTRAINED),
            (
                "pack/wrong_column.yaml",
                &WRONG_COLUMN.replace("windows", "darwin"),
            ),
            ("pack/not_yaml.yaml", "name: [\n"),
            ("pack/notes.txt", "no template"),
            ("other/good.yaml", GOOD),
            ("osquery.json", OSQUERY),
        ],
    );
    let pack = folder.path("pack");
    let ran = args(["templates", "check"])
        .arg(&pack)
        .arg(folder.path("other/good.yaml"))
        .arg("--osquery-schema")
        .arg(folder.path("osquery.json"))
        .run();
    let other = folder.path("other");
    let lines: Vec<String> = ran
        .stdout
        .lines()
        .map(|line| line.replace(&pack, "pack").replace(&other, "other"))
        .collect();
    assert_eq!(
        (
            ran.status,
            &*ran.stderr,
            lines.iter().map(String::as_str).collect::<Vec<_>>()
        ),
        (
            1,
            "",
            vec![
                "pack/deeper/unconstrained.yml:5:8: `sql` must constrain `path` of `file`, for osquery answers with nothing otherwise [required_column]",
                "pack/not_yaml.yaml:1:7: must be text [yaml]",
                "pack/wrong_column.yaml:10:20: `users` has no column `usernam`: did you mean `username`? [unknown_column]",
                "other/good.yaml:1:1: `good` is also the name of the template in pack/good.yaml [duplicate]",
                "5 templates, 4 problems",
            ]
        )
    );
}

#[test]
fn templates_check_for_machines_and_exit_statuses() {
    let folder = Folder::with(
        "statuses",
        &[
            ("good.yaml", GOOD),
            ("wrong_column.yaml", WRONG_COLUMN),
            ("osquery.json", OSQUERY),
            ("no_schema.json", "{}"),
            ("empty/.keep", ""),
        ],
    );
    let check =
        |file: &str| args(["templates", "check", "--format", "json"]).arg(folder.path(file));
    let ran = check("good.yaml").run();
    let document = json_of(&ran.stdout);
    valid("templates-check", &document);
    assert_eq!(
        (ran.status, &document["summary"]),
        (0, &json!({"files": 1, "problems": 0}))
    );

    let osquery = folder.path("osquery.json");
    let ran = check("wrong_column.yaml")
        .arg("--osquery-schema")
        .arg(&osquery)
        .run();
    let document = json_of(&ran.stdout);
    valid("templates-check", &document);
    assert_eq!(ran.status, 1);
    assert_eq!(
        document["files"][0]["problems"],
        json!([{
            "path": "tables.users", "rule": "platform", "line": 10, "column": 14,
            "message": "`users` does not exist on windows, which `platforms` names"
        }])
    );

    let usage = |ran: Ran, what: &str| {
        assert_eq!((ran.status, &*ran.stdout), (2, ""));
        let start = format!("error[usage]: {what}");
        assert!(ran.stderr.starts_with(&start), "{}", ran.stderr);
    };
    let missing = folder.path("missing.yaml");
    usage(
        check("missing.yaml").run(),
        &format!("{missing} can't be read: entity not found"),
    );
    let empty = folder.path("empty");
    usage(
        check("empty").run(),
        &format!("{empty} holds no template (*.yaml, *.yml)"),
    );
    let no_schema = folder.path("no_schema.json");
    usage(
        check("good.yaml")
            .arg("--osquery-schema")
            .arg(&no_schema)
            .run(),
        &format!("{no_schema} is not a schema of osquery"),
    );
    assert_eq!(args(["templates", "check", "--nope"]).run().status, 2);
}

#[test]
fn templates_check_takes_the_built_in_ones_where_nothing_is_named() {
    assert_eq!(
        printed(["templates", "check"]),
        "158 templates, no problems\n"
    );
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let ran = args(["templates", "check"]).arg(files).run();
    assert_eq!(
        (ran.status, &*ran.stdout),
        (0, "158 templates, no problems\n")
    );
}

#[test]
fn describe_and_schemas_name_each_other() {
    let description = json_of(&printed(["describe"]));
    for schema in description["schemas"].as_array().expect("schemas") {
        let document = json_of(&printed(["schema", schema.as_str().expect("a name")]));
        assert_eq!(
            document["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        let validator = jsonschema::draft202012::new(&document).expect("a schema");
        for example in document["examples"].as_array().into_iter().flatten() {
            assert!(validator.is_valid(example), "{schema}: {example}");
        }
    }
    for verb in description["verbs"].as_array().expect("verbs") {
        let help = printed([verb.as_str().expect("a name"), "--help"]);
        assert!(help.contains("Usage: "), "{verb}");
    }
}

/// Every verb and flag has a help text, and it begins as a sentence.
#[test]
fn every_flag_is_explained() {
    use clap::CommandFactory;
    fn look(command: &clap::Command) {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} has no help");
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.chars().count() >= 10,
                "{name} {}: {help:?}",
                arg.get_id()
            );
        }
        command.get_subcommands().for_each(look);
    }
    let mut command = osquery_live_query::cli::Cli::command();
    command.build();
    let verbs = command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help");
    verbs.for_each(look);
}

#[test]
fn bash_takes_the_completions() {
    let script = printed(["completions", "bash"]);
    // Sourced by a shell, it completes verbs, flags and templates.
    let asked = format!(
        "{script}\n\
         complete -p osquery-live-query\n\
         ask() {{ COMP_WORDS=(\"$@\"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()\n\
         _osquery__live__query osquery-live-query \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"; }}\n\
         ask osquery-live-query templ\n\
         ask osquery-live-query templates running_\n\
         ask osquery-live-query templates check --osq\n\
         ask osquery-live-query schema st\n"
    );
    let Ok(output) = Command::new("bash").args(["--norc", "-c", &asked]).output() else {
        skipped("bash");
        return;
    };
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    for word in ["templates", "running_processes", "--osquery-schema", "step"] {
        assert!(said.lines().any(|line| line == word), "{word}: {said}");
    }
}

#[test]
fn zsh_and_fish_have_completions_too() {
    let zsh = printed(["completions", "zsh"]);
    assert!(zsh.starts_with("#compdef osquery-live-query"), "{zsh}");
    let fish = printed(["completions", "fish"]);
    assert!(fish.contains("complete -c osquery-live-query"), "{fish}");
    for script in [zsh, fish] {
        assert!(script.contains("running_processes") && script.contains("osquery-schema"));
    }
    for (shell, file) in [("zsh", "zsh"), ("fish", "fish")] {
        let script = printed(["completions", shell]);
        let folder = Folder::with(shell, &[("script", &script)]);
        let Ok(output) = Command::new(file)
            .args(["-n", &folder.path("script")])
            .output()
        else {
            skipped(shell);
            continue;
        };
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
    }
}

#[test]
fn the_manual_page_is_one() {
    let page = printed(["man"]);
    assert!(page.is_ascii(), "old troffs read bytes");
    let folder = Folder::with("man", &[("page.1", &page)]);
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "ENVIRONMENT",
        "EXAMPLES",
    ] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section}");
    }
    for verb in [
        "run",
        "check",
        "templates",
        "templates check",
        "schema",
        "describe",
        "man",
    ] {
        assert!(page.contains(&format!(".SH \"VERB: {verb}\"\n")), "{verb}");
    }
    assert!(page.contains("130"), "exit statuses");
    // groff warns of macros and characters that it does not know.
    let groff = Command::new("groff")
        .args(["-man", "-Tascii", "-ww", &folder.path("page.1")])
        .output();
    let Ok(output) = groff else {
        skipped("groff");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success() && output.stdout.len() > 5_000);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let script = format!(
        "{} templates --format json | head -c 1 > /dev/null; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_osquery-live-query")
    );
    let Ok(status) = Command::new("bash").args(["-c", &script]).status() else {
        skipped("bash");
        return;
    };
    assert_eq!(status.code(), Some(0));
}
