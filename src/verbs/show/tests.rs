//! Any change of a document, in every format: refused, or shown without what acts on who looks at it.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::printable::is_hidden;

const SAMPLE: &str = include_str!("../../../tests/show/sample.json");

proptest! {
    #[test]
    fn whatever_is_shown_acts_on_nothing(
        format in prop::sample::select(ShowFormat::value_variants()),
        at in prop::sample::select(SAMPLE.match_indices('"').map(|(at, _)| at + 1).collect::<Vec<_>>()),
        out in 0_usize..3,
        put in "[=+@|<>`\\-]{0,3}\\PC{0,5}|\\\\u00(1b|0a|0d|09|7f)\\\\u202e|\",\"[a-z]{1,3}\":\"|\":\\{\"a\":\\[|\\],\"b\":\\[",
    ) {
        let text = format!("{}{put}{}", &SAMPLE[..at], &SAMPLE.get(at + out..).unwrap_or_default());
        match super::text(format, text.as_bytes()) {
            Ok(shown) => {
                let shown = String::from_utf8(shown).expect("UTF-8");
                let ends = |one: char| one == '\n' || (one == '\r' && format == ShowFormat::Csv);
                prop_assert_eq!(shown.chars().find(|one| is_hidden(*one) && !ends(*one)), None);
                match format {
                    ShowFormat::Rows | ShowFormat::Ocsf | ShowFormat::Ecs => {
                        prop_assert!(shown.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
                    }
                    ShowFormat::Markdown => prop_assert!(!shown.contains('<')),
                    ShowFormat::Csv => prop_assert!(shown.lines().all(|line| !line.starts_with(['=', '@']))),
                    ShowFormat::Table => prop_assert!(shown.lines().all(|line| !line.is_ascii() || line.len() <= 80)),
                }
            }
            Err(failure) => {
                prop_assert!(!failure.message.is_empty() && !failure.message.contains(is_hidden));
            }
        }
    }
}
