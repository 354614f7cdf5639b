//! The step once it is checked and rendered. Knows nothing of YAML, templates of text, or servers' wires.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use crate::campaign::OfflineHosts;
use crate::campaign::roster::Targets;
use crate::known_servers::Access;
use crate::problem::Problem;
use crate::secret::Secret;

/// A step that keeps its schema, before and after rendering. What it asks for is not yet allowed:
/// that is the allowlist's and the policy's to say.
#[derive(Debug, Clone)]
pub struct RenderedStep {
    /// The step's `id`, where it has one.
    pub id: Option<String>,
    /// The instance of the operator's policy that the step names instead of a server.
    pub instance: Option<String>,
    /// Which server, and how to reach it.
    pub server: Server,
    /// The template that the step names, with its parameters as they were rendered.
    pub template: TemplateCall,
    /// Who is asked.
    pub targets: Targets,
    /// How much may come back, from how many, and until when; the operator's policy may lower what is not
    /// written.
    pub limits: AskedLimits,
    /// Whether hosts that the server holds for offline are waited for.
    pub offline_hosts: OfflineHosts,
    /// What the step's author should know although it works; each message is one line.
    pub warnings: Vec<Problem>,
    /// Every value that came out of a secret or stands in a secret's field: to be redacted from foreign text.
    pub secrets: Vec<Secret>,
}

impl RenderedStep {
    /// Where the step goes and whether certificates are checked there, where it writes its own address.
    pub(crate) fn own_address(&self) -> Option<(&Url, bool)> {
        let server = &self.server;
        let own = self.instance.is_none();
        own.then_some((&server.base_url, server.verify_tls))
    }
}

/// A number that the step writes, or its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<T> {
    /// The number.
    pub value: T,
    /// Whether the step writes it: then it is refused where it is too much, and never lowered.
    pub written: bool,
}

/// The limits that a step asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedLimits {
    /// `max_hosts`: more resolved hosts than this and nothing is dispatched.
    pub max_hosts: Asked<usize>,
    /// `max_rows_per_host`: rows kept of one host's answer.
    pub max_rows_per_host: Asked<usize>,
    /// `max_bytes`: bytes of the whole output document.
    pub max_bytes: Asked<usize>,
    /// `timeout_seconds`: the one deadline, counted from the start of the process.
    pub timeout: Asked<Duration>,
}

/// Where the server is and how to get in.
#[derive(Debug, Clone)]
pub struct Server {
    /// Which kind of server, with all that this kind needs.
    pub access: Access,
    /// http or https; no user information, query or fragment.
    pub base_url: Url,
    /// Token or login.
    pub credentials: Credentials,
    /// Whether the server's certificate is checked; false only where the step says so.
    pub verify_tls: bool,
    /// A PEM file of extra roots.
    pub ca_file: Option<PathBuf>,
}

/// A server that the operator gave a name, with credentials of its own.
#[derive(Debug, Clone)]
pub struct NamedServer {
    /// Its name: `params.instance`.
    pub name: String,
    /// The server.
    pub server: Server,
    /// The secrets among its credentials, to be redacted from foreign text.
    pub secrets: Vec<Secret>,
    /// What its operator should know; each one line for stderr.
    pub warnings: Vec<String>,
}

/// How the process proves who it is.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// `api_token`.
    Token(Secret),
    /// `username` and `password`.
    Login {
        /// What the server calls the user: a name or an e-mail address.
        username: Secret,
        /// The password.
        password: Secret,
    },
}

/// A template's name with the parameters as the step gives them; not yet typed.
#[derive(Debug, Clone)]
pub struct TemplateCall {
    /// Name in the allowlist.
    pub name: String,
    /// Parameters by name, rendered.
    pub params: Map<String, Value>,
}
