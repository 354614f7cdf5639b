//! Texts that are made while they are sent: bodies and messages of any size in a few kilobytes of memory.

use std::sync::Arc;

use bytes::Bytes;

use crate::rows::json_inner;
use crate::scenario::{Huge, MadeBody, Wide};

/// Texts are made in pieces of about this size.
pub(crate) const PIECE: usize = 64 * 1024;

/// A text in pieces.
pub(crate) struct Pieces {
    /// Its length in bytes, where it is known before the text is made.
    pub length: Option<u64>,
    items: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Pieces")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.items.next()
    }
}

impl Pieces {
    /// A text of unknown length.
    pub fn new(items: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self {
            length: None,
            items: Box::new(items),
        }
    }

    /// The text between two others.
    pub fn between(self, before: impl Into<Bytes>, after: impl Into<Bytes>) -> Self {
        let (before, after) = (before.into(), after.into());
        let added = before.len() + after.len();
        Self {
            length: self.length.map(|length| length + added as u64),
            items: Box::new(std::iter::once(before).chain(self.items).chain([after])),
        }
    }

    /// The body that a fault describes.
    pub fn of_body(made: &MadeBody) -> Self {
        let (repeat, between) = (made.repeat.clone(), made.between.clone());
        let numbered = repeat.contains("{n}");
        let length = (made.times as u64) * (repeat.len() as u64)
            + (made.times as u64).saturating_sub(1) * (between.len() as u64);
        let per_piece = (PIECE / (repeat.len() + between.len()).max(1)).max(1);
        // What is the same every time is written once.
        let block: Option<Bytes> = (!numbered).then(|| {
            let one = format!("{repeat}{between}");
            one.repeat(per_piece.min(made.times)).into()
        });
        let one = repeat.len() + between.len();
        let (times, mut done) = (made.times, 0);
        let items = std::iter::from_fn(move || {
            let from = done;
            done = times.min(from + per_piece);
            if from == done {
                return None;
            }
            let last = done == times;
            Some(match &block {
                Some(block) => {
                    let end = (done - from) * one - if last { between.len() } else { 0 };
                    block.slice(..end)
                }
                None => {
                    let mut piece = String::new();
                    for number in from..done {
                        piece.push_str(&repeat.replace("{n}", &number.to_string()));
                        if number + 1 < times {
                            piece.push_str(&between);
                        }
                    }
                    piece.into()
                }
            })
        });
        let body = Self {
            length: (!numbered).then_some(length),
            items: Box::new(items),
        };
        body.between(made.before.clone(), made.after.clone())
    }
}

/// Rows that are never held: each is the same but for its number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MadeRows {
    rows: usize,
    /// The cells before the number.
    lead: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(Arc<str>),
    /// So many times the letter x.
    Fill(usize),
}

impl From<Huge> for MadeRows {
    fn from(huge: Huge) -> Self {
        Self {
            rows: huge.rows,
            // `{"filler":"…","number":"…"}` has about 32 bytes beside the filler.
            lead: vec![
                Part::Text("\"filler\":\"".into()),
                Part::Fill(huge.row_bytes.saturating_sub(32)),
                Part::Text("\",".into()),
            ],
        }
    }
}

impl From<Wide> for MadeRows {
    fn from(wide: Wide) -> Self {
        let cells = (1..wide.columns).map(|column| format!("\"c{column}\":\"{}\",", column % 10));
        Self {
            rows: wide.rows,
            lead: vec![Part::Text(cells.collect::<String>().into())],
        }
    }
}

impl MadeRows {
    /// The array, with these cells in every row, escaped so many times for standing in a JSON string.
    pub fn pieces(&self, added: Option<&str>, escapes: u8) -> Pieces {
        let escape = |text: &str| (0..escapes).fold(text.to_owned(), |text, _| json_inner(&text));
        let added = added.map(|cells| format!("{cells},")).unwrap_or_default();
        let mut before = vec![Part::Text("{".into())];
        before.extend(self.lead.iter().map(|part| match part {
            Part::Text(text) => Part::Text(escape(text).into()),
            Part::Fill(length) => Part::Fill(*length),
        }));
        before.push(Part::Text(escape(&format!("{added}\"number\":\"")).into()));
        let after = escape("\"}");
        let row: usize = before
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.len(),
                Part::Fill(length) => *length,
            })
            .sum();
        let rows = self.rows as u64;
        let length =
            2 + rows * (row + after.len()) as u64 + rows.saturating_sub(1) + digits_up_to(rows);
        Pieces {
            length: Some(length),
            items: Rows {
                rows: self.rows,
                before,
                after,
                row: 0,
                part: 0,
                filled: 0,
            }
            .between_brackets(),
        }
    }
}

