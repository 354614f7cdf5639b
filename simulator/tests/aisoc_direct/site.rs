//! The two calls, and what the tests here ask about a running service.

use std::time::Duration;

use osquery_simulator::{
    AISOC_SERVICE_TOKEN, AISOC_TENANT, Campaign, Observations, Scenario, Simulator,
};
use serde_json::{Value, json};

use super::client::{self, Answer};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const ENQUEUE: &str = "/api/v1/osquery/distributed/enqueue";

pub struct Site(pub Simulator);

impl Site {
    pub async fn new(mut scenario: Scenario) -> Self {
        scenario.check_in = Duration::from_millis(5);
        Self(Simulator::start(scenario).await.expect("a simulator"))
    }

    pub async fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let bearer = format!("Bearer {AISOC_SERVICE_TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-aisoc-tenant-id", AISOC_TENANT),
            ("content-type", "application/json"),
        ];
        let body = body.map(Value::to_string);
        client::request(self.0.addr(), method, path, &headers, body)
            .await
            .expect("an answer")
    }

    /// Enqueues a statement for a host; the id.
    pub async fn enqueue(&self, host: &str, sql: &str) -> String {
        let body = json!({"host_identifier": host, "query_text": sql});
        let answer = self.request("POST", ENQUEUE, Some(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.json()["query_id"].as_str().map(str::to_owned);
        id.expect("an id")
    }

    /// A query as it stands.
    pub async fn query(&self, id: &str) -> Value {
        let path = format!("/api/v1/osquery/distributed/{id}");
        let answer = self.request("GET", &path, None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// A query's rows, once it has been answered.
    pub async fn rows(&self, id: &str) -> Value {
        self.until("an answer", |seen| campaign(seen, id).answers > 0)
            .await;
        let query = self.query(id).await;
        assert_eq!(query["status"], "completed");
        assert_eq!(query["error"], Value::Null);
        query["rows"].clone()
    }

    pub async fn until(&self, what: &str, condition: impl FnMut(&Observations) -> bool) {
        assert!(self.0.until(condition, PATIENCE).await, "{what}");
    }
}

/// What was seen of a query.
pub fn campaign<'seen>(seen: &'seen Observations, id: &str) -> &'seen Campaign {
    let campaign = seen.campaigns.iter().find(|campaign| campaign.id == id);
    campaign.expect("a known query")
}
