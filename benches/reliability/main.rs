//! Runs the release binary under every fault of the list below, under a seeded sample of pairs of them,
//! many times at once, many times in a row and killed at random moments, on every backend, and prints
//! what was lost as the Markdown of `docs/reliability.md`:
//!
//! `cargo bench --bench reliability > docs/reliability.md`
//!
//! Only one part: `cargo bench --bench reliability -- hostile`, `in-process`, `restarts`, `faults`,
//! `pairs`, `crowd`, `row` or `killed`; of the first, only some rows: `-- hostile 'a reader'`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // The table is the output.

mod hostile;
mod in_process;
mod restarts;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use osquery_simulator::{
    Answer, CampaignState, Fate, Fault, Fleet, HostSpec, Observations, Scenario, Simulator,
};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(5);
const FLEET_TICK: Duration = Duration::from_millis(300);
/// Tokens that must never be seen.
const TOKENS: [(&str, &str); 3] = [
    (
        "OSQUERY_LIVE_QUERY_SECRET_AISOC_DIRECT",
        osquery_simulator::AISOC_SERVICE_TOKEN,
    ),
    (
        "OSQUERY_LIVE_QUERY_SECRET_FLEETDM",
        osquery_simulator::FLEET_ADMIN_TOKEN,
    ),
    (
        "OSQUERY_LIVE_QUERY_SECRET_OSCTRL",
        osquery_simulator::OSCTRL_ADMIN_TOKEN,
    ),
];
/// The seed of the sample of pairs and of the moments of killing.
const SEED: u64 = 20_261_121;
const PAIRS: usize = 30;

/// A fault, in each server's own paths; the scenario file's vocabulary.
struct Trouble {
    name: &'static str,
    fleet: &'static str,
    osctrl: &'static str,
    /// `None`: there is no such thing, or it is another there (a host's answer that can't be read is that host's
    /// error, see `tests/aisoc_direct.rs`; nothing can be stopped).
    aisoc: Option<&'static str>,
    /// Every host that answers must be in the document all the same.
    recovers: bool,
}

const fn trouble(
    name: &'static str,
    recovers: bool,
    fleet: &'static str,
    osctrl: &'static str,
    aisoc: Option<&'static str>,
) -> Trouble {
    Trouble {
        name,
        fleet,
        osctrl,
        aisoc,
        recovers,
    }
}

