//! A step's words for what breaks its schema, where the general ones don't say enough; and for what no
//! pattern can say of a URL.

use std::borrow::Cow;

use serde_json::Value;

use super::expression::meant_reference;
use super::schema::{Stage, foreign_keys, offers_sql};
use crate::address::{self, NoServer};
use crate::input::kind;
use crate::known_servers::{self, ALL, KnownServer};
use crate::path::{Path, Segment};
use crate::printable::{cut, printable};
use crate::problem::{Problem, Problems};
use crate::schema::{Violation, Words, value_at};

/// A step's words for what breaks its schema.
pub(super) struct StepWords<'a> {
    pub step: &'a Value,
    pub stage: Stage,
}

impl Words for StepWords<'_> {
    fn leave_out(&self, violation: &Violation<'_>) -> bool {
        let key = violation.path.last_key().unwrap_or_default();
        match violation.rule {
            "additionalProperties" => offers_sql(key),
            // A step that brings SQL instead is the allowlist's to refuse.
            "required" if key == "template" => !foreign_keys(self.step).is_empty(),
            // Where nobody logs in, the other one is told as what has no place here.
            "required" => self.lacks_logins() && self.has(other_of_login(key)),
            "not" => self.is_said_of_the_other(key),
            _ if self.stage == Stage::Rendered => false,
            // A reference that lacks a brace is told as one.
            "pattern" if key == "api_token" && is_meant_reference(violation.value) => true,
            _ => holds_expression(violation.value),
        }
    }

    fn own(&self, violation: &Violation<'_>) -> Option<Problem> {
        let path = violation.path;
        let whole = *path == Path::of(&["params"]);
        match violation.rule {
            "additionalProperties" => misplaced_key(violation),
            "required" => self.missing(violation),
            "anyOf" if whole => {
                let message = "no target: name hosts in `target_hosts`, `target_labels` or `target_platforms`";
                Some(Problem::new(path.key("target_hosts"), "required", message))
            }
            "not" => self.not_here(violation),
            "maximum" => self
                .longest_list(violation)
                .or_else(|| wrong_value(violation)),
            "enum" => self
                .offline_hosts(violation)
                .or_else(|| wrong_value(violation)),
            _ => wrong_value(violation),
        }
    }
}

