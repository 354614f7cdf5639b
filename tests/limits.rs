//! What an empty answer leaves open: the document says it where it matters, and nowhere else.

use osquery_simulator::{Answer, HostSpec, Scenario};
use serde_json::{Value, json};

use crate::harness::site::{Kind, Site, on_all, silent};

const CLOSED: &str = "Connections that were closed before the query ran are not listed.";
const READ_MAX: &str = "`read_max` (50 MiB unless configured)";
const SHADOW: &str = "/etc/shadow takes root";

fn rows(rows: &[Value]) -> Answer {
    let cells = rows.iter().map(|row| row.as_object().cloned());
    Answer::Rows(cells.map(|row| row.expect("a row")).collect())
}

fn file(digest: &Value) -> Answer {
    let row = |sha256: &Value| json!({"path": "/etc/a", "size": "52428801", "sha256": sha256});
    rows(&[row(&json!("e3b0")), row(digest)])
}

/// A template, its parameters, what the host answers, and a part of what is said of that.
type Case = (&'static str, Value, Answer, Option<&'static str>);

fn cases() -> Vec<Case> {
    let of_files = || json!({"directory": "/etc/cron.d"});
    let one = || rows(&[json!({"pid": "1", "username": "root"})]);
    vec![
        // Nothing came.
        ("active_connections", json!({}), Answer::None, Some(CLOSED)),
        (
            "accounts_without_password",
            json!({}),
            Answer::None,
            Some(SHADOW),
        ),
        (
            "file_hashes_in_directory",
            of_files(),
            Answer::None,
            Some(READ_MAX),
        ),
        // Something came.
        ("active_connections", json!({}), one(), None),
        ("accounts_without_password", json!({}), one(), None),
        // A digest is missing: of a file that osquery did not hash.
        (
            "file_hashes_in_directory",
            of_files(),
            file(&json!("")),
            Some(READ_MAX),
        ),
        (
            "file_hashes_in_directory",
            of_files(),
            file(&Value::Null),
            Some(READ_MAX),
        ),
        (
            "file_hashes_in_directory",
            of_files(),
            file(&json!("\"sha256\":\"\"")),
            None,
        ),
        // Another template's column of that name, and one whose empty answer proves absence.
        ("active_connections", json!({}), file(&json!("")), None),
        ("windows_shares", json!({}), Answer::None, None),
        // What failed says so itself.
        (
            "active_connections",
            json!({}),
            Answer::Error("no such table: x".into()),
            None,
        ),
    ]
}

#[test]
fn what_an_empty_answer_leaves_open_is_said_where_it_matters() {
    let mut runs = Vec::new();
    for kind in Kind::ALL {
        for format in ["json", "ndjson"] {
            runs.extend(cases().into_iter().map(|case| (kind, format, case)));
        }
    }
    on_all(runs, |(kind, format, (template, params, answer, said))| {
        let hosts = [
            HostSpec::named("full").answering(rows(&[json!({"pid": "1", "sha256": "e3b0"})])),
            HostSpec::named("asked").answering(answer),
        ];
        let site = Site::new(kind, Scenario::of(hosts));
        let step = site
            .step(&["full", "asked"])
            .with("template", template)
            .with("template_params", params);
        let ran = step.arg(&format!("--format={format}")).binary().run();
        match format {
            "json" => drop(ran.document()),
            _ => drop(ran.lines()),
        }
        let last = ran.stdout.lines().last().expect("a line");
        let last: Value = serde_json::from_str(last).expect("JSON");
        let note = last["run"]["note"].as_str();
        let what = format!("{kind:?} {format} {template}: {ran:?}");
        assert_eq!((ran.status, note.is_some()), (0, said.is_some()), "{what}");
        if let (Some(note), Some(said)) = (note, said) {
            assert!(note.starts_with("What the answers leave open: "), "{what}");
            assert!(note.contains(said), "{what}");
        }
    });
}

/// Who did not answer is no empty answer; nor is what nobody was asked.
#[test]
fn silence_is_no_empty_answer() {
    for kind in Kind::ALL {
        let site = Site::new(kind, Scenario::of([silent("mute")]));
        let step = || site.step(&["mute"]).with("template", "active_connections");
        let silent = step().timeout(4).binary().run().document();
        let checked = step().arg("check").binary().run().document();
        for document in [silent, checked] {
            assert_eq!(document.run.note, None);
        }
    }
}
