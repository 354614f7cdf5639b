//! What a dry run says of files: findings, and what each step would send. Knows nothing of how it is
//! found or shown.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::problem::{Placed, Position};

/// Whether a step would fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It would.
    Error,
    /// It would not, but its author should know.
    Warning,
}

impl Severity {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong, and where. The message never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule that was broken, in a word.
    pub rule: String,
    /// How grave it is.
    pub severity: Severity,
    /// What is wrong and what to do, in the user's words.
    pub message: String,
    /// Line, from one.
    pub line: usize,
    /// Column in characters, from one.
    pub column: usize,
    /// The step's id, where it is in a step that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

impl Finding {
    /// A finding at a place; what has none stands at the beginning.
    pub fn new(
        severity: Severity,
        rule: impl Into<String>,
        message: impl Into<String>,
        at: Option<Position>,
    ) -> Self {
        let at = at.unwrap_or(Position { line: 1, column: 1 });
        Self {
            rule: rule.into(),
            severity,
            message: message.into(),
            line: at.line,
            column: at.column,
            step: None,
        }
    }

    /// A problem as a finding.
    pub fn of(severity: Severity, Placed { problem, at }: Placed) -> Self {
        Self::new(severity, problem.rule, problem.message, at)
    }

    /// The same finding in a step.
    #[must_use]
    pub fn in_step(mut self, id: Option<&str>) -> Self {
        self.step = id.map(str::to_owned);
        self
    }
}

/// What one of our steps would send; `None` is what a step with problems does not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The step's id.
    pub id: Option<String>,
    /// The allowlisted template.
    pub template: Option<String>,
    /// The SQL; what is unknown stands in it as the step has it.
    pub sql: Option<String>,
    /// The kind of server, as documents name it.
    pub backend: Option<&'static str>,
    /// Who would be asked.
    pub targets: Option<PlannedTargets>,
    /// The deadline: a number of seconds, or an expression.
    pub timeout_seconds: Option<Value>,
    /// What a rehearsal brought.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Rehearsal>,
}

/// Targets as a step has them; expressions where the context is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PlannedTargets {
    /// Hostnames, uuids, serials; then the server's own numbers for hosts.
    pub hosts: Vec<String>,
    /// Labels.
    pub labels: Vec<String>,
    /// Teams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// Platforms.
    pub platforms: Vec<&'static str>,
}

/// What a step's rehearsal on simulated hosts brought.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rehearsal {
    /// Exit status of the run.
    pub exit_code: u8,
    /// Its document.
    pub document: Value,
}

/// One file.
#[derive(Debug, Clone, Default)]
pub struct FileReport {
    /// As it is shown.
    pub path: String,
    /// Where it was read; `None` is stdin.
    pub source: Option<PathBuf>,
    /// Whether its name says that it is a playbook.
    pub named_playbook: bool,
    /// What is wrong, in the order of the text.
    pub findings: Vec<Finding>,
    /// What its steps would send, in their order.
    pub plans: Vec<Plan>,
    /// The playbook's id and where it stands.
    pub playbook: Option<(String, Position)>,
    /// The text, kept where lines of it may be shown.
    pub text: Option<String>,
}

/// How many of each there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Files.
    pub files: usize,
    /// Steps of our type.
    pub steps: usize,
    /// Errors.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
}

impl Summary {
    /// Counts.
    pub fn of(files: &[FileReport]) -> Self {
        let count = |severity| {
            let findings = files.iter().flat_map(|file| &file.findings);
            findings
                .filter(|finding| finding.severity == severity)
                .count()
        };
        Self {
            files: files.len(),
            steps: files.iter().map(|file| file.plans.len()).sum(),
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
        }
    }
}
