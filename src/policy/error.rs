//! What the policy has to say when it stops a run. What becomes of it (its code, its hint) is decided above.

use std::path::PathBuf;

use super::VARIABLE;
use super::trust::Untrusted;
use crate::problem::{Placed, Problem};

/// Why the policy lets nothing happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The variable that names the policy is set to nothing.
    #[error("the variable {VARIABLE} is empty")]
    EmptyVariable,
    /// The variable and the flag name two different files.
    #[error(
        "two policies are named: {} by the variable {VARIABLE}, {} by `--policy`",
        variable.display(),
        flag.display()
    )]
    Two {
        /// What the variable names.
        variable: PathBuf,
        /// What the flag names.
        flag: PathBuf,
    },
    /// The file is not there, can't be read, or can be changed by others.
    #[error("the policy {} {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: Untrusted,
    },
    /// What it says is no policy, or not one that can be kept to. Places are those in the policy's file.
    #[error("the policy {} can't be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        problems: Vec<Placed>,
    },
    /// Nothing can be asked under it by who may only name instances.
    #[error("{}", match policy {
        Some(path) => format!("the policy {} has no instance, and a model can name nothing else", path.display()),
        None => "there is no policy: it says which servers a model may ask, and what".to_owned(),
    })]
    NoInstances {
        /// The policy's file; `None` where there is none.
        policy: Option<PathBuf>,
    },
    /// An instance's credentials can't be had.
    #[error("{0}")]
    Instance(String),
    /// The step does what the policy forbids, or, without a policy, the defaults.
    #[error("{} the step", match policy {
        Some(_) => "the operator's policy forbids",
        None => "the defaults forbid",
    })]
    Forbids {
        /// The policy's file; `None` where there is none.
        policy: Option<PathBuf>,
        /// Every rule that the step breaks.
        problems: Vec<Problem>,
    },
    /// The audit log can't be written to.
    #[error("the audit log {} can't be written to, so nothing is sent: {reason}", path.display())]
    AuditLog {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file of `lock_dir` can't be used.
    #[error("the lock {} can't be used: {reason}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Every slot stayed taken until the deadline.
    #[error(
        "this machine runs as many campaigns against the server as the policy's `max_concurrent` allows ({most}), and none ended before the deadline"
    )]
    Busy {
        /// `max_concurrent`.
        most: usize,
    },
}
