//! In which form columns of osquery's tables hold their values, where a comparison with another form would
//! quietly be true of no row. Only for columns whose form is certain on every platform; the sources are the
//! tables' implementations in osquery.

use std::net::IpAddr;

use super::host_table::Content;
use super::kind::HashAlgorithm;

/// The form in which a column holds its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A number.
    Number,
    /// A digest of a file, in lower case.
    Digest(HashAlgorithm),
    /// The full path of a key or a value of the registry.
    RegistryPath,
    /// The path of a file or folder.
    FilePath,
    /// A patch of Windows: `KB` and its number.
    Hotfix,
    /// A hardware address: pairs of digits with colons.
    Mac,
    /// An address without mask and port.
    Address,
    /// Words in upper case.
    UpperCase,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// What `file.type` holds.
const FILE_TYPES: &[&str] = &[
    "regular",
    "directory",
    "symlink",
    "symbolic",
    "block",
    "character",
    "fifo",
    "pipe",
    "socket",
    "unknown",
];

/// The hives as the registry table begins its paths.
const HIVES: [&str; 6] = [
    "HKEY_CLASSES_ROOT",
    "HKEY_CURRENT_CONFIG",
    "HKEY_CURRENT_USER",
    "HKEY_LOCAL_MACHINE",
    "HKEY_PERFORMANCE_DATA",
    "HKEY_USERS",
];

impl Form {
    /// The form of a column; none where any text may stand in it.
    pub(super) fn of(table: &str, column: &str, content: Content) -> Option<Self> {
        let digest = |algorithm| Some(Self::Digest(algorithm));
        match (table, column) {
            ("registry", "key" | "path") => Some(Self::RegistryPath),
            ("hash" | "device_hash" | "file_events", "md5") => digest(HashAlgorithm::Md5),
            ("hash" | "device_hash" | "file_events", "sha1") => digest(HashAlgorithm::Sha1),
            ("hash" | "device_hash" | "file_events", "sha256") => digest(HashAlgorithm::Sha256),
            ("patches", "hotfix_id") => Some(Self::Hotfix),
            ("arp_cache" | "interface_details", "mac") => Some(Self::Mac),
            (
                "process_open_sockets" | "socket_events" | "bpf_socket_events",
                "local_address" | "remote_address",
            )
            | ("arp_cache" | "interface_addresses" | "listening_ports", "address") => {
                Some(Self::Address)
            }
            ("process_open_sockets", "state") | ("services", "status" | "start_type") => {
                Some(Self::UpperCase)
            }
            ("file", "type") => Some(Self::OneOf(FILE_TYPES)),
            (
                "file" | "hash" | "yara" | "yara_file" | "plist" | "processes" | "authenticode"
                | "signature",
                "path" | "directory",
            ) => Some(Self::FilePath),
            _ if content == Content::Numbers => Some(Self::Number),
            _ => None,
        }
    }

    /// Whether a value of the column may be this text.
    pub(super) fn holds(self, text: &str) -> bool {
        match self {
            Self::Number => text.parse::<f64>().is_ok(),
            // osquery leaves digests empty of files that it could not read.
            Self::Digest(algorithm) => {
                let is_digit = |sign: u8| matches!(sign, b'0'..=b'9' | b'a'..=b'f');
                text.is_empty() || (text.len() == algorithm.digits() && text.bytes().all(is_digit))
            }
            Self::RegistryPath => {
                let hive = text.split('\\').next().unwrap_or_default();
                HIVES.iter().any(|known| known.eq_ignore_ascii_case(hive)) && !text.contains('/')
            }
            Self::FilePath => {
                let drive = text.as_bytes();
                let is_slashed =
                    drive.len() > 2 && drive[0].is_ascii_alphabetic() && drive[1..3] == *b":/";
                !text.starts_with('~') && !text.contains('%') && !is_slashed
            }
            Self::Hotfix => {
                let number = text.strip_prefix("KB").unwrap_or_default();
                !number.is_empty() && number.bytes().all(|sign| sign.is_ascii_digit())
            }
            Self::Mac => {
                let pairs: Vec<&str> = text.split(':').collect();
                let is_pair = |pair: &&str| {
                    pair.len() == 2 && pair.bytes().all(|sign| sign.is_ascii_hexdigit())
                };
                pairs.len() == 6 && pairs.iter().all(is_pair)
            }
            Self::Address => {
                let (address, _zone) = text.split_once('%').unwrap_or((text, ""));
                text.is_empty() || address.parse::<IpAddr>().is_ok()
            }
            Self::UpperCase => !text.bytes().any(|sign| sign.is_ascii_lowercase()),
            Self::OneOf(words) => words.contains(&text),
        }
    }

