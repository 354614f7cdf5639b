//! Rows in the form in which servers write them, taken over as they stand: one pass over the text, and what the
//! document has is copied in long pieces. It knows only what it can copy; for all else, and for every error, rows
//! are read by `any.rs`, which says the same of whatever both can read.

use std::collections::HashSet;
use std::ops::Range;

use serde::de::IgnoredAny;

use super::any::{Text, is_readable};
use super::{FEW_COLUMNS, Keep, MOST_COLUMNS, Rows};
use crate::json_text::{plain, push_string};

/// Reads the list `[{column: scalar, …}, …]` that begins at a place of a text, into `text`, and counts into `rows`,
/// as [`Rows::read`] has it. Returns where it ends; `None` where it is of another form: then what stands in both is
/// worth nothing.
pub(super) fn read(
    json: &str,
    at: usize,
    added: &[&str],
    keep: Keep,
    text: &mut String,
    rows: &mut Rows,
) -> Option<usize> {
    let mut reader = Reader {
        json,
        bytes: json.as_bytes(),
        at,
        added,
        names: Names {
            text: Vec::with_capacity(USUAL_COLUMNS * 16),
            columns: Vec::with_capacity(USUAL_COLUMNS),
            ..Names::default()
        },
    };
    reader.take(b'[')?;
    reader.blanks();
    if reader.take(b']').is_some() {
        return Some(reader.at);
    }
    loop {
        let before = text.len();
        if rows.kept > 0 {
            text.push(',');
        }
        if !reader.row_as_before(text) {
            reader.row(text)?;
        }
        rows.count(text, before, keep);
        reader.blanks();
        if reader.take(b',').is_none() {
            break;
        }
        reader.blanks();
    }
    reader.take(b']')?;
    Some(reader.at)
}

struct Reader<'a> {
    json: &'a str,
    bytes: &'a [u8],
    at: usize,
    added: &'a [&'a str],
    names: Names,
}

/// What of a row is to be copied next, as it stands.
struct Piece {
    from: usize,
    to: usize,
    /// No column was taken yet.
    is_first: bool,
}

impl Piece {
    /// Nothing, before the row's first column.
    fn at(at: usize) -> Self {
        Self {
            from: at,
            to: at,
            is_first: true,
        }
    }

    /// Takes a column: as more of the piece, where it stands right behind it with a comma between, or as the next
    /// one, once this one is copied.
    fn take(&mut self, column: Range<usize>, json: &str, text: &mut String) {
        if self.is_first || column.start != self.to + 1 {
            text.push_str(&json[self.from..self.to]);
            if !self.is_first {
                text.push(',');
            }
            self.from = column.start;
        }
        self.is_first = false;
        self.to = column.end;
    }
}

/// A value, and whether the document has it as it stands.
struct Value {
    end: usize,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it stands.
    Same,
    /// A string with escapes that are not the document's.
    Escaped,
    /// A number that not every reader has: it becomes a string.
    Text,
}

/// Room for so many names is made at once.
const USUAL_COLUMNS: usize = 16;

