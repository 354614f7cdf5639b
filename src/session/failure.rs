//! The one place that turns a layer's error into a code, a hint and an exit status.

mod told;

use std::io;
use std::path::Path;

use rustix::io::Errno;

use told::Above;
pub use told::{Detail, Failure};

use super::drive::DriveError;
use crate::allowlist::AllowlistError;
use crate::bug::Bug;
use crate::call_error::CallError;
use crate::collect::{NoState, PollError, StateError};
use crate::exit::Code;
use crate::input::{ContextError, DecodeError};
use crate::memory::NoMemory;
use crate::nearest::asked;
use crate::policy::PolicyError;
use crate::problem::{Placed, Problem};
use crate::regular_file::NoFile;
use crate::servers::BackendError;

/// What to do where the system gives too little.
const RAISE_LIMITS: &str = "raise the limits of this process (`ulimit -n`, `-u`, `-v`; in a service LimitNOFILE, TasksMax, LimitAS, MemoryMax)";

/// What `--resume` wants.
const EARLIER: &str = "`--resume` names what `run` wrote for the same step: the document, or all lines of `--format ndjson`";

/// What to do where too much is asked at once.
const LATER: &str = "run the step again later, or raise `timeout_seconds`";

impl Failure {
    /// What the process needs is refused by the system.
    pub(crate) fn no_resources(error: &io::Error) -> Self {
        let what = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::MFILE) => "it may open no more files (`ulimit -n`)".to_owned(),
            Some(Errno::NFILE) => "this machine can open no more files".into(),
            // Of what is asked for here only a thread is refused so.
            Some(Errno::AGAIN) => "it may start no more threads (`ulimit -u`)".into(),
            Some(Errno::NOMEM | Errno::NOBUFS) => "it gets no more memory (`ulimit -v`)".into(),
            _ => error.kind().to_string(),
        };
        let message = format!("the system refuses what the process needs: {what}");
        Self::new(Code::Internal, message).hint(RAISE_LIMITS)
    }

    /// Memory that was wanted for this is refused.
    pub(crate) fn no_memory(what: &str, refused: NoMemory) -> Self {
        let message = format!(
            "the system refuses the memory (`ulimit -v`) that {what} needs: {refused} were wanted"
        );
        Self::new(Code::Internal, message).hint(RAISE_LIMITS)
    }

    /// stdout can't be written to.
    pub(crate) fn not_written(what: &str) -> Self {
        Self::new(
            Code::Output,
            format!("the document can't be written to stdout: {what}"),
        )
        .hint("look at what stdout leads to: a full disk, a closed file, a reader that has stopped")
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
    /// It does not conform to its schema.
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
    pub(crate) fn failure(&self, problems: Vec<Placed>, of_one_line: bool) -> Failure {
        let listed =
            |what: &str, problems| Failure::of_problems(self.code(), what, problems, of_one_line);
        match self {
            Self::Schema(_) => listed("the step does not conform to its schema", problems),
            Self::Render(_) => listed("the step can't be rendered", problems),
            Self::Allowlist(AllowlistError::Refused(_)) => {
                listed("the allowlist refuses the step", problems)
            }
            Self::Allowlist(AllowlistError::Template(_)) => {
                listed("the template can't be used", problems)
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
                ..listed(&error.to_string(), problems)
            },
            Self::Policy(error) => Failure {
                details: problems.into_iter().map(Detail::from).collect(),
                above: Some(Box::new(Above {
                    what: "the step can't be run".into(),
                    of_one_line,
                })),
                ..error.clone().into()
            },
        }
    }
}

impl Failure {
    /// A connector that can't be polled as it is written: what one stage has against it, with its problems
    /// where they stand in the text.
    pub(crate) fn of_connector(
        objection: &Objection,
        problems: Vec<Placed>,
        of_one_line: bool,
    ) -> Self {
        let mut failure = objection.failure(problems, of_one_line);
        let of_connector = |text: &str| text.replace("the step", "the connector");
        failure.message = of_connector(&failure.message);
        if let Some(above) = &mut failure.above {
            above.what = of_connector(&above.what);
        }
        failure
    }
}

/// What to do about rules that hold without a policy; some of them no policy changes.
fn without_a_policy(problems: &[Problem]) -> Option<&'static str> {
    match &*problems.first()?.rule {
        "allow_http" | "template" => Some(
            "an operator's policy (`--policy FILE`) can allow it with the key that the message names",
        ),
        "trust" => Some(
            "whoever can write to it chooses which servers are trusted: let root or this process's user own it, and nobody else write to it",
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
                "nothing is run without the policy that was named: fix it, or name another"
            }
            PolicyError::Unusable { .. } => {
                "`osquery-live-query schema policy` describes every key"
            }
            PolicyError::NoInstances { .. } => {
                "name one with `--policy FILE` whose `instances` has at least one server"
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
        Self::of_problems(code, &what, problems, false).hint(hint)
    }
}

