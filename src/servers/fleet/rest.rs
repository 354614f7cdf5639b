//! Fleet's REST calls, one function a call, and what its refusals mean to the person who wrote the
//! step. Knows nothing of the results socket or of who has answered.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::wire::{self, HostsPage, Label, LabelsSummary, LoggedIn, Me, Started};
use crate::notices::Notices;
use crate::secret::Secret;
use crate::servers::BackendError;
use crate::servers::http::{Http, Method, Repeat, Reply, Request, Undelivered};
use crate::step::model::Credentials;

/// Answers about users, labels and campaigns are small.
const SMALL_ANSWER_BYTES: usize = 1024 * 1024;
/// A page of hosts: 500 of them take 0.75 MB without labels and software, and teams may double that.
const PAGE_BYTES: usize = 32 * 1024 * 1024;

/// Roles that may read but not run ad-hoc SQL (transcript `roles`: an observer gets 403).
const READING_ROLES: &[&str] = &["observer", "gitops"];
const ROLES_HINT: &str = "give the user one of the roles maintainer, admin or observer+ (an observer may read hosts, but not run a query that is not saved)";

/// One Fleet server, as one user.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub(super) http: Http,
    credentials: Credentials,
    /// The token that a login gave; ended by [`Rest::logout`].
    session: Option<Secret>,
}

/// Where a campaign is started; renamed in 2026, the old address stays for a while as an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunPath {
    /// `/queries/run`
    Queries,
    /// `/reports/run`
    Reports,
}

impl RunPath {
    fn folder(self) -> &'static str {
        match self {
            Self::Queries => "queries",
            Self::Reports => "reports",
        }
    }
}

/// A campaign that the server has created.
#[derive(Debug, Clone, Copy)]
pub(super) struct Created {
    pub(super) id: u64,
    /// Hosts in it, where the server says so.
    pub(super) hosts: Option<u64>,
    pub(super) path: RunPath,
}

/// What was asked for, for the words of a refusal.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Login,
    /// Reading something: `hosts`, `labels`.
    Read(&'static str),
    Run,
}

impl Rest {
    pub(super) fn new(http: Http, credentials: Credentials) -> Self {
        Self {
            http,
            credentials,
            session: None,
        }
    }

    /// The server, for messages.
    pub(super) fn server(&self) -> String {
        format!("Fleet at {}", self.http.origin())
    }

    /// What the session tells; a login's token is a secret that the step never held, and is learnt.
    pub(super) fn notices(&self) -> &Notices {
        self.http.notices()
    }

    /// Foreign text as it may be shown.
    pub(super) fn shown(&self, text: &str) -> String {
        self.http.shown(text)
    }

    /// The token of the header and of the socket's first message.
    pub(super) fn token(&self) -> Result<&Secret, BackendError> {
        match (&self.credentials, &self.session) {
            (Credentials::Token(token), _) | (_, Some(token)) => Ok(token),
            (Credentials::Login { .. }, None) => Err(BackendError::Auth {
                message: format!("there is no session with {}", self.server()),
                hint: None,
            }),
        }
    }

    /// Logs in where the credentials are a user's.
    pub(super) async fn login(&mut self) -> Result<(), BackendError> {
        let Credentials::Login { username, password } = &self.credentials else {
            return Ok(());
        };
        // The field is `email`, whatever the step calls it.
        let body = json!({"email": username.expose(), "password": password.expose()});
        let reply = self
            .http
            .send(Request {
                method: Method::Post,
                path: &["api", "v1", "fleet", "login"],
                query: &[],
                body: Some(&body),
                bearer: None,
                repeat: Repeat::Safe,
                max_bytes: SMALL_ANSWER_BYTES,
            })
            .await?;
        if !reply.is_success() {
            return Err(self.refusal(&reply, Purpose::Login));
        }
        let Some(token) = reply
            .json::<LoggedIn>()?
            .token
            .0
            .filter(|it| !it.is_empty())
        else {
            // 202: a link was sent by mail.
            let message = match reply.status {
                202 => "wants a second factor before it lets this user in",
                _ => "answered the login without a token",
            };
            return Err(BackendError::Auth {
                message: format!("{} {message} (HTTP {})", self.server(), reply.status),
                hint: Some("use the `api_token` of an API-only user".into()),
            });
        };
        let token = Secret::new(token);
        self.notices().learn(&token);
        self.session = Some(token);
        Ok(())
    }

    /// Ends the login's session, if there is one. Failures are only logged: sessions expire by themselves.
    pub(super) async fn logout(&mut self, by: Instant) {
        let Some(session) = self.session.take() else {
            return;
        };
        let (http, body) = (self.http.with_deadline(by), json!({}));
        let reply = http.send(Request {
            method: Method::Post,
            path: &["api", "v1", "fleet", "logout"],
            query: &[],
            body: Some(&body),
            bearer: Some(&session),
            repeat: Repeat::Safe,
            max_bytes: SMALL_ANSWER_BYTES,
        });
        match tokio::time::timeout_at(by, reply).await {
            Ok(Ok(reply)) => self
                .http
                .notices()
                .debug(|| format!("logged out: HTTP {}", reply.status)),
            Ok(Err(error)) => self
                .http
                .notices()
                .debug(|| format!("the logout failed: {error}")),
            Err(_) => self
                .http
                .notices()
                .debug(|| "the logout was not answered in time".into()),
        }
    }

