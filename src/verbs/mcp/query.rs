//! What a model asks of hosts, and the step that it becomes: the way of `run` begins there, and knows no
//! shorter one. Nothing of it is an expression, an address or a limit of the model's own.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use super::templates;
use crate::exit::Code;
use crate::policy::models::ModelPolicy;
use crate::printable::listed;

/// Seconds that hosts may take to answer where nothing is said.
const USUAL_TIMEOUT: u64 = 20;

/// Arguments of `plan_live_query` and `run_live_query`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Query {
    pub instance: String,
    pub template: String,
    #[serde(default)]
    pub parameters: Map<String, Value>,
    #[serde(default)]
    pub target_hosts: Vec<String>,
    #[serde(default)]
    pub target_labels: Vec<String>,
    #[serde(default)]
    pub target_teams: Vec<String>,
    #[serde(default)]
    pub target_platforms: Vec<String>,
    pub timeout_seconds: Option<u64>,
    pub resume: Option<String>,
}

impl Query {
    /// Whether the policy knows the server and lets the template be named, and no value is an expression.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn check(&self, policy: &ModelPolicy) -> Result<(), Refusal> {
        let mut known = policy.instances().map(|(name, _)| name);
        if !known.any(|name| name == self.instance) {
            let known = policy.instances().map(|(name, _)| name);
            return Err(Refusal::unknown_instance(&self.instance, known));
        }
        templates::of_name(policy, &self.template)?;
        let texts = self.parameters.values().filter_map(Value::as_str);
        let names = [&self.target_hosts, &self.target_labels, &self.target_teams];
        let mut texts = texts.chain(names.into_iter().flatten().map(String::as_str));
        if texts.any(|text| text.contains("{{") || text.contains("{%")) {
            return Err(Refusal::new(
                Code::Render,
                "a value holds `{{` or `{%`: there are no expressions here",
                "write each value out",
            ));
        }
        Ok(())
    }

    /// Whether no target is named.
    pub(super) fn names_nobody(&self) -> bool {
        self.target_hosts.is_empty()
            && self.target_labels.is_empty()
            && self.target_teams.is_empty()
            && self.target_platforms.is_empty()
    }

    /// Whether no more hosts than this can be meant, unless several share a name.
    pub(super) fn is_few(&self, most: usize) -> bool {
        let names_only = self.target_labels.is_empty() && self.target_teams.is_empty();
        names_only && (1..=most).contains(&self.target_hosts.len())
    }

    /// Seconds that hosts may take, within what the policy allows.
    pub(super) fn timeout(&self, policy: &ModelPolicy) -> u64 {
        let most = policy.max_timeout().as_secs();
        self.timeout_seconds.unwrap_or(USUAL_TIMEOUT).min(most)
    }

    /// The step: so many hosts at most, and so many seconds.
    pub(super) fn step(&self, max_hosts: usize, timeout: u64) -> Value {
        let mut params = json!({
            "instance": self.instance,
            "template": self.template,
            "max_hosts": max_hosts,
            "timeout_seconds": timeout,
        });
        if !self.parameters.is_empty() {
            params["template_params"] = self.parameters.clone().into();
        }
        for (key, names) in [
            ("target_hosts", &self.target_hosts),
            ("target_labels", &self.target_labels),
            ("target_teams", &self.target_teams),
            ("target_platforms", &self.target_platforms),
        ] {
            if !names.is_empty() {
                params[key] = names.clone().into();
            }
        }
        json!({ "type": "osquery_live_query", "params": params })
    }

    /// Whom it means, in a line for a person.
    pub(super) fn targets(&self) -> String {
        let kinds = [
            ("hosts", &self.target_hosts),
            ("labels", &self.target_labels),
            ("teams", &self.target_teams),
            ("platforms", &self.target_platforms),
        ];
        let kinds = kinds.into_iter().filter(|(_, names)| !names.is_empty());
        let kinds: Vec<String> = kinds
            .map(|(kind, names)| format!("{kind} {}", listed(names)))
            .collect();
        kinds.join("; ")
    }
}
