//! "Did you mean": the likely name where a name is unknown. Knows nothing of where names come from.

use std::fmt::Display;
use std::net::IpAddr;

/// Names of more bytes are no typing errors, and comparing them would take long.
const LONGEST: usize = 64;

/// The nearest of the known names, if it is near enough to be meant. Upper and lower case are the same;
/// a third of the shorter name's characters may differ, and one always may.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let wanted = name.to_lowercase();
    known
        .into_iter()
        .filter_map(|candidate| Some((near(&wanted, &candidate.to_lowercase())?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The name of a host that resembles an unknown one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearHost {
    /// The name.
    pub name: String,
    /// It may be what was meant; not where the names differ in their numbers only, as those of two machines.
    pub likely: bool,
}

/// Names of hosts that resemble this one, the likeliest first: those that are the same before the first dot
/// or but for zeros before a number, those that are near, those that hold it or stand in it.
pub(crate) fn hosts<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    most: usize,
) -> Vec<NearHost> {
    if name.len() > LONGEST_HOST {
        return Vec::new();
    }
    let wanted = HostName::of(name);
    let mut found: Vec<(Likeness, &str)> = known
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST_HOST)
        .filter_map(|candidate| Some((likeness(&wanted, &HostName::of(candidate))?, candidate)))
        .collect();
    found.sort_unstable();
    found.truncate(most);
    let near = found.into_iter().map(|(likeness, name)| NearHost {
        name: name.to_owned(),
        likely: !matches!(likeness, Likeness::Numbers(_)),
    });
    near.collect()
}

/// No name of a host is longer (RFC 1035).
const LONGEST_HOST: usize = 255;
/// What is shorter stands in too many names, and is near too many.
const SHORTEST_PART: usize = 3;

/// How the names of two hosts are alike, and how far they are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    Same,
    Near(usize),
    Part(usize),
    Numbers(usize),
}

/// A host's name, in lower case.
struct HostName {
    whole: String,
    /// Where its first label ends.
    short: usize,
}

impl HostName {
    fn of(name: &str) -> Self {
        let whole = name.to_lowercase();
        // The beginning of an address is nobody's name.
        let short = match whole.parse::<IpAddr>() {
            Ok(_) => None,
            Err(_) => whole.find('.'),
        };
        let short = short.unwrap_or(whole.len());
        Self { whole, short }
    }

    fn short(&self) -> &str {
        &self.whole[..self.short]
    }
}

fn likeness(wanted: &HostName, other: &HostName) -> Option<Likeness> {
    let (one, two) = (wanted.short(), other.short());
    if one.len() < SHORTEST_PART || two.len() < SHORTEST_PART {
        return (one == two && !one.is_empty()).then_some(Likeness::Same);
    }
    if one == two || without_zeros(one).eq(without_zeros(two)) {
        return Some(Likeness::Same);
    }
    let letters = |text: &str| -> String {
        let letters = text.chars().filter(|it| !it.is_ascii_digit());
        letters.collect()
    };
    let distance = near(one, two);
    let holds = wanted.whole.contains(two) || other.whole.contains(one);
    let apart = wanted.whole.len().abs_diff(other.whole.len());
    match distance {
        // Whoever types a name wrong rarely hits nothing but digits.
        _ if letters(one) == letters(two) => {
            let distance = distance.or(holds.then_some(apart))?;
            Some(Likeness::Numbers(distance))
        }
        Some(distance) => Some(Likeness::Near(distance)),
        None => holds.then_some(Likeness::Part(apart)),
    }
}

/// The characters, but for zeros at the beginning of a number.
fn without_zeros(name: &str) -> impl Iterator<Item = char> {
    let mut characters = name.chars().peekable();
    let mut in_number = false;
    std::iter::from_fn(move || {
        loop {
            let character = characters.next()?;
            let digit = character.is_ascii_digit();
            let more = characters.peek().is_some_and(char::is_ascii_digit);
            if character == '0' && !in_number && more {
                continue;
            }
            in_number = digit;
            return Some(character);
        }
    })
}

/// How many characters differ, where they are few enough for a typing error: a third of the shorter name's
/// may, and one always.
fn near(name: &str, other: &str) -> Option<usize> {
    if name.len() > LONGEST || other.len() > LONGEST {
        return None;
    }
    let (length, other_length) = (name.chars().count(), other.chars().count());
    let allowed = (length.min(other_length) / 3).max(1);
    // So many differ at least; most names are told apart by that.
    if length.abs_diff(other_length) > allowed {
        return None;
    }
    let distance = strsim::damerau_levenshtein(name, other);
    (distance <= allowed).then_some(distance)
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

    #[test]
    fn hosts_that_resemble_a_name_are_told_from_its_neighbours() {
        let known = [
            "web-01.corp.example.com",
            "web-02",
            "web-03",
            "database-7",
            "WIN-DESKTOP",
            "10.0.0.7",
            "db",
        ];
        for (name, near) in [
            (
                "web-01",
                &["web-01.corp.example.com", "!web-02", "!web-03"][..],
            ),
            ("web-1", &["web-01.corp.example.com"]),
            ("wbe-02", &["web-02", "web-01.corp.example.com", "web-03"]),
            (
                "web-02.other.example.com",
                &["web-02", "!web-01.corp.example.com", "!web-03"],
            ),
            ("win-dekstop", &["WIN-DESKTOP"]),
            ("database-77", &["!database-7"]),
            ("database-7-old-and-renamed", &["database-7"]),
            ("10.0.0.8", &["!10.0.0.7"]),
            ("db.example.com", &["db"]),
            ("dc", &[]),
            ("", &[]),
            ("nothing-like-it", &[]),
        ] {
            let found: Vec<String> = hosts(name, known, 5)
                .into_iter()
                .map(|near| format!("{}{}", if near.likely { "" } else { "!" }, near.name))
                .collect();
            assert_eq!(found, near, "{name}");
        }
        assert_eq!(hosts("web-01", known, 1).len(), 1);
        assert_eq!(hosts(&"x".repeat(1 << 20), known, 5), []);
    }
}
