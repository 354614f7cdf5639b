//! How a part of a deployment that is away is waited for: with growing pauses, until the deadline. Knows
//! nothing of which part it is.

use std::time::Duration;

use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pauses of one wait.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    pause: Duration,
    deadline: Instant,
}

impl Patience {
    /// To be had until then.
    pub(super) fn until(deadline: Instant) -> Self {
        Self {
            pause: FIRST_PAUSE,
            deadline,
        }
    }

    /// When to try again; `None` where the deadline would come first.
    pub(super) fn next(&mut self) -> Option<Instant> {
        let at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        (at < self.deadline).then_some(at)
    }

    /// Whether it was waited for more than once: worth a word.
    pub(super) fn is_long(&self) -> bool {
        self.pause > FIRST_PAUSE * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end_before_the_deadline() {
        let begun = Instant::now();
        let mut patience = Patience::until(begun + Duration::from_secs(9));
        let mut pauses = Vec::new();
        while let Some(at) = patience.next() {
            pauses.push((at - Instant::now()).as_millis());
            tokio::time::sleep_until(at).await;
        }
        assert_eq!(pauses, [200, 400, 800, 1_600, 2_000, 2_000]);
        assert!(begun.elapsed() < Duration::from_secs(9));
    }
}
