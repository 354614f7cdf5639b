//! Waiting out what passes by itself. While osctrl's database is down the server answers 401 to a good
//! token, 403 to a good login, 500 and 408 (transcript `database-away`); afterwards everything is there.

use std::time::Duration;

use tokio::time::Instant;

/// Pauses grow from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What lasts no longer than so many pauses is not worth a warning.
const QUIET: u32 = 2;

/// How one call has been waited for.
#[derive(Debug)]
pub struct Patience {
    deadline: Instant,
    pause: Duration,
    /// Pauses that were made.
    pub waited: u32,
}

impl Patience {
    /// Ends at the deadline.
    pub fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            pause: FIRST_PAUSE,
            waited: 0,
        }
    }

    /// Makes a pause; false where there is no time for one. `tell` is called once it lasts.
    pub async fn wait(&mut self, tell: impl FnOnce()) -> bool {
        let until = Instant::now() + self.pause;
        if until >= self.deadline {
            return false;
        }
        self.waited += 1;
        if self.waited == QUIET {
            tell();
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        tokio::time::sleep_until(until).await;
        true
    }
}
