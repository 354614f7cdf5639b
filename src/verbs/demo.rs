//! The verb `demo`: starts the simulator in this process on loopback, runs this very binary against a
//! simulated Fleet and a simulated osctrl, and shows the step, the progress and the document.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use osquery_simulator::{
    Answer, FLEET_MAINTAINER_TOKEN, HostSpec, OSCTRL_PLUGIN_TOKEN, Osctrl, Scenario, Simulator,
};

use crate::exit::{Code, Exit};

/// A step of `playbooks/`, and what it needs.
struct Act {
    title: &'static str,
    file: &'static str,
    step: &'static str,
    /// The address in the file, in place of which the simulator's is put.
    address: &'static str,
    secret: (&'static str, &'static str),
}

const ACTS: [Act; 2] = [
    Act {
        title: "Fleet",
        file: "playbooks/triage-running-processes.step.yaml",
        step: include_str!("../../playbooks/triage-running-processes.step.yaml"),
        address: "https://fleet.corp.example.com",
        secret: (
            "OSQUERY_LIVE_QUERY_SECRET_FLEET_TOKEN",
            FLEET_MAINTAINER_TOKEN,
        ),
    },
    Act {
        title: "osctrl",
        file: "playbooks/triage-running-processes-osctrl.step.yaml",
        step: include_str!("../../playbooks/triage-running-processes-osctrl.step.yaml"),
        address: "https://osctrl.corp.example.com",
        secret: (
            "OSQUERY_LIVE_QUERY_SECRET_OSCTRL_TOKEN",
            OSCTRL_PLUGIN_TOKEN,
        ),
    },
];

const ALERT: &str = include_str!("../../playbooks/alert.example.yaml");

/// Shows both runs. All is well where both wrote the document that was to be expected.
pub(crate) fn run() -> Exit {
    match show() {
        Ok(()) => Exit::Ok,
        Err(message) => {
            // stderr may be closed; the status tells the rest.
            let _ = writeln!(io::stderr(), "error: the demo failed: {message}");
            Code::Internal.into()
        }
    }
}

fn show() -> Result<(), String> {
    let scenario = Scenario {
        osctrl: Osctrl {
            environments: vec!["production".into()],
            ..Osctrl::default()
        },
        ..Scenario::of([
            HostSpec::named("web-01"),
            HostSpec::named("web-02").delayed(Duration::from_millis(1_200)),
            HostSpec::named("db-01").answering(Answer::Error("no such table: processes".into())),
            HostSpec::named("laptop-07").offline(),
        ])
        .with_tls()
    };
    let simulator = Simulator::spawn(scenario).map_err(|error| error.to_string())?;
    let authority = simulator.ca_path().ok_or("no certificate")?;
    let alert = Alert::write()?;
    say(&format!(
        "Simulated servers listen on {}: web-01 answers at once, web-02 after 1.2 s, db-01 with an\n\
         osquery error, laptop-07 is offline, and printer-9 is not enrolled.\n",
        simulator.base_url()
    ))?;
    for act in ACTS {
        let trusted = format!(
            "{}\"\n  ca_file: \"{}",
            simulator.base_url(),
            authority.display()
        );
        let step = act.step.replace(act.address, &trusted);
        say(&format!("\n━━ {} ━━ {}\n\n{step}\n", act.title, act.file))?;
        say("$ osquery-live-query -v --context playbooks/alert.example.yaml < step.yaml\n")?;
        let document = run_binary(&act, &step, &alert.0)?;
        say(&format!("{document:#}\n"))?;
        let named = document["timed_out_hosts"].as_array().map(Vec::len);
        let answered = document["results"].as_object().map(serde_json::Map::len);
        if (answered, named) != (Some(3), Some(2)) {
            return Err("three hosts should have answered, and two should be named".into());
        }
    }
    Ok(())
}

fn run_binary(act: &Act, step: &str, context: &Path) -> Result<serde_json::Value, String> {
    let binary = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(binary)
        .args(["-v", "--context"])
        .arg(context)
        .env(act.secret.0, act.secret.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(step.as_bytes())
            .map_err(|error| error.to_string())?;
    }
    let output = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| "stdout was not a document".into())
}

fn say(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())
}

/// The context file, for as long as the demo runs.
struct Alert(PathBuf);

impl Alert {
    fn write() -> Result<Self, String> {
        let name = format!("osquery-live-query-demo-{}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, ALERT).map_err(|error| error.to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Alert {
    fn drop(&mut self) {
        // A file that is gone already needs no more.
        let _ = std::fs::remove_file(&self.0);
    }
}
