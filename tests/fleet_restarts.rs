//! Parts of a Fleet deployment that go away in the middle and come back, through the real binary: what came
//! is kept, the rest is asked again, and every host has answered in the end.

use std::collections::BTreeSet;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use osquery_simulator::{
    CampaignState, FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD, Fault, Outage, Part, Scenario,
};

use crate::harness::Ran;
use crate::harness::document::Line;
use crate::harness::site::{Kind, Site, Step, host, on_all};

const AWAY: Duration = Duration::from_millis(2_500);
const HOSTS: [&str; 5] = ["web-01", "web-02", "web-03", "web-04", "web-05"];

/// When a part goes away, told by what has happened then.
#[derive(Debug, Clone, Copy)]
enum Moment {
    BeforeTheFirstRequest,
    WhileResolving,
    AtTheDispatch,
    JustAfterTheDispatch,
    AfterTheFirstAnswers,
    BeforeTheLastAnswer,
}

impl Moment {
    const ALL: [Self; 6] = [
        Self::BeforeTheFirstRequest,
        Self::WhileResolving,
        Self::AtTheDispatch,
        Self::JustAfterTheDispatch,
        Self::AfterTheFirstAnswers,
        Self::BeforeTheLastAnswer,
    ];

    fn outage(self, part: Part) -> Outage {
        let outage = Outage::of(part, AWAY);
        match self {
            Self::BeforeTheFirstRequest => outage,
            // The websocket and the searches.
            Self::WhileResolving => outage.after_requests(4),
            // With the answer to it.
            Self::AtTheDispatch => outage.after_campaigns(1),
            Self::JustAfterTheDispatch => {
                outage.after_campaigns(1).after(Duration::from_millis(50))
            }
            Self::AfterTheFirstAnswers => outage.after_answers(2),
            Self::BeforeTheLastAnswer => outage.after_answers(4),
        }
    }
}

/// Hosts that answer one after the other.
fn fleet() -> Scenario {
    let hosts = HOSTS
        .iter()
        .zip(0..)
        .map(|(name, place)| host(name).delayed(Duration::from_millis(100 + 300 * place)));
    let mut scenario = Scenario::of(hosts);
    scenario.fleet.tick = Duration::from_millis(300);
    scenario
}

#[track_caller]
fn assert_whole(site: &Site, ran: &Ran, what: &str) {
    site.assert_no_secret(ran);
    let answered: BTreeSet<String> = if ran.stdout.starts_with("{\"type\"") {
        let lines = ran.lines();
        assert!(
            matches!(lines.last(), Some(Line::Summary { partial: false, .. })),
            "{what}: {ran:?}"
        );
        let names = lines.into_iter().filter_map(|line| match line {
            Line::Host {
                host, status, rows, ..
            } => {
                assert_eq!((&*status, rows.len()), ("ok", 1), "{what}: {host}");
                Some(host)
            }
            Line::Summary { .. } => None,
        });
        names.collect()
    } else {
        let document = ran.document();
        assert!(!document.partial, "{what}: {ran:?}");
        assert!(
            document.results.values().all(|rows| rows.len() == 1),
            "{what}"
        );
        document.results.into_keys().collect()
    };
    assert_eq!(ran.status, 0, "{what}: {}", ran.stderr);
    assert_eq!(answered, HOSTS.map(str::to_owned).into(), "{what}");
}

/// Every part that goes away, at every moment, in both formats.
fn cases() -> Vec<(Part, Moment, &'static str)> {
    let parts = [
        Part::Service,
        Part::Redis,
        Part::Database,
        Part::DatabaseKilled,
    ];
    let cases = parts
        .into_iter()
        .flat_map(|part| Moment::ALL.map(|moment| (part, moment)));
    cases
        .flat_map(|(part, moment)| ["document", "ndjson"].map(|format| (part, moment, format)))
        .collect()
}

#[test]
fn every_host_answers_whatever_part_goes_away_and_whenever() {
    // A token that did not work yet is believed to be bad at once.
    let is_hopeless = |case: &(Part, Moment, &str)| {
        matches!(
            case,
            (Part::DatabaseKilled, Moment::BeforeTheFirstRequest, _)
        )
    };
    let cases: Vec<_> = cases()
        .into_iter()
        .filter(|case| !is_hopeless(case))
        .collect();
    for some in cases.chunks(12) {
        on_all(some.to_vec(), |(part, moment, format)| {
            let what = format!("{part:?} {moment:?} {format}");
            let mut scenario = fleet();
            scenario.outages.push(moment.outage(part));
            let site = Site::new(Kind::Fleet, scenario);
            let mut step = site.step(&HOSTS);
            if format == "ndjson" {
                step = step.arg("--format=ndjson");
            }
            let ran = step.binary().run();
            assert_whole(&site, &ran, &what);
            assert!(ran.elapsed > AWAY, "{what}: it never was away: {ran:?}");
            let seen = site.seen();
            assert!(seen.campaigns.len() <= 3, "{what}: {:#?}", seen.campaigns);
            if !ran.stdout.contains("may_be_running") {
                site.wait("the end of every campaign", |seen| {
                    let mut campaigns = seen.campaigns.iter();
                    campaigns.all(|campaign| campaign.state != CampaignState::Running)
                });
            }
        });
    }
}

