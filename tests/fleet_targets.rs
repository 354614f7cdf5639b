//! `target_teams` and `target_host_ids` with Fleet, and one text that holds the names of several hosts.

use osquery_simulator::{Endpoints, FleetUser, HostSpec, Role, Scenario, ServerVersion, Team};
use serde_json::{Value, json};

use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, Step, host, on_all, on_every, one_row};
use crate::harness::{Ran, step};

const VERSIONS: [ServerVersion; 2] = [ServerVersion::FLEET_2025, ServerVersion::FLEET_2026];

fn in_team(name: &str, team: u64) -> HostSpec {
    HostSpec {
        team_id: Some(team),
        ..host(name)
    }
}

fn scenario(version: ServerVersion) -> Scenario {
    let mut scenario = Scenario::of([
        in_team("web-01", 7),
        in_team("web-02", 7),
        in_team("mac-01", 7).on("darwin"),
        in_team("db-01", 8),
        host("plain-01"),
    ]);
    scenario.fleet.version = Some(version);
    scenario.fleet.teams = [(7, "Workstations"), (8, "Databases")]
        .map(|(id, name)| Team {
            id,
            name: name.into(),
        })
        .into();
    scenario
}

fn site(version: ServerVersion) -> Site {
    Site::new(Kind::Fleet, scenario(version))
}

fn without_hosts(site: &Site) -> Step {
    site.step(&[]).without("target_hosts")
}

#[track_caller]
fn assert_answered(ran: &Ran, names: &[&str]) {
    let document = ran.document();
    assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
    let mut answered: Vec<&str> = document.results.keys().map(String::as_str).collect();
    answered.sort_unstable();
    assert_eq!(answered, names);
}

/// Whole: status, code, message and hint.
#[track_caller]
fn assert_refused(ran: &Ran, status: i32, code: &str, message: &str, hint: Option<&str>) {
    let error = ran.document().error.expect("an error");
    assert_eq!((ran.status, &*error.code), (status, code), "{ran:?}");
    let said = match &*error.details {
        [one] => &one.message,
        _ => &error.message,
    };
    assert_eq!(said, message);
    assert_eq!(error.hint.as_deref(), hint);
}

#[test]
fn the_hosts_of_a_team_are_asked_whatever_the_server_calls_teams() {
    on_all(VERSIONS, |version| {
        let site = site(version);
        let step = without_hosts(&site);
        let ran = step
            .clone()
            .with("target_teams", json!(["workstations"]))
            .binary()
            .run();
        assert_answered(&ran, &["mac-01", "web-01", "web-02"]);
        // One name, one platform; and hosts that are named beside a team.
        let narrowed = step.clone().with("target_teams", "Workstations");
        let narrowed = narrowed
            .with("target_platforms", json!(["darwin"]))
            .binary()
            .run();
        assert_answered(&narrowed, &["mac-01"]);
        let both = site
            .step(&["plain-01"])
            .with("target_teams", json!(["Databases"]));
        assert_answered(&both.binary().run(), &["db-01", "plain-01"]);
        let labels = step.with("target_teams", json!(["Databases"]));
        let labels = labels
            .with("target_labels", json!(["macOS"]))
            .binary()
            .run();
        assert_answered(&labels, &["db-01", "mac-01"]);
        let seen = site.seen();
        let wrong = match version {
            ServerVersion::FLEET_2025 => "?fleet_id=",
            _ => "?team_id=",
        };
        assert_eq!(seen.requests_to("GET", wrong).count(), 0, "{version}");
    });
}

#[test]
fn a_team_that_nobody_knows_is_told_with_the_one_that_was_meant() {
    on_all(VERSIONS, |version| {
        let site = site(version);
        let step = without_hosts(&site).with("target_teams", json!(["Workstation", "Databases"]));
        let origin = site.simulator.base_url();
        let message = format!(
            "the team `Workstation` does not exist at Fleet at {origin}, or this user can't see it"
        );
        let hint = "is `Workstations` meant? `fleetctl get teams` lists them all";
        assert_refused(&step.binary().run(), 21, "targets", &message, Some(hint));
        assert!(site.seen().campaigns.is_empty());
    });
}

