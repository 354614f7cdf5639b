//! A simulated server of any kind, steps for it, and what came out of a run, compared whole with a
//! file of `tests/faults/`. No secret of a site may appear in anything that the binary writes: each
//! comparison looks for them all.
//!
//! In those files `$SERVER` stands for the server's address; milliseconds stand as 0, a campaign's id as
//! `ID`, and when a host was last seen as `TIME`. `UPDATE_FAULTS=1 cargo test faults` writes what came
//! out; read the difference before you commit it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use osquery_simulator::{
    AISOC_CONSOLE_TOKEN, AISOC_SERVICE_TOKEN, AISOC_TENANT, Answer, CampaignState,
    FLEET_ADMIN_PASSWORD, FLEET_ADMIN_TOKEN, FLEET_MAINTAINER_TOKEN, FLEET_OBSERVER_TOKEN, Fault,
    HostSpec, OSCTRL_ADMIN_PASSWORD, OSCTRL_ADMIN_TOKEN, OSCTRL_PLUGIN_PASSWORD,
    OSCTRL_PLUGIN_TOKEN, Observations, Scenario, Server, Simulator, Wire,
};

use serde_json::{Map, Value, json};

use super::document::Document;
use super::{Binary, Ran, Running, step};

/// Nothing that is waited for takes as long, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(90);

/// A token that no server knows.
pub const WRONG_TOKEN: &str = "marker-of-a-token-that-is-wrong";
/// A password that no server knows.
pub const WRONG_PASSWORD: &str = "marker-of-a-password-that-is-wrong";

const SECRETS: [&str; 12] = [
    AISOC_SERVICE_TOKEN,
    AISOC_CONSOLE_TOKEN,
    FLEET_ADMIN_TOKEN,
    FLEET_MAINTAINER_TOKEN,
    FLEET_OBSERVER_TOKEN,
    FLEET_ADMIN_PASSWORD,
    OSCTRL_ADMIN_TOKEN,
    OSCTRL_ADMIN_PASSWORD,
    OSCTRL_PLUGIN_TOKEN,
    OSCTRL_PLUGIN_PASSWORD,
    WRONG_TOKEN,
    WRONG_PASSWORD,
];

/// Which server is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Fleet.
    Fleet,
    /// osctrl.
    Osctrl,
    /// AiSOC's own osquery service.
    AisocDirect,
}

impl Kind {
    /// Every kind of server: the one list that tests go over. Whoever adds a kind adds it here, and the
    /// compiler names what has to be said of it below.
    pub const ALL: [Self; 3] = [Self::Fleet, Self::Osctrl, Self::AisocDirect];

    /// Hosts are looked for before they are asked, by any of their names; labels and platforms mean some.
    pub fn lists_hosts(self) -> bool {
        self != Self::AisocDirect
    }

    /// Credentials may be a user's name and password, and users have roles.
    pub fn logs_in(self) -> bool {
        self != Self::AisocDirect
    }

    /// What was asked can be taken back.
    pub fn stops(self) -> bool {
        self != Self::AisocDirect
    }

    /// osquery's own message of a query that failed reaches whoever asked.
    pub fn tells_errors(self) -> bool {
        self != Self::AisocDirect
    }

    /// Answers are looked for, one request after the other.
    pub fn is_polled(self) -> bool {
        self != Self::Fleet
    }

    /// It has what `collect` collects.
    pub fn is_collected(self) -> bool {
        self != Self::AisocDirect
    }

    /// A fault of looking for answers, of those that [are polled](Self::is_polled).
    pub fn polling(self) -> Fault {
        match self {
            Self::Fleet => Fault::on("its answers come by themselves"),
            Self::Osctrl => Fault::on("/results/"),
            Self::AisocDirect => Fault::on_method("GET", "/osquery/distributed/"),
        }
    }

