//! The policy's file: its schema, its defaults, and what is said of one that is wrong.

use serde_json::Value;

use super::*;
use crate::schema::texts;

fn problems(text: &str) -> Vec<String> {
    let problems = parse(text).err().unwrap_or_default();
    problems
        .into_iter()
        .map(|placed| {
            let line = placed.at.map_or(0, |at| at.line);
            let problem = placed.problem;
            format!("{line} {}: {}", problem.path, problem.message)
        })
        .collect()
}

#[test]
fn the_schemas_examples_are_policies() {
    let schema: Value = serde_json::from_str(texts::POLICY).unwrap();
    for example in schema["examples"].as_array().unwrap() {
        parse(&example.to_string()).unwrap();
    }
    // And those of each key.
    for (key, property) in schema["properties"].as_object().unwrap() {
        for example in property["examples"].as_array().unwrap() {
            let mut policy = serde_json::json!({ key.as_str(): example });
            if key == "max_concurrent" {
                policy["lock_dir"] = "locks".into();
            }
            parse(&policy.to_string()).unwrap_or_else(|found| panic!("{key}: {found:?}"));
        }
    }
}

#[test]
fn the_policies_in_the_documents_are_policies() {
    for text in [
        include_str!("../../../docs/policy.md"),
        include_str!("../../../README.md"),
    ] {
        let blocks = text.split("```yaml\n").skip(1);
        let policies = blocks.filter(|block| block.starts_with("instances:"));
        let policies: Vec<&str> = policies
            .map(|block| block.split("```").next().unwrap())
            .collect();
        assert_eq!(policies.len(), 1);
        let file = parse(policies[0]).unwrap();
        let rules = super::super::Rules::of(&file, true);
        let unknown = rules.unknown_templates(&file, crate::allowlist::Registry::embedded());
        assert_eq!(unknown, []);
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_program() {
    let schema: Value = serde_json::from_str(texts::POLICY).unwrap();
    let rules = super::super::Rules::of(&File::default(), true);
    let default = |key: &str| schema["properties"][key]["default"].clone();
    assert_eq!(default("max_hosts"), rules.max_hosts.unwrap());
    assert_eq!(default("max_timeout_seconds"), 900);
    assert_eq!(default("allow_http"), rules.allow_http);
    assert_eq!(default("allow_insecure_tls"), rules.allow_insecure_tls);
    assert_eq!(default("allow_unc_paths"), File::default().allow_unc_paths);
    assert_eq!(default("require_instance"), rules.require_instance);
    assert_eq!(
        default("tables_denied"),
        serde_json::json!(rules.tables_denied)
    );
}

#[test]
fn says_what_is_wrong_and_where() {
    for (text, expected) in [
        (
            "max_host: 1",
            "1 max_host: unknown key `max_host`: did you mean `max_hosts`?",
        ),
        (
            "max_hosts: 0",
            "1 max_hosts: `max_hosts` must be a whole number from 1 to 1000000",
        ),
        (
            "max_hosts: many",
            "1 max_hosts: `max_hosts` must be a whole number from 1 to 1000000",
        ),
        (
            "allow_http: yes",
            "1 allow_http: `allow_http` must be true or false, in lower case and without quotes",
        ),
        (
            "max_concurrent: 3",
            "1 lock_dir: `max_concurrent` needs `lock_dir`: the folder that holds the locks",
        ),
        (
            "audit_log: ''",
            "1 audit_log: `audit_log` must not be empty or hold control characters",
        ),
        ("[]", "1 : the policy must be a mapping, not a list"),
        (
            "",
            "0 : it is empty: write `{}` for a policy that only keeps the defaults",
        ),
        (
            "# nothing",
            "0 : it is empty: write `{}` for a policy that only keeps the defaults",
        ),
        (
            "allowed_base_urls: [\"https://*.example.com\"]",
            "1 allowed_base_urls[0]: `allowed_base_urls[0]` must name one server: there are no wildcards",
        ),
        (
            "allowed_base_urls: [\"https://169.254.169.254\"]",
            "1 allowed_base_urls[0]: `allowed_base_urls[0]` is an address that no server has (link-local, metadata service, multicast, broadcast or unspecified)",
        ),
        (
            "allowed_base_urls:\n- https://u:p@h.example",
            "2 allowed_base_urls[0]: `allowed_base_urls[0]` must be a URL such as `https://fleet.example.com`: http or https, without user name, query and fragment",
        ),
        ("allow_http: true\nallow_http: false", "2 : "),
        ("a: &a 1\nb: *a", "1 : "),
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}: {found:?}");
    }
}

#[test]
fn an_instance_is_whole_and_holds_no_secret() {
    let instance = |more: &str| {
        problems(&format!(
            "instances:\n  a:\n    base_url: https://h.example\n{more}"
        ))
    };
    assert_eq!(
        instance("    backend: osctrl\n    credentials: {api_token: {env: T}}\n"),
        ["3 instances.a.environment: `environment` is required for osctrl"]
    );
    assert_eq!(
        instance(
            "    backend: fleet\n    environment: e\n    credentials: {api_token: {env: T}}\n"
        ),
        [
            "5 instances.a.environment: `instances.a.environment` must be the name or uuid of an osctrl environment, and is for osctrl only"
        ]
    );
    for credentials in [
        "{}",
        "{username: {text: u}}",
        "{api_token: {env: T}, password: {env: P}}",
    ] {
        assert_eq!(
            instance(&format!(
                "    backend: fleet\n    credentials: {credentials}\n"
            )),
            [
                "5 instances.a.credentials: `instances.a.credentials` must be either `api_token`, or `username` and `password`"
            ]
        );
    }
    for source in ["hunter2", "{}", "{env: T, file: f}"] {
        let found = instance(&format!(
            "    backend: fleet\n    credentials: {{api_token: {source}}}\n"
        ));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("5 instances.a.credentials.api_token: `instances.a.credentials.api_token` must say where"),
            "{found:?}"
        );
    }
    assert_eq!(problems("instances: {'a b': {}}").len(), 4);
}

#[test]
fn paths_count_from_the_policy() {
    let mut file = parse("audit_log: a.jsonl\nlock_dir: /locks\n").unwrap();
    file.count_paths_from(Path::new("/etc/x"));
    assert_eq!(file.audit_log, Some("/etc/x/a.jsonl".into()));
    assert_eq!(file.lock_dir, Some("/locks".into()));
}
