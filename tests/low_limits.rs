//! Limits of this process that are too low: named as such, at each value, and never taken for a bug.

use osquery_simulator::Scenario;

use crate::harness::site::{Site, host, on_both};
use crate::harness::{Binary, Ran, args};

/// The binary under a limit of sh's `ulimit`.
fn under(limit: &str, binary: Binary) -> Ran {
    binary
        .by_shell(format!("ulimit {limit} || exit 99; exec \"$@\""))
        .run()
}

/// Whether the process itself began: the loader and the runtime need files and memory, too.
fn begins(limit: &str) -> bool {
    let ran = under(limit, args(["--version"]));
    ran.status == 0
}

/// Either all went well, or there is a document that names the limit by one of these words.
#[track_caller]
fn well_or_named(ran: &Ran, about: &str, words: &[&str]) -> bool {
    for said in [&ran.stdout, &ran.stderr] {
        assert!(
            !said.contains("a bug") && !said.contains("panicked"),
            "{about}: {ran:?}"
        );
    }
    assert!(ran.status < 128, "{about}: {ran:?}");
    let document = ran.document();
    let Some(error) = document.error else {
        assert_eq!(ran.status, 0, "{about}: {ran:?}");
        return true;
    };
    let named = words.iter().any(|word| error.message.contains(word));
    assert!(named, "{about} is not named: {ran:?}");
    assert!(
        error.hint.is_some_and(|hint| hint.contains("limit")),
        "{about}: {ran:?}"
    );
    false
}

#[test]
fn open_files() {
    on_both(|kind| {
        let site = Site::new(kind, Scenario::of([host("web-01")]));
        let mut went_well = Vec::new();
        for most in 3..=20 {
            let limit = format!("-n {most}");
            if !begins(&limit) {
                assert!(most < 5, "the process does not begin with {most} files");
                continue;
            }
            let ran = under(&limit, site.step(&["web-01"]).binary());
            let words = ["may open no more files"];
            if well_or_named(&ran, &format!("{most} files"), &words) {
                went_well.push(most);
            }
        }
        assert!(went_well.contains(&20), "{went_well:?}");
    });
}