    /// A token that may do all that a run needs.
    pub fn token(self) -> &'static str {
        match self {
            Self::Fleet => FLEET_MAINTAINER_TOKEN,
            Self::Osctrl => OSCTRL_ADMIN_TOKEN,
            Self::AisocDirect => AISOC_SERVICE_TOKEN,
        }
    }

    /// A user and their password; of those that [log in](Self::logs_in).
    pub fn user(self) -> (&'static str, &'static str) {
        match self {
            Self::Fleet => ("admin@example.com", FLEET_ADMIN_PASSWORD),
            Self::Osctrl => ("admin", OSCTRL_ADMIN_PASSWORD),
            Self::AisocDirect => unreachable!("nobody logs in there"),
        }
    }

    /// What `params` need beside the address and credentials.
    pub fn access(self) -> Map<String, Value> {
        let access = match self {
            Self::Fleet => json!({}),
            Self::Osctrl => json!({"environment": "dev"}),
            Self::AisocDirect => json!({"tenant_id": AISOC_TENANT}),
        };
        access.as_object().cloned().unwrap_or_default()
    }

    /// Which of the simulator's servers it is.
    fn wire(self) -> Wire {
        match self {
            Self::Fleet => Wire::Fleet,
            Self::Osctrl => Wire::Osctrl,
            Self::AisocDirect => Wire::AisocDirect,
        }
    }

    /// `backend` in steps and documents.
    pub fn backend(self) -> &'static str {
        match self {
            Self::Fleet => "fleetdm",
            Self::Osctrl => "osctrl",
            Self::AisocDirect => "aisoc_direct",
        }
    }

    /// A fault of finding hosts; where these can't be looked for, of looking for answers.
    pub fn finding(self) -> Fault {
        match self {
            Self::Fleet => Fault::on_method("GET", "/fleet/hosts"),
            Self::Osctrl => Fault::on_method("GET", "/nodes/dev"),
            Self::AisocDirect => Fault::on_method("GET", "/osquery/distributed/"),
        }
    }

    /// The first thing that a run asks with a token, whatever that is.
    pub fn opening(self) -> Fault {
        match self.lists_hosts() {
            true => self.finding(),
            false => self.dispatching(),
        }
    }

    /// A fault of the dispatch.
    pub fn dispatching(self) -> Fault {
        match self {
            Self::Fleet => Fault::on_method("POST", "s/run"),
            Self::Osctrl => Fault::on_method("POST", "/queries/dev"),
            Self::AisocDirect => Fault::on_method("POST", "/distributed/enqueue"),
        }
    }

    /// A fault of the login.
    pub fn logging_in(self) -> Fault {
        Fault::on_method("POST", "/login")
    }

    /// How often the query was dispatched.
    pub fn dispatches(self, seen: &Observations) -> usize {
        let fault = self.dispatching();
        seen.requests_to("POST", &fault.path)
            .filter(|request| !request.path.contains("/expire/"))
            .count()
    }
}

/// Runs a test for every kind of server at once: most of it is waiting.
pub fn on_every(test: impl Fn(Kind) + Sync) {
    on_those(|_| true, test);
}

/// Runs a test for the kinds of server of which this holds, at once: a test says by it why the others have
/// no part in it.
pub fn on_those(holds: fn(Kind) -> bool, test: impl Fn(Kind) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for kind in Kind::ALL.into_iter().filter(|kind| holds(*kind)) {
            let thread = std::thread::Builder::new().name(kind.backend().into());
            thread
                .spawn_scoped(scope, move || test(kind))
                .expect("a thread");
        }
    });
}

/// Runs a test for each item at once.
pub fn on_all<T: Send>(items: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for item in items {
            scope.spawn(move || test(item));
        }
    });
}

/// A host that answers one small row at once, whatever it is asked.
pub fn host(name: &str) -> HostSpec {
    HostSpec::named(name).answering(one_row())
}

/// A host that checks in and never answers.
pub fn silent(name: &str) -> HostSpec {
    HostSpec::named(name).answering(Answer::Silent)
}

