//! The nouns of a campaign: hosts as servers describe them, and what they answer. Pure: no server's words
//! beyond a platform's, no I/O.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::names::Seen;
use super::rows::Rows;

/// A host's identity towards its server: whatever the server dispatches to and answers with. Shared by all
/// who know the host: a hundred thousand of them are held in many places.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub Arc<str>);

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
    /// The name that the computer has beside its hostname; empty where it is the same.
    pub computer_name: String,
    /// Its address, where the server says and it can be one host's.
    pub address: Option<IpAddr>,
    /// The platform, where the server's word for it is known.
    pub platform: Option<Platform>,
    /// Whether the server holds it for online; `None` where it did not say.
    pub online: Option<bool>,
    /// When the server last saw it: RFC 3339, as the server wrote it.
    pub last_seen: Option<String>,
    /// How often it checks in, where the server says so.
    pub check_in_interval: Option<Duration>,
    /// A phone or tablet: it runs no osquery, so that it is never asked and never waited for.
    pub unsupported: bool,
}

impl Host {
    /// A host of which nothing is known but the name that its server knows it by.
    pub fn named(name: &str) -> Self {
        Self {
            id: HostId(name.into()),
            hostname: name.to_owned(),
            uuid: String::new(),
            serial: String::new(),
            computer_name: String::new(),
            address: None,
            platform: None,
            online: None,
            last_seen: None,
            check_in_interval: None,
            unsupported: false,
        }
    }
}

/// Hosts that the server has for a step's targets. Which of them a name means is not the backend's to
/// say: `named` may hold more than what matches.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Hosts found for the names in `Targets::hosts`: at least every one that [`Sought::meets`] says yes to.
    ///
    /// [`Sought::meets`]: super::names::Sought::meets
    pub named: Vec<Host>,
    /// Members of the labels, or every host of the platforms where nothing else was named.
    pub grouped: Vec<Host>,
    /// What was seen of others on the way.
    pub seen: Seen,
    /// The server lists no hosts: each name of the step is one host until it says otherwise.
    pub unlisted: bool,
}

/// What one host answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Rows, or none.
    Rows(Rows),
    /// osquery's own error message.
    Error(String),
}

/// Who has been asked once a campaign is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// All hosts at once.
    All,
    /// Each one when its [`Event::Asked`] comes.
    OneByOne,
}

/// The platforms a step can narrow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// Any Linux distribution.
    Linux,
    /// macOS.
    Darwin,
    /// Windows.
    Windows,
}

impl Platform {
    /// The name in steps.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Darwin => "darwin",
            Self::Windows => "windows",
        }
    }

    /// The platform that a server's word for a host stands for: both servers give the distribution
    /// (`ubuntu`, `rhel`, …) for Linux. `None` for phones, tablets, Chromebooks and no word at all.
    pub fn of_host(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "" | "ios" | "ipados" | "android" | "chrome" | "freebsd" => None,
            "darwin" | "macos" => Some(Self::Darwin),
            "windows" => Some(Self::Windows),
            _ => Some(Self::Linux),
        }
    }
}
