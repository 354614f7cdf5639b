//! Rows as JSON text. A statement's rows are written once and shared by every host with the same tables;
//! what differs between hosts (the two columns that Fleet adds, the placeholders) is put in on sending.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::host::Host;
use crate::pieces::MadeRows;

/// A host's answer, before a wire has put it into its own form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answered {
    /// Rows, or none.
    Rows(RowsText),
    /// osquery's error.
    Error(String),
    /// This text in the rows' place.
    Raw(String),
    /// A status without a result.
    StatusOnly(i64),
    /// Rows that are never held.
    Made(MadeRows),
    /// No rows where rows belong.
    Missing,
    /// This text in place of the whole answer.
    Data(String),
}

/// The rows of one answer as JSON text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RowsText {
    rows: Vec<RowText>,
    /// Some cell holds a placeholder.
    personal: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct RowText {
    /// `"a":"1","b":"2"`: the columns that sort before Fleet's added ones.
    head: String,
    /// The columns that sort after them.
    tail: String,
}

/// The first of the columns that Fleet adds; keys are sorted, as Go writes a map.
const ADDED: &str = "host_display_name";

impl RowsText {
    /// Adds a row of columns and values.
    pub fn push(&mut self, mut cells: Vec<(String, String)>) {
        // A column named twice (`SELECT a, a`) stands once, with its last value, as in osquery's map.
        cells.reverse();
        cells.sort_by(|a, b| a.0.cmp(&b.0));
        cells.dedup_by(|later, kept| later.0 == kept.0);
        let mut row = RowText {
            head: String::new(),
            tail: String::new(),
        };
        for (column, value) in cells {
            self.personal |= value.contains('{');
            let half = if column.as_str() < ADDED {
                &mut row.head
            } else {
                &mut row.tail
            };
            if !half.is_empty() {
                half.push(',');
            }
            let _ = write!(half, "{}:{}", json_string(&column), json_string(&value));
        }
        self.rows.push(row);
    }

    /// The same rows as a statement answers that marks what it finds: each has a 1 in that column, and where
    /// there are none, one row has nothing in it.
    pub fn marked(&self, marker: &str) -> Self {
        let mut marked = self.clone();
        let value = if self.rows.is_empty() { "" } else { "1" };
        if self.rows.is_empty() {
            marked.push(Vec::new());
        }
        for row in &mut marked.rows {
            let comma = if row.tail.is_empty() { "" } else { "," };
            let _ = write!(
                row.tail,
                "{comma}{}:{}",
                json_string(marker),
                json_string(value)
            );
        }
        marked
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// One row as the host sent it; of a row that is not there, an empty one.
    pub fn row(&self, index: usize, host: &Host) -> String {
        let text = self.rows.get(index).map_or_else(
            || "{}".to_owned(),
            |row| {
                let both = !(row.head.is_empty() || row.tail.is_empty());
                let comma = if both { "," } else { "" };
                format!("{{{}{comma}{}}}", row.head, row.tail)
            },
        );
        if self.personal {
            host.fill(&text, 1).into_owned()
        } else {
            text
        }
    }

    /// The array as the host sent it.
    pub fn json(&self, host: &Host) -> String {
        self.write(host, None)
    }

    /// The array with the two columns that Fleet's results socket adds to every row.
    pub fn json_with_added_columns(&self, host: &Host) -> String {
        self.write(host, Some(&added_columns(host)))
    }

    /// The array with its placeholders still in it, and whether it has any.
    pub fn json_template(&self) -> (String, bool) {
        (self.plain(None), self.personal)
    }

    fn write(&self, host: &Host, added: Option<&str>) -> String {
        let text = self.plain(added);
        if self.personal {
            host.fill(&text, 1).into_owned()
        } else {
            text
        }
    }

    fn plain(&self, added: Option<&str>) -> String {
        let size: usize = self
            .rows
            .iter()
            .map(|row| row.head.len() + row.tail.len() + added.map_or(0, str::len) + 5)
            .sum();
        let mut text = String::with_capacity(size + 2);
        text.push('[');
        for (index, row) in self.rows.iter().enumerate() {
            text.push_str(if index == 0 { "{" } else { ",{" });
            let parts = [
                row.head.as_str(),
                added.unwrap_or_default(),
                row.tail.as_str(),
            ];
            let mut first = true;
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                if !first {
                    text.push(',');
                }
                text.push_str(part);
                first = false;
            }
            text.push('}');
        }
        text.push(']');
        text
    }
}

