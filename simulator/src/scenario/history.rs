//! Queries that osctrl keeps from before, and results that come to them.

use serde::Deserialize;

use super::parse::validate_cells;
use super::{Cells, Scenario, ScenarioError};
use crate::clock;

/// A query from before the simulator's start. It is handed out to nobody; results come by the scenario's
/// changes, or by a test's word.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuerySpec {
    /// Its name; made up by default.
    #[serde(default)]
    pub name: Option<String>,
    /// Its id; one more than the id before by default.
    #[serde(default)]
    pub id: Option<u64>,
    /// Its statement.
    pub query: String,
    /// Its environment; the first one by default.
    #[serde(default)]
    pub environment: Option<String>,
    /// Who created it; `admin` by default.
    #[serde(default)]
    pub creator: Option<String>,
    /// Left out of `list/all`.
    #[serde(default)]
    pub hidden: bool,
    /// Where it stands.
    #[serde(default)]
    pub state: QueryState,
    /// Whether every node had answered; as the state says by default. A completed query may expire.
    #[serde(default)]
    pub completed: Option<bool>,
    /// When it was created (RFC 3339, kept in microseconds); by default an hour before the start.
    #[serde(default)]
    pub created: Option<String>,
    /// How many hosts it was for; by default those that have a result.
    #[serde(default)]
    pub expected: Option<usize>,
    /// How many answers without an error were counted; by default those that are here.
    #[serde(default)]
    pub executions: Option<usize>,
    /// How many errors were counted; by default those that are here.
    #[serde(default)]
    pub errors: Option<usize>,
    /// Every node of the environment has answered what its tables make of the statement, a microsecond
    /// after the one before.
    #[serde(default)]
    pub filled: bool,
    /// Results of single hosts, in the order of their ids.
    #[serde(default)]
    pub results: Vec<ResultSpec>,
}

impl QuerySpec {
    /// A completed query of this name without results.
    pub fn of(name: impl Into<String>, query: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            query: query.into(),
            ..Self::default()
        }
    }

    /// The same, answered by every node of its environment.
    #[must_use]
    pub fn filled(mut self) -> Self {
        self.filled = true;
        self
    }

    /// The same with one more result.
    #[must_use]
    pub fn with_result(mut self, result: ResultSpec) -> Self {
        self.results.push(result);
        self
    }

    /// The same where it stands.
    #[must_use]
    pub fn state(mut self, state: QueryState) -> Self {
        self.state = state;
        self
    }

    /// The same, left out of `list/all`.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// Where a query of osctrl stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryState {
    /// Nodes that check in may still be given it.
    Active,
    /// All have answered.
    #[default]
    Completed,
    /// It was stopped, or its time was over.
    Expired,
    /// Only `list/deleted` shows it.
    Deleted,
}

/// What a host answered to a query of osctrl.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultSpec {
    /// Which host: its uuid, hostname or id.
    pub host: String,
    /// Its rows; without them and without an error, what the host's tables make of the statement.
    #[serde(default)]
    pub rows: Option<Vec<Cells>>,
    /// osquery's error.
    #[serde(default)]
    pub error: Option<String>,
    /// When it was stored (RFC 3339, kept in microseconds); by default now, of a query from before a
    /// microsecond after the result before it.
    #[serde(default)]
    pub at: Option<String>,
}

impl ResultSpec {
    /// What the host's tables make of the statement.
    pub fn of(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            ..Self::default()
        }
    }

    /// These rows.
    #[must_use]
    pub fn rows(mut self, rows: Vec<Cells>) -> Self {
        self.rows = Some(rows);
        self
    }

    /// osquery's error.
    #[must_use]
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// Stored at this time (RFC 3339).
    #[must_use]
    pub fn at(mut self, at: impl Into<String>) -> Self {
        self.at = Some(at.into());
        self
    }
}

/// A result that comes to a query of osctrl, whatever its state.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateResult {
    /// The query's name.
    pub query: String,
    /// What comes.
    pub result: ResultSpec,
}

impl Scenario {
    pub(super) fn validate_history(&self) -> Result<(), ScenarioError> {
        let fail = |what: String| Err(ScenarioError::new(what));
        for (index, query) in self.osctrl.queries.iter().enumerate() {
            let path = format!("osctrl.queries[{index}]");
            if let Some(environment) = &query.environment
                && !self.osctrl.environments.contains(environment)
            {
                return fail(format!(
                    "{path}.environment '{environment}' is not among osctrl.environments"
                ));
            }
            let mut before = self.osctrl.queries.iter().take(index);
            if query.name.is_some() && before.any(|other| other.name == query.name) {
                let name = query.name.as_deref().unwrap_or_default();
                return fail(format!("osctrl.queries: two are called '{name}'"));
            }
            if let Some(created) = &query.created
                && clock::parse_rfc3339(created).is_none()
            {
                return fail(format!(
                    "{path}.created '{created}' is not a time such as 2026-11-20T23:53:11Z"
                ));
            }
            for result in &query.results {
                validate_result(result, &path)?;
            }
        }
        for (index, change) in self.changes.iter().enumerate() {
            if let Some(late) = &change.result {
                validate_result(&late.result, &format!("changes[{index}].result"))?;
            }
        }
        Ok(())
    }
}

fn validate_result(result: &ResultSpec, path: &str) -> Result<(), ScenarioError> {
    if result.rows.is_some() && result.error.is_some() {
        return Err(ScenarioError::new(format!(
            "{path}: a result has rows or an error, not both"
        )));
    }
    if let Some(at) = &result.at
        && clock::parse_rfc3339(at).is_none()
    {
        return Err(ScenarioError::new(format!(
            "{path}: at '{at}' is not a time such as 2026-11-20T23:53:11Z"
        )));
    }
    for row in result.rows.iter().flatten() {
        validate_cells(row, path)?;
    }
    Ok(())
}
