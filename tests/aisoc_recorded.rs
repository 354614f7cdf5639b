//! The recordings of AiSOC's service, replayed to the real binary: a server that answers with the very bytes
//! that a real one of each release answered, whatever the simulator makes of them. Requests that no recording
//! has fail the test.
//!
//! The recorded hosts answered the same whatever they were asked, so they do not know the proof that our
//! statements carry. Where a run says so they are given it: a row that was found is marked, and a host that
//! found nothing answers the one row that says it. Without that, the answers are to the letter.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::Ran;
use crate::harness::raw::{Raw, read_message};
use crate::harness::site::{Kind, Step};

const ENQUEUE: &str = "/api/v1/osquery/distributed/enqueue";
const LOOK: &str = "/api/v1/osquery/distributed/";
const TENANT: &str = "00000000-0000-0000-0000-000000000001";
const OTHER_TENANT: &str = "00000000-0000-0000-0000-000000000002";
/// As it stands in the recordings.
const TOKEN: &str = "AISOC_TOKEN";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/aisoc_direct")
}

/// One exchange of a recording.
#[derive(Clone)]
struct Exchange {
    method: String,
    path: String,
    authorization: Option<String>,
    tenant: Option<String>,
    body: Value,
    /// 0: there was no answer, the server was down.
    status: u64,
    answer: Value,
}

fn recorded(name: &str) -> Vec<Exchange> {
    let file = folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(file).expect("a recording");
    let recording: Value = serde_json::from_str(&text).expect("a recording is JSON");
    let steps = recording["steps"].as_array().expect("steps");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    steps
        .iter()
        .map(|step| {
            let (request, response) = (&step["request"], &step["response"]);
            Exchange {
                method: text(&request["method"]).expect("a method"),
                path: text(&request["path"]).expect("a path"),
                authorization: text(&request["headers"]["Authorization"]),
                tenant: text(&request["headers"]["X-AiSOC-Tenant-ID"]),
                body: request["body"].clone(),
                status: response["status"].as_u64().expect("a status"),
                answer: response["body"].clone(),
            }
        })
        .collect()
}

/// What the server still has to say.
#[derive(Default)]
struct Replay {
    /// By host, in the recorded order.
    enqueues: HashMap<String, VecDeque<Exchange>>,
    /// By the query's id; the last one is said again.
    looks: HashMap<String, VecDeque<Exchange>>,
    /// Which host a query is for.
    asked: HashMap<String, String>,
    /// Hosts that find nothing, where they know the proof.
    proven: Option<&'static [&'static str]>,
    /// Requests that no recording has.
    strange: Vec<String>,
}

impl Replay {
    fn of(exchanges: impl IntoIterator<Item = Exchange>) -> Self {
        let mut replay = Self::default();
        for exchange in exchanges {
            let keys = exchange.body.as_object().map(|body| {
                let keys: BTreeSet<&str> = body.keys().map(String::as_str).collect();
                keys
            });
            let host = exchange.body["host_identifier"].as_str().map(str::to_owned);
            match (&*exchange.method, &*exchange.path, host) {
                ("POST", ENQUEUE, Some(host))
                    if keys == Some(BTreeSet::from(["host_identifier", "query_text"])) =>
                {
                    replay.enqueues.entry(host).or_default().push_back(exchange);
                }
                ("GET", path, _) if path.starts_with(LOOK) => {
                    let id = path[LOOK.len()..].to_owned();
                    replay.looks.entry(id).or_default().push_back(exchange);
                }
                // The agents' side, other people's paths, and bodies that this client never sends.
                _ => {}
            }
        }
        replay
    }