impl Reader<'_> {
    /// The next byte that is no blank.
    fn meant(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is.then_some(())
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads a row that has the columns of the row before, without blanks, and values that the document has as they
    /// stand: whether it does. All rows of a host do, so this is most of what is done for a host.
    fn row_as_before(&mut self, text: &mut String) -> bool {
        let length = text.len();
        let read = self.copied_as_before(text);
        match read {
            Some(end) => self.at = end,
            None => text.truncate(length),
        }
        read.is_some()
    }

    fn copied_as_before(&self, text: &mut String) -> Option<usize> {
        self.names.columns.first()?;
        text.push('{');
        let (mut at, mut name_from) = (self.at, 0);
        let mut piece = Piece::at(at);
        for column in &self.names.columns {
            let name = &self.names.text[name_from..column.end];
            let apart = if name_from == 0 { b'{' } else { b',' };
            name_from = column.end;
            let (here, rest) = self.bytes.get(at..)?.split_first()?;
            if *here != apart || !rest.starts_with(name) {
                return None;
            }
            let begin = at + 1;
            at = begin + name.len();
            let value = self.value(at)?;
            if value.form != Form::Same {
                return None;
            }
            at = value.end;
            if !column.is_added {
                piece.take(begin..at, self.json, text);
            }
        }
        text.push_str(&self.json[piece.from..piece.to]);
        text.push('}');
        (self.bytes.get(at) == Some(&b'}')).then_some(at + 1)
    }

    /// Reads a row, and appends what the document has of it.
    fn row(&mut self, text: &mut String) -> Option<()> {
        self.take(b'{')?;
        text.push('{');
        self.blanks();
        self.names.begin();
        if self.take(b'}').is_some() {
            self.names.end();
            text.push('}');
            return Some(());
        }
        let mut piece = Piece::at(self.at);
        loop {
            let begin = self.at;
            let (is_added, name_end) = match self.names.usual(&self.bytes[begin..]) {
                Some((length, is_added)) => {
                    // The colon is part of what was compared.
                    self.at = begin + length + 1;
                    (is_added, begin + length)
                }
                None => {
                    let is_added = self.name()?;
                    let name_end = self.at;
                    self.blanks();
                    self.take(b':')?;
                    (is_added, name_end)
                }
            };
            self.meant()?;
            let value = self.value(self.at)?;
            if is_added && value.form == Form::Escaped {
                serde_json::from_str::<IgnoredAny>(&self.json[self.at..value.end]).ok()?;
            }
            if !is_added {
                piece.take(begin..value.end, self.json, text);
                let apart = self.at != name_end + 1;
                if apart || value.form != Form::Same {
                    text.push_str(&self.json[piece.from..name_end]);
                    text.push(':');
                    let json = &self.json[self.at..value.end];
                    match value.form {
                        Form::Same => text.push_str(json),
                        Form::Escaped => {
                            push_string(text, &serde_json::from_str::<Text<'_>>(json).ok()?.0);
                        }
                        Form::Text => push_string(text, json),
                    }
                    piece.from = piece.to;
                }
            }
            self.at = value.end;
            match self.meant()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
            self.meant()?;
        }
        self.at += 1;
        text.push_str(&self.json[piece.from..piece.to]);
        text.push('}');
        self.names.end();
        Some(())
    }

    /// Reads the name of a column that is not the next of the row before; whether the column is left out.
    fn name(&mut self) -> Option<bool> {
        let end = string(self.bytes, self.at)?;
        let name = &self.json[self.at + 1..end - 1];
        self.at = end;
        let is_added = self.added.contains(&name);
        self.names.take(name, is_added)?;
        Some(is_added)
    }

    /// The value that stands here.
    fn value(&self, at: usize) -> Option<Value> {
        let same = |end| Value {
            end,
            form: Form::Same,
        };
        let rest = self.bytes.get(at..)?;
        match rest.first()? {
            b'"' => text(self.bytes, at),
            b'n' if rest.starts_with(b"null") => Some(same(at + 4)),
            b't' if rest.starts_with(b"true") => Some(same(at + 4)),
            b'f' if rest.starts_with(b"false") => Some(same(at + 5)),
            b'-' | b'0'..=b'9' => {
                let is_part =
                    |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = at + rest.iter().take_while(is_part).count();
                let number = &self.json[at..end];
                serde_json::from_str::<IgnoredAny>(number).ok()?;
                let form = match is_readable(number) {
                    true => Form::Same,
                    false => Form::Text,
                };
                Some(Value { end, form })
            }
            _ => None,
        }
    }
}

/// The end of a string without any escape.
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?.strip_prefix(b"\"")?;
    let length = plain(rest);
    (rest.get(length) == Some(&b'"')).then_some(at + length + 2)
}

/// A string, and whether its escapes are those of the document.
fn text(bytes: &[u8], begin: usize) -> Option<Value> {
    let mut at = begin + 1;
    let mut form = Form::Same;
    loop {
        at += plain(&bytes[at..]);
        match bytes.get(at)? {
            b'"' => return Some(Value { end: at + 1, form }),
            b'\\' => {
                if !matches!(bytes.get(at + 1)?, b'"' | b'\\' | b'n' | b'r' | b't') {
                    form = Form::Escaped;
                }
                at += 2;
            }
            _ => return None,
        }
    }
}

/// The names of the columns of this row, and those of the row before that it has not come to: all rows of a host
/// have the same.
#[derive(Default)]
struct Names {
    /// `"name":"name":…`
    text: Vec<u8>,
    columns: Vec<Column>,
    /// How many this row has.
    now: usize,
    /// Those of them that the document has.
    kept: usize,
    /// Those of this row, once there are more than [`FEW_COLUMNS`] and they are not those of the row before. The
    /// names are a server's, so the hash is one that nobody can choose collisions for.
    known: HashSet<Box<str>>,
    /// How many names are in `known`.
    hashed: usize,
}

