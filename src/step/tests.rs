use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::{BackendKind, Credentials, OfflineHosts, Platform};
use super::*;
use crate::invocation::{Document, decode};
use crate::secret::Secret;

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

fn prepare_with(step: &Value, context: Value) -> Result<RenderedStep, StepError> {
    let invocation = json!({"protocol": 1, "step": step, "context": context}).to_string();
    let invocation = decode(invocation.as_bytes()).unwrap();
    prepare(
        &invocation,
        &sources(&[
            ("token", "t0k3n"),
            ("user", "u"),
            ("pass", "p"),
            ("two", "a\nb"),
            ("blank", "a b"),
            ("empty", ""),
        ]),
    )
}

fn prepared(step: &Value) -> RenderedStep {
    prepare_with(step, json!(null)).unwrap()
}

/// Code, and `path: rule: message` of each problem.
fn refused(step: &Value, context: Value) -> (&'static str, Vec<String>) {
    let error = prepare_with(step, context).unwrap_err();
    let code = match error {
        StepError::Schema(_) => "schema",
        StepError::RawSql(_) => "raw_sql",
        StepError::Render(_) => "render",
    };
    let problems = error
        .problems()
        .iter()
        .map(|problem| format!("{}: {}: {}", problem.path, problem.rule, problem.message))
        .collect();
    (code, problems)
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
    let step = prepare(&invocation, &sources(&[("osctrl_token", "t0k3n")])).unwrap();
    assert_eq!(step.id, "triage-running-procs");
    assert_eq!(step.server.backend, BackendKind::Osctrl);
    assert_eq!(
        step.server.base_url.as_str(),
        "https://osctrl.corp.example.com/"
    );
    assert_eq!(step.server.environment.as_deref(), Some("production"));
    assert!(step.server.verify_tls);
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
    assert_eq!(step.timeout, Duration::from_secs(60));
    assert_eq!(
        (
            step.limits.max_hosts,
            step.limits.max_rows_per_host,
            step.limits.max_bytes
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
        assert_eq!(step.server.backend, BackendKind::Fleet);
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
                step.limits.max_hosts,
                step.limits.max_rows_per_host,
                step.limits.max_bytes
            ),
            (5, 7, 2_048)
        );
        assert_eq!(
            (step.offline_hosts, step.timeout.as_secs()),
            (OfflineHosts::Skip, 900)
        );
        assert!(step.warnings.is_empty());
        assert_eq!(
            step.secrets.iter().map(Secret::expose).collect::<Vec<_>>(),
            ["p"]
        );
    }
}