/// The cells that Fleet's results socket adds to every row.
pub(crate) fn added_columns(host: &Host) -> String {
    format!(
        "\"host_display_name\":{},\"host_hostname\":{}",
        json_string(&host.display_name),
        json_string(&host.hostname)
    )
}

impl Host {
    /// Fills the placeholders; `escapes` says how many times over the text is JSON within a string.
    pub fn fill<'text>(&self, text: &'text str, escapes: u8) -> Cow<'text, str> {
        let escape =
            |value: &str| (0..escapes).fold(value.to_owned(), |value, _| json_inner(&value));
        let mut filled = String::new();
        let mut rest = text;
        // What is filled in is not looked at again, whatever a host is called.
        let mut from = 0;
        while let Some(brace) = rest.get(from..).and_then(|text| text.find('{')) {
            let (before, placeholder) = rest.split_at(from + brace);
            let end = placeholder.find('}').map_or(0, |end| end + 1);
            let value = match placeholder.get(..end).unwrap_or_default() {
                "{hostname}" => escape(&self.hostname),
                "{uuid}" => escape(&self.uuid),
                "{serial}" => escape(&self.serial),
                "{id}" => self.id.to_string(),
                "{n}" => self.number.to_string(),
                _ => {
                    from += brace + 1;
                    continue;
                }
            };
            filled.push_str(before);
            filled.push_str(&value);
            rest = placeholder.get(end..).unwrap_or_default();
            from = 0;
        }
        if rest.len() == text.len() {
            return Cow::Borrowed(text);
        }
        filled.push_str(rest);
        Cow::Owned(filled)
    }
}

/// A JSON string as Go's encoder writes it, with its quotes.
pub(crate) fn json_string(text: &str) -> String {
    format!("\"{}\"", json_inner(text))
}

/// The same without quotes. Go escapes `<`, `>`, `&`, U+2028 and U+2029 beside what JSON demands.
pub(crate) fn json_inner(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            '<' | '>' | '&' | '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(written, "\\u{:04x}", u32::from(character));
            }
            other => written.push(other),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn strings_are_json_that_reads_back(text in ".*") {
            let read: String = serde_json::from_str(&json_string(&text)).expect("JSON");
            prop_assert_eq!(read, text);
        }

        #[test]
        fn rows_are_json_that_reads_back(
            rows in proptest::collection::vec(
                proptest::collection::btree_map("[a-z_]{1,24}", "[^{]*", 0..6), 0..5)
        ) {
            let host = Host::plain(0, "web-01");
            let mut text = RowsText::default();
            for row in &rows {
                text.push(row.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
            }
            let read: Vec<std::collections::BTreeMap<String, String>> =
                serde_json::from_str(&text.json(&host)).expect("JSON");
            prop_assert_eq!(&read, &rows);
            let added: Vec<std::collections::BTreeMap<String, String>> =
                serde_json::from_str(&text.json_with_added_columns(&host)).expect("JSON");
            for row in added {
                prop_assert_eq!(row.get("host_hostname").map(String::as_str), Some("web-01"));
            }
        }
    }

    #[test]
    fn a_column_selected_twice_stands_once_with_its_last_value() {
        let mut text = RowsText::default();
        text.push(vec![("a".into(), "1".into()), ("a".into(), "2".into())]);
        assert_eq!(text.json(&Host::plain(0, "h")), r#"[{"a":"2"}]"#);
    }

    #[test]
    fn placeholders_are_filled_with_escaped_values() {
        let mut text = RowsText::default();
        text.push(vec![("who".into(), "{hostname} {n}".into())]);
        assert_eq!(text.json(&Host::plain(7, "a\"b")), r#"[{"who":"a\"b 7"}]"#);
        let named_so = Host::plain(7, "{n}");
        let filled = named_so.fill("{{hostname} {nope} {n", 0);
        assert_eq!(filled, "{{n} {nope} {n", "once, and only what is whole");
        assert!(matches!(named_so.fill("{x}", 0), Cow::Borrowed("{x}")));
    }
}
