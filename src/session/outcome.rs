//! How an execution ended and what it brought: values for whoever writes them (a document on stdout, a
//! tool's answer, a rehearsal).

use std::time::{Duration, SystemTime};

use super::cancel::Cancelled;
use super::failure::Failure;
use super::timings::Timings;
use crate::campaign::{Campaign, Status};
use crate::exit::{Code, Exit};
use crate::servers::SavedQuery;

/// What became of one step.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing was sent to a server.
    Refused {
        /// The rendered `target_hosts`, where it came that far.
        named: Vec<String>,
        /// Why: never [`End::Complete`] or [`End::Deadline`].
        end: End,
    },
    /// What a `check` found would be sent, and to whom.
    Planned {
        /// The server.
        about: About,
        /// The hosts that would be asked.
        campaign: Box<Campaign>,
        /// The SQL.
        sql: String,
    },
    /// A server was spoken to.
    Ran {
        /// The server, and the campaign's id there.
        about: About,
        /// Who was to be asked, and who answered.
        targets: Targets,
        /// Why it is over.
        end: End,
    },
}

/// Whom an execution was to ask.
#[derive(Debug)]
pub enum Targets {
    /// It ended before the server was asked who they are.
    Named {
        /// The rendered `target_hosts`, but for those that an earlier run had the answers of.
        named: Vec<String>,
        /// What an earlier run brought that was to be resumed.
        kept: Option<Box<Campaign>>,
    },
    /// They are resolved; with what they answered.
    Resolved(Box<Campaign>),
}

/// Why an execution is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nobody is left to wait for.
    Complete,
    /// The deadline came while answers were collected.
    Deadline,
    /// It was ended from outside.
    Cancelled(Cancelled),
    /// Something went wrong; what came before that is kept.
    Failed(Failure),
}

/// The server that was asked, and its campaign, apart from what is counted.
#[derive(Debug, Clone)]
pub struct About {
    /// The kind of server, as a step's `backend` names it.
    pub backend: &'static str,
    /// The campaign's id there, fit to be shown; `None` where there is none.
    pub id: Option<String>,
    /// The ids of further campaigns that may still bring answers, fit to be shown.
    pub other_ids: Vec<String>,
    /// The query kept at the server that was run in the statement's place, where one was.
    pub saved_query: Option<SavedQuery>,
    /// From the start of the execution to its outcome.
    pub elapsed: Duration,
    /// Where that time went.
    pub timings: Timings,
    /// The server was not known to have stopped.
    pub may_be_running: bool,
    /// Until when the query stays with the server for hosts that have not answered, where it does.
    pub queued_until: Option<SystemTime>,
    /// What the answers leave open, where a host answered without rows or without a digest.
    pub note: Option<String>,
}

impl Outcome {
    /// A step that was not let through.
    pub fn refused(failure: Failure, named: Vec<String>) -> Self {
        Self::Refused {
            named,
            end: End::Failed(failure),
        }
    }

    /// Targets and answers, once the targets were resolved; before that, what an earlier run brought.
    pub fn campaign(&self) -> Option<&Campaign> {
        match self {
            Self::Planned { campaign, .. }
            | Self::Ran {
                targets: Targets::Resolved(campaign),
                ..
            } => Some(campaign),
            Self::Ran {
                targets: Targets::Named { kept, .. },
                ..
            } => kept.as_deref(),
            Self::Refused { .. } => None,
        }
    }

    /// The rendered `target_hosts` of an execution that ended before they were resolved.
    pub fn named(&self) -> &[String] {
        match self {
            Self::Refused { named, .. }
            | Self::Ran {
                targets: Targets::Named { named, .. },
                ..
            } => named,
            _ => &[],
        }
    }

    /// The server, once it is known which is asked.
    pub fn about(&self) -> Option<&About> {
        match self {
            Self::Refused { .. } => None,
            Self::Planned { about, .. } | Self::Ran { about, .. } => Some(about),
        }
    }

    /// Why it is over.
    pub fn end(&self) -> &End {
        match self {
            Self::Planned { .. } => &End::Complete,
            Self::Refused { end, .. } | Self::Ran { end, .. } => end,
        }
    }

    /// What went wrong.
    pub fn error(&self) -> Option<&Failure> {
        match self.end() {
            End::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// Whether it was ended from outside.
    pub fn cancelled(&self) -> Option<Cancelled> {
        match self.end() {
            End::Cancelled(reason) => Some(*reason),
            _ => None,
        }
    }

    /// How a process that runs this alone ends; `fail_on_partial` makes a partial one a failure.
    pub(crate) fn exit(&self, fail_on_partial: bool) -> Exit {
        match self.end() {
            End::Complete | End::Deadline if fail_on_partial && self.partial() => Exit::Partial,
            End::Complete | End::Deadline => Exit::Ok,
            End::Cancelled(Cancelled::Interrupted) => Exit::Interrupted,
            End::Cancelled(Cancelled::Terminated | Cancelled::Withdrawn) => Exit::Terminated,
            End::Cancelled(Cancelled::Unread) => Code::Output.into(),
            End::Failed(failure) => failure.code.into(),
        }
    }

    /// Whether at least one host was asked.
    pub fn executed(&self) -> bool {
        matches!(self, Self::Ran { .. }) && self.campaign().is_some_and(Campaign::asked_any)
    }

    /// Whether a cap cut rows.
    pub fn truncated(&self) -> bool {
        self.campaign().is_some_and(Campaign::truncated)
    }

    /// Whether the rows are not all that was asked for: a target did not answer or answered with an error,
    /// rows were cut, or the execution failed or was cancelled.
    pub fn partial(&self) -> bool {
        if matches!(self, Self::Planned { .. }) {
            return false;
        }
        let answered = |campaign: &Campaign| {
            let mut targets = campaign.roster().targets.iter();
            targets.all(|target| campaign.status(target.host()) == Status::Ok)
        };
        self.error().is_some()
            || self.cancelled().is_some()
            || self.truncated()
            || !self.campaign().is_some_and(answered)
    }
}
