//! `--simulate FILE`: a rehearsal. The steps of every file without errors really run, one after the other,
//! in this very process against simulated servers on loopback with the hosts of FILE. Only the way to the
//! server is changed in a step: `base_url`, `ca_file` and the credentials. Steps of other types are left
//! out; conditions are not evaluated.

use std::path::Path;

use osquery_simulator::{Scenario, Simulator};
use serde_json::{Map, Value, json};

use super::examine::{Content, Settings, content};
use super::finding::{FileReport, Rehearsal, Severity};
use super::{inputs, playbook};
use crate::call_error::CallError;
use crate::input::MAX_INPUT_BYTES;
use crate::process::stderr::Stderr;
use crate::regular_file::{self, Links};
use crate::session::failure::Failure;
use crate::step::schema::keys_of_others;
use crate::verbs::rehearsed;

/// What a file brings to its rehearsal.
struct Script {
    steps: Vec<Value>,
    context: Map<String, Value>,
}

/// Runs the steps; their documents go into the plans.
///
/// # Errors
/// `usage`, where the scenario can't be used; `internal`, where a step can't be executed at all.
pub fn rehearse(
    scenario: &Path,
    settings: &Settings,
    files: &mut [FileReport],
    stderr: &Stderr,
) -> Result<(), Failure> {
    let scripts: Vec<Option<Script>> = files.iter().map(|file| script(file, settings)).collect();
    let steps = || scripts.iter().flatten().flat_map(|script| &script.steps);
    let scenario = read(scenario)?.with_environments(environments(steps()));
    let simulator = Simulator::spawn(scenario.clone())
        .map_err(|error| CallError::Simulator(error.to_string()))?;
    for (file, script) in files.iter_mut().zip(scripts) {
        let Some(Script { steps, mut context }) = script else {
            continue;
        };
        for (step, plan) in steps.iter().zip(&mut file.plans) {
            let id = playbook::id_of(step).unwrap_or_default();
            stderr.progress(&format!("{}: {id} is rehearsed", file.path));
            let invocation = invocation(step, &context, &scenario, &simulator);
            let rehearsed = rehearsed::rehearse(&invocation, stderr.notices())?;
            let rehearsal = Rehearsal {
                exit_code: rehearsed.status,
                document: rehearsed.document,
            };
            let before = context.entry("steps").or_insert_with(|| json!({}));
            if let Value::Object(before) = before {
                before.insert(id, rehearsal.document.clone());
            }
            plan.rehearsal = Some(rehearsal);
        }
    }
    stderr.erase_progress();
    Ok(())
}

fn read(path: &Path) -> Result<Scenario, CallError> {
    let unusable = |what, advice| CallError::Scenario {
        path: path.to_owned(),
        what,
        advice,
    };
    let content = regular_file::read(path, MAX_INPUT_BYTES, Links::Follow)
        .map_err(|error| unusable(error.to_string(), Some(error.advice())))?;
    let no_scenario = |reason: &str| unusable(format!("can't be used: {reason}"), None);
    let text = String::from_utf8(content.bytes).map_err(|_| no_scenario("it is not UTF-8"))?;
    Scenario::from_yaml(&text).map_err(|error| no_scenario(&error.to_string()))
}

/// The steps of ours in a file without errors, in their order, and what is known of their context.
fn script(file: &FileReport, settings: &Settings) -> Option<Script> {
    let is_error = |severity| severity == Severity::Error;
    if file
        .findings
        .iter()
        .any(|finding| is_error(finding.severity))
    {
        return None;
    }
    let bytes = file.text.as_deref()?.as_bytes();
    let context = settings.context.clone().unwrap_or_default();
    let document = match content(bytes, file.named_playbook).ok()? {
        Content::Playbook(document) => document,
        Content::Single(invocation) => {
            return Some(Script {
                steps: vec![invocation.step.into_value()],
                context: invocation.context.unwrap_or(context),
            });
        }
    };
    let ours = playbook::own_steps(document.value()).into_iter();
    // What is the engine's own is kept by it.
    let ours = ours.map(|step| {
        let mut step = step.clone();
        let foreign: Vec<String> = keys_of_others(&step)
            .into_iter()
            .map(str::to_owned)
            .collect();
        if let Some(entries) = step.as_object_mut() {
            entries.retain(|key, _| !foreign.contains(key));
        }
        step
    });
    Some(Script {
        steps: ours.collect(),
        context: inputs::context_with(document.value(), &context),
    })
}

/// What steps say for the needs of their servers: environments that a scenario may not name.
fn environments<'a>(steps: impl Iterator<Item = &'a Value>) -> Vec<&'a str> {
    let params = steps.filter_map(|step| step.get("params")?.as_object());
    params
        .filter_map(|params| params.get("environment")?.as_str())
        .collect()
}

/// The step as an engine would send it, to the simulator.
fn invocation(
    step: &Value,
    context: &Map<String, Value>,
    ways_in: &Scenario,
    simulator: &Simulator,
) -> Value {
    let mut step = step.clone();
    let mut secrets = Map::new();
    if let Some(params) = step.get_mut("params").and_then(Value::as_object_mut) {
        let backend = params.get("backend").and_then(Value::as_str);
        let known = backend.and_then(|backend| ways_in.way_in(backend));
        let known = known.unwrap_or_default();
        for (field, value) in [
            ("api_token", &known.token),
            ("username", &known.username),
            ("password", &known.password),
        ] {
            if params.contains_key(field) {
                let name = format!("rehearsal_{field}");
                params.insert(field.into(), format!("{{{{ secrets.{name} }}}}").into());
                secrets.insert(name, value.as_str().into());
            }
        }
        params.insert("base_url".into(), simulator.base_url().into());
        match simulator.ca_path() {
            Some(path) => params.insert("ca_file".into(), path.display().to_string().into()),
            None => params.remove("ca_file"),
        };
    }
    json!({ "protocol": 1, "step": step, "context": context, "secrets": secrets })
}
