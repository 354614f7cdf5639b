//! Where the websocket is refused: one call a host, and what that changes.

use osquery_simulator::{Answer as Scripted, Cut, Fault};

use super::*;

fn without_websocket(hosts: impl IntoIterator<Item = HostSpec>) -> Scenario {
    let mut scenario = Scenario::of(hosts).with_fault(Fault::on("results/websocket").status(400));
    scenario.fleet.rest_wait = Duration::from_millis(300);
    scenario
}

#[tokio::test]
async fn hosts_are_asked_one_by_one_and_it_is_said_what_that_costs() {
    let mut bench = Bench::new(without_websocket([
        host("rows"),
        host("none").answering(Scripted::None),
        host("error").answering(Scripted::Error("no such table: nope".into())),
        host("odd").answering(Scripted::RawRows(r#"[{"a":["b"]}]"#.into())),
        host("garbled").answering(Scripted::RawRows("[{".into())),
    ]))
    .await;
    let asked = bench
        .ask(&["rows", "none", "error", "odd", "garbled"])
        .await;
    assert_eq!(asked.unwrap(), Asked::OneByOne);
    let warnings = bench.warnings.text();
    assert!(
        warnings.contains("refused the websocket (HTTP 400)"),
        "{warnings}"
    );
    assert!(warnings.contains("25 s unless configured"), "{warnings}");
    let mut announced = 0;
    let mut answers = BTreeMap::new();
    loop {
        match bench.next().await.unwrap() {
            Event::Asked(_) => announced += 1,
            Event::Answered { host, answer } => {
                assert!(answers.insert(host.to_string(), answer).is_none());
            }
            Event::Offline(host) | Event::Unknown(host) | Event::NotAsked(host) => {
                panic!("{host:?} is online")
            }
            Event::Exhausted => break,
        }
    }
    assert_eq!((announced, answers.len()), (5, 5));
    assert_answer_of(&answers["1"], "rows");
    assert_eq!(rows(&answers["2"]), json!([]));
    assert_eq!(error(&answers["3"]), "no such table: nope");
    assert!(error(&answers["4"]).starts_with("the answer could not be read: "));
    assert!(error(&answers["5"]).starts_with("the answer could not be read: "));
    assert!(!bench.fleet.may_be_running(true));
    assert_eq!(bench.fleet.campaign_id(), None);
}

#[tokio::test]
async fn a_host_that_is_slower_than_the_servers_wait_is_asked_again() {
    let silent =
        r#"{"host_id":1,"rows":null,"status":"online","error":"timeout waiting for results"}"#;
    let scenario = without_websocket([host("slow")])
        .with_fault(Fault::on("hosts/1/query").times(2).body(silent));
    let mut bench = Bench::new(scenario).await;
    bench.ask(&["slow"]).await.unwrap();
    let begun = Instant::now();
    let answers = bench.answers(1).await;
    assert_answer_of(&answers["1"], "slow");
    assert_eq!(
        bench
            .observed()
            .requests_to("POST", "hosts/1/query")
            .count(),
        3
    );
    // A server whose own wait is configured away is not hammered.
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn an_offline_host_is_said_to_be_once_and_online_ones_do_not_wait_for_it() {
    let offline = HostSpec::many(30, "away-{n}").offline();
    let mut bench = Bench::new(without_websocket([offline, host("here")])).await;
    let everyone = Targets {
        labels: vec!["All Hosts".into()],
        ..Targets::default()
    };
    let hosts = bench.resolve(&everyone).await.unwrap().grouped;
    assert_eq!(hosts.last().unwrap().hostname(), "here");
    bench.fleet.start(&statement(), &hosts).await.unwrap();
    let (mut offline, mut answered) = (Vec::new(), false);
    let mut first = None;
    while offline.len() < 30 || !answered {
        match bench.next().await.unwrap() {
            Event::Asked(host) => first = first.or(Some(host)),
            Event::Offline(host) => offline.push(host),
            Event::Unknown(host) | Event::NotAsked(host) => panic!("{host:?} was found"),
            Event::Answered { host, .. } => {
                assert_eq!(host.text(), "31");
                answered = true;
            }
            Event::Exhausted => panic!("the offline hosts may come back"),
        }
    }
    assert_eq!(first.unwrap().text(), "31");
    offline.sort();
    offline.dedup();
    assert_eq!(offline.len(), 30);
}

#[tokio::test]
async fn no_more_than_twenty_calls_are_under_way() {
    let mut bench = Bench::new(without_websocket([
        HostSpec::many(50, "mute-{n}").answering(Scripted::Silent)
    ]))
    .await;
    let everyone = Targets {
        labels: vec!["All Hosts".into()],
        ..Targets::default()
    };
    let hosts = bench.resolve(&everyone).await.unwrap().grouped;
    bench.fleet.start(&statement(), &hosts).await.unwrap();
    for _ in 0..50 {
        assert!(matches!(bench.next().await.unwrap(), Event::Asked(_)));
    }
    let most = bench
        .observed()
        .requests_to("POST", "/query")
        .map(|it| it.connection)
        .max();
    assert!(most.unwrap() <= 20 + 3, "{most:?} connections");
    assert!(bench.fleet.may_be_running(false));
}

#[tokio::test]
async fn a_server_without_the_call_by_id_is_asked_by_uuid() {
    let by_id = Fault::on_method("POST", "hosts/1/query").status(404);
    let mut bench = Bench::new(without_websocket([host("a")]).with_fault(by_id)).await;
    bench.ask(&["a"]).await.unwrap();
    assert_answer_of(&bench.answers(1).await["1"], "a");
    assert_eq!(
        bench
            .observed()
            .requests_to("POST", "hosts/identifier/")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_host_that_is_gone_or_keeps_failing_is_given_up_with_a_word() {
    let scenario = without_websocket([host("gone"), host("failing"), host("good")])
        .with_fault(
            Fault::on("hosts/1/query")
                .status(400)
                .body(r#"{"message":"host not found"}"#),
        )
        .with_fault(
            Fault::on("hosts/2/query")
                .status(500)
                .body(r#"{"message":"boom"}"#),
        );
    let mut bench = Bench::new(scenario).await;
    bench.ask(&["gone", "failing", "good"]).await.unwrap();
    let mut answered = Vec::new();
    loop {
        match bench.next().await.unwrap() {
            Event::Answered { host, .. } => answered.push(host.to_string()),
            Event::Exhausted => break,
            Event::Asked(_) | Event::NotAsked(_) | Event::Offline(_) | Event::Unknown(_) => {}
        }
    }
    assert_eq!(answered, ["3"]);
    let warnings = bench.warnings.text();
    assert!(warnings.contains("gone is not asked again: "), "{warnings}");
    assert!(warnings.contains("HTTP 400: host not found"), "{warnings}");
    assert!(
        warnings.contains("failing is not asked again: "),
        "{warnings}"
    );
    assert!(warnings.contains("HTTP 500: boom"), "{warnings}");
}

#[tokio::test]
async fn a_role_that_may_not_run_is_an_error_of_the_whole() {
    let refused = Fault::on("hosts/1/query")
        .status(403)
        .body(r#"{"message":"forbidden"}"#);
    let mut bench = Bench::new(without_websocket([host("a")]).with_fault(refused)).await;
    bench.ask(&["a"]).await.unwrap();
    assert!(matches!(bench.next().await.unwrap(), Event::Asked(_)));
    let error = bench.next().await.unwrap_err();
    assert!(matches!(error, BackendError::Auth { .. }));
    assert!(words(&error).contains("maintainer or admin"), "{error}");
}

#[tokio::test]
async fn an_upgrade_that_is_never_answered_is_given_up_in_time() {
    let hang = Fault {
        hang: true,
        ..Fault::on("results/websocket")
    };
    let scenario = Scenario::of([host("a")]).with_fault(hang);
    let token = Credentials::Token(Secret::new(FLEET_ADMIN_TOKEN.into()));
    let mut bench = Bench::until(scenario, token, Duration::from_secs(3)).await;
    assert_eq!(bench.ask(&["a"]).await.unwrap(), Asked::OneByOne);
    assert_answer_of(&bench.answers(1).await["1"], "a");
    let warnings = bench.warnings.text();
    assert!(
        warnings.contains("refused the websocket (no answer within "),
        "{warnings}"
    );
}

#[tokio::test]
async fn a_connection_that_is_cut_for_its_upgrade_is_a_refusal_too() {
    let scenario =
        Scenario::of([host("a")]).with_fault(Fault::on("results/websocket").cut(Cut::Before));
    let mut bench = Bench::new(scenario).await;
    assert_eq!(bench.ask(&["a"]).await.unwrap(), Asked::OneByOne);
    assert_answer_of(&bench.answers(1).await["1"], "a");
    let warnings = bench.warnings.text();
    assert!(warnings.contains("the connection was closed"), "{warnings}");
}
