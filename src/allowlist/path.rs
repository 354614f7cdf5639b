//! Paths: absolute ones of Unix and Windows, patterns over them, and keys of the Windows registry.
//!
//! Why wildcards are refused although values are bound: osquery's `file` table reads `%` in a path
//! itself (`/%%` walks whole file systems), before SQLite compares anything, so binding does not help.
//! It hands what has a `%` to `glob(3)` on Unix, so a pattern may hold none of glob's own signs either.

use super::parameter::Refusal;

/// Which spellings of an absolute path fit, by the platforms of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathForms {
    /// `/etc/passwd`.
    pub unix: bool,
    /// `C:\Windows` and `\\server\share`.
    pub windows: bool,
}

impl PathForms {
    /// An example of each form, for messages.
    pub(super) fn example(self) -> &'static str {
        match (self.unix, self.windows) {
            (true, true) => r"(`/etc/passwd`, `C:\Windows`)",
            (false, true) => r"(`C:\Windows`, `\\server\share`)",
            _ => "(`/etc/passwd`)",
        }
    }
}

/// The roots of the registry that osquery's `registry` table reads.
const REGISTRY_ROOTS: [&str; 5] = [
    "HKEY_LOCAL_MACHINE",
    "HKEY_USERS",
    "HKEY_CURRENT_USER",
    "HKEY_CLASSES_ROOT",
    "HKEY_CURRENT_CONFIG",
];

/// Wildcards in one pattern at most: each multiplies the directories that a host lists.
const MOST_WILDCARDS: usize = 4;

/// An absolute path that means one file or directory.
pub(super) fn path(text: &str, forms: PathForms) -> Result<&str, Refusal> {
    if let Some(sign) = text.chars().find(|sign| "%*?".contains(*sign)) {
        return Err(Refusal::value(format!(
            "must be one path without wildcards (`{sign}`)"
        )));
    }
    absolute(text, forms)
}

