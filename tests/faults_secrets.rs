//! Tokens, passwords and sessions are in nothing that is written, however much is logged and whatever a
//! server says.

use osquery_simulator::{Cut, Fault, Scenario, SocketClose, SocketFault};

use crate::harness::folder::Folder;
use crate::harness::site::{
    Kind, Site, WRONG_PASSWORD, WRONG_TOKEN, host, on_all, on_every, on_those, silent,
};

const FLEET_PASSWORD: &str = osquery_simulator::FLEET_ADMIN_PASSWORD;

/// Everything that a server can say repeats the token, and everything is logged.
#[test]
fn faults_secrets_that_a_server_repeats() {
    on_every(|kind| {
        let token = kind.token();
        let said = format!(r#"{{"message":"bad token {token}","error":"bad token {token}"}}"#);
        let socket = SocketFault {
            send: vec![format!(r#"{{"type":"error","data":"bad token {token}"}}"#)],
            ..SocketFault::default()
        };
        let mut faults = vec![
            kind.finding().cut(Cut::Before),
            Fault {
                location: Some(format!("http://127.0.0.1:9/?{token}")),
                ..kind.finding().status(302)
            },
            Fault {
                retry_after: Some(token.into()),
                ..kind.finding().status(429)
            },
            Fault {
                content_type: Some(token.into()),
                ..kind.finding().body(said.clone())
            },
            kind.finding().body(token),
            kind.dispatching().body(token),
            kind.dispatching().body(format!(
                r#"{{"query_name":"{token}","campaign":"{token}"}}"#
            )),
            Fault::on("results/websocket").socket(socket),
            kind.polling().body(said.clone()).status(500),
            kind.polling().body(format!(r#"{{"items":"{token}"}}"#)),
        ];
        for status in [400, 401, 403, 404, 409, 422, 500, 502, 503] {
            faults.push(kind.finding().status(status).body(said.clone()));
            faults.push(kind.dispatching().status(status).body(said.clone()));
        }
        on_all(faults.chunks(8), |faults| {
            for fault in faults {
                let scenario = Scenario::of([host("web-01")]).with_fault(fault.clone());
                let site = Site::new(kind, scenario);
                for log in ["--log=json", "--log=plain"] {
                    let step = site
                        .step(&["web-01", "db-1"])
                        .arg(log)
                        .arg("-vvv")
                        .timeout(1);
                    let ran = step.binary().run();
                    site.assert_no_secret(&ran);
                    ran.document();
                    assert!(!ran.stderr.is_empty(), "-vvv says something");
                }
            }
        });
    });
}

/// A host may hold the token too, and its error may tell it.
#[test]
fn faults_secrets_in_errors_of_hosts() {
    on_every(|kind| {
        let error = format!("near \"{}\": syntax error", kind.token());
        let failing = host("web-01").answering(osquery_simulator::Answer::Error(error));
        let site = Site::new(kind, Scenario::of([failing]));
        let document = site.run("secret-in-an-error-of-a-host", site.step(&["web-01"]));
        assert_eq!(document.failed_hosts, ["web-01"]);
    });
}

/// Sessions are secrets that the step never held.
#[test]
fn faults_secrets_of_sessions() {
    on_those(Kind::logs_in, |kind| {
        for fault in [
            Fault::default(),
            kind.finding()
                .status(500)
                .body(format!("bad password {}", kind.user().1)),
            Fault::on("results/websocket").times(1).socket(SocketFault {
                close: Some(SocketClose::Cut),
                ..SocketFault::default()
            }),
        ] {
            let scenario = Scenario::of([host("web-01"), silent("web-02")]).with_fault(fault);
            let site = Site::new(kind, scenario);
            let step = site
                .step(&["web-01", "web-02"])
                .logging_in(kind)
                .timeout(2)
                .arg("-vvv");
            let ran = step.binary().run();
            site.assert_no_secret(&ran);
            ran.document();
        }
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        let step = site.step(&["web-01"]);
        let step = step.login("admin@example.com", WRONG_PASSWORD).arg("-vvv");
        let ran = step.binary().run();
        site.assert_no_secret(&ran);
        assert_eq!(ran.status, 20);
    });
}

/// Written out in the step it works, with a warning, and is still a secret.
#[test]
fn faults_secrets_written_out() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        let step = site.step(&["web-01"]).with("api_token", kind.token());
        site.run("token-written-out", step.clone());
        let ran = step.arg("-vvv").binary().run();
        site.assert_no_secret(&ran);
        let step = site.step(&["web-01"]).with("api_token", WRONG_TOKEN);
        site.run("wrong-token-written-out", step);
        // In a field that is checked before anything is rendered.
        let broken = site.step(&["web-01"]).with(
            "api_token",
            format!("{WRONG_TOKEN} {{{{ secrets.token }}}}"),
        );
        site.run("token-half-written-out", broken);
    });
}

/// Secrets from an invocation and from files, as well as from variables.
#[test]
fn faults_secrets_from_every_source() {
    on_every(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        let folder = Folder::new();
        folder.file("token", format!("{}\n", kind.token()));
        let step = site.step(&["web-01"]).token(WRONG_TOKEN);
        let path = folder.name("");
        let flag = step.clone().arg("--secrets-dir").arg(&path).arg("-vvv");
        for binary in [
            flag.binary(),
            step.binary().env("CREDENTIALS_DIRECTORY", &path),
        ] {
            let ran = binary.run();
            site.assert_no_secret(&ran);
            assert_eq!((ran.status, ran.document().partial), (0, false), "{ran:?}");
        }
    });
}

/// A token is masked before a line is encoded, whatever JSON's own signs it is made of.
#[test]
fn faults_secrets_in_structured_lines() {
    on_every(|kind| {
        for token in ["{", "\"", "}}{\"level\":", "\\\"\\\"", "tok\"en"] {
            let said = serde_json::json!({"message": token, "error": token}).to_string();
            let fault = kind.finding().body(said).status(400);
            let site = Site::new(kind, Scenario::of([host("web-01")]).with_fault(fault));
            let step = site.step(&["web-01"]).token(token);
            let ran = step.arg("--log=json").arg("-vv").binary().run();
            let lines: Vec<serde_json::Value> = ran
                .stderr
                .lines()
                .map(|line| serde_json::from_str(line).expect("each line is JSON"))
                .collect();
            let messages: Vec<&str> = lines
                .iter()
                .filter_map(|line| line["message"].as_str())
                .collect();
            assert!(
                lines.len() > 1 && messages.len() == lines.len(),
                "{lines:?}"
            );
            let short = messages
                .iter()
                .any(|text| text.contains("one or two letters"));
            assert_eq!(short, token.len() < 3, "{token}: {messages:?}");
            if token.len() >= 3 {
                assert!(
                    !messages.iter().any(|text| text.contains(token)),
                    "{messages:?}"
                );
                let document = ran.document();
                let error = document.error.expect("an error");
                assert!(!error.message.contains(token), "{error:?}");
            }
        }
    });
}

/// `admin` is taken out where it stands alone, and `administrators` is not shredded.
#[test]
fn faults_secrets_users_names_in_words() {
    let said = r#"{"message":"administrators only, admin@example.com is none of them"}"#;
    let fault = Kind::Fleet.finding().body(said).status(400);
    let site = Site::new(
        Kind::Fleet,
        Scenario::of([host("web-01")]).with_fault(fault),
    );
    let step = site
        .step(&["web-01"])
        .login("{{ secrets.user }}", FLEET_PASSWORD);
    let binary = step
        .binary()
        .env("OSQUERY_LIVE_QUERY_SECRET_USER", "admin@example.com");
    let ran = binary.run();
    let message = ran.document().error.expect("an error").message;
    assert!(
        message.contains("administrators only, [redacted] is none"),
        "{message}"
    );
}
