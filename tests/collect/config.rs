//! What a connector may say, what is refused of it and in which words; the check of the connection.

use osquery_simulator::{FLEET_OBSERVER_TOKEN, HostSpec, Scenario};
use serde_json::{Value, json};

use super::{Connector, fleet, told};
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, WRONG_TOKEN, on_those};
use crate::harness::{args, step};

#[test]
fn what_a_connector_says_wrong_is_told_with_its_place() {
    let base =
        "connector: fleetdm\nbase_url: https://fleet.example\napi_token: '{{ secrets.t }}'\n";
    for (text, status, words) in [
        (String::new(), 10, "error[decode]: stdin is empty: expected a connector's configuration"),
        ("[a]".into(), 10, "found a list"),
        (format!("{base}connector: fleetdm\n"), 10, "line 4"),
        (format!("{base}---\n{base}"), 10, "a second document begins here: stdin holds exactly one"),
        (format!("{base}stream: [hosts]\n"), 11, "line 4, column 1): unknown key `stream`"),
        (format!("{base}environment: prod\n"), 11, "`environment` is for osctrl only: remove it, Fleet has none"),
        (format!("{base}include_hidden: true\n"), 11, "`include_hidden` is for osctrl only"),
        (format!("{base}rows: some\n"), 11, "`rows` must be one of `new`, `changes`, `all`"),
        (format!("{base}streams: []\n"), 11, "`streams` is an empty list"),
        (format!("{base}queries: ['a*b']\n"), 11, "a `*` may only stand at its ends"),
        (format!("{base}since_seconds: -1\n"), 11, "`since_seconds` must be a whole number from 0 to 31536000"),
        (format!("{base}timeout_seconds: 9999\n"), 11, "`timeout_seconds` must be a whole number from 1 to 900"),
        (format!("{base}severity_overrides: {{users: worst}}\n"), 11, "must be one of `info`, `low`"),
        (format!("{base}team_id: true\n"), 11, "`team_id` must be a whole number"),
        (format!("{base}queries: ['{{{{ alert.q }}}}']\n"), 12, "`queries[0]` takes no expression"),
        (format!("{base}rows: new\n").replace("fleetdm", "osctrl"), 11, "`environment` is required for osctrl"),
        ("connector: osctrl\nenvironment: e\nbase_url: https://o.example\napi_token: t0k3n\nstreams: [hosts]\n".into(), 11, "the stream `hosts` is for Fleet only"),
        ("connector: fleet\nbase_url: https://f.example\n".into(), 11, "no credentials: give `api_token`"),
        ("base_url: https://f.example\napi_token: t\n".into(), 11, "`connector` is required: `fleetdm` or `osctrl`"),
        (base.replace("{{ secrets.t }}", "{{ secrets.other }}"), 12, "`api_token`: "),
        (base.replace("https", "http"), 14, "`base_url` is plain http to another machine"),
        ("instance: corp\n".into(), 14, "`instance` names a server of the operator's policy"),
        ("instance: corp\nbase_url: https://f.example\n".into(), 11, "`base_url` does not go with `instance`"),
    ] {
        let ran = step(&text)
            .arg("collect")
            .env("OSQUERY_LIVE_QUERY_SECRET_T", "token")
            .run();
        assert_eq!((ran.status, &*ran.stdout), (status, ""), "{text}: {ran:?}");
        assert!(ran.stderr.replace("line 4, column 1: ", "line 4, column 1): ").contains(words) || ran.stderr.contains(words.split("): ").last().expect("words")), "{text}: {}", ran.stderr);
        assert!(!ran.stderr.contains("step") && !ran.stderr.contains("params"), "{}", ran.stderr);
        // The same in a file, which is not called stdin.
        let folder = Folder::new();
        let of_file = args(["collect"])
            .arg(folder.file("connector.yaml", &text))
            .env("OSQUERY_LIVE_QUERY_SECRET_T", "token")
            .run();
        let said = ran.stderr.replace("stdin is empty", "the file is empty");
        let said = said.replace("stdin holds", "the file holds");
        assert_eq!((of_file.status, &*of_file.stderr), (status, &*said), "{text}");
    }
}

/// A file is read as stdin is, and only one of them.
#[test]
fn a_connector_may_stand_in_a_file() {
    let site = fleet(Scenario::of([HostSpec::named("web-01")]));
    let folder = Folder::new();
    let connector = Connector::of(Kind::Fleet, &site.simulator);
    let file = folder.file("connector.yaml", connector.text());
    let linked = folder.at("link.yaml");
    std::os::unix::fs::symlink(&file, &linked).expect("a link");
    for (name, stdin) in [
        (file, "not: {looked at"),
        (linked, ""),
        ("-".into(), &*connector.text()),
    ] {
        let ran = step(stdin)
            .arg("collect")
            .arg(&name)
            .env("OSQUERY_LIVE_QUERY_SECRET_TOKEN", FLEET_OBSERVER_TOKEN)
            .run();
        let polled = super::Polled::of(ran).whole();
        assert_eq!(polled.told(), told(["host web-01 online"]), "{name:?}");
    }
}