/// A column's name in [`Names::text`].
#[derive(Clone, Copy)]
struct Column {
    end: usize,
    /// Whether the server added it, so that the document has it not.
    is_added: bool,
}

impl Names {
    fn begin(&mut self) {
        self.now = 0;
        self.kept = 0;
        self.known.clear();
        self.hashed = 0;
    }

    fn place(&self, index: usize) -> Range<usize> {
        let from = match index {
            0 => 0,
            _ => self.columns[index - 1].end,
        };
        from..self.columns[index].end
    }

    /// A name with its quotation marks and its colon, without them; nothing where the server added it.
    fn name(&self, index: usize) -> Option<&[u8]> {
        let name = &self.text[self.place(index)];
        (!self.columns[index].is_added).then(|| &name[1..name.len() - 2])
    }

    /// Whether the next column is that of the row before: how long its name is, and whether the server added it.
    fn usual(&mut self, bytes: &[u8]) -> Option<(usize, bool)> {
        let Column { end, is_added } = *self.columns.get(self.now)?;
        let from = self
            .now
            .checked_sub(1)
            .map_or(0, |before| self.columns[before].end);
        let name = &self.text[from..end];
        if !bytes.starts_with(name) {
            return None;
        }
        self.now += 1;
        self.kept += usize::from(!is_added);
        Some((name.len() - 1, is_added))
    }

    /// Takes a name that is not the next of the row before; `None` where the row has it already, or has too many.
    fn take(&mut self, name: &str, is_added: bool) -> Option<()> {
        self.forget_the_rest();
        if self.kept == MOST_COLUMNS || self.now == 2 * MOST_COLUMNS {
            return None;
        }
        if !is_added && self.has(name)? {
            return None;
        }
        self.text.push(b'"');
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
        let end = self.text.len();
        self.columns.push(Column { end, is_added });
        self.now += 1;
        self.kept += usize::from(!is_added);
        Some(())
    }

    /// Whether the row has this name already.
    fn has(&mut self, name: &str) -> Option<bool> {
        if self.now <= FEW_COLUMNS {
            let mut known = (0..self.now).filter_map(|index| self.name(index));
            return Some(known.any(|known| known == name.as_bytes()));
        }
        for index in self.hashed..self.now {
            if let Some(known) = self.name(index) {
                let known = std::str::from_utf8(known).ok()?.into();
                self.known.insert(known);
            }
        }
        self.hashed = self.now;
        Some(self.known.contains(name))
    }

    fn forget_the_rest(&mut self) {
        if self.now < self.columns.len() {
            self.columns.truncate(self.now);
            let end = self.columns.last().map_or(0, |last| last.end);
            self.text.truncate(end);
        }
    }

