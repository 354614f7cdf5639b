//! SQL cut into its words as SQLite cuts it, for what only the text shows: which strings are written in it,
//! and where a name stands. What a statement reads and does is never taken from here; SQLite says that.

/// A word, a sign or a literal of SQL; spaces and comments are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    /// What it is.
    pub(super) kind: Kind,
    /// As it is written, quotes included.
    pub(super) written: &'a str,
    /// Where it begins, in bytes.
    pub(super) at: usize,
}

/// What a word of SQL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, or a name without quotes.
    Bare,
    /// A name in quotes: `"a"`, `[a]` or a grave accent on both sides.
    Quoted,
    /// A string: `'a'`.
    Text,
    /// `:name`, `@name`, `$name` or `?`.
    Parameter,
    /// A number, or a blob: `x'00'`.
    Number,
    /// An operator or a bracket; `||` is one.
    Sign,
}

impl Word<'_> {
    /// Whether it is this keyword, whatever its case.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Bare && self.written.eq_ignore_ascii_case(keyword)
    }

    /// The name without its quotes; none where it is no name.
    pub(super) fn name(&self) -> Option<&str> {
        match self.kind {
            Kind::Bare => Some(self.written),
            Kind::Quoted => self.written.get(1..self.written.len() - 1),
            _ => None,
        }
    }

    /// What a string holds; none where it is no string.
    pub(super) fn text(&self) -> Option<String> {
        let inside = self.written.strip_prefix('\'')?.strip_suffix('\'')?;
        (self.kind == Kind::Text).then(|| inside.replace("''", "'"))
    }
}

/// The words of SQL in their order. What does not end (a string without its second quote) goes to the end.
pub(super) fn words(sql: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let (kind, length) = next(first, rest);
        if let Some(kind) = kind {
            words.push(Word {
                kind,
                written: &rest[..length],
                at,
            });
        }
        at += length;
    }
    words
}

/// What the text begins with, and its length in bytes; no kind for spaces and comments.
fn next(first: char, text: &str) -> (Option<Kind>, usize) {
    let up_to = |end: &str, from: usize| {
        let found = text[from..].find(end);
        found.map_or(text.len(), |place| from + place + end.len())
    };
    let run = |from: usize, fits: fn(char) -> bool| {
        let found = text[from..].find(|sign| !fits(sign));
        found.map_or(text.len(), |place| from + place)
    };
    match first {
        _ if text.starts_with("--") => (None, up_to("\n", 2)),
        _ if text.starts_with("/*") => (None, up_to("*/", 2)),
        _ if text.starts_with("||") => (Some(Kind::Sign), 2),
        _ if text.starts_with("x'") || text.starts_with("X'") => {
            (Some(Kind::Number), up_to("'", 2))
        }
        '\'' => (Some(Kind::Text), quoted(text, '\'')),
        '"' | '`' => (Some(Kind::Quoted), quoted(text, first)),
        '[' => (Some(Kind::Quoted), up_to("]", 1)),
        ':' | '@' | '$' | '?' => (Some(Kind::Parameter), run(1, is_part)),
        '0'..='9' => (
            Some(Kind::Number),
            run(1, |sign| is_part(sign) || sign == '.'),
        ),
        _ if is_part(first) => (Some(Kind::Bare), run(first.len_utf8(), is_part)),
        _ if first.is_whitespace() => (None, first.len_utf8()),
        _ => (Some(Kind::Sign), first.len_utf8()),
    }
}

/// The length of what stands in quotes; a quote twice is one of what it holds.
fn quoted(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(place) = text[at..].find(quote) {
        at += place + 1;
        if !text[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    text.len()
}

fn is_part(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_' || !sign.is_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Kind, words};

    fn cut(sql: &str) -> Vec<(Kind, &str)> {
        words(sql)
            .into_iter()
            .map(|word| (word.kind, word.written))
            .collect()
    }

    #[test]
    fn cuts_as_sqlite_does() {
        use Kind::{Bare, Number, Parameter, Quoted, Sign, Text};
        for (sql, expected) in [
            (
                "SELECT a.b",
                vec![(Bare, "SELECT"), (Bare, "a"), (Sign, "."), (Bare, "b")],
            ),
            ("x -- y 'z'\n w", vec![(Bare, "x"), (Bare, "w")]),
            ("x /* 'y' */ w", vec![(Bare, "x"), (Bare, "w")]),
            ("'it''s' 'b", vec![(Text, "'it''s'"), (Text, "'b")]),
            (
                "\"a b\" [c d] `e`",
                vec![(Quoted, "\"a b\""), (Quoted, "[c d]"), (Quoted, "`e`")],
            ),
            (
                ":a@b$c?1",
                vec![
                    (Parameter, ":a"),
                    (Parameter, "@b"),
                    (Parameter, "$c"),
                    (Parameter, "?1"),
                ],
            ),
            (
                "1.5 0x1F x'00'",
                vec![(Number, "1.5"), (Number, "0x1F"), (Number, "x'00'")],
            ),
            ("a||'b'", vec![(Bare, "a"), (Sign, "||"), (Text, "'b'")]),
            ("a-1", vec![(Bare, "a"), (Sign, "-"), (Number, "1")]),
        ] {
            assert_eq!(cut(sql), expected, "{sql}");
        }
        assert_eq!(words("'it''s'")[0].text().as_deref(), Some("it's"));
        assert_eq!(words("[a b]")[0].name(), Some("a b"));
        assert_eq!(words("'a'")[0].name(), None);
        assert!(words("like")[0].is("LIKE"));
    }

    proptest! {
        #[test]
        fn every_text_is_cut_in_order(sql in "[ -~\n\u{e9}]{0,60}") {
            let mut end = 0;
            for word in words(&sql) {
                prop_assert!(word.at >= end && !word.written.is_empty());
                prop_assert_eq!(&sql[word.at..word.at + word.written.len()], word.written);
                end = word.at + word.written.len();
            }
        }

        #[test]
        fn a_string_is_read_as_it_was_written(text in "[ -~\u{e9}]{0,30}") {
            let sql = format!("a '{}' b", text.replace('\'', "''"));
            prop_assert_eq!(words(&sql)[1].text(), Some(text));
        }
    }
}
