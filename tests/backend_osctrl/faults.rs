//! What breaks on the way, and that nothing is lost or done twice.

use osquery_simulator::{Cut, Fault, HostSpec};

use super::*;

fn two_hosts() -> Scenario {
    Scenario::of([HostSpec::named("a"), HostSpec::named("b")])
}

#[tokio::test]
async fn a_dispatch_whose_answer_is_lost_is_not_repeated() {
    for cut in [Cut::After, Cut::Before] {
        let fault = Fault::on_method("POST", "/queries/dev").cut(cut);
        let mut bench = Bench::new(two_hosts().with_fault(fault));
        let hosts = bench.resolve(&["a", "b"]).await;
        let error = bench.start(&hosts).await.unwrap_err();
        assert_eq!(
            bench.seen(&error),
            "unreachable: https://osctrl.example can't be reached: the connection was closed before the answer was \
             complete (look at the log of the server, and for a proxy or a firewall that cuts connections)"
        );
        let dispatches = bench
            .requests()
            .into_iter()
            .filter(|one| one.starts_with("POST"));
        assert_eq!(dispatches.count(), 1);
        // Nobody can know.
        assert!(bench.osctrl.may_be_running(false));
        assert_eq!(bench.osctrl.campaign_id(), None);
        bench.osctrl.stop(false).await;
    }
}

#[tokio::test]
async fn a_dispatch_that_is_put_off_is_repeated() {
    let fault = Fault {
        retry_after: Some("0".into()),
        ..Fault::on_method("POST", "/queries/dev")
            .status(429)
            .times(2)
    };
    let mut bench = Bench::new(two_hosts().with_fault(fault));
    bench.ask(&["a", "b"]).await;
    assert_eq!(bench.answers(2).await.len(), 2);
    assert_eq!(bench.simulator.campaigns().len(), 1);
}

#[tokio::test]
async fn a_dispatch_that_is_under_way_when_it_is_dropped_may_run() {
    let fault = Fault {
        hang: true,
        ..Fault::on_method("POST", "/queries/dev")
    };
    let mut bench = Bench::new(two_hosts().with_fault(fault));
    let hosts = bench.resolve(&["a"]).await;
    assert!(!bench.osctrl.may_be_running(false));
    let brief = Duration::from_millis(200);
    let started = tokio::time::timeout(brief, bench.start(&hosts)).await;
    assert!(started.is_err());
    assert!(bench.osctrl.may_be_running(false));
}

#[tokio::test]
async fn a_host_that_is_removed_meanwhile_fails_the_dispatch() {
    let mut bench = Bench::new(two_hosts());
    let mut hosts = bench.resolve(&["a", "b"]).await;
    hosts[0].id = HostId::from("GONE");
    let error = bench.start(&hosts).await.unwrap_err();
    assert_eq!(
        bench.seen(&error),
        "answer: https://osctrl.example could not create the query: \"error creating query\" (osctrl says so when one \
         of the hosts is not enrolled any more: run the step again, so that the hosts are looked up anew)"
    );
    // It left a query behind (transcript `query-unknown-host`).
    assert_eq!(bench.simulator.campaigns().len(), 1);
    assert!(bench.osctrl.may_be_running(false));
}

#[tokio::test]
async fn reading_survives_a_server_that_stumbles() {
    for fault in [
        Fault::on("/results/").status(503).times(2),
        Fault::on("/results/").status(500).times(2),
        Fault::on("/results/").status(404).times(1),
        Fault::on("/results/").cut(Cut::Before).times(2),
        Fault {
            truncate: Some(20),
            ..Fault::on("/results/").times(1)
        },
    ] {
        let what = format!("{fault:?}");
        let mut bench = Bench::new(two_hosts().with_fault(fault));
        bench.ask(&["a", "b"]).await;
        assert_eq!(bench.answers(2).await.len(), 2, "{what}");
    }
}

#[tokio::test]
async fn a_replica_that_does_not_know_the_query_for_a_moment_ends_nothing() {
    let fault = Fault::on("/queries/dev/query_")
        .body(r#"{"id":0}"#)
        .times(2);
    let slow = |name| HostSpec::named(name).delayed(Duration::from_millis(1_500));
    let scenario = Scenario::of([slow("a"), slow("b")]).with_fault(fault);
    let mut bench = Bench::new(scenario);
    bench.ask(&["a", "b"]).await;
    assert_eq!(bench.answers(2).await.len(), 2);
    let states = bench
        .requests()
        .into_iter()
        .filter(|one| one.contains("/queries/dev/query_"));
    assert!(states.count() > 2);
}

#[tokio::test]
async fn what_is_no_osctrl_is_said_without_being_shown() {
    let fault = Fault::on("/results/").body("<html>secret</html>");
    let mut bench = Bench::new(two_hosts().with_fault(fault));
    bench.ask(&["a", "b"]).await;
    let error = bench.next().await.unwrap_err();
    let name = bench.osctrl.campaign_id().unwrap();
    assert_eq!(
        bench.seen(&error).replace(&name, "NAME"),
        "answer: the server answered GET /api/v1/queries/dev/results/NAME with something that is not JSON (HTTP 200, \
         byte 0) (check that `base_url` is the API's address, and not a web page or a proxy)"
    );
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let other = simulate(two_hosts());
    let fault = Fault {
        location: Some(format!("{}/api/v1/nodes/dev", other.base_url())),
        ..Fault::on("/nodes/").status(302)
    };
    let mut bench = Bench::new(two_hosts().with_fault(fault));
    let error = bench.candidates(&named(&["a"])).await.unwrap_err();
    let seen = bench.seen(&error);
    assert!(
        seen.starts_with(
            "answer: https://osctrl.example answered GET /api/v1/nodes/dev with a redirect (HTTP 302) "
        ),
        "{seen}"
    );
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn the_header_that_keeps_refusals_readable_is_always_sent() {
    let mut bench = Bench::with(two_hosts(), login("plugin", "wrong"));
    bench.osctrl.authenticate().await.unwrap_err();
    let mut bench_with_token = Bench::new(two_hosts());
    bench_with_token.osctrl.verify().await.unwrap();
    for simulator in [&bench.simulator, &bench_with_token.simulator] {
        for request in simulator.requests() {
            assert_eq!(
                request.header("accept"),
                Some("application/json"),
                "{}",
                request.path
            );
        }
    }
}
