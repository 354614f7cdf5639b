//! From the kind of a server to what speaks its language: the one file that matches on the kind.

use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::alerts::Shape;
use super::collecting::{Collector, Wanted};
use super::export::ExportedQuery;
use super::http::{Connecting, Http, Patience};
use super::{Backend, BackendError, Event, Found, Left, SavedQuery, aisoc_direct, fleet, osctrl};
use crate::allowlist::Statement;
use crate::campaign::Limits;
use crate::campaign::host::{Asked, Candidates, Host};
use crate::campaign::roster::Targets;
use crate::campaign::rows::Keep;
use crate::known_servers::{Access, Kind};
use crate::notices::Notices;
use crate::step::model::Server;
use crate::trace::TraceParent;

/// What a client keeps to.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// How much of one host's answer is kept.
    pub keep: Keep,
    /// Nothing is run but what the server keeps.
    pub saved_queries_only: bool,
    /// So many hours the query stays with the server for hosts that are silent, where the step wants that.
    pub queue_hours: Option<u16>,
    /// Every request says that it is part of this trace.
    pub trace: Option<&'a TraceParent>,
}

/// A client for the step's server; nothing is sent yet. `patience` is the deadline, or a [`Patience`] that
/// gives up earlier on a server that can't be reached; `notices` hear what the session's owner should know.
///
/// # Errors
/// As [`Http::new`].
pub fn open(
    server: &Server,
    patience: impl Into<Patience>,
    terms: &Terms<'_>,
    notices: Notices,
) -> Result<Box<dyn AnyBackend>, BackendError> {
    let http = Http::new(server, patience, notices)?.within(terms.trace);
    let keep = terms.keep;
    Ok(match &server.access {
        Access::Fleet => {
            let fleet = fleet::Fleet::new(server, http, keep);
            Box::new(fleet.saved_queries_only(terms.saved_queries_only))
        }
        Access::Osctrl { environment } => {
            let osctrl = osctrl::Osctrl::new(server, environment, http, keep);
            Box::new(osctrl.queueing(terms.queue_hours))
        }
        Access::AisocDirect { tenant } => {
            let tenant = tenant.as_deref();
            Box::new(aisoc_direct::AisocDirect::new(server, tenant, http, keep))
        }
    })
}

/// A client that polls a connector's server; nothing is sent yet.
///
/// # Errors
/// As [`Http::new`].
pub fn collector(
    server: &Server,
    patience: impl Into<Patience>,
    wanted: Wanted,
    trace: Option<&TraceParent>,
    notices: Notices,
) -> Result<Box<dyn Collector>, BackendError> {
    let http = Http::new(server, patience, notices)?.within(trace);
    Ok(match &server.access {
        Access::Fleet => Box::new(fleet::collector::Fleet::new(server, http, wanted)),
        Access::Osctrl { environment } => {
            let osctrl = osctrl::collector::Osctrl::new(server, environment, http, wanted);
            Box::new(osctrl)
        }
        // A connector that names it is refused before: it has no streams.
        Access::AisocDirect { .. } => {
            let title = server.access.known().title;
            return Err(BackendError::Setup {
                message: format!("{title} has nothing that can be polled"),
                hint: None,
            });
        }
    })
}

