//! The verb `check`: everything that `run` does up to the dispatch.

use super::run::{StepArgs, Wanted, perform};
use crate::exit::Exit;
use crate::output::Format;
use crate::process::{EventLoop, Process};
use crate::session::Mode;

/// Checks the step on stdin and writes what would be sent to whom. Returns how the process ends.
pub(crate) fn run(args: StepArgs, process: &Process, early: Option<EventLoop>) -> Exit {
    let wanted = Wanted {
        mode: Mode::Check,
        fail_on_partial: false,
        format: Format::Json,
        progress: false,
        step: args,
    };
    perform(wanted, process, early)
}
