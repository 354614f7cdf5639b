//! How fast answers become a document or lines, and in how much memory; and whether that grows with hosts, rows and
//! columns as they do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use crate::child::{Input, Program, Took};
use crate::grouped::grouped;
use crate::stand_in::{Ready, Shape, Wire};

/// With this argument the program is the floor: `--floor ADDRESS fleetdm|osctrl BYTES HOSTS`.
pub const FLOOR: &str = "--floor";

/// With this argument the program only serves, for a profile by hand: `--serve fleetdm|osctrl HOSTS ROWS COLUMNS`
/// prints a step.
pub const SERVE: &str = "--serve";

pub fn serve(words: &[String]) {
    let [wire, numbers @ ..] = words else {
        panic!("{SERVE} WIRE HOSTS ROWS COLUMNS");
    };
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|word| word.parse().expect("a number"))
        .collect();
    let wire = match wire.as_str() {
        "osctrl" => Wire::Osctrl,
        _ => Wire::Fleet,
    };
    let server = Ready::of(wire, of(numbers[0], numbers[1], numbers[2]))
        .serve()
        .expect("a port");
    print!("{}", step(&server, wire));
    std::io::stdout().flush().expect("stdout");
    std::thread::sleep(std::time::Duration::from_secs(3_600));
}

const SHAPES: [Shape; 6] = [
    of(1_000, 10, 8),
    of(10_000, 10, 8),
    of(100_000, 10, 8),
    of(10_000, 100, 8),
    // No more of one host is read than 64 MiB (docs/reliability.md).
    of(1, 150_000, 8),
    of(10, 200, 2_000),
];

const fn of(hosts: usize, rows: usize, columns: usize) -> Shape {
    Shape {
        hosts,
        rows,
        columns,
        value: 16,
    }
}

const FORMATS: [&str; 2] = ["json", "ndjson"];

pub fn print() {
    println!(
        "\n## Throughput\n\n\
         Against a stand-in that has all answers ready; stdout is a pipe that is drained. MB are what is sent of \
         answers; CPU is user and system. The floor reads the same bytes from the same socket and writes them unread; \
         `jq -c .` reads them from a file. Memory that is meant to be enough: for lines 20 MB, 150 bytes a host and \
         1.1 × an answer; for a document 20 MB and 1.1 × its size.\n\n\
         | server | hosts × rows | MB | format | time, s | CPU, s | CPU, ms a MB | CPU ÷ floor's | jq's CPU ÷ ours | rows a second | memory, MB | enough, MB |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for wire in Wire::BOTH {
        for shape in SHAPES {
            let ready = Ready::of(wire, shape);
            let bytes = ready.bytes();
            let jq = jq(&ready);
            let server = ready.serve().expect("a port");
            let floor = floor(&server, wire, bytes, shape.hosts).cpu.as_secs_f64();
            for format in FORMATS {
                let took = run(&server, wire, format, 2);
                assert_eq!(took.status, 0, "{shape:?} {format}");
                let enough = match format {
                    "json" => 20e6 + 1.1 * took.written as f64,
                    _ => {
                        20e6 + 150.0 * shape.hosts as f64 + 1.1 * bytes as f64 / shape.hosts as f64
                    }
                };
                let cpu = took.cpu.as_secs_f64();
                println!(
                    "| {} | {} | {:.0} | {format} | {:.2} | {cpu:.2} | {:.2} | {:.1} | {} | {} | {:.0} | {:.0} |",
                    wire.title(),
                    shape.words(),
                    megabytes(bytes as u64),
                    took.wall.as_secs_f64(),
                    cpu * 1_000.0 / megabytes(bytes as u64),
                    cpu / floor,
                    jq.map_or("–".into(), |jq| format!(
                        "{:.1}",
                        jq.cpu.as_secs_f64() / cpu
                    )),
                    grouped(((shape.hosts * shape.rows) as f64 / took.wall.as_secs_f64()) as usize),
                    megabytes(took.memory),
                    enough / 1e6,
                );
            }
        }
    }
}

