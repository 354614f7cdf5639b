//! stdin as lines of a protocol, for a verb that talks with who started it. Read on a thread of its own, one
//! piece at a time and no further ahead than a few lines; a line that is too long is never held. Knows nothing
//! of what is in them.

use std::io::Read;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use crate::session::failure::Failure;

/// Lines that are read ahead.
const AHEAD: usize = 4;
/// Bytes that are read at a time.
const PIECE: usize = 64 * 1024;

/// What came between two line breaks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The line, without its end.
    Line(Vec<u8>),
    /// A line that is longer than is taken; it was dropped.
    TooLong,
}

/// Lines of at most so many bytes. The channel ends where stdin does; a last line without an end is none.
///
/// # Errors
/// `internal`, where the system gives no thread.
pub(crate) fn of_stdin(most: usize) -> Result<mpsc::Receiver<Frame>, Failure> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let thread = std::thread::Builder::new().name("stdin".into());
    thread
        .spawn(move || read(std::io::stdin(), most, &sender))
        .map_err(|error| Failure::no_resources(&error))?;
    Ok(receiver)
}

fn read(mut reader: impl Read, most: usize, sender: &mpsc::Sender<Frame>) {
    let mut cutter = Cutter::new(most);
    let mut piece = vec![0; PIECE];
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        for frame in cutter.cut(&piece[..read]) {
            if sender.blocking_send(frame).is_err() {
                return;
            }
        }
    }
}

/// Cuts bytes into lines, whatever the pieces that they come in.
#[derive(Debug)]
pub(crate) struct Cutter {
    most: usize,
    line: Vec<u8>,
    /// The rest of a line that was too long is dropped.
    dropping: bool,
}

impl Cutter {
    /// Lines of at most so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            line: Vec::new(),
            dropping: false,
        }
    }

    /// The lines that end in this piece. Blank ones are left out.
    pub(crate) fn cut(&mut self, piece: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            if !self.dropping && self.line.len() + text.len() > self.most {
                self.dropping = true;
                self.line = Vec::new();
                frames.push(Frame::TooLong);
            }
            if !self.dropping {
                self.line.extend_from_slice(text);
            }
            if ends && !std::mem::take(&mut self.dropping) {
                let line = std::mem::take(&mut self.line);
                if !line.trim_ascii().is_empty() {
                    frames.push(Frame::Line(line));
                }
            }
        }
        frames
    }
}

/// Whether nobody writes to stdin any more, though what was written may not be read yet; never, where it is
/// no pipe and no socket.
pub(crate) fn writer_has_gone() -> bool {
    let stdin = rustix::stdio::stdin();
    let mut looked = [PollFd::new(&stdin, PollFlags::empty())];
    poll(&mut looked, Some(&Timespec::default())).is_ok()
        && looked[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(frames: Vec<Frame>) -> Vec<Option<String>> {
        let text = |frame| match frame {
            Frame::Line(line) => Some(String::from_utf8(line).unwrap()),
            Frame::TooLong => None,
        };
        frames.into_iter().map(text).collect()
    }

    #[test]
    fn what_is_too_long_is_told_once_and_what_follows_is_read() {
        let mut cutter = Cutter::new(3);
        let frames = cutter.cut(b"abc\n\n \r\nabcd\nef\nabcdefgh");
        let told = |text: &str| Some(text.to_owned());
        assert_eq!(lines(frames), [told("abc"), None, told("ef"), None]);
        assert_eq!(lines(cutter.cut(b"ijk")), []);
        assert_eq!(lines(cutter.cut(b"l\ngh\n")), [told("gh")]);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_pieces(
            text in "[ab\n]{0,40}",
            cuts in prop::collection::vec(1usize..6, 0..20),
            most in 1usize..8,
        ) {
            let whole = Cutter::new(most).cut(text.as_bytes());
            let mut cutter = Cutter::new(most);
            let (mut frames, mut rest) = (Vec::new(), text.as_bytes());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                frames.extend(cutter.cut(piece));
                rest = after;
            }
            frames.extend(cutter.cut(rest));
            prop_assert!(cutter.line.len() <= most);
            prop_assert_eq!(frames, whole);
        }
    }
}
