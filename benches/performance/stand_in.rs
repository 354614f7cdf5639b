//! A stand-in for both servers that has all answers ready before anybody asks: what is measured against it is
//! the client's own work. It speaks as much of each wire as a run needs, over plain sockets, and waits for nothing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::grouped::grouped;

/// What every host answers.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub hosts: usize,
    pub rows: usize,
    pub columns: usize,
    /// Bytes of each value.
    pub value: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Fleet,
    Osctrl,
}

impl Wire {
    pub const BOTH: [Self; 2] = [Self::Fleet, Self::Osctrl];

    pub fn backend(self) -> &'static str {
        match self {
            Self::Fleet => "fleetdm",
            Self::Osctrl => "osctrl",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Fleet => "Fleet",
            Self::Osctrl => "osctrl",
        }
    }
}

/// Answers that are ready.
pub struct Ready {
    wire: Wire,
    shape: Shape,
    /// Fleet: frames, one behind the other. osctrl: items, with a comma behind each.
    bytes: Vec<u8>,
    /// Where each answer ends.
    ends: Vec<usize>,
    /// How long each answer to a request is waited with.
    wait: Duration,
    asked: Asked,
    /// The last answers come one by one, with pauses.
    paced: Option<Arc<Pace>>,
}

/// How many of the last answers come by themselves.
const PACED: usize = 10;
/// The pause before each of them.
const PAUSE: Duration = Duration::from_millis(100);
/// What the server tells a listener of its campaign comes in this time.
const TICK: Duration = Duration::from_secs(5);

/// Where a server is with answers that come one by one.
#[derive(Debug)]
pub struct Pace {
    /// Answers that are there.
    there: AtomicUsize,
    /// When the last one came, in microseconds since 1970.
    last: AtomicU64,
}

impl Pace {
    /// When the last answer came.
    pub fn last(&self) -> Duration {
        Duration::from_micros(self.last.load(Ordering::SeqCst))
    }

    fn step(&self, all: usize) {
        std::thread::sleep(PAUSE);
        if self.there.load(Ordering::SeqCst) + 1 == all {
            let now = crate::child::now().as_micros();
            self.last.store(now as u64, Ordering::SeqCst);
        }
        self.there.fetch_add(1, Ordering::SeqCst);
    }
}

/// What was asked, and when it came.
pub type Asked = Arc<Mutex<Vec<(RequestPath, Instant)>>>;

/// A request's path.
#[derive(Debug)]
pub struct RequestPath(String);

impl RequestPath {
    /// Whether it makes a campaign.
    pub fn is_query(&self) -> bool {
        self.0.ends_with("/run") || self.0.ends_with("/queries/dev")
    }
}

fn uuid(host: usize) -> String {
    format!("4C4C4544-0042-3510-8051-{host:012X}")
}

pub fn hostname(host: usize) -> String {
    format!("pod-{host:06}.example.com")
}

impl Shape {
    pub fn words(self) -> String {
        let columns = match self.columns {
            8 => String::new(),
            columns => format!(", {columns} columns"),
        };
        format!("{} × {}{columns}", grouped(self.hosts), grouped(self.rows))
    }

