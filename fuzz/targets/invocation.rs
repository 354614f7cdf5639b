//! Any bytes on stdin: no panic, and what is decoded is checked without one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osquery_live_query::input;
use osquery_live_query::step;

fuzz_target!(|bytes: &[u8]| match invocation::decode(bytes) {
    Ok(invocation) => {
        // Positions are looked up for every problem: they must lie in the text.
        if let Err(error) = step::check_written(&invocation.step) {
            let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            for problem in error.problems() {
                assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)));
                assert!(!problem.message.is_empty());
            }
        }
    }
    Err(error) => assert!(!error.message.is_empty() && !error.message.contains('\n')),
});
