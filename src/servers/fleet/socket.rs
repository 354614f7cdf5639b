//! The results socket: one websocket, its first messages, and what comes out of it, put into few
//! words. Knows nothing of who is still missing or of what to do when it breaks.

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message as Frame};

use super::wire::{self, Message, ResultData};
use crate::campaign::host::Answer;
use crate::campaign::rows::Keep;
use crate::campaign::rows::Rows;
use crate::secret::Secret;
use crate::servers::BackendError;
use crate::servers::http::{Http, UpgradeError};

/// Plain websocket, one JSON document a message (SockJS's raw transport).
const PATH: &[&str] = &["api", "latest", "fleet", "results", "websocket"];
/// One host's answer is one message, and the columns that the server adds count too: 100,000 rows
/// make 17 MB (wire notes), where the usual defaults stop.
const MESSAGE_BYTES_AT_LEAST: usize = 64 * 1024 * 1024;
const MESSAGE_SLACK_BYTES: usize = 16 * 1024 * 1024;
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
#[derive(Debug)]
pub(super) struct Socket<S = reqwest::Upgraded> {
    stream: WebSocketStream<S>,
    last_heard: Instant,
    pinged: Option<Instant>,
}

/// Why there is no socket.
#[derive(Debug)]
pub(super) enum NotOpen {
    /// The server, or a proxy before it, does not switch protocols; what it did, in words.
    Refused(String),
    /// The server could not be reached.
    Failed(BackendError),
}

/// What came.
#[derive(Debug)]
pub(super) enum Heard {
    /// A host's answer.
    Answer {
        /// Fleet's id of it.
        host: u64,
        /// What it said; error texts are as the host sent them.
        answer: Answer,
    },
    /// The server's `error` message: nothing else comes, it closes the socket.
    Refused(String),
    /// Counts, or a kind of message that is not known: a sign of life.
    Alive,
    /// A message that can't be read; which part of it, never what.
    Garbled(&'static str),
}

/// Nothing more can come.
#[derive(Debug)]
pub(super) enum Broken {
    /// A message was larger than the limit, in bytes; another socket would meet it again.
    TooLarge(usize),
    /// The line is gone; why, in words.
    Lost(String),
}

impl Socket {
    /// Opens the socket and sends the token. What may pass (no connection, 429, 502–504) is tried
    /// again twice where `patient`.
    pub(super) async fn open(
        http: &Http,
        token: &Secret,
        keep: Keep,
        patient: bool,
    ) -> Result<Self, NotOpen> {
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
                    return Err(NotOpen::Refused(words));
                }
            };
            let (may_pass, failure) = match failure {
                UpgradeError::Refused { status: 101 } => (
                    false,
                    NotOpen::Refused("HTTP 101, but without a websocket's handshake".into()),
                ),
                UpgradeError::Refused { status } => (
                    matches!(status, 429 | 502..=504),
                    NotOpen::Refused(format!("HTTP {status}")),
                ),
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
        let mut socket = Self::over(upgraded, keep).await;
        let hello = json!({"type": "auth", "data": {"token": token.expose()}});
        match socket.say(hello.to_string()).await {
            Ok(()) => Ok(socket),
            Err(_) => Err(NotOpen::Refused(
                "it was closed as soon as it was open".into(),
            )),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// A socket over a connection that has switched protocols.
    async fn over(connection: S, keep: Keep) -> Self {
        let most = most_bytes(keep);
        let config = WebSocketConfig::default()
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        Self {
            stream: WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await,
            last_heard: Instant::now(),
            pinged: None,
        }
    }

    /// Listens to a campaign.
    pub(super) async fn select(&mut self, campaign: u64) -> Result<(), Broken> {
        let select = json!({"type": "select_campaign", "data": {"campaign_id": campaign}});
        self.say(select.to_string()).await
    }

    async fn say(&mut self, text: String) -> Result<(), Broken> {
        self.stream
            .send(Frame::text(text))
            .await
            .map_err(|error| broken(&error))
    }

    /// The next message. Keeps the line alive while it waits. Dropping the future loses nothing.
    pub(super) async fn hear(&mut self, keep: Keep) -> Result<Heard, Broken> {
        loop {
            let act_at = match self.pinged {
                Some(pinged) => pinged + PONG_WITHIN,
                None => self.last_heard + PING_AFTER,
            };
            let frame = tokio::select! {
                biased;
                frame = self.stream.next() => frame,
                () = tokio::time::sleep_until(act_at) => {
                    if self.pinged.is_some() {
                        return Err(Broken::Lost("the server does not answer pings".into()));
                    }
                    self.pinged = Some(Instant::now());
                    let ping = self.stream.send(Frame::Ping(Bytes::new())).await;
                    ping.map_err(|error| broken(&error))?;
                    continue;
                }
            };
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(broken(&error)),
                None => return Err(closed()),
            };
            self.last_heard = Instant::now();
            self.pinged = None;
            match frame {
                Frame::Text(text) => return Ok(read(text.as_str(), keep)),
                Frame::Binary(_) => return Ok(Heard::Garbled("a message that is not text")),
                // Its code says nothing: Fleet closes with code 0, which is none (transcript
                // `websocket-refusals`). The reason, if any, came before as an `error` message.
                Frame::Close(_) => return Err(closed()),
                Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => {}
            }
        }
    }

    /// What has come already, without waiting: whether the socket is still good before it is used.
    pub(super) fn heard_already(&mut self, keep: Keep) -> Option<Result<Heard, Broken>> {
        self.hear(keep).now_or_never()
    }

    /// Says goodbye. The server notices at its next 5-second tick and ends the campaign; its answer
    /// is not waited for.
    pub(super) async fn close(mut self) {
        let close = self.stream.send(Frame::Close(None));
        // A server that does not read it will see the connection end.
        let _ = tokio::time::timeout(CLOSE_WITHIN, close).await;
    }
}

/// The largest answer of one host that is read; more than is kept, since it is cut only once it is read.
pub(super) fn most_bytes(keep: Keep) -> usize {
    keep.bytes
        .max(MESSAGE_BYTES_AT_LEAST)
        .saturating_add(MESSAGE_SLACK_BYTES)
}

/// A message of the server.
pub(super) fn read(text: &str, keep: Keep) -> Heard {
    let Ok(message) = serde_json::from_str::<Message<'_>>(text) else {
        return Heard::Garbled("a message that is not JSON of the expected form");
    };
    match message.kind.as_ref() {
        "result" => {
            let data = message.data.map_or("null", |data| data.get());
            let Ok(result) = serde_json::from_str::<ResultData<'_>>(data) else {
                return Heard::Garbled("a result without a host");
            };
            let host = result.host.id;
            let answer = match result.error() {
                Some(error) => Answer::Error(error.into_owned()),
                None => answer(
                    result.rows.map_or("null", |rows| rows.get()),
                    wire::ADDED_COLUMNS,
                    keep,
                ),
            };
            Heard::Answer { host, answer }
        }
        "error" => Heard::Refused(
            wire::error_text(message.data).map_or(String::new(), std::borrow::Cow::into_owned),
        ),
        // `totals` and `status` come with a 5-second tick: nothing may wait for them.
        _ => Heard::Alive,
    }
}

