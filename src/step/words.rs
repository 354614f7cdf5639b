//! The likely name where a name is unknown. Knows nothing of where names come from.

/// The nearest of the known names, if it is near enough to be meant.
pub(crate) fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Names of this size are no typing errors, and comparing them would take long.
    if name.len() > 64 {
        return None;
    }
    known
        .filter(|candidate| candidate.len() <= 64)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().min(name.chars().count()) / 3).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = || ["timeout_seconds", "target_hosts", "template", "host", "ip"].into_iter();
        for (name, likely) in [
            ("tiemout_seconds", Some("timeout_seconds")),
            ("target_host", Some("target_hosts")),
            ("Template", Some("template")),
            ("hots", Some("host")),
            ("user", None),
            ("x", None),
        ] {
            assert_eq!(near(name, known()), likely, "{name}");
        }
        assert_eq!(near(&"x".repeat(1 << 20), known()), None);
    }
}
