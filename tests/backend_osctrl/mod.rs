//! osctrl's backend, driven through the trait that the campaign uses, against a simulated osctrl on a
//! real socket. Each test says what a server or a host does, and what the campaign must get to know.

mod access;
mod campaign;
mod faults;
mod finding;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use osquery_live_query::Notices;
use osquery_live_query::inside::Access;
use osquery_live_query::inside::Answer;
use osquery_live_query::inside::Asked;
use osquery_live_query::inside::Backend;
use osquery_live_query::inside::BackendError;
use osquery_live_query::inside::Candidates;
use osquery_live_query::inside::Credentials;
use osquery_live_query::inside::Event;
use osquery_live_query::inside::Host;
use osquery_live_query::inside::HostId;
use osquery_live_query::inside::Http;
use osquery_live_query::inside::Keep;
use osquery_live_query::inside::Limits;
use osquery_live_query::inside::Osctrl;
use osquery_live_query::inside::Registry;
use osquery_live_query::inside::Secret;
use osquery_live_query::inside::Server;
use osquery_live_query::inside::Statement;
use osquery_live_query::inside::Targets;
use osquery_live_query::inside::TemplateCall;
use osquery_simulator::{OSCTRL_ADMIN_TOKEN, OSCTRL_PLUGIN_TOKEN, Scenario, Simulator};
use serde_json::Map;
use tokio::time::Instant;

/// Nothing here takes as long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A simulated osctrl and the backend that speaks to it.
struct Bench {
    simulator: Simulator,
    osctrl: Osctrl,
}

impl Bench {
    /// With the least that a token needs: the user and query levels of one environment.
    fn new(scenario: Scenario) -> Self {
        Self::with(scenario, token(OSCTRL_PLUGIN_TOKEN))
    }

    fn as_admin(scenario: Scenario) -> Self {
        Self::with(scenario, token(OSCTRL_ADMIN_TOKEN))
    }

    fn with(scenario: Scenario, credentials: Credentials) -> Self {
        Self::within(scenario, credentials, "dev", PATIENCE)
    }

    fn within(
        scenario: Scenario,
        credentials: Credentials,
        environment: &str,
        time: Duration,
    ) -> Self {
        let simulator = simulate(scenario);
        let osctrl = backend(&simulator, credentials, environment, time);
        Self { simulator, osctrl }
    }

    async fn resolve(&mut self, names: &[&str]) -> Vec<Host> {
        self.candidates(&named(names)).await.unwrap().named
    }

    async fn candidates(&mut self, targets: &Targets) -> Result<Candidates, BackendError> {
        self.osctrl.resolve(targets, &LIMITS).await
    }

    /// Asks the hosts of these names.
    async fn ask(&mut self, names: &[&str]) {
        let hosts = self.resolve(names).await;
        assert_eq!(hosts.len(), names.len());
        self.start(&hosts).await.unwrap();
    }

    async fn start(&mut self, hosts: &[Host]) -> Result<(), BackendError> {
        let asked = self.osctrl.start(&statement(), hosts).await?;
        assert_eq!(asked, Asked::All);
        Ok(())
    }

    /// The next so many answers, by uuid; an error of the host as its text.
    async fn answers(&mut self, count: usize) -> BTreeMap<String, Result<String, String>> {
        let mut answers = BTreeMap::new();
        while answers.len() < count {
            let (host, answer) = self.answer().await;
            let answer = match answer {
                Answer::Rows(rows) => Ok(rows.json().to_owned()),
                Answer::Error(message) => Err(message),
            };
            assert_eq!(answers.insert(host.to_string(), answer), None, "told twice");
        }
        answers
    }

    async fn answer(&mut self) -> (HostId, Answer) {
        match self.next().await.unwrap() {
            Event::Answered { host, answer } => (host, answer),
            other => panic!("no answer but {other:?}"),
        }
    }

    async fn next(&mut self) -> Result<Event, BackendError> {
        let next = self.osctrl.next();
        tokio::time::timeout(PATIENCE, next).await.expect("no hang")
    }

    /// Method and path of what was asked so far, without the prefix that all have.
    fn requests(&self) -> Vec<String> {
        let requests = self.simulator.requests();
        requests
            .iter()
            .map(|request| {
                let path = request.path.trim_start_matches("/api/v1");
                format!("{} {path}", request.method)
            })
            .collect()
    }

    /// An error's class, message and hint, the server's port aside.
    fn seen(&self, error: &BackendError) -> String {
        let (class, hint) = match error {
            BackendError::Auth { hint, .. } => ("auth", hint.as_deref()),
            BackendError::Targets { hint, .. } => ("targets", hint.as_deref()),
            BackendError::Answer { hint, .. } => ("answer", hint.as_deref()),
            BackendError::Unreachable { hint, .. } => ("unreachable", hint.as_deref()),
            BackendError::Setup { hint, .. } => ("setup", hint.as_deref()),
            BackendError::TooManyHosts { .. } => ("too many", None),
            BackendError::Busy { .. } => ("busy", None),
            BackendError::Forbidden { .. } => ("forbidden", None),
        };
        format!("{class}: {error} ({})", hint.unwrap_or_default())
            .replace(&self.simulator.base_url(), "https://osctrl.example")
    }
}

const LIMITS: Limits = Limits {
    max_hosts: 10_000,
    max_rows_per_host: 10_000,
    max_bytes: 64 << 20,
};

/// On a thread of its own, which can't be started from within a runtime.
fn simulate(scenario: Scenario) -> Simulator {
    let started = std::thread::spawn(|| Simulator::spawn(scenario));
    started.join().unwrap().unwrap()
}

fn backend(
    simulator: &Simulator,
    credentials: Credentials,
    environment: &str,
    time: Duration,
) -> Osctrl {
    let server = Server {
        access: Access::Osctrl {
            environment: environment.into(),
        },
        base_url: simulator.base_url().parse().unwrap(),
        credentials,
        verify_tls: true,
        ca_file: None,
    };
    let http = Http::new(&server, Instant::now() + time, Notices::unheard()).unwrap();
    let keep = Keep {
        rows: 10_000,
        bytes: 64 << 20,
    };
    Osctrl::new(&server, environment, http, keep)
}

fn token(token: &str) -> Credentials {
    Credentials::Token(Secret::new(token.into()))
}

fn login(username: &str, password: &str) -> Credentials {
    Credentials::Login {
        username: Secret::new(username.into()),
        password: Secret::new(password.into()),
    }
}

fn named(names: &[&str]) -> Targets {
    Targets {
        hosts: names.iter().map(|&name| name.into()).collect(),
        ..Targets::default()
    }
}

/// `SELECT * FROM logged_in_users`.
fn statement() -> Statement {
    let call = TemplateCall {
        name: "logged_in_users".into(),
        params: Map::new(),
    };
    Registry::embedded().bind(&call, SystemTime::now()).unwrap()
}

fn hostnames(hosts: &[Host]) -> Vec<&str> {
    let mut names: Vec<&str> = hosts.iter().map(|host| host.hostname()).collect();
    names.sort_unstable();
    names
}
