//! Fleet's backend, driven through the trait that the campaign uses, against a simulated Fleet on a
//! real socket. Each test says what a server or a host does, and what the campaign must get to know.

mod access;
mod finding;
mod live;
mod one_by_one;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use osquery_live_query::Level;
use osquery_live_query::Notices;
use osquery_live_query::inside::Access;
use osquery_live_query::inside::Answer;
use osquery_live_query::inside::Asked;
use osquery_live_query::inside::Backend;
use osquery_live_query::inside::BackendError;
use osquery_live_query::inside::Candidates;
use osquery_live_query::inside::Credentials;
use osquery_live_query::inside::Event;
use osquery_live_query::inside::Fleet;
use osquery_live_query::inside::Host;
use osquery_live_query::inside::Http;
use osquery_live_query::inside::Keep;
use osquery_live_query::inside::Limits;
use osquery_live_query::inside::Platform;
use osquery_live_query::inside::Registry;
use osquery_live_query::inside::Secret;
use osquery_live_query::inside::Server;
use osquery_live_query::inside::Statement;
use osquery_live_query::inside::Targets;
use osquery_live_query::inside::TemplateCall;
use osquery_simulator::{
    FLEET_ADMIN_TOKEN, HostSpec, Observations, Scenario, Simulator, TableSpec,
};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Nothing here takes as long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A simulated Fleet and the backend that speaks to it.
struct Bench {
    simulator: Simulator,
    fleet: Fleet,
    warnings: Warnings,
}

impl Bench {
    /// As the administrator, whose token it has.
    async fn new(scenario: Scenario) -> Self {
        Self::with(scenario, admin()).await
    }

    async fn with(scenario: Scenario, credentials: Credentials) -> Self {
        Self::until(scenario, credentials, PATIENCE).await
    }

    async fn until(scenario: Scenario, credentials: Credentials, deadline: Duration) -> Self {
        let simulator = Simulator::start(scenario).await.unwrap();
        let url = simulator.base_url();
        Self::at(simulator, &url, credentials, deadline)
    }

    /// Through another address than the simulator's own.
    fn at(simulator: Simulator, url: &str, credentials: Credentials, deadline: Duration) -> Self {
        let server = Server {
            access: Access::Fleet,
            base_url: url.parse().unwrap(),
            credentials,
            verify_tls: false,
            ca_file: None,
        };
        let secrets = match &server.credentials {
            Credentials::Token(token) => vec![token.clone()],
            Credentials::Login { username, password } => vec![username.clone(), password.clone()],
        };
        let warnings = Warnings::default();
        let heard = warnings.clone();
        let notices = Notices::new(Level::Warning, move |_, text| {
            let mut lines = heard.0.lock().unwrap();
            lines.push_str(text);
            lines.push('\n');
        });
        for secret in &secrets {
            notices.learn(secret);
        }
        let http = Http::new(&server, Instant::now() + deadline, notices).unwrap();
        let keep = Keep {
            rows: 10_000,
            bytes: 256 << 20,
        };
        Self {
            fleet: Fleet::new(&server, http, keep),
            simulator,
            warnings,
        }
    }

    async fn resolve(&mut self, targets: &Targets) -> Result<Candidates, BackendError> {
        self.fleet.resolve(targets, &limits(1_000)).await
    }

    /// The candidates for these names.
    async fn named(&mut self, names: &[&str]) -> Vec<Host> {
        let targets = Targets {
            hosts: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Targets::default()
        };
        self.resolve(&targets).await.unwrap().named
    }

    /// Resolves the names and asks all that they mean.
    async fn ask(&mut self, names: &[&str]) -> Result<Asked, BackendError> {
        let hosts = self.named(names).await;
        assert_eq!(hosts.len(), names.len(), "{hosts:?}");
        self.fleet.start(&statement(), &hosts).await
    }

    async fn next(&mut self) -> Result<Event, BackendError> {
        tokio::time::timeout(PATIENCE, self.fleet.next())
            .await
            .expect("something happens")
    }

    /// Tidies up within the time that the process gives it.
    async fn stop(&mut self, all_answered: bool) {
        tokio::time::timeout(Duration::from_secs(2), self.fleet.stop(all_answered))
            .await
            .expect("stopping takes no longer than it may");
    }

