//! Measures what the documentation claims: how soon the process ends after the last host's answer, what
//! an input error costs, how long a dry run of a large pack takes, and how much memory ten thousand hosts
//! take. Prints figures; judges nothing.
//!
//! `cargo bench --bench claims`: the release binary, started as an engine starts it, against the
//! simulator on loopback.

#![allow(clippy::print_stdout, clippy::print_stderr)] // The figures are the output.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use osquery_simulator::{
    FLEET_MAINTAINER_TOKEN, HostSpec, OSCTRL_PLUGIN_TOKEN, Osctrl, Scenario, Simulator, TableSpec,
};
use wait4::Wait4;

const RUNS: usize = 20;
/// With this argument the program only starts the binary and tells its memory: a process inherits the
/// peak of the one that started it, so that one has to be small.
const MEASURE: &str = "--measure-memory";

fn main() {
    if std::env::args().nth(1).as_deref() == Some(MEASURE) {
        return measure();
    }
    println!(
        "{:<58} {:>10} {:>10} {:>10}",
        "", "minimum", "median", "maximum"
    );
    input_error();
    dry_run();
    for backend in ["fleetdm", "osctrl"] {
        last_answer(backend, Duration::from_millis(300));
    }
    last_answer("osctrl", Duration::from_millis(1_500));
    for backend in ["fleetdm", "osctrl"] {
        ten_thousand_hosts(backend);
    }
}

/// What a process left, and when it had ended.
struct Ran {
    ended: Instant,
    elapsed: Duration,
    /// Peak resident memory in bytes, where it was measured.
    memory: u64,
    stdout: Vec<u8>,
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osquery-live-query"));
    command
        .env_clear()
        .env("OSQUERY_LIVE_QUERY_SECRET_FLEETDM", FLEET_MAINTAINER_TOKEN)
        .env("OSQUERY_LIVE_QUERY_SECRET_OSCTRL", OSCTRL_PLUGIN_TOKEN);
    command
}

/// Passes stdin and stdout on to the binary, and writes its peak memory to stderr.
fn measure() {
    let mut child = binary()
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let usage = child.wait4().expect("the process ends").rusage;
    eprint!("{}", usage.maxrss);
}

fn run(step: &str) -> Ran {
    start(binary().stderr(Stdio::null()), step)
}

/// The same by way of a small process, for the memory.
fn run_measured(step: &str) -> Ran {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    start(command.arg(MEASURE).stderr(Stdio::piped()), step)
}

fn start(command: &mut Command, step: &str) -> Ran {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the process starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(step.as_bytes()).expect("the step is read");
    drop(stdin);
    let mut stdout = Vec::new();
    let mut pipe = child.stdout.take().expect("a pipe");
    pipe.read_to_end(&mut stdout).expect("stdout is read");
    let mut told = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut told).expect("stderr is read");
    }
    child.wait().expect("the process ends");
    Ran {
        ended: Instant::now(),
        elapsed: started.elapsed(),
        memory: told.parse().unwrap_or_default(),
        stdout,
    }
}

fn step(backend: &str, server: &str, targets: &str) -> String {
    let environment = if backend == "osctrl" {
        "  environment: dev\n"
    } else {
        ""
    };
    format!(
        "id: bench\ntype: osquery_live_query\nparams:\n  backend: {backend}\n  base_url: {server}\n{environment}  \
         api_token: '{{{{ secrets.{backend} }}}}'\n  template: running_processes\n  timeout_seconds: 120\n  {targets}\n"
    )
}

