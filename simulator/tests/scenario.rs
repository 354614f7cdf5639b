//! What a scenario file may hold, and what its errors say.

#![allow(missing_docs, reason = "tests")]

use std::time::Duration;

use osquery_simulator::{Answer, Cut, Paths, Scenario, Simulator, SocketClose, TableSpec, Wire};

fn error(text: &str) -> String {
    Scenario::from_yaml(text).expect_err(text).to_string()
}

#[test]
fn the_readme_shows_a_scenario_that_starts() {
    let readme = include_str!("../README.md");
    let (_, from) = readme.split_once("```yaml\n").expect("an example");
    let (example, _) = from.split_once("```").expect("its end");
    let scenario = Scenario::from_yaml(example).expect("the example is right");
    assert_eq!(
        (scenario.wire, scenario.fleet.paths),
        (Wire::All, Paths::Both)
    );
    assert_eq!(scenario.check_in, Duration::from_millis(50));
    assert_eq!(scenario.osctrl.users[1].environments, ["dev"]);
    assert!(scenario.fleet.users[1].must_reset_password);
    let back = &scenario.hosts[1].behaviour;
    assert_eq!(back.comes_back, Some(Duration::from_millis(500)));
    assert!(matches!(&back.answer, Answer::Rows(rows) if rows.len() == 1));
    let table = &scenario.hosts[2].tables["processes"];
    assert!(matches!(table, TableSpec::Generate(made) if made.generate == 20));
    Simulator::spawn(scenario).expect("it starts");
}

#[test]
fn every_kind_of_answer_and_fault_can_be_written() {
    let scenario = Scenario::from_yaml(
        r#"
hosts:
  - {hostname: a, behaviour: {answer: sql, delay_ms: 5, check_ins: 2, times: 2, again_ms: 1}}
  - {hostname: b, behaviour: {answer: none, item_lag_ms: 1, counter_lag_ms: 1, answers_as: X}}
  - {hostname: c, behaviour: {answer: silent}}
  - {hostname: d, behaviour: {answer: {error: "no such table: x"}}}
  - {hostname: e, behaviour: {answer: {huge: {rows: 3, row_bytes: 100}}}}
  - {hostname: f, behaviour: {answer: {status_only: 1}}}
  - {hostname: g, behaviour: {answer: {raw_rows: "null"}}}
faults:
  - {path: /a, cut: before}
  - {path: /b, slow: {bytes: 1, every_ms: 2}, truncate: 3, pad: 4}
  - {path: websocket, socket: {after_results: 2, send: ["x"], send_base64: /w==, close: zero}}
"#,
    )
    .expect("a scenario");
    let answers: Vec<&Answer> = scenario
        .hosts
        .iter()
        .map(|host| &host.behaviour.answer)
        .collect();
    assert!(matches!(
        answers[..],
        [
            Answer::Sql,
            Answer::None,
            Answer::Silent,
            Answer::Error(_),
            Answer::Huge(_),
            Answer::StatusOnly(1),
            Answer::RawRows(_)
        ]
    ));
    assert_eq!(scenario.faults[0].cut, Some(Cut::Before));
    let socket = scenario.faults[2].socket.as_ref().expect("a socket fault");
    assert_eq!(
        (socket.after_results, socket.close),
        (2, Some(SocketClose::Zero))
    );
}

#[test]
fn errors_say_where_and_what() {
    for (text, expected) in [
        (
            "hosts:\n  - {hostname: a, colour: red}\n",
            "line 2, column ",
        ),
        ("hosts: []\nhosts: []\n", "line 2, column 1: "),
        ("check_in_ms: fast\n", "line 1, column 14: "),
        ("wire: smoke\n", "line 1, column 7: "),
    ] {
        let message = error(text);
        assert!(message.starts_with(expected), "{text}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    assert!(error("hosts:\n  - {hostname: a, colour: red}\n").contains("colour"));
    assert_eq!(
        error("hosts: []\nhosts: []\n"),
        "line 2, column 1: duplicate mapping key: hosts"
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (text, expected) in [
        (
            "listen: 0.0.0.0:80",
            "listen: 0.0.0.0:80 is not a loopback address; the simulator has no real users to serve",
        ),
        (
            "listen: here",
            "listen: 'here' is not an address such as 127.0.0.1:0",
        ),
        ("check_in_ms: 0", "check_in_ms must be at least 1"),
        (
            "osctrl: {environments: []}",
            "osctrl.environments must name at least one environment",
        ),
        (
            "hosts: [{hostname: a, count: 0}]",
            "hosts[0].count must be at least 1",
        ),
        (
            "hosts: [{hostname: a, count: 2, uuid: u}]",
            "hosts[0].uuid must contain {n}: hosts of one pattern need different ones",
        ),
        (
            "hosts: [{hostname: a, environment: x}]",
            "hosts[0].environment 'x' is not among osctrl.environments",
        ),
        (
            "hosts: [{hostname: a, last_seen: yesterday}]",
            "hosts[0].last_seen 'yesterday' is not a time such as 2026-11-20T23:53:11Z",
        ),
        (
            "hosts: [{hostname: a, behaviour: {times: 0}}]",
            "hosts[0].behaviour.times must be at least 1; a silent host has answer: silent",
        ),
        (
            "tables: {shoes: {generate: 3}}",
            "tables.shoes: only built-in tables can be generated (file, listening_ports, \
             logged_in_users, process_open_sockets, processes, system_info); give rows",
        ),
        (
            "tables: {processes: [{pidd: 1}]}",
            "tables.processes: osquery's table has no column 'pidd'",
        ),
        (
            "tables: {shoes: [{size: [1]}]}",
            "tables.shoes: column 'size' must be text, a number or null",
        ),
        (
            "faults: [{path: /, status: 101}]",
            "faults[0].status must be from 200 to 599",
        ),
        (
            "faults: [{path: /, body_base64: '?'}]",
            "faults[0] holds bytes that are not base64",
        ),
        (
            "faults: [{path: /, slow: {bytes: 0, every_ms: 1}}]",
            "faults[0].slow.bytes must be at least 1",
        ),
        (
            "faults: [{path: /, location: \"a\\nb\"}]",
            "faults[0].location can't stand in an HTTP header",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}
