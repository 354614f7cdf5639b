//! Saved queries as Fleet's GitOps file (YAML): what an observer's token may run, and no more.

use crate::servers::export::ExportedQuery;

/// Observers may run the queries, and nothing runs them by itself (`interval: 0`).
pub fn file(saved: &[ExportedQuery<'_>]) -> String {
    let mut text = "\
# Written by `osquery-live-query templates export --format fleet`: queries that observers may run.
# For GitOps: belongs into default.yml or a fleet's file; from Fleet 4.82 on the key is called `reports`.
queries:
"
    .to_owned();
    for one in saved {
        text.push_str(&format!(
            "  - name: {}\n    description: {}\n    query: {}\n    platform: {}\n    interval: 0\n    observer_can_run: true\n",
            quoted(one.name),
            quoted(one.intent),
            block(one.sql, "      "),
            one.platforms
        ));
    }
    text
}

/// Text as a YAML block where every reader of YAML gives it back to the letter, else in quotes.
fn block(text: &str, indent: &str) -> String {
    let plain = |sign: char| sign == '\n' || sign == ' ' || sign.is_ascii_graphic();
    let first = text.chars().next();
    let fits = text.chars().all(plain)
        && first.is_some_and(|first| first.is_ascii_graphic())
        && !text.ends_with('\n');
    if !fits {
        return quoted(text);
    }
    let lines = text.split('\n').map(|line| {
        if line.is_empty() {
            "\n".to_owned()
        } else {
            format!("\n{indent}{line}")
        }
    });
    format!("|-{}", lines.collect::<String>())
}

/// Text as a scalar of YAML 1.1 and 1.2 alike, whatever it holds.
fn quoted(text: &str) -> String {
    let mut written = String::from("\"");
    for sign in text.chars() {
        match sign {
            '"' | '\\' => written.extend(['\\', sign]),
            ' ' => written.push(sign),
            _ if sign.is_ascii_graphic() => written.push(sign),
            _ => written.push_str(&format!("\\U{:08X}", u32::from(sign))),
        }
    }
    written.push('"');
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{block, quoted};

    proptest! {
        /// Whatever stands in SQL, the file holds it to the letter.
        #[test]
        fn text_survives_yaml(text in "[ -~\n\té\u{85}\u{2028}\u{1F600}]{1,60}") {
            let file = format!("a:\n  - b: {}\n    c: {}\n    d: 1\n", block(&text, "      "), quoted(&text));
            let read: serde_json::Value = serde_saphyr::from_str(&file).map_err(|error| {
                TestCaseError::fail(format!("{file}: {error}"))
            })?;
            prop_assert_eq!(&read["a"][0]["b"], text.as_str());
            prop_assert_eq!(&read["a"][0]["c"], text.as_str());
            prop_assert_eq!(&read["a"][0]["d"], 1);
        }
    }
}
