//! What hosts wrote is data. A table of what a host could write, in every place that a document has for it, in
//! every format: nothing moves a cursor, nothing is a link, HTML or a formula, and nothing is lost for who
//! reads the JSON.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::{Value, json};

use super::events::events;
use super::{FORMATS, sample, show, shown};
use crate::harness::args;
use crate::harness::folder::Folder;

/// In each of them, so that it is found again.
const MARK: &str = "evil";

const HOSTILE: &[&str] = &[
    // Of terminals.
    "\u{1b}[2J\u{1b}[1;1Hevil",
    "\u{1b}]8;;http://evil.example\u{7}evil\u{1b}]8;;\u{7}",
    "\u{9b}31mevil\u{7f}\u{0}\u{8}\u{c}",
    "evil\rgood\nline\ttab",
    // Of the direction and of what can't be seen.
    "\u{202e}live\u{202c}evil",
    "\u{2066}evil\u{2069}\u{200b}\u{200d}\u{feff}\u{2060}\u{ad}",
    "\u{e0065}\u{e0076}evil\u{2028}\u{2029}",
    // Of Markdown.
    "evil | a | b |",
    "\\| evil \\\\| \\",
    "`evil`",
    "``` evil ```` `",
    "`",
    "[evil](javascript:alert(1))",
    "![evil](http://evil.example/p.png)",
    "[evil]: http://evil.example",
    "http://evil.example www.evil.example <http://evil.example> evil@example.com",
    "@evil #1 evil/evil#1 :evil: GH-1",
    "# evil\n## evil\n- evil\n> evil\n---\n1. evil",
    "*evil* _evil_ ~~evil~~ **evil** $evil$ ^evil^",
    "evil\\\nevil  \n",
    " evil ",
    "~~~\nevil",
    "|---|---|evil",
    "&lt;evil&gt; &#124; &amp;",
    // Of HTML.
    "<script>evil()</script>",
    "<img src=x onerror=evil()>",
    "<!-- evil",
    "</code></td></table><b>evil",
    "]]><evil/>",
    // Of spreadsheets.
    "=cmd|' /C evil'!A0",
    "+evil",
    "-evil",
    "-1+evil",
    "@evil",
    "\t=evil",
    "\r=evil",
    " =evil",
    "\u{feff}=evil",
    "＝evil",
    "=HYPERLINK(\"http://evil.example\",\"a\")",
    "evil\",=1+1,\"",
    "evil;=1+1",
    "evil\r\n=1+1",
    // Of length and of letters.
    "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字evil",
    "e\u{301}\u{302}\u{303}\u{304}vilevil",
];

fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A document with the text wherever a host, a server or an alert could have put it.
fn full_of(text: &str) -> Value {
    let key = format!("{text}-host");
    let mut document = sample();
    document["results"] = json!({
        (key.as_str()): [{(text): text, "plain": text, "uuid": text}, {"plain": "1"}],
        "old-server": [],
    });
    document["hosts"] = json!({
        (key.as_str()): {"status": "ok", "rows": 5, "hostname": text, "uuid": text, "last_seen": text, "answered_at": "2026-11-27T07:04:51.123Z"},
        "old-server": {"status": "error", "error": text, "answered_at": "2026-11-27T07:04:51.123Z"},
        "gone": {"status": "unknown", "near": [text], "last_seen": text},
        "later": {"status": text},
    });
    document["timed_out_hosts"] = json!(["gone", "later"]);
    document["campaign"]["backend"] = text.into();
    document["campaign"]["id"] = text.into();
    document["error"] = json!({"code": "backend", "exit_code": 22, "message": text, "hint": text, "retryable": false});
    let run = &mut document["run"];
    for key in ["template", "sql", "note", "id", "version", "traceparent"] {
        run[key] = text.into();
    }
    run["parameters"] = json!({(text): text, "list": [text]});
    document
}

#[test]
fn nothing_acts_on_a_terminal() {
    for text in HOSTILE {
        let document = full_of(text).to_string();
        for format in FORMATS {
            let ran = show(format, &document).run();
            assert_eq!(ran.status, 0, "{text:?} {ran:?}");
            assert!(
                ran.stdout.contains(MARK) || *text == "`",
                "{text:?} {format}"
            );
            let ends = |letter: char| letter == '\n' || (letter == '\r' && format == "csv");
            for out in [&ran.stdout, &ran.stderr] {
                let hidden = out
                    .chars()
                    .find(|letter| is_hidden(*letter) && !ends(*letter));
                assert_eq!(hidden, None, "{text:?} {format}: {out:?}");
            }
            assert!(!ran.stderr.contains('\r'), "{text:?}");
            // No line was begun by it: each is one of ours.
            if format == "csv" {
                assert_eq!(
                    ran.stdout.matches("\r\n").count(),
                    3,
                    "{text:?} {}",
                    ran.stdout
                );
                assert_eq!(ran.stdout.matches(['\r', '\n']).count(), 6, "{text:?}");
            }
        }
    }
}

