//! `collect`: the real binary polls simulated servers, again and again with one state.

mod changes;
mod config;
mod faults;
mod formats;
mod hosts;
mod kill;
mod kubernetes;
mod osctrl;
mod paging;
mod reports;
mod state;

use std::collections::BTreeSet;

use osquery_simulator::{FLEET_OBSERVER_TOKEN, OSCTRL_PLUGIN_TOKEN, Scenario, Simulator};
use serde_json::{Map, Value, json};

use crate::collected::against_own;
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site};
use crate::harness::{Binary, Ran, step};

/// Far enough back for everything that a scenario has.
const LONG: u64 = 31_536_000;

/// Of a poll of thousands of events that are alike so many are held to the schema, the last one, and every so
/// manyth of the others: a validator takes a while.
const MOST_HELD: usize = 500;

/// A connector for one site, its secret in the environment.
#[derive(Clone)]
struct Connector {
    fields: Map<String, Value>,
    token: &'static str,
    args: Vec<String>,
}

impl Connector {
    fn of(kind: Kind, simulator: &Simulator) -> Self {
        let mut fields = json!({
            "connector": kind.backend(),
            "base_url": simulator.base_url(),
            "api_token": "{{ secrets.token }}",
            "since_seconds": LONG,
            "timeout_seconds": 40,
        });
        let token = match kind {
            Kind::Fleet => FLEET_OBSERVER_TOKEN,
            Kind::Osctrl => {
                fields["environment"] = "dev".into();
                OSCTRL_PLUGIN_TOKEN
            }
            Kind::AisocDirect => unreachable!("it has nothing that is polled"),
        };
        let Value::Object(fields) = fields else {
            unreachable!("it is an object")
        };
        Self {
            fields,
            token,
            args: Vec::new(),
        }
    }

    fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.into(), value.into());
        self
    }

    fn without(mut self, field: &str) -> Self {
        self.fields.remove(field);
        self
    }

    fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    fn state(self, folder: &Folder) -> Self {
        self.arg("--state").arg(folder.name("state"))
    }

    fn text(&self) -> String {
        Value::Object(self.fields.clone()).to_string()
    }

    fn binary(&self) -> Binary {
        let mut binary = step(self.text()).arg("collect");
        for arg in &self.args {
            binary = binary.arg(arg);
        }
        binary.env("OSQUERY_LIVE_QUERY_SECRET_TOKEN", self.token)
    }

    #[track_caller]
    fn poll(&self) -> Polled {
        Polled::of(self.binary().run())
    }
}

/// What a poll wrote.
struct Polled {
    ran: Ran,
    events: Vec<Value>,
    summary: Value,
}

impl Polled {
    /// Lines of events, each with an id of its own, and the summary, which counts them; all as the schema says.
    #[track_caller]
    fn of(ran: Ran) -> Self {
        let lines = ran.stdout.lines().enumerate();
        let mut lines: Vec<Value> = lines
            .map(|(at, line)| match at < MOST_HELD || at % MOST_HELD == 0 {
                true => valid(line),
                false => serde_json::from_str(line).expect("JSON"),
            })
            .collect();
        if let Some(last) = ran.stdout.lines().last() {
            valid(last);
        }
        let summary = lines.pop().unwrap_or_else(|| panic!("nothing: {ran:?}"));
        assert_eq!(summary["kind"], "summary", "{ran:?}");
        assert_eq!(summary["events"], lines.len(), "{summary}");
        let ids: BTreeSet<&str> = lines.iter().map(id).collect();
        assert_eq!(ids.len(), lines.len(), "an id is repeated: {lines:#?}");
        Self {
            ran,
            events: lines,
            summary,
        }
    }

    /// All went well.
    #[track_caller]
    fn whole(self) -> Self {
        let Self { ran, summary, .. } = &self;
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
        for (_, stream) in summary["streams"].as_object().expect("streams") {
            assert_eq!(stream["ok"], true, "{summary}");
        }
        self
    }

    /// Events in short: kind, host, and what happened, in any order.
    fn told(&self) -> BTreeSet<String> {
        self.events.iter().map(short).collect()
    }
}

/// A line of the native format, held to the schema that `schema event` prints.
#[track_caller]
fn valid(line: &str) -> Value {
    let line = serde_json::from_str(line).expect("JSON");
    let against = against_own(&line);
    assert!(against.is_empty(), "{against:?}: {line:#}");
    line
}

fn id(event: &Value) -> &str {
    event["id"].as_str().expect("an id")
}

/// `host web-01 offline`, `query_row web-01 added {"name":"cron"}`.
fn short(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let (kind, host) = (text("kind"), text("hostname"));
    match kind.as_str() {
        "host" => format!(
            "host {host} {}",
            event["host"]["status"].as_str().unwrap_or("?")
        ),
        "query_row" => format!("row {host} {} {}", text("change"), event["row"]),
        "query_error" => format!("error {host} {}", text("error")),
        _ => format!(
            "{kind} {}",
            event["query"]["name"].as_str().unwrap_or_default()
        ),
    }
}

fn told<const N: usize>(told: [&str; N]) -> BTreeSet<String> {
    told.into_iter().map(str::to_owned).collect()
}

fn fleet(scenario: Scenario) -> Site {
    Site::new(Kind::Fleet, scenario)
}
