//! The way from text to a typed step; helpers of the other tests.

mod properties;
mod rendering;
mod schema_messages;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::model::{Credentials, RenderedStep};
use super::render::{ContextIs, SecretUse};
use super::schema::{Stage, violations};
use super::*;
use crate::campaign::OfflineHosts;
use crate::campaign::host::Platform;
use crate::input::{Invocation, decode};
use crate::known_servers::Access;
use crate::policy::Policy;
use crate::problem::Placed;
use crate::schema::texts;
use crate::secret::{Secret, SecretSources};
use crate::session::failure::Failure;
use crate::session::prepare::{Inquiry, examine};

/// Stands in every value that must not be shown.
const MARKER: &str = "m4rk3r";

fn step() -> Value {
    json!({
        "id": "triage",
        "type": "osquery_live_query",
        "params": {
            "backend": "osctrl",
            "base_url": "https://osctrl.example.com",
            "environment": "production",
            "api_token": "{{ secrets.token }}",
            "template": "running_processes",
            "target_hosts": ["web-1"]
        }
    })
}

/// The step with some params changed; null removes one.
fn with(changes: Value) -> Value {
    let mut step = step();
    let params = step["params"].as_object_mut().unwrap();
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            params.shift_remove(key);
        } else {
            params.insert(key.clone(), value.clone());
        }
    }
    step
}

fn sources(secrets: &[(&str, &str)]) -> SecretSources {
    let secrets: BTreeMap<_, _> = secrets
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Secret::new((*text).to_owned())))
        .collect();
    SecretSources::new(secrets, None, Box::new(|_| None))
}

/// Takes a step the one way that there is, without an operator's policy.
fn examined(
    invocation: &Invocation,
    secrets: &SecretSources,
) -> Result<RenderedStep, Box<Failure>> {
    let policy = Policy::none();
    let inquiry = Inquiry {
        step: &invocation.step,
        context: invocation.context.as_ref(),
        context_is: ContextIs::Complete,
        secrets: SecretUse::Resolve(secrets),
        policy: &policy,
        now: SystemTime::now(),
    };
    let verdict = examine(&inquiry, &mut policy.registry().binder()).verdict;
    match verdict {
        Ok(passed) => Ok(passed.step),
        Err(refused) => Err(Box::new(refused.failure)),
    }
}

fn known_secrets() -> SecretSources {
    sources(&[
        ("token", "t0k3n"),
        ("user", "u"),
        ("pass", "p"),
        ("two", "a\nb"),
        ("blank", "a b"),
        ("empty", ""),
    ])
}

fn examined_with(step: &Value, context: Value) -> Result<RenderedStep, Box<Failure>> {
    let invocation = json!({"protocol": 1, "step": step, "context": context}).to_string();
    examined(&decode(invocation.as_bytes()).unwrap(), &known_secrets())
}

fn prepared(step: &Value) -> RenderedStep {
    examined_with(step, json!(null)).unwrap()
}

/// A step that is only rendered and typed: for parameters that no template has.
fn rendered(step: &Value, context: &Value) -> RenderedStep {
    let secrets = known_secrets();
    let secrets = SecretUse::Resolve(&secrets);
    let rendering = render::render(step, context.as_object(), ContextIs::Complete, secrets);
    assert_eq!(rendering.problems, []);
    typed(rendering, None).unwrap()
}

/// The problems of the stage that a failure is of.
fn own_problems(failure: &Failure) -> impl Iterator<Item = &Placed> {
    let details = failure.details.iter();
    let own = details.filter(|detail| detail.stage.is_none());
    own.map(|detail| &detail.placed)
}

/// The stage, and `path: rule: message` of each of its problems.
fn refused(step: &Value, context: Value) -> (&'static str, Vec<String>) {
    let failure = examined_with(step, context).unwrap_err();
    let problems = own_problems(&failure).map(|placed| &placed.problem);
    let problems =
        problems.map(|problem| format!("{}: {}: {}", problem.path, problem.rule, problem.message));
    (failure.code.name(), problems.collect())
}

#[test]
fn the_step_of_the_contract() {
    let text = r#"
- id: triage-running-procs
  name: "Get running processes from affected host"
  type: osquery_live_query
  timeout_seconds: "{{ engine.whatever }}"
  params:
    backend: osctrl                       # osctrl | fleetdm (alias: fleet)
    base_url: "https://osctrl.corp.example.com"
    environment: production               # osctrl only, required there
    api_token: "{{ secrets.osctrl_token }}"   # or username + password, never both
    verify_tls: true                      # default true
    ca_file: /etc/ssl/corp-ca.pem         # optional extra roots
    template: running_processes
    template_params: { limit: 100 }
    target_hosts: ["{{ alert.host }}"]    # hostname, uuid or serial
    timeout_seconds: 60                   # 1–900, default 60
"#;
    let invocation = decode(text.as_bytes())
        .unwrap()
        .with_context(b"alert: {host: ' web-1.corp ', hosts: []}")
        .unwrap();
    let step = examined(&invocation, &sources(&[("osctrl_token", "t0k3n")])).unwrap();
    assert_eq!(step.id.as_deref(), Some("triage-running-procs"));
    assert_eq!(
        step.server.base_url.as_str(),
        "https://osctrl.corp.example.com/"
    );
    let environment = "production".into();
    assert_eq!(step.server.access, Access::Osctrl { environment });
    assert!(step.server.verify_tls);
    let with_a_path = prepared(&with(json!({"base_url": "https://h/@x/"})));
    assert_eq!(with_a_path.server.base_url.path(), "/@x/");
    assert_eq!(
        step.server.ca_file.as_deref(),
        Some(std::path::Path::new("/etc/ssl/corp-ca.pem"))
    );
    let Credentials::Token(token) = &step.server.credentials else {
        panic!("a token")
    };
    assert_eq!(token.expose(), "t0k3n");
    assert_eq!(
        (
            step.template.name.as_str(),
            step.template.params["limit"].as_u64()
        ),
        ("running_processes", Some(100))
    );
    assert_eq!(step.targets.hosts, ["web-1.corp"]);
    assert!(step.targets.labels.is_empty() && step.targets.platforms.is_empty());
    assert_eq!(step.limits.timeout.value, Duration::from_secs(60));
    assert_eq!(
        (
            step.limits.max_hosts.value,
            step.limits.max_rows_per_host.value,
            step.limits.max_bytes.value
        ),
        (1_000, 10_000, 256 << 20)
    );
    assert_eq!(step.offline_hosts, OfflineHosts::Wait);
    assert!(step.warnings.is_empty());
    assert_eq!(
        step.secrets.iter().map(Secret::expose).collect::<Vec<_>>(),
        ["t0k3n"]
    );
}

