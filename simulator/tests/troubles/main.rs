//! What goes wrong with a whole deployment: parts that go away, services that end queries early, hostile
//! servers, odd proxies, servers of other years.

#![allow(missing_docs, reason = "tests")]

#[path = "../client/mod.rs"]
mod client;

mod admin_service;
mod counters;
mod fleet_versions;
mod floods;
mod hostile;
mod osctrl_recordings;
mod osctrl_versions;
mod outages;
mod proxy;
#[path = "../replay/mod.rs"]
mod replay;
#[path = "../replay/http.rs"]
mod replay_http;
mod site;
mod sizes;