/// One small row.
pub fn one_row() -> Answer {
    let row = json!({"pid": "1", "name": "init"});
    Answer::Rows(vec![row.as_object().cloned().unwrap_or_default()])
}

/// A running server of one kind.
pub struct Site {
    /// Which.
    pub kind: Kind,
    /// The server.
    pub simulator: Simulator,
}

impl Site {
    /// Starts it.
    pub fn new(kind: Kind, scenario: Scenario) -> Self {
        let wire = kind.wire();
        let simulator = Simulator::spawn(Scenario { wire, ..scenario }).expect("a simulator");
        Self { kind, simulator }
    }

    /// A step for these hosts.
    pub fn step(&self, hosts: &[&str]) -> Step {
        Step::of(self.kind, &self.simulator.base_url(), hosts)
    }

    /// Everything seen so far.
    pub fn seen(&self) -> Observations {
        self.simulator.observations()
    }

    /// Blocks until the server has seen it.
    #[track_caller]
    pub fn wait(&self, what: &str, condition: impl FnMut(&Observations) -> bool) {
        let came = self.simulator.wait_until(condition, PATIENCE);
        assert!(
            came,
            "never came: {what}; {:#?}",
            self.simulator.campaigns()
        );
    }

    /// Blocks until nothing of what was asked goes on at the server; where nothing can be taken back, that is
    /// nothing to wait for.
    #[track_caller]
    pub fn wait_for_the_end(&self) {
        if self.kind.stops() {
            self.wait("the end of the campaign", |seen| {
                let mut campaigns = seen.campaigns.iter();
                !seen.campaigns.is_empty()
                    && campaigns.all(|campaign| campaign.state != CampaignState::Running)
            });
        }
    }

    /// Runs the step and compares all that came out with `tests/faults/NAME.KIND.txt`.
    #[track_caller]
    pub fn run(&self, name: &str, step: Step) -> Document {
        self.compare(name, step.binary().start())
    }

    /// Waits for the process's end and compares all that came out.
    #[track_caller]
    pub fn compare(&self, name: &str, running: Running) -> Document {
        let ran = running.wait();
        self.assert_no_secret(&ran);
        let server = self.simulator.base_url();
        compare(&format!("{name}.{}", self.kind.backend()), &ran, &server)
    }

    /// Looks for every secret that the server knows, sessions that it began included.
    #[track_caller]
    pub fn assert_no_secret(&self, ran: &Ran) {
        assert_none(ran, SECRETS);
        let seen = self.seen();
        // Whoever knows the id of such a query can write rows to it.
        let queries = seen.campaigns.iter();
        let queries = queries.filter(|query| query.server == Server::AisocDirect);
        assert_none(ran, queries.map(|query| query.id.as_str()));
        let headers = seen
            .requests
            .iter()
            .filter_map(|request| request.header("authorization"));
        let tokens: BTreeSet<&str> = headers
            .filter_map(|header| header.strip_prefix("Bearer "))
            .collect();
        assert_none(ran, tokens);
    }
}

#[track_caller]
fn assert_none<'a>(ran: &Ran, secrets: impl IntoIterator<Item = &'a str>) {
    for secret in secrets {
        for (stream, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
            assert!(!text.contains(secret), "{secret} is in {stream}: {text}");
        }
    }
}

/// Compares all that came out of a run with `tests/faults/NAME.txt`, and returns the document.
#[track_caller]
pub fn compare(name: &str, ran: &Ran, server: &str) -> Document {
    assert_none(ran, SECRETS);
    let document = ran.document();
    let mut settled: Value = serde_json::from_str(&ran.stdout).expect("a document");
    super::document::take_evidence(&mut settled);
    settle(&mut settled);
    let mut came = format!(
        "exit status {}\n\nstderr:\n{}\nstdout:\n{settled:#}\n",
        ran.status, ran.stderr
    )
    .replace(server, "$SERVER");
    // osctrl's stands in messages too, as part of a path.
    let id = document
        .campaign
        .as_ref()
        .and_then(|campaign| campaign.id.as_deref());
    if let Some(query) = id.filter(|id| id.starts_with("query_")) {
        came = came.replace(query, "ID");
    }
    compare_text(name, &came);
    document
}

