//! Names and addresses of the network, in the one spelling in which osquery's tables hold them.

use std::net::{IpAddr, Ipv6Addr};

use super::parameter::Refusal;

/// A DNS name as hosts have them: labels of letters, digits, `-` and `_`, 253 characters at most, without
/// the root's dot at its end.
pub(super) fn host_name(text: &str) -> Result<String, Refusal> {
    let name = text.strip_suffix('.').unwrap_or(text);
    labels(name).then(|| name.to_owned()).ok_or_else(|| {
        Refusal::value("must be a host name of ASCII letters, digits, `-`, `_` and single dots")
    })
}

/// The same for domains, in lower case as resolvers write them; at least two labels. Dots in brackets, as
/// reports write them so that nobody clicks, are dots.
pub(super) fn domain(text: &str) -> Result<String, Refusal> {
    let text = refanged(text);
    if text.contains("://") || text.contains('/') {
        return Err(Refusal::value(
            "must be the domain alone, without scheme and path (`example.com`)",
        ));
    }
    if text.starts_with("*.") || text.starts_with('.') {
        return Err(Refusal::value(
            "must be the domain itself, without a wildcard or dot in front (`example.com`)",
        ));
    }
    let name = text.strip_suffix('.').unwrap_or(&text);
    if labels(name) && name.contains('.') && name.parse::<IpAddr>().is_err() {
        return Ok(name.to_ascii_lowercase());
    }
    Err(Refusal::value(
        "must be a domain name such as `example.com`, other scripts in their `xn--` form",
    ))
}

/// `[.]` and `(.)` as the dots that they stand for.
fn refanged(text: &str) -> String {
    text.replace("[.]", ".").replace("(.)", ".")
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

/// An address as `inet_ntop` writes it, which fills osquery's tables: IPv6 in its short form, and an IPv4
/// address that is wrapped in IPv6 as itself.
pub(super) fn ip_address(text: &str) -> Result<String, Refusal> {
    let text = refanged(text);
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(&text);
    let address = bare.parse::<IpAddr>().map_err(|_| {
        Refusal::value("must be an IPv4 or IPv6 address, without port, prefix or zone")
    })?;
    match address.to_canonical() {
        IpAddr::V6(address) if is_compatible(address) => Err(Refusal::value(
            "must be an IPv4 address by itself (`192.0.2.1`), not after `::`: systems write that differently",
        )),
        address => Ok(address.to_string()),
    }
}

/// `::192.0.2.1`, long given up, and what looks like it.
fn is_compatible(address: Ipv6Addr) -> bool {
    address.segments()[..6].iter().all(|segment| *segment == 0)
        && !address.is_unspecified()
        && !address.is_loopback()
}

/// A hardware address as `aa:bb:cc:dd:ee:ff`; with `-`, with dots after each four digits, or without
/// anything between its digits, too.
pub(super) fn mac_address(text: &str) -> Result<String, Refusal> {
    let wrong = || {
        Refusal::value(
            "must be a hardware address of six pairs of hexadecimal digits (`00:1a:2b:3c:4d:5e`)",
        )
    };
    let digits: String = text
        .chars()
        .filter(|sign| sign.is_ascii_hexdigit())
        .map(|sign| sign.to_ascii_lowercase())
        .collect();
    let group = match text.chars().find(|sign| !sign.is_ascii_hexdigit()) {
        None => 12,
        Some(':' | '-') => 2,
        Some('.') => 4,
        Some(_) => return Err(wrong()),
    };
    let separators: String = text
        .chars()
        .filter(|sign| !sign.is_ascii_hexdigit())
        .collect();
    let even = text.split([':', '-', '.']).all(|part| part.len() == group);
    let same = separators.chars().all(|sign| separators.starts_with(sign));
    if digits.len() != 12 || !even || !same {
        return Err(wrong());
    }
    let pairs: Vec<&str> = (0..6).map(|pair| &digits[2 * pair..2 * pair + 2]).collect();
    Ok(pairs.join(":"))
}
