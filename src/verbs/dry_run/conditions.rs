//! Which steps a condition names. Conditions are the engine's to evaluate, in its own language: all that
//! is looked for is `steps.ID` and `steps['ID']` outside of quotes. Knows nothing of graphs.

use serde_json::Value;

/// The ids that a condition names, as they are written; a condition may be any structure of texts.
pub fn named_steps(condition: &Value) -> Vec<String> {
    let mut names = Vec::new();
    collect(condition, &mut names);
    names
}

fn collect(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::String(text) => scan(text, names),
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(entries) => entries.values().for_each(|item| collect(item, names)),
        _ => {}
    }
}

fn scan(text: &str, names: &mut Vec<String>) {
    let mut rest = text;
    let mut before = ' ';
    while let Some(letter) = rest.chars().next() {
        if matches!(letter, '\'' | '"') {
            rest = after_quotes(rest, letter);
            before = letter;
            continue;
        }
        if is_word(letter) {
            let (word, after) = split(rest, is_word);
            let begins = !is_word(before) && before != '.';
            before = letter;
            rest = after;
            if word == "steps"
                && begins
                && let Some((name, after)) = member(rest)
            {
                names.push(name);
                rest = after;
            }
            continue;
        }
        before = letter;
        rest = &rest[letter.len_utf8()..];
    }
}

/// `.ID` or `['ID']`, and what follows it.
fn member(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let (name, after) = split(rest, |letter| is_word(letter) || letter == '-');
        return (!name.is_empty()).then(|| (name.to_owned(), after));
    }
    let inside = text.strip_prefix('[')?.trim_start();
    let quote = inside.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let end = inside[1..].find(quote)?;
    Some((inside[1..=end].to_owned(), &inside[end + 2..]))
}

/// Whether a name is one of the ids; a `-` in it may be a minus of the engine's language.
pub fn is_known(name: &str, known: impl Fn(&str) -> bool) -> bool {
    let prefixes = name.match_indices('-').map(|(at, _)| &name[..at]);
    known(name) || prefixes.into_iter().any(known)
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn split(text: &str, is_part: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    text.split_at(end)
}

/// What follows a quoted text, or nothing where it does not end.
fn after_quotes(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            letter if letter == quote => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn steps_are_found_outside_of_quotes() {
        for (text, names) in [
            ("{{ steps.triage.partial == false }}", vec!["triage"]),
            ("steps['a b'].x and steps[\"c\"].y", vec!["a b", "c"]),
            ("not steps.find-procs.results", vec!["find-procs"]),
            ("alert.title == 'steps.none' or \"it's steps.none\"", vec![]),
            ("alert.steps.none and mysteps.none and steps", vec![]),
            ("'unclosed steps.none", vec![]),
            ("(steps.a.x|length) > steps.b-1", vec!["a", "b-1"]),
        ] {
            assert_eq!(named_steps(&json!(text)), names, "{text}");
        }
        let nested = json!({"all": ["steps.a.ok", {"not": "steps.b.ok"}, true]});
        assert_eq!(named_steps(&nested), ["a", "b"]);
    }

    #[test]
    fn a_hyphen_may_be_a_minus() {
        let known = |name: &str| ["a", "b-c"].contains(&name);
        assert!(is_known("a-1", known) && is_known("b-c", known) && is_known("b-c-1", known));
        assert!(!is_known("b", known) && !is_known("c-a", known));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_text_is_read_to_its_end(text in "\\PC{0,60}", id in "[a-z][a-z0-9_-]{0,8}") {
            named_steps(&json!(text));
            prop_assert_eq!(named_steps(&json!(format!("1 + steps.{id}.rows"))), [id]);
        }
    }
}
