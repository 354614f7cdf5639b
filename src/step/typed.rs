//! A rendered step that keeps its schema, as the types that the rest of the program works with. Knows
//! nothing of YAML or expressions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use super::expression::holds_expression;
use super::model::{
    Asked, AskedLimits, Credentials, NamedServer, RenderedStep, Server, TemplateCall,
};
use super::render::{Credential, Rendering};
use super::schema::whole_number_of;
use crate::address;
use crate::campaign::OfflineHosts;
use crate::campaign::host::Platform;
use crate::campaign::names::AlsoMatch;
use crate::campaign::roster::Targets;
use crate::known_servers::{Access, KnownServer};
use crate::path::Path;
use crate::problem::Problem;
use crate::secret::Secret;

/// `timeout_seconds` of a step that names none.
pub(crate) const DEFAULT_TIMEOUT_SECONDS: u64 = 60;
const DEFAULT_MAX_HOSTS: usize = 1_000;
const DEFAULT_MAX_ROWS_PER_HOST: usize = 10_000;
const DEFAULT_QUEUE_HOURS: u64 = 24;
const DEFAULT_MAX_BYTES: usize = 256 * 1024 * 1024;

/// The typed step; `named` is the server of its instance, where it names one. What a partial context left
/// unknown counts as not given; a credential that was not looked up is its reference.
///
/// # Errors
/// Where the server of an instance can't do what the step asks for; else only where the schema would let
/// something pass that has no type here, which is a bug.
pub(crate) fn typed(
    rendering: Rendering,
    named: Option<NamedServer>,
) -> Result<RenderedStep, Problem> {
    let Rendering {
        step,
        credentials,
        mut warnings,
        ..
    } = rendering;
    let fields = Fields::of(&step);
    fields.one_key_each()?;
    let reached = reach(&step, &credentials, named)?;
    let (instance, server) = (reached.instance, reached.server);
    warnings.extend(reached.warnings);
    if instance.is_some() {
        fields.fit(server.access.known())?;
    }
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
    let offline_hosts = fields.offline_hosts()?;
    let said = fields.optional_text("offline_hosts").unwrap_or_default();
    if let Some(message) = server.access.known().refuses_offline_hosts(&said) {
        // The server of an instance, which the schema doesn't see.
        let path = Path::of(&["params", "offline_hosts"]);
        return Err(Problem::new(path, "enum", message));
    }
    Ok(RenderedStep {
        id: step.get("id").and_then(Value::as_str).map(str::to_owned),
        instance,
        server,
        template: fields.call()?,
        targets: Targets {
            hosts: fields.names("target_hosts"),
            labels: fields.names("target_labels"),
            teams: fields.names("target_teams"),
            ids: fields.names("target_host_ids"),
            platforms: distinct(platforms),
            also_match: fields.also_match()?,
        },
        limits: AskedLimits {
            max_hosts: fields.size("max_hosts", DEFAULT_MAX_HOSTS)?,
            max_rows_per_host: fields.size("max_rows_per_host", DEFAULT_MAX_ROWS_PER_HOST)?,
            max_bytes: fields.size("max_bytes", DEFAULT_MAX_BYTES)?,
            timeout: fields.timeout()?,
        },
        offline_hosts,
        warnings,
        secrets: reached.secrets,
    })
}

/// Which server is meant and how to get in, as a step says it.
#[derive(Debug)]
pub(crate) struct Reached {
    /// The name of the instance that it is.
    pub instance: Option<String>,
    /// The server.
    pub server: Server,
    /// What is to be masked in everything that is shown.
    pub secrets: Vec<Secret>,
    /// What its author should know although it works.
    pub warnings: Vec<Problem>,
}

