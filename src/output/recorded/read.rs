//! Reads a document, or lines, once from the beginning to the end and hands on each row as it comes, so that
//! memory does not grow with them. The text may be anything: what is no document of `run` is told with its
//! place, and what breaks off is said to.

use std::cell::RefCell;
use std::io::{self, BufReader, Read};

use serde::de::{DeserializeOwned, DeserializeSeed};
use serde_json::error::Category;
use serde_json::{Deserializer, Map, Value};

use super::visit::Piece;
use super::{Cut, Host, Recorded, Row};
use crate::input::DecodeError;
use crate::problem::Position;

/// Takes each row, with its target's key.
pub(crate) type Sink<'a> = dyn FnMut(&str, Row) -> io::Result<()> + 'a;

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// Why reading ended early.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The text is no document.
    Text(DecodeError),
    /// The system gives no more of it.
    Source(io::Error),
    /// The rows could not be handed on.
    Sink(io::Error),
}

/// Reads all of it.
///
/// # Errors
/// [`ReadError`]
pub(crate) fn read(text: impl Read, sink: &mut Sink<'_>) -> Result<Recorded, ReadError> {
    let mut reader = Deserializer::from_reader(BufReader::with_capacity(PIECE, text));
    let reading = RefCell::new(Reading {
        recorded: Recorded::default(),
        sink,
        entries: Map::new(),
        stopped: None,
        within: None,
        form: Form::None,
        pieces: 0,
    });
    // Whatever follows begins here, unless the text can't be read.
    while let Err(error) = reader.end() {
        if error.is_io() {
            return Err(ReadError::Source(error.into()));
        }
        let read = Piece(&reading).deserialize(&mut reader);
        let mut now = reading.borrow_mut();
        if let Err(error) = read {
            match now.stopped.take() {
                Some(Stopped::Sink(error)) => return Err(ReadError::Sink(error)),
                Some(Stopped::Refused(message)) => return Err(refused(&error, message)),
                None => {}
            }
            if error.classify() == Category::Eof && now.form == Form::Lines {
                now.recorded.cut = Some(Cut {
                    line: error.line(),
                    within: true,
                });
                break;
            }
            return Err(of_json(error));
        }
        if let Err(message) = now.end_of_piece() {
            let mut told = not_ours(message);
            // Lines are one object each.
            told.position = (now.pieces > 0).then_some(Position {
                line: now.pieces + 1,
                column: 1,
            });
            return Err(ReadError::Text(told));
        }
        now.pieces += 1;
    }
    let read = reading.into_inner().finish();
    read.map_err(|message| ReadError::Text(not_ours(message)))
}

/// A message of ours, where the reader stands.
fn refused(error: &serde_json::Error, message: String) -> ReadError {
    let mut told = not_ours(message);
    told.position = (error.line() > 0).then(|| position(error));
    ReadError::Text(told)
}

fn position(error: &serde_json::Error) -> Position {
    Position {
        line: error.line(),
        column: error.column().max(1),
    }
}

fn not_ours(message: String) -> DecodeError {
    let mut error = DecodeError::new(message);
    error.hint = Some("`show` reads what `run` or `check` wrote, as JSON or ndjson".into());
    error
}

/// What the library says, without the values that it quotes.
fn of_json(error: serde_json::Error) -> ReadError {
    let at = position(&error);
    let mut told = match error.classify() {
        Category::Io => return ReadError::Source(error.into()),
        Category::Eof => not_ours("the text ends in the middle of the document".into()),
        Category::Syntax => not_ours("this is not JSON".into()),
        Category::Data => not_ours("no document of `run` has a value of this kind here".into()),
    };
    told.position = (at.line > 0).then_some(at);
    ReadError::Text(told)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Nothing came yet.
    None,
    Document,
    /// Lines of hosts, the summary outstanding.
    Lines,
    /// Lines with their summary.
    Summed,
}

/// Why a piece is given up.
pub(super) enum Stopped {
    Sink(io::Error),
    Refused(String),
}

/// What was read so far.
pub(super) struct Reading<'s, 'f> {
    pub(super) recorded: Recorded,
    sink: &'s mut Sink<'f>,
    /// The small values of the piece that is read now.
    pub(super) entries: Map<String, Value>,
    /// Why the piece that is read now is given up.
    pub(super) stopped: Option<Stopped>,
    /// The target whose rows are read now.
    pub(super) within: Option<String>,
    pub(super) form: Form,
    /// How many whole objects were taken up.
    pieces: usize,
}

impl Reading<'_, '_> {
    /// Hands a row on.
    pub(super) fn row(&mut self, host: &str, row: Row) -> Result<(), Stopped> {
        (self.sink)(host, row).map_err(Stopped::Sink)?;
        self.recorded.host_mut(host).kept += 1;
        Ok(())
    }

