//! YAML to [`Scenario`], strictly: unknown keys, duplicate keys, aliases and what contradicts itself are
//! errors that say where and what to write instead.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{Answer, Endpoints, HostSpec, Scenario, ServerVersion, TableSpec};
use crate::tables;

/// Why a scenario can't be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", self.place())]
pub struct ScenarioError {
    /// What is wrong and what to do.
    pub message: String,
    /// Line of the file, counted from 1, where it is known.
    pub line: Option<u64>,
    /// Column, counted from 1.
    pub column: Option<u64>,
}

impl ScenarioError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            line: None,
            column: None,
        }
    }

    fn place(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("line {line}, column {column}: "),
            _ => String::new(),
        }
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// With the place and the reason, where the text is no scenario.
    pub fn from_yaml(text: &str) -> Result<Self, ScenarioError> {
        let options = serde_saphyr::options! {
            with_snippet: false,
            strict_booleans: true,
            duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        };
        let scenario: Self =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| {
                let location = error.location();
                ScenarioError {
                    message: first_line(&error.render()),
                    line: location.map(|place| place.line()),
                    column: location.map(|place| place.column()),
                }
            })?;
        scenario.validate()?;
        Ok(scenario)
    }

    /// Whether the scenario makes sense as a whole; a scenario built in code is checked when it starts.
    pub(crate) fn validate(&self) -> Result<(), ScenarioError> {
        let address: std::net::SocketAddr = self.listen.parse().map_err(|_| {
            ScenarioError::new(format!(
                "listen: '{}' is not an address such as 127.0.0.1:0",
                self.listen
            ))
        })?;
        if !address.ip().is_loopback() {
            return Err(ScenarioError::new(format!(
                "listen: {address} is not a loopback address; the simulator has no real users to serve"
            )));
        }
        if self.check_in.is_zero() {
            return Err(ScenarioError::new("check_in_ms must be at least 1"));
        }
        if self.fleet.tick.is_zero() {
            return Err(ScenarioError::new("fleet.tick_ms must be at least 1"));
        }
        if !(0.0..=1.0).contains(&self.proxy.close_share) {
            return Err(ScenarioError::new("proxy.close_share must be from 0 to 1"));
        }
        let admin_service = self.osctrl.admin_service;
        if admin_service.is_some_and(|service| service.every.is_zero()) {
            return Err(ScenarioError::new(
                "osctrl.admin_service.every_ms must be at least 1",
            ));
        }
        for (index, user) in self.fleet.users.iter().enumerate() {
            if let Some(Endpoints::These(list)) = &user.endpoints
                && let Some(unknown) = list.iter().find(|one| !crate::fleet::is_endpoint(one))
            {
                return Err(ScenarioError::new(format!(
                    "fleet.users[{index}].endpoints: '{unknown}' can't be listed; write it as POST reports/run"
                )));
            }
            if user.endpoints.is_some() && self.fleet.version < Some(ServerVersion(4, 85, 0)) {
                return Err(ScenarioError::new(format!(
                    "fleet.users[{index}].endpoints needs fleet.version 4.85"
                )));
            }
        }
        let users = self.osctrl.users.iter().enumerate();
        for (index, user) in users {
            if user.second_factor && self.osctrl.version < ServerVersion(0, 5, 6) {
                return Err(ScenarioError::new(format!(
                    "osctrl.users[{index}].second_factor needs osctrl.version 0.5.6"
                )));
            }
        }
        if hyper::header::HeaderValue::from_str(&self.osctrl.login_retry_after).is_err() {
            return Err(ScenarioError::new(
                "osctrl.login_retry_after can't stand in an HTTP header",
            ));
        }
        if self.osctrl.environments.is_empty() {
            return Err(ScenarioError::new(
                "osctrl.environments must name at least one environment",
            ));
        }
        for (name, table) in &self.tables {
            validate_table(name, table, "tables")?;
        }
        self.validate_aisoc_direct()?;
        self.validate_reports()?;
        self.validate_history()?;
        for (index, host) in self.hosts.iter().enumerate() {
            self.validate_host(index, host)?;
        }
        for (index, fault) in self.faults.iter().enumerate() {
            let encoded = [
                &fault.body_base64,
                &fault.socket.as_ref().and_then(|s| s.send_base64.clone()),
            ]
            .into_iter()
            .flatten()
            .cloned()
            .collect::<Vec<_>>();
            if encoded.iter().any(|text| decode_base64(text).is_none()) {
                return Err(ScenarioError::new(format!(
                    "faults[{index}] holds bytes that are not base64"
                )));
            }
            if fault
                .status
                .is_some_and(|status| !(200..=599).contains(&status))
            {
                return Err(ScenarioError::new(format!(
                    "faults[{index}].status must be from 200 to 599"
                )));
            }
            for (key, slow) in [("slow", fault.slow), ("slow_head", fault.slow_head)] {
                if slow.is_some_and(|slow| slow.bytes == 0) {
                    return Err(ScenarioError::new(format!(
                        "faults[{index}].{key}.bytes must be at least 1"
                    )));
                }
            }
            let name = |name: &String| hyper::header::HeaderName::try_from(name).is_ok();
            let value = |value: &String| hyper::header::HeaderValue::try_from(value).is_ok();
            let fits = |(key, text): (&String, &Option<String>)| {
                name(key) && text.as_ref().is_none_or(value)
            };
            if !fault.headers.iter().all(fits) {
                return Err(ScenarioError::new(format!(
                    "faults[{index}].headers holds what can't stand in an HTTP header"
                )));
            }
            for (key, text) in [
                ("location", &fault.location),
                ("retry_after", &fault.retry_after),
                ("content_type", &fault.content_type),
            ] {
                let fits = |text: &String| hyper::header::HeaderValue::from_str(text).is_ok();
                if !text.as_ref().is_none_or(fits) {
                    return Err(ScenarioError::new(format!(
                        "faults[{index}].{key} can't stand in an HTTP header"
                    )));
                }
            }
        }
        Ok(())
    }

    fn validate_host(&self, index: usize, host: &HostSpec) -> Result<(), ScenarioError> {
        let fail = |what: String| Err(ScenarioError::new(format!("hosts[{index}]{what}")));
        if host.count == 0 {
            return fail(".count must be at least 1".into());
        }
        if let Some(uuid) = &host.uuid
            && host.count > 1
            && !uuid.contains("{n")
        {
            return fail(".uuid must contain {n}: hosts of one pattern need different ones".into());
        }
        if let Some(environment) = &host.environment
            && !self.osctrl.environments.contains(environment)
        {
            return fail(format!(
                ".environment '{environment}' is not among osctrl.environments"
            ));
        }
        for (key, time) in [
            ("last_seen", &host.last_seen),
            ("enrolled_at", &host.enrolled_at),
        ] {
            if let Some(time) = time
                && crate::clock::parse_rfc3339(time).is_none()
            {
                return fail(format!(
                    ".{key} '{time}' is not a time such as 2026-11-20T23:53:11Z"
                ));
            }
        }
        if host.check_in.is_some_and(|interval| interval.is_zero()) {
            return fail(".check_in_ms must be at least 1".into());
        }
        if host.behaviour.check_ins == 0 {
            return fail(".behaviour.check_ins must be at least 1".into());
        }
        if host.behaviour.times == 0 {
            return fail(
                ".behaviour.times must be at least 1; a silent host has answer: silent".into(),
            );
        }
        if let Answer::Wide(wide) = &host.behaviour.answer
            && wide.columns == 0
        {
            return fail(".behaviour.answer.wide.columns must be at least 1".into());
        }
        if let Answer::Rows(rows) = &host.behaviour.answer {
            for row in rows {
                validate_cells(row, &format!("hosts[{index}].behaviour.answer.rows"))?;
            }
        }
        for (name, table) in &host.tables {
            validate_table(name, table, &format!("hosts[{index}].tables"))?;
        }
        Ok(())
    }
}

