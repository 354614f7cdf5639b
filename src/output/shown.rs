//! What is shown of a recorded document: which targets, how many rows of each, and what the document says
//! that its rows do not. Each format is a [`Form`] that is given the rows one by one.

use std::io::{self, Write};

use super::recorded::{Host, Recorded, Row};
use crate::printable::{cut, listed, printable};

/// A document, and what of it is wanted.
pub(crate) struct Shown<'a> {
    /// What is known of it.
    pub recorded: &'a Recorded,
    /// For each of its targets whether it is wanted.
    pub chosen: &'a [bool],
    /// Rows of each target at most.
    pub most: Option<u64>,
}

/// A format: takes what is shown in its order, and writes as it goes.
pub(crate) trait Form {
    /// Before all rows.
    ///
    /// # Errors
    /// Those of the writer, here and below.
    fn begin(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    /// A row of a target, counted from zero; all rows of one target follow each other.
    ///
    /// # Errors
    /// Those of the writer.
    fn row(&mut self, host: &Host, number: u64, row: Row, out: &mut dyn Write) -> io::Result<()>;

    /// After all rows.
    ///
    /// # Errors
    /// Those of the writer.
    fn end(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> Shown<'a> {
    /// The target of a row, if that row is wanted.
    pub fn wants(&self, key: &str, number: u64) -> Option<&'a Host> {
        let (index, host) = self.recorded.host(key)?;
        let within = self.most.is_none_or(|most| number < most);
        (within && self.chosen[index]).then_some(host)
    }

    /// The targets that are wanted.
    pub fn hosts(&self) -> impl Iterator<Item = &'a Host> + use<'a, '_> {
        let hosts = self.recorded.hosts.iter().zip(self.chosen);
        hosts.filter_map(|(host, chosen)| chosen.then_some(host))
    }

    /// How many rows of a target are shown.
    pub fn rows_of(&self, host: &Host) -> u64 {
        self.most.map_or(host.kept, |most| most.min(host.kept))
    }

    /// What became of the run as a whole, where that is not that it came to its end.
    pub fn of_the_run(&self) -> Vec<Line> {
        let recorded = self.recorded;
        let mut lines = Vec::new();
        if let Some(at) = recorded.cut {
            let place = if at.within {
                format!("in the middle of line {}", at.line)
            } else {
                format!("before line {}", at.line)
            };
            let words = format!(
                "the text ends {place}, without its summary: what was asked, and who did not answer, is not known"
            );
            lines.push(Line::new(words, ""));
        }
        if let Some(error) = &recorded.error {
            let hint = error.hint.as_deref();
            let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
            let told = format!("{}: {}{hint}", error.code, error.message);
            lines.push(Line::new("the run failed: ", &told));
        }
        if recorded.cancelled {
            let words = "the run was ended by a signal, before every host had answered";
            lines.push(Line::new(words, ""));
        }
        if let Some(until) = &recorded.queued_until {
            let words = "hosts that come back are still asked, and `run --resume` brings their answers, until ";
            lines.push(Line::new(words, until));
        }
        if let Some(planned) = &recorded.planned {
            let count = counted(planned.hosts.len() as u64, "host");
            let words = format!("this is what `check` found, no host was asked: {count} would be");
            let before = if planned.hosts.is_empty() { "" } else { ", " };
            lines.push(Line::new(words + before, &listed(&planned.hosts)));
            if !planned.unknown.is_empty() {
                let words = "not enrolled, or not visible to these credentials: ";
                lines.push(Line::new(words, &listed(&planned.unknown)));
            }
        }
        lines
    }

    /// What became of the targets that are not whole: a line for each kind, which does not grow with them.
    pub fn of_the_hosts(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let failed = || self.hosts().filter(|host| host.status == "error");
        for host in failed().take(ERRORS) {
            let error = host.error.as_deref().unwrap_or("osquery does not say why");
            let told = format!("{}: {error}", listed(&[&host.key]));
            lines.push(Line::new("answered with an error: ", &told));
        }
        let more = failed().skip(ERRORS).map(|host| host.key.as_str());
        let more: Vec<&str> = more.collect();
        if !more.is_empty() {
            lines.push(Line::new("answered with an error, too: ", &listed(&more)));
        }
        let mut kinds: Vec<(&str, Vec<&str>)> = Vec::new();
        for host in self
            .hosts()
            .filter(|host| host.status != "error" && !host.whole())
        {
            let words = match host.words() {
                "answered" => "answered with more rows than are here",
                words => words,
            };
            let full = kinds.len() == KINDS;
            match kinds.iter_mut().find(|(kind, _)| *kind == words) {
                Some((_, keys)) => keys.push(&host.key),
                // A document may make up any number of words.
                None if full => {}
                None => kinds.push((words, vec![&host.key])),
            }
        }
        for (words, keys) in kinds {
            let words = printable(&cut(words, WORDS)).into_owned();
            lines.push(Line::new(words + ": ", &listed(&keys)));
        }
        lines
    }

    /// One line: how many targets there are and what became of them.
    pub fn tally(&self) -> String {
        let of =
            |wanted: fn(&Host) -> bool| self.hosts().filter(|host| wanted(host)).count() as u64;
        let ok = of(|host| host.status == "ok");
        let rows: u64 = self.hosts().map(|host| host.kept).sum();
        let mut parts = vec![format!("{ok} answered ({})", counted(rows, "row"))];
        for (count, words) in [
            (of(|host| host.status == "error"), "answered with an error"),
            (of(|host| !host.answered()), "did not answer"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {words}"));
            }
        }
        format!(
            "{}: {}",
            counted(self.hosts().count() as u64, "target"),
            parts.join(", ")
        )
    }
}

/// Errors of hosts that are told each.
const ERRORS: usize = 5;
/// Kinds of standing that are told: a document may make up any number of words.
const KINDS: usize = 20;
/// Bytes of a foreign text in a line.
const WORDS: usize = 2_000;

/// Words of ours, and what hosts, servers or people wrote.
pub(crate) struct Line {
    pub words: String,
    pub foreign: String,
}

impl Line {
    fn new(words: impl Into<String>, foreign: &str) -> Self {
        Self {
            words: words.into(),
            foreign: printable(&cut(foreign, WORDS)).into_owned(),
        }
    }
}

/// Both, one after the other.
impl std::fmt::Display for Line {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}{}", self.words, self.foreign)
    }
}

/// `1 row`, `2 rows`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// A cell's text: what osquery sent, nothing where it is null.
pub(crate) fn text_of(cell: &serde_json::Value) -> std::borrow::Cow<'_, str> {
    match cell {
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Null => "".into(),
        other => other.to_string().into(),
    }
}

/// A cell for people: in one line, cut after so many bytes before anything is made of it, since it may hold
/// megabytes.
pub(crate) fn legible(cell: &serde_json::Value, bytes: usize) -> String {
    let text = text_of(cell);
    printable(&cut(&text, bytes)).into_owned()
}
