//! Any bytes on stdin: no panic, and what is decoded is checked without one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osquery_live_query::{Sources, prepare};

fuzz_target!(|bytes: &[u8]| if let Err(refused) = prepare(bytes, &Sources::default()) {
    let failure = refused.failure;
    assert!(!failure.message.is_empty() && !failure.message.contains('\n'));
    // Positions are looked up for every problem: they must lie in the text.
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    for detail in failure.details {
        let at = detail.placed.at;
        assert!(at.is_none_or(|at| (1..=lines).contains(&at.line)));
        assert!(!detail.placed.problem.message.is_empty());
    }
});
