//! Strict JSON into a value: duplicate keys and deep nesting are refused with their place. What an alert
//! may legally hold (a raw DEL, very long keys and strings) is accepted, and what other JSON writers
//! emit although it does not fit (lone surrogates, numbers beyond 64-bit floats) is replaced, so that an
//! alert can't stop a triage. Knows nothing of steps.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::DecodeError;
use super::yaml::{DEEPEST, MORE_TEXT, duplicate, refuse, too_deep};
use crate::path::{Path, Segment};
use crate::problem::Position;

/// Why text is not accepted as JSON.
pub(super) enum JsonError {
    /// It is JSON, but breaks a rule of ours.
    Refused(DecodeError),
    /// It is no JSON; it may still be YAML.
    Syntax(DecodeError),
}

enum Refusal {
    Duplicate(String),
    TooDeep,
}

/// Reads exactly one value.
pub(super) fn parse(text: &str) -> Result<Value, JsonError> {
    match parse_strictly(text) {
        Err(JsonError::Syntax(error)) => match replace_unrepresentable(text) {
            Some(replaced) => parse_strictly(&replaced),
            None => Err(JsonError::Syntax(error)),
        },
        other => other,
    }
}

fn parse_strictly(text: &str) -> Result<Value, JsonError> {
    let refusal = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    // The seed counts; the library's own limit is lower than a context may be deep.
    reader.disable_recursion_limit();
    let seed = Seed {
        depth: 0,
        refusal: &refusal,
    };
    let result = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    result.map_err(|error| {
        let offset = offset_of(text, error.line(), error.column());
        match refusal.take() {
            Some(Refusal::Duplicate(key)) => {
                let at = position_of(text, opening_quote(text, offset));
                JsonError::Refused(duplicate(at, &key))
            }
            Some(Refusal::TooDeep) => JsonError::Refused(too_deep(position_of(text, offset))),
            None => {
                // serde_json's syntax messages are fixed words; only its data errors print values,
                // and this reader takes every kind of value.
                let words = error.to_string();
                let words = words
                    .split(" at line ")
                    .next()
                    .unwrap_or("it can't be read")
                    .replace("EOF while parsing", "it ends within")
                    .replace("trailing characters", MORE_TEXT);
                JsonError::Syntax(refuse(
                    position_of(text, offset),
                    format!("this is not JSON: {words}"),
                ))
            }
        }
    })
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: usize,
    refusal: &'a RefCell<Option<Refusal>>,
}

impl Seed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEEPEST {
            self.refusal.replace(Some(Refusal::TooDeep));
            return Err(E::custom("refused"));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(deeper)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut entries = Map::new();
        while let Some(key) = mapping.next_key::<String>()? {
            if entries.contains_key(&key) {
                self.refusal.replace(Some(Refusal::Duplicate(key)));
                return Err(A::Error::custom("refused"));
            }
            let value = mapping.next_value_seed(deeper)?;
            entries.insert(key, value);
        }
        Ok(Value::Object(entries))
    }
}

/// The same text, byte for byte as long, with `\ufffd` for escapes of lone surrogates and `null` for
/// numbers beyond a 64-bit float; `None` where there is nothing of that kind.
fn replace_unrepresentable(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut replaced = bytes.to_vec();
    let (mut at, mut in_string, mut changed) = (0, false, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => in_string = !in_string,
            b'\\' if in_string => match escaped_unit(bytes, at) {
                Some(0xd800..0xdc00) => match escaped_unit(bytes, at + 6) {
                    Some(0xdc00..0xe000) => at += 11,
                    _ => {
                        replaced[at..at + 6].copy_from_slice(b"\\ufffd");
                        changed = true;
                        at += 5;
                    }
                },
                Some(0xdc00..0xe000) => {
                    replaced[at..at + 6].copy_from_slice(b"\\ufffd");
                    changed = true;
                    at += 5;
                }
                _ => at += 1,
            },
            b'-' | b'0'..=b'9' if !in_string => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|byte| {
                        matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
                    })
                    .count();
                let number = text[at..at + length].parse::<f64>();
                if number.is_ok_and(f64::is_infinite) {
                    replaced[at..at + length].fill(b' ');
                    replaced[at..at + 4].copy_from_slice(b"null");
                    changed = true;
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    changed.then(|| String::from_utf8(replaced).ok()).flatten()
}

/// The code unit of a `\uXXXX` that begins at this offset.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let escape = bytes.get(at..at + 6)?;
    if !escape.starts_with(b"\\u") || !escape[2..].iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(&escape[2..]).ok()?, 16).ok()
}

/// serde_json counts lines from one and columns in bytes, as many as it has read.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let line_start = match line {
        0 | 1 => 0,
        _ => text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .nth(line - 2)
            .map_or(text.len(), |(newline, _)| newline + 1),
    };
    (line_start + column.saturating_sub(1)).min(text.len())
}