/// An absolute path in which `%` stands for a part of one name.
pub(super) fn pattern(
    text: &str,
    forms: PathForms,
    minimum_prefix: usize,
) -> Result<&str, Refusal> {
    if text.contains("%%") {
        return Err(Refusal::value(
            "must not hold `%%`, which walks whole directory trees",
        ));
    }
    if let Some(sign) = text.chars().find(|sign| "*?[]{}~".contains(*sign)) {
        return Err(Refusal::value(format!(
            "must use `%` as its only wildcard, not `{sign}`"
        )));
    }
    absolute(text, forms)?;
    bounded_wildcards(text, minimum_prefix)?;
    // The first directory has to be named, however long the prefix: `/%/…` lists all of them.
    let separator = if text.starts_with('/') { '/' } else { '\\' };
    let literal = text.split('%').next().unwrap_or(text);
    let named = literal
        .trim_start_matches(separator)
        .matches(separator)
        .count();
    // A drive or a server counts as one name more.
    let least = if separator == '/' { 1 } else { 2 };
    if named < least && text.contains('%') {
        return Err(Refusal::value(
            "must name its first directory before the first `%`",
        ));
    }
    Ok(text)
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

/// A key of the registry without wildcards.
pub(super) fn registry_key(text: &str) -> Result<&str, Refusal> {
    let mut parts = text.split('\\');
    let root = parts.next().unwrap_or_default();
    if !REGISTRY_ROOTS.contains(&root) {
        return Err(Refusal::value(format!(
            "must begin with a root of the registry ({}) and a backslash",
            super::error::listed(REGISTRY_ROOTS)
        )));
    }
    if let Some(sign) = text.chars().find(|sign| "%*?".contains(*sign)) {
        return Err(Refusal::value(format!(
            "must be one key without wildcards (`{sign}`)"
        )));
    }
    let mut named = 0;
    for part in parts {
        if part.is_empty() || part == ".." || part == "." {
            return Err(Refusal::value(
                "must not hold empty parts, `.` or `..` between its backslashes",
            ));
        }
        named += 1;
    }
    if named == 0 {
        return Err(Refusal::value("must name a key below its root"));
    }
    Ok(text)
}

/// Absolute, in one of the forms, without parts that lead elsewhere.
fn absolute(text: &str, forms: PathForms) -> Result<&str, Refusal> {
    let not_absolute = || Refusal::value(format!("must be an absolute path {}", forms.example()));
    if text.starts_with('/') {
        if !forms.unix {
            return Err(not_absolute());
        }
        if text.contains('\\') {
            return Err(Refusal::value(
                "must not hold backslashes after a leading `/`",
            ));
        }
        return parts(text.strip_prefix('/').unwrap_or(text), '/').map(|()| text);
    }
    let rest = if let Some(share) = text.strip_prefix(r"\\") {
        let mut names = share.split('\\');
        let server = names.next().unwrap_or_default();
        if server.is_empty() || server == "." || names.next().is_none_or(str::is_empty) {
            return Err(Refusal::value(r"must name a server and a share after `\\`"));
        }
        Some(share)
    } else {
        let mut letters = text.chars();
        let drive = letters
            .next()
            .is_some_and(|letter| letter.is_ascii_alphabetic());
        (drive && letters.as_str().starts_with(":\\")).then(|| &letters.as_str()[2..])
    };
    let Some(rest) = rest.filter(|_| forms.windows) else {
        if forms.windows && text.get(1..3) == Some(":/") {
            return Err(Refusal::value(
                r"must be written with backslashes (`C:\Windows`)",
            ));
        }
        return Err(not_absolute());
    };
    if let Some(sign) = rest.chars().find(|sign| "<>:\"|/".contains(*sign)) {
        return Err(Refusal::value(format!(
            "must not hold `{sign}`, which no Windows path has"
        )));
    }
    parts(rest, '\\').map(|()| text)
}

/// No empty parts (a trailing separator is fine), no `.` and no `..`.
fn parts(rest: &str, separator: char) -> Result<(), Refusal> {
    let rest = rest.strip_suffix(separator).unwrap_or(rest);
    if rest.is_empty() {
        return Ok(());
    }
    for part in rest.split(separator) {
        if part.is_empty() {
            return Err(Refusal::value(format!(
                "must not hold two `{separator}` in a row"
            )));
        }
        if part == "." || part == ".." {
            return Err(Refusal::value(
                "must not hold `.` or `..` as a part of the path",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: PathForms = PathForms {
        unix: true,
        windows: true,
    };
    const UNIX: PathForms = PathForms {
        unix: true,
        windows: false,
    };
    const WINDOWS: PathForms = PathForms {
        unix: false,
        windows: true,
    };

    #[test]
    fn paths_that_people_have() {
        for text in [
            "/",
            "/etc/passwd",
            "/etc/",
            "/home/josé/docs",
            "/home/jose\u{301}/docs",
            "/opt/my-app_v2.1 (beta)",
            "/home/o'brien/a;b -- c",
            "/tmp/[x]{y}~",
            "/tmp/...",
            r"C:\",
            r"C:\Program Files (x86)",
            r"c:\Windows\",
            r"\\fileserver\share",
            r"\\fileserver\share\dir\file.txt",
            r"C:\Users\O'Brien\$Recycle.Bin",
        ] {
            assert_eq!(path(text, BOTH), Ok(text));
        }
    }

    #[test]
    fn paths_that_are_refused() {
        for (text, why) in [
            ("etc/passwd", "absolute"),
            ("./x", "absolute"),
            ("~/x", "absolute"),
            ("C:", "absolute"),
            ("C:x", "absolute"),
            ("C:/x", "backslashes"),
            ("/a/../b", "`..`"),
            ("/..", "`..`"),
            ("/./a", "`.`"),
            ("/a//b", "row"),
            ("//a", "row"),
            ("/%", "wildcards"),
            ("/%%", "wildcards"),
            ("/tmp/*", "wildcards"),
            ("/tmp/?", "wildcards"),
            (r"/tmp\x", "backslashes"),
            (r"C:\..\x", "`..`"),
            (r"C:\a\\b", "row"),
            (r"C:\a/b", "`/`"),
            (r"C:\a:b", "`:`"),
            ("C:\\a\"b", "`\"`"),
            (r"\\", "server"),
            (r"\\server", "server"),
            (r"\\server\", "server"),
            (r"\\.\pipe\x", "server"),
            (r"\\?\C:\x", "wildcards"),
            (r"\\s\share\..\x", "`..`"),
        ] {
            let refusal = path(text, BOTH).unwrap_err();
            assert!(refusal.reason.contains(why), "{text}: {}", refusal.reason);
        }
        assert!(path("/etc", WINDOWS).is_err());
        assert!(path(r"C:\x", UNIX).is_err());
        assert!(path(r"\\server\share", UNIX).is_err());
    }

    #[test]
    fn patterns_are_bounded() {
        for text in [
            "/etc/%",
            "/home/%/.ssh/%",
            "/tmp/a%b",
            "/etc/passwd",
            r"C:\Users\%\Desktop\%.exe",
            r"\\server\share\%",
            "/opt/my_app/%",
        ] {
            assert_eq!(pattern(text, BOTH, 3), Ok(text));
        }
        for (text, why) in [
            ("/%", "begin with"),
            ("/%/passwd", "begin with"),
            ("%", "absolute"),
            ("/etc/%%", "`%%`"),
            ("/e%/passwd", "begin with"),
            ("/home%/x", "first directory"),
            ("/a_c/%", "begin with"),
            ("/etc/*", "only wildcard"),
            ("/etc/[a]%", "only wildcard"),
            ("/etc/{a,b}/%", "only wildcard"),
            ("/etc/../%", "`..`"),
            ("etc/%", "absolute"),
            ("/tmp/%/%/%/%/%", "more than 4"),
            (r"C:\%", "first directory"),
            (r"C:\U%\x", "first directory"),
            (r"\\server\%", "first directory"),
            (r"\\srv%\x", "first directory"),
        ] {
            let refusal = pattern(text, BOTH, 3).unwrap_err();
            assert!(refusal.reason.contains(why), "{text}: {}", refusal.reason);
        }
    }

    #[test]
    fn registry_keys() {
        for text in [
            r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run",
            r"HKEY_USERS\S-1-5-21-1\Software",
        ] {
            assert_eq!(registry_key(text), Ok(text));
        }
        for text in [
            "HKEY_LOCAL_MACHINE",
            r"HKEY_LOCAL_MACHINE\",
            r"HKLM\SOFTWARE",
            r"HKEY_USERS\%\x",
            r"HKEY_USERS\a\..\b",
            r"HKEY_USERS\\a",
            "/etc",
            "HKEY_USERS/a",
        ] {
            assert!(registry_key(text).is_err(), "{text}");
        }
    }
}
