//! Arguments → a verb → an exit status; nothing else.

use std::process::ExitCode;
use std::time::Instant;

/// musl's own is made for small code, not for many rows (docs/decisions.md, “Packaging”).
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let started = Instant::now();
    let args: Vec<_> = std::env::args_os().collect();
    osquery_live_query::main(&args, started)
}
