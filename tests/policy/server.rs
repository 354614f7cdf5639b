//! Where a step that writes its own address may go, and how.

use super::*;

#[test]
fn plain_http_goes_to_this_machine_only() {
    for url in [
        "http://fleet.example.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://[64:ff9b::7f00:1]",
    ] {
        let document = assert_refused(
            &binary(&fleet_step(url, "")).run(),
            "the defaults forbid the step: `base_url` is plain http to another machine, where credentials and rows can be read on the way: use https (the policy's `allow_http` allows it) (line 5, column 13)",
        );
        let hint = document.error.expect("an error").hint;
        assert_eq!(
            hint.as_deref(),
            Some(
                "an operator's policy (`--policy FILE`) can allow it with the key that the message names"
            )
        );
    }
    let simulator = server();
    let port = simulator.addr().port();
    for host in ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"] {
        assert_ran(&binary(&fleet_step(&format!("http://{host}:{port}"), "")).run());
    }
}

#[test]
fn plain_http_can_be_allowed() {
    let folder = Folder::new();
    let policy = folder.policy("allow_http: true");
    let text = fleet_step("http://fleet.invalid", "timeout_seconds: 1");
    let ran = under(&policy, &text).run();
    let error = ran.document().error.expect("an error");
    assert_eq!(error.code, "unreachable", "{ran:?}");
    assert!(
        ran.stderr.starts_with("warning: `base_url` is plain http"),
        "{ran:?}"
    );
}

