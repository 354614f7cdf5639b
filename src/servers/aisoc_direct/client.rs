//! The service's two calls, and its refusals in the user's words. Knows nothing of a campaign.

use std::sync::atomic::AtomicBool;

use serde_json::json;
use tokio::time::Instant;

use super::wire::{self, Enqueued, Reader, Seen};
use crate::notices::Notices;
use crate::secret::Secret;
use crate::servers::http::{Connecting, Http, Method, Repeat, Reply, Request, Undelivered, limits};
use crate::servers::{BackendError, away};
use crate::step::model::{Credentials, Server};
use crate::uuid;

/// Below the base URL.
const ROOT: [&str; 4] = ["api", "v1", "osquery", "distributed"];

/// Says for which tenant a service's token is used; a console's token has its own.
const TENANT: &str = "x-aisoc-tenant-id";

/// One service, as one tenant.
#[derive(Clone)]
pub(super) struct Client {
    http: Http,
    token: Option<Secret>,
    has_tenant: bool,
}

/// What came of asking a host.
#[derive(Debug)]
pub(super) enum Enqueue {
    /// The query is queued for it, under this id.
    Queued(String),
    /// No host of that name is enrolled.
    Unknown,
    /// Nobody gets in so: what holds for one host holds for all.
    Refused(BackendError),
    /// It may be queued, and nobody knows its id.
    Lost(BackendError),
    /// It is not queued.
    NotSent(BackendError),
}

/// What came of looking at a query.
#[derive(Debug)]
pub(super) enum Look {
    /// It is there.
    Seen(Seen),
    /// The service is there, and does not have its database.
    Away(BackendError),
    /// There is no such query any more.
    Gone,
    /// Its answer can't be read, however often it is looked at.
    Unreadable(BackendError),
    /// What came is no answer of this service: a proxy's page, perhaps, that is gone at the next look.
    Garbled(BackendError),
}

impl Client {
    /// A client for the step's service; nothing is sent yet.
    pub fn new(server: &Server, tenant: Option<&str>, http: Http) -> Self {
        let http = http.reading_refusals(not_configured);
        Self {
            http: match tenant {
                Some(tenant) => http.saying(TENANT, tenant),
                None => http,
            },
            token: match &server.credentials {
                Credentials::Token(token) => Some(token.clone()),
                // The schema takes none for this server.
                Credentials::Login { .. } => None,
            },
            has_tenant: tenant.is_some(),
        }
    }

    /// What the session tells.
    pub fn notices(&self) -> &Notices {
        self.http.notices()
    }

    /// How connecting went.
    pub fn connecting(&self) -> Option<Connecting> {
        self.http.connecting()
    }

    /// When everything must be over.
    pub fn deadline(&self) -> Instant {
        self.http.deadline()
    }

    /// Proves that the credentials are good: who asks for a query that nobody has is told so only once they
    /// are (transcript `auth`). Runs nothing.
    ///
    /// # Errors
    /// What speaks against them, or against the server.
    pub async fn verify(&self) -> Result<(), BackendError> {
        let id = uuid::random();
        let reply = self.get(&id, limits::SMALL.bytes).await?;
        let said = wire::detail(&reply.body);
        match reply.status {
            404 if wire::is_unknown_query(&said) => Ok(()),
            _ => Err(self.refusal(&reply)),
        }
    }