pub fn print_growth() {
    println!(
        "\n## Growth\n\n\
         Ten times as many, four times; CPU and memory are for one, above those of the first row's run. The exponent \
         is that of the last step: 1 is linear.\n\n\
         | server | what grows | format | number | CPU a unit, µs | exponent | memory a unit, bytes | exponent |\n\
         |---|---|---|---|---|---|---|---|"
    );
    let grown: [(&str, [Shape; 4]); 3] = [
        (
            "hosts of 10 rows",
            [100, 1_000, 10_000, 100_000].map(|hosts| of(hosts, 10, 8)),
        ),
        (
            "rows of 1 host",
            [150, 1_500, 15_000, 150_000].map(|rows| of(1, rows, 8)),
        ),
        (
            "columns of 10 × 200",
            [2, 20, 200, 2_000].map(|columns| of(10, 200, columns)),
        ),
    ];
    for wire in Wire::BOTH {
        for (what, shapes) in &grown {
            for format in FORMATS {
                let mut runs = Vec::new();
                for &shape in shapes {
                    let server = Ready::of(wire, shape).serve().expect("a port");
                    let number = match *what {
                        "hosts of 10 rows" => shape.hosts,
                        "rows of 1 host" => shape.rows,
                        _ => shape.columns,
                    };
                    runs.push((number, run(&server, wire, format, 3)));
                }
                let (_, first) = runs[0];
                let mut before: Option<(f64, f64)> = None;
                for &(number, took) in &runs[1..] {
                    let units = number as f64;
                    let cpu = took.cpu.saturating_sub(first.cpu).as_secs_f64() * 1e6 / units;
                    let memory = took.memory.saturating_sub(first.memory) as f64 / units;
                    let exponent = |now: f64, before: f64| match before > 0.0 && now > 0.0 {
                        true => format!("{:.2}", 1.0 + (now / before).log10()),
                        false => "–".into(),
                    };
                    let (of_cpu, of_memory) = match before {
                        Some((cpu_before, memory_before)) => {
                            (exponent(cpu, cpu_before), exponent(memory, memory_before))
                        }
                        None => ("".into(), "".into()),
                    };
                    println!(
                        "| {} | {what} | {format} | {} | {cpu:.2} | {of_cpu} | {memory:.0} | {of_memory} |",
                        wire.title(),
                        grouped(number),
                    );
                    before = Some((cpu, memory));
                }
            }
        }
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

pub fn step(server: &str, wire: Wire) -> String {
    let backend = wire.backend();
    let environment = match wire {
        Wire::Fleet => "",
        Wire::Osctrl => "  environment: dev\n",
    };
    format!(
        "id: bench\ntype: osquery_live_query\nparams:\n  backend: {backend}\n  base_url: {server}\n{environment}  \
         api_token: '{{{{ secrets.token }}}}'\n  template: running_processes\n  target_platforms: [linux]\n  \
         timeout_seconds: 120\n  max_hosts: 1000000\n  max_rows_per_host: 10000000\n  max_bytes: 4294967296\n"
    )
}

pub const ENVIRONMENT: &[(&str, &str)] =
    &[("OSQUERY_LIVE_QUERY_SECRET_TOKEN", "a-token-of-the-bench")];

fn run(server: &str, wire: Wire, format: &str, runs: usize) -> Took {
    let step = step(server, wire);
    let words = [env!("CARGO_BIN_EXE_osquery-live-query"), "--format", format];
    Program {
        words: words.map(str::to_owned).to_vec(),
        stdin: Input::Text(&step),
        environment: ENVIRONMENT,
    }
    .best_of(runs)
}

fn jq(ready: &Ready) -> Option<Took> {
    let path = scratch("answers.json");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
    ready
        .write_json(&mut file)
        .and_then(|()| file.flush())
        .expect("it is written");
    drop(file);
    let is_there = std::process::Command::new("jq")
        .arg("--version")
        .output()
        .is_ok();
    let took = is_there.then(|| {
        let words = ["jq", "-c", "."].map(str::to_owned).to_vec();
        Program {
            words,
            stdin: Input::File(&path),
            environment: &[],
        }
        .run()
    });
    std::fs::remove_file(&path).expect("it is there");
    took
}

/// A file of this process's own.
pub fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("performance-{}-{name}", std::process::id()))
}

fn floor(server: &str, wire: Wire, bytes: usize, hosts: usize) -> Took {
    let program = std::env::current_exe().expect("this program");
    let words = [
        program.to_str().expect("a path"),
        FLOOR,
        server,
        wire.backend(),
        &bytes.to_string(),
        &hosts.to_string(),
    ];
    Program {
        words: words.map(str::to_owned).to_vec(),
        stdin: Input::Text(""),
        environment: &[],
    }
    .best_of(3)
}

/// As the floor.
pub fn perform_floor(words: &[String]) {
    let [server, wire, bytes, hosts] = words else {
        panic!("{FLOOR} ADDRESS WIRE BYTES HOSTS");
    };
    let mut left: usize = bytes.parse().expect("a number");
    let mut input = match wire.as_str() {
        "osctrl" => {
            let page = format!("/api/v1/queries/dev/results/q?page=1&page_size={hosts}");
            get(server, &page)
        }
        _ => listen(server),
    };
    let mut out = std::io::stdout().lock();
    let mut piece = vec![0; 1 << 16];
    while left > 0 {
        let read = input.read(&mut piece).expect("more");
        if read == 0 {
            break;
        }
        out.write_all(&piece[..read]).expect("it is drained");
        left = left.saturating_sub(read);
    }
}

/// What a request is answered with, up to its body.
pub fn get(server: &str, path: &str) -> BufReader<TcpStream> {
    let address = server.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a server");
    let asked = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(asked.as_bytes()).expect("it is read");
    past_the_head(stream)
}

/// Fleet's results socket, and a campaign that is listened to.
pub fn listen(server: &str) -> BufReader<TcpStream> {
    let address = server.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a server");
    let asked = format!(
        "GET /api/latest/fleet/results/websocket HTTP/1.1\r\nHost: {address}\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).expect("it is read");
    // Two empty frames, masked.
    stream
        .write_all(&[0x81, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0])
        .expect("they are read");
    past_the_head(stream)
}

fn past_the_head(stream: TcpStream) -> BufReader<TcpStream> {
    let mut input = BufReader::with_capacity(1 << 16, stream);
    let mut line = String::new();
    while line.trim_end() != "" || line.is_empty() {
        line.clear();
        input.read_line(&mut line).expect("a head");
    }
    input
}