#[test]
fn warnings() {
    let step = prepared(&with(json!({
        "api_token": null, "username": "{{ secrets.user }}", "password": "written-out", "verify_tls": false
    })));
    assert_eq!(
        step.warnings,
        [
            "`password` is written out in the step: keep it as a secret and write \"{{ secrets.NAME }}\"",
            "`verify_tls` is false: the server's certificate is not checked, so whoever is on the way can read the credentials and the rows",
        ]
    );
    assert_eq!(
        step.secrets.iter().map(Secret::expose).collect::<Vec<_>>(),
        ["written-out", "u"]
    );
    let step = prepared(&with(
        json!({"base_url": "http://osctrl.example.com:8080/prefix"}),
    ));
    assert_eq!(
        step.warnings,
        ["`base_url` is plain http: whoever is on the way can read the credentials and the rows"]
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
fn schema_messages_word_for_word() {
    for (changes, problem) in [
        (
            json!({"tiemout_seconds": MARKER}),
            "params.tiemout_seconds: additionalProperties: unknown key `tiemout_seconds`: did you mean `timeout_seconds`?",
        ),
        (
            json!({"zzz\n": MARKER}),
            "params['zzz\\u{a}']: additionalProperties: unknown key `zzz\\u{a}`: `params` has no such key",
        ),
        (
            json!({"timeout_seconds": 0}),
            "params.timeout_seconds: minimum: `timeout_seconds` must be a whole number from 1 to 900",
        ),
        (
            json!({"timeout_seconds": "901"}),
            "params.timeout_seconds: maximum: `timeout_seconds` must be a whole number from 1 to 900",
        ),
        (
            json!({"timeout_seconds": "99999999999999999999999"}),
            "params.timeout_seconds: maximum: `timeout_seconds` must be a whole number from 1 to 900",
        ),
        (
            json!({"timeout_seconds": 60.5}),
            "params.timeout_seconds: type: `timeout_seconds` must be a whole number from 1 to 900",
        ),
        (
            json!({"timeout_seconds": "60.5"}),
            "params.timeout_seconds: pattern: `timeout_seconds` must be a whole number from 1 to 900",
        ),
        (
            json!({"timeout_seconds": "0777"}),
            "params.timeout_seconds: pattern: `timeout_seconds` must be a whole number from 1 to 900",
        ),
        (
            json!({"timeout_seconds": MARKER}),
            "params.timeout_seconds: pattern: `timeout_seconds` must be a whole number from 1 to 900",
        ),
        (
            json!({"timeout_seconds": true}),
            "params.timeout_seconds: type: `timeout_seconds` must be a whole number from 1 to 900",
        ),
        (
            json!({"max_hosts": 0}),
            "params.max_hosts: minimum: `max_hosts` must be a whole number from 1 to 1000000",
        ),
        (
            json!({"max_bytes": 1023}),
            "params.max_bytes: minimum: `max_bytes` must be a whole number from 1024 to 4294967296",
        ),
        (
            json!({"environment": null}),
            "params.environment: required: `environment` is required for osctrl",
        ),
        (
            json!({"environment": ""}),
            "params.environment: minLength: `environment` must not be empty",
        ),
        (
            json!({"environment": ".."}),
            "params.environment: pattern: `environment` must be an environment's name or uuid: not `.` or `..`, and without slashes, backslashes, leading blanks and control characters",
        ),
        (
            json!({"environment": "a/b"}),
            "params.environment: pattern: `environment` must be an environment's name or uuid: not `.` or `..`, and without slashes, backslashes, leading blanks and control characters",
        ),
        (
            json!({"backend": "fleetdm"}),
            "params.environment: not: `environment` is for osctrl only: remove it, Fleet has none",
        ),
        (
            json!({"backend": MARKER}),
            "params.backend: enum: `backend` must be one of `osctrl`, `fleetdm`, `fleet`",
        ),
        (
            json!({"backend": null}),
            "params.backend: required: `backend` is required: `osctrl` or `fleetdm`",
        ),
        (
            json!({"target_labels": [MARKER]}),
            "params.target_labels: not: `target_labels` is for Fleet only: osctrl can't list the hosts of a tag, so their silence could not be named; name the hosts in `target_hosts`",
        ),
        (
            json!({"username": MARKER}),
            "params.username: not: two ways to get in: give `api_token`, or `username` and `password`, not both",
        ),
        (
            json!({"username": MARKER, "password": MARKER}),
            "params.username: not: two ways to get in: give `api_token`, or `username` and `password`, not both",
        ),
        (
            json!({"api_token": null}),
            "params.api_token: required: no credentials: give `api_token`, or `username` and `password`",
        ),
        (
            json!({"api_token": null, "username": MARKER}),
            "params.password: required: `password` is required with `username`",
        ),
        (
            json!({"api_token": null, "password": MARKER}),
            "params.username: required: `username` is required with `password`",
        ),
        (
            json!({"api_token": 5}),
            "params.api_token: type: `api_token` must be text, not a number: put it in quotes",
        ),
        (
            json!({"api_token": "m4rk3r m4rk3r"}),
            "params.api_token: pattern: `api_token` must be ASCII without blanks and line breaks: anything else can't stand in a header",
        ),
        (
            json!({"target_hosts": null}),
            "params.target_hosts: required: no target: name hosts in `target_hosts` (or `target_labels` with Fleet, or `target_platforms`)",
        ),
        (
            json!({"target_hosts": []}),
            "params.target_hosts: minItems: `target_hosts` is an empty list: name at least one, or remove it",
        ),
        (
            json!({"target_hosts": [], "target_platforms": ["linux"]}),
            "params.target_hosts: minItems: `target_hosts` is an empty list: name at least one, or remove it",
        ),
        (
            json!({"target_hosts": ["a", ""]}),
            "params.target_hosts[1]: minLength: `target_hosts[1]` is empty: an empty name would address hosts that nobody meant",
        ),
        (
            json!({"target_hosts": ["a", " \u{a0} "]}),
            "params.target_hosts[1]: pattern: `target_hosts[1]` is empty: an empty name would address hosts that nobody meant",
        ),
        (
            json!({"target_hosts": ["m4rk3r\u{85}"]}),
            "params.target_hosts[0]: pattern: `target_hosts[0]` holds a control character: no host or label is named so",
        ),
        (
            json!({"target_hosts": ""}),
            "params.target_hosts: minLength: `target_hosts` is empty: an empty name would address hosts that nobody meant",
        ),
        (
            json!({"target_hosts": [4711]}),
            "params.target_hosts[0]: type: `target_hosts[0]` must be text, not a number: put it in quotes",
        ),
        (
            json!({"target_hosts": {"a": MARKER}}),
            "params.target_hosts: type: `target_hosts` must be a list of names or one name, not a mapping",
        ),
        (
            json!({"target_platforms": [MARKER]}),
            "params.target_platforms[0]: enum: `target_platforms[0]` must be one of `linux`, `darwin`, `windows`",
        ),
        (
            json!({"verify_tls": "no"}),
            "params.verify_tls: type: `verify_tls` must be true or false, not text; write it without quotes, in lower case",
        ),
        (
            json!({"verify_tls": 0}),
            "params.verify_tls: type: `verify_tls` must be true or false, not a number",
        ),
        (
            json!({"ca_file": "m4rk3r\n"}),
            "params.ca_file: pattern: `ca_file` must not hold control characters",
        ),
        (
            json!({"offline_hosts": "never"}),
            "params.offline_hosts: enum: `offline_hosts` must be one of `wait`, `skip`",
        ),
        (
            json!({"template": null}),
            "params.template: required: `template` is required: the name of an allowlisted template",
        ),
        (
            json!({"template_params": [MARKER]}),
            "params.template_params: type: `template_params` must be a mapping, not a list",
        ),
        (
            json!({"base_url": MARKER}),
            "params.base_url: pattern: `base_url` must be a URL such as `https://fleet.example.com`",
        ),
        (
            json!({"base_url": "ftp://m4rk3r"}),
            "params.base_url: pattern: `base_url` must begin with `https://` or `http://`",
        ),
        (
            json!({"base_url": "https://u:m4rk3r@h"}),
            "params.base_url: pattern: `base_url` must not hold a user name or password: give `api_token`, or `username` and `password`",
        ),
        (
            json!({"base_url": "https://h/?m4rk3r"}),
            "params.base_url: pattern: `base_url` must not have a query (`?`) or a fragment (`#`)",
        ),
        (
            json!({"base_url": "https://h/#m4rk3r"}),
            "params.base_url: pattern: `base_url` must not have a query (`?`) or a fragment (`#`)",
        ),
        (
            json!({"base_url": "https://h:99999"}),
            "params.base_url: format: `base_url` must be a URL such as `https://fleet.example.com`",
        ),
        (
            json!({"base_url": ["https://h"]}),
            "params.base_url: type: `base_url` must be text, not a list",
        ),
    ] {
        assert_eq!(
            refused(&with(changes.clone()), json!({})),
            ("schema", vec![problem.to_owned()]),
            "{changes}"
        );
    }
}

#[test]
fn schema_messages_of_the_step_itself() {
    for (change, value, problem) in [
        ("id", Value::Null, "id: required: `id` is required"),
        (
            "id",
            json!(7),
            "id: type: `id` must be text, not a number: put it in quotes",
        ),
        (
            "id",
            json!("  "),
            "id: pattern: `id` must not be blank, and must not hold control characters",
        ),
        (
            "type",
            json!("m4rk3r"),
            "type: const: `type` must be `osquery_live_query`: no other steps are run",
        ),
        (
            "type",
            Value::Null,
            "type: required: `type` is required: `osquery_live_query`",
        ),
        (
            "params",
            Value::Null,
            "params: required: `params` is required",
        ),
        (
            "params",
            json!(["m4rk3r"]),
            "params: type: `params` must be a mapping, not a list",
        ),
        (
            "parms",
            json!({}),
            "parms: additionalProperties: unknown key `parms`: did you mean `params`?",
        ),
        (
            "target_hosts",
            json!(["m4rk3r"]),
            "target_hosts: additionalProperties: unknown key `target_hosts` in the step: it belongs in `params`",
        ),
    ] {
        let mut step = step();
        if value.is_null() {
            step.as_object_mut().unwrap().shift_remove(change);
        } else {
            step[change] = value;
        }
        assert_eq!(
            refused(&step, json!({})),
            ("schema", vec![problem.to_owned()])
        );
    }
    let mut step = step();
    for key in [
        "name",
        "description",
        "condition",
        "on_failure",
        "retry_max",
        "timeout_seconds",
        "next_true",
        "next_false",
        "depends_on",
    ] {
        step[key] = json!({"anything": ["{{ not.ours }}", 1, null]});
    }
    prepared(&step);
}

#[test]
fn all_violations_at_once_in_the_order_of_the_text() {
    let text = "id: a\ntype: osquery_live_query\nparams:\n  tmplate: x\n  timeout_seconds: 0\n  backend: osctrl\n  target_hosts: [a, '']\n  base_url: \"https://h\"\n  api_token: x\n";
    let invocation = decode(text.as_bytes()).unwrap();
    let error = prepare(&invocation, &sources(&[])).unwrap_err();
    let places: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| {
            (
                problem.path.as_str(),
                problem.line.unwrap(),
                problem.column.unwrap(),
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            ("params.environment", 4, 3),
            ("params.template", 4, 3),
            ("params.tmplate", 4, 3),
            ("params.timeout_seconds", 5, 20),
            ("params.target_hosts[1]", 7, 21),
        ]
    );
    assert_eq!(
        error.to_string(),
        "the step breaks its schema: `environment` is required for osctrl (and 4 more)"
    );
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
                "raw_sql",
                vec![format!(
                    "params.{key}: raw_sql: `{key}` is refused: SQL is never taken from a step; name an allowlisted `template` and its `template_params`"
                )]
            )
        );
    }
    let mut step = step();
    step["query"] = json!("SELECT 1");
    assert_eq!(refused(&step, json!({})).0, "raw_sql");
    step["params"]["timeout_seconds"] = json!(0);
    assert_eq!(refused(&step, json!({})).0, "schema");
}

