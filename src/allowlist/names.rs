//! Names and other short texts, each type with its own alphabet and length. All are given text that is
//! not empty and holds no control or invisible characters.

use std::net::IpAddr;

use super::parameter::{Alphabet, HashAlgorithm, Refusal};
use super::path::bounded_wildcards;

/// A DNS name as hosts have them: labels of letters, digits, `-` and `_`, 253 characters at most.
pub(super) fn host_name(text: &str) -> Result<&str, Refusal> {
    labels(text).then_some(text).ok_or_else(|| {
        Refusal::value("must be a host name of ASCII letters, digits, `-`, `_` and single dots")
    })
}

/// The same for domains, in lower case as resolvers write them; at least two labels.
pub(super) fn domain(text: &str) -> Result<String, Refusal> {
    if labels(text) && text.contains('.') && text.parse::<IpAddr>().is_err() {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Refusal::value(
        "must be a domain name such as `example.com`, other scripts in their `xn--` form",
    ))
}

fn labels(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Names of accounts on Unix, macOS and Windows; `DOMAIN\user` too.
pub(super) fn user_name(text: &str) -> Result<&str, Refusal> {
    let plain = |part: &str| {
        let mut signs = part.chars();
        signs
            .next()
            .is_some_and(|first| first.is_alphanumeric() || first == '_')
            && signs.all(|sign| {
                sign.is_alphanumeric() || is_combining(sign) || "._-$@+ '".contains(sign)
            })
    };
    let fits = text.chars().count() <= 104
        && match text.split_once('\\') {
            Some((domain, user)) => plain(domain) && plain(user),
            None => plain(text),
        };
    fits.then_some(text).ok_or_else(|| {
        Refusal::value(
            "must be a user name of 104 characters at most: letters, digits and any of `. _ - $ @ + '`",
        )
    })
}

/// Marks that follow a letter: macOS writes `é` as two characters.
fn is_combining(sign: char) -> bool {
    matches!(sign, '\u{300}'..='\u{34e}' | '\u{350}'..='\u{36f}')
}

/// Names of processes; kernel threads have `/` and `:` in theirs.
pub(super) fn process_name(text: &str) -> Result<&str, Refusal> {
    if text.chars().count() > 255 {
        return Err(Refusal::value("must be 255 characters long at most"));
    }
    match text.chars().find(|sign| "%*?\"<>|\\".contains(*sign)) {
        Some(sign) => Err(Refusal::value(format!(
            "must be the name of a process, without `{sign}`"
        ))),
        None => Ok(text),
    }
}

/// A digest, in lower case as osquery writes it.
pub(super) fn hash(
    text: &str,
    algorithms: &[HashAlgorithm],
    expected: &str,
) -> Result<String, Refusal> {
    let fits = text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && algorithms
            .iter()
            .any(|algorithm| algorithm.digits() == text.len());
    fits.then(|| text.to_ascii_lowercase())
        .ok_or_else(|| Refusal::value(format!("must be {expected}")))
}

/// An address, in its shortest spelling as osquery writes it.
pub(super) fn ip_address(text: &str) -> Result<String, Refusal> {
    text.parse::<IpAddr>()
        .map(|address| address.to_string())
        .map_err(|_| {
            Refusal::value("must be an IPv4 or IPv6 address, without port, prefix or zone")
        })
}

/// Names in deb, rpm, Homebrew, npm (`@scope/name`) and Python.
pub(super) fn package_name(text: &str) -> Result<&str, Refusal> {
    let mut signs = text.chars();
    let fits = text.len() <= 214
        && signs
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric() || "@_".contains(first))
        && signs.all(|sign| sign.is_ascii_alphanumeric() || "+._-~/@:".contains(sign));
    fits.then_some(text).ok_or_else(|| {
        Refusal::value(
            "must be the name of a package: 214 ASCII letters, digits or any of `+ . _ - ~ / @ :` at most",
        )
    })
}

