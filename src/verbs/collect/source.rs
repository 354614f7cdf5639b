//! Where a connector's configuration stands: in a file, for who starts the program without a shell, or on stdin.

use std::path::Path;

use crate::input::MAX_INPUT_BYTES;
use crate::process::stdin;
use crate::regular_file::{self, Links};
use crate::session::connector::{CheckedConnector, Sources, prepare};
use crate::session::failure::Failure;

/// Reads the connector of the file; without one, or for `-`, that on stdin.
///
/// # Errors
/// `usage` for what is no file or too large, and what [`prepare`] refuses.
pub(super) fn read(file: Option<&Path>, sources: &Sources) -> Result<CheckedConnector, Failure> {
    let Some(file) = file.filter(|file| *file != Path::new("-")) else {
        return prepare(&stdin::read_stdin()?, sources);
    };
    let content = regular_file::read(file, MAX_INPUT_BYTES, Links::Follow)
        .map_err(|error| Failure::of_file("the connector's file ", file, error))?;
    prepare(&content.bytes, sources).map_err(|failure| failure.map_text(of_a_file))
}

/// What is said of stdin, said of a file.
fn of_a_file(text: &str) -> String {
    text.replace("stdin is empty", "the file is empty")
        .replace("stdin holds", "the file holds")
}
