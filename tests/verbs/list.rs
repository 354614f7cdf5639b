//! `templates`: the list, one template, the documentation.

use std::path::Path;

use serde_json::{Value, json};

use super::{failed, folder_with, json_of, names, printed, valid};
use crate::harness::{args, step};

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
        "error[usage]: `--tag`, `--platform` and `--search` choose from the list; leave them out with a NAME\nhint: see `osquery-live-query templates --help`\n",
    );
    failed(
        &args(["templates", "--format", "step"]).run(),
        2,
        "error[usage]: `--format step` prints the example of one template: name it\nhint: see `osquery-live-query templates --help`\n",
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
         An empty answer\n\
         \n\
         \x20 - Processes that ended before the query ran are not listed.\n\
         \x20 - Without root, files of other users' processes can't be read.\n\
         \n\
         Parameters\n\
         \n\
         \x20 pid (pid, required)\n\
         \x20     The process id.\n\
         \x20     A process id from 0 to 4294967295, decimal or hexadecimal as `0x1a2c`.\n\
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
            "limits",
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
    use osquery_live_query::Sources;
    use osquery_live_query::prepare as check;
    let folder = folder_with(&[
        ("context.yaml", "alert: {host: web-1}\n"),
        ("fleet_token", "t"),
    ]);
    let sources = Sources {
        context: Some(folder.at("context.yaml")),
        secrets_dir: Some(folder.at("")),
        ..Sources::default()
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
    use osquery_live_query::inside::TemplatesArgs;
    use osquery_live_query::inside::TemplatesFormat;
    let args = TemplatesArgs {
        policy: None,
        verb: None,
        name: Some(name.to_owned()),
        selection: Default::default(),
        format: TemplatesFormat::Step,
    };
    osquery_live_query::inside::templates_text(&args, &|_| {}).expect("a step")
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

/// A template that some server can't be asked for is listed with the reason, in every format.
#[test]
fn templates_that_a_server_refuses_say_why() {
    let own = "name: one\nintent: Gives a row the name that marks what was found.\nsql: SELECT pid AS live_query_matched FROM processes\nplatforms: [linux]\nseverity: info\ntables:\n  processes:\n    columns: [pid]\n";
    let folder = folder_with(&[("own/one.yaml", own)]);
    let policy = folder.policy("template_dirs: [own]\n");
    let policy = policy.to_str().expect("UTF-8");
    let why = "it has a result column called `live_query_matched`, by which an answer without rows is told from one that failed";
    let list = args(["templates", "--search", "marks", "--policy", policy]).run();
    let told =
        format!("warning: `one` can't be asked for through AiSOC's osquery service: {why}\n");
    assert_eq!(
        (list.status, names(&list.stdout), list.stderr),
        (0, vec!["one"], told)
    );
    let page = printed(["templates", "one", "--policy", policy]);
    let told = format!("\nServers\n\n  not through AiSOC's osquery service: {why}\n");
    assert!(page.contains(&told), "{page}");
    let document = json_of(&printed([
        "templates",
        "one",
        "--format",
        "json",
        "--policy",
        policy,
    ]));
    valid("templates", &document);
    assert_eq!(
        document["templates"][0]["refused_by"],
        json!({"aisoc_direct": why})
    );
    let document = json_of(&printed([
        "templates",
        "uptime",
        "--format",
        "json",
        "--policy",
        policy,
    ]));
    assert_eq!(document["templates"][0].get("refused_by"), None);
    // A step for it is refused there, and goes through elsewhere.
    let run = |backend: &str| {
        let text = format!(
            "id: a\ntype: osquery_live_query\nparams:\n  backend: {backend}\n  base_url: https://h.example\n  api_token: token-1\n  template: one\n  target_hosts: [a]\n"
        );
        step(text)
            .args(&["dry-run", "-"])
            .arg("--policy")
            .arg(policy)
            .run()
    };
    let refused = run("aisoc_direct");
    assert!(
        refused.status != 0 && refused.stdout.contains(why),
        "{refused:?}"
    );
    assert_eq!(run("fleetdm").status, 0);
}
