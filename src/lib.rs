//! `osquery-live-query`: one allowlisted osquery live query, dispatched to Fleet or osctrl, with the
//! name of every host that did not answer.
//!
//! The way through: stdin → [`input`] → [`step`] → [`allowlist`] → [`policy`] → [`servers`] →
//! [`campaign`] → [`output`] → stdout. Nothing before the servers touches the network.

pub mod address;
pub mod allowlist;
mod bug;
pub mod campaign;
pub mod cli;
pub mod exit;
pub mod input;
mod nearest;
pub mod notices;
pub mod output;
pub mod path;
pub mod policy;
pub mod printable;
pub mod problem;
pub mod process;
pub mod schema;
pub mod secret;
pub mod servers;
pub mod session;
pub mod step;
mod time;
pub mod verbs;
