//! The HTTP client that every server's client shares: TLS, retries within the deadline, size limits, and
//! errors in the user's words. Knows no server's paths or JSON, and never logs a body.
//!
//! An answer is read in one of three ways:
//! - [`Http::send`]: whole, for what is small ([`limits`] says how large each kind may be);
//! - [`Http::each`]: a list item by item, each handed to a closure; memory does not grow with the list, and
//!   a broken connection is repeated;
//! - [`Http::open`] and [`Incoming::list`]: the same to be pulled ([`List::next`]), for whoever hands items
//!   on while the list is still coming.
//!
//! What takes long on bytes that have come belongs on [`super::away`].

mod cause;
mod connecting;
mod incoming;
mod items;
pub mod limits;
mod line;
mod names;
mod proxies;
mod reply;
mod request;
mod roots;
mod tls;
mod upgrade;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use cause::Cause;
pub use connecting::Connecting;
use connecting::FirstConnection;
use line::Line;
use names::Names;
use proxies::Proxy;
use request::{Failure, Retry};

pub use incoming::{Incoming, List};
pub use items::Item;
pub use reply::Reply;
pub use request::{Method, Repeat, Request, Undelivered};
pub use upgrade::UpgradeError;

use super::BackendError;
use crate::notices::Notices;
use crate::step::model::Server;
use crate::trace::TraceParent;

/// Bodies of more than [`limits::SMALL`] that are read whole at the same time.
const LARGE_AT_ONCE: usize = 2;
/// A connection attempt that takes longer is given up and made again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is not used again: many servers and proxies close theirs after
/// five seconds.
const IDLE: Duration = Duration::from_secs(4);

/// How long a server is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// When everything must be over.
    pub deadline: Instant,
    /// A server that gave no answer at all within this time, because it can't be reached (DNS, connect,
    /// TLS), is given up; `None`: it is tried until the deadline.
    pub reach_within: Option<Duration>,
}

impl From<Instant> for Patience {
    fn from(deadline: Instant) -> Self {
        Self {
            deadline,
            reach_within: None,
        }
    }
}

/// Reads a 503: the error that it is, where no waiting helps.
pub type ReadRefusal = fn(origin: &str, reply: &Reply) -> Option<BackendError>;

/// One server's HTTP client. Built only once the step is checked: it costs some milliseconds.
#[derive(Debug, Clone)]
pub struct Http {
    /// Keeps connections for later requests.
    kept: reqwest::Client,
    /// Makes a connection for each request.
    fresh: reqwest::Client,
    /// Where both do their work.
    line: Arc<Line>,
    base: Url,
    proxy: Option<Arc<Proxy>>,
    deadline: Instant,
    /// Of both.
    first_connection: FirstConnection,
    reach: Arc<Reach>,
    /// Says with every request which trace it is part of.
    trace: Option<HeaderValue>,
    /// What every request says besides.
    says: Option<(HeaderName, HeaderValue)>,
    /// Tells a 503 that no waiting helps from one that passes.
    refusals: Option<ReadRefusal>,
    notices: Notices,
    /// Whose turn it is to read a large body: many answers at once are not many large ones in memory.
    large: Arc<Semaphore>,
    /// The last warning: requests that fail side by side for one reason say so once.
    warned: Arc<Mutex<String>>,
}

/// Whether the server was ever there.
#[derive(Debug)]
struct Reach {
    reached: AtomicBool,
    /// When it is given up if it was not, and after how long that is.
    until: Option<(Instant, Duration)>,
}

impl Http {
    /// A client for the step's server; nothing is sent yet.
    ///
    /// # Errors
    /// [`BackendError::Setup`] where there are no root certificates, or `ca_file` or a proxy's variable is
    /// not usable; [`BackendError::Forbidden`] for a proxy with an address that none has.
    pub fn new(
        server: &Server,
        patience: impl Into<Patience>,
        notices: Notices,
    ) -> Result<Self, BackendError> {
        Self::with_names(server, patience.into(), notices, Names::of_system())
    }

