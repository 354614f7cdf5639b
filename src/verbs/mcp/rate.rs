//! How many runs a minute: a model that calls in a circle must not keep the hosts busy.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::refusal::Refusal;

const WITHIN: Duration = Duration::from_secs(60);

/// The runs of the last minute.
#[derive(Debug, Default)]
pub(super) struct Rate(RefCell<VecDeque<Instant>>);

impl Rate {
    /// Counts a run.
    ///
    /// # Errors
    /// There were as many within the last minute as may be.
    pub(super) fn begin(&self, most: usize) -> Result<(), Refusal> {
        self.at(Instant::now(), most).map_err(|wait| {
            Refusal::busy(
                format!("{most} runs were begun within a minute, and the policy's `mcp.max_runs_per_minute` allows no more"),
                format!("call again in {} s", wait.as_secs() + 1),
            )
        })
    }

    fn at(&self, now: Instant, most: usize) -> Result<(), Duration> {
        let mut runs = self.0.borrow_mut();
        let age = |then: &Instant| now.saturating_duration_since(*then);
        while runs.front().is_some_and(|first| age(first) >= WITHIN) {
            runs.pop_front();
        }
        if runs.len() >= most {
            let first = runs.front().map_or(Duration::ZERO, age);
            return Err(WITHIN.saturating_sub(first));
        }
        runs.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_slides() {
        let rate = Rate::default();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(rate.at(after(0), 2), Ok(()));
        assert_eq!(rate.at(after(20), 2), Ok(()));
        assert_eq!(rate.at(after(30), 2), Err(Duration::from_secs(30)));
        assert_eq!(rate.at(after(60), 2), Ok(()));
        assert_eq!(rate.at(after(61), 2), Err(Duration::from_secs(19)));
    }
}
