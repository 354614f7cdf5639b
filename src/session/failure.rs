//! The one place that turns a layer's error into a code, a hint and an exit status.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::ser::SerializeMap;

use crate::allowlist::AllowlistError;
use crate::bug::Bug;
use crate::exit::Code;
use crate::input::{ContextError, DecodeError};
use crate::policy::PolicyError;
use crate::problem::{Placed, Problem};
use crate::regular_file::NoFile;
use crate::servers::BackendError;

/// Problems that the one line on stderr names; the document lists all.
const PROBLEMS_IN_LINE: usize = 5;

/// What to do where too much is asked at once.
const LATER: &str = "run the step again later, or raise `timeout_seconds`";

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
    pub details: Vec<Detail>,
}

/// One of the problems that a failure is, or that would have come next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// What is wrong, and where.
    pub placed: Placed,
    /// The stage that found it, where the run failed at an earlier one.
    pub stage: Option<Code>,
}

impl From<Placed> for Detail {
    fn from(placed: Placed) -> Self {
        Self {
            placed,
            stage: None,
        }
    }
}

impl Serialize for Detail {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.placed.entries(&mut map)?;
        if let Some(stage) = self.stage {
            map.serialize_entry("stage", stage.name())?;
        }
        map.end()
    }
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
    pub fn of_problems(code: Code, what: &str, problems: Vec<Placed>) -> Self {
        let mut named: Vec<String> = problems
            .iter()
            .take(PROBLEMS_IN_LINE)
            .map(|Placed { problem, at }| {
                let (path, message) = (&problem.path, &problem.message);
                match at {
                    _ if path.segments().is_empty() => message.clone(),
                    Some(at) => format!("{path} (line {}): {message}", at.line),
                    None => format!("{path}: {message}"),
                }
            })
            .collect();
        if problems.len() > PROBLEMS_IN_LINE {
            named.push(format!("and {} more", problems.len() - PROBLEMS_IN_LINE));
        }
        Self {
            details: problems.into_iter().map(Detail::from).collect(),
            ..Self::new(code, format!("{what}: {}", named.join("; ")))
        }
    }

    /// The same failure with a text filter over everything foreign (the redaction of secrets).
    #[must_use]
    pub fn map_text(mut self, filter: impl Fn(&str) -> String) -> Self {
        self.message = filter(&self.message);
        self.hint = self.hint.as_deref().map(&filter);
        for detail in &mut self.details {
            let message = &mut detail.placed.problem.message;
            *message = filter(message);
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

/// What one stage has against a step, before anything of it is placed in the text.
#[derive(Debug)]
pub(crate) enum Objection {
    /// It breaks its schema.
    Schema(Vec<Problem>),
    /// It can't be rendered.
    Render(Vec<Problem>),
    /// The allowlist refuses it.
    Allowlist(AllowlistError),
    /// The operator's policy forbids it.
    Policy(PolicyError),
}

impl Objection {
    /// The code of a run that fails for it.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Schema(_) => Code::Schema,
            Self::Render(_) => Code::Render,
            Self::Allowlist(_) => Code::Allowlist,
            Self::Policy(_) => Code::Policy,
        }
    }

    /// Every single problem, by its path in the step.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Schema(problems)
            | Self::Render(problems)
            | Self::Policy(PolicyError::Forbids { problems, .. }) => problems.clone(),
            Self::Allowlist(error) => error.problems(),
            Self::Policy(error) => {
                vec![Problem::new(
                    "params.instance",
                    "instance",
                    error.to_string(),
                )]
            }
        }
    }

    /// The failure of a run that ends with it, with its problems where they stand in the text.
    pub(crate) fn failure(&self, problems: Vec<Placed>) -> Failure {
        let code = self.code();
        match self {
            Self::Schema(_) => Failure::of_problems(code, "the step breaks its schema", problems),
            Self::Render(_) => Failure::of_problems(code, "the step can't be rendered", problems),
            Self::Allowlist(AllowlistError::Refused(_)) => {
                Failure::of_problems(code, "the allowlist refuses the step", problems)
            }
            Self::Allowlist(AllowlistError::Template(_)) => {
                Failure::of_problems(code, "the template is broken", problems)
            }
            Self::Policy(
                error @ PolicyError::Forbids {
                    policy,
                    problems: rules,
                },
            ) => Failure {
                hint: match policy {
                    Some(path) => Some(format!("the policy is {}", path.display())),
                    None => without_a_policy(rules).map(str::to_owned),
                },
                ..Failure::of_problems(code, &error.to_string(), problems)
            },
            Self::Policy(error) => Failure {
                details: problems.into_iter().map(Detail::from).collect(),
                ..error.clone().into()
            },
        }
    }
}

