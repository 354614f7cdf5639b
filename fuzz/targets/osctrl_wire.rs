//! Any bytes where osctrl's JSON is expected.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| osquery_live_query::inside::fuzz_osctrl(bytes));
