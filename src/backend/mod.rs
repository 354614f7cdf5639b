//! What every backend does for the campaign above it, in the field's words. The campaign can't tell
//! whether answers are pushed or polled; foreign JSON stays in each backend's `wire.rs`.

mod cause;
pub mod error;
pub mod fleet;
pub mod http;
mod names;
pub mod osctrl;
pub mod rows;
mod tls;

pub use error::BackendError;
pub use rows::Rows;

use std::time::Duration;

use crate::allowlist::Statement;
use crate::step::model::{Limits, Platform, Targets};

/// A host's identity towards its backend (Fleet: the host's id; osctrl: the uuid in upper case).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub String);

/// An enrolled host, as the server described it when it was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// What the backend calls it.
    pub id: HostId,
    /// Hostname, as the server spells it.
    pub hostname: String,
    /// Hardware uuid, as the server spells it; may be empty.
    pub uuid: String,
    /// Hardware serial; may be empty.
    pub serial: String,
    /// The platform, where the server's word for it is known.
    pub platform: Option<Platform>,
    /// Whether the server holds it for online; `None` where it did not say.
    pub online: Option<bool>,
    /// When the server last saw it: RFC 3339, as the server wrote it.
    pub last_seen: Option<String>,
    /// How often it checks in, where the server says so.
    pub check_in_interval: Option<Duration>,
}

/// Hosts that the server has for a step's targets. Which of them a name means is not the backend's to
/// say: `named` may hold more than what matches.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Hosts found for the names in `Targets::hosts`: at least every one whose uuid, serial or hostname
    /// is one of the names, whatever the case.
    pub named: Vec<Host>,
    /// Members of the labels, or every host of the platforms where nothing else was named.
    pub grouped: Vec<Host>,
}

/// What one host answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Rows, or none.
    Rows(Rows),
    /// osquery's own error message.
    Error(String),
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
    /// The server says, while the campaign runs, that the host is offline.
    Offline(HostId),
    /// No further answer can come: the server has ended the campaign.
    Exhausted,
}

/// Who has been asked once a campaign is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// All hosts at once.
    All,
    /// Each one when its [`Event::Asked`] comes.
    OneByOne,
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

    /// Dispatches the statement to exactly these hosts (never an empty list) and listens.
    fn start(
        &mut self,
        statement: &Statement,
        hosts: &[Host],
    ) -> impl Future<Output = Result<Asked, BackendError>>;

    /// The campaign's id at the server, once there is one.
    fn campaign_id(&self) -> Option<String>;

    /// The next thing that happens. Never called again after an error or [`Event::Exhausted`].
    fn next(&mut self) -> impl Future<Output = Result<Event, BackendError>>;

    /// Whether, as things stand before [`Backend::stop`], the server may go on handing the query out
    /// after this process has ended. `all_answered`: every targeted host has given its answer.
    fn may_be_running(&self, all_answered: bool) -> bool;

    /// Tells the server to stop the campaign, as far as the token may, and ends a login session.
    /// Best effort: failures are logged, never reported. The caller bounds it to 2 s.
    fn stop(&mut self, all_answered: bool) -> impl Future<Output = ()>;
}