#[rustfmt::skip]
const TROUBLES: &[Trouble] = &[
    trouble("none", true, "", "", Some("")),
    trouble("finding hosts: 500 once", false, "{path: '/hosts?', status: 500, times: 1}", "{path: /nodes/dev, status: 500, times: 1}", Some("{method: GET, path: /osquery/distributed/, status: 500, times: 1}")),
    trouble("finding hosts: 503 twice", true, "{path: '/hosts?', status: 503, times: 2}", "{path: /nodes/dev, status: 503, times: 2}", Some("{method: GET, path: /osquery/distributed/, status: 503, times: 2}")),
    trouble("finding hosts: 502 once", true, "{path: '/hosts?', status: 502, times: 1}", "{path: /nodes/dev, status: 502, times: 1}", Some("{method: GET, path: /osquery/distributed/, status: 502, times: 1}")),
    trouble("finding hosts: 429, Retry-After 1", true, "{path: '/hosts?', status: 429, retry_after: '1', times: 1}", "{path: /nodes/dev, status: 429, retry_after: '1', times: 1}", Some("{method: GET, path: /osquery/distributed/, status: 429, retry_after: '1', times: 1}")),
    trouble("finding hosts: connection cut once", true, "{path: '/hosts?', cut: before, times: 1}", "{path: /nodes/dev, cut: before, times: 1}", Some("{method: GET, path: /osquery/distributed/, cut: before, times: 1}")),
    trouble("finding hosts: never answered", false, "{path: '/hosts?', hang: true}", "{path: /nodes/dev, hang: true}", Some("{method: GET, path: /osquery/distributed/, hang: true}")),
    trouble("finding hosts: redirect", false, "{path: '/hosts?', status: 307, location: 'http://127.0.0.1:9/'}", "{path: /nodes/dev, status: 307, location: 'http://127.0.0.1:9/'}", Some("{method: GET, path: /osquery/distributed/, status: 307, location: 'http://127.0.0.1:9/'}")),
    trouble("finding hosts: a web page", false, "{path: '/hosts?', status: 200, body: '<html>', content_type: text/html}", "{path: /nodes/dev, status: 200, body: '<html>', content_type: text/html}", None),
    trouble("finding hosts: body breaks off once", true, "{path: '/hosts?', truncate: 40, times: 1}", "{path: /nodes/dev, truncate: 40, times: 1}", Some("{method: GET, path: /osquery/distributed/, truncate: 40, times: 1}")),
    trouble("finding hosts: slow bytes", true, "{path: '/hosts?', slow: {bytes: 400, every_ms: 1}, times: 2}", "{path: /nodes/dev, slow: {bytes: 400, every_ms: 1}, times: 2}", Some("{method: GET, path: /osquery/distributed/, slow: {bytes: 400, every_ms: 1}, times: 2}")),
    trouble("dispatch: 500", false, "{method: POST, path: s/run, status: 500}", "{method: POST, path: /queries/dev, status: 500, times: 1}", Some("{method: POST, path: /distributed/enqueue, status: 500}")),
    trouble("dispatch: 503", false, "{method: POST, path: s/run, status: 503}", "{method: POST, path: /queries/dev, status: 503, times: 1}", Some("{method: POST, path: /distributed/enqueue, status: 503}")),
    trouble("dispatch: 429 once", true, "{method: POST, path: s/run, status: 429, retry_after: '1', times: 1}", "{method: POST, path: /queries/dev, status: 429, retry_after: '1', times: 1}", Some("{method: POST, path: /distributed/enqueue, status: 429, retry_after: '1', times: 1}")),
    trouble("dispatch: connection cut before it", false, "{method: POST, path: s/run, cut: before, times: 1}", "{method: POST, path: /queries/dev, cut: before, times: 1}", Some("{method: POST, path: /distributed/enqueue, cut: before, times: 1}")),
    trouble("dispatch: its answer lost", false, "{method: POST, path: s/run, cut: after, times: 1}", "{method: POST, path: /queries/dev, cut: after, times: 1}", Some("{method: POST, path: /distributed/enqueue, cut: after, times: 1}")),
    trouble("dispatch: never answered", false, "{method: POST, path: s/run, hang: true}", "{method: POST, path: /queries/dev, hang: true, times: 1}", Some("{method: POST, path: /distributed/enqueue, hang: true, times: 1}")),
    trouble("dispatch: answered after 1 s", true, "{method: POST, path: s/run, answer_delay_ms: 1000}", "{method: POST, path: /queries/dev, answer_delay_ms: 1000, times: 1}", Some("{method: POST, path: /distributed/enqueue, answer_delay_ms: 1000, times: 1}")),
    trouble("results: broken once", true, "{path: results/websocket, socket: {after_results: 1, close: cut}, times: 1}", "{path: /queries/dev/results/, cut: before, times: 1}", Some("{method: GET, path: /osquery/distributed/, cut: before, times: 1, skip: 2}")),
    trouble("results: closed once", true, "{path: results/websocket, socket: {after_results: 1, close: frame}, times: 1}", "{path: /queries/dev/results/, status: 503, times: 2}", Some("{method: GET, path: /osquery/distributed/, status: 503, times: 2, skip: 2}")),
    trouble("results: close code 0, or a state of 500", true, "{path: results/websocket, socket: {after_results: 1, close: zero}, times: 1}", "{method: GET, path: /queries/dev/query_, status: 500, times: 1}", Some("{method: GET, path: /osquery/distributed/, status: 500, times: 1, skip: 2}")),
    trouble("results: broken for ever", false, "{path: results/websocket, socket: {after_results: 1, close: cut}}", "{path: /queries/dev/results/, status: 500}", Some("{method: GET, path: /osquery/distributed/, status: 500, skip: 4}")),
    trouble("results: upgrade refused, or a body broken off", true, "{path: results/websocket, status: 403}", "{path: /queries/dev/results/, truncate: 30, times: 1}", Some("{method: GET, path: /osquery/distributed/, truncate: 30, times: 1, skip: 2}")),
    trouble("results: garbage between answers", true, "{path: results/websocket, socket: {after_results: 1, send: ['{', '[]', '{\"type\":\"result\"}']}}", "{path: /queries/dev/results/, status: 200, body: 'oops', times: 1}", None),
    trouble("results: tokens revoked", false, "{path: results/websocket, revoke_tokens: true}", "{path: /queries/dev/results/, revoke_tokens: true, skip: 1, times: 1}", Some("{method: GET, path: /osquery/distributed/, revoke_tokens: true, skip: 4, times: 1}")),
    trouble("stopping: never answered", true, "{path: /logout, hang: true}", "{path: /expire/, hang: true}", None),
];

