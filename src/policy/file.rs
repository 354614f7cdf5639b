//! The policy's file: read only where others can't change it, strict YAML (or JSON), checked against its
//! schema with all problems at once. There is no fallback: what can't be read or understood stops the run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{PatternOptions, Validator};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::error::PolicyError;
use super::trust;
use crate::address;
use crate::input::{Document, kind};
use crate::nearest::question;
use crate::path::{Path as Place, Segment, show_key};
use crate::problem::{Placed, Problem, Problems};
use crate::schema::texts;

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
}

/// `instances.NAME`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Instance {
    pub backend: Backend,
    pub base_url: Url,
    pub environment: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub credentials: Credentials,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Backend {
    Osctrl,
    #[serde(alias = "fleet")]
    Fleetdm,
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Templates {
    pub allow: Option<Selection>,
    pub deny: Option<Selection>,
}

/// Templates by name or tag.
#[derive(Debug, Default, Deserialize)]
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
    let problems = violations(document.value());
    if !problems.is_empty() {
        let mut placed = document.placed(problems);
        Placed::in_order(&mut placed);
        return Err(placed);
    }
    serde_json::from_value(document.into_value()).map_err(|_| {
        let message =
            "it keeps its schema, but can't be read (write whole numbers without a point)";
        whole("schema", message)
    })
}

static SCHEMA: LazyLock<Result<(Value, Validator), String>> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(texts::POLICY).map_err(|error| error.to_string())?;
    let validator = jsonschema::draft202012::options()
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|error| error.to_string())?;
    Ok((schema, validator))
});

/// Everything that the schema, and the URLs' reader, have to say.
fn violations(policy: &Value) -> Vec<Problem> {
    let (schema, validator) = match &*SCHEMA {
        Ok(schema) => schema,
        // A test holds that the schema compiles; a policy must not pass unchecked if it does not.
        Err(error) => {
            let message = format!("the policy's schema can't be used (a bug): {error}");
            return vec![Problem::new("", "$schema", message)];
        }
    };
    let mut problems = Problems::default();
    let mut add = |place: Place, rule: &str, message: String| {
        // Several rules may be broken by one value; the first one says enough.
        if !problems.kept().iter().any(|known| known.path == place) {
            problems.add(|| Problem::new(place, rule, message));
        }
    };
    for error in validator.iter_errors(policy) {
        let place = place_of(policy, error.instance_path().as_str());
        match error.kind() {
            Kind::AdditionalProperties { unexpected } => {
                for key in unexpected {
                    let message = unknown_key(schema, &place, key);
                    add(place.key(key), "additionalProperties", message);
                }
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let message = match key {
                    "lock_dir" => {
                        "`max_concurrent` needs `lock_dir`: the folder that holds the locks"
                            .to_owned()
                    }
                    "environment" => "`environment` is required for osctrl".to_owned(),
                    key => format!("`{key}` is required"),
                };
                add(place.key(key), "required", message);
            }
            other => {
                let value = value_at(policy, &place);
                add(place.clone(), rule(other), wrong(&place, value, schema));
            }
        }
    }
    for (place, value) in base_urls(policy) {
        if let Some(reason) = value.as_str().and_then(why_no_base_url) {
            add(place, "format", reason.to_owned());
        }
    }
    problems.into_vec()
}

/// Every base URL that the policy writes.
fn base_urls(policy: &Value) -> Vec<(Place, &Value)> {
    let instances = policy.get("instances").and_then(Value::as_object);
    let of_instances = instances
        .into_iter()
        .flatten()
        .filter_map(|(name, instance)| {
            let place = Place::of(&["instances", name, "base_url"]);
            Some((place, instance.get("base_url")?))
        });
    let allowed = policy.get("allowed_base_urls").and_then(Value::as_array);
    let allowed = allowed.into_iter().flatten().enumerate();
    of_instances
        .chain(allowed.map(|(index, url)| (Place::of(&["allowed_base_urls"]).index(index), url)))
        .collect()
}

