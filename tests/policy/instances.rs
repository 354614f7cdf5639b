//! Instances: servers by name, with credentials that go nowhere else.

use super::*;

fn fleet_instance(simulator: &Simulator, source: &str) -> String {
    format!(
        "instances:\n  corp:\n    backend: fleetdm\n    base_url: {}\n    credentials: {{api_token: {source}}}\n",
        simulator.base_url()
    )
}

#[test]
fn a_step_names_an_instance_and_nothing_else() {
    let folder = Folder::new();
    let simulator = server();
    let file = folder.file("fleet-token", format!("{FLEET_MAINTAINER_TOKEN}\n"));
    for (key, source) in [
        ("instance", format!("{{file: {}}}", file.display())),
        ("instance", "{file: fleet-token}".to_owned()),
        ("instance", "{env: MY_FLEET}".to_owned()),
        ("instance", "{secret: fleet}".to_owned()),
        ("instance_id", "{file: fleet-token}".to_owned()),
    ] {
        let policy =
            folder.policy(&(fleet_instance(&simulator, &source) + "require_instance: true\n"));
        let written = instance_step("corp", "").replace("instance:", &format!("{key}:"));
        assert!(written.contains(key), "{written}");
        let ran = step(written)
            .arg("--policy")
            .arg(&policy)
            .env("MY_FLEET", FLEET_MAINTAINER_TOKEN)
            .env("OSQUERY_LIVE_QUERY_SECRET_FLEET", FLEET_MAINTAINER_TOKEN)
            .run();
        assert_ran(&ran);
        assert_eq!(ran.stderr, "", "{source}");
    }
    for request in simulator.requests() {
        let expected = format!("Bearer {FLEET_MAINTAINER_TOKEN}");
        if let Some(given) = request.header("authorization") {
            assert_eq!(given, expected);
        }
    }
}

#[test]
fn an_osctrl_instance_brings_its_environment_and_login() {
    let folder = Folder::new();
    let simulator = server();
    folder.file("password", "osctrl-plugin-password");
    let policy = folder.policy(&format!(
        "instances:\n  corp:\n    backend: osctrl\n    environment: dev\n    base_url: {}\n    credentials: {{username: {{text: plugin}}, password: {{file: password}}}}\n  token:\n    backend: osctrl\n    environment: dev\n    base_url: {0}\n    credentials: {{api_token: {{env: T}}}}\n",
        simulator.base_url()
    ));
    let run = |name: &str, more: &str| {
        under(&policy, &instance_step(name, more))
            .env("T", OSCTRL_PLUGIN_TOKEN)
            .run()
    };
    let document = assert_ran(&run("token", ""));
    assert_eq!(document.campaign().backend, "osctrl");
    // Which server an instance is decides what its labels are: osctrl's tags, which an old one does not tell.
    let refused = run("token", "target_labels: [Web]");
    let document = refused.document();
    let error = document.error.expect("an error");
    assert_eq!((refused.status, &*error.code), (21, "targets"));
    assert!(
        error
            .message
            .contains("does not say which hosts have a tag"),
        "{}",
        error.message
    );
    // Its login ends the other one's token.
    assert_ran(&run("corp", ""));
}

#[test]
fn an_instance_takes_no_address_or_credentials_of_the_step() {
    let folder = Folder::new();
    let simulator = server();
    let policy = folder.policy(&fleet_instance(&simulator, "{env: T}"));
    for (key, value) in [
        ("backend", "fleetdm"),
        ("base_url", "https://evil.example"),
        ("environment", "dev"),
        ("api_token", "\"{{ secrets.token }}\""),
        ("username", "u"),
        ("password", "\"{{ secrets.token }}\""),
        ("verify_tls", "false"),
        ("ca_file", "/etc/ca.pem"),
    ] {
        let text = instance_step("corp", &format!("{key}: {value}"));
        let ran = under(&policy, &text).env("T", FLEET_MAINTAINER_TOKEN).run();
        ran.assert_failure(
            11,
            "schema",
            &format!("error[schema]: the step does not conform to its schema: `{key}` does not go with `instance`: the operator's policy says where the instance is and how to get in (line 7, column 3)\n"),
        );
    }
    assert_eq!(simulator.connections(), 0);
}

