//! Measures what a poll costs, table by table, as Markdown for `docs/performance.md`: `cargo bench --bench collect`,
//! or `-- size`, `-- growth`. All of it on loopback against a stand-in that has all answers ready; what a client
//! needs that only reads them and throws them away is taken off. Prints figures; judges nothing.

#![allow(clippy::print_stdout)] // The tables are the output.

#[allow(dead_code)] // The other benchmark needs all of it.
#[path = "../performance/child.rs"]
mod child;
#[path = "../performance/grouped.rs"]
mod grouped;
mod stand_in;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use child::{Input, Program, Took};
use grouped::grouped;
use stand_in::{Ready, Shape, Wire};

/// With this argument the program is the client that throws all away: `--floor ADDRESS PATHS`.
const FLOOR: &str = "--floor";
/// With this one it reads them as JSON, too, and keeps nothing of it.
const PARSING: &str = "--parsing";
/// With this argument the program only serves, for a profile by hand: `--serve WIRE HOSTS QUERIES ROWS` prints a
/// connector.
const SERVE: &str = "--serve";

const TABLES: [(&str, fn()); 2] = [("size", print_size), ("growth", print_growth)];

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    match args.first().map(String::as_str) {
        Some(child::ARGUMENT) => return child::perform(&args[1..]),
        Some(FLOOR) => return perform_floor(&args[1..], false),
        Some(PARSING) => return perform_floor(&args[1..], true),
        Some(SERVE) => return serve(&args[1..]),
        _ => {}
    }
    for (name, print) in TABLES {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            print();
        }
    }
}

/// Asks for all of a server's answers, over one connection.
fn perform_floor(words: &[String], parses: bool) {
    let [address, paths @ ..] = words else {
        panic!("{FLOOR} ADDRESS PATHS");
    };
    let address = address.trim_start_matches("http://");
    let stream = TcpStream::connect(address).expect("it");
    // Else the second of two small pieces waits for the first to be acknowledged.
    stream.set_nodelay(true).expect("it");
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    let mut read = 0;
    let mut whole = Vec::new();
    for words in paths {
        // `TIMES PATH`, with the number of the time in the place of `{}`.
        let (times, path) = words.split_once(' ').expect("a number");
        for time in 0..times.parse::<usize>().expect("a number") {
            let path = path.replace("{}", &time.to_string());
            let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.get_mut().write_all(head.as_bytes()).expect("it");
            let mut length = 0;
            let mut line = String::new();
            loop {
                line.clear();
                stream.read_line(&mut line).expect("a head");
                let field = line.trim_end().split_once(": ");
                match field {
                    Some(("Content-Length", value)) => length = value.parse().expect("a length"),
                    _ if line == "\r\n" => break,
                    _ => {}
                }
            }
            let mut body = (&mut stream).take(length);
            if parses {
                whole.clear();
                read += body.read_to_end(&mut whole).expect("a body");
                let parsed: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&whole);
                parsed.expect("JSON");
                continue;
            }
            let mut piece = [0; 1 << 16];
            while let Ok(some @ 1..) = body.read(&mut piece) {
                read += some;
            }
        }
    }
    println!("{read}");
}

fn serve(words: &[String]) {
    let wire = if words[0] == "osctrl" {
        Wire::Osctrl
    } else {
        Wire::Fleet
    };
    let number = |at: usize| words[at].parse().expect("a number");
    let shape = Shape {
        hosts: number(1),
        queries: number(2),
        rows: number(3),
    };
    let ready = Ready::of(wire, shape);
    let (address, _world) = ready.serve().expect("a port");
    print!("{}", connector(wire, &address));
    std::io::stdout().flush().expect("stdout");
    std::thread::sleep(std::time::Duration::from_secs(3_600));
}

fn connector(wire: Wire, address: &str) -> String {
    let environment = match wire {
        Wire::Fleet => "",
        Wire::Osctrl => "environment: dev\n",
    };
    format!(
        "connector: {}\nbase_url: {address}\n{environment}api_token: '{{{{ secrets.t }}}}'\nsince_seconds: 31536000\ntimeout_seconds: 900\n",
        wire.name()
    )
}

/// A server with its poll's state.
struct Bench {
    wire: Wire,
    address: String,
    world: stand_in::World,
    paths: Vec<String>,
    state: PathBuf,
    text: String,
}

impl Bench {
    fn of(wire: Wire, shape: Shape) -> Self {
        let ready = Ready::of(wire, shape);
        let paths = ready.paths();
        let (address, world) = ready.serve().expect("a port");
        let state = std::env::temp_dir().join(format!("collect-bench.{}", std::process::id()));
        let bench = Self {
            wire,
            text: connector(wire, &address),
            address,
            world,
            paths,
            state,
        };
        bench.forget();
        bench
    }

    fn forget(&self) {
        let _ = std::fs::remove_file(&self.state);
    }

