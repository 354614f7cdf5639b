//! Rows on their way through the real binary: numbers that not every reader can hold, and rows as wide as
//! SQLite makes them.

use osquery_simulator::{Answer, Fault, HostSpec, Scenario, SocketFault, Wide};
use serde_json::{Value, json};

use crate::harness::Ran;
use crate::harness::document::Line;
use crate::harness::site::{Kind, Site, on_every, silent};

const UUID: &str = "4C4C4544-0000-4000-8000-0000000000AA";
const FORMATS: [&str; 2] = ["json", "ndjson"];

/// A number as a server may write it, and as it stands in the row; `None`: unchanged.
fn numbers() -> Vec<(String, Option<String>)> {
    let as_text = |number: &str| (number.to_owned(), Some(format!("\"{number}\"")));
    let stays = |number: &str| (number.to_owned(), None);
    vec![
        as_text(&format!("1{}", "0".repeat(5_000))),
        as_text("1E400"),
        as_text("-1E400"),
        as_text("1e-400"),
        as_text("18446744073709551616"),
        as_text("-9223372036854775809"),
        as_text(&format!("{}.5", "9".repeat(400))),
        stays("18446744073709551615"),
        stays("-9223372036854775808"),
        stays("1.7976931348623157e308"),
        stays("5e-324"),
        stays("0"),
        stays("-0.0"),
        stays("0e999"),
        stays("1.5"),
    ]
}

/// A site whose one host has answered with these rows, written by hand: no JSON library has such numbers.
fn answering(kind: Kind, rows: &str) -> Site {
    let asked = HostSpec {
        uuid: Some(UUID.into()),
        ..silent("web-01")
    };
    let fault = match kind {
        Kind::Fleet => Fault::on("results/websocket").socket(SocketFault {
            send: vec![format!(
                r#"{{"type":"result","data":{{"host":{{"id":1}},"rows":{rows}}}}}"#
            )],
            ..SocketFault::default()
        }),
        Kind::Osctrl => {
            let data = Value::from(format!(r#"{{"result":{rows},"status":0}}"#));
            let item = json!({"id": 1, "uuid": UUID, "status": 0, "data": data});
            Fault::on("/results/").body(json!({"items": [item], "total_items": 1}).to_string())
        }
        // Its answer has to name the query that was asked for: the host itself says it, with its proof.
        Kind::AisocDirect => {
            let marked = rows.replace('{', r#"{"live_query_matched":"1","#);
            let answering = asked.answering(Answer::RawRows(marked));
            return Site::new(kind, Scenario::of([answering]));
        }
    };
    Site::new(kind, Scenario::of([asked]).with_fault(fault))
}

/// The host's rows as they stand in what came out.
fn rows_in<'a>(ran: &'a Ran, format: &str) -> &'a str {
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    let (before, behind) = match format {
        "json" => (r#"{"results":{"web-01":"#, "},"),
        _ => (r#""rows":"#, "}\n"),
    };
    let (_, rows) = ran.stdout.split_once(before).expect("the host's rows");
    rows.split_once(behind).expect("their end").0
}

#[test]
fn numbers_that_not_every_reader_can_hold_become_texts() {
    let (came, expected): (Vec<String>, Vec<String>) = numbers()
        .into_iter()
        .enumerate()
        .map(|(at, (number, text))| {
            let shown = text.unwrap_or_else(|| number.clone());
            (
                format!(r#""n{at}":{number}"#),
                format!(r#""n{at}":{shown}"#),
            )
        })
        .unzip();
    let came = format!("[{{{}}}]", came.join(","));
    let expected = format!("[{{{}}}]", expected.join(","));
    on_every(|kind| {
        for format in FORMATS {
            let site = answering(kind, &came);
            let step = site.step(&["web-01"]).arg(&format!("--format={format}"));
            let ran = step.binary().run();
            assert_eq!(rows_in(&ran, format), expected, "{kind:?}, {format}");
            // And every line is JSON to the tests' own reader.
            match format {
                "json" => assert_eq!(ran.document().results["web-01"].len(), 1),
                _ => assert!(matches!(&ran.lines()[0], Line::Host { rows, .. } if rows.len() == 1)),
            }
        }
    });
}

/// Numbers in answers that are cut: what is kept is cut from what is written, not from what came.
#[test]
fn a_cut_keeps_numbers_as_they_are_written() {
    on_every(|kind| {
        let site = answering(kind, r#"[{"n":1E400},{"n":2},{"n":3}]"#);
        let step = site.step(&["web-01"]).with("max_rows_per_host", 2);
        let document = step.binary().run().document();
        let rows = json!(document.results["web-01"]);
        assert_eq!(rows, json!([{"n": "1E400"}, {"n": 2}]), "{kind:?}");
        assert!(document.truncated);
    });
}

/// As many columns as SQLite can have: five seconds and more, where each is looked for among the others.
#[test]
fn rows_of_two_thousand_columns() {
    const COLUMNS: usize = 1_999;
    const ROWS: usize = 200;
    for kind in Kind::ALL {
        let wide = Answer::Wide(Wide {
            rows: ROWS,
            columns: COLUMNS,
        });
        let site = Site::new(
            kind,
            Scenario::of([HostSpec::named("web-01").answering(wide)]),
        );
        let ran = site.step(&["web-01"]).binary().run();
        let document = ran.document();
        assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
        let rows = &document.results["web-01"];
        assert_eq!(rows.len(), ROWS);
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row.len(), COLUMNS);
            assert_eq!(row["number"], number.to_string());
            assert_eq!(row["c17"], "7");
        }
    }
}
