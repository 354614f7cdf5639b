//! What a hostile server does: floods, answers without end, bodies of any size, secrets thrown back.

use std::time::Duration;

use serde::Deserialize;

use super::parse::milliseconds;

/// Frames on a results socket without pause and without end, unless told otherwise. Hosts' answers go out
/// between them where the frames allow it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flood {
    /// Which frames.
    pub of: FloodOf,
    /// Bytes of payload in each frame; pings and pongs hold 125 at most.
    #[serde(default)]
    pub bytes: usize,
    /// How many frames; without it, without end.
    #[serde(default)]
    pub times: Option<u64>,
    /// Time between two frames; without it they come as fast as the client takes them.
    #[serde(default, rename = "every_ms", deserialize_with = "milliseconds")]
    pub every: Duration,
    /// Reads nothing meanwhile: what the client sends back piles up on its side.
    #[serde(default)]
    pub deaf: bool,
}

impl Flood {
    /// Such frames without end, of so many bytes each.
    pub fn of(of: FloodOf, bytes: usize) -> Self {
        Self {
            of,
            bytes,
            times: None,
            every: Duration::ZERO,
            deaf: false,
        }
    }
}

/// The frames of a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FloodOf {
    /// Pings.
    Pings,
    /// Pongs that nobody asked for.
    Pongs,
    /// Text messages without a byte.
    Empty,
    /// Binary messages.
    Binary,
    /// Text messages that are no JSON.
    Junk,
    /// Well-formed documents of a type that nobody knows.
    Unknown,
    /// `status` documents that say the same.
    Status,
    /// Results of a host that nobody asked.
    Strangers,
    /// Fragments of one message that never ends.
    Fragments,
    /// One frame that announces 2⁶² bytes.
    OneFrame,
    /// Bytes that are no frames.
    Noise,
}

impl FloodOf {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Pings,
        Self::Pongs,
        Self::Empty,
        Self::Binary,
        Self::Junk,
        Self::Unknown,
        Self::Status,
        Self::Strangers,
        Self::Fragments,
        Self::OneFrame,
        Self::Noise,
    ];
}

/// The part of an HTTP answer that never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endless {
    /// Empty lines before the status line.
    BlankLines,
    /// `100 Continue`, over and over.
    Interim,
    /// Headers.
    Headers,
    /// One header's value.
    Header,
    /// The body, in chunks: a JSON list of numbers.
    Body,
    /// The extension of the first chunk's size.
    ChunkSize,
    /// The trailers after the body.
    Trailers,
}

impl Endless {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::BlankLines,
        Self::Interim,
        Self::Headers,
        Self::Header,
        Self::Body,
        Self::ChunkSize,
        Self::Trailers,
    ];
}

/// A body of any size that is made while it is sent: `before`, then `repeat` so many `times` with
/// `between` between two of them, then `after`. `{n}` in `repeat` is the number of the repetition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MadeBody {
    /// What it begins with.
    pub before: String,
    /// What is repeated. Without `{n}` the length is announced in `Content-Length`.
    pub repeat: String,
    /// How often.
    pub times: usize,
    /// What stands between two repetitions.
    pub between: String,
    /// What it ends with.
    pub after: String,
}

/// A list that ends early and says so: the servers of 2026 stream their lists, and can only add an `error`
/// once the status is out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListError {
    /// How many items come before it.
    pub after: usize,
    /// The text of the top-level `error`.
    pub error: String,
}

/// A server that throws its client's secret back: what the client sent as `Authorization`, or as the
/// password of a login, stands in the fields below, behind their values and a `-`. What comes back in a
/// later request is understood.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Echo {
    /// Where it stands.
    pub fields: Vec<Echoed>,
    /// How it is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// This text instead of the client's secret, for example another client's.
    #[serde(default)]
    pub text: Option<String>,
}

/// A field that a secret is thrown back in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Echoed {
    /// Fleet's campaign id, which becomes a text.
    CampaignId,
    /// osctrl's query name.
    QueryName,
    /// Hostnames and display names.
    Hostname,
    /// Hosts' uuids.
    Uuid,
    /// Hosts' serials.
    Serial,
    /// When a host was last seen.
    LastSeen,
    /// Names of labels, tags, users and saved queries.
    Name,
    /// Every text that says what went wrong, of the server and of hosts.
    Error,
}

impl Echoed {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::CampaignId,
        Self::QueryName,
        Self::Hostname,
        Self::Uuid,
        Self::Serial,
        Self::LastSeen,
        Self::Name,
        Self::Error,
    ];
}

/// How a secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    #[default]
    Plain,
    /// Each byte as `%XX`, unless it is a letter or a digit.
    Percent,
    /// Base64 with padding.
    Base64,
    /// Two hexadecimal digits for each byte.
    Hex,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Percent, Self::Base64, Self::Hex];

    /// The text in this form.
    pub fn apply(self, text: &str) -> String {
        use base64::Engine as _;
        match self {
            Self::Plain => text.to_owned(),
            Self::Percent => {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                    .to_string()
            }
            Self::Base64 => base64::engine::general_purpose::STANDARD.encode(text),
            Self::Hex => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}
