//! Any bytes where a server is polled: hosts, reports, lists of queries and their answers, and what a state has
//! stored of all that.

#![no_main]

use libfuzzer_sys::fuzz_target;
use osquery_live_query::inside::{fuzz_collect, fuzz_collected_fleet, fuzz_collected_osctrl};

fuzz_target!(|bytes: &[u8]| {
    fuzz_collected_fleet(bytes);
    fuzz_collected_osctrl(bytes);
    fuzz_collect(bytes);
});
