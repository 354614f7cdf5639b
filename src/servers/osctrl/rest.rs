//! osctrl's calls: the environment's paths, what is asked again, and refusals in the user's words. Knows
//! nothing of hosts' names or of a campaign's progress; who calls is `login.rs`'s.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use futures_util::lock::{Mutex, MutexGuard};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::login::Session;
use super::patience::Patience;
use super::wire;
use crate::notices::Notices;
use crate::servers::BackendError;
use crate::servers::http::{Http, Incoming, Method, Repeat, Reply, Request, Undelivered, limits};
use crate::step::model::{Credentials, Server};

/// How often a call is repeated that a server answers 500 which has never answered well.
const TRIES: u32 = 3;
/// Bytes of an answer that is a status or a refusal.
pub const SMALL: usize = limits::SMALL.bytes;
/// Where a page has its list.
pub const ITEMS: &str = "items";

/// One environment of one osctrl server; clones share the session.
#[derive(Clone)]
pub struct Rest {
    http: Http,
    shared: Rc<Shared>,
    /// The document is written: nothing is told any more.
    tidying_up: bool,
}

struct Shared {
    environment: String,
    credentials: Credentials,
    session: RefCell<Session>,
    /// Held while somebody logs in: calls that run at the same time must not end each other's token.
    login: Mutex<()>,
    /// Warnings that were given.
    told: RefCell<HashSet<String>>,
}

/// A call below `/api/v1`.
pub struct Call<'a> {
    /// GET or POST.
    pub method: Method,
    /// Segments after `/api/v1`.
    pub path: &'a [&'a str],
    /// Query pairs.
    pub query: &'a [(&'a str, &'a str)],
    /// JSON body.
    pub body: Option<&'a Value>,
    /// Whether it may be repeated.
    pub repeat: Repeat,
    /// Whether an answer that may be that of a server without its database is waited out.
    pub patient: bool,
    /// Bytes of answer at most.
    pub max_bytes: usize,
}

impl<'a> Call<'a> {
    /// A call that only reads.
    pub fn get(path: &'a [&'a str], query: &'a [(&'a str, &'a str)], max_bytes: usize) -> Self {
        Self {
            method: Method::Get,
            path,
            query,
            body: None,
            repeat: Repeat::Safe,
            patient: true,
            max_bytes,
        }
    }

    /// The same call, whose answer is worth no wait.
    #[must_use]
    pub fn impatient(self) -> Self {
        Self {
            patient: false,
            ..self
        }
    }

    /// A call that does something.
    pub fn post(path: &'a [&'a str], body: Option<&'a Value>, repeat: Repeat) -> Self {
        Self {
            method: Method::Post,
            path,
            query: &[],
            body,
            repeat,
            patient: false,
            max_bytes: SMALL,
        }
    }
}

/// What a call is for, so that a refusal can say what is missing.
#[derive(Debug, Clone, Copy)]
pub struct Purpose {
    /// `list the hosts`: goes after "may not".
    pub what: &'static str,
    /// osctrl's level that allows it.
    pub level: &'static str,
}

impl Rest {
    /// Nothing is sent yet.
    pub fn new(server: &Server, environment: &str, http: Http) -> Self {
        Self {
            http,
            shared: Rc::new(Shared {
                environment: environment.to_owned(),
                credentials: server.credentials.clone(),
                session: RefCell::default(),
                login: Mutex::new(()),
                told: RefCell::default(),
            }),
            tidying_up: false,
        }
    }

    /// The environment, as the step names it.
    pub fn environment(&self) -> &str {
        &self.shared.environment
    }

    /// The server, as people name it.
    pub fn origin(&self) -> String {
        self.http.origin()
    }

    /// Foreign text as it may be shown.
    pub fn shown(&self, text: &str) -> String {
        self.http.shown(text)
    }

    /// What the session tells.
    pub fn notices(&self) -> &Notices {
        self.http.notices()
    }

    /// Warns of what several calls may meet, once.
    pub fn warn_once(&self, text: String) {
        let is_new = self.shared.told.borrow_mut().insert(text.clone());
        if is_new {
            self.notices().warn(text);
        }
    }

