//! Paths: absolute ones of Unix and Windows, and patterns over them, in the form in which osquery's tables
//! hold them.
//!
//! Why wildcards are refused although values are bound: osquery's `file` table reads `%` in a path
//! itself (`/%%` walks whole file systems), before SQLite compares anything, so binding does not help.
//! It hands what has a `%` to `glob(3)` on Unix, so a pattern may hold none of glob's own signs either.

use super::kind::Systems;
use super::parameter::Refusal;
use super::value;

/// Wildcards in one pattern at most: each multiplies the directories that a host lists.
const MOST_WILDCARDS: usize = 4;

/// Variables of Windows that stand for one name. In a pattern, what stands between two `%` elsewhere than at
/// the beginning may be meant; with these it is not.
const WINDOWS_VARIABLES: [&str; 3] = ["USERNAME", "COMPUTERNAME", "USERDOMAIN"];

/// Variables of shells that stand in paths.
const SHELL_VARIABLES: [&str; 8] = [
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TMP",
    "TEMP",
    "PWD",
    "SUDO_USER",
];

/// Names that Windows takes for devices in every directory, whatever ending they have.
const WINDOWS_DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// An absolute path that means one file or directory.
pub(super) fn path(text: &str, systems: Systems) -> Result<String, Refusal> {
    no_variables(text, false)?;
    // `\\?\` is no wildcard.
    let plain = text.trim_start().trim_start_matches(['"', '\'', '`']);
    let plain = plain
        .get(4..)
        .filter(|_| names_the_kernel(plain))
        .unwrap_or(plain);
    if let Some(sign) = plain.chars().find(|sign| "%*?".contains(*sign)) {
        return Err(Refusal::value(format!(
            "must be one path without wildcards (`{sign}`)"
        )));
    }
    absolute(text, systems)
}

/// An absolute path in which `%` stands for a part of one name.
pub(super) fn pattern(
    text: &str,
    systems: Systems,
    minimum_prefix: usize,
) -> Result<String, Refusal> {
    no_variables(text, true)?;
    if text.contains("%%") {
        return Err(Refusal::value(
            "must not hold `%%`, which walks whole directory trees",
        ));
    }
    let plain = text.trim_start().trim_start_matches(['"', '\'', '`']);
    let plain = plain
        .get(4..)
        .filter(|_| names_the_kernel(plain))
        .unwrap_or(plain);
    if let Some(sign) = plain.chars().find(|sign| "*?[]{}~".contains(*sign)) {
        return Err(Refusal::value(format!(
            "must use `%` as its only wildcard, not `{sign}`"
        )));
    }
    let pattern = absolute(text, systems)?;
    bounded_wildcards(&pattern, minimum_prefix)?;
    // The first directory has to be named, however long the prefix: `/%/…` lists all of them.
    let separator = if pattern.starts_with('/') { '/' } else { '\\' };
    let literal = pattern.split('%').next().unwrap_or(&pattern);
    let named = literal
        .trim_start_matches(separator)
        .matches(separator)
        .count();
    // A drive or a server counts as one name more.
    let least = if separator == '/' { 1 } else { 2 };
    if named < least && pattern.contains('%') {
        return Err(Refusal::value(
            "must name its first directory before the first `%`",
        ));
    }
    Ok(pattern)
}

/// The rules for `%` that patterns of every kind share.
pub(super) fn bounded_wildcards(text: &str, minimum_prefix: usize) -> Result<(), Refusal> {
    let wildcards = text.matches('%').count();
    if wildcards > MOST_WILDCARDS {
        return Err(Refusal::value(format!(
            "must not hold more than {MOST_WILDCARDS} wildcards (`%`)"
        )));
    }
    let literal = text
        .chars()
        .take_while(|sign| !"%_".contains(*sign))
        .count();
    if wildcards > 0 && literal < minimum_prefix {
        return Err(Refusal::value(format!(
            "must begin with at least {minimum_prefix} characters other than `%` and `_`"
        )));
    }
    Ok(())
}

