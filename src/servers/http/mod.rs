//! The HTTP client that every backend shares: TLS, retries within the deadline, size limits, and
//! errors in the user's words. Knows no server's paths or JSON, and never logs a body.

mod cause;
mod names;
mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake;
use url::Url;

use cause::Cause;
use names::Names;

use super::BackendError;
use crate::address;
use crate::notices::Notices;
use crate::secret::Secret;
use crate::step::model::Server;

/// A connection attempt that takes longer is given up and made again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses between attempts grow from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One server's HTTP client. Built only once the step is checked: it costs some milliseconds.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    base: Url,
    deadline: Instant,
    notices: Notices,
    /// The last warning: requests that fail side by side for one reason say so once.
    warned: Arc<Mutex<String>>,
}

/// The methods that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// Whether a request may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It only reads, or asking twice does no harm.
    Safe,
    /// Only when it cannot have arrived: no connection, or a 429.
    Unsent,
    /// Never: the caller knows when to ask again.
    Once,
}

/// A request; path segments are percent-encoded here.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// GET or POST.
    pub method: Method,
    /// Segments below the base URL.
    pub path: &'a [&'a str],
    /// Query pairs.
    pub query: &'a [(&'a str, &'a str)],
    /// JSON body.
    pub body: Option<&'a Value>,
    /// The token, for the one header it is for.
    pub bearer: Option<&'a Secret>,
    /// Whether it may be repeated.
    pub repeat: Repeat,
    /// Bytes of answer at most.
    pub max_bytes: usize,
}

/// Why a request that is made at most once has no answer.
#[derive(Debug)]
pub struct Undelivered {
    /// What happened.
    pub error: BackendError,
    /// Whether the server may have received it and acted on it.
    pub may_have_arrived: bool,
}

/// An answer that is no redirect and was not to be tried again.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
    /// `GET /path`, for messages.
    pub asked: String,
}

/// Why a websocket could not be opened.
#[derive(Debug)]
pub enum UpgradeError {
    /// The server (or a proxy before it) answered without switching protocols.
    Refused {
        /// HTTP status; 101 where the switch was not a websocket's.
        status: u16,
    },
    /// The server could not be reached.
    Failed(BackendError),
}

impl Http {
    /// A client for the step's server; nothing is sent yet.
    ///
    /// # Errors
    /// [`BackendError::Unreachable`] where there are no root certificates or `ca_file` is not usable.
    pub fn new(server: &Server, deadline: Instant, notices: Notices) -> Result<Self, BackendError> {
        Self::with_names(server, deadline, notices, Names::of_system())
    }

