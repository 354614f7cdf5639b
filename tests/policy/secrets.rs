//! Secrets: nowhere but in the one header or body that they are for.

use super::*;
use crate::harness::args;
use osquery_simulator::Fault;

const TOKEN: &str = "M4rk3r-t0ken/with\"quote";
const PASSWORD: &str = "m4rk3r pa\"ss\\word";

/// Every form in which a secret could stand in text.
fn forms(secret: &str) -> Vec<String> {
    let escaped = serde_json::Value::from(secret).to_string();
    let escaped = escaped.trim_matches('"').to_owned();
    let twice = serde_json::Value::from(escaped.as_str()).to_string();
    let url: String = url_encoded(secret);
    vec![
        secret.to_owned(),
        escaped,
        twice.trim_matches('"').to_owned(),
        url,
    ]
}

fn url_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[track_caller]
fn assert_clean(ran: &Ran, folder: &Folder, secrets: &[&str]) {
    let audit = fs::read_to_string(folder.at("audit.jsonl")).unwrap_or_default();
    for secret in secrets {
        for form in forms(secret) {
            for (place, text) in [
                ("stdout", &ran.stdout),
                ("stderr", &ran.stderr),
                ("the audit log", &audit),
            ] {
                assert!(!text.contains(&form), "{place} holds a secret: {text}");
            }
        }
    }
}

/// Steps for both servers, with a token and with a login.
fn steps(url: &str) -> Vec<String> {
    let login = "username: somebody\n  password: \"{{ secrets.password }}\"";
    let token = "api_token: \"{{ secrets.token }}\"";
    let fleet = fleet_step(url, "timeout_seconds: 3");
    let osctrl = fleet.replace("fleetdm", "osctrl\n  environment: dev");
    vec![
        fleet.replace(token, login),
        osctrl.replace(token, login),
        fleet,
        osctrl,
    ]
}

#[test]
fn a_server_that_repeats_secrets_does_not_get_them_printed() {
    let folder = Folder::new();
    let policy = folder.policy("audit_log: audit.jsonl");
    for status in [200, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 307] {
        let body = serde_json::json!({
            "error": format!("bad {TOKEN} or {PASSWORD}"),
            "message": format!("{TOKEN}\n{PASSWORD}"),
            "errors": [{"name": TOKEN, "reason": PASSWORD}],
        });
        let mut fault = Fault::on("/").status(status).body(body.to_string());
        if status == 307 {
            fault.location = Some(format!("http://127.0.0.1:1/{}", url_encoded(TOKEN)));
        }
        let scenario = Scenario::of([HostSpec::named("web-01")]).with_fault(fault);
        let simulator = Simulator::spawn(scenario).expect("a simulator");
        let running = steps(&simulator.base_url()).into_iter().map(|text| {
            let running = step(&text)
                .arg("--policy")
                .arg(&policy)
                .arg("--log=json")
                .arg("-vv")
                .env("OSQUERY_LIVE_QUERY_SECRET_TOKEN", TOKEN)
                .env("OSQUERY_LIVE_QUERY_SECRET_PASSWORD", PASSWORD)
                .start();
            (text, running)
        });
        for (text, running) in running.collect::<Vec<_>>() {
            let ran = running.wait();
            assert_ne!(ran.status, 70, "{ran:?}");
            assert!(ran.document().error.is_some(), "{ran:?}");
            // What a step does not use, its server does not know.
            let used = if text.contains("password") {
                PASSWORD
            } else {
                TOKEN
            };
            assert_clean(&ran, &folder, &[used]);
            for line in ran.stderr.lines() {
                serde_json::from_str::<serde_json::Value>(line).expect("a JSON line");
            }
        }
        // The server did get them, in the one place that they are for.
        let requests = simulator.requests();
        assert!(
            requests
                .iter()
                .any(|request| request.header("authorization") == Some(&format!("Bearer {TOKEN}")))
        );
        assert!(
            requests
                .iter()
                .any(|request| request.body.contains("m4rk3r"))
        );
        for request in &requests {
            assert!(
                !request.path.contains("M4rk3r") && !request.path.contains("m4rk3r"),
                "{}",
                request.path
            );
        }
    }
}

