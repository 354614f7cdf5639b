//! Any text in a step's expressions, and any text in the context they draw on: what is rendered never
//! gains structure, is not rendered twice, and never holds a secret. The input is `EXPRESSION\0VALUE`.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use osquery_live_query::input;
use osquery_live_query::secret::{Secret, SecretSources};
use osquery_live_query::step;
use serde_json::json;

const SECRET: &str = "marker-of-a-secret";

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (expression, value) = text.split_once('\0').unwrap_or((text, "web-01"));
    let invocation = json!({
        "protocol": 1,
        "step": {"id": "fuzz", "type": "osquery_live_query", "params": {
            "backend": "fleetdm",
            "base_url": "https://fleet.example.com",
            "api_token": "{{ secrets.token }}",
            "template": "running_processes",
            "template_params": {"limit": expression},
            "target_hosts": [expression, "{{ alert.host }}"],
        }},
        "context": {"alert": {"host": value, "hosts": [value, value], "n": 7, "none": null}},
        "secrets": {"token": SECRET},
    });
    let invocation = invocation::decode(invocation.to_string().as_bytes()).expect("it is one");
    let secrets = BTreeMap::from([("token".to_owned(), Secret::new(SECRET.into()))]);
    let sources = SecretSources::new(secrets, None, Box::new(|_| None));
    match step::prepare(&invocation, &sources, None) {
        Ok(step) => {
            assert!(!step.targets.hosts.is_empty() && step.targets.hosts.len() <= 2);
            assert!(step.targets.hosts.iter().any(|host| host == value.trim()));
            for host in &step.targets.hosts {
                assert!(!host.trim().is_empty() && !host.chars().any(char::is_control));
                assert!(host != SECRET || expression.trim() == SECRET || value.trim() == SECRET);
            }
            assert_eq!(step.template.params.len(), 1);
            assert!(!format!("{step:?}").contains(SECRET) || text.contains(SECRET));
        }
        Err(error) => assert!(text.contains(SECRET) || !error.to_string().contains(SECRET)),
    }
});
