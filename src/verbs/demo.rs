//! The verb `demo`: starts the simulator in this process on loopback, runs one step against a simulated
//! server of each kind, and shows the step, the progress and the document.

use std::time::Duration;

use osquery_simulator::{Answer, HostSpec, Scenario, Simulator};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::call_error::CallError;
use crate::exit::Exit;
use crate::input;
use crate::known_servers;
use crate::notices::Level;
use crate::policy::Policy;
use crate::process::Process;
use crate::verbs::{mcp, rehearsed};

const ALERT: &str = include_str!("../../playbooks/alert.example.yaml");

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Serve the simulated servers to a client of the Model Context Protocol on stdio (`mcp`) instead.
    #[arg(long)]
    pub mcp: bool,
}

/// Shows a run on each kind of server, or serves them. Returns the exit status: 0 where each wrote the document
/// that was to be expected.
pub(crate) fn run(args: &DemoArgs, process: &Process) -> Exit {
    let shown = match args.mcp {
        true => serve(process),
        false => show(process).map(|()| Exit::Ok),
    };
    shown.unwrap_or_else(|message| process.fail(&CallError::Demo(message).into()))
}

/// The same hosts behind `mcp`, each kind of server as an instance of its name.
fn serve(process: &Process) -> Result<Exit, String> {
    let scenario = scenario();
    let simulator = Simulator::spawn(scenario.clone()).map_err(|error| error.to_string())?;
    let mut instances = Map::new();
    for known in &known_servers::ALL {
        let way_in = scenario.way_in(known.name).ok_or("nobody may ask")?;
        let mut instance = json!({
            "backend": known.name,
            "base_url": simulator.base_url(),
            "credentials": { "api_token": { "text": way_in.token } },
        });
        for need in known.needs {
            instance[need.field] = need.example.into();
        }
        instances.insert(known.name.to_owned(), instance);
    }
    let keys = json!({ "instances": instances, "mcp": { "confirm_above": 3 } });
    let policy = Policy::simulated(keys).ok_or("the policy can't be read")?;
    mcp::serve(policy, false, process).map_err(|failure| failure.message)
}

/// The hosts of both.
fn scenario() -> Scenario {
    let needs = known_servers::ALL.iter().flat_map(|known| known.needs);
    let needs = needs.filter(|need| need.field == "environment");
    Scenario::of([
        HostSpec::named("web-01"),
        HostSpec::named("web-02").delayed(Duration::from_millis(1_200)),
        HostSpec::named("db-01").answering(Answer::Error("no such table: processes".into())),
        HostSpec::named("laptop-07").offline(),
    ])
    .with_environments(needs.map(|need| need.example))
}

fn show(process: &Process) -> Result<(), String> {
    let say = |text: &str| match process.text(text) {
        Exit::Ok => Ok(()),
        _ => Err("stdout can't be written".to_owned()),
    };
    let scenario = scenario().with_tls();
    let simulator = Simulator::spawn(scenario.clone()).map_err(|error| error.to_string())?;
    let authority = simulator.ca_path().ok_or("no certificate")?;
    say(&format!(
        "Simulated servers listen on {}: web-01 answers at once, web-02 after 1.2 s, db-01 with an\n\
         osquery error, laptop-07 is offline, and printer-9 is not enrolled.\n",
        simulator.base_url()
    ))?;
    for known in &known_servers::ALL {
        let (file, step) = known.example.playbook;
        let way_in = scenario.way_in(known.name).ok_or("nobody may ask")?;
        let address = address(step)?;
        let trusted = format!(
            "{}\"\n  ca_file: \"{}",
            simulator.base_url(),
            authority.display()
        );
        let step = step.replace(&address, &trusted);
        say(&format!("\n━━ {} ━━ {file}\n\n{step}\n", known.title))?;
        say("$ osquery-live-query -v --context playbooks/alert.example.yaml < step.yaml\n")?;
        let notices = process.stderr.notices_up_to(Level::Info);
        let invocation = invocation(&step, known.example.secret, &way_in.token)?;
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

/// The address in a step's file, in place of which the simulator's is put.
fn address(step: &str) -> Result<String, String> {
    let step = input::decode(step.as_bytes()).map_err(|error| error.message)?;
    let address = step.step.value().pointer("/params/base_url");
    let address = address.and_then(Value::as_str);
    Ok(address.ok_or("the step has no address")?.to_owned())
}

/// The step as an engine would send it.
fn invocation(step: &str, secret: &str, token: &str) -> Result<Value, String> {
    let step = input::decode(step.as_bytes()).map_err(|error| error.message)?;
    let context = input::decode_context(ALERT.as_bytes()).map_err(|error| error.message)?;
    Ok(json!({
        "protocol": 1,
        "step": step.step.into_value(),
        "context": context,
        "secrets": { secret: token },
    }))
}
