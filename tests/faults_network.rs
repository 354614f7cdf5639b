//! Servers that can't be reached, are not who they say they are, or send the client elsewhere.

use osquery_simulator::{Fault, Scenario, Simulator};

use crate::harness::site::{Site, Step, compare, host, on_every};

/// An address on which nobody listens.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[test]
fn faults_server_down() {
    on_every(|kind| {
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

/// A check says so within five seconds, whatever the step's timeout is and however the server is away.
#[test]
fn faults_check_gives_up_on_a_server_that_cant_be_reached() {
    // One connection fills the queue of those that nobody accepts; more are not answered at all.
    let listener = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket
                .bind("127.0.0.1:0".parse().expect("an address"))
                .expect("a port");
            socket.listen(0).expect("a listener").into_std()
        })
        .expect("a listener");
    let swallowing = listener.local_addr().expect("an address");
    let _filling: Vec<_> = (0..2)
        .map(|_| {
            std::net::TcpStream::connect_timeout(&swallowing, std::time::Duration::from_millis(200))
        })
        .collect();
    let addresses = [
        (closed_port(), "the connection was refused"),
        (
            format!("http://{swallowing}"),
            "no answer to the connection",
        ),
        (
            "https://osquery-live-query.invalid".into(),
            "can't be resolved",
        ),
    ];
    on_every(|kind| {
        for (address, why) in &addresses {
            let step = Step::of(kind, address, &["web-01"]).timeout(600);
            let ran = step.arg("check").binary().run();
            let error = ran.document().error.expect("an error");
            assert!(
                error.code == "unreachable" && error.retryable && error.message.contains(why),
                "{error:?}"
            );
            let most = std::time::Duration::from_secs(7);
            assert!(ran.elapsed < most, "{kind:?} {why}: {:?}", ran.elapsed);
        }
    });
}

/// A server that answers slowly is there: a check waits for it.
#[test]
fn faults_check_of_a_slow_server() {
    on_every(|kind| {
        let fault = Fault {
            delay: std::time::Duration::from_millis(5_500),
            times: Some(1),
            ..Fault::on("/api/")
        };
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
        let ran = site.step(&["web-01"]).arg("check").binary().run();
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.elapsed.as_millis() > 5_500, "{:?}", ran.elapsed);
    });
}

/// What the system does not give is named as that, and is no bug of ours.
#[test]
fn faults_few_files_may_be_open() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_tls());
        let authority = site.simulator.ca_path().expect("an authority");
        let authority = authority.display().to_string();
        let mut named = 0;
        for files in 9..24 {
            let step = site.step(&["web-01"]).with("ca_file", &*authority);
            let limited = format!("ulimit -n {files}; exec \"$@\"");
            let binary = step.binary().by_shell(limited);
            let ran = binary.run();
            site.assert_no_secret(&ran);
            let document = ran.document();
            let Some(error) = document.error else {
                assert_eq!(ran.status, 0, "{ran:?}");
                continue;
            };
            assert!(!error.message.contains("a bug"), "{files}: {error:?}");
            assert!(!error.retryable, "{files}: {error:?}");
            let limit = "this process may open no more files";
            named += usize::from(error.code == "unreachable" && error.message.contains(limit));
        }
        assert!(named > 0, "the limit was never met");
        let ran = site.step(&["web-01"]).with("ca_file", &*authority).binary();
        assert_eq!(ran.by_shell("ulimit -n 64; exec \"$@\"").run().status, 0);
    });
}

/// A proxy is where the token goes first: what is none is an error, and never left out.
#[test]
fn faults_proxies_of_the_environment() {
    on_every(|kind| {
        let closed = closed_port();
        let authority = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/faults/another-authority.pem"
        );
        for (value, status, words) in [
            (
                "http://user:marker-of-a-password@169.254.169.254:3128",
                14,
                "the proxy in the variable HTTPS_PROXY has an address that is not connected to",
            ),
            (
                "[::ffff:169.254.169.254]:3128",
                14,
                "the proxy in the variable HTTPS_PROXY has an address that is not connected to",
            ),
            (
                "http://user:marker-of-a-password@proxy:port",
                23,
                "the proxy in the variable HTTPS_PROXY can't be used: it is not an address",
            ),
            (
                "socks5://user:marker-of-a-password@127.0.0.1:1080",
                23,
                "the proxy in the variable HTTPS_PROXY can't be used: only HTTP proxies are spoken to",
            ),
            (&closed, 23, "through the proxy"),
        ] {
            for verb in ["run", "check"] {
                let step = Step::of(kind, "https://fleet.example.invalid", &["web-01"]);
                let step = step.with("ca_file", authority).timeout(2);
                let binary = step.arg(verb).binary().env("HTTPS_PROXY", value);
                let ran = binary.run();
                let error = ran.document().error.expect("an error");
                assert!(
                    ran.status == status && error.message.contains(words),
                    "{value}: {ran:?}"
                );
                assert_eq!(error.retryable, value == closed, "{error:?}");
                assert!(!format!("{ran:?}").contains("marker-of-a-password"));
            }
        }
    });
}

#[test]
fn faults_unknown_name() {
    on_every(|kind| {
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
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]).with_tls());
        let document = site.run("unknown-authority", with_roots(site.step(&["web-01"])));
        assert!(document.error.is_some_and(|error| !error.retryable));
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
    on_every(|kind| {
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
    on_every(|kind| {
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
    on_every(|kind| {
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
    on_every(|kind| {
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
    on_every(|kind| {
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
                // Where no hosts are looked for, the redirect comes where answers are.
                let dispatched = !kind.lists_hosts() && name == "redirect-at-finding";
                let running = document.campaign().may_be_running;
                assert_eq!(running, dispatched, "{name} {status}");
                assert_eq!(site.seen().campaigns.is_empty(), !dispatched);
            }
        }
        let came = elsewhere.accept().expect_err("nobody connects");
        assert_eq!(came.kind(), std::io::ErrorKind::WouldBlock);
    });
}