#[test]
fn expressions_give_hosts_labels_parameters_and_numbers() {
    let context = json!({
        "alert": {
            "host": "web-1", "hosts": ["b", "a", "b", 4711, " c "], "serial": 18446744073709551615_u64,
            "n": 5, "seconds": "30", "sneaky": "{{ secrets.token }} {% x %}\n- y: *z", "empty": "", "nothing": null,
            "tags": ["X", "Y"], "nested": {"a b": ["deep"]}, "none": [], "flag": true, "part": 1.5
        }
    });
    let hosts = |hosts: Value| {
        prepare_with(&with(json!({"target_hosts": hosts})), context.clone())
            .unwrap()
            .targets
            .hosts
    };
    assert_eq!(hosts(json!("{{ alert.hosts }}")), ["b", "a", "4711", "c"]);
    assert_eq!(
        hosts(json!("\n{{ alert.hosts }}\n")),
        ["b", "a", "4711", "c"]
    );
    assert_eq!(hosts(json!("{{ alert.host }}")), ["web-1"]);
    assert_eq!(hosts(json!(" web-9 ")), ["web-9"]);
    assert_eq!(
        hosts(json!([
            "x",
            "{{ alert.host }}.corp",
            "{{ alert.serial }}",
            "x",
            " x "
        ])),
        ["x", "web-1.corp", "18446744073709551615"]
    );
    assert_eq!(
        hosts(json!([
            "{{ alert.tags | first | lower }}",
            "{{ alert.tags|join('-') }}",
            "{{ alert.nested['a b'][0] | upper }}"
        ])),
        ["x", "X-Y", "DEEP"]
    );
    assert_eq!(
        hosts(json!([
            "{{ alert.hots | default('fallback') }}",
            "{{ alert.nothing | default('n', true) }}",
            "{{ alert.none | last | default('l') }}"
        ])),
        ["fallback", "n", "l"]
    );
    assert_eq!(
        hosts(json!(["{{ alert.host }}{{ alert.n }}{{ alert.flag }}"])),
        ["web-15true"]
    );

    let step = prepare_with(
        &with(json!({
            "template_params": {
                "limit": "{{ alert.n }}", "text": "n={{ alert.n }}", "list": "{{ alert.tags }}", "deep": [{"x": "{{ alert.seconds | int }}"}],
                "sneaky": "{{ alert.sneaky }}", "{{ alert.n }}": 1, "flag": "{{ alert.flag }}", "part": "{{ alert.part }}"
            },
            "timeout_seconds": "{{ alert.seconds }}", "max_hosts": "{{ alert.n }}0"
        })),
        context.clone(),
    )
    .unwrap();
    assert_eq!(
        Value::Object(step.template.params),
        json!({
            "limit": 5, "text": "n=5", "list": ["X", "Y"], "deep": [{"x": 30}],
            "sneaky": "{{ secrets.token }} {% x %}\n- y: *z", "{{ alert.n }}": 1, "flag": true, "part": 1.5
        })
    );
    assert_eq!((step.timeout.as_secs(), step.limits.max_hosts), (30, 50));
    let fleet = with(
        json!({"backend": "fleet", "environment": null, "target_labels": ["{{ alert.tags[1] }}"]}),
    );
    assert_eq!(prepare_with(&fleet, context).unwrap().targets.labels, ["Y"]);
}

