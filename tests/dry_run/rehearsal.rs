//! `--simulate`, in builds with the feature `demo`.

use super::{Folder, json as report_of, report, root};
use crate::harness::args;

#[test]
fn steps_run_one_after_the_other_and_their_documents_are_shown() {
    let playbooks = root().join("playbooks");
    let mut binary = report_of()
        .arg("--context")
        .arg(playbooks.join("incident.example.yaml"))
        .arg("--simulate")
        .arg(playbooks.join("incident.scenario.yaml"));
    for name in ["suspicious-process", "lost-laptop"] {
        binary = binary.arg(playbooks.join(format!("{name}.playbook.yaml")));
    }
    let mut ran = binary.run();
    assert_eq!(ran.status, 0, "{}", ran.stdout);
    assert!(
        ran.stderr
            .lines()
            .all(|line| line.starts_with("warning: left out")),
        "{}",
        ran.stderr
    );
    ran.stderr.clear();
    let report = report(&ran);
    assert_eq!(report.summary.steps, 10);
    for step in report.files.iter().flat_map(|file| &file.steps) {
        assert_eq!(step.exit_code, Some(0), "{step:?}");
        let document = step.document.as_ref().expect("a document");
        assert_eq!(document["partial"], false, "{step:?}");
    }
}

#[test]
fn later_steps_see_the_documents_before_them_and_failures_count() {
    let folder = Folder::new();
    let step = |id: &str, hosts: &str| {
        format!(
            "  - id: {id}\n    name: N\n    type: osquery_live_query\n    params:\n      backend: osctrl\n      environment: lab\n      base_url: https://h\n      api_token: \"{{{{ secrets.t }}}}\"\n      template: logged_in_users\n      target_hosts: {hosts}\n      timeout_seconds: 1\n"
        )
    };
    let scenario = folder.file(
        "hosts.yaml",
        "hosts: [{hostname: a}, {hostname: b, status: offline}]\n",
    );
    let text = format!(
        "id: a\nname: A\nsteps:\n{}{}{}",
        step("first", "[a, b]"),
        step("again", "\"{{ steps.first.timed_out_hosts }}\""),
        step("none", "[nobody]")
    );
    let file = folder.file("a.playbook.yaml", text);
    let ran = report_of()
        .arg("--simulate")
        .arg(&scenario)
        .arg(&file)
        .run();
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    let report: super::Report = serde_json::from_str(&ran.stdout).expect("a report");
    let documents: Vec<&serde_json::Value> = report.files[0]
        .steps
        .iter()
        .map(|step| step.document.as_ref().expect("a document"))
        .collect();
    assert_eq!(documents[0]["timed_out_hosts"], serde_json::json!(["b"]));
    assert_eq!(documents[1]["timed_out_hosts"], serde_json::json!(["b"]));
    assert_eq!(documents[2]["error"]["code"], "targets");
    let text = args(["dry-run"])
        .arg("--simulate")
        .arg(&scenario)
        .arg(&file)
        .run();
    assert!(
        text.stdout.contains("rehearsed, exit status 21:"),
        "{}",
        text.stdout
    );
    let ran = args(["dry-run", "--simulate", "no-such-file"])
        .arg(&file)
        .run();
    assert_eq!(ran.status, 2);
    assert_eq!(
        ran.stderr,
        "error[usage]: the scenario no-such-file can't be used: entity not found\n"
    );
}