/// From just behind a key back to its opening quote.
fn opening_quote(text: &str, behind: usize) -> usize {
    let bytes = text.as_bytes();
    let closing = bytes[..bytes.len().min(behind + 1)]
        .iter()
        .rposition(|byte| *byte == b'"')
        .unwrap_or(behind);
    let mut at = closing;
    while at > 0 {
        at -= 1;
        if bytes[at] == b'"' {
            let escapes = bytes[..at]
                .iter()
                .rev()
                .take_while(|byte| **byte == b'\\')
                .count();
            if escapes % 2 == 0 {
                return at;
            }
        }
    }
    closing
}

/// Line and column (in characters) of a byte offset.
pub(super) fn position_of(text: &str, offset: usize) -> Position {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    // Bytes that do not begin a character are not counted.
    let characters = before[line_start..]
        .iter()
        .filter(|byte| **byte & 0xc0 != 0x80)
        .count();
    Position {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: characters + 1,
    }
}

/// The positions of many byte offsets: the text is read once.
pub(super) fn positions_of(text: &str, offsets: &[usize]) -> Vec<Position> {
    let mut order: Vec<usize> = (0..offsets.len()).collect();
    order.sort_by_key(|index| offsets[*index]);
    let mut positions = vec![Position { line: 1, column: 1 }; offsets.len()];
    let (mut at, mut position) = (0, Position { line: 1, column: 1 });
    for index in order {
        let offset = offsets[index].min(text.len());
        for byte in &text.as_bytes()[at..offset] {
            match byte {
                b'\n' => {
                    position.line += 1;
                    position.column = 1;
                }
                // Bytes that do not begin a character are not counted.
                byte if byte & 0xc0 == 0x80 => {}
                _ => position.column += 1,
            }
        }
        at = offset;
        positions[index] = position;
    }
    positions
}

/// Where a path leads: offsets of its key, where it ends in one, and of its value.
pub(super) type Offsets = (Option<usize>, usize);

/// Where paths lead in text that [`parse`] has accepted: where there is no such node, to the deepest value
/// on the way. The text is read once a level, however many the paths are.
pub(super) fn locate_all(text: &str, paths: &[&Path]) -> Vec<Offsets> {
    let begin = text.len() - text.trim_start().len();
    let mut found = vec![(None, begin); paths.len()];
    let wanted: Vec<_> = paths
        .iter()
        .map(|path| path.segments())
        .enumerate()
        .collect();
    descend(text, text.trim(), &wanted, &mut found);
    found
}

/// The paths that are looked for, as far as they are still to go, each with its place in the answer.
type Wanted<'a> = Vec<(usize, &'a [Segment])>;

fn descend(text: &str, part: &str, wanted: &[(usize, &[Segment])], found: &mut [Offsets]) {
    let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let mut of_keys: HashMap<&str, Wanted<'_>> = HashMap::new();
    let mut of_items: BTreeMap<usize, Wanted<'_>> = BTreeMap::new();
    for (index, segments) in wanted {
        match segments {
            [] => {}
            [Segment::Key(key), rest @ ..] => {
                of_keys.entry(key).or_default().push((*index, rest));
            }
            [Segment::Index(item), rest @ ..] => {
                of_items.entry(*item).or_default().push((*index, rest));
            }
        }
    }
    let mut enter = |key: Option<&str>, child: &str, wanted: &Wanted<'_>| {
        for (index, rest) in wanted {
            // The key counts only where the path ends in it.
            let key = key.filter(|_| rest.is_empty()).map(offset);
            found[*index] = (key, offset(child));
        }
        descend(text, child, wanted, found);
    };
    if !of_keys.is_empty()
        && let Ok(Entries(entries)) = serde_json::from_str(part)
    {
        for (key, value) in entries {
            let name: String = serde_json::from_str(key).unwrap_or_default();
            if let Some(wanted) = of_keys.get(name.as_str()) {
                enter(Some(key), value, wanted);
            }
        }
    }
    if !of_items.is_empty()
        && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(part)
    {
        for (index, wanted) in &of_items {
            if let Some(item) = items.get(*index) {
                enter(None, item.get(), wanted);
            }
        }
    }
}

/// Where one path leads.
pub(super) fn locate(text: &str, path: &Path) -> Offsets {
    locate_all(text, &[path]).pop().unwrap_or_default()
}

/// The texts of a list's items, and their offsets.
pub(super) fn items(text: &str) -> Vec<(usize, &str)> {
    let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    let base = text.as_ptr() as usize;
    let items = items.into_iter().map(RawValue::get);
    items
        .map(|item| (item.as_ptr() as usize - base, item))
        .collect()
}

/// The first value that a text begins with.
pub(super) fn first_value(text: &str) -> Option<&str> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    values.next()?.ok().map(RawValue::get)
}

struct Entries<'a>(Vec<(&'a str, &'a str)>);