#[test]
fn a_server_without_teams_and_a_token_that_may_not_see_them_say_so() {
    let site = Site::new(Kind::Fleet, Scenario::of([host("web-01")]));
    let step = without_hosts(&site).with("target_teams", json!(["Workstations"]));
    let ran = step.binary().run();
    let error = ran.document().error.expect("an error");
    assert_eq!((ran.status, &*error.code), (21, "targets"), "{ran:?}");
    assert!(
        error.message.contains("has no teams: "),
        "{}",
        error.message
    );
    assert!(error.message.contains("Premium"), "{}", error.message);

    let mut limited = scenario(ServerVersion::FLEET_2026);
    let mut user = FleetUser::with_token("Responder", Role::ObserverPlus, "marker-limited");
    let listed = ["GET hosts", "GET labels/summary", "POST reports/run"];
    user.endpoints = Some(Endpoints::These(listed.map(str::to_owned).into()));
    limited.fleet.users = vec![user];
    let site = Site::new(Kind::Fleet, limited);
    let step = without_hosts(&site).token("marker-limited");
    let ran = step
        .with("target_teams", json!(["Workstations"]))
        .binary()
        .run();
    let error = ran.document().error.expect("an error");
    assert_eq!((ran.status, &*error.code), (20, "auth"), "{ran:?}");
    assert!(error.message.contains("/fleets"), "{}", error.message);
}

#[test]
fn hosts_are_asked_by_the_ids_of_a_webhook_and_stand_under_them() {
    on_all(VERSIONS, |version| {
        let site = site(version);
        let step = without_hosts(&site);
        let context = json!({"alert": {"host_ids": [1, 4, 1, 4_000_000]}});
        let step = step.with("target_host_ids", "{{ alert.host_ids }}");
        let ran = step.context(context).binary().run();
        let document = ran.document();
        assert_eq!((ran.status, document.partial), (0, true), "{ran:?}");
        let statuses = [("1", "ok"), ("4", "ok"), ("4000000", "unknown")];
        assert_eq!(document.statuses(), statuses.into());
        assert_eq!(document.timed_out_hosts, ["4000000"]);
        let whole: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(whole["hosts"]["1"]["hostname"], "web-01");
        assert_eq!(whole["hosts"]["4"]["hostname"], "db-01");
        assert_eq!(site.seen().campaigns[0].hosts.len(), 2);
    });
}

#[test]
fn ids_are_written_in_every_way_and_many_are_found_in_the_list() {
    let site = Site::new(
        Kind::Fleet,
        Scenario::of([
            HostSpec::many(300, "web-{n}").answering(one_row()),
            host("named"),
        ]),
    );
    for (written, found) in [
        (json!(7), 1),
        (json!("7"), 1),
        (json!([7, "8"]), 2),
        (json!(["{{ alert.id }}", 8]), 2),
        (json!((1..=300).collect::<Vec<u64>>()), 300),
    ] {
        let step = without_hosts(&site).with("target_host_ids", written.clone());
        let step = step.context(json!({"alert": {"id": 7}}));
        let ran = step.binary().run();
        let document = ran.document();
        assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
        assert_eq!(document.results.len(), found, "{written}");
    }
    // The same host by its name and by its id: asked once, told under both.
    let step = site.step(&["named"]).with("target_host_ids", json!([301]));
    assert_answered(&step.clone().binary().run(), &["301", "named"]);
    let seen = site.seen();
    assert_eq!(seen.campaigns.last().expect("a campaign").hosts.len(), 1);
    // Each id is one small request, hundreds are a page.
    assert!(seen.requests_to("GET", "/hosts/").count() < 10);
}

