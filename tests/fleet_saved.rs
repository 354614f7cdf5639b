//! Least privilege on Fleet, through the real binary: a token that may run nothing but saved queries, and a
//! policy that wants nothing else.

use std::io::{Read, Write};

use osquery_simulator::{
    FLEET_MAINTAINER_TOKEN, FLEET_OBSERVER_TOKEN, Fault, Paths, Scenario, SocketClose, SocketFault,
};
use serde_json::{Value, json};

use crate::harness::Ran;
use crate::harness::document::SavedQuery;
use crate::harness::folder::Folder;
use crate::harness::site::{Kind, Site, Step, host, on_all, silent};

/// Saves a query as the maintainer; its id.
fn save(site: &Site, name: &str, sql: &str, observer_can_run: bool) -> u64 {
    let body = json!({
        "name": name, "query": sql, "observer_can_run": observer_can_run, "interval": 0,
    })
    .to_string();
    let mut stream = std::net::TcpStream::connect(site.simulator.addr()).expect("a connection");
    write!(
        stream,
        "POST /api/v1/fleet/{} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {FLEET_MAINTAINER_TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        folder(site),
        body.len()
    )
    .expect("the call is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let saved: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    let query = saved.get("query").or(saved.get("report"));
    query.expect("a query")["id"].as_u64().expect("an id")
}

/// `queries`, or what they are called since 4.82.
fn folder(site: &Site) -> &'static str {
    let seen = site.seen();
    match seen.requests_to("POST", "/reports/run").count() {
        0 => "queries",
        _ => "reports",
    }
}

/// The statement that the step becomes.
fn statement(step: &Step) -> String {
    let ran = step
        .clone()
        .token(FLEET_MAINTAINER_TOKEN)
        .arg("check")
        .binary()
        .run();
    ran.document().planned.expect("a plan").sql
}

fn observer(site: &Site, hosts: &[&str]) -> Step {
    site.step(hosts).token(FLEET_OBSERVER_TOKEN)
}

#[track_caller]
fn assert_saved(ran: &Ran, id: u64, name: &str) {
    let document = ran.document();
    assert_eq!((ran.status, document.partial), (0, false), "{ran:?}");
    let saved = SavedQuery {
        id: id.to_string(),
        name: name.into(),
    };
    assert_eq!(document.campaign().saved_query, Some(saved), "{ran:?}");
}

#[test]
fn an_observer_runs_the_saved_query_that_is_the_statement() {
    for paths in [Paths::Old, Paths::Both] {
        let mut scenario = Scenario::of([host("web-01"), host("web-02")]);
        scenario.fleet.paths = paths;
        let site = Site::new(Kind::Fleet, scenario);
        let step = observer(&site, &["web-01", "web-02"]);
        let sql = statement(&step);
        save(&site, "Another", "SELECT 1", true);
        save(&site, "Almost", &format!("{sql} "), false);
        save(&site, "Almost, too", &sql.to_lowercase(), true);
        let id = save(&site, "Running processes", &sql, true);
        let ran = step.binary().run();
        site.assert_no_secret(&ran);
        assert_saved(&ran, id, "Running processes");
        assert_eq!(ran.stderr, "", "{paths:?}");
        let seen = site.seen();
        let [refused, run] = &seen
            .requests
            .iter()
            .filter(|request| request.path.ends_with("/run"))
            .filter(|request| !(paths == Paths::Old && request.path.contains("reports")))
            .map(|request| serde_json::from_str::<Value>(&request.body).expect("JSON"))
            .collect::<Vec<_>>()[..]
        else {
            panic!("{:#?}", seen.requests);
        };
        let (named, other) = match paths {
            Paths::Old => ("query_id", "report_id"),
            _ => ("report_id", "query_id"),
        };
        assert_eq!((&refused["query"], refused.get(named)), (&json!(sql), None));
        assert_eq!((&run[named], run.get(other)), (&json!(id), None));
        assert_eq!(run.get("query"), None, "the server's own text is what runs");
    }
}

/// The saved query is kept through a new campaign, and where each host is asked by a call of its own.
#[test]
fn the_saved_query_is_run_again_after_a_broken_stream_and_without_a_websocket() {
    let breaks = Fault::on("results/websocket").socket(SocketFault {
        after_results: 1,
        close: Some(SocketClose::Cut),
        ..SocketFault::default()
    });
    for (campaigns, fault) in [
        // However many sockets were opened before: each is cut with its first result.
        (2, breaks),
        (2, Fault::on("results/websocket").status(403)),
    ] {
        let slow = host("web-02").delayed(std::time::Duration::from_secs(5));
        let site = Site::new(
            Kind::Fleet,
            Scenario::of([host("web-01"), slow]).with_fault(fault),
        );
        let step = observer(&site, &["web-01", "web-02"]);
        let sql = statement(&step);
        let id = save(&site, "Running processes", &sql, true);
        let ran = step.binary().run();
        site.assert_no_secret(&ran);
        assert_saved(&ran, id, "Running processes");
        let seen = site.seen();
        assert!(seen.campaigns.len() >= campaigns, "{:?}", seen.campaigns);
        assert!(seen.campaigns.iter().all(|campaign| campaign.sql == sql));
    }
}

