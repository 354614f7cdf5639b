//! One host's rows, kept as the JSON text that the document will hold: memory stays near the
//! document's size however many columns there are. Knows nothing of hosts or servers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// SQLite refuses results of more columns, so no osquery host can send them.
const MOST_COLUMNS: usize = 2_000;

/// The rows of one answer: a JSON array of objects, checked, without the columns that a server adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    json: Box<str>,
    received: usize,
    kept: usize,
}

/// Rows that no osquery host can have sent; says where, never what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rows are not osquery's: {0}")]
pub struct RowsError(String);

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

    /// Reads `[{column: scalar, …}, …]` or `null` (no rows), leaves out the columns in `added`, and
    /// keeps the first rows within `keep`; the rest is counted.
    ///
    /// # Errors
    /// Where the text is not such an array.
    pub fn read(json: &str, added: &[&str], keep: Keep) -> Result<Self, RowsError> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let mut rows = Self::none();
        let mut text = String::from("[");
        let seed = RowsSeed {
            added,
            keep,
            text: &mut text,
            rows: &mut rows,
        };
        seed.deserialize(&mut reader)
            .and_then(|()| reader.end())
            .map_err(|error| RowsError(place(&error)))?;
        text.push(']');
        rows.json = text.into_boxed_str();
        Ok(rows)
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

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        loop {
            let before = self.text.len();
            if self.rows.kept > 0 {
                self.text.push(',');
            }
            let row = RowSeed {
                added: self.added,
                text: self.text,
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

struct RowSeed<'a> {
    added: &'a [&'a str],
    text: &'a mut String,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        let mut columns: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some(Column(name)) = row.next_key::<Column<'de>>()? {
            let value: &'de RawValue = row.next_value()?;
            if self.added.contains(&name.as_ref()) {
                continue;
            }
            // A repeated key would make the document ambiguous; the last one counts, as in most parsers.
            match columns.iter().position(|(known, _)| *known == name) {
                Some(known) => columns[known].1 = value,
                None if columns.len() == MOST_COLUMNS => {
                    return Err(A::Error::custom("too many columns"));
                }
                None => columns.push((name, value)),
            }
        }
        self.text.push('{');
        for (index, (name, value)) in columns.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            push_string(self.text, name);
            self.text.push(':');
            match value.get().as_bytes().first() {
                Some(b'"') => {
                    let Column(value) =
                        serde_json::from_str(value.get()).map_err(A::Error::custom)?;
                    push_string(self.text, &value);
                }
                Some(b'{' | b'[') | None => return Err(A::Error::custom("a nested value")),
                Some(_) => self.text.push_str(value.get()),
            }
        }
        self.text.push('}');
        Ok(())
    }
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
    fn null_is_no_rows_and_repeated_keys_keep_the_last() {
        assert_eq!(Rows::read("null", &[], ALL).unwrap(), Rows::none());
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

    proptest! {
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
