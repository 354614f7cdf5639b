//! `osquery-live-query`: one allowlisted osquery live query, dispatched to Fleet or osctrl, with the
//! name of every host that did not answer.
//!
//! The way through: stdin → [`invocation`] → [`step`] → [`allowlist`] → policy → [`backend`] →
//! campaign → report → stdout. Nothing before the backend touches the network.

pub mod allowlist;
pub mod backend;
pub mod bug;
pub mod campaign;
pub mod checked;
pub mod cli;
#[cfg(feature = "demo")]
pub mod demo;
pub mod describe;
pub mod dry_run;
pub mod exit;
pub mod failure;
mod help;
pub mod invocation;
pub mod logs;
pub mod manual;
pub mod output;
pub mod policy;
pub mod problem;
pub mod report;
pub mod roster;
pub mod run;
pub mod schemas;
pub mod secret;
pub mod step;
pub mod templates;
pub mod verbs;