#[test]
fn where_there_is_none_the_error_says_which_sql_to_save() {
    on_all([false, true], |without_websocket| {
        on_all([None, Some(false)], |saved| {
            let mut scenario = Scenario::of([host("web-01")]);
            if without_websocket {
                let refused = Fault::on("results/websocket").status(403);
                scenario = scenario.with_fault(refused);
            }
            let site = Site::new(Kind::Fleet, scenario);
            let step = observer(&site, &["web-01"]);
            let sql = statement(&step);
            if let Some(open) = saved {
                save(&site, "Closed", &sql, open);
            }
            for verb in [None, Some("check")] {
                let mut step = step.clone();
                if let Some(verb) = verb {
                    step = step.arg(verb);
                }
                let ran = step.binary().run();
                site.assert_no_secret(&ran);
                let error = ran.document().error.expect("an error");
                assert_eq!((ran.status, &*error.code), (20, "auth"), "{ran:?}");
                let hint = error.hint.unwrap_or_default();
                match saved {
                    None => assert!(hint.contains(&sql), "{hint}"),
                    Some(_) => assert!(
                        hint.contains("`observer_can_run` on the saved query `Closed`"),
                        "{hint}"
                    ),
                }
            }
            assert!(site.seen().campaigns.is_empty());
        });
    });
}

#[test]
fn a_check_finds_the_saved_query() {
    let site = Site::new(Kind::Fleet, Scenario::of([host("web-01")]));
    let step = observer(&site, &["web-01"]);
    save(&site, "Running processes", &statement(&step), true);
    let ran = step.arg("check").binary().run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "{}", ran.stdout);
    assert!(ran.document().planned.is_some());
}

/// A maintainer's token is held to it, too; an instance may say so for itself.
#[test]
fn a_policy_may_want_nothing_but_saved_queries() {
    let site = Site::new(Kind::Fleet, Scenario::of([host("web-01")]));
    let url = site.simulator.base_url();
    let of_all = "saved_queries_only: true\n".to_owned();
    let of_instance = format!(
        "instances:\n  main:\n    backend: fleetdm\n    base_url: \"{url}\"\n    saved_queries_only: true\n    credentials: {{api_token: {{env: OF_INSTANCE}}}}\n"
    );
    let sql = statement(&site.step(&["web-01"]));
    for saved in [false, true] {
        if saved {
            save(&site, "Running processes", &sql, true);
        }
        for (policy, instance) in [(&of_all, false), (&of_instance, true)] {
            let folder = Folder::new();
            folder.policy(policy);
            let mut step = site
                .step(&["web-01"])
                .arg("--policy")
                .arg(&folder.name("policy.yaml"));
            if instance {
                for written in ["backend", "base_url", "api_token"] {
                    step = step.without(written);
                }
                step = step.with("instance", "main");
            }
            let ran = step
                .binary()
                .env("OF_INSTANCE", FLEET_MAINTAINER_TOKEN)
                .run();
            site.assert_no_secret(&ran);
            if saved {
                assert_saved(&ran, 1, "Running processes");
            } else {
                let error = ran.document().error.expect("an error");
                assert_eq!((ran.status, &*error.code), (20, "auth"), "{ran:?}");
                assert!(
                    error.message.contains("`saved_queries_only`"),
                    "{}",
                    error.message
                );
                assert!(error.hint.unwrap_or_default().contains(&sql));
            }
        }
    }
    let ad_hoc = site
        .seen()
        .requests
        .iter()
        .filter(|it| it.body.contains("\"query\":\"SELECT"))
        .count();
    assert_eq!(ad_hoc, 1, "only the one that saved it");
}

/// osctrl can't keep the promise: it is refused before a socket is opened.
#[test]
fn a_server_that_runs_no_saved_queries_is_refused_by_such_a_policy() {
    let site = Site::new(Kind::Osctrl, Scenario::of([silent("web-01")]));
    let folder = Folder::new();
    folder.policy("saved_queries_only: true\n");
    let ran = site
        .step(&["web-01"])
        .arg("--policy")
        .arg(&folder.name("policy.yaml"))
        .binary()
        .run();
    site.assert_no_secret(&ran);
    let error = ran.document().error.expect("an error");
    assert_eq!((ran.status, &*error.code), (14, "policy"), "{ran:?}");
    assert!(
        error.message.contains("`saved_queries_only: true`"),
        "{}",
        error.message
    );
    assert_eq!(site.seen().connections, 0);
}
