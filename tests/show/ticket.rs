//! From an alert to a ticket with two commands of the README, by a responder who has the alert's JSON and a
//! step file; and a document with as many rows as a step may ask for.

use std::path::Path;

use osquery_simulator::{FLEET_MAINTAINER_TOKEN, HostSpec, Scenario, Simulator};

use super::show;
use crate::harness::args;
use crate::harness::folder::Folder;

/// The two commands, as the README has them.
fn commands() -> [String; 2] {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let (_, section) = readme
        .split_once("### From an alert to a ticket")
        .expect("its section");
    let block = section.split("```").nth(1).expect("a block of commands");
    let mut lines = block.lines().filter_map(|line| line.strip_prefix("$ "));
    [(); 2].map(|()| lines.next().expect("two commands").to_owned())
}

/// An alert and a step of a simulated server that knows one of its two hosts.
fn alert_and_step(folder: &Folder) -> Simulator {
    let known = Scenario::of([HostSpec::named("web-01")]);
    let simulator = Simulator::spawn(known).expect("a simulator");
    folder.file(
        "alert.json",
        r#"{"alert": {"host": "web-01", "others": ["gone-02"], "rule": "x"}}"#,
    );
    folder.file(
        "step.yaml",
        format!(
            "- id: triage\n  type: osquery_live_query\n  params:\n    backend: fleetdm\n    base_url: {}\n    api_token: {FLEET_MAINTAINER_TOKEN}\n    template: running_processes\n    template_params: {{limit: 3}}\n    target_hosts: [\"{{{{ alert.host }}}}\", \"{{{{ alert.others[0] }}}}\"]\n",
            simulator.base_url()
        ),
    );
    simulator
}

#[test]
fn two_commands_lead_from_an_alert_to_a_ticket() {
    let folder = Folder::new();
    let _simulator = alert_and_step(&folder);
    let mut last = None;
    for command in commands() {
        // Each in a shell of its own, as a person types it.
        let line = command.replace("osquery-live-query", "\"$1\"");
        let ran = args([])
            .by_shell(format!("cd '{}' && {line}", folder.name("")))
            .run();
        assert_eq!(ran.status, 0, "{command}: {ran:?}");
        last = Some(ran);
    }
    let ticket = last.expect("a command").stdout;
    for part in [
        "## Live query `running_processes` (`limit` = `3`): partial\n",
        "- SQL: `SELECT * FROM processes LIMIT 3`\n",
        "| `web-01` | answered | 3 |",
        "| `gone-02` | not enrolled, or not visible to these credentials |",
        "\n### `web-01`: 3 rows\n",
        "| `pid` |",
        "**Partial: these are not all rows that were asked for.**",
    ] {
        assert!(ticket.contains(part), "no {part:?} in {ticket}");
    }
    assert!(!ticket.contains(FLEET_MAINTAINER_TOKEN));
}

/// One pipe does, too: `show` waits as long as the run takes.
#[test]
fn the_lines_of_a_run_are_shown_as_they_are_piped_in() {
    let folder = Folder::new();
    let _simulator = alert_and_step(&folder);
    let line = format!(
        "cd '{}' && \"$1\" run --format ndjson --context alert.json < step.yaml | \"$1\" show --format csv -",
        folder.name("")
    );
    let ran = args([]).by_shell(line).run();
    assert_eq!(ran.status, 0, "{ran:?}");
    let rows: Vec<&str> = ran.stdout.lines().skip(1).collect();
    assert_eq!(rows.len(), 3, "{ran:?}");
    assert!(rows.iter().all(|row| row.starts_with("web-01,")), "{ran:?}");
    let said = "warning: not enrolled, or not visible to these credentials: gone-02\n";
    assert!(ran.stderr.ends_with(said), "{ran:?}");
}

/// 100,000 rows of 100 hosts: each is shown, from a file in memory that does not grow with them.
#[test]
fn a_hundred_thousand_rows_are_shown_in_little_memory() {
    let row = r#"{"pid":"1234","name":"bash","path":"/usr/bin/bash","cmdline":"bash -c 'sleep 1; curl https://files.example.com/a'","cwd":"/home/anna","uid":"1000","start_time":"1795763058"}"#;
    let rows = vec![row; 1_000].join(",");
    let hosts = (0..100).map(|host| format!("\"host-{host}\":[{rows}]"));
    let results = hosts.collect::<Vec<_>>().join(",");
    let document =
        format!("{{\"results\":{{{results}}},\"partial\":false,\"timed_out_hosts\":[]}}\n");
    let lines: String = (0..100)
        .map(|host| format!("{{\"type\":\"host\",\"host\":\"host-{host}\",\"status\":\"ok\",\"rows\":[{rows}]}}\n"))
        .chain(["{\"type\":\"summary\",\"partial\":false,\"timed_out_hosts\":[]}\n".into()])
        .collect();
    let folder = Folder::new();
    let all = [
        ("rows", 100_000),
        ("csv", 100_001),
        ("ocsf", 100_000),
        ("table", 1_104),
        ("markdown", 1_000),
    ];
    for (text, formats) in [(&document, &all[..]), (&lines, &all[..2])] {
        let path = folder.file("document.json", text);
        for &(format, expected) in formats {
            let ran = args(["show", "--format", format]).arg(&path).run();
            assert_eq!(ran.status, 0, "{format}: {}", ran.stderr);
            let count = ran.stdout.lines().count();
            assert!(
                (expected..expected + 1_000).contains(&count),
                "{format}: {count}"
            );
            assert!(ran.stdout.contains("host-99"), "{format}");
            // The text is 17 MB, and the process itself takes some.
            assert!(ran.peak_kib < 25 << 10, "{format}: {} KiB", ran.peak_kib);
        }
    }
    assert!(document.len() > 16_000_000);
    // A pipe is held, once.
    let piped = show("rows", &document).run();
    assert_eq!(piped.stdout.lines().count(), 100_000);
    assert!(piped.peak_kib < 65 << 10, "{} KiB", piped.peak_kib);
}
