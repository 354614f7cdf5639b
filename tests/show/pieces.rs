//! Documents that are not whole, not of `run`, or of a run that did not come to its end: said, and never
//! shown as if they were more.

use serde_json::{Value, json};

use super::{FORMATS, as_lines, sample, show};

/// Rows as `--format rows` has them, without what only the summary says.
fn rows(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        json!([line["host"], line["row"]])
    });
    lines.collect()
}

/// Lines that break off anywhere: what there is is shown, that it is not all is said, and the status is
/// that of a text that is no document.
#[test]
fn lines_that_break_off_are_never_shown_as_whole() {
    let lines = as_lines(&sample());
    let whole = show("rows", &lines).run();
    assert_eq!(whole.status, 0);
    let all = rows(&whole.stdout);
    let ends: Vec<usize> = (0..lines.len() - 1)
        .step_by(61)
        .chain(
            // Between the lines, too.
            lines
                .match_indices('\n')
                .map(|(at, _)| at + 1)
                .filter(|at| *at < lines.len()),
        )
        .collect();
    let mut shown_some = 0;
    for end in ends {
        let ran = show("rows", &lines[..end]).run();
        let last_line = lines[..end].lines().count();
        assert_eq!(ran.status, 10, "{end}: {ran:?}");
        let some = rows(&ran.stdout);
        assert_eq!(some[..], all[..some.len()], "{end}");
        shown_some += usize::from(!some.is_empty());
        if ran.stderr.starts_with("error[decode]: ") {
            // Not one host is known.
            assert!(some.is_empty() && last_line <= 1, "{end}: {ran:?}");
            continue;
        }
        let between = lines[..end].ends_with('\n');
        let place = match between {
            true => format!("before line {}", last_line + 1),
            false => format!("in the middle of line {last_line}"),
        };
        let said = format!(
            "warning: the text ends {place}, without its summary: what was asked, and who did not answer, is not known\n"
        );
        assert!(ran.stderr.starts_with(&said), "{end}: {ran:?}");
    }
    assert!(shown_some > 20, "{shown_some}");
}

#[test]
fn what_breaks_off_is_partial_in_every_format() {
    let lines = as_lines(&sample());
    let first = lines.lines().next().expect("a line");
    let cut = &first[..first.find("bash -c").expect("the second row")];
    for format in FORMATS {
        let ran = show(format, cut).run();
        assert_eq!(ran.status, 10, "{format}: {ran:?}");
        assert!(
            ran.stderr.contains("the text ends in the middle of line 1"),
            "{ran:?}"
        );
        assert!(
            ran.stdout.contains("systemd") && !ran.stdout.contains("python3"),
            "{ran:?}"
        );
        let says = match format {
            "table" => "PARTIAL",
            "markdown" => "**Partial",
            "ocsf" => "\"query_result\":\"Partial\"",
            _ => "",
        };
        assert!(ran.stdout.contains(says), "{ran:?}");
    }
}

/// A host that the summary says answered, and whose line is not there.
#[test]
fn a_line_that_was_taken_out_is_missed() {
    let lines = as_lines(&sample());
    let lines: Vec<&str> = lines
        .lines()
        .filter(|line| !line.contains("\"host\":\"web-03\""))
        .collect();
    let ran = show("rows", lines.join("\n")).run();
    let said = "warning: answered, but the rows are not in the document: web-03\n";
    assert!(ran.status == 0 && ran.stderr.contains(said), "{ran:?}");
    let ran = show("ocsf", lines.join("\n")).run();
    let event = ran
        .stdout
        .lines()
        .find(|line| line.contains("web-03"))
        .expect("an event");
    assert!(event.contains("\"query_result_id\":0"), "{event}");
    // Fewer rows than it says that the host sent.
    let mut document = sample();
    document["hosts"]["web-01"]["rows"] = 9.into();
    let ran = show("csv", document.to_string()).run();
    let said = "warning: answered with more rows than are here: web-01, web-04\n";
    assert!(ran.stderr.contains(said), "{ran:?}");
}

