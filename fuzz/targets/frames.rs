//! Any bytes on the stdin of `mcp`: lines keep their size, and what is read as a message is written again as one.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| osquery_live_query::inside::fuzz_frames(bytes));
