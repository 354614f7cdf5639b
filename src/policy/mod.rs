//! The operator's policy: what is allowed to the authors of playbooks, by a file that they can't change;
//! without one, by defaults. Everything is decided here before a socket is opened. Knows a step and its
//! template; knows nothing of servers' wires.

pub mod audit;
mod error;
mod file;
mod instances;
pub mod locks;
pub mod models;
mod rules;
mod templates;
pub mod trust;
mod words;

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use url::Url;

use crate::allowlist::{Registry, Template, TemplateError};
use crate::campaign::Limits;
use crate::path::Path;
use crate::problem::{Placed, Problem};
use crate::secret::{Secret, SecretSources};
use crate::step;
use crate::step::model::{Asked, AskedLimits, NamedServer, RenderedStep, Server};
use crate::step::render::SecretUse;
use crate::step::render::credential_references;

pub use error::PolicyError;

use audit::AuditLog;
use locks::Slots;
use rules::Rules;

/// The variable that names the policy; it wins over the flag.
pub const VARIABLE: &str = "OSQUERY_LIVE_QUERY_POLICY";

/// Instances that a message lists at most.
const MOST_LISTED: usize = 12;

/// What the operator allows.
#[derive(Debug)]
pub struct Policy {
    /// The file; `None` where there is none and the defaults hold.
    path: Option<PathBuf>,
    instances: BTreeMap<String, file::Instance>,
    rules: Rules,
    allow_unc_paths: bool,
    saved_queries_only: bool,
    /// The built-in templates and the operator's own; `None` where there are only the built-in ones.
    registry: Option<Registry>,
    slots: Option<(usize, PathBuf)>,
    audit_log: Option<PathBuf>,
    mcp: file::Mcp,
}

/// What an allowed step is granted.
#[derive(Debug, Clone)]
pub struct Grant {
    /// How much may come back, and from how many.
    pub limits: Limits,
    /// The one deadline, counted from the start of the process.
    pub timeout: Duration,
    /// `max_concurrent`.
    pub slots: Option<Slots>,
    /// `audit_log`.
    pub audit: Option<AuditLog>,
    /// `saved_queries_only`, of the policy or of the instance.
    pub saved_queries_only: bool,
}

impl Policy {
    /// The policy of this process: `flag` is `--policy`, [`VARIABLE`] wins over it. Without either, the
    /// defaults.
    ///
    /// # Errors
    /// Two different ones are named, or the one that is named can't be used.
    pub fn of_process(flag: Option<&FilePath>) -> Result<Self, PolicyError> {
        let variable = std::env::var_os(VARIABLE).map(PathBuf::from);
        let path = match (variable, flag) {
            (Some(path), _) if path.as_os_str().is_empty() => {
                return Err(PolicyError::EmptyVariable);
            }
            (Some(variable), Some(flag)) if !same_file(&variable, flag) => {
                return Err(PolicyError::Two {
                    variable,
                    flag: flag.to_owned(),
                });
            }
            (Some(path), _) => path,
            (None, Some(flag)) => flag.to_owned(),
            (None, None) => return Ok(Self::none()),
        };
        Self::load(&path)
    }

    /// The defaults that hold where no policy is named.
    pub fn none() -> Self {
        Self {
            path: None,
            instances: BTreeMap::new(),
            rules: Rules::of(&file::File::default(), false),
            allow_unc_paths: false,
            saved_queries_only: false,
            registry: None,
            slots: None,
            audit_log: None,
            mcp: file::Mcp::default(),
        }
    }

    /// The policy in a file.
    ///
    /// # Errors
    /// It can't be read, others can change it or what it names, or it is not one.
    pub fn load(path: &FilePath) -> Result<Self, PolicyError> {
        let file = file::read(path)?;
        let rules = Rules::of(&file, true);
        let mut problems = rules.of_instances(&file);
        let registry = templates::registry(&file.template_dirs, &mut problems);
        let names = registry.as_ref().unwrap_or(Registry::embedded());
        problems.extend(rules.unknown_templates(&file, names));
        if let Some(dir) = &file.lock_dir
            && let Err(error) = trust::folder(dir)
        {
            let message = format!("`lock_dir` {} {error}", dir.display());
            problems.push(Problem::new("lock_dir", "trust", message));
        }
        if !problems.is_empty() {
            // Lines are not known here: the file was put into types.
            return Err(PolicyError::Unusable {
                path: path.to_owned(),
                problems: problems.into_iter().map(Placed::from).collect(),
            });
        }
        Ok(Self {
            path: Some(path.to_owned()),
            instances: file.instances,
            rules,
            allow_unc_paths: file.allow_unc_paths,
            saved_queries_only: file.saved_queries_only,
            registry,
            slots: file.max_concurrent.zip(file.lock_dir),
            audit_log: file.audit_log,
            mcp: file.mcp,
        })
    }

