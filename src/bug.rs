//! The way out of a bug: where a panic was, without its message, which may hold values of the step. Each
//! execution catches its own; nothing here is shared between threads.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

thread_local! {
    /// Where the last panic of this thread was, from the hook until it is caught.
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught, or what must not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a bug in osquery-live-query {} {what}", env!("CARGO_PKG_VERSION"))]
pub struct Bug {
    /// `at src/file.rs:17`, or what must not be, in brackets.
    what: String,
}

impl Bug {
    /// The bug that a caught panic is: one that was carried over from another thread, or the last one of
    /// this thread.
    pub(crate) fn of(panic: Box<dyn Any + Send>) -> Self {
        match panic.downcast::<Self>() {
            Ok(carried) => *carried,
            Err(_) => {
                let place = PANICKED_AT.take();
                let place = place.unwrap_or_else(|| "an unknown place".to_owned());
                Self {
                    what: format!("at {place}"),
                }
            }
        }
    }

    /// What must not be, in a sentence that names no value.
    pub(crate) fn that(sentence: &str) -> Self {
        Self {
            what: format!("({sentence})"),
        }
    }
}

/// Runs work and catches its panic. Where the process remembers panics ([`remember`]), the place is known.
///
/// # Errors
/// The panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Bug> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Bug::of)
}

/// The hook that prints nothing and keeps a panic's place for whoever catches it.
pub(crate) fn remember(panic: &PanicHookInfo<'_>) {
    if let Some(place) = panic.location() {
        let place = format!("{}:{}", place.file(), place.line());
        PANICKED_AT.with_borrow_mut(|at| *at = Some(place));
    }
}

/// Panics where the variable `OSQUERY_LIVE_QUERY_TEST_PANIC` names the stage: the tests' way to a bug.
/// Builds for users have no such variable.
#[cfg(debug_assertions)]
pub(crate) fn provoke(stage: &str) {
    let wanted = std::env::var_os("OSQUERY_LIVE_QUERY_TEST_PANIC");
    assert!(wanted.is_none_or(|wanted| wanted != stage), "provoked");
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn provoke(_: &str) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_carried_over_from_the_thread_where_it_was() {
        let carried = std::thread::spawn(|| {
            let bug = caught(|| panic!("secret"));
            bug.unwrap_err()
        });
        let bug = carried.join().unwrap();
        assert!(!bug.to_string().contains("secret"));
        let again = caught(|| std::panic::resume_unwind(Box::new(bug.clone())));
        assert_eq!(again, Err::<(), _>(bug));
        assert_eq!(caught(|| 7), Ok(7));
    }
}
