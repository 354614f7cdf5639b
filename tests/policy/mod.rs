//! The operator's policy, from outside: each rule refuses before a socket is opened, and lets pass what it
//! allows.

mod audit;
mod dry_run;
mod files;
mod instances;
mod limits;
mod locks;
mod paths;
mod secrets;
mod server;
mod templates;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use osquery_simulator::{
    Answer, FLEET_MAINTAINER_TOKEN, HostSpec, OSCTRL_PLUGIN_TOKEN, Scenario, Simulator,
};

use crate::harness::document::Document;
use crate::harness::folder::Folder;
use crate::harness::{Binary, Ran, step};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with one host that answers.
fn server() -> Simulator {
    Simulator::spawn(Scenario::of([HostSpec::named("web-01")])).expect("a simulator")
}

/// A server whose one host stays silent.
fn silent_server() -> Simulator {
    let host = HostSpec::named("web-01").answering(Answer::Silent);
    Simulator::spawn(Scenario::of([host])).expect("a simulator")
}

/// A step for Fleet at a URL; `more` is further lines of `params`.
fn fleet_step(url: &str, more: &str) -> String {
    format!(
        "id: s\ntype: osquery_live_query\nparams:\n  backend: fleetdm\n  base_url: \"{url}\"\n  api_token: \"{{{{ secrets.token }}}}\"\n  target_hosts: [web-01]\n  {}\n{}",
        template(more),
        lines(more)
    )
}

/// A step that names an instance.
fn instance_step(name: &str, more: &str) -> String {
    format!(
        "id: s\ntype: osquery_live_query\nparams:\n  instance: {name}\n  target_hosts: [web-01]\n  {}\n{}",
        template(more),
        lines(more)
    )
}

fn template(more: &str) -> &'static str {
    if more.contains("template:") {
        ""
    } else {
        "template: logged_in_users"
    }
}

fn lines(more: &str) -> String {
    more.lines().map(|line| format!("  {line}\n")).collect()
}

/// The binary with a step, and the secret `token` in its environment.
fn binary(step_text: &str) -> Binary {
    step(step_text).env("OSQUERY_LIVE_QUERY_SECRET_TOKEN", FLEET_MAINTAINER_TOKEN)
}

/// The binary with a step and a policy.
fn under(policy: &std::path::Path, step_text: &str) -> Binary {
    binary(step_text).arg("--policy").arg(policy)
}

/// Asserts that a run was refused by the policy: exit status, code, all of stderr.
#[track_caller]
fn assert_refused(ran: &Ran, stderr: &str) -> Document {
    ran.assert_failure(14, "policy", &format!("error[policy]: {stderr}\n"))
}

/// Asserts that a run brought the host's rows.
#[track_caller]
fn assert_ran(ran: &Ran) -> Document {
    let document = ran.document();
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(document.statuses().get("web-01"), Some(&"ok"), "{ran:?}");
    document
}