/// A problem of the policy's file: in the document's details its line would look like one of the step.
fn of_the_policy(Placed { mut problem, at }: Placed) -> Placed {
    if let Some(at) = at {
        problem.message = format!("{} of the policy: {}", at.words(false), problem.message);
    }
    problem.into()
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        let message = match error.position {
            Some(at) => format!("{}: {}", at.words(error.of_one_line), error.message),
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

    /// The file that `--resume` names can't be read.
    pub(crate) fn of_earlier_file(path: &Path, error: NoFile) -> Self {
        let hint = format!("{}; {EARLIER}", error.advice());
        Self::of_file("the earlier document ", path, error).hint(hint)
    }

    /// The file that `--resume` names can't be gone on with.
    pub(crate) fn of_earlier(path: &Path, what: &str) -> Self {
        let message = format!("the earlier document {}: {what}", path.display());
        Self::new(Code::Usage, message).hint(EARLIER)
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
            format!(" ({})", at.words(decode.of_one_line))
        });
        let message = &decode.message;
        let message = format!("the context file {}{place}: {message}", path.display());
        Self::new(Code::Usage, message)
    }
}

impl From<AllowlistError> for Failure {
    fn from(error: AllowlistError) -> Self {
        Self::new(Code::Allowlist, error.to_string())
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        let (code, hint) = match error {
            CallError::Arguments { help, .. } => (Code::Usage, Some(help)),
            CallError::Flags { verb, .. } => {
                let hint = format!("see `osquery-live-query {verb} --help`");
                (Code::Usage, Some(hint))
            }
            CallError::File { hint, .. } => (Code::Usage, hint.map(str::to_owned)),
            #[cfg(feature = "demo")]
            CallError::Scenario { advice, .. } => {
                let form = "simulator/README.md describes scenario files";
                let hint = advice.map_or(form.to_owned(), |advice| format!("{advice}; {form}"));
                (Code::Usage, Some(hint))
            }
            #[cfg(feature = "demo")]
            CallError::Simulator(_) => (Code::Usage, None),
            CallError::Secret(_) => (Code::Render, None),
            CallError::Signature(_) => {
                let hint = "the document must be handed on byte for byte, and the secret must be that of the alert's channel; if both are, somebody else has posted it";
                (Code::Auth, Some(hint.to_owned()))
            }
            CallError::Withheld(_) => (Code::Policy, None),
            CallError::NoStatement(_) => {
                let hint = "see `osquery-live-query templates NAME` for a template's parameters";
                (Code::Allowlist, Some(hint.to_owned()))
            }
            #[cfg(feature = "demo")]
            CallError::Demo(_) => (Code::Internal, None),
        };
        Self {
            hint,
            ..Self::new(code, message)
        }
    }
}

impl From<DriveError> for Failure {
    fn from(error: DriveError) -> Self {
        let (code, hint) = match &error {
            DriveError::NoMember => (
                Code::Targets,
                "look at the members of the labels, and at `target_platforms`".to_owned(),
            ),
            DriveError::NoOsquery { .. } => (
                Code::Targets,
                "name computers in the targets; a phone's device management knows about the phone".to_owned(),
            ),
            DriveError::NoSerial(_) => (
                Code::Targets,
                "name the host by its hostname or uuid, or by another field of the alert".to_owned(),
            ),
            DriveError::NotEnrolled { server, .. } | DriveError::NoneEnrolled { server, .. } => {
                let known = server.known();
                let needs = known.needs.iter();
                let needs: String = needs.map(|need| format!(", the {}", need.field)).collect();
                let understood = match known.has.count {
                    true => "hostname, uuid and serial are understood",
                    false => "a host is found by the name that it enrolled under and by nothing else, upper and lower case told apart",
                };
                let likely = match &error {
                    DriveError::NotEnrolled { likely, .. } => likely.as_ref(),
                    _ => None,
                };
                let likely = likely.map(|near| format!("{} ", asked(near)));
                let hint = format!(
                    "{}check the names{needs} and the server; {understood}",
                    likely.unwrap_or_default()
                );
                (Code::Targets, hint)
            }
            DriveError::TooLate { .. } => (
                Code::Deadline,
                "raise `timeout_seconds`; it counts from the start of the process and covers everything".to_owned(),
            ),
        };
        Self::new(code, error.to_string()).hint(hint)
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        let words = error.to_string();
        let (code, hint) = match error.what {
            NoState::File(error) => (Code::Usage, error.advice()),
            NoState::Foreign => (
                Code::Usage,
                "nothing was written to it: name the file of a state, or one that does not exist yet",
            ),
            NoState::Newer => (
                Code::Usage,
                "nothing was written to it: use the version that wrote it, or name another file",
            ),
            NoState::Another(_) => (
                Code::Usage,
                "nothing was written to it: each connector needs a state of its own, so name another file",
            ),
            NoState::Damaged => (
                Code::Usage,
                "nothing was written to it: put it aside, and the next poll begins anew (`since_seconds` says how far back)",
            ),
            NoState::Busy => (
                Code::Busy,
                "another poll of this connector runs: start the next one when it has ended",
            ),
            NoState::Refused(_) => (
                Code::Output,
                "look at the disk and the folder that it lies on; the events that were written come again, under the same ids",
            ),
        };
        Self::new(code, words).hint(hint)
    }
}

impl From<PollError> for Failure {
    fn from(error: PollError) -> Self {
        match error {
            PollError::Backend(error) => error.into(),
            PollError::State(error) => error.into(),
            PollError::TooLate(timeout) => Self::new(
                Code::Deadline,
                format!("the poll did not end within {} s", timeout.as_secs()),
            )
            .hint(
                "raise `timeout_seconds`, or poll fewer `queries`; what was read to its end lasts",
            ),
            PollError::Cancelled => Self::new(
                Code::Deadline,
                "the poll was ended from outside before it was through",
            ),
            PollError::Unread => Self::not_written("its reader has gone"),
        }
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
            hint,
            retryable,
            ..Self::new(code, message)
        }
    }
}
