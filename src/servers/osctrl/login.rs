//! Who calls: the token or the login session, and what a refusal of either means. A refusal is no proof:
//! osctrl refuses good credentials, too, while its database is away.

use std::time::Duration;

use tokio::time::Instant;

use super::rest::{Rest, SMALL};
use super::wire;
use crate::secret::Secret;
use crate::servers::BackendError;
use crate::servers::http::{Method, Repeat, Request};
use crate::step::model::Credentials;

/// Two steps that log in as one user end each other's token again and again: so many logins, then it
/// is an error. (osctrl itself allows ten a minute from one address: transcript `login-limits`.)
const MOST_LOGINS: u32 = 3;
/// Pauses between logins that are refused grow from the first to the second: at most eight a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What is known of the credentials.
#[derive(Default)]
pub(super) struct Session {
    /// The login session's token, where the credentials are a user's.
    pub token: Option<Secret>,
    /// Logins that succeeded.
    pub logins: u32,
    /// Whether a call with the token has succeeded.
    pub worked: bool,
    /// Whether the server has shown that it knows the environment.
    pub environment_known: bool,
    /// No login before this moment, and the pause that led to it.
    not_before: Option<(Instant, Duration)>,
}

impl Session {
    fn may_log_in(&self) -> bool {
        self.not_before.is_none_or(|(at, _)| Instant::now() >= at)
    }

    fn put_off_login(&mut self) {
        let pause = self
            .not_before
            .map_or(FIRST_PAUSE, |(_, pause)| (pause * 2).min(LONGEST_PAUSE));
        self.not_before = Some((Instant::now() + pause, pause));
    }
}

/// Why there is no session.
struct NoLogin {
    error: BackendError,
    /// Whether a server without its database says the same.
    may_pass: bool,
}

impl Rest {
    /// Logs in where the credentials are a user's and nobody has yet.
    ///
    /// # Errors
    /// [`BackendError::Auth`] where the login is refused, else as [`Rest::send`].
    pub async fn authenticate(&self) -> Result<(), BackendError> {
        let logins = self.session().logins;
        match self.credentials() {
            Credentials::Login { username, password } if logins == 0 => {
                let logged_in = self.log_in(username, password, 0).await;
                logged_in.map_err(|no_login| no_login.error)
            }
            _ => Ok(()),
        }
    }

    /// What follows from a 401 to a call that was made after so many logins: whether it is worth a pause
    /// before the next try.
    ///
    /// # Errors
    /// [`BackendError::Auth`] where the credentials never worked.
    pub(super) async fn after_refusal(&self, logins: u32) -> Result<bool, BackendError> {
        let Credentials::Login { username, password } = self.credentials() else {
            return match self.session().worked {
                true => Ok(true),
                false => Err(self.refused_token()),
            };
        };
        if self.session().logins == logins && !self.session().may_log_in() {
            return Ok(true);
        }
        match self.log_in(username, password, logins).await {
            Ok(()) => Ok(false),
            // It let this user in before.
            Err(NoLogin { may_pass: true, .. }) => {
                self.session_mut().put_off_login();
                Ok(true)
            }
            Err(no_login) => Err(no_login.error),
        }
    }

    fn refused_token(&self) -> BackendError {
        BackendError::Auth {
            message: format!("{} does not accept the token (HTTP 401)", self.origin()),
            hint: Some("look at the secret that `api_token` names: the token may have expired, or belong to another server; a login of the same user ends it too. If it is good, osctrl's database is down: osctrl then says the same".into()),
        }
    }

    /// The credentials worked, and then did not until the deadline.
    pub(super) fn refused_until_the_deadline(&self) -> BackendError {
        let (what, ended) = match self.credentials() {
            Credentials::Token(_) => (
                "the token that worked before",
                "the token has expired, or a login of the same user has ended it",
            ),
            Credentials::Login { .. } => (
                "the user that had logged in",
                "the user was removed or has another password",
            ),
        };
        BackendError::Auth {
            message: format!(
                "{} has not accepted {what} (HTTP 401) until the deadline",
                self.origin()
            ),
            hint: Some(format!(
                "either {ended}, or osctrl's database is down: osctrl then says the same"
            )),
        }
    }

    /// Logs in, unless somebody else did since there were `logins` of them.
    async fn log_in(
        &self,
        username: &Secret,
        password: &Secret,
        logins: u32,
    ) -> Result<(), NoLogin> {
        let believed = |error| NoLogin {
            error,
            may_pass: false,
        };
        let _one_at_a_time = self.login_lock().await;
        if self.session().logins != logins {
            return Ok(());
        }
        if logins >= MOST_LOGINS {
            return Err(believed(BackendError::Auth {
                message: format!(
                    "{} ended the login session {MOST_LOGINS} times in one run",
                    self.origin()
                ),
                hint: Some("a login ends the earlier ones of the same user: give each step its own user, or use `api_token` instead of `username` and `password`".into()),
            }));
        }
        let body = wire::login(username.expose(), password.expose());
        // Not /login/{env}: that is for admins only (transcript `least-privilege`).
        let reply = self
            .http()
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
            .await
            .map_err(believed)?;
        let may_pass = logins > 0;
        match reply.status {
            401 | 403 => {
                return Err(NoLogin {
                    error: BackendError::Auth {
                        message: format!(
                            "{} refused the login{}",
                            self.origin(),
                            self.words(&reply)
                        ),
                        hint: Some("check `username` and `password`, or the secrets that they name. If they are right, osctrl's database is down: osctrl then says the same".into()),
                    },
                    may_pass,
                });
            }
            408 | 500 => {
                return Err(NoLogin {
                    error: self.failed(&reply),
                    may_pass,
                });
            }
            _ if !reply.is_success() => return Err(believed(self.failed(&reply))),
            _ => {}
        }
        let answer: wire::LoggedIn = reply.json().map_err(believed)?;
        let Some(token) = answer.token.filter(|token| !token.is_empty()) else {
            return Err(believed(
                self.no_token(answer.mfa_required || answer.mfa_enrollment_required),
            ));
        };
        if logins > 0 {
            self.notices().warn(format!("{} ended the login session (another login of the same user does that); logged in again. Tokens (`api_token`) do not have this weakness",
                self.origin()));
        }
        let token = Secret::new(token);
        self.notices().learn(&token);
        let mut session = self.session_mut();
        session.token = Some(token);
        session.logins += 1;
        session.not_before = None;
        Ok(())
    }

    fn no_token(&self, mfa_required: bool) -> BackendError {
        if mfa_required {
            return BackendError::Auth {
                message: format!(
                    "{} asks this user for a second factor, which nobody can give here",
                    self.origin()
                ),
                hint: Some("use an API token (`api_token`) instead of `username` and `password`, or a service user: these need no second factor".into()),
            };
        }
        BackendError::Auth {
            message: format!("{} answered the login without a token", self.origin()),
            hint: Some("use an API token (`api_token`) instead of `username` and `password`, and look at osctrl's log".into()),
        }
    }
}
