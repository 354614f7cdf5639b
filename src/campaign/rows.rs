//! One host's rows, kept as the JSON text that the document will hold: memory stays near the
//! document's size however many columns there are. Knows nothing of hosts or servers.

mod any;
mod usual;

use any::Marks;

use crate::memory::{self, NoMemory};

/// SQLite refuses results of more columns, so no osquery host can send them.
const MOST_COLUMNS: usize = 2_000;
/// What may stand between the parts of JSON.
const BLANKS: [char; 4] = [' ', '\n', '\r', '\t'];
/// Up to so many columns are compared one by one; from there on they are hashed.
const FEW_COLUMNS: usize = 16;

/// The rows of one answer: a JSON array of objects, checked, without the columns that a server adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    json: Box<str>,
    received: usize,
    kept: usize,
}

/// Why there are no rows to be read; says where, never what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// `null` stands in their place: whether there were any is not known.
    #[error("the rows are missing")]
    Missing,
    /// No osquery host can have sent them.
    #[error("the rows are not osquery's: {0}")]
    NotOsquerys(String),
    /// The mark is missing that each of them has, and their absence, too.
    #[error("the rows are not what this query answers")]
    Unmarked,
    /// There is no room for them.
    #[error("the system refuses {0} of memory (`ulimit -v`)")]
    NoMemory(NoMemory),
}

/// How much of an answer is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Rows at most.
    pub rows: usize,
    /// Bytes of JSON at most.
    pub bytes: usize,
}

impl Rows {
    /// An answer without rows.
    pub fn none() -> Self {
        Self {
            json: "[]".into(),
            received: 0,
            kept: 0,
        }
    }

    /// Reads `[{column: scalar, …}, …]`, leaves out the columns in `added`, and keeps the first rows
    /// within `keep`; the rest is counted. Takes time in proportion to the text, whatever it holds.
    ///
    /// # Errors
    /// Where the text is not such an array (`null` is not the same as no rows), or there is no memory.
    pub fn read(json: &str, added: &[&str], keep: Keep) -> Result<Self, RowsError> {
        if json.trim() == "null" {
            return Err(RowsError::Missing);
        }
        let at = json.len() - json.trim_start_matches(BLANKS).len();
        match Self::read_at(json, at, added, keep)? {
            Some((rows, end)) if json[end..].trim_start_matches(BLANKS).is_empty() => Ok(rows),
            _ => {
                let mut rows = Self::none();
                let mut text =
                    memory::text(json.len() + "[]".len()).map_err(RowsError::NoMemory)?;
                text.push('[');
                any::read(json, added, keep, &mut text, &mut rows, None)?;
                Ok(rows.of(text))
            }
        }
    }

    /// The same of a list that begins at a place of a text, and where it ends; nothing where it is not as servers
    /// write it: then its own text is for [`Rows::read`].
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn read_at(
        json: &str,
        at: usize,
        added: &[&str],
        keep: Keep,
    ) -> Result<Option<(Self, usize)>, RowsError> {
        let mut rows = Self::none();
        // What is kept is hardly ever longer than what came, so it is asked for at once.
        let bytes = json.len() - at + "[]".len();
        let mut text = memory::text(bytes).map_err(RowsError::NoMemory)?;
        text.push('[');
        let end = usual::read(json, at, added, keep, &mut text, &mut rows);
        Ok(end.map(|end| (rows.of(text), end)))
    }

    fn of(self, mut text: String) -> Self {
        text.push(']');
        Self {
            json: text.into_boxed_str(),
            ..self
        }
    }

    /// As [`Rows::read`], for a statement that proves its own answer: each row has the column `marker` with a
    /// 1 in it, and where nothing was found there is one row in which it is empty, and all else. The column
    /// is left out. `None` where there is no row at all: the statement did not run to its end.
    ///
    /// # Errors
    /// As [`Rows::read`], and [`RowsError::Unmarked`] for rows that are not of such a statement.
    pub fn read_marked(json: &str, marker: &str, keep: Keep) -> Result<Option<Self>, RowsError> {
        if json.trim() == "null" {
            return Err(RowsError::Missing);
        }
        let mut rows = Self::none();
        let mut text = memory::text(json.len() + "[]".len()).map_err(RowsError::NoMemory)?;
        text.push('[');
        let mut marks = Marks::default();
        let counted = Some((marker, &mut marks));
        any::read(json, &[], keep, &mut text, &mut rows, counted)?;
        text.push(']');
        rows.json = text.into_boxed_str();
        match (rows.received, marks) {
            (0, _) => Ok(None),
            (received, Marks { full, .. }) if full == received => Ok(Some(rows)),
            (1, Marks { nothing: 1, .. }) => Ok(Some(Self::none())),
            _ => Err(RowsError::Unmarked),
        }
    }