/// A login is made again, too; where each host is asked by a call of its own, so is the call.
#[test]
fn the_same_before_a_login_and_without_a_websocket() {
    let parts = [Part::Service, Part::Redis, Part::Database];
    on_all(parts, |part| {
        let mut scenario = fleet();
        scenario
            .outages
            .push(Moment::BeforeTheFirstRequest.outage(part));
        let site = Site::new(Kind::Fleet, scenario);
        let step = site
            .step(&HOSTS)
            .login(FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD);
        let ran = step.binary().run();
        assert_whole(&site, &ran, &format!("{part:?}, with a login"));
    });
    let moments = [Moment::WhileResolving, Moment::AfterTheFirstAnswers];
    let cases: Vec<_> = Part::ALL
        .into_iter()
        .flat_map(|part| moments.map(|moment| (part, moment)))
        .collect();
    on_all(cases, |(part, moment)| {
        let mut scenario = fleet().with_fault(Fault::on("results/websocket").status(403));
        scenario.outages.push(moment.outage(part));
        let site = Site::new(Kind::Fleet, scenario);
        let ran = site.step(&HOSTS).binary().run();
        assert_whole(&site, &ran, &format!("{part:?} {moment:?}, one by one"));
    });
}

/// Credentials that did not work yet may be wrong as well as not to be checked now.
#[test]
fn credentials_that_never_worked_are_refused_with_both_reasons() {
    on_all([false, true], |login| {
        let mut scenario = fleet();
        scenario
            .outages
            .push(Outage::of(Part::DatabaseKilled, Duration::from_secs(60)));
        scenario.fleet.wrong_password = Duration::ZERO;
        let site = Site::new(Kind::Fleet, scenario);
        let mut step = site.step(&["web-01"]);
        if login {
            step = step.login(FLEET_ADMIN_EMAIL, FLEET_ADMIN_PASSWORD);
        }
        let ran = step.binary().run();
        site.assert_no_secret(&ran);
        let error = ran.document().error.expect("an error");
        assert_eq!((ran.status, &*error.code), (20, "auth"), "{ran:?}");
        let hint = error.hint.unwrap_or_default();
        assert!(hint.contains("database is down says the same"), "{hint}");
        let other = if login {
            "`username` is"
        } else {
            "may be revoked"
        };
        assert!(hint.contains(other), "{hint}");
        assert!(ran.elapsed.as_secs() < 20, "it was not waited for");
    });
}

/// What came is kept where a part stays away; the error says which, at the deadline.
#[test]
fn a_part_that_stays_away_is_an_error_at_the_deadline() {
    let cases = [
        (Part::Service, 23, "the connection was refused"),
        (Part::Redis, 22, "HTTP 408"),
        (Part::Database, 22, "HTTP 500"),
        (Part::DatabaseKilled, 20, "HTTP 401"),
    ];
    on_all(cases, |(part, status, words)| {
        let mut scenario = fleet();
        let outage = Moment::AfterTheFirstAnswers.outage(part);
        let length = Duration::from_secs(60);
        scenario.outages.push(Outage { length, ..outage });
        let site = Site::new(Kind::Fleet, scenario);
        let ran = site.step(&HOSTS).timeout(8).binary().run();
        site.assert_no_secret(&ran);
        let document = ran.document();
        let error = document.error.as_ref().expect("an error");
        assert_eq!(
            (ran.status, error.exit_code),
            (status, status),
            "{part:?}: {ran:?}"
        );
        assert!(error.message.contains(words), "{part:?}: {}", error.message);
        assert!(!document.results.is_empty(), "{part:?}: what came is kept");
        assert!(!document.timed_out_hosts.is_empty(), "{part:?}");
    });
}

/// Passes bytes on to the server, and cuts every line that is so old.
fn proxy(server: SocketAddr, age: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(server) else {
                continue;
            };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
                    continue;
                };
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
            std::thread::spawn(move || {
                std::thread::sleep(age);
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

/// Nothing answers through more campaigns than would be tried if they failed, and then everything does.
#[test]
fn a_proxy_that_cuts_old_lines_does_not_end_the_run() {
    on_all(["json", "ndjson"], |format| {
        // The ninth agent's first check-in is 17 s after the start, and again so long after it.
        let mut hosts: Vec<_> = (1..=9)
            .map(|number| host(&format!("web-0{number}")))
            .collect();
        hosts[8].check_in = Some(Duration::from_secs(18));
        let mut scenario = Scenario::of(hosts);
        scenario.fleet.tick = Duration::from_millis(300);
        let site = Site::new(Kind::Fleet, scenario);
        let address = proxy(site.simulator.addr(), Duration::from_millis(3_300));
        let step = Step::of(
            Kind::Fleet,
            &format!("http://{address}"),
            &["web-01", "web-09"],
        );
        let step = step.timeout(45).arg("--format").arg(format);
        let ran = step.binary().run();
        site.assert_no_secret(&ran);
        let partial = match format {
            "json" => ran.document().partial,
            _ => match ran.lines().pop() {
                Some(Line::Summary { partial, .. }) => partial,
                other => panic!("no summary: {other:?}"),
            },
        };
        assert_eq!((ran.status, partial), (0, false), "{ran:?}");
        let campaigns = site.seen().campaigns.len();
        assert!(campaigns > 4, "{campaigns} campaigns");
        // It does not fill stderr, either.
        assert_eq!(ran.stderr.lines().count(), 3, "{}", ran.stderr);
    });
}
