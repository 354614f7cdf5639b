//! The way out of a bug: where the last panic was, and the failure that says so. A panic's message may
//! hold values of the step and is never kept.

use std::sync::{Mutex, PoisonError};

use crate::exit::Code;
use crate::session::failure::Failure;

static PANICKED_AT: Mutex<Option<String>> = Mutex::new(None);

/// From now on a panic prints nothing; its place is remembered for [`failure`].
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            let mut at = PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner);
            *at = Some(format!("{}:{}", place.file(), place.line()));
        }
    }));
}

/// The failure that the last panic is.
pub fn failure() -> Failure {
    let mut at = PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner);
    Failure::new(
        Code::Internal,
        format!(
            "a bug in osquery-live-query {} at {}",
            env!("CARGO_PKG_VERSION"),
            at.take().as_deref().unwrap_or("an unknown place")
        ),
    )
    .hint("report this line, with the step's template and without its secrets, to the project's issue tracker")
}

/// Panics where the variable `OSQUERY_LIVE_QUERY_TEST_PANIC` names the stage: the tests' way to a bug.
/// Builds for users have no such variable.
#[cfg(debug_assertions)]
pub fn provoke(stage: &str) {
    let wanted = std::env::var_os("OSQUERY_LIVE_QUERY_TEST_PANIC");
    assert!(wanted.is_none_or(|wanted| wanted != stage), "provoked");
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub fn provoke(_: &str) {}
