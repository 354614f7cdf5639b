//! Arguments → a verb → an exit status; nothing else.

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let started = Instant::now();
    let args: Vec<_> = std::env::args_os().collect();
    osquery_live_query::main(&args, started)
}