#[test]
fn addresses_that_no_server_has_are_refused_in_every_spelling() {
    let folder = Folder::new();
    let policy = folder.policy("allow_http: true\nallow_insecure_tls: true");
    for (host, reason) in [
        (
            "169.254.169.254",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "169.254.169.254.",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "2852039166",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "0xA9FEA9FE",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "0251.0376.0251.0376",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "0xa9.254.43518",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "%31%36%39.254.169.254",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "１６９。２５４。１６９。２５４",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "[::ffff:169.254.169.254]",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "[::ffff:a9fe:a9fe]",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "[64:ff9b::169.254.169.254]",
            "link-local, where clouds keep their metadata service",
        ),
        (
            "[2002:a9fe:a9fe::]",
            "link-local, where clouds keep their metadata service",
        ),
        ("100.100.100.200", "a cloud's metadata service"),
        ("168.63.129.16", "a cloud's metadata service"),
        ("[fd00:ec2::254]", "a cloud's metadata service"),
        ("[fe80::1]", "link-local"),
        ("224.0.0.1", "multicast"),
        ("[ff02::1]", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("0.0.0.0", "unspecified"),
        ("0", "unspecified"),
        ("[::]", "unspecified"),
    ] {
        for (scheme, binary, what) in [
            ("https", binary as fn(&str) -> Binary, "the defaults forbid"),
            ("http", binary, "the defaults forbid"),
        ] {
            let text = fleet_step(&format!("{scheme}://{host}"), "");
            let stderr = format!(
                "{what} the step: `base_url` is an address that no live-query server has: it is {reason} (line 5, column 13)"
            );
            assert_refused(&binary(&text).run(), &stderr);
        }
        // No key of a policy allows it.
        let ran = under(&policy, &fleet_step(&format!("http://{host}"), "")).run();
        assert_eq!(
            ran.document().error.expect("an error").code,
            "policy",
            "{host}"
        );
    }
}

#[test]
fn base_urls_are_compared_by_origin_and_path() {
    let folder = Folder::new();
    let simulator = server();
    let port = simulator.addr().port();
    let policy = folder.policy(&format!(
        "allowed_base_urls: [\"http://127.0.0.1:{port}\", \"https://gateway.example.com/fleet\"]"
    ));
    assert_ran(&under(&policy, &fleet_step(&simulator.base_url(), "")).run());
    let stderr = "the operator's policy forbids the step: `base_url` is not one of the policy's `allowed_base_urls`, nor under one of them (line 5, column 13)";
    for url in [
        format!("http://localhost:{port}"),
        format!("https://127.0.0.1:{port}"),
        "http://127.0.0.1".to_owned(),
        "https://gateway.example.com".to_owned(),
        "https://gateway.example.com/fleet2".to_owned(),
        "https://gateway.example.com/fleet/../admin".to_owned(),
        "https://gateway.example.com/fleet/%2e%2e/admin".to_owned(),
        "https://gateway.example.com.evil.example/fleet".to_owned(),
        "https://gateway.example.com:8443/fleet".to_owned(),
    ] {
        assert_refused(&under(&policy, &fleet_step(&url, "")).run(), stderr);
    }
    let nothing = folder.policy("allowed_base_urls: []");
    let before = simulator.connections();
    assert_refused(
        &under(&nothing, &fleet_step(&simulator.base_url(), "")).run(),
        stderr,
    );
    assert_eq!(simulator.connections(), before);
}

#[test]
fn unchecked_certificates_are_refused_once_there_is_a_policy() {
    let folder = Folder::new();
    let scenario = Scenario::of([HostSpec::named("web-01")]).with_tls();
    let simulator = Simulator::spawn(scenario).expect("a simulator");
    let text = fleet_step(&simulator.base_url(), "verify_tls: false");
    let warning = "warning: `verify_tls` is false: the server's certificate is not checked, so anyone on the way can read the credentials and the rows\n";
    let policy = folder.policy("{}");
    assert_refused(
        &under(&policy, &text).run(),
        "the operator's policy forbids the step: `verify_tls: false` is refused: name the server's authority in `ca_file` (the policy's `allow_insecure_tls` allows it) (line 9, column 15)",
    );
    assert_eq!(simulator.connections(), 0);
    let ran = binary(&text).run();
    assert_ran(&ran);
    assert_eq!(ran.stderr, warning);
    let policy = folder.policy("allow_insecure_tls: true");
    let ran = under(&policy, &text).run();
    assert_ran(&ran);
    assert_eq!(ran.stderr, warning);
}

#[test]
fn an_authority_that_others_can_change_is_refused() {
    let folder = Folder::new();
    let scenario = Scenario::of([HostSpec::named("web-01")]).with_tls();
    let simulator = Simulator::spawn(scenario).expect("a simulator");
    let file = folder.file("ca.pem", simulator.ca_pem().expect("TLS"));
    let text = fleet_step(
        &simulator.base_url(),
        &format!("ca_file: {}", file.display()),
    );
    assert_ran(&binary(&text).run());
    let before = simulator.connections();
    for mode in [0o622, 0o602, 0o620] {
        folder.mode("ca.pem", mode);
        assert_refused(
            &binary(&text).run(),
            &format!(
                "the defaults forbid the step: `ca_file` {} can be written to by others (mode {mode:04o}): chmod go-w (line 9, column 12)",
                file.display()
            ),
        );
    }
    folder.mode("ca.pem", 0o600);
    let policy = folder.policy(&format!(
        "instances:\n  corp:\n    backend: fleetdm\n    base_url: {}\n    ca_file: ca.pem\n    credentials: {{api_token: {{env: T}}}}\n",
        simulator.base_url()
    ));
    let of_instance = || {
        under(&policy, &instance_step("corp", ""))
            .env("T", FLEET_MAINTAINER_TOKEN)
            .run()
    };
    folder.mode("ca.pem", 0o666);
    assert_refused(
        &of_instance(),
        &format!(
            "the operator's policy forbids the step: `ca_file` {} can be written to by others (mode 0666): chmod go-w (line 4, column 13)",
            file.display()
        ),
    );
    assert_eq!(simulator.connections(), before);
    folder.mode("ca.pem", 0o644);
    assert_ran(&of_instance());
    let text = fleet_step(
        &simulator.base_url(),
        &format!("ca_file: {}", folder.name("")),
    );
    assert_refused(
        &binary(&text).run(),
        &format!(
            "the defaults forbid the step: `ca_file` {} is a folder, not a regular file (line 9, column 12)",
            folder.name("")
        ),
    );
}

#[test]
fn loopback_never_goes_through_a_proxy() {
    let simulator = server();
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = format!("http://{}", proxy.local_addr().expect("an address"));
    let ran = binary(&fleet_step(&simulator.base_url(), ""))
        .env("HTTP_PROXY", &address)
        .env("http_proxy", &address)
        .env("ALL_PROXY", &address)
        .run();
    assert_ran(&ran);
    proxy.set_nonblocking(true).expect("a mode");
    assert!(proxy.accept().is_err(), "the proxy was asked");
}
