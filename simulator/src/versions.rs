//! How osquery's `version_compare` orders versions: generic, as dpkg does, and as rpm does. Pure.

use std::cmp::Ordering;

/// A flavour of versions, as the third argument of `version_compare` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// No third argument.
    Generic,
    /// `DPKG`: epoch, version and revision of Debian.
    Dpkg,
    /// `RHEL`: epoch, version and release of RPM.
    Rhel,
}

/// Which version is the greater one.
pub(crate) fn compare(one: &str, other: &str, flavor: Flavor) -> Ordering {
    match flavor {
        Flavor::Generic => generic(one, other),
        Flavor::Dpkg => by_parts(one, other, dpkg),
        Flavor::Rhel => by_parts(one, other, rpm),
    }
}

/// Compares runs of digits as numbers and the rest as text.
fn generic(one: &str, other: &str) -> Ordering {
    let parts = |version: &str| -> Vec<(Option<u64>, String)> {
        version
            .split(['.', '-', '+', ':', '_', '~'])
            .map(|part| (part.parse().ok(), part.to_owned()))
            .collect()
    };
    let (one, other) = (parts(one), parts(other));
    for (left, right) in one.iter().zip(&other) {
        let order = match (left.0, right.0) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left.1.cmp(&right.1),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    one.len().cmp(&other.len())
}

/// Epochs first, then versions, then what follows the last `-`.
fn by_parts(one: &str, other: &str, order: fn(&str, &str) -> Ordering) -> Ordering {
    fn parts(version: &str) -> (u64, &str, &str) {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or_default(), version, release)
    }
    let (one, other) = (parts(one), parts(other));
    one.0
        .cmp(&other.0)
        .then_with(|| order(one.1, other.1))
        .then_with(|| order(one.2, other.2))
}

/// Debian's order (`deb-version(7)`): `~` before everything, even the end; letters before other signs.
fn dpkg(one: &str, other: &str) -> Ordering {
    let weight = |sign: Option<u8>| match sign {
        Some(b'~') => -1,
        None => 0,
        Some(digit) if digit.is_ascii_digit() => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(sign) => i32::from(sign) + 256,
    };
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while !one.is_empty() || !other.is_empty() {
        loop {
            let more = |text: &[u8]| text.first().is_some_and(|sign| !sign.is_ascii_digit());
            if !more(one) && !more(other) {
                break;
            }
            let order = weight(one.first().copied()).cmp(&weight(other.first().copied()));
            if order != Ordering::Equal {
                return order;
            }
            one = one.get(1..).unwrap_or_default();
            other = other.get(1..).unwrap_or_default();
        }
        let (left, right) = (digits(&mut one), digits(&mut other));
        let order = left.cmp(&right);
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// RPM's order (`rpmvercmp`): runs of digits and of letters, `~` before everything, `^` after the end.
fn rpm(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        for text in [&mut one, &mut other] {
            while let Some((sign, rest)) = text.split_first() {
                if sign.is_ascii_alphanumeric() || b"~^".contains(sign) {
                    break;
                }
                *text = rest;
            }
        }
        match (one.first(), other.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                (one, other) = (&one[1..], &other[1..]);
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), Some(b'^')) => return Ordering::Greater,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (Some(left), Some(right)) => {
                let order = match (left.is_ascii_digit(), right.is_ascii_digit()) {
                    (true, true) => digits(&mut one).cmp(&digits(&mut other)),
                    (false, false) => letters(&mut one).cmp(letters(&mut other)),
                    // Numbers are newer than letters.
                    (left, right) => left.cmp(&right),
                };
                if order != Ordering::Equal {
                    return order;
                }
            }
        }
    }
}

/// Takes the run of digits off the front, as its length without zeros and its digits: numbers of any size.
fn digits<'a>(text: &mut &'a [u8]) -> (usize, &'a [u8]) {
    let end = text.iter().take_while(|sign| sign.is_ascii_digit()).count();
    let (run, rest) = text.split_at(end);
    *text = rest;
    let zeros = run.iter().take_while(|digit| **digit == b'0').count();
    (run.len() - zeros, &run[zeros..])
}

/// Takes the run of letters off the front.
fn letters<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text
        .iter()
        .take_while(|sign| sign.is_ascii_alphabetic())
        .count();
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ascending(flavor: Flavor, versions: &[&str]) {
        for (index, low) in versions.iter().enumerate() {
            assert_eq!(compare(low, low, flavor), Ordering::Equal, "{low}");
            for high in &versions[index + 1..] {
                assert_eq!(compare(low, high, flavor), Ordering::Less, "{low} {high}");
                assert_eq!(
                    compare(high, low, flavor),
                    Ordering::Greater,
                    "{high} {low}"
                );
            }
        }
    }

    #[test]
    fn generic_versions() {
        ascending(Flavor::Generic, &["5.9.1", "5.10", "5.10.0", "11.0"]);
    }

    #[test]
    fn debians_versions() {
        let versions = [
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1ubuntu2",
            "1.0-1ubuntu10",
            "1.0a-1",
            "1.0+dfsg-1",
            "1.0.1-1",
            "3.0.13-0ubuntu3.4",
            "3.0.13-0ubuntu3.5",
            "1:0.9-1",
        ];
        ascending(Flavor::Dpkg, &versions);
    }

    #[test]
    fn rpms_versions() {
        let versions = [
            "1.0~rc1-1.el9",
            "1.0-1.el9",
            "1.0-9.el9",
            "1.0-10.el9",
            "1.0^git1-1.el9",
            "1.0.1-1.el9",
            "3.0.7-24.el9",
            "3.0.7-27.el9",
            "1:0.1-1.el9",
        ];
        ascending(Flavor::Rhel, &versions);
    }
}
