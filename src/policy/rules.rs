//! The rules of a policy that look at one step: where it goes, how much it asks for, which template it
//! names. Each refusal names the policy's key.

use std::path::Path as FilePath;
use std::time::Duration;

use url::Url;

use super::file;
use super::file::{File, Selection, Templates};
use super::trust::{self, Untrusted};
use crate::address;
use crate::allowlist::{self, Power, Registry, Template};
use crate::campaign::Limits;
use crate::known_servers::KnownServer;
use crate::nearest::question;
use crate::path::Path;
use crate::problem::Problem;
use crate::step::model::{Asked, AskedLimits};

/// Hosts of a step at most where a policy does not say.
const MAX_HOSTS: usize = 1_000;

/// A file of roots that is larger is no file of roots.
const CA_FILE_BYTES: usize = 4 * 1024 * 1024;

/// What a policy says of every step, its defaults filled in.
#[derive(Debug)]
pub(super) struct Rules {
    pub require_instance: bool,
    pub allowed_base_urls: Option<Vec<Url>>,
    pub allow_http: bool,
    pub allow_insecure_tls: bool,
    /// The lists of templates that hold, each with its key; all of them have to allow one.
    pub lists: Vec<(&'static str, Templates)>,
    pub tables_denied: Vec<String>,
    pub max_timeout: Option<Duration>,
    pub max_hosts: Option<usize>,
    pub max_rows_per_host: Option<usize>,
    pub max_bytes: Option<usize>,
}

impl Rules {
    /// The rules of a file; `is_policy` is false where there is none.
    pub(super) fn of(file: &File, is_policy: bool) -> Self {
        Self {
            require_instance: file.require_instance,
            allowed_base_urls: file.allowed_base_urls.clone(),
            allow_http: file.allow_http,
            // Without a policy nobody has said how careful to be: a warning has to do.
            allow_insecure_tls: file.allow_insecure_tls || !is_policy,
            lists: vec![("templates", file.templates.clone())],
            tables_denied: file
                .tables_denied
                .clone()
                .unwrap_or_else(allowlist::denied_by_default),
            max_timeout: file.max_timeout_seconds.map(Duration::from_secs),
            // Without a policy the step's own word counts, and its schema's bounds.
            max_hosts: file.max_hosts.or(is_policy.then_some(MAX_HOSTS)),
            max_rows_per_host: file.max_rows_per_host,
            max_bytes: file.max_bytes,
        }
    }

    /// Instances that could never be used.
    pub(super) fn of_instances(&self, file: &File) -> Vec<Problem> {
        let plain = |instance: &file::Instance| {
            instance.base_url.scheme() == "http" && !address::is_loopback(&instance.base_url)
        };
        file.instances
            .iter()
            .filter(|(_, instance)| plain(instance) && !self.allow_http)
            .map(|(name, _)| {
                let message = format!(
                    "`instances.{name}.base_url` is plain http to another machine: use https, or say `allow_http: true`"
                );
                Problem::new(
                    Path::of(&["instances", name, "base_url"]),
                    "allow_http",
                    message,
                )
            })
            .collect()
    }

    /// Names in the lists of templates that no template has: a typing error in `deny` would allow.
    pub(super) fn unknown_templates(&self, file: &File, registry: &Registry) -> Vec<Problem> {
        let lists = [
            (&["templates"][..], &file.templates),
            (&["mcp", "templates"], &file.mcp.templates),
        ];
        let mut problems = Vec::new();
        for (keys, Templates { allow, deny }) in lists {
            for (key, selection) in [("allow", allow), ("deny", deny)] {
                let names = selection.iter().flat_map(|list| &list.names);
                for name in names.filter(|name| !registry.names().any(|known| known == *name)) {
                    let likely = question(name, registry.names());
                    let likely = likely.map_or(String::new(), |likely| format!(": {likely}"));
                    let path = [keys, &[key, "names"]].concat();
                    let message = format!(
                        "`{}` lists `{name}`, which is no template{likely}",
                        path.join(".")
                    );
                    problems.push(Problem::new(Path::of(&path), "unknown_template", message));
                }
            }
        }
        problems
    }

    /// Where a step that writes its own address goes, and how.
    pub(super) fn address(&self, url: &Url, verify_tls: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse = |field: &str, rule: &str, message: String| {
            problems.push(Problem::new(Path::of(&["params", field]), rule, message));
        };
        if let Some(reason) = address::literal(url).and_then(address::forbidden) {
            let message =
                format!("`base_url` is an address that no live-query server has: it is {reason}");
            refuse("base_url", "address", message);
        } else if url.scheme() == "http" && !self.allow_http && !address::is_loopback(url) {
            let message = "`base_url` is plain http to another machine, where credentials and rows can be read on the way: use https (the policy's `allow_http` allows it)";
            refuse("base_url", "allow_http", message.to_owned());
        } else if let Some(allowed) = &self.allowed_base_urls
            && !allowed
                .iter()
                .any(|allowed| address::lies_under(url, allowed))
        {
            let message =
                "`base_url` is not one of the policy's `allowed_base_urls`, nor under one of them";
            refuse("base_url", "allowed_base_urls", message.to_owned());
        }
        if !verify_tls && !self.allow_insecure_tls {
            let message = "`verify_tls: false` is refused: name the server's authority in `ca_file` (the policy's `allow_insecure_tls` allows it)";
            refuse("verify_tls", "allow_insecure_tls", message.to_owned());
        }
        problems
    }

