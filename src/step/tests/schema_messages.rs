//! Messages of the schema, word for word; the schema file itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

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
            "params.environment: pattern: `environment` must be an environment's name or uuid: not `.` or `..`, and without slashes, backslashes, leading blanks or control characters",
        ),
        (
            json!({"environment": "a/b"}),
            "params.environment: pattern: `environment` must be an environment's name or uuid: not `.` or `..`, and without slashes, backslashes, leading blanks or control characters",
        ),
        (
            json!({"backend": "fleetdm"}),
            "params.environment: not: `environment` is for osctrl only: remove it, Fleet has none",
        ),
        (
            json!({"backend": MARKER}),
            "params.backend: enum: `backend` must be one of `osctrl`, `fleetdm`, `fleet`, `aisoc_direct`",
        ),
        (
            json!({"backend": null}),
            "params.backend: required: `backend` is required: `fleetdm`, `osctrl` or `aisoc_direct`",
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
            "params.api_token: pattern: `api_token` must be ASCII without blanks and line breaks: a header can't hold anything else",
        ),
        (
            json!({"target_hosts": null}),
            "params.target_hosts: required: no target: name hosts in `target_hosts`, `target_labels` or `target_platforms`",
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
            "params.verify_tls: type: `verify_tls` must be true or false, in lower case and without quotes",
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
            "params.offline_hosts: enum: `offline_hosts` must be one of `wait`, `skip`, `queue`",
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
            json!({"base_url": "https://@h"}),
            "params.base_url: pattern: `base_url` must not hold a user name or password: give `api_token`, or `username` and `password`",
        ),
        (
            json!({"base_url": "https://h\\m4rk3r"}),
            "params.base_url: pattern: `base_url` must be a URL such as `https://fleet.example.com`",
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
fn thousands_of_problems_are_counted_not_listed() {
    let start = Instant::now();
    let mut many = json!({});
    for key in 0..20_000 {
        many[format!("timeout_second{key}")] = json!(MARKER);
    }
    for (changes, more) in [
        (json!({"target_hosts": vec![1; 10_000]}), 9_900),
        (many, 19_900),
    ] {
        let (code, problems) = refused(&with(changes), json!({}));
        assert_eq!((code, problems.len()), ("schema", 101));
        assert_eq!(
            problems[100],
            format!(": more: and {more} more problems, which are left out here")
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn the_schema_is_a_schema_and_its_examples_keep_it() {
    let schema: Value = serde_json::from_str(texts::STEP).unwrap();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for example in schema["examples"].as_array().unwrap() {
        assert!(validator.is_valid(example));
        assert_eq!(violations(example, Stage::Written), []);
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

/// What is wrong with a step for a server that lists no hosts, whatever else the step says.
#[test]
fn what_some_servers_have_not_is_said_in_their_words() {
    let known = &crate::known_servers::ALL[2];
    let title = known.title;
    let aisoc = |changes: Value| {
        let mut all = json!({"backend": known.name, "environment": null});
        all.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        refused(&with(all), json!({}))
    };
    for (changes, problem) in [
        (
            json!({"tenant_id": "m4rk3r"}),
            "params.tenant_id: pattern: `tenant_id` must be the tenant's uuid, such as `0f0e0d0c-0b0a-4908-8706-050403020100`".to_owned(),
        ),
        (
            json!({"tenant_id": 7}),
            "params.tenant_id: type: `tenant_id` must be text, not a number: put it in quotes".to_owned(),
        ),
        (
            json!({"target_platforms": ["linux"]}),
            format!("params.target_platforms: not: `target_platforms` is not for {title}: it tells nothing of its hosts, name each host in `target_hosts`"),
        ),
        (
            json!({"target_labels": ["m4rk3r"]}),
            format!("params.target_labels: not: `target_labels` is not for {title}: it has no groups of hosts, name each host in `target_hosts`"),
        ),
        (
            json!({"api_token": null, "username": "m4rk3r"}),
            format!("params.username: not: `username` is not for {title}: it knows tokens only, give `api_token`"),
        ),
        (
            json!({"api_token": null}),
            "params.api_token: required: no credentials: give `api_token`".to_owned(),
        ),
        (
            json!({"max_hosts": 10_001}),
            format!("params.max_hosts: maximum: `max_hosts` must be a whole number from 1 to 10000: for {title} it counts the names in `target_hosts`, which are no more"),
        ),
        (
            json!({"offline_hosts": "skip"}),
            format!("params.offline_hosts: enum: `offline_hosts: skip` is not for {title}, which does not tell who is offline: write `wait`"),
        ),
        (
            json!({"environment": "m4rk3r"}),
            format!("params.environment: not: `environment` is for osctrl only: remove it, {title} has none"),
        ),
    ] {
        let told = ("schema", vec![problem]);
        assert_eq!(aisoc(changes.clone()), told, "{changes}");
    }
}