#[derive(Clone, Copy, PartialEq)]
enum Backend {
    Fleet,
    Osctrl,
    AisocDirect,
}

impl Backend {
    const ALL: [Self; 3] = [Self::Fleet, Self::Osctrl, Self::AisocDirect];

    fn name(self) -> &'static str {
        match self {
            Self::Fleet => "fleetdm",
            Self::Osctrl => "osctrl",
            Self::AisocDirect => "aisoc_direct",
        }
    }

    /// The trouble as this server has it, where it does.
    fn faults(self, trouble: &Trouble) -> Option<Vec<Fault>> {
        let yaml = match self {
            Self::Fleet => trouble.fleet,
            Self::Osctrl => trouble.osctrl,
            Self::AisocDirect => trouble.aisoc?,
        };
        let scenario = Scenario::from_yaml(&format!("hosts: []\nfaults: [{yaml}]"));
        Some(scenario.expect("the fault is one").faults)
    }

    /// What a step says of it beside the address.
    fn access(self) -> String {
        let more = match self {
            Self::Fleet => "",
            Self::Osctrl => "  environment: dev\n",
            Self::AisocDirect => {
                return format!("  tenant_id: {}\n", osquery_simulator::AISOC_TENANT);
            }
        };
        more.to_owned()
    }

    /// Who is asked. Whoever is offline would be waited for where nobody tells who that is.
    fn targets(self) -> &'static [&'static str] {
        match self {
            Self::Fleet | Self::Osctrl => &["web-0", "web-1", "web-2", "bad", "gone", "nobody"],
            Self::AisocDirect => &["web-0", "web-1", "web-2", "bad", "nobody"],
        }
    }

    /// Who is offline is left out, where it is told.
    fn offline_hosts(self) -> &'static str {
        match self {
            Self::Fleet | Self::Osctrl => "skip",
            Self::AisocDirect => "wait",
        }
    }

    /// Which of the simulator's servers it is.
    fn wire(self) -> osquery_simulator::Wire {
        match self {
            Self::Fleet => osquery_simulator::Wire::Fleet,
            Self::Osctrl => osquery_simulator::Wire::Osctrl,
            Self::AisocDirect => osquery_simulator::Wire::AisocDirect,
        }
    }
}

/// What went wrong in runs under one fault.
#[derive(Default, Clone)]
struct Losses {
    rows_lost: usize,
    misreported: usize,
    invalid: usize,
    leaked: usize,
    left_running: usize,
    past_deadline: Duration,
    notes: Vec<String>,
}