    /// The answer: its status and its body, or none.
    fn answer(&mut self, method: &str, path: &str, body: &Value) -> Option<(u64, Value)> {
        let exchange = match (method, path) {
            ("POST", ENQUEUE) => {
                let host = body["host_identifier"].as_str().unwrap_or_default();
                let exchange = self.enqueues.get_mut(host).and_then(VecDeque::pop_front);
                if let Some(id) = exchange
                    .as_ref()
                    .and_then(|it| it.answer["query_id"].as_str())
                {
                    self.asked.insert(id.to_owned(), host.to_owned());
                }
                exchange
            }
            ("GET", path) if path.starts_with(LOOK) => {
                let looks = self.looks.get_mut(&path[LOOK.len()..]);
                looks.and_then(|looks| match looks.len() {
                    0 | 1 => looks.front().cloned(),
                    _ => looks.pop_front(),
                })
            }
            _ => None,
        };
        let Some(exchange) = exchange else {
            self.strange.push(format!("{method} {path} {body}"));
            return Some((599, json!({"detail": "no recording has this"})));
        };
        if exchange.status == 0 {
            return None;
        }
        let mut answer = exchange.answer;
        if let Some(nothing) = self.proven
            && let Some(rows) = answer["rows"].as_array_mut()
        {
            for row in rows.iter_mut() {
                row["live_query_matched"] = "1".into();
            }
            let host = answer["query_id"]
                .as_str()
                .and_then(|id| self.asked.get(id));
            let finds_nothing = host.is_some_and(|host| nothing.contains(&host.as_str()));
            if finds_nothing && answer["rows"] == json!([]) {
                answer["rows"] = json!([{"live_query_matched": "", "pid": "", "name": ""}]);
            }
        }
        Some((exchange.status, answer))
    }
}

