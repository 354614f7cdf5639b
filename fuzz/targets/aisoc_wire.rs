//! Any bytes where the JSON of AiSOC's osquery service is expected.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| osquery_live_query::inside::fuzz_aisoc_direct(bytes));
