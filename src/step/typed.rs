//! A rendered step that keeps its schema, as the types that the rest of the program works with. Knows
//! nothing of YAML or expressions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use super::expression::holds_expression;
use super::model::{BackendKind, Credentials, NamedServer, RenderedStep, Server, TemplateCall};
use super::render::{Credential, Rendering};
use super::schema::whole_number;
use crate::address;
use crate::campaign::host::Platform;
use crate::campaign::roster::Targets;
use crate::campaign::{Limits, OfflineHosts};
use crate::input::Document;
use crate::path::Path;
use crate::problem::Problem;
use crate::secret::Secret;

/// `timeout_seconds` of a step that names none.
pub(crate) const DEFAULT_TIMEOUT_SECONDS: u64 = 60;
const DEFAULT_MAX_HOSTS: u64 = 1_000;
const DEFAULT_MAX_ROWS_PER_HOST: u64 = 10_000;
const DEFAULT_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The typed step; `named` is the server of its instance, where it names one. What a partial context left
/// unknown counts as not given; a credential that was not looked up is its reference.
///
/// # Errors
/// Only where the schema would let something pass that has no type here, which is a bug.
pub(super) fn type_step(
    rendering: Rendering,
    text: &Document,
    named: Option<NamedServer>,
) -> Result<RenderedStep, Problem> {
    let Rendering {
        step,
        credentials,
        mut warnings,
        ..
    } = rendering;
    let none = Map::new();
    let fields = Fields(
        step.get("params")
            .and_then(Value::as_object)
            .unwrap_or(&none),
    );
    let (instance, server, secrets) =
        match named {
            Some(named) => {
                let path = Path::of(&["params", "instance"]);
                let at = text.position_of_value(&path);
                warnings.extend(named.warnings.into_iter().map(|warning| {
                    Problem::new(path.to_string(), "secret_exposed", warning).at(at)
                }));
                warnings.extend(insecure_instance(&named.server).map(|problem| problem.at(at)));
                (Some(named.name), named.server, named.secrets)
            }
            None => {
                let secrets = credentials
                    .iter()
                    .filter(|(field, credential)| **field != "username" || credential.referenced)
                    .map(|(field, credential)| match *field {
                        "username" => credential.text.clone().as_user_name(),
                        _ => credential.text.clone(),
                    })
                    .collect();
                warnings.extend(insecure(text));
                (None, type_server(&fields, &credentials)?, secrets)
            }
        };
    let platforms = fields
        .names("target_platforms")
        .iter()
        .map(|name| match name.as_str() {
            "linux" => Ok(Platform::Linux),
            "darwin" => Ok(Platform::Darwin),
            "windows" => Ok(Platform::Windows),
            _ => Err(fault("target_platforms")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(RenderedStep {
        id: step
            .get("id")
            .and_then(Value::as_str)
            .ok_or_else(|| fault("id"))?
            .to_owned(),
        instance,
        server,
        template: TemplateCall {
            name: fields.text("template")?.to_owned(),
            params: fields
                .0
                .get("template_params")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
            foreign: Vec::new(),
        },
        targets: Targets {
            hosts: fields.names("target_hosts"),
            labels: fields.names("target_labels"),
            platforms: distinct(platforms),
        },
        limits: Limits {
            max_hosts: fields.size("max_hosts", DEFAULT_MAX_HOSTS)?,
            max_rows_per_host: fields.size("max_rows_per_host", DEFAULT_MAX_ROWS_PER_HOST)?,
            max_bytes: fields.size("max_bytes", DEFAULT_MAX_BYTES)?,
        },
        offline_hosts: match fields.0.get("offline_hosts").and_then(Value::as_str) {
            None | Some("wait") => OfflineHosts::Wait,
            Some("skip") => OfflineHosts::Skip,
            Some(_) => return Err(fault("offline_hosts")),
        },
        timeout: Duration::from_secs(fields.number("timeout_seconds", DEFAULT_TIMEOUT_SECONDS)?),
        warnings,
        secrets,
    })
}

fn type_server(
    fields: &Fields<'_>,
    credentials: &BTreeMap<&'static str, Credential>,
) -> Result<Server, Problem> {
    Ok(Server {
        backend: match fields.text("backend")? {
            "osctrl" => BackendKind::Osctrl,
            "fleetdm" | "fleet" => BackendKind::Fleet,
            _ => return Err(fault("backend")),
        },
        base_url: Url::parse(fields.text("base_url")?).map_err(|_| fault("base_url"))?,
        environment: fields.optional_text("environment"),
        credentials: type_credentials(credentials, fields)?,
        verify_tls: fields
            .0
            .get("verify_tls")
            .and_then(Value::as_bool)
            .unwrap_or(true),
        ca_file: fields.optional_text("ca_file").map(PathBuf::from),
    })
}

fn type_credentials(
    credentials: &BTreeMap<&'static str, Credential>,
    fields: &Fields<'_>,
) -> Result<Credentials, Problem> {
    let text = |field: &'static str| match credentials.get(field) {
        Some(credential) => Ok(credential.text.clone()),
        None => fields.text(field).map(|text| Secret::new(text.to_owned())),
    };
    if fields.0.contains_key("api_token") {
        return text("api_token").map(Credentials::Token);
    }
    Ok(Credentials::Login {
        username: text("username")?,
        password: text("password")?,
    })
}

fn fault(field: &str) -> Problem {
    Problem::new(
        format!("params.{field}"),
        "schema",
        format!("`{field}` passed the step's schema, but can't be read (a bug)"),
    )
}

struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn text(&self, field: &str) -> Result<&'a str, Problem> {
        self.0
            .get(field)
            .and_then(Value::as_str)
            .ok_or_else(|| fault(field))
    }

    fn optional_text(&self, field: &str) -> Option<String> {
        self.0.get(field).and_then(Value::as_str).map(str::to_owned)
    }

    fn names(&self, field: &str) -> Vec<String> {
        self.0
            .get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// JSON Schema holds 60.0 for an integer; so does this.
    fn number(&self, field: &str, default: u64) -> Result<u64, Problem> {
        match self.0.get(field) {
            None => Ok(default),
            Some(Value::String(text)) if holds_expression(text) => Ok(default),
            Some(Value::String(text)) => whole_number(text.trim()).ok_or_else(|| fault(field)),
            Some(Value::Number(number)) => number
                .as_u64()
                .or_else(|| {
                    number
                        .as_f64()
                        .filter(|number| number.fract() == 0.0 && (0.0..9.0e15).contains(number))
                        .map(|number| number as u64)
                })
                .ok_or_else(|| fault(field)),
            Some(_) => Err(fault(field)),
        }
    }

    fn size(&self, field: &str, default: u64) -> Result<usize, Problem> {
        usize::try_from(self.number(field, default)?).map_err(|_| fault(field))
    }
}

/// Settings of a step that let others read along. Expressions have no place in these fields.
pub(crate) fn insecure(text: &Document) -> Option<Problem> {
    let params = text.value().get("params")?;
    let base_url = params.get("base_url").and_then(Value::as_str);
    let base_url = base_url.and_then(|base_url| Url::parse(base_url).ok());
    let plain = base_url.is_some_and(|url| is_plain(&url));
    let (field, message) = if plain {
        ("base_url", PLAIN)
    } else if params.get("verify_tls") == Some(&Value::Bool(false)) {
        (
            "verify_tls",
            "`verify_tls` is false: the server's certificate is not checked, so whoever is on the way can read the credentials and the rows",
        )
    } else {
        return None;
    };
    let path = Path::of(&["params", field]);
    Some(Problem::new(path.to_string(), "insecure", message).at(text.position_of_value(&path)))
}

const PLAIN: &str =
    "`base_url` is plain http: whoever is on the way can read the credentials and the rows";

fn insecure_instance(server: &Server) -> Option<Problem> {
    is_plain(&server.base_url).then(|| Problem::new("params.instance", "insecure", PLAIN))
}

fn is_plain(url: &Url) -> bool {
    url.scheme() == "http" && !address::is_loopback(url)
}

fn distinct(platforms: Vec<Platform>) -> Vec<Platform> {
    let mut kept = Vec::new();
    for platform in platforms {
        if !kept.contains(&platform) {
            kept.push(platform);
        }
    }
    kept
}
