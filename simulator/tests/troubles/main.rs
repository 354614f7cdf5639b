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
mod osctrl_versions;
mod outages;
mod proxy;
mod site;
mod sizes;
