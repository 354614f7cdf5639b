//! Fleet's REST calls, one function a call. A part of the server that is away is waited for where asking
//! again is safe. Knows nothing of the results socket or of who has answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::patience::Patience;
use super::refusal::{is_reset, lacks_endpoint};
use super::saved::Way;
use super::wire::usual;
use super::wire::{
    AroundHosts, Config, Label, LabelsSummary, ListedHost, LoggedIn, Me, OneListed, SavedListed,
    SavedPage, Started, Team, TeamsPage,
};
use crate::notices::Notices;
use crate::secret::Secret;
use crate::servers::BackendError;
use crate::servers::http::{
    Http, Incoming, Item, List, Method, Repeat, Reply, Request, Undelivered, limits,
};
use crate::step::model::Credentials;

/// Answers about users, labels and campaigns are small.
const SMALL_ANSWER_BYTES: usize = limits::SMALL.bytes;
/// Labels and settings may be more.
const WHOLE_BYTES: usize = limits::WHOLE.bytes;
/// The filter of the list of hosts.
const MISSING: (&str, &str) = ("status", "missing");
/// Hosts of one page at most: of those beyond what was asked for nothing is wanted.
const MOST_OF_PAGE: usize = 10_000;

/// What a user may do with live queries, as far as its roles tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// Anything, or a role that is not known here: the server will say.
    Run,
    /// Saved queries that are open to observers (transcript `observer-saved-query`).
    RunSaved,
}

/// One Fleet server, as one user.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub(super) http: Http,
    credentials: Credentials,
    /// The token that a login gave; ended by [`Rest::logout`].
    session: Option<Secret>,
    known: Arc<Known>,
}

/// What is learnt of the server on the way; the same for all clones.
#[derive(Debug, Default)]
struct Known {
    spelling: OnceLock<Spelling>,
    /// The credentials were good at least once.
    worked: AtomicBool,
    /// It was said that a part of the server is waited for.
    waiting: AtomicBool,
}

/// How the server spells what live queries need: since Fleet 4.82 queries are reports. The old paths are
/// separate aliases, for unrestricted tokens only; each path goes with its own names (wire notes, Targets).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `/reports`
    Reports,
    /// `/queries`
    Queries,
}

impl Spelling {
    /// The newer first.
    const ALL: [Self; 2] = [Self::Reports, Self::Queries];

    fn folder(self) -> &'static str {
        match self {
            Self::Reports => "reports",
            Self::Queries => "queries",
        }
    }

    /// The folder of teams, and the parameter that names one.
    fn teams(self) -> (&'static str, &'static str) {
        match self {
            Self::Reports => ("fleets", "fleet_id"),
            Self::Queries => ("teams", "team_id"),
        }
    }

    /// The field that names a saved query.
    fn id(self) -> &'static str {
        match self {
            Self::Reports => "report_id",
            Self::Queries => "query_id",
        }
    }
}

/// A campaign that the server has created.
#[derive(Debug, Clone, Copy)]
pub(super) struct Created {
    pub(super) id: u64,
    /// Hosts in it, where the server says so.
    pub(super) hosts: Option<u64>,
}

/// A campaign that was not started, or of which nobody knows.
#[derive(Debug)]
pub(super) struct NotRun {
    pub(super) error: BackendError,
    pub(super) why: Why,
    /// Whether the server may have received the dispatch and acted on it.
    pub(super) may_have_arrived: bool,
}

/// What a look at the server found.
#[derive(Debug)]
pub(super) enum Look {
    /// It is there.
    There,
    /// It, or a part of it, is not there now.
    Away(BackendError),
    /// Looking again would not help.
    Final(BackendError),
}

/// What a dispatch that failed means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It was not started since a part of the server is down: the next one may be.
    Away,
    /// The answer was lost, or the server broke over it.
    Unknown,
    /// The user's role may not run it.
    Role,
    /// Asking again would not help.
    Final,
}