/// The server of a step, or of what is written as a step has it; `named` is that of its instance, where it names
/// one.
///
/// # Errors
/// Only where the schema would let something pass that has no type here, which is a bug.
pub(crate) fn reach(
    step: &Value,
    credentials: &BTreeMap<&'static str, Credential>,
    named: Option<NamedServer>,
) -> Result<Reached, Problem> {
    let Some(named) = named else {
        let secrets = credentials
            .iter()
            .filter(|(field, credential)| **field != "username" || credential.referenced)
            .map(|(field, credential)| match *field {
                "username" => credential.text.clone().as_user_name(),
                _ => credential.text.clone(),
            });
        return Ok(Reached {
            instance: None,
            server: type_server(&Fields::of(step), credentials)?,
            secrets: secrets.collect(),
            warnings: insecure(step).into_iter().collect(),
        });
    };
    let key = super::instance(step).map_or("instance", |(key, _)| key);
    let path = Path::of(&["params", key]);
    let exposed = named.warnings.into_iter();
    let exposed = exposed.map(|warning| Problem::new(&path, "secret_exposed", warning));
    let mut warnings: Vec<Problem> = exposed.collect();
    warnings.extend(insecure_instance(&named.server, path));
    Ok(Reached {
        instance: Some(named.name),
        server: named.server,
        secrets: named.secrets,
        warnings,
    })
}

/// What can be told of a step that something speaks against: for those who want to know what else would.
#[derive(Debug)]
pub(crate) struct Sketch {
    /// Where it goes and whether certificates are checked, where it writes its own address.
    pub address: Option<(Url, bool)>,
    /// The limits; what is wrong with one of them counts as not given.
    pub limits: AskedLimits,
    /// The template, where one is named.
    pub call: Option<TemplateCall>,
}

impl Sketch {
    /// As [`RenderedStep::own_address`].
    pub(crate) fn own_address(&self) -> Option<(&Url, bool)> {
        let (base_url, verify_tls) = self.address.as_ref()?;
        Some((base_url, *verify_tls))
    }
}

/// What can be told of a step as far as it could be rendered.
pub(crate) fn sketch(step: &Value) -> Sketch {
    let fields = Fields::of(step);
    let own = super::instance(step).is_none();
    let base_url = fields.text("base_url").ok().filter(|_| own);
    let base_url = base_url.and_then(|base_url| Url::parse(base_url).ok());
    let size = |field, default| fields.size(field, default).unwrap_or(unwritten(default));
    let timeout = Duration::from_secs(DEFAULT_TIMEOUT_SECONDS);
    Sketch {
        address: base_url.map(|base_url| (base_url, fields.verify_tls())),
        limits: AskedLimits {
            max_hosts: size("max_hosts", DEFAULT_MAX_HOSTS),
            max_rows_per_host: size("max_rows_per_host", DEFAULT_MAX_ROWS_PER_HOST),
            max_bytes: size("max_bytes", DEFAULT_MAX_BYTES),
            timeout: fields.timeout().unwrap_or(unwritten(timeout)),
        },
        call: fields.call().ok(),
    }
}

fn unwritten<T>(value: T) -> Asked<T> {
    Asked {
        value,
        written: false,
    }
}

