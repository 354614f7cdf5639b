//! A stand-in for both servers that has all answers ready before anybody asks, in the pages that `collect` asks
//! for: what is measured against it is the client's own work.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, RwLock};

/// What there is.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub hosts: usize,
    pub queries: usize,
    /// Rows of each host in each query.
    pub rows: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Fleet,
    Osctrl,
}

impl Wire {
    pub fn name(self) -> &'static str {
        match self {
            Self::Fleet => "fleetdm",
            Self::Osctrl => "osctrl",
        }
    }
}

/// Sizes of pages, as `collect` asks for them.
const HOSTS_PAGE: usize = 500;
const ROWS_PAGE: usize = 5_000;
const RESULTS_PAGE: usize = 1_000;

type Bodies = HashMap<String, Arc<[u8]>>;

/// Answers that are ready, by what is asked.
pub struct Ready {
    wire: Wire,
    shape: Shape,
    bodies: Bodies,
}

/// What is served, and can be changed.
pub struct World {
    wire: Wire,
    shape: Shape,
    bodies: Arc<RwLock<Bodies>>,
}

fn uuid(host: usize) -> String {
    format!("4C4C4544-0042-3510-8051-{host:012X}")
}

fn hostname(host: usize) -> String {
    format!("pod-{host:06}.example.com")
}

/// A row as `startup_items` has them: much of it the same on each host. `news`: what differs in it.
fn row(host: usize, query: usize, row: usize, news: usize) -> String {
    let pid = (host * 31 + row * 7 + query) % 65_536 + news * 100_000;
    format!(
        r#"{{"name":"service-{row}","path":"/usr/lib/systemd/system/service-{row}.service","args":"--config /etc/service-{query}.conf","status":"enabled","username":"root","pid":"{pid}"}}"#
    )
}

fn pages(count: usize, size: usize) -> usize {
    count.div_ceil(size).max(1)
}

impl Ready {
    pub fn of(wire: Wire, shape: Shape) -> Self {
        let mut ready = Self {
            wire,
            shape,
            bodies: Bodies::new(),
        };
        match wire {
            Wire::Fleet => ready.fleet(),
            Wire::Osctrl => ready.osctrl(),
        }
        for query in 0..shape.queries {
            let bodies = results(wire, shape, query, &|_| 0);
            ready.bodies.extend(bodies);
        }
        ready
    }

    fn put(&mut self, path: impl Into<String>, body: String) {
        self.bodies.insert(path.into(), body.into_bytes().into());
    }

