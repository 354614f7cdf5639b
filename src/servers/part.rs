//! Reads values of a document that somebody else wrote: null and blank text are not there, a key may have an
//! older name, and what is of another type is told with its path.

use std::fmt;

use serde_json::{Map, Value};

use crate::input::kind;
use crate::path::Path;

/// A mapping inside a document.
pub(super) struct Part<'a> {
    map: &'a Map<String, Value>,
    path: Path,
}

/// A value that is of another type than it has to be.
#[derive(Debug)]
pub(super) struct Wrong {
    path: Path,
    expected: &'static str,
    found: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            expected,
            found,
        } = self;
        write!(formatter, "`{path}` must be {expected}, not {found}")
    }
}

/// Whether a value says anything: a server of Go writes what it has not got as an empty text.
fn says(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        _ => true,
    }
}

impl<'a> Part<'a> {
    /// The document itself.
    pub(super) fn of(map: &'a Map<String, Value>) -> Self {
        let path = Path::default();
        Self { map, path }
    }

    /// Whether something stands at the end of these keys.
    pub(super) fn leads_to(&self, keys: &[&str]) -> bool {
        let mut map = Some(self.map);
        keys.iter().enumerate().all(|(at, key)| {
            let value = map.and_then(|map| map.get(*key)).filter(|it| says(it));
            map = value.and_then(Value::as_object);
            value.is_some() && (at + 1 == keys.len() || map.is_some())
        })
    }

    /// The first of these keys that is there: a newer name and an older one of the same.
    fn get(&self, keys: &[&str]) -> Option<(Path, &'a Value)> {
        keys.iter().find_map(|key| {
            let value = self.map.get(*key).filter(|value| says(value))?;
            Some((self.path.key(key), value))
        })
    }

    fn read<T>(
        &self,
        keys: &[&str],
        expected: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Wrong> {
        let Some((path, value)) = self.get(keys) else {
            return Ok(None);
        };
        let found = kind(value);
        let wrong = Wrong {
            path,
            expected,
            found,
        };
        read(value).map(Some).ok_or(wrong)
    }

    pub(super) fn text(&self, keys: &[&str]) -> Result<Option<&'a str>, Wrong> {
        self.read(keys, "text", Value::as_str)
    }

    /// A whole number that is not negative.
    pub(super) fn number(&self, keys: &[&str]) -> Result<Option<u64>, Wrong> {
        self.read(keys, "a whole number", Value::as_u64)
    }

    pub(super) fn fraction(&self, keys: &[&str]) -> Result<Option<f64>, Wrong> {
        self.read(keys, "a number", Value::as_f64)
    }

    pub(super) fn flag(&self, keys: &[&str]) -> Result<Option<bool>, Wrong> {
        self.read(keys, "true or false", Value::as_bool)
    }

    /// Whole numbers; none where there is no list.
    pub(super) fn numbers(&self, key: &str) -> Result<Vec<u64>, Wrong> {
        let numbers = |value: &Value| value.as_array()?.iter().map(Value::as_u64).collect();
        let numbers = self.read(&[key], "a list of whole numbers", numbers)?;
        Ok(numbers.unwrap_or_default())
    }

    pub(super) fn part(&self, key: &str) -> Result<Option<Part<'a>>, Wrong> {
        let map = self.read(&[key], "a mapping", Value::as_object)?;
        let path = self.path.key(key);
        Ok(map.map(|map| Part { map, path }))
    }

    /// The mappings of a list; none where there is no list.
    pub(super) fn parts(&self, key: &str) -> Result<Vec<Part<'a>>, Wrong> {
        let items = self.read(&[key], "a list of mappings", Value::as_array)?;
        let items = items.into_iter().flatten().enumerate();
        let part = |(at, item): (usize, &'a Value)| {
            let path = self.path.key(key).index(at);
            match item.as_object() {
                Some(map) => Ok(Part { map, path }),
                None => Err(Wrong {
                    path,
                    expected: "a mapping",
                    found: kind(item),
                }),
            }
        };
        items.map(part).collect()
    }
}
