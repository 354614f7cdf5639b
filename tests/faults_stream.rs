//! Results that stop coming: broken streams, refused upgrades, polls that fail, hosts that stay silent.

use std::collections::BTreeSet;
use std::time::Duration;

use osquery_simulator::{
    Answer, Behaviour, Cut, Fault, HostSpec, OSCTRL_PLUGIN_TOKEN, Scenario, SocketClose,
    SocketFault,
};

use crate::harness::site::{Kind, Site, host, on_all, on_every, on_those, silent};

fn stream_ends(after_results: usize, close: SocketClose) -> Fault {
    Fault::on("results/websocket").socket(SocketFault {
        after_results,
        close: Some(close),
        ..SocketFault::default()
    })
}

/// A host that takes long enough for the stream to break before it answers.
fn slow(name: &str) -> HostSpec {
    host(name).delayed(Duration::from_millis(500))
}

/// The hosts that were silent are asked again in a new campaign, the others are not.
#[test]
fn faults_stream_that_breaks_after_some_rows() {
    let ends = [
        ("cut", SocketClose::Cut),
        ("closed", SocketClose::Frame),
        ("closed-with-0", SocketClose::Zero),
    ];
    on_all(ends, |(name, close)| {
        let scenario = Scenario::of([host("web-01"), slow("web-02"), slow("web-03")])
            .with_fault(stream_ends(1, close).times(1));
        let site = Site::new(Kind::Fleet, scenario);
        let step = site.step(&["web-01", "web-02", "web-03"]);
        let document = site.run(&format!("stream-{name}-after-some-rows"), step);
        assert!(!document.partial);
        let asked: Vec<usize> = site
            .seen()
            .campaigns
            .iter()
            .map(|one| one.hosts.len())
            .collect();
        assert_eq!(asked, [3, 2]);
    });
}

#[test]
fn faults_stream_that_breaks_again_and_again() {
    let scenario = Scenario::of([host("web-01"), silent("web-02")])
        .with_fault(stream_ends(1, SocketClose::Cut).times(1))
        .with_fault(stream_ends(0, SocketClose::Cut).skipping(1));
    let site = Site::new(Kind::Fleet, scenario);
    let document = site.run("stream-that-stays-broken", site.step(&["web-01", "web-02"]));
    assert_eq!(document.results["web-01"].len(), 1, "what came is kept");
    assert_eq!(site.seen().campaigns.len(), 4, "one, and three more");
}

/// The server is gone for good in the middle.
#[test]
fn faults_server_that_goes_away_in_the_middle() {
    let gone = Fault::on("results/websocket").skipping(1).cut(Cut::Before);
    let scenario = Scenario::of([host("web-01"), silent("web-02")])
        .with_fault(stream_ends(1, SocketClose::Cut).times(1))
        .with_fault(gone);
    let site = Site::new(Kind::Fleet, scenario);
    let document = site.run(
        "server-gone-in-the-middle",
        site.step(&["web-01", "web-02"]),
    );
    assert_eq!(document.results["web-01"].len(), 1, "what came is kept");
}

