//! What a collector reads: hosts' posture, reports, lists of queries and their results, and how they change
//! between two polls.

#![allow(missing_docs, reason = "tests")]

#[path = "../client/mod.rs"]
mod client;
mod hosts;
mod queries;
mod recordings;
#[path = "../replay/mod.rs"]
mod replay;
#[path = "../replay/http.rs"]
mod replay_http;
mod reports;
mod scale;
mod site;
