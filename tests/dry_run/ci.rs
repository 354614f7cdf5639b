//! What docs/ci.md and .pre-commit-hooks.yaml tell people to run, run here.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{Folder, fixture, root};

fn document(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// The YAML of a section of docs/ci.md.
fn snippet(section: &str) -> Value {
    let text = std::fs::read_to_string(root().join("docs/ci.md")).expect("docs/ci.md");
    let section = text
        .split(&format!("## {section}\n"))
        .nth(1)
        .expect("the section");
    let yaml = section.split("```yaml\n").nth(1).expect("a snippet");
    document(yaml.split("```").next().expect("its end"))
}

/// Runs a shell command in a folder, with the binary on the PATH.
fn shell(command: &str, folder: &Path) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_osquery-live-query"));
    let path = binary.parent().expect("a folder").display();
    Command::new("sh")
        .args(["-ec", command])
        .current_dir(folder)
        .env("PATH", format!("{path}:/usr/bin:/bin"))
        .output()
        .expect("sh runs")
}

/// A repository with the samples, and one with faults.
fn repositories() -> (Folder, Folder) {
    let (clean, faulty) = (Folder::new(), Folder::new());
    for file in std::fs::read_dir(root().join("playbooks")).expect("playbooks") {
        let path = file.expect("a file").path();
        if path.is_dir() {
            continue;
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let text = std::fs::read(&path).expect("a file");
        clean.file(&format!("playbooks/{name}"), text);
    }
    let text = std::fs::read(fixture("faults.playbook.yaml")).expect("the file");
    faulty.file("playbooks/faults.playbook.yaml", text);
    (clean, faulty)
}

#[test]
fn the_github_workflow_runs() {
    let workflow = snippet("GitHub Actions");
    let steps = workflow["jobs"]["dry-run"]["steps"]
        .as_array()
        .expect("steps");
    let commands: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["run"].as_str())
        .filter(|command| command.starts_with("osquery-live-query"))
        .collect();
    let [annotate, sarif] = commands.as_slice() else {
        panic!("two commands: {commands:?}");
    };
    let (clean, faulty) = repositories();
    assert_eq!(shell(annotate, clean.path()).status.code(), Some(0));
    let annotated = shell(annotate, faulty.path());
    assert_eq!(annotated.status.code(), Some(1));
    let text = String::from_utf8(annotated.stdout).expect("UTF-8");
    assert!(text.contains(
        "::error file=playbooks/faults.playbook.yaml,line=4,col=1,title=additionalProperties::"
    ));
    for (folder, results) in [(&clean, false), (&faulty, true)] {
        // The step itself does not fail, so that the upload follows.
        assert_eq!(shell(sarif, folder.path()).status.code(), Some(0));
        let log = std::fs::read_to_string(folder.path().join("playbooks.sarif")).expect("a log");
        let log: Value = serde_json::from_str(&log).expect("JSON");
        let found = log["runs"][0]["results"].as_array().expect("results");
        assert_eq!(!found.is_empty(), results);
    }
}

#[test]
fn the_gitlab_job_runs() {
    let job = snippet("GitLab");
    let commands = |key: &str| -> String {
        let lines = job["playbooks"][key].as_array().expect("commands");
        let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
        lines.join("\n")
    };
    let (clean, faulty) = repositories();
    assert_eq!(
        shell(&commands("script"), clean.path()).status.code(),
        Some(0)
    );
    assert_eq!(
        shell(&commands("script"), faulty.path()).status.code(),
        Some(1)
    );
    assert_eq!(
        shell(&commands("after_script"), faulty.path())
            .status
            .code(),
        Some(0)
    );
    let report = std::fs::read_to_string(faulty.path().join("playbooks.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert!(report["summary"]["errors"].as_u64() > Some(0));
}

#[test]
fn the_pre_commit_hooks_run() {
    let hooks = document(
        &std::fs::read_to_string(root().join(".pre-commit-hooks.yaml")).expect("the hooks"),
    );
    let hooks = hooks.as_array().expect("a list");
    let used = snippet("pre-commit");
    let used = used["repos"][0]["hooks"][0]["id"].as_str();
    assert!(hooks.iter().any(|hook| hook["id"].as_str() == used));
    let (clean, faulty) = repositories();
    for hook in hooks {
        for key in ["id", "name", "description", "language", "entry", "files"] {
            assert!(hook[key].is_string(), "{key} of {hook}");
        }
        let pattern = hook["files"].as_str().expect("a pattern");
        for (folder, status) in [(&clean, 0), (&faulty, 1)] {
            // pre-commit gives the files that changed and match.
            let listed = format!("find playbooks -type f | grep -E '{pattern}'");
            let listed = shell(&listed, folder.path()).stdout;
            let listed = String::from_utf8(listed).expect("UTF-8");
            let changed: Vec<&str> = listed.lines().collect();
            assert!(!changed.is_empty());
            let entry = hook["entry"].as_str().expect("a command");
            let ran = shell(&format!("{entry} {}", changed.join(" ")), folder.path());
            assert_eq!(ran.status.code(), Some(status), "{ran:?}");
        }
    }
}
