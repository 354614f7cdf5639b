//! A server on loopback that answers as a test says, for what no healthy osctrl does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use url::Url;

use super::Osctrl;
use crate::campaign::rows::Keep;
use crate::known_servers::Access;
use crate::notices::Notices;
use crate::secret::Secret;
use crate::servers::http::Http;
use crate::step::model::{Credentials, Server};

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET /path?query`, below `/api/v1`.
    pub line: String,
    /// The token, if any.
    pub token: Option<String>,
    /// What the client would accept.
    pub accept: Option<String>,
    /// The body.
    pub body: String,
}

impl Asked {
    /// The next request of a connection, until it is closed.
    async fn on(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            stream
                .read_line(&mut line)
                .await
                .ok()
                .filter(|&it| it > 0)?;
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let header = |name: &str| {
            head.iter().skip(1).find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then_some(value)
            })
        };
        let length = header("content-length").map_or(0, |it| it.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let mut words = head[0].split(' ');
        let (method, target) = (words.next()?, words.next()?);
        Some(Self {
            line: format!("{method} {}", target.trim_start_matches("/api/v1")),
            token: header("authorization").map(|value| value.replace("Bearer ", "")),
            accept: header("accept").map(str::to_owned),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// The server; it is gone with the test.
pub struct Stub {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Answers each request with a status and a body.
    pub async fn start(answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answer) = (Arc::clone(&asked), Arc::new(Mutex::new(answer)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(asked) = Asked::on(&mut stream).await {
                        log.lock().unwrap().push(asked.clone());
                        let (status, text) = (answer.lock().unwrap())(&asked);
                        let length = text.len();
                        let whole = format!(
                            "HTTP/1.1 {status} stub\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{text}"
                        );
                        // Who has left needs no answer.
                        let _ = stream.write_all(whole.as_bytes()).await;
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The lines of what was asked so far.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// The server's address.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// A backend with the token `token`.
    pub fn backend(&self) -> Osctrl {
        self.backend_as(Credentials::Token(Secret::new("token".into())))
    }

    /// A backend that logs in.
    pub fn backend_with_login(&self) -> Osctrl {
        self.backend_as(Credentials::Login {
            username: Secret::new("user".into()),
            password: Secret::new("pass-word".into()),
        })
    }

    fn backend_as(&self, credentials: Credentials) -> Osctrl {
        let server = Server {
            access: Access::Osctrl {
                environment: "dev".into(),
            },
            base_url: Url::parse(&self.address).unwrap(),
            credentials,
            verify_tls: true,
            ca_file: None,
        };
        let secret = Secret::new("pass-word".into());
        let deadline = Instant::now() + Duration::from_secs(20);
        let notices = Notices::unheard();
        notices.learn(&secret);
        let http = Http::new(&server, deadline, notices).unwrap();
        let keep = Keep {
            rows: 100,
            bytes: 100_000,
        };
        Osctrl::new(&server, "dev", http, keep)
    }
}