#[test]
fn a_table_fits_whatever_is_in_it() {
    for text in HOSTILE.iter().filter(|text| text.is_ascii()) {
        let table = shown(show("table", full_of(text).to_string()).env("COLUMNS", "60"));
        for line in table.lines() {
            assert!(line.chars().count() <= 60, "{text:?}: {line}");
        }
    }
    // A letter of East Asia is two columns wide; 100 of them are cut at what fits.
    let mut document = sample();
    document["results"]["web-01"] = json!([{"name": "漢".repeat(100), "other": "é".repeat(10)}]);
    let table = shown(
        show("table", document.to_string())
            .env("COLUMNS", "60")
            .args(&["--host", "web-01"]),
    );
    let line = table
        .lines()
        .find(|line| line.contains('漢'))
        .expect("the row");
    let wide = line.chars().filter(|letter| *letter == '漢').count();
    assert!(
        line.chars().count() + wide <= 60 && wide > 10 && line.contains('…'),
        "{line}"
    );
}

/// Read back by a parser of CommonMark with GitHub's tables: what came from the document is in code and in
/// nothing else, every row has all of its cells, and a cell says what the host wrote.
#[test]
fn nothing_in_a_ticket_is_more_than_text() {
    for text in HOSTILE {
        let ticket = shown(show("markdown", full_of(text).to_string()));
        assert!(!ticket.contains('<'), "{text:?}: {ticket}");
        let mut cells: Vec<Vec<String>> = Vec::new();
        let mut inside = false;
        let mut tables = 0;
        for event in Parser::new_ext(&ticket, Options::all()) {
            match event {
                Event::Start(
                    Tag::Heading { .. }
                    | Tag::Paragraph
                    | Tag::List(None)
                    | Tag::Item
                    | Tag::Strong
                    | Tag::TableHead
                    | Tag::TableRow,
                ) => {
                    cells.push(Vec::new());
                }
                Event::Start(Tag::Table(_)) => tables += 1,
                Event::Start(Tag::TableCell) => {
                    inside = true;
                    cells.last_mut().expect("a row").push(String::new());
                }
                Event::End(TagEnd::TableCell) => inside = false,
                Event::End(_) | Event::SoftBreak | Event::HardBreak => {}
                Event::Text(words) | Event::Code(words) if inside => {
                    let row = cells.last_mut().expect("a row");
                    row.last_mut().expect("a cell").push_str(&words);
                }
                Event::Text(words) => assert!(!words.contains(MARK), "{text:?}: {words}"),
                Event::Code(_) => {}
                other => panic!("{text:?}: {other:?} in {ticket}"),
            }
        }
        assert_eq!(tables, 2, "{text:?}: {ticket}");
        let visible: String = text
            .chars()
            .map(|letter| match letter {
                '\n' | '\r' | '\t' => letter.escape_default().to_string(),
                hidden if is_hidden(hidden) => hidden.escape_unicode().to_string(),
                other => other.to_string(),
            })
            .collect();
        let of_the_row = [visible.clone(), visible.clone(), visible];
        let row = cells
            .iter()
            .find(|cells| cells.len() == 3 && cells[0] == of_the_row[0]);
        assert!(row.is_some(), "{text:?}: {cells:?}");
        assert!(
            cells.iter().any(|cells| cells[..] == of_the_row),
            "{text:?}: {cells:?}"
        );
    }
    // Outside of code nothing of it stands, not even where a parser would let it be.
    for text in [
        "www.evil.example",
        "http://evil.example",
        "evil@example.com",
        "@evil",
    ] {
        let ticket = shown(show("markdown", full_of(text).to_string()));
        let outside: String = ticket.split('`').step_by(2).collect();
        assert!(!outside.contains(MARK), "{text}: {outside}");
    }
}

/// A reader of RFC 4180, strict: no quote in a cell that has none around it.
fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = vec![vec![String::new()]];
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    let mut begins = true;
    while let Some(letter) = letters.next() {
        let record = records.last_mut().expect("one");
        let cell = record.last_mut().expect("one");
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' if quoted => {
                quoted = false;
                assert!(
                    matches!(letters.peek(), Some(',' | '\r') | None),
                    "{text:?}"
                );
            }
            '"' => {
                assert!(begins, "{text:?}");
                quoted = true;
            }
            ',' if !quoted => record.push(String::new()),
            '\r' if !quoted => {
                assert_eq!(letters.next(), Some('\n'), "{text:?}");
                records.push(vec![String::new()]);
            }
            other => cell.push(other),
        }
        begins = matches!(letter, ',' | '\r') && !quoted;
    }
    assert_eq!(
        records.pop(),
        Some(vec![String::new()]),
        "the last line has no end"
    );
    records
}

