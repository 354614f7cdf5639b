//! osctrl's calls: the environment's paths, the token or the login, and refusals in the user's words.
//! Knows nothing of hosts' names or of a campaign's progress.

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;

use futures_util::lock::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::wire;
use crate::notices::Notices;
use crate::secret::Secret;
use crate::servers::BackendError;
use crate::servers::http::{Http, Method, Repeat, Reply, Request, Undelivered};
use crate::step::model::{Credentials, Server};

/// Two steps that log in as one user end each other's token again and again: so many logins, then it
/// is an error. (osctrl itself allows ten a minute from one address: transcript `login-limits`.)
const MOST_LOGINS: u32 = 3;
/// Bytes of an answer that is a status or a refusal.
pub const SMALL: usize = 1024 * 1024;

/// One environment of one osctrl server.
pub struct Rest {
    http: Http,
    environment: String,
    credentials: Credentials,
    session: RefCell<Session>,
    /// Held while somebody logs in: calls that run at the same time must not end each other's token.
    login: Mutex<()>,
}

/// The login session, where the credentials are a user's.
#[derive(Default)]
struct Session {
    token: Option<Secret>,
    logins: u32,
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
            max_bytes,
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
    pub fn new(server: &Server, http: Http) -> Self {
        Self {
            http,
            environment: server.environment.clone().unwrap_or_default(),
            credentials: server.credentials.clone(),
            session: RefCell::default(),
            login: Mutex::new(()),
        }
    }

    /// The environment, as the step names it.
    pub fn environment(&self) -> &str {
        &self.environment
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

    /// The same server and session with time until `deadline`, to tidy up when the step's is over.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.http = self.http.with_deadline(deadline);
    }

    /// Logs in where the credentials are a user's and nobody has yet.
    ///
    /// # Errors
    /// [`BackendError::Auth`] where the login is refused, else as [`Http::send`].
    pub async fn authenticate(&self) -> Result<(), BackendError> {
        let logins = self.session.borrow().logins;
        match &self.credentials {
            Credentials::Login { username, password } if logins == 0 => {
                self.log_in(username, password, 0).await
            }
            _ => Ok(()),
        }
    }

    /// Sends a call with the token; an ended login session is begun anew and the call repeated, which
    /// is safe for every call: one that is answered 401 did not run.
    ///
    /// # Errors
    /// [`BackendError::Auth`] where the token is refused, else as [`Http::send`].
    pub async fn send(&self, call: Call<'_>) -> Result<Reply, BackendError> {
        let sent = self.send_as(&call, None).await;
        sent.map_err(|undelivered| undelivered.error)
    }

    /// As [`Rest::send`], for the call that must not run twice; `under_way` is true while it may have
    /// reached the server and its answer is not known.
    ///
    /// # Errors
    /// As [`Rest::send`], with whether the server may have acted.
    pub async fn dispatch(
        &self,
        call: Call<'_>,
        under_way: &AtomicBool,
    ) -> Result<Reply, Undelivered> {
        self.send_as(&call, Some(under_way)).await
    }

    async fn send_as(
        &self,
        call: &Call<'_>,
        under_way: Option<&AtomicBool>,
    ) -> Result<Reply, Undelivered> {
        let unsent = |error| Undelivered {
            error,
            may_have_arrived: false,
        };
        let mut path = vec!["api", "v1"];
        path.extend(call.path);
        loop {
            self.authenticate().await.map_err(unsent)?;
            let (token, logins) = match &self.credentials {
                Credentials::Token(token) => (Some(token.clone()), 0),
                Credentials::Login { .. } => {
                    let session = self.session.borrow();
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
            let reply = match under_way {
                Some(under_way) => {
                    let deadline = self.http.deadline();
                    self.http.dispatch(request, deadline, under_way).await?
                }
                None => self.http.send(request).await.map_err(unsent)?,
            };
            match &self.credentials {
                _ if reply.status != 401 => return Ok(reply),
                Credentials::Token(_) => return Err(unsent(self.refused_token())),
                Credentials::Login { username, password } => {
                    let renewed = self.log_in(username, password, logins).await;
                    renewed.map_err(unsent)?;
                }
            }
        }
    }

    fn refused_token(&self) -> BackendError {
        BackendError::Auth {
            message: format!(
                "{} does not accept the token (HTTP 401)",
                self.http.origin()
            ),
            hint: Some("look at the secret that `api_token` names: the token may have expired, or belong to another server; a login of the same user ends it too".into()),
        }
    }

    /// Logs in, unless somebody else did since there were `logins` of them.
    async fn log_in(
        &self,
        username: &Secret,
        password: &Secret,
        logins: u32,
    ) -> Result<(), BackendError> {
        let _one_at_a_time = self.login.lock().await;
        if self.session.borrow().logins != logins {
            return Ok(());
        }
        if logins >= MOST_LOGINS {
            return Err(BackendError::Auth {
                message: format!(
                    "{} ended the login session {MOST_LOGINS} times in one run",
                    self.http.origin()
                ),
                hint: Some("a login ends the earlier ones of the same user: give each step its own user, or use `api_token` instead of `username` and `password`".into()),
            });
        }
        if logins > 0 {
            self.http.notices().warn(format!("{} ended the login session (another login of the same user does that); logging in again. Tokens (`api_token`) do not have this weakness",
                self.http.origin()));
        }
        let body = wire::login(username.expose(), password.expose());
        // Not /login/{env}: that is for admins only (transcript `least-privilege`).
        let reply = self
            .http
            .send(Request {
                method: Method::Post,
                path: &["api", "v1", "login"],
                query: &[],
                body: Some(&body),
                bearer: None,
                // A second login ends only the first, which nobody has used.
                repeat: Repeat::Safe,
                max_bytes: SMALL,
            })
            .await?;
        if matches!(reply.status, 401 | 403) {
            return Err(BackendError::Auth {
                message: format!(
                    "{} refused the login{}",
                    self.http.origin(),
                    self.words(&reply)
                ),
                hint: Some("check `username` and `password`, or the secrets that they name".into()),
            });
        }
        if !reply.is_success() {
            return Err(self.failed(&reply));
        }
        let token = reply.json::<wire::LoggedIn>()?.token.unwrap_or_default();
        if token.is_empty() {
            return Err(BackendError::Auth {
                message: format!("{} answered the login without a token", self.http.origin()),
                hint: Some("a user with a second factor can't log in here: use `api_token`".into()),
            });
        }
        let mut session = self.session.borrow_mut();
        let token = Secret::new(token);
        self.http.notices().learn(&token);
        session.token = Some(token);
        session.logins += 1;
        Ok(())
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
                    self.environment
                ),
                hint: Some("check `environment` in the step: it is the environment's name or uuid in osctrl, upper and lower case told apart (older servers know only the uuid)".into()),
            });
        }
        if reply.status == 403 {
            let who = match self.credentials {
                Credentials::Token(_) => "the token's user",
                Credentials::Login { .. } => "the user",
            };
            return Err(BackendError::Auth {
                message: format!(
                    "{who} may not {} in the environment `{}` of {}{}",
                    purpose.what,
                    self.environment,
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
    fn failed(&self, reply: &Reply) -> BackendError {
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
