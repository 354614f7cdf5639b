//! A hundred thousand hosts and a million rows: read whole, page by page, from a process that stays small.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use osquery_simulator::{FLEET_OBSERVER_TOKEN, OSCTRL_PLUGIN_TOKEN};
use serde_json::Value;

const HOSTS: usize = 100_000;
const ROWS_OF_EACH: usize = 10;

/// The program with its scenario, ended with the test.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    fn start() -> Self {
        let path = std::env::temp_dir().join(format!("collect-scale-{}.yaml", std::process::id()));
        let mut units: Vec<String> = (1..ROWS_OF_EACH)
            .map(|number| format!("{{name: unit-{number}}}"))
            .collect();
        units.push("{name: 'of {hostname}'}".into());
        let scenario = format!(
            "
tables: {{units: [{}]}}
fleet:
  report_cap: {}
  reports: [{{name: units, query: SELECT name FROM units, filled: true}}]
osctrl:
  queries: [{{name: query_units, query: SELECT name FROM units, filled: true}}]
hosts: [{{count: {HOSTS}, hostname: 'pod-{{n:06}}'}}]
",
            units.join(", "),
            HOSTS * ROWS_OF_EACH
        );
        std::fs::write(&path, scenario).expect("a scenario");
        let mut child = Command::new(env!("CARGO_BIN_EXE_osquery-simulator"))
            .arg(&path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its stdout");
        let read = BufReader::new(stdout).read_line(&mut line);
        read.expect("where it listens");
        std::fs::remove_file(&path).expect("the scenario is read");
        let address = line.trim().trim_start_matches("http://").to_owned();
        Self { child, address }
    }

    /// Reads an answer without holding it: every piece is given on.
    fn get(&self, path: &str, token: &str, mut take: impl FnMut(&[u8])) {
        let mut stream = TcpStream::connect(&self.address).expect("connected");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Accept: application/json\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut piece = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut piece).expect("an answer") {
                0 => return,
                length => take(&piece[..length]),
            }
        }
    }

    /// An answer that is small enough to be held and sent with its length.
    fn json(&self, path: &str, token: &str) -> Value {
        let mut whole = Vec::new();
        self.get(path, token, |piece| whole.extend_from_slice(piece));
        let text = String::from_utf8(whole).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        if head.contains("transfer-encoding: chunked") {
            let mut rest = body;
            let mut joined = String::new();
            while let Some((length, after)) = rest.split_once("\r\n") {
                let length = usize::from_str_radix(length, 16).expect("a length");
                if length == 0 {
                    break;
                }
                joined.push_str(&after[..length]);
                rest = &after[length + 2..];
            }
            return serde_json::from_str(&joined).expect("JSON");
        }
        serde_json::from_str(body).expect("JSON")
    }

    /// The most memory that the process ever had, in MiB, where the system says.
    fn peak(&self) -> Option<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kilobytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes / 1_024)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_hundred_thousand_hosts_and_a_million_rows_cost_little_memory() {
    let program = Program::start();

    let page = |number| {
        let path = format!("/api/v1/fleet/hosts?order_key=id&page={number}&per_page=1000");
        program.json(&path, FLEET_OBSERVER_TOKEN)
    };
    for number in [0, 50, 99] {
        let hosts = page(number);
        let hosts = hosts["hosts"].as_array().expect("hosts");
        assert_eq!(hosts.len(), 1_000);
        assert_eq!(hosts[0]["id"], number * 1_000 + 1);
        assert_eq!(
            hosts[999]["hostname"],
            format!("pod-{:06}", number * 1_000 + 999)
        );
    }
    assert_eq!(page(100)["hosts"], serde_json::json!([]));

    // The older report is one document: its rows are counted as they pass.
    let mut counted = Counter::new(b"\"columns\":");
    program.get(
        "/api/v1/fleet/queries/1/report",
        FLEET_OBSERVER_TOKEN,
        |piece| {
            counted.take(piece);
        },
    );
    assert_eq!(counted.found, HOSTS * ROWS_OF_EACH);

    let last = program.json(
        "/api/v1/fleet/reports/1/report?page=999&per_page=1000",
        FLEET_OBSERVER_TOKEN,
    );
    assert_eq!(last["count"], HOSTS * ROWS_OF_EACH);
    assert_eq!(last["results"][999]["columns"]["name"], "of pod-099999");
    assert_eq!(last["meta"]["has_next_results"], false);

    let results = program.json(
        "/api/v1/queries/dev/results/query_units?page=100&page_size=1000",
        OSCTRL_PLUGIN_TOKEN,
    );
    assert_eq!(results["total_items"], HOSTS);
    let data = results["items"][999]["data"].as_str().expect("text");
    assert!(data.contains("of pod-099999"), "{data}");

    // The report alone is a hundred megabytes of text.
    if let Some(peak) = program.peak() {
        assert!(peak < 200, "{peak} MiB");
    }
}

/// Counts a text in pieces of a stream, also where it is cut.
struct Counter {
    text: &'static [u8],
    matched: usize,
    found: usize,
}

impl Counter {
    fn new(text: &'static [u8]) -> Self {
        Self {
            text,
            matched: 0,
            found: 0,
        }
    }

    fn take(&mut self, piece: &[u8]) {
        for byte in piece {
            // Its first byte occurs again at its end only.
            self.matched = match self.text.get(self.matched) {
                Some(expected) if expected == byte => self.matched + 1,
                _ => usize::from(self.text.first() == Some(byte)),
            };
            if self.matched == self.text.len() {
                self.found += 1;
                self.matched = 0;
            }
        }
    }
}
