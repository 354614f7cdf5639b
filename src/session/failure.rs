//! The one place that turns a layer's error into a code, a hint and an exit status.

use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::bug::Bug;
use crate::exit::Code;
use crate::problem::Problem;
use crate::servers::BackendError;

/// Problems that the one line on stderr names; the document lists all.
const PROBLEMS_IN_LINE: usize = 5;

/// A failed run, as the document and stderr tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The class, which is also the exit status.
    pub code: Code,
    /// What was wrong and where, in one line.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether the same step may succeed later.
    pub retryable: bool,
    /// Every single problem, where there can be several.
    pub details: Vec<Problem>,
}

impl Failure {
    /// A failure with its code's usual `retryable`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            retryable: code.retryable(),
            details: Vec::new(),
        }
    }

    /// The deadline came before a campaign was listened to.
    pub(super) fn too_late(doing: &str, timeout: Duration) -> Self {
        Self::new(
            Code::Deadline,
            format!(
                "the deadline of {} s came while {doing}",
                timeout.as_secs()
            ),
        )
        .hint("raise `timeout_seconds`; it counts from the start of the process and covers everything")
    }

    /// What the process needs is refused by the system.
    pub(crate) fn no_resources(error: &io::Error) -> Self {
        Self::new(
            Code::Internal,
            format!(
                "the system refuses what the process needs: {}",
                error.kind()
            ),
        )
        .hint("look at the limits of open files and processes")
    }

    /// stdout can't be written to.
    pub(crate) fn not_written(what: &str) -> Self {
        Self::new(
            Code::Output,
            format!("the document can't be written to stdout: {what}"),
        )
        .hint("look at what stdout leads to: a full disk, a closed file, a reader that has stopped")
    }

    /// The same failure with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A failure that is one or several problems in what a person wrote; `what` names the whole
    /// (`the step breaks its schema`).
    pub fn of_problems(code: Code, what: &str, details: Vec<Problem>) -> Self {
        let mut named: Vec<String> = details
            .iter()
            .take(PROBLEMS_IN_LINE)
            .map(|problem| match (&*problem.path, problem.line) {
                ("", _) => problem.message.clone(),
                (path, Some(line)) => format!("{path} (line {line}): {}", problem.message),
                (path, None) => format!("{path}: {}", problem.message),
            })
            .collect();
        if details.len() > PROBLEMS_IN_LINE {
            named.push(format!("and {} more", details.len() - PROBLEMS_IN_LINE));
        }
        Self {
            details,
            ..Self::new(code, format!("{what}: {}", named.join("; ")))
        }
    }

    /// The same failure with a text filter over everything foreign (the redaction of secrets).
    #[must_use]
    pub fn map_text(mut self, filter: impl Fn(&str) -> String) -> Self {
        self.message = filter(&self.message);
        self.hint = self.hint.as_deref().map(&filter);
        for problem in &mut self.details {
            problem.message = filter(&problem.message);
        }
        self
    }
}

impl From<Bug> for Failure {
    fn from(bug: Bug) -> Self {
        Self::new(Code::Internal, bug.to_string())
            .hint("report this line, with the step's template and without its secrets, to the project's issue tracker")
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        let message = error.to_string();
        let (code, hint, retryable) = match error {
            BackendError::Auth { hint, .. } => (Code::Auth, hint, false),
            BackendError::Targets { hint, .. } => (Code::Targets, hint, false),
            BackendError::TooManyHosts { .. } => (
                Code::Targets,
                Some(
                    "name fewer targets, narrow them with `target_platforms`, or raise `max_hosts`"
                        .into(),
                ),
                false,
            ),
            BackendError::Answer { status, hint, .. } => {
                (Code::Backend, hint, matches!(status, Some(502..=504)))
            }
            BackendError::Unreachable { hint, .. } => (Code::Unreachable, hint, true),
            BackendError::Setup { hint, .. } => (Code::Unreachable, hint, false),
            BackendError::Forbidden { .. } => (
                Code::Policy,
                Some("a live-query server never has such an address: look at `base_url` and at the name service".into()),
                false,
            ),
            BackendError::Busy { .. } => (
                Code::Busy,
                Some("run the step again later, or raise `timeout_seconds`".into()),
                true,
            ),
        };
        Self {
            code,
            message,
            hint,
            retryable,
            details: Vec::new(),
        }
    }
}

impl Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            code: Code,
            exit_code: u8,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<&'a str>,
            retryable: bool,
            #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
            details: &'a [Problem],
        }
        Shape {
            code: self.code,
            exit_code: self.code.status(),
            message: &self.message,
            hint: self.hint.as_deref(),
            retryable: self.retryable,
            details: &self.details,
        }
        .serialize(serializer)
    }
}
