//! One code, two callers: every case of `run` goes to `dry-run`, too, and both say the same of it.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::Value;

use super::{Folder, Problem, json, report, root};
use crate::harness::{Binary, args};

/// What `run` decides before any socket is opened.
const DECIDED: [&str; 4] = ["decode", "schema", "render", "allowlist"];

/// Rules that only `dry-run` has: what is around a step, and what may go wrong on the hosts.
const OWN: [&str; 2] = ["timeout", "platforms"];

struct Case {
    name: String,
    step: Vec<u8>,
    about: Value,
    document: Value,
}

fn cases() -> Vec<Case> {
    let folder = root().join("tests/cases");
    let mut cases = Vec::new();
    for file in fs::read_dir(&folder).expect("tests/cases is there") {
        let path = file.expect("a file").path();
        let file = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let Some((name, "step.yaml" | "step.json")) = file.split_once('.') else {
            continue;
        };
        let text = |part: &str| {
            fs::read_to_string(folder.join(format!("{name}.{part}"))).expect("the case is whole")
        };
        cases.push(Case {
            name: name.to_owned(),
            step: fs::read(&path).expect("a step"),
            about: serde_saphyr::from_str(&text("case.yaml")).expect("YAML"),
            document: serde_json::from_str(&text("document.json")).expect("JSON"),
        });
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(cases.len() >= 40);
    cases
}

/// Gives `dry-run` what the case gives `run`.
fn prepared(case: &Case, server: &str, folder: &Folder) -> Binary {
    let secrets = folder.path().join("secrets");
    // As for `run`, it has to be a file that others can't write to; what is in it is read later.
    let authority = folder.file("authority.pem", "");
    let place = |text: &str| {
        text.replace("$SERVER", server)
            .replace("$CA_FILE", &authority.display().to_string())
            .replace("$SECRETS_DIR", &secrets.display().to_string())
    };
    let input = match String::from_utf8(case.step.clone()) {
        Ok(text) => place(&text).into_bytes(),
        Err(not_text) => not_text.into_bytes(),
    };
    let mut binary = crate::harness::step(input)
        .arg("dry-run")
        .arg("--format")
        .arg("json")
        .arg("--require-secrets");
    let words: Vec<&str> = case.about["args"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for pair in words.windows(2) {
        if matches!(pair[0], "--secrets-dir" | "--context") {
            binary = binary.arg(pair[0]).arg(place(pair[1]));
        }
    }
    if let Some(context) = case
        .about
        .get("context")
        .filter(|context| !context.is_null())
    {
        let file = folder.file("context.json", context.to_string());
        binary = binary.arg("--context").arg(file);
    }
    for (name, text) in case.about["secrets"].as_object().into_iter().flatten() {
        let path = folder.file(&format!("secrets/{name}"), text.as_str().expect("text"));
        let mode = case.about["secrets_mode"].as_str().unwrap_or("600");
        let mode = u32::from_str_radix(mode, 8).expect("octal");
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    }
    for (name, value) in case.about["env"].as_object().into_iter().flatten() {
        binary = binary.env(name, place(value.as_str().expect("text")));
    }
    binary.arg("-")
}

#[test]
fn run_and_dry_run_say_the_same_and_no_socket_is_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let server = format!("http://{}", listener.local_addr().expect("an address"));
    let (mut refused, mut accepted, mut statements) = (0, 0, 0);
    let mut wrong = Vec::new();
    for case in cases() {
        let code = case.document["error"]["code"].as_str();
        // Of a whole playbook, `run` says that it is one; `dry-run` reads it.
        if code == Some("usage") || case.name == "error-decode-playbook" {
            continue;
        }
        let folder = Folder::new();
        let ran = prepared(&case, &server, &folder).run();
        assert!(ran.status == 0 || ran.status == 1, "{}: {ran:?}", case.name);
        let report = report(&ran);
        let problems = &report.files[0].problems;
        let errors: Vec<&Problem> = problems
            .iter()
            .filter(|problem| problem.severity == "error" && !OWN.contains(&&*problem.rule))
            .collect();
        let told = match code.filter(|code| DECIDED.contains(code)) {
            Some(_) => {
                refused += 1;
                same_errors(&case.document["error"], problems)
            }
            None => {
                accepted += 1;
                let sent = case.about["sent"][0].as_str();
                let sent = sent.or(case.document["planned"]["sql"].as_str());
                let planned = report.files[0].steps[0].sql.as_deref();
                if let Some(sent) = sent {
                    statements += 1;
                    let same = planned.map(settled) == Some(settled(sent));
                    same.then_some(()).ok_or(format!("sends {planned:?}"))
                } else {
                    Ok(())
                }
                .and(match errors.as_slice() {
                    [] => Ok(()),
                    errors => Err(format!("finds {errors:?}")),
                })
                .and(same_warnings(&case, problems))
            }
        };
        if let Err(told) = told {
            wrong.push(format!("{}: {told}", case.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
    assert!(
        refused >= 30 && accepted >= 30 && statements >= 20,
        "{refused} {accepted} {statements}"
    );
    let connected = listener.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(connected, Err(ErrorKind::WouldBlock), "a socket was opened");
}

/// Text without what differs from day to day: moments that count back from now, and how many templates
/// there are.
fn settled(text: &str) -> String {
    let mut settled = String::new();
    for word in text.split_inclusive(' ') {
        let is_moment = word.len() >= 10 && word.bytes().all(|byte| byte.is_ascii_digit());
        let is_count = settled.ends_with("lists all ");
        settled.push_str(match is_moment || is_count || word.starts_with("NOW-") {
            true => "…",
            false => word,
        });
    }
    settled
}

/// Everything that `run` says is there, at the same place; more may be, for `run` stops at the first kind.
fn same_errors(error: &Value, problems: &[Problem]) -> Result<(), String> {
    let details = error["details"].as_array().cloned().unwrap_or_default();
    if details.is_empty() {
        let message = error["message"].as_str().unwrap_or_default();
        let same = problems.iter().any(|problem| problem.message == message);
        return same
            .then_some(())
            .ok_or(format!("expected `{message}`, found {problems:?}"));
    }
    for detail in &details {
        // Without a context, `run` can't know any name; `dry-run` leaves it open.
        if detail["message"]
            .as_str()
            .is_some_and(|message| message.contains("there is no context"))
        {
            continue;
        }
        let same = problems.iter().any(|problem| {
            let place = detail["line"].as_u64().zip(detail["column"].as_u64());
            problem.severity == "error"
                && Some(problem.rule.as_str()) == detail["rule"].as_str()
                && Some(settled(&problem.message)) == detail["message"].as_str().map(settled)
                && place.is_none_or(|(line, column)| {
                    (problem.line as u64, problem.column as u64) == (line, column)
                })
        });
        if !same {
            return Err(format!("expected {detail}, found {problems:?}"));
        }
    }
    Ok(())
}

/// Each warning of a step stands on `run`'s stderr.
fn same_warnings(case: &Case, problems: &[Problem]) -> Result<(), String> {
    let stderr = case.about["stderr"].as_str().unwrap_or_default();
    for problem in problems {
        let expected = format!("warning: {}", problem.message);
        if problem.severity == "warning"
            && !OWN.contains(&&*problem.rule)
            && !stderr.lines().any(|line| line == expected)
        {
            return Err(format!("warns `{}`, stderr is {stderr:?}", problem.message));
        }
    }
    Ok(())
}

#[test]
fn the_names_of_unknown_things_do_not_decide_whether_a_socket_is_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let folder = Folder::new();
    folder.file(
        "a.playbook.yaml",
        format!(
            "id: a\nname: A\nsteps:\n  - id: one\n    name: One\n    type: osquery_live_query\n    params:\n      backend: fleetdm\n      base_url: http://localhost:{port}\n      api_token: \"{{{{ secrets.t }}}}\"\n      template: listening_ports\n      target_hosts: [web-01]\n"
        ),
    );
    for format in ["text", "json", "sarif", "github"] {
        let ran = args(["dry-run", "--require-secrets", "--format", format])
            .arg(folder.path())
            .env("OSQUERY_LIVE_QUERY_SECRET_T", "token")
            .env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"))
            .env("HTTP_PROXY", format!("http://127.0.0.1:{port}"))
            .run();
        assert_eq!((ran.status, &*ran.stderr), (0, ""), "{}", ran.stdout);
    }
    let missing = report(&json().arg("--require-secrets").arg(folder.path()).run());
    assert_eq!(missing.files[0].problems[0].rule, "secret_missing");
    let connected = listener.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(connected, Err(ErrorKind::WouldBlock), "a socket was opened");
}
