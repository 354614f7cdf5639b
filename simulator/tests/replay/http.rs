//! Sends a recording's requests again, one by one, and compares what comes back: for recordings that hold
//! no websocket.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use osquery_simulator::{Scenario, Simulator};
use serde_json::Value;

use crate::client;
use crate::replay::Carried;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A recording of one folder.
pub fn recording(server: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(folder(server).join(format!("{name}.json")));
    serde_json::from_str(&text.expect("a recording")).expect("a recording is JSON")
}

/// Where a server's recordings are.
pub fn folder(server: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/transcripts/{server}"))
}

/// A recording's steps.
pub fn steps(recording: &Value) -> &[Value] {
    recording["steps"].as_array().expect("steps")
}

/// A replay on its way.
pub struct Replay {
    pub simulator: Simulator,
    pub carried: Carried,
    pub faults: Vec<String>,
    pub exchanges: usize,
    place: String,
}

impl Replay {
    pub async fn new(scenario: Scenario) -> Self {
        Self {
            simulator: Simulator::start(scenario).await.expect("a simulator"),
            carried: Carried::default(),
            faults: Vec::new(),
            exchanges: 0,
            place: String::new(),
        }
    }

    fn fault(&mut self, text: String) {
        self.faults.push(format!("{}: {text}", self.place));
    }

    /// Sends a step's request and compares.
    pub async fn step(&mut self, place: &str, step: &Value) {
        self.step_as(place, step, |body| body).await;
    }

    /// The same; both bodies are brought into one form before they are compared.
    pub async fn step_as(&mut self, place: &str, step: &Value, form: impl Fn(Value) -> Value) {
        place.clone_into(&mut self.place);
        self.exchanges += 1;
        let recorded = &step["response"];
        let Some(answer) = self.send(&step["request"]).await else {
            if recorded["status"] != 0 {
                self.fault("the connection was refused".into());
            }
            return;
        };
        if recorded["status"] != answer.status {
            let text = answer.text();
            self.fault(format!(
                "status {} was recorded, here is {}: {text}",
                recorded["status"], answer.status
            ));
            return;
        }
        for (name, value) in recorded["headers"].as_object().expect("headers") {
            let (value, found) = (value.as_str(), answer.header(name));
            let same = match name.as_str() {
                "location" => value.map(without_authority) == found.map(without_authority),
                _ => value == found,
            };
            if !same {
                self.fault(format!("{name}: {value:?} was recorded, here is {found:?}"));
            }
        }
        let body = match &recorded["body"] {
            Value::String(_) => answer.text().into(),
            _ => answer.json(),
        };
        let (recorded, body) = (form(recorded["body"].clone()), form(body));
        let place = self.place.clone();
        self.carried
            .compare(&place, &recorded, &body, &mut self.faults);
    }

    /// The answer; `None` where nobody listens.
    async fn send(&self, request: &Value) -> Option<client::Answer> {
        let path = request["path"].as_str().expect("a path");
        let path = self.carried.apply_path(path);
        let headers: Vec<(String, String)> = request["headers"]
            .as_object()
            .expect("headers")
            .iter()
            .map(|(name, value)| {
                let value = self.carried.apply(value.as_str().expect("a header"));
                (name.to_lowercase(), value)
            })
            .collect();
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let body = match &request["body"] {
            Value::Null => None,
            // What is no JSON was recorded as text.
            Value::String(text) => Some(text.clone()),
            body => Some(self.carried.apply_json(body).to_string()),
        };
        let method = request["method"].as_str().expect("a method");
        let to = self.simulator.addr();
        let stream = tokio::net::TcpStream::connect(to).await.ok()?;
        let answer = client::request_over(stream, method, &path, &headers, body);
        Some(answer.await.expect("an answer"))
    }

    /// Waits until the query that the recording calls so has its answer.
    pub async fn answered(&mut self, query: &str) {
        self.all_answered(query, 1).await;
    }

    /// Waits until it has so many.
    pub async fn all_answered(&mut self, query: &str, answers: usize) {
        let id = self.carried.apply(query);
        let answered = |seen: &osquery_simulator::Observations| {
            let query = seen.campaigns.iter().find(|campaign| campaign.id == id);
            query.is_some_and(|query| query.answers >= answers)
        };
        if !self.simulator.until(answered, PATIENCE).await {
            self.fault(format!("{query} was not answered"));
        }
    }
}

/// `http:/path` of `http://host/path`.
fn without_authority(location: &str) -> String {
    let mut parts: Vec<&str> = location.split('/').collect();
    if parts.len() > 2 {
        parts.drain(1..3);
    }
    parts.join("/")
}