impl Losses {
    fn add(&mut self, other: &Self) {
        self.rows_lost += other.rows_lost;
        self.misreported += other.misreported;
        self.invalid += other.invalid;
        self.leaked += other.leaked;
        self.left_running += other.left_running;
        self.past_deadline = self.past_deadline.max(other.past_deadline);
        self.notes.extend(other.notes.iter().cloned());
    }

    fn cells(&self) -> String {
        format!(
            "{} | {} | {} | {} | {} | {}",
            self.rows_lost,
            self.misreported,
            self.invalid,
            self.leaked,
            self.left_running,
            self.past_deadline.as_millis()
        )
    }
}

/// web-0, web-1, web-2 answer two rows each, bad an osquery error, gone is offline.
fn hosts() -> Vec<HostSpec> {
    let rows = |count: usize| {
        let row = serde_json::json!({"name": "init"});
        Answer::Rows(
            (0..count)
                .filter_map(|_| row.as_object().cloned())
                .collect(),
        )
    };
    let web = |number: u32| {
        HostSpec::named(format!("web-{number}"))
            .answering(rows(2))
            .delayed(Duration::from_millis(60) * number)
    };
    let mut gone = HostSpec::named("gone").offline();
    // osctrl calls a node inactive after days only.
    gone.last_seen = Some("2020-01-01T00:00:00Z".into());
    vec![
        web(0),
        web(1),
        web(2),
        HostSpec::named("bad").answering(Answer::Error("no such table: x".into())),
        gone,
    ]
}

fn scenario(backend: Backend, faults: Vec<Fault>) -> Scenario {
    Scenario {
        wire: backend.wire(),
        fleet: Fleet {
            tick: FLEET_TICK,
            ..Fleet::default()
        },
        faults,
        ..Scenario::of(hosts())
    }
}

fn step(backend: Backend, server: &str) -> String {
    let name = backend.name();
    format!(
        "id: reliability\ntype: osquery_live_query\nparams:\n  backend: {name}\n  base_url: {server}\n{}  \
         api_token: '{{{{ secrets.{name} }}}}'\n  template: running_processes\n  target_hosts: [{}]\n  \
         offline_hosts: {}\n  timeout_seconds: {}\n",
        backend.access(),
        backend.targets().join(", "),
        backend.offline_hosts(),
        TIMEOUT.as_secs()
    )
}

fn start(step: &str) -> Child {
    start_with(&[], step)
}

fn start_with(args: &[&str], step: &str) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_osquery-live-query"))
        .args(["--log", "json", "-vv"])
        .args(args)
        .env_clear()
        .envs(TOKENS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A process that is killed reads no further.
    let _ = stdin.write_all(step.as_bytes());
    child
}

/// Both pipes, read to their ends.
fn outputs(child: &mut Child) -> (String, String) {
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut stderr = child.stderr.take().expect("a pipe");
    std::thread::scope(|scope| {
        let told = scope.spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("stderr is text");
            text
        });
        let mut text = String::new();
        stdout.read_to_string(&mut text).expect("stdout is text");
        (text, told.join().expect("stderr is read"))
    })
}

fn run(backend: Backend, simulator: &Simulator, recovers: bool) -> Losses {
    let started = Instant::now();
    let mut child = start(&step(backend, &simulator.base_url()));
    let (stdout, stderr) = outputs(&mut child);
    let written = started.elapsed();
    child.wait().expect("the process ends");
    judge(backend, simulator, &stdout, &stderr, written, recovers)
}