#[test]
fn a_broken_step_is_told_without_its_secrets() {
    let folder = Folder::new();
    for text in [
        // Secrets in every field, the wrong ones included.
        fleet_step("https://h.example", "")
            .replace("\"{{ secrets.token }}\"", &format!("'{TOKEN} '")),
        format!(
            "id: s\ntype: x\nparams:\n  api_token: '{TOKEN}'\n  password: '{PASSWORD}'\n  base_url: '{TOKEN}'\n  target_hosts: {{a: '{TOKEN}'}}\n"
        ),
        format!("id: s\nparams: {{api_token: '{TOKEN}'\n  password: [}}\n"),
        format!("{{\"protocol\": 1, \"step\": {{}}, \"secrets\": {{\"token\": {TOKEN}}}}}"),
        format!(
            "{{\"protocol\": 1, \"step\": {{\"id\": 1}}, \"secrets\": {{\"token\": \"{}\"}}}}",
            TOKEN.replace('"', "\\\"")
        ),
        fleet_step(
            "https://h.example",
            &format!("template: running_processes\ntemplate_params: {{limit: '{TOKEN}'}}"),
        ),
    ] {
        let ran = step(&text).arg("--log").arg("json").arg("-vv").run();
        assert!((10..=14).contains(&ran.status), "{ran:?}");
        assert_clean(&ran, &folder, &[TOKEN, PASSWORD]);
    }
    // A policy is not to hold secrets; one that does is refused without showing them.
    let policy = folder.policy(&format!(
        "instances:\n  a:\n    backend: fleetdm\n    base_url: https://h.example\n    credentials: {{api_token: '{TOKEN}'}}\n"
    ));
    let ran = under(&policy, &instance_step("a", "")).run();
    assert_eq!(ran.status, 14);
    assert_clean(&ran, &folder, &[TOKEN, PASSWORD]);
    let broken = folder.policy(&format!("instances: {{a: '{TOKEN}'\n  b: ["));
    let ran = under(&broken, &instance_step("a", "")).run();
    assert_eq!(ran.status, 14);
    assert_clean(&ran, &folder, &[TOKEN, PASSWORD]);
}

#[test]
fn no_flag_takes_a_secret() {
    // What is an argument, every user of the machine can read.
    for verb in ["run", "check"] {
        let help = args([verb, "--help"]).run().stdout;
        for flag in ["--token", "--api-token", "--password", "--secret "] {
            assert!(!help.contains(flag), "{help}");
        }
    }
}

#[test]
fn a_secret_that_all_can_read_draws_a_warning() {
    let folder = Folder::new();
    let simulator = server();
    folder.folder("secrets");
    let file = folder.file("secrets/token", FLEET_MAINTAINER_TOKEN);
    let text = fleet_step(&simulator.base_url(), "");
    let run = || {
        step(&text)
            .arg("--secrets-dir")
            .arg(folder.at("secrets"))
            .run()
    };
    assert_eq!(run().stderr, "");
    folder.mode("secrets/token", 0o644);
    let ran = run();
    assert_ran(&ran);
    assert_eq!(
        ran.stderr,
        "warning: every user of this machine may read the file of the secret `token`: chmod o-r\n"
    );
    // And so does an instance's.
    let policy = folder.policy(&format!(
        "instances:\n  corp:\n    backend: fleetdm\n    base_url: {}\n    credentials: {{api_token: {{file: secrets/token}}}}\n",
        simulator.base_url()
    ));
    let ran = step(instance_step("corp", ""))
        .arg("--policy")
        .arg(&policy)
        .run();
    assert_ran(&ran);
    assert_eq!(
        ran.stderr,
        format!(
            "warning: every user of this machine may read the secret in {}: chmod o-r\n",
            file.display()
        )
    );
}