    /// As [`Http::new`], with a resolver of one's own.
    pub(super) fn with_names(
        server: &Server,
        deadline: Instant,
        notices: Notices,
        names: Names,
    ) -> Result<Self, BackendError> {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let mut headers = HeaderMap::new();
        // Without it osctrl answers a refusal with a 302 to a web page.
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("osquery-live-query/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            // An address in the URL itself is the policy's to judge; it never passes the resolver.
            .dns_resolver(names)
            // Ends a little before the deadline, so that a host that swallows packets is named as the cause.
            .connect_timeout(CONNECT_TIMEOUT.min(remaining.mul_f32(0.9)));
        if address::is_loopback(&server.base_url) {
            builder = builder.no_proxy();
        }
        builder = builder.tls_backend_preconfigured(tls::client_config(server)?);
        let client = builder.build().map_err(|error| BackendError::Unreachable {
            message: format!("the HTTP client can't be set up: {}", error.without_url()),
            hint: Some(
                "look at the proxy variables (HTTPS_PROXY, NO_PROXY) of the environment".into(),
            ),
        })?;
        Ok(Self {
            client,
            base: server.base_url.clone(),
            deadline,
            notices,
            warned: Arc::default(),
        })
    }

    /// The same client with another deadline: tidying up happens after the step's.
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// When everything must be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Foreign text as it may be shown.
    pub fn shown(&self, text: &str) -> String {
        self.notices.shown(text)
    }

    /// What the session tells, and the redactor of what it shows.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// The server as people name it: `https://host:port`.
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Sends a request, again where [`Repeat`] and the deadline allow, and reads the answer whole.
    ///
    /// # Errors
    /// Unreachable servers, redirects (the token is never sent on), answers that are too large, and
    /// 429, 502, 503, 504 that outlast the deadline. Other statuses are the caller's to judge.
    pub async fn send(&self, request: Request<'_>) -> Result<Reply, BackendError> {
        self.attempts(&request, self.deadline, &AtomicBool::new(false))
            .await
            .map_err(|failure| failure.error)
    }

    /// As [`Http::send`] with [`Repeat::Unsent`], for a request that does something: no attempt begins
    /// after the deadline, but the answer to one that is under way is waited for until `answer_by`.
    /// `under_way` is true while an attempt may have reached the server and its answer is not known, so
    /// that whoever drops the future knows what that leaves behind.
    ///
    /// # Errors
    /// As [`Http::send`], with whether the server may have acted.
    pub async fn dispatch(
        &self,
        request: Request<'_>,
        answer_by: Instant,
        under_way: &AtomicBool,
    ) -> Result<Reply, Undelivered> {
        self.attempts(&request, answer_by, under_way)
            .await
            .map_err(|failure| Undelivered {
                may_have_arrived: match failure.retry {
                    Retry::Later { sent, .. } => sent || under_way.load(Ordering::Relaxed),
                    // A redirect was not acted on, and TLS failed before anything was said; an answer
                    // that was too large followed an action.
                    Retry::Never => {
                        matches!(failure.error, BackendError::Answer { status: None, .. })
                    }
                },
                error: failure.error,
            })
    }

    async fn attempts(
        &self,
        request: &Request<'_>,
        answer_by: Instant,
        under_way: &AtomicBool,
    ) -> Result<Reply, Failure> {
        let url = self
            .url(request.path, request.query)
            .map_err(Failure::final_)?;
        let mut pause = FIRST_PAUSE;
        let mut last: Option<Failure> = None;
        let mut warned = false;
        loop {
            under_way.store(true, Ordering::Relaxed);
            let attempt = tokio::time::timeout_at(answer_by, self.attempt(request, &url)).await;
            if attempt.is_ok() {
                under_way.store(false, Ordering::Relaxed);
            }
            let failure = match (attempt, last.take()) {
                (Ok(Ok(reply)), _) => return Ok(reply),
                (Ok(Err(failure)), _) => failure,
                (Err(_), Some(earlier)) => return Err(earlier),
                // The caller watches the same deadline and knows what it means.
                (Err(_), None) => std::future::pending().await,
            };
            let wait = match (&failure.retry, request.repeat) {
                (Retry::Never, _)
                | (_, Repeat::Once)
                | (Retry::Later { sent: true, .. }, Repeat::Unsent) => {
                    return Err(failure);
                }
                (
                    Retry::Later {
                        after: Some(after), ..
                    },
                    _,
                ) => *after,
                (Retry::Later { after: None, .. }, _) => jittered(pause),
            };
            if Instant::now() + wait >= self.deadline {
                return Err(failure);
            }
            self.notices.debug(|| {
                format!(
                    "{}: {}; trying again in {} ms",
                    asked(request),
                    failure.error,
                    wait.as_millis()
                )
            });
            if !warned && pause > FIRST_PAUSE {
                self.warn_once(format!(
                    "{}; trying again until the deadline",
                    failure.error
                ));
                warned = true;
            }
            last = Some(failure);
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn warn_once(&self, warning: String) {
        let Ok(mut last) = self.warned.lock() else {
            return;
        };
        if *last != warning {
            self.notices.warn(&warning);
            *last = warning;
        }
    }

    async fn attempt(&self, request: &Request<'_>, url: &Url) -> Result<Reply, Failure> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut builder = self.client.request(method, url.clone());
        if let Some(token) = request.bearer {
            builder = builder.header(header::AUTHORIZATION, bearer(token)?);
        }
        if let Some(body) = request.body {
            builder = builder
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let begun = Instant::now();
        let mut response = builder.send().await.map_err(|error| self.broken(error))?;
        let status = response.status().as_u16();
        self.notices.debug(|| {
            format!(
                "{}: HTTP {status} after {} ms",
                asked(request),
                begun.elapsed().as_millis()
            )
        });
        self.judge(&response, request)?;
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > request.max_bytes => {
                    return Err(Failure::final_(BackendError::Answer {
                        status: None,
                        message: format!(
                            "{} answered {} with more than {} bytes",
                            self.origin(),
                            asked(request),
                            request.max_bytes
                        ),
                        hint: Some(
                            "raise `max_bytes`, or ask fewer hosts or for fewer rows".into(),
                        ),
                    }));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(self.broken(error)),
            }
        }
        Ok(Reply {
            status,
            body,
            asked: asked(request),
        })
    }

    /// Statuses that mean the same everywhere.
    fn judge(&self, response: &reqwest::Response, request: &Request<'_>) -> Result<(), Failure> {
        let status = response.status().as_u16();
        let failed =
            |what: &str| format!("{} answered {} with {what}", self.origin(), asked(request));
        match status {
            300..=399 => Err(Failure::final_(BackendError::Answer {
                status: Some(status),
                message: failed(&format!("a redirect (HTTP {status})")),
                hint: Some("redirects are never followed, since the token would be sent on: set `base_url` to the server's own address".into()),
            })),
            429 | 503 => {
                let after = retry_after(response.headers());
                let when = after.map_or(String::new(), |after| {
                    format!(" and asks to wait {} s", after.as_secs())
                });
                Err(Failure {
                    error: BackendError::Busy {
                        message: format!("{}{when}", failed(&format!("HTTP {status}"))),
                    },
                    retry: Retry::Later { sent: status != 429, after },
                })
            }
            502 | 504 => Err(Failure {
                error: BackendError::Answer {
                    status: Some(status),
                    message: failed(&format!("HTTP {status}")),
                    hint: Some("a gateway before the server can't reach it".into()),
                },
                retry: Retry::Later { sent: true, after: None },
            }),
            _ => Ok(()),
        }
    }

    /// Opens a websocket's connection: the upgraded stream, its handshake checked.
    ///
    /// # Errors
    /// [`UpgradeError::Refused`] where the server answered without switching, else as [`Http::send`];
    /// not repeated: the caller knows whether to wait.
    pub async fn upgrade(&self, path: &[&str]) -> Result<reqwest::Upgraded, UpgradeError> {
        let url = self.url(path, &[]).map_err(UpgradeError::Failed)?;
        let key = handshake::client::generate_key();
        let response = self
            .client
            .get(url)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .send()
            .await
            .map_err(|error| UpgradeError::Failed(self.broken(error).error))?;
        let status = response.status().as_u16();
        // reqwest does not look at it; a proxy that answers 101 by itself would otherwise pass.
        let accepted = response
            .headers()
            .get(header::SEC_WEBSOCKET_ACCEPT)
            .is_some_and(|accept| {
                accept.as_bytes() == handshake::derive_accept_key(key.as_bytes()).as_bytes()
            });
        if status != 101 || !accepted {
            return Err(UpgradeError::Refused { status });
        }
        response
            .upgrade()
            .await
            .map_err(|error| UpgradeError::Failed(self.broken(error).error))
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, BackendError> {
        // The url crate drops `.` and `..` silently; the request would go to another endpoint.
        if path
            .iter()
            .any(|segment| matches!(*segment, "" | "." | ".."))
        {
            return Err(BackendError::Targets {
                message: "a name that is empty, `.` or `..` can't be part of an address".into(),
                hint: None,
            });
        }
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// A connection that was not made, or broke.
    fn broken(&self, error: reqwest::Error) -> Failure {
        let cause = Cause::of(&error);
        if let Cause::Forbidden(message) = cause {
            return Failure::final_(BackendError::Forbidden { message });
        }
        let (what, hint) = cause.words(self.base.host_str().unwrap_or_default());
        let retry = match cause {
            Cause::Tls(..) => Retry::Never,
            _ => Retry::Later {
                sent: !error.is_connect(),
                after: None,
            },
        };
        Failure {
            error: BackendError::Unreachable {
                message: format!("{} can't be reached: {what}", self.origin()),
                hint,
            },
            retry,
        }
    }
}

impl Reply {
    /// Whether the status is a success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text, for a server's error message (never for logs).
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON of the expected form.
    ///
    /// # Errors
    /// [`BackendError::Answer`], which says where the JSON is wrong but never shows it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BackendError> {
        self.parse(|body| serde_json::from_slice(body))
    }

    /// As [`Reply::json`], for types that borrow from the body.
    ///
    /// # Errors
    /// As [`Reply::json`].
    pub fn parse<'a, T>(
        &'a self,
        read: impl FnOnce(&'a [u8]) -> serde_json::Result<T>,
    ) -> Result<T, BackendError> {
        read(&self.body).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => "JSON of another form than expected",
                _ => "something that is not JSON",
            };
            BackendError::Answer {
                status: None,
                message: format!(
                    "the server answered {} with {what} (HTTP {}, line {}, column {})",
                    self.asked,
                    self.status,
                    error.line(),
                    error.column()
                ),
                hint: Some(
                    "check that `base_url` is the API's address, and not a web page or a proxy"
                        .into(),
                ),
            }
        })
    }
}

struct Failure {
    error: BackendError,
    retry: Retry,
}

impl Failure {
    fn final_(error: BackendError) -> Self {
        Self {
            error,
            retry: Retry::Never,
        }
    }
}

enum Retry {
    Never,
    Later {
        /// Whether the request may have arrived.
        sent: bool,
        /// What the server asked for.
        after: Option<Duration>,
    },
}

fn asked(request: &Request<'_>) -> String {
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    format!("{method} /{}", request.path.join("/"))
}

fn bearer(token: &Secret) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| {
        Failure::final_(BackendError::Auth {
            message: "the token holds characters that no HTTP header can carry".into(),
            hint: Some("look for a line break or a control character in the secret".into()),
        })
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Seconds or an HTTP date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        // A lying server must not overflow the clock.
        return Some(Duration::from_secs(seconds.min(86_400)));
    }
    let when = httpdate::parse_http_date(text).ok()?;
    Some(
        when.duration_since(std::time::SystemTime::now())
            .unwrap_or(Duration::ZERO)
            .min(Duration::from_secs(86_400)),
    )
}

/// Between half of the pause and all of it, so that many processes do not come back at once.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    let share = (random % 1_000) as f64 / 1_000.0;
    pause.mul_f64(0.5 + share / 2.0)
}
