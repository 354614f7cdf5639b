//! What hosts, servers and alerts wrote, made fit for a model: nothing hidden, nothing endless. Hidden
//! characters are written out, so that nothing reads otherwise than it looks, and a cut is always counted.

use serde_json::{Map, Value};

use crate::notices::Notices;
use crate::printable::{cut, is_hidden, printable};

/// Bytes of a cell.
pub(super) const CELL_BYTES: usize = 2_048;
/// Bytes of a cell where a single row is read.
pub(super) const WIDE_CELL_BYTES: usize = 32_768;
/// Cut cells that an answer lists one by one.
const MOST_LISTED: usize = 20;

/// A text of others, printable and no longer than so many bytes.
pub(super) fn clean(text: &str, bytes: usize) -> String {
    // Cut first: what is written out is longer than what it stands for.
    let shown = printable(&cut(text, bytes)).into_owned();
    let shown = match shown.chars().any(is_unseen) {
        true => shown.chars().map(written_out).collect(),
        false => shown,
    };
    cut(&shown, bytes).into_owned()
}

/// Characters that draw nothing of their own, beyond those that [`is_hidden`] knows: variation selectors and
/// fillers carry bytes past a reader's eye.
fn is_unseen(character: char) -> bool {
    !is_hidden(character)
        && matches!(
            character,
            '\u{34f}'
                | '\u{115f}' | '\u{1160}'
                | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{ffa0}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

fn written_out(character: char) -> String {
    match is_unseen(character) {
        true => character.escape_unicode().to_string(),
        false => character.to_string(),
    }
}

/// A cell that was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CutCell {
    pub host: String,
    pub row: usize,
    pub column: String,
    pub bytes: usize,
}

/// The cells that were cut: how many, and the first of them.
#[derive(Debug, Clone, Default)]
pub(super) struct CutCells {
    pub count: usize,
    pub first: Vec<CutCell>,
}

impl CutCells {
    /// As answers list them; `host` where it is not said elsewhere.
    pub(super) fn to_json(&self, with_host: bool) -> Value {
        let entry = |cell: &CutCell| {
            let mut entry = Map::new();
            if with_host {
                entry.insert("host".into(), cell.host.as_str().into());
            }
            entry.insert("row".into(), cell.row.into());
            entry.insert("column".into(), cell.column.as_str().into());
            entry.insert("bytes".into(), cell.bytes.into());
            Value::from(entry)
        };
        self.first.iter().map(entry).collect()
    }

    /// Those of another row, too.
    pub(super) fn add(&mut self, others: Self) {
        self.count += others.count;
        let room = MOST_LISTED.saturating_sub(self.first.len());
        self.first.extend(others.first.into_iter().take(room));
    }
}

/// Where a row stands, and how it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub host: &'a str,
    pub row: usize,
    pub cell_bytes: usize,
    /// Takes the run's secrets out.
    pub notices: &'a Notices,
}

/// A row as a model gets it, and the cells that were cut.
pub(super) fn row(row: Map<String, Value>, place: Place<'_>) -> (Map<String, Value>, CutCells) {
    let mut cuts = CutCells::default();
    let mut shown = Map::with_capacity(row.len());
    for (column, value) in row {
        let column = clean(&place.notices.value(&column), 256);
        let value = match value {
            Value::String(text) => {
                let text = place.notices.value(&text);
                if text.len() > place.cell_bytes {
                    cuts.add(CutCells {
                        count: 1,
                        first: vec![CutCell {
                            host: place.host.to_owned(),
                            row: place.row,
                            column: column.clone(),
                            bytes: text.len(),
                        }],
                    });
                }
                // A text that only grows by being written out is no cut text.
                let most = match text.len() > place.cell_bytes {
                    true => place.cell_bytes,
                    false => place.cell_bytes.saturating_mul(12),
                };
                clean(&text, most).into()
            }
            other => other,
        };
        shown.insert(column, value);
    }
    (shown, cuts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_hidden_is_left() {
        for (text, shown) in [
            ("plain é 漢 😀", "plain é 漢 😀"),
            ("a\u{1b}[2Jb\n", "a\\u{1b}[2Jb\\n"),
            (
                "\u{202e}evil\u{2066}\u{200b}",
                "\\u{202e}evil\\u{2066}\\u{200b}",
            ),
            (
                "x\u{fe0f}\u{e0101}\u{e0041}",
                "x\\u{fe0f}\\u{e0101}\\u{e0041}",
            ),
            ("\u{115f}\u{3164}\u{ffa0}", "\\u{115f}\\u{3164}\\u{ffa0}"),
        ] {
            assert_eq!(clean(text, 1_000), shown);
        }
    }

    #[test]
    fn every_cut_is_told_and_nothing_grows_over_its_bounds() {
        let notices = Notices::unheard();
        let long = "\u{200b}".repeat(5_000);
        let written = json!({"a": "x".repeat(3_000), "b": long, "c": 7, "d": "\u{200b}"});
        let Value::Object(written) = written else {
            unreachable!("it is an object")
        };
        let place = Place {
            host: "web-01",
            row: 4,
            cell_bytes: CELL_BYTES,
            notices: &notices,
        };
        let (shown, cuts) = row(written, place);
        let text = |column: &str| shown[column].as_str().unwrap();
        assert!(text("a").len() <= CELL_BYTES && text("a").ends_with('…'));
        assert!(text("b").len() <= CELL_BYTES);
        assert_eq!((text("d"), &shown["c"]), ("\\u{200b}", &json!(7)));
        assert_eq!(cuts.count, 2);
        assert_eq!(
            cuts.to_json(true),
            json!([
                {"host": "web-01", "row": 4, "column": "a", "bytes": 3_000},
                {"host": "web-01", "row": 4, "column": "b", "bytes": 15_000},
            ])
        );
    }

    #[test]
    fn the_runs_secrets_are_taken_out() {
        let notices = Notices::unheard();
        notices.learn(&crate::secret::Secret::new("token-1234".into()));
        let Value::Object(written) = json!({"cmdline": "agent --token token-1234"}) else {
            unreachable!("it is an object")
        };
        let place = Place {
            host: "h",
            row: 0,
            cell_bytes: CELL_BYTES,
            notices: &notices,
        };
        let (shown, _) = row(written, place);
        assert_eq!(shown["cmdline"], "agent --token [redacted]");
    }
}
