//! One search for enrolled hosts, apart from any step: under one deadline, with its own voice and redactor,
//! ended by its own word. Asks no host anything.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::cancel::Cancel;
use super::drive::{DriveError, Phase};
use super::failure::Failure;
use crate::bug::Bug;
use crate::campaign::host::{Host, Text};
use crate::campaign::rows::Keep;
use crate::notices::Notices;
use crate::servers::Found;
use crate::servers::open::{AnyBackend, Terms, open};
use crate::step::model::NamedServer;

/// How long the server may take to end a login session.
const GOODBYE: Duration = Duration::from_secs(2);

/// What is searched for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search<'a> {
    /// Part of a name, uuid, serial or address.
    pub text: &'a str,
    /// Hosts at most.
    pub most: usize,
    /// How long it may take.
    pub timeout: Duration,
}

/// What came of a search. The login session is still to be ended, by [`Searched::finish`].
#[must_use = "the login session is ended by `finish`"]
pub(crate) struct Searched {
    /// Hosts, their names fit to be shown; `None` where the server lists none, or the word to end was given.
    pub found: Result<Option<Found>, Failure>,
    server: Option<Box<dyn AnyBackend>>,
}

impl Searched {
    fn failed(failure: Failure) -> Self {
        Self {
            found: Err(failure),
            server: None,
        }
    }

    /// Ends a login session; takes two seconds at most.
    pub(crate) async fn finish(self) {
        if let Some(mut server) = self.server {
            let stopped = AssertUnwindSafe(server.stop(true)).catch_unwind();
            let _ = tokio::time::timeout(GOODBYE, stopped).await;
        }
    }
}

/// Searches a server for hosts.
pub(crate) async fn find(
    server: &NamedServer,
    search: Search<'_>,
    cancel: &Cancel,
    notices: &Notices,
) -> Searched {
    for secret in &server.secrets {
        notices.learn(secret);
    }
    let terms = Terms {
        keep: Keep { rows: 0, bytes: 0 },
        saved_queries_only: false,
        queue_hours: None,
        trace: None,
    };
    let deadline = Instant::now() + search.timeout;
    let redacted = |failure: Failure| failure.map_text(|text| notices.redact(text));
    let mut client = match open(&server.server, deadline, &terms, notices.clone()) {
        Ok(client) => client,
        Err(error) => return Searched::failed(redacted(error.into())),
    };
    let searching = async {
        client.authenticate().await?;
        client.search(search.text, search.most).await
    };
    let searching = AssertUnwindSafe(searching).catch_unwind();
    let found = tokio::select! {
        biased;
        _ = cancel.word() => Ok(None),
        found = tokio::time::timeout_at(deadline, searching) => match found {
            Ok(Ok(found)) => found.map_err(Failure::from),
            Ok(Err(panic)) => Err(Bug::of(panic).into()),
            Err(_) => {
                let (phase, timeout) = (Phase::Resolving, search.timeout);
                Err(DriveError::TooLate { phase, timeout }.into())
            }
        },
    };
    let found = found.map(|found| {
        found.map(|found| Found {
            hosts: found
                .hosts
                .into_iter()
                .map(|it| shown(it, notices))
                .collect(),
            more: found.more,
        })
    });
    Searched {
        found: found.map_err(redacted),
        server: Some(client),
    }
}

/// The host as it may be shown.
fn shown(host: Host, notices: &Notices) -> Host {
    host.with(|which, text| match which {
        Text::LastSeen => notices.id_of(text),
        _ => notices.name_of(text),
    })
}
