//! Fleet's saved queries with a schedule, newly called reports, and its teams.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::parse::validate_cells;
use super::{Cells, Scenario, ScenarioError};

/// A saved query, which hosts run on a schedule. Nothing runs by the clock here: snapshots come when the
/// scenario says so, or a test.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportSpec {
    /// Its name.
    pub name: String,
    /// Its statement.
    pub query: String,
    /// Its id; the next free one by default.
    #[serde(default)]
    pub id: Option<u64>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// How often hosts run it, in seconds; 0 is never, and leaves the report empty.
    #[serde(default = "hourly")]
    pub interval: u64,
    /// What hosts send; only `snapshot` fills a report.
    #[serde(default)]
    pub logging: Logging,
    /// Keeps no results.
    #[serde(default)]
    pub discard_data: bool,
    /// Whether observers may run it as a live query.
    #[serde(default)]
    pub observer_can_run: bool,
    /// The team that it belongs to; lists that name no team leave it out.
    #[serde(default)]
    pub team_id: Option<u64>,
    /// Every host that is online (of the team, where it has one) has sent a snapshot of its tables.
    #[serde(default)]
    pub filled: bool,
    /// Snapshots of single hosts: uuid, hostname or id to rows.
    #[serde(default)]
    pub rows: BTreeMap<String, Vec<Cells>>,
}

fn hourly() -> u64 {
    3_600
}

impl ReportSpec {
    /// An hourly report of this name without results.
    pub fn of(name: impl Into<String>, query: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            query: query.into(),
            id: None,
            description: String::new(),
            interval: hourly(),
            logging: Logging::Snapshot,
            discard_data: false,
            observer_can_run: false,
            team_id: None,
            filled: false,
            rows: BTreeMap::new(),
        }
    }

    /// The same, with a snapshot of every host's tables.
    #[must_use]
    pub fn filled(mut self) -> Self {
        self.filled = true;
        self
    }

    /// The same, with a host's rows.
    #[must_use]
    pub fn with_rows(mut self, host: impl Into<String>, rows: Vec<Cells>) -> Self {
        self.rows.insert(host.into(), rows);
        self
    }
}

/// What hosts send of a scheduled query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Logging {
    /// All rows, every time.
    #[default]
    Snapshot,
    /// What came and what went.
    Differential,
    /// What came.
    DifferentialIgnoreRemovals,
}

impl Logging {
    /// As Fleet writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Differential => "differential",
            Self::DifferentialIgnoreRemovals => "differential_ignore_removals",
        }
    }

    /// What Fleet reads.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [
            Self::Snapshot,
            Self::Differential,
            Self::DifferentialIgnoreRemovals,
        ]
        .into_iter()
        .find(|logging| logging.name() == name)
    }
}

/// A Fleet team, newly called fleet. A server with one is licensed for them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
}

impl Scenario {
    pub(super) fn validate_reports(&self) -> Result<(), ScenarioError> {
        let reports = &self.fleet.reports;
        for (index, report) in reports.iter().enumerate() {
            let mut before = reports.iter().take(index);
            if before.any(|other| other.name == report.name) {
                return Err(ScenarioError::new(format!(
                    "fleet.reports: two are called '{}'",
                    report.name
                )));
            }
            let path = format!("fleet.reports[{index}].rows");
            for row in report.rows.values().flatten() {
                validate_cells(row, &path)?;
            }
        }
        for (index, change) in self.changes.iter().enumerate() {
            let rows = change.snapshot.iter().flat_map(|snapshot| &snapshot.rows);
            for row in rows.flatten() {
                validate_cells(row, &format!("changes[{index}].snapshot.rows"))?;
            }
        }
        Ok(())
    }
}
