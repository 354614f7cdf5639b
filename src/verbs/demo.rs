//! The verb `demo`: starts the simulator in this process on loopback, runs one step against a
//! simulated Fleet and a simulated osctrl, and shows the step, the progress and the document.

use std::time::Duration;

use osquery_simulator::{
    Answer, FLEET_MAINTAINER_TOKEN, HostSpec, OSCTRL_PLUGIN_TOKEN, Osctrl, Scenario, Simulator,
};

use serde_json::{Value, json};

use crate::call_error::CallError;
use crate::exit::Exit;
use crate::input;
use crate::notices::Level;
use crate::process::Process;
use crate::verbs::rehearsed;

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
        secret: ("fleet_token", FLEET_MAINTAINER_TOKEN),
    },
    Act {
        title: "osctrl",
        file: "playbooks/triage-running-processes-osctrl.step.yaml",
        step: include_str!("../../playbooks/triage-running-processes-osctrl.step.yaml"),
        address: "https://osctrl.corp.example.com",
        secret: ("osctrl_token", OSCTRL_PLUGIN_TOKEN),
    },
];

const ALERT: &str = include_str!("../../playbooks/alert.example.yaml");

/// Shows both runs. Returns the exit status: 0 where both wrote the document that was to be expected.
pub(crate) fn run(process: &Process) -> Exit {
    match show(process) {
        Ok(()) => Exit::Ok,
        Err(message) => process.fail(&CallError::Demo(message).into()),
    }
}

fn show(process: &Process) -> Result<(), String> {
    let say = |text: &str| match process.text(text) {
        Exit::Ok => Ok(()),
        _ => Err("stdout can't be written".to_owned()),
    };
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
        let notices = process.stderr.notices_up_to(Level::Info);
        let invocation = invocation(&act, &step)?;
        let document = rehearsed::rehearse(&invocation, notices)
            .map_err(|failure| failure.message)?
            .document;
        process.stderr.flush();
        say(&format!("{document:#}\n"))?;
        let named = document["timed_out_hosts"].as_array().map(Vec::len);
        let answered = document["results"].as_object().map(serde_json::Map::len);
        if (answered, named) != (Some(3), Some(2)) {
            return Err("three hosts should have answered, and two should be named".into());
        }
    }
    Ok(())
}

/// The step as an engine would send it.
fn invocation(act: &Act, step: &str) -> Result<Value, String> {
    let step = input::decode(step.as_bytes()).map_err(|error| error.message)?;
    let context = input::decode_context(ALERT.as_bytes()).map_err(|error| error.message)?;
    let (name, secret) = act.secret;
    Ok(json!({
        "protocol": 1,
        "step": step.step.into_value(),
        "context": context,
        "secrets": { name: secret },
    }))
}