#[test]
fn what_is_no_document_is_told_with_its_place() {
    let sample = sample().to_string();
    let with = |key: &str, value: Value| {
        let mut document: Value = serde_json::from_str(&sample).expect("JSON");
        document[key] = value;
        document.to_string()
    };
    let hint = "\nhint: `show` reads what `run` or `check` wrote, as JSON or ndjson\n";
    for (text, said) in [
        ("".to_owned(), "there is nothing to show: the text is empty"),
        (" \n\n".into(), "there is nothing to show: the text is empty"),
        ("no JSON".into(), "line 1, column 2: this is not JSON"),
        ("{\"results\": {}\n,,".into(), "line 2, column 2: this is not JSON"),
        ("[1]".into(), "line 1, column 2: no document of `run` has a value of this kind here"),
        ("null".into(), "line 1, column 4: no document of `run` has a value of this kind here"),
        (sample[..700].into(), "line 1, column 700: the text ends in the middle of the document"),
        ("{\"alert\": {}}".into(), "this is not a document of `run` or `check`: it has no `results`"),
        ("{\"type\": \"other\"}".into(), "this is not a document of `run` or `check`"),
        ("{\"results\": {}}".into(), "this is not a document of `run` or `check`: it has no `partial`"),
        (
            "{\"results\": {}, \"partial\": false}".into(),
            "this is not a document of `run` or `check`: it has no `timed_out_hosts`",
        ),
        (format!("{sample}\n{sample}"), "line 2, column 1: more text follows the document: `show` takes one at a time"),
        (format!("{sample}\nwarning: a line"), "line 2, column 1: this is not JSON"),
        (
            "{\"type\":\"host\",\"host\":\"a\",\"status\":\"ok\",\"rows\":[]}\n{\"a\":1}".into(),
            "line 2, column 1: this is not a line of `run --format ndjson`",
        ),
        (
            "{\"type\":\"host\",\"host\":\"a\",\"status\":\"ok\",\"rows\":[]}\n{\"type\":\"host\",\"host\":\"a\",\"status\":\"ok\",\"rows\":[]}".into(),
            "line 2, column 47: `a` has rows twice",
        ),
        ("{\"type\":\"host\",\"rows\":[]}".into(), "line 1, column 25: this is not a document of `run` or `check`"),
        (
            "{\"results\":{\"a\":[],\n\"a\":[]},\"partial\":false,\"timed_out_hosts\":[]}".into(),
            "line 2, column 4: `a` has rows twice",
        ),
        ("{\"results\":{},\"results\":{}}".into(), "line 1, column 24: `results` appears here twice"),
        (
            "{\"results\":{\"a\":[{\"b\":[1]}]}}".into(),
            "line 1, column 26: a cell holds a list or a mapping: no document of `run` does",
        ),
        (
            "{\"results\":{\"a\":[{\"b\":1,\"b\":2}]}}".into(),
            "line 1, column 30: a row has the column `b` twice",
        ),
        ("{\"results\":{\"a\":[1]}}".into(), "line 1, column 19: no document of `run` has a value of this kind here"),
        ("{\"results\":[]}".into(), "line 1, column 12: no document of `run` has a value of this kind here"),
        (with("run", json!("secret")), "`run` does not have the form that `run` writes"),
        (with("timed_out_hosts", json!([1])), "`timed_out_hosts` does not have the form that `run` writes"),
        (with("error", json!("secret")), "`error` does not have the form that `run` writes"),
        (
            "{\"results\":{},\"partial\":false,\"timed_out_hosts\":[],\"hosts\":{\"a\":{\"status\":1}}}".into(),
            "line 1, column 77: what is said of `a` does not have the form that `run` writes",
        ),
    ] {
        for format in ["table", "rows"] {
            let ran = show(format, &text).run();
            let said = format!("error[decode]: {said}{hint}");
            assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), (10, "", &*said), "{text}");
        }
    }
    let ran = show("table", b"{\"results\": {\"a\xff\": []}}").run();
    assert_eq!((ran.status, &*ran.stdout), (10, ""), "{ran:?}");
    let ran = show("table", "{\"results\":".repeat(100_000)).run();
    assert_eq!((ran.status, &*ran.stdout), (10, ""), "{ran:?}");
    let deep = format!(
        "{{\"later\": {}{}, \"results\": {{}}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let ran = show("table", deep).run();
    assert_eq!((ran.status, &*ran.stdout), (10, ""), "{ran:?}");
}

