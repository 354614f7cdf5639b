//! A client for the tests that shares nothing with the plugin: one HTTP request a connection, and a
//! websocket whose frames are read byte by byte, so that what strict clients refuse can be looked at.

#![allow(dead_code, missing_docs, reason = "each test file uses a part of it")]

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Sends one request. An error is a connection that ended too early.
pub async fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<String>,
) -> Result<Answer, hyper::Error> {
    let stream = TcpStream::connect(to).await.expect("connected");
    request_over(stream, method, path, headers, body).await
}

/// Sends one request over any stream.
pub async fn request_over<S>(
    stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<String>,
) -> Result<Answer, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::from(body.unwrap_or_default()));
    let request = request.body(body).expect("a request");
    let response = sender.send_request(request).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    drop(sender);
    driver.abort();
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.to_string(), value)
            })
            .collect(),
        body,
    })
}

/// `GET` with a token, as JSON.
pub async fn get(to: SocketAddr, path: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept", "application/json"),
    ];
    request(to, "GET", path, &headers, None)
        .await
        .expect("an answer")
}

/// `POST` with a token, as JSON.
pub async fn post(to: SocketAddr, path: &str, token: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept", "application/json"),
        ("content-type", "application/json"),
    ];
    request(to, "POST", path, &headers, Some(body.to_string()))
        .await
        .expect("an answer")
}

/// What comes over a websocket.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// A text message, not necessarily UTF-8.
    Text(Vec<u8>),
    /// A close frame with its code, where it has one.
    Close(Option<u16>),
    /// The connection ended without a close frame.
    End,
}

impl Frame {
    pub fn json(&self) -> Value {
        match self {
            Self::Text(bytes) => serde_json::from_slice(bytes).expect("JSON"),
            other => panic!("no text: {other:?}"),
        }
    }
}

/// Reads so many bytes and throws them away.
pub async fn swallow(stream: &mut TcpStream, bytes: usize) -> std::io::Result<()> {
    let mut scratch = vec![0; 256 * 1024];
    let mut left = bytes;
    while left > 0 {
        match stream.read(&mut scratch).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

/// Sends a `GET` and leaves the answer unread.
pub async fn ask(to: SocketAddr, path: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.expect("connected");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer {token}\r\n\
         Accept: application/json\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

/// A websocket client that hides nothing.
pub struct Socket {
    stream: TcpStream,
}

impl Socket {
    /// Opens a socket; an error is the refusal's status.
    pub async fn open(to: SocketAddr, path: &str, extra: &[(&str, &str)]) -> Result<Self, u16> {
        let mut stream = TcpStream::connect(to).await.expect("connected");
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in extra {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a response head"));
        }
        let head = String::from_utf8(head).expect("a head in ASCII");
        let status: u16 = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        if status != 101 {
            return Err(status);
        }
        // The answer that RFC 6455 gives for its sample key.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        Ok(Self { stream })
    }

    /// Sends a text message.
    pub async fn send(&mut self, message: &Value) {
        self.send_frame(1, message.to_string().as_bytes()).await;
    }

    /// Sends a close frame with code 1000.
    pub async fn close(&mut self) {
        self.send_frame(8, &1000_u16.to_be_bytes()).await;
    }

    async fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | u8::try_from(length).expect("short")),
            length => {
                frame.push(0x80 | 126);
                let length = u16::try_from(length).expect("a message of the tests is short");
                frame.extend(length.to_be_bytes());
            }
        }
        // A mask of zeros is a mask.
        frame.extend([0; 4]);
        frame.extend(payload);
        self.stream.write_all(&frame).await.expect("sent");
    }

    /// Reads so many bytes, whatever they are, and throws them away; an error is the connection's end.
    pub async fn swallow(&mut self, bytes: usize) -> std::io::Result<()> {
        swallow(&mut self.stream, bytes).await
    }

    /// The head of the next frame: its first byte, and how long the payload is.
    pub async fn raw_head(&mut self) -> std::io::Result<(u8, u64)> {
        let (first, second) = (self.stream.read_u8().await?, self.stream.read_u8().await?);
        let length = match second & 0x7f {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            length => u64::from(length),
        };
        Ok((first, length))
    }

    /// The next frame of any kind: its first byte and its payload.
    pub async fn raw_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let (first, length) = self.raw_head().await?;
        let mut payload = vec![0; usize::try_from(length).expect("fits memory")];
        self.stream.read_exact(&mut payload).await?;
        Ok((first, payload))
    }

    /// The next message or the end.
    pub async fn next(&mut self) -> Frame {
        self.read().await.unwrap_or(Frame::End)
    }

    async fn read(&mut self) -> std::io::Result<Frame> {
        loop {
            let (first, payload) = self.raw_frame().await?;
            match first & 0x0f {
                1 => return Ok(Frame::Text(payload)),
                8 => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Ok(Frame::Close(code));
                }
                _ => {}
            }
        }
    }
}
