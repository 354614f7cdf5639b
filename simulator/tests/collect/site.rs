//! A running simulator, read as a collector reads it.

use std::time::Duration;

use osquery_simulator::{
    FLEET_OBSERVER_TOKEN, OSCTRL_PLUGIN_TOKEN, Observations, Scenario, Simulator,
};
use serde_json::Value;

use super::client::{self, Answer};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Site(pub Simulator);

impl Site {
    pub async fn new(mut scenario: Scenario) -> Self {
        scenario.check_in = Duration::from_millis(5);
        Self(Simulator::start(scenario).await.expect("a simulator"))
    }

    /// `GET` as an observer of Fleet.
    pub async fn answer(&self, path: &str) -> Answer {
        let path = format!("/api/v1/fleet{path}");
        client::get(self.0.addr(), &path, FLEET_OBSERVER_TOKEN).await
    }

    /// The same; it must work.
    pub async fn fleet(&self, path: &str) -> Value {
        let answer = self.answer(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// `GET` with the least token of osctrl.
    pub async fn osctrl(&self, path: &str) -> Answer {
        let path = format!("/api/v1{path}");
        client::get(self.0.addr(), &path, OSCTRL_PLUGIN_TOKEN).await
    }

    pub async fn until(&self, what: &str, condition: impl FnMut(&Observations) -> bool) {
        assert!(self.0.until(condition, PATIENCE).await, "{what}");
    }
}

/// One field of each item of a list.
pub fn pluck(document: &Value, list: &str, field: &str) -> Value {
    let items = document[list].as_array().expect("a list");
    items.iter().map(|item| item[field].clone()).collect()
}
