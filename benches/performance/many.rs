//! Many at once: processes beside each other, and calls of one `mcp` process.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::child::{Input, Program, Took};
use crate::stand_in::{Ready, Shape, Wire};
use crate::throughput::{ENVIRONMENT, scratch, step};

/// With this argument the program is a model's client: `--calls NUMBER POLICY`.
pub const CALLS: &str = "--calls";

const BINARY: &str = env!("CARGO_BIN_EXE_osquery-live-query");
const PROCESSES: [usize; 2] = [1, 200];
const CALLED: [usize; 2] = [1, 20];
const SHAPE: Shape = Shape {
    hosts: 10,
    rows: 10,
    columns: 8,
    value: 16,
};

pub fn print() {
    println!(
        "\n## Many at once\n\n\
         Ten hosts of ten rows, Fleet and osctrl; processes that are started at once, and calls of `run_live_query` \
         that one `mcp` process is given at once. CPU and memory are of all together; memory is what was resident at \
         most in each, added up, so that what they share counts in each.\n\n\
         | what | server | time, s | CPU, s | CPU of one, ms | memory, MB |\n|---|---|---|---|---|---|"
    );
    for wire in Wire::BOTH {
        for number in PROCESSES {
            let server = Ready::of(wire, SHAPE).serve().expect("a port");
            let step = step(&server, wire);
            let begun = Instant::now();
            let took: Vec<Took> = std::thread::scope(|scope| {
                let run = || {
                    Program {
                        words: vec![BINARY.to_owned()],
                        stdin: Input::Text(&step),
                        environment: ENVIRONMENT,
                    }
                    .run()
                };
                let runs: Vec<_> = (0..number).map(|_| scope.spawn(run)).collect();
                let runs = runs.into_iter();
                runs.map(|run| run.join().expect("it was measured"))
                    .collect()
            });
            assert!(took.iter().all(|took| took.status == 0), "{wire:?}");
            let time = begun.elapsed().as_secs_f64();
            let cpu: f64 = took.iter().map(|took| took.cpu.as_secs_f64()).sum();
            let memory: u64 = took.iter().map(|took| took.memory).sum();
            row(
                &format!("{number} × `run`"),
                wire,
                number,
                (time, cpu, memory),
            );
        }
        for number in CALLED {
            let took = calls(wire, number);
            assert_eq!(took.status, 0, "{wire:?}");
            let figures = (took.wall.as_secs_f64(), took.cpu.as_secs_f64(), took.memory);
            row(&format!("`mcp`, {number} calls"), wire, number, figures);
        }
    }
}

fn row(what: &str, wire: Wire, number: usize, (time, cpu, memory): (f64, f64, u64)) {
    println!(
        "| {what} | {} | {time:.2} | {cpu:.2} | {:.1} | {:.0} |",
        wire.title(),
        cpu * 1e3 / number as f64,
        memory as f64 / 1e6
    );
}

fn calls(wire: Wire, number: usize) -> Took {
    let server = Ready::of(wire, SHAPE).serve().expect("a port");
    let environment = match wire {
        Wire::Fleet => "",
        Wire::Osctrl => "environment: dev, ",
    };
    let token = scratch("token");
    std::fs::write(&token, ENVIRONMENT[0].1).expect("a file");
    let policy = scratch("policy.yaml");
    let text = format!(
        "instances:\n  bench: {{backend: {}, {environment}base_url: '{server}', credentials: {{api_token: {{file: '{}'}}}}}}\n\
         mcp: {{max_runs_per_minute: 100, confirm_above: 10}}\n",
        wire.backend(),
        token.display()
    );
    std::fs::write(&policy, text).expect("a file");
    let program = std::env::current_exe().expect("this program");
    let number = number.to_string();
    let words = [
        program.to_str().expect("a path"),
        CALLS,
        &number,
        policy.to_str().expect("a path"),
    ];
    let told = Command::new(words[0])
        .args(&words[1..])
        .stderr(Stdio::inherit())
        .output();
    let told = told.expect("it runs").stdout;
    for file in [&token, &policy] {
        std::fs::remove_file(file).expect("it is there");
    }
    Took::read(&String::from_utf8_lossy(&told))
}

/// As such a client: all calls at once, and no more once all are answered.
pub fn perform_calls(words: &[String]) {
    let [number, policy] = words else {
        panic!("{CALLS} NUMBER POLICY");
    };
    let number: usize = number.parse().expect("a number");
    let started = Instant::now();
    let mut child = Command::new(BINARY)
        .args(["mcp", "--policy", policy])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    let hosts: Vec<String> = (0..SHAPE.hosts)
        .map(|host| format!("\"{}\"", crate::stand_in::hostname(host)))
        .collect();
    let hosts = hosts.join(",");
    let mut text = String::from(
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}
"#,
    );
    for id in 1..=number {
        text.push_str(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"run_live_query","arguments":{{"instance":"bench","template":"running_processes","target_hosts":[{hosts}]}}}}}}"#
        ));
        text.push('\n');
    }
    stdin.write_all(text.as_bytes()).expect("it is read");
    let (mut answered, mut read, mut line) = (0, 0, String::new());
    while answered <= number {
        line.clear();
        let length = lines.read_line(&mut line).expect("a line");
        assert!(length > 0, "it ended before it had answered");
        read += length;
        let is_answer = line.contains("\"result\":") && line.contains("\"id\":");
        assert!(!line.contains("\"isError\":true"), "{line}");
        answered += usize::from(is_answer);
    }
    drop(stdin);
    Took::print(child, started, read);
}
