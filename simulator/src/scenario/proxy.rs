//! What stands between a client and its server, and closes connections that nobody else would.

use std::time::Duration;

use serde::Deserialize;

use super::parse::maybe_milliseconds;

/// A proxy with a short patience. Everything is off unless it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// Every results socket is cut so long after its upgrade, without a close frame.
    #[serde(rename = "cut_sockets_ms", deserialize_with = "maybe_milliseconds")]
    pub cut_sockets: Option<Duration>,
    /// A connection that was idle for so long is closed.
    #[serde(rename = "idle_ms", deserialize_with = "maybe_milliseconds")]
    pub idle: Option<Duration>,
    /// Every so-manieth of the requests that come on a used connection finds it closed: it has no effect
    /// and no answer. 1 is each of them, 0 none.
    pub close_every: usize,
    /// Such a request finds its connection closed with this probability (0 to 1), the same way in every run.
    pub close_share: f64,
    /// The connection ends with a reset instead of an end.
    pub reset: bool,
}
