//! What an execution becomes on stdout: values in, bytes out. Knows no file, no terminal and no server.

pub mod ndjson;
pub mod report;

/// How the output of `run` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One document.
    #[default]
    Json,
    /// A line per host as it answers, then a summary.
    Ndjson,
}