/// Serves it, on any number of connections.
fn serve(replay: &Arc<Mutex<Replay>>) -> Raw {
    let replay = Arc::clone(replay);
    Raw::start(move |stream: TcpStream| {
        let mut reader = BufReader::new(&stream);
        while let Some(message) = read_message(&mut reader) {
            let message = String::from_utf8(message).expect("text");
            let (head, body) = message.split_once("\r\n\r\n").expect("a head");
            let line: Vec<&str> = head.lines().next().unwrap_or("").split(' ').collect();
            let [method, path, _] = *line else {
                panic!("no request line: {head}");
            };
            let body = serde_json::from_str(body).unwrap_or(Value::Null);
            let answer = replay
                .lock()
                .expect("nobody panicked")
                .answer(method, path, &body);
            let Some((status, answer)) = answer else {
                return;
            };
            // A 500 is plain text, all else JSON.
            let (kind, text) = match &answer {
                Value::String(text) => ("text/plain; charset=utf-8", text.clone()),
                Value::Null => ("text/plain; charset=utf-8", String::new()),
                json => ("application/json", json.to_string()),
            };
            let head = format!(
                "HTTP/1.1 {status} Status\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            );
            if (&stream).write_all(head.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A run against a recording.
struct Run {
    recording: &'static str,
    tenant: Option<&'static str>,
    token: &'static str,
    hosts: &'static [&'static str],
    /// Hosts that find nothing.
    nothing: &'static [&'static str],
    timeout: u32,
    /// Exit status, and the code of the error.
    ends: (i32, Option<&'static str>),
    /// What stands for each host: its status, and how many rows.
    answers: &'static [(&'static str, usize)],
}

const RUN: Run = Run {
    recording: "",
    tenant: Some(TENANT),
    token: TOKEN,
    hosts: &[],
    nothing: &[],
    timeout: 20,
    ends: (0, None),
    answers: &[],
};

/// All recordings but `auth`, which asks for no host.
const RUNS: &[Run] = &[
    Run {
        recording: "query-complete",
        hosts: &["ad-0000", "ad-0001"],
        answers: &[("ok", 2), ("ok", 2)],
        ..RUN
    },
    Run {
        recording: "query-empty-and-error",
        hosts: &["ad-0002", "ad-0003"],
        nothing: &["ad-0002"],
        answers: &[("ok", 0), ("error", 0)],
        ..RUN
    },
    Run {
        recording: "query-mixed",
        hosts: &[
            "ad-0000", "ad-0001", "ad-0002", "ad-0003", "ad-0004", "ad-0005",
        ],
        nothing: &["ad-0002"],
        timeout: 5,
        answers: &[
            ("ok", 2),
            ("ok", 2),
            ("ok", 0),
            ("error", 0),
            ("ok", 2),
            ("no_answer", 0),
        ],
        ..RUN
    },
    Run {
        recording: "query-never-delivered",
        hosts: &["ad-0005"],
        timeout: 3,
        answers: &[("no_answer", 0)],
        ..RUN
    },
    Run {
        recording: "query-repeated",
        hosts: &["ad-0000"],
        answers: &[("ok", 2)],
        ..RUN
    },
    Run {
        recording: "restart",
        hosts: &["ad-0004", "ad-0005"],
        timeout: 6,
        answers: &[("ok", 2), ("no_answer", 0)],
        ..RUN
    },
    Run {
        recording: "case",
        hosts: &["Case-Host", "case-host", "CASE-HOST"],
        answers: &[("ok", 2), ("ok", 2), ("unknown", 0)],
        ..RUN
    },
    Run {
        recording: "other-tenant",
        hosts: &["ad-0000"],
        answers: &[("ok", 2)],
        ..RUN
    },
    Run {
        recording: "other-tenant",
        tenant: Some(OTHER_TENANT),
        hosts: &["ad-0000"],
        nothing: &["ad-0000"],
        answers: &[("ok", 0)],
        ..RUN
    },
    Run {
        recording: "enqueue-refusals",
        hosts: &[
            "nope-9",
            "AD-0000",
            "4C4C4544-0000-4000-8000-616400000000",
            "ad-0000.lab.example",
            "other-0001",
        ],
        ends: (21, Some("targets")),
        answers: &[("unknown", 0); 5],
        ..RUN
    },
    // Asks for no credentials, and knows no tenant's uuid.
    Run {
        recording: "older-no-auth",
        tenant: None,
        hosts: &["ad-0000", "nope-9", "AD-0000"],
        answers: &[("ok", 1), ("unknown", 0), ("unknown", 0)],
        ..RUN
    },
    Run {
        recording: "fork-api-token",
        tenant: None,
        hosts: &["ad-0000"],
        answers: &[("ok", 1)],
        ..RUN
    },
    Run {
        recording: "fork-api-token",
        tenant: None,
        token: "bad",
        hosts: &["ad-0000"],
        ends: (20, Some("auth")),
        answers: &[("not_asked", 0)],
        ..RUN
    },
    Run {
        recording: "not-configured",
        hosts: &["ad-0000"],
        ends: (20, Some("auth")),
        answers: &[("not_asked", 0)],
        ..RUN
    },
    // A host's error is written as no rows; later writes of others change nothing that was read.
    Run {
        recording: "agent-protocol",
        hosts: &["hand-0001"],
        answers: &[("error", 0)],
        ..RUN
    },
    Run {
        recording: "write-edge",
        hosts: &["hand-0003"],
        answers: &[("ok", 1)],
        ..RUN
    },
];

/// Nothing in it that this client asks for: no list of hosts is looked for, since there is none.
const NOT_ASKED_FOR: [&str; 1] = ["no-node-list"];

impl Run {
    /// The exchanges that are this caller's.
    fn replay(&self) -> Replay {
        let authorization = format!("Bearer {}", self.token);
        let open = self.recording == "older-no-auth";
        let own = recorded(self.recording).into_iter().filter(|exchange| {
            let same = exchange.authorization.as_deref() == Some(&*authorization)
                && exchange.tenant.as_deref() == self.tenant;
            same || (open && exchange.authorization.is_none())
        });
        Replay::of(own)
    }

    fn step(&self, url: &str) -> Step {
        let step = Step::of(Kind::AisocDirect, url, self.hosts).token(self.token);
        let step = step.timeout(self.timeout);
        match self.tenant {
            Some(tenant) => step.with("tenant_id", tenant),
            None => step.without("tenant_id"),
        }
    }

    fn run(&self, proven: bool) -> Ran {
        let mut replay = self.replay();
        replay.proven = proven.then_some(self.nothing);
        let replay = Arc::new(Mutex::new(replay));
        let server = serve(&replay);
        let ran = self.step(&server.url()).binary().run();
        let replay = replay.lock().expect("nobody panicked");
        assert!(replay.strange.is_empty(), "{:?}: {ran:?}", replay.strange);
        // Whoever knows an id can write rows to it.
        let ids = replay.asked.keys().map(String::as_str);
        for secret in ids.chain([TOKEN]) {
            let said = [&ran.stdout, &ran.stderr];
            assert!(!said.iter().any(|text| text.contains(secret)), "{ran:?}");
        }
        ran
    }
}

#[test]
fn every_recording_is_understood() {
    let names = RUNS.iter().map(|run| run.recording);
    let known: BTreeSet<&str> = names.chain(["auth"]).chain(NOT_ASKED_FOR).collect();
    let files = std::fs::read_dir(folder()).expect("the recordings");
    let files: BTreeSet<String> = files
        .filter_map(|file| {
            let name = file.expect("a file").file_name().into_string().ok()?;
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect();
    assert_eq!(files, known.iter().map(|name| (*name).to_owned()).collect());
    std::thread::scope(|scope| {
        for run in RUNS {
            scope.spawn(|| {
                let ran = run.run(true);
                let document = ran.document();
                let error = document.error.as_ref().map(|error| &*error.code);
                let what = format!("{}: {ran:?}", run.recording);
                assert_eq!((ran.status, error), run.ends, "{what}");
                let came: BTreeMap<&str, (&str, usize)> = run
                    .hosts
                    .iter()
                    .map(|name| {
                        let rows = document.results.get(*name).map_or(0, Vec::len);
                        (*name, (&*document.hosts[*name].status, rows))
                    })
                    .collect();
                let expected: BTreeMap<_, _> = run
                    .hosts
                    .iter()
                    .copied()
                    .zip(run.answers.iter().copied())
                    .collect();
                assert_eq!(came, expected, "{what}");
                let silent = run.answers.iter().any(|(status, _)| *status == "no_answer");
                assert_eq!(document.campaign().may_be_running, silent, "{what}");
                for rows in document.results.values().flatten() {
                    assert!(!rows.contains_key("live_query_matched"), "{what}");
                }
            });
        }
    });
}

/// To the letter, from hosts that know no proof: whatever they answered proves nothing, and nothing of it is
/// taken for "nothing there".
#[test]
fn without_a_proof_no_answer_is_taken_for_one() {
    std::thread::scope(|scope| {
        for run in RUNS.iter().filter(|run| run.ends.0 == 0) {
            scope.spawn(|| {
                let ran = run.run(false);
                let document = ran.document();
                let what = format!("{}: {ran:?}", run.recording);
                assert_eq!((ran.status, document.partial), (0, true), "{what}");
                for (name, (status, _)) in run.hosts.iter().zip(run.answers) {
                    let expected = if *status == "ok" { "error" } else { *status };
                    assert_eq!(document.hosts[*name].status, expected, "{what}");
                }
            });
        }
    });
}

/// Each credential that was tried, by the call that `check` makes.
#[test]
fn every_recorded_credential_is_understood() {
    for exchange in recorded("auth") {
        let answer = (exchange.status, exchange.answer.clone());
        let server = Raw::start(move |stream: TcpStream| {
            let mut reader = BufReader::new(&stream);
            while read_message(&mut reader).is_some() {
                let text = answer.1.to_string();
                let head = format!(
                    "HTTP/1.1 {} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
                    answer.0,
                    text.len()
                );
                let _ = (&stream).write_all(head.as_bytes());
            }
        });
        let step = Step::of(Kind::AisocDirect, &server.url(), &["ad-0000"]).token(TOKEN);
        let ran = step.arg("check").binary().run();
        let code = ran.document().error.map(|error| error.code);
        let expected = match exchange.status {
            404 => (0, None),
            401 | 403 => (20, Some("auth")),
            _ => (22, Some("backend")),
        };
        assert_eq!((ran.status, code.as_deref()), expected, "{ran:?}");
    }
}
