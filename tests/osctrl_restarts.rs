//! osctrl, or the database behind it, goes away in the middle and comes back: what came is kept, and the
//! rest is asked for until the deadline. A refusal is not believed of credentials that worked.

use std::time::Duration;

use osquery_simulator::{Fault, HostSpec, OSCTRL_PLUGIN_PASSWORD, Outage, Part, Scenario};
use serde_json::Value;

use crate::harness::Ran;
use crate::harness::site::{Kind, Site, Step, WRONG_TOKEN, host, on_all, silent};

const HOSTS: [&str; 3] = ["quick", "slow", "slower"];
const AWAY: Duration = Duration::from_secs(4);
const FORMATS: [&str; 2] = ["json", "ndjson"];

fn hosts() -> Vec<HostSpec> {
    vec![
        host("quick"),
        host("slow").delayed(Duration::from_millis(900)),
        host("slower").delayed(Duration::from_millis(1_800)),
    ]
}

fn summary(ran: &Ran) -> Value {
    let line = ran.stdout.lines().last().expect("a line");
    serde_json::from_str(line).expect("JSON")
}

#[derive(Debug, Clone, Copy)]
enum Credentials {
    Token,
    Login,
}

impl Credentials {
    fn of(self, step: Step) -> Step {
        match self {
            Self::Token => step,
            Self::Login => step.login("plugin", OSCTRL_PLUGIN_PASSWORD),
        }
    }
}

