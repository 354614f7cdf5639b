//! `mcp`: what the operator lets a language model ask for. The model, and whatever text it has read, is
//! trusted with nothing beyond: it is the same policy for everybody, made narrower.

use std::time::Duration;

use super::error::PolicyError;
use super::{Policy, instances};
use crate::allowlist::Template;
use crate::known_servers::KnownServer;
use crate::secret::SecretSources;
use crate::step::model::NamedServer;
use crate::step::render::SecretUse;

/// Clients give up after a minute: no run takes longer than this.
pub const LONGEST: Duration = Duration::from_secs(45);
/// Bytes of one run's document: several are held at once, and read from later.
const DOCUMENT_BYTES: usize = 8 * 1024 * 1024;

/// A policy for language models.
#[derive(Debug)]
pub struct ModelPolicy {
    policy: Policy,
}

impl Policy {
    /// The same policy for a language model: instances only, the templates that `mcp.templates` leaves, its
    /// lower limits, and no path to a server of anybody's choosing.
    ///
    /// # Errors
    /// [`PolicyError::NoInstances`], where nothing could be asked.
    pub fn for_models(mut self) -> Result<ModelPolicy, PolicyError> {
        if self.instances.is_empty() {
            return Err(PolicyError::NoInstances { policy: self.path });
        }
        let least = |own: Option<usize>, most: usize| Some(own.map_or(most, |own| own.min(most)));
        let rules = &mut self.rules;
        rules.require_instance = true;
        rules.max_hosts = least(rules.max_hosts, self.mcp.max_hosts);
        rules.max_bytes = least(rules.max_bytes, DOCUMENT_BYTES);
        rules.max_timeout = Some(rules.max_timeout.map_or(LONGEST, |own| own.min(LONGEST)));
        rules
            .lists
            .push(("mcp.templates", self.mcp.templates.clone()));
        self.allow_unc_paths = false;
        Ok(ModelPolicy { policy: self })
    }
}

#[cfg(feature = "demo")]
impl Policy {
    /// A policy over simulated servers, whose tokens are no secrets: its keys as a file has them. `None` where
    /// they are none.
    pub(crate) fn simulated(keys: serde_json::Value) -> Option<Self> {
        let file: super::file::File = serde_json::from_value(keys).ok()?;
        Some(Self {
            rules: super::Rules::of(&file, true),
            instances: file.instances,
            mcp: file.mcp,
            ..Self::none()
        })
    }
}

impl ModelPolicy {
    /// The policy that each call is held to.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The names of the servers, in order, each with its kind.
    pub fn instances(&self) -> impl Iterator<Item = (&str, &'static KnownServer)> {
        let instances = self.policy.instances.iter();
        instances.map(|(name, instance)| (name.as_str(), instance.access.known()))
    }

    /// The server of that name, its secrets looked up; `None` where there is none.
    ///
    /// # Errors
    /// [`PolicyError::Instance`], where its credentials can't be had.
    pub fn instance(
        &self,
        name: &str,
        secrets: &SecretSources,
    ) -> Option<Result<NamedServer, PolicyError>> {
        let instance = self.policy.instances.get(name)?;
        let server = instances::server(name, instance, SecretUse::Resolve(secrets));
        Some(server.map_err(PolicyError::Instance))
    }

    /// The templates that a model may name, in order.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let templates = self.policy.registry().templates();
        templates.filter(|template| self.policy.allows_template(template).is_ok())
    }

    /// Hosts of a call at most.
    pub fn max_hosts(&self) -> usize {
        self.policy.rules.max_hosts.unwrap_or(usize::MAX)
    }

    /// The longest timeout of a call.
    pub fn max_timeout(&self) -> Duration {
        self.policy.rules.max_timeout.unwrap_or(LONGEST)
    }

    /// Runs within any minute.
    pub fn max_runs_per_minute(&self) -> usize {
        self.policy.mcp.max_runs_per_minute
    }

    /// A call that means more hosts needs a person's word.
    pub fn confirm_above(&self) -> usize {
        self.policy.mcp.confirm_above
    }

    /// Bytes of JSON of one answer at most.
    pub fn max_bytes(&self) -> usize {
        self.policy.mcp.max_bytes
    }
}
