//! The shapes that a document's text may have, read by serde one value at a time: each row is handed on as soon
//! as it is whole, everything else is kept by [`Reading`].

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::Row;
use super::read::{Form, Reading, Stopped, quoted};

/// One object of the text: the document, or a line.
pub(super) struct Piece<'r, 's, 'f>(pub &'r RefCell<Reading<'s, 'f>>);

impl Piece<'_, '_, '_> {
    /// Gives the piece up, for a reason of ours.
    fn stop<E: serde::de::Error>(&self, why: Stopped) -> E {
        self.0.borrow_mut().stopped = Some(why);
        E::custom("stopped")
    }

    fn refuse<E: serde::de::Error>(&self, why: impl Into<String>) -> E {
        self.stop(Stopped::Refused(why.into()))
    }
}

impl<'de> DeserializeSeed<'de> for Piece<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Piece<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(self.refuse(format!("{} appears here twice", quoted(&key))));
            }
            match key.as_str() {
                "results" => {
                    map.next_value_seed(Results(&self))?;
                    let mut reading = self.0.borrow_mut();
                    reading.entries.insert(key, Value::Null);
                }
                "rows" => {
                    let host = self.0.borrow().entries.get("host").cloned();
                    let Some(Value::String(host)) = host else {
                        // Somebody sorted the keys; one line is held, not all.
                        let rows: Vec<Row> = map.next_value()?;
                        let rows = rows.into_iter().map(Value::Object).collect();
                        self.0.borrow_mut().entries.insert(key, rows);
                        continue;
                    };
                    self.begin(&host)?;
                    map.next_value_seed(Rows(&self, &host))?;
                }
                "hosts" => map.next_value_seed(Hosts(&self))?,
                "type" => {
                    let value: Value = map.next_value()?;
                    let mut reading = self.0.borrow_mut();
                    if value == "host" && reading.form == Form::None {
                        reading.form = Form::Lines;
                    }
                    reading.entries.insert(key, value);
                }
                "host" | "status" | "error" | "hostname" | "uuid" | "answered_at" | "truncated"
                | "partial" | "timed_out_hosts" | "failed_hosts" | "cancelled" | "run"
                | "campaign" | "planned" | "queued_until" => {
                    let value: Value = map.next_value()?;
                    self.0.borrow_mut().entries.insert(key, value);
                }
                // A later version may say more.
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        self.late_rows()
    }
}

impl Piece<'_, '_, '_> {
    /// Rows of a target follow.
    fn begin<E: serde::de::Error>(&self, host: &str) -> Result<(), E> {
        if self.0.borrow().recorded.host(host).is_some() {
            return Err(self.refuse(format!("{} has rows twice", quoted(host))));
        }
        let mut reading = self.0.borrow_mut();
        reading.within = Some(host.to_owned());
        reading.recorded.host_mut(host);
        Ok(())
    }

    /// Hands on the rows of a line whose host came after them.
    fn late_rows<E: serde::de::Error>(&self) -> Result<(), E> {
        let (host, rows) = {
            let mut reading = self.0.borrow_mut();
            let Some(Value::Array(rows)) = reading.entries.remove("rows") else {
                return Ok(());
            };
            (reading.entries.get("host").cloned(), rows)
        };
        let Some(Value::String(host)) = host else {
            return Err(self.refuse("this is not a document of `run` or `check`"));
        };
        self.begin(&host)?;
        for row in rows {
            let Value::Object(row) = row else { continue };
            if row.values().any(|cell| cell.is_array() || cell.is_object()) {
                return Err(self.refuse(NESTED));
            }
            let handed = self.0.borrow_mut().row(&host, row);
            handed.map_err(|why| self.stop(why))?;
        }
        Ok(())
    }
}

/// What `run` refuses of a host.
const NESTED: &str = "a cell holds a list or a mapping: no document of `run` does";

/// `results`: each target with its rows.
struct Results<'p, 'r, 's, 'f>(&'p Piece<'r, 's, 'f>);

impl<'de> DeserializeSeed<'de> for Results<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Results<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(host) = map.next_key::<String>()? {
            if !seen.insert(host.clone()) {
                return Err(self.0.refuse(format!("{} has rows twice", quoted(&host))));
            }
            map.next_value_seed(Rows(self.0, &host))?;
            let mut reading = self.0.0.borrow_mut();
            reading.recorded.host_mut(&host).present = true;
        }
        Ok(())
    }
}

/// The rows of one target.
struct Rows<'p, 'r, 's, 'f, 'h>(&'p Piece<'r, 's, 'f>, &'h str);

impl<'de> DeserializeSeed<'de> for Rows<'_, '_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_, '_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(row) = list.next_element_seed(OneRow(self.0))? {
            let handed = self.0.0.borrow_mut().row(self.1, row);
            handed.map_err(|why| self.0.stop(why))?;
        }
        Ok(())
    }
}

/// One row, whose cells hold no further values.
struct OneRow<'p, 'r, 's, 'f>(&'p Piece<'r, 's, 'f>);

impl<'de> DeserializeSeed<'de> for OneRow<'_, '_, '_, '_> {
    type Value = Row;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Row, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneRow<'_, '_, '_, '_> {
    type Value = Row;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut row = Row::new();
        while let Some((column, cell)) = map.next_entry::<String, Value>()? {
            if cell.is_array() || cell.is_object() {
                return Err(self.0.refuse(NESTED));
            }
            if row.contains_key(&column) {
                let message = format!("a row has the column {} twice", quoted(&column));
                return Err(self.0.refuse(message));
            }
            row.insert(column, cell);
        }
        Ok(row)
    }
}

/// `hosts`: what became of each target.
struct Hosts<'p, 'r, 's, 'f>(&'p Piece<'r, 's, 'f>);

impl<'de> DeserializeSeed<'de> for Hosts<'_, '_, '_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Hosts<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some((key, facts)) = map.next_entry::<String, Value>()? {
            if !seen.insert(key.clone()) {
                return Err(self
                    .0
                    .refuse(format!("{} appears here twice", quoted(&key))));
            }
            let taken = self.0.0.borrow_mut().facts(&key, facts);
            taken.map_err(|why| self.0.refuse(why))?;
        }
        Ok(())
    }
}
