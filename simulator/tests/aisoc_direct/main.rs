//! AiSOC's own osquery service: every recording of it, and what can't be recorded.

#![allow(missing_docs, reason = "tests")]

#[path = "../client/mod.rs"]
mod client;
mod connections;
mod queries;
mod recordings;
#[path = "../replay/mod.rs"]
mod replay;
#[path = "../replay/http.rs"]
mod replay_http;
mod site;
mod vocabulary;