#[test]
fn the_policy_holds_for_connectors_too() {
    let site = fleet(Scenario::of([HostSpec::named("web-01")]));
    let folder = Folder::new();
    folder.policy(&format!(
        "require_instance: true\nmax_timeout_seconds: 60\ninstances:\n  corp:\n    backend: fleet\n    base_url: {}\n    credentials: {{api_token: {{env: CORP}}}}\n",
        site.simulator.base_url()
    ));
    let policy = |connector: Connector| connector.arg("--policy").arg(folder.name("policy.yaml"));
    let own = policy(Connector::of(Kind::Fleet, &site.simulator))
        .binary()
        .run();
    assert_eq!(own.status, 14, "{own:?}");
    assert!(own.stderr.contains("`require_instance: true`"), "{own:?}");
    let mut named = Connector::of(Kind::Fleet, &site.simulator);
    for field in ["connector", "base_url", "api_token"] {
        named = named.without(field);
    }
    let named = policy(named.with("instance", "corp"));
    let polled = named.binary().env("CORP", FLEET_OBSERVER_TOKEN).run();
    site.assert_no_secret(&polled);
    let polled = super::Polled::of(polled).whole();
    assert_eq!(polled.told(), told(["host web-01 online"]));
    let long = named
        .with("timeout_seconds", 61)
        .binary()
        .env("CORP", "x")
        .run();
    assert_eq!(long.status, 14, "{long:?}");
    assert!(
        long.stderr.contains("`max_timeout_seconds` of 60"),
        "{long:?}"
    );
}

#[test]
fn a_check_polls_nothing() {
    on_those(Kind::is_collected, |kind| {
        let site = Site::new(kind, Scenario::of([HostSpec::named("web-01")]));
        let check = Connector::of(kind, &site.simulator).arg("--check");
        let ran = check.binary().run();
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
        let line: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(
            (&line["kind"], &line["ok"]),
            (&json!("check"), &json!(true))
        );
        let paths: Vec<String> = site
            .seen()
            .requests
            .iter()
            .map(|it| it.path.clone())
            .collect();
        match kind {
            Kind::Fleet => assert_eq!(paths, ["/api/v1/fleet/me"]),
            Kind::Osctrl => assert_eq!(
                paths,
                [
                    "/api/v1/checks-auth",
                    "/api/v1/nodes/dev?page=1&page_size=1"
                ]
            ),
            Kind::AisocDirect => unreachable!("it has nothing that is polled"),
        }
        let wrong = Connector {
            token: WRONG_TOKEN,
            ..check
        };
        let ran = wrong.binary().run();
        site.assert_no_secret(&ran);
        assert_eq!((ran.status, &*ran.stdout), (20, ""), "{ran:?}");
    });
}

#[test]
fn a_token_that_is_wrong_ends_every_stream() {
    on_those(Kind::is_collected, |kind| {
        let site = Site::new(kind, Scenario::of([HostSpec::named("web-01")]));
        let poll = Connector {
            token: WRONG_TOKEN,
            ..Connector::of(kind, &site.simulator)
        };
        let polled = poll.poll();
        site.assert_no_secret(&polled.ran);
        assert_eq!(polled.ran.status, 20, "{:?}", polled.ran);
        for (_, stream) in polled.summary["streams"].as_object().expect("streams") {
            assert_eq!(stream["error"]["code"], "auth");
        }
    });
}

#[test]
fn severities_are_the_operators_to_change() {
    let mut scenario = Scenario::of([HostSpec::named("web-01")]);
    let report = osquery_simulator::ReportSpec::of("users", "SELECT username FROM users");
    let row = json!({"username": "anna"});
    let rows = vec![row.as_object().cloned().unwrap_or_default()];
    scenario.fleet.reports = vec![report.with_rows("web-01", rows)];
    let site = fleet(scenario);
    let poll = Connector::of(Kind::Fleet, &site.simulator).with("streams", vec!["queries"]);
    let severity = |poll: &Connector| poll.poll().whole().events[0]["severity"].clone();
    assert_eq!(severity(&poll), "medium");
    let low = poll.with("severity_overrides", json!({"users": "low"}));
    assert_eq!(severity(&low), "low");
}

#[test]
fn the_summary_may_be_left_out() {
    let site = fleet(Scenario::of([HostSpec::named("web-01")]));
    let poll = Connector::of(Kind::Fleet, &site.simulator).arg("--no-summary");
    let ran = poll.binary().run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
    let lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 1, "{ran:?}");
    assert_eq!(lines[0]["kind"], "host");
}

#[test]
fn wrong_flags_are_text() {
    let ran = args(["collect", "--check", "--state", "x"]).run();
    assert_eq!((ran.status, &*ran.stdout), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("cannot be used with"), "{ran:?}");
}
