//! What changes by itself while the simulator runs: hosts go and come, reports get new snapshots, queries
//! get new results. The same words serve a test that changes something between two polls.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::parse::milliseconds;
use super::{Cells, HostStatus, LateResult};

/// A change at a moment: `after` so many requests. Everything that is set happens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// How long after the requests below had arrived; of a change without them, after the start.
    #[serde(rename = "after_ms", deserialize_with = "milliseconds")]
    pub after: Duration,
    /// So many requests have arrived. With `after_ms: 0` the next one finds the change made.
    pub after_requests: usize,
    /// What becomes of a host.
    pub host: Option<HostChange>,
    /// A host's new rows in a report of Fleet.
    pub snapshot: Option<Snapshot>,
    /// A host's result in a query of osctrl.
    pub result: Option<LateResult>,
}

impl Change {
    /// Whether it does anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.host.is_none() && self.snapshot.is_none() && self.result.is_none()
    }

    /// A change of a host, at once.
    pub fn of_host(host: HostChange) -> Self {
        Self {
            host: Some(host),
            ..Self::default()
        }
    }

    /// New rows in a report, at once.
    pub fn of_report(snapshot: Snapshot) -> Self {
        Self {
            snapshot: Some(snapshot),
            ..Self::default()
        }
    }

    /// A result in a query of osctrl, at once.
    pub fn of_query(query: impl Into<String>, result: super::ResultSpec) -> Self {
        Self {
            result: Some(LateResult {
                query: query.into(),
                result,
            }),
            ..Self::default()
        }
    }

    /// The same so long after the requests, or after the start.
    #[must_use]
    pub fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    /// The same once so many requests have arrived.
    #[must_use]
    pub fn after_requests(mut self, requests: usize) -> Self {
        self.after_requests = requests;
        self
    }
}

/// What becomes of a host. Everything that is set happens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostChange {
    /// Which: its uuid, its hostname or its id, as they are at that moment.
    pub host: String,
    /// It goes, or comes back and takes up what still waits for it.
    #[serde(default)]
    pub status: Option<HostStatus>,
    /// When the servers last saw it (RFC 3339), unless it is online; by default now, and of a missing host
    /// 31 days ago.
    #[serde(default)]
    pub last_seen: Option<String>,
    /// False: it is deleted. True: it enrols (again), with the next free id and online unless `status` says
    /// otherwise. AiSOC's own service forgets nobody.
    #[serde(default)]
    pub enrolled: Option<bool>,
    /// Its new hostname; also its display name, where both were one.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Its new display name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Its new Fleet team; `null` takes it out of its team.
    #[serde(default, deserialize_with = "given")]
    pub team_id: Option<Option<u64>>,
}

/// Tells `null` from a key that was left out.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::<u64>::deserialize(from).map(Some)
}

impl HostChange {
    /// A change of this host that changes nothing yet.
    pub fn of(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            ..Self::default()
        }
    }

    /// It goes or comes back.
    #[must_use]
    pub fn status(mut self, status: HostStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// It is deleted.
    #[must_use]
    pub fn deleted(mut self) -> Self {
        self.enrolled = Some(false);
        self
    }

    /// It enrols, or enrols again.
    #[must_use]
    pub fn enrolled(mut self) -> Self {
        self.enrolled = Some(true);
        self
    }

    /// It has another hostname.
    #[must_use]
    pub fn renamed(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    /// It moves to this Fleet team, or out of every team.
    #[must_use]
    pub fn in_team(mut self, team: Option<u64>) -> Self {
        self.team_id = Some(team);
        self
    }
}

/// A host's snapshot for a report of Fleet: it replaces the host's rows as a whole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The report's name.
    pub report: String,
    /// Which host: its uuid, hostname or id.
    pub host: String,
    /// Its rows; without them, what the host's tables make of the report's statement. An empty list leaves
    /// no trace.
    #[serde(default)]
    pub rows: Option<Vec<Cells>>,
    /// When they were fetched (RFC 3339, kept in whole seconds); by default now.
    #[serde(default)]
    pub fetched: Option<String>,
}

impl Snapshot {
    /// What the host's tables make of the report's statement.
    pub fn of(report: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            report: report.into(),
            host: host.into(),
            ..Self::default()
        }
    }

    /// These rows instead.
    #[must_use]
    pub fn rows(mut self, rows: Vec<Cells>) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Fetched at this time (RFC 3339).
    #[must_use]
    pub fn fetched(mut self, at: impl Into<String>) -> Self {
        self.fetched = Some(at.into());
        self
    }
}
