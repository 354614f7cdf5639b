//! What Fleet's refusals mean to the person who wrote the step: which credentials, which role, which
//! endpoint, or which part of the server is away.

use super::rest::{Purpose, Rest};
use super::wire;
use crate::servers::BackendError;
use crate::servers::http::Reply;
use crate::step::model::Credentials;

/// Roles that may run ad-hoc SQL; observer+ and technician come with a licence (wire notes, Authentication).
pub(super) const ROLES_HINT: &str = "give the user one of the roles observer+ or technician (where Fleet is licensed for them), maintainer or admin";
const READING_HINT: &str =
    "the user needs a role that may read hosts and labels: observer is enough";
/// `POST reports/run` can be listed from then on (wire notes, Authentication).
const LISTED_HINT: &str =
    "an API-only user that is limited to endpoints can run live queries from Fleet 4.90 on";

impl Rest {
    /// What a status that is no success means.
    pub(super) fn refusal(&self, reply: &Reply, purpose: Purpose) -> BackendError {
        let said = self.said(reply);
        let status = match &*said {
            "" => format!("HTTP {}", reply.status),
            said => format!("HTTP {}: {said}", reply.status),
        };
        match (reply.status, purpose) {
            // "password reset required" (wire notes, Authentication).
            (401, _) if is_reset(&said) => self.reset_required(&format!(" ({status})")),
            (401, _) | (403, Purpose::Login) => self.unauthorized(&status, purpose),
            (403, _) if lacks_endpoint(&said) => self.not_listed(&reply.asked, &status),
            (403, Purpose::Run) => self.may_not_run(&status),
            (403, Purpose::Read(what)) => BackendError::Auth {
                message: format!("{} does not let this user read {what} ({status})", self.server()),
                hint: Some(READING_HINT.into()),
            },
            (400, Purpose::Run) if said.contains("no hosts targeted") => BackendError::Targets {
                message: format!("{} no longer has any of the targeted hosts ({status})", self.server()),
                hint: Some("since they were found a moment ago, the hosts were deleted or this user lost access to them".into()),
            },
            (code, _) => BackendError::Answer {
                status: Some(code),
                message: format!("{} answered {} with {status}", self.server(), reply.asked),
                hint: match code {
                    404 | 405 => Some("check that `backend` is right, and that `base_url` is the server's own address, without the path of an API or a page".into()),
                    // Recorded: `redis-restarted`.
                    408 => Some("a part of the server is down: look at Fleet's Redis, and at its log".into()),
                    // Recorded: `database-away`.
                    500 if reply.body.is_empty() => Some("a Fleet whose database is down answers like this: look at it, and at the server's log".into()),
                    500..=599 => Some("the server's log says more".into()),
                    _ => None,
                },
            },
        }
    }

    /// What the server wrote, fit to be shown; empty where it wrote nothing.
    pub(super) fn said(&self, reply: &Reply) -> String {
        let reason = wire::reason(&reply.text());
        reason.map_or(String::new(), |text| self.shown(&text))
    }