impl StepWords<'_> {
    fn has(&self, field: &str) -> bool {
        let params = self.step.get("params");
        params.is_some_and(|params| params.get(field).is_some())
    }

    /// Whether the server that the step itself names takes tokens only.
    fn lacks_logins(&self) -> bool {
        self.server().is_some_and(|known| !known.has.logins)
    }

    /// The key by which the step names an instance.
    fn instance(&self) -> Option<&'static str> {
        ["instance", "instance_id"]
            .into_iter()
            .find(|key| self.has(key))
    }

    /// Of two fields that shut out the same, only the first is told.
    fn is_said_of_the_other(&self, field: &str) -> bool {
        field == "password" && self.has("username") && self.instance().is_none()
    }

    /// What to say of a missing key.
    fn missing(&self, violation: &Violation<'_>) -> Option<Problem> {
        let key = violation.path.last_key().unwrap_or_default();
        let message = match key {
            "username" | "password" => {
                let given = self.has(other_of_login(key));
                return Some(no_login(violation, given, !self.lacks_logins()));
            }
            "backend" => format!("`backend` is required: {}", known_servers::names()),
            "template" => "`template` is required: the name of an allowlisted template".into(),
            "type" => "`type` is required: `osquery_live_query`".into(),
            _ => {
                let (_, titles) = known_servers::need(key)?;
                format!("`{key}` is required for {titles}")
            }
        };
        Some(violation.says(message))
    }

    /// What to say of a key that another one shuts out.
    fn not_here(&self, violation: &Violation<'_>) -> Option<Problem> {
        let field = violation.path.last_key().unwrap_or_default();
        if let Some(lacks) = self.server().and_then(|known| known.lacks(field)) {
            return Some(violation.says(lacks));
        }
        if let Some(instance) = self.instance() {
            if violation.path.last_key() == Some("instance_id") {
                return Some(
                    violation
                        .says("`instance_id` is another word for `instance`: give one of them"),
                );
            }
            return Some(violation.says(not_with_instance(violation.path, instance)));
        }
        if let Some(message) = for_others_only(field, self.server()) {
            return Some(violation.says(message));
        }
        let message = match field {
            "username" | "password" => TWO_WAYS_IN,
            "queue_hours" => {
                "`queue_hours` goes with `offline_hosts: queue` only: add that, or remove it"
            }
            _ => return None,
        };
        Some(violation.says(message))
    }

    /// The server that the step itself names.
    fn server(&self) -> Option<&'static KnownServer> {
        super::server(self.step)
    }

    /// What to say of more hosts than a list can name, at a server that has no others.
    fn longest_list(&self, violation: &Violation<'_>) -> Option<Problem> {
        let known = self.server().filter(|known| !known.has.count)?;
        (violation.path.last_key() == Some("max_hosts")).then(|| {
            violation.says(format!(
                "`max_hosts` must be a whole number from 1 to 10000: for {} it counts the names in `target_hosts`, which are no more",
                known.title
            ))
        })
    }

    /// What to say of offline hosts for whom the server can't do what is said of them.
    fn offline_hosts(&self, violation: &Violation<'_>) -> Option<Problem> {
        let is_meant = violation.path.last_key() == Some("offline_hosts");
        let said = violation.value.filter(|_| is_meant)?.as_str()?;
        Some(violation.says(self.server()?.refuses_offline_hosts(said)?))
    }

    /// What no pattern can say of hosts: that one text holds the names of several.
    pub(super) fn add_several_hosts(&self, problems: &mut Problems) {
        let path = Path::of(&["params", "target_hosts"]);
        let hosts = value_at(self.step, &path);
        let whole = hosts.filter(|hosts| hosts.is_string());
        let items = hosts.and_then(Value::as_array).into_iter().flatten();
        let items = items.enumerate().map(|(at, item)| (path.index(at), item));
        for (path, host) in whole
            .map(|text| (path.clone(), text))
            .into_iter()
            .chain(items)
        {
            if holds_expression(Some(host)) || problems.tell_of(&path) {
                continue;
            }
            if let Some(fault) = host.as_str().and_then(several_names) {
                let message = format!("`{}` {fault}", path.subject());
                problems.add(|| Problem::new(path, "target_name", message));
            }
        }
    }

    /// What a pattern can't say of a URL.
    pub(super) fn add_wrong_url(&self, problems: &mut Problems) {
        let path = Path::of(&["params", "base_url"]);
        let url = value_at(self.step, &path);
        if problems.tell_of(&path) || holds_expression(url) {
            return;
        }
        if let Some(reason) = url.and_then(Value::as_str).and_then(why_not_a_url) {
            problems.add(|| Problem::new(path, "format", reason));
        }
    }
}

fn is_meant_reference(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::String(text)) if meant_reference(text).is_some())
}

fn holds_expression(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::String(text)) if text.contains("{{"))
}

/// A key of `params` that stands in the step itself.
fn misplaced_key(violation: &Violation<'_>) -> Option<Problem> {
    let [Segment::Key(key)] = violation.path.segments() else {
        return None;
    };
    let elsewhere = violation.known_keys(&Path::of(&["params"]));
    elsewhere.contains(&key.as_str()).then(|| {
        violation.says(format!(
            "unknown key `{key}` in the step: it belongs in `params`"
        ))
    })
}

/// What to say of a value that its own rule refuses.
fn wrong_value(violation: &Violation<'_>) -> Option<Problem> {
    let subject = format!("`{}`", violation.path.subject());
    let message = match (violation.path.field(), violation.rule) {
        (Some("type"), _) => {
            format!("{subject} must be `osquery_live_query`: no other steps are run")
        }
        (_, "minItems") => {
            format!("{subject} is an empty list: name at least one, or remove it")
        }
        (Some("target_hosts" | "target_labels" | "target_teams"), _) => {
            wrong_target(violation, &subject)
        }
        (Some("target_host_ids"), "maxItems") => return None,
        (Some("target_host_ids"), _) => {
            format!("{subject} must be the number that the server has for a host, such as 17")
        }
        (Some("id"), _) => return None,
        (_, "pattern") => match wrong_way_in(violation) {
            Some(message) => message,
            None if !violation.has("maximum") => {
                format!("{subject} must not hold control characters")
            }
            None => return None,
        },
        _ => return None,
    };
    Some(violation.says(message))
}

/// Both are written.
pub(crate) const TWO_WAYS_IN: &str =
    "two ways to get in: give `api_token`, or `username` and `password`, not both";

/// What to say of a login of which something is missing: a half, where the other is given, else any way in.
pub(crate) fn no_login(violation: &Violation<'_>, other_is_given: bool, logins: bool) -> Problem {
    let key = violation.path.last_key().unwrap_or_default();
    if other_is_given {
        let other = other_of_login(key);
        return violation.says(format!("`{key}` is required with `{other}`"));
    }
    // They are only one way to get in: the message names both.
    let path = violation.path.parent().key("api_token");
    let message = match logins {
        false => "no credentials: give `api_token`",
        true => "no credentials: give `api_token`, or `username` and `password`",
    };
    Problem::new(path, violation.rule, message)
}