/// What became of the run is in every format, or on stderr.
#[test]
fn runs_that_did_not_come_to_their_end_say_so() {
    let failed = json!({
        "results": {}, "partial": true, "timed_out_hosts": ["web-01"], "executed": false,
        "hosts": {"web-01": {"status": "not_asked"}},
        "error": {"code": "auth", "exit_code": 20, "message": "the server refused the token", "hint": "make a new one", "retryable": false},
        "run": {"id": "5f0c2a54-9a1e-4c37-8b58-0d8f2f3f6f11", "version": "0.1.0", "started_at": "2026-11-27T07:04:50.200Z", "finished_at": "2026-11-27T07:04:50.300Z"},
    });
    let mut cancelled = sample();
    cancelled["cancelled"] = true.into();
    cancelled["queued_until"] = "2026-11-28T07:04:50.200Z".into();
    let mut planned = failed.clone();
    planned.as_object_mut().expect("a document").remove("error");
    planned["partial"] = false.into();
    planned["hosts"] = json!({});
    planned["timed_out_hosts"] = json!([]);
    planned["planned"] = json!({"sql": "SELECT * FROM processes LIMIT 1", "hosts": ["web-01", "web-02"], "unknown": ["gone"]});
    let mut nothing_to_plan = planned.clone();
    nothing_to_plan["planned"] = json!({"sql": "SELECT 1", "hosts": [], "unknown": []});
    for (document, words, foreign) in [
        (
            &failed,
            "the run failed: ",
            "auth: the server refused the token; make a new one",
        ),
        (&failed, "not asked, the run ended before that", ""),
        (
            &cancelled,
            "the run was ended by a signal, before every host had answered",
            "",
        ),
        (
            &cancelled,
            "hosts that come back are still asked, and `run --resume` brings their answers, until ",
            "2026-11-28T07:04:50.200Z",
        ),
        (
            &planned,
            "this is what `check` found, no host was asked: 2 hosts would be, ",
            "web-01, web-02",
        ),
        (
            &planned,
            "not enrolled, or not visible to these credentials: ",
            "gone",
        ),
        (
            &nothing_to_plan,
            "this is what `check` found, no host was asked: 0 hosts would be",
            "",
        ),
    ] {
        for format in FORMATS {
            let ran = show(format, document.to_string())
                .env("COLUMNS", "400")
                .run();
            assert_eq!(ran.status, 0, "{ran:?}");
            let code = if foreign.is_empty() {
                String::new()
            } else {
                format!("`{foreign}`")
            };
            match format {
                "table" => assert!(ran.stdout.contains(&format!("{words}{foreign}")), "{ran:?}"),
                "markdown" => assert!(ran.stdout.contains(&format!("{words}{code}")), "{ran:?}"),
                _ => assert!(
                    ran.stderr.contains(&format!("warning: {words}{foreign}")),
                    "{ran:?}"
                ),
            }
        }
    }
    let ticket = show("markdown", planned.to_string()).run().stdout;
    assert!(
        ticket.contains("SELECT * FROM processes LIMIT 1"),
        "{ticket}"
    );
}

/// A later version may say more, with words that this one does not know.
#[test]
fn what_a_later_version_says_more_is_no_error() {
    let mut document = sample();
    document["answered_by"] = json!({"a": ["b"]});
    document["run"]["resumes"] = "5f0c2a54-9a1e-4c37-8b58-0d8f2f3f6f12".into();
    document["hosts"]["db-7"] = json!({"status": "queued", "told": {"by": ["short_name"]}});
    for format in FORMATS {
        let ran = show(format, document.to_string()).run();
        assert_eq!(ran.status, 0, "{ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("queued"), "{format}: {said}");
    }
}
