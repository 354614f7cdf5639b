//! A parameter as a template declares it, its types, and the one way from a step's value to a value
//! that may be bound. Values are refused where they do not fit, never changed into something that does;
//! the only rewriting is to the one spelling in which osquery itself writes the thing (a hash or a
//! domain in lower case, an address in its short form), for a comparison would otherwise miss it silently.

use serde_json::{Value, json};

use super::error::listed;
use super::{names, path, time, value};

/// A declared parameter.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// What may stand in it.
    pub kind: ParameterType,
    /// What it is for.
    pub description: String,
    /// What is bound where a step gives nothing; a parameter without one has to be given.
    pub default: Option<String>,
    /// A value that fits, for documentation and for the check.
    pub example: Option<String>,
}

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
    Path(path::PathForms),
    /// An absolute path with `%` for parts of single names.
    PathPattern {
        /// Which spellings fit.
        forms: path::PathForms,
        /// Characters before the first `%`, at least.
        minimum_prefix: usize,
    },
    /// A name with `%` in it, for `LIKE`.
    Pattern {
        /// Characters before the first `%`, at least.
        minimum_prefix: usize,
    },
    /// A path in the Windows registry, from a root such as `HKEY_LOCAL_MACHINE`.
    RegistryKey,
    /// A DNS host name or a single label.
    HostName,
    /// The name of an account.
    UserName,
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
    /// A domain name.
    Domain,
    /// A package's name in a package manager.
    PackageName,
    /// A version as package managers write it.
    Version,
    /// One of a list.
    Choice {
        /// The list.
        choices: Vec<String>,
    },
    /// `true` or `false`, bound as 1 or 0.
    Boolean,
    /// Text.
    Text {
        /// Characters at most.
        maximum_length: usize,
        /// Characters that may stand in it.
        alphabet: Alphabet,
    },
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

/// A value that fits its type, ready to be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    /// An SQL integer.
    Integer(i64),
    /// An SQL text; no NUL, no control characters.
    Text(String),
}

impl rusqlite::ToSql for Bound {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Integer(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

/// Why a value does not fit; goes on after "parameter `NAME` " and never holds the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `parameter_type`, `parameter_range` or `parameter_value`.
    pub(super) rule: &'static str,
    /// "must be …" or "must not …".
    pub(super) reason: String,
}

impl Refusal {
    /// The wrong kind of value altogether.
    pub(super) fn kind(reason: impl Into<String>) -> Self {
        Self {
            rule: "parameter_type",
            reason: reason.into(),
        }
    }

    /// A number or a time outside its bounds.
    pub(super) fn range(reason: impl Into<String>) -> Self {
        Self {
            rule: "parameter_range",
            reason: reason.into(),
        }
    }

