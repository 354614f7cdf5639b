//! The verbs: each takes its arguments and the process, and returns an exit status.

pub mod alert;
pub mod check;
pub mod collect;
#[cfg(feature = "demo")]
pub mod demo;
pub mod dry_run;
pub mod mcp;
#[cfg(feature = "demo")]
mod rehearsed;
pub mod run;
pub mod schema;
pub mod show;
pub mod templates;