#[test]
fn no_cell_is_a_formula() {
    for text in HOSTILE {
        let document = full_of(text).to_string();
        let told = records(&shown(show("csv", &document)));
        assert_eq!(told.len(), 3, "{text:?}");
        for record in &told {
            assert_eq!(record.len(), 7, "{text:?}: {record:?}");
            for cell in record {
                let begins = cell.trim_start().chars().next();
                let formula = begins.is_some_and(|first| "=+-@\t\r＝＋－＠".contains(first));
                assert!(!formula, "{text:?}: {cell:?}");
                assert!(!cell.contains(['\r', '\n', '\t']), "{text:?}: {cell:?}");
            }
        }
        // As they are, where that is wanted.
        let raw = records(&shown(show("csv", &document).arg("--raw")));
        assert_eq!(
            raw[0][..5],
            ["host", "uuid", "hostname", "answered_at", text],
            "{text:?}"
        );
        assert_eq!(raw[0][5..], ["plain", "row.uuid"]);
        assert_eq!(raw[1][4..], [*text; 3], "{text:?}");
        assert_eq!(
            raw[1][..3],
            [&format!("{text}-host"), *text, *text],
            "{text:?}"
        );
    }
    // Numbers are none.
    let mut document = sample();
    document["results"]["web-01"] =
        json!([{"a": "-1", "b": "+1.5", "c": -7, "d": "-1-1", "e": "-", "f": "-1e5"}]);
    let csv = shown(show("csv", document.to_string()).args(&["--host", "web-01"]));
    let record = &records(&csv)[1];
    assert_eq!(record[4..10], ["-1", "+1.5", "-7", "'-1-1", "'-", "'-1e5"]);
}

/// JSON says what the host wrote, to the letter.
#[test]
fn nothing_is_lost_in_json() {
    for text in HOSTILE {
        let document = full_of(text);
        let row = json!({(*text): text, "plain": text, "uuid": text});
        let rows = shown(show("rows", document.to_string()));
        let line: Value = serde_json::from_str(rows.lines().next().expect("a line")).expect("JSON");
        assert_eq!(line["row"], row, "{text:?}");
        assert_eq!(line["hostname"], *text);
        let event = &events("ocsf", &document)[0];
        assert_eq!(event["query_info"]["data"], row, "{text:?}");
        let event = &events("ecs", &document)[0];
        assert_eq!(event["osquery"]["result"]["columns"], row, "{text:?}");
    }
}

/// Cells of megabytes, of kinds that could cost more than their size: whole for programs, cut for people.
#[test]
fn a_cell_of_ten_megabytes_is_cut_for_people_only() {
    let folder = Folder::new();
    // As JSON, ten million bytes each.
    for (letter, count, formats) in [
        ("`", 10_000_000, &["table", "markdown", "csv", "rows"][..]),
        ("\u{1b}", 1_600_000, &["table", "markdown", "csv"]),
        ("漢", 3_300_000, &["table", "markdown", "ecs"]),
    ] {
        let mut document = sample();
        document["results"]["web-01"] = json!([{"pid": "1", "name": letter.repeat(count)}]);
        let path = folder.file("document.json", document.to_string());
        for format in formats {
            let show = args(["show", "--host", "web-01", "--format", format]);
            let shown = shown(show.arg(&path));
            match *format {
                "table" | "markdown" => {
                    assert!(
                        shown.len() < 20_000 && shown.contains('…'),
                        "{format} {letter:?}"
                    );
                }
                _ => assert!(shown.len() > 9_000_000, "{format} {letter:?}"),
            }
        }
    }
}

/// Rows of any number of columns: as many as SQLite returns are shown, more are no answer to a query.
#[test]
fn columns_without_end_end() {
    let mut document = sample();
    let rows = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|at| json!({(format!("c{at}")): "1"}))
            .collect()
    };
    document["results"]["web-01"] = rows(2_000).into();
    let csv = shown(show("csv", document.to_string()).args(&["--host", "web-01"]));
    assert_eq!(records(&csv)[0].len(), 2_004);
    document["results"]["web-01"] = rows(2_001).into();
    let ran = show("csv", document.to_string())
        .args(&["--host", "web-01"])
        .run();
    let said = "error[usage]: the rows have more than 2000 columns in all, which no query returns; `--format rows` shows each row with its own\nhint: see `osquery-live-query show --help`\n";
    assert_eq!((ran.status, &*ran.stdout, &*ran.stderr), (2, "", said));
    for format in ["table", "markdown", "rows"] {
        let shown =
            shown(show(format, document.to_string()).args(&["--rows", "3000", "--host", "web-01"]));
        assert!(shown.contains("c0"), "{format}");
    }
}