    fn end(&mut self) {
        self.forget_the_rest();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{BLANKS, any};
    use super::*;

    const ADDED: &[&str] = &["a", "host"];

    fn usually(json: &str, keep: Keep) -> Option<(String, Rows)> {
        let (mut text, mut rows) = (String::new(), Rows::none());
        let at = json.len() - json.trim_start_matches(BLANKS).len();
        let end = read(json, at, ADDED, keep, &mut text, &mut rows)?;
        json[end..]
            .trim_start_matches(BLANKS)
            .is_empty()
            .then_some((text, rows))
    }

    fn anyhow(json: &str, keep: Keep) -> Option<(String, Rows)> {
        let (mut text, mut rows) = (String::new(), Rows::none());
        any::read(json, ADDED, keep, &mut text, &mut rows, None).ok()?;
        Some((text, rows))
    }

    const ALL: Keep = Keep {
        rows: usize::MAX,
        bytes: usize::MAX,
    };

    #[test]
    fn what_servers_write_is_not_read_twice() {
        for (json, expected) in [
            ("[]", ""),
            (" [ ] ", ""),
            ("[{}]", "{}"),
            (
                r#"[{"b":"1","c":"2"},{"b":"3","c":"4"}]"#,
                r#"{"b":"1","c":"2"},{"b":"3","c":"4"}"#,
            ),
            (
                r#"[{"a":"x","b":"1","host":"y","c":"2"}]"#,
                r#"{"b":"1","c":"2"}"#,
            ),
            (
                r#"[{"b":"1","a":"x"},{"a":null},{"c":2,"b":true}]"#,
                r#"{"b":"1"},{},{"c":2,"b":true}"#,
            ),
            (
                r#"[{"b":"\u003c\/\"\\","c":"\u003e","d":"1"}]"#,
                r#"{"b":"</\"\\","c":">","d":"1"}"#,
            ),
            (
                r#"[{"b":1e400,"c":-1.50,"d":99999999999999999999}]"#,
                r#"{"b":"1e400","c":-1.50,"d":"99999999999999999999"}"#,
            ),
            (
                "[\n  {\n    \"b\" : \"1\",\n    \"c\":\t2\n  }\n]\n",
                r#"{"b":"1","c":2}"#,
            ),
        ] {
            let (text, _) = usually(json, ALL).unwrap_or_else(|| panic!("{json}"));
            assert_eq!(text, expected, "{json}");
        }
    }

    #[test]
    fn what_it_can_not_copy_is_left_to_the_other() {
        for json in [
            "",
            "null",
            "[",
            "[{]",
            "[{}",
            "[{}]]",
            "[{},]",
            r#"[{"b":1,}]"#,
            r#"[{"b":"1","b":"2"}]"#,
            r#"[{"\u0062":"1"}]"#,
            r#"[{"b":[1]}]"#,
            r#"[{"a":{}}]"#,
            r#"[{"b":01}]"#,
            r#"[{"b":1-2}]"#,
            r#"[{"b":nul}]"#,
            r#"[{"b":"\ud800"}]"#,
            r#"[{"b":"\x"}]"#,
            r#"[{"a":"\x"}]"#,
            r#"[{"a":"\u12"}]"#,
            "[{\"b\":\"\n\"}]",
        ] {
            assert_eq!(usually(json, ALL), None, "{json}");
        }
    }

    fn piece() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "",
            " ",
            "\n",
            ",",
            ",,",
            ":",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "\\",
            "\\u00",
            "\\ud83d",
            "7",
            "-",
            "e9",
            "null",
            "tru",
            "\"a\":1,",
            "\"b\":\"\",",
            "\u{e9}",
            "\u{1f600}",
        ])
        .prop_map(str::to_owned)
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "\"[a-z ]{0,20}\"",
            2 => "\"(\\PC{0,3}|\\\\[\"\\\\/bfnrt]|\\\\u00[0-9a-f]{2}){0,6}\"",
            1 => "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
            1 => prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_owned),
        ]
    }

    fn blank() -> impl Strategy<Value = &'static str> {
        prop_oneof![9 => Just(""), 1 => Just(" "), 1 => Just("\n\t")]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_048))]

        /// Whatever both read, they read alike; and rows without oddities are read by this one.
        #[test]
        fn says_the_same_as_the_other(
            rows in prop::collection::vec(
                prop::collection::vec((0_usize..30, value(), blank(), blank()), 0..9), 0..6,
            ),
            usual_names in any::<bool>(),
            kept in 0_usize..9,
            bytes in 2_usize..400,
            damage in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), piece())),
        ) {
            let names = ["a", "host", "pid", "name", "path"];
            let rows: Vec<String> = rows.iter().map(|row| {
                let columns = row.iter().enumerate().map(|(at, (name, value, one, other))| {
                    let name = match (usual_names, names.get(*name)) {
                        (true, _) => format!("c{at}"),
                        (false, Some(name)) => (*name).to_owned(),
                        (false, None) => format!("x{name}"),
                    };
                    format!("{one}\"{name}\"{other}:{one}{value}{other}")
                });
                format!("{{{}}}", columns.collect::<Vec<_>>().join(","))
            }).collect();
            let mut json = format!("[{}]", rows.join(","));
            if let Some((from, to, piece)) = &damage {
                let places: Vec<usize> = json.char_indices().map(|(at, _)| at).collect();
                let (from, to) = (*from.get(&places), *to.get(&places));
                json.replace_range(from.min(to)..to.max(from), piece.as_str());
            }
            for keep in [ALL, Keep { rows: kept, bytes }] {
                let (here, there) = (usually(&json, keep), anyhow(&json, keep));
                if here.is_some() || damage.is_none() && usual_names {
                    prop_assert_eq!(&here, &there, "{}", json);
                }
            }
        }
    }
}