#[test]
fn what_can_not_be_meant_is_refused_before_the_network() {
    const NUMBER: &str = "must be the number that the server has for a host, such as 17";
    for (field, value, code, message) in [
        ("target_host_ids", json!([0]), "schema", format!("`target_host_ids[0]` {NUMBER}")),
        ("target_host_ids", json!([1.5]), "schema", format!("`target_host_ids[0]` {NUMBER}")),
        ("target_host_ids", json!(["web-01"]), "schema", format!("`target_host_ids[0]` {NUMBER}")),
        ("target_host_ids", json!("web-01"), "schema", format!("`target_host_ids` {NUMBER}")),
        ("target_host_ids", json!(true), "schema", format!("`target_host_ids` {NUMBER}")),
        ("target_host_ids", json!("{{ alert.host }}"), "schema", format!("`target_host_ids[0]` {NUMBER}")),
        ("target_host_ids", json!([]), "schema", "`target_host_ids` is an empty list: name at least one, or remove it".into()),
        ("target_teams", json!([1]), "schema", "`target_teams[0]` must be text, not a number: put it in quotes".into()),
        ("target_teams", json!("{{ alert.host }}"), "render", "`target_teams` takes no expression: an alert must not choose the server, the template or how the step runs; the context is for `target_hosts`, `target_host_ids`, `target_labels`, `template_params`, `timeout_seconds` and `max_hosts`".into()),
    ] {
        let step = Step::of(Kind::Fleet, "https://fleet.example", &["17"]);
        let step = step.without("target_hosts").with(field, value.clone());
        let ran = step.context(json!({"alert": {"host": "web-01"}})).binary().run();
        let status = if code == "schema" { 11 } else { 12 };
        assert_refused(&ran, status, code, &message, None);
    }
    let twice = Step::of(Kind::Fleet, "https://fleet.example", &["17"]);
    let ran = twice.with("target_host_ids", json!([3, 17])).binary().run();
    let message = "`target_host_ids[1]` is in `target_hosts` too: remove it there, because the document has one key for both";
    assert_refused(&ran, 11, "schema", message, None);
    for (field, what) in [
        ("target_teams", "teams"),
        ("target_host_ids", "numbers for its hosts"),
    ] {
        let step = Step::of(Kind::Osctrl, "https://osctrl.example", &["web-01"]);
        let value = if field == "target_teams" {
            json!(["a"])
        } else {
            json!([1])
        };
        let ran = step.with(field, value).binary().run();
        let message = format!("`{field}` is for Fleet only: remove it, osctrl has no {what}");
        assert_refused(&ran, 11, "schema", &message, None);
    }
}

#[test]
fn one_text_with_the_names_of_several_hosts_is_refused_with_the_list_to_write() {
    const LIST: &str = r#"make it a list, `["web-01", "web-02"]`"#;
    on_every(|kind| {
        for (written, path) in [
            (json!("web-01, web-02"), "target_hosts"),
            (json!("web-01,web-02"), "target_hosts"),
            (json!("web-01; web-02"), "target_hosts"),
            (json!(["db-01", "web-01, web-02,"]), "target_hosts[1]"),
        ] {
            let step = Step::of(kind, "https://server.example", &[]);
            let ran = step.with("target_hosts", written).binary().run();
            let list = match ran.stderr.contains("…") {
                true => unreachable!("few names are all told"),
                false => LIST,
            };
            let message = format!("`{path}` is a list of names in one text: {list}");
            assert_refused(&ran, 11, "schema", &message, None);
        }
        for written in [json!("{{ alert.host }}"), json!(["{{ alert.host }}"])] {
            let step = Step::of(kind, "https://server.example", &[]);
            let step = step.with("target_hosts", written.clone());
            let ran = step
                .context(json!({"alert": {"host": "web-01, web-02"}}))
                .binary()
                .run();
            let path = if written.is_string() {
                "target_hosts"
            } else {
                "target_hosts[0]"
            };
            let message =
                format!("`{path}` yields a name that is a list of names in one text: {LIST}");
            assert_refused(&ran, 12, "render", &message, None);
        }
    });
    // A label may be called so.
    let labelled = host("web-01").labelled("Web, EU");
    let site = Site::new(Kind::Fleet, Scenario::of([labelled]));
    let step = without_hosts(&site).with("target_labels", json!(["Web, EU"]));
    assert_answered(&step.binary().run(), &["web-01"]);
}

/// The schema does not know what kind of server an instance is.
#[test]
fn an_instance_of_another_kind_takes_no_teams() {
    let policy = "instances: {corp: {backend: osctrl, base_url: 'https://osctrl.example', environment: dev, credentials: {api_token: {env: T}}}}";
    for (field, value, what) in [
        ("target_teams", json!(["a"]), "teams"),
        ("target_host_ids", json!([1]), "numbers for its hosts"),
    ] {
        let folder = Folder::new();
        let file = folder.policy(policy);
        let document = json!({"type": "osquery_live_query", "params": {
            "instance": "corp", "template": "running_processes", field: value,
        }});
        let ran = step(document.to_string())
            .arg("--policy")
            .arg(&file)
            .env("T", "marker-of-an-instance")
            .run();
        let message = format!("`{field}` is for Fleet only: remove it, osctrl has no {what}");
        assert_refused(&ran, 11, "schema", &message, None);
    }
}
