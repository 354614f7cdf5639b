//! One allowlisted osquery live query, dispatched to a live-query server, with the name of every host that
//! did not answer; for programs that embed what the binary `osquery-live-query` does.
//!
//! A step goes one way: [`prepare`] takes an invocation's bytes to a [`CheckedStep`] (schema, rendering,
//! allowlist, the operator's policy; no network), [`execute`] takes that to an [`Outcome`] (log in, resolve,
//! dispatch, collect), and [`Aftermath::finish`] tells the server to stop. Any number of executions run at
//! once in one process; each has its own [`Notices`], whose redactor knows its own secrets only.
//!
#![doc = include_str!("../docs/embedding.md")]
//!
//! The rooms of `src/`, from the top: `cli`, `verbs`, `process`, `output`, `session`, `servers`, `policy`,
//! `allowlist`, `step`, `campaign`, `schema`, `input`. Each names only rooms below it.

mod address;
mod allowlist;
mod bug;
mod call_error;
mod campaign;
mod cli;
mod collect;
mod connector;
mod events;
mod exit;
mod input;
mod json_parts;
mod json_text;
mod known_servers;
mod memory;
mod nearest;
mod notices;
mod output;
mod path;
mod policy;
mod printable;
mod problem;
mod process;
mod regular_file;
mod schema;
mod secret;
mod servers;
mod session;
mod severity;
mod step;
#[cfg(test)]
mod tests;
mod time;
mod trace;
mod uuid;
mod verbs;

pub use campaign::Campaign;
pub use exit::Code;
pub use notices::{Level, Notices};
pub use output::Format;
pub use path::Path;
pub use policy::Policy;
pub use problem::{Placed, Position, Problem};
pub use session::failure::{Detail, Failure};
pub use session::prepare::{Sources, prepare};
pub use session::{
    About, Aftermath, Cancel, Cancelled, Canceller, CheckedStep, End, Gone, Keeping, Mode, Outcome,
    Progress, Refused, Run, Session, Sink, Targets, Timings, execute,
};

/// The binary: parses the arguments (the program's name first), runs the verb, and returns the status that
/// the process ends with. `started` is when the process began.
pub use cli::main;

/// What only this project's own tests, benchmarks and fuzz targets reach; no promise holds for it.
#[doc(hidden)]
pub mod inside {
    /// What a poll found out.
    pub mod events {
        pub use crate::collect::HostCounts;
        pub use crate::events::*;
        pub use crate::output::collected::EventFormat;
        pub use crate::output::collected::gauges::Gauges;
    }
    pub use crate::allowlist::{Registry, Statement, Template};
    pub use crate::campaign::host::{Answer, Asked, Candidates, Host, HostId, Platform, Texts};
    pub use crate::campaign::roster::{Roster, Targets};
    pub use crate::campaign::rows::{Keep, Rows};
    pub use crate::campaign::{Limits, OfflineHosts};
    pub use crate::cli::Cli;
    #[cfg(fuzzing)]
    pub use crate::collect::fuzz as fuzz_collect;
    pub use crate::known_servers::{Access, KnownServer};
    pub use crate::schema::texts;
    pub use crate::secret::{Secret, SecretSources};
    pub use crate::servers::clients::*;
    pub use crate::servers::http::{Http, Incoming, Item, List, limits};
    pub use crate::servers::{Backend, BackendError, Event};
    pub use crate::severity::Severity;
    pub use crate::step::model::{Credentials, Server, TemplateCall};
    #[cfg(fuzzing)]
    pub use crate::verbs::mcp::fuzz as fuzz_frames;
    pub use crate::verbs::show::{ShowFormat, text as show_text};
    pub use crate::verbs::templates::{TemplatesArgs, TemplatesFormat, text as templates_text};
}
