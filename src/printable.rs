//! Text of others made fit for a terminal, a log and a document: what moves a cursor, turns the writing
//! around or can't be seen is written out instead.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is invisible or acts on what is around it: control characters, bidirectional
/// overrides and isolates, zero-width characters, line and paragraph separators, tags
/// (Unicode 17, general categories Cc and Cf as far as they hide something).
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Whether a text is nothing but ASCII that can be seen, and blanks: most names are.
pub fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// The text with every hidden character written as `\u{…}` (`\n`, `\t` and `\r` by their short names).
pub fn printable(text: &str) -> Cow<'_, str> {
    if is_plain(text) || !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hidden(character) {
            // Writing to a String can't fail.
            let _ = match character {
                '\n' | '\r' | '\t' => write!(shown, "{}", character.escape_default()),
                other => write!(shown, "{}", other.escape_unicode()),
            };
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// The first characters of a text, at most so many bytes, and `…` where something was cut.
pub fn cut(text: &str, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let end = (0..=bytes.saturating_sub('…'.len_utf8()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    Cow::Owned(format!("{}…", &text[..end.unwrap_or(0)]))
}

/// Names that a line lists; more are counted.
const NAMES: usize = 5;
/// Bytes of a name in a line.
const NAME_BYTES: usize = 200;

/// The first names, each cut and made printable, and how many more there are: a line that does not grow
/// with its names.
pub fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let shown = names.iter().take(NAMES).map(|name| {
        let name = cut(name.as_ref(), NAME_BYTES);
        printable(&name).into_owned()
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if names.len() > NAMES {
        let _ = write!(text, " and {} more", names.len() - NAMES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_written_out() {
        for (text, shown) in [
            ("web-01 é 漢", "web-01 é 漢"),
            ("a\u{1b}[31mb\n\t", "a\\u{1b}[31mb\\n\\t"),
            (
                "x\u{202e}y\u{200b}z\u{feff}",
                "x\\u{202e}y\\u{200b}z\\u{feff}",
            ),
            ("\u{9b}\u{7f}\u{2028}", "\\u{9b}\\u{7f}\\u{2028}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn a_cut_is_never_longer_and_never_inside_a_character() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcdef", 5), "ab…");
        assert_eq!(cut("éééé", 6), "é…");
        assert_eq!(cut("éééé", 1), "…");
    }

    #[test]
    fn a_line_does_not_grow_with_its_names() {
        assert_eq!(listed(&["a", "b"]), "a, b");
        let many: Vec<String> = (0..1_000)
            .map(|n| format!("{n}{}", "x".repeat(60_000)))
            .collect();
        let line = listed(&many);
        assert!(
            line.len() < 1_100 && line.ends_with("… and 995 more"),
            "{line}"
        );
    }
}