    /// The templates that there are, allowed or not.
    pub fn registry(&self) -> &Registry {
        self.registry.as_ref().unwrap_or(Registry::embedded())
    }

    /// What is wrong with the operator's own templates, for who lists them; a run looks only at the one
    /// that it needs.
    pub fn broken_templates(&self) -> Vec<TemplateError> {
        let own = self.registry.as_ref();
        own.and_then(|registry| registry.check_all(SystemTime::now()).err())
            .unwrap_or_default()
    }

    /// Whether the author of a step may write a path to a server (`\\server\share`) into it, to which
    /// the hosts that are asked then log on.
    pub fn allows_unc_paths(&self) -> bool {
        self.allow_unc_paths
    }

    /// Whether steps may name a template.
    ///
    /// # Errors
    /// Why not, in a sentence without its subject.
    pub fn allows_template(&self, template: &Template) -> Result<(), String> {
        self.rules.template(template)
    }

    /// What the policy has to say before a step is rendered and any secret of it is read: the server of
    /// the instance that it names, or `None` where it writes its own address and may.
    ///
    /// # Errors
    /// An unknown instance, none where one is required, or a secret that is an instance's.
    pub fn instance_of(
        &self,
        step: &Value,
        secrets: SecretUse<'_>,
    ) -> Result<Option<NamedServer>, PolicyError> {
        let Some((key, name)) = step::instance(step) else {
            return self.may_write_address(step).map(|()| None);
        };
        let Some(instance) = self.instances.get(name) else {
            let message = match self.path {
                None => format!(
                    "`{key}` names a server of the operator's policy, and there is no policy: name one with `--policy` or the variable OSQUERY_LIVE_QUERY_POLICY"
                ),
                Some(_) => format!(
                    "the policy has no such instance; {}",
                    self.known_instances()
                ),
            };
            let problem = Problem::new(Path::of(&["params", key]), "instance", message);
            return self.unless_none(vec![problem]).map(|()| None);
        };
        instances::server(name, instance, secrets)
            .map(Some)
            .map_err(PolicyError::Instance)
    }

    fn may_write_address(&self, step: &Value) -> Result<(), PolicyError> {
        if self.rules.require_instance {
            let message = format!(
                "the policy says `require_instance: true`: name the server in `params.instance` instead of its address and credentials; {}",
                self.known_instances()
            );
            return self.unless_none(vec![Problem::new("params", "require_instance", message)]);
        }
        let reserved = credential_references(step)
            .filter(|(_, name)| {
                self.instances
                    .values()
                    .any(|instance| instances::reserves(instance, name))
            })
            .map(|(field, _)| reserved_secret(field))
            .collect();
        self.unless_none(reserved)
    }

    /// What the policy grants a step that is rendered and whose template is known. `written` is the step
    /// before it was rendered.
    ///
    /// # Errors
    /// Every rule that the step breaks.
    pub fn grant(
        &self,
        step: &RenderedStep,
        written: &Value,
        template: &Template,
        secrets: SecretUse<'_>,
    ) -> Result<Grant, PolicyError> {
        let own = step.instance.is_none();
        let server = &step.server;
        let mut problems = self.forbidden(step.own_address(), &step.limits, Some(template));
        // Without secrets this is not the machine that will run the step; its files are not there.
        if let SecretUse::Resolve(secrets) = secrets {
            if own {
                problems.extend(self.borrowed_secrets(server, written, secrets));
            }
            if let Some(path) = &server.ca_file {
                problems.extend(rules::ca_file(path, !own));
            }
        }
        let instance = step.instance.as_deref();
        let instance = instance.and_then(|name| self.instances.get(name));
        let saved_queries_only =
            self.saved_queries_only || instance.is_some_and(|it| it.saved_queries_only);
        if saved_queries_only {
            problems.extend(rules::keeps_queries(server.access.known(), !own));
        }
        self.unless_none(problems)?;
        let slots = self.slots.clone();
        let (limits, timeout) = self.rules.lowered(&step.limits);
        Ok(Grant {
            limits,
            timeout,
            slots: slots.map(|(most, dir)| Slots::new(most, dir, &server.base_url)),
            audit: self.audit_log.clone().map(AuditLog::new),
            saved_queries_only,
        })
    }