fn why_no_base_url(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else {
        return Some("must be a URL such as `https://fleet.example.com`");
    };
    if !matches!(url.scheme(), "http" | "https") {
        Some("must begin with `https://` or `http://`")
    } else if !url.username().is_empty() || url.password().is_some() {
        Some("must not hold a user name or password")
    } else if url.query().is_some() || url.fragment().is_some() {
        Some("must not have a query (`?`) or a fragment (`#`)")
    } else if url
        .host_str()
        .is_none_or(|host| host.is_empty() || host.contains('*'))
    {
        Some("must name one server: there are no wildcards")
    } else if address::literal(&url).is_some_and(|address| address::forbidden(address).is_some()) {
        Some(
            "is an address that no server has (link-local, metadata service, multicast, broadcast or unspecified)",
        )
    } else {
        None
    }
}

fn place_of(mut node: &Value, pointer: &str) -> Place {
    let mut place = Place::default();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        place = if node.is_array() {
            let index = part.parse().unwrap_or(usize::MAX);
            node = node.get(index).unwrap_or(&Value::Null);
            place.index(index)
        } else {
            node = node.get(&part).unwrap_or(&Value::Null);
            place.key(&part)
        };
    }
    place
}

fn value_at<'a>(policy: &'a Value, place: &Place) -> Option<&'a Value> {
    place
        .segments()
        .iter()
        .try_fold(policy, |node, segment| match segment {
            Segment::Key(key) => node.get(key.as_str()),
            Segment::Index(index) => node.get(*index),
        })
}

/// The schema of the node at a place.
fn property<'a>(schema: &'a Value, place: &Place) -> Option<&'a Value> {
    let deref = |node: &'a Value| match node.get("$ref").and_then(Value::as_str) {
        Some(reference) => schema.pointer(reference.strip_prefix('#')?),
        None => Some(node),
    };
    let mut node = schema;
    for segment in place.segments() {
        let next = match segment {
            Segment::Key(key) => node
                .get("properties")
                .and_then(|known| known.get(key.as_str()))
                .or_else(|| node.get("additionalProperties"))?,
            Segment::Index(_) => node.get("items")?,
        };
        node = deref(next)?;
    }
    Some(node)
}

fn unknown_key(schema: &Value, place: &Place, key: &str) -> String {
    let known: Vec<&str> = property(schema, place)
        .and_then(|node| node.get("properties"))
        .and_then(Value::as_object)
        .map(Map::keys)
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    match question(key, known.iter().copied()) {
        Some(question) => format!("unknown key `{}`: {question}", show_key(key)),
        None => {
            let known: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
            format!(
                "unknown key `{}`; the keys here are {}",
                show_key(key),
                known.join(", ")
            )
        }
    }
}

/// What a value must be, as a sentence without its subject: the path stands before it.
fn wrong(place: &Place, value: Option<&Value>, schema: &Value) -> String {
    let property = property(schema, place);
    let bound = |name: &str| property.and_then(|property| property.get(name));
    if let (Some(minimum), Some(maximum)) = (bound("minimum"), bound("maximum")) {
        return format!("must be a whole number from {minimum} to {maximum}");
    }
    if let Some(Value::Array(options)) = bound("enum") {
        let options: Vec<String> = options
            .iter()
            .filter_map(Value::as_str)
            .map(|option| format!("`{option}`"))
            .collect();
        return format!("must be one of {}", options.join(", "));
    }
    let list = matches!(place.segments().last(), Some(Segment::Index(_)));
    let parent = place.parent();
    let field = place.last_key().or(parent.last_key());
    let found = value.map_or("nothing", kind);
    match (field, list) {
        (Some("environment"), _) => "must be the name or uuid of an osctrl environment, and is for osctrl only".into(),
        (Some("allowed_base_urls"), true) | (Some("base_url"), _) => {
            "must be a URL such as `https://fleet.example.com`: http or https, without user name, query and fragment".into()
        }
        (Some("tables_denied" | "names"), true) => "must be a name in lower case, digits and `_`".into(),
        (Some("tags"), true) => "must be a tag such as `T1053.003` or `persistence`".into(),
        (Some("credentials"), _) => "must be either `api_token`, or `username` and `password`".into(),
        (Some("api_token" | "username" | "password"), _) => "must say where the secret comes from, with exactly one of `file`, `env`, `secret` (and `text` for a username): a secret itself is never written into the policy".into(),
        (Some("env"), _) => "must be a variable's name".into(),
        (Some("secret"), _) => "must be a secret's name: letters, digits, `_` and `-`".into(),
        (Some("instances"), _) if value.is_some_and(Value::is_object) => {
            "instances must be named with letters, digits, `.`, `_` and `-`, 64 at most".into()
        }
        (Some("allow" | "deny"), _) if value.is_some_and(Value::is_object) => "must have `names`, `tags` or both".into(),
        _ if value.is_some_and(Value::is_string) && bound("type").and_then(Value::as_str) == Some("string") => {
            "must not be empty or hold control characters".into()
        }
        _ => {
            let expected = match bound("type").and_then(Value::as_str) {
                Some("boolean") => "true or false, in lower case and without quotes",
                Some("object") => "a mapping",
                Some("array") => "a list",
                _ if place.segments().is_empty() => "a mapping",
                _ => "text",
            };
            format!("must be {expected}, not {found}")
        }
    }
}

