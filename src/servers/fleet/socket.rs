//! The results socket: one websocket, its first messages, and what comes out of it. Whatever a server
//! sends, and however much, others have their turn and memory stays bounded. Knows nothing of who is still
//! missing or of what to do when it breaks.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message as Frame};

use super::meter::{Endless, Metered, Refused};
use super::noise::{Kind, Noise};
use super::reading::{Heard, read};
use crate::campaign::rows::Keep;
use crate::memory::NoMemory;
use crate::secret::Secret;
use crate::servers::http::{Http, UpgradeError};
use crate::servers::{BackendError, LONG, away};

/// Plain websocket, one JSON document a message (SockJS's raw transport).
const PATH: &[&str] = &["api", "latest", "fleet", "results", "websocket"];
/// One host's answer is one message, and the columns that the server adds count too: 100,000 rows make
/// 17 MB (wire notes). So this is 370,000 rows of one host; more is no triage, and a message is in memory
/// whole before it can be cut.
pub(super) const MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// The share of a message that its frames may take beside it: with pieces of 4 KiB they take a thousandth.
const FRAMING_SHARE: usize = 4;
/// Bytes that are read at once: with frames of two bytes each that is what is worked on without a pause. The library
/// zeroes as many before each read, also where there is nothing to be read.
const READ_BYTES: usize = 16 * 1024;
/// Pongs wait in memory for a server that floods with pings and reads nothing; the last one is enough.
const WRITE_BYTES: usize = 16 * 1024;
const MOST_WRITE_BYTES: usize = 64 * 1024;
/// After working for so long others have their turn: deadline, signals, other sessions.
const SLICE: Duration = Duration::from_millis(5);
/// While nothing changes the server sends nothing, and a proxy may cut the line.
const PING_AFTER: Duration = Duration::from_secs(20);
/// A ping that is not answered in this time was sent into a dead line.
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// A proxy that swallows the upgrade is given up; the answer to one takes milliseconds.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);
/// Pauses before the upgrade is tried again where the failure may pass.
const UPGRADE_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// The close frame goes out at once or not at all.
const CLOSE_WITHIN: Duration = Duration::from_millis(100);

/// An open socket whose first message, the token, is sent. The server does not confirm it: a wrong
/// one is heard of in [`Heard::Refused`].
pub(super) struct Socket<S = reqwest::Upgraded> {
    stream: WebSocketStream<Metered<S>>,
    pinged: Option<Instant>,
    /// A long message that is being read elsewhere: dropping [`Socket::hear`] must not lose it.
    reading: Option<BoxFuture<'static, Heard>>,
    noise: Noise,
    /// Since when there was no pause.
    slice: std::time::Instant,
}

/// Why there is no socket.
#[derive(Debug)]
pub(super) enum NotOpen {
    /// The server, or a proxy before it, does not switch protocols; what it did, in words.
    Refused {
        /// For people.
        words: String,
        /// Whether it may when it is asked again (429, 502–504).
        may_pass: bool,
    },
    /// The server could not be reached.
    Failed(BackendError),
}

/// Nothing more can come.
#[derive(Debug)]
pub(super) enum Broken {
    /// A message was larger than [`MESSAGE_BYTES`]; another socket would meet it again.
    TooLarge,
    /// The server only makes noise; what came, in words.
    Noise(String),
    /// This process gets no memory for a message.
    NoMemory(NoMemory),
    /// The line is gone; why, in words.
    Lost(String),
}