/// Queries in the form in which that kind of server keeps them.
pub fn export(kind: Kind, queries: &[ExportedQuery<'_>]) -> String {
    match kind {
        Kind::Fleet => fleet::gitops::file(queries),
        Kind::Osctrl => osctrl::export::bodies(queries),
        // It keeps none, so there is no format of that name.
        Kind::AisocDirect => String::new(),
    }
}

/// [`Backend`] as one type for all kinds; the same calls with the same promises.
pub trait AnyBackend {
    /// [`Backend::authenticate`]
    fn authenticate(&mut self) -> LocalBoxFuture<'_, Result<(), BackendError>>;
    /// [`Backend::verify`]
    fn verify(&mut self) -> LocalBoxFuture<'_, Result<(), BackendError>>;
    /// [`Backend::resolve`]
    fn resolve<'a>(
        &'a mut self,
        targets: &'a Targets,
        limits: &'a Limits,
    ) -> LocalBoxFuture<'a, Result<Candidates, BackendError>>;
    /// [`Backend::search`]
    fn search<'a>(
        &'a mut self,
        text: &'a str,
        most: usize,
    ) -> LocalBoxFuture<'a, Result<Option<Found>, BackendError>>;
    /// [`Backend::start`]
    fn start<'a>(
        &'a mut self,
        statement: &'a Statement,
        hosts: &'a [Host],
    ) -> LocalBoxFuture<'a, Result<Asked, BackendError>>;
    /// [`Backend::resume`]
    fn resume<'a>(
        &'a mut self,
        statement: &'a Statement,
        hosts: &'a [Host],
        left: &'a Left,
    ) -> LocalBoxFuture<'a, Result<Asked, BackendError>>;
    /// [`Backend::permits`]
    fn permits<'a>(
        &'a mut self,
        statement: &'a Statement,
        hosts: &'a [Host],
    ) -> LocalBoxFuture<'a, Result<(), BackendError>>;
    /// [`Backend::connecting`]
    fn connecting(&self) -> Option<Connecting>;
    /// [`Backend::campaign_id`]
    fn campaign_id(&self) -> Option<String>;
    /// [`Backend::other_campaign_ids`]
    fn other_campaign_ids(&self) -> Vec<String>;
    /// [`Backend::saved_query`]
    fn saved_query(&self) -> Option<SavedQuery>;
    /// [`Backend::next`]
    fn next(&mut self) -> LocalBoxFuture<'_, Result<Event, BackendError>>;
    /// [`Backend::may_be_running`]
    fn may_be_running(&self, all_answered: bool) -> bool;
    /// [`Backend::stop`]
    fn stop(&mut self, all_answered: bool) -> LocalBoxFuture<'_, ()>;
    /// [`Backend::queued_until`]
    fn queued_until(&self) -> Option<SystemTime>;
    /// [`Backend::leave_queued`]
    fn leave_queued(&mut self) -> LocalBoxFuture<'_, ()>;
}

impl<B: Backend> AnyBackend for B {
    fn authenticate(&mut self) -> LocalBoxFuture<'_, Result<(), BackendError>> {
        Backend::authenticate(self).boxed_local()
    }

    fn verify(&mut self) -> LocalBoxFuture<'_, Result<(), BackendError>> {
        Backend::verify(self).boxed_local()
    }

    fn resolve<'a>(
        &'a mut self,
        targets: &'a Targets,
        limits: &'a Limits,
    ) -> LocalBoxFuture<'a, Result<Candidates, BackendError>> {
        Backend::resolve(self, targets, limits).boxed_local()
    }

    fn search<'a>(
        &'a mut self,
        text: &'a str,
        most: usize,
    ) -> LocalBoxFuture<'a, Result<Option<Found>, BackendError>> {
        Backend::search(self, text, most).boxed_local()
    }

    fn start<'a>(
        &'a mut self,
        statement: &'a Statement,
        hosts: &'a [Host],
    ) -> LocalBoxFuture<'a, Result<Asked, BackendError>> {
        Backend::start(self, statement, hosts).boxed_local()
    }

    fn resume<'a>(
        &'a mut self,
        statement: &'a Statement,
        hosts: &'a [Host],
        left: &'a Left,
    ) -> LocalBoxFuture<'a, Result<Asked, BackendError>> {
        Backend::resume(self, statement, hosts, left).boxed_local()
    }

    fn permits<'a>(
        &'a mut self,
        statement: &'a Statement,
        hosts: &'a [Host],
    ) -> LocalBoxFuture<'a, Result<(), BackendError>> {
        Backend::permits(self, statement, hosts).boxed_local()
    }

    fn connecting(&self) -> Option<Connecting> {
        Backend::connecting(self)
    }

    fn campaign_id(&self) -> Option<String> {
        Backend::campaign_id(self)
    }

    fn other_campaign_ids(&self) -> Vec<String> {
        Backend::other_campaign_ids(self)
    }

    fn saved_query(&self) -> Option<SavedQuery> {
        Backend::saved_query(self)
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<Event, BackendError>> {
        Backend::next(self).boxed_local()
    }

    fn may_be_running(&self, all_answered: bool) -> bool {
        Backend::may_be_running(self, all_answered)
    }

    fn stop(&mut self, all_answered: bool) -> LocalBoxFuture<'_, ()> {
        Backend::stop(self, all_answered).boxed_local()
    }

    fn queued_until(&self) -> Option<SystemTime> {
        Backend::queued_until(self)
    }

    fn leave_queued(&mut self) -> LocalBoxFuture<'_, ()> {
        Backend::leave_queued(self).boxed_local()
    }
}
/// Every kind of document that servers post to webhooks, in the order in which they are tried: an
/// activity's keys are the least telling.
pub(super) fn alerts() -> impl Iterator<Item = &'static Shape> {
    fleet::webhook::SHAPES
        .iter()
        .chain(&osctrl::webhook::SHAPES)
        .chain(&fleet::webhook::LEAST_TELLING)
}