    /// The credentials are not good; `status` says how that was said.
    pub(super) fn unauthorized(&self, status: &str, purpose: Purpose) -> BackendError {
        let (what, hint) = match (self.credentials(), purpose) {
            (Credentials::Token(_), _) if self.worked() => (
                "the API token",
                "it worked a moment ago: it was revoked since, or the server's database is down",
            ),
            (Credentials::Token(_), _) => (
                "the API token",
                "check the secret that `api_token` names: the token may be revoked, or another server's; a Fleet whose database is down says the same",
            ),
            (Credentials::Login { .. }, Purpose::Login) => (
                "the username or the password",
                "`username` is the e-mail address of a Fleet user; a user who signs in through SSO needs an `api_token`; a Fleet whose database is down says the same",
            ),
            (Credentials::Login { .. }, _) => (
                "the session that it opened for `username`",
                "the session was ended while the step ran, or the server's database is down: run the step again",
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

    /// The token may use listed endpoints only, and this one is not listed.
    fn not_listed(&self, asked: &str, status: &str) -> BackendError {
        BackendError::Auth {
            message: format!(
                "{} does not let this token use {} ({status})",
                self.server(),
                endpoint(asked)
            ),
            hint: Some(format!(
                "add this endpoint to those of the API-only user; {LISTED_HINT}"
            )),
        }
    }

    /// Live queries are switched off, or may be: an operator's switch and a list of endpoints are told in
    /// the same words (wire notes, Results).
    pub(super) fn switched_off(
        &self,
        off: Option<bool>,
        asked: &str,
        status: &str,
    ) -> BackendError {
        match off {
            Some(true) => BackendError::Answer {
                status: Some(403),
                message: format!("live queries are switched off at {} ({status})", self.server()),
                hint: Some("an administrator switches them on under Settings, Advanced options (`server_settings.live_reporting_disabled`, before Fleet 4.82 `live_query_disabled`)".into()),
            },
            Some(false) => self.not_listed(asked, status),
            None => {
                let BackendError::Auth { message, .. } = self.not_listed(asked, status) else {
                    return self.may_not_run(status);
                };
                BackendError::Auth {
                    message,
                    hint: Some(format!("where the token is an API-only user's that is limited to endpoints, add this one ({LISTED_HINT}); where it is not, live queries may be switched off in the server's settings")),
                }
            }
        }
    }

    pub(super) fn reset_required(&self, status: &str) -> BackendError {
        BackendError::Auth {
            message: format!(
                "{} lets this user do nothing until its password is reset{status}",
                self.server()
            ),
            hint: Some("sign in to Fleet as this user and set a new password, or use the `api_token` of an API-only user".into()),
        }
    }
}

/// Whether the server's `error` message is about the token.
pub(super) fn is_of_credentials(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.contains("unauthorized") || lower.contains("unauthenticated")
}

/// What the server's `error` message means (transcript `websocket-refusals`).
pub(super) fn of_stream(rest: &Rest, text: &str) -> BackendError {
    let shown = rest.shown(text);
    if is_of_credentials(text) {
        return rest.unauthorized(&format!("results stream: {shown}"), Purpose::Run);
    }
    let lower = text.to_ascii_lowercase();
    if lower.contains("forbidden") {
        return rest.may_not_run(&format!("results stream: {shown}"));
    }
    let shown = if shown.is_empty() {
        "no reason"
    } else {
        &shown
    };
    BackendError::Answer {
        status: None,
        message: format!(
            "{} ended the results stream with an error: {shown}",
            rest.server()
        ),
        hint: (lower.contains("cannot find campaign") || lower.contains("pubsub"))
            .then(|| "the server lost the campaign: look at its Redis and its log".into()),
    }
}

/// Whether a 401 is about a password that must be changed first.
pub(super) fn is_reset(said: &str) -> bool {
    said.to_ascii_lowercase().contains("password reset")
}

/// Whether a 403 is about the endpoint and not about the role.
pub(super) fn lacks_endpoint(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    said.contains("endpoint not permitted") || said.contains("permission denied")
}

/// `GET /api/v1/fleet/labels/:id/hosts`, as lists of endpoints write it.
fn endpoint(asked: &str) -> String {
    let mut after = "";
    let parts: Vec<&str> = asked
        .split('/')
        .map(|part| {
            let numeric = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            match std::mem::replace(&mut after, part) {
                "identifier" => ":identifier",
                _ if numeric => ":id",
                _ => part,
            }
        })
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_named_as_it_is_listed() {
        for (asked, listed) in [
            ("GET /api/v1/fleet/hosts", "GET /api/v1/fleet/hosts"),
            (
                "GET /api/v1/fleet/labels/7/hosts",
                "GET /api/v1/fleet/labels/:id/hosts",
            ),
            (
                "POST /api/v1/fleet/hosts/12/query",
                "POST /api/v1/fleet/hosts/:id/query",
            ),
            (
                "POST /api/v1/fleet/hosts/identifier/web-01/query",
                "POST /api/v1/fleet/hosts/identifier/:identifier/query",
            ),
        ] {
            assert_eq!(endpoint(asked), listed);
        }
    }
}
