//! The audit log's file. Whole lines only: each is one write under the file's lock, and what a dying writer
//! left torn is cut off by the next. Neither the file nor its place may be others' to change.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::policy::trust;
use crate::regular_file::{self, Access, Links, Opened};

/// A torn line is no longer than this.
const MAX_TORN_BYTES: u64 = 1024 * 1024;
/// What to say of a file with other lines.
const NOT_OURS: &str = "it holds lines that are not an audit log's: is it another file?";
/// How every line begins.
const BEGINNING: &[u8] = b"{\"event\":\"";

/// Whether a line must be on the disk before one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    Yes,
    No,
}

/// Appends a line; false where another process has the file's lock right now.
pub(super) fn append(path: &Path, line: &str, sync: Sync) -> Result<bool, String> {
    let words = |error: std::io::Error| error.kind().to_string();
    let Opened { mut file, .. } = open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(words(error)),
    }
    // Moved away (rotated) between opening and locking: once more, into the new one.
    let opened = file.metadata().map_err(words)?;
    if !fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (opened.dev(), opened.ino())) {
        return Ok(false);
    }
    let (end, torn) = mend(&mut file, opened.len())?;
    let line = match torn {
        true => format!("\n{line}"),
        false => line.to_owned(),
    };
    match file.write(line.as_bytes()) {
        Ok(written) if written == line.len() => {}
        incomplete => {
            // A full disk: better no line than a half.
            let _ = file.set_len(end);
            return Err(incomplete.map_or_else(words, |_| "no space for a whole line".into()));
        }
    }
    if sync == Sync::Yes {
        // Others may write meanwhile: waiting for the disk is most of what a line takes.
        file.unlock().map_err(words)?;
        file.sync_data().map_err(words)?;
    }
    Ok(true)
}

/// Cuts off what a writer that died left without a newline. Returns where the file ends, and whether the
/// torn line is still there (the file may be append-only).
fn mend(file: &mut File, length: u64) -> Result<(u64, bool), String> {
    let words = |error: std::io::Error| error.kind().to_string();
    let from = length.saturating_sub(MAX_TORN_BYTES);
    let mut last = [0];
    if length == 0 {
        return Ok((0, false));
    }
    // A path that was mistyped, or a link: nothing is added to another program's file.
    let mut first = [0; BEGINNING.len()];
    let known = BEGINNING
        .len()
        .min(usize::try_from(length).unwrap_or(usize::MAX));
    file.seek(SeekFrom::Start(0)).map_err(words)?;
    file.read_exact(&mut first[..known]).map_err(words)?;
    if first[..known] != BEGINNING[..known] {
        return Err(NOT_OURS.into());
    }
    file.seek(SeekFrom::Start(length - 1)).map_err(words)?;
    file.read_exact(&mut last).map_err(words)?;
    if last == *b"\n" {
        return Ok((length, false));
    }
    file.seek(SeekFrom::Start(from)).map_err(words)?;
    let mut tail = Vec::new();
    Read::by_ref(file)
        .take(length - from)
        .read_to_end(&mut tail)
        .map_err(words)?;
    let begins = tail
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map(|at| at + 1)
        .or((from == 0).then_some(0));
    // Nothing but a torn line of our own is ever cut off.
    let ours = |torn: &[u8]| torn.iter().zip(BEGINNING).all(|(one, other)| one == other);
    match begins.and_then(|at| Some((at, tail.get(at..)?))) {
        Some((at, torn)) if ours(torn) => {
            let end = from + at as u64;
            match file.set_len(end) {
                Ok(()) => Ok((end, false)),
                Err(_) => Ok((length, true)),
            }
        }
        _ => Err(NOT_OURS.into()),
    }
}

/// Opens the file to append to it; makes it where it is missing, for this process's user alone. Looked at
/// each time: whoever can put another file in its place can take lines out.
pub(super) fn open(path: &Path) -> Result<Opened, String> {
    let real = trust::log(path).map_err(|error| format!("it {error}"))?;
    let opened = regular_file::open(&real, Links::Refuse, Access::Append)
        .map_err(|error| format!("it {error}"))?;
    trust::own_log(&opened.metadata).map_err(|error| format!("it {error}"))?;
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::scratch::Scratch;

    const WHOLE: &str = "{\"event\":\"intent\",\"run\":\"a\"}\n";

    #[test]
    fn a_torn_line_is_cut_off_wherever_it_was_torn() {
        let folder = Scratch::new();
        for torn in 1..WHOLE.len() {
            let torn = &WHOLE[..torn];
            for before in ["", WHOLE] {
                let log = folder.file("log", format!("{before}{torn}"), 0o600);
                assert_eq!(append(&log, WHOLE, Sync::No), Ok(true));
                let torn = if torn.ends_with('\n') { torn } else { "" };
                assert_eq!(folder.text("log"), format!("{before}{torn}{WHOLE}"));
            }
        }
    }

    #[test]
    fn what_is_no_audit_log_is_left_alone() {
        let folder = Scratch::new();
        for text in [
            "localhost",
            "a\nb",
            "root:x:0:0\n",
            "{\"level\": 1}\n",
            "{\"event\":\"x\"}\n{\"other",
        ] {
            let log = folder.file("log", text, 0o600);
            let refused = append(&log, WHOLE, Sync::No).unwrap_err();
            assert_eq!(refused, NOT_OURS);
            assert_eq!(folder.text("log"), text);
        }
    }

    #[test]
    fn a_locked_file_is_waited_for() {
        let folder = Scratch::new();
        let log = folder.file("log", "", 0o600);
        let other = open(&log).unwrap();
        other.file.lock().unwrap();
        assert_eq!(append(&log, WHOLE, Sync::No), Ok(false));
        assert_eq!(folder.text("log"), "");
        drop(other);
        assert_eq!(append(&log, WHOLE, Sync::No), Ok(true));
    }
}
