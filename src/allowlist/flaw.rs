//! What the checks of a template find, before it has a place in the template's file.

use crate::problem::Problem;

/// One thing that is wrong with a template, and what of it the eye should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// What is wrong, without a position.
    pub(super) problem: Problem,
    /// Where it is, closer than the problem's path says.
    pub(super) at: Option<At>,
}

/// A place in a template that is closer than a key of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// This many bytes into the SQL.
    SqlOffset(usize),
    /// This word of the SQL.
    SqlWord(String),
    /// A column that is declared for a table.
    Column {
        /// The table.
        table: String,
        /// Its column.
        column: String,
    },
}

impl Flaw {
    /// A problem that its path places well enough.
    pub(super) fn new(path: &str, rule: &str, message: impl Into<String>) -> Self {
        Self {
            problem: Problem::new(path, rule, message),
            at: None,
        }
    }

    /// The same problem at a place.
    pub(super) fn at(mut self, at: At) -> Self {
        self.at = Some(at);
        self
    }
}

impl From<Flaw> for Problem {
    fn from(flaw: Flaw) -> Self {
        flaw.problem
    }
}

/// Why SQL does not pass: goes on after "`sql` ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    /// What is wrong, in words that may quote the SQL.
    pub(super) reason: String,
    /// What of the SQL it is.
    pub(super) at: Option<At>,
}

impl From<&str> for Invalid {
    fn from(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            at: None,
        }
    }
}

impl From<Invalid> for String {
    fn from(invalid: Invalid) -> Self {
        invalid.reason
    }
}
