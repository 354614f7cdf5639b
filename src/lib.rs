//! `osquery-live-query`: one allowlisted osquery live query, dispatched to Fleet or osctrl, with the
//! name of every host that did not answer.
//!
//! The way through: stdin → [`invocation`] → [`step`] → [`allowlist`] → policy → [`backend`] →
//! campaign → report → stdout. Nothing before the backend touches the network.

pub mod allowlist;
pub mod backend;
pub mod invocation;
pub mod problem;
pub mod secret;
pub mod step;