    fn fleet(&mut self) {
        let shape = self.shape;
        for page in 0..=pages(shape.hosts, HOSTS_PAGE) {
            let of_page = (page * HOSTS_PAGE)..((page + 1) * HOSTS_PAGE).min(shape.hosts);
            let hosts: Vec<String> = of_page
                .map(|host| {
                    let (id, name, uuid) = (host + 1, hostname(host), uuid(host));
                    format!(
                        r#"{{"created_at":"2026-11-01T10:00:00Z","updated_at":"2026-11-27T10:00:00Z","software_updated_at":"2026-11-27T09:00:00Z","id":{id},"detail_updated_at":"2026-11-27T09:00:00Z","label_updated_at":"2026-11-27T09:00:00Z","policy_updated_at":"2026-11-27T09:00:00Z","last_enrolled_at":"2026-11-01T10:00:00Z","seen_time":"2026-11-27T10:00:00Z","refetch_requested":false,"hostname":"{name}","uuid":"{uuid}","platform":"ubuntu","osquery_version":"5.23.1","orbit_version":null,"os_version":"Ubuntu 24.04.1 LTS","build":"","platform_like":"debian","code_name":"noble","uptime":86400000000000,"memory":8589934592,"cpu_type":"x86_64","cpu_subtype":"142","cpu_brand":"Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz","cpu_physical_cores":4,"cpu_logical_cores":8,"hardware_vendor":"Dell Inc.","hardware_model":"Latitude 7490","hardware_version":"","hardware_serial":"S{host:06}","computer_name":"{name}","display_name":"{name}","public_ip":"203.0.113.7","primary_ip":"10.0.0.7","primary_mac":"52:54:00:12:34:56","distributed_interval":10,"config_tls_refresh":60,"logger_tls_period":10,"team_id":null,"pack_stats":null,"team_name":null,"gigs_disk_space_available":120.5,"percent_disk_space_available":48,"issues":{{"failing_policies_count":0,"total_issues_count":0}},"mdm":{{"enrollment_status":null,"server_url":null,"name":""}},"status":"online"}}"#
                    )
                })
                .collect();
            let body = format!(r#"{{"hosts":[{}]}}"#, hosts.join(","));
            self.put(format!("fleet/hosts?{page}"), body);
        }
        let queries: Vec<String> = (0..shape.queries)
            .map(|query| {
                let id = query + 1;
                format!(r#"{{"id":{id},"name":"query {query}","query":"SELECT * FROM startup_items","interval":300,"logging":"snapshot","discard_data":false,"team_id":null}}"#)
            })
            .collect();
        let body = format!(
            r#"{{"reports":[{}],"count":{},"meta":{{"has_next_results":false,"has_previous_results":false}}}}"#,
            queries.join(","),
            shape.queries
        );
        self.put("fleet/reports?0", body);
    }

    fn osctrl(&mut self) {
        let shape = self.shape;
        for page in 1..=pages(shape.hosts, HOSTS_PAGE) {
            let of_page = ((page - 1) * HOSTS_PAGE)..(page * HOSTS_PAGE).min(shape.hosts);
            let nodes: Vec<String> = of_page
                .map(|host| {
                    format!(
                        r#"{{"uuid":"{}","hostname":"{}","hardware_serial":"S{host:06}","platform":"ubuntu","last_seen":"2026-11-27T10:00:00Z"}}"#,
                        uuid(host),
                        hostname(host)
                    )
                })
                .collect();
            let body = format!(
                r#"{{"items":[{}],"page":{page},"page_size":500,"total_items":{}}}"#,
                nodes.join(","),
                shape.hosts
            );
            self.put(format!("nodes/dev?{page}"), body);
        }
        let queries: Vec<String> = (0..shape.queries)
            .map(|query| {
                let (id, hosts) = (query + 1, shape.hosts);
                format!(r#"{{"id":{id},"name":"q{query}","query":"SELECT * FROM startup_items","expected":{hosts},"executions":{hosts},"errors":0,"active":true,"hidden":false,"completed":false,"expired":false,"deleted":false,"type":"query"}}"#)
            })
            .collect();
        let body = format!(
            r#"{{"items":[{}],"page":1,"page_size":500,"total_items":{},"total_pages":1}}"#,
            queries.join(","),
            shape.queries
        );
        self.put("queries/dev/list/all?1", body);
    }

    /// What a poll asks for, as `TIMES PATH`.
    pub fn paths(&self) -> Vec<String> {
        let (shape, queries) = (self.shape, 0..self.shape.queries);
        let rows = pages(shape.hosts * shape.rows, ROWS_PAGE);
        match self.wire {
            Wire::Fleet => {
                let hosts = pages(shape.hosts, HOSTS_PAGE) + 1;
                let hosts = format!("{hosts} /api/v1/fleet/hosts?page={{}}");
                let reports = queries.map(|query| {
                    let id = query + 1;
                    format!("{rows} /api/v1/fleet/reports/{id}/report?page={{}}")
                });
                std::iter::once(hosts).chain(reports).collect()
            }
            Wire::Osctrl => {
                let answers = pages(shape.hosts, RESULTS_PAGE) + 1;
                let results = queries.map(|query| {
                    format!("{answers} /api/v1/queries/dev/results/q{query}?page={{}}")
                });
                results.collect()
            }
        }
    }

    /// Serves on a port of its own for as long as the process lives; returns the address.
    pub fn serve(self) -> io::Result<(String, World)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let bodies = Arc::new(RwLock::new(self.bodies));
        let world = World {
            wire: self.wire,
            shape: self.shape,
            bodies: Arc::clone(&bodies),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let bodies = Arc::clone(&bodies);
                // A client that is gone ends its connection.
                std::thread::spawn(move || drop(talk(stream, &bodies)));
            }
        });
        Ok((address, world))
    }
}

impl World {
    /// Of every hundredth host all rows are others now (Fleet), or there is one more answer (osctrl).
    pub fn change(&self) {
        let mut bodies = self.bodies.write().expect("no connection panicked");
        for query in 0..self.shape.queries {
            let news = |host: usize| usize::from(host.is_multiple_of(100));
            bodies.extend(results(self.wire, self.shape, query, &news));
        }
    }

    /// Bytes of all answers.
    pub fn bytes(&self) -> u64 {
        let bodies = self.bodies.read().expect("no connection panicked");
        bodies.values().map(|body| body.len() as u64).sum()
    }

