//! A policy's words for what breaks its schema, and what no schema can say of its URLs.

use serde_json::Value;

use crate::address::{self, NoServer};
use crate::known_servers::{self, ALL};
use crate::path::{Path, Segment};
use crate::problem::Problem;
use crate::schema::{Schema, Violation, Words, texts};

static SCHEMA: Schema = Schema::new("policy", texts::POLICY);

/// Everything that the schema, and the URLs' reader, have to say.
pub(super) fn violations(policy: &Value) -> Vec<Problem> {
    let mut problems = SCHEMA.violations(policy, &PolicyWords);
    for (path, url) in base_urls(policy) {
        let reason = url.as_str().and_then(why_no_base_url);
        if let Some(reason) = reason.filter(|_| !problems.tell_of(&path)) {
            problems.add(|| {
                let message = format!("`{}` {reason}", path.subject());
                Problem::new(path, "format", message)
            });
        }
    }
    problems.into_vec()
}

struct PolicyWords;

impl Words for PolicyWords {
    fn own(&self, violation: &Violation<'_>) -> Option<Problem> {
        let path = violation.path;
        let list = matches!(path.segments().last(), Some(Segment::Index(_)));
        let parent = path.parent();
        let field = path.last_key().or(parent.last_key()).unwrap_or_default();
        let mapping = violation.value.is_some_and(Value::is_object);
        let must = |words: &str| Some(violation.says(format!("`{}` {words}", path.subject())));
        match (violation.rule, known_servers::need(field)) {
            ("additionalProperties", _) | (_, None) => {}
            ("required", Some((_, titles))) => {
                return Some(violation.says(format!("`{field}` is required for {titles}")));
            }
            (_, Some((need, titles))) => {
                return must(&format!("must be {}, and is for {titles} only", need.what));
            }
        }
        let words = match (violation.rule, field) {
            ("required", "lock_dir") => {
                let message = "`max_concurrent` needs `lock_dir`: the folder that holds the locks";
                return Some(violation.says(message));
            }
            ("required" | "additionalProperties", _) => return None,
            (_, "allowed_base_urls") if list => return must(&url()),
            (_, "base_url") => return must(&url()),
            (_, "tables_denied" | "names") if list => {
                "must be a name in lower case, digits and `_`"
            }
            (_, "tags") if list => "must be a tag such as `T1053.003` or `persistence`",
            (_, "credentials") => "must be either `api_token`, or `username` and `password`",
            (_, "api_token" | "username" | "password") => {
                "must say where the secret comes from, with exactly one of `file`, `env`, `secret` (and `text` for a username): a secret itself is never written into the policy"
            }
            (_, "env") => "must be a variable's name",
            (_, "secret") => "must be a secret's name: letters, digits, `_` and `-`",
            (_, "instances") if mapping => {
                "must name each instance with letters, digits, `.`, `_` and `-`, 64 at most"
            }
            (_, "allow" | "deny") if mapping => "must have `names`, `tags` or both",
            ("pattern" | "minLength", _) => "must not be empty or hold control characters",
            _ => return None,
        };
        must(words)
    }
}

fn no_url() -> String {
    format!("must be a URL such as `{}`", ALL[0].example.url)
}

fn url() -> String {
    format!(
        "{}: http or https, without user name, query and fragment",
        no_url()
    )
}

/// Every base URL that the policy writes.
fn base_urls(policy: &Value) -> Vec<(Path, &Value)> {
    let instances = policy.get("instances").and_then(Value::as_object);
    let of_instances = instances
        .into_iter()
        .flatten()
        .filter_map(|(name, instance)| {
            let place = Path::of(&["instances", name, "base_url"]);
            Some((place, instance.get("base_url")?))
        });
    let allowed = policy.get("allowed_base_urls").and_then(Value::as_array);
    let allowed = allowed.into_iter().flatten().enumerate();
    of_instances
        .chain(allowed.map(|(index, url)| (Path::of(&["allowed_base_urls"]).index(index), url)))
        .collect()
}

fn why_no_base_url(text: &str) -> Option<String> {
    let url = match address::server(text) {
        Ok(url) => url,
        Err(NoServer::NoUrl) => return Some(no_url()),
        Err(reason) => return Some(reason.to_string()),
    };
    let forbidden = address::literal(&url).and_then(address::forbidden);
    forbidden.map(|_| FORBIDDEN.to_owned())
}

const FORBIDDEN: &str = "is an address that no server has (link-local, metadata service, multicast, broadcast or unspecified)";
