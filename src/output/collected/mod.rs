//! What `collect` found out, in the formats of others. An event is a line of JSON in each of them; gauges are a
//! text of their own.

pub(crate) mod aisoc;
pub(crate) mod ecs;
pub(crate) mod gauges;
pub(crate) mod ocsf;

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::observation::{Found as Seen, Observation, ObservedHost, Query};
use super::visible;
use crate::events::{Change, Event, Found, Tables};

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFormat {
    /// As this program's own schema has it.
    Events,
    /// As the Open Cybersecurity Schema Framework has it.
    Ocsf,
    /// As the Elastic Common Schema has it.
    Ecs,
    /// Flat, as the detections of AiSOC match it.
    Aisoc,
}

impl EventFormat {
    /// Writes an event as a line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(self, event: &Event<'_>, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Events => visible::line(out, event),
            Self::Ocsf => visible::line(out, &ocsf::event(event)),
            Self::Ecs => visible::line(out, &ecs::event(event)),
            Self::Aisoc => visible::line(out, &aisoc::event(event)),
        }
    }
}

/// Shows an event of a host and its query to `look` as what was observed; `None` where it is of one of them
/// only.
fn observed<T>(event: &Event<'_>, look: impl FnOnce(&Observation<'_>) -> T) -> Option<T> {
    let (host, query) = (event.host?, event.query?);
    let id = event.id.to_string();
    let number = query.id.map(|id| id.to_string());
    let tables: Vec<&str> = match query.tables() {
        Tables::Known(tables) => tables.iter().map(String::as_str).collect(),
        Tables::Unknown(_) => Vec::new(),
    };
    let row: Map<String, Value>;
    let found = match &event.found {
        Found::Row(read, _) => {
            row = read.to_map();
            Seen::Row {
                row: &row,
                all: true,
            }
        }
        Found::Error(error) => Seen::Error(error),
        Found::Posture(_) | Found::Clipped => return None,
    };
    let observation = Observation {
        id: &id,
        time: event.when.time,
        run: None,
        trace: None,
        server: Some(event.origin.known().name),
        host: ObservedHost {
            hostname: host.name(),
            uuid: host.uuid.as_deref(),
        },
        query: Query {
            name: Some(&query.name),
            id: number.as_deref(),
            sql: Some(&query.sql),
            asked: None,
            tables: &tables,
        },
        severity: Some(event.severity.name()),
        found,
    };
    Some(look(&observation))
}

/// Whether a row is there no more.
fn is_gone(event: &Event<'_>) -> bool {
    matches!(event.found, Found::Row(_, Change::Removed))
}