#[test]
fn rendering_messages_word_for_word() {
    let context = json!({
        "alert": {
            "host": "m4rk3r", "hosts": ["a", null], "fractions": [1.5], "nothing": null, "empty": " ", "none": [], "flag": true,
            "control": "m4rk3r\u{1}", "map": {"m": "m4rk3r"}, "sneaky": "{{ 1 }}", "words": "m4rk3r", "long": "m4rk3r".repeat(20_000),
            "many": vec!["m"; 10_001], "odd": [["m4rk3r"]], "huge": "1e300"
        }
    });
    let only_context = "takes no expression: an alert must not choose the server, the template or how the step runs; the context is for `target_hosts`, `target_labels`, `template_params`, `timeout_seconds` and `max_hosts`";
    let reference = "must be exactly `{{ secrets.NAME }}` (NAME: letters, digits, `_`, `-`): no other expression, filter or text beside it";
    for (changes, problem) in [
        (json!({"target_hosts": ["a", "{{ alert.hots }}"]}), "target_hosts[1]: undefined: `target_hosts[1]` names `alert.hots`, which is not in the context (did you mean `alert.host`?)".to_owned()),
        (json!({"target_hosts": "{{ alrt.host }}"}), "target_hosts: undefined: `target_hosts` names `alrt`, which is not in the context (did you mean `alert`?)".into()),
        (json!({"target_hosts": "{{ alrt.host | default('x') }}"}), "target_hosts: undefined: `target_hosts` names `alrt`, which is not in the context (did you mean `alert`?)".into()),
        (json!({"target_hosts": "{{ alert.hosts[7] }}"}), "target_hosts: undefined: `target_hosts` names `alert.hosts[7]`, which is not in the context: the list has 2 items".into()),
        (json!({"target_hosts": "{{ alert.host.name }}"}), "target_hosts: undefined: `target_hosts` names `alert.host.name`, but `alert.host` is text".into()),
        (json!({"target_hosts": "{{ alert.none | first }}"}), "target_hosts: undefined: `target_hosts` uses `first` on `alert.none`, which is empty".into()),
        (json!({"target_hosts": "{{ alert.nothing }}"}), "target_hosts: null: `target_hosts` names `alert.nothing`, which is null: `default('…', true)` gives a value for that".into()),
        (json!({"target_hosts": "{{ alert.hosts }}"}), "target_hosts[1]: type: `target_hosts[1]` yields nothing (null): a name is expected".into()),
        (json!({"target_hosts": "{{ alert.fractions }}"}), "target_hosts[0]: type: `target_hosts[0]` yields a fraction: a name is expected".into()),
        (json!({"target_hosts": "{{ alert.flag }}"}), "target_hosts: type: `target_hosts` yields true or false: a name is expected".into()),
        (json!({"target_hosts": "{{ alert.none }}"}), "target_hosts: empty_target: `target_hosts` yields an empty list: no host or label is named".into()),
        (json!({"target_hosts": "{{ alert.none }}", "target_platforms": ["linux"]}), "target_hosts: empty_target: `target_hosts` yields an empty list: no host or label is named".into()),
        (json!({"target_hosts": ["{{ alert.hosts }}"]}), "target_hosts[0]: structure: `target_hosts[0]` yields a list inside a list: write the one expression in place of the whole list".into()),
        (json!({"target_hosts": ["{{ alert.empty }}"]}), "target_hosts[0]: empty_target: `target_hosts[0]` yields a name that is empty: an empty name would address hosts that nobody meant".into()),
        (json!({"target_hosts": ["a{{ alert.control }}"]}), "target_hosts[0]: empty_target: `target_hosts[0]` yields a name that holds a control character: no host or label is named so".into()),
        (json!({"target_hosts": ["x{{ alert.map }}"]}), "target_hosts[0]: structure: `target_hosts[0]` names `alert.map` inside other text, but it is a mapping: take one item, or use `join`".into()),
        (json!({"target_hosts": "{{ alert.many }}"}), "target_hosts: size: `target_hosts` yields a list of more than 10000 items".into()),
        (json!({"target_hosts": "{{ alert.long }}"}), "target_hosts: size: `target_hosts` yields text of more than 64 KiB".into()),
        (json!({"target_hosts": "{{ alert.host | lower | int }}"}), "target_hosts: filter: `target_hosts` uses `int` on `alert.host`, which is not a whole number of 64 bits".into()),
        (json!({"target_hosts": "{{ alert.huge | int }}"}), "target_hosts: filter: `target_hosts` uses `int` on `alert.huge`, which is not a whole number of 64 bits".into()),
        (json!({"target_hosts": "{{ alert.hosts | join(',') }}"}), "target_hosts: filter: `target_hosts` uses `join` on `alert.hosts`: it takes a list of texts and numbers, not a list with other things in it".into()),
        (json!({"target_hosts": "{{ alert.nothing | lower }}"}), "target_hosts: filter: `target_hosts` uses `lower` on `alert.nothing`: it takes text or a number, not nothing (null)".into()),
        (json!({"target_hosts": "{{ alert.flag | int }}"}), "target_hosts: filter: `target_hosts` uses `int` on `alert.flag`: it takes text or a number, not true or false".into()),
        (json!({"target_hosts": "{{ alert.map | first }}"}), "target_hosts: filter: `target_hosts` uses `first` on `alert.map`: it takes a list or text, not a mapping".into()),
        (json!({"target_hosts": "{{ secrets.token }}"}), "target_hosts: secret_field: `target_hosts` may not name `secrets`: a secret stands only in `api_token`, `username` and `password`, as exactly `{{ secrets.NAME }}`".into()),
        (json!({"target_hosts": "{{ alert.host"}), "target_hosts: expression: `target_hosts` holds a `{{` without its `}}`".into()),
        (json!({"timeout_seconds": "{{ alert.hosts }}"}), "timeout_seconds: structure: `timeout_seconds` yields a list: a single value is expected".into()),
        (json!({"template_params": {"a b": ["{{ alert.map }}"]}}), "template_params['a b'][0]: structure: `template_params['a b'][0]` yields a mapping: a single value or a list is expected".into()),
        (json!({"template_params": {"a": "{{ alert.odd }}"}}), "template_params.a: structure: `template_params.a` yields a list with null, lists or mappings in it: single values are expected".into()),
        (json!({"base_url": "https://{{ alert.host }}"}), format!("base_url: context_field: `base_url` {only_context}")),
        (json!({"base_url": "{{ alert.url }}"}), format!("base_url: context_field: `base_url` {only_context}")),
        (json!({"environment": "{{ alert.env }}"}), format!("environment: context_field: `environment` {only_context}")),
        (json!({"backend": "{{ alert.b }}"}), format!("backend: context_field: `backend` {only_context}")),
        (json!({"template": "{{ alert.t }}"}), format!("template: context_field: `template` {only_context}")),
        (json!({"verify_tls": "{{ alert.v }}"}), format!("verify_tls: context_field: `verify_tls` {only_context}")),
        (json!({"ca_file": "{# x #}"}), format!("ca_file: context_field: `ca_file` {only_context}")),
        (json!({"max_rows_per_host": "{{ alert.n }}"}), format!("max_rows_per_host: context_field: `max_rows_per_host` {only_context}")),
        (json!({"offline_hosts": "{{ alert.n }}"}), format!("offline_hosts: context_field: `offline_hosts` {only_context}")),
        (json!({"target_platforms": ["{{ alert.n }}"]}), format!("target_platforms[0]: context_field: `target_platforms[0]` {only_context}")),
        (json!({"base_url": "https://{{ secrets.token }}"}), "base_url: secret_field: `base_url` takes no secret: a secret stands only in `api_token`, `username` and `password`".into()),
        (json!({"api_token": "{{ alert.host }}"}), format!("api_token: secret_reference: `api_token` {reference}")),
        (json!({"api_token": "{{secrets['token']}}"}), format!("api_token: secret_reference: `api_token` {reference}")),
        (json!({"api_token": "{{ secrets.token | trim }}"}), format!("api_token: secret_reference: `api_token` {reference}")),
        (json!({"api_token": null, "username": "u", "password": "m4rk3r{{"}), format!("password: secret_reference: `password` {reference}")),
        (json!({"api_token": "{{ secrets.gone-1 }}"}), "api_token: secret_missing: `api_token`: the secret `gone-1` is missing: neither the invocation's `secrets` nor a secrets directory (`--secrets-dir`) nor the variable OSQUERY_LIVE_QUERY_SECRET_GONE_1 has it".into()),
        (json!({"api_token": "{{ secrets.empty }}"}), "api_token: secret_value: `api_token`: the secret `empty` can't be used: it is empty in the invocation's `secrets`".into()),
        (json!({"api_token": "{{ secrets.blank }}"}), "api_token: secret_value: `api_token` names the secret `blank`, which is not a token: blanks, line breaks and characters beyond ASCII can't stand in a header".into()),
        (json!({"api_token": null, "username": "u", "password": "{{ secrets.two }}"}), "password: secret_value: `password` names the secret `two`, which holds line breaks or other control characters".into()),
    ] {
        let (code, problems) = refused(&with(changes.clone()), context.clone());
        assert_eq!((code, problems), ("render", vec![format!("params.{problem}")]), "{changes}");
    }
    assert_eq!(
        refused(
            &with(json!({"target_hosts": "{{ alert.host }}"})),
            json!(null)
        )
        .1,
        [
            "params.target_hosts: undefined: `target_hosts` names `alert.host`, but there is no context: give it in the invocation or with `--context`"
        ]
    );
}