    /// Queues the statement for a host: once, and again only where it can't have arrived. `under_way` is true
    /// while it may have, and the answer is not known.
    pub async fn enqueue(&self, host: &str, sql: &str, under_way: &AtomicBool) -> Enqueue {
        let body = json!({"host_identifier": host, "query_text": sql});
        let path = [&ROOT[..], &["enqueue"]].concat();
        let request = Request {
            method: Method::Post,
            path: &path,
            query: &[],
            body: Some(&body),
            bearer: self.token.as_ref(),
            repeat: Repeat::Unsent,
            max_bytes: limits::SMALL.bytes,
        };
        let reply = self
            .http
            .dispatch(request, self.deadline(), under_way)
            .await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(Undelivered {
                error,
                may_have_arrived: true,
            }) => return Enqueue::Lost(error),
            Err(Undelivered { error, .. }) => return Enqueue::NotSent(error),
        };
        match reply.status {
            200..=299 => match reply.json::<Enqueued>() {
                Ok(Enqueued { query_id }) if uuid::is_uuid(&query_id) => {
                    // Whoever has it can write rows.
                    self.notices().learn_id(&query_id);
                    Enqueue::Queued(query_id)
                }
                Ok(_) => Enqueue::Lost(self.unreadable(&reply)),
                Err(error) => Enqueue::Lost(error),
            },
            404 if wire::is_unknown_host(&wire::detail(&reply.body)) => Enqueue::Unknown,
            500..=599 => Enqueue::Lost(self.refusal(&reply)),
            401 | 403 => Enqueue::Refused(self.refusal(&reply)),
            // Of this request: what is wrong with the service is so of the first, which ends the run.
            _ => Enqueue::NotSent(self.refusal(&reply)),
        }
    }

    /// Looks at a query.
    ///
    /// # Errors
    /// What holds for every query: no connection until the deadline, credentials that are not good any more.
    pub async fn look(&self, id: &str, reader: Reader) -> Result<Look, BackendError> {
        let reply = match self.get(id, limits::ANSWER.bytes).await {
            Ok(reply) => reply,
            // Too large, or compressed: those of other hosts may be neither.
            Err(error @ BackendError::Answer { status: None, .. }) => {
                return Ok(Look::Unreadable(error));
            }
            Err(error) => return Err(error),
        };
        match reply.status {
            200..=299 => {
                let (id, bytes) = (id.to_owned(), reply.body.len());
                let read = move || {
                    let seen = reply.parse(|body| reader.read(&id, body));
                    seen.map_or_else(Look::Garbled, Look::Seen)
                };
                Ok(away(bytes, read).await)
            }
            404 if wire::is_unknown_query(&wire::detail(&reply.body)) => Ok(Look::Gone),
            500..=599 => Ok(Look::Away(self.refusal(&reply))),
            _ => Err(self.refusal(&reply)),
        }
    }

    async fn get(&self, id: &str, max_bytes: usize) -> Result<Reply, BackendError> {
        let path = [&ROOT[..], &[id]].concat();
        let request = Request {
            method: Method::Get,
            path: &path,
            query: &[],
            body: None,
            bearer: self.token.as_ref(),
            repeat: Repeat::Safe,
            max_bytes,
        };
        self.http.send(request).await
    }

    fn unreadable(&self, reply: &Reply) -> BackendError {
        BackendError::Answer {
            status: None,
            message: format!(
                "{} answered {} with a query's id that is no uuid",
                self.http.origin(),
                reply.asked
            ),
            hint: Some(NO_SERVICE.into()),
        }
    }

    /// What an answer means that is no success.
    fn refusal(&self, reply: &Reply) -> BackendError {
        let origin = self.http.origin();
        let said = self.http.shown(&wire::detail(&reply.body));
        let words = match said.as_str() {
            "" => String::new(),
            said => format!(": \"{said}\""),
        };
        let answered = format!(
            "{origin} answered {} with HTTP {}{words}",
            reply.asked, reply.status
        );
        match reply.status {
            401 => BackendError::Auth {
                message: format!("{origin} does not accept the token{words}"),
                hint: Some("check the secret behind `api_token`: the service's own token (AISOC_SERVICE_TOKEN there), or a console's, which expires".into()),
            },
            403 => BackendError::Auth {
                message: format!("{origin} refuses the token{words}"),
                hint: Some(match self.has_tenant {
                    false => "a service's token needs `tenant_id` in the step, the uuid of the tenant that it acts for; a console's token needs none",
                    true => "the token has no right to this tenant: check `tenant_id` and the secret behind `api_token`",
                }.into()),
            },
            status => BackendError::Answer {
                status: Some(status),
                message: answered,
                hint: match status {
                    400 if self.has_tenant => Some("check `tenant_id`: the tenant's uuid".into()),
                    404 | 405 | 200..=299 => Some(NO_SERVICE.into()),
                    422 => Some("this release of the service may be another than those that are known: see docs/aisoc-direct.md".into()),
                    500..=599 => Some("the service's own log says more; it answers so while its database is away".into()),
                    _ => None,
                },
            },
        }
    }
}

const NO_SERVICE: &str = "check that `base_url` is the address of AiSOC's osquery TLS service, the one that the agents talk to, and not that of its console or API";

/// A service that has no credentials set up says so with a 503 (transcript `not-configured`): nothing that
/// passes.
fn not_configured(origin: &str, reply: &Reply) -> Option<BackendError> {
    let said = wire::detail(&reply.body);
    said.contains("not configured").then(|| BackendError::Auth {
        message: format!(
            "{origin} accepts no credentials at all, since none are set up there (HTTP 503)"
        ),
        hint: Some(
            "set AISOC_SERVICE_TOKEN, or SECRET_KEY for consoles' tokens, at the service".into(),
        ),
    })
}
