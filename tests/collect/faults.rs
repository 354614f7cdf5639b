//! What can go wrong with a server while it is polled, on every call of both connectors: what came is written,
//! what did not come is told, and the next poll brings it. Nothing is lost and nothing is told twice. What each
//! fault comes to stands in `tests/faults/collect.*.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use osquery_simulator::{
    Cells, Cut, Fault, HostSpec, QuerySpec, QueryState, ReportSpec, ResultSpec, Scenario, SlowBody,
};
use serde_json::{Value, json};

use super::{Connector, Polled, id, short};
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, compare_text, on_all, on_those};

/// Nothing but what never answers takes as long.
const SECONDS: u64 = 4;
/// For what is still written then.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// Sites that are polled at once.
const AT_ONCE: usize = 8;

fn rows(names: &[&str]) -> Vec<Cells> {
    let rows = names.iter().map(|name| json!({ "name": name }));
    rows.filter_map(|row| row.as_object().cloned()).collect()
}

/// Two hosts, two queries: five events of each connector that has hosts, three of the other.
fn scenario(faults: Vec<Fault>) -> Scenario {
    let mut scenario = Scenario::of([HostSpec::named("web-01"), HostSpec::named("web-02")]);
    const SQL: &str = "SELECT name FROM users";
    scenario.fleet.reports = vec![
        ReportSpec::of("first", SQL)
            .with_rows("web-01", rows(&["a", "a"]))
            .with_rows("web-02", rows(&["b"])),
        ReportSpec::of("second", SQL).with_rows("web-01", rows(&["c"])),
    ];
    for (report, id) in scenario.fleet.reports.iter_mut().zip([101, 102]) {
        report.id = Some(id);
    }
    scenario.osctrl.queries = vec![
        QuerySpec::of("first", SQL)
            .state(QueryState::Active)
            .with_result(ResultSpec::of("web-01").rows(rows(&["a", "a"])))
            .with_result(ResultSpec::of("web-02").rows(rows(&["b"]))),
        QuerySpec::of("second", SQL)
            .with_result(ResultSpec::of("web-01").rows(rows(&["c"])))
            .with_result(ResultSpec::of("web-02").error("no such table: users")),
    ];
    scenario.faults = faults;
    scenario
}

/// The calls of a poll, by a part of their paths.
fn calls(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Fleet => &[
            ("the missing hosts", "status=missing"),
            ("the hosts", "/hosts?page=0"),
            ("the queries", "/reports?"),
            ("the teams", "/fleets"),
            ("a report", "/101/report?"),
        ],
        Kind::Osctrl => &[
            ("the queries", "/list/all"),
            ("their number", "/results/first?page=1&page_size=1"),
            ("the answers", "/results/first?page=1&page_size=1000"),
            ("the nodes", "/nodes/dev"),
        ],
        Kind::AisocDirect => unreachable!("it has nothing that is polled"),
    }
}

