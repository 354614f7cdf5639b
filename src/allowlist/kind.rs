//! The types of parameters: what each takes, how messages and documentation say it, and the way from a
//! step's value to the form in which osquery's tables hold it.

use serde_json::Value;

use super::error::listed;
use super::package::Ecosystem;
use super::parameter::{Bound, Refusal};
use super::{account, names, network, package, path, registry_key, time, value};

/// The types of parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterType {
    /// A whole number within bounds, both included.
    Integer {
        /// The least.
        minimum: i64,
        /// The greatest.
        maximum: i64,
    },
    /// A moment in the past: unix seconds or milliseconds, RFC 3339, or an age. Bound as unix seconds.
    Since {
        /// The greatest age, in seconds.
        oldest: i64,
    },
    /// An absolute path without wildcards.
    Path {
        /// Which spellings fit.
        systems: Systems,
        /// Whether the host opens it.
        opened: bool,
    },
    /// An absolute path with `%` for parts of single names.
    PathPattern {
        /// Which spellings fit.
        systems: Systems,
        /// Whether the host opens what it matches.
        opened: bool,
        /// Characters before the first `%`, at least.
        minimum_prefix: usize,
    },
    /// A name with `%` in it, for `LIKE`.
    Pattern {
        /// Whether the host may open it as a path.
        opened: bool,
        /// Characters before the first `%`, at least.
        minimum_prefix: usize,
    },
    /// A key of the Windows registry, from its hive.
    RegistryKey {
        /// Whether `HKEY_USERS\%\…` fits, which reads the hive of each user; for `LIKE`.
        every_user: bool,
    },
    /// A DNS host name or a single label.
    HostName,
    /// The name of an account.
    UserName(Systems),
    /// The name of a group.
    GroupName(Systems),
    /// The name of a process.
    ProcessName,
    /// A digest in hexadecimal digits; its length tells the algorithm.
    Hash {
        /// The algorithms that fit.
        algorithms: Vec<HashAlgorithm>,
    },
    /// A TCP or UDP port, 1 to 65535.
    Port,
    /// A process id.
    Pid,
    /// An IPv4 or IPv6 address.
    IpAddress,
    /// A hardware address of a network.
    MacAddress,
    /// A domain name.
    Domain,
    /// A package's name, by the rules of what it is installed with.
    PackageName {
        /// What that is; without it the name has to be the table's.
        ecosystem: Option<Ecosystem>,
    },
    /// A version as package managers write it.
    Version,
    /// The number of a patch of Windows.
    Hotfix,
    /// The identifier of an extension of Chrome and its kin.
    ChromeExtension,
    /// A container of Docker: its name, or its id from the beginning.
    Container,
    /// A unit of systemd.
    SystemdUnit,
    /// One of a list.
    Choice {
        /// The list.
        choices: Vec<String>,
    },
    /// `true` or `false`, bound as 1 or 0.
    Boolean,
    /// Text.
    Text {
        /// Whether the host may open it as a path.
        opened: bool,
        /// Characters at most.
        maximum_length: usize,
        /// Characters that may stand in it.
        alphabet: Alphabet,
    },
}

/// Which kinds of system a template is for: they write paths and accounts differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Systems {
    /// Linux or macOS.
    pub unix: bool,
    /// Windows.
    pub windows: bool,
}

impl Systems {
    /// An example of each form of a path, for messages.
    pub(super) fn example_path(self) -> &'static str {
        match (self.unix, self.windows) {
            (true, true) => r"(`/etc/passwd`, `C:\Windows`)",
            (false, true) => r"(`C:\Windows`, `\\server\share`)",
            _ => "(`/etc/passwd`)",
        }
    }
}

/// The alphabets of free text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// ASCII letters and digits, `.`, `_`, `-`, `@` and `:`.
    Identifier,
    /// Everything that shows, and spaces.
    Printable,
}

/// The digests that osquery's `hash` table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// 32 digits.
    Md5,
    /// 40 digits.
    Sha1,
    /// 64 digits.
    Sha256,
}

impl HashAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Md5, Self::Sha1, Self::Sha256];

    /// The word in templates, and osquery's column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// How many hexadecimal digits a digest has.
    pub fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha1 => 40,
            Self::Sha256 => 64,
        }
    }
}

