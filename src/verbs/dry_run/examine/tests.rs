//! Damaged playbooks, and places in JSON.

use super::*;
use crate::policy::Policy;
use proptest::prelude::*;

const CLEAN: &str = include_str!("../../../../tests/dry_run/files/clean.playbook.yaml");
const FAULTS: &str = include_str!("../../../../tests/dry_run/files/faults.playbook.yaml");

fn settings(context: Option<Value>) -> Settings {
    Settings {
        policy: Policy::none(),
        context: context.and_then(|context| context.as_object().cloned()),
        roots: Vec::new(),
        look_secrets_up: false,
        secrets_dir: None,
        strict: false,
        keep_text: false,
        now: SystemTime::UNIX_EPOCH,
    }
}

fn examined(text: &str, context: Option<Value>) -> FileReport {
    let settings = settings(context);
    let mut report = FileReport {
        named_playbook: true,
        ..FileReport::default()
    };
    Examiner::new(&settings).file(text.as_bytes(), &mut report);
    report
}

/// The clean playbook as JSON, laid out or on one line.
fn as_json(pretty: bool) -> String {
    let document = input::decode_file(CLEAN.as_bytes()).expect("the playbook is YAML");
    match pretty {
        true => format!("{:#}", document.value()),
        false => document.value().to_string(),
    }
}

#[test]
fn places_in_json_are_those_of_the_text() {
    for pretty in [true, false] {
        let text = as_json(pretty);
        assert_eq!(examined(&text, None).findings, [], "{text}");
        for (from, to, rule) in [
            (
                "\"running_processes\"",
                "\"runing_processes\"",
                "unknown_template",
            ),
            ("\"continue\"", "\"stop\"", "enum"),
            (
                "\"{{ inputs.pid }}\"",
                "\"{{ inputs.pdi }}\"",
                "undefined_input",
            ),
            ("\"tell\"", "\"files\"", "repeated_step_id"),
        ] {
            // The last one is the step's: references stand before it.
            let at = text.rfind(from).expect("it is there");
            let text = format!("{}{to}{}", &text[..at], &text[at + from.len()..]);
            let report = examined(&text, None);
            let found = report.findings.iter().find(|finding| finding.rule == rule);
            let found = found.unwrap_or_else(|| panic!("{rule} in {:?}", report.findings));
            let line = text[..at].matches('\n').count() + 1;
            let column = at - text[..at].rfind('\n').map_or(0, |newline| newline + 1) + 1;
            assert_eq!((found.line, found.column), (line, column), "{rule}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn damaged_playbooks_end_in_findings_with_places(
        faulty in any::<bool>(),
        json in any::<bool>(),
        at in 0.0f64..1.0,
        length in 0usize..40,
        with in "[a-z{}\\[\\]:\"'#&*|>\\-, \\n]{0,6}",
        known in any::<bool>(),
    ) {
        let text = match (json, faulty) {
            (true, _) => as_json(faulty),
            (false, true) => FAULTS.to_owned(),
            (false, false) => CLEAN.to_owned(),
        };
        let from = ((text.len() as f64 * at) as usize).min(text.len());
        let to = (from + length).min(text.len());
        // The files are ASCII.
        let damaged = format!("{}{with}{}", &text[..from], &text[to..]);
        let context = known.then(|| serde_json::json!({"alert": {"host": "a", "hosts": [], "pid": 1}}));
        let report = examined(&damaged, context);
        let lines = damaged.lines().count().max(1);
        for finding in &report.findings {
            prop_assert!((1..=lines + 1).contains(&finding.line), "{finding:?}");
            prop_assert!(finding.column >= 1);
            prop_assert!(!finding.message.contains("hunter2"), "{}", finding.message);
        }
        let one = [report];
        let summary = crate::verbs::dry_run::finding::Summary::of(&one);
        for format in [
            crate::verbs::dry_run::report::Format::Text,
            crate::verbs::dry_run::report::Format::Github,
        ] {
            let style = crate::verbs::dry_run::report::Style::default();
            prop_assert!(!crate::verbs::dry_run::report::text(format, &one, &summary, &style).is_empty());
        }
    }
}
