//! JSON that a terminal can show: what hosts wrote stays as it is for who reads the JSON, but a character
//! that moves a cursor, turns the writing around or can't be seen stands in it as its escape.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::printable::is_hidden;

/// Writes a value and ends the line.
///
/// # Errors
/// Those of the writer.
pub(crate) fn line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let mut writer = Serializer::with_formatter(&mut *out, Visible);
    value.serialize(&mut writer)?;
    out.write_all(b"\n")
}

struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut shown = 0;
        for (at, hidden) in fragment.char_indices().filter(|(_, one)| is_hidden(*one)) {
            out.write_all(&fragment.as_bytes()[shown..at])?;
            let mut units = [0; 2];
            for unit in hidden.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
            shown = at + hidden.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[shown..])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn hidden_characters_are_escaped_and_read_back_as_they_were() {
        let value =
            json!({"a\u{202e}": "b\u{1b}[2J\u{7f}\u{9b}é漢\u{e0041}\u{200b}\n\"\\", "n": 1.5});
        let mut text = Vec::new();
        line(&mut text, &value).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text,
            "{\"a\\u202e\":\"b\\u001b[2J\\u007f\\u009bé漢\\udb40\\udc41\\u200b\\n\\\"\\\\\",\"n\":1.5}\n"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
