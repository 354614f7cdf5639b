//! What a scenario file says of this service, and what its errors say.

use std::time::Duration;

use osquery_simulator::{AisocVersion, HostIdentifier, Scenario, Wire};

fn error(text: &str) -> String {
    Scenario::from_yaml(text).expect_err(text).to_string()
}

#[test]
fn everything_can_be_written() {
    let scenario = Scenario::from_yaml(
        "
wire: aisoc_direct
aisoc_direct:
  version: fork_api_token
  tenants: [0f0e0d0c-0b0a-4908-8706-050403020100]
  service_token: t
  console_tokens: [{token: c, tenant: 0f0e0d0c-0b0a-4908-8706-050403020100}]
  dev_mode: true
  enroll_secret: s
  host_identifier: uuid
  idle_ms: 100
  burst: {requests: 20, idle_ms: 3}
hosts:
  - {hostname: a, tenant: any, host_identifier: hostname, behaviour: {lost_answers: 2}}
  - {hostname: 'b-{n}', count: 2, host_identifier: {specified: 'x-{n}'}}
",
    )
    .expect("a scenario");
    assert_eq!(scenario.wire, Wire::AisocDirect);
    let aisoc = &scenario.aisoc_direct;
    assert_eq!(aisoc.version, AisocVersion::ForkApiToken);
    assert_eq!(aisoc.host_identifier, HostIdentifier::Uuid);
    assert_eq!(aisoc.idle, Duration::from_millis(100));
    assert_eq!(aisoc.burst.map(|burst| burst.requests), Some(20));
    assert_eq!(scenario.hosts[0].behaviour.lost_answers, 2);
    let specified = HostIdentifier::Specified("x-{n}".into());
    assert_eq!(scenario.hosts[1].host_identifier, Some(specified));
    for (word, wire) in [
        ("both", Wire::All),
        ("all", Wire::All),
        ("osctrl", Wire::Osctrl),
    ] {
        let scenario = Scenario::from_yaml(&format!("wire: {word}")).expect(word);
        assert_eq!(scenario.wire, wire);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (text, message) in [
        (
            "aisoc_direct: {tenants: []}",
            "aisoc_direct.tenants must name at least one tenant",
        ),
        (
            "aisoc_direct: {tenants: [default]}",
            "aisoc_direct.tenants[0]: 'default' is not a uuid such as \
             00000000-0000-0000-0000-000000000001",
        ),
        (
            "aisoc_direct: {tenants: [0F0E0D0C-0B0A-4908-8706-050403020100]}",
            "aisoc_direct.tenants[0]: '0F0E0D0C-0B0A-4908-8706-050403020100' is not a uuid such as \
             00000000-0000-0000-0000-000000000001",
        ),
        (
            "aisoc_direct: {console_tokens: [{token: c, tenant: x}]}",
            "aisoc_direct.console_tokens[0].tenant: 'x' is not a uuid such as \
             00000000-0000-0000-0000-000000000001",
        ),
        (
            "aisoc_direct: {version: fork_api_token, service_token: null}",
            "aisoc_direct.service_token: this release has nothing else to ask",
        ),
        (
            "hosts: [{hostname: a, tenant: 0f0e0d0c-0b0a-4908-8706-050403020100}]",
            "hosts[0].tenant '0f0e0d0c-0b0a-4908-8706-050403020100' is not among aisoc_direct.tenants",
        ),
        (
            "hosts: [{hostname: 'a-{n}', count: 2, host_identifier: {specified: x}}]",
            "hosts[0].host_identifier must contain {n}: of hosts with one identifier only the last is \
             enrolled",
        ),
    ] {
        assert_eq!(error(text), message);
    }
}
