//! stderr: warnings and the error as plain lines, or as JSON with `--log json`, and on a terminal a line of
//! progress. It is written only as far as it takes text at once: a stderr that nobody drains holds nothing
//! up. What is written here is already without secrets.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::notices::{Level, Notices};
use crate::printable::printable;
use crate::session::failure::Failure;
use crate::time::rfc3339;

/// Bytes that wait for a reader at most; later lines are counted.
const MOST_WAITING: usize = 256 * 1024;
/// A pipe that is ready takes so many bytes without blocking (POSIX's PIPE_BUF on Linux).
const AT_ONCE: usize = 4_096;
/// How long a reader may take before the document is written, and before the process ends.
const PATIENCE: Duration = Duration::from_millis(150);

/// How stderr is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// `--log json`.
    pub json: bool,
    /// How often `-v` was given: 0 warnings, 1 information, 2 and more every request.
    pub verbosity: u8,
}

/// The one stderr of the process; clones are the same.
#[derive(Clone)]
pub struct Stderr(Arc<Inner>);

struct Inner {
    settings: Settings,
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<u8>,
    left_out: usize,
    progress_shown: bool,
    document_begun: bool,
}

impl Stderr {
    /// The process's stderr.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Inner {
            settings,
            terminal: std::io::stderr().is_terminal(),
            state: Mutex::default(),
        }))
    }

    /// A voice for a session that speaks here.
    pub fn notices(&self) -> Notices {
        self.notices_up_to(self.most())
    }

    /// How much `-v` wants.
    pub(crate) fn most(&self) -> Level {
        match self.0.settings.verbosity {
            0 => Level::Warning,
            1 => Level::Info,
            _ => Level::Debug,
        }
    }

    /// As [`Stderr::notices`], whatever `-v` says.
    pub(crate) fn notices_up_to(&self, most: Level) -> Notices {
        let stderr = self.clone();
        Notices::new(most, move |level, text| stderr.line(level, text))
    }

    /// One line that is no session's.
    pub fn warn(&self, text: &str) {
        self.line(Level::Warning, text);
    }

    /// A line of a session, as far as `-v` wants it.
    pub(crate) fn line(&self, level: Level, text: &str) {
        let (plain, json) = match level {
            Level::Warning => ("warning", "WARN"),
            Level::Info => ("info", "INFO"),
            Level::Debug => ("debug", "DEBUG"),
        };
        if self.state().document_begun && self.0.settings.verbosity < 2 {
            return;
        }
        self.text(&match self.0.settings.json {
            true => format!("{}\n", json_line(json, text)),
            // Names come from hosts: an escape sequence in one must not move the cursor.
            false => format!("{plain}: {}\n", printable(text)),
        });
    }

    /// From now on only `-vv` speaks: the document is being written, and engines that read one merged stream
    /// take its last line.
    pub fn document_begins(&self) {
        self.flush();
        self.state().document_begun = true;
    }

    /// Why the process fails: a line, or one for each of several problems, and what to do. It is said even
    /// after the document was begun, for then stdout could not be written.
    pub fn failure(&self, failure: &Failure) {
        let code = failure.code.name();
        if self.0.settings.json {
            let mut line = json_line("ERROR", &failure.message);
            line["code"] = code.into();
            line["retryable"] = failure.retryable.into();
            if let Some(hint) = &failure.hint {
                line["hint"] = hint.as_str().into();
            }
            if !failure.details.is_empty() {
                line["details"] = json!(failure.details);
            }
            return self.text(&format!("{line}\n"));
        }
        let mut text = format!("error[{code}]: ");
        for line in failure.lines() {
            text.push_str(&printable(&line));
            text.push('\n');
        }
        if let Some(hint) = &failure.hint {
            // Writing to a String can't fail.
            let _ = writeln!(text, "hint: {}", printable(hint));
        }
        self.text(&text);
    }

    /// Text of whole lines.
    fn text(&self, text: &str) {
        self.erase_progress();
        self.put(text);
    }

    /// Text as it is: usage messages.
    pub fn put(&self, text: &str) {
        let mut state = self.state();
        if state.waiting.len() + text.len() > MOST_WAITING {
            state.left_out += 1;
        } else {
            state.waiting.extend(text.as_bytes());
        }
        state.write_what_is_taken(Duration::ZERO);
    }

    /// Whether anybody sees a line of progress.
    pub fn shows_progress(&self) -> bool {
        self.0.terminal && !self.0.settings.json && !self.state().document_begun
    }

    /// Shows how far the work is, on a terminal only; a longer text is cut, since a line that has been broken
    /// can't be erased.
    pub fn progress(&self, text: &str) {
        if !self.shows_progress() {
            return;
        }
        let mut line = String::from("\r");
        // Writing to a String can't fail.
        let _ = write!(line, "{}\x1b[K", fitting(&printable(text), columns()));
        self.state().progress_shown = true;
        self.put(&line);
    }

    /// Takes the progress line away.
    pub fn erase_progress(&self) {
        if std::mem::take(&mut self.state().progress_shown) {
            self.put("\r\x1b[K");
        }
    }

    /// Gives a reader a little time to take what waits.
    pub fn flush(&self) {
        self.erase_progress();
        let mut state = self.state();
        if state.left_out > 0 {
            let text = format!(
                "warning: {} more lines were dropped, because nobody read this stream\n",
                std::mem::take(&mut state.left_out)
            );
            state.waiting.extend(text.as_bytes());
        }
        state.write_what_is_taken(PATIENCE);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many columns the terminal has that stderr is.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { 80 } else { columns }
}

/// The text as far as it fits into a line and leaves room for the cursor. Characters beyond ASCII may take two
/// columns.
fn fitting(text: &str, columns: usize) -> Cow<'_, str> {
    let width = |character: char| if character.is_ascii() { 1 } else { 2 };
    let room = columns.saturating_sub(1);
    if text.chars().map(width).sum::<usize>() <= room {
        return text.into();
    }
    let mut left = room.saturating_sub("…".chars().map(width).sum());
    let fits = |character: &char| {
        let rest = left.checked_sub(width(*character));
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    cut.push('…');
    cut.into()
}

/// A line of `--log json`.
fn json_line(level: &str, message: &str) -> Value {
    json!({
        "timestamp": rfc3339(SystemTime::now()),
        "level": level,
        "message": message,
    })
}

impl State {
    /// Writes until nothing waits, or until the reader has taken nothing for so long.
    fn write_what_is_taken(&mut self, patience: Duration) {
        let err = rustix::stdio::stderr();
        let mut until = Instant::now() + patience;
        while !self.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap_or_default();
            let mut ready = [PollFd::new(&err, PollFlags::OUT)];
            match poll(&mut ready, Some(&left)) {
                Ok(1..) => {}
                Err(rustix::io::Errno::INTR) => continue,
                _ => return,
            }
            let (piece, _) = self.waiting.as_slices();
            match rustix::io::write(err, &piece[..piece.len().min(AT_ONCE)]) {
                Ok(written) => {
                    self.waiting.drain(..written);
                    until = Instant::now() + patience;
                }
                Err(rustix::io::Errno::INTR) => {}
                // stderr may be closed; the status and the document tell the rest.
                Err(_) => return self.waiting.clear(),
            }
        }
    }
}
