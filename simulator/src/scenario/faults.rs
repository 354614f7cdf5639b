//! What goes wrong on the wire: one flat vocabulary whose words compose. A fault matches requests and
//! says what happens before, instead of and after the answer they would have had.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::hostile::{Endless, Flood, ListError, MadeBody};
use super::parse::milliseconds;

/// A fault. Everything that is set applies; faults that match one request apply in the file's order.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Matches this method only.
    pub method: Option<String>,
    /// Matches paths (with their query string) that contain this text.
    pub path: String,
    /// Lets the first so many matching requests pass.
    pub skip: usize,
    /// Applies this many times; without it, always.
    pub times: Option<usize>,
    /// Applies from this long after the start.
    #[serde(rename = "after_ms", deserialize_with = "milliseconds")]
    pub after: Duration,

    /// Waits before the request is handled.
    #[serde(rename = "delay_ms", deserialize_with = "milliseconds")]
    pub delay: Duration,
    /// Ends every token and session of both servers before the request is handled.
    pub revoke_tokens: bool,
    /// The request takes effect although its answer is replaced, lost or never sent.
    pub handled: bool,
    /// Waits between handling the request and answering it.
    #[serde(rename = "answer_delay_ms", deserialize_with = "milliseconds")]
    pub answer_delay: Duration,
    /// Never answers; the connection stays open.
    pub hang: bool,
    /// Ends the connection instead of answering.
    pub cut: Option<Cut>,

    /// Answers with this status.
    pub status: Option<u16>,
    /// Adds `Location`.
    pub location: Option<String>,
    /// Adds `Retry-After`.
    pub retry_after: Option<String>,
    /// Answers with this content type.
    pub content_type: Option<String>,
    /// Answers with this body.
    pub body: Option<String>,
    /// Answers with these bytes (base64): for what YAML can't write, such as broken UTF-8.
    pub body_base64: Option<String>,
    /// Answers with a body of any size, made while it is sent.
    pub made: Option<MadeBody>,
    /// Sets headers of the answer, or leaves them out (null); of the answer to an upgrade, too.
    pub headers: BTreeMap<String, Option<String>>,
    /// Ends the answer's list early, with an `error` beside it.
    pub list_error: Option<ListError>,
    /// Compresses the body, whether the client asked for it or not.
    pub gzip: bool,

    /// Sends only the first so many bytes of the announced body, then ends the connection.
    pub truncate: Option<usize>,
    /// Adds this many spaces to the body.
    pub pad: usize,
    /// Sends the body in drops.
    pub slow: Option<SlowBody>,
    /// Sends status line and headers in drops; the connection ends after the answer.
    pub slow_head: Option<SlowBody>,
    /// Answers without end, until the client goes away.
    pub endless: Option<Endless>,
    /// What happens on an accepted results socket.
    pub socket: Option<SocketFault>,
}

impl Fault {
    /// A fault of every request whose path contains the text; does nothing yet.
    pub fn on(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// A fault of such requests with this method only.
    pub fn on_method(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: Some(method.into()),
            ..Self::on(path)
        }
    }

    /// Applies to the first so many matches only.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Lets the first so many matches pass.
    #[must_use]
    pub fn skipping(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// Answers with this status and an empty body.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Answers with this body (and 200, unless a status is given).
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The request takes effect although the answer is replaced.
    #[must_use]
    pub fn handled(mut self) -> Self {
        self.handled = true;
        self
    }

    /// Ends the connection before or after the request takes effect.
    #[must_use]
    pub fn cut(mut self, cut: Cut) -> Self {
        self.cut = Some(cut);
        self
    }

    /// What happens on the results socket.
    #[must_use]
    pub fn socket(mut self, socket: SocketFault) -> Self {
        self.socket = Some(socket);
        self
    }

    /// Answers with a body that is made while it is sent.
    #[must_use]
    pub fn made(mut self, made: MadeBody) -> Self {
        self.made = Some(made);
        self
    }

    /// Answers without end.
    #[must_use]
    pub fn endless(mut self, endless: Endless) -> Self {
        self.endless = Some(endless);
        self
    }

    /// Sets a header of the answer, or leaves it out.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: Option<&str>) -> Self {
        self.headers.insert(name.into(), value.map(str::to_owned));
        self
    }

    /// Whether the answer that the request would have had is replaced.
    pub(crate) fn replaces_answer(&self) -> bool {
        self.status.is_some()
            || self.body.is_some()
            || self.body_base64.is_some()
            || self.made.is_some()
            || self.endless.is_some()
    }

    /// Whether the request takes effect.
    pub(crate) fn lets_through(&self) -> bool {
        match self.cut {
            Some(Cut::Before) => false,
            Some(Cut::After) => true,
            None => self.handled || !(self.hang || self.replaces_answer()),
        }
    }
}

/// When a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// The request has no effect.
    Before,
    /// The request takes effect, its answer is lost.
    After,
}

/// A body in drops.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowBody {
    /// Bytes a drop.
    pub bytes: usize,
    /// Time between two drops.
    #[serde(rename = "every_ms", deserialize_with = "milliseconds")]
    pub every: Duration,
}

/// What happens on a results socket once so many `result` frames went out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SocketFault {
    /// After how many `result` frames; 0 is right after the campaign is selected.
    pub after_results: usize,
    /// Sends frames without end, or so many. Of several floods the last one goes on.
    pub flood: Option<Flood>,
    /// Sends these texts as messages.
    pub send: Vec<String>,
    /// Sends these bytes (base64) as a text message: for broken UTF-8.
    pub send_base64: Option<String>,
    /// Ends the socket.
    pub close: Option<SocketClose>,
}

/// How a results socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketClose {
    /// The connection ends without a close frame.
    Cut,
    /// A close frame with code 1001, as a server that goes away sends it.
    Frame,
    /// A close frame with code 0, as Fleet's refusals have it.
    Zero,
}