fn validate_table(name: &str, table: &TableSpec, path: &str) -> Result<(), ScenarioError> {
    match table {
        TableSpec::Generate(_) if tables::columns(name).is_none() => {
            Err(ScenarioError::new(format!(
                "{path}.{name}: only built-in tables can be generated ({}); give rows",
                tables::names().join(", ")
            )))
        }
        TableSpec::Generate(_) => Ok(()),
        TableSpec::Rows(rows) => {
            if rows.is_empty() && tables::columns(name).is_none() {
                return Err(ScenarioError::new(format!(
                    "{path}.{name}: a table that is not built in needs a row, its columns are the row's"
                )));
            }
            for row in rows {
                validate_cells(row, &format!("{path}.{name}"))?;
                if let Some(columns) = tables::columns(name)
                    && let Some(column) = row.keys().find(|key| !columns.contains(&key.as_str()))
                {
                    return Err(ScenarioError::new(format!(
                        "{path}.{name}: osquery's table has no column '{column}'"
                    )));
                }
            }
            Ok(())
        }
    }
}

/// Whether a row's cells are scalars.
pub(super) fn validate_cells(row: &super::Cells, path: &str) -> Result<(), ScenarioError> {
    for (column, value) in row {
        if value.is_array() || value.is_object() {
            return Err(ScenarioError::new(format!(
                "{path}: column '{column}' must be text, a number or null"
            )));
        }
    }
    Ok(())
}

/// Bytes of a base64 text.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// The reader's message without what it adds for its own callers: the place, which stands in the error's
/// fields, and advice about its options.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    let line = line
        .rsplit_once(" at line ")
        .map_or(line, |(message, _)| message);
    let line = line
        .split_once(", set DuplicateKeyPolicy")
        .map_or(line, |(message, _)| message);
    line.replace(
        "data did not match any variant of untagged enum TableSpec",
        "a table is a list of rows, or {generate: N} with a whole number",
    )
}

/// A number of milliseconds.
pub(super) fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_millis)
}

/// A number of milliseconds that may be left out.
pub(super) fn maybe_milliseconds<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
}
