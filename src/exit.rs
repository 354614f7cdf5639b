//! The codes by which callers tell failures apart: a name in the document, a number as exit status.
//! They are fixed: callers match on them. Knows nothing of how a failure came about.

use serde::Serialize;

/// Exit status 0: a document with results, partial or not.
pub const OK: u8 = 0;
/// Exit status 1: a verb that checks files (`templates check`) found problems in them.
pub const PROBLEMS: u8 = 1;
/// Exit status 3: rows are missing, and `--fail-on-partial` was given.
pub const PARTIAL: u8 = 3;
/// Exit status after SIGINT: 128 + 2.
pub const INTERRUPTED: u8 = 130;
/// Exit status after SIGTERM: 128 + 15.
pub const TERMINATED: u8 = 143;

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Code {
    /// Wrong flags.
    Usage,
    /// stdin is not one YAML or JSON document of the known forms.
    Decode,
    /// The step breaks its schema.
    Schema,
    /// An expression or a secret can't be rendered.
    Render,
    /// Unknown template, unknown, missing or refused parameter, raw SQL offered.
    Allowlist,
    /// The operator's policy forbids it.
    Policy,
    /// The server refused the credentials or the role.
    Auth,
    /// No target is enrolled, a label does not exist, or there are too many hosts.
    Targets,
    /// The server answered with an error or with something that it should not.
    Backend,
    /// DNS, connect, TLS, or a connection that stayed broken.
    Unreachable,
    /// The server asked to wait for longer than the deadline allows.
    Busy,
    /// The deadline came before a campaign was started and listened to.
    Deadline,
    /// A bug.
    Internal,
}

impl Code {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Usage,
        Self::Decode,
        Self::Schema,
        Self::Render,
        Self::Allowlist,
        Self::Policy,
        Self::Auth,
        Self::Targets,
        Self::Backend,
        Self::Unreachable,
        Self::Busy,
        Self::Deadline,
        Self::Internal,
    ];

    /// The name in documents and in `error[NAME]`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Decode => "decode",
            Self::Schema => "schema",
            Self::Render => "render",
            Self::Allowlist => "allowlist",
            Self::Policy => "policy",
            Self::Auth => "auth",
            Self::Targets => "targets",
            Self::Backend => "backend",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Deadline => "deadline",
            Self::Internal => "internal",
        }
    }

    /// The exit status.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Decode => 10,
            Self::Schema => 11,
            Self::Render => 12,
            Self::Allowlist => 13,
            Self::Policy => 14,
            Self::Auth => 20,
            Self::Targets => 21,
            Self::Backend => 22,
            Self::Unreachable => 23,
            Self::Busy => 24,
            Self::Deadline => 25,
            Self::Internal => 70,
        }
    }

    /// What it means, for `describe` and the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Usage => "wrong flags",
            Self::Decode => "stdin is not one YAML or JSON document of the known forms",
            Self::Schema => "the step breaks its schema",
            Self::Render => {
                "undefined name, missing secret, secret in the wrong field, fuel used up"
            }
            Self::Allowlist => {
                "unknown template, unknown, missing or refused parameter, raw SQL offered"
            }
            Self::Policy => "the operator's policy forbids it",
            Self::Auth => "the server refused the credentials or the role",
            Self::Targets => {
                "no target is enrolled, a label does not exist, or there are more hosts than max_hosts"
            }
            Self::Backend => "the server answered with an error or with something it should not",
            Self::Unreachable => "DNS, connect, TLS, or a connection that stayed broken",
            Self::Busy => "429 or 503 for longer than the deadline allows",
            Self::Deadline => "the deadline came before a campaign was started and listened to",
            Self::Internal => "a bug",
        }
    }

    /// Whether the same step may succeed later, where nothing more is known of the failure.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Unreachable | Self::Busy | Self::Deadline)
    }
}
