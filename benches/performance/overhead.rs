//! How long after the last host's answer the process has ended; beside clients that wait for what the servers tell
//! of the campaign.

use std::io::{BufRead, Read};
use std::time::Duration;

use crate::child::{Input, Program, now};
use crate::grouped::grouped;
use crate::stand_in::{Ready, Shape, Wire};
use crate::throughput::{ENVIRONMENT, get, listen, step};

/// With this argument the program is such a client: `--naive ADDRESS fleetdm|osctrl HOSTS`.
pub const NAIVE: &str = "--naive";

const HOSTS: [usize; 5] = [1, 10, 1_000, 10_000, 100_000];
const RUNS: usize = 3;
const EVERY: Duration = Duration::from_secs(1);

pub fn print() {
    println!(
        "\n## Overhead\n\n\
         From the last host's answer at the server to the end of the process; one row a host. The last ten hosts \
         answer one by one, every 100 ms, so that the client has caught up. Median of {RUNS} runs. Beside: a client \
         that waits until Fleet says `finished`, as it does every 5 s, and one that asks osctrl for the results each \
         second; both throw away what they read.\n\n\
         | server | hosts | document, ms | lines, ms | naive client, ms |\n|---|---|---|---|---|"
    );
    for wire in Wire::BOTH {
        for hosts in HOSTS {
            let shape = Shape {
                hosts,
                rows: 1,
                columns: 8,
                value: 16,
            };
            let ours = |format: &str| {
                let mut all: Vec<f64> = (0..RUNS).map(|_| overhead(wire, shape, format)).collect();
                all.sort_by(f64::total_cmp);
                all[RUNS / 2]
            };
            println!(
                "| {} | {} | {:.1} | {:.1} | {:.0} |",
                wire.title(),
                grouped(hosts),
                ours("json"),
                ours("ndjson"),
                naive(wire, shape)
            );
        }
    }
}

fn overhead(wire: Wire, shape: Shape, format: &str) -> f64 {
    let ready = Ready::of(wire, shape).paced();
    let pace = ready.pace().expect("it is paced");
    let server = ready.serve().expect("a port");
    let words = [env!("CARGO_BIN_EXE_osquery-live-query"), "--format", format];
    let took = Program {
        words: words.map(str::to_owned).to_vec(),
        stdin: Input::Text(&step(&server, wire)),
        environment: ENVIRONMENT,
    }
    .run();
    assert_eq!(took.status, 0, "{shape:?} {format}");
    (took.ended.as_secs_f64() - pace.last().as_secs_f64()) * 1e3
}

fn naive(wire: Wire, shape: Shape) -> f64 {
    let ready = Ready::of(wire, shape).paced();
    let pace = ready.pace().expect("it is paced");
    let server = ready.serve().expect("a port");
    if wire == Wire::Osctrl {
        // Its answers come from when the query is there.
        drop(get(&server, "/api/v1/queries/dev"));
    }
    let program = std::env::current_exe().expect("this program");
    let program = program.to_str().expect("a path").to_owned();
    let hosts = shape.hosts.to_string();
    let took = Program {
        words: [&*program, NAIVE, &server, wire.backend(), &hosts]
            .map(str::to_owned)
            .to_vec(),
        stdin: Input::Text(""),
        environment: &[],
    }
    .run();
    assert_eq!(took.status, 0, "{shape:?}");
    (took.ended.as_secs_f64() - pace.last().as_secs_f64()) * 1e3
}

/// As such a client.
pub fn perform_naive(words: &[String]) {
    let [server, wire, hosts] = words else {
        panic!("{NAIVE} ADDRESS WIRE HOSTS");
    };
    let hosts: usize = hosts.parse().expect("a number");
    if wire == "fleetdm" {
        return until_finished(&mut listen(server));
    }
    let begun = now();
    for polls in 1.. {
        let path = format!("/api/v1/queries/dev/results/q?page=1&page_size={hosts}");
        if told(&mut get(server, &path)) == hosts {
            return;
        }
        let due = begun + EVERY * polls;
        std::thread::sleep(due.saturating_sub(now()));
    }
}

fn until_finished(input: &mut impl BufRead) {
    let mut piece = Vec::new();
    // The text ends with a brace, and no row of ours holds the word.
    while input.read_until(b'}', &mut piece).expect("a frame") > 0 {
        if piece.windows(10).any(|word| word == b"\"finished\"") {
            return;
        }
        piece.clear();
    }
    panic!("the server went away");
}

/// How many items the answer says there are: what stands at its end.
fn told(input: &mut impl Read) -> usize {
    const BEFORE: &[u8] = b"\"total_items\":";
    let (mut seen, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let read = input.read(&mut piece).expect("more");
        assert!(read > 0, "the server went away");
        seen.extend_from_slice(&piece[..read]);
        if seen.ends_with(b"}")
            && let Some(at) = seen.windows(BEFORE.len()).rposition(|it| it == BEFORE)
        {
            let digits = &seen[at + BEFORE.len()..seen.len() - 1];
            if let Ok(number) = String::from_utf8_lossy(digits).parse() {
                return number;
            }
        }
        seen.drain(..seen.len().saturating_sub(100));
    }
}
