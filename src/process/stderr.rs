//! stderr: warnings and the error as plain lines, or as JSON with `--log json`. Every line passes the
//! redaction, whatever wrote it; control characters never reach a terminal.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::secret::Redactor;
use crate::session::failure::Failure;

static REDACTOR: RwLock<Option<Redactor>> = RwLock::new(None);
static PROGRESS_SHOWN: AtomicBool = AtomicBool::new(false);
static JSON: OnceLock<bool> = OnceLock::new();

/// How stderr is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// `--log json`.
    pub json: bool,
    /// How often `-v` was given: 0 warnings, 1 information, 2 and more every request.
    pub verbosity: u8,
}

/// Starts logging; a second call changes nothing.
pub fn start(settings: Settings) {
    let level = match settings.verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    // Only our own events: libraries may log what they send.
    let ours = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level);
    let registry = tracing_subscriber::registry().with(ours);
    let plain = tracing_subscriber::fmt::layer().with_writer(Stderr);
    // Set before: a process has one subscriber, and only its tests try twice.
    let _ = JSON.set(settings.json);
    let _ = if settings.json {
        let json = plain.json().flatten_event(true).with_target(false);
        tracing::subscriber::set_global_default(registry.with(json))
    } else {
        let plain = plain.event_format(Plain);
        tracing::subscriber::set_global_default(registry.with(plain))
    };
}

/// From now on, these secrets are taken out of every line.
pub fn redact_with(redactor: Redactor) {
    *REDACTOR.write().unwrap_or_else(PoisonError::into_inner) = Some(redactor);
}

/// A text without the secrets that are known.
pub fn redacted(text: &str) -> String {
    match &*REDACTOR.read().unwrap_or_else(PoisonError::into_inner) {
        Some(redactor) => redactor.redact(text),
        None => text.to_owned(),
    }
}

/// The one line that tells why the run failed.
pub fn failure(failure: &Failure) {
    tracing::error!(code = failure.code.name(), "{}", failure.message);
}

/// Shows how far the campaign is, on a terminal only.
pub fn progress(answered: usize, targeted: usize, elapsed: std::time::Duration) {
    progress_line(&format!(
        "{answered} of {targeted} hosts answered, {:.0} s",
        elapsed.as_secs_f64()
    ));
}

/// Shows how far the work is, on a terminal only.
pub fn progress_line(text: &str) {
    if JSON.get() == Some(&true) || !io::stderr().is_terminal() {
        return;
    }
    PROGRESS_SHOWN.store(true, Ordering::Relaxed);
    // A terminal that is gone is no reason to stop.
    let _ = io::stderr().write_all(format!("\r{text}\x1b[K").as_bytes());
}

/// Takes the progress line away.
pub fn erase_progress() {
    if PROGRESS_SHOWN.swap(false, Ordering::Relaxed) {
        let _ = io::stderr().write_all(b"\r\x1b[K");
    }
}

/// Writes whole lines to stderr, redacted.
#[derive(Debug, Clone, Copy)]
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Stderr {
    /// The layer writes each event in one piece, so a secret is never split between two calls.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        erase_progress();
        let text = redacted(&String::from_utf8_lossy(line));
        io::stderr().write_all(text.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// `warning: …`, `error[CODE]: …`.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        match *event.metadata().level() {
            Level::ERROR => match fields.code {
                Some(code) => write!(writer, "error[{code}]: ")?,
                None => write!(writer, "error: ")?,
            },
            Level::WARN => write!(writer, "warning: ")?,
            Level::INFO => write!(writer, "info: ")?,
            _ => write!(writer, "debug: ")?,
        }
        for character in fields.message.chars().chain(fields.rest.chars()) {
            // Names come from hosts: an escape sequence in one must not move the cursor.
            if character.is_control() {
                write!(writer, "{}", character.escape_default())?;
            } else {
                writer.write_char(character)?;
            }
        }
        writeln!(writer)
    }
}

#[derive(Default)]
struct Fields {
    code: Option<String>,
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "code" {
            self.code = Some(value.to_owned());
        } else {
            self.record_debug(field, &format_args!("{value}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String can't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.rest, " {name}={value:?}"),
        };
    }
}
