//! From stdin's bytes to a connector that may be polled: decode, schema, secrets, policy. Nothing here touches
//! the network.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::connector::{self, Connector, said_of_connector};
use crate::input::{self, Document};
use crate::policy::{Policy, PolicyError};
use crate::problem::{Placed, Problem};
use crate::secret::SecretSources;
use crate::session::failure::{Failure, Objection};
use crate::step::render::SecretUse;

/// What a connector may draw on beside stdin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// `--secrets-dir DIR`.
    pub secrets_dir: Option<PathBuf>,
    /// `--policy FILE`.
    pub policy: Option<PathBuf>,
}

/// A connector that keeps its schema and that the operator's policy allows.
#[derive(Debug)]
pub(crate) struct CheckedConnector {
    connector: Connector,
    timeout: Duration,
}

impl CheckedConnector {
    /// The connector.
    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The one deadline, counted from the start of the process.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Takes stdin's bytes all the way to a connector that may be polled.
///
/// # Errors
/// Everything that can be wrong before the network: decode, schema, render, policy.
pub(crate) fn prepare(bytes: &[u8], sources: &Sources) -> Result<CheckedConnector, Failure> {
    let policy = Policy::of_process(sources.policy.as_deref())?;
    let document = input::decode_connector(bytes)?;
    let secrets = SecretSources::of_process(BTreeMap::new(), sources.secrets_dir.clone());
    let refused = |objection: Objection| {
        let mut placed = document.placed(objection.problems());
        if !matches!(objection, Objection::Policy(_)) {
            Placed::in_order(&mut placed);
        }
        Failure::of_connector(&objection, placed, document.is_of_one_line())
    };
    examined(&document, &policy, &secrets).map_err(refused)
}

/// The stages in their order; the first that objects ends it.
fn examined(
    document: &Document,
    policy: &Policy,
    secrets: &SecretSources,
) -> Result<CheckedConnector, Objection> {
    let written = document.value();
    let violations = connector::violations(written);
    if !violations.is_empty() {
        return Err(Objection::Schema(violations));
    }
    let step = connector::as_step(written);
    let lookup = SecretUse::Resolve(secrets);
    // Where the policy objects, no secret is looked up.
    let named = policy
        .instance_of(&step, lookup)
        .map_err(|error| Objection::Policy(of_connector(error)))?;
    let mut rendered = connector::rendered(written, lookup);
    let unrendered = std::mem::take(&mut rendered.problems);
    if !unrendered.is_empty() {
        return Err(Objection::Render(unrendered));
    }
    let schema = |problem: Problem| Objection::Schema(vec![problem]);
    let own = named.is_none();
    let connector = connector::typed(written, rendered, named).map_err(schema)?;
    let server = &connector.server;
    let own = own.then_some((&server.base_url, server.verify_tls));
    let timeout = policy
        .grant_poll(server, own, connector.timeout, &step, secrets)
        .map_err(|error| Objection::Policy(of_connector(error)))?;
    Ok(CheckedConnector { connector, timeout })
}

fn of_connector(error: PolicyError) -> PolicyError {
    match error {
        PolicyError::Forbids { policy, problems } => PolicyError::Forbids {
            policy,
            problems: problems.into_iter().map(said_of_connector).collect(),
        },
        other => other,
    }
}
