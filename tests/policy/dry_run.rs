//! `dry-run --policy`: what the policy would refuse is found without a network, without secrets, and on a
//! machine that has neither the instance's files nor its address.

use super::*;

fn report(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("no report: {ran:?}"))
}

fn dry_run(policy: &std::path::Path, step_text: &str) -> Ran {
    step(step_text)
        .args(&["dry-run", "--format", "json", "--policy"])
        .arg(policy)
        .arg("-")
        .run()
}

#[test]
fn dry_run_finds_what_the_policy_would_refuse() {
    let folder = Folder::new();
    let policy = folder.policy(
        "instances:\n  corp:\n    backend: fleetdm\n    base_url: https://fleet.example.com\n    ca_file: /absent/ca.pem\n    credentials: {api_token: {file: /absent/token}}\nmax_timeout_seconds: 30\ntemplates: {deny: {names: [listening_ports]}}\nrequire_instance: true\n",
    );
    let step_of = |more: &str| {
        format!(
            "id: s\nname: s\ntype: osquery_live_query\nparams:\n  {more}\n  target_hosts: [web-01]\n"
        )
    };
    for (params, rule) in [
        (
            "instance: corp\n  template: logged_in_users\n  timeout_seconds: 31",
            "limit",
        ),
        ("instance: corp\n  template: listening_ports", "template"),
        ("instance: other\n  template: logged_in_users", "instance"),
        (
            "backend: fleetdm\n  base_url: https://fleet.example.com\n  api_token: '{{ secrets.t }}'\n  template: logged_in_users",
            "require_instance",
        ),
    ] {
        let ran = dry_run(&policy, &step_of(params));
        let report = report(&ran);
        let problems = report["files"][0]["problems"].as_array().expect("problems");
        let errors: Vec<_> = problems
            .iter()
            .filter(|problem| problem["severity"] == "error")
            .map(|problem| problem["rule"].as_str().unwrap_or_default())
            .collect();
        assert_eq!((ran.status, errors), (1, vec![rule]), "{ran:?}");
    }
    let ran = dry_run(
        &policy,
        &step_of("instance: corp\n  template: logged_in_users"),
    );
    let report = report(&ran);
    assert_eq!(
        (ran.status, &report["summary"]["errors"]),
        (0, &0.into()),
        "{ran:?}"
    );
    assert_eq!(report["files"][0]["steps"][0]["backend"], "fleetdm");
}

#[test]
fn dry_run_stops_where_the_policy_is_unusable() {
    let folder = Folder::new();
    let policy = folder.policy("max_host: 3\n");
    let ran = dry_run(&policy, "id: s\n");
    assert_eq!((ran.status, &*ran.stdout), (14, ""), "{ran:?}");
    assert!(ran.stderr.contains("`max_host`"), "{ran:?}");
}
