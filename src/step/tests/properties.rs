//! Properties: no value is shown, none adds structure, nothing that the schema refuses passes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::exit::Code;
use crate::session::failure::Detail;

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
        "target_teams", "target_host_ids", "also_match", "queue_hours", "instance", "instance_id",
    ]), value in any_value()) {
        if let Err(failure) = examined_with(&with(json!({field: value})), json!({"alert": {"x": MARKER}})) {
            // The allowlist names the template that it does not know: no alert can have brought it.
            let of_step = |detail: &&Detail| matches!(detail.stage.unwrap_or(failure.code), Code::Schema | Code::Render);
            for Placed { problem, at } in failure.details.iter().filter(of_step).map(|detail| &detail.placed) {
                let message = problem.message.replace("`alert.m4rk3r`", "");
                prop_assert!(!message.contains(MARKER) && !message.contains("t0k3n"), "{}", message);
                prop_assert!(at.is_some());
                prop_assert!(!message.contains("a bug"), "{}", message);
                // Its name is said once.
                let name = format!("`{}`", problem.path.subject());
                prop_assert!(message.matches(&name).count() <= 1, "{}", message);
            }
        }
    }

    #[test]
    fn what_the_schema_refuses_is_said(field in prop::sample::select(vec![
        "backend", "base_url", "environment", "api_token", "username", "password", "verify_tls", "ca_file", "template", "template_params",
        "target_hosts", "target_labels", "target_platforms", "max_hosts", "max_rows_per_host", "max_bytes", "offline_hosts", "timeout_seconds", "zzz",
        "target_teams", "target_host_ids", "also_match", "queue_hours", "instance", "instance_id",
    ]), value in any_value(), other in prop::sample::select(vec!["backend", "environment", "api_token", "template", "target_hosts"])) {
        let schema: Value = serde_json::from_str(texts::STEP).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        for step in [with(json!({field: value.clone()})), with(json!({other: null, field: value}))] {
            let problems = violations(&step, Stage::Rendered);
            // Only numeric strings with blanks around them are more than the schema takes by itself.
            if !validator.is_valid(&step) {
                prop_assert!(!problems.is_empty(), "{}", step);
            } else {
                prop_assert!(problems.iter().all(|problem| matches!(problem.rule.as_str(), "format" | "pattern" | "maximum")), "{:?}", problems);
            }
        }
    }

    #[test]
    fn a_rendered_value_never_adds_structure(host in "\\PC{1,30}|[{}%#\"'\\[\\],:& *!\\\\a-c-]{1,20}") {
        prop_assume!(!host.trim().is_empty() && !host.chars().any(char::is_control));
        // Several names in one text are refused.
        let host = host.replace([',', ';'], ".");
        let step = with(json!({"target_hosts": ["a", "{{ alert.host }}"], "template_params": {"p": "x{{ alert.host }}"}}));
        let step = rendered(&step, &json!({"alert": {"host": host}}));
        let mut hosts = vec!["a".to_owned(), host.trim().to_owned()];
        hosts.dedup();
        prop_assert_eq!(step.targets.hosts, hosts);
        prop_assert_eq!(&step.template.params["p"], &json!(format!("x{host}")));
        prop_assert_eq!(step.template.params.len(), 1);
        prop_assert_eq!(step.template.name, "running_processes");
    }
}