    /// What is asked for beyond the limits.
    pub(super) fn excess(&self, asked: &AskedLimits) -> Vec<Problem> {
        let sizes = [
            ("max_hosts", asked.max_hosts, self.max_hosts),
            (
                "max_rows_per_host",
                asked.max_rows_per_host,
                self.max_rows_per_host,
            ),
            ("max_bytes", asked.max_bytes, self.max_bytes),
        ];
        let sizes = sizes.into_iter().filter_map(|(field, asked, most)| {
            let most = most.filter(|most| asked.written && asked.value > *most)?;
            Some(refused(field, field, most as u64))
        });
        sizes.chain(self.too_long(asked.timeout)).collect()
    }

    /// Whether more time is asked for than may be.
    pub(super) fn too_long(&self, asked: Asked<Duration>) -> Option<Problem> {
        let most = self
            .max_timeout
            .filter(|most| asked.written && asked.value > *most)?;
        Some(refused(
            "timeout_seconds",
            "max_timeout_seconds",
            most.as_secs(),
        ))
    }

    /// The deadline that holds.
    pub(super) fn lowered_timeout(&self, asked: Asked<Duration>) -> Duration {
        let timeout = asked.value;
        self.max_timeout.map_or(timeout, |most| timeout.min(most))
    }

    /// The limits that hold: what is not asked for is lowered to what is allowed.
    pub(super) fn lowered(&self, asked: &AskedLimits) -> (Limits, Duration) {
        let least = |asked: usize, most: Option<usize>| most.map_or(asked, |most| asked.min(most));
        let limits = Limits {
            max_hosts: least(asked.max_hosts.value, self.max_hosts),
            max_rows_per_host: least(asked.max_rows_per_host.value, self.max_rows_per_host),
            max_bytes: least(asked.max_bytes.value, self.max_bytes),
        };
        (limits, self.lowered_timeout(asked.timeout))
    }

    /// Whether steps may name the template; why not, in a sentence.
    pub(super) fn template(&self, template: &Template) -> Result<(), String> {
        let name = template.name();
        let selects = |selection: &Selection| {
            selection.names.iter().any(|listed| listed == name)
                || template.tags().iter().any(|tag| {
                    selection
                        .tags
                        .iter()
                        .any(|listed| listed.eq_ignore_ascii_case(tag))
                })
        };
        for (key, Templates { allow, deny }) in &self.lists {
            if deny.as_ref().is_some_and(selects) {
                return Err(format!(
                    "the template `{name}` is on the policy's list `{key}.deny`"
                ));
            }
            if allow.as_ref().is_some_and(|allow| !selects(allow)) {
                return Err(format!(
                    "the template `{name}` is not on the policy's list `{key}.allow`"
                ));
            }
        }
        // A table and its second name are one.
        let denied = |table: &&String| {
            let first = allowlist::first_name(table);
            self.tables_denied
                .iter()
                .any(|denied| allowlist::first_name(denied) == first)
        };
        let Some(table) = template.tables().keys().find(denied) else {
            return Ok(());
        };
        let deeds = allowlist::powers(table).unwrap_or_default();
        let deeds: Vec<&str> = deeds.into_iter().map(Power::deed).collect();
        let why = if deeds.is_empty() {
            String::new()
        } else {
            format!(": it {}", deeds.join(", and "))
        };
        Err(format!(
            "the template `{name}` reads the table `{table}`, which `tables_denied` lists{why}"
        ))
    }
}

fn refused(field: &str, key: &str, most: u64) -> Problem {
    let message = format!("`{field}` is above the policy's `{key}` of {most}: ask for less");
    Problem::new(Path::of(&["params", field]), "limit", message)
}

/// Whether the server runs queries by the id that it keeps them under.
pub(super) fn keeps_queries(server: &KnownServer, of_instance: bool) -> Option<Problem> {
    if server.has.saved_queries {
        return None;
    }
    let message = format!(
        "the policy says `saved_queries_only: true`, and {} runs no query by the name that it is kept under",
        server.title
    );
    let place = match of_instance {
        true => "params.instance",
        false => "params.backend",
    };
    Some(Problem::new(place, "saved_queries_only", message))
}

/// Whether a file of roots can be relied on: who writes to it chooses the server. One that is missing is
/// TLS's to report.
pub(super) fn ca_file(path: &FilePath, of_instance: bool) -> Option<Problem> {
    match trust::file(path, CA_FILE_BYTES) {
        Ok(_) | Err(Untrusted::Missing) => None,
        Err(error) => {
            let place = if of_instance {
                "params.instance"
            } else {
                "params.ca_file"
            };
            let message = format!("`ca_file` {} {error}", path.display());
            Some(Problem::new(place, "trust", message))
        }
    }
}
