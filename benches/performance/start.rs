//! What it costs to begin: to a refusal, to a text, to an answer of a server; how many round trips come before the
//! dispatch; how large the program is.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::{Input, Program, Took};
use crate::stand_in::{Ready, Shape, Wire};
use crate::throughput::{ENVIRONMENT, step};

const RUNS: usize = 101;
const BINARY: &str = env!("CARGO_BIN_EXE_osquery-live-query");

const ALERT: &str = r#"{"host":{"hostname":"web-01"},"timestamp":"2026-11-27T10:00:00Z"}"#;

const SMALL: Shape = Shape {
    hosts: 1,
    rows: 10,
    columns: 8,
    value: 16,
};

pub fn print() {
    println!(
        "\n## Start\n\n\
         Whole processes, {RUNS} runs each in turn; memory is the median of what was resident at most.\n\n\
         | what | median, ms | p99, ms | CPU, ms | CPU over `true`, ms | memory, MB |\n|---|---|---|---|---|---|"
    );
    let server = Ready::of(Wire::Fleet, SMALL).serve().expect("a port");
    let good = step(&server, Wire::Fleet);
    let refused = good.replace("timeout_seconds: 120", "timeout_seconds: 0");
    let unknown = good.replace("running_processes", "running_proceses");
    let ours = |verb: &'static [&'static str]| [&[BINARY], verb].concat();
    let all: [(&str, Vec<&str>, &str); 10] = [
        ("`true`", vec!["true"], ""),
        ("`jq .`", vec!["jq", "."], "{}"),
        ("`python3 -c pass`", vec!["python3", "-c", "pass"], ""),
        ("`--version`", ours(&["--version"]), ""),
        ("a text that is no step", ours(&[]), "id: ["),
        ("a step that its schema refuses", ours(&[]), &refused),
        ("a template that nobody knows", ours(&[]), &unknown),
        ("`alert`", ours(&["alert"]), ALERT),
        ("`check`, one host", ours(&["check"]), &good),
        ("`run`, one host", ours(&[]), &good),
    ];
    let mut took: Vec<Vec<Took>> = vec![Vec::new(); all.len()];
    for _ in 0..RUNS {
        for ((_, words, stdin), took) in all.iter().zip(&mut took) {
            let program = Program {
                words: words.iter().map(|word| (*word).to_owned()).collect(),
                stdin: Input::Text(stdin),
                environment: ENVIRONMENT,
            };
            took.push(program.run());
        }
    }
    let floor = middle(&took[0], |took| took.cpu);
    for ((what, ..), took) in all.iter().zip(&took) {
        let cpu = middle(took, |took| took.cpu);
        let mut walls: Vec<Duration> = took.iter().map(|took| took.wall).collect();
        walls.sort_unstable();
        println!(
            "| {what} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            milliseconds(walls[RUNS / 2]),
            milliseconds(walls[RUNS * 99 / 100]),
            milliseconds(cpu),
            milliseconds(cpu.saturating_sub(floor)),
            middle(took, |took| took.memory) as f64 / 1e6,
        );
    }
}

fn middle<T: Ord>(took: &[Took], of: impl Fn(&Took) -> T) -> T {
    let mut all: Vec<T> = took.iter().map(of).collect();
    all.sort_unstable();
    all.swap_remove(all.len() / 2)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

pub fn print_dispatch() {
    println!(
        "\n## Before the dispatch\n\n\
         The stand-in waits so long before each answer; counted is what it was asked before the query, and the time \
         from the start of the process until the query came.\n\n\
         | server | targets | wait, ms | asked before | ms to the dispatch | of that, waits |\n|---|---|---|---|---|---|"
    );
    for wire in Wire::BOTH {
        for names in [1, 1_000] {
            for delay in [1, 20, 100] {
                let delay = Duration::from_millis(delay);
                let shape = Shape {
                    hosts: names,
                    ..SMALL
                };
                let ready = Ready::of(wire, shape).waiting(delay);
                let asked = ready.asked();
                let server = ready.serve().expect("a port");
                let hosts: Vec<String> = (0..names).map(crate::stand_in::hostname).collect();
                let step = step(&server, wire).replace(
                    "target_platforms: [linux]",
                    &format!("target_hosts: [{}]", hosts.join(", ")),
                );
                let program = Program {
                    words: vec![BINARY.to_owned()],
                    stdin: Input::Text(&step),
                    environment: ENVIRONMENT,
                };
                let started = Instant::now();
                let took = program.run();
                assert_eq!(took.status, 0, "{wire:?} {names}");
                let asked = asked.lock().expect("no connection panicked");
                let query = asked.iter().position(|(path, _)| path.is_query());
                let query = query.expect("a query");
                let to_dispatch = asked[query].1 - started;
                println!(
                    "| {} | {names} by name | {} | {query} | {:.0} | {:.1} |",
                    wire.title(),
                    delay.as_millis(),
                    milliseconds(to_dispatch),
                    to_dispatch.as_secs_f64() / delay.as_secs_f64(),
                );
            }
        }
    }
}

pub fn print_size() {
    println!("\n## Size\n\n| what | |\n|---|---|");
    let size = std::fs::metadata(BINARY).expect("the binary").len();
    println!(
        "| binary as this bench was built | {:.1} MB |",
        size as f64 / 1e6
    );
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = Command::new("cargo")
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none"])
        .current_dir(here)
        .output();
    if let Ok(tree) = tree.map(|tree| String::from_utf8_lossy(&tree.stdout).into_owned()) {
        let mut crates: Vec<&str> = tree
            .lines()
            .map(|line| line.trim_end_matches(" (*)"))
            .collect();
        crates.sort_unstable();
        crates.dedup();
        println!("| crates in it | {} |", crates.len().saturating_sub(1));
    }
}