    /// What the policy grants a connector: until when it may poll. `step` is the connector as a step has the
    /// same, as it is written; `own` is its address and whether certificates are checked there, where it
    /// writes one.
    ///
    /// # Errors
    /// Every rule that it breaks, in the words of [`Policy::grant`].
    pub(crate) fn grant_poll(
        &self,
        server: &Server,
        own: Option<(&Url, bool)>,
        timeout: Asked<Duration>,
        step: &Value,
        secrets: &SecretSources,
    ) -> Result<Duration, PolicyError> {
        let mut problems = Vec::new();
        if let Some((base_url, verify_tls)) = own {
            problems.extend(self.rules.address(base_url, verify_tls));
            problems.extend(self.borrowed_secrets(server, step, secrets));
        }
        problems.extend(self.rules.too_long(timeout));
        if let Some(path) = &server.ca_file {
            problems.extend(rules::ca_file(path, own.is_none()));
        }
        self.unless_none(problems)?;
        Ok(self.rules.lowered_timeout(timeout))
    }

    /// What the policy would have against a step that something else speaks against already.
    ///
    /// # Errors
    /// Every rule that the step breaks, as far as that can be told.
    pub(crate) fn foresee(
        &self,
        address: Option<(&Url, bool)>,
        limits: &AskedLimits,
        template: Option<&Template>,
    ) -> Result<(), PolicyError> {
        self.unless_none(self.forbidden(address, limits, template))
    }

    /// The rules that a step breaks; `address` is its own, and whether certificates are checked there.
    fn forbidden(
        &self,
        address: Option<(&Url, bool)>,
        limits: &AskedLimits,
        template: Option<&Template>,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some((base_url, verify_tls)) = address {
            problems.extend(self.rules.address(base_url, verify_tls));
        }
        problems.extend(self.rules.excess(limits));
        if let Some(Err(reason)) = template.map(|template| self.rules.template(template)) {
            problems.push(Problem::new("params.template", "template", reason));
        }
        problems
    }

    /// Credentials that a step with an address of its own has by reference, and that are an instance's
    /// under another name.
    fn borrowed_secrets(
        &self,
        server: &Server,
        written: &Value,
        secrets: &SecretSources,
    ) -> Vec<Problem> {
        use crate::step::model::Credentials;
        let of_instances: Vec<Secret> = self
            .instances
            .values()
            .flat_map(|instance| instances::values(instance, secrets))
            .collect();
        let is_theirs = |secret: &Secret| {
            of_instances
                .iter()
                .any(|theirs| theirs.expose() == secret.expose())
        };
        // Only what came from a reference: its author does not know it. What is written out would be told
        // whether it was guessed right.
        credential_references(written)
            .filter(|(field, _)| match (&server.credentials, *field) {
                (Credentials::Token(token), "api_token") => is_theirs(token),
                (Credentials::Login { password, .. }, "password") => is_theirs(password),
                (Credentials::Login { username, .. }, "username") => is_theirs(username),
                _ => false,
            })
            .map(|(field, _)| reserved_secret(field))
            .collect()
    }

    fn known_instances(&self) -> String {
        let names: Vec<String> = self
            .instances
            .keys()
            .take(MOST_LISTED)
            .map(|name| format!("`{name}`"))
            .collect();
        match (names.is_empty(), self.instances.len() > MOST_LISTED) {
            (true, _) => "it has none".to_owned(),
            (false, false) => format!("its instances are {}", names.join(", ")),
            (false, true) => format!("its instances are {} and others", names.join(", ")),
        }
    }

    fn unless_none(&self, problems: Vec<Problem>) -> Result<(), PolicyError> {
        if problems.is_empty() {
            return Ok(());
        }
        Err(PolicyError::Forbids {
            policy: self.path.clone(),
            problems,
        })
    }
}

fn reserved_secret(field: &str) -> Problem {
    let message = format!(
        "`{field}` names a secret of one of the policy's instances: it is available only to steps that name the instance in `params.instance`"
    );
    Problem::new(Path::of(&["params", field]), "instance_secret", message)
}

/// Whether two paths lead to the same file.
fn same_file(one: &FilePath, other: &FilePath) -> bool {
    one == other
        || match (std::fs::canonicalize(one), std::fs::canonicalize(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
}