    /// Proves that the credentials are good, may run live queries, and that the server can.
    pub(super) async fn verify(&self) -> Result<(), BackendError> {
        let me: Me = self
            .get(&["api", "v1", "fleet", "me"], &[], Purpose::Read("itself"))
            .await?;
        let user = me.user;
        if user.force_password_reset.0 == Some(true) {
            return Err(self.reset_required(""));
        }
        let teams = user.teams.0.unwrap_or_default();
        let roles: Vec<String> = user
            .global_role
            .0
            .into_iter()
            .chain(teams.into_iter().filter_map(|team| team.role.0))
            .collect();
        // A role that is not known here may be allowed to: the server will say.
        if !roles.is_empty()
            && roles
                .iter()
                .all(|role| READING_ROLES.contains(&role.as_str()))
        {
            return Err(BackendError::Auth {
                message: format!(
                    "{} does not let this user run live queries: its role is {}",
                    self.server(),
                    self.shown(&roles[0])
                ),
                hint: Some(ROLES_HINT.into()),
            });
        }
        let path = ["api", "v1", "fleet", "status", "live_query"];
        let reply = self.reply(&path, &[], SMALL_ANSWER_BYTES).await?;
        match reply.status {
            // Older servers, and roles that may not look, have no answer to it.
            200..=299 | 403 | 404 => Ok(()),
            _ => {
                let mut error = self.refusal(&reply, Purpose::Read("its live-query status"));
                if let BackendError::Answer { message, hint, .. } = &mut error {
                    *message = format!("live queries do not work on this server: {message}");
                    *hint = Some(
                        "Fleet needs its Redis for live queries: look at the server's log".into(),
                    );
                }
                Err(error)
            }
        }
    }

    /// All labels, without their members.
    pub(super) async fn labels(&self) -> Result<Vec<Label>, BackendError> {
        let path = ["api", "v1", "fleet", "labels", "summary"];
        let summary: LabelsSummary = self.get(&path, &[], Purpose::Read("labels")).await?;
        Ok(summary.labels)
    }

    /// One page of hosts: those that a search finds, a label's members, or all.
    pub(super) async fn hosts(
        &self,
        of: HostsOf<'_>,
        page: usize,
        per_page: usize,
    ) -> Result<HostsPage, BackendError> {
        let (page, per_page) = (page.to_string(), per_page.to_string());
        let mut query = vec![
            ("page", page.as_str()),
            ("per_page", per_page.as_str()),
            ("order_key", "id"),
        ];
        let id;
        let path: &[&str] = match of {
            HostsOf::All => &["api", "v1", "fleet", "hosts"],
            HostsOf::Search(name) => {
                query.insert(0, ("query", name));
                &["api", "v1", "fleet", "hosts"]
            }
            HostsOf::Label(label) => {
                id = label.to_string();
                &["api", "v1", "fleet", "labels", id.as_str(), "hosts"]
            }
        };
        self.get(path, &query, Purpose::Read("hosts")).await
    }

    /// Starts a campaign for exactly these hosts. Not repeated once it may have arrived. No borrow is
    /// kept, so that the call can outlive the future that waits for it.
    pub(super) fn run(
        &self,
        sql: &str,
        hosts: &[u64],
        known: Option<RunPath>,
        answer_by: Instant,
        under_way: Arc<AtomicBool>,
    ) -> impl Future<Output = Result<Created, Undelivered>> + Send + use<> {
        let rest = self.clone();
        let body = json!({
            "query": sql,
            "selected": {"hosts": hosts, "labels": [], "teams": []},
        });
        async move {
            let arrived = |error| Undelivered {
                error,
                may_have_arrived: true,
            };
            let refused = |error| Undelivered {
                error,
                may_have_arrived: false,
            };
            let mut path = known.unwrap_or(RunPath::Queries);
            let reply = loop {
                let reply = rest
                    .http
                    .dispatch(
                        Request {
                            method: Method::Post,
                            path: &["api", "v1", "fleet", path.folder(), "run"],
                            query: &[],
                            body: Some(&body),
                            bearer: Some(rest.token().map_err(refused)?),
                            repeat: Repeat::Unsent,
                            max_bytes: SMALL_ANSWER_BYTES,
                        },
                        answer_by,
                        &under_way,
                    )
                    .await?;
                if reply.status == 404 && known.is_none() && path == RunPath::Queries {
                    path = RunPath::Reports;
                } else {
                    break reply;
                }
            };
            if !reply.is_success() {
                let error = rest.refusal(&reply, Purpose::Run);
                return Err(if reply.status >= 500 {
                    arrived(error)
                } else {
                    refused(error)
                });
            }
            let campaign = reply.json::<Started>().map_err(arrived)?.campaign;
            Ok(Created {
                id: campaign.id,
                hosts: campaign.metrics.0.and_then(|metrics| metrics.total_hosts.0),
                path,
            })
        }
    }