    /// Takes up what an object of the text said, now that it is whole.
    fn end_of_piece(&mut self) -> Result<(), String> {
        let entries = std::mem::take(&mut self.entries);
        match (self.form, entries.get("type").and_then(Value::as_str)) {
            (Form::Document | Form::Summed, _) => {
                Err("more text follows the document: `show` takes one at a time".into())
            }
            (_, Some("host")) => {
                self.form = Form::Lines;
                self.host_line(entries)
            }
            (_, Some("summary")) => {
                self.form = Form::Summed;
                self.summary(entries)
            }
            (Form::Lines, _) => Err("this is not a line of `run --format ndjson`".into()),
            (_, Some(_)) => Err("this is not a document of `run` or `check`".into()),
            (_, None) if !entries.contains_key("results") => {
                Err("this is not a document of `run` or `check`: it has no `results`".into())
            }
            _ => {
                self.form = Form::Document;
                self.summary(entries)
            }
        }
    }

    /// The line of a target that answered.
    fn host_line(&mut self, mut entries: Map<String, Value>) -> Result<(), String> {
        let Some(Value::String(key)) = entries.remove("host") else {
            return Err("this line names no host".into());
        };
        entries.remove("rows");
        self.facts(&key, Value::Object(entries))?;
        self.recorded.host_mut(&key).present = true;
        self.within = None;
        Ok(())
    }

    /// Takes up what is said of a target.
    pub(super) fn facts(&mut self, key: &str, facts: Value) -> Result<(), String> {
        let facts: Host = serde_json::from_value(facts).map_err(|_| {
            format!(
                "what is said of {} does not have the form that `run` writes",
                quoted(key)
            )
        })?;
        let host = self.recorded.host_mut(key);
        *host = Host {
            key: key.to_owned(),
            kept: host.kept,
            present: host.present,
            ..facts
        };
        Ok(())
    }

    /// The document without `results`, or the last line.
    fn summary(&mut self, mut entries: Map<String, Value>) -> Result<(), String> {
        let recorded = &mut self.recorded;
        recorded.partial = match entries.remove("partial") {
            Some(Value::Bool(partial)) => partial,
            _ => {
                return Err(
                    "this is not a document of `run` or `check`: it has no `partial`".into(),
                );
            }
        };
        let Some(silent) = entries.remove("timed_out_hosts") else {
            return Err(
                "this is not a document of `run` or `check`: it has no `timed_out_hosts`".into(),
            );
        };
        let silent: Vec<String> = typed("timed_out_hosts", silent)?;
        let failed: Vec<String> = optional("failed_hosts", &mut entries)?.unwrap_or_default();
        recorded.cancelled = entries.remove("cancelled") == Some(Value::Bool(true));
        recorded.run = optional("run", &mut entries)?.unwrap_or_default();
        recorded.campaign = optional("campaign", &mut entries)?;
        recorded.error = optional("error", &mut entries)?;
        recorded.planned = optional("planned", &mut entries)?;
        recorded.queued_until = optional("queued_until", &mut entries)?;
        for key in silent {
            let host = recorded.host_mut(&key);
            if host.status.is_empty() {
                host.status = "no_answer".into();
            }
        }
        for key in failed {
            recorded.host_mut(&key).status = "error".into();
        }
        for host in &mut recorded.hosts {
            if host.status.is_empty() {
                host.status = "ok".into();
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Recorded, String> {
        match self.form {
            Form::None => return Err("there is nothing to show: the text is empty".into()),
            Form::Lines => {
                // The line that broke off.
                if let Some(key) = self.within.take() {
                    let mut entries = std::mem::take(&mut self.entries);
                    entries.remove("host");
                    self.facts(&key, Value::Object(entries))?;
                    let host = self.recorded.host_mut(&key);
                    host.truncated = true;
                    host.present = true;
                }
                self.recorded.partial = true;
                self.recorded.cut.get_or_insert(Cut {
                    line: self.pieces + 1,
                    within: false,
                });
            }
            Form::Document | Form::Summed => {}
        }
        Ok(self.recorded)
    }
}

fn typed<T: DeserializeOwned>(key: &str, value: Value) -> Result<T, String> {
    serde_json::from_value(value)
        .map_err(|_| format!("`{key}` does not have the form that `run` writes"))
}

fn optional<T: DeserializeOwned>(
    key: &str,
    entries: &mut Map<String, Value>,
) -> Result<Option<T>, String> {
    match entries.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => typed(key, value).map(Some),
    }
}

/// A name in a message.
pub(super) fn quoted(name: &str) -> String {
    let name = crate::printable::cut(name, 80);
    format!("`{}`", crate::printable::printable(&name))
}
