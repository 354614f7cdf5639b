//! Servers that fail before, during and after the dispatch: what is asked again, and what never is.

use osquery_simulator::{Cut, Fault, Scenario};

use crate::harness::site::{Kind, Site, host, on_all, on_every, on_those};

/// What a gateway or a broken server answers.
const STATUSES: [u16; 4] = [500, 502, 503, 504];

#[test]
fn faults_failing_server_is_asked_again_before_the_dispatch() {
    // Where no hosts are looked for, these are looks at the answers.
    on_every(|kind| {
        for status in [502, 503, 504] {
            let fault = kind.finding().status(status).times(2);
            let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
            let ran = site.step(&["web-01"]).binary().run();
            site.assert_no_secret(&ran);
            assert_eq!(
                (ran.status, ran.document().partial),
                (0, false),
                "{status}: {ran:?}"
            );
            assert_eq!(kind.dispatches(&site.seen()), 1);
        }
    });
}

#[test]
fn faults_failing_server_until_the_deadline() {
    // Where no hosts are looked for nothing is asked before the dispatch; looks that fail for good are in
    // `faults_polls_that_fail_for_good`.
    on_those(Kind::lists_hosts, |kind| {
        on_all(STATUSES, |status| {
            let fault = kind
                .finding()
                .status(status)
                .body("<html>a web page</html>");
            let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
            let step = site.step(&["web-01"]).timeout(3);
            let document = site.run(&format!("always-{status}-before-the-dispatch"), step);
            assert!(!document.campaign().may_be_running);
        });
    });
}

#[test]
fn faults_failing_dispatch_is_not_repeated() {
    on_every(|kind| {
        for status in STATUSES {
            let fault = kind.dispatching().status(status);
            let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
            let document = site.run(&format!("{status}-on-the-dispatch"), site.step(&["web-01"]));
            assert_eq!(kind.dispatches(&site.seen()), 1, "{status}");
            assert!(document.campaign().may_be_running, "{status}: nobody knows");
        }
    });
}

#[test]
fn faults_lost_answer_to_the_dispatch() {
    on_every(|kind| {
        let fault = kind.dispatching().cut(Cut::After);
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
        let document = site.run("lost-answer-to-the-dispatch", site.step(&["web-01"]));
        assert!(document.campaign().may_be_running);
        assert_eq!(site.seen().campaigns.len(), 1);
        assert_eq!(kind.dispatches(&site.seen()), 1);
    });
}

#[test]
fn faults_short_wait_is_obeyed() {
    on_every(|kind| {
        let finding = match kind {
            Kind::Fleet | Kind::AisocDirect => kind.finding(),
            // Others of the searches that run side by side may turn out not to be needed.
            Kind::Osctrl => Fault::on_method("GET", "?q=web-01&page=1"),
        };
        on_all([finding, kind.dispatching()], |fault| {
            let fault = Fault {
                retry_after: Some("1".into()),
                ..fault.status(429).times(1)
            };
            let path = fault.path.clone();
            let method = fault.method.clone().expect("a method");
            let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
            let ran = site.step(&["web-01"]).binary().run();
            site.assert_no_secret(&ran);
            assert_eq!((ran.status, &*ran.stderr), (0, ""), "{ran:?}");
            assert!(!ran.document().partial);
            let seen = site.seen();
            let calls: Vec<_> = seen.requests_to(&method, &path).collect();
            let again = calls[1..].iter().find(|call| call.path == calls[0].path);
            let Some(again) = again else {
                panic!("not asked again: {calls:#?}");
            };
            let waited = again.at.duration_since(calls[0].at);
            assert!(waited.as_millis() >= 990, "{path}: {waited:?}");
        });
    });
}

#[test]
fn faults_long_wait_is_busy_at_once() {
    on_every(|kind| {
        for (name, fault, status) in [
            ("busy-before-the-dispatch", kind.finding(), 429),
            ("busy-at-the-dispatch", kind.dispatching(), 429),
            ("unavailable-for-long", kind.finding(), 503),
        ] {
            // Where no hosts are looked for, it is only busy when answers are.
            let dispatched = !kind.lists_hosts() && fault.path == kind.finding().path;
            let fault = Fault {
                retry_after: Some("120".into()),
                ..fault.status(status)
            };
            let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
            let started = std::time::Instant::now();
            let document = site.run(name, site.step(&["web-01"]));
            assert!(
                started.elapsed().as_secs() < 20,
                "the 30 s were not waited for"
            );
            assert_eq!(document.campaign().may_be_running, dispatched, "{name}");
        }
    });
}

/// A check asks no host, whatever the server answers; what it answers is told.
#[test]
fn faults_check_of_a_failing_server() {
    on_every(|kind| {
        let mut faults: Vec<Fault> = STATUSES
            .map(|status| kind.finding().status(status).body("<html>"))
            .into();
        faults.push(kind.finding().status(429));
        faults.push(kind.finding().body("<html>a web page</html>"));
        faults.push(kind.finding().status(404).body("<html>"));
        faults.push(Fault {
            hang: true,
            ..kind.finding()
        });
        on_all(faults, |fault| {
            let site = Site::new(
                kind,
                Scenario::of([host("web-01")]).with_fault(fault.clone()),
            );
            let step = site.step(&["web-01"]).timeout(3).arg("check");
            let ran = step.binary().run();
            site.assert_no_secret(&ran);
            let document = ran.document();
            let error = document.error.as_ref().expect("an error");
            let codes = ["backend", "busy", "deadline"];
            assert!(
                codes.contains(&&*error.code) && ran.status == error.exit_code,
                "{kind:?} {fault:?}: {ran:?}"
            );
            assert_eq!(document.timed_out_hosts, ["web-01"]);
            assert_eq!(kind.dispatches(&site.seen()), 0);
        });
    });
}

/// The address of live queries was renamed; both kinds of Fleet are spoken to.
#[test]
fn faults_paths_of_every_fleet() {
    use osquery_simulator::Paths;
    for (paths, dispatches) in [(Paths::Old, 2), (Paths::New, 1), (Paths::Both, 1)] {
        let mut scenario = Scenario::of([host("web-01")]);
        scenario.fleet.paths = paths;
        let site = Site::new(Kind::Fleet, scenario);
        let ran = site.step(&["web-01"]).binary().run();
        site.assert_no_secret(&ran);
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{paths:?}");
        assert_eq!(ran.document().results["web-01"].len(), 1);
        let seen = site.seen();
        let tried = seen
            .requests
            .iter()
            .filter(|call| call.path.ends_with("/run"))
            .count();
        assert_eq!((tried, seen.campaigns.len()), (dispatches, 1), "{paths:?}");
    }
}
