//! SARIF 2.1.0 (OASIS), for code scanning: one run, its rules, its results. Columns count Unicode
//! characters (`columnKind`), paths are URI references. Microsoft's validator with GitHub's rules has nothing
//! to say of it (`tests/tools/run`).

mod rules;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::verbs::dry_run::finding::{FileReport, Finding, Severity};

pub(super) fn write(files: &[FileReport]) -> String {
    let findings = || {
        let files = files.iter();
        files.flat_map(|file| file.findings.iter().map(move |finding| (file, finding)))
    };
    let mut rules: BTreeMap<&str, usize> = findings()
        .map(|(_, finding)| (finding.rule.as_str(), 0))
        .collect();
    for (index, place) in rules.values_mut().enumerate() {
        *place = index;
    }
    let results: Vec<Value> = findings()
        .map(|(file, finding)| {
            let mut location = json!({
                "physicalLocation": {
                    "artifactLocation": { "uri": uri(&file.path) },
                    "region": { "startLine": finding.line, "startColumn": finding.column },
                },
            });
            if let Some(step) = &finding.step {
                location["logicalLocations"] = json!([{ "name": step, "kind": "object" }]);
            }
            json!({
                "ruleId": finding.rule,
                "ruleIndex": rules.get(finding.rule.as_str()).copied().unwrap_or_default(),
                "level": match finding.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                },
                "message": { "text": finding.message },
                "locations": [location],
                "partialFingerprints": { "stepAndRule/v1": fingerprint(&file.path, finding) },
            })
        })
        .collect();
    let rules: Vec<Value> = rules.keys().map(|rule| rules::described(rule)).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": env!("CARGO_PKG_NAME"),
                    "version": env!("CARGO_PKG_VERSION"),
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "informationUri": rules::HOME,
                    "rules": rules,
                },
            },
            "columnKind": "unicodeCodePoints",
            "invocations": [{ "executionSuccessful": true }],
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

/// What stays of a finding when lines move: its file, its step, its rule and its words.
fn fingerprint(path: &str, finding: &Finding) -> String {
    let step = finding.step.as_deref().unwrap_or_default();
    let parts = [path, step, &finding.rule, &finding.message];
    // FNV-1a: it has to be the same in every version, and need not be hard to find.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.join("\0").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// A path as a URI reference (RFC 3986): relative ones as they are, absolute ones as `file:`.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut uri = if path.starts_with('/') {
        "file://".to_owned()
    } else {
        String::new()
    };
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uri_references() {
        for (path, expected) in [
            ("playbooks/a.yaml", "playbooks/a.yaml"),
            ("./a b/ü.yaml", "a%20b/%C3%BC.yaml"),
            ("/srv/100%.yaml", "file:///srv/100%25.yaml"),
            ("a:b.yaml", "a%3Ab.yaml"),
            ("-", "-"),
        ] {
            assert_eq!(uri(path), expected);
        }
    }
}