    /// The first answer of each of so many hosts, by Fleet's id.
    async fn answers(&mut self, hosts: usize) -> BTreeMap<String, Answer> {
        let mut answers = BTreeMap::new();
        while answers.len() < hosts {
            if let Event::Answered { host, answer } = self.next().await.unwrap() {
                answers.entry(host.to_string()).or_insert(answer);
            }
        }
        answers
    }

    /// Waits until the server has seen something.
    async fn seen(&self, what: &str, condition: impl FnMut(&Observations) -> bool) {
        assert!(
            self.simulator.until(condition, PATIENCE).await,
            "never: {what}"
        );
    }

    fn observed(&self) -> Observations {
        self.simulator.observations()
    }
}

fn admin() -> Credentials {
    Credentials::Token(Secret::new(FLEET_ADMIN_TOKEN.into()))
}

/// Passes bytes on, until it cuts the lines; later ones pass again.
struct Proxy {
    address: SocketAddr,
    cut: Arc<Notify>,
    lines: watch::Sender<usize>,
}

impl Proxy {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = Arc::new(Notify::new());
        let cutting = Arc::clone(&cut);
        let lines = watch::Sender::new(0);
        let counting = lines.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let cut = Arc::clone(&cutting);
                let lines = counting.clone();
                lines.send_modify(|lines| *lines += 1);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        () = cut.notified() => {}
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    }
                    drop((client, server));
                    lines.send_modify(|lines| *lines -= 1);
                });
            }
        });
        Self {
            address,
            cut,
            lines,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn cut_all(&self) {
        self.cut.notify_waiters();
        let mut lines = self.lines.subscribe();
        lines.wait_for(|lines| *lines == 0).await.unwrap();
        // The other ends are told; this lets the runtime take notice.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What was said on the way, as lines.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<String>>);

impl Warnings {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

fn limits(max_hosts: usize) -> Limits {
    Limits {
        max_hosts,
        max_rows_per_host: 10_000,
        max_bytes: 256 << 20,
    }
}

/// `SELECT * FROM processes LIMIT 2`.
fn statement() -> Statement {
    let call = TemplateCall {
        name: "running_processes".into(),
        params: json!({"limit": 2}).as_object().unwrap().clone(),
    };
    Registry::embedded().bind(&call, SystemTime::now()).unwrap()
}

/// A host with one process, whose path is the host's name.
fn host(name: &str) -> HostSpec {
    let row = json!({"pid": "1", "path": format!("/{name}")});
    HostSpec::named(name).with_table(
        "processes",
        TableSpec::Rows(vec![row.as_object().unwrap().clone()]),
    )
}

fn rows(answer: &Answer) -> serde_json::Value {
    match answer {
        Answer::Rows(rows) => serde_json::from_str(rows.json()).unwrap(),
        Answer::Error(text) => panic!("an error: {text}"),
    }
}

fn error(answer: &Answer) -> &str {
    match answer {
        Answer::Error(text) => text,
        Answer::Rows(rows) => panic!("rows: {}", rows.json()),
    }
}

/// The one host's answer is its own row.
#[track_caller]
fn assert_answer_of(answer: &Answer, name: &str) {
    let rows = rows(answer);
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!(rows[0]["path"], format!("/{name}"));
    for added in ["host_hostname", "host_display_name"] {
        assert!(
            rows[0].get(added).is_none(),
            "{added} is no column of osquery's"
        );
    }
}

/// What a person reads: message and hint.
fn words(error: &BackendError) -> String {
    let hint = match error {
        BackendError::Auth { hint, .. }
        | BackendError::Targets { hint, .. }
        | BackendError::Answer { hint, .. }
        | BackendError::Unreachable { hint, .. }
        | BackendError::Setup { hint, .. } => hint.clone(),
        BackendError::TooManyHosts { .. }
        | BackendError::Busy { .. }
        | BackendError::Forbidden { .. } => None,
    };
    format!("{error} | {}", hint.unwrap_or_default())
}

/// The words with the server's address taken out, since its port differs.
fn words_of(bench: &Bench, error: &BackendError) -> String {
    words(error).replace(&bench.simulator.base_url(), "SERVER")
}