    /// Rows as osquery has them, with the two columns that Fleet adds where there is a host's name for them. Go
    /// writes a row's columns by name.
    fn rows(self, fleet_host: Option<&str>) -> String {
        let mut text = String::from("[");
        for row in 0..self.rows {
            if row > 0 {
                text.push(',');
            }
            text.push('{');
            let mut added = fleet_host;
            for column in 0..self.columns {
                if column > 0 {
                    text.push(',');
                }
                if column == self.columns / 2
                    && let Some(host) = added.take()
                {
                    text.push_str(&format!(
                        r#""host_display_name":"{host}","host_hostname":"{host}","#
                    ));
                }
                let number = row * self.columns + column;
                let width = self.value;
                text.push_str(&format!(r#""column_{column}":"{number:0width$}""#));
            }
            text.push('}');
        }
        text.push(']');
        text
    }
}

impl Ready {
    pub fn of(wire: Wire, shape: Shape) -> Self {
        let mut ready = Self {
            wire,
            shape,
            bytes: Vec::new(),
            ends: Vec::new(),
            wait: Duration::ZERO,
            asked: Asked::default(),
            paced: None,
        };
        // The rows are the same on every host, but for the names that Fleet adds; those are of one length.
        let place = hostname(0);
        let rows = shape.rows((wire == Wire::Fleet).then_some(place.as_str()));
        let quoted = match wire {
            Wire::Fleet => String::new(),
            Wire::Osctrl => serde_json::Value::from(format!(
                r#"{{"name":"q","result":{rows},"status":0,"message":""}}"#
            ))
            .to_string(),
        };
        for host in 0..shape.hosts {
            match wire {
                Wire::Fleet => {
                    let (id, name) = (host + 1, hostname(host));
                    let text = format!(
                        r#"{{"type":"result","data":{{"distributed_query_execution_id":1,"host":{{"id":{id},"hostname":"{name}","display_name":"{name}"}},"rows":{rows},"error":null}}}}"#
                    );
                    ready.frame(text.as_bytes());
                }
                Wire::Osctrl => {
                    let (id, uuid) = (host + 1, uuid(host));
                    let item = format!(
                        r#"{{"id":{id},"created_at":"2026-11-27T10:00:00Z","uuid":"{uuid}","environment":"dev","name":"q","data":{quoted},"status":0}},"#
                    );
                    ready.bytes.extend_from_slice(item.as_bytes());
                }
            }
            ready.ends.push(ready.bytes.len());
        }
        ready
    }

    fn frame(&mut self, payload: &[u8]) {
        self.bytes.push(0x81);
        match u16::try_from(payload.len()) {
            Ok(length @ 0..126) => self.bytes.push(length as u8),
            Ok(length) => {
                self.bytes.push(126);
                self.bytes.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                self.bytes.push(127);
                let length = payload.len() as u64;
                self.bytes.extend_from_slice(&length.to_be_bytes());
            }
        }
        self.bytes.extend_from_slice(payload);
    }

    /// The same, further away.
    pub fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// The same, whose last answers come one by one. For one run.
    pub fn paced(self) -> Self {
        let there = self.shape.hosts.saturating_sub(PACED);
        let pace = Pace {
            there: there.into(),
            last: 0.into(),
        };
        Self {
            paced: Some(Arc::new(pace)),
            ..self
        }
    }

    /// Where it is, if its answers come one by one.
    pub fn pace(&self) -> Option<Arc<Pace>> {
        self.paced.clone()
    }

    /// What is asked of it.
    pub fn asked(&self) -> Asked {
        Arc::clone(&self.asked)
    }

    /// What is sent of answers.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The same as JSON that `jq` reads: one document a message.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let mut from = 0;
        for &end in &self.ends {
            let answer = &self.bytes[from..end];
            match self.wire {
                Wire::Fleet => {
                    let head = match answer[1] {
                        126 => 4,
                        127 => 10,
                        _ => 2,
                    };
                    out.write_all(&answer[head..])?;
                }
                Wire::Osctrl => out.write_all(&answer[..answer.len() - 1])?,
            }
            out.write_all(b"\n")?;
            from = end;
        }
        Ok(())
    }

    /// Serves on a port of its own for as long as the process lives; returns the address.
    pub fn serve(self) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let ready = Arc::new(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ready = Arc::clone(&ready);
                // A client that is gone ends its connection.
                std::thread::spawn(move || drop(ready.talk(stream)));
            }
        });
        Ok(address)
    }

    fn talk(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut out = stream.try_clone()?;
        let mut input = BufReader::new(stream);
        while let Some(request) = Request::read(&mut input)? {
            let path = RequestPath(request.path.clone());
            let mut asked = self.asked.lock().expect("no connection panicked");
            asked.push((path, Instant::now()));
            drop(asked);
            std::thread::sleep(self.wait);
            if let Some(key) = &request.websocket_key {
                let accept = derive_accept_key(key.as_bytes());
                write!(
                    out,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                )?;
                // The token, then the campaign.
                skip_frame(&mut input)?;
                skip_frame(&mut input)?;
                match &self.paced {
                    Some(pace) => self.answer_slowly(pace, &mut out)?,
                    None => out.write_all(&self.bytes)?,
                }
                let mut rest = Vec::new();
                input.read_to_end(&mut rest)?;
                return Ok(());
            }
            self.respond(&request, &mut out)?;
        }
        Ok(())
    }

    /// The frames, the last ones with pauses; then the counts, when it is time for them.
    fn answer_slowly(&self, pace: &Pace, out: &mut impl Write) -> io::Result<()> {
        let (all, selected) = (self.shape.hosts, Instant::now());
        let begin = |host: usize| host.checked_sub(1).map_or(0, |last| self.ends[last]);
        let there = pace.there.load(Ordering::SeqCst);
        out.write_all(&self.bytes[..begin(there)])?;
        for host in there..all {
            pace.step(all);
            out.write_all(&self.bytes[begin(host)..begin(host + 1)])?;
        }
        let ticks = selected.elapsed().as_millis() / TICK.as_millis() + 1;
        std::thread::sleep((TICK * ticks as u32).saturating_sub(selected.elapsed()));
        let counts = br#"{"type":"status","data":{"status":"finished"}}"#;
        out.write_all(&[0x81, counts.len() as u8])?;
        out.write_all(counts)
    }

    fn respond(&self, request: &Request, out: &mut impl Write) -> io::Result<()> {
        let path = request.path.trim_start_matches("/api/");
        let path = path.trim_start_matches("v1/").trim_start_matches("latest/");
        let (page, size) = (request.number("page"), request.number("per_page"));
        let all = self.shape.hosts;
        match path {
            "fleet/labels/summary" => send(
                out,
                &[r#"{"labels":[{"id":1,"name":"All Linux","label_type":"builtin"}]}"#.as_bytes()],
            ),
            "fleet/me" => send(out, &[br#"{"user":{"id":1,"global_role":"admin"}}"#]),
            "fleet/config" => send(out, &[br#"{"server_settings":{}}"#]),
            "fleet/labels/1/hosts" | "fleet/hosts" => {
                let sought = request.text("query");
                let found: Vec<usize> = match sought {
                    Some(name) => (0..all)
                        .filter(|host| hostname(*host).contains(name))
                        .collect(),
                    None => (0..all).collect(),
                };
                let hosts: Vec<String> = (found.iter().skip(page * size).take(size))
                    .map(|host| {
                        format!(
                            r#"{{"id":{},"hostname":"{}","uuid":"{}","hardware_serial":"S{host:06}","platform":"ubuntu","status":"online","seen_time":"2026-11-27T10:00:00Z"}}"#,
                            host + 1,
                            hostname(*host),
                            uuid(*host)
                        )
                    })
                    .collect();
                send(out, &[b"{\"hosts\":[", hosts.join(",").as_bytes(), b"]}"])
            }
            "fleet/queries/run" | "fleet/reports/run" => {
                let started =
                    format!(r#"{{"campaign":{{"id":1,"Metrics":{{"TotalHosts":{all}}}}}}}"#);
                send(out, &[started.as_bytes()])
            }
            "nodes/dev" => {
                let size = request.number("page_size").clamp(1, 500);
                let others = ["status=inactive", "platform=other"];
                let nobody = others.iter().any(|other| request.query.contains(other));
                let found: Vec<usize> = match request.text("q") {
                    _ if nobody => Vec::new(),
                    Some(name) => (0..all)
                        .filter(|host| hostname(*host).contains(name))
                        .collect(),
                    None => (0..all).collect(),
                };
                let total = found.len();
                let nodes: Vec<String> = (found.iter().copied().skip((page.max(1) - 1) * size).take(size))
                    .map(|host| {
                        format!(
                            r#"{{"uuid":"{}","hostname":"{}","hardware_serial":"S{host:06}","platform":"ubuntu","last_seen":"2026-11-27T10:00:00Z"}}"#,
                            uuid(host),
                            hostname(host)
                        )
                    })
                    .collect();
                let around =
                    format!(r#"],"page":{page},"page_size":{size},"total_items":{total}}}"#);
                send(
                    out,
                    &[
                        b"{\"items\":[",
                        nodes.join(",").as_bytes(),
                        around.as_bytes(),
                    ],
                )
            }
            "queries/dev" => {
                if let Some(pace) = self.paced.clone() {
                    std::thread::spawn(move || {
                        while pace.there.load(Ordering::SeqCst) < all {
                            pace.step(all);
                        }
                    });
                }
                send(out, &[br#"{"query_name":"q"}"#])
            }
            "queries/dev/results/q" => {
                let there = match &self.paced {
                    Some(pace) => pace.there.load(Ordering::SeqCst),
                    None => all,
                };
                let size = request.number("page_size").max(1);
                let from = ((page.max(1) - 1) * size).min(there);
                let to = (from + size).min(there);
                let begin = |host: usize| host.checked_sub(1).map_or(0, |last| self.ends[last]);
                let items = &self.bytes[begin(from)..begin(to)];
                let items = items.strip_suffix(b",").unwrap_or(items);
                let around =
                    format!(r#"],"page":{page},"page_size":{size},"total_items":{there}}}"#);
                send(out, &[b"{\"items\":[", items, around.as_bytes()])
            }
            "queries/dev/q" => {
                let there = match &self.paced {
                    Some(pace) => pace.there.load(Ordering::SeqCst),
                    None => all,
                };
                let completed = there == all;
                let state = format!(
                    r#"{{"id":1,"expected":{all},"executions":{there},"errors":0,"completed":{completed},"expired":false,"deleted":false}}"#
                );
                send(out, &[state.as_bytes()])
            }
            _ => write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        }
    }
}

fn send(out: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )?;
    parts.iter().try_for_each(|part| out.write_all(part))
}

struct Request {
    path: String,
    query: String,
    websocket_key: Option<String>,
}

impl Request {
    fn read(input: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let target = line.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Self {
            path: path.to_owned(),
            query: query.to_owned(),
            websocket_key: None,
        };
        let mut length = 0;
        loop {
            line.clear();
            input.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "sec-websocket-key" => request.websocket_key = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        io::copy(&mut input.take(length), &mut io::sink())?;
        Ok(Some(request))
    }

    fn text(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&');
        let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn number(&self, name: &str) -> usize {
        let value = self.text(name);
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

/// A frame of a client: masked.
fn skip_frame(input: &mut impl Read) -> io::Result<()> {
    let mut head = [0; 2];
    input.read_exact(&mut head)?;
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            input.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            input.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        short => u64::from(short),
    };
    io::copy(&mut input.take(length + 4), &mut io::sink())?;
    Ok(())
}
