//! What `show` reads: a file, or stdin. It is read several times from its beginning, for who asked and when
//! stands behind the rows; so a file is never held, and a pipe is.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::output::recorded::{self, ReadError, Recorded, Sink};
use crate::process::stdin::{self, Whole};
use crate::regular_file::{self, Access, Links, NoFile};
use crate::session::failure::Failure;

/// Bytes of a file: no step may ask for a larger document.
const MOST_OF_FILE: u64 = 4 << 30;
/// Bytes of a pipe, which are held.
const MOST_OF_PIPE: usize = 1 << 30;

/// A text that can be read again.
pub(super) struct Source {
    name: PathBuf,
    text: Text,
}

enum Text {
    /// From this place on.
    File(File, u64),
    Bytes(Vec<u8>),
}

impl Source {
    /// Opens the file; without one, or for `-`, stdin.
    ///
    /// # Errors
    /// `usage` for what is no file or too large, `decode` for stdin.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let text = match stdin::whole(MOST_OF_PIPE)? {
                Whole::Bytes(bytes) => Text::Bytes(bytes),
                Whole::File(mut file) => {
                    let begins = file.stream_position().unwrap_or_default();
                    Text::File(file, begins)
                }
            };
            let name = "stdin".into();
            return Ok(Self { name, text });
        };
        let told = |error| Failure::of_file("", path, error);
        let opened = regular_file::open(path, Links::Follow, Access::Read).map_err(told)?;
        if opened.metadata.len() > MOST_OF_FILE {
            return Err(told(NoFile::TooLarge(MOST_OF_FILE as usize)));
        }
        Ok(Self {
            name: path.to_owned(),
            text: Text::File(opened.file, 0),
        })
    }

    /// A text that is held already.
    pub fn held(text: &[u8]) -> Self {
        Self {
            name: "the document".into(),
            text: Text::Bytes(text.to_owned()),
        }
    }

    /// Reads it from its beginning.
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn read(&mut self, sink: &mut Sink<'_>) -> Result<Recorded, Stopped> {
        let read = match &mut self.text {
            Text::Bytes(bytes) => recorded::read(Cursor::new(&*bytes), sink),
            Text::File(file, begins) => match file.seek(SeekFrom::Start(*begins)) {
                // It may grow while it is read.
                Ok(_) => recorded::read(file.take(MOST_OF_FILE), sink),
                Err(error) => Err(ReadError::Source(error)),
            },
        };
        read.map_err(|error| match error {
            ReadError::Text(error) => Stopped::Reading(error.into()),
            ReadError::Source(error) => {
                Stopped::Reading(Failure::of_file("", &self.name, NoFile::of(&error)))
            }
            ReadError::Sink(error) => Stopped::Writing(error),
        })
    }
}

/// Why reading ended early.
pub(super) enum Stopped {
    /// It is no document, or can't be read any more.
    Reading(Failure),
    /// What the rows were handed to took no more.
    Writing(io::Error),
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Reading(failure) => failure,
            Stopped::Writing(error) => Self::not_written(&error.kind().to_string()),
        }
    }
}
