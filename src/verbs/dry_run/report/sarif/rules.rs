//! What each rule is about and what to do, as code scanning shows them beside a finding.

use serde_json::{Value, json};

/// Where the program is found.
pub(super) const HOME: &str = "https://crates.io/crates/osquery-live-query";

/// A rule, in a sentence, and what to do, in another.
struct Rule {
    id: &'static str,
    about: &'static str,
    advice: &'static str,
}

const fn rule(id: &'static str, about: &'static str, advice: &'static str) -> Rule {
    Rule { id, about, advice }
}

const RULES: &[Rule] = &[
    rule(
        "decode",
        "The file is not one YAML or JSON document of a known form.",
        "Fix the place that is named; quote expressions, and write each key once.",
    ),
    rule(
        "unreadable",
        "The file can't be read.",
        "Look at the path and at who may read the file.",
    ),
    rule(
        "repeated_step_id",
        "Two steps of a playbook have the same id.",
        "Give one of the steps another id: conditions and `next` name steps by it.",
    ),
    rule(
        "repeated_playbook_id",
        "Two playbooks of a pack have the same id.",
        "Give one of the playbooks another id.",
    ),
    rule(
        "unknown_step",
        "A step is named that the playbook does not have.",
        "Correct the name, or add the step.",
    ),
    rule(
        "unreached_step",
        "No step leads to this one.",
        "Lead a step to it by `next_true`, `next_false` or `depends_on`, or remove it.",
    ),
    rule(
        "cycle",
        "Steps run in a circle.",
        "Break the circle: an engine would never end, or never begin.",
    ),
    rule(
        "step_order",
        "A condition names a step that can't have run before.",
        "Name a step that has run by then.",
    ),
    rule(
        "unknown_template",
        "The template is not in the allowlist.",
        "`osquery-live-query templates` lists those that there are.",
    ),
    rule(
        "raw_sql",
        "SQL is never taken from a step.",
        "Name an allowlisted template and its parameters instead.",
    ),
    rule(
        "unknown_parameter",
        "The template has no such parameter.",
        "`osquery-live-query templates NAME` shows a template's parameters.",
    ),
    rule(
        "missing_parameter",
        "The template needs this parameter.",
        "Give the parameter in `template_params`.",
    ),
    rule(
        "parameter_type",
        "The value does not fit the template's parameter.",
        "`osquery-live-query templates NAME` shows what each parameter takes.",
    ),
    rule(
        "parameter_range",
        "The value does not fit the template's parameter.",
        "`osquery-live-query templates NAME` shows what each parameter takes.",
    ),
    rule(
        "parameter_value",
        "The value does not fit the template's parameter.",
        "`osquery-live-query templates NAME` shows what each parameter takes.",
    ),
    rule(
        "secret_field",
        "A secret is allowed only in a credential's field.",
        "Move the secret into `api_token`, `username` or `password`.",
    ),
    rule(
        "secret_reference",
        "A credential is exactly `{{ secrets.NAME }}`.",
        "Write the reference by itself, as `{{ secrets.NAME }}`.",
    ),
    rule(
        "secret_missing",
        "The secret is not there.",
        "Give it in the invocation, in the secrets directory or in the variable that the message names.",
    ),
    rule(
        "secret_value",
        "The secret can't be used.",
        "Look at the secret: it may be empty, or hold line breaks.",
    ),
    rule(
        "secret_readable",
        "Every user of the machine may read the secret.",
        "Take the rights of others from the file (`chmod go-rwx`).",
    ),
    rule(
        "credential_written_out",
        "A credential is written out in the step instead of referenced.",
        "Keep the credential with the engine's secrets, and write `{{ secrets.NAME }}` in the step.",
    ),
    rule(
        "context_field",
        "The context must not choose this.",
        "Write the value out: an alert must not choose the server, the template or the credentials.",
    ),
    rule(
        "undefined",
        "A name is not in the context.",
        "Correct the path, or give it a `default`.",
    ),
    rule(
        "undefined_root",
        "No engine gives such a context.",
        "Begin with `alert` or another root that the engine gives; `--context-root` names more.",
    ),
    rule(
        "undefined_input",
        "The playbook declares no such input.",
        "Declare the input in the playbook's `inputs`, or correct its name.",
    ),
    rule(
        "unknown_key",
        "The key is the engine's own, or mistyped.",
        "Remove the key, or correct it.",
    ),
    rule(
        "nesting",
        "Steps are nested too deep.",
        "Flatten the steps.",
    ),
    rule(
        "input_field",
        "The context has nothing where the input is taken from.",
        "Correct the input's `field`: the context has nothing there.",
    ),
    rule(
        "input_default",
        "The default is not of the input's type.",
        "Write a default of the input's type.",
    ),
    rule(
        "timeout",
        "The engine gives up on the step too early.",
        "Give the engine more time than the query's own `timeout_seconds`.",
    ),
    rule(
        "platforms",
        "The template does not work on the platforms that are asked.",
        "Choose a template for these platforms, or other `target_platforms`.",
    ),
    rule(
        "insecure",
        "The connection can be read by others.",
        "Use https, and name the server's authority in `ca_file` instead of turning the check off.",
    ),
    rule(
        "expression",
        "An expression is a path with a few filters.",
        "Write a path into the context with filters; no arithmetic, no calls, no statements.",
    ),
    rule(
        "filter",
        "An expression is a path with a few filters.",
        "Write a path into the context with filters; no arithmetic, no calls, no statements.",
    ),
];

/// A rule for `tool.driver.rules`.
pub(super) fn described(id: &str) -> Value {
    let known = RULES.iter().find(|rule| rule.id == id);
    let about = known.map_or_else(
        || format!("The rule `{id}` of the schema is not kept."),
        |rule| rule.about.to_owned(),
    );
    let advice = known.map_or(
        "The message names what is accepted; `osquery-live-query schema step` and `schema playbook` describe every key.",
        |rule| rule.advice,
    );
    json!({
        "id": id,
        "name": friendly(id),
        "shortDescription": { "text": about },
        "fullDescription": { "text": format!("{about} {advice}") },
        "help": {
            "text": format!("{about} {advice}"),
            "markdown": format!("**{about}**\n\n{advice}\n\n`osquery-live-query dry-run --help` says how playbooks and steps are checked."),
        },
        "helpUri": HOME,
        "properties": {
            "tags": ["playbook", "osquery"],
            "precision": "very-high",
        },
    })
}

/// `unknown_template` as `UnknownTemplate`; a name of one word would be the id again (SARIF1001).
fn friendly(id: &str) -> String {
    let mut name = String::new();
    let mut begins = true;
    for letter in id.chars() {
        match letter.is_ascii_alphanumeric() {
            false => begins = true,
            true if std::mem::take(&mut begins) => name.push(letter.to_ascii_uppercase()),
            true => name.push(letter),
        }
    }
    match name.eq_ignore_ascii_case(id) {
        true => name + "Rule",
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_described_in_whole_sentences_and_once() {
        for (at, rule) in RULES.iter().enumerate() {
            assert!(
                rule.about.ends_with('.') && rule.advice.ends_with('.'),
                "{}",
                rule.id
            );
            assert!(
                RULES[..at].iter().all(|other| other.id != rule.id),
                "{}",
                rule.id
            );
        }
        assert_eq!(friendly("cycle"), "CycleRule");
        assert_eq!(friendly("unknown_template"), "UnknownTemplate");
    }
}
