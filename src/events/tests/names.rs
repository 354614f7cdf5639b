use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::events::{
    Change, Digest, Event, Host, Origin, Query, Reply, Row, Severities, Status, Tables, When,
};
use crate::known_servers::ALL;
use crate::severity::Severity;

fn origin() -> Origin {
    Origin::new(&ALL[0], "https://fleet.example.com/", None)
}

fn host(id: u64) -> Host {
    Host {
        id: Some(id),
        hostname: "web".to_owned(),
        ..Host::default()
    }
}

fn query(id: u64) -> Query {
    Query::new(
        Some(id),
        "ports",
        "SELECT * FROM listening_ports",
        &Severities::default(),
    )
}

fn cells() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let cell = prop_oneof![
        "\\PC{0,12}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
    ];
    proptest::collection::btree_map("[a-c]{1,2}|\\PC{0,4}", cell, 0..6)
}

fn row(json: &str) -> Row<'_> {
    Row::read(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

proptest! {
    /// A row's digest goes by what it says, and by nothing else.
    #[test]
    fn rows_are_equal_where_they_say_the_same(one in cells(), other in cells(), turn in 0usize..6) {
        let plain = json!(one).to_string();
        let mut turned: Vec<(&String, &Value)> = one.iter().collect();
        turned.rotate_left(turn.min(one.len()));
        let turned: Map<String, Value> = turned.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let pretty = serde_json::to_string_pretty(&turned).unwrap();
        let escaped: String = pretty.chars().map(|letter| match letter {
            ' '..='~' | '\n' => letter.to_string(),
            other => other.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        }).collect();
        let digest = row(&plain).digest();
        prop_assert_eq!(row(&pretty).digest(), digest);
        prop_assert_eq!(row(&escaped).digest(), digest);
        prop_assert_eq!(row(&json!(other).to_string()).digest() == digest, one == other);
        // What is read is what is written.
        prop_assert_eq!(serde_json::to_value(row(&escaped)).unwrap(), json!(one));
        prop_assert_eq!(Value::Object(row(&escaped).to_map()), json!(one));
    }

    /// The same event has the same id in every run, whatever time it is; nothing else has it.
    #[test]
    fn ids_are_of_what_makes_the_event(
        makings in proptest::collection::vec(
            (0u64..3, 0u64..3, 0usize..3, 0u32..3, 0usize..3, 0i64..3, any::<(u16, u16)>()), 2..40),
    ) {
        let rows = [r#"{"port":"22"}"#, r#"{"port":"80"}"#, r#"{"port":22}"#];
        let changes = [Change::Added, Change::Removed, Change::Present];
        let origin = origin();
        let mut ids = HashMap::new();
        let mut keys = HashMap::new();
        for (of_host, of_query, of_row, copy, change, since, (time, seen)) in makings {
            let (host, query) = (host(of_host), query(of_query));
            let when = When { time: time.into(), observed_at: seen.into(), since };
            let reply = Reply { host: &host, query: &query, when };
            let event = origin.row(reply, row(rows[of_row]), changes[change], copy);
            let matter = (of_host, of_query, of_row);
            let makes = (matter, copy, change, since);
            prop_assert_eq!(*ids.entry(event.id).or_insert(makes), makes);
            prop_assert_eq!(*keys.entry(event.dedupe_key).or_insert(matter), matter);
        }
        let makings: HashSet<_> = ids.values().collect();
        prop_assert_eq!(makings.len(), ids.len());
        let matters: HashSet<_> = keys.values().collect();
        prop_assert_eq!(matters.len(), keys.len());
    }

    /// Names of any length and any letters are told apart from each other, also where one ends as another begins.
    #[test]
    fn no_two_hosts_have_one_name(
        names in proptest::collection::hash_set("[ab]{0,3}", 2..8), moment in any::<i64>(),
    ) {
        let origin = origin();
        let mut ids = HashSet::new();
        let mut count = 0;
        let query = Query::new(None, "q", "SELECT 1", &Severities::default());
        for one in &names {
            for other in &names {
                let by_uuid = Host { uuid: Some(one.clone()), hostname: other.clone(), ..Host::default() };
                let by_name = Host { hostname: format!("{one}{other}"), ..Host::default() };
                for host in [&by_uuid, &by_name] {
                    let reply = Reply { host, query: &query, when: When::at(moment, moment) };
                    ids.insert(origin.error(reply, "no such table").id);
                }
                count += 1;
            }
        }
        let uuids = names.len();
        let joined: HashSet<String> = names.iter().flat_map(|one| names.iter().map(move |other| format!("{one}{other}"))).collect();
        prop_assert_eq!(ids.len(), uuids + joined.len());
        prop_assert_eq!(count, uuids * uuids);
    }

    #[test]
    fn nothing_that_is_no_row_is_read_as_one(text in "\\PC{0,40}|[\\[\\]{}\":,a0-9 ]{0,30}") {
        if let Ok(row) = Row::read(&text) {
            prop_assert!(serde_json::from_str::<Map<String, Value>>(&text).is_ok());
            let written = serde_json::to_string(&row).unwrap();
            prop_assert_eq!(self::row(&written).digest(), row.digest());
        }
    }
}

/// What differs in one thing has another name.
#[test]
fn everything_that_makes_an_event_is_in_its_id() {
    let fleet = origin();
    let others = [
        Origin::new(&ALL[1], "https://fleet.example.com", None),
        Origin::new(&ALL[0], "https://other.example.com", None),
        Origin::new(&ALL[0], "https://fleet.example.com", Some("prod")),
    ];
    let one = host(1);
    let status = |origin: &Origin, status, when| {
        let event = origin.host(&one, status, when);
        (event.id, event.dedupe_key)
    };
    let when = When::at(10, 20);
    let (id, key) = status(&fleet, Status::Offline, when);
    // The moment of seeing it, and where the state held on to it, makes nothing new of it.
    assert_eq!(
        status(
            &fleet,
            Status::Offline,
            When {
                observed_at: 99,
                ..when
            }
        ),
        (id, key)
    );
    assert_eq!(
        status(&fleet, Status::Offline, When::at(11, 20).since(10)),
        (id, key)
    );
    assert_eq!(
        status(
            &Origin::new(&ALL[0], "https://fleet.example.com", None),
            Status::Offline,
            when
        ),
        (id, key)
    );
    let (again, same) = status(&fleet, Status::Offline, When::at(11, 20));
    assert!(again != id && same == key);
    let mut seen = HashSet::from([key]);
    for (_, other) in others
        .iter()
        .map(|origin| status(origin, Status::Offline, when))
    {
        assert!(seen.insert(other));
    }
    for other in [Status::Online, Status::Missing] {
        assert!(seen.insert(status(&fleet, other, when).1));
    }
    let asked = query(1);
    let reply = Reply {
        host: &one,
        query: &asked,
        when,
    };
    for event in [
        fleet.error(reply, "no such table: a"),
        fleet.error(reply, "no such table: b"),
        fleet.clipped(&asked, when),
        fleet.clipped(&query(2), when),
        fleet.row(reply, row("{}"), Change::Added, 0),
    ] {
        assert!(seen.insert(event.dedupe_key) && seen.insert(event.id));
    }
    // Equal rows of one answer are one matter and two events.
    let copies = [0, 1].map(|copy| fleet.row(reply, row("{}"), Change::Added, copy));
    assert!(copies[0].id != copies[1].id && copies[0].dedupe_key == copies[1].dedupe_key);
}

/// Consumers keep these for months, so they may never change by themselves.
#[test]
fn the_digests_stay_as_they_are() {
    let fleet = origin();
    let (one, asked) = (host(1), query(7));
    let reply = Reply {
        host: &one,
        query: &asked,
        when: When::at(1_764_227_091_123, 0),
    };
    let event = fleet.row(
        reply,
        row(r#"{"port": "22", "n": 1, "x": null}"#),
        Change::Added,
        0,
    );
    let Digest(_) = event.id;
    assert_eq!(
        [event.id.to_string(), event.dedupe_key.to_string()],
        [
            "a2130e18845074b6903a1c42c3f1ae63",
            "1a98321853278deae6b1d99c1393052f"
        ]
    );
}

#[test]
fn rows_of_every_kind_are_kept() {
    for (json, written) in [
        ("{}", "{}"),
        (r#"{"a":"1","a":"2"}"#, r#"{"a":"2"}"#),
        (r#"{"a":"1","b":"0","a":"2"}"#, r#"{"a":"2","b":"0"}"#),
        ("{ \"a\" :\n 1 }", r#"{"a":1}"#),
        (
            r#"{"a":1e400,"b":18446744073709551616,"c":1.5,"d":-0}"#,
            r#"{"a":"1e400","b":"18446744073709551616","c":1.5,"d":-0.0}"#,
        ),
        (r#"{"a":"\ud800b"}"#, r#"{"a":"\\ud800b"}"#),
        (
            r#"{"a":{"b":[ 1,
        2 ]},"c":[]}"#,
            r#"{"a":{"b":[1,2]},"c":[]}"#,
        ),
        (r#"{"":true,"\u00e9":"\n"}"#, "{\"\":true,\"é\":\"\\n\"}"),
    ] {
        assert_eq!(
            serde_json::to_string(&row(json)).unwrap(),
            written,
            "{json}"
        );
        assert_eq!(
            Value::Object(row(json).to_map()),
            serde_json::from_str::<Value>(written).unwrap(),
            "{json}"
        );
    }
    let wide: Vec<String> = (0..2_001)
        .map(|column| format!("\"c{column}\":1"))
        .collect();
    for (bad, why) in [
        ("[]", "a row is no object of columns (line 1, column 0)"),
        ("null", "a row is no object of columns (line 1, column 4)"),
        ("{\"secret\":", "a row is not JSON (line 1, column 10)"),
        (
            &format!("{{{}}}", wide.join(",")),
            "a row is no object of columns (line 1, column 18901)",
        ),
    ] {
        assert_eq!(Row::read(bad).unwrap_err().to_string(), why);
    }
}

#[test]
fn severities_are_of_the_gravest_table() {
    let of =
        |tables: &[&str]| Tables::Known(tables.iter().map(|name| (*name).to_owned()).collect());
    let plain = Severities::default();
    for (tables, severity) in [
        (of(&["startup_items"]), Severity::High),
        (of(&["kernel_modules", "uptime"]), Severity::High),
        (of(&["processes"]), Severity::Medium),
        (of(&["file_events"]), Severity::Medium),
        (of(&["an_extensions_own"]), Severity::Medium),
        (of(&["system_info"]), Severity::Info),
        (of(&["system_info", "processes"]), Severity::Medium),
        (of(&[]), Severity::Medium),
        (Tables::Unknown("…".to_owned()), Severity::Medium),
    ] {
        assert_eq!(plain.of(&tables), severity, "{tables:?}");
    }
    let own = Severities::with([
        ("Processes".to_owned(), Severity::Critical),
        ("startup_items".to_owned(), Severity::Low),
    ]);
    assert_eq!(own.of(&of(&["processes", "uptime"])), Severity::Critical);
    assert_eq!(own.of(&of(&["startup_items", "uptime"])), Severity::Low);
    assert_eq!(own.of(&of(&["launchd"])), Severity::High);
}

#[test]
fn an_event_as_a_line() {
    let fleet = origin();
    let host = Host {
        id: Some(1),
        uuid: Some("4C4C".to_owned()),
        hostname: "web-01".to_owned(),
        display_name: Some("Web 1".to_owned()),
        platform: Some("ubuntu".to_owned()),
        status: Some(Status::Online),
        team_id: None,
        last_seen: Some("2026-11-27T07:00:00Z".to_owned()),
    };
    let severities = Severities::default();
    let asked = Query::new(
        Some(7),
        "startup",
        "SELECT name FROM startup_items JOIN hash USING (path)",
        &severities,
    );
    let broken = Query::new(None, "broken", "SELEC", &severities);
    let when = When::at(1_795_764_291_123, 1_795_764_300_000);
    let line = |event: &Event<'_>| {
        let mut line = serde_json::to_value(event).unwrap();
        for name in ["id", "dedupe_key"] {
            let digest = line.as_object_mut().unwrap().remove(name).unwrap();
            assert_eq!(digest.as_str().unwrap().len(), 32);
        }
        line
    };
    let reply = Reply {
        host: &host,
        query: &asked,
        when,
    };
    let about = json!({
        "id": 1, "uuid": "4C4C", "hostname": "web-01", "display_name": "Web 1", "platform": "ubuntu",
        "status": "online", "last_seen": "2026-11-27T07:00:00Z",
    });
    assert_eq!(
        line(&fleet.row(reply, row(r#"{"name":"a"}"#), Change::Added, 0)),
        json!({
            "time": "2026-11-27T07:24:51.123Z", "observed_at": "2026-11-27T07:25:00.000Z",
            "category": "endpoint", "kind": "query_row", "source": ALL[0].name, "severity": "high",
            "title": "startup: a new row on web-01", "hostname": "web-01", "host": about,
            "osquery_table": "startup_items", "osquery_tables": ["startup_items", "hash"],
            "query": {"id": 7, "name": "startup", "sql": "SELECT name FROM startup_items JOIN hash USING (path)"},
            "row": {"name": "a"}, "change": "added",
        })
    );
    let unread = line(&fleet.row(
        Reply {
            query: &broken,
            ..reply
        },
        row("{}"),
        Change::Present,
        0,
    ));
    assert_eq!(unread["severity"], "medium");
    assert_eq!(
        unread["tables_unknown"],
        "SQLite does not understand its SQL: near \"SELEC\": syntax error"
    );
    assert_eq!(
        (&unread["row"], unread.get("osquery_tables")),
        (&json!({}), None)
    );
    assert_eq!(
        line(&fleet.host(&host, Status::Missing, when)),
        json!({
            "time": "2026-11-27T07:24:51.123Z", "observed_at": "2026-11-27T07:25:00.000Z",
            "category": "endpoint", "kind": "host", "source": ALL[0].name, "severity": "medium",
            "title": "web-01 is missing", "hostname": "web-01", "host": about,
        })
    );
    let error = line(&fleet.error(reply, "no such column: cwd"));
    assert_eq!(
        (&error["kind"], &error["severity"], &error["error"]),
        (
            &json!("query_error"),
            &json!("info"),
            &json!("no such column: cwd")
        )
    );
    let clipped = line(&fleet.clipped(&asked, when));
    assert_eq!(
        (
            &clipped["kind"],
            &clipped["severity"],
            clipped.get("hostname")
        ),
        (&json!("report_clipped"), &json!("medium"), None)
    );
}
