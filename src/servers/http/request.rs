//! From a request to an answer: attempts within the deadline, and which of them may be made again.
//! What an answer says is the caller's business, but for statuses that mean the same everywhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use reqwest::header::{self, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::incoming::{Incoming, List};
use super::items::Item;
use super::reply::Reply;
use super::{Http, limits};
use crate::secret::Secret;
use crate::servers::BackendError;

/// Pauses between attempts grow from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// An attempt that has less time than this is not made: nothing would come of it, and of a dispatch nobody
/// would know whether it arrived.
const TOO_SHORT: Duration = Duration::from_millis(50);

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
    /// Only when it cannot have arrived: no connection, nothing of it sent, or a 429. Such a request goes
    /// over a fresh connection: one that was idle may be closed at the very moment, and then nobody knows.
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
    /// Bytes of the answer's body at most, however it is read: one of `limits`.
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

/// Why an attempt brought nothing, and whether another may.
pub(super) struct Failure {
    pub(super) error: BackendError,
    pub(super) retry: Retry,
}

impl Failure {
    pub(super) fn final_(error: BackendError) -> Self {
        Self {
            error,
            retry: Retry::Never,
        }
    }
}

pub(super) enum Retry {
    Never,
    Later {
        /// Whether the request may have arrived.
        sent: bool,
        /// What the server asked for.
        after: Option<Duration>,
    },
}

impl Http {
    /// Sends a request, again where [`Repeat`] and the deadline allow, and reads the answer whole.
    ///
    /// # Errors
    /// Unreachable servers, redirects (the token is never sent on), answers that are too large or
    /// compressed, and 429, 502, 503, 504 that outlast the deadline. Other statuses are the caller's to judge.
    pub async fn send(&self, request: Request<'_>) -> Result<Reply, BackendError> {
        let mut attempts = self.attempts(&request, self.deadline())?;
        loop {
            let failure = match attempts.answer(&AtomicBool::new(false)).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            attempts
                .may_go_on(failure)
                .await
                .map_err(|failure| failure.error)?;
        }
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
        let attempts = self.attempts(&request, answer_by);
        let mut attempts = attempts.map_err(|error| Undelivered {
            error,
            may_have_arrived: false,
        })?;
        loop {
            let failure = match attempts.answer(under_way).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            attempts
                .may_go_on(failure)
                .await
                .map_err(|failure| Undelivered {
                    may_have_arrived: match failure.retry {
                        Retry::Later { sent, .. } => sent || under_way.load(Ordering::Relaxed),
                        // A redirect was not acted on, and TLS failed before anything was said; an
                        // answer that was too large followed an action.
                        Retry::Never => {
                            matches!(failure.error, BackendError::Answer { status: None, .. })
                        }
                    },
                    error: failure.error,
                })?;
        }
    }

    /// As [`Http::send`], but leaves the body where it is: for answers that are taken apart as they come
    /// ([`Incoming::list`]). A connection that breaks later is the caller's to repeat.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub async fn open(&self, request: Request<'_>) -> Result<Incoming, BackendError> {
        let mut attempts = self.attempts(&request, self.deadline())?;
        loop {
            let failure = match attempts.head().await {
                Ok(incoming) => return Ok(incoming),
                Err(failure) => failure,
            };
            attempts
                .may_go_on(failure)
                .await
                .map_err(|failure| failure.error)?;
        }
    }

    /// Reads a list item by item: the body is `[…]`, or an object that has it under this key; no more than
    /// `item_bytes` are kept of one item ([`Item`] says what becomes of a larger one). `each` gets them in
    /// their order, and may break off with an error. Where the connection breaks the whole list is read
    /// again, as [`Http::send`] does: `begin` makes what `each` fills anew.
    ///
    /// Returns that, and what is around the list with an empty list in its place, so that its `json` has the
    /// total. A status that is no success is returned with its whole body, and nothing was filled.
    ///
    /// # Errors
    /// As [`Http::send`], for items that are no `I`, and what `each` says.
    pub async fn each<I: DeserializeOwned, T>(
        &self,
        request: Request<'_>,
        under: &'static str,
        item_bytes: usize,
        begin: impl Fn() -> T,
        mut each: impl FnMut(&mut T, I) -> Result<(), BackendError>,
    ) -> Result<(T, Reply), BackendError> {
        let each = |filled: &mut T, list: &List, item: &Item| each(filled, list.read(item)?);
        self.each_item(request, under, item_bytes, begin, each)
            .await
    }

    /// As [`Http::each`], for who reads the items in another way.
    ///
    /// # Errors
    /// As [`Http::each`].
    pub async fn each_item<T>(
        &self,
        request: Request<'_>,
        under: &'static str,
        item_bytes: usize,
        begin: impl Fn() -> T,
        mut each: impl FnMut(&mut T, &List, &Item) -> Result<(), BackendError>,
    ) -> Result<(T, Reply), BackendError> {
        let mut attempts = self.attempts(&request, self.deadline())?;
        loop {
            let read = async {
                let incoming = attempts.head().await?;
                let mut filled = begin();
                if !incoming.is_success() {
                    return Ok((filled, incoming.read_whole().await?));
                }
                let mut list: List = incoming.list(under, item_bytes);
                while let Some(item) = list.advance().await? {
                    each(&mut filled, &list, &item).map_err(Failure::final_)?;
                    list.reuse(item);
                }
                Ok((filled, list.finish()?))
            };
            let failure = match read.await {
                Ok(read) => return Ok(read),
                Err(failure) => failure,
            };
            attempts
                .may_go_on(failure)
                .await
                .map_err(|failure| failure.error)?;
        }
    }

    fn attempts<'a>(
        &'a self,
        request: &'a Request<'a>,
        answer_by: Instant,
    ) -> Result<Attempts<'a>, BackendError> {
        Ok(Attempts {
            http: self,
            request,
            url: self.url(request.path, request.query)?,
            answer_by,
            pause: FIRST_PAUSE,
            begun: Instant::now(),
            last: None,
            over: false,
            warned: false,
        })
    }

    /// `GET /path`, for messages: a part of the path may be a name that a server chose.
    fn asked(&self, request: &Request<'_>) -> String {
        let method = match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        self.shown(&format!("{method} /{}", request.path.join("/")))
    }
}

