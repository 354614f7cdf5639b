//! A server on loopback that answers as a test says, for what no healthy osctrl does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// The server; it listens for as long as the test's process lives.
pub struct Stub {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Answers each request with a status and a body.
    pub fn start(answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let answer = Arc::new(Mutex::new(answer));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &log, &answer)));
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
    pub fn address(&self) -> &str {
        &self.address
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

/// One request; a client that leaves early is no failure of the server.
fn serve(
    stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    answer: &Mutex<impl FnMut(&Asked) -> (u16, String)>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let length = header("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut words = head.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let asked = Asked {
        line: format!("{method} {}", target.trim_start_matches("/api/v1")),
        token: header("authorization").map(|value| value.replace("Bearer ", "")),
        accept: header("accept").map(str::to_owned),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    log.lock().unwrap().push(asked.clone());
    let (status, text) = (answer.lock().unwrap())(&asked);
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
}