fn judge(
    backend: Backend,
    simulator: &Simulator,
    stdout: &str,
    stderr: &str,
    written: Duration,
    recovers: bool,
) -> Losses {
    let mut losses = Losses {
        // stdout ends with the process, which may take up to 2 s after the document to stop a campaign.
        past_deadline: written.saturating_sub(TIMEOUT),
        ..Losses::default()
    };
    losses.leaked = TOKENS
        .iter()
        .filter(|(_, token)| stdout.contains(token) || stderr.contains(token))
        .count();
    let Some(document) = valid(backend, stdout) else {
        losses.invalid = 1;
        return losses;
    };
    let seen = simulator.observations();
    for host in ["web-0", "web-1", "web-2"] {
        let rows = document["results"][host].as_array().map(Vec::len);
        match document["hosts"][host]["status"].as_str() {
            Some("ok") if rows == Some(2) && taken(&seen) > 0 => {}
            Some("ok") => losses.rows_lost += 2 - rows.unwrap_or(0).min(2),
            Some("error") => losses.misreported += 1,
            _ if recovers => losses.rows_lost += 2,
            _ => {}
        }
    }
    for (host, possible) in [
        ("bad", &["error", "no_answer", "not_asked"][..]),
        ("gone", &["offline", "no_answer", "not_asked"]),
        ("nobody", &["unknown", "not_asked"]),
    ] {
        if !backend.targets().contains(&host) {
            continue;
        }
        let status = document["hosts"][host]["status"]
            .as_str()
            .unwrap_or_default();
        if !possible.contains(&status) {
            losses.misreported += 1;
        }
    }
    let says_so = document["campaign"]["may_be_running"] == Value::Bool(true);
    let ended = says_so
        || simulator.wait_until(
            |seen| {
                seen.campaigns
                    .iter()
                    .all(|campaign| campaign.state != CampaignState::Running)
            },
            FLEET_TICK * 4 + Duration::from_secs(2),
        );
    losses.left_running = usize::from(!ended);
    losses
}

fn taken(seen: &Observations) -> usize {
    seen.answers
        .iter()
        .filter(|answer| answer.fate == Fate::Taken)
        .count()
}

/// The one document, if it keeps its schema and names every target once.
fn valid(backend: Backend, stdout: &str) -> Option<Value> {
    let document: Value = serde_json::from_str(stdout.strip_suffix('\n')?).ok()?;
    let schema = serde_json::from_str(osquery_live_query::inside::texts::OUTPUT).ok()?;
    jsonschema::is_valid(&schema, &document).then_some(())?;
    let answered = document["results"].as_object()?;
    let silent = document["timed_out_hosts"].as_array()?;
    let once =
        |name: &str| answered.contains_key(name) != silent.iter().any(|silent| silent == name);
    let mut targets = backend.targets().iter();
    targets.all(|name| once(name)).then_some(document)
}

/// A linear congruential generator: the sample must be the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

/// Runs jobs eight at a time (they mostly wait), and keeps their order.
fn in_parallel<T: Sync>(jobs: &[T], work: impl Fn(&T) -> Losses + Sync) -> Vec<Losses> {
    let results = Mutex::new(vec![Losses::default(); jobs.len()]);
    let next = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let job = {
                        let mut next = next.lock().expect("no job panicked");
                        *next += 1;
                        *next - 1
                    };
                    let Some(input) = jobs.get(job) else { return };
                    let losses = work(input);
                    results.lock().expect("no job panicked")[job] = losses;
                }
            });
        }
    });
    results.into_inner().expect("no job panicked")
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some(in_process::ARGUMENT) => return in_process::perform(&args[1..]),
        Some("hostile") => return hostile::print(args.get(1).map_or("", |name| name)),
        Some("in-process") => return in_process::print(),
        Some("restarts") => return restarts::print(),
        Some("faults") => return faults(),
        Some("pairs") => return pairs(),
        Some("crowd") => return crowd(),
        Some("row") => return row(),
        Some("killed") => return killed(),
        // cargo's own `--bench`, or nothing.
        _ => {}
    }
    println!(
        "# Reliability\n\nMade by `cargo bench --bench reliability > docs/reliability.md`: the release binary against the \
         simulator, with {} s for each run. Three hosts answer with two rows each, one with an osquery error, one is \
         offline, one is not enrolled; AiSOC's service does not tell who is offline, so that one is not asked there, and \
         what another server does where it finds hosts, that one does where answers are looked for. Lost are rows of hosts that answered, where the fault leaves a way to have \
         them; misreported are hosts whose status contradicts what they did; a campaign counts as left running \
         where the document does not say `may_be_running`; the last column is how long after the deadline the process \
         had ended (up to 2,000 ms are allowed, for telling the server to stop).\n",
        TIMEOUT.as_secs()
    );
    faults();
    pairs();
    crowd();
    in_process::print();
    restarts::print();
    row();
    killed();
    hostile::print("");
    println!(
        "\n## How much is read\n\nWhat a server sends beyond these is cut off, and the document says so.\n\n{}",
        osquery_live_query::inside::limits::table().trim_end()
    );
    println!("\n{}", include_str!("collect.md").trim_end());
    println!("\n{}", include_str!("too_little.md").trim_end());
}

