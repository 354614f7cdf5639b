//! How often hosts that have not answered are looked for: often while answers come, less and less while
//! nothing moves. Pure: elapsed times go in.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);

/// The pauses between rounds.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
}

impl Pace {
    /// Before the first round.
    pub fn new() -> Self {
        Self { pause: SHORTEST }
    }

    /// The pause after a round that took so long and brought an answer, or did not: at least as long as the
    /// round, so that the service works for us half of the time at most.
    pub fn after(&mut self, took: Duration, moved: bool) -> Duration {
        self.pause = match moved {
            true => SHORTEST,
            false => (self.pause * 2).min(LONGEST),
        };
        self.pause.max(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_quiets_down_and_comes_back() {
        let mut pace = Pace::new();
        let quick = Duration::from_millis(3);
        let pauses: Vec<u128> = [false, false, false, false, false, true, false]
            .map(|moved| pace.after(quick, moved).as_millis())
            .to_vec();
        assert_eq!(pauses, [200, 400, 800, 1_000, 1_000, 100, 200]);
        let slow = Duration::from_secs(3);
        assert_eq!(pace.after(slow, true), slow);
    }
}