/// Rows, or in whose words they are none.
pub(super) fn answer(rows: &str, added: &[&str], keep: Keep) -> Answer {
    match Rows::read(rows, added, keep) {
        Ok(rows) => Answer::Rows(rows),
        Err(error) => Answer::Error(format!("the answer could not be read: {error}")),
    }
}

fn closed() -> Broken {
    Broken::Lost("the server closed it".into())
}

fn broken(error: &Error) -> Broken {
    Broken::Lost(match error {
        Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
            return Broken::TooLarge(*max_size);
        }
        Error::ConnectionClosed | Error::AlreadyClosed => return closed(),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "the connection was cut".into()
        }
        Error::Protocol(_) | Error::Utf8(_) => "what came is not a websocket's".into(),
        Error::Io(io) => match io.kind() {
            std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::ConnectionAborted
            | std::io::ErrorKind::BrokenPipe
            | std::io::ErrorKind::UnexpectedEof => "the connection was cut".into(),
            _ => format!("the connection broke ({})", io.kind()),
        },
        _ => "the connection broke".into(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::Value;
    use tokio::io::DuplexStream;

    use super::*;
    use crate::servers::fleet::wire::tests::transcripts;

    const ALL: Keep = Keep {
        rows: usize::MAX,
        bytes: usize::MAX,
    };

    /// Every message that a real server sent, with the recording's name.
    static RECORDED: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
        transcripts()
            .into_iter()
            .flat_map(|(name, transcript)| {
                let steps = transcript["steps"].as_array().unwrap().clone();
                steps
                    .into_iter()
                    .flat_map(|step| step["websocket"]["frames"].as_array().cloned())
                    .flatten()
                    .filter_map(|frame| frame.get("server").cloned())
                    .map(move |message| (name.clone(), message))
            })
            .collect()
    });

    #[test]
    fn reads_every_recorded_message() {
        let mut answers = 0;
        for (name, message) in RECORDED.iter() {
            let data = &message["data"];
            match (
                message["type"].as_str().unwrap(),
                read(&message.to_string(), ALL),
            ) {
                ("totals" | "status", Heard::Alive) => {}
                ("error", Heard::Refused(text)) => assert_eq!(*data, Value::from(text)),
                ("result", Heard::Answer { host, answer }) => {
                    answers += 1;
                    assert_eq!(data["host"]["id"], host);
                    match answer {
                        Answer::Error(text) => assert_eq!(data["error"], Value::from(text)),
                        Answer::Rows(rows) => {
                            let mut expected = data["rows"].clone();
                            for row in expected.as_array_mut().unwrap() {
                                for added in wire::ADDED_COLUMNS {
                                    row.as_object_mut().unwrap().remove(*added).unwrap();
                                }
                            }
                            let rows: Value = serde_json::from_str(rows.json()).unwrap();
                            assert_eq!(rows, expected, "{name}");
                        }
                    }
                }
                (kind, heard) => panic!("{name}: {kind} became {heard:?}"),
            }
        }
        assert_eq!(answers, 17);
    }

    #[test]
    fn rows_that_no_host_sends_are_that_hosts_error() {
        let message = r#"{"type":"result","data":{"host":{"id":4},"rows":[{"pid":["secret"]}]}}"#;
        let Heard::Answer {
            host: 4,
            answer: Answer::Error(text),
        } = read(message, ALL)
        else {
            panic!("not an error of host 4");
        };
        assert!(text.starts_with("the answer could not be read: "), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn tells_garbled_messages_from_unknown_ones() {
        for garbled in [
            "",
            "o",
            "[]",
            "{",
            r#"{"data":{}}"#,
            r#"{"type":7}"#,
            r#"{"type":"result"}"#,
            r#"{"type":"result","data":{"host":{"id":"4"},"rows":[]}}"#,
            r#"{"type":"result","data":{"host":{"id":-4},"rows":[]}}"#,
            r#"{"type":"result","data":{"rows":[]}}"#,
        ] {
            assert!(matches!(read(garbled, ALL), Heard::Garbled(_)), "{garbled}");
        }
        for alive in [
            r#"{"type":"totals","data":null}"#,
            r#"{"type":"status"}"#,
            r#"{"data":[1],"type":"later","more":1}"#,
        ] {
            assert!(matches!(read(alive, ALL), Heard::Alive), "{alive}");
        }
        let silent = r#"{"type":"error"}"#;
        assert!(matches!(read(silent, ALL), Heard::Refused(text) if text.is_empty()));
    }

    /// Both ends of a line, the server's as its own websocket.
    async fn line() -> (Socket<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let server = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        (Socket::over(ours, ALL).await, server)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_line_is_pinged_and_a_dead_one_given_up() {
        let (mut socket, _server_that_never_reads) = line().await;
        let begun = Instant::now();
        let Err(Broken::Lost(reason)) = socket.hear(ALL).await else {
            panic!("something was heard");
        };
        assert_eq!(reason, "the server does not answer pings");
        assert_eq!(begun.elapsed().as_secs(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_pings_is_listened_to_for_as_long_as_it_takes() {
        let (mut socket, mut server) = line().await;
        let begun = Instant::now();
        let serve = async {
            let mut pings = 0;
            while let Some(Ok(frame)) = server.next().await {
                pings += u32::from(frame.is_ping());
                // Sends the pong that the library has prepared.
                server.flush().await.unwrap();
                if pings == 10 {
                    let late = Frame::text(r#"{"type":"totals","data":{}}"#);
                    server.send(late).await.unwrap();
                }
            }
        };
        tokio::select! {
            () = serve => panic!("the server saw the end"),
            heard = socket.hear(ALL) => assert!(matches!(heard, Ok(Heard::Alive))),
        }
        assert_eq!(begun.elapsed().as_secs(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_was_left_alone_for_long_is_not_taken_for_dead() {
        let (mut socket, mut server) = line().await;
        tokio::time::advance(PING_AFTER + PONG_WITHIN + PING_AFTER).await;
        server
            .send(Frame::text(r#"{"type":"status"}"#))
            .await
            .unwrap();
        assert!(matches!(socket.hear(ALL).await, Ok(Heard::Alive)));
        tokio::time::advance(PING_AFTER * 3).await;
        assert!(socket.heard_already(ALL).is_none());
    }

    #[tokio::test]
    async fn an_answer_over_the_limit_is_told_from_a_broken_line() {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let mut server = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        let keep = Keep { rows: 1, bytes: 1 };
        let mut socket = Socket::over(ours, keep).await;
        let most = most_bytes(keep);
        let big = Frame::text(" ".repeat(most + 1));
        let heard = tokio::select! {
            heard = socket.hear(keep) => heard,
            sent = server.send(big) => panic!("{sent:?} without being read"),
        };
        assert!(
            matches!(heard, Err(Broken::TooLarge(limit)) if limit == most),
            "{heard:?}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// A message that is cut or overwritten anywhere is never read as another host's answer.
        #[test]
        fn damaged_messages_name_no_other_host(pick in 0usize..1_000, at in 0usize..4_000, byte in "[ -~]?") {
            let (_, message) = &RECORDED[pick % RECORDED.len()];
            let text = message.to_string();
            let mut end = at % (text.len() + 1);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let damaged = format!("{}{byte}", &text[..end]);
            if damaged != text {
                prop_assert!(!matches!(read(&damaged, ALL), Heard::Answer { .. }), "{}", damaged);
            }
        }
    }
}
