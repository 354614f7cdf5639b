//! Reads stdin to its end within limits. Knows nothing of what is in it.

use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use crate::input::{DecodeError, MAX_INPUT_BYTES, too_long};
use crate::memory;

/// How long the engine may take to write the step and close the pipe.
pub const MAX_INPUT_TIME: Duration = Duration::from_secs(30);

/// Bytes of a pipe that are asked memory for at a time.
const PIECE: usize = 1 << 20;

/// What is waited for on stdin.
pub struct Wanted {
    what: &'static str,
    example: &'static str,
}

impl Wanted {
    /// A step.
    const STEP: Self = Self {
        what: "the step",
        example: "run < step.yaml",
    };
    /// A webhook's document.
    pub const ALERT: Self = Self {
        what: "the webhook's document",
        example: "alert < webhook.json",
    };
}

/// Reads a step from stdin to its end, at most [`MAX_INPUT_BYTES`] and [`MAX_INPUT_TIME`].
///
/// # Errors
/// Where stdin is a terminal, has more, takes longer or can't be read.
pub fn read_stdin() -> Result<Vec<u8>, DecodeError> {
    read(MAX_INPUT_BYTES, &Wanted::STEP)
}

/// The same of something else, of another size.
///
/// # Errors
/// As [`read_stdin`].
pub fn read(most: usize, wanted: &Wanted) -> Result<Vec<u8>, DecodeError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let Wanted { what, example } = wanted;
        let mut error = DecodeError::new(format!(
            "stdin is a terminal: there is no prompt, so pipe {what} in"
        ));
        error.hint = Some(format!("for example: osquery-live-query {example}"));
        return Err(error);
    }
    read_within(stdin, most, MAX_INPUT_TIME)
}

/// Reads to the end within limits of size and time. A reader that never ends is left to its own thread.
///
/// # Errors
/// Where there is more, it takes longer, or it can't be read.
pub fn read_within(
    reader: impl Read + Send + 'static,
    bytes: usize,
    time: Duration,
) -> Result<Vec<u8>, DecodeError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let reading = std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || {
            let mut text = Vec::new();
            let read = reader.take(bytes as u64 + 1).read_to_end(&mut text);
            // The receiver is gone once the time is over.
            let _ = sender.send(read.map(|_| text));
        });
    if reading.is_err() {
        let mut error = DecodeError::new(
            "stdin can't be read: the system gives this process no more threads (`ulimit -u`)",
        );
        error.hint =
            Some("raise the limit of processes (`ulimit -u`; in a service TasksMax)".into());
        return Err(error);
    }
    match receiver.recv_timeout(time) {
        Ok(Ok(text)) if text.len() > bytes => Err(too_long(bytes)),
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(DecodeError::new(format!(
            "stdin can't be read: {}",
            error.kind()
        ))),
        Err(_) => {
            let mut error =
                DecodeError::new(format!("stdin did not end within {} s", time.as_secs_f32()));
            error.hint = Some("the engine must close the pipe after the step".into());
            Err(error)
        }
    }
}

/// What stdin is, for who reads it as often as it takes.
pub(crate) enum Whole {
    /// A file that stands where the caller left it.
    File(std::fs::File),
    /// All of a pipe.
    Bytes(Vec<u8>),
}

/// stdin to its end, however long that takes: who writes it may be a run that waits for its hosts. A file is
/// handed on as it is, of anything else all is read, at most so many bytes.
///
/// # Errors
/// Where stdin is a terminal, has more, or can't be read.
pub(crate) fn whole(most: usize) -> Result<Whole, DecodeError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let mut error = DecodeError::new("stdin is a terminal: there is no prompt");
        error.hint = Some("name a file, or pipe a document in".into());
        return Err(error);
    }
    let unreadable =
        |error: std::io::Error| DecodeError::new(format!("stdin can't be read: {}", error.kind()));
    let file: std::fs::File = stdin
        .as_fd()
        .try_clone_to_owned()
        .map_err(unreadable)?
        .into();
    if file.metadata().map_err(unreadable)?.is_file() {
        return Ok(Whole::File(file));
    }
    let mut bytes = Vec::new();
    let mut stdin = stdin.lock().take(most as u64 + 1);
    loop {
        memory::room(&mut bytes, PIECE).map_err(|refused| {
            DecodeError::new(format!(
                "stdin can't be held: the system refuses {refused} of memory (`ulimit -v`)"
            ))
        })?;
        let mut piece = stdin.by_ref().take(PIECE as u64);
        match piece.read_to_end(&mut bytes).map_err(unreadable)? {
            0 => break,
            _ if bytes.len() > most => return Err(too_long(most)),
            _ => {}
        }
    }
    Ok(Whole::Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Cursor};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn reads_to_the_end_and_no_further_than_the_limit() {
        let text = vec![b'a'; 1 << 20];
        assert_eq!(
            read_within(Cursor::new(text.clone()), 1 << 20, LONG).unwrap(),
            text
        );
        let error = read_within(io::repeat(b'a'), MAX_INPUT_BYTES, LONG).unwrap_err();
        assert_eq!(error.message, "the input is longer than 4 MiB");
    }

    #[test]
    fn a_pipe_that_stays_open_is_not_waited_for_longer_than_the_time() {
        let (reader, _kept_open) = io::pipe().unwrap();
        let error = read_within(reader, 10, Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.message, "stdin did not end within 0.02 s");
    }

    #[test]
    fn an_error_says_its_kind() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::BrokenPipe, "marker"))
            }
        }
        let error = read_within(Broken, 10, LONG).unwrap_err();
        assert_eq!(error.message, "stdin can't be read: broken pipe");
    }
}