/// No variable that only a shell of the host would resolve: no table holds one. In a path nothing else is
/// meant by what stands between two `%`.
fn no_variables(text: &str, in_pattern: bool) -> Result<(), Refusal> {
    let upper = text.to_ascii_uppercase();
    let pieces: Vec<&str> = upper.split('%').collect();
    let last = pieces.len() - 1;
    let windows = pieces.iter().enumerate().skip(1).any(|(index, name)| {
        let word = |sign: char| sign.is_ascii_alphanumeric() || "_()".contains(sign);
        let begins = index == 1 && pieces[0].trim_matches([' ', '"', '\'']).is_empty();
        index < last
            && !name.is_empty()
            && name.chars().all(word)
            && (!in_pattern || begins || WINDOWS_VARIABLES.contains(name))
    });
    let shell = upper.contains("$ENV:")
        || upper.contains("${")
        || text.split(['/', '\\']).any(|part| {
            let name = part.strip_prefix('$');
            name.is_some_and(|name| SHELL_VARIABLES.contains(&name))
        });
    if windows || shell {
        return Err(Refusal::value(
            r"must not hold an environment variable, which no table holds: write what it stands for (`C:\Users\NAME\AppData\Roaming`)",
        ));
    }
    Ok(())
}

/// Absolute, in the form that tables hold: Windows with backslashes and a drive in upper case, separators
/// once each and none at the end. No parts that lead elsewhere.
fn absolute(text: &str, systems: Systems) -> Result<String, Refusal> {
    let not_absolute = || {
        Refusal::value(format!(
            "must be an absolute path {}",
            systems.example_path()
        ))
    };
    let begun = text.trim_start();
    // Whoever copies a path may copy its quotes. A blank at its end may be a part of the name.
    let text = if begun.starts_with(['"', '\'', '`']) {
        value::bare(begun)
    } else {
        begun
    };
    if text.starts_with('~') {
        return Err(Refusal::value(
            "must not begin with `~`: write the home directory out, as in `/home/NAME`",
        ));
    }
    if text.contains("://") {
        return Err(Refusal::value("must be a path, not a URL"));
    }
    let mut signs = text.chars();
    match (signs.next(), signs.next()) {
        (Some('/'), second) if !matches!(second, Some('/' | '\\')) => {
            if systems.unix {
                unix(text)
            } else {
                Err(not_absolute())
            }
        }
        (Some('/' | '\\'), _) if systems.windows => windows_beyond_drives(text),
        (Some('/'), Some('/')) => Err(Refusal::value("must begin with one `/`")),
        (Some(drive), Some(':')) if drive.is_ascii_alphabetic() && systems.windows => {
            on_a_drive(text).ok_or_else(not_absolute)?
        }
        _ => Err(not_absolute()),
    }
}

fn unix(text: &str) -> Result<String, Refusal> {
    if text.contains('\\') {
        return Err(Refusal::value(
            "must not hold backslashes after a leading `/`",
        ));
    }
    // What is dropped at the end (slashes, `.`) must not leave an end that would be refused.
    let path = format!("/{}", parts(text, '/')?.join("/"));
    for end in [text, &path] {
        if end.ends_with(char::is_whitespace) {
            return Err(Refusal::value("must not end in a blank"));
        }
        if end.ends_with(" (deleted)") {
            return Err(Refusal::value(
                "must not end in ` (deleted)`, which Linux adds where a file is gone: leave it out",
            ));
        }
    }
    Ok(path)
}

/// A path with a drive; none where it is not absolute.
fn on_a_drive(text: &str) -> Option<Result<String, Refusal>> {
    let mut signs = text.chars();
    let drive = signs.next().filter(char::is_ascii_alphabetic)?;
    let rest = signs.as_str().strip_prefix(':')?;
    if !rest.starts_with(['/', '\\']) {
        return None;
    }
    let named = windows_parts(rest);
    Some(named.map(|parts| format!("{}:\\{}", drive.to_ascii_uppercase(), parts.join("\\"))))
}

