//! One poll of a server: what it has now is compared with what the state remembers, and what is new becomes
//! events. The streams run at once and end each by itself; the state moves on for what is through. It knows no
//! format and no stdout: events go to a [`Sink`], and who called commits the state once they are written.

mod answers;
mod digests;
mod hosts;
mod kept;
mod marks;
mod queries;
mod report;
mod state;
mod texts;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};
use tokio::time::Instant;

pub use state::{Belongs, NoState, State, StateError};
#[cfg(fuzzing)]
pub use texts::fuzz;

use crate::connector::{Glob, RowsWanted};
use crate::events::{Event, Origin, Severities};
use crate::known_servers::Stream;
use crate::notices::Notices;
use crate::servers::BackendError;
use crate::servers::collecting::Collector;

/// Takes events as they are found.
pub trait Sink {
    /// Takes one. Never blocks.
    fn put(&self, event: &Event<'_>);

    /// Waits until there is room for more.
    ///
    /// # Errors
    /// Nobody takes any more: the poll ends.
    fn room(&self) -> LocalBoxFuture<'_, Result<(), Gone>>;
}

/// Nobody takes events any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// What ends a poll, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollError {
    /// The server.
    Backend(BackendError),
    /// The state: nothing of the poll lasts.
    State(StateError),
    /// The deadline came first.
    TooLate(Duration),
    /// It was ended from outside.
    Cancelled,
    /// Nobody takes events any more.
    Unread,
}

impl From<BackendError> for PollError {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl From<StateError> for PollError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl From<Gone> for PollError {
    fn from(_: Gone) -> Self {
        Self::Unread
    }
}

/// What is polled, of what, and for whom.
pub struct Poll<'a> {
    /// The server.
    pub server: &'a dyn Collector,
    /// As events name it.
    pub origin: &'a Origin,
    /// What is remembered.
    pub state: &'a State,
    /// Who takes the events.
    pub sink: &'a dyn Sink,
    /// What its owner should know.
    pub notices: &'a Notices,
    /// Which queries; all, where it is empty.
    pub queries: &'a [Glob],
    /// Which rows become events.
    pub rows: RowsWanted,
    /// How grave rows are.
    pub severities: &'a Severities,
    /// When the poll began, in milliseconds since 1970: the `observed_at` of its events.
    pub now: i64,
    /// When it has to end, and how long that is from its beginning.
    pub deadline: (Instant, Duration),
    /// What was found, apart from events.
    pub found: &'a Found,
    /// Numbers are wanted, and no events: of every query whose answers are kept one by one, the rows that all
    /// hosts have now.
    pub gauges: bool,
}

/// Counts of a poll.
#[derive(Debug, Default)]
pub struct Found {
    /// The hosts, where all of them were listed.
    pub hosts: Cell<Option<HostCounts>>,
    /// Rows that each query's results have now, by its name; of answers that are kept one by one only where
    /// numbers are wanted. A query that could not be read to its end is not among them.
    pub results: RefCell<BTreeMap<String, u64>>,
}

/// How many hosts there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostCounts {
    /// All of them.
    pub total: u64,
    /// Those that check in.
    pub online: u64,
    /// Those that do not, the missing ones among them.
    pub offline: u64,
    /// Those that have not for very long.
    pub missing: u64,
}

/// How a stream ended.
#[derive(Debug)]
pub struct Ended {
    /// Which.
    pub stream: Stream,
    /// Events that came of it.
    pub events: u64,
    /// What went wrong, the first of it; what else was read lasts.
    pub error: Option<PollError>,
    /// Whether any of it is through.
    pub any: bool,
}

/// How far a stream came.
#[derive(Debug, Default)]
struct Progress {
    events: Cell<u64>,
    /// Parts that are through.
    parts: Cell<u64>,
    /// What went wrong with the others, the first of it.
    error: RefCell<Option<PollError>>,
}

impl Progress {
    fn failed(&self, error: PollError) {
        self.error.borrow_mut().get_or_insert(error);
    }
}

/// Milliseconds since 1970.
pub fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Poll<'_> {
    /// Polls these streams at once, until `cancelled` or the deadline. What ends one of them leaves the others.
    pub async fn run(&self, streams: &[Stream], cancelled: impl Future<Output = ()>) -> Vec<Ended> {
        let cancelled = cancelled.shared();
        // Queries name hosts as the list of hosts does, where that comes soon.
        let named = tokio::sync::watch::Sender::new(!streams.contains(&Stream::Hosts));
        let polled = streams.iter().map(|stream| {
            let (cancelled, named) = (cancelled.clone(), &named);
            async move {
                let progress = Progress::default();
                let polled = async {
                    match stream {
                        Stream::Hosts => {
                            let polled = self.hosts(&progress).await;
                            named.send_replace(true);
                            polled
                        }
                        Stream::Queries => {
                            let soon = named.subscribe();
                            self.queries(&progress, soon).await
                        }
                    }
                };
                let polled = tokio::select! {
                    biased;
                    () = cancelled => Err(PollError::Cancelled),
                    polled = tokio::time::timeout_at(self.deadline.0, polled) => {
                        polled.unwrap_or(Err(PollError::TooLate(self.deadline.1)))
                    }
                };
                if let Err(error) = polled {
                    progress.failed(error);
                }
                Ended {
                    stream: *stream,
                    events: progress.events.get(),
                    any: progress.parts.get() > 0,
                    error: progress.error.into_inner(),
                }
            }
        });
        join_all(polled).await
    }

    /// What a server says, as it may be shown; `None` where it says nothing.
    fn text(&self, said: &str) -> Option<String> {
        Some(self.notices.name(said)).filter(|text| !text.is_empty())
    }

    /// Hands an event on.
    async fn put(&self, progress: &Progress, event: &Event<'_>) -> Result<(), PollError> {
        self.sink.put(event);
        progress.events.set(progress.events.get() + 1);
        Ok(self.sink.room().await?)
    }
}
