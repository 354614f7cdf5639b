//! Memory that the system may refuse. An allocation that fails ends the process at once, without a document;
//! so where much is wanted at a time, it is asked for first, and a refusal is an error like any other.

use std::fmt;

/// The system gave no such memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory {
    /// Bytes that were wanted.
    pub bytes: usize,
}

/// What was wanted.
impl fmt::Display for NoMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            bytes if bytes < 1 << 20 => write!(formatter, "{} KiB", bytes.div_ceil(1 << 10)),
            bytes => write!(formatter, "{} MiB", bytes.div_ceil(1 << 20)),
        }
    }
}

/// Who asks for so much leaves something to those who do not ask.
const MUCH: usize = 64 << 10;

/// What is left to them: threads that begin, libraries, all that is small.
const SPARE: usize = 8 << 20;

/// Makes room for so many further bytes.
///
/// # Errors
/// [`NoMemory`]
pub(crate) fn room(buffer: &mut Vec<u8>, further: usize) -> Result<(), NoMemory> {
    if buffer.capacity() - buffer.len() >= further {
        return Ok(());
    }
    // A buffer grows by doubling.
    let bytes = (buffer.len() + further).max(buffer.capacity().saturating_mul(2));
    let grown = buffer.try_reserve(further).is_ok();
    had(grown, bytes)
}

/// Text that takes so many bytes without growing.
///
/// # Errors
/// [`NoMemory`]
pub(crate) fn text(bytes: usize) -> Result<String, NoMemory> {
    let mut text = String::new();
    let grown = text.try_reserve_exact(bytes).is_ok();
    had(grown, bytes).map(|()| text)
}

/// Whether so many bytes could be had now; they are given back. For buffers that a library grows.
///
/// # Errors
/// [`NoMemory`]
pub(crate) fn asked(bytes: usize) -> Result<(), NoMemory> {
    let spare = if bytes < MUCH { 0 } else { SPARE };
    let free = is_free(bytes.saturating_add(spare));
    free.then_some(()).ok_or(NoMemory { bytes })
}

/// Whether they were had, and enough is left.
fn had(grown: bool, bytes: usize) -> Result<(), NoMemory> {
    if !grown {
        return Err(NoMemory { bytes });
    }
    let left = bytes < MUCH || is_free(SPARE);
    let bytes = bytes.max(SPARE);
    left.then_some(()).ok_or(NoMemory { bytes })
}

fn is_free(bytes: usize) -> bool {
    let mut nothing: Vec<u8> = Vec::new();
    nothing.try_reserve_exact(bytes).is_ok()
}

/// What a thread takes to begin: its stack, and what the C library allocates in it, which ends the process
/// where it is refused.
const THREAD: usize = 4 << 20;

/// Whether there is memory for one more thread.
///
/// # Errors
/// [`NoMemory`]
pub(crate) fn for_a_thread() -> Result<(), NoMemory> {
    asked(THREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_refused_and_named() {
        let most = isize::MAX as usize;
        assert_eq!(asked(most), Err(NoMemory { bytes: most }));
        assert_eq!(text(most), Err(NoMemory { bytes: most }));
        let mut buffer = vec![0; 16];
        let refused = room(&mut buffer, most).unwrap_err();
        assert!(refused.bytes >= most, "{refused}");
        assert_eq!(buffer.len(), 16);
        assert_eq!(NoMemory { bytes: 1 }.to_string(), "1 KiB");
        assert_eq!(NoMemory { bytes: 3 << 20 }.to_string(), "3 MiB");
        assert_eq!(room(&mut buffer, 1 << 20), Ok(()));
    }
}