impl ParameterType {
    /// The word in templates.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Integer { .. } => "integer",
            Self::Since { .. } => "since",
            Self::Path { .. } => "path",
            Self::PathPattern { .. } => "path_pattern",
            Self::Pattern { .. } => "pattern",
            Self::RegistryKey { .. } => "registry_key",
            Self::HostName => "host_name",
            Self::UserName(_) => "user_name",
            Self::GroupName(_) => "group_name",
            Self::ProcessName => "process_name",
            Self::Hash { .. } => "hash",
            Self::Port => "port",
            Self::Pid => "pid",
            Self::IpAddress => "ip_address",
            Self::MacAddress => "mac_address",
            Self::Domain => "domain",
            Self::PackageName { .. } => "package_name",
            Self::Version => "version",
            Self::Hotfix => "hotfix",
            Self::ChromeExtension => "chrome_extension",
            Self::Container => "container",
            Self::SystemdUnit => "systemd_unit",
            Self::Choice { .. } => "choice",
            Self::Boolean => "boolean",
            Self::Text { .. } => "text",
        }
    }

    /// What fits, as messages and documentation say it: "an integer from 1 to 10000".
    pub fn expectation(&self) -> String {
        let fixed = match self {
            Self::Integer { minimum, maximum } => {
                return format!("an integer from {minimum} to {maximum}");
            }
            Self::Since { oldest } => {
                return format!(
                    "unix seconds or milliseconds, RFC 3339 with `Z` or an offset, or an age such as `-24h` \
                     (units s, m, h, d, w), {} back at most",
                    time::in_words(*oldest)
                );
            }
            Self::Path { systems, .. } => {
                return format!("an absolute path {}", systems.example_path());
            }
            Self::PathPattern { systems, .. } => {
                return format!(
                    "an absolute path {} in which `%` stands for a part of a name",
                    systems.example_path()
                );
            }
            Self::Hash { algorithms } => {
                let kinds: Vec<String> = algorithms
                    .iter()
                    .map(|one| format!("{} ({} hexadecimal digits)", one.name(), one.digits()))
                    .collect();
                return format!("a hash: {}", kinds.join(" or "));
            }
            Self::Choice { choices } => {
                return format!("one of {}", listed(choices.iter().map(String::as_str)));
            }
            Self::Text {
                maximum_length,
                alphabet,
                ..
            } => {
                return match alphabet {
                    Alphabet::Printable => format!("text of 1 to {maximum_length} characters"),
                    Alphabet::Identifier => {
                        format!("1 to {maximum_length} ASCII letters, digits or any of `. _ - @ :`")
                    }
                };
            }
            Self::Pattern { .. } => "text in which `%` stands for any characters",
            Self::RegistryKey { every_user: false } => {
                r"a registry key such as `HKEY_LOCAL_MACHINE\SOFTWARE`"
            }
            Self::RegistryKey { every_user: true } => {
                r"a registry key such as `HKEY_LOCAL_MACHINE\SOFTWARE`, or `HKEY_USERS\%\SOFTWARE` for every user"
            }
            Self::HostName => "a host name",
            Self::UserName(systems) if systems.windows => {
                r"a user name, on Windows perhaps as `DOMAIN\name`"
            }
            Self::UserName(_) => "a user name",
            Self::GroupName(systems) if systems.windows => {
                r"the name of a group, on Windows perhaps as `DOMAIN\name`"
            }
            Self::GroupName(_) => "the name of a group",
            Self::ProcessName => "the name of a process, without a path",
            Self::Port => "a port from 1 to 65535",
            Self::Pid => "a process id from 0 to 4294967295, decimal or hexadecimal as `0x1a2c`",
            Self::IpAddress => "an IPv4 or IPv6 address",
            Self::MacAddress => "a hardware address such as `00:1a:2b:3c:4d:5e`",
            Self::Domain => "a domain name",
            Self::PackageName { ecosystem: None } => "the name of a package",
            Self::PackageName {
                ecosystem: Some(ecosystem),
            } => ecosystem.expectation(),
            Self::Version => "a version such as `1.2.3` or `1:1.1.1-1ubuntu2`",
            Self::Hotfix => "the number of a patch such as `KB5034441` or `5034441`",
            Self::ChromeExtension => "the identifier of an extension: 32 letters from a to p",
            Self::Container => "the name of a container, or its id from the beginning",
            Self::SystemdUnit => "the name of a unit such as `sshd.service`",
            Self::Boolean => "true or false",
        };
        fixed.to_owned()
    }

    /// Whether a number is bound.
    pub(super) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Integer { .. } | Self::Port | Self::Pid | Self::Since { .. } | Self::Boolean
        )
    }

    /// Whether `%` in a value is a wildcard that the type bounds, so that `LIKE` may take it.
    pub(super) fn is_pattern(&self) -> bool {
        matches!(
            self,
            Self::PathPattern { .. }
                | Self::Pattern { .. }
                | Self::RegistryKey { every_user: true }
        )
    }

    /// Whether a host may open a value as a path. A template says where it does not.
    pub fn is_opened(&self) -> bool {
        matches!(
            self,
            Self::Path { opened: true, .. }
                | Self::PathPattern { opened: true, .. }
                | Self::Pattern { opened: true, .. }
                | Self::Text { opened: true, .. }
        )
    }

    /// The value to bind for a value of a step; `now` is unix seconds.
    pub(super) fn accept(&self, given: &Value, now: i64) -> Result<Bound, Refusal> {
        let expected = || self.expectation();
        match self {
            Self::Integer { minimum, maximum } => {
                value::integer(given, *minimum, *maximum, &expected()).map(Bound::Integer)
            }
            Self::Port => value::integer(given, 1, 65_535, &expected()).map(Bound::Integer),
            Self::Pid => value::hexadecimal_or_integer(given, 0, i64::from(u32::MAX), &expected())
                .map(Bound::Integer),
            Self::Since { oldest } => {
                time::since(given, *oldest, now, &expected()).map(Bound::Integer)
            }
            Self::Boolean => value::boolean(given).map(|on| Bound::Integer(on.into())),
            // YAML makes a number of `5034441`.
            Self::Hotfix if given.is_u64() => package::hotfix(&given.to_string()).map(Bound::Text),
            _ => {
                let text = value::text(given, &expected())?;
                self.accept_text(text).map(Bound::Text)
            }
        }
    }

    /// The same for the types that are text; `text` has no control characters and is not empty.
    fn accept_text(&self, text: &str) -> Result<String, Refusal> {
        let expected = || self.expectation();
        // Names do not have blanks or quotes around them; what is searched for, and paths, may.
        let bare = value::bare(text);
        match self {
            Self::Path { systems, .. } => path::path(text, *systems),
            Self::PathPattern {
                systems,
                minimum_prefix,
                ..
            } => path::pattern(text, *systems, *minimum_prefix),
            Self::Pattern { minimum_prefix, .. } => {
                names::pattern(text, *minimum_prefix).map(str::to_owned)
            }
            Self::RegistryKey { every_user } => registry_key::registry_key(bare, *every_user),
            Self::HostName => network::host_name(bare),
            Self::UserName(systems) => account::user_name(bare, *systems),
            Self::GroupName(systems) => account::group_name(bare, *systems),
            Self::ProcessName => names::process_name(text).map(str::to_owned),
            Self::Hash { algorithms } => names::hash(bare, algorithms, &expected()),
            Self::IpAddress => network::ip_address(bare),
            Self::MacAddress => network::mac_address(bare),
            Self::Domain => network::domain(bare),
            Self::PackageName { ecosystem } => package::package_name(bare, *ecosystem),
            Self::Version => package::version(bare),
            Self::Hotfix => package::hotfix(bare),
            Self::ChromeExtension => names::chrome_extension(bare),
            Self::Container => names::container(bare).map(str::to_owned),
            Self::SystemdUnit => names::systemd_unit(bare),
            Self::Choice { choices } => {
                let mut alike = choices
                    .iter()
                    .filter(|choice| choice.eq_ignore_ascii_case(bare));
                let exact = choices.iter().find(|choice| *choice == bare);
                match (exact, alike.next(), alike.next()) {
                    (Some(choice), _, _) | (None, Some(choice), None) => Ok(choice.clone()),
                    _ => Err(Refusal::value(format!("must be {}", expected()))),
                }
            }
            Self::Text {
                maximum_length,
                alphabet,
                ..
            } => names::free_text(text, *maximum_length, *alphabet, &expected()).map(str::to_owned),
            Self::Integer { .. } | Self::Port | Self::Pid | Self::Since { .. } | Self::Boolean => {
                Err(Refusal::kind(format!("must be {}, not text", expected())))
            }
        }
    }

    /// Texts at the edges of the type, for the check: each has to leave the statement as it is.
    pub(super) fn edges(&self) -> Vec<String> {
        match self {
            Self::Integer { minimum, maximum } => vec![minimum.to_string(), maximum.to_string()],
            Self::Port => vec!["1".into(), "65535".into()],
            Self::Pid => vec!["0".into(), u32::MAX.to_string()],
            Self::Since { oldest } => vec!["-0s".into(), format!("-{oldest}s")],
            Self::Boolean => vec!["true".into(), "false".into()],
            Self::Choice { choices } => choices.clone(),
            _ => Vec::new(),
        }
    }
}
