//! What every backend does for the campaign above it, in the field's words. The campaign can't tell
//! whether answers are pushed or polled; foreign JSON stays in each backend's `wire.rs`.

pub mod aisoc_direct;
pub mod alerts;
mod away;
pub mod collecting;
pub mod error;
pub mod export;
pub mod fleet;
pub mod http;
mod ids;
pub mod open;
pub mod osctrl;
mod part;

/// The clients by name, for this project's own tests and fuzz targets; all others take [`open::open`].
pub mod clients {
    #[cfg(fuzzing)]
    pub use super::aisoc_direct::fuzz as fuzz_aisoc_direct;
    #[cfg(fuzzing)]
    pub use super::alerts::fuzz as fuzz_alert;
    pub use super::fleet::Fleet;
    #[cfg(fuzzing)]
    pub use super::fleet::collector::fuzz as fuzz_collected_fleet;
    #[cfg(fuzzing)]
    pub use super::fleet::fuzz as fuzz_fleet;
    pub use super::osctrl::Osctrl;
    #[cfg(fuzzing)]
    pub use super::osctrl::collector::fuzz as fuzz_collected_osctrl;
    #[cfg(fuzzing)]
    pub use super::osctrl::fuzz as fuzz_osctrl;
}

pub use away::{LONG, away};
pub use error::BackendError;

use std::time::SystemTime;

use crate::allowlist::Statement;
use crate::campaign::Limits;
use crate::campaign::host::{Answer, Asked, Candidates, Host, HostId};
use crate::campaign::roster::Targets;
use http::Connecting;

/// A query that the server keeps, and whose text is the step's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedQuery {
    /// The server's id of it.
    pub id: String,
    /// Its name there, fit to be shown.
    pub name: String,
}

/// What an earlier run of the same step left with the server.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// The ids of its campaigns there; whatever somebody wrote into a file.
    pub campaigns: Vec<String>,
    /// Who was asked and had not answered when it ended.
    pub silent: Vec<HostId>,
    /// Until when the server hands its query out to them, where it was left there for that.
    pub until: Option<SystemTime>,
}

/// Hosts that a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// The first of them.
    pub hosts: Vec<Host>,
    /// There are more, or there may be.
    pub more: bool,
}

/// Whether a host has the text in a name, uuid, serial or address, whatever its case.
fn holds(host: &Host, text: &str) -> bool {
    let text = text.to_lowercase();
    let address = host.address.map(|address| address.to_string());
    let fields = [
        host.hostname(),
        host.computer_name(),
        host.uuid(),
        host.serial(),
    ];
    let fields = fields.into_iter().chain(address.as_deref());
    fields
        .into_iter()
        .any(|field| field.to_lowercase().contains(&text))
}

/// What came from the server while the campaign runs.
#[derive(Debug)]
pub enum Event {
    /// A host answered. Repeats and foreign hosts are the campaign's to sort out.
    Answered {
        /// Who.
        host: HostId,
        /// What.
        answer: Answer,
    },
    /// The host is being asked now (backends that ask one by one).
    Asked(HostId),
    /// It was not asked after all: nothing of it has arrived, and no answer will.
    NotAsked(HostId),
    /// The server says, while the campaign runs, that the host is offline.
    Offline(HostId),
    /// The server does not know the host (servers that list none say so when they are asked to ask it).
    Unknown(HostId),
    /// No further answer can come: the server has ended the campaign.
    Exhausted,
}

/// A live-query server. Every call may be dropped at any await (deadline, signal); [`Backend::stop`]
/// is called on every way out once [`Backend::start`] was called, finished or not, after the document is written.
pub trait Backend {
    /// Logs in where the credentials are a user's. Costs nothing with a token.
    fn authenticate(&mut self) -> impl Future<Output = Result<(), BackendError>>;

    /// Proves that the credentials are good and may do what the step needs, without dispatching (`check`).
    fn verify(&mut self) -> impl Future<Output = Result<(), BackendError>>;

    /// Finds the hosts. Unknown names are no error here; an unknown label is.
    /// May give up with [`BackendError::TooManyHosts`] as soon as more than `limits.max_hosts` are certain.
    fn resolve(
        &mut self,
        targets: &Targets,
        limits: &Limits,
    ) -> impl Future<Output = Result<Candidates, BackendError>>;

    /// The first `most` enrolled hosts that hold this text in a name, uuid, serial or address. `None` where
    /// the server lists no hosts.
    fn search(
        &mut self,
        _text: &str,
        _most: usize,
    ) -> impl Future<Output = Result<Option<Found>, BackendError>> {
        async { Ok(None) }
    }

    /// Dispatches the statement to exactly these hosts (never an empty list) and listens.
    fn start(
        &mut self,
        statement: &Statement,
        hosts: &[Host],
    ) -> impl Future<Output = Result<Asked, BackendError>>;

    /// As [`Backend::start`], where an earlier run had asked some of these hosts: what they have answered it
    /// meanwhile comes first, where the server keeps that.
    fn resume(
        &mut self,
        statement: &Statement,
        hosts: &[Host],
        _left: &Left,
    ) -> impl Future<Output = Result<Asked, BackendError>> {
        self.start(statement, hosts)
    }

    /// Proves that the statement may be run on these hosts, without dispatching it (`check`).
    fn permits(
        &mut self,
        _statement: &Statement,
        _hosts: &[Host],
    ) -> impl Future<Output = Result<(), BackendError>> {
        async { Ok(()) }
    }

    /// How connecting to the server went; `None` where it was not dialled yet.
    fn connecting(&self) -> Option<Connecting>;

    /// The campaign's id at the server, once there is one.
    fn campaign_id(&self) -> Option<String>;

    /// The ids of further campaigns of this run, or of earlier ones, that may still bring answers.
    fn other_campaign_ids(&self) -> Vec<String> {
        Vec::new()
    }

    /// The query kept at the server that was run in the statement's place, where one was.
    fn saved_query(&self) -> Option<SavedQuery> {
        None
    }

    /// The next thing that happens. Never called again after an error or [`Event::Exhausted`].
    fn next(&mut self) -> impl Future<Output = Result<Event, BackendError>>;

    /// Whether, as things stand before [`Backend::stop`], the server may go on handing the query out
    /// after this process has ended. `all_answered`: every targeted host has given its answer.
    fn may_be_running(&self, all_answered: bool) -> bool;

    /// Tells the server to stop the campaign, as far as the token may, and ends a login session.
    /// Best effort: failures are logged, never reported. The caller bounds it to 2 s.
    fn stop(&mut self, all_answered: bool) -> impl Future<Output = ()>;

    /// Until when at least the server, as things stand, hands the query out to silent hosts if
    /// [`Backend::leave_queued`] is called in place of [`Backend::stop`]; `None` where it keeps nothing.
    fn queued_until(&self) -> Option<SystemTime> {
        None
    }

    /// Ends the campaign here and leaves its query with the server, for hosts that have not answered.
    fn leave_queued(&mut self) -> impl Future<Output = ()> {
        self.stop(false)
    }
}