/// `\\server\share\…`, and what Windows resolves to that or to a drive.
fn windows_beyond_drives(text: &str) -> Result<String, Refusal> {
    let text = text.replace('/', "\\");
    if names_the_kernel(&text) {
        let rest = &text[4..];
        if let Some(on_a_drive) = on_a_drive(rest) {
            return on_a_drive;
        }
        if let Some(share) = rest
            .get(..4)
            .filter(|unc| unc.eq_ignore_ascii_case(r"UNC\"))
        {
            return share_of(&rest[share.len()..]);
        }
    }
    match text.strip_prefix(r"\\") {
        Some(share) => share_of(share),
        None => Err(Refusal::value(
            r"must begin with a drive (`C:\Windows`), not with a name of the kernel's or without a drive",
        )),
    }
}

/// `\\?\` and `\??\`, before which Windows resolves nothing. With `/`, the second would be a path of Unix.
fn names_the_kernel(text: &str) -> bool {
    text.get(..4).is_some_and(|beginning| {
        let with_backslashes = beginning.replace('/', "\\");
        with_backslashes == r"\\?\" || (with_backslashes == r"\??\" && beginning.starts_with('\\'))
    })
}

/// What follows `\\`.
fn share_of(text: &str) -> Result<String, Refusal> {
    let (server, share) = text.split_once('\\').unwrap_or((text, ""));
    let odd = |sign: char| !sign.is_alphanumeric() && !"._-$@".contains(sign);
    let is_server = server.contains(char::is_alphanumeric) && !server.contains(odd);
    let nothing = share.replace('\\', " ").trim().is_empty();
    if !is_server || nothing {
        return Err(Refusal::value(r"must name a server and a share after `\\`"));
    }
    Ok(format!(r"\\{server}\{}", windows_parts(share)?.join("\\")))
}

/// The names of a path of Windows behind its drive or server.
fn windows_parts(rest: &str) -> Result<Vec<&str>, Refusal> {
    // `/` is a separator here; no name may hold it.
    let names = rest
        .trim_end()
        .split(['\\', '/'])
        .filter(|part| !part.is_empty());
    let names: Vec<&str> = names.collect();
    // `C:\Windows \System32` can be looked up, `C:\Windows \` would be `C:\Windows`.
    if names
        .last()
        .is_some_and(|name| name.ends_with(char::is_whitespace))
    {
        return Err(Refusal::value(
            "must not end in a name with a blank at its end: Windows leaves the blank out",
        ));
    }
    for name in &names {
        no_leading_elsewhere(name)?;
        if let Some(sign) = name.chars().find(|sign| "<>:\"|".contains(*sign)) {
            return Err(Refusal::value(format!(
                "must not hold `{sign}`, which no Windows path has"
            )));
        }
        if name.ends_with('.') {
            return Err(Refusal::value(
                "must not hold a name that ends in a dot: Windows leaves the dot out",
            ));
        }
        let stem = name.split('.').next().unwrap_or(name).trim_end();
        let stem = stem.to_ascii_uppercase();
        let numbered = stem.strip_suffix(|last: char| last.is_ascii_digit());
        let device = match numbered {
            Some(stem) => stem == "COM" || stem == "LPT",
            None => WINDOWS_DEVICES.contains(&stem.as_str()),
        };
        if device {
            return Err(Refusal::value(
                "must not hold a name that Windows takes for a device",
            ));
        }
    }
    Ok(names)
}

/// The names between separators, however many there are in a row.
fn parts(rest: &str, separator: char) -> Result<Vec<&str>, Refusal> {
    let parts: Vec<&str> = rest
        .split(separator)
        .filter(|part| !part.is_empty())
        .collect();
    parts
        .iter()
        .try_for_each(|part| no_leading_elsewhere(part))?;
    Ok(parts)
}

fn no_leading_elsewhere(part: &str) -> Result<(), Refusal> {
    if part == "." || part == ".." {
        return Err(Refusal::value(
            "must not hold `.` or `..` as a part of the path",
        ));
    }
    Ok(())
}