    /// The same server and session with time until `deadline`, to tidy up when the step's is over.
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        Self {
            http: self.http.with_deadline(deadline),
            shared: Rc::clone(&self.shared),
            tidying_up: true,
        }
    }

    /// When everything must be over.
    pub fn deadline(&self) -> Instant {
        self.http.deadline()
    }

    /// Sends a call with the token. An ended login session is begun anew and the call repeated, which
    /// is safe for every call: one that is answered 401 did not run. What a server without its database
    /// answers is waited out until the deadline once the server has answered well, as far as the call only
    /// reads; other statuses are the caller's to judge.
    ///
    /// # Errors
    /// [`BackendError::Auth`] where the credentials are refused, else as [`Http::send`].
    pub async fn send(&self, call: Call<'_>) -> Result<Reply, BackendError> {
        let whole = async |request: Request<'_>| {
            let reply = self.http.send(request).await.map_err(unsent)?;
            Ok(((), reply))
        };
        let sent = self.send_as(&call, whole).await;
        sent.map(|((), reply)| reply)
            .map_err(|undelivered| undelivered.error)
    }

    /// As [`Rest::send`], for an answer that is taken apart as it comes: `None` where it is no success, and
    /// was read whole. A connection that breaks later is the caller's to repeat.
    ///
    /// # Errors
    /// As [`Rest::send`].
    pub async fn open(&self, call: Call<'_>) -> Result<(Option<Incoming>, Reply), BackendError> {
        let opened = async |request: Request<'_>| {
            let incoming = self.http.open(request).await.map_err(unsent)?;
            let head = incoming.head();
            if incoming.is_success() {
                return Ok((Some(incoming), head));
            }
            let reply = incoming.whole().await.map_err(unsent)?;
            Ok((None, reply))
        };
        let sent = self.send_as(&call, opened).await;
        sent.map_err(|undelivered| undelivered.error)
    }

    /// As [`Rest::send`], for a list that is the whole answer or stands under `items`: see [`Http::each`].
    ///
    /// # Errors
    /// As [`Rest::send`], and as [`Http::each`].
    pub async fn each<I: DeserializeOwned, T>(
        &self,
        call: Call<'_>,
        begin: impl Fn() -> T,
        mut each: impl FnMut(&mut T, I) -> Result<(), BackendError>,
    ) -> Result<(T, Reply), BackendError> {
        let read = async |request: Request<'_>| {
            let read = self
                .http
                .each(request, ITEMS, limits::ITEM.bytes, &begin, &mut each);
            read.await.map_err(unsent)
        };
        let sent = self.send_as(&call, read).await;
        sent.map_err(|undelivered| undelivered.error)
    }

    /// As [`Rest::send`], for the call that must not run twice: its answer is waited for until `answer_by`;
    /// `under_way` is true while it may have reached the server and its answer is not known.
    ///
    /// # Errors
    /// As [`Rest::send`], with whether the server may have acted.
    pub async fn dispatch(
        &self,
        call: Call<'_>,
        answer_by: Instant,
        under_way: &AtomicBool,
    ) -> Result<Reply, Undelivered> {
        let dispatched = async |request: Request<'_>| {
            let reply = self.http.dispatch(request, answer_by, under_way).await?;
            Ok(((), reply))
        };
        let sent = self.send_as(&call, dispatched).await;
        sent.map(|((), reply)| reply)
    }

    /// `ask` makes the request, and something of its answer.
    async fn send_as<T>(
        &self,
        call: &Call<'_>,
        mut ask: impl AsyncFnMut(Request<'_>) -> Result<(T, Reply), Undelivered>,
    ) -> Result<(T, Reply), Undelivered> {
        let mut path = vec!["api", "v1"];
        path.extend(call.path);
        let mut patience = Patience::until(self.http.deadline());
        loop {
            self.authenticate().await.map_err(unsent)?;
            let (token, logins) = match &self.shared.credentials {
                Credentials::Token(token) => (Some(token.clone()), 0),
                Credentials::Login { .. } => {
                    let session = self.session();
                    (session.token.clone(), session.logins)
                }
            };
            let request = Request {
                method: call.method,
                path: &path,
                query: call.query,
                body: call.body,
                bearer: token.as_ref(),
                repeat: call.repeat,
                max_bytes: call.max_bytes,
            };
            let (made, reply) = ask(request).await?;
            let (asked, status) = (&reply.asked, reply.status);
            let tell = || {
                if self.session().worked && !self.tidying_up {
                    self.warn_once(format!(
                        "{} answered {asked} with HTTP {status}; trying again until the deadline",
                        self.origin()
                    ));
                }
            };
            if status == 401 {
                let worth_a_pause = self.after_refusal(logins).await.map_err(unsent)?;
                if worth_a_pause && !patience.wait(tell).await {
                    return Err(unsent(self.refused_until_the_deadline()));
                }
                continue;
            }
            if call.patient && self.may_pass(&reply, &patience) && patience.wait(tell).await {
                continue;
            }
            if reply.is_success() {
                let mut session = self.session_mut();
                session.worked = true;
                session.environment_known |= call.path.contains(&self.environment());
            }
            return Ok((made, reply));
        }
    }

    /// Whether an answer may be that of a server without its database. Before it has ever answered well
    /// that is believed for a few tries only: osctrl answers 500 to mistakes, too.
    fn may_pass(&self, reply: &Reply, patience: &Patience) -> bool {
        let session = self.session();
        let may_pass = matches!(reply.status, 408 | 500);
        if is_unknown_environment(reply) && !session.environment_known {
            return false;
        }
        may_pass && (session.worked || patience.waited < TRIES)
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.shared.credentials
    }

    pub(super) fn session(&self) -> Ref<'_, Session> {
        self.shared.session.borrow()
    }

    pub(super) fn session_mut(&self) -> RefMut<'_, Session> {
        self.shared.session.borrow_mut()
    }

    pub(super) async fn login_lock(&self) -> MutexGuard<'_, ()> {
        self.shared.login.lock().await
    }

    /// A success as it is, anything else as the error that it means.
    ///
    /// # Errors
    /// [`BackendError::Auth`] for a level that is missing, [`BackendError::Targets`] for an unknown
    /// environment, [`BackendError::Answer`] for the rest.
    pub fn judge(&self, reply: Reply, purpose: Purpose) -> Result<Reply, BackendError> {
        if reply.is_success() {
            return Ok(reply);
        }
        // Seen with 400 and 500 (transcripts `nodes`, `query-bad-environment`): the words tell, not the status.
        if is_unknown_environment(&reply) {
            return Err(BackendError::Targets {
                message: format!(
                    "{} has no environment `{}`",
                    self.http.origin(),
                    self.shared.environment
                ),
                hint: Some("check `environment` in the step: it is the environment's name or uuid in osctrl; case matters (older servers know only the uuid)".into()),
            });
        }
        if reply.status == 403 {
            let who = match self.shared.credentials {
                Credentials::Token(_) => "the token's user",
                Credentials::Login { .. } => "the user",
            };
            return Err(BackendError::Auth {
                message: format!(
                    "{who} may not {} in the environment `{}` of {}{}",
                    purpose.what,
                    self.shared.environment,
                    self.http.origin(),
                    self.words(&reply)
                ),
                hint: Some(format!(
                    "give that user osctrl's level `{}` in this environment",
                    purpose.level
                )),
            });
        }
        Err(self.failed(&reply))
    }

    /// An answer that is no success and has no meaning of its own.
    pub(super) fn failed(&self, reply: &Reply) -> BackendError {
        BackendError::Answer {
            status: Some(reply.status),
            message: format!(
                "{} answered {} with HTTP {}{}",
                self.http.origin(),
                reply.asked,
                reply.status,
                self.words(reply)
            ),
            hint: match reply.status {
                404 => Some("check that `base_url` is the address of osctrl's API".into()),
                500..=599 => Some("osctrl's log says more".into()),
                _ => None,
            },
        }
    }

    /// `: "the server's own words"`, or nothing where it gave none or a web page.
    pub fn words(&self, reply: &Reply) -> String {
        let text = error_of(reply).unwrap_or_else(|| {
            Some(reply.text())
                .filter(|text| !text.trim_start().starts_with(['<', '{', '[']))
                .unwrap_or_default()
        });
        let text = self.shown(&text);
        if text.is_empty() {
            String::new()
        } else {
            format!(": \"{text}\"")
        }
    }
}

fn unsent(error: BackendError) -> Undelivered {
    Undelivered {
        error,
        may_have_arrived: false,
    }
}

/// The `error` of a refusal.
pub fn error_of(reply: &Reply) -> Option<String> {
    reply
        .json::<wire::Refusal>()
        .ok()
        .map(|refusal| refusal.error)
}

/// Whether a refusal says that the environment does not exist.
pub fn is_unknown_environment(reply: &Reply) -> bool {
    let error = error_of(reply);
    matches!(
        error.as_deref(),
        Some("error getting environment" | "environment not found")
    )
}