impl Socket {
    /// Opens the socket and sends the token. What may pass (no connection, 429, 502–504) is tried
    /// again twice where `patient`.
    pub(super) async fn open(http: &Http, token: &Secret, patient: bool) -> Result<Self, NotOpen> {
        let mut pauses = UPGRADE_PAUSES.iter().filter(|_| patient);
        let upgraded = loop {
            // A step with little time must still have some of it for the other way.
            let remaining = http.deadline().saturating_duration_since(Instant::now());
            let within = UPGRADE_WITHIN.min(remaining / 3);
            let failure = match tokio::time::timeout(within, http.upgrade(PATH)).await {
                Ok(Ok(upgraded)) => break upgraded,
                Ok(Err(failure)) => failure,
                Err(_) => {
                    let words = format!("no answer within {:.1} s", within.as_secs_f64());
                    return Err(NotOpen::refused(words));
                }
            };
            let (may_pass, failure) = match failure {
                UpgradeError::Refused { status: 101 } => (
                    false,
                    NotOpen::refused("HTTP 101, but without a websocket's handshake"),
                ),
                UpgradeError::Refused { status } => {
                    let may_pass = matches!(status, 429 | 502..=504);
                    let words = format!("HTTP {status}");
                    (may_pass, NotOpen::Refused { words, may_pass })
                }
                UpgradeError::Failed(error) => (
                    matches!(error, BackendError::Unreachable { .. }),
                    NotOpen::Failed(error),
                ),
            };
            match pauses.next() {
                Some(pause) if may_pass => tokio::time::sleep(*pause).await,
                _ => return Err(failure),
            }
        };
        let mut socket = Self::over(upgraded).await;
        let hello = json!({"type": "auth", "data": {"token": token.expose()}});
        match socket.say(hello.to_string()).await {
            Ok(()) => Ok(socket),
            Err(_) => Err(NotOpen::refused("it was closed as soon as it was open")),
        }
    }
}

impl NotOpen {
    /// For good.
    pub(super) fn refused(words: impl Into<String>) -> Self {
        Self::Refused {
            words: words.into(),
            may_pass: false,
        }
    }

    /// Whether the server may only be away for a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { may_pass, .. } => *may_pass,
            Self::Failed(error) => matches!(error, BackendError::Unreachable { .. }),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// A socket over a connection that has switched protocols.
    async fn over(connection: S) -> Self {
        Self::of_messages_up_to(MESSAGE_BYTES, connection).await
    }

    async fn of_messages_up_to(bytes: usize, connection: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(WRITE_BYTES)
            .max_write_buffer_size(MOST_WRITE_BYTES)
            .max_message_size(Some(bytes))
            .max_frame_size(Some(bytes));
        let metered = Metered::new(connection, bytes + bytes / FRAMING_SHARE);
        Self {
            stream: WebSocketStream::from_raw_socket(metered, Role::Client, Some(config)).await,
            pinged: None,
            reading: None,
            noise: Noise::default(),
            slice: std::time::Instant::now(),
        }
    }

    /// Listens to a campaign.
    pub(super) async fn select(&mut self, campaign: u64) -> Result<(), Broken> {
        let select = json!({"type": "select_campaign", "data": {"campaign_id": campaign}});
        self.say(select.to_string()).await
    }

    async fn say(&mut self, text: String) -> Result<(), Broken> {
        let said = self.stream.send(Frame::text(text)).await;
        said.map_err(|error| self.broken(&error))
    }

    /// What was heard last was worth it: what came before it is forgiven.
    pub(super) fn was_worth_it(&mut self) {
        self.noise = Noise::default();
    }

    /// The next message. Keeps the line alive while it waits, and lets others have their turn however much
    /// comes. Dropping the future loses nothing.
    pub(super) async fn hear(&mut self, keep: Keep) -> Result<Heard, Broken> {
        loop {
            if let Some(reading) = &mut self.reading {
                let heard = reading.await;
                self.reading = None;
                return self.counted(heard, LONG);
            }
            tokio::task::coop::consume_budget().await;
            if self.slice.elapsed() >= SLICE {
                self.slice = std::time::Instant::now();
                tokio::task::yield_now().await;
            }
            let frame = match self.frame().await? {
                Some(frame) => frame,
                None => continue,
            };
            let bytes = frame.len();
            match frame {
                Frame::Text(text) if bytes >= LONG => {
                    let reading = away(bytes, move || read(text.as_str(), keep));
                    self.reading = Some(reading.boxed());
                }
                Frame::Text(_) if bytes == 0 => {
                    self.count(Kind::Empty, 0)?;
                    return Ok(Heard::Garbled("an empty message"));
                }
                Frame::Text(text) => return self.counted(read(text.as_str(), keep), bytes),
                Frame::Binary(_) => {
                    self.count(Kind::Binary, bytes)?;
                    return Ok(Heard::Garbled("a message that is not text"));
                }
                Frame::Ping(_) => self.count(Kind::Ping, bytes)?,
                Frame::Pong(_) => self.count(Kind::Pong, bytes)?,
                // Its code says nothing: Fleet closes with code 0, which is none (transcript
                // `websocket-refusals`). The reason, if any, came before as an `error` message.
                Frame::Close(_) => return Err(closed()),
                Frame::Frame(_) => {}
            }
        }
    }