const HEAD: &str = "| rows lost | hosts misreported | documents invalid | secrets leaked | campaigns left running | ms past the deadline |";

fn faults() {
    println!("## Each fault\n\n| fault | backend {HEAD}\n|---|---|---|---|---|---|---|---|");
    let jobs: Vec<(&Trouble, Backend)> = TROUBLES
        .iter()
        .flat_map(|trouble| Backend::ALL.map(|backend| (trouble, backend)))
        .filter(|(trouble, backend)| backend.faults(trouble).is_some())
        .collect();
    let losses = in_parallel(&jobs, |(trouble, backend)| {
        let faults = backend.faults(trouble).unwrap_or_default();
        let simulator = Simulator::spawn(scenario(*backend, faults)).expect("a simulator");
        run(*backend, &simulator, trouble.recovers)
    });
    for ((trouble, backend), losses) in jobs.iter().zip(&losses) {
        println!(
            "| {} | {} | {} |",
            trouble.name,
            backend.name(),
            losses.cells()
        );
    }
}

fn pairs() {
    let mut dice = Dice(SEED);
    let jobs: Vec<(&Trouble, &Trouble, Backend)> = (0..PAIRS)
        .flat_map(|_| {
            let first = &TROUBLES[1 + dice.below(TROUBLES.len() - 1)];
            let second = &TROUBLES[1 + dice.below(TROUBLES.len() - 1)];
            Backend::ALL.map(|backend| (first, second, backend))
        })
        .collect();
    let losses = in_parallel(&jobs, |(first, second, backend)| {
        // Where one of the two is not to be had, the other is alone.
        let both = [first, second].map(|trouble| backend.faults(trouble).unwrap_or_default());
        let simulator = Simulator::spawn(scenario(*backend, both.concat())).expect("a simulator");
        // Two faults of which each heals may together outlast the deadline.
        run(*backend, &simulator, false)
    });
    println!(
        "\n## Pairs\n\n{PAIRS} pairs, drawn with the seed {SEED}.\n\n| backend {HEAD}\n|---|---|---|---|---|---|---|"
    );
    for backend in Backend::ALL {
        let mut sum = Losses::default();
        for ((first, second, of), losses) in jobs.iter().zip(&losses) {
            if *of == backend {
                sum.add(losses);
                if losses.rows_lost
                    + losses.misreported
                    + losses.invalid
                    + losses.leaked
                    + losses.left_running
                    > 0
                {
                    eprintln!(
                        "{}: {} + {}: {}",
                        backend.name(),
                        first.name,
                        second.name,
                        losses.cells()
                    );
                }
            }
        }
        println!("| {} | {} |", backend.name(), sum.cells());
    }
}