impl<'de> serde::Deserialize<'de> for Entries<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Entries<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = mapping.next_entry::<&RawValue, &RawValue>()? {
                    entries.push((key.get(), value.get()));
                }
                Ok(Entries(entries))
            }
        }
        reader.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        parse(text).ok().unwrap()
    }

    #[test]
    fn what_an_alert_may_hold_is_accepted() {
        let key = "k".repeat(5_000);
        let long = "x".repeat(1 << 20);
        let text = json!({"del": "a\u{7f}b", key.clone(): 1, "long": long, "max": u64::MAX, "min": i64::MIN}).to_string();
        let value = read(&text);
        assert_eq!(value["del"], "a\u{7f}b");
        assert_eq!(value[&key], 1);
        assert_eq!(value["long"].as_str().unwrap().len(), 1 << 20);
        assert_eq!(value["max"], json!(u64::MAX));
        assert_eq!(value["min"], json!(i64::MIN));
        assert_eq!(
            read(
                r#"{"lone": "a\ud800b\udfff\\ud800\ud83d\ude00", "big": [1e999, -1e400, 2], "\ud800": "1e999"}"#
            ),
            json!({"lone": "a\u{fffd}b\u{fffd}\\ud800😀", "big": [null, null, 2], "\u{fffd}": "1e999"})
        );
    }

    #[test]
    fn duplicates_and_depth_are_refused_with_their_place() {
        for (text, message, line, column) in [
            (
                "{\"a\": 1,\n \"é\": 2, \"a\": 3}",
                "the key `a` appears twice in one mapping",
                2,
                10,
            ),
            (
                r#"[{"q\"": {"q\"\\": 1, "q\"\\" : 2}}]"#,
                "the key `q\"\\` appears twice in one mapping",
                1,
                23,
            ),
            (
                r#"{"a": 1, "\u0061": 2}"#,
                "the key `a` appears twice in one mapping",
                1,
                10,
            ),
        ] {
            let Err(JsonError::Refused(error)) = parse(text) else {
                panic!("{text}")
            };
            let at = error.position.unwrap();
            assert_eq!(
                (error.message.as_str(), at.line, at.column),
                (message, line, column)
            );
        }
        let Err(JsonError::Refused(error)) = parse(&"[".repeat(100_000)) else {
            panic!()
        };
        assert_eq!(
            error.message,
            "lists and mappings are nested more than 256 deep"
        );
        assert_eq!(
            error.position,
            Some(Position {
                line: 1,
                column: 258
            })
        );
        assert!(parse(&("[".repeat(257) + &"]".repeat(257))).is_ok());
    }

    #[test]
    fn syntax_errors_say_where_and_never_what() {
        for (text, message, line, column) in [
            ("{\"a\": marker}", "this is not JSON: expected value", 1, 7),
            (
                "{\"é\": 1} marker",
                "this is not JSON: more text follows the document; stdin holds one",
                1,
                10,
            ),
            (
                "{\"a\": \"marker",
                "this is not JSON: it ends within a string",
                1,
                13,
            ),
            ("{\"a\": 1,\n}", "this is not JSON: trailing comma", 2, 1),
        ] {
            let Err(JsonError::Syntax(error)) = parse(text) else {
                panic!("{text}")
            };
            let at = error.position.unwrap();
            assert_eq!(
                (error.message.as_str(), at.line, at.column),
                (message, line, column)
            );
        }
    }

    #[test]
    fn places_are_found_down_a_path() {
        let text = "\n {\"a\": [10, {\"é\": 1, \"b\" : \"x\"}],\n  \"c\": 1e999}";
        let at = |path: &Path| {
            let (key, value) = locate(text, path);
            (key.map(|key| &text[key..key + 3]), &text[value..value + 2])
        };
        assert_eq!(
            at(&Path::of(&["a"]).index(1).key("b")),
            (Some("\"b\""), "\"x")
        );
        assert_eq!(at(&Path::of(&["a"]).index(0)), (None, "10"));
        assert_eq!(at(&Path::of(&["c"])), (Some("\"c\""), "1e"));
        assert_eq!(at(&Path::of(&["a", "nothing"])), (None, "[1"));
        assert_eq!(at(&Path::default()), (None, "{\""));
        let paths = [
            Path::of(&["c"]),
            Path::of(&["a"]).index(1).key("é"),
            Path::of(&["a"]).index(7),
            Path::of(&["a"]).index(0),
        ];
        let all = locate_all(text, &paths.each_ref());
        let one: Vec<_> = paths.iter().map(|path| locate(text, path)).collect();
        assert_eq!(all, one);
        let offsets: Vec<usize> = all.iter().map(|(_, value)| *value).collect();
        let each: Vec<_> = offsets.iter().map(|at| position_of(text, *at)).collect();
        assert_eq!(positions_of(text, &offsets), each);
    }
}
