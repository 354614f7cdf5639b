//! Reports of a dry run, one file a format. Knows findings and plans, nothing of how they came about.

mod github;
mod json;
mod lines;
mod sarif;
mod text;

use crate::printable::printable;

use super::finding::{FileReport, Summary};

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people: the line, a caret, and what would be sent.
    #[default]
    Text,
    /// For machines: `schema dry-run`.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of GitHub's runner.
    Github,
}

/// How the text looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// In colour.
    pub colour: bool,
    /// Without what would be sent.
    pub quiet: bool,
}

/// The whole report.
pub fn text(format: Format, files: &[FileReport], summary: &Summary, style: &Style) -> String {
    match format {
        Format::Text => text::write(files, summary, style),
        Format::Json => json::write(files, summary),
        Format::Sarif => sarif::write(files),
        Format::Github => github::write(files, summary),
    }
}

/// Text on one line, without what moves a terminal's cursor, turns the writing around or can't be seen.
fn one_line(text: &str) -> String {
    printable(&text.replace(['\n', '\r', '\t'], " ")).into_owned()
}
