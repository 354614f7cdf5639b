//! Limits: more than allowed is refused, a default above is lowered.

use super::*;

#[test]
fn who_asks_for_more_is_refused() {
    let folder = Folder::new();
    let simulator = server();
    let policy = folder
        .policy("max_timeout_seconds: 30\nmax_hosts: 10\nmax_rows_per_host: 5\nmax_bytes: 2048\n");
    for (field, asked, key, most) in [
        ("timeout_seconds", 31, "max_timeout_seconds", 30),
        ("max_hosts", 11, "max_hosts", 10),
        ("max_rows_per_host", 6, "max_rows_per_host", 5),
        ("max_bytes", 2049, "max_bytes", 2048),
    ] {
        let text = fleet_step(&simulator.base_url(), &format!("{field}: {asked}"));
        let column = field.len() + 5;
        assert_refused(
            &under(&policy, &text).run(),
            &format!(
                "the operator's policy forbids the step: `{field}` is above the policy's `{key}` of {most}: ask for less (line 9, column {column})"
            ),
        );
        // As much as allowed is allowed.
        let text = fleet_step(&simulator.base_url(), &format!("{field}: \"{most}\""));
        let before = simulator.campaigns().len();
        assert_eq!(under(&policy, &text).run().status, 0);
        assert_eq!(simulator.campaigns().len(), before + 1);
    }
}

#[test]
fn all_that_is_forbidden_is_said_at_once() {
    let folder = Folder::new();
    let policy = folder.policy("max_hosts: 10\nmax_timeout_seconds: 5\nallowed_base_urls: []\ntemplates: {deny: {tags: [accounts]}}\n");
    let text = fleet_step(
        "https://fleet.example.com",
        "max_hosts: 11\ntimeout_seconds: 6",
    );
    let document = assert_refused(
        &under(&policy, &text).run(),
        "the operator's policy forbids the step:\n  line 5, column 13: `base_url` is not one of the policy's `allowed_base_urls`, nor under one of them\n  line 9, column 14: `max_hosts` is above the policy's `max_hosts` of 10: ask for less\n  line 10, column 20: `timeout_seconds` is above the policy's `max_timeout_seconds` of 5: ask for less\n  line 8, column 13: the template `logged_in_users` is on the policy's list `templates.deny`",
    );
    let error = document.error.expect("an error");
    assert_eq!(error.details.len(), 4);
    assert!(!error.retryable);
    assert_eq!(
        error.hint,
        Some(format!("the policy is {}", policy.display()))
    );
    assert_eq!(document.timed_out_hosts, ["web-01"]);
}

#[test]
fn defaults_are_lowered() {
    let folder = Folder::new();
    let hosts = [
        HostSpec::named("web-01").answering(Answer::Silent),
        HostSpec::named("web-02"),
    ];
    let simulator = Simulator::spawn(Scenario::of(hosts)).expect("a simulator");
    let all = fleet_step(&simulator.base_url(), "").replace("[web-01]", "[web-01, web-02]");
    let processes = all.replace("logged_in_users", "running_processes");
    let policy = folder.policy("max_timeout_seconds: 1\nmax_rows_per_host: 2\n");
    let ran = under(&policy, &processes).run();
    let document = ran.document();
    assert!(ran.elapsed < Duration::from_secs(20), "{:?}", ran.elapsed);
    assert_eq!(document.timed_out_hosts, ["web-01"]);
    assert_eq!(document.rows("web-02").len(), 2);
    assert!(document.truncated);

    let policy = folder.policy("max_hosts: 1");
    let document = under(&policy, &all).run().assert_failure(
        21,
        "targets",
        "error[targets]: the targets are more hosts than `max_hosts` allows (1): nothing was dispatched\n",
    );
    assert!(document.results.is_empty());

    let policy = folder.policy("max_bytes: 1024\nmax_timeout_seconds: 1");
    let ran = under(&policy, &processes).run();
    assert!(
        ran.document().truncated && ran.stdout.len() <= 1024,
        "{}",
        ran.stdout.len()
    );
}

#[test]
fn a_policy_that_does_not_say_allows_a_thousand_hosts() {
    let folder = Folder::new();
    let simulator = server();
    let text = fleet_step(&simulator.base_url(), "max_hosts: 1001");
    let policy = folder.policy("{}");
    assert_refused(
        &under(&policy, &text).run(),
        "the operator's policy forbids the step: `max_hosts` is above the policy's `max_hosts` of 1000: ask for less (line 9, column 14)",
    );
    assert_eq!(simulator.connections(), 0);
    // Without a policy the step's own word counts.
    assert_ran(&binary(&text).run());
    let policy = folder.policy("max_hosts: 1001");
    assert_ran(&under(&policy, &text).run());
}