/// Two hundred at once against one server.
fn crowd() {
    println!("\n## Two hundred runs at once\n\n| backend {HEAD}\n|---|---|---|---|---|---|---|");
    for backend in Backend::ALL {
        let simulator = Simulator::spawn(scenario(backend, Vec::new())).expect("a simulator");
        let step = step(backend, &simulator.base_url());
        let mut sum = Losses::default();
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..200)
                .map(|_| {
                    scope.spawn(|| {
                        let started = Instant::now();
                        let mut child = start(&step);
                        let (stdout, stderr) = outputs(&mut child);
                        let written = started.elapsed();
                        child.wait().expect("the process ends");
                        (stdout, stderr, written)
                    })
                })
                .collect();
            for one in runs {
                let (stdout, stderr, written) = one.join().expect("a run");
                sum.add(&judge(backend, &simulator, &stdout, &stderr, written, true));
            }
        });
        println!("| {} | {} |", backend.name(), sum.cells());
    }
}

/// One after the other, and what they leave behind.
fn row() {
    let mut text = String::from("\n## One thousand runs in a row\n\n");
    let files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let temporary = || std::fs::read_dir(std::env::temp_dir()).map_or(0, Iterator::count);
    for backend in Backend::ALL {
        let simulator = Simulator::spawn(scenario(backend, Vec::new())).expect("a simulator");
        let before = (files(), temporary());
        let mut sum = Losses::default();
        let mut invalid = 0;
        for _ in 0..500 {
            let mut child = start(&step(backend, &simulator.base_url()));
            let (stdout, _) = outputs(&mut child);
            child.wait().expect("the process ends");
            invalid += usize::from(valid(backend, &stdout).is_none_or(|document| {
                document["campaign"]["responded"] != 4 || document["campaign"]["rows"] != 6
            }));
        }
        sum.invalid = invalid;
        let ended = simulator.wait_until(
            |seen| {
                seen.campaigns.iter().all(|campaign| {
                    campaign.state != CampaignState::Running && campaign.listeners == 0
                })
            },
            FLEET_TICK * 10,
        );
        let _ = writeln!(
            text,
            "- {}: 500 runs; documents not whole: {invalid}; campaigns or listeners left: {}; files left in the temporary folder: {}; the server's open files grew by {}.",
            backend.name(),
            usize::from(!ended),
            temporary().saturating_sub(before.1),
            files().saturating_sub(before.0),
        );
    }
    print!("{text}");
}

/// Killed at random moments, with an audit log that all share; the next run must work.
fn killed() {
    let mut dice = Dice(SEED);
    let mut text = String::from("\n## Killed at random moments\n\n");
    let folder = std::env::temp_dir().join(format!("reliability-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    let (policy, log) = (folder.join("policy.yaml"), folder.join("audit.jsonl"));
    let rules = format!("audit_log: {}\n", log.display());
    std::fs::write(&policy, rules).expect("a policy");
    let policy = policy.display().to_string();
    let under_policy = |step: &str| start_with(&["--policy", &policy], step);
    for backend in Backend::ALL {
        let simulator = Simulator::spawn(scenario(backend, Vec::new())).expect("a simulator");
        let step = step(backend, &simulator.base_url());
        let mut failed = 0;
        for _ in 0..100 {
            let mut child = under_policy(&step);
            std::thread::sleep(Duration::from_millis(dice.below(250) as u64));
            child.kill().expect("it can be killed");
            child.wait().expect("the process ends");
            let mut next = under_policy(&step);
            let (stdout, _) = outputs(&mut next);
            next.wait().expect("the process ends");
            failed += usize::from(
                valid(backend, &stdout)
                    .is_none_or(|document| document["campaign"]["responded"] != 4),
            );
        }
        let _ = writeln!(
            text,
            "- {}: 100 runs killed with SIGKILL within 250 ms; next runs that did not work: {failed}.",
            backend.name()
        );
    }
    let lines = std::fs::read_to_string(&log).expect("an audit log");
    let torn = lines
        .lines()
        .filter(|line| serde_json::from_str::<Value>(line).is_err())
        .count();
    let _ = writeln!(
        text,
        "- The audit log that all of them shared: {} lines, {torn} of them not whole.",
        lines.lines().count()
    );
    std::fs::remove_dir_all(&folder).expect("the folder");
    print!("{text}");
}
