//! What a call of a verb gets wrong, outside of any step: its flags, and the files that they name. It lies
//! below all rooms, since those that meet it stand above the one that turns errors into codes.

use std::path::PathBuf;

/// Why a verb can't do what it was called for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// Arguments that do not parse.
    #[error("{message}")]
    Arguments {
        /// What is wrong with them.
        message: String,
        /// What helps.
        help: String,
    },
    /// Arguments that do not go together.
    #[error("{message}")]
    Flags {
        /// Whose (`templates export`).
        verb: &'static str,
        /// What is wrong with them.
        message: String,
    },
    /// A file or a folder that can't be used.
    #[error("{} {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong, after its name.
        what: String,
        /// What is expected there.
        hint: Option<&'static str>,
    },
    #[cfg(feature = "demo")]
    /// The scenario of simulated servers can't be used.
    #[error("the scenario {} {what}", path.display())]
    Scenario {
        /// Its file.
        path: PathBuf,
        /// What is wrong, after its name.
        what: String,
        /// What to do about the file itself.
        advice: Option<&'static str>,
    },
    #[cfg(feature = "demo")]
    /// The simulated servers can't be started.
    #[error("the simulated servers can't be started: {0}")]
    Simulator(String),
    /// A secret that a flag names can't be had.
    #[error("{0}")]
    Secret(String),
    /// What came does not fit its signature and the secret of this name.
    #[error("the signature does not fit this document and the secret `{0}`")]
    Signature(String),
    /// The operator's policy holds a template back.
    #[error("{0}")]
    Withheld(String),
    /// No statement can be made of a template and its values.
    #[error("{0}")]
    NoStatement(String),
    #[cfg(feature = "demo")]
    /// The demo showed something else than it was to show.
    #[error("the demo failed: {0}")]
    Demo(String),
}