    /// What the column holds, in words.
    pub(super) fn in_words(self) -> String {
        match self {
            Self::Number => "numbers".to_owned(),
            Self::Digest(algorithm) => format!("{} hexadecimal digits in lower case", algorithm.digits()),
            Self::RegistryPath => r"paths from a hive on, written out: `HKEY_LOCAL_MACHINE\SOFTWARE\…`".to_owned(),
            Self::FilePath => {
                r"whole paths: `~` is never one, drives go on with `\`, and `%` is a wildcard for LIKE only".to_owned()
            }
            Self::Hotfix => "numbers such as `KB5034441`".to_owned(),
            Self::Mac => "addresses such as `0a:1b:2c:3d:4e:5f`".to_owned(),
            Self::Address => "addresses without mask, port and name".to_owned(),
            Self::UpperCase => "words in upper case".to_owned(),
            Self::OneOf(words) => format!("one of {}", super::error::listed(words.iter().copied())),
        }
    }

    /// The parameter's type that makes this form of what a step says.
    pub(super) fn parameter_type(self) -> &'static str {
        match self {
            Self::Number => "`integer`, `pid`, `port` or `since`",
            Self::Digest(_) => "`hash` with these `algorithms`",
            Self::RegistryPath => "`registry_key`",
            Self::FilePath => "`path`",
            Self::Hotfix => "`hotfix`",
            Self::Mac => "`mac_address`",
            Self::Address => "`ip_address`",
            Self::UpperCase | Self::OneOf(_) => "`choice`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Form, HashAlgorithm};

    #[test]
    fn each_form_knows_what_it_holds() {
        let md5 = "0123456789abcdef0123456789abcdef";
        for (form, held, never) in [
            (
                Form::Number,
                &["0", "-5", "1.5"][..],
                &["tcp", "", "0x10"][..],
            ),
            (
                Form::Digest(HashAlgorithm::Md5),
                &["", md5],
                &["0123456789ABCDEF0123456789ABCDEF", "abc", "sha256:00"],
            ),
            (
                Form::RegistryPath,
                &[r"HKEY_LOCAL_MACHINE\SOFTWARE", r"hkey_users\S-1-5-18\x"],
                &[r"HKLM\SOFTWARE", "SOFTWARE", "HKEY_LOCAL_MACHINE/SOFTWARE"],
            ),
            (
                Form::FilePath,
                &["/etc/passwd", r"C:\Windows", "passwd"],
                &["~/.ssh", "/home/%/x", "C:/Windows", r"%APPDATA%\x"],
            ),
            (
                Form::Hotfix,
                &["KB5034441"],
                &["kb5034441", "5034441", "KB", "KB 5"],
            ),
            (
                Form::Mac,
                &["0a:1b:2c:3d:4e:5f", "0A:1B:2C:3D:4E:5F"],
                &["0a-1b-2c-3d-4e-5f", "0a1b", ""],
            ),
            (
                Form::Address,
                &["", "10.0.0.1", "::1", "fe80::1%eth0"],
                &["10.0.0.0/8", "10.0.0.1:80", "localhost"],
            ),
            (
                Form::UpperCase,
                &["LISTEN", "", "SYN_SENT"],
                &["listen", "Running"],
            ),
            (
                Form::OneOf(&["regular"]),
                &["regular"],
                &["file", "Regular"],
            ),
        ] {
            for text in held {
                assert!(form.holds(text), "{form:?} holds {text}");
            }
            for text in never {
                assert!(!form.holds(text), "{form:?} never holds {text}");
            }
            assert!(!form.in_words().is_empty() && form.parameter_type().starts_with('`'));
        }
    }

    #[test]
    fn columns_without_a_certain_form_have_none() {
        assert_eq!(Form::of("users", "username", Content::Text), None);
        assert_eq!(Form::of("processes", "name", Content::Unknown), None);
        assert_eq!(Form::of("registry", "name", Content::Text), None);
        assert_eq!(
            Form::of("processes", "pid", Content::Numbers),
            Some(Form::Number)
        );
        assert_eq!(
            Form::of("registry", "path", Content::Text),
            Some(Form::RegistryPath)
        );
    }
}