    /// As [`Http::new`], with a resolver of one's own.
    fn with_names(
        server: &Server,
        patience: Patience,
        notices: Notices,
        names: Names,
    ) -> Result<Self, BackendError> {
        let now = Instant::now();
        let proxy = proxies::of_environment(&server.base_url, &|name| std::env::var_os(name))?;
        if let Some(password) = proxy.as_ref().and_then(Proxy::password) {
            notices.learn(&password);
        }
        let tls = tls::client_config(server)?;
        let connect_within = connect_within(patience, now);
        let unusable = |error: reqwest::Error| BackendError::Setup {
            message: format!("the HTTP client can't be set up: {}", error.without_url()),
            hint: None,
        };
        let first_connection = FirstConnection::default();
        let builder = || {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("osquery-live-query/", env!("CARGO_PKG_VERSION")))
                .default_headers(headers())
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .no_proxy()
                // An address in the URL itself is the policy's to judge; it never passes the resolver.
                .dns_resolver(names.clone())
                .connect_timeout(connect_within)
                .tls_backend_preconfigured(tls.clone());
            builder = first_connection.watches(builder);
            if let Some(proxy) = &proxy {
                builder = builder.proxy(proxy.for_client().map_err(unusable)?);
            }
            Ok(builder)
        };
        Ok(Self {
            kept: builder()?
                .pool_idle_timeout(IDLE)
                .build()
                .map_err(unusable)?,
            fresh: builder()?
                .pool_max_idle_per_host(0)
                .build()
                .map_err(unusable)?,
            line: Arc::new(Line::start()),
            base: server.base_url.clone(),
            proxy: proxy.map(Arc::new),
            deadline: patience.deadline,
            first_connection: first_connection.clone(),
            reach: Arc::new(Reach {
                reached: AtomicBool::new(false),
                until: patience.reach_within.map(|within| (now + within, within)),
            }),
            trace: None,
            says: None,
            refusals: None,
            notices,
            large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            warned: Arc::default(),
        })
    }

    /// The same client, whose requests are part of a trace (W3C Trace Context).
    #[must_use]
    pub fn within(self, trace: Option<&TraceParent>) -> Self {
        let trace = trace.and_then(|trace| HeaderValue::from_str(trace.as_str()).ok());
        Self { trace, ..self }
    }

    /// The same client, whose requests all have this header besides.
    #[must_use]
    pub fn saying(self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).ok();
        let says = value.map(|value| (HeaderName::from_static(name), value));
        Self { says, ..self }
    }

    /// The same client, which reads what a server says with a 503: where that is an error for good, it is
    /// not waited for.
    #[must_use]
    pub fn reading_refusals(self, read: ReadRefusal) -> Self {
        let refusals = Some(read);
        Self { refusals, ..self }
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

    /// How connecting went; `None` where nobody was dialled yet.
    pub fn connecting(&self) -> Option<Connecting> {
        self.first_connection.get()
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

    /// A request to be filled in, for the client that suits what a connection that ends without a word
    /// would mean for it.
    fn request(
        &self,
        repeat: Repeat,
        method: reqwest::Method,
        url: Url,
    ) -> reqwest::RequestBuilder {
        let client = match repeat {
            Repeat::Safe | Repeat::Once => &self.kept,
            Repeat::Unsent => &self.fresh,
        };
        let mut request = client.request(method, url);
        if let Some(trace) = &self.trace {
            request = request.header("traceparent", trace.clone());
        }
        if let Some((name, value)) = &self.says {
            request = request.header(name.clone(), value.clone());
        }
        request
    }

    /// Sends it; comes back when the head of an answer is there.
    async fn head_of(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, Failure> {
        let sent = self.line.run(request.send()).await;
        let response = sent.map_err(|error| self.broken(&error))?;
        self.reach.reached.store(true, Ordering::Relaxed);
        Ok(response)
    }

    /// Whether another attempt that takes as long as the last one is worth it.
    fn may_be_reached(&self, begins: Instant, took: Duration, error: &BackendError) -> bool {
        let Some((until, _)) = self.reach.until else {
            return true;
        };
        self.reach.reached.load(Ordering::Relaxed)
            || !matches!(error, BackendError::Unreachable { .. })
            || begins + took < until
    }

    /// A failure that is tried again, said once.
    fn warn_of_trying(&self, error: &BackendError) {
        let until = match self.reach.until {
            Some((_, within)) if !self.reach.reached.load(Ordering::Relaxed) => {
                format!("for {} s", within.as_secs())
            }
            _ => "until the deadline".into(),
        };
        let warning = format!("{error}; trying again {until}");
        let Ok(mut last) = self.warned.lock() else {
            return;
        };
        if *last != warning {
            self.notices.warn(&warning);
            *last = warning;
        }
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
    fn broken(&self, error: &reqwest::Error) -> Failure {
        let cause = Cause::of(error);
        let retry = match cause {
            Cause::Tls(_) | Cause::Certificate(_) | Cause::NotHttp(_) => Retry::Never,
            // More files may be open later, but only where others are now.
            Cause::Limit(_) if !self.reach.reached.load(Ordering::Relaxed) => Retry::Never,
            _ => Retry::Later {
                sent: !(error.is_connect() || cause == Cause::Unsent),
                after: None,
            },
        };
        let error = cause.into_error(&self.origin(), self.base.host_str(), self.proxy.as_deref());
        Failure {
            retry: match error {
                BackendError::Forbidden { .. } => Retry::Never,
                _ => retry,
            },
            error,
        }
    }
}

/// How long one attempt to connect may take.
fn connect_within(patience: Patience, now: Instant) -> Duration {
    let remaining = patience.deadline.saturating_duration_since(now);
    // Ends a little before the deadline, so that a host that swallows packets is named as the cause.
    let most = CONNECT_TIMEOUT.min(remaining.mul_f32(0.9));
    // Where the server is given up early there is time for two attempts.
    let half = |within: Duration| within.mul_f32(0.48);
    patience
        .reach_within
        .map_or(most, |within| most.min(half(within)))
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Without it osctrl answers a refusal with a 302 to a web page.
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    // Without it a server may take any encoding for welcome (RFC 9110, 12.5.3).
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    headers
}