    /// Asks one host and waits for it, as long as the server does.
    pub(super) async fn ask_one(
        &self,
        host: OneHost<'_>,
        sql: &str,
        max_bytes: usize,
    ) -> Result<Reply, BackendError> {
        let path: &[&str] = match host {
            OneHost::Id(id) => &["api", "v1", "fleet", "hosts", id, "query"],
            OneHost::Uuid(uuid) => &["api", "v1", "fleet", "hosts", "identifier", uuid, "query"],
        };
        self.http
            .send(Request {
                method: Method::Post,
                path,
                query: &[],
                body: Some(&json!({ "query": sql })),
                bearer: Some(self.token()?),
                // The query only reads: asking again does no harm.
                repeat: Repeat::Safe,
                max_bytes,
            })
            .await
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        purpose: Purpose,
    ) -> Result<T, BackendError> {
        let reply = self.reply(path, query, PAGE_BYTES).await?;
        if reply.is_success() {
            reply.json()
        } else {
            Err(self.refusal(&reply, purpose))
        }
    }

    async fn reply(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        max_bytes: usize,
    ) -> Result<Reply, BackendError> {
        self.http
            .send(Request {
                method: Method::Get,
                path,
                query,
                body: None::<&Value>,
                bearer: Some(self.token()?),
                repeat: Repeat::Safe,
                max_bytes,
            })
            .await
    }

    /// What a status that is no success means.
    pub(super) fn refusal(&self, reply: &Reply, purpose: Purpose) -> BackendError {
        let said = wire::reason(&reply.text()).map(|text| self.shown(&text));
        let status = match &said {
            Some(text) => format!("HTTP {}: {text}", reply.status),
            None => format!("HTTP {}", reply.status),
        };
        let said = said.unwrap_or_default();
        match (reply.status, purpose) {
            // "password reset required" (wire notes, Authentication).
            (401, _) if said.to_ascii_lowercase().contains("password reset") => {
                self.reset_required(&format!(" ({status})"))
            }
            (401, _) => self.unauthorized(&status, purpose),
            (403, Purpose::Run) => self.may_not_run(&status),
            (403, Purpose::Login) => self.unauthorized(&status, purpose),
            (403, Purpose::Read(what)) => BackendError::Auth {
                message: format!("{} does not let this user read {what} ({status})", self.server()),
                hint: Some(ROLES_HINT.into()),
            },
            (400, Purpose::Run) if said.contains("no hosts targeted") => BackendError::Targets {
                message: format!("{} has none of the targeted hosts any more ({status})", self.server()),
                hint: Some("the hosts were deleted, or this user lost sight of them, since they were found a moment ago".into()),
            },
            (code, _) => BackendError::Answer {
                status: Some(code),
                message: format!("{} answered {} with {status}", self.server(), reply.asked),
                hint: match code {
                    404 | 405 => Some("check that `backend` is right, and that `base_url` is the server's own address, without the path of an API or a page".into()),
                    500..=599 => Some("the server's log says more".into()),
                    _ => None,
                },
            },
        }
    }

    /// The credentials are not good; `status` says how that was said.
    pub(super) fn unauthorized(&self, status: &str, purpose: Purpose) -> BackendError {
        let (what, hint) = match (&self.credentials, purpose) {
            (Credentials::Token(_), _) => (
                "the API token",
                "check the secret that `api_token` names: the token may be revoked, or another server's",
            ),
            (Credentials::Login { .. }, Purpose::Login) => (
                "the username or the password",
                "`username` is the e-mail address of a Fleet user; a user who signs in through SSO needs an `api_token`",
            ),
            (Credentials::Login { .. }, _) => (
                "the session that it opened for `username`",
                "the session was ended while the step ran: run the step again",
            ),
        };
        BackendError::Auth {
            message: format!("{} refused {what} ({status})", self.server()),
            hint: Some(hint.into()),
        }
    }

    /// The role is not enough for a live query.
    pub(super) fn may_not_run(&self, status: &str) -> BackendError {
        BackendError::Auth {
            message: format!(
                "{} does not let this user run live queries on these hosts ({status})",
                self.server()
            ),
            hint: Some(ROLES_HINT.into()),
        }
    }

    fn reset_required(&self, status: &str) -> BackendError {
        BackendError::Auth {
            message: format!(
                "{} lets this user do nothing until its password is reset{status}",
                self.server()
            ),
            hint: Some("sign in to Fleet as this user and set a new password, or use the `api_token` of an API-only user".into()),
        }
    }
}

/// Which hosts a list holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum HostsOf<'a> {
    All,
    /// A part of hostname, uuid, serial or address, whatever the case.
    Search(&'a str),
    /// A label's members, by its id.
    Label(u64),
}

/// How one host is addressed.
#[derive(Debug, Clone, Copy)]
pub(super) enum OneHost<'a> {
    Id(&'a str),
    Uuid(&'a str),
}
