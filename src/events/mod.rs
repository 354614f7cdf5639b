//! Events: what a poll of a server found out, in one form for all servers. A host's posture changed, a query
//! brought a row, a host failed on it, a report took no more rows.
//!
//! Two names make events safe to repeat. `id` is a digest of what makes the event, so that the same event has
//! the same id in every run, also where a poll was killed before its state was written; `dedupe_key` leaves
//! the moment out and is the same whenever the same thing is found again. Knows no server's JSON, no
//! state and no format; rows are borrowed from what the server sent, for a million of them may pass through.

mod digest;
mod event;
mod row;
mod severities;
mod tables;

pub use digest::{Digest, number_for};
pub use event::{
    CATEGORY, Change, Event, Found, Host, Kind, Origin, Query, Reply, Status, Tables, When,
};
pub use row::{NoRow, Row};
pub use severities::Severities;

#[cfg(test)]
mod tests;