/// What to say of a field that an instance has settled.
pub(crate) fn not_with_instance(path: &Path, instance: &str) -> String {
    format!(
        "`{}` does not go with `{instance}`: the operator's policy says where the instance is and how to get in",
        path.subject()
    )
}

/// What to say of a field that only some servers need; `server` is the one that is named.
pub(crate) fn for_others_only(field: &str, server: Option<&KnownServer>) -> Option<String> {
    let (_, titles) = known_servers::need(field)?;
    let has_none = server.map_or_else(String::new, |known| format!(", {} has none", known.title));
    Some(format!(
        "`{field}` is for {titles} only: remove it{has_none}"
    ))
}

/// What to say of where the server is, or how to get in, that its pattern refuses.
pub(crate) fn wrong_way_in(violation: &Violation<'_>) -> Option<String> {
    let subject = format!("`{}`", violation.path.subject());
    Some(match violation.path.field()? {
        "environment" => format!(
            "{subject} must be an environment's name or uuid: not `.` or `..`, and without slashes, backslashes, leading blanks or control characters"
        ),
        "tenant_id" => format!(
            "{subject} must be the tenant's uuid, such as `0f0e0d0c-0b0a-4908-8706-050403020100`"
        ),
        "api_token" => format!(
            "{subject} must be ASCII without blanks and line breaks: a header can't hold anything else"
        ),
        "base_url" => {
            let url = violation.value.and_then(Value::as_str);
            url.and_then(why_not_a_url).unwrap_or_else(not_a_url)
        }
        _ => return None,
    })
}

/// Of the two fields of a login, the other one.
fn other_of_login(field: &str) -> &'static str {
    match field {
        "username" => "password",
        "password" => "username",
        _ => "",
    }
}

fn wrong_target(violation: &Violation<'_>, subject: &str) -> String {
    let one = matches!(violation.path.segments().last(), Some(Segment::Index(_)));
    let value = violation.value;
    let found = value.map_or("nothing", kind);
    match violation.rule {
        "maxItems" => format!("{subject} has more than 10000 items"),
        "maxLength" => format!("{subject} is longer than any name: 65536 characters at most"),
        "type" if one => match value {
            Some(Value::Number(_) | Value::Bool(_)) => {
                format!("{subject} must be text, not {found}: put it in quotes")
            }
            _ => format!("{subject} must be text, not {found}"),
        },
        "type" => format!("{subject} must be a list of names or one name, not {found}"),
        _ => {
            let fault = value.and_then(Value::as_str).and_then(no_name);
            format!("{subject} {}", fault.unwrap_or("is not a name"))
        }
    }
}

/// What is wrong with a target's name, as the end of a sentence; of a host's, where it stands alone, also
/// that it is several.
pub(super) fn target_fault(name: &str, alone: bool) -> Option<Cow<'static, str>> {
    let several = || several_names(name).filter(|_| alone).map(Cow::from);
    no_name(name).map(Cow::from).or_else(several)
}

/// Why text is several hosts' names, with the list that was meant, as the end of a sentence.
fn several_names(text: &str) -> Option<String> {
    const SHOWN: usize = 5;
    if !text.contains([',', ';']) {
        return None;
    }
    let names = text.split([',', ';']).map(str::trim);
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return None;
    }
    let mut written: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| Value::from(&*printable(&cut(name, 100))).to_string())
        .collect();
    if names.len() > SHOWN {
        written.push("…".into());
    }
    let list = written.join(", ");
    Some(format!(
        "is a list of names in one text: make it a list, `[{list}]`"
    ))
}

fn no_name(name: &str) -> Option<&'static str> {
    if name.chars().any(char::is_control) {
        Some("holds a control character: no host or label is named so")
    } else if name.trim().is_empty() {
        Some("is empty: an empty name would address hosts that nobody meant")
    } else {
        None
    }
}

/// Why text is not the URL of a server.
pub(crate) fn why_not_a_url(text: &str) -> Option<String> {
    let words = match address::server(text).err()? {
        NoServer::NoUrl => return Some(not_a_url()),
        NoServer::User => format!(
            "{}: give `api_token`, or `username` and `password`",
            NoServer::User
        ),
        reason => reason.to_string(),
    };
    Some(format!("`base_url` {words}"))
}

fn not_a_url() -> String {
    format!("`base_url` must be a URL such as `{}`", ALL[0].example.url)
}