/// Versions of package managers and of semantic versioning.
pub(super) fn version(text: &str) -> Result<&str, Refusal> {
    let fits = text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|sign| sign.is_ascii_alphanumeric() || ".+~:^_-".contains(sign));
    fits.then_some(text).ok_or_else(|| {
        Refusal::value(
            "must be a version: 128 ASCII letters, digits or any of `. + ~ : ^ _ -` at most",
        )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_domains() {
        for text in [
            "web-01",
            "web_01.corp.example.com",
            "1.example",
            "localhost",
        ] {
            assert_eq!(host_name(text), Ok(text));
        }
        for text in [
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "a b",
            "é.example",
            "a%",
            &"a".repeat(64),
        ] {
            assert!(host_name(text).is_err(), "{text}");
        }
        assert_eq!(
            domain("Evil.Example.COM").as_deref(),
            Ok("evil.example.com")
        );
        for text in [
            "com",
            "192.0.2.1",
            "a.b.",
            "пример.example",
            "https://a.example",
        ] {
            assert!(domain(text).is_err(), "{text}");
        }
    }

    #[test]
    fn accounts_and_processes() {
        for text in [
            "root",
            "_www",
            "josé",
            "jose\u{301}",
            r"CORP\anna",
            "Anna Schmidt",
            "svc$",
            "a@b.example",
            "o'brien",
        ] {
            assert_eq!(user_name(text), Ok(text));
        }
        for text in [
            "-x",
            "a;b",
            r"a\b\c",
            r"\a",
            "a%",
            "a\"b",
            " a",
            &"a".repeat(105),
        ] {
            assert!(user_name(text).is_err(), "{text}");
        }
        for text in [
            "bash",
            "kworker/0:1H-kblockd",
            "(sd-pam)",
            "Google Chrome Helper (Renderer)",
        ] {
            assert_eq!(process_name(text), Ok(text));
        }
        for text in ["%", "a*", "a\"b", r"C:\x.exe", &"a".repeat(256)] {
            assert!(process_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hashes_and_addresses_take_osquerys_spelling() {
        let sha256 = "ABCDEF0123456789".repeat(4);
        assert_eq!(
            hash(&sha256, &HashAlgorithm::ALL, ""),
            Ok(sha256.to_lowercase())
        );
        assert!(hash(&sha256, &[HashAlgorithm::Md5], "").is_err());
        assert!(hash(&sha256[1..], &HashAlgorithm::ALL, "").is_err());
        assert!(hash(&"g".repeat(64), &HashAlgorithm::ALL, "").is_err());
        assert_eq!(ip_address("2001:DB8:0::1").as_deref(), Ok("2001:db8::1"));
        for text in [
            "192.0.2.1/24",
            "192.0.2.01",
            "fe80::1%eth0",
            "192.0.2.1:80",
            "1",
        ] {
            assert!(ip_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn packages_versions_and_text() {
        for text in [
            "libssl3",
            "g++",
            "@babel/core",
            "python3.11",
            "linux-image-6.1.0-18-amd64",
        ] {
            assert_eq!(package_name(text), Ok(text));
        }
        for text in ["-x", "a b", "a'b", "a%", "ä", &"a".repeat(215)] {
            assert!(package_name(text).is_err(), "{text}");
        }
        for text in [
            "1.2.3",
            "1:1.1.1-1ubuntu2~22.04",
            "2.0.0-rc.1+build",
            "1.0.0~rc2^2021",
        ] {
            assert_eq!(version(text), Ok(text));
        }
        for text in ["v 1", "-1", "1%", "1'", &"1".repeat(129)] {
            assert!(version(text).is_err(), "{text}");
        }
        assert_eq!(pattern("chrom%", 3), Ok("chrom%"));
        assert_eq!(pattern("ab", 3), Ok("ab"));
        for text in ["%a", "ab%", "abc%%", "a_bc%", "abcd%a%b%c%d%"] {
            assert!(pattern(text, 3).is_err(), "{text}");
        }
        assert!(free_text("a b", 3, Alphabet::Printable, "").is_ok());
        assert!(free_text("a b", 3, Alphabet::Identifier, "").is_err());
        assert!(free_text("abcd", 3, Alphabet::Printable, "").is_err());
    }
}
