//! Names of accounts and groups, in the form that osquery's `users` and `groups` hold: the machine's own
//! name of them, without a domain. On Windows the tables hold the accounts of domains, too, that have
//! logged on, and there a domain in front is left out; elsewhere they hold accounts of the machine only,
//! where an account of a domain is another one than its namesake.

use super::kind::Systems;
use super::parameter::Refusal;

/// The name of an account; `CORP\anna` becomes `anna` where Windows is among the systems.
pub(super) fn user_name(text: &str, systems: Systems) -> Result<String, Refusal> {
    let name = of_the_machine(text, systems, "the account")?;
    let plain = |part: &str| {
        let mut signs = part.chars();
        signs
            .next()
            .is_some_and(|first| first.is_alphanumeric() || first == '_')
            && signs.all(|sign| {
                sign.is_alphanumeric() || is_combining(sign) || "._-$+ '".contains(sign)
            })
    };
    if plain(name) && name.chars().count() <= 104 {
        return Ok(name.to_owned());
    }
    Err(Refusal::value(
        "must be a user name of 104 characters at most: letters, digits and any of `. _ - $ + '`",
    ))
}

/// The name of a group; `BUILTIN\Administrators` becomes `Administrators` where Windows is among the systems.
pub(super) fn group_name(text: &str, systems: Systems) -> Result<String, Refusal> {
    let name = of_the_machine(text, systems, "the group")?;
    // What neither Windows nor any Unix has in the name of a group.
    let odd = name
        .chars()
        .any(|sign| "\"/[]:;|=,+*?<>%".contains(sign) || sign.is_control());
    if !odd && name.chars().count() <= 256 {
        return Ok(name.to_owned());
    }
    Err(Refusal::value(
        "must be the name of a group: 256 characters at most, without `\" / [ ] : ; | = , + * ? < > %`",
    ))
}

/// The name without a domain, where that is certain.
fn of_the_machine<'a>(text: &'a str, systems: Systems, what: &str) -> Result<&'a str, Refusal> {
    if text.contains('@') {
        return Err(Refusal::value(format!(
            "must be the name of {what} alone, without `@domain`: what one logs on with may differ from {what}'s name"
        )));
    }
    if is_sid(text) {
        return Err(Refusal::value(format!(
            "must be the name of {what}, not its SID"
        )));
    }
    // Alerts that were escaped twice have two.
    let Some((domain, name)) = text.split_once('\\') else {
        return Ok(text);
    };
    let name = name.strip_prefix('\\').unwrap_or(name);
    if !systems.windows {
        return Err(Refusal::value(format!(
            r"must be the name of {what} alone, without a domain and `\`: the machine's own may be another one"
        )));
    }
    let is_domain = !domain.is_empty()
        && domain
            .chars()
            .all(|sign| sign.is_alphanumeric() || "._- ".contains(sign));
    if !is_domain || name.is_empty() || name.contains('\\') {
        return Err(Refusal::value(format!(
            r"must be the name of {what}, alone or as `DOMAIN\name`"
        )));
    }
    Ok(name)
}

/// `S-1-5-21-…`
fn is_sid(text: &str) -> bool {
    let rest = text
        .strip_prefix("S-1-")
        .or_else(|| text.strip_prefix("s-1-"));
    rest.is_some_and(|rest| {
        rest.split('-')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Marks that follow a letter: macOS writes `é` as two characters.
fn is_combining(sign: char) -> bool {
    matches!(sign, '\u{300}'..='\u{34e}' | '\u{350}'..='\u{36f}')
}
