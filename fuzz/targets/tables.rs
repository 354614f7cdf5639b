//! Any text as the SQL of somebody's saved query: its tables are found or not, the same ones each time.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use osquery_live_query::inside::events::Tables;

fuzz_target!(|sql: &str| {
    let found = Tables::of(sql);
    match &found {
        Tables::Known(tables) => {
            let names: BTreeSet<&String> = tables.iter().collect();
            assert_eq!(names.len(), tables.len(), "one twice: {tables:?}");
            assert!(tables.len() <= 256);
            let lower = |name: &String| !name.bytes().any(|byte| byte.is_ascii_uppercase());
            assert!(tables.iter().all(lower), "{tables:?}");
        }
        Tables::Unknown(why) => assert!(!why.is_empty() && why.chars().count() < 300, "{why}"),
    }
    assert_eq!(Tables::of(sql), found);
    // Of twice the same statements the tables are the same, where the text's end is that of a statement.
    if let (Tables::Known(tables), Tables::Known(again)) = (&found, Tables::of(&format!("{sql}\n;\n{sql}"))) {
        assert_eq!(tables, &again);
    }
});