/// The server says on the stream why it will not go on.
#[test]
fn faults_stream_that_ends_with_an_error() {
    for (name, text) in [
        ("unauthorized", r#"{"type":"error","data":"unauthorized"}"#),
        ("forbidden", r#"{"type":"error","data":"forbidden"}"#),
        (
            "lost-campaign",
            r#"{"type":"error","data":"timeout: cannot find campaign for ID 1"}"#,
        ),
        ("no-reason", r#"{"type":"error"}"#),
    ] {
        let says = |after_results| {
            Fault::on("results/websocket").socket(SocketFault {
                after_results,
                send: vec![text.into()],
                close: Some(SocketClose::Zero),
                ..SocketFault::default()
            })
        };
        // And says so again to each new campaign.
        let scenario = Scenario::of([host("web-01"), silent("web-02")])
            .with_fault(says(1).times(1))
            .with_fault(says(0).skipping(1));
        let site = Site::new(Kind::Fleet, scenario);
        let step = site.step(&["web-01", "web-02"]);
        let document = site.run(&format!("stream-ends-with-{name}"), step);
        assert_eq!(document.results["web-01"].len(), 1, "what came is kept");
    }
}

/// Without the websocket every host is asked by a call of its own.
#[test]
fn faults_refused_upgrade() {
    let mut offline = HostSpec::named("laptop-01").offline();
    offline.distributed_interval = 10;
    let scenario = Scenario::of([
        host("web-01"),
        host("web-02"),
        HostSpec::named("web-03").answering(Answer::Error("no such table: processes".into())),
        HostSpec::named("web-04").answering(Answer::None),
        silent("web-05"),
        offline,
    ])
    .with_fault(Fault::on("results/websocket").status(403));
    let site = Site::new(Kind::Fleet, scenario);
    let hosts = [
        "web-01",
        "web-02",
        "web-03",
        "web-04",
        "web-05",
        "laptop-01",
    ];
    let document = site.run("upgrade-refused", site.step(&hosts).timeout(4));
    assert_eq!(document.campaign().responded, 4);
    assert!(
        document.campaign().may_be_running,
        "the silent host's call goes on at the server"
    );
}

/// The server waits less than the step does: a silent host is asked until it answers.
#[test]
fn faults_refused_upgrade_and_a_host_that_takes_longer_than_the_server_waits() {
    let mut late = host("web-02");
    late.check_in = Some(Duration::from_millis(1_500));
    let mut scenario =
        Scenario::of([host("web-01"), late]).with_fault(Fault::on("results/websocket").status(403));
    scenario.fleet.rest_wait = Duration::from_millis(100);
    let site = Site::new(Kind::Fleet, scenario);
    let running = site.step(&["web-01", "web-02"]).binary().start();
    site.wait("a second call for the same host", |seen| {
        let calls: Vec<&str> = seen
            .requests
            .iter()
            .map(|call| call.path.as_str())
            .filter(|path| path.ends_with("/query"))
            .collect();
        let distinct: BTreeSet<_> = calls.iter().collect();
        distinct.len() < calls.len()
    });
    running.signal("TERM");
    let ran = running.wait();
    site.assert_no_secret(&ran);
    assert_eq!(ran.status, 143);
    assert!(
        ran.document().failed_hosts.is_empty(),
        "a timeout is no answer: {ran:?}"
    );
}

/// A proxy that swallows the upgrade must not swallow the whole time.
#[test]
fn faults_swallowed_upgrade() {
    let swallowed = Fault {
        hang: true,
        ..Fault::on("results/websocket")
    };
    let site = Site::new(
        Kind::Fleet,
        Scenario::of([host("web-01")]).with_fault(swallowed),
    );
    let ran = site.step(&["web-01"]).timeout(9).binary().run();
    site.assert_no_secret(&ran);
    assert_eq!((ran.status, ran.document().partial), (0, false), "{ran:?}");
    assert!(ran.stderr.starts_with("warning: ") && ran.stderr.contains("refused the websocket"));
}

/// With `skip` nobody waits for hosts that the server holds for offline.
#[test]
fn faults_offline_hosts() {
    on_every(|kind| {
        // osctrl holds a node for inactive after three days.
        let offline = HostSpec {
            last_seen: Some("2020-01-02T03:04:05Z".into()),
            ..HostSpec::named("laptop-01").offline()
        };
        let site = Site::new(kind, Scenario::of([host("web-01"), offline]));
        let hosts = ["web-01", "laptop-01"];
        let started = std::time::Instant::now();
        // Refused where nobody says who is offline, before anything is sent.
        let step = site.step(&hosts).with("offline_hosts", "skip");
        site.run("offline-host-skipped", step);
        assert!(started.elapsed().as_secs() < 20);
        site.run("offline-host-waited-for", site.step(&hosts).timeout(4));

        let back = HostSpec {
            behaviour: Behaviour {
                comes_back: Some(Duration::from_millis(300)),
                ..host("laptop-01").behaviour
            },
            ..HostSpec::named("laptop-01").offline()
        };
        let site = Site::new(kind, Scenario::of([host("web-01"), back]));
        let document = site.run("offline-host-comes-back", site.step(&hosts));
        assert!(!document.partial);
    });
}

/// A poll that fails is made again, and nothing that came is lost.
#[test]
fn faults_polls_that_fail_in_the_middle() {
    on_those(Kind::is_polled, |kind| {
        let failing = || kind.polling().skipping(1).times(2);
        let mut faults: Vec<Fault> = [500, 502, 503, 504]
            .map(|status| failing().status(status))
            .into();
        faults.push(failing().cut(Cut::Before));
        on_all(faults, |fault| {
            let scenario = Scenario::of([host("web-01"), slow("web-02")]).with_fault(fault.clone());
            let site = Site::new(kind, scenario);
            let ran = site.step(&["web-01", "web-02"]).binary().run();
            site.assert_no_secret(&ran);
            assert_eq!(
                (ran.status, ran.document().partial),
                (0, false),
                "{fault:?}: {ran:?}"
            );
            let once = if kind.lists_hosts() { 1 } else { 2 };
            assert_eq!(site.seen().campaigns.len(), once);
        });
    });
}

#[test]
fn faults_polls_that_fail_for_good() {
    on_those(Kind::is_polled, |kind| {
        // Behind the one that brings the answer.
        let failing = || {
            kind.polling()
                .skipping(if kind.lists_hosts() { 2 } else { 4 })
        };
        let faults = [
            ("500", failing().status(500)),
            ("503", failing().status(503)),
            ("cut", failing().cut(Cut::Before)),
            ("web-page", failing().body("<html>maintenance</html>")),
        ];
        on_all(faults, |(name, fault)| {
            let scenario = Scenario::of([host("web-01"), silent("web-02")]).with_fault(fault);
            let site = Site::new(kind, scenario);
            let step = site.step(&["web-01", "web-02"]).timeout(4);
            let document = site.run(&format!("polls-that-fail-for-good-{name}"), step);
            assert_eq!(document.results["web-01"].len(), 1, "what came is kept");
        });
    });
}

/// Somebody ends or deletes the query while it is waited for.
#[test]
fn faults_query_that_is_ended_by_somebody_else() {
    let scenario = Scenario::of([host("web-01"), silent("web-02")]);
    let site = Site::new(Kind::Osctrl, scenario);
    let step = site.step(&["web-01", "web-02"]).arg("--format=ndjson");
    let running = step.binary().start();
    running.wait_for_stdout("web-01");
    let query = site.seen().campaigns[0].id.clone();
    post(&site, &format!("/api/v1/queries/dev/expire/{query}"));
    let ran = running.wait();
    site.assert_no_secret(&ran);
    let warning = "warning: the query was ended at the server before every host had answered (by somebody else, or because it expired)\nwarning: asked, but did not answer: web-02\n";
    assert_eq!((ran.status, &*ran.stderr), (0, warning));
    assert!(
        ran.elapsed.as_secs() < 20,
        "nothing more can come: it is not waited for"
    );
}

/// A call of another client.
fn post(site: &Site, path: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(site.simulator.addr()).expect("a connection");
    let token = osquery_simulator::OSCTRL_ADMIN_TOKEN;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .expect("the call is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Servers before the paged list of nodes, and before pages of results.
#[test]
fn faults_older_osctrl() {
    let mut scenario = Scenario::of([host("web-01"), slow("web-02")]);
    scenario.osctrl.paged_nodes = false;
    scenario.osctrl.paged_results = false;
    let site = Site::new(Kind::Osctrl, scenario.clone());
    let document = site.run("osctrl-without-pages", site.step(&["web-01", "web-02"]));
    assert!(!document.partial);

    let site = Site::new(Kind::Osctrl, scenario);
    let step = site.step(&["web-01"]).token(OSCTRL_PLUGIN_TOKEN);
    site.run("osctrl-without-pages-least-privilege", step);
}

/// Every way out ends the campaign at the server, or says that it goes on.
#[test]
fn faults_campaign_is_ended_after_the_deadline() {
    on_every(|kind| {
        let mut scenario = Scenario::of([host("web-01"), silent("web-02")]);
        scenario.fleet.tick = Duration::from_millis(300);
        let site = Site::new(kind, scenario);
        let document = site.run(
            "deadline-while-collecting",
            site.step(&["web-01", "web-02"]).timeout(4),
        );
        let silent: BTreeSet<_> = document
            .timed_out_hosts
            .iter()
            .map(String::as_str)
            .collect();
        assert_eq!(silent, BTreeSet::from(["web-02"]));
        assert!(kind.stops() || document.campaign().may_be_running);
        site.wait_for_the_end();
    });
}
