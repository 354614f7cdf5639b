//! Lines of a file as a report may show them: what may be a credential is masked, whatever the finding is
//! about. Where the file can't be read as YAML or JSON, nothing can be told apart: then a line is shown
//! only if no word of the whole file speaks of credentials.

use crate::input::{Document, decode_file};
use crate::path::is_plain_name;
use crate::problem::Position;
use crate::secret::REDACTED;
use crate::step::is_only_a_reference;

/// What the names of keys that hold credentials have in them.
const WORDS: [&str; 9] = [
    "token",
    "pass",
    "secret",
    "credential",
    "username",
    "api_key",
    "apikey",
    "private",
    "authorization",
];

/// Characters of a line that are shown at most.
const WIDTH: usize = 120;

/// A file's lines with masks.
pub(super) struct Lines<'a> {
    lines: Vec<&'a str>,
    /// From where to where nothing is shown; in order.
    masks: Vec<(Position, Option<Position>)>,
    shown: bool,
}

/// A line as it may be shown, and the caret's column in it, from zero.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub text: String,
    pub caret: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // JSON's places are not kept; as YAML they are, and JSON is nearly always YAML.
        let document = decode_file(text.as_bytes())
            .ok()
            .and_then(|document| places_of(document, text));
        let (masks, shown) = match document {
            Some(document) => (masks(&document), true),
            None => (Vec::new(), !speaks_of_credentials(text)),
        };
        Self {
            lines: text.lines().collect(),
            masks,
            shown,
        }
    }

    /// The line of a place; nothing where it may not be shown or there is none.
    pub(super) fn shown(&self, line: usize, column: usize) -> Option<Shown> {
        let text = self.lines.get(line.checked_sub(1)?)?;
        if !self.shown && !is_key_and_reference(text) {
            return None;
        }
        let mut letters: Vec<char> = text
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        // From the end, so that columns before stay.
        for (from, to) in self.masks.iter().rev() {
            let begins = match from.line.cmp(&line) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => from.column - 1,
                std::cmp::Ordering::Greater => continue,
            };
            let ends = match to {
                Some(to) if to.line < line => continue,
                Some(to) if to.line == line => to.column - 1,
                _ => letters.len(),
            };
            let (begins, ends) = (begins.min(letters.len()), ends.min(letters.len()));
            let blank = letters.get(begins..ends).unwrap_or_default();
            if !blank.iter().all(|letter| letter.is_whitespace()) {
                letters.splice(begins..ends, REDACTED.chars());
            }
        }
        let caret = (column.max(1) - 1).min(letters.len());
        let begins = caret.saturating_sub(WIDTH / 2);
        let cut = letters.len() > WIDTH;
        let begins = if cut { begins } else { 0 };
        let part: String = letters.iter().skip(begins).take(WIDTH).collect();
        if part.trim().is_empty() {
            return None;
        }
        Some(Shown {
            text: part.trim_end().to_owned(),
            caret: caret - begins,
        })
    }
}

fn places_of(document: Document, text: &str) -> Option<Document> {
    if document.starts().is_empty() {
        crate::input::decode_as_yaml(text).ok()
    } else {
        Some(document)
    }
}

fn is_sensitive(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word))
}

/// Where scalars stand that may be credentials, each up to the next key or value.
fn masks(document: &Document) -> Vec<(Position, Option<Position>)> {
    let starts = document.starts();
    let mut masks: Vec<(Position, Option<Position>)> = document
        .scalars(&is_sensitive)
        .into_iter()
        .filter(|(_, text, sensitive)| {
            let in_url = text.contains("://") && text.contains('@');
            in_url
                || *sensitive && !text.is_empty() && !is_only_a_reference(text)
                || *sensitive && text.is_empty()
        })
        .map(|(at, _, _)| {
            let next =
                starts.partition_point(|start| (start.line, start.column) <= (at.line, at.column));
            (at, starts.get(next).copied())
        })
        .collect();
    masks.sort_by_key(|(at, _)| (at.line, at.column));
    masks
}

