//! The policy's file: named, found, owned and understood, or nothing is run.

use super::*;

/// What a run with this policy says; no connection is ever made.
#[track_caller]
fn refused(policy: &std::path::Path, stderr: &str) {
    let simulator = server();
    let ran = under(policy, &fleet_step(&simulator.base_url(), "")).run();
    let shown = policy.display().to_string();
    assert_refused(&ran, &stderr.replace("$POLICY", &shown));
    assert_eq!(simulator.connections(), 0);
}

#[test]
fn a_policy_that_allows_it_lets_a_step_run() {
    let folder = Folder::new();
    let simulator = server();
    for text in ["{}", "{\"max_hosts\": 5}", "# nothing\nmax_hosts: 5\n"] {
        let policy = folder.policy(text);
        assert_ran(&under(&policy, &fleet_step(&simulator.base_url(), "")).run());
        let ran = binary(&fleet_step(&simulator.base_url(), ""))
            .env("OSQUERY_LIVE_QUERY_POLICY", &policy)
            .run();
        assert_ran(&ran);
    }
}

#[test]
fn a_missing_policy_is_no_policy_at_all() {
    let folder = Folder::new();
    refused(&folder.at("none.yaml"), "the policy $POLICY does not exist");
}

#[test]
fn a_policy_that_others_can_change_is_refused() {
    let folder = Folder::new();
    let policy = folder.policy("{}");
    for mode in [0o620, 0o602, 0o666] {
        folder.mode("policy.yaml", mode);
        refused(
            &policy,
            &format!(
                "the policy $POLICY can be written to by others (mode {mode:04o}): chmod go-w"
            ),
        );
    }
    folder.mode("policy.yaml", 0o644);
    folder.mode("", 0o777);
    refused(
        &policy,
        &format!(
            "the policy $POLICY lies under {}, which can be written to by others (mode 0777): chmod go-w",
            folder.name("")
        ),
    );
}

#[test]
fn a_policy_of_another_user_is_refused() {
    let folder = Folder::new();
    let policy = folder.policy("{}");
    // Only root can give files away, and where the test is not root, there is nothing to see.
    if std::os::unix::fs::chown(&policy, Some(12_345), None).is_err() {
        return;
    }
    refused(
        &policy,
        "the policy $POLICY belongs to the user 12345, who is neither root nor the user of this process (0), and can change it",
    );
}

#[test]
fn what_is_no_regular_file_of_sane_size_is_refused() {
    let folder = Folder::new();
    refused(
        &folder.at(""),
        "the policy $POLICY is a folder, not a regular file",
    );
    let large = folder.policy(&"#\n".repeat(600_000));
    refused(&large, "the policy $POLICY is larger than 1 MiB");
    fs::write(&large, [0xff]).expect("a file");
    refused(&large, "the policy $POLICY is not UTF-8");
}

#[test]
fn what_is_not_understood_stops_the_run() {
    let folder = Folder::new();
    for (text, stderr) in [
        (
            "",
            "it is empty: write `{}` for a policy that only keeps the defaults",
        ),
        (
            "max_host: 5",
            "line 1, column 1 of the policy: unknown key `max_host`: did you mean `max_hosts`?",
        ),
        (
            "max_hosts: lots",
            "line 1, column 12 of the policy: `max_hosts` must be a whole number from 1 to 1000000",
        ),
        (
            "require_instance: yes",
            "line 1, column 19 of the policy: `require_instance` must be true or false, in lower case and without quotes",
        ),
        (
            "allow_http: true\ntemplates:\n  forbid: {names: [a]}\nmax_hosts: 0\n",
            "\n  line 3, column 3 of the policy: unknown key `forbid`; the keys here are `allow`, `deny`\n  line 4, column 12 of the policy: `max_hosts` must be a whole number from 1 to 1000000",
        ),
        (
            "max_concurrent: 2",
            "line 1, column 1 of the policy: `max_concurrent` needs `lock_dir`: the folder that holds the locks",
        ),
        (
            "instances:\n  a:\n    backend: fleetdm\n    base_url: http://10.1.2.3\n    credentials: {api_token: {env: T}}",
            "`instances.a.base_url` is plain http to another machine: use https, or say `allow_http: true`",
        ),
        (
            "templates: {deny: {names: [shell_histroy]}}",
            "`templates.deny.names` lists `shell_histroy`, which is no template: did you mean `shell_history`?",
        ),
    ] {
        let policy = folder.policy(text);
        refused(
            &policy,
            &format!(
                "the policy $POLICY can't be used:{}{stderr}",
                if stderr.starts_with('\n') { "" } else { " " }
            ),
        );
    }
}

#[test]
fn two_different_policies_are_refused() {
    let folder = Folder::new();
    let (one, other) = (folder.policy("{}"), folder.file("other.yaml", "{}"));
    let simulator = server();
    let with = |flag: &PathBuf, variable: &std::ffi::OsStr| {
        under(flag, &fleet_step(&simulator.base_url(), ""))
            .env("OSQUERY_LIVE_QUERY_POLICY", variable)
            .run()
    };
    assert_refused(
        &with(&one, other.as_os_str()),
        &format!(
            "two policies are named: {} by the variable OSQUERY_LIVE_QUERY_POLICY, {} by `--policy`",
            other.display(),
            one.display()
        ),
    );
    assert_refused(
        &with(&one, std::ffi::OsStr::new("")),
        "the variable OSQUERY_LIVE_QUERY_POLICY is empty",
    );
    assert_eq!(simulator.connections(), 0);
    assert_ran(&with(&one, one.as_os_str()));
}

#[test]
fn the_schema_is_printed_and_is_one() {
    let ran = crate::harness::args(["schema", "policy"]).run();
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let schema = serde_json::from_str(&ran.stdout).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    assert!(validator.is_valid(&serde_json::json!({"max_hosts": 5})));
    assert!(!validator.is_valid(&serde_json::json!({"max_host": 5})));
}
