//! One thing that is wrong with a document. Shared by every layer that reads what a person wrote; never
//! holds a value, only names. Whoever finds a problem knows its path; where that stands in a text is for
//! those to say who hold the text.

use serde::Serialize;
use serde::ser::SerializeMap;

use crate::path::Path;

/// A place in the text that was read; both count from one, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from one.
    pub line: usize,
    /// Column in characters, from one.
    pub column: usize,
}

impl Position {
    /// The place in words. In a text of one line, which programs write, the line says nothing.
    pub(crate) fn words(self, of_one_line: bool) -> String {
        let Self { line, column } = self;
        match of_one_line && line == 1 {
            true => format!("column {column}"),
            false => format!("line {line}, column {column}"),
        }
    }
}

/// What is wrong, by which rule, at which path. The message never shows the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the document.
    pub path: Path,
    /// The rule that was broken, in a word: a JSON Schema keyword (`required`) or one of ours (`secret_field`).
    pub rule: String,
    /// What is wrong and what to do, in the user's words.
    pub message: String,
}

/// Rules that speak of the key at a problem's path, not of its value.
const RULES_OF_KEYS: [&str; 4] = ["additionalProperties", "not", "raw_sql", "unknown_key"];

/// The rule of the problem that says how many others were left out.
const LEFT_OUT: &str = "more";

/// The message alone.
impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Problem {
    /// A problem; the path may be written as `params.target_hosts`.
    pub fn new(path: impl Into<Path>, rule: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            rule: rule.into(),
            message: message.into(),
        }
    }

    /// The problem at a position of a text, as far as that is known.
    pub fn at(self, at: Option<Position>) -> Placed {
        Placed { problem: self, at }
    }

    /// Whether the eye should look at the key that the path ends in, not at its value.
    pub(crate) fn is_of_a_key(&self) -> bool {
        RULES_OF_KEYS.contains(&self.rule.as_str())
    }

    /// Whether it only counts others.
    pub(crate) fn counts_others(&self) -> bool {
        self.rule == LEFT_OUT
    }
}

/// A problem and where it stands in the text that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What is wrong.
    pub problem: Problem,
    /// Where; `None` without a text, or where nothing of it is there.
    pub at: Option<Position>,
}

impl From<Problem> for Placed {
    fn from(problem: Problem) -> Self {
        problem.at(None)
    }
}

impl Placed {
    /// The order of the text; what has no place comes first, what only counts others last.
    pub(crate) fn in_order(problems: &mut [Self]) {
        problems.sort_by_cached_key(|placed| {
            let counts = placed.problem.counts_others();
            (counts, placed.at, placed.problem.path.to_string())
        });
    }

    /// Writes the entries of a problem into a mapping that may have others.
    ///
    /// # Errors
    /// Those of the writer.
    pub(crate) fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("path", &self.problem.path.to_string())?;
        map.serialize_entry("rule", &self.problem.rule)?;
        map.serialize_entry("message", &self.problem.message)?;
        if let Some(at) = self.at {
            map.serialize_entry("line", &at.line)?;
            map.serialize_entry("column", &at.column)?;
        }
        Ok(())
    }
}

impl Serialize for Placed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

/// What one check finds: the first hundred problems, and how many more there were. An alert may break
/// hundreds of thousands of targets in the same way; whoever adds to it makes a message only while it is kept.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    kept: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// Problems that are kept.
    pub(crate) const MOST: usize = 100;

    /// Adds a problem, or counts it.
    pub(crate) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.kept.len() < Self::MOST {
            self.kept.push(problem());
        } else {
            self.left_out += 1;
        }
    }

    /// Adds a problem, unless one of its path is told already: that one says enough.
    pub(crate) fn add_first(&mut self, problem: impl FnOnce() -> Problem) {
        if self.kept.len() >= Self::MOST {
            self.left_out += 1;
            return;
        }
        let problem = problem();
        if !self.tell_of(&problem.path) {
            self.kept.push(problem);
        }
    }

    /// Whether a problem at a path is told.
    pub(crate) fn tell_of(&self, path: &Path) -> bool {
        self.kept.iter().any(|known| known.path == *path)
    }

    /// All of them; the last one says how many were left out.
    pub(crate) fn into_vec(self) -> Vec<Problem> {
        let mut all = self.kept;
        let count = self.left_out;
        if count > 0 {
            let message = format!("and {count} more problems, which are left out here");
            all.push(Problem::new(Path::default(), LEFT_OUT, message));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_problems_are_counted_and_their_messages_are_not_made() {
        let mut problems = Problems::default();
        for index in 0..600_000 {
            problems.add(|| {
                assert!(index < Problems::MOST, "a message that nobody reads");
                Problem::new(Path::of(&["a"]).index(index), "type", "wrong")
            });
        }
        let all = problems.into_vec();
        assert_eq!(all.len(), 101);
        assert_eq!(
            all[100].message,
            "and 599900 more problems, which are left out here"
        );
    }

    #[test]
    fn problems_stand_in_the_order_of_the_text() {
        let at = |line, column| Some(Position { line, column });
        let mut problems = vec![
            Problem::new("", LEFT_OUT, "").at(None),
            Problem::new("b", "x", "").at(at(2, 1)),
            Problem::new("c", "x", "").at(at(1, 9)),
            Problem::new("a.b", "x", "").at(at(2, 1)),
            Problem::new("d", "x", "").at(None),
        ];
        Placed::in_order(&mut problems);
        let paths: Vec<String> = problems
            .iter()
            .map(|placed| placed.problem.path.to_string())
            .collect();
        assert_eq!(paths, ["d", "c", "a.b", "b", ""]);
    }
}
