//! The statuses that the process ends with, and the codes by which callers tell failures apart: a name in
//! the document, a number as exit status. They stand here and nowhere else, and they are fixed: callers
//! match on them. Knows nothing of how a failure came about.

use serde::Serialize;

/// Every way in which the process ends, each with its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// A document with results, partial or not; of other verbs, all is well.
    Ok,
    /// A verb that checks files (`dry-run`, `templates check`) found problems in them.
    Problems,
    /// Rows are missing, and `--fail-on-partial` was given.
    Partial,
    /// It failed.
    Failed(Code),
    /// SIGINT: 128 + 2.
    Interrupted,
    /// SIGTERM: 128 + 15.
    Terminated,
}

impl Exit {
    /// Every end of `run` and `check`, in the order of their statuses. [`Exit::Problems`] is none of them.
    pub(crate) const OF_RUN: [Self; 18] = [
        Self::Ok,
        Self::Failed(Code::Usage),
        Self::Partial,
        Self::Failed(Code::Decode),
        Self::Failed(Code::Schema),
        Self::Failed(Code::Render),
        Self::Failed(Code::Allowlist),
        Self::Failed(Code::Policy),
        Self::Failed(Code::Auth),
        Self::Failed(Code::Targets),
        Self::Failed(Code::Backend),
        Self::Failed(Code::Unreachable),
        Self::Failed(Code::Busy),
        Self::Failed(Code::Deadline),
        Self::Failed(Code::Internal),
        Self::Failed(Code::Output),
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number that the process ends with.
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Problems => 1,
            Self::Partial => 3,
            Self::Failed(code) => code.status(),
            Self::Interrupted => 128 + 2,
            Self::Terminated => 128 + 15,
        }
    }

    /// The name in `describe`, the audit log and the documentation.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Problems => "problems",
            Self::Partial => "partial",
            Self::Failed(code) => code.name(),
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// What it means, for `describe` and the documentation.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "a document with results, partial ones too",
            Self::Problems => "problems in the files that were checked",
            Self::Partial => "rows are missing, with --fail-on-partial",
            Self::Failed(code) => code.meaning(),
            Self::Interrupted => {
                "SIGINT: the campaign is stopped, the document has cancelled: true"
            }
            Self::Terminated => {
                "SIGTERM: the campaign is stopped, the document has cancelled: true"
            }
        }
    }

    /// Whether the same step may succeed later, where nothing more is known; `None` where nothing failed.
    pub(crate) fn retryable(self) -> Option<bool> {
        match self {
            Self::Ok | Self::Problems | Self::Interrupted | Self::Terminated => None,
            Self::Partial => Some(true),
            Self::Failed(code) => Some(code.retryable()),
        }
    }
}

impl From<Code> for Exit {
    fn from(code: Code) -> Self {
        Self::Failed(code)
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Code {
    /// Wrong flags.
    Usage,
    /// stdin is not one YAML or JSON document of the known forms.
    Decode,
    /// The step does not conform to its schema.
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
    /// stdout can't be written: closed, full, its reader gone, or stalled past the deadline and 2 s.
    Output,
}

impl Code {
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
            Self::Output => "output",
        }
    }

    /// The exit status.
    pub fn status(self) -> u8 {
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
            Self::Output => 74,
        }
    }

    /// What it means, for `describe` and the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Usage => "wrong flags",
            Self::Decode => "stdin is not one YAML or JSON document of the known forms",
            Self::Schema => "the step does not conform to its schema",
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
            Self::Output => {
                "stdout can't be written: closed, full, its reader gone, or stalled past the deadline and 2 s"
            }
        }
    }

    /// Whether the same step may succeed later, where nothing more is known of the failure.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Unreachable | Self::Busy | Self::Deadline)
    }
}