#[test]
fn an_unknown_instance_is_refused() {
    let folder = Folder::new();
    let simulator = server();
    let policy = folder.policy(&fleet_instance(&simulator, "{env: T}"));
    assert_refused(
        &under(&policy, &instance_step("crop", "")).run(),
        "the operator's policy forbids the step: the policy has no such instance; its instances are `corp` (line 4, column 13)",
    );
    assert_refused(
        &binary(&instance_step("corp", "")).run(),
        "the defaults forbid the step: `instance` names a server of the operator's policy, and there is no policy: name one with `--policy` or the variable OSQUERY_LIVE_QUERY_POLICY (line 4, column 13)",
    );
    assert_refused(
        &under(&policy, &instance_step("corp", "")).run(),
        "the instance `corp` has no `api_token`: the variable T is not set",
    );
    assert_eq!(simulator.connections(), 0);
}

#[test]
fn instances_can_be_required() {
    let folder = Folder::new();
    let simulator = server();
    let policy =
        folder.policy(&(fleet_instance(&simulator, "{env: T}") + "require_instance: true\n"));
    assert_refused(
        &under(&policy, &fleet_step(&simulator.base_url(), "")).run(),
        "the operator's policy forbids the step: the policy says `require_instance: true`: name the server in `params.instance` instead of its address and credentials; its instances are `corp` (line 4, column 3)",
    );
    assert_eq!(simulator.connections(), 0);
}

#[test]
fn an_instances_secret_is_not_for_steps_with_their_own_address() {
    let folder = Folder::new();
    let simulator = server();
    let elsewhere = server();
    let dir = folder.folder("secrets");
    folder.file("secrets/corp-token", FLEET_MAINTAINER_TOKEN);
    folder.file("secrets/copy", format!("{FLEET_MAINTAINER_TOKEN}\n"));
    folder.file("secrets/other", "another-token");
    std::os::unix::fs::symlink(folder.at("secrets/corp-token"), folder.at("secrets/link"))
        .expect("a link");
    let run = |source: &str, name: &str| {
        let policy = folder.policy(&fleet_instance(&simulator, source));
        let text = fleet_step(&elsewhere.base_url(), "")
            .replace("secrets.token", &format!("secrets.{name}"));
        under(&policy, &text)
            .arg("--secrets-dir")
            .arg(&dir)
            .env("OSQUERY_LIVE_QUERY_SECRET_IN_ENV", FLEET_MAINTAINER_TOKEN)
            .run()
    };
    let stderr = "the operator's policy forbids the step: `api_token` names a secret of one of the policy's instances: it is available only to steps that name the instance in `params.instance` (line 6, column 14)";
    for (source, name) in [
        // By its name, and by names that look the same variable up.
        ("{secret: corp-token}", "corp-token"),
        ("{secret: corp-token}", "corp_token"),
        ("{secret: corp-token}", "CORP-TOKEN"),
        ("{env: OSQUERY_LIVE_QUERY_SECRET_IN_ENV}", "in_env"),
        // Under another name: the same file, a link to it, a copy, the environment.
        ("{file: secrets/corp-token}", "corp-token"),
        ("{file: secrets/corp-token}", "link"),
        ("{file: secrets/corp-token}", "copy"),
        ("{file: secrets/corp-token}", "in_env"),
        ("{secret: corp-token}", "copy"),
    ] {
        assert_refused(&run(source, name), stderr);
    }
    assert_eq!((simulator.connections(), elsewhere.connections()), (0, 0));
    // Another secret is the step's own business.
    let ran = run("{file: secrets/corp-token}", "other");
    assert_eq!(ran.document().error.expect("an error").code, "auth");
    assert_eq!(simulator.connections(), 0);
}