    /// Bytes of the largest of them.
    pub fn largest(&self) -> u64 {
        let bodies = self.bodies.read().expect("no connection panicked");
        bodies
            .values()
            .map(|body| body.len() as u64)
            .max()
            .unwrap_or(0)
    }
}

/// The pages of a query's results.
fn results(wire: Wire, shape: Shape, query: usize, news: &dyn Fn(usize) -> usize) -> Bodies {
    let mut bodies = Bodies::new();
    match wire {
        Wire::Fleet => {
            let count = shape.hosts * shape.rows;
            let last = pages(count, ROWS_PAGE) - 1;
            for page in 0..=last {
                let of_page = (page * ROWS_PAGE)..((page + 1) * ROWS_PAGE).min(count);
                let rows: Vec<String> = of_page
                    .map(|at| {
                        let host = at / shape.rows;
                        let row = row(host, query, at % shape.rows, news(host));
                        format!(
                            r#"{{"host_id":{},"host_name":"{}","last_fetched":"2026-11-27T1{}:00:00Z","columns":{row}}}"#,
                            host + 1,
                            hostname(host),
                            news(host)
                        )
                    })
                    .collect();
                let body = format!(
                    r#"{{"query_id":{0},"report_id":{0},"results":[{1}],"report_clipped":false,"count":{count},"meta":{{"has_next_results":{2},"has_previous_results":false}}}}"#,
                    query + 1,
                    rows.join(","),
                    page < last
                );
                let path = format!("fleet/reports/{}/report?{page}", query + 1);
                bodies.insert(path, body.into_bytes().into());
            }
        }
        Wire::Osctrl => {
            let answer = |host: usize, news: usize| {
                let rows: Vec<String> = (0..shape.rows)
                    .map(|at| row(host, query, at, news))
                    .collect();
                let data = format!(
                    r#"{{"name":"q{query}","result":[{}],"status":0,"message":""}}"#,
                    rows.join(",")
                );
                let data = serde_json::Value::from(data);
                let id = query * 1_000_000 + host + 1 + news * 500_000;
                let (minute, second) = (host / 60 % 60, host % 60);
                let hour = 10 + news;
                format!(
                    r#"{{"id":{id},"created_at":"2026-11-27T{hour}:{minute:02}:{second:02}Z","uuid":"{}","environment":"dev","name":"q{query}","data":{data},"status":0}}"#,
                    uuid(host)
                )
            };
            let again = (0..shape.hosts).filter(|host| news(*host) > 0);
            let all: Vec<(usize, usize)> = (0..shape.hosts)
                .map(|host| (host, 0))
                .chain(again.map(|host| (host, 1)))
                .collect();
            let count = all.len();
            for (at, of_page) in all.chunks(RESULTS_PAGE).enumerate() {
                let items: Vec<String> = of_page
                    .iter()
                    .map(|(host, news)| answer(*host, *news))
                    .collect();
                let body = format!(
                    r#"{{"items":[{}],"page":{},"page_size":{RESULTS_PAGE},"total_items":{count}}}"#,
                    items.join(","),
                    at + 1
                );
                bodies.insert(
                    format!("queries/dev/results/q{query}?{}", at + 1),
                    body.into_bytes().into(),
                );
            }
            let one = format!(r#"{{"items":[],"page":1,"page_size":1,"total_items":{count}}}"#);
            bodies.insert(
                format!("queries/dev/results/q{query}?one"),
                one.into_bytes().into(),
            );
        }
    }
    bodies
}

fn talk(stream: TcpStream, bodies: &RwLock<Bodies>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while line != "\r\n" {
            line.clear();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let path = path.trim_start_matches("/api/v1/");
        let text = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value)
                .next()
        };
        let page = match text("page_size") {
            Some("1") => "one",
            _ => text("page").unwrap_or("0"),
        };
        let known = bodies.read().expect("no connection panicked");
        let found = known.get(&format!("{path}?{page}")).cloned();
        drop(known);
        let empty: &[u8] = if path.starts_with("queries") {
            br#"{"items":[],"total_items":0}"#
        } else {
            br#"{"hosts":[]}"#
        };
        let body = match &found {
            _ if query.contains("status=missing") => empty,
            Some(body) => body,
            None if path == "fleet/hosts" || path.starts_with("queries/dev/results") => empty,
            None => {
                write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
                continue;
            }
        };
        write!(
            out,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        out.write_all(body)?;
    }
}
