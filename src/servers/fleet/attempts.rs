//! How often a campaign is started again. Attempts are spent by failures to deliver, not by age: a line that
//! is cut every few seconds brings answers all the same, and one that never works must not be tried for ever.
//! Pure.

use std::time::Duration;

/// The pauses before new campaigns that follow failures; there are no more than these in a row.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// A campaign that was listened to for so long has reached every agent that checked in meanwhile.
const STEADY: Duration = Duration::from_secs(3);
/// How much longer than every campaign before it one must live for a sign that things get better.
const LONGER: Duration = Duration::from_millis(500);

/// The attempts in a row that delivered nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts {
    spent: usize,
    longest: Duration,
}

impl Attempts {
    /// There are so many in a row.
    pub(super) const MOST: usize = PAUSES.len();

    /// A campaign is over that brought so many answers and was listened to for so long.
    pub(super) fn campaign_ended(&mut self, answers: usize, listened: Duration) {
        if answers > 0 || listened >= STEADY || listened > self.longest + LONGER {
            self.spent = 0;
        }
        self.longest = self.longest.max(listened);
    }

    /// Spends one: the pause before it. `None` where there are no more.
    pub(super) fn spend(&mut self) -> Option<Duration> {
        let pause = PAUSES.get(self.spent).copied();
        self.spent += usize::from(pause.is_some());
        pause
    }

    /// So many are spent.
    pub(super) fn spent(&self) -> usize {
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_are_all() {
        let mut attempts = Attempts::default();
        for pause in PAUSES {
            attempts.campaign_ended(0, Duration::from_millis(3));
            assert_eq!(attempts.spend(), Some(pause));
        }
        // As short as the others: what differs is noise.
        attempts.campaign_ended(0, Duration::from_millis(9));
        assert_eq!((attempts.spend(), attempts.spent()), (None, 3));
    }

    #[test]
    fn what_delivers_starts_anew() {
        for (answers, listened) in [
            (1, Duration::ZERO),
            (0, Duration::from_secs(4)),
            (0, Duration::from_millis(600)),
        ] {
            let mut attempts = Attempts::default();
            while attempts.spend().is_some() {}
            attempts.campaign_ended(answers, listened);
            assert_eq!(attempts.spend(), Some(PAUSES[0]), "{answers} {listened:?}");
        }
    }

    #[test]
    fn a_line_that_is_cut_every_four_seconds_is_never_given_up() {
        let mut attempts = Attempts::default();
        for campaign in 0..200 {
            attempts.campaign_ended(0, Duration::from_millis(4_000 - campaign % 7));
            assert!(attempts.spend().is_some());
        }
    }
}
