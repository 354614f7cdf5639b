//! Parts of a deployment that go away and come back: which part, at what moment, for how long.

use std::time::Duration;

use serde::Deserialize;

use super::parse::milliseconds;

/// A part that is away for a while. It goes `after` all of the numbers below were reached; an outage
/// without numbers goes so long after the simulator's start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// What goes away.
    pub part: Part,
    /// How long after the numbers below were reached.
    #[serde(default, rename = "after_ms", deserialize_with = "milliseconds")]
    pub after: Duration,
    /// So many requests have arrived. With `after_ms: 0` the last of them is cut off before it has an effect.
    #[serde(default)]
    pub after_requests: usize,
    /// So many campaigns or queries were created. With `after_ms: 0` an outage of the service keeps the
    /// answer to the last dispatch from its client.
    #[serde(default)]
    pub after_campaigns: usize,
    /// So many answers of hosts were taken.
    #[serde(default)]
    pub after_answers: usize,
    /// How long the part is away.
    #[serde(rename = "for_ms", deserialize_with = "milliseconds")]
    pub length: Duration,
}

impl Outage {
    /// The part is away for so long, from the simulator's start on.
    pub fn of(part: Part, length: Duration) -> Self {
        Self {
            part,
            after: Duration::ZERO,
            after_requests: 0,
            after_campaigns: 0,
            after_answers: 0,
            length,
        }
    }

    /// Goes so long after the numbers were reached.
    #[must_use]
    pub fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    /// Goes once so many requests have arrived.
    #[must_use]
    pub fn after_requests(mut self, requests: usize) -> Self {
        self.after_requests = requests;
        self
    }

    /// Goes once so many campaigns or queries were created.
    #[must_use]
    pub fn after_campaigns(mut self, campaigns: usize) -> Self {
        self.after_campaigns = campaigns;
        self
    }

    /// Goes once so many answers of hosts were taken.
    #[must_use]
    pub fn after_answers(mut self, answers: usize) -> Self {
        self.after_answers = answers;
        self
    }
}

/// A part of a deployment. With `wire: both` an outage meets both servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The server itself. Connections are cut and new ones refused. Fleet's campaigns lose their listeners
    /// for good and stay on the agents' list (see [`super::Fleet::unheard`]); osctrl's queries go on.
    Service,
    /// Fleet's Redis. Streams get two error frames, stay open and bring no result any more; what needs
    /// Redis is a 408. The campaigns of that time are lost, new ones work once it is back.
    Redis,
    /// The database, stopped: it takes connections and does not answer. Fleet answers 500 with an empty
    /// body and says `error retrieving target counts` on running streams; osctrl answers 401 to a good
    /// token and 403 to a good login. Afterwards campaigns, queries and results are still there.
    Database,
    /// The database, killed: Fleet answers 401 to a good token and a good login; all else as with
    /// [`Part::Database`].
    DatabaseKilled,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Service,
        Self::Redis,
        Self::Database,
        Self::DatabaseKilled,
    ];
}