    /// Text that is not of the type's form.
    pub(super) fn value(reason: impl Into<String>) -> Self {
        Self {
            rule: "parameter_value",
            reason: reason.into(),
        }
    }
}

impl ParameterType {
    /// The word in templates.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Integer { .. } => "integer",
            Self::Since { .. } => "since",
            Self::Path(_) => "path",
            Self::PathPattern { .. } => "path_pattern",
            Self::Pattern { .. } => "pattern",
            Self::RegistryKey => "registry_key",
            Self::HostName => "host_name",
            Self::UserName => "user_name",
            Self::ProcessName => "process_name",
            Self::Hash { .. } => "hash",
            Self::Port => "port",
            Self::Pid => "pid",
            Self::IpAddress => "ip_address",
            Self::Domain => "domain",
            Self::PackageName => "package_name",
            Self::Version => "version",
            Self::Choice { .. } => "choice",
            Self::Boolean => "boolean",
            Self::Text { .. } => "text",
        }
    }

    /// What fits, as messages and documentation say it: "an integer from 1 to 10000".
    pub fn expectation(&self) -> String {
        match self {
            Self::Integer { minimum, maximum } => {
                format!("an integer from {minimum} to {maximum}")
            }
            Self::Since { oldest } => format!(
                "unix seconds or milliseconds, RFC 3339 with `Z` or an offset, or an age such as `-24h` \
                 (units s, m, h, d, w), {} back at most",
                time::in_words(*oldest)
            ),
            Self::Path(forms) => format!("an absolute path {}", forms.example()),
            Self::PathPattern { forms, .. } => format!(
                "an absolute path {} in which `%` stands for a part of a name",
                forms.example()
            ),
            Self::Pattern { .. } => "text in which `%` stands for any characters".to_owned(),
            Self::RegistryKey => r"a registry key such as `HKEY_LOCAL_MACHINE\SOFTWARE`".to_owned(),
            Self::HostName => "a host name".to_owned(),
            Self::UserName => "a user name".to_owned(),
            Self::ProcessName => "the name of a process".to_owned(),
            Self::Hash { algorithms } => {
                let kinds: Vec<String> = algorithms
                    .iter()
                    .map(|one| format!("{} ({} hexadecimal digits)", one.name(), one.digits()))
                    .collect();
                format!("a hash: {}", kinds.join(" or "))
            }
            Self::Port => "a port from 1 to 65535".to_owned(),
            Self::Pid => {
                "a process id from 0 to 4294967295, decimal or hexadecimal as `0x1a2c`".to_owned()
            }
            Self::IpAddress => "an IPv4 or IPv6 address".to_owned(),
            Self::Domain => "a domain name".to_owned(),
            Self::PackageName => "the name of a package".to_owned(),
            Self::Version => "a version such as `1.2.3` or `1:1.1.1-1ubuntu2`".to_owned(),
            Self::Choice { choices } => {
                format!("one of {}", listed(choices.iter().map(String::as_str)))
            }
            Self::Boolean => "true or false".to_owned(),
            Self::Text {
                maximum_length,
                alphabet,
            } => match alphabet {
                Alphabet::Printable => format!("text of 1 to {maximum_length} characters"),
                Alphabet::Identifier => {
                    format!("1 to {maximum_length} ASCII letters, digits or any of `. _ - @ :`")
                }
            },
        }
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
        matches!(self, Self::PathPattern { .. } | Self::Pattern { .. })
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
            _ => {
                let text = value::text(given, &expected())?;
                self.accept_text(text).map(Bound::Text)
            }
        }
    }

    /// The same for the types that are text; `text` has no control characters and is not empty.
    fn accept_text(&self, text: &str) -> Result<String, Refusal> {
        let expected = self.expectation();
        match self {
            Self::Path(forms) => path::path(text, *forms).map(str::to_owned),
            Self::PathPattern {
                forms,
                minimum_prefix,
            } => path::pattern(text, *forms, *minimum_prefix).map(str::to_owned),
            Self::Pattern { minimum_prefix } => {
                names::pattern(text, *minimum_prefix).map(str::to_owned)
            }
            Self::RegistryKey => path::registry_key(text).map(str::to_owned),
            Self::HostName => names::host_name(text).map(str::to_owned),
            Self::UserName => names::user_name(text).map(str::to_owned),
            Self::ProcessName => names::process_name(text).map(str::to_owned),
            Self::Hash { algorithms } => names::hash(text, algorithms, &expected),
            Self::IpAddress => names::ip_address(text),
            Self::Domain => names::domain(text),
            Self::PackageName => names::package_name(text).map(str::to_owned),
            Self::Version => names::version(text).map(str::to_owned),
            Self::Choice { choices } => {
                if choices.iter().any(|choice| choice == text) {
                    Ok(text.to_owned())
                } else {
                    Err(Refusal::value(format!("must be {expected}")))
                }
            }
            Self::Text {
                maximum_length,
                alphabet,
            } => names::free_text(text, *maximum_length, *alphabet, &expected).map(str::to_owned),
            Self::Integer { .. } | Self::Port | Self::Pid | Self::Since { .. } | Self::Boolean => {
                Err(Refusal::kind(format!("must be {expected}, not text")))
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

impl Parameter {
    /// The parameter for machines.
    pub(super) fn to_json(&self, name: &str) -> Value {
        let mut document = json!({
            "name": name,
            "type": self.kind.name(),
            "description": self.description,
        });
        let typed = |text: &String| match &self.kind {
            ParameterType::Integer { .. } | ParameterType::Port | ParameterType::Pid => text
                .parse::<i64>()
                .map_or_else(|_| json!(text), |number| json!(number)),
            ParameterType::Boolean => json!(text == "true"),
            _ => json!(text),
        };
        if let Some(default) = &self.default {
            document["default"] = typed(default);
        }
        if let Some(example) = &self.example {
            document["example"] = typed(example);
        }
        match &self.kind {
            ParameterType::Integer { minimum, maximum } => {
                document["minimum"] = json!(minimum);
                document["maximum"] = json!(maximum);
            }
            ParameterType::Choice { choices } => document["choices"] = json!(choices),
            _ => {}
        }
        document
    }
}
