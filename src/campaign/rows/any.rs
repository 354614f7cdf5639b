//! Rows however JSON may write them: with blanks, with escapes in names, with repeated columns. Slower than
//! `usual.rs`, and the one that says where rows are wrong.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{FEW_COLUMNS, Keep, MOST_COLUMNS, Rows, RowsError};
use crate::json_text::push_string;

/// Reads `[{column: scalar, …}, …]` into `text` and counts into `rows`, as [`Rows::read`] has it. A column that
/// marks rows is left out, and counted.
///
/// # Errors
/// Where the text is not such an array.
pub(super) fn read(
    json: &str,
    added: &[&str],
    keep: Keep,
    text: &mut String,
    rows: &mut Rows,
    marks: Option<(&str, &mut Marks)>,
) -> Result<(), RowsError> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let seed = RowsSeed {
        added,
        keep,
        text,
        rows,
        marks,
    };
    seed.deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| RowsError::NotOsquerys(place(&error)))
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
    marks: Option<(&'a str, &'a mut Marks)>,
}

/// How many rows have a mark, and how many say that there are none.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub full: usize,
    pub nothing: usize,
}

/// What one row says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// It has the mark.
    Full,
    /// The mark is there, and empty.
    Empty,
    /// It has none, two, or another.
    Other,
}

impl Mark {
    /// osquery writes numbers as texts, and no value as an empty one.
    fn of(value: &str) -> Self {
        match value {
            "\"1\"" | "1" => Self::Full,
            "\"\"" | "null" => Self::Empty,
            _ => Self::Other,
        }
    }
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

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut rows: A) -> Result<(), A::Error> {
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
                marker: self.marks.as_ref().map(|(marker, _)| *marker),
            };
            let Some(mark) = rows.next_element_seed(row)? else {
                self.text.truncate(before);
                return Ok(());
            };
            if let Some((_, marks)) = &mut self.marks {
                marks.full += usize::from(mark == Mark::Full);
                let nothing = mark == Mark::Empty && columns.is_empty_row();
                marks.nothing += usize::from(nothing);
            }
            self.rows.count(self.text, before, self.keep);
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

    /// Whether nothing stands in any column.
    fn is_empty_row(&self) -> bool {
        let mut values = self.now.iter();
        values.all(|(_, value)| Mark::of(value.get()) == Mark::Empty)
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
    marker: Option<&'a str>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_, 'de> {
    type Value = Mark;
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Mark, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, 'de> {
    type Value = Mark;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<Mark, A::Error> {
        let columns = self.columns;
        columns.begin();
        let mut mark = None;
        while let Some(Text(name)) = row.next_key::<Text<'de>>()? {
            let value: &'de RawValue = row.next_value()?;
            if self.marker == Some(name.as_ref()) {
                let found = Mark::of(value.get());
                mark = Some(mark.map_or(found, |_| Mark::Other));
                continue;
            }
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
                    let Text(value) = serde_json::from_str(value).map_err(A::Error::custom)?;
                    push_string(self.text, &value);
                }
                Some(b'{' | b'[') | None => return Err(A::Error::custom("a nested value")),
                Some(b'-' | b'0'..=b'9') if !is_readable(value) => push_string(self.text, value),
                Some(_) => self.text.push_str(value),
            }
        }
        self.text.push('}');
        columns.end();
        Ok(mark.unwrap_or(Mark::Other))
    }
}

/// Whether every reader of JSON has a number for this: an integer of 64 bits, or what a double can be.
pub(super) fn is_readable(number: &str) -> bool {
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
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);