#[test]
fn what_was_rendered_is_checked_again() {
    let context =
        json!({"n": 901, "text": "soon", "part": 60.0, "sneaky": "{{ 60 }}", "t": "61.5"});
    for (expression, rule) in [
        ("{{ n }}", "maximum"),
        ("{{ text }}", "pattern"),
        ("{{ sneaky }}", "pattern"),
        ("{{ t }}", "pattern"),
        ("0{{ part }}", "pattern"),
    ] {
        let problem = format!(
            "params.timeout_seconds: {rule}: `timeout_seconds` must be a whole number from 1 to 900"
        );
        assert_eq!(
            refused(
                &with(json!({"timeout_seconds": expression})),
                context.clone()
            ),
            ("schema", vec![problem]),
            "{expression}"
        );
    }
    let step = prepare_with(&with(json!({"timeout_seconds": "{{ part }}"})), context).unwrap();
    assert_eq!(step.timeout.as_secs(), 60);
}

#[test]
fn rendering_is_bounded_in_work() {
    let context = json!({"a": "x".repeat(60_000), "l": vec!["y".repeat(300); 10_000]});
    let start = Instant::now();
    let hosts = vec!["{{ l | join('') | lower }}"; 5_000];
    let (code, problems) = refused(&with(json!({"target_hosts": hosts})), context.clone());
    assert_eq!(code, "render");
    assert!(problems.len() <= 100);
    let hosts = vec!["{{ a | lower | upper | trim | lower }}"; 9_000];
    let (_, problems) = refused(&with(json!({"target_hosts": hosts})), context.clone());
    assert!(
        problems[0].ends_with("can't be rendered: the step's expressions make more than 64 MiB"),
        "{}",
        problems[0]
    );
    let text = "{{ a }}".repeat(9_000);
    assert_eq!(
        refused(&with(json!({"template_params": {"x": text}})), context).1,
        ["params.template_params.x: size: `template_params.x` yields text of more than 64 KiB"]
    );
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_partial_context_leaves_what_it_does_not_know() {
    let document = Document::without_text(with(json!({
        "target_hosts": ["{{ alert.host }}", "{{ alert.later }}"], "timeout_seconds": "{{ later.t }}"
    })));
    let context = json!({"alert": {"host": "h"}});
    let rendering = render::render(
        &document,
        context.as_object(),
        ContextIs::Partial,
        SecretUse::CheckFormOnly,
    )
    .unwrap();
    assert_eq!(
        rendering.step["params"]["target_hosts"],
        json!(["h", "{{ alert.later }}"])
    );
    let unknown: Vec<String> = rendering.unknown.iter().map(Path::to_string).collect();
    assert_eq!(
        unknown,
        ["params.target_hosts[1]", "params.timeout_seconds"]
    );
    assert!(rendering.credentials.is_empty());
    assert!(schema::check(&rendering.step, &document, Stage::Written).is_empty());
}

#[test]
fn the_schema_is_a_schema_and_its_examples_keep_it() {
    let schema: Value = serde_json::from_str(schema::STEP_SCHEMA).unwrap();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for example in schema["examples"].as_array().unwrap() {
        assert!(validator.is_valid(example));
        assert!(
            schema::check(
                example,
                &Document::without_text(example.clone()),
                Stage::Written
            )
            .is_empty()
        );
    }
    let mut properties = 0;
    for place in ["/properties", "/$defs/params/properties"] {
        for (name, property) in schema.pointer(place).unwrap().as_object().unwrap() {
            let property = match property.get("$ref") {
                Some(reference) => schema.pointer(&reference.as_str().unwrap()[1..]).unwrap(),
                None => property,
            };
            assert!(
                property["title"].is_string() && property["description"].is_string(),
                "{name}"
            );
            if name == "params" {
                continue;
            }
            let mut of_property = property.clone();
            of_property["$defs"] = schema["$defs"].clone();
            let of_property = jsonschema::draft202012::new(&of_property).unwrap();
            let examples = property["examples"].as_array().unwrap();
            assert!(
                !examples.is_empty()
                    && examples.iter().all(|example| of_property.is_valid(example)),
                "{name}"
            );
            properties += 1;
        }
    }
    assert!(properties > 25);
}

/// A value that could break any of the rules, with the marker in it.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(MARKER)),
        "(\\{\\{ |alert\\.m4rk3r|secrets\\.|token| \\}\\}|m4rk3r|\n|\u{1}|https://|@|é| \\| lower){0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..3)
                .prop_map(|entries| json!(entries)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_problem_shows_a_value(field in prop::sample::select(vec![
        "backend", "base_url", "environment", "api_token", "username", "password", "verify_tls", "ca_file", "template", "template_params",
        "target_hosts", "target_labels", "target_platforms", "max_hosts", "max_rows_per_host", "max_bytes", "offline_hosts", "timeout_seconds", "zzz",
    ]), value in any_value()) {
        if let Err(error) = prepare_with(&with(json!({field: value})), json!({"alert": {"x": MARKER}})) {
            for problem in error.problems() {
                let message = problem.message.replace("`alert.m4rk3r`", "");
                prop_assert!(!message.contains(MARKER) && !message.contains("t0k3n"), "{}", message);
                prop_assert!(problem.line.is_some() && problem.column.is_some());
                prop_assert!(!message.contains("a bug"), "{}", message);
            }
        }
    }

    #[test]
    fn a_rendered_value_never_adds_structure(host in "\\PC{1,30}|[{}%#\"'\\[\\],:& *!\\\\a-c-]{1,20}") {
        prop_assume!(!host.trim().is_empty() && !host.chars().any(char::is_control));
        let step = with(json!({"target_hosts": ["a", "{{ alert.host }}"], "template_params": {"p": "x{{ alert.host }}"}}));
        let step = prepare_with(&step, json!({"alert": {"host": host}})).unwrap();
        let mut hosts = vec!["a".to_owned(), host.trim().to_owned()];
        hosts.dedup();
        prop_assert_eq!(step.targets.hosts, hosts);
        prop_assert_eq!(&step.template.params["p"], &json!(format!("x{host}")));
        prop_assert_eq!(step.template.params.len(), 1);
        prop_assert_eq!(step.template.name, "running_processes");
    }
}
