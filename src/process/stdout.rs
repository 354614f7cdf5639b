//! stdout: exactly one document (or the lines of `--format ndjson`), and nothing else, ever.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::campaign::Campaign;
use crate::output::document::{self, Document};

/// How the output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One document.
    #[default]
    Json,
    /// A line per host as it answers, then a summary.
    Ndjson,
}

/// Set as soon as the closing document is begun: a panic after that must not add a second one.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Writes the closing document, once; a reader that has gone is no error.
///
/// # Errors
/// Those of stdout, except a closed pipe.
pub fn write(document: &Document, format: Format) -> io::Result<()> {
    if BEGUN.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let written = match format {
        Format::Json => document.write_json(&mut out),
        Format::Ndjson => document.write_summary(&mut out),
    };
    let written = forgive_closed_pipe(written);
    if written.is_err() {
        // What is buffered would be written again on drop, into the same error.
        let _ = out.into_parts();
    }
    written
}

/// Writes the lines of a host that has just answered.
///
/// # Errors
/// Those of stdout, except a closed pipe.
pub fn write_host(campaign: &Campaign, host: usize) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    forgive_closed_pipe(document::write_host_lines(campaign, host, &mut out))
}

fn forgive_closed_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes text that is not a document (`schema`, `describe`, …).
///
/// # Errors
/// Those of stdout, except a closed pipe.
pub fn write_text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    forgive_closed_pipe(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}
