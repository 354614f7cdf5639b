//! Playbooks in the shapes that other engines give them: what they have passes, what is mistyped in them is
//! found at its place, nested or not. A row's stdout is `files/shapes/ROW.txt`, all of it.

use super::formats::assert_as_written;
use super::{Folder, fixture};
use crate::harness::args;

/// A sample, how it is examined, and how that ends.
struct Row {
    /// Its golden file.
    name: &'static str,
    /// `files/shapes/SAMPLE`.
    sample: &'static str,
    flags: &'static [&'static str],
    /// The content of `--context`.
    context: Option<&'static str>,
    /// The content of `--policy`.
    policy: Option<&'static str>,
    status: i32,
}

const PLAIN: Row = Row {
    name: "",
    sample: "",
    flags: &[],
    context: None,
    policy: None,
    status: 0,
};

const POLICY: &str = "instances:\n  corp:\n    backend: fleetdm\n    base_url: https://fleet.corp.example.com\n    credentials: {api_token: {env: T}}\n";

const CONTEXT: &str = "alert: {host: web-01, hosts: [db-01, db-02], limit: null}\n";

const ROWS: &[Row] = &[
    // All that published playbooks have beside what is ours: nothing is said but that a step has no id.
    Row {
        name: "published",
        sample: "published.playbook.json",
        ..PLAIN
    },
    // The input's field is where the target comes from.
    Row {
        name: "published-with-context",
        sample: "published.playbook.json",
        context: Some("alert: {host: web-01, network: {address: 192.0.2.7}}\n"),
        ..PLAIN
    },
    Row {
        name: "nested",
        sample: "nested.playbook.yaml",
        flags: &["--strict", "--warnings-as-errors"],
        ..PLAIN
    },
    Row {
        name: "nested-faults",
        sample: "nested-faults.playbook.yaml",
        status: 1,
        ..PLAIN
    },
    Row {
        name: "nested-faults-json",
        sample: "nested-faults.playbook.json",
        status: 1,
        ..PLAIN
    },
    Row {
        name: "unknown-keys",
        sample: "unknown-keys.playbook.yaml",
        status: 1,
        ..PLAIN
    },
    Row {
        name: "unknown-keys-strict",
        sample: "unknown-keys.playbook.yaml",
        flags: &["--strict"],
        status: 1,
        ..PLAIN
    },
    Row {
        name: "left-to-the-engine",
        sample: "left-to-the-engine.playbook.json",
        ..PLAIN
    },
    Row {
        name: "left-to-the-engine-strict",
        sample: "left-to-the-engine.playbook.json",
        flags: &["--strict"],
        status: 1,
        ..PLAIN
    },
    Row {
        name: "without-ids",
        sample: "without-ids.playbook.yaml",
        ..PLAIN
    },
    Row {
        name: "fields",
        sample: "fields.playbook.yaml",
        status: 1,
        ..PLAIN
    },
    Row {
        name: "fields-with-context",
        sample: "fields.playbook.yaml",
        context: Some(CONTEXT),
        status: 1,
        ..PLAIN
    },
    // What the context gives as the input itself needs no field.
    Row {
        name: "fields-with-inputs",
        sample: "fields.playbook.yaml",
        flags: &["--context-root", "host_id"],
        context: Some(
            "alert: {host: web-01, hosts: [a, b, c]}\ninputs: {typo: mail-01, limit: 3, root: r, braces: b, filtered: f}\n",
        ),
        status: 1,
        ..PLAIN
    },
    Row {
        name: "instance",
        sample: "instance.playbook.yaml",
        policy: Some(POLICY),
        status: 1,
        ..PLAIN
    },
    Row {
        name: "instance-without-policy",
        sample: "instance.playbook.yaml",
        status: 1,
        ..PLAIN
    },
    // Only a value is hidden, not the mistake in a reference.
    Row {
        name: "references",
        sample: "references.playbook.yaml",
        status: 1,
        ..PLAIN
    },
    Row {
        name: "unquoted",
        sample: "unquoted.playbook.yaml",
        status: 1,
        ..PLAIN
    },
];

#[test]
fn shapes_of_other_engines() {
    let folder = Folder::new();
    for row in ROWS {
        let mut binary = args(["dry-run"]);
        for flag in row.flags {
            binary = binary.arg(flag);
        }
        for (flag, text) in [("--context", row.context), ("--policy", row.policy)] {
            if let Some(text) = text {
                let file = folder.file(&format!("{}{flag}.yaml", row.name), text);
                binary = binary.arg(flag).arg(file);
            }
        }
        let ran = binary.arg(fixture("shapes").join(row.sample)).run();
        let name = row.name;
        assert_eq!(
            (ran.status, &*ran.stderr),
            (row.status, ""),
            "{name}: {}",
            ran.stdout
        );
        assert!(!ran.stdout.contains("hunter2"), "{name}: {}", ran.stdout);
        assert_as_written(&format!("shapes/{name}.txt"), &ran.stdout);
    }
}

/// Steps nested over and over count as steps, too, and depth is bounded.
#[test]
fn nested_steps_are_counted() {
    let folder = Folder::new();
    let branch = |name: &str, count: usize| {
        let step = "{id: null, name: N, type: wait}";
        let steps = vec![step; count].join(", ");
        format!("  - {{id: {name}, name: N, type: parallel, steps: [{steps}]}}\n")
    };
    for (count, status, said) in [
        (498, 1, "`steps[0].steps[0].id` must be text"),
        (
            600,
            1,
            "the playbook has more than 1000 steps, nested ones included",
        ),
    ] {
        let text = format!(
            "id: a\nname: A\nsteps:\n{}{}",
            branch("one", count),
            branch("two", count)
        );
        let file = folder.file(&format!("{count}.playbook.yaml"), text);
        let ran = args(["dry-run", "--quiet"]).arg(file).run();
        assert_eq!((ran.status, &*ran.stderr), (status, ""));
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }
}
