//! A server that is busy says for how long, in each way that HTTP has, on each kind of request: it is obeyed
//! where there is time for that, and ends the run at once where there is none.

use std::time::{Duration, SystemTime};

use osquery_simulator::{Fault, Scenario};

use crate::harness::site::{Kind, Site, Step, host, on_all};

/// What a run asks of a server: how it is called, and which requests it means.
#[derive(Debug, Clone, Copy)]
struct Asked {
    kind: Kind,
    what: &'static str,
    method: &'static str,
    path: &'static str,
}

impl Asked {
    fn fault(self, status: u16, retry_after: &str) -> Fault {
        Fault {
            retry_after: Some(retry_after.into()),
            ..Fault::on_method(self.method, self.path).status(status)
        }
    }

    fn step(self, site: &Site) -> Step {
        let step = site.step(&["web-01"]);
        match self.what {
            "login" => step.logging_in(self.kind),
            _ => step,
        }
    }

    fn site(self, fault: Fault) -> Site {
        // It answers late enough for its query's state to be asked for.
        let host = host("web-01").delayed(Duration::from_millis(1_500));
        Site::new(self.kind, Scenario::of([host]).with_fault(fault))
    }
}

fn all() -> Vec<Asked> {
    let of = |kind, what, method, path| Asked {
        kind,
        what,
        method,
        path,
    };
    vec![
        of(Kind::Osctrl, "login", "POST", "/login"),
        of(Kind::Osctrl, "search", "GET", "?q=web-01&page=1"),
        of(Kind::Osctrl, "dispatch", "POST", "/queries/dev"),
        of(Kind::Osctrl, "results", "GET", "/results/"),
        of(Kind::Osctrl, "state", "GET", "/queries/dev/query_"),
        of(Kind::Fleet, "login", "POST", "/login"),
        of(Kind::Fleet, "search", "GET", "/fleet/hosts"),
        of(Kind::Fleet, "dispatch", "POST", "s/run"),
        of(Kind::AisocDirect, "dispatch", "POST", "/enqueue"),
        of(Kind::AisocDirect, "results", "GET", "/distributed/"),
    ]
}

#[test]
fn waits_that_fit_are_made() {
    let soon = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    // As it is written, and the least that is waited: a date has no fractions.
    let waits: [(&dyn Fn() -> String, u64); 5] = [
        (&|| "1".into(), 1_000),
        (&soon, 1_900),
        (&|| "0".into(), 0),
        (&|| "Sun, 06 Nov 1994 08:49:37 GMT".into(), 0),
        (&|| "in a while".into(), 0),
    ];
    for (written, least) in waits {
        let cases = all().into_iter().map(|asked| (asked, written()));
        on_all(cases.collect::<Vec<_>>(), |(asked, written)| {
            let site = asked.site(asked.fault(429, &written).times(1));
            let ran = asked.step(&site).binary().run();
            site.assert_no_secret(&ran);
            assert_eq!(
                (ran.status, ran.document().partial, &*ran.stderr),
                (0, false, ""),
                "{asked:?}, {written}: {ran:?}"
            );
            let seen = site.seen();
            let calls: Vec<_> = seen.requests_to(asked.method, asked.path).collect();
            let again = calls[1..].iter().find(|call| call.path == calls[0].path);
            let again = again.unwrap_or_else(|| panic!("{asked:?}: not asked again"));
            // The date was written a little before the request.
            let waited = again.at.duration_since(calls[0].at);
            let slack = Duration::from_millis(if least > 1_000 { 1_000 } else { 10 });
            assert!(
                waited + slack >= Duration::from_millis(least),
                "{asked:?}, {written}: {waited:?}"
            );
            assert_eq!(seen.campaigns.len(), 1);
        });
    }
}

#[test]
fn waits_beyond_the_deadline_end_the_run_at_once() {
    let waits = [
        "45",
        "99999999999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ];
    for written in waits {
        on_all(all(), |asked| {
            let site = asked.site(asked.fault(429, written));
            let ran = asked.step(&site).timeout(40).binary().run();
            site.assert_no_secret(&ran);
            let error = ran.document().error.expect("an error");
            assert_eq!(
                (ran.status, &*error.code, error.retryable),
                (24, "busy", true),
                "{asked:?}, {written}: {ran:?}"
            );
            let seconds = if written == "45" { 45 } else { 86_400 };
            let said = format!("asks to wait {seconds} s");
            assert!(error.message.ends_with(&said), "{}", error.message);
            assert!(ran.elapsed < Duration::from_secs(20), "{:?}", ran.elapsed);
        });
    }
}

/// A server that is busy for ever and asks for no wait is not flooded.
#[test]
fn no_wait_is_no_flood() {
    on_all(all(), |asked| {
        let site = asked.site(asked.fault(429, "0"));
        let ran = asked.step(&site).timeout(8).binary().run();
        assert_eq!(ran.status, 24, "{asked:?}: {ran:?}");
        let seen = site.seen();
        let mut calls = seen.requests_to(asked.method, asked.path);
        let first = calls.next().expect("a request");
        let again = calls.filter(|call| call.path == first.path).count();
        assert!((1..40).contains(&again), "{asked:?}: {again} times more");
    });
}

/// The query of a run that is over is stopped for as long as that takes, and no longer.
#[test]
fn a_server_that_is_too_busy_to_stop_a_query_holds_nobody_up() {
    let busy = Fault {
        retry_after: Some("45".into()),
        ..Fault::on_method("POST", "/expire/").status(429)
    };
    let hosts = [host("web-01"), crate::harness::site::silent("mute")];
    let site = Site::new(Kind::Osctrl, Scenario::of(hosts).with_fault(busy));
    let step = site.step(&["web-01", "mute"]).timeout(4);
    let ran = step.binary().run();
    let document = ran.document();
    assert_eq!((ran.status, document.timed_out_hosts.len()), (0, 1));
    assert!(document.campaign().may_be_running);
    assert!(ran.elapsed < Duration::from_secs(8), "{:?}", ran.elapsed);
}