fn show(what: &str, unit: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let [least, median, most] = [0, figures.len() / 2, figures.len() - 1].map(|at| figures[at]);
    println!("{what:<58} {least:>10.1} {median:>10.1} {most:>10.1} {unit}");
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn input_error() {
    let bad = step(
        "fleetdm",
        "https://127.0.0.1:9",
        "target_hosts: []\n  timeout_seconds: 0",
    );
    let bad = bad.replacen("  timeout_seconds: 120\n", "", 1);
    let runs: Vec<Ran> = (0..RUNS).map(|_| run(&bad)).collect();
    assert!(
        runs.iter()
            .all(|ran| String::from_utf8_lossy(&ran.stdout).contains("\"schema\""))
    );
    show(
        "input error: whole process",
        "ms",
        runs.iter().map(|ran| milliseconds(ran.elapsed)).collect(),
    );
    let runs: Vec<Ran> = (0..RUNS).map(|_| run_measured(&bad)).collect();
    show(
        "input error: peak memory",
        "MB",
        runs.iter().map(|ran| megabytes(ran.memory)).collect(),
    );
}

/// Hosts answer at their own pace; the slowest after `slowest`.
/// 1,000 playbooks of 20 steps: six templates, most calls with parameters of their own.
fn dry_run() {
    const CALLS: [(&str, &str); 6] = [
        ("running_processes", "limit: N"),
        ("processes_by_name", "name: procN"),
        ("listening_ports", ""),
        ("recently_modified_files", "since: -Nh"),
        ("process_open_files", "pid: \"{{ alert.pid }}\""),
        ("connections_to_port", "port: N"),
    ];
    let name = format!("osquery-live-query-claims-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    for playbook in 0..1_000 {
        let mut text = format!("id: playbook-{playbook}\nname: Playbook {playbook}\nsteps:\n");
        for step in 0..20 {
            let (template, params) = CALLS[step % CALLS.len()];
            let params = params.replace('N', &(playbook % 600 + 1).to_string());
            text.push_str(&format!(
                "  - id: step-{step}\n    name: Step {step}\n    type: osquery_live_query\n    on_failure: continue\n    timeout_seconds: 90\n    params:\n      backend: fleetdm\n      base_url: \"https://fleet.corp.example.com\"\n      api_token: \"{{{{ secrets.fleet_token }}}}\"\n      template: {template}\n      template_params: {{ {params} }}\n      target_hosts: [\"{{{{ alert.host }}}}\", host-{step}]\n      timeout_seconds: 60\n"
            ));
        }
        std::fs::write(folder.join(format!("{playbook:04}.playbook.yaml")), text)
            .expect("a playbook");
    }
    let figures = (0..RUNS).map(|_| {
        let ran = start(binary().args(["dry-run", "--quiet"]).arg(&folder), "");
        let text = String::from_utf8_lossy(&ran.stdout);
        assert_eq!(
            text,
            "1000 files, 20000 live-query steps: 0 errors, 0 warnings\n"
        );
        milliseconds(ran.elapsed)
    });
    show(
        "dry-run of 1,000 playbooks of 20 steps",
        "ms",
        figures.collect(),
    );
    std::fs::remove_dir_all(folder).expect("the folder is removed");
}

fn last_answer(backend: &str, slowest: Duration) {
    let mut late = Vec::new();
    for _ in 0..RUNS {
        let hosts = (1..=10)
            .map(|number| HostSpec::named(format!("host-{number}")).delayed(slowest * number / 10));
        let simulator = Simulator::spawn(Scenario::of(hosts)).expect("a simulator");
        let names = (1..=10)
            .map(|number| format!("host-{number}"))
            .collect::<Vec<_>>()
            .join(", ");
        let ran = run(&step(
            backend,
            &simulator.base_url(),
            &format!("target_hosts: [{names}]"),
        ));
        let last = simulator.last_answer_at().expect("answers");
        late.push(milliseconds(ran.ended - last));
    }
    let every = slowest.as_millis() / 10;
    show(
        &format!("{backend}: exit after the last answer (one per {every} ms)"),
        "ms",
        late,
    );
}

fn ten_thousand_hosts(backend: &str) {
    let hosts =
        HostSpec::many(10_000, "host-{n:05}").with_table("processes", TableSpec::generate(20));
    let scenario = Scenario {
        osctrl: Osctrl::default(),
        ..Scenario::of([hosts])
    };
    let simulator = Simulator::spawn(scenario).expect("a simulator");
    let targets = "target_platforms: [linux]\n  max_hosts: 10000";
    let mut times = Vec::new();
    let mut shares = Vec::new();
    let mut size = 0;
    for _ in 0..3 {
        let ran = run_measured(&step(backend, &simulator.base_url(), targets));
        let document: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("a document");
        let results = document["results"].as_object().expect("results");
        let rows: usize = results
            .values()
            .filter_map(|rows| rows.as_array())
            .map(Vec::len)
            .sum();
        assert_eq!(
            (results.len(), rows),
            (10_000, 200_000),
            "the document is not whole"
        );
        size = ran.stdout.len();
        times.push(milliseconds(ran.elapsed));
        shares.push(ran.memory as f64 / size as f64);
    }
    show(
        &format!(
            "{backend}: 10,000 hosts × 20 rows, {:.1} MB",
            megabytes(size as u64)
        ),
        "ms",
        times,
    );
    show(
        &format!("{backend}: peak memory ÷ size of the document"),
        "",
        shares,
    );
}