/// What to do about rules that hold without a policy; some of them no policy changes.
fn without_a_policy(problems: &[Problem]) -> Option<&'static str> {
    match &*problems.first()?.rule {
        "allow_http" | "template" => Some(
            "an operator's policy (`--policy FILE`) can allow it with the key that the message names",
        ),
        "trust" => Some(
            "whoever can write to it chooses which servers are trusted: have root or this process's user own it, and nobody else write to it",
        ),
        "address" => Some("look at `base_url`: no policy allows such an address"),
        _ => None,
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        let code = match error {
            PolicyError::Busy { .. } => Code::Busy,
            _ => Code::Policy,
        };
        let hint = match &error {
            PolicyError::EmptyVariable => "unset it, or have it name the policy's file",
            PolicyError::Two { .. } => {
                "leave `--policy` out: the variable's policy is the operator's"
            }
            PolicyError::Unreadable { .. } => {
                "nothing is run without the policy that was named: mend it, or name another"
            }
            PolicyError::Unusable { .. } => {
                "`osquery-live-query schema policy` describes every key"
            }
            PolicyError::Instance(_) => "the policy's `instances` say where credentials come from",
            PolicyError::Forbids { .. } => "look at the operator's policy",
            PolicyError::AuditLog { .. } => {
                "the policy's `audit_log` must be a file that this program can append to"
            }
            PolicyError::Lock { .. } => {
                "the policy's `lock_dir` must be a folder that this program can write to, and others can't"
            }
            PolicyError::Busy { .. } => LATER,
        };
        let what = error.to_string();
        let problems = match error {
            PolicyError::Unusable { problems, .. } => {
                problems.into_iter().map(of_the_policy).collect()
            }
            PolicyError::Forbids { problems, .. } => {
                problems.into_iter().map(Placed::from).collect()
            }
            _ => return Self::new(code, what).hint(hint),
        };
        Self::of_problems(code, &what, problems).hint(hint)
    }
}

/// A problem of the policy's file: in the document's details its line would look like one of the step.
fn of_the_policy(Placed { mut problem, at }: Placed) -> Placed {
    if let Some(at) = at {
        problem.message = format!("line {}: {}", at.line, problem.message);
    }
    problem.into()
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        let message = match error.position {
            Some(at) => format!("line {}, column {}: {}", at.line, at.column, error.message),
            None => error.message.clone(),
        };
        let mut failure = Self::new(Code::Decode, message);
        failure.hint = error.hint;
        if error.position.is_some() {
            let problem = Problem::new("", "decode", error.message);
            failure.details = vec![problem.at(error.position).into()];
        }
        failure
    }
}

impl Failure {
    /// A file that was named can't be read: `what` goes before its path, with a blank at its end.
    pub(crate) fn of_file(what: &str, path: &Path, error: NoFile) -> Self {
        let message = format!("{what}{} {error}", path.display());
        Self::new(Code::Usage, message).hint(error.advice())
    }

    /// The file that `--context` names can't be read.
    pub(crate) fn of_context_file(path: &Path, error: NoFile) -> Self {
        let form = "`--context` names a YAML or JSON file with a mapping such as `alert: {…}`";
        let hint = match error {
            NoFile::Missing => form.to_owned(),
            error => format!("{}; {form}", error.advice()),
        };
        Self::of_file("the context file ", path, error).hint(hint)
    }

    /// What the file that `--context` names holds can't be used.
    pub(crate) fn of_context(path: &Path, error: &ContextError) -> Self {
        let decode = match error {
            ContextError::InvocationHasItsOwn => {
                return Self::new(Code::Usage, error.to_string())
                    .hint("leave `--context` out, or give the step alone");
            }
            ContextError::Decode(decode) => decode,
        };
        let place = decode.position.map_or(String::new(), |at| {
            format!(" (line {}, column {})", at.line, at.column)
        });
        let message = &decode.message;
        let message = format!("the context file {}{place}: {message}", path.display());
        Self::new(Code::Usage, message)
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
                Some(LATER.into()),
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
            #[serde(skip_serializing_if = "<[Detail]>::is_empty")]
            details: &'a [Detail],
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