/// Compares a text with `tests/faults/NAME.txt`.
#[track_caller]
pub fn compare_text(name: &str, came: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/faults/{name}.txt"));
    if std::env::var_os("UPDATE_FAULTS").is_some() {
        std::fs::write(&file, came).expect("the file can be written");
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        came == expected,
        "{name}: expected\n{expected}\nbut there came\n{came}"
    );
}

/// Replaces what differs from run to run.
fn settle(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match (key.as_str(), &*value) {
                    ("elapsed_ms" | "answered_ms", Value::Number(_)) => *value = 0.into(),
                    ("id", Value::String(_)) => *value = "ID".into(),
                    ("other_ids", Value::Array(ids)) => {
                        *value = ids.iter().map(|_| "ID").collect();
                    }
                    ("last_seen", Value::String(_)) => *value = "TIME".into(),
                    _ => settle(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        _ => {}
    }
}

/// A step, as an engine would write it, with the secrets that it names in the environment.
#[derive(Debug, Clone)]
pub struct Step {
    id: Option<&'static str>,
    params: Map<String, Value>,
    secrets: Vec<(&'static str, String)>,
    args: Vec<String>,
    context: Option<Value>,
}

impl Step {
    /// A step with a token that may do all that is needed, and time enough.
    pub fn of(kind: Kind, base_url: &str, hosts: &[&str]) -> Self {
        let mut params = json!({
            "backend": kind.backend(),
            "base_url": base_url,
            "api_token": "{{ secrets.token }}",
            "template": "running_processes",
            "target_hosts": hosts,
            "timeout_seconds": 30,
        });
        let Value::Object(params) = &mut params else {
            unreachable!("it is an object")
        };
        params.extend(kind.access());
        Self {
            id: Some("ask"),
            params: std::mem::take(params),
            secrets: Vec::new(),
            args: Vec::new(),
            context: None,
        }
        .token(kind.token())
    }

    /// Sets a parameter.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Leaves a parameter out.
    pub fn without(mut self, name: &str) -> Self {
        self.params.remove(name);
        self
    }

    /// Leaves the step's `id` out.
    pub fn without_id(self) -> Self {
        Self { id: None, ..self }
    }

    /// Sets `timeout_seconds`.
    pub fn timeout(self, seconds: u32) -> Self {
        self.with("timeout_seconds", seconds)
    }

    /// Another token.
    pub fn token(mut self, token: &str) -> Self {
        self.secrets = vec![("TOKEN", token.into())];
        self
    }

    /// A user instead of a token.
    pub fn login(mut self, username: &str, password: &str) -> Self {
        self.secrets = vec![("PASSWORD", password.into())];
        self.without("api_token")
            .with("username", username)
            .with("password", "{{ secrets.password }}")
    }

    /// The engine's context, in one invocation with the step.
    pub fn context(self, context: Value) -> Self {
        Self {
            context: Some(context),
            ..self
        }
    }

    /// The [user](Kind::user) of this kind of server instead of a token.
    pub fn logging_in(self, kind: Kind) -> Self {
        let (username, password) = kind.user();
        self.login(username, password)
    }

    /// One more argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The binary with this step on stdin.
    pub fn binary(self) -> Binary {
        let mut document =
            json!({"id": self.id, "type": "osquery_live_query", "params": self.params});
        if self.id.is_none() {
            document.as_object_mut().map(|step| step.shift_remove("id"));
        }
        if let Some(context) = self.context {
            document = json!({"protocol": 1, "step": document, "context": context});
        }
        let mut binary = step(document.to_string());
        for arg in self.args {
            binary = binary.arg(arg);
        }
        for (name, value) in self.secrets {
            binary = binary.env(&format!("OSQUERY_LIVE_QUERY_SECRET_{name}"), value);
        }
        binary
    }
}