    /// The next frame that is whole; nothing where the line was pinged instead.
    async fn frame(&mut self) -> Result<Option<Frame>, Broken> {
        let heard_at = self.stream.get_ref().last_read();
        // Pieces of a long message are a sign of life as good as a pong.
        let pinged = self.pinged.filter(|pinged| *pinged >= heard_at);
        let act_at = match pinged {
            Some(pinged) => pinged + PONG_WITHIN,
            None => heard_at + PING_AFTER,
        };
        let frame = tokio::select! {
            biased;
            frame = self.stream.next() => frame,
            () = tokio::time::sleep_until(act_at) => {
                if self.stream.get_ref().last_read() > heard_at {
                    return Ok(None);
                }
                if pinged.is_some() {
                    return Err(Broken::Lost("the server does not answer pings".into()));
                }
                self.pinged = Some(Instant::now());
                let ping = self.stream.send(Frame::Ping(Bytes::new())).await;
                ping.map_err(|error| self.broken(&error))?;
                return Ok(None);
            }
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(self.broken(&error)),
            None => return Err(closed()),
        };
        self.pinged = None;
        if frame.is_text() || frame.is_binary() {
            self.stream.get_mut().whole();
        }
        Ok(Some(frame))
    }

    /// The same, counted where it is no answer.
    fn counted(&mut self, heard: Heard, bytes: usize) -> Result<Heard, Broken> {
        match heard {
            Heard::Alive => self.count(Kind::Status, bytes)?,
            Heard::Garbled(_) => self.count(Kind::Junk, bytes)?,
            Heard::Answer { .. } | Heard::Refused(_) => {}
        }
        Ok(heard)
    }

    fn count(&mut self, kind: Kind, bytes: usize) -> Result<(), Broken> {
        if self.noise.add(kind, bytes) {
            Ok(())
        } else {
            Err(Broken::Noise(self.noise.to_string()))
        }
    }

    /// What has come already, without waiting: whether the socket is still good before it is used.
    pub(super) fn heard_already(&mut self, keep: Keep) -> Option<Result<Heard, Broken>> {
        // A pause would look like nothing to hear.
        self.slice = std::time::Instant::now();
        self.hear(keep).now_or_never()
    }

    /// Says goodbye. The server notices at its next 5-second tick and ends the campaign; its answer
    /// is not waited for.
    pub(super) async fn close(mut self) {
        let close = self.stream.send(Frame::Close(None));
        // A server that does not read it will see the connection end.
        let _ = tokio::time::timeout(CLOSE_WITHIN, close).await;
    }

    fn broken(&self, error: &Error) -> Broken {
        Broken::Lost(match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => return Broken::TooLarge,
            Error::ConnectionClosed | Error::AlreadyClosed => return closed(),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                "the connection was cut".into()
            }
            Error::Protocol(_) | Error::Utf8(_) => "what came is not of a websocket".into(),
            Error::Io(io) => match io.kind() {
                std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::ConnectionAborted
                | std::io::ErrorKind::BrokenPipe
                | std::io::ErrorKind::UnexpectedEof => "the connection was cut".into(),
                _ => {
                    let inner = io.get_ref();
                    if let Some(Refused(refused)) = inner.and_then(|inner| inner.downcast_ref()) {
                        return Broken::NoMemory(*refused);
                    }
                    match inner.and_then(|inner| inner.downcast_ref()) {
                        Some(Endless(bytes)) => return Broken::Noise(self.endless(*bytes)),
                        None => format!("the connection broke ({})", io.kind()),
                    }
                }
            },
            _ => "the connection broke".into(),
        })
    }

    fn endless(&self, bytes: usize) -> String {
        let mut words = format!("{} MB of a message that does not end", bytes / 1_000_000);
        if self.noise != Noise::default() {
            words.push_str(&format!(", {}", self.noise));
        }
        words
    }
}

fn closed() -> Broken {
    Broken::Lost("the server closed it".into())
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
