//! One thing that is wrong with a document, and where. Shared by every layer that reads what a
//! person wrote; never holds a value, only names.

use serde::Serialize;

/// A place in the text that was read; both count from one, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from one.
    pub line: usize,
    /// Column in characters, from one.
    pub column: usize,
}

/// A violation: what is wrong, by which rule, at which path. The message never shows the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where in the document, as people write it: `params.target_hosts[0]`.
    pub path: String,
    /// The rule that was broken, in a word: a JSON Schema keyword (`required`) or one of ours (`secret_field`).
    pub rule: String,
    /// What is wrong and what to do, in the user's words.
    pub message: String,
    /// Line in the text, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in the text, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

/// The message alone.
impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Problem {
    /// A problem without a position.
    pub fn new(
        path: impl Into<String>,
        rule: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            rule: rule.into(),
            message: message.into(),
            line: None,
            column: None,
        }
    }

    /// The same problem at a position of the text.
    #[must_use]
    pub fn at(mut self, position: Option<Position>) -> Self {
        self.line = position.map(|position| position.line);
        self.column = position.map(|position| position.column);
        self
    }
}
