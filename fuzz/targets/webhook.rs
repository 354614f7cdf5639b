//! Any bytes where a server's webhook is expected: what is read as an alert keeps its schema.

#![no_main]

use std::sync::LazyLock;

use jsonschema::Validator;
use libfuzzer_sys::fuzz_target;
use osquery_live_query::inside::{fuzz_alert, texts};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(texts::ALERT).expect("a schema");
    jsonschema::draft202012::new(&schema).expect("a schema")
});

fuzz_target!(|bytes: &[u8]| {
    if let Some(alert) = fuzz_alert(bytes) {
        let context = serde_json::json!({ "alert": alert });
        let wrong: Vec<String> = SCHEMA.iter_errors(&context).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
});
