//! Whether the system gives this process what an execution needs, asked before anything is begun: what is
//! refused in the middle of it ends in the depths of a library, which can't tell what was refused.

use std::os::unix::net::UnixStream;

use crate::memory;
use crate::session::failure::Failure;

/// Pairs of files that are open at once at most before a server is connected to: the event loop and its
/// ears for signals (7), a file that is read.
const PAIRS_OF_FILES: usize = 5;

/// Address space that the least of executions takes beside what it has when it begins: three threads' stacks
/// and heaps, and what reading a step and its template takes.
const BYTES: usize = 96 << 20;

/// Asks for it all, and gives it back.
///
/// # Errors
/// `internal`, which names the limit.
pub(super) fn enough() -> Result<(), Failure> {
    memory::asked(BYTES).map_err(|refused| Failure::no_memory("the process", refused))?;
    let pairs: Result<Vec<_>, _> = (0..PAIRS_OF_FILES).map(|_| UnixStream::pair()).collect();
    match pairs {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::no_resources(&error)),
    }
}
