//! Any text in a step's expressions, and any text in the context they draw on: what is rendered never
//! gains structure, is not rendered twice, and never holds a secret. The input is `EXPRESSION\0VALUE`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osquery_live_query::{Sources, prepare};
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
    match prepare(invocation.to_string().as_bytes(), &Sources::default()) {
        Ok(step) => assert!(!format!("{step:?}").contains(SECRET) || text.contains(SECRET)),
        Err(refused) => {
            let names = refused.named;
            assert!(names.len() <= 2);
            for host in names {
                assert!(!host.trim().is_empty() && !host.chars().any(char::is_control));
                assert!(host != SECRET || expression.trim() == SECRET || value.trim() == SECRET);
            }
            let message = refused.failure.message;
            assert!(text.contains(SECRET) || !message.contains(SECRET), "{message}");
        }
    }
});