fn type_server(
    fields: &Fields<'_>,
    credentials: &BTreeMap<&'static str, Credential>,
) -> Result<Server, Problem> {
    Ok(Server {
        access: fields
            .0
            .and_then(Access::of)
            .ok_or_else(|| fault("backend"))?,
        base_url: Url::parse(fields.text("base_url")?).map_err(|_| fault("base_url"))?,
        credentials: type_credentials(credentials, fields)?,
        verify_tls: fields.verify_tls(),
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
    if fields.get("api_token").is_some() {
        return text("api_token").map(Credentials::Token);
    }
    Ok(Credentials::Login {
        username: text("username")?,
        password: text("password")?,
    })
}

fn fault(field: &str) -> Problem {
    Problem::new(
        Path::of(&["params", field]),
        "schema",
        format!("`{field}` passed the step's schema, but can't be read (a bug)"),
    )
}

/// `params` of a step, field by field.
struct Fields<'a>(Option<&'a Map<String, Value>>);

impl<'a> Fields<'a> {
    fn of(step: &'a Value) -> Self {
        Self(step.get("params").and_then(Value::as_object))
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.0?.get(field)
    }

    fn text(&self, field: &str) -> Result<&'a str, Problem> {
        let text = self.get(field).and_then(Value::as_str);
        text.ok_or_else(|| fault(field))
    }

    fn optional_text(&self, field: &str) -> Option<String> {
        self.text(field).ok().map(str::to_owned)
    }

    fn verify_tls(&self) -> bool {
        let written = self.get("verify_tls").and_then(Value::as_bool);
        written.unwrap_or(true)
    }

    fn call(&self) -> Result<TemplateCall, Problem> {
        Ok(TemplateCall {
            name: self.text("template")?.to_owned(),
            params: match self.get("template_params") {
                None => Map::new(),
                Some(Value::Object(params)) => params.clone(),
                Some(_) => return Err(fault("template_params")),
            },
        })
    }

    fn names(&self, field: &str) -> Vec<String> {
        self.get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// No field is there that this server does not take: the schema does not know an instance's server.
    fn fit(&self, known: &KnownServer) -> Result<(), Problem> {
        let fields = self.0.into_iter().flat_map(Map::keys);
        for field in fields {
            if let Some(lacks) = known.lacks(field) {
                return Err(Problem::new(Path::of(&["params", field]), "not", lacks));
            }
        }
        Ok(())
    }

    /// No number is both a host's name and an id: a key of the document stands for one of them.
    fn one_key_each(&self) -> Result<(), Problem> {
        let hosts = self.names("target_hosts");
        for (at, id) in self.names("target_host_ids").iter().enumerate() {
            if hosts.contains(id) {
                let path = Path::of(&["params", "target_host_ids"]).index(at);
                let message = format!(
                    "`{}` is in `target_hosts` too: remove it there, because the document has one key for both",
                    path.subject()
                );
                return Err(Problem::new(path, "uniqueItems", message));
            }
        }
        Ok(())
    }

    fn also_match(&self) -> Result<AlsoMatch, Problem> {
        let mut also = AlsoMatch::default();
        for way in self.names("also_match") {
            match way.as_str() {
                "short_name" => also.short_name = true,
                "ip_address" => also.ip_address = true,
                _ => return Err(fault("also_match")),
            }
        }
        Ok(also)
    }

    fn number(&self, field: &str) -> Result<Option<u64>, Problem> {
        match self.get(field) {
            None => Ok(None),
            // What it is, is not known yet.
            Some(Value::String(text)) if holds_expression(text) => Ok(None),
            Some(value) => whole_number_of(value).map(Some).ok_or_else(|| fault(field)),
        }
    }

    fn size(&self, field: &str, default: usize) -> Result<Asked<usize>, Problem> {
        let Some(number) = self.number(field)? else {
            return Ok(unwritten(default));
        };
        Ok(Asked {
            value: usize::try_from(number).map_err(|_| fault(field))?,
            written: true,
        })
    }

    fn offline_hosts(&self) -> Result<OfflineHosts, Problem> {
        Ok(match self.optional_text("offline_hosts").as_deref() {
            None | Some("wait") => OfflineHosts::Wait,
            Some("skip") => OfflineHosts::Skip,
            Some("queue") => {
                let hours = self.number("queue_hours")?.unwrap_or(DEFAULT_QUEUE_HOURS);
                let hours = u16::try_from(hours).map_err(|_| fault("queue_hours"))?;
                OfflineHosts::Queue { hours }
            }
            Some(_) => return Err(fault("offline_hosts")),
        })
    }

    fn timeout(&self) -> Result<Asked<Duration>, Problem> {
        let number = self.number("timeout_seconds")?;
        Ok(Asked {
            value: Duration::from_secs(number.unwrap_or(DEFAULT_TIMEOUT_SECONDS)),
            written: number.is_some(),
        })
    }
}

/// Settings of a step that let others read along. Expressions have no place in these fields.
pub(crate) fn insecure(step: &Value) -> Option<Problem> {
    let params = step.get("params")?;
    let base_url = params.get("base_url").and_then(Value::as_str);
    let base_url = base_url.and_then(|base_url| Url::parse(base_url).ok());
    let plain = base_url.is_some_and(|url| is_plain(&url));
    let (field, message) = if plain {
        ("base_url", PLAIN)
    } else if params.get("verify_tls") == Some(&Value::Bool(false)) {
        (
            "verify_tls",
            "`verify_tls` is false: the server's certificate is not checked, so anyone on the way can read the credentials and the rows",
        )
    } else {
        return None;
    };
    let path = Path::of(&["params", field]);
    Some(Problem::new(path, "insecure", message))
}

const PLAIN: &str =
    "`base_url` is plain http: anyone on the way can read the credentials and the rows";

fn insecure_instance(server: &Server, path: Path) -> Option<Problem> {
    is_plain(&server.base_url).then(|| Problem::new(path, "insecure", PLAIN))
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
