//! Alerts that servers post to webhooks, as a playbook's context has them: one form for all servers. What
//! each posts is read in its own folder; here is what an alert is, and who posted it. No network.

use serde_json::{Map, Value, json};

use super::open::alerts as shapes;
use super::part::{Part, Wrong};
use crate::input::DecodeError;
use crate::severity::Severity;

/// A webhook's document at most: a batch may hold a whole fleet.
pub(crate) const MAX_ALERT_BYTES: usize = 16 * 1024 * 1024;

/// Hosts that an alert is about.
#[derive(Debug, Default)]
pub(super) struct Concerned {
    /// Names, each once.
    names: Vec<String>,
    seen: std::collections::HashSet<String>,
    /// Names that no step can have as a target.
    unfit: usize,
    /// The server's own numbers for them, all of them.
    ids: Vec<u64>,
    /// Their pages.
    urls: Vec<String>,
    /// How many the document lists.
    listed: usize,
}

impl Concerned {
    /// One more host. A name with a control character would have a whole step refused: such a host has
    /// its number only.
    pub(super) fn add(&mut self, name: Option<&str>, id: Option<u64>, url: Option<&str>) {
        self.listed += 1;
        self.ids.extend(id);
        self.urls.extend(url.map(str::to_owned));
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        match name {
            Some(name) if name.chars().any(char::is_control) => self.unfit += 1,
            Some(name) if self.seen.insert(name.to_owned()) => self.names.push(name.to_owned()),
            _ => {}
        }
    }
}

/// An alert as its server means it.
#[derive(Debug)]
pub(super) struct Alert {
    /// Who posted it: a server's word in `backend`, or the one that people know.
    pub source: &'static str,
    /// What kind it is.
    pub kind: &'static str,
    pub severity: Severity,
    pub title: String,
    /// When, as the document says it.
    pub time: Option<String>,
    pub hosts: Concerned,
    /// What this kind has besides, in order.
    pub more: Vec<(&'static str, Value)>,
    /// What makes two posts the same matter, beside source and kind: never a time or a host.
    pub matter: Value,
}

/// What was posted.
#[derive(Debug)]
pub(super) enum Posted {
    Alert(Box<Alert>),
    /// A server's receipt for something that it did itself.
    Receipt,
}

/// A kind of document that a server posts.
pub(super) struct Shape {
    /// What it is called, for messages.
    pub what: &'static str,
    /// Paths that tell it from the others, each of keys.
    pub told_by: &'static [&'static [&'static str]],
    /// Reads one.
    pub read: fn(&Part<'_>) -> Result<Posted, Wrong>,
}

/// An alert, and what its reader should know.
#[derive(Debug)]
pub(crate) struct Received {
    /// The value of the context's `alert`: null for what is none.
    pub alert: Value,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Reads a webhook's document; `now` stands in where it says no time, as RFC 3339.
///
/// # Errors
/// Where it is none of those that are known, with what each of them has that it lacks; or where it is one
/// and something in it is of another type.
pub(crate) fn read(document: Map<String, Value>, now: &str) -> Result<Received, DecodeError> {
    let whole = Part::of(&document);
    let is = |shape: &&Shape| shape.told_by.iter().all(|path| whole.leads_to(path));
    let Some(shape) = shapes().find(is) else {
        return Err(unknown(&whole));
    };
    let posted = (shape.read)(&whole).map_err(|wrong| {
        let message = format!("this is an alert ({}), but {wrong}", shape.what);
        DecodeError::new(message)
    })?;
    let Posted::Alert(alert) = posted else {
        return Ok(Received {
            alert: Value::Null,
            warnings: Vec::new(),
        });
    };
    let warnings = match alert.hosts.unfit {
        0 => Vec::new(),
        1 => vec!["one host's name holds a control character: it is in `alert.host_ids` and `alert.raw` only".into()],
        many => vec![format!("the names of {many} hosts hold control characters: they are in `alert.host_ids` and `alert.raw` only")],
    };
    Ok(Received {
        alert: alert.into_value(document, now),
        warnings,
    })
}

fn unknown(whole: &Part<'_>) -> DecodeError {
    let lacks = shapes().map(|shape| {
        let lacking = shape.told_by.iter().filter(|path| !whole.leads_to(path));
        let keys: Vec<String> = lacking
            .map(|path| format!("`{}`", path.join(".")))
            .collect();
        format!("{}: {}", shape.what, keys.join(" and "))
    });
    let lacks: Vec<String> = lacks.collect();
    DecodeError::new(format!(
        "this is not an alert of a known kind; what is missing for each: {}",
        lacks.join("; ")
    ))
}

impl Alert {
    /// As the context has it. `raw` is the document, whole: what nobody knows here may be what a playbook
    /// needs.
    fn into_value(self, raw: Map<String, Value>, now: &str) -> Value {
        let raw = Value::Object(raw);
        let Concerned {
            names,
            ids,
            urls,
            listed,
            ..
        } = self.hosts;
        // Where the hosts' pages are tells one server from another.
        let server = urls.first().and_then(|url| url::Url::parse(url).ok());
        let server = server.map(|url| url.origin().ascii_serialization());
        let mut alert = Map::new();
        let mut put = |key: &str, value: Value| drop(alert.insert(key.to_owned(), value));
        put("id", digest(&json!([self.source, self.kind, raw])).into());
        put("source", self.source.into());
        put("type", self.kind.into());
        put("severity", self.severity.name().into());
        put("title", self.title.into());
        put("time", self.time.unwrap_or_else(|| now.to_owned()).into());
        put("host", names.first().cloned().into());
        put("hosts", names.into());
        put("host_ids", ids.into());
        put("urls", urls.into());
        for (key, value) in self.more {
            put(key, value);
        }
        put("batch", json!({ "hosts": listed }));
        let matter = json!([self.source, self.kind, server, self.matter]);
        put("dedupe_key", digest(&matter).into());
        put("raw", raw);
        alert.into()
    }
}

/// SHA-256 of a value's JSON, in hexadecimal digits.
fn digest(value: &Value) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, value.to_string().as_bytes());
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// Reads any bytes as a webhook's document; for the fuzzer only.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) -> Option<Value> {
    let document = crate::input::decode_json(bytes, MAX_ALERT_BYTES).ok()?;
    let received = read(document, "2026-11-27T00:00:00.000Z").ok()?;
    Some(received.alert)
}
