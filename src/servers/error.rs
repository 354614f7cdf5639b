//! What can go wrong between this process and a server, in classes that the exit codes know.
//! Messages are the user's words; text of servers in them is already redacted.

/// A failure of a backend. One variant a class of the contract's exit codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The server refused the credentials or the role.
    #[error("{message}")]
    Auth {
        /// What was refused.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The targets can't be what the step asks for (an unknown label or environment).
    #[error("{message}")]
    Targets {
        /// What is wrong with them.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// More hosts than the step's `max_hosts`.
    #[error(
        "the targets are more hosts than `max_hosts` allows ({max_hosts}): nothing was dispatched"
    )]
    TooManyHosts {
        /// The limit that was passed.
        max_hosts: usize,
    },
    /// The server answered with an error or with something that it should not.
    #[error("{message}")]
    Answer {
        /// HTTP status, where that is what was wrong.
        status: Option<u16>,
        /// What the server did.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// DNS, connect, TLS, or a connection that stayed broken.
    #[error("{message}")]
    Unreachable {
        /// What could not be reached, and why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The way to the server can't be used before somebody puts it right: its certificate, `ca_file`, a
    /// proxy's variable, a limit of this process. The same class as [`BackendError::Unreachable`], but
    /// trying again is of no use.
    #[error("{message}")]
    Setup {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The server's name leads to an address that is never connected to.
    #[error("{message}")]
    Forbidden {
        /// Which name, and what is wrong with where it leads.
        message: String,
    },
    /// The server asked to come back later than the deadline allows.
    #[error("{message}")]
    Busy {
        /// What the server said.
        message: String,
    },
}
