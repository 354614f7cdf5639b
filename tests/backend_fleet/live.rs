//! A campaign on the results socket: what is heard, what a broken stream costs, and how it ends.

use osquery_simulator::{Answer as Scripted, Campaign, CampaignState, Cut, Fault, Huge, Paths};
use osquery_simulator::{ServerVersion, SocketClose, SocketFault};

use super::*;

/// As scripted, with a server that notices closed sockets quickly.
fn quick(hosts: impl IntoIterator<Item = HostSpec>) -> Scenario {
    let mut scenario = Scenario::of(hosts);
    scenario.fleet.tick = Duration::from_millis(100);
    scenario
}

fn ended(campaign: &Campaign) -> bool {
    campaign.state != CampaignState::Running
}

fn on_socket(fault: SocketFault) -> Fault {
    Fault::on("results/websocket").socket(fault)
}

fn breaking(after_results: usize, close: SocketClose) -> SocketFault {
    SocketFault {
        after_results,
        close: Some(close),
        ..SocketFault::default()
    }
}

#[tokio::test]
async fn each_host_is_heard_with_rows_with_none_or_with_its_error() {
    let mut bench = Bench::new(quick([
        host("rows"),
        host("none").answering(Scripted::None),
        host("error").answering(Scripted::Error("no such table: nope".into())),
        host("odd").answering(Scripted::RawRows(r#"[{"a":["b"]}]"#.into())),
        host("slow").delayed(Duration::from_millis(300)),
        host("unasked"),
    ]))
    .await;
    let asked = bench.ask(&["rows", "none", "error", "odd", "slow"]).await;
    assert_eq!(asked.unwrap(), Asked::All);
    assert_eq!(bench.fleet.campaign_id().as_deref(), Some("1"));
    let answers = bench.answers(5).await;
    assert_answer_of(&answers["1"], "rows");
    assert_eq!(rows(&answers["2"]), json!([]));
    assert_eq!(error(&answers["3"]), "no such table: nope");
    assert!(error(&answers["4"]).starts_with("the answer could not be read: "));
    assert_answer_of(&answers["5"], "slow");
    assert!(!bench.fleet.may_be_running(true));

    let observed = bench.observed();
    let campaign = &observed.campaigns[0];
    assert_eq!(campaign.sql, "SELECT * FROM processes LIMIT 2");
    assert_eq!(campaign.hosts.len(), 5);
    // Listened to from its first moment: no answer was sent twice.
    assert_eq!((campaign.refused, campaign.lost), (0, 0));
    let begun = Instant::now();
    bench.stop(true).await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    bench
        .seen("the end of the campaign", |it| ended(&it.campaigns[0]))
        .await;
    assert_eq!(bench.observed().requests_to("POST", "/logout").count(), 0);
    assert_eq!(bench.warnings.text(), "");
}

#[tokio::test]
async fn an_answer_is_heard_long_before_the_servers_tick() {
    // The tick is 5 s, as on a real server.
    let mut bench = Bench::new(Scenario::of([host("a")])).await;
    bench.ask(&["a"]).await.unwrap();
    bench.answers(1).await;
    let answered = bench.simulator.last_answer_at().unwrap();
    assert!(
        answered.elapsed() < Duration::from_millis(2_500),
        "{:?}",
        answered.elapsed()
    );
}

#[tokio::test]
async fn the_dispatch_waits_for_a_socket_that_is_slow_to_open() {
    let slow = Fault {
        delay: Duration::from_millis(400),
        ..Fault::on("results/websocket")
    };
    let mut bench = Bench::new(quick([host("a")]).with_fault(slow)).await;
    bench.ask(&["a"]).await.unwrap();
    bench.answers(1).await;
    let observed = bench.observed();
    assert_eq!(observed.sockets, 1);
    let at = |method, path| {
        observed
            .requests_to(method, path)
            .next()
            .expect("a request")
            .at
    };
    let waited = at("POST", "/run").duration_since(at("GET", "results/websocket"));
    assert!(waited >= Duration::from_millis(400), "{waited:?}");
}

#[tokio::test]
async fn the_socket_is_opened_while_the_hosts_are_looked_for() {
    let slow = Fault {
        delay: Duration::from_millis(500),
        ..Fault::on("fleet/hosts?")
    };
    let mut bench = Bench::new(quick([host("a")]).with_fault(slow)).await;
    let targets = Targets {
        hosts: vec!["a".into()],
        ..Targets::default()
    };
    let limits = limits(10);
    tokio::select! {
        biased;
        _ = bench.fleet.resolve(&targets, &limits) => panic!("resolved before it was open"),
        open = bench.simulator.until(|it| it.sockets == 1, PATIENCE) => assert!(open),
    }
}

#[tokio::test]
async fn lines_that_were_cut_before_the_dispatch_are_made_again() {
    let simulator = Simulator::start(quick([host("a")])).await.unwrap();
    let proxy = Proxy::before(simulator.addr()).await;
    let mut bench = Bench::at(simulator, &proxy.url(), admin(), PATIENCE);
    let hosts = bench.named(&["a"]).await;
    bench.seen("the socket", |it| it.sockets == 1).await;
    proxy.cut_all().await;
    bench.fleet.start(&statement(), &hosts).await.unwrap();
    assert_answer_of(&bench.answers(1).await["1"], "a");
    let observed = bench.observed();
    assert_eq!((observed.sockets, observed.campaigns.len()), (2, 1));
}

#[tokio::test]
async fn the_older_path_is_used_where_there_is_no_newer_one_and_remembered() {
    for (paths, reports, queries) in [(Paths::Old, 1, 2), (Paths::New, 2, 0), (Paths::Both, 2, 0)] {
        let mut scenario = quick([host("a"), host("b").delayed(Duration::from_millis(500))])
            .with_fault(on_socket(breaking(1, SocketClose::Cut)).times(1));
        scenario.fleet.paths = paths;
        let mut bench = Bench::new(scenario).await;
        bench.ask(&["a", "b"]).await.unwrap();
        assert_eq!(bench.answers(2).await.len(), 2);
        let observed = bench.observed();
        // The campaign, and the one after the broken stream.
        let asked = |path| observed.requests_to("POST", path).count();
        assert_eq!(
            (asked("/reports/run"), asked("/queries/run")),
            (reports, queries),
            "{paths:?}"
        );
    }
}

/// A request holds 1 MiB since 4.82: the campaigns are few and large, and one document names them all.
#[tokio::test]
async fn many_hosts_are_asked_in_campaigns_of_fifty_thousand() {
    // Of the ids only these are enrolled, one for each campaign: the server leaves the others out silently.
    let enrolled = [1, 60_000, 120_000].map(|id| osquery_simulator::HostSpec {
        id: Some(id),
        ..host(&format!("host-{id}"))
    });
    for version in [ServerVersion::FLEET_2025, ServerVersion::FLEET_2026] {
        let mut scenario = quick(enrolled.clone());
        scenario.fleet.version = Some(version);
        let mut bench = Bench::new(scenario).await;
        let one = bench.named(&["host-1"]).await.remove(0);
        let hosts: Vec<Host> = (1..=120_001)
            .map(|id: u64| Host {
                id: osquery_live_query::inside::HostId::from(id),
                ..one.clone()
            })
            .collect();
        let asked = bench.fleet.start(&statement(), &hosts).await.unwrap();
        assert_eq!(asked, Asked::All, "{version}");
        let answers = bench.answers(3).await;
        let ids: Vec<&str> = answers.keys().map(String::as_str).collect();
        assert_eq!(ids, ["1", "120000", "60000"], "{version}");
        let observed = bench.observed();
        let bodies: Vec<usize> = observed
            .requests_to("POST", "s/run")
            .map(|request| request.body.len())
            .filter(|length| *length > 0)
            .collect();
        assert!(bodies.iter().all(|length| *length < 1 << 20), "{bodies:?}");
        assert_eq!(observed.campaigns.len(), 3, "{version}");
    }
}

#[tokio::test]
async fn after_a_broken_stream_only_the_silent_hosts_are_asked_again() {
    for close in [SocketClose::Cut, SocketClose::Frame, SocketClose::Zero] {
        let scenario = quick([
            host("fast"),
            host("slow").delayed(Duration::from_millis(500)),
            host("slower").delayed(Duration::from_millis(900)),
        ])
        .with_fault(on_socket(breaking(1, close)).times(1));
        let mut bench = Bench::new(scenario).await;
        bench.ask(&["fast", "slow", "slower"]).await.unwrap();
        let answers = bench.answers(3).await;
        assert_answer_of(&answers["1"], "fast");
        assert_answer_of(&answers["3"], "slower");
        assert!(!bench.fleet.may_be_running(true));
        let campaigns = bench.observed().campaigns;
        assert_eq!(campaigns.len(), 2);
        assert_eq!(campaigns[1].hosts.len(), 2);
        assert_eq!(
            bench.fleet.campaign_id().as_deref(),
            Some(campaigns[1].id.as_str())
        );
        let warnings = bench.warnings.text();
        assert!(
            warnings.contains("2 hosts have not answered: asking again in a new campaign (1 of 3)"),
            "{warnings}"
        );
        assert!(!warnings.contains("rotocol"), "{warnings}");
        bench.stop(true).await;
        bench
            .seen("no campaign goes on", |it| it.campaigns.iter().all(ended))
            .await;
    }
}

#[tokio::test]
async fn three_broken_streams_lose_no_host_and_ask_none_that_has_answered() {
    let scenario = quick([HostSpec::many(30, "h{n}")])
        .with_fault(on_socket(breaking(5, SocketClose::Cut)).times(3));
    let mut bench = Bench::new(scenario).await;
    let everyone = Targets {
        labels: vec!["All Hosts".into()],
        ..Targets::default()
    };
    let hosts = bench.resolve(&everyone).await.unwrap().grouped;
    bench.fleet.start(&statement(), &hosts).await.unwrap();
    assert_eq!(bench.answers(30).await.len(), 30);
    let asked: Vec<usize> = bench
        .observed()
        .campaigns
        .iter()
        .map(|campaign| campaign.hosts.len())
        .collect();
    assert_eq!(asked, [30, 25, 20, 15]);
    bench.stop(true).await;
    bench
        .seen("no campaign goes on", |it| it.campaigns.iter().all(ended))
        .await;
}

/// A server whose database is away says the same of a good token.
#[tokio::test]
async fn a_token_that_was_revoked_meanwhile_is_believed_bad_only_at_the_deadline() {
    let scenario = quick([host("a"), host("mute").answering(Scripted::Silent)])
        .with_fault(on_socket(breaking(1, SocketClose::Cut)));
    let deadline = Duration::from_secs(5);
    let mut bench = Bench::until(scenario, admin(), deadline).await;
    let begun = Instant::now();
    bench.ask(&["a", "mute"]).await.unwrap();
    bench.answers(1).await;
    bench.simulator.revoke_tokens();
    let error = bench.next().await.unwrap_err();
    assert!(matches!(error, BackendError::Auth { .. }), "{error}");
    assert_eq!(
        words_of(&bench, &error),
        "Fleet at SERVER refused the API token (HTTP 401: Authentication required) | it worked a moment ago: it was revoked since, or the server's database is down"
    );
    assert!(begun.elapsed() > Duration::from_secs(2) && begun.elapsed() < deadline);
    assert_eq!(bench.observed().requests_to("POST", "s/run").count(), 1);
}

#[tokio::test]
async fn a_stream_that_stays_broken_is_given_up_after_three_new_campaigns() {
    let scenario = quick([host("mute").answering(Scripted::Silent)])
        .with_fault(on_socket(breaking(0, SocketClose::Zero)));
    let mut bench = Bench::new(scenario).await;
    bench.ask(&["mute"]).await.unwrap();
    let begun = Instant::now();
    let error = bench.next().await.unwrap_err();
    assert!(
        begun.elapsed() > Duration::from_millis(4_200),
        "the pauses grow"
    );
    assert!(matches!(error, BackendError::Unreachable { .. }));
    assert_eq!(
        words_of(&bench, &error),
        "the results stream of Fleet at SERVER stayed broken through 3 new campaigns: the server \
         closed it; 1 host has not answered | look for a proxy in front of the server that cuts \
         websockets, or at the server's log"
    );
    assert_eq!(bench.observed().campaigns.len(), 4);
    bench.stop(false).await;
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_asked_again() {
    let scenario = quick([host("a").delayed(Duration::from_millis(200))])
        .with_fault(on_socket(breaking(0, SocketClose::Cut)).times(1))
        .with_fault(
            Fault::on("results/websocket")
                .skipping(1)
                .times(1)
                .status(502),
        );
    let mut bench = Bench::new(scenario).await;
    bench.ask(&["a"]).await.unwrap();
    assert_answer_of(&bench.answers(1).await["1"], "a");
    let warnings = bench.warnings.text();
    assert!(
        warnings.contains("the new websocket was refused: HTTP 502"),
        "{warnings}"
    );
}

#[tokio::test]
async fn the_servers_error_message_decides_what_a_stream_that_stays_broken_means() {
    let error = |text: &str| json!({"type": "error", "data": text}).to_string();
    for (text, auth, campaigns, expected) in [
        (
            "unauthorized",
            true,
            4,
            "Fleet at SERVER refused the API token (results stream: unauthorized)",
        ),
        (
            "forbidden",
            true,
            1,
            "Fleet at SERVER does not let this user run live queries on these hosts (results \
             stream: forbidden)",
        ),
        (
            "timeout: cannot find campaign for ID 1",
            false,
            4,
            "Fleet at SERVER ended the results stream with an error: timeout: cannot find campaign \
             for ID 1 | the server lost the campaign",
        ),
    ] {
        let fault = SocketFault {
            send: vec![error(text)],
            ..breaking(0, SocketClose::Zero)
        };
        let scenario = quick([host("b").answering(Scripted::Silent)]).with_fault(on_socket(fault));
        let mut bench = Bench::new(scenario).await;
        bench.ask(&["b"]).await.unwrap();
        let error = bench.next().await.unwrap_err();
        assert_eq!(matches!(error, BackendError::Auth { .. }), auth, "{error}");
        let words = words_of(&bench, &error);
        assert!(words.starts_with(expected), "{words}");
        assert_eq!(bench.observed().campaigns.len(), campaigns, "{text}");
    }
}

#[tokio::test]
async fn messages_that_cannot_be_read_are_left_out_with_few_words() {
    let fault = SocketFault {
        send: vec!["[secret".into(); 20],
        ..SocketFault::default()
    };
    let scenario = quick([host("a")]).with_fault(on_socket(fault));
    let mut bench = Bench::new(scenario).await;
    bench.ask(&["a"]).await.unwrap();
    assert_answer_of(&bench.answers(1).await["1"], "a");
    let warnings = bench.warnings.text();
    assert_eq!(warnings.lines().count(), 3, "{warnings}");
    assert!(
        warnings.contains("sent a message that is not JSON"),
        "{warnings}"
    );
    assert!(!warnings.contains("secret"), "{warnings}");
}

#[tokio::test]
async fn one_answer_of_twenty_megabytes_is_heard() {
    let huge = Huge {
        rows: 2_000,
        row_bytes: 10_000,
    };
    let mut bench = Bench::new(quick([host("big").answering(Scripted::Huge(huge))])).await;
    bench.ask(&["big"]).await.unwrap();
    let answers = bench.answers(1).await;
    let Answer::Rows(rows) = &answers["1"] else {
        panic!("{answers:?}");
    };
    assert_eq!((rows.received(), rows.truncated()), (2_000, false));
    assert!(rows.json().len() > 19_000_000, "{}", rows.json().len());
}

#[tokio::test]
async fn an_offline_host_that_comes_back_is_heard() {
    let mut away = host("away").offline();
    away.behaviour.comes_back = Some(Duration::from_millis(300));
    let mut bench = Bench::new(quick([away])).await;
    bench.ask(&["away"]).await.unwrap();
    assert_answer_of(&bench.answers(1).await["1"], "away");
}

#[tokio::test]
async fn hosts_that_the_server_left_out_are_said_to_be() {
    let mut bench = Bench::new(quick([host("a")])).await;
    let mut hosts = bench.named(&["a"]).await;
    hosts.push(Host {
        id: osquery_live_query::inside::HostId::from(99),
        ..hosts[0].clone()
    });
    bench.fleet.start(&statement(), &hosts).await.unwrap();
    let warnings = bench.warnings.text();
    assert!(
        warnings.contains("took 1 of the 2 hosts into the campaign"),
        "{warnings}"
    );
    let gone = &hosts[1..];
    let error = bench.fleet.start(&statement(), gone).await.unwrap_err();
    assert!(matches!(error, BackendError::Targets { .. }));
    assert!(
        words(&error).contains("HTTP 400: no hosts targeted"),
        "{error}"
    );
}

#[tokio::test]
async fn a_dispatch_is_repeated_only_where_it_cannot_have_arrived() {
    let busy = Fault {
        retry_after: Some("0".into()),
        ..Fault::on("s/run").times(2).status(429)
    };
    let mut bench = Bench::new(quick([host("a")]).with_fault(busy)).await;
    bench.ask(&["a"]).await.unwrap();
    assert_eq!(bench.observed().requests_to("POST", "s/run").count(), 3);

    for (fault, unknown) in [
        (Fault::on("s/run").status(500), true),
        (Fault::on("s/run").status(502), true),
        (Fault::on("s/run").status(503), true),
        (Fault::on("s/run").cut(Cut::After), true),
        (Fault::on("s/run").body("{}"), true),
        (Fault::on("s/run").status(400), false),
        (Fault::on("s/run").status(302), false),
    ] {
        let what = format!("{fault:?}");
        let mut bench = Bench::new(quick([host("a")]).with_fault(fault)).await;
        bench.ask(&["a"]).await.unwrap_err();
        assert_eq!(
            bench.observed().requests_to("POST", "s/run").count(),
            1,
            "{what}"
        );
        assert_eq!(bench.fleet.may_be_running(false), unknown, "{what}");
    }
}

#[tokio::test]
async fn a_campaign_whose_dispatch_was_given_up_is_ended_all_the_same() {
    let slow = Fault {
        answer_delay: Duration::from_millis(600),
        ..Fault::on("s/run")
    };
    let mut bench =
        Bench::new(quick([host("a").answering(Scripted::Silent)]).with_fault(slow)).await;
    let hosts = bench.named(&["a"]).await;
    {
        let statement = statement();
        let start = bench.fleet.start(&statement, &hosts);
        // A signal, or the deadline, while the server is at work.
        let created = bench
            .simulator
            .until(|it| it.campaigns.len() == 1, PATIENCE);
        tokio::select! {
            _ = start => panic!("the answer was not held back"),
            created = created => assert!(created),
        }
    }
    assert!(bench.fleet.may_be_running(false));
    assert_eq!(bench.fleet.campaign_id(), None);
    bench.stop(false).await;
    bench
        .seen("a campaign that was heard and ended", |it| {
            ended(&it.campaigns[0])
        })
        .await;
}

#[tokio::test]
async fn a_dropped_wait_loses_no_answer() {
    let hosts = (0..50).map(|n| host(&format!("h{n}")));
    let mut bench = Bench::new(quick(hosts)).await;
    let names: Vec<String> = (0..50).map(|n| format!("h{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.ask(&names).await.unwrap();
    let mut heard = std::collections::BTreeSet::new();
    let give_up = Instant::now() + PATIENCE;
    while heard.len() < 50 {
        assert!(Instant::now() < give_up, "{} of 50", heard.len());
        let wait = Duration::from_micros(200);
        if let Ok(event) = tokio::time::timeout(wait, bench.fleet.next()).await
            && let Event::Answered { host, .. } = event.unwrap()
        {
            heard.insert(host);
        }
    }
    assert_eq!(bench.observed().campaigns.len(), 1);
}

#[tokio::test]
async fn the_socket_uses_the_same_tls() {
    let mut bench = Bench::new(quick([host("a")]).with_tls()).await;
    bench.ask(&["a"]).await.unwrap();
    assert_answer_of(&bench.answers(1).await["1"], "a");
}