/// How many digits the numbers from 0 to `count - 1` have together.
fn digits_up_to(count: u64) -> u64 {
    let mut digits = u64::from(count > 0);
    let (mut from, mut length) = (1, 1);
    while from < count {
        let end = count.min(from * 10);
        digits += (end - from) * length;
        from *= 10;
        length += 1;
    }
    digits
}

/// Rows on their way out.
struct Rows {
    rows: usize,
    before: Vec<Part>,
    after: String,
    row: usize,
    part: usize,
    filled: usize,
}

impl Rows {
    fn between_brackets(self) -> Box<dyn Iterator<Item = Bytes> + Send> {
        let bracket = |text: &'static str| std::iter::once(Bytes::from_static(text.as_bytes()));
        Box::new(bracket("[").chain(self).chain(bracket("]")))
    }
}

impl Iterator for Rows {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        static FILL: [u8; PIECE] = [b'x'; PIECE];
        let mut piece = Vec::with_capacity(PIECE);
        while self.row < self.rows && piece.len() < PIECE {
            match self.before.get(self.part) {
                Some(Part::Text(text)) => {
                    piece.extend_from_slice(text.as_bytes());
                    self.part += 1;
                }
                Some(Part::Fill(length)) => {
                    let more = (length - self.filled).min(PIECE - piece.len());
                    piece.extend_from_slice(FILL.get(..more).unwrap_or_default());
                    self.filled += more;
                    if self.filled == *length {
                        self.filled = 0;
                        self.part += 1;
                    }
                }
                None => {
                    piece.extend_from_slice(self.row.to_string().as_bytes());
                    piece.extend_from_slice(self.after.as_bytes());
                    self.row += 1;
                    self.part = 0;
                    if self.row < self.rows {
                        piece.push(b',');
                    }
                }
            }
        }
        (!piece.is_empty()).then(|| piece.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(pieces: Pieces) -> String {
        let bytes: Vec<u8> = pieces.flat_map(Vec::from).collect();
        String::from_utf8(bytes).expect("UTF-8")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn made_rows_are_json_of_the_announced_length(
            rows in 0_usize..1_200, columns in 1_usize..40, row_bytes in 0_usize..9_000, wide: bool,
            added: bool,
        ) {
            let made: MadeRows = if wide {
                Wide { rows, columns }.into()
            } else {
                Huge { rows: rows / 10, row_bytes }.into()
            };
            let added = added.then_some("\"host_hostname\":\"h\"");
            let pieces = made.pieces(added, 0);
            let length = pieces.length;
            let plain = text(pieces);
            prop_assert_eq!(length, Some(plain.len() as u64));
            let read: Vec<serde_json::Map<String, serde_json::Value>> =
                serde_json::from_str(&plain).expect("JSON");
            prop_assert_eq!(read.len(), made.rows);
            for (number, row) in read.iter().enumerate() {
                let expected = if wide { columns } else { 2 } + usize::from(added.is_some());
                prop_assert_eq!(row.len(), expected);
                prop_assert_eq!(&row["number"], &number.to_string());
            }
            let pieces = made.pieces(added, 1);
            let length = pieces.length;
            let within = text(pieces);
            prop_assert_eq!(length, Some(within.len() as u64));
            let read: String = serde_json::from_str(&format!("\"{within}\"")).expect("a string");
            prop_assert_eq!(read, plain);
        }

        #[test]
        fn made_bodies_repeat_as_often_as_they_should(
            times in 0_usize..5_000, numbered: bool, width in 1_usize..60,
        ) {
            let item = if numbered { "{n}".to_owned() } else { "7".repeat(width) };
            let made = MadeBody {
                before: "[".into(),
                repeat: format!("\"{item}\""),
                times,
                between: ",".into(),
                after: "]".into(),
            };
            let pieces = Pieces::of_body(&made);
            let length = pieces.length;
            let text = text(pieces);
            prop_assert_eq!(length, (!numbered).then_some(text.len() as u64));
            let read: Vec<String> = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(read.len(), times);
            if numbered && times > 0 {
                prop_assert_eq!(&read[times - 1], &(times - 1).to_string());
            }
        }
    }
}
