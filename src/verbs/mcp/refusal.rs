//! What a call is refused with, or fails with: the contract's code, what was wrong, what to do. Said to the
//! model as a tool's error, so that it can do better; it never ends the server.

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

use super::cells::clean;
use crate::exit::Code;
use crate::nearest::question;
use crate::problem::{Placed, Problem};
use crate::session::failure::Failure;

/// Bytes of one text at most.
const TEXT_BYTES: usize = 2_048;
/// Problems that are listed.
const MOST_DETAILS: usize = 10;
/// Problems that the message names.
const MOST_NAMED: usize = 5;

/// How the one message ends that goes on with names of hosts.
const NO_OSQUERY: &str = "phones and tablets run no osquery";

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub code: Code,
    pub message: String,
    pub hint: Option<String>,
    pub retryable: bool,
    pub details: Vec<Problem>,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: Some(hint.into()),
            retryable: code.retryable(),
            details: Vec::new(),
        }
    }

    /// Arguments that don't keep to the tool's input schema.
    pub(super) fn of_arguments(tool: &str, problems: Vec<Problem>) -> Self {
        let messages: Vec<&str> = problems.iter().map(|it| it.message.as_str()).collect();
        let message = format!("the arguments of {tool}: {}", messages.join("; "));
        Self {
            details: problems,
            ..Self::new(
                Code::Schema,
                message,
                "the tool's input schema says what it takes",
            )
        }
    }

    pub(super) fn unknown_template<'a>(
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let likely = question(name, known);
        let likely = likely.map_or(String::new(), |likely| format!(": {likely}"));
        Self::new(
            Code::Allowlist,
            format!("there is no template `{name}` that may be named here{likely}"),
            "find_templates lists those that may",
        )
    }

    pub(super) fn unknown_instance<'a>(
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<String> = known.into_iter().map(|it| format!("`{it}`")).collect();
        Self::new(
            Code::Policy,
            format!("there is no instance `{name}` in the operator's policy"),
            format!("the instances are {}", known.join(", ")),
        )
    }

    /// Too much is asked at once.
    pub(super) fn busy(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Code::Busy, message, hint)
    }

    /// The refusal as the contract's `error`, nothing in it that could be taken for anything but text.
    pub(super) fn to_json(&self) -> Value {
        let mut error = json!({
            "code": self.code.name(),
            "message": clean(&self.message, TEXT_BYTES),
            "retryable": self.retryable,
        });
        if let Some(hint) = &self.hint {
            error["hint"] = clean(hint, TEXT_BYTES).into();
        }
        // One is the message already.
        if self.details.len() > 1 {
            let details = self.details.iter().take(MOST_DETAILS).map(|problem| {
                json!({
                    "path": clean(&as_arguments(&problem.path.subject()), 256),
                    "rule": clean(&problem.rule, 64),
                    "message": clean(&problem.message, TEXT_BYTES / 4),
                })
            });
            error["details"] = details.collect();
        }
        error
    }

    /// The tool's error.
    pub(super) fn into_result(self) -> CallToolResult {
        let text = json!({ "error": self.to_json() }).to_string();
        CallToolResult::error(vec![ContentBlock::text(text)])
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let hint = match failure.code {
            // A model can change neither policy nor playbook.
            Code::Policy => Some("the operator's policy decides that: find_templates lists what may be asked, plan_live_query says how much".into()),
            Code::Targets => Some("find_hosts finds enrolled hosts by part of a name; name fewer hosts, or narrow them with `target_platforms`".into()),
            _ => failure.hint,
        };
        let details = failure.details.into_iter();
        let details: Vec<Problem> = details
            .map(|detail| {
                // Lines and columns are those of a step that nobody has seen.
                let Placed { problem, .. } = detail.placed;
                problem
            })
            .collect();
        let message = match (details.first(), failure.message.split_once(": ")) {
            (Some(_), Some((what, _))) => {
                let messages = details.iter().take(MOST_NAMED);
                let messages: Vec<&str> = messages.map(|it| it.message.as_str()).collect();
                format!("{what}: {}", messages.join("; "))
            }
            // Behind it stand the names of members, which these chose themselves.
            _ => match failure.message.split_once(NO_OSQUERY) {
                Some((before, _)) => format!("{before}{NO_OSQUERY}"),
                None => failure.message,
            },
        };
        Self {
            code: failure.code,
            message: as_arguments(&message),
            hint: hint.map(|hint| as_arguments(&hint)),
            retryable: failure.retryable,
            details,
        }
    }
}

/// Words for a step's keys, in the words of the tools' arguments.
fn as_arguments(text: &str) -> String {
    text.replace("template_params", "parameters")
        .replace("params.", "")
}
