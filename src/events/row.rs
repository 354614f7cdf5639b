//! A row as the server sent it: read once, its digest made, its cells borrowed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::digest::{Digest, Parts};
use crate::json_parts::Text;

/// SQLite refuses results of more columns, so no osquery host can send them.
const MOST_COLUMNS: usize = 2_000;

/// A row: its columns in the order in which they came.
#[derive(Debug)]
pub struct Row<'a> {
    cells: Vec<(Cow<'a, str>, Cell<'a>)>,
    digest: Digest,
    is_forgotten: bool,
}

/// What stands in a column.
#[derive(Debug)]
enum Cell<'a> {
    Text(Cow<'a, str>),
    /// `null`, a number, `true` or `false`, as it was written.
    Plain(&'a str),
    /// What osquery sends no host can: kept all the same, for a row must not be lost.
    Nested(Value),
}

/// What was to be read is no row; says where, never what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a row is {what}")]
pub struct NoRow {
    what: String,
    is_json: bool,
}

impl NoRow {
    /// Whether it is something else, and not no JSON at all.
    pub fn is_json(&self) -> bool {
        self.is_json
    }
}

impl<'a> Row<'a> {
    /// Reads a JSON object. Its digest goes by columns and values only: not by their order, nor by how the
    /// JSON was written. A column that is repeated counts as the last one.
    ///
    /// # Errors
    /// Where it is no JSON object, or has more columns than any host can send.
    pub fn read(json: &'a str) -> Result<Self, NoRow> {
        let read: Cells<'a> = serde_json::from_str(json).map_err(|error| {
            let is_json = error.is_data();
            let kind = match is_json {
                true => "no object of columns",
                false => "not JSON",
            };
            let (line, column) = (error.line(), error.column());
            NoRow {
                what: format!("{kind} (line {line}, column {column})"),
                is_json,
            }
        })?;
        let cells = read.0;
        let mut order: Vec<usize> = (0..cells.len()).collect();
        // Stable, so that of equal names the last one stays the last.
        order.sort_by(|one, other| cells[*one].0.cmp(&cells[*other].0));
        let is_last = |place: usize| {
            let next = order.get(place + 1);
            next.is_none_or(|next| cells[*next].0 != cells[order[place]].0)
        };
        let is_repeated = (0..order.len()).any(|place| !is_last(place));
        let mut parts = Parts::of("row");
        for place in (0..order.len()).filter(|place| is_last(*place)) {
            let (name, cell) = &cells[order[place]];
            parts = cell.digested(parts.and(name.as_bytes()));
        }
        let digest = parts.digest();
        let cells = if is_repeated { last(cells) } else { cells };
        Ok(Self {
            cells,
            digest,
            is_forgotten: false,
        })
    }

    /// A row of which nothing is left but its name: what a state remembers.
    pub fn forgotten(digest: Digest) -> Self {
        Self {
            cells: Vec::new(),
            digest,
            is_forgotten: true,
        }
    }

    /// Whether nothing is left of it but its name.
    pub fn is_forgotten(&self) -> bool {
        self.is_forgotten
    }

    /// Its name: the same for the same columns and values.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The row as a value.
    pub fn to_map(&self) -> Map<String, Value> {
        let cells = self.cells.iter();
        let cells = cells.map(|(name, cell)| (name.clone().into_owned(), cell.to_value()));
        cells.collect()
    }
}

/// Of repeated columns the last value, at the place of the first.
fn last<'a>(cells: Vec<(Cow<'a, str>, Cell<'a>)>) -> Vec<(Cow<'a, str>, Cell<'a>)> {
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
    let mut kept: Vec<(Cow<'a, str>, Cell<'a>)> = Vec::with_capacity(cells.len());
    for (name, cell) in cells {
        match places.get(&name) {
            Some(place) => kept[*place].1 = cell,
            None => {
                places.insert(name.clone(), kept.len());
                kept.push((name, cell));
            }
        }
    }
    kept
}

impl Cell<'_> {
    fn digested(&self, parts: Parts) -> Parts {
        match self {
            Self::Text(text) => parts.and(b"text").and(text.as_bytes()),
            Self::Plain(plain) => parts.and(b"plain").and(plain.as_bytes()),
            Self::Nested(value) => parts.and(b"nested").and(value.to_string().as_bytes()),
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone().into_owned()),
            // A number that no reader has room for stays the text that it is.
            Self::Plain(plain) => readable(plain).unwrap_or_else(|| (*plain).into()),
            Self::Nested(value) => value.clone(),
        }
    }
}

/// The value of a number or a word, where every reader of JSON has one for it: an integer of 64 bits, or what a
/// double can be.
fn readable(plain: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(plain).ok()?;
    let Some(double) = value.as_f64() else {
        return Some(value);
    };
    if !plain.contains(['.', 'e', 'E']) {
        let whole = plain.parse::<i64>().is_ok() || plain.parse::<u64>().is_ok();
        return whole.then_some(value);
    }
    // What is too small becomes nothing.
    let significand = plain.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = !significand.contains(|digit: char| ('1'..='9').contains(&digit));
    (double.is_finite() && (double == 0.0) == is_zero).then_some(value)
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut row = out.serialize_map(Some(self.cells.len()))?;
        for (name, cell) in &self.cells {
            match cell {
                Cell::Text(text) => row.serialize_entry(name, text)?,
                other => row.serialize_entry(name, &other.to_value())?,
            }
        }
        row.end()
    }
}

struct Cells<'a>(Vec<(Cow<'a, str>, Cell<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Cells<'a> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Cells<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<Self::Value, A::Error> {
                use serde::de::Error as _;
                let mut cells = Vec::new();
                while let Some(Text(name)) = row.next_key()? {
                    let raw = row.next_value::<&'de RawValue>()?.get();
                    let cell = match raw.as_bytes().first() {
                        // Escapes that stand for no character stay as they are written.
                        Some(b'"') => serde_json::from_str(raw).map_or_else(
                            |_| Cell::Text(raw[1..raw.len() - 1].into()),
                            |Text(text)| Cell::Text(text),
                        ),
                        Some(b'{' | b'[') => Cell::Nested(
                            serde_json::from_str(raw).unwrap_or_else(|_| Value::String(raw.into())),
                        ),
                        _ => Cell::Plain(raw),
                    };
                    if cells.len() == MOST_COLUMNS {
                        return Err(A::Error::custom("too many columns"));
                    }
                    cells.push((name, cell));
                }
                Ok(Cells(cells))
            }
        }
        reader.deserialize_map(Reads)
    }
}