impl From<BackendError> for NotRun {
    fn from(error: BackendError) -> Self {
        Self {
            error,
            why: Why::Final,
            may_have_arrived: false,
        }
    }
}

impl From<Undelivered> for NotRun {
    fn from(undelivered: Undelivered) -> Self {
        let broke = !matches!(undelivered.error, BackendError::Answer { status: None, .. });
        Self {
            // What can't have arrived was tried until the deadline, or can't be sent at all.
            why: if undelivered.may_have_arrived && broke {
                Why::Unknown
            } else {
                Why::Final
            },
            may_have_arrived: undelivered.may_have_arrived,
            error: undelivered.error,
        }
    }
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
            known: Arc::default(),
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

    /// As whom.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whether the credentials were good at least once.
    pub(super) fn worked(&self) -> bool {
        self.known.worked.load(Ordering::Relaxed)
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
            .patiently(Request {
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

    /// Proves that the credentials are good, may run live queries of some kind, and that the server can.
    pub(super) async fn verify(&self) -> Result<May, BackendError> {
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
        let all_are = |known: &[&str]| {
            !roles.is_empty() && roles.iter().all(|role| known.contains(&role.as_str()))
        };
        if all_are(&["gitops"]) {
            return Err(BackendError::Auth {
                message: format!(
                    "{} does not let this user run live queries: its role is gitops",
                    self.server()
                ),
                hint: Some(super::refusal::ROLES_HINT.into()),
            });
        }
        let may = match all_are(&["observer", "gitops"]) {
            true => May::RunSaved,
            false => May::Run,
        };
        let path = ["api", "v1", "fleet", "status", "live_query"];
        // Not patiently: it is what a check is to find.
        let reply = self
            .http
            .send(self.getting(&path, &[], SMALL_ANSWER_BYTES)?)
            .await?;
        match reply.status {
            // Older servers, and tokens that may not look, have no answer to it.
            200..=299 | 403 | 404 => Ok(may),
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

    /// All teams that this user sees. None that are licensed is a refusal.
    pub(super) async fn teams(&self) -> Result<Vec<Team>, BackendError> {
        for spelling in self.spellings() {
            let path = ["api", "v1", "fleet", spelling.teams().0];
            let reply = self.reply(&path, &[], WHOLE_BYTES).await?;
            if self.spells(*spelling, &reply) {
                return match reply.status {
                    200..=299 => Ok(reply.json::<TeamsPage>()?.teams()),
                    402 => Err(BackendError::Targets {
                        message: format!("{} has no teams: {}", self.server(), self.said(&reply)),
                        hint: Some(
                            "name hosts in `target_hosts` or labels in `target_labels`".into(),
                        ),
                    }),
                    _ => Err(self.refusal(&reply, Purpose::Read("teams"))),
                };
            }
        }
        Err(never_asked())
    }

    /// The host with this id; `None` where there is none, or this user can't see it.
    pub(super) async fn host(&self, id: u64) -> Result<Option<ListedHost>, BackendError> {
        let id = id.to_string();
        let path = ["api", "v1", "fleet", "hosts", &id];
        let query = [("exclude_software", "true")];
        let reply = self.reply(&path, &query, WHOLE_BYTES).await?;
        match reply.status {
            200..=299 => Ok(Some(reply.json::<OneListed>()?.host)),
            404 => Ok(None),
            _ => Err(self.refusal(&reply, Purpose::Read("hosts"))),
        }
    }

    /// One page of hosts: those that a search finds, a label's members, or all.
    pub(super) async fn hosts(
        &self,
        of: HostsOf<'_>,
        page: usize,
        per_page: usize,
    ) -> Result<Vec<ListedHost>, BackendError> {
        let (asked, page, per_page) = (per_page, page.to_string(), per_page.to_string());
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
            HostsOf::Team(team) | HostsOf::Missing(Some(team)) => {
                // Which teams there are was asked before: the spelling is known.
                let spelling = self.spellings()[0];
                id = team.to_string();
                query.insert(0, (spelling.teams().1, &id));
                if let HostsOf::Missing(_) = of {
                    query.insert(0, MISSING);
                }
                &["api", "v1", "fleet", "hosts"]
            }
            HostsOf::Missing(None) => {
                query.insert(0, MISSING);
                &["api", "v1", "fleet", "hosts"]
            }
            HostsOf::Label(label) => {
                id = label.to_string();
                &["api", "v1", "fleet", "labels", id.as_str(), "hosts"]
            }
        };
        let request = self.getting(path, &query, limits::PAGE.bytes)?;
        let take = |hosts: &mut Vec<ListedHost>, list: &List, item: &Item| match hosts.len() {
            MOST_OF_PAGE.. => Err(self.too_many_on_page(asked)),
            _ => {
                let usual = usual::host(&item.json);
                hosts.push(usual.map_or_else(|| list.read(item), Ok)?);
                Ok(())
            }
        };
        let mut patience = Patience::until(self.http.deadline());
        loop {
            let read = self
                .http
                .each_item(request, "hosts", limits::ITEM.bytes, Vec::new, take);
            let (hosts, reply) = read.await?;
            self.learn(&reply);
            // The list is streamed: what went wrong in the middle stands at its end, after a 200, and the
            // hosts before it are not all of the page (wire notes, Targets).
            let error = if reply.is_success() {
                let around: AroundHosts = reply.json()?;
                match around.failure() {
                    None if around.is_list() => return Ok(hosts),
                    // That is no empty list: nobody may be called unknown, or deleted, because of it.
                    None => return Err(self.no_list("hosts", &reply.asked)),
                    Some(error) => BackendError::Answer {
                        status: Some(200),
                        message: format!(
                            "{} broke off its list of hosts: {}",
                            self.server(),
                            self.shown(&error)
                        ),
                        hint: Some("the server's log says more".into()),
                    },
                }
            } else {
                self.refusal(&reply, Purpose::Read("hosts"))
            };
            let away = self.is_away(&reply);
            match patience.next() {
                Some(at) if away || reply.is_success() => {
                    if away && patience.is_long() {
                        self.tell_of_waiting(&error);
                    }
                    tokio::time::sleep_until(at).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// An answer that is none, with what was asked.
    pub(super) fn no_list(&self, of: &str, asked: &impl std::fmt::Display) -> BackendError {
        BackendError::Answer {
            status: None,
            message: format!("{} answered {asked} without a list of {of}", self.server()),
            hint: Some("check that `base_url` is the address of Fleet's API".into()),
        }
    }

    fn too_many_on_page(&self, asked: usize) -> BackendError {
        BackendError::Answer {
            status: None,
            message: format!(
                "{} put more than {MOST_OF_PAGE} hosts on a page for which {asked} were asked",
                self.server()
            ),
            hint: Some("look at what listens at `base_url`".into()),
        }
    }

    /// Starts a campaign for exactly these hosts. Not repeated once it may have arrived. No borrow is
    /// kept, so that the call can outlive the future that waits for it.
    pub(super) fn run(
        &self,
        way: &Way,
        hosts: &[u64],
        answer_by: Instant,
        under_way: Arc<AtomicBool>,
    ) -> impl Future<Output = Result<Created, NotRun>> + Send + use<> {
        let (rest, way) = (self.clone(), way.clone());
        let selected = json!({ "hosts": hosts });
        async move {
            for spelling in rest.spellings() {
                let path = ["api", "v1", "fleet", spelling.folder(), "run"];
                // Never both names of one field in one request: that is a 400 (wire notes, Targets).
                let body = match &way {
                    Way::Sql(sql) => json!({"query": **sql, "selected": selected}),
                    Way::Saved(saved) => json!({spelling.id(): saved.id, "selected": selected}),
                };
                let request = Request {
                    method: Method::Post,
                    path: &path,
                    query: &[],
                    body: Some(&body),
                    bearer: Some(rest.token()?),
                    repeat: Repeat::Unsent,
                    max_bytes: SMALL_ANSWER_BYTES,
                };
                let reply = rest.http.dispatch(request, answer_by, &under_way).await?;
                if rest.spells(*spelling, &reply) {
                    return rest.started(&reply).await;
                }
            }
            Err(never_asked().into())
        }
    }

    /// What the answer to a dispatch means.
    async fn started(&self, reply: &Reply) -> Result<Created, NotRun> {
        let arrived = |error| NotRun {
            error,
            why: Why::Final,
            may_have_arrived: true,
        };
        if reply.is_success() {
            let campaign = reply.json::<Started>().map_err(arrived)?.campaign;
            return Ok(Created {
                id: campaign.id,
                hosts: campaign.metrics.0.and_then(|metrics| metrics.total_hosts.0),
            });
        }
        let said = self.said(reply);
        let error = if reply.status == 403 && (lacks_endpoint(&said) || is_switched_off(&said)) {
            let off = match is_switched_off(&said) {
                true => Some(true),
                false => self.live_queries_are_off().await,
            };
            self.switched_off(off, &reply.asked, &format!("HTTP 403: {said}"))
        } else {
            self.refusal(reply, Purpose::Run)
        };
        Err(NotRun {
            error,
            why: match reply.status {
                500 => Why::Unknown,
                403 if is_of_role(&said) => Why::Role,
                _ if self.is_away(reply) => Why::Away,
                _ => Why::Final,
            },
            may_have_arrived: reply.status >= 500,
        })
    }

    /// Whether an operator has switched live queries off, where this token may know.
    async fn live_queries_are_off(&self) -> Option<bool> {
        let path = ["api", "v1", "fleet", "config"];
        let request = self.getting(&path, &[], WHOLE_BYTES).ok()?;
        let reply = self.http.send(request).await.ok()?;
        let config = reply.is_success().then(|| reply.json::<Config>().ok())??;
        config.live_queries_are_off()
    }

    /// Looks once whether the server is there and knows who asks.
    pub(super) async fn look(&self) -> Look {
        let path = ["api", "v1", "fleet", "me"];
        let request = match self.getting(&path, &[], SMALL_ANSWER_BYTES) {
            Ok(request) => Request {
                repeat: Repeat::Once,
                ..request
            },
            Err(error) => return Look::Final(error),
        };
        let reply = match self.http.send(request).await {
            Ok(reply) => reply,
            Err(
                error @ (BackendError::Unreachable { .. }
                | BackendError::Busy { .. }
                | BackendError::Answer {
                    status: Some(500..),
                    ..
                }),
            ) => return Look::Away(error),
            Err(error) => return Look::Final(error),
        };
        self.learn(&reply);
        let refusal = || self.refusal(&reply, Purpose::Read("itself"));
        match reply.status {
            // Whoever may not ask who one is has been recognized, too.
            200..=299 | 403 | 404 => Look::There,
            500.. => Look::Away(refusal()),
            _ if self.is_away(&reply) => Look::Away(refusal()),
            _ => Look::Final(refusal()),
        }
    }

    /// Waits until the server is there.
    pub(super) async fn ready(&self) -> Result<(), BackendError> {
        let path = ["api", "v1", "fleet", "me"];
        self.reply(&path, &[], SMALL_ANSWER_BYTES).await.map(drop)
    }

    /// One page of the saved queries that this user sees, by id: those of all teams, or those of one.
    pub(super) async fn saved_queries(
        &self,
        team: Option<u64>,
        page: usize,
        per_page: usize,
    ) -> Result<(Spelling, Vec<SavedListed>), BackendError> {
        let (page, per_page) = (page.to_string(), per_page.to_string());
        let team = team.map(|team| team.to_string());
        for spelling in self.spellings() {
            let mut query = vec![
                ("order_key", "id"),
                ("page", page.as_str()),
                ("per_page", per_page.as_str()),
            ];
            query.extend(team.as_deref().map(|team| (spelling.teams().1, team)));
            let path = ["api", "v1", "fleet", spelling.folder()];
            let reply = self.reply(&path, &query, WHOLE_BYTES).await?;
            if self.spells(*spelling, &reply) {
                if !reply.is_success() {
                    return Err(self.refusal(&reply, Purpose::Read("saved queries")));
                }
                let page: SavedPage = reply.json()?;
                if let Some(error) = page.failure() {
                    let (server, error) = (self.server(), self.shown(&error));
                    return Err(BackendError::Answer {
                        status: Some(200),
                        message: format!("{server} broke off its list of saved queries: {error}"),
                        hint: Some("the server's log says more".into()),
                    });
                }
                let queries = page.queries();
                let queries = queries.ok_or_else(|| self.no_list("saved queries", &reply.asked));
                return Ok((*spelling, queries?));
            }
        }
        Err(never_asked())
    }

    /// Opens a page of a saved query's report; `None` where there is no such query any more. Which spelling
    /// is the server's was learnt from the list of queries.
    pub(super) async fn report(
        &self,
        query: u64,
        team: Option<u64>,
        page: usize,
        per_page: usize,
    ) -> Result<Option<Incoming>, BackendError> {
        let spelling = self.spellings()[0];
        let (id, page, per_page) = (query.to_string(), page.to_string(), per_page.to_string());
        let team = team.map(|team| team.to_string());
        let path = ["api", "v1", "fleet", spelling.folder(), &id, "report"];
        let mut query = vec![("page", page.as_str()), ("per_page", per_page.as_str())];
        query.extend(team.as_deref().map(|team| (spelling.teams().1, team)));
        let request = self.getting(&path, &query, limits::LIST.bytes)?;
        let mut patience = Patience::until(self.http.deadline());
        loop {
            let incoming = self.http.open(request).await?;
            if incoming.is_success() {
                self.known.worked.store(true, Ordering::Relaxed);
                return Ok(Some(incoming));
            }
            let reply = incoming.whole().await?;
            if reply.status == 404 {
                return Ok(None);
            }
            let error = self.refusal(&reply, Purpose::Read("reports"));
            match patience.next() {
                Some(at) if self.is_away(&reply) => {
                    if patience.is_long() {
                        self.tell_of_waiting(&error);
                    }
                    tokio::time::sleep_until(at).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// Proves that the credentials are good.
    pub(super) async fn recognized(&self) -> Result<(), BackendError> {
        let path = ["api", "v1", "fleet", "me"];
        let me: Me = self.get(&path, &[], Purpose::Read("itself")).await?;
        match me.user.force_password_reset.0 {
            Some(true) => Err(self.reset_required("")),
            _ => Ok(()),
        }
    }

    /// Asks one host and waits for it, as long as the server does.
    pub(super) async fn ask_one(
        &self,
        host: OneHost<'_>,
        way: &Way,
        max_bytes: usize,
    ) -> Result<Reply, BackendError> {
        let query;
        let (path, body): (&[&str], Value) = match (way, host) {
            (Way::Sql(sql), OneHost::Id(id)) => (
                &["api", "v1", "fleet", "hosts", id, "query"],
                json!({"query": **sql}),
            ),
            (Way::Sql(sql), OneHost::Uuid(uuid)) => (
                &["api", "v1", "fleet", "hosts", "identifier", uuid, "query"],
                json!({"query": **sql}),
            ),
            (Way::Saved(saved), OneHost::Id(id) | OneHost::Uuid(id)) => {
                query = saved.id.to_string();
                let host: u64 = id.parse().unwrap_or_default();
                (
                    &["api", "v1", "fleet", saved.spelling.folder(), &query, "run"],
                    json!({"host_ids": [host]}),
                )
            }
        };
        self.http
            .send(Request {
                method: Method::Post,
                path,
                query: &[],
                body: Some(&body),
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
        let reply = self.reply(path, query, WHOLE_BYTES).await?;
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
        self.patiently(self.getting(path, query, max_bytes)?).await
    }

    fn getting<'a>(
        &'a self,
        path: &'a [&'a str],
        query: &'a [(&'a str, &'a str)],
        max_bytes: usize,
    ) -> Result<Request<'a>, BackendError> {
        Ok(Request {
            method: Method::Get,
            path,
            query,
            body: None::<&Value>,
            bearer: Some(self.token()?),
            repeat: Repeat::Safe,
            max_bytes,
        })
    }

    /// Sends a request that may be repeated, again while a part of the server is down.
    async fn patiently(&self, request: Request<'_>) -> Result<Reply, BackendError> {
        let mut patience = Patience::until(self.http.deadline());
        loop {
            let reply = self.http.send(request).await?;
            self.learn(&reply);
            if !self.is_away(&reply) {
                return Ok(reply);
            }
            let Some(at) = patience.next() else {
                return Ok(reply);
            };
            if patience.is_long() {
                self.tell_of_waiting(&self.refusal(&reply, Purpose::Read("anything")));
            }
            tokio::time::sleep_until(at).await;
        }
    }

    /// Says once that a part of the server is waited for.
    pub(super) fn tell_of_waiting(&self, error: &BackendError) {
        if !self.known.waiting.swap(true, Ordering::Relaxed) {
            self.notices().warn(format!(
                "{error}; a part of the server may be down: trying again until the deadline"
            ));
        }
    }

    fn learn(&self, reply: &Reply) {
        if reply.is_success() {
            self.known.worked.store(true, Ordering::Relaxed);
        }
    }

    /// Whether an answer is what a server says while its database or its Redis is away, which the next
    /// answer may not be (transcripts `database-away`, `redis-restarted`).
    pub(super) fn is_away(&self, reply: &Reply) -> bool {
        match reply.status {
            408 => true,
            500 => reply.body.trim_ascii().is_empty(),
            401 => self.worked() && !is_reset(&self.said(reply)),
            _ => false,
        }
    }

    fn spellings(&self) -> &[Spelling] {
        match self.known.spelling.get() {
            Some(known) => std::slice::from_ref(known),
            None => &Spelling::ALL,
        }
    }

    /// Whether the server spells so, as its answer to a path that names nothing else shows. The last
    /// spelling is taken for the server's in any case.
    fn spells(&self, spelling: Spelling, reply: &Reply) -> bool {
        match reply.status {
            404 => self.spellings().last() == Some(&spelling),
            // Said by whatever stands before the paths.
            401 | 408 | 500.. => true,
            _ => {
                // Another request may have learnt the same meanwhile.
                let _ = self.known.spelling.set(spelling);
                true
            }
        }
    }
}

/// What some versions say where an operator has switched live queries off.
fn is_switched_off(said: &str) -> bool {
    said.to_ascii_lowercase()
        .contains("disabled by administrator")
}

/// Whether a 403 is about the role (transcript `observer-saved-query`).
pub(super) fn is_of_role(said: &str) -> bool {
    said.to_ascii_lowercase().contains("forbidden")
}

fn never_asked() -> BackendError {
    BackendError::Answer {
        status: None,
        message: "the server was not asked".into(),
        hint: None,
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
    /// A team's hosts, by its id.
    Team(u64),
    /// Those of all, or of a team, that were not seen for 30 days: only this filter tells (transcript
    /// `host-posture`).
    Missing(Option<u64>),
}

/// How one host is addressed.
#[derive(Debug, Clone, Copy)]
pub(super) enum OneHost<'a> {
    Id(&'a str),
    Uuid(&'a str),
}
