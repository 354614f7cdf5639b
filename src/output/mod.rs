//! What an execution becomes on stdout: values in, bytes out. Knows no file, no terminal and no server.

pub(crate) mod collected;
pub(crate) mod csv;
pub(crate) mod ecs;
pub(crate) mod events;
pub(crate) mod markdown;
pub(crate) mod ndjson;
pub(crate) mod observation;
pub(crate) mod ocsf;
pub(crate) mod recorded;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod shown;
pub(crate) mod table;
pub(crate) mod visible;

use std::io::{self, Write};

use crate::session::{Outcome, Run};
use report::Report;

/// How the output of `run` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One document.
    #[default]
    Json,
    /// A line per host as it answers, then a summary.
    Ndjson,
}

impl Format {
    /// Writes what closes the output of a run that is over: the whole document, or the last line of `ndjson`.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(self, run: &Run, outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
        let report = Report::of(run, outcome);
        match self {
            Self::Json => report.write_json(out),
            Self::Ndjson => report.write_summary(out),
        }
    }
}
