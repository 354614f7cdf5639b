//! "Did you mean": the likely name where a name is unknown. Knows nothing of where names come from.

use std::fmt::Display;

/// Names of more bytes are no typing errors, and comparing them would take long.
const LONGEST: usize = 64;

/// The nearest of the known names, if it is near enough to be meant. Upper and lower case are the same;
/// a third of the shorter name's characters may differ, and one always may.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let wanted = name.to_lowercase();
    let length = name.chars().count();
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().min(length) / 3).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The question after the nearest name, without a mark before it; nothing where no name is near.
pub(crate) fn question<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|likely| asked(&likely))
}

/// The question after a name that is likely meant.
pub(crate) fn asked(likely: &dyn Display) -> String {
    format!("did you mean `{likely}`?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = [
            "timeout_seconds",
            "target_hosts",
            "template",
            "host",
            "ip",
            "running_processes",
            "Production",
            "Test",
        ];
        for (name, likely) in [
            ("tiemout_seconds", Some("timeout_seconds")),
            ("target_host", Some("target_hosts")),
            ("Template", Some("template")),
            ("hots", Some("host")),
            ("runing_processes", Some("running_processes")),
            ("Running-Processes", Some("running_processes")),
            ("prodution", Some("Production")),
            ("tset", Some("Test")),
            ("user", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), likely, "{name}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
        assert_eq!(nearest("host", [&*"x".repeat(1 << 20)]), None);
        assert_eq!(
            question("hots", known).as_deref(),
            Some("did you mean `host`?")
        );
    }
}
