//! What can be wrong with a state, in the words of its owner.

use std::fmt;
use std::path::PathBuf;

use rusqlite::ffi::{ErrorCode, SQLITE_IOERR_GETTEMPPATH};

use crate::regular_file::NoFile;

/// Why there is no state to go on with. `path` is the file that was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateError {
    /// The file; `None` for what is kept beside it.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub what: NoState,
}

/// What is wrong with a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoState {
    /// It is no file that could be one.
    File(NoFile),
    /// It is something else than a state.
    Foreign,
    /// A newer program has written it.
    Newer,
    /// It is of another server, environment or team, or of another kind of output: which of them.
    Another(&'static str),
    /// It can't be read as what it was.
    Damaged,
    /// Another process has it.
    Busy,
    /// The system refuses to read or write it; its words.
    Refused(String),
}

impl fmt::Display for StateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(out, "the state {} ", path.display())?,
            None => out.write_str("what a poll sets aside ")?,
        }
        match &self.what {
            NoState::File(error) => error.fmt(out),
            NoState::Foreign => out.write_str("is no state of `collect`"),
            NoState::Newer => out.write_str("was written by a newer version of this program"),
            NoState::Another(what) => write!(out, "is of another {what}"),
            NoState::Damaged => out.write_str("is damaged"),
            NoState::Busy => out.write_str("is in use by another process"),
            NoState::Refused(words) => write!(out, "can't be used: {words}"),
        }
    }
}

/// What an error of the database says of the state.
pub(super) fn what(error: &rusqlite::Error) -> NoState {
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        // A column of another type than it was written with, a row that is not there.
        return NoState::Damaged;
    };
    if failure.extended_code == SQLITE_IOERR_GETTEMPPATH {
        return NoState::Refused(
            "there is no folder for what is not held in memory (`TMPDIR`, else /var/tmp and /tmp; this process must be allowed to write to it)"
                .into(),
        );
    }
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => NoState::Busy,
        ErrorCode::NotADatabase => NoState::Foreign,
        ErrorCode::DatabaseCorrupt => NoState::Damaged,
        // A table or column that is not there.
        ErrorCode::Unknown => NoState::Damaged,
        ErrorCode::DiskFull => NoState::Refused("the disk is full".into()),
        ErrorCode::ReadOnly => NoState::Refused("it may not be written to".into()),
        ErrorCode::PermissionDenied | ErrorCode::CannotOpen => NoState::Refused(
            "it, or its folder, may not be written to (a journal stands beside it during a poll)"
                .into(),
        ),
        ErrorCode::OutOfMemory => NoState::Refused("the system refuses memory".into()),
        ErrorCode::FileLockingProtocolFailed => {
            NoState::Refused("its file system has no locks".into())
        }
        _ => NoState::Refused("the system refuses to read or write it".into()),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi::{Error, SQLITE_IOERR_READ};

    use super::*;

    /// A container may have no /tmp at all; every other trouble of reading and writing is the disk's.
    #[test]
    fn a_missing_folder_for_temporary_files_is_named() {
        for (code, named) in [(SQLITE_IOERR_GETTEMPPATH, true), (SQLITE_IOERR_READ, false)] {
            let error = rusqlite::Error::SqliteFailure(Error::new(code), None);
            let NoState::Refused(words) = what(&error) else {
                panic!("{code} is no refusal")
            };
            assert_eq!(words.contains("`TMPDIR`"), named, "{code}: {words}");
        }
    }
}
