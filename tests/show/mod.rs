//! `show`: a document of `run` in every format. `sample.json` is one that has every kind of target; what
//! becomes of it stands in `golden/`, and `UPDATE_CASES=1 cargo test show::` writes that again.

mod events;
mod hostile;
mod pieces;
pub mod schemas;
mod ticket;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::folder::Folder;
use crate::harness::{Binary, Ran, args, step};

const FORMATS: [&str; 6] = ["table", "markdown", "csv", "rows", "ocsf", "ecs"];

fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/show")
        .join(name)
}

fn sample() -> Value {
    let text = std::fs::read_to_string(here("sample.json")).expect("the sample");
    serde_json::from_str(&text).expect("JSON")
}

/// `show` in a format, of a text on stdin.
fn show(format: &str, text: impl AsRef<[u8]>) -> Binary {
    step(text).args(&["show", "--format", format])
}

/// What it wrote, which has to have worked.
#[track_caller]
fn shown(binary: Binary) -> String {
    let ran = binary.run();
    assert_eq!(ran.status, 0, "{ran:?}");
    ran.stdout
}

/// The lines that `run --format ndjson` would have written instead of a document.
fn as_lines(document: &Value) -> String {
    let mut text = String::new();
    let results = document["results"].as_object().expect("results");
    for (host, rows) in results {
        let about = &document["hosts"][host];
        let mut line = json!({"type": "host", "host": host, "status": about["status"]});
        for key in ["error", "hostname", "uuid", "answered_at", "truncated"] {
            if !about[key].is_null() {
                line[key] = about[key].clone();
            }
        }
        line["rows"] = rows.clone();
        text.push_str(&format!("{line}\n"));
    }
    let mut summary = json!({"type": "summary"});
    for (key, value) in document.as_object().expect("a document") {
        if key != "results" {
            summary[key] = value.clone();
        }
    }
    format!("{text}{summary}\n")
}

/// The document with the keys of every object sorted, as `jq -S` writes it.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let sorted = entries
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(sorted.collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_sample_has_every_kind_of_target_and_is_a_document() {
    let document = Ran {
        status: 0,
        killed: false,
        stdout: format!("{}\n", sample()),
        stderr: String::new(),
        elapsed: std::time::Duration::ZERO,
        peak_kib: 0,
    };
    let mut known = sample();
    // What a later version says more.
    known["hosts"]["wbe-01"]
        .as_object_mut()
        .expect("a host")
        .remove("near");
    let document = Ran {
        stdout: format!("{known}\n"),
        ..document
    };
    let statuses = document.document();
    let statuses: std::collections::BTreeSet<&str> = statuses.statuses().into_values().collect();
    let schema = std::fs::read_to_string(here("../../schemas/output.schema.json")).expect("it");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let all = &schema["$defs"]["host"]["properties"]["status"]["enum"];
    let all: std::collections::BTreeSet<&str> = all
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(statuses, all);
}

#[test]
fn each_format_is_as_it_was() {
    for format in FORMATS {
        let shown = shown(args(["show", "--format", format]).arg(here("sample.json")));
        let golden = here("golden").join(format!("sample.{format}"));
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&golden, &shown).expect("the golden file");
        }
        let golden = std::fs::read_to_string(golden).expect("a golden file");
        assert_eq!(shown, golden, "{format}");
    }
}

/// However a document is written and given, the same is shown of it.
#[test]
fn a_document_and_its_lines_show_the_same() {
    let document = sample();
    let folder = Folder::new();
    let texts = [
        ("pretty", format!("{document:#}")),
        ("lines", as_lines(&document)),
    ];
    for (name, text) in &texts {
        folder.file(name, text);
    }
    for format in FORMATS {
        let expected = std::fs::read_to_string(here("golden").join(format!("sample.{format}")));
        let expected = expected.expect("a golden file");
        for (name, text) in &texts {
            let file = args(["show", "--format", format]).arg(folder.at(name));
            let dash = show(format, text).arg("-");
            let redirected = args(["show", "--format", format])
                .by_shell(format!("exec \"$@\" < '{}'", folder.name(name)));
            for binary in [file, show(format, text), dash, redirected] {
                assert_eq!(shown(binary), expected, "{format} of {name}");
            }
        }
    }
}

/// `jq -S` puts a line's rows before what it says of them, and sorts the columns.
#[test]
fn sorted_keys_are_read_too() {
    let document = sorted(&sample());
    let lines: String = as_lines(&document)
        .lines()
        .map(|line| format!("{}\n", sorted(&serde_json::from_str(line).expect("JSON"))))
        .collect();
    // Targets may come in another order then, and so may the lines.
    let by_line = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for format in FORMATS {
        let whole = shown(show(format, document.to_string()));
        let of_lines = shown(show(format, &lines));
        assert_eq!(by_line(&of_lines), by_line(&whole), "{format}");
        assert!(whole.contains("web-04"), "{whole}");
    }
}

