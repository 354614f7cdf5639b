//! Keys of the Windows registry, as osquery's `registry` table takes them: from the full name of a hive.
//!
//! The hive is looked up by its exact name (keys below it have no case), and a daemon has no current user:
//! what is asked of `HKEY_CURRENT_USER` is answered from the hive of the account that osquery runs as.

use super::parameter::Refusal;

/// The hives that osquery reads for everybody, with what they are called for short.
const HIVES: [(&str, &str); 4] = [
    ("HKEY_LOCAL_MACHINE", "HKLM"),
    ("HKEY_USERS", "HKU"),
    ("HKEY_CLASSES_ROOT", "HKCR"),
    ("HKEY_CURRENT_CONFIG", "HKCC"),
];

/// What other tools write before the hive.
const BEGINNINGS: [&str; 5] = [
    r"microsoft.powershell.core\registry::",
    "registry::",
    r"my computer\",
    r"computer\",
    r"\",
];

/// A key below a hive. `every_user` allows `HKEY_USERS\%\…`, which reads the hive of each user.
pub(super) fn registry_key(text: &str, every_user: bool) -> Result<String, Refusal> {
    let mut parts = parts(text);
    // `\REGISTRY\MACHINE\…` is what the kernel calls it.
    if parts
        .first()
        .is_some_and(|first| first.eq_ignore_ascii_case("REGISTRY"))
        && parts.len() > 1
    {
        parts.remove(0);
        let hive = match parts[0].to_ascii_uppercase().as_str() {
            "MACHINE" => "HKEY_LOCAL_MACHINE",
            "USER" => "HKEY_USERS",
            _ => "",
        };
        parts[0] = hive;
    }
    let first = parts.first().copied().unwrap_or_default();
    // `HKLM:\…` is PowerShell's.
    let first = first
        .strip_suffix(':')
        .unwrap_or(first)
        .to_ascii_uppercase();
    if first.starts_with("HKEY_CURRENT_USER") || first == "HKCU" {
        let or_every_user = if every_user {
            r", or `HKEY_USERS\%\…` for every user"
        } else {
            ""
        };
        return Err(Refusal::value(format!(
            r"must not begin with `HKEY_CURRENT_USER`, because osquery does not run as a user of the machine: write `HKEY_USERS\SID\…` with the user's SID{or_every_user}"
        )));
    }
    let Some((hive, _)) = HIVES
        .into_iter()
        .find(|(long, short)| first == *long || first == *short)
    else {
        return Err(Refusal::value(format!(
            "must begin with a hive of the registry ({}) and a backslash",
            super::error::listed(HIVES.map(|(long, _)| long))
        )));
    };
    let below = &parts[1..];
    if below.is_empty() {
        return Err(Refusal::value("must name a key below its hive"));
    }
    if below.iter().any(|part| *part == "." || *part == "..") {
        return Err(Refusal::value(
            "must not hold `.` or `..` between its backslashes",
        ));
    }
    let wild = |(index, part): (usize, &&str)| {
        let of_users = index == 0 && *part == "%" && hive == "HKEY_USERS";
        part.contains('%') && !(every_user && of_users && below.len() > 1)
    };
    if below.iter().enumerate().any(wild) {
        return Err(Refusal::value(if every_user {
            r"must be one key without wildcards (`%`), but for `HKEY_USERS\%\…`, every user's"
        } else {
            "must be one key without wildcards (`%`)"
        }));
    }
    Ok(format!(r"{hive}\{}", below.join(r"\")))
}

/// What stands between backslashes, however many in a row, without what other tools write in front.
fn parts(text: &str) -> Vec<&str> {
    let mut rest = text;
    for beginning in BEGINNINGS {
        let found = rest.get(..beginning.len());
        if found.is_some_and(|found| found.eq_ignore_ascii_case(beginning)) {
            rest = &rest[beginning.len()..];
        }
    }
    rest.split('\\').filter(|part| !part.is_empty()).collect()
}
