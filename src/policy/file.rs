//! The policy's file: read only where others can't change it, strict YAML (or JSON), checked against its
//! schema with all problems at once. There is no fallback: what can't be read or understood stops the run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::error::PolicyError;
use super::trust;
use super::words;
use crate::input::Document;
use crate::known_servers::{Access, access_fields};
use crate::problem::{Placed, Problem};

/// A policy that is larger is none.
const MAX_BYTES: usize = 1024 * 1024;

/// The file as it is written, its schema kept.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub instances: BTreeMap<String, Instance>,
    pub require_instance: bool,
    pub allowed_base_urls: Option<Vec<Url>>,
    pub allow_http: bool,
    pub allow_insecure_tls: bool,
    pub allow_unc_paths: bool,
    pub saved_queries_only: bool,
    pub templates: Templates,
    pub template_dirs: Vec<PathBuf>,
    pub tables_denied: Option<Vec<String>>,
    pub max_timeout_seconds: Option<u64>,
    pub max_hosts: Option<usize>,
    pub max_rows_per_host: Option<usize>,
    pub max_bytes: Option<usize>,
    pub max_concurrent: Option<usize>,
    pub lock_dir: Option<PathBuf>,
    pub audit_log: Option<PathBuf>,
    pub mcp: Mcp,
}

/// `mcp`: what a language model may ask for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Mcp {
    pub templates: Templates,
    pub max_hosts: usize,
    pub max_runs_per_minute: usize,
    pub confirm_above: usize,
    pub max_bytes: usize,
}

impl Default for Mcp {
    fn default() -> Self {
        Self {
            templates: Templates::default(),
            max_hosts: 25,
            max_runs_per_minute: 10,
            confirm_above: 5,
            max_bytes: 48 * 1024,
        }
    }
}

/// `instances.NAME`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(super) struct Instance {
    pub access: Access,
    pub base_url: Url,
    pub ca_file: Option<PathBuf>,
    pub saved_queries_only: bool,
    pub credentials: Credentials,
}

impl TryFrom<Map<String, Value>> for Instance {
    type Error = String;

    fn try_from(mut written: Map<String, Value>) -> Result<Self, Self::Error> {
        /// All but the access.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Rest {
            base_url: Url,
            ca_file: Option<PathBuf>,
            #[serde(default)]
            saved_queries_only: bool,
            credentials: Credentials,
        }

        let access = Access::of(&written).ok_or("an instance names no known server")?;
        written.retain(|field, _| !access_fields().any(|known| known == field));
        let Rest {
            base_url,
            ca_file,
            saved_queries_only,
            credentials,
        } = serde_json::from_value(written.into()).map_err(|error| error.to_string())?;
        Ok(Self {
            access,
            base_url,
            ca_file,
            saved_queries_only,
            credentials,
        })
    }
}

/// `instances.NAME.credentials`: a token, or a login.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    pub api_token: Option<Source>,
    pub username: Option<Source>,
    pub password: Option<Source>,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    File(PathBuf),
    Env(String),
    Secret(String),
    Text(String),
}

/// Which templates may be named.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Templates {
    pub allow: Option<Selection>,
    pub deny: Option<Selection>,
}

/// Templates by name or tag.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Selection {
    pub names: Vec<String>,
    pub tags: Vec<String>,
}

/// Reads the policy at a path.
///
/// # Errors
/// Where it is missing, can be changed by others, or says what no policy says.
pub(super) fn read(path: &Path) -> Result<File, PolicyError> {
    let text = trust::read(path, MAX_BYTES).map_err(|reason| PolicyError::Unreadable {
        path: path.to_owned(),
        reason,
    })?;
    let mut file = parse(&text).map_err(|problems| PolicyError::Unusable {
        path: path.to_owned(),
        problems,
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    file.count_paths_from(folder);
    Ok(file)
}

impl File {
    /// Relative paths count from the policy's folder, wherever the process was started.
    fn count_paths_from(&mut self, folder: &Path) {
        let place = |path: &mut PathBuf| *path = folder.join(&*path);
        self.template_dirs.iter_mut().for_each(place);
        self.lock_dir.iter_mut().for_each(place);
        self.audit_log.iter_mut().for_each(place);
        for instance in self.instances.values_mut() {
            instance.ca_file.iter_mut().for_each(place);
            for source in instance.credentials.sources_mut() {
                if let Source::File(path) = source {
                    place(path);
                }
            }
        }
    }
}

impl Credentials {
    /// Where the secrets come from, by field.
    pub(super) fn sources(&self) -> impl Iterator<Item = (&'static str, &Source)> {
        [
            ("api_token", &self.api_token),
            ("username", &self.username),
            ("password", &self.password),
        ]
        .into_iter()
        .filter_map(|(field, source)| Some((field, source.as_ref()?)))
    }

    fn sources_mut(&mut self) -> impl Iterator<Item = &mut Source> {
        [&mut self.api_token, &mut self.username, &mut self.password]
            .into_iter()
            .flatten()
    }
}

/// The text as a policy.
pub(super) fn parse(text: &str) -> Result<File, Vec<Placed>> {
    let document = Document::parse(text.trim_start_matches('\u{feff}'))
        .map_err(|error| vec![Problem::new("", "yaml", error.message).at(error.position)])?;
    let whole = |rule: &str, message: &str| vec![Problem::new("", rule, message).into()];
    if document.value().is_null() {
        let message = "it is empty: write `{}` for a policy that only keeps the defaults";
        return Err(whole("empty", message));
    }
    let problems = words::violations(document.value());
    if !problems.is_empty() {
        let mut placed = document.placed(problems);
        Placed::in_order(&mut placed);
        return Err(placed);
    }
    serde_json::from_value(document.into_value()).map_err(|_| {
        let message =
            "it conforms to its schema, but can't be read (write whole numbers without a point)";
        whole("schema", message)
    })
}

#[cfg(test)]
mod tests;
