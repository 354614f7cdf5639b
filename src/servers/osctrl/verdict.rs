//! What the end of a query says of the hosts that did not answer it. Pure.
//!
//! osctrl's counters count answers, not hosts: a host that is handed the query twice answers twice and
//! counts twice (transcript `query-answered-twice`), and the admin service completes a query as soon as
//! they reach the number of its targets (transcript `ended-early`), or at once where it meets the query
//! while those are being written. So they never tell which host has answered, but for one case: where a
//! query had one target only, an answer that was counted is that host's.

use super::wire::State;

/// Silent hosts are asked one by one where so many at most have to be told apart.
const MOST_APART: usize = 8;

/// What is to be done about the silent hosts of a query that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody stopped or deleted it, or its time ran out: they are not asked again.
    Stopped,
    /// The only host that was asked has answered with an error of which the server keeps no text.
    Failed,
    /// They may never have been handed it: they are asked again, together or each by a query of its own,
    /// by which one that fails without a text can be told from one that is silent.
    AskAgain {
        /// Each by its own.
        apart: bool,
    },
}

impl State {
    /// Whether the server hands the query to nobody any more.
    pub fn is_over(&self) -> bool {
        self.completed || self.expired || self.deleted
    }
}

/// Judges a query that is over, once its results have been read: `targets` hosts were asked, `silent` of
/// them have no result, and `error_items` results with an error were read, repeated ones too.
pub fn verdict(state: &State, targets: usize, silent: usize, error_items: u64) -> Verdict {
    if !state.completed || state.deleted {
        return Verdict::Stopped;
    }
    // Errors that left no result: at most so many of the silent hosts can have failed.
    let without_result = state.errors.0.saturating_sub(error_items);
    if without_result == 0 {
        return Verdict::AskAgain { apart: false };
    }
    if targets == 1 && silent == 1 {
        return Verdict::Failed;
    }
    Verdict::AskAgain {
        apart: silent <= MOST_APART,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wire::Count;
    use super::*;

    fn state(expected: u64, executions: u64, errors: u64) -> State {
        State {
            id: Count(1),
            expected: Count(expected),
            executions: Count(executions),
            errors: Count(errors),
            completed: true,
            ..State::default()
        }
    }

    #[test]
    fn a_query_that_the_counters_ended_is_asked_again() {
        // Transcript `ended-early`: five of ten answered twice.
        let together = Verdict::AskAgain { apart: false };
        assert_eq!(verdict(&state(10, 10, 0), 10, 5, 0), together);
        // Met while its targets were being written.
        assert_eq!(verdict(&state(0, 0, 0), 1_010, 1_010, 0), together);
        // A thousand hosts, a busy server.
        assert_eq!(verdict(&state(1_000, 1_070, 0), 1_000, 37, 0), together);
        // Errors whose results have been read are no silent host's.
        assert_eq!(verdict(&state(3, 0, 4), 3, 1, 4), together);
    }

    #[test]
    fn what_may_have_failed_is_asked_by_itself_and_then_known() {
        let apart = Verdict::AskAgain { apart: true };
        assert_eq!(verdict(&state(2, 1, 1), 2, 1, 0), apart);
        assert_eq!(verdict(&state(9, 1, 8), 9, 8, 0), apart);
        let together = Verdict::AskAgain { apart: false };
        assert_eq!(verdict(&state(99, 0, 99), 99, 99, 0), together);
        assert_eq!(verdict(&state(1, 0, 1), 1, 1, 0), Verdict::Failed);
        assert_eq!(verdict(&state(1, 0, 2), 1, 1, 2), together);
    }

    #[test]
    fn what_somebody_stopped_is_not_asked_again() {
        let stopped = |state: State| assert_eq!(verdict(&state, 2, 1, 0), Verdict::Stopped);
        let ended = State {
            completed: false,
            ..state(2, 1, 0)
        };
        stopped(State {
            expired: true,
            ..ended
        });
        stopped(State {
            deleted: true,
            ..ended
        });
        stopped(State {
            deleted: true,
            ..state(2, 2, 0)
        });
    }

    /// What one host does whenever it is handed the query.
    #[derive(Debug, Clone, Copy)]
    enum Does {
        Rows,
        Error,
        /// A status without a result.
        ErrorAlone,
    }

    proptest! {
        /// Whatever the counters came to be and whenever the query was ended: a host that was not handed
        /// it is never held for failed.
        #[test]
        fn who_was_not_asked_has_not_failed(
            hosts in prop::collection::vec(
                (0u64..4, prop::sample::select(vec![Does::Rows, Does::Error, Does::ErrorAlone])), 1..6)
                // Without a silent one there is nothing to judge.
                .prop_filter("some host is silent", |hosts| hosts.iter().any(|(times, does)| *times == 0 || matches!(does, Does::ErrorAlone))),
            expected in 0u64..8,
            lost_counts in 0u64..3,
        ) {
            let sum = |fits: fn(Does) -> bool| -> u64 {
                hosts.iter().filter(|(_, does)| fits(*does)).map(|(times, _)| times).sum()
            };
            let executions = sum(|does| matches!(does, Does::Rows));
            let error_items = sum(|does| matches!(does, Does::Error));
            let errors = sum(|does| !matches!(does, Does::Rows)).saturating_sub(lost_counts);
            let silent: Vec<u64> = hosts
                .iter()
                .filter(|(times, does)| *times == 0 || matches!(does, Does::ErrorAlone))
                .map(|(times, _)| *times)
                .collect();
            let said = verdict(&state(expected, executions, errors), hosts.len(), silent.len(), error_items);
            if said == Verdict::Failed {
                prop_assert!(silent.iter().all(|handed| *handed > 0), "{silent:?}");
            }
        }
    }
}
