//! Names and other short texts, each type with its own alphabet and length. All are given text that is
//! not empty and holds no control or invisible characters.

use super::kind::{Alphabet, HashAlgorithm};
use super::parameter::Refusal;
use super::path::bounded_wildcards;

/// Names of processes; kernel threads have `/` and `:` in theirs.
pub(super) fn process_name(text: &str) -> Result<&str, Refusal> {
    if text.chars().count() > 255 {
        return Err(Refusal::value("must be 255 characters long at most"));
    }
    if text.starts_with('/') {
        return Err(Refusal::value(
            "must be the name of a process, without the path of its program",
        ));
    }
    if text.trim() != text {
        return Err(Refusal::value("must not begin or end with a blank"));
    }
    match text.chars().find(|sign| "%*?\"<>|\\".contains(*sign)) {
        Some(sign) => Err(Refusal::value(format!(
            "must be the name of a process, without `{sign}`"
        ))),
        None => Ok(text),
    }
}

/// A digest, in lower case as osquery writes it; with the algorithm in front, or its bytes apart as
/// fingerprints of certificates have them, too.
pub(super) fn hash(
    text: &str,
    algorithms: &[HashAlgorithm],
    expected: &str,
) -> Result<String, Refusal> {
    let wrong = || Refusal::value(format!("must be {expected}"));
    let lower = text.to_ascii_lowercase();
    let (named, digits) = HashAlgorithm::ALL
        .into_iter()
        .find_map(|algorithm| {
            let rest = lower.strip_prefix(algorithm.name())?;
            Some((Some(algorithm), rest.strip_prefix([':', '='])?.trim_start()))
        })
        .unwrap_or((None, lower.as_str()));
    let apart = digits.find([':', ' ', '-']).map(|at| &digits[at..=at]);
    let digits = match apart {
        Some(separator) if digits.split(separator).all(|pair| pair.len() == 2) => {
            digits.replace(separator, "")
        }
        _ => digits.to_owned(),
    };
    let algorithm = algorithms
        .iter()
        .find(|algorithm| algorithm.digits() == digits.len())
        .ok_or_else(wrong)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    if named.is_some_and(|named| named != *algorithm) {
        return Err(Refusal::value(
            "must have as many digits as the digest that it names",
        ));
    }
    Ok(digits)
}

/// The identifier of an extension of Chrome and its kin, perhaps as an address of the extension.
pub(super) fn chrome_extension(text: &str) -> Result<String, Refusal> {
    let lower = text.to_ascii_lowercase();
    let identifier = lower
        .strip_prefix("chrome-extension://")
        .and_then(|rest| rest.split('/').next())
        .unwrap_or(&lower);
    if identifier.len() == 32 && identifier.bytes().all(|byte| (b'a'..=b'p').contains(&byte)) {
        return Ok(identifier.to_owned());
    }
    Err(Refusal::value(
        "must be the identifier of an extension: 32 letters from a to p, as in the address of its page",
    ))
}

/// A container's name or the beginning of its id. Docker itself writes `/` before names, and Kubernetes
/// `docker://` before ids.
pub(super) fn container(text: &str) -> Result<&str, Refusal> {
    let name = text
        .strip_prefix("docker://")
        .or_else(|| text.strip_prefix('/'))
        .unwrap_or(text);
    let fits = name.len() <= 128
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|sign| sign.is_ascii_alphanumeric() || "_.-".contains(sign));
    fits.then_some(name).ok_or_else(|| {
        Refusal::value(
            "must be the name of a Docker container, or its id from the beginning: ASCII letters, digits and any of `_ . -`",
        )
    })
}

/// The endings of systemd's units.
const UNITS: [&str; 11] = [
    "automount",
    "device",
    "mount",
    "path",
    "scope",
    "service",
    "slice",
    "socket",
    "swap",
    "target",
    "timer",
];

/// A unit with its ending; without one it is a service, as `systemctl` takes it.
pub(super) fn systemd_unit(text: &str) -> Result<String, Refusal> {
    let fits = text.len() <= 255
        && text
            .chars()
            .all(|sign| sign.is_ascii_alphanumeric() || ":-_.\\@".contains(sign));
    if !fits {
        return Err(Refusal::value(
            "must be the name of a unit such as `sshd.service`: 255 ASCII letters, digits or any of `: - _ . \\ @` at most",
        ));
    }
    let ended = text
        .rsplit_once('.')
        .is_some_and(|(name, ending)| !name.is_empty() && UNITS.contains(&ending));
    Ok(if ended {
        text.to_owned()
    } else {
        format!("{text}.service")
    })
}

/// Text with `%` wildcards, for `LIKE`.
pub(super) fn pattern(text: &str, minimum_prefix: usize) -> Result<&str, Refusal> {
    if text.chars().count() > 256 {
        return Err(Refusal::value("must be 256 characters long at most"));
    }
    if text.contains("%%") {
        return Err(Refusal::value("must not hold two `%` in a row"));
    }
    bounded_wildcards(text, minimum_prefix)?;
    Ok(text)
}

/// Text of a bounded length in an alphabet.
pub(super) fn free_text<'a>(
    text: &'a str,
    maximum_length: usize,
    alphabet: Alphabet,
    expected: &str,
) -> Result<&'a str, Refusal> {
    let identifier = |sign: char| sign.is_ascii_alphanumeric() || "._-@:".contains(sign);
    let fits = text.chars().count() <= maximum_length
        && (alphabet == Alphabet::Printable || text.chars().all(identifier));
    fits.then_some(text)
        .ok_or_else(|| Refusal::value(format!("must be {expected}")))
}
