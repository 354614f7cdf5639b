//! A server on loopback that answers as a test says, for what no healthy osctrl does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

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
    fn of(request: &Request) -> Self {
        let header = |name: &str| request.headers.get(name)?.to_str().ok();
        let query = request.url.query().map(|query| format!("?{query}"));
        let path = request.url.path().trim_start_matches("/api/v1");
        Self {
            line: format!("{} {path}{}", request.method, query.unwrap_or_default()),
            token: header("authorization").map(|value| value.replace("Bearer ", "")),
            accept: header("accept").map(str::to_owned),
            body: String::from_utf8_lossy(&request.body).into_owned(),
        }
    }
}

/// The server; it is gone with this.
pub struct Stub {
    server: MockServer,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Answers each request with a status and a body.
    pub async fn start(answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answer) = (Arc::clone(&asked), Mutex::new(answer));
        let server = MockServer::start().await;
        let respond = move |request: &Request| {
            let asked = Asked::of(request);
            log.lock().unwrap().push(asked.clone());
            let (status, text) = (answer.lock().unwrap())(&asked);
            ResponseTemplate::new(status).set_body_raw(text, "application/json")
        };
        Mock::given(any())
            .respond_with(respond)
            .mount(&server)
            .await;
        Self { server, asked }
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
        self.server.uri()
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
            base_url: Url::parse(&self.server.uri()).unwrap(),
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