#[test]
fn one_host_and_so_many_rows_are_shown() {
    let of = |flags: &[&str]| {
        let rows = shown(
            args(["show", "--format", "rows"])
                .args(flags)
                .arg(here("sample.json")),
        );
        let hosts = rows.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            line["host"].as_str().expect("a host").to_owned()
        });
        hosts.collect::<Vec<_>>()
    };
    let uuid = "4C4C4544-0000-4000-8000-0000000000AB";
    for (flags, hosts) in [
        (
            &["--host", "web-01"][..],
            &["web-01", "web-01", "web-01"][..],
        ),
        (&["--host", "web-01", "--rows", "2"], &["web-01", "web-01"]),
        (&["--rows", "1"], &["web-01", uuid, "web-04"]),
        // By its other names, in any case.
        (&["--host", "WIN-02"], &[uuid]),
        (
            &["--host", "4c4c4544-0000-4000-8000-0000000000ad"],
            &["web-04"],
        ),
        (&["--host", "web-04", "--host", "win-02"], &[uuid, "web-04"]),
        (&["--host", "db-7"], &[]),
    ] {
        assert_eq!(of(flags), hosts, "{flags:?}");
    }
    let events = |format: &str| {
        shown(args(["show", "--host", "db-7", "--format", format]).arg(here("sample.json")))
    };
    for format in ["ocsf", "ecs"] {
        assert_eq!(events(format).lines().count(), 1, "{format}");
    }
}

#[test]
fn what_is_asked_wrongly_is_said() {
    let sample = here("sample.json");
    let hint = "\nhint: see `osquery-live-query show --help`\n";
    for (flags, said) in [
        (
            &["--host", "wbe-03"][..],
            format!(
                "error[usage]: the document has no target `wbe-03`: did you mean `web-03`? it has web-01, 4C4C4544-0000-4000-8000-0000000000AB, web-03, web-04, old-server and 5 more{hint}"
            ),
        ),
        (
            &["--host", "nothing-like-it"],
            format!(
                "error[usage]: the document has no target `nothing-like-it`: it has web-01, 4C4C4544-0000-4000-8000-0000000000AB, web-03, web-04, old-server and 5 more{hint}"
            ),
        ),
        (
            &["--raw"],
            format!(
                "error[usage]: `--raw` goes with `--format csv`: no other format changes cells{hint}"
            ),
        ),
    ] {
        let ran = args(["show"]).args(flags).arg(&sample).run();
        assert_eq!(
            (ran.status, &*ran.stdout, &*ran.stderr),
            (2, "", &*said),
            "{flags:?}"
        );
    }
    for flags in [
        &["--rows", "0"][..],
        &["--rows", "-1"],
        &["--format", "xml"],
        &["--format"],
    ] {
        let ran = args(["show"]).args(flags).arg(&sample).run();
        assert_eq!((ran.status, &*ran.stdout), (2, ""), "{flags:?}");
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    }
    let ran = args(["show", "no-such-file.json"]).run();
    let said =
        "error[usage]: no-such-file.json does not exist\nhint: check the spelling of the path\n";
    assert_eq!((ran.status, &*ran.stderr), (2, said));
}

/// What the rows can't say stands on stderr; a table and a ticket say it themselves.
#[test]
fn formats_of_rows_alone_say_on_stderr_what_they_lack() {
    let expected = "\
warning: answered with an error: old-server: no such column: cwd
warning: answered with more rows than are here: web-04
warning: asked, no answer: db-7
warning: offline, no answer: laptop-0042
warning: not asked, the run ended before that: db-8
warning: not asked, phones and tablets run no osquery: ipad-3
warning: not enrolled, or not visible to these credentials: wbe-01
";
    for format in FORMATS {
        let ran = show(format, sample().to_string()).run();
        let expected = match format {
            "table" | "markdown" => "",
            _ => expected,
        };
        assert_eq!((ran.status, &*ran.stderr), (0, expected), "{format}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error_and_a_closed_stdout_is_one() {
    let path = here("sample.json");
    let path = path.display();
    for format in FORMATS {
        let show = |line: &str| {
            args(["show", "--format", format])
                .by_shell(line.replace("FILE", &format!("'{path}'")))
                .run()
        };
        let closed = show("exec \"$@\" FILE >&-");
        assert_eq!(closed.status, 74, "{closed:?}");
        assert!(closed.stderr.contains("error[output]: "), "{closed:?}");
        let full = show("exec \"$@\" FILE > /dev/full");
        assert_eq!(full.status, 74, "{full:?}");
        // The status is the last command's of the line; the first's is written.
        let enough = show("{ \"$@\" FILE; echo $? >&2; } | head -c 1");
        assert!(enough.stderr.ends_with("0\n"), "{enough:?}");
    }
}

#[test]
fn a_table_fits_its_terminal() {
    for columns in [20, 40, 80, 120, 400] {
        let table = shown(
            args(["show"])
                .arg(here("sample.json"))
                .env("COLUMNS", columns.to_string()),
        );
        for line in table.lines() {
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
        let whole = table.contains("curl -s https://files.example.com/a | sh");
        assert_eq!(whole, columns == 400, "{table}");
        // What was left out, or cut, is said.
        assert_eq!(table.contains("more column"), columns <= 120, "{table}");
    }
    let unknown = shown(
        args(["show"])
            .arg(here("sample.json"))
            .env("COLUMNS", "wide"),
    );
    assert_eq!(unknown, shown(args(["show"]).arg(here("sample.json"))));
}