/// A request and what became of it so far.
struct Attempts<'a> {
    http: &'a Http,
    request: &'a Request<'a>,
    url: Url,
    answer_by: Instant,
    pause: Duration,
    /// When the attempt that goes on, or went on last, began.
    begun: Instant,
    /// The failure of the attempt before.
    last: Option<Failure>,
    /// There was no more time for an answer.
    over: bool,
    warned: bool,
}

impl Attempts<'_> {
    /// One attempt, its answer read whole.
    async fn answer(&mut self, under_way: &AtomicBool) -> Result<Reply, Failure> {
        self.begun = Instant::now();
        under_way.store(true, Ordering::Relaxed);
        let attempt = async { self.attempt().await?.read_whole().await };
        let attempt = tokio::time::timeout_at(self.answer_by, attempt).await;
        if attempt.is_ok() {
            under_way.store(false, Ordering::Relaxed);
        }
        self.in_time(attempt).await
    }

    /// One attempt, until the head of its answer is there.
    async fn head(&mut self) -> Result<Incoming, Failure> {
        self.begun = Instant::now();
        let attempt = tokio::time::timeout_at(self.answer_by, self.attempt()).await;
        self.in_time(attempt).await
    }

    async fn in_time<T>(
        &mut self,
        attempt: Result<Result<T, Failure>, tokio::time::error::Elapsed>,
    ) -> Result<T, Failure> {
        match (attempt, self.last.take()) {
            (Ok(came), _) => came,
            // More than an attempt that had no time tells the one before.
            (Err(_), Some(earlier)) => {
                self.over = true;
                Err(earlier)
            }
            // The caller watches the same deadline and knows what it means.
            (Err(_), None) => std::future::pending().await,
        }
    }

    /// Waits until the next attempt; the failure, where none may be made.
    async fn may_go_on(&mut self, failure: Failure) -> Result<(), Failure> {
        let wait = match (&failure.retry, self.request.repeat) {
            _ if self.over => return Err(failure),
            (Retry::Never, _)
            | (_, Repeat::Once)
            | (Retry::Later { sent: true, .. }, Repeat::Unsent) => {
                return Err(failure);
            }
            // A server that asks for no wait, again and again, is not asked without any.
            (Retry::Later { after, .. }, _) => after.unwrap_or_default().max(jittered(self.pause)),
        };
        let begins = Instant::now() + wait;
        let took = self.begun.elapsed();
        if begins + TOO_SHORT >= self.http.deadline()
            || !self.http.may_be_reached(begins, took, &failure.error)
        {
            return Err(failure);
        }
        self.http.notices().debug(|| {
            format!(
                "{}: {}; trying again in {} ms",
                self.http.asked(self.request),
                failure.error,
                wait.as_millis()
            )
        });
        if !self.warned && self.pause > FIRST_PAUSE {
            self.http.warn_of_trying(&failure.error);
            self.warned = true;
        }
        self.last = Some(failure);
        tokio::time::sleep(wait).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    async fn attempt(&self) -> Result<Incoming, Failure> {
        let Self { http, request, .. } = self;
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        let mut builder = http.request(request.repeat, method, self.url.clone());
        if let Some(token) = request.bearer {
            builder = builder.header(header::AUTHORIZATION, bearer(token)?);
        }
        if let Some(body) = request.body {
            builder = builder
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let response = http.head_of(builder).await?;
        let status = response.status().as_u16();
        http.notices().debug(|| {
            format!(
                "{}: HTTP {status} after {} ms",
                http.asked(request),
                self.begun.elapsed().as_millis()
            )
        });
        let judged = self.judge(&response);
        let incoming = Incoming::new(
            response,
            (*http).clone(),
            http.asked(request),
            match status {
                200..=299 => request.max_bytes,
                _ => request.max_bytes.min(limits::SMALL.bytes),
            },
        );
        match (judged, http.refusals) {
            (Ok(()), _) => Ok(incoming),
            (Err(failure), Some(read)) if status == 503 => {
                let said = incoming.read_whole().await;
                let refusal = said.ok().and_then(|reply| read(&http.origin(), &reply));
                Err(refusal.map_or(failure, Failure::final_))
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// What means the same everywhere.
    fn judge(&self, response: &reqwest::Response) -> Result<(), Failure> {
        let status = response.status().as_u16();
        let failed = |what: &str| {
            let asked = self.http.asked(self.request);
            format!("{} answered {asked} with {what}", self.http.origin())
        };
        match status {
            300..=399 => {
                return Err(Failure::final_(BackendError::Answer {
                    status: Some(status),
                    message: failed(&format!("a redirect (HTTP {status})")),
                    hint: Some("redirects are never followed, since the token would be sent on: set `base_url` to the server's own address".into()),
                }));
            }
            429 | 503 => {
                let after = retry_after(response.headers());
                let when = after.map_or(String::new(), |after| {
                    format!(" and asks to wait {} s", after.as_secs())
                });
                return Err(Failure {
                    error: BackendError::Busy {
                        message: format!("{}{when}", failed(&format!("HTTP {status}"))),
                    },
                    retry: Retry::Later {
                        sent: status != 429,
                        after,
                    },
                });
            }
            502 | 504 => {
                return Err(Failure {
                    error: BackendError::Answer {
                        status: Some(status),
                        message: failed(&format!("HTTP {status}")),
                        hint: Some("a gateway in front of the server can't reach it".into()),
                    },
                    retry: Retry::Later {
                        sent: true,
                        after: None,
                    },
                });
            }
            _ => {}
        }
        match encoding(response.headers()) {
            None => Ok(()),
            Some(encoding) => Err(Failure::final_(BackendError::Answer {
                status: None,
                message: failed(&format!(
                    "a compressed body (Content-Encoding: {}), which was not asked for",
                    self.http.shown(&encoding)
                )),
                hint: Some(
                    "look for a proxy in front of the server that compresses whatever passes"
                        .into(),
                ),
            })),
        }
    }
}

/// What the body is wrapped in; `None` where it is as it is.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
    all.find_map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
        let plain = text.is_empty() || text.eq_ignore_ascii_case("identity");
        (!plain).then_some(text)
    })
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

/// The longest wait that is told apart: a lying server must not overflow the clock.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// Seconds or an HTTP date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    wait_of(text.trim(), SystemTime::now())
}

/// The wait that the text asks for; `None` where it says nothing.
fn wait_of(text: &str, now: SystemTime) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = match digits {
        // More than any number that a clock holds.
        true => text.parse().map_or(Duration::MAX, Duration::from_secs),
        false => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// Between half of the pause and all of it, so that many processes do not come back at once.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    let share = (random % 1_000) as f64 / 1_000.0;
    pause.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_as_servers_write_them() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let date = |seconds: u64| httpdate::fmt_http_date(now + Duration::from_secs(seconds));
        for (text, seconds) in [
            ("0", Some(0)),
            ("60", Some(60)),
            ("007", Some(7)),
            (&*date(90), Some(90)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
            ("86401", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("", None),
            ("soon", None),
            ("-5", None),
            ("1.5", None),
            ("1, 2", None),
            ("2026-11-27T12:00:00Z", None),
        ] {
            let wait = wait_of(text, now).map(|wait| wait.as_secs());
            assert_eq!(wait, seconds, "{text}");
        }
    }
}