/// Whether a line is a key and a reference, and nothing else: that can be told without the rest of its file.
fn is_key_and_reference(line: &str) -> bool {
    let line = line.trim().trim_start_matches("- ").trim_end_matches(',');
    let unquoted = |text: &str| {
        let text = text.trim();
        let quoted = ['"', '\''].into_iter().find_map(|quote| {
            let text = text.strip_prefix(quote)?.strip_suffix(quote)?;
            (!text.contains(quote)).then(|| text.to_owned())
        });
        quoted.unwrap_or_else(|| text.to_owned())
    };
    line.split_once(':').is_some_and(|(key, value)| {
        is_plain_name(&unquoted(key)) && is_only_a_reference(&unquoted(value))
    })
}

fn speaks_of_credentials(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    WORDS.iter().any(|word| text.contains(word)) || text.contains('@') && text.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str, line: usize, column: usize) -> Option<(String, usize)> {
        let shown = Lines::of(text).shown(line, column);
        shown.map(|shown| (shown.text, shown.caret))
    }

    #[test]
    fn credentials_are_masked() {
        for (text, line, expected) in [
            (
                "params: {api_token: hunter2, template: x}",
                1,
                "params: {api_token: [redacted]template: x}",
            ),
            (
                "api_token: \"{{ secrets.a }}\"",
                1,
                "api_token: \"{{ secrets.a }}\"",
            ),
            ("password: |\n  hunter2\n  hunter3\nid: a", 1, "password: |"),
            ("password: |\n  hunter2\n  hunter3\nid: a", 3, "[redacted]"),
            ("password: |\n  hunter2\nid: a", 3, "id: a"),
            ("slack_token:\n  hunter2", 2, "  [redacted]"),
            ("base_url: https://me:hunter2@h", 1, "base_url: [redacted]"),
            (
                "api_token: \"{{ secret.a }}\"",
                1,
                "api_token: \"{{ secret.a }}\"",
            ),
            (
                "password: '{{ secrets.a }'",
                1,
                "password: '{{ secrets.a }'",
            ),
            (
                "password: \"{{ secrets.a | default('hunter2') }}\"",
                1,
                "password: [redacted]",
            ),
            ("password: '{hunter2}'", 1, "password: [redacted]"),
            ("password: '{{ hunter2 }}'", 1, "password: [redacted]"),
            (
                "password: 'hunter2{{ secrets.a }}'",
                1,
                "password: [redacted]",
            ),
            (
                "{\"params\": {\"password\": \"hunter2\", \"template\": \"x\"}}",
                1,
                "{\"params\": {\"password\": [redacted]\"template\": \"x\"}}",
            ),
            ("x: &p hunter2\npassword: *p", 1, "x: &p [redacted]"),
            ("secrets: {a: hunter2}", 1, "secrets: {a: [redacted]"),
        ] {
            let line = shown(text, line, 1).map(|(line, _)| line);
            assert_eq!(line.as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_file_that_cant_be_read_shows_lines_only_without_credentials() {
        assert_eq!(shown("a: [\nb: c", 1, 4), Some(("a: [".into(), 3)));
        assert_eq!(shown("a: [\npassword: c", 1, 4), None);
        let text = "a: [\npassword: {{ secrets.x }}\ntoken: {{ secrets.x }} hunter2";
        let line = "password: {{ secrets.x }}";
        assert_eq!(shown(text, 2, 11), Some((line.into(), 10)));
        assert_eq!(shown(text, 3, 8), None);
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("a: {}b", "x".repeat(500));
        let (line, caret) = shown(&text, 1, 400).unwrap();
        assert_eq!((line.chars().count(), caret), (WIDTH, 60));
        assert_eq!(shown("a: 1", 7, 1), None);
        assert_eq!(shown("a: 1", 1, 90), Some(("a: 1".into(), 4)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn a_password_is_never_shown(
            before in "[a-z]{1,6}", after in "[a-z]{1,6}", secret in "Z[a-zA-Z0-9 ]{3,20}Z",
            form in 0usize..5, column in 1usize..80,
        ) {
            let value = match form {
                0 => secret.clone(),
                1 => format!("'{secret}'"),
                2 => format!("\"{secret}\""),
                3 => format!("|\n    {secret}"),
                _ => format!(">-\n    {secret}\n    {secret}"),
            };
            let text = format!("{before}a:\n  password: {value}\n  {after}b: 1\n");
            let lines = Lines::of(&text);
            for line in 1..8 {
                if let Some(shown) = lines.shown(line, column) {
                    prop_assert!(!shown.text.contains(&secret), "{}", shown.text);
                }
            }
        }
    }
}
