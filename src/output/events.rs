//! A recorded document as events: an observation of each row, and of each target that has none.

use std::io::{self, Write};

use serde_json::Value;

use super::observation::{Found, Observation, ObservedHost, Query};
use super::recorded::{Host, Row};
use super::shown::{Form, Shown};
use super::visible;
use crate::time::milliseconds;

/// What is known of a template, beside its name.
#[derive(Default)]
pub(crate) struct Template {
    /// The tables that it reads.
    pub tables: Vec<&'static str>,
    /// How grave its rows are.
    pub severity: Option<&'static str>,
}

/// The format: how an observation is written.
pub(crate) struct Events<'a> {
    pub shown: &'a Shown<'a>,
    pub template: &'a Template,
    /// For a document that names no moment, this one, in milliseconds since 1970.
    pub now: i64,
    /// What an observation becomes.
    pub event: fn(&Observation<'_>) -> Value,
}

impl Events<'_> {
    fn write(
        &self,
        host: &Host,
        number: u64,
        found: Found<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let recorded = self.shown.recorded;
        let run = &recorded.run;
        let at = |moment: &Option<String>| moment.as_deref().and_then(milliseconds);
        let id = format!("{}:{}:{number}", run.id.as_deref().unwrap_or("-"), host.key);
        let campaign = recorded.campaign.as_ref();
        let trace = run.traceparent.as_deref();
        let observation = Observation {
            id: &id,
            time: at(&host.answered_at)
                .or(at(&run.finished_at))
                .unwrap_or(self.now),
            run: run.id.as_deref(),
            trace: trace
                .and_then(|trace| trace.split('-').nth(1))
                .filter(|id| id.len() == 32),
            server: campaign.map(|campaign| campaign.backend.as_str()),
            host: ObservedHost {
                hostname: host.name(),
                uuid: host.uuid.as_deref(),
            },
            query: Query {
                name: run.template.as_deref(),
                id: campaign.and_then(|campaign| campaign.id.as_deref()),
                sql: run.sql.as_deref(),
                asked: at(&run.started_at),
                tables: &self.template.tables,
            },
            severity: self.template.severity,
            found,
        };
        visible::line(out, &(self.event)(&observation))
    }
}

impl Form for Events<'_> {
    fn row(&mut self, host: &Host, number: u64, row: Row, out: &mut dyn Write) -> io::Result<()> {
        let all = host.whole();
        self.write(host, number, Found::Row { row: &row, all }, out)
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        for host in self.shown.hosts() {
            let found = match host.status.as_str() {
                "error" => Found::Error(host.error.as_deref().unwrap_or("osquery's error")),
                "unsupported" => Found::Unsupported,
                "ok" if host.kept > 0 => continue,
                // Nothing proves that there is none.
                "ok" if host.whole() => Found::Nothing,
                "ok" if host.present => Found::Unknown("answered with rows that are not here"),
                _ => Found::Unknown(host.words()),
            };
            self.write(host, 0, found, out)?;
        }
        Ok(())
    }
}