    /// Counts a row whose text begins at `before`, and takes it away again where it is not kept.
    fn count(&mut self, text: &mut String, before: usize, keep: Keep) {
        // Once a row was cut, later ones are only counted: a hole in the middle would mislead.
        let whole_so_far = self.kept == self.received;
        self.received += 1;
        if whole_so_far && self.kept < keep.rows && text.len() < keep.bytes {
            self.kept += 1;
        } else {
            text.truncate(before);
        }
    }

    /// The same of an answer that had so many rows before it was cut.
    #[must_use]
    pub fn out_of(self, received: usize) -> Self {
        Self {
            received: self.received.max(received),
            ..self
        }
    }

    /// Rows that the host sent.
    pub fn received(&self) -> usize {
        self.received
    }

    /// Rows that are left after the caps.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Whether a cap cut rows.
    pub fn truncated(&self) -> bool {
        self.kept < self.received
    }

    /// The rows as a JSON array.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Whether a row has one of these columns, and nothing in it.
    pub fn has_empty(&self, columns: &[&str]) -> bool {
        // The text holds no blanks between its parts, and a quotation mark inside a value stands behind `\`.
        let holds =
            |column: &str, value: &str| self.json.contains(&format!("\"{column}\":{value}"));
        let empty = |column: &&str| holds(column, "\"\"") || holds(column, "null");
        columns.iter().any(empty)
    }