fn rule(error: &Kind) -> &'static str {
    match error {
        Kind::Enum { .. } => "enum",
        Kind::FalseSchema => "not",
        Kind::Maximum { .. } => "maximum",
        Kind::Minimum { .. } => "minimum",
        Kind::MaxItems { .. } => "maxItems",
        Kind::MaxLength { .. } => "maxLength",
        Kind::MinLength { .. } => "minLength",
        Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => "oneOf",
        Kind::Pattern { .. } => "pattern",
        Kind::PropertyNames { .. } => "propertyNames",
        Kind::Type { .. } => "type",
        _ => "schema",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let problems = parse(text).err().unwrap_or_default();
        problems
            .into_iter()
            .map(|placed| {
                let line = placed.at.map_or(0, |at| at.line);
                let problem = placed.problem;
                format!("{line} {}: {}", problem.path, problem.message)
            })
            .collect()
    }

    #[test]
    fn the_schemas_examples_are_policies() {
        let schema: Value = serde_json::from_str(texts::POLICY).unwrap();
        for example in schema["examples"].as_array().unwrap() {
            parse(&example.to_string()).unwrap();
        }
        // And those of each key.
        for (key, property) in schema["properties"].as_object().unwrap() {
            for example in property["examples"].as_array().unwrap() {
                let mut policy = serde_json::json!({ key.as_str(): example });
                if key == "max_concurrent" {
                    policy["lock_dir"] = "locks".into();
                }
                parse(&policy.to_string()).unwrap_or_else(|found| panic!("{key}: {found:?}"));
            }
        }
    }

    #[test]
    fn the_policies_in_the_documents_are_policies() {
        for text in [
            include_str!("../../docs/policy.md"),
            include_str!("../../README.md"),
        ] {
            let blocks = text.split("```yaml\n").skip(1);
            let policies = blocks.filter(|block| block.starts_with("instances:"));
            let policies: Vec<&str> = policies
                .map(|block| block.split("```").next().unwrap())
                .collect();
            assert_eq!(policies.len(), 1);
            let file = parse(policies[0]).unwrap();
            let rules = super::super::Rules::of(&file, true);
            let unknown = rules.unknown_templates(crate::allowlist::Registry::embedded());
            assert_eq!(unknown, []);
        }
    }

    #[test]
    fn the_defaults_of_the_schema_are_those_of_the_program() {
        let schema: Value = serde_json::from_str(texts::POLICY).unwrap();
        let rules = super::super::Rules::of(&File::default(), true);
        let default = |key: &str| schema["properties"][key]["default"].clone();
        assert_eq!(default("max_hosts"), rules.max_hosts.unwrap());
        assert_eq!(default("max_timeout_seconds"), 900);
        assert_eq!(default("allow_http"), rules.allow_http);
        assert_eq!(default("allow_insecure_tls"), rules.allow_insecure_tls);
        assert_eq!(default("allow_unc_paths"), File::default().allow_unc_paths);
        assert_eq!(default("require_instance"), rules.require_instance);
        assert_eq!(
            default("tables_denied"),
            serde_json::json!(rules.tables_denied)
        );
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, expected) in [
            (
                "max_host: 1",
                "1 max_host: unknown key `max_host`: did you mean `max_hosts`?",
            ),
            (
                "max_hosts: 0",
                "1 max_hosts: must be a whole number from 1 to 1000000",
            ),
            (
                "max_hosts: many",
                "1 max_hosts: must be a whole number from 1 to 1000000",
            ),
            (
                "allow_http: yes",
                "1 allow_http: must be true or false, in lower case and without quotes, not text",
            ),
            (
                "max_concurrent: 3",
                "1 lock_dir: `max_concurrent` needs `lock_dir`: the folder that holds the locks",
            ),
            (
                "audit_log: ''",
                "1 audit_log: must not be empty or hold control characters",
            ),
            ("[]", "1 : must be a mapping, not a list"),
            (
                "",
                "0 : it is empty: write `{}` for a policy that only keeps the defaults",
            ),
            (
                "# nothing",
                "0 : it is empty: write `{}` for a policy that only keeps the defaults",
            ),
            (
                "allowed_base_urls: [\"https://*.example.com\"]",
                "1 allowed_base_urls[0]: must name one server: there are no wildcards",
            ),
            (
                "allowed_base_urls: [\"https://169.254.169.254\"]",
                "1 allowed_base_urls[0]: is an address that no server has (link-local, metadata service, multicast, broadcast or unspecified)",
            ),
            (
                "allowed_base_urls:\n- https://u:p@h.example",
                "2 allowed_base_urls[0]: must be a URL such as `https://fleet.example.com`: http or https, without user name, query and fragment",
            ),
            ("allow_http: true\nallow_http: false", "2 : "),
            ("a: &a 1\nb: *a", "1 : "),
        ] {
            let found = problems(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with(expected), "{text}: {found:?}");
        }
    }

    #[test]
    fn an_instance_is_whole_and_holds_no_secret() {
        let instance = |more: &str| {
            problems(&format!(
                "instances:\n  a:\n    base_url: https://h.example\n{more}"
            ))
        };
        assert_eq!(
            instance("    backend: osctrl\n    credentials: {api_token: {env: T}}\n"),
            ["3 instances.a.environment: `environment` is required for osctrl"]
        );
        assert_eq!(
            instance(
                "    backend: fleet\n    environment: e\n    credentials: {api_token: {env: T}}\n"
            ),
            [
                "5 instances.a.environment: must be the name or uuid of an osctrl environment, and is for osctrl only"
            ]
        );
        for credentials in [
            "{}",
            "{username: {text: u}}",
            "{api_token: {env: T}, password: {env: P}}",
        ] {
            assert_eq!(
                instance(&format!(
                    "    backend: fleet\n    credentials: {credentials}\n"
                )),
                [
                    "5 instances.a.credentials: must be either `api_token`, or `username` and `password`"
                ]
            );
        }
        for source in ["hunter2", "{}", "{env: T, file: f}"] {
            let found = instance(&format!(
                "    backend: fleet\n    credentials: {{api_token: {source}}}\n"
            ));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].starts_with("5 instances.a.credentials.api_token: must say where"),
                "{found:?}"
            );
        }
        assert_eq!(problems("instances: {'a b': {}}").len(), 4);
    }

    #[test]
    fn paths_count_from_the_policy() {
        let mut file = parse("audit_log: a.jsonl\nlock_dir: /locks\n").unwrap();
        file.count_paths_from(Path::new("/etc/x"));
        assert_eq!(file.audit_log, Some("/etc/x/a.jsonl".into()));
        assert_eq!(file.lock_dir, Some("/locks".into()));
    }
}
