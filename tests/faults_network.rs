//! Servers that can't be reached, are not who they say they are, or send the client elsewhere.

use osquery_simulator::{Fault, Scenario, Simulator};

use crate::harness::site::{Site, Step, compare, host, on_both};

/// An address on which nobody listens.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[test]
fn faults_server_down() {
    on_both(|kind| {
        let address = closed_port();
        let ran = Step::of(kind, &address, &["web-01"])
            .timeout(3)
            .binary()
            .run();
        compare(&format!("server-down.{}", kind.backend()), &ran, &address);
        assert!(
            ran.elapsed.as_millis() > 400,
            "it is tried again until the deadline"
        );
    });
}

#[test]
fn faults_unknown_name() {
    on_both(|kind| {
        let address = "https://osquery-live-query.invalid";
        let ran = Step::of(kind, address, &["web-01"])
            .timeout(3)
            .binary()
            .run();
        compare(&format!("unknown-name.{}", kind.backend()), &ran, address);
    });
}

#[test]
fn faults_unknown_authority_and_the_ways_on() {
    on_both(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_tls());
        let document = site.run("unknown-authority", with_roots(site.step(&["web-01"])));
        assert!(document.error.is_some_and(|error| error.retryable));
        let authority = site
            .simulator
            .ca_path()
            .expect("an authority")
            .display()
            .to_string();
        let step = site.step(&["web-01"]).with("ca_file", authority);
        assert!(!site.run("trusted-by-ca-file", step).partial);
        let step = site.step(&["web-01"]).with("verify_tls", false);
        assert!(!site.run("not-verified", step).partial);
    });
}

/// A test server that was set up anew has an authority of the same name and another key.
#[test]
fn faults_authority_that_was_made_anew() {
    on_both(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_tls());
        let earlier = Simulator::spawn(Scenario::of([]).with_tls()).expect("a simulator");
        let authority = earlier
            .ca_path()
            .expect("an authority")
            .display()
            .to_string();
        site.run(
            "authority-made-anew",
            site.step(&["web-01"]).with("ca_file", authority),
        );
        assert!(site.seen().requests.is_empty());
    });
}

/// Machines differ in their roots; this one has a root at least: that of nobody.
fn with_roots(step: Step) -> Step {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/faults/another-authority.pem"
    );
    step.with("ca_file", file)
}

#[test]
fn faults_certificate_for_another_name() {
    on_both(|kind| {
        // All of 127/8 is this machine; the certificate knows 127.0.0.1 only.
        let mut scenario = Scenario::of([host("web-01")]).with_tls();
        scenario.listen = "127.0.0.2:0".into();
        let site = Site::new(kind, scenario);
        let authority = site
            .simulator
            .ca_path()
            .expect("an authority")
            .display()
            .to_string();
        let step = site.step(&["web-01"]).with("ca_file", authority);
        site.run("certificate-for-another-name", step);
        assert!(site.seen().requests.is_empty());
    });
}

#[test]
fn faults_certificate_authority_file_that_is_none() {
    on_both(|kind| {
        let missing = "/nonexistent/authority.pem";
        let address = "https://fleet.example.invalid";
        let ran = Step::of(kind, address, &["web-01"])
            .with("ca_file", missing)
            .binary()
            .run();
        compare(
            &format!("ca-file-missing.{}", kind.backend()),
            &ran,
            address,
        );
        let ran = Step::of(kind, address, &["web-01"])
            .with("ca_file", "/dev/null")
            .binary()
            .run();
        compare(
            &format!("ca-file-no-file.{}", kind.backend()),
            &ran,
            address,
        );
    });
}

#[test]
fn faults_plain_server_behind_an_https_address() {
    on_both(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        let address = site.simulator.base_url().replace("http:", "https:");
        let step = Step::of(kind, &address, &["web-01"]);
        let ran = with_roots(step).timeout(3).binary().run();
        site.assert_no_secret(&ran);
        compare(
            &format!("plain-server-behind-https.{}", kind.backend()),
            &ran,
            &address,
        );
    });
}

/// A redirect is an error, and the token goes nowhere else.
#[test]
fn faults_redirects() {
    on_both(|kind| {
        let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        elsewhere.set_nonblocking(true).expect("a listener");
        let target = format!("http://{}/", elsewhere.local_addr().expect("an address"));
        for (name, fault) in [
            ("redirect-at-finding", kind.finding()),
            ("redirect-at-the-dispatch", kind.dispatching()),
        ] {
            for status in [301, 302, 307, 308] {
                let fault = Fault {
                    location: Some(target.clone()),
                    ..fault.clone().status(status)
                };
                let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
                if status == 307 {
                    site.run(name, site.step(&["web-01"]));
                    continue;
                }
                let ran = site.step(&["web-01"]).binary().run();
                site.assert_no_secret(&ran);
                let document = ran.document();
                assert_eq!(ran.status, 22, "{name} {status}: {ran:?}");
                assert!(!document.campaign().may_be_running, "{name} {status}");
                assert!(site.seen().campaigns.is_empty());
            }
        }
        let came = elsewhere.accept().expect_err("nobody connects");
        assert_eq!(came.kind(), std::io::ErrorKind::WouldBlock);
    });
}
