//! Servers that send without end, too wide, too much or to too many, and readers that stop: how late the
//! document is after the deadline and after SIGTERM, how much memory that takes, how the process ends.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use osquery_simulator::{
    Answer, Endless, Fault, Flood, FloodOf, HostSpec, Huge, MadeBody, Scenario, Simulator,
    SocketFault, Wide,
};

use crate::{Backend, TOKENS};

/// When SIGTERM comes, in the runs that hear one.
const TERM_AFTER: Duration = Duration::from_millis(1_000);

/// What the process takes beyond the rows that it keeps.
const MOST_MIB: u64 = 150;
/// The contract's word for deadline and signals.
const WITHIN: Duration = Duration::from_millis(250);

/// Why rows are outside of what is allowed; to be read again when the table changes.
const NOTE: &str = "What is outside, and why: an answer of 188 MB is more than is read of one host (below); Fleet's stream then ends with that error, osctrl's page is read on, and there, as at AiSOC's service, the answer is that host's error.";

struct Case {
    name: String,
    backend: Backend,
    scenario: Scenario,
    timeout: Duration,
    /// Nobody reads stdout.
    stuck: bool,
    /// Every host of the server is asked, and not only the two of a flood.
    everybody: bool,
}

impl Case {
    fn of(name: impl Into<String>, backend: Backend, hosts: Vec<HostSpec>) -> Self {
        Self {
            name: name.into(),
            backend,
            scenario: Scenario {
                wire: backend.wire(),
                ..Scenario::of(hosts)
            },
            timeout: Duration::from_secs(3),
            stuck: false,
            everybody: false,
        }
    }

    fn fault(mut self, fault: Fault) -> Self {
        self.scenario.faults.push(fault);
        self
    }

    fn everybody(mut self, seconds: u64) -> Self {
        self.everybody = true;
        self.timeout = Duration::from_secs(seconds);
        self
    }

    fn step(&self, server: &str) -> String {
        let name = self.backend.name();
        let targets = match (self.everybody, self.backend) {
            (true, Backend::Fleet | Backend::Osctrl) => {
                "  target_platforms: [linux]\n  max_hosts: 100000\n".to_owned()
            }
            (true, Backend::AisocDirect) => {
                let names = self.scenario.hosts.iter().flat_map(names);
                let names: Vec<String> = names.collect();
                format!(
                    "  target_hosts: [{}]\n  max_hosts: 10000\n",
                    names.join(", ")
                )
            }
            (false, _) => "  target_hosts: [web-01, web-02]\n".to_owned(),
        };
        format!(
            "id: reliability\ntype: osquery_live_query\nparams:\n  backend: {name}\n  base_url: {server}\n{}  \
             api_token: '{{{{ secrets.{name} }}}}'\n  template: running_processes\n{targets}  \
             max_bytes: 1073741824\n  max_rows_per_host: 100000\n  timeout_seconds: {}\n",
            self.backend.access(),
            self.timeout.as_secs()
        )
    }
}

/// The names of a scenario's hosts, where they are many.
fn names(spec: &HostSpec) -> Vec<String> {
    match spec.count {
        1 => vec![spec.hostname.clone()],
        many => (0..many)
            .map(|number| spec.hostname.replace("{n:06}", &format!("{number:06}")))
            .collect(),
    }
}

fn one(name: &str) -> HostSpec {
    let row = serde_json::json!({"pid": "1", "name": "init"});
    let row = row.as_object().cloned().unwrap_or_default();
    HostSpec::named(name).answering(Answer::Rows(vec![row]))
}

fn silent(name: &str) -> HostSpec {
    HostSpec::named(name).answering(Answer::Silent)
}

fn finding(backend: Backend) -> Fault {
    match backend {
        Backend::Fleet => Fault::on_method("GET", "/fleet/hosts"),
        Backend::Osctrl => Fault::on_method("GET", "/nodes/dev"),
        Backend::AisocDirect => Fault::on_method("GET", "/osquery/distributed/"),
    }
}

