//! One host's rows, kept as the JSON text that the document will hold: memory stays near the
//! document's size however many columns there are. Knows nothing of hosts or servers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::memory::{self, NoMemory};

/// SQLite refuses results of more columns, so no osquery host can send them.
const MOST_COLUMNS: usize = 2_000;
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
        let mut reader = serde_json::Deserializer::from_str(json);
        let mut rows = Self::none();
        // What is kept is hardly ever longer than what came, so it is asked for at once.
        let mut text = memory::text(json.len() + "[]".len()).map_err(RowsError::NoMemory)?;
        text.push('[');
        let seed = RowsSeed {
            added,
            keep,
            text: &mut text,
            rows: &mut rows,
        };
        seed.deserialize(&mut reader)
            .and_then(|()| reader.end())
            .map_err(|error| RowsError::NotOsquerys(place(&error)))?;
        text.push(']');
        rows.json = text.into_boxed_str();
        Ok(rows)
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

/// Line and column only: serde_json's messages print values.
fn place(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "not a list of objects of plain values",
        _ => "not JSON",
    };
    format!("{kind} (line {}, column {})", error.line(), error.column())
}

struct RowsSeed<'a> {
    added: &'a [&'a str],
    keep: Keep,
    text: &'a mut String,
    rows: &'a mut Rows,
}

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        let mut columns = Columns::default();
        loop {
            let before = self.text.len();
            if self.rows.kept > 0 {
                self.text.push(',');
            }
            let row = RowSeed {
                added: self.added,
                text: self.text,
                columns: &mut columns,
            };
            if rows.next_element_seed(row)?.is_none() {
                self.text.truncate(before);
                return Ok(());
            }
            // Once a row was cut, later ones are only counted: a hole in the middle would mislead.
            let whole_so_far = self.rows.kept == self.rows.received;
            self.rows.received += 1;
            if whole_so_far && self.rows.kept < self.keep.rows && self.text.len() < self.keep.bytes
            {
                self.rows.kept += 1;
            } else {
                self.text.truncate(before);
            }
        }
    }
}

/// The columns of one row, and the names of the row before: all rows of a host have the same, so that a
/// name at its old place is known to be there once without being looked for.
#[derive(Default)]
struct Columns<'de> {
    before: Vec<Cow<'de, str>>,
    now: Vec<(Cow<'de, str>, &'de RawValue)>,
    /// Whether all names so far are those of the row before.
    same: bool,
    /// Where each name stands, once there are more than [`FEW_COLUMNS`] and they are not the same. The
    /// names are a server's, so the hash is one that nobody can choose collisions for.
    places: HashMap<Cow<'de, str>, usize>,
}

impl<'de> Columns<'de> {
    fn begin(&mut self) {
        self.now.clear();
        self.places.clear();
        self.same = true;
    }

    /// Where the name stands already in this row.
    fn place(&mut self, name: &str) -> Option<usize> {
        if self.same
            && self
                .before
                .get(self.now.len())
                .is_some_and(|known| known == name)
        {
            return None;
        }
        self.same = false;
        if self.now.len() <= FEW_COLUMNS {
            return self.now.iter().position(|(known, _)| known == name);
        }
        // What was passed over until now.
        for (at, (known, _)) in self.now.iter().enumerate().skip(self.places.len()) {
            self.places.insert(known.clone(), at);
        }
        self.places.get(name).copied()
    }

    /// Takes a column; false where there are too many. A repeated name would make the document ambiguous:
    /// the last one counts, as in most parsers.
    fn take(&mut self, name: Cow<'de, str>, value: &'de RawValue) -> bool {
        match self.place(&name) {
            Some(place) => self.now[place].1 = value,
            None if self.now.len() == MOST_COLUMNS => return false,
            None => self.now.push((name, value)),
        }
        true
    }

    fn end(&mut self) {
        if !self.same || self.before.len() != self.now.len() {
            let names = self.now.iter().map(|(name, _)| name.clone());
            self.before = names.collect();
        }
    }
}

struct RowSeed<'a, 'de> {
    added: &'a [&'a str],
    text: &'a mut String,
    columns: &'a mut Columns<'de>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_, 'de> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        let columns = self.columns;
        columns.begin();
        while let Some(Column(name)) = row.next_key::<Column<'de>>()? {
            let value: &'de RawValue = row.next_value()?;
            if !self.added.contains(&name.as_ref()) && !columns.take(name, value) {
                return Err(A::Error::custom("too many columns"));
            }
        }
        self.text.push('{');
        for (index, (name, value)) in columns.now.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            push_string(self.text, name);
            self.text.push(':');
            let value = value.get();
            match value.as_bytes().first() {
                Some(b'"') => {
                    let Column(value) = serde_json::from_str(value).map_err(A::Error::custom)?;
                    push_string(self.text, &value);
                }
                Some(b'{' | b'[') | None => return Err(A::Error::custom("a nested value")),
                Some(b'-' | b'0'..=b'9') if !is_readable(value) => push_string(self.text, value),
                Some(_) => self.text.push_str(value),
            }
        }
        self.text.push('}');
        columns.end();
        Ok(())
    }
}

/// Whether every reader of JSON has a number for this: an integer of 64 bits, or what a double can be.
fn is_readable(number: &str) -> bool {
    if !number.contains(['.', 'e', 'E']) {
        return number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    }
    let significand = number.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = !significand.contains(|digit: char| ('1'..='9').contains(&digit));
    // Too large becomes infinite, too small becomes nothing.
    let double = number.parse::<f64>();
    double.is_ok_and(|double| double.is_finite() && (double != 0.0) != is_zero)
}

/// A string that borrows from the input where it has no escapes (`Cow` alone always copies).
#[derive(serde::Deserialize)]
struct Column<'a>(#[serde(borrow)] Cow<'a, str>);

/// Appends a JSON string.
pub fn push_string(text: &mut String, value: &str) {
    text.push('"');
    let mut plain = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        text.push_str(&value[plain..at]);
        if escape.is_empty() {
            text.push_str(&format!("\\u{byte:04x}"));
        } else {
            text.push_str(escape);
        }
        plain = at + 1;
    }
    text.push_str(&value[plain..]);
    text.push('"');
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
