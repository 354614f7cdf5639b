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
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use osquery_simulator::{
    Answer, FLEET_MAINTAINER_TOKEN, HostSpec, OSCTRL_PLUGIN_TOKEN, Scenario, Simulator,
};

use crate::harness::document::Document;
use crate::harness::{Binary, Ran, step};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of its own that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("policy-{}-{count}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        let folder = Self(path);
        folder.mode("", 0o755);
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            return self.0.clone();
        }
        self.0.join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn folder(&self, name: &str) -> PathBuf {
        fs::create_dir(self.at(name)).expect("a folder");
        self.mode(name, 0o755);
        self.at(name)
    }

    /// A file that only its owner can write to.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.at(name), text).expect("a file");
        self.mode(name, 0o600);
        self.at(name)
    }

    fn policy(&self, text: &str) -> PathBuf {
        self.file("policy.yaml", text)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).expect("a text file")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the folder can be removed");
    }
}

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