/// A list of so many items of 1,000 bytes and more.
fn list(before: &str, item: &str, items: usize) -> MadeBody {
    MadeBody {
        before: before.into(),
        repeat: item.replace("PADDING", &"x".repeat(1_000)),
        times: items,
        between: ",".into(),
        after: r#"],"total_items":1000000}"#.into(),
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for of in FloodOf::ALL {
        let bytes = match of {
            FloodOf::Pings | FloodOf::Pongs | FloodOf::Empty => 0,
            _ => 1_000,
        };
        let flood = Fault::on("results/websocket").socket(SocketFault {
            after_results: 1,
            flood: Some(Flood::of(of, bytes)),
            ..SocketFault::default()
        });
        let name = format!("results stream, flood: {}", words(&format!("{of:?}")));
        let hosts = vec![one("web-01"), silent("web-02")];
        cases.push(Case::of(name, Backend::Fleet, hosts).fault(flood));
    }
    for backend in Backend::ALL {
        let two = || vec![one("web-01"), silent("web-02")];
        for endless in Endless::ALL {
            let what = match backend {
                Backend::Fleet | Backend::Osctrl => "finding hosts",
                Backend::AisocDirect => "results",
            };
            let name = format!("{what}, without end: {}", words(&format!("{endless:?}")));
            cases.push(Case::of(name, backend, two()).fault(finding(backend).endless(endless)));
        }
        if backend == Backend::Osctrl {
            for endless in [Endless::Headers, Endless::Body] {
                let name = format!("results, without end: {}", words(&format!("{endless:?}")));
                let fault = Fault::on_method("GET", "/results/").endless(endless);
                cases.push(Case::of(name, backend, two()).fault(fault));
            }
        }
        let rows = |answer| HostSpec::named("web-01").answering(answer);
        let wide = Answer::Wide(Wide {
            rows: 2_000,
            columns: 2_000,
        });
        let name = "width: an answer of 2,000 columns and 2,000 rows";
        cases.push(Case::of(name, backend, vec![rows(wide)]).everybody(20));
        let ten = Answer::Rows(
            (0..10)
                .filter_map(|n| {
                    serde_json::json!({"pid": n.to_string()})
                        .as_object()
                        .cloned()
                })
                .collect(),
        );
        // A step names 10,000 hosts at most.
        let (count, name) = match backend {
            Backend::Fleet | Backend::Osctrl => (100_000, "number: 100,000 hosts of 10 rows"),
            Backend::AisocDirect => (10_000, "number: 10,000 hosts of 10 rows"),
        };
        let many = HostSpec::many(count, "pod-{n:06}").answering(ten);
        let mut case = Case::of(name, backend, vec![many]);
        case.scenario.check_in = Duration::from_millis(500);
        cases.push(case.everybody(40));
        let huge = Answer::Huge(Huge {
            rows: 1,
            row_bytes: 188_000_000,
        });
        let name = "size: an answer of 188 MB";
        cases.push(Case::of(name, backend, vec![rows(huge), silent("web-02")]).everybody(8));
        let begins = match backend {
            Backend::Fleet => Some(r#"{"hosts":["#),
            Backend::Osctrl => Some(r#"{"items":["#),
            Backend::AisocDirect => None,
        };
        if let Some(begins) = begins {
            let item = r#"{"id":{n},"hostname":"h-{n}","uuid":"u-{n}","padding":"PADDING"}"#;
            let nodes = list(begins, item, 250_000);
            let name = "size: a page of hosts of 270 MB";
            cases.push(Case::of(name, backend, two()).fault(finding(backend).made(nodes)));
        }
        if backend == Backend::Osctrl {
            let results = list(
                r#"{"items":["#,
                r#"{"id":{n},"data":"{\"result\":[{\"a\":\"PADDING\"}],\"status\":0}","uuid":"u-{n}","status":0}"#,
                450_000,
            );
            let fault = Fault::on_method("GET", "/results/").made(results);
            let name = "size: a page of results of 500 MB";
            cases.push(Case::of(name, backend, two()).fault(fault).everybody(8));
        }
        let lots = Answer::Huge(Huge {
            rows: 1_000,
            row_bytes: 1_000,
        });
        // A megabyte that the pipe does not hold, and a host for whose answer the run goes on.
        let mut stuck = Case::of(
            "a reader that stops",
            backend,
            vec![HostSpec::named("web-01").answering(lots), silent("web-02")],
        );
        stuck.stuck = true;
        cases.push(stuck);
    }
    cases
}

/// `OneFrame` → `one frame`
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// What a run left.
struct Ran {
    status: i32,
    /// From the start to the last byte of stdout, and to the process's end.
    written: Duration,
    ended: Duration,
    signalled: Option<Duration>,
    peak_mib: u64,
    stdout: Vec<u8>,
}

/// Prints the rows of all cases, or of those whose names begin like this.
pub fn print(beginning: &str) {
    println!(
        "\n## Floods, width, number, size, and readers that stop\n\n\
         `document` is how long after the deadline its last byte came (0: before); `after SIGTERM` the same in a second \
         run that is ended after one second (–: it was over by then). `memory` is the most that the process had, beside \
         the bytes of its stdout. Allowed are {} ms and {MOST_MIB} MiB; a reader that stops has two seconds more.\n\n\
         | case | backend | format | document, ms | after SIGTERM, ms | memory, MiB | stdout, MiB | exit status and error | |\n\
         |---|---|---|---|---|---|---|---|---|",
        WITHIN.as_millis()
    );
    let chosen = |case: &Case| case.name.starts_with(beginning);
    for case in cases().into_iter().filter(chosen) {
        for format in ["json", "ndjson"] {
            row(&case, format);
        }
    }
    println!("\n{}", NOTE.trim());
}

fn row(case: &Case, format: &str) {
    let simulator = Simulator::spawn(case.scenario.clone()).expect("a simulator");
    let step = case.step(&simulator.base_url());
    let ran = run(case, format, &step, None);
    drop(simulator);
    let simulator = Simulator::spawn(case.scenario.clone()).expect("a simulator");
    let step = case.step(&simulator.base_url());
    let told = run(case, format, &step, Some(TERM_AFTER));
    let at = |ran: &Ran| if case.stuck { ran.ended } else { ran.written };
    let late = at(&ran).saturating_sub(case.timeout);
    let after_signal = told
        .signalled
        .map(|signalled| at(&told).saturating_sub(signalled));
    let allowed = match case.stuck {
        true => WITHIN + Duration::from_secs(2),
        false => WITHIN,
    };
    let memory = ran.peak_mib.max(told.peak_mib);
    let mut why = Vec::new();
    if late > allowed {
        why.push("late");
    }
    if after_signal.is_some_and(|after| after > allowed) {
        why.push("late after SIGTERM");
    }
    // The rows that are kept stand in the document; written line by line, they are not kept.
    let kept = match format {
        "json" => ran.stdout.len() as u64 / (1 << 20),
        _ => 0,
    };
    if memory > MOST_MIB + kept {
        why.push("memory");
    }
    println!(
        "| {} | {} | {format} | {} | {} | {memory} | {} | {}{} | {} |",
        case.name,
        case.backend.name(),
        late.as_millis(),
        after_signal.map_or("–".into(), |after| after.as_millis().to_string()),
        ran.stdout.len() / (1 << 20),
        ran.status,
        error_of(&ran.stdout),
        why.join(", ")
    );
}

/// ` backend`, the code of the document's error; what is no document says so.
fn error_of(stdout: &[u8]) -> String {
    let last = stdout.strip_suffix(b"\n").unwrap_or_default();
    let last = last
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    match serde_json::from_slice::<serde_json::Value>(last) {
        Ok(document) => document["error"]["code"]
            .as_str()
            .map_or(String::new(), |code| format!(" {code}")),
        Err(_) => " no document".into(),
    }
}

fn run(case: &Case, format: &str, step: &str, term: Option<Duration>) -> Ran {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_osquery-live-query"))
        .args(["--format", format])
        .env_clear()
        .envs(TOKENS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(step.as_bytes()).expect("the step is read");
    drop(stdin);
    let mut pipe = child.stdout.take().expect("a pipe");
    let came: Arc<Mutex<(Vec<u8>, Duration)>> = Arc::default();
    // A reader that has stopped still holds its end of the pipe.
    let reader = if case.stuck {
        Err(pipe)
    } else {
        let came = Arc::clone(&came);
        Ok(std::thread::spawn(move || {
            let mut piece = vec![0; 1 << 16];
            while let Ok(read @ 1..) = pipe.read(&mut piece) {
                let mut came = came.lock().expect("no reader panicked");
                came.0.extend_from_slice(&piece[..read]);
                came.1 = started.elapsed();
            }
        }))
    };
    let (status, peak_mib, signalled) = attend(&mut child, started, term);
    let ended = started.elapsed();
    if let Ok(reader) = reader {
        reader.join().expect("stdout is read");
    }
    let (stdout, written) = std::mem::take(&mut *came.lock().expect("no reader panicked"));
    Ran {
        status,
        written,
        ended,
        signalled,
        peak_mib,
        stdout,
    }
}

/// Watches the process's memory until it ends, and sends it SIGTERM.
fn attend(
    child: &mut Child,
    started: Instant,
    term: Option<Duration>,
) -> (i32, u64, Option<Duration>) {
    let path = format!("/proc/{}/status", child.id());
    let (mut peak, mut signalled) = (0, None);
    loop {
        if let Some(status) = child.try_wait().expect("the process can be waited for") {
            use std::os::unix::process::ExitStatusExt as _;
            let status = status.code().or(status.signal().map(|signal| 128 + signal));
            return (status.unwrap_or(-1), peak / 1_024, signalled);
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let high = high.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
        peak = high.unwrap_or(0).max(peak);
        if signalled.is_none() && term.is_some_and(|after| started.elapsed() >= after) {
            signalled = Some(started.elapsed());
            let mut kill = Command::new("kill");
            // It may be over by now.
            let _ = kill.args(["-TERM", &child.id().to_string()]).status();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
