//! A failed run as the document and stderr tell it. Built by the file above only.

use serde::Serialize;
use serde::ser::SerializeMap;

use crate::exit::Code;
use crate::problem::Placed;

/// Problems that the message names; stderr and the document's details list all.
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
    pub details: Vec<Detail>,
    /// What stands above the problems where there are several.
    pub(super) above: Option<Box<Above>>,
    /// Nothing outside of this module can build one.
    pub(super) mapped: Mapped,
}

/// What several problems are as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Above {
    /// In words: `the step can't be rendered`.
    pub what: String,
    /// Whether they stand in a text that has no second line.
    pub of_one_line: bool,
}

/// Says that a failure was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped;

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
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            retryable: code.retryable(),
            details: Vec::new(),
            above: None,
            mapped: Mapped,
        }
    }

    /// The same failure with what to do about it.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A failure that is one or several problems in what a person wrote; `what` names the whole
    /// (`the step can't be rendered`).
    pub(super) fn of_problems(
        code: Code,
        what: &str,
        problems: Vec<Placed>,
        of_one_line: bool,
    ) -> Self {
        let mut named: Vec<String> = problems
            .iter()
            .take(PROBLEMS_IN_LINE)
            .map(|Placed { problem, at }| match at {
                Some(at) => format!("{} ({})", problem.message, at.words(of_one_line)),
                None => problem.message.clone(),
            })
            .collect();
        if problems.len() > PROBLEMS_IN_LINE {
            named.push(format!("and {} more", problems.len() - PROBLEMS_IN_LINE));
        }
        Self {
            details: problems.into_iter().map(Detail::from).collect(),
            above: Some(Box::new(Above {
                what: what.to_owned(),
                of_one_line,
            })),
            ..Self::new(code, format!("{what}: {}", named.join("; ")))
        }
    }

    /// The lines of stderr: the message, or, where there are several problems, what they are as a whole and
    /// a line for each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Above { what, of_one_line } = match &self.above {
            Some(above) if self.details.len() > 1 => &**above,
            _ => return vec![self.message.clone()],
        };
        let problem = |detail: &Detail| {
            let Placed { problem, at } = &detail.placed;
            let place = at.map(|at| format!("{}: ", at.words(*of_one_line)));
            let stage = detail.stage.map(|stage| format!(" [{}]", stage.name()));
            format!(
                "  {}{}{}",
                place.unwrap_or_default(),
                problem.message,
                stage.unwrap_or_default()
            )
        };
        let lines = self.details.iter().map(problem);
        std::iter::once(format!("{what}:")).chain(lines).collect()
    }

    /// The same failure with a text filter over everything foreign (the redaction of secrets).
    #[must_use]
    pub fn map_text(mut self, filter: impl Fn(&str) -> String) -> Self {
        self.message = filter(&self.message);
        self.hint = self.hint.as_deref().map(&filter);
        if let Some(above) = &mut self.above {
            above.what = filter(&above.what);
        }
        for detail in &mut self.details {
            let message = &mut detail.placed.problem.message;
            *message = filter(message);
        }
        self
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