/// When a part goes away, and what that moment is called.
type Moment = (&'static str, fn(Outage) -> Outage);

fn moments() -> Vec<Moment> {
    vec![
        ("before the login", |outage| outage),
        ("before the dispatch", |outage| {
            // Of twelve; at most eight are under way at once, so some were answered well.
            outage.after_requests(10).after(Duration::from_millis(1))
        }),
        ("right after the dispatch", |outage| {
            outage.after_campaigns(1).after(Duration::from_millis(60))
        }),
        ("after the first answer", |outage| outage.after_answers(1)),
        ("in the middle of polling", |outage| {
            outage.after_answers(1).after(Duration::from_millis(400))
        }),
        ("before the last answer", |outage| outage.after_answers(2)),
    ]
}

#[test]
fn a_part_that_comes_back_ends_nothing() {
    let mut cases = Vec::new();
    for part in [Part::Service, Part::Database] {
        // Nobody can tell a database that is away from credentials that never worked.
        let first = usize::from(part == Part::Database);
        for moment in moments().into_iter().skip(first) {
            for credentials in [Credentials::Token, Credentials::Login] {
                for format in FORMATS {
                    cases.push((part, moment, credentials, format));
                }
            }
        }
    }
    on_all(cases, |(part, (when, moment), credentials, format)| {
        let what = format!("{part:?} {when}, {credentials:?}, {format}");
        let scenario = Scenario::of(hosts()).with_outage(moment(Outage::of(part, AWAY)));
        let site = Site::new(Kind::Osctrl, scenario);
        let step = credentials.of(site.step(&HOSTS).timeout(50));
        let ran = step.arg(&format!("--format={format}")).binary().run();
        site.assert_no_secret(&ran);
        let summary = summary(&ran);
        assert_eq!(
            (ran.status, &summary["partial"]),
            (0, &false.into()),
            "{what}: {ran:?}"
        );
        for name in HOSTS {
            assert_eq!(summary["hosts"][name]["status"], "ok", "{what}: {ran:?}");
        }
        assert_eq!(site.seen().campaigns.len(), 1, "{what}");
    });
}

/// The answers to reads are 500 and 408 as well while the database is down.
#[test]
fn errors_that_a_server_without_its_database_gives_are_waited_out() {
    let reads = [
        ("/results/", 1),
        ("/nodes/dev", 1),
        ("/queries/dev/query_", 0),
    ];
    let mut cases = Vec::new();
    for (path, answered) in reads {
        for status in [408, 500] {
            cases.extend(FORMATS.map(|format| (path, answered, status, format)));
        }
    }
    on_all(cases, |(path, answered, status, format)| {
        let fault = Fault::on_method("GET", path)
            .skipping(answered)
            .times(12)
            .status(status);
        let site = Site::new(Kind::Osctrl, Scenario::of(hosts()).with_fault(fault));
        let step = site.step(&HOSTS).timeout(50);
        let ran = step.arg(&format!("--format={format}")).binary().run();
        assert_eq!(
            (ran.status, &summary(&ran)["partial"]),
            (0, &false.into()),
            "{path}, {status}, {format}: {ran:?}"
        );
    });
}

/// A dispatch that is answered 401 did not run: it is sent again, once.
#[test]
fn a_dispatch_that_a_server_without_its_database_refuses_is_made_later() {
    let both = [Credentials::Token, Credentials::Login];
    let cases = both
        .into_iter()
        .flat_map(|credentials| FORMATS.map(|format| (credentials, format)));
    on_all(cases, |(credentials, format)| {
        let refused = Kind::Osctrl
            .dispatching()
            .times(6)
            .status(401)
            .body(r#"{"error":"unauthorized","code":"unauthorized"}"#);
        let login = Kind::Osctrl
            .logging_in()
            .skipping(1)
            .status(403)
            .body(r#"{"error":"invalid credentials"}"#);
        let scenario = Scenario::of(hosts()).with_fault(refused).with_fault(login);
        let site = Site::new(Kind::Osctrl, scenario);
        let step = credentials.of(site.step(&HOSTS).timeout(40));
        let ran = step.arg(&format!("--format={format}")).binary().run();
        assert_eq!(
            (ran.status, &summary(&ran)["partial"]),
            (0, &false.into()),
            "{ran:?}"
        );
        let seen = site.seen();
        assert_eq!(
            (seen.campaigns.len(), Kind::Osctrl.dispatches(&seen)),
            (1, 7)
        );
    });
}

/// Nothing has worked yet: nobody can tell a wrong secret from a database that is away.
#[test]
fn credentials_that_never_worked_are_an_error_that_says_both() {
    let away = || Outage::of(Part::Database, Duration::from_secs(60));
    let site = Site::new(Kind::Osctrl, Scenario::of(hosts()).with_outage(away()));
    let steps = || {
        [
            (site.step(&HOSTS), "does not accept the token (HTTP 401)"),
            (
                site.step(&HOSTS).token(WRONG_TOKEN),
                "does not accept the token (HTTP 401)",
            ),
            (
                Credentials::Login.of(site.step(&HOSTS)),
                "refused the login: \"invalid credentials\"",
            ),
        ]
    };
    let cases = FORMATS.into_iter().flat_map(|format| {
        steps().map(|(step, message)| (step.arg(&format!("--format={format}")), message))
    });
    for (step, message) in cases {
        let ran = step.binary().run();
        site.assert_no_secret(&ran);
        assert!(ran.elapsed < Duration::from_secs(20), "at once");
        let error = summary(&ran)["error"].clone();
        assert_eq!((ran.status, &error["code"]), (20, &"auth".into()));
        let said = error["message"].as_str().expect("a message");
        assert!(said.ends_with(message), "{said}");
        let hint = error["hint"].as_str().expect("a hint");
        assert!(
            hint.contains("secret") && hint.contains("database is down"),
            "{hint}"
        );
    }
}

/// They worked, and then not until the deadline: the rows are kept, and the error says both.
#[test]
fn a_database_that_stays_away_keeps_the_rows_that_came() {
    on_all([Credentials::Token, Credentials::Login], |credentials| {
        let away = Outage::of(Part::Database, Duration::from_secs(60))
            .after_answers(1)
            .after(Duration::from_millis(400));
        let scenario = Scenario::of([host("quick"), silent("mute")]).with_outage(away);
        let site = Site::new(Kind::Osctrl, scenario);
        let step = credentials.of(site.step(&["quick", "mute"]).timeout(6));
        let ran = step.binary().run();
        site.assert_no_secret(&ran);
        let document = ran.document();
        assert_eq!(document.rows("quick").len(), 1);
        assert_eq!(document.timed_out_hosts, ["mute"]);
        let error = document.error.expect("an error");
        assert_eq!((ran.status, &*error.code), (20, "auth"), "{ran:?}");
        assert!(error.hint.expect("a hint").contains("database is down"));
        assert!(ran.elapsed < Duration::from_secs(9), "{:?}", ran.elapsed);
        // Ten a minute from one address are allowed.
        assert!(site.seen().requests_to("POST", "/login").count() < 6);
    });
}

#[test]
fn a_second_factor_is_said_with_what_needs_none() {
    let body = r#"{"mfa_required":true,"challenge":"c","methods":["totp"]}"#;
    let fault = Kind::Osctrl.logging_in().body(body);
    let site = Site::new(Kind::Osctrl, Scenario::of(hosts()).with_fault(fault));
    let ran = Credentials::Login.of(site.step(&HOSTS)).binary().run();
    site.assert_no_secret(&ran);
    let error = ran.document().error.expect("an error");
    assert_eq!((ran.status, &*error.code), (20, "auth"));
    assert!(
        error
            .message
            .ends_with("asks this user for a second factor, which nobody can give here"),
        "{}",
        error.message
    );
    let hint = error.hint.expect("a hint");
    assert!(
        hint.contains("api_token") && hint.contains("service user"),
        "{hint}"
    );
}
