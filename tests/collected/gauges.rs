//! The gauges, as Prometheus reads them. The golden file is read again by Prometheus's own parser and linter
//! (`tests/tools/metrics`), which `tests/tools/run` starts.

use std::collections::BTreeSet;

use osquery_live_query::inside::events::{Gauges, HostCounts};

use super::{fleet, here, osctrl};

fn all(results: &[(String, u64)]) -> Gauges<'_> {
    Gauges {
        known: fleet(),
        hosts: Some(HostCounts {
            total: 12,
            online: 9,
            offline: 3,
            missing: 1,
        }),
        results: Some(results),
        last_success: Some(1_795_764_291_007),
    }
}

#[test]
fn the_text_of_the_gauges() {
    let results = [
        ("startup items", 7),
        ("a \"quoted\" \\ name\nof two lines", 1),
        ("twice", 2),
        ("twice", 3),
        ("é漢", 0),
        ("{} 1 # TYPE x", u64::MAX),
    ]
    .map(|(name, rows)| (name.to_owned(), rows));
    let text = all(&results).text();
    let golden = here("golden").join("gauges.prom");
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(&golden, &text).expect("the file");
    }
    let expected = std::fs::read_to_string(&golden).expect("the golden file");
    assert_eq!(text, expected);
    // One family together, HELP and TYPE before its values, and no series twice.
    let mut families = BTreeSet::new();
    let mut series = BTreeSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().expect("a name");
            assert!(families.insert(family), "{family} twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert_eq!(kind, format!("{family} gauge"));
        } else {
            assert!(line.starts_with(family), "{line}");
            let (name, value) = line.rsplit_once(' ').expect("a value");
            assert!(series.insert(name), "{name} twice");
            assert!(value.parse::<f64>().expect("a number") >= 0.0);
        }
    }
    assert_eq!((families.len(), series.len()), (6, 10));
    assert!(text.ends_with('\n') && !text.contains('\r'));
}

#[test]
fn what_was_not_polled_is_no_gauge() {
    let nothing = Gauges {
        hosts: None,
        results: None,
        last_success: None,
        ..all(&[])
    };
    assert_eq!(nothing.text(), "");
    // A server without hosts of its own names none.
    let other = Gauges {
        known: osctrl(),
        ..all(&[])
    };
    assert!(!other.text().contains("fleet_hosts"));
    assert!(other.text().contains("# TYPE osctrl_query_results gauge\n"));
}