/// What happens, and what it is called.
fn happens() -> Vec<(&'static str, Fault)> {
    let once = |fault: Fault| fault.times(1);
    let any = || Fault::on("");
    let with = |fault: Fault, change: &dyn Fn(&mut Fault)| {
        let mut fault = fault;
        change(&mut fault);
        fault
    };
    let retry = |seconds: &str| {
        with(any().status(429), &|fault| {
            fault.retry_after = Some(seconds.into())
        })
    };
    let page = |body: &str| {
        with(any().status(200).body(body), &|fault| {
            fault.content_type = Some("text/html".into());
        })
    };
    vec![
        ("500 once", once(any().status(500))),
        ("502 once", once(any().status(502))),
        ("503 twice", any().status(503).times(2)),
        ("504 once", once(any().status(504))),
        ("429 once, Retry-After 1", once(retry("1"))),
        ("429 once, Retry-After an hour", once(retry("3600"))),
        ("cut before it", once(any().cut(Cut::Before))),
        ("its answer lost", once(any().cut(Cut::After))),
        ("never answered", once(with(any(), &|fault| fault.hang = true))),
        ("breaks off", once(with(any(), &|fault| fault.truncate = Some(20)))),
        (
            "slow bytes",
            once(with(any(), &|fault| {
                fault.slow = Some(SlowBody {
                    bytes: 64,
                    every: Duration::from_millis(10),
                });
            })),
        ),
        (
            "bytes that never end in time",
            once(with(any(), &|fault| {
                fault.slow = Some(SlowBody {
                    bytes: 1,
                    every: Duration::from_millis(400),
                });
            })),
        ),
        (
            "a redirect",
            once(with(any().status(302), &|fault| {
                fault.location = Some("https://login.example.com/".into());
            })),
        ),
        ("401 once", once(any().status(401).body(r#"{"error":"unauthorized"}"#))),
        ("403 once", once(any().status(403).body(r#"{"error":"no access"}"#))),
        ("404 once", once(any().status(404).body("404 page not found"))),
        ("a web page", once(page("<html>Sign in</html>"))),
        ("an empty body", once(any().status(200).body(""))),
        ("null", once(any().status(200).body("null"))),
        ("a number", once(any().status(200).body("17"))),
        ("an empty object", once(any().status(200).body("{}"))),
        ("half of its JSON", once(any().status(200).body(r#"{"hosts":[{"id":1"#))),
        ("a list of nonsense", once(any().status(200).body(r#"{"hosts":[7,null,"x"],"queries":[7],"reports":[7],"results":[7],"items":[7]}"#))),
        ("an error beside the list", once(any().status(200).body(r#"{"hosts":[],"queries":[],"reports":[],"results":[],"items":[],"error":"database is gone"}"#))),
    ]
}

/// A way through one fault: two polls with one state, of which the second finds the server well.
fn through(kind: Kind, (call, path): (&str, &str), (what, fault): &(&str, Fault)) -> String {
    let mut fault = fault.clone();
    path.clone_into(&mut fault.path);
    let site = Site::new(kind, scenario(vec![fault]));
    let folder = Folder::new();
    let poll = Connector::of(kind, &site.simulator)
        .with("timeout_seconds", SECONDS)
        .state(&folder);
    let name = format!("{}, {call}: {what}", kind.backend());
    let first = poll.poll();
    site.assert_no_secret(&first.ran);
    assert!(
        first.ran.elapsed < Duration::from_secs(SECONDS) + AFTERWARDS,
        "{name}: {:?}",
        first.ran
    );
    let mut told = format!("{what}: {}", first.ran.status);
    let streams = first.summary["streams"].as_object().expect("streams");
    for (stream, ended) in streams {
        let ok = ended["ok"] == true;
        let error = &ended["error"]["code"];
        assert_eq!(ok, error.is_null(), "{name}: {}", first.summary);
        if !ok {
            let message = ended["error"]["message"].as_str().expect("words");
            let message = message.replace(&site.simulator.base_url(), "$SERVER");
            let code = error.as_str().expect("a code");
            let _ = write!(told, "\n    {stream}: {code}: {message}");
            assert!(first.ran.stderr.contains(code), "{name}: {:?}", first.ran);
        }
    }
    let failed = streams.values().any(|ended| ended["ok"] == false);
    assert_eq!(first.ran.status != 0, failed, "{name}: {:?}", first.ran);
    for line in first
        .ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning"))
    {
        let line = line.replace(&site.simulator.base_url(), "$SERVER");
        let _ = write!(told, "\n    {line}");
    }
    let second = poll.poll();
    assert_eq!(second.ran.status, 0, "{name}, afterwards: {:?}", second.ran);
    assert_each_once(&name, kind, &[&first, &second]);
    told + "\n"
}

/// All events came; what came twice did so under one id.
fn assert_each_once(name: &str, kind: Kind, polls: &[&Polled]) {
    let mut ids: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for event in polls.iter().flat_map(|poll| &poll.events) {
        // Where the list of nodes did not come, events name hosts by their uuid.
        ids.entry(apart_from_names(event))
            .or_default()
            .insert(id(event));
    }
    let came: BTreeMap<&str, usize> = ids
        .iter()
        .map(|(event, ids)| (event.as_str(), ids.len()))
        .collect();
    let mut expected: BTreeMap<&str, usize> = BTreeMap::from([
        (r#"row added {"name":"a"}"#, 2),
        (r#"row added {"name":"b"}"#, 1),
        (r#"row added {"name":"c"}"#, 1),
    ]);
    match kind {
        Kind::Fleet => expected.insert("host online", 2),
        _ => expected.insert("error no such table: users", 1),
    };
    assert_eq!(came, expected, "{name}");
}

fn apart_from_names(event: &Value) -> String {
    let hostname = event["hostname"].as_str().unwrap_or_default();
    short(event).replacen(&format!("{hostname} "), "", 1)
}

#[test]
fn faults_of_every_call_of_a_poll() {
    on_those(Kind::is_collected, |kind| {
        let (calls, happens) = (calls(kind), happens());
        // Those that take long stand together.
        let all: Vec<_> = happens
            .iter()
            .flat_map(|happens| calls.iter().map(move |call| (*call, happens)))
            .collect();
        let mut told: BTreeMap<&str, String> = BTreeMap::new();
        for some in all.chunks(AT_ONCE) {
            let came: Mutex<BTreeMap<usize, String>> = Mutex::default();
            on_all(some.iter().enumerate(), |(at, (call, fault))| {
                let line = through(kind, *call, fault);
                came.lock().expect("no panic").insert(at, line);
            });
            for (at, line) in came.into_inner().expect("no panic") {
                let _ = write!(told.entry(some[at].0.0).or_default(), "  {line}");
            }
        }
        let text: String = told
            .iter()
            .map(|(call, lines)| format!("{call}\n{lines}"))
            .collect();
        compare_text(&format!("collect.{}", kind.backend()), &text);
    });
}

/// What a server makes up must not end up as an event of somebody, nor take a process's memory or time.
#[test]
fn faults_lies_of_a_server_that_is_polled() {
    let lists = |items: &str| {
        format!(
            r#"{{"hosts":[{items}],"queries":[{items}],"reports":[{items}],"results":[{items}],"items":[{items}],"total_items":1,"total_pages":1}}"#
        )
    };
    let answer = |data: &str| {
        let data = Value::from(data).to_string();
        lists(&format!(
            r#"{{"id":1,"uuid":"4C4C4544-0000-4000-8000-686F00000000","created_at":"2036-01-01T00:00:00Z","status":0,"data":{data},"host_id":1,"host_name":"x","last_fetched":"2036-01-01T00:00:00Z","columns":{{}}}}"#
        ))
    };
    for (path, bodies) in [
        (
            "/101/report?",
            vec![
                answer("x"),
                lists(
                    r#"{"host_id":-1,"host_name":"x","last_fetched":"yesterday","columns":{"a":"b"}}"#,
                ),
                lists(r#"{"host_id":1,"host_name":7,"last_fetched":17,"columns":[]}"#),
                lists(&format!(
                    r#"{{"host_id":1,"columns":{{"a":{}1{}}}}}"#,
                    "[".repeat(500),
                    "]".repeat(500)
                )),
                lists(
                    r#"{"host_id":1,"last_fetched":"2036-01-01T00:00:00Z","columns":{"a\u0000b":"\ud800 \u001b[2J"}}"#,
                ),
            ],
        ),
        (
            "/results/first?",
            vec![
                answer(""),
                answer("{"),
                answer(r#"{"result":[{"a":"b"}],"status":0}"#),
                answer(r#"{"result":"no list","status":0}"#),
                answer(r#"{"status":0}"#),
                answer(r#"{"result":[7,null],"status":0}"#),
                lists(r#"{"id":"x","uuid":7,"created_at":"never","data":"{}"}"#),
                r#"{"items":[],"total_items":18446744073709551615,"total_pages":1}"#.into(),
                r#"{"items":[],"total_items":-1}"#.into(),
            ],
        ),
    ] {
        let kind = match path.contains("report") {
            true => Kind::Fleet,
            false => Kind::Osctrl,
        };
        on_all(bodies, |body| {
            let fault = Fault::on(path).status(200).body(&*body);
            let site = Site::new(kind, scenario(vec![fault]));
            let folder = Folder::new();
            let poll = Connector::of(kind, &site.simulator)
                .with("timeout_seconds", SECONDS)
                .state(&folder);
            for _ in 0..2 {
                let polled = poll.poll();
                site.assert_no_secret(&polled.ran);
                assert!(
                    [0, 3].contains(&polled.ran.status),
                    "{body}: {:?}",
                    polled.ran
                );
                let visible = |text: &str| {
                    text.chars()
                        .all(|letter| letter == '\n' || !letter.is_control())
                };
                assert!(
                    visible(&polled.ran.stdout) && visible(&polled.ran.stderr),
                    "{body}"
                );
                // The other query is as ever.
                assert!(
                    polled.ran.elapsed < Duration::from_secs(SECONDS) + AFTERWARDS,
                    "{body}"
                );
            }
        });
    }
}
