//! AiSOC's own osquery TLS service: a query is queued for one host at a time and looked at until it is
//! answered. It lists no hosts, tells of no error, takes nothing back. Knows the service's ways, as `wire.rs`
//! and the transcripts have them, and nothing of deadlines or documents.

mod campaign;
mod client;
mod pace;
mod wire;

use self::campaign::Campaign;
use self::client::Client;
use self::wire::Reader;
use super::http::{Connecting, Http};
use super::{Backend, BackendError, Event, Left};
use crate::allowlist::Statement;
use crate::campaign::Limits;
use crate::campaign::host::{Asked, Candidates, Host};
use crate::campaign::roster::Targets;
use crate::campaign::rows::Keep;
use crate::step::model::Server;

/// One service, as one tenant, and what is asked there.
pub struct AisocDirect {
    client: Client,
    keep: Keep,
    /// Once there was a dispatch.
    campaign: Option<Campaign>,
}

impl AisocDirect {
    /// A backend for the step's service; nothing is sent yet. `tenant`: the uuid of the tenant that a
    /// service's token acts for; `keep`: how much of one answer is kept.
    pub fn new(server: &Server, tenant: Option<&str>, http: Http, keep: Keep) -> Self {
        Self {
            client: Client::new(server, tenant, http),
            keep,
            campaign: None,
        }
    }
}

impl Backend for AisocDirect {
    async fn authenticate(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    async fn verify(&mut self) -> Result<(), BackendError> {
        self.client.verify().await
    }

    /// Asks nobody: the only question for a host is an enqueue, which runs something.
    async fn resolve(&mut self, _: &Targets, _: &Limits) -> Result<Candidates, BackendError> {
        Ok(Candidates {
            unlisted: true,
            ..Candidates::default()
        })
    }

    async fn start(
        &mut self,
        statement: &Statement,
        hosts: &[Host],
    ) -> Result<Asked, BackendError> {
        let reader = Reader {
            keep: self.keep,
            marker: statement.marker(),
        };
        let campaign = Campaign::new(self.client.clone(), statement.sql(), reader, hosts);
        self.campaign.insert(campaign).start().await?;
        Ok(Asked::OneByOne)
    }

    async fn resume(
        &mut self,
        statement: &Statement,
        hosts: &[Host],
        left: &Left,
    ) -> Result<Asked, BackendError> {
        if !left.silent.is_empty() {
            self.client.notices().warn("the earlier run's query still waits at the service for the hosts that were silent: they are asked by a new one, and run both when they check in");
        }
        self.start(statement, hosts).await
    }

    fn connecting(&self) -> Option<Connecting> {
        self.client.connecting()
    }

    /// None that may be shown: whoever knows a query's id can write rows to it.
    fn campaign_id(&self) -> Option<String> {
        None
    }

    async fn next(&mut self) -> Result<Event, BackendError> {
        match &mut self.campaign {
            Some(campaign) => campaign.next().await,
            None => Ok(Event::Exhausted),
        }
    }

    fn may_be_running(&self, _all_answered: bool) -> bool {
        let campaign = self.campaign.as_ref();
        campaign.is_some_and(Campaign::may_be_running)
    }

    /// There is no call for it: what is queued stays so until its host has answered.
    async fn stop(&mut self, _all_answered: bool) {
        self.campaign = None;
    }
}

/// Reads any bytes as everything that the service may send; for the fuzzer only.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    let reader = Reader {
        keep: Keep {
            rows: 100,
            bytes: 10_000,
        },
        marker: Some("live_query_matched"),
    };
    let id = "00000000-0000-4000-8000-000000000000";
    if let Ok(wire::Seen::Answered(crate::campaign::host::Answer::Rows(rows))) =
        reader.read(id, bytes)
    {
        assert!(rows.kept() <= 100 && rows.json().len() <= 10_000);
        assert!(!rows.json().contains("{\"live_query_matched\""));
    }
    let said = wire::detail(bytes);
    let _ = (wire::is_unknown_host(&said), wire::is_unknown_query(&said));
    let _ = serde_json::from_slice::<wire::Enqueued>(bytes);
}