#[test]
fn fleet_with_a_login_labels_and_platforms() {
    for backend in ["fleet", "fleetdm"] {
        let step = prepared(&with(json!({
            "backend": backend, "environment": null, "api_token": null, "username": "me@example.com",
            "password": "{{ secrets.pass }}", "target_hosts": null, "target_labels": "Servers",
            "target_platforms": ["linux", "windows", "linux"], "offline_hosts": "skip", "max_hosts": "5",
            "max_bytes": 2048.0, "max_rows_per_host": "7", "timeout_seconds": "900"
        })));
        assert_eq!(step.server.access, Access::Fleet);
        let Credentials::Login { username, password } = &step.server.credentials else {
            panic!("a login")
        };
        assert_eq!(
            (username.expose(), password.expose()),
            ("me@example.com", "p")
        );
        assert_eq!(step.targets.labels, ["Servers"]);
        assert_eq!(step.targets.platforms, [Platform::Linux, Platform::Windows]);
        assert_eq!(
            (
                step.limits.max_hosts.value,
                step.limits.max_rows_per_host.value,
                step.limits.max_bytes.value
            ),
            (5, 7, 2_048)
        );
        assert_eq!(
            (step.offline_hosts, step.limits.timeout.value.as_secs()),
            (OfflineHosts::Skip, 900)
        );
        assert!(step.warnings.is_empty());
        assert_eq!(
            step.secrets.iter().map(Secret::expose).collect::<Vec<_>>(),
            ["p"]
        );
    }
}

fn words(warnings: &[Problem]) -> Vec<&str> {
    warnings.iter().map(|warning| &*warning.message).collect()
}

#[test]
fn warnings() {
    let step = prepared(&with(json!({
        "api_token": null, "username": "{{ secrets.user }}", "password": "written-out", "verify_tls": false
    })));
    assert_eq!(
        words(&step.warnings),
        [
            "`password` is written out in the step: keep it as a secret and write \"{{ secrets.NAME }}\"",
            "`verify_tls` is false: the server's certificate is not checked, so anyone on the way can read the credentials and the rows",
        ]
    );
    assert_eq!(
        step.secrets.iter().map(Secret::expose).collect::<Vec<_>>(),
        ["written-out", "u"]
    );
    // Without a policy that allows it, it goes no further.
    let plain = with(json!({"base_url": "http://osctrl.example.com:8080/prefix"}));
    assert_eq!(refused(&plain, json!(null)).0, "policy");
    let step = rendered(&plain, &json!(null));
    assert_eq!(
        words(&step.warnings),
        ["`base_url` is plain http: anyone on the way can read the credentials and the rows"]
    );
    for loopback in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost"] {
        assert!(
            prepared(&with(json!({"base_url": loopback})))
                .warnings
                .is_empty()
        );
    }
}

#[test]
fn all_violations_at_once_in_the_order_of_the_text() {
    let text = "id: a\ntype: osquery_live_query\nparams:\n  tmplate: x\n  timeout_seconds: 0\n  backend: osctrl\n  target_hosts: [a, '']\n  base_url: \"https://h\"\n  api_token: x\n";
    let invocation = decode(text.as_bytes()).unwrap();
    let failure = examined(&invocation, &sources(&[])).unwrap_err();
    let places = own_problems(&failure).map(|placed| {
        let at = placed.at.unwrap();
        (placed.problem.path.to_string(), at.line, at.column)
    });
    let expected = [
        ("params.environment", 4, 3),
        ("params.template", 4, 3),
        ("params.tmplate", 4, 3),
        ("params.timeout_seconds", 5, 20),
        ("params.target_hosts[1]", 7, 21),
    ];
    let expected = expected.map(|(path, line, column)| (path.to_owned(), line, column));
    assert_eq!(places.collect::<Vec<_>>(), expected);
}

#[test]
fn sql_is_the_allowlists_to_refuse_before_any_secret_is_read() {
    for key in [
        "query",
        "sql",
        "raw_sql",
        "statement",
        "SQL",
        "osquery_query",
        "saved_query_id",
        "queries",
    ] {
        let mut changes = json!({"template": null, "api_token": "{{ secrets.missing }}"});
        changes[key] = json!("SELECT 'm4rk3r {{ alert.x }}'");
        assert_eq!(
            refused(&with(changes), json!({})),
            (
                "allowlist",
                vec![format!(
                    "params.{key}: raw_sql: `{key}` is refused: SQL is never taken from a step; name an allowlisted `template` and its `template_params`"
                )]
            )
        );
    }
    let mut step = step();
    step["query"] = json!("SELECT 1");
    assert_eq!(refused(&step, json!({})).0, "allowlist");
    step["params"]["timeout_seconds"] = json!(0);
    assert_eq!(refused(&step, json!({})).0, "schema");
}
