//! SARIF 2.1.0 (OASIS), for code scanning: one run, its rules, its results. Columns count Unicode
//! characters (`columnKind`), paths are URI references.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::verbs::dry_run::finding::{FileReport, Severity};

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
            })
        })
        .collect();
    let rules: Vec<Value> = rules
        .keys()
        .map(|rule| json!({ "id": rule, "shortDescription": { "text": description(rule) } }))
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": env!("CARGO_PKG_NAME"),
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
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

/// What a rule is about, for the list of rules.
fn description(rule: &str) -> String {
    let known = match rule {
        "decode" => "The file is not one YAML or JSON document of a known form.",
        "unreadable" => "The file can't be read.",
        "repeated_step_id" => "Two steps of a playbook have the same id.",
        "repeated_playbook_id" => "Two playbooks of a pack have the same id.",
        "unknown_step" => "A step is named that the playbook does not have.",
        "unreached_step" => "No step leads to this one.",
        "cycle" => "Steps run in a circle.",
        "step_order" => "A condition names a step that can't have run before.",
        "unknown_template" => "The template is not in the allowlist.",
        "raw_sql" => "SQL is never taken from a step.",
        "unknown_parameter" => "The template has no such parameter.",
        "missing_parameter" => "The template needs this parameter.",
        "parameter_type" | "parameter_range" | "parameter_value" => {
            "The value does not fit the template's parameter."
        }
        "secret_field" => "A secret stands only in a credential's field.",
        "secret_reference" => "A credential is exactly `{{ secrets.NAME }}`.",
        "secret_missing" => "The secret is not there.",
        "secret_value" => "The secret can't be used.",
        "secret_readable" => "Every user of the machine may read the secret.",
        "credential_written_out" => "A credential stands in the step instead of a reference.",
        "context_field" => "The context must not choose this.",
        "undefined" => "A name is not in the context.",
        "undefined_root" => "No engine gives such a context.",
        "undefined_input" => "The playbook declares no such input.",
        "unknown_key" => "The key is the engine's own, or mistyped.",
        "nesting" => "Steps are nested too deep.",
        "input_field" => "The context has nothing where the input is taken from.",
        "input_default" => "The default is not of the input's type.",
        "timeout" => "The engine gives the step up too early.",
        "platforms" => "The template does not work on the platforms that are asked.",
        "insecure" => "The connection can be read by others.",
        "expression" | "filter" => "An expression is a path with a few filters.",
        _ => return format!("The rule `{rule}` of the schema."),
    };
    known.to_owned()
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
