//! The last line: what came of each stream.

use std::time::SystemTime;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::collect::Ended;
use crate::session::failure::Failure;
use crate::time::rfc3339;

/// What a poll came to.
pub(super) struct Summary<'a> {
    /// The streams, and why one is not whole.
    pub ended: &'a [(Ended, Option<Failure>)],
    /// From when a poll that knows nothing of this one would have to look.
    pub next_since: SystemTime,
    /// It was ended from outside.
    pub cancelled: bool,
}

#[derive(Serialize)]
struct Stream<'a> {
    ok: bool,
    events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Failure>,
}

struct Streams<'a>(&'a [(Ended, Option<Failure>)]);

impl Serialize for Streams<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut streams = out.serialize_map(Some(self.0.len()))?;
        for (ended, failure) in self.0 {
            let stream = Stream {
                ok: failure.is_none(),
                events: ended.events,
                error: failure.as_ref(),
            };
            streams.serialize_entry(ended.stream.name(), &stream)?;
        }
        streams.end()
    }
}

impl Serialize for Summary<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let events: u64 = self.ended.iter().map(|(ended, _)| ended.events).sum();
        let mut summary = out.serialize_map(None)?;
        summary.serialize_entry("kind", "summary")?;
        summary.serialize_entry("events", &events)?;
        summary.serialize_entry("streams", &Streams(self.ended))?;
        summary.serialize_entry("next_since", &rfc3339(self.next_since))?;
        if self.cancelled {
            summary.serialize_entry("cancelled", &true)?;
        }
        summary.end()
    }
}