    fn poll(&self, rows: &str) -> Took {
        let text = format!("{}rows: {rows}\n", self.text);
        let words = ["collect", "--no-summary", "--state"].map(str::to_owned);
        let mut all = vec![env!("CARGO_BIN_EXE_osquery-live-query").to_owned()];
        all.extend(words);
        all.push(self.state.display().to_string());
        let program = Program {
            words: all,
            stdin: Input::Text(&text),
            environment: &[("OSQUERY_LIVE_QUERY_SECRET_T", "token")],
        };
        let took = program.run();
        assert_eq!(took.status, 0, "{} failed", self.wire.name());
        took
    }

    /// A client that does nothing with what it reads, or no more than reading it as JSON.
    fn floor(&self, argument: &str) -> Took {
        let own = std::env::current_exe().expect("this program");
        let mut words = vec![
            own.display().to_string(),
            argument.into(),
            self.address.clone(),
        ];
        words.extend(self.paths.iter().cloned());
        let program = Program {
            words,
            stdin: Input::Text(""),
            environment: &[],
        };
        program.run()
    }

    fn state_bytes(&self) -> u64 {
        size(&self.state)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.forget();
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |data| data.len())
}

const fn of(hosts: usize, queries: usize, rows: usize) -> Shape {
    Shape {
        hosts,
        queries,
        rows,
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A hundred thousand hosts and a million rows.
fn print_size() {
    println!(
        "| server | queries × rows a host | `rows` | poll | MB read | events | s | CPU, s | only reading, s | CPU, s | beyond it, s | CPU, s | only parsing beyond it, CPU s | events/s of CPU | memory, MB | largest answer, MB | state, bytes a row |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (wire, shape, rows) in [
        (Wire::Fleet, of(100_000, 1, 10), "new"),
        (Wire::Fleet, of(100_000, 10, 1), "new"),
        (Wire::Fleet, of(100_000, 1, 10), "changes"),
        (Wire::Osctrl, of(100_000, 1, 10), "new"),
    ] {
        let bench = Bench::of(wire, shape);
        for poll in ["first", "without news", "1 % new"] {
            if poll == "1 % new" {
                bench.world.change();
            }
            let floor = bench.floor(FLOOR);
            let parsing = bench.floor(PARSING);
            let took = bench.poll(rows);
            let all = (shape.hosts * shape.queries * shape.rows) as u64;
            let hosts = if wire == Wire::Fleet {
                shape.hosts as u64
            } else {
                0
            };
            let events = match poll {
                "first" => all + hosts,
                "without news" => 0,
                _ => all / 100,
            };
            let beyond = took.cpu.as_secs_f64() - floor.cpu.as_secs_f64();
            println!(
                "| {} | {} × {} | {rows} | {poll} | {:.0} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {beyond:.2} | {:.2} | {} | {:.0} | {:.2} | {:.1} |",
                wire.name(),
                shape.queries,
                shape.rows,
                megabytes(bench.world.bytes()),
                grouped(events as usize),
                took.wall.as_secs_f64(),
                took.cpu.as_secs_f64(),
                floor.wall.as_secs_f64(),
                floor.cpu.as_secs_f64(),
                took.wall.as_secs_f64() - floor.wall.as_secs_f64(),
                parsing.cpu.as_secs_f64() - floor.cpu.as_secs_f64(),
                match events {
                    0 => "–".to_owned(),
                    events => grouped((events as f64 / beyond) as usize),
                },
                megabytes(took.memory),
                megabytes(bench.world.largest()),
                bench.state_bytes() as f64 / all as f64,
            );
        }
    }
}

/// Ten times the hosts, ten times the rows, three times each.
fn print_growth() {
    println!(
        "| server | hosts × rows | first poll, CPU s | exponent | without news, CPU s | exponent | memory, MB | state, MB | exponent |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let hosts = [100, 1_000, 10_000, 100_000].map(|hosts| of(hosts, 1, 10));
    let rows = [1, 10, 100, 1_000].map(|rows| of(1_000, 1, rows));
    for wire in [Wire::Fleet, Wire::Osctrl] {
        for shapes in [hosts, rows] {
            let mut last: Option<(f64, f64, f64)> = None;
            for shape in shapes {
                let bench = Bench::of(wire, shape);
                let first = bench.poll("new");
                let again = bench.poll("new");
                let state = megabytes(bench.state_bytes());
                let now = (first.cpu.as_secs_f64(), again.cpu.as_secs_f64(), state);
                let exponent = |now: f64, last: Option<f64>| match last {
                    Some(last) => format!("{:.2}", (now / last).log10()),
                    None => "–".to_owned(),
                };
                println!(
                    "| {} | {} × {} | {:.3} | {} | {:.3} | {} | {:.0} | {:.2} | {} |",
                    wire.name(),
                    grouped(shape.hosts),
                    grouped(shape.rows),
                    now.0,
                    exponent(now.0, last.map(|last| last.0)),
                    now.1,
                    exponent(now.1, last.map(|last| last.1)),
                    megabytes(first.memory.max(again.memory)),
                    state,
                    exponent(now.2, last.map(|last| last.2)),
                );
                last = Some(now);
            }
        }
    }
}