    /// The first rows that fit in so many bytes of JSON.
    #[must_use]
    pub fn cut_to(self, bytes: usize) -> Self {
        if self.json.len() <= bytes {
            return self;
        }
        let keep = Keep {
            rows: self.kept,
            bytes,
        };
        let cut = Self::read(&self.json, &[], keep).unwrap_or_else(|_| Self::none());
        Self {
            received: self.received,
            ..cut
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const ALL: Keep = Keep {
        rows: usize::MAX,
        bytes: usize::MAX,
    };

    #[test]
    fn leaves_out_added_columns_and_keeps_values() {
        let rows = Rows::read(
            r#"[{"pid":"1","host_hostname":"a","n":null,"\u006be":"<\u00e9>"}]"#,
            &["host_hostname"],
            ALL,
        )
        .unwrap();
        assert_eq!(rows.json(), r#"[{"pid":"1","n":null,"ke":"<é>"}]"#);
        assert_eq!((rows.received(), rows.truncated()), (1, false));
    }

    #[test]
    fn null_is_an_error_and_repeated_keys_keep_the_last() {
        for missing in ["null", " null\n"] {
            let error = Rows::read(missing, &[], ALL).unwrap_err();
            assert_eq!(error.to_string(), "the rows are missing");
        }
        assert_eq!(Rows::read("[]", &[], ALL), Ok(Rows::none()));
        assert_eq!(
            Rows::read(r#"[{"a":"1","a":"2"}]"#, &[], ALL)
                .unwrap()
                .json(),
            r#"[{"a":"2"}]"#
        );
    }

    #[test]
    fn refuses_what_no_host_sends_without_showing_it() {
        for bad in [
            r#"{"a":"secret"}"#,
            r#"["secret"]"#,
            r#"[{"a":{"b":"secret"}}]"#,
            r#"[{"a":["secret"]}]"#,
            r#"[{"a":"\ud800secret"}]"#,
            r#"[{"a":"secret"}"#,
            r#"[] secret"#,
        ] {
            let error = Rows::read(bad, &[], ALL).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn numbers_that_not_every_reader_has_become_text() {
        let digits = "1".repeat(5_001);
        let fraction = format!("0.{}", "3".repeat(5_000));
        let exponent = format!("1e{}", "9".repeat(5_000));
        for (number, stays) in [
            ("0", true),
            ("-0", true),
            ("-0.0", true),
            ("0e0", true),
            ("0.000e999999999999999999999999", true),
            ("1", true),
            ("-9223372036854775808", true),
            ("18446744073709551615", true),
            ("-9223372036854775809", false),
            ("18446744073709551616", false),
            ("100000000000000000000", false),
            (&*digits, false),
            ("1.5", true),
            ("1E3", true),
            ("1e308", true),
            ("-1.7976931348623157e308", true),
            ("1e309", false),
            ("1E400", false),
            ("-1E400", false),
            ("5e-324", true),
            ("1e-400", false),
            ("-1e-400", false),
            (&*fraction, true),
            (&*exponent, false),
            ("1e99999999999999999999", false),
            ("1e-99999999999999999999", false),
        ] {
            let rows = Rows::read(&format!(r#"[{{"n":{number}}}]"#), &[], ALL).unwrap();
            let expected = match stays {
                true => format!(r#"[{{"n":{number}}}]"#),
                false => format!(r#"[{{"n":"{number}"}}]"#),
            };
            let short = number.get(..40).unwrap_or(number);
            assert_eq!(rows.json(), expected, "{short}");
            assert!(
                serde_json::from_str::<Value>(rows.json()).is_ok(),
                "{short}"
            );
        }
    }

    /// A row as a naive reader understands it: the last of repeated keys, at the place of the first.
    fn naive(rows: &[Vec<(String, u8)>], added: &[&str]) -> String {
        let mut whole = Vec::new();
        for row in rows {
            let mut kept: Vec<(&str, u8)> = Vec::new();
            for (name, value) in row {
                if added.contains(&name.as_str()) {
                    continue;
                }
                match kept.iter_mut().find(|(known, _)| known == name) {
                    Some((_, known)) => *known = *value,
                    None => kept.push((name, *value)),
                }
            }
            let columns: Vec<String> = kept
                .iter()
                .map(|(name, value)| format!("{}:{value}", json!(name)))
                .collect();
            whole.push(format!("{{{}}}", columns.join(",")));
        }
        format!("[{}]", whole.join(","))
    }

    /// Rows as a server writes them, repeated keys included.
    fn written(rows: &[Vec<(String, u8)>]) -> String {
        let rows = rows.iter().map(|row| {
            let columns = row
                .iter()
                .map(|(name, value)| format!("{}:{value}", json!(name)));
            format!("{{{}}}", columns.collect::<Vec<_>>().join(","))
        });
        format!("[{}]", rows.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn as_many_columns_as_sqlite_has_and_no_more() {
        let wide = |columns: usize| {
            let row: Vec<(String, u8)> = (0..columns).map(|n| (format!("c{n}"), 1)).collect();
            let turned: Vec<(String, u8)> = row.iter().rev().cloned().collect();
            vec![row.clone(), turned, row]
        };
        let most = wide(MOST_COLUMNS);
        let rows = Rows::read(&written(&most), &[], ALL).unwrap();
        assert_eq!(rows.json(), naive(&most, &[]));
        let error = Rows::read(&written(&wide(MOST_COLUMNS + 1)), &[], ALL).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("not a list of objects of plain values")
        );
        // One name a million times is one column.
        let often = vec![vec![("a".to_owned(), 1); 1_000_000]];
        assert_eq!(
            Rows::read(&written(&often), &[], ALL).unwrap().json(),
            r#"[{"a":1}]"#
        );
    }

    proptest! {
        /// Few columns and many, in one order and in others, repeated and not: as a naive reader has it.
        #[test]
        fn columns_are_those_of_a_naive_reader(
            rows in prop::collection::vec((0usize..40, 0usize..4, prop::collection::vec((0usize..60, 0u8..9), 0..4)), 0..8),
        ) {
            let rows: Vec<Vec<(String, u8)>> = rows.into_iter().map(|(columns, turned, more)| {
                let mut row: Vec<(String, u8)> = (0..columns).map(|n| (format!("c{n}"), 0)).collect();
                row.rotate_left(turned.min(columns));
                for (at, value) in more {
                    let name = format!("c{at}");
                    row.insert(at.min(row.len()), (name, value));
                }
                row
            }).collect();
            let added = ["c1", "c33"];
            let read = Rows::read(&written(&rows), &added, ALL).unwrap();
            prop_assert_eq!(read.json(), naive(&rows, &added));
        }

        #[test]
        fn says_the_same_as_serde(rows in prop::collection::vec(
            prop::collection::btree_map("\\PC{0,8}|[\\x00-\\x1f\"\\\\]{1,3}", "\\PC{0,20}|[\\x00-\\x1f\"\\\\]{1,3}", 0..5), 0..8),
            most in 0usize..10, bytes in 2usize..400)
        {
            let text = json!(rows).to_string();
            let all = Rows::read(&text, &[], ALL).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(all.json()).unwrap(), json!(rows));
            let cut = Rows::read(&text, &[], Keep { rows: most, bytes }).unwrap();
            prop_assert!(cut.json().len() <= bytes);
            prop_assert_eq!(cut.received(), rows.len());
            prop_assert_eq!(serde_json::from_str::<Value>(cut.json()).unwrap(), json!(rows[..cut.kept()]));
            prop_assert_eq!(all.cut_to(bytes).kept(), Rows::read(&text, &[], Keep { rows: usize::MAX, bytes }).unwrap().kept());
        }
    }
}
