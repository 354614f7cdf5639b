//! osctrl's JSON, and how it becomes hosts and answers. Nothing of it leaves this backend. The key
//! that a node authenticates with stands in some documents and is never read.
//!
//! Servers older than the paged lists write Go's field names (`UUID`, `Data`); both are understood.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::unescape::{Lone, unescape};
use crate::campaign::host::Answer;
use crate::campaign::host::Host;
use crate::campaign::host::HostId;
use crate::campaign::host::Platform;
use crate::campaign::host::Texts;
use crate::campaign::names::address;
use crate::campaign::rows::Keep;
use crate::campaign::rows::Rows;
use crate::json_parts::there;
use crate::json_text::plain;
use crate::servers::collecting;
use crate::servers::http::limits;
use crate::time::microseconds;

/// A number that counts: what is negative counts as nothing, what is too large as the largest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Count;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Count, E> {
                Ok(Count(number))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Count, E> {
                Ok(Count(u64::try_from(number).unwrap_or(0)))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Count, E> {
                // `as` saturates.
                Ok(Count(number as u64))
            }
            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(0))
            }
        }
        reader.deserialize_any(Number)
    }
}

/// `{error, code?}`: how every refusal looks.
#[derive(Debug, Deserialize)]
pub struct Refusal {
    /// The server's words.
    pub error: String,
}

/// Body of `POST /api/v1/login`; one hour is the shortest that a token lives.
pub fn login(username: &str, password: &str) -> Value {
    json!({"username": username, "password": password, "exp_hours": 1})
}

/// What a login is answered with.
#[derive(Deserialize)]
pub struct LoggedIn {
    /// The new token; every earlier one of the user has ended (transcript `login-revokes`).
    pub token: Option<String>,
    /// (0.5.6+) There is no token, but a challenge of a second factor.
    #[serde(default)]
    pub mfa_required: bool,
    /// (0.5.6+) The same where the user has no second factor yet and must get one.
    #[serde(default)]
    pub mfa_enrollment_required: bool,
}

/// Body of `POST /api/v1/queries/{env}`. `uuids` may not be empty: without any list every node of the
/// environment is asked. `exp_hours: 0` is accepted and never delivered (transcript
/// `query-never-delivered`). Not hidden: operators should see in osctrl's lists what was asked.
pub fn dispatch(sql: &str, uuids: &[Cow<'_, str>], hours: u16) -> Value {
    json!({"query": sql, "uuid_list": uuids, "hidden": false, "exp_hours": hours.max(1)})
}

/// What a dispatch is answered with.
#[derive(Debug, Deserialize)]
pub struct Dispatched {
    /// The query's name, by which everything else about it is asked.
    #[serde(alias = "name")]
    pub query_name: Option<String>,
}

/// A query's state. For a name that does not exist: all zero, with status 200 (transcript `unknown-query`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct State {
    /// 0 where there is no such query.
    #[serde(alias = "ID")]
    pub id: Count,
    /// Nodes that were targeted.
    #[serde(alias = "Expected")]
    pub expected: Count,
    /// Answers without an error; repeated ones count again (transcript `query-answered-twice`).
    #[serde(alias = "Executions")]
    pub executions: Count,
    /// Answers with one.
    #[serde(alias = "Errors")]
    pub errors: Count,
    /// Every node has answered, or somebody said so by hand.
    #[serde(alias = "Completed")]
    pub completed: bool,
    /// Its time ran out, or somebody stopped it.
    #[serde(alias = "Expired")]
    pub expired: bool,
    /// Somebody deleted it.
    #[serde(alias = "Deleted")]
    pub deleted: bool,
}

/// What a query asks, in the document of its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StateSql {
    /// The SQL, as it was sent.
    #[serde(alias = "Query")]
    pub query: Option<String>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Page<T> {
    /// What is on it; a list that is null (Go's nil) is empty, `None` where there is none at all.
    #[serde(default = "Option::default", deserialize_with = "there")]
    pub items: Option<Vec<T>>,
    /// How many there are on all pages.
    pub total_items: Option<Count>,
    /// How many a page holds, after the server's own limits.
    pub page_size: Option<Count>,
}

/// Bytes of a uuid or id at most: a longer one is no node's.
const ID_BYTES: usize = 256;

/// An enrolled node; everything else in the document is left where it is.
#[derive(Debug, Deserialize)]
pub struct Node {
    #[serde(alias = "UUID")]
    uuid: Option<String>,
    #[serde(alias = "Hostname")]
    hostname: Option<String>,
    #[serde(alias = "HardwareSerial")]
    hardware_serial: Option<String>,
    #[serde(alias = "Localname")]
    localname: Option<String>,
    #[serde(alias = "IPAddress")]
    ip_address: Option<String>,
    #[serde(alias = "Platform")]
    platform: Option<String>,
    #[serde(alias = "LastSeen")]
    last_seen: Option<String>,
    /// (0.5.5+) Its tags, the first [`MOST_TAGS`].
    #[serde(default = "Option::default", deserialize_with = "first_tags")]
    tags: Option<Vec<Tag>>,
}

/// Tags of one node that are looked at.
const MOST_TAGS: usize = 256;

fn first_tags<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Vec<Tag>>, D::Error> {
    let mut tags: Option<Vec<Tag>> = there(reader)?;
    if let Some(tags) = &mut tags {
        tags.truncate(MOST_TAGS);
        tags.shrink_to_fit();
    }
    Ok(tags)
}

/// A tag by its name, or as a document of its own that has one.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tag {
    Name(String),
    Document { name: String },
    Other(IgnoredAny),
}

impl Node {
    /// What the server knows the node by; `None` where it has no uuid, by which alone it could be asked.
    pub fn id(&self) -> Option<HostId> {
        let uuid = self.uuid.as_deref().filter(|uuid| is_uuid(uuid))?;
        Some(host_id(uuid))
    }

    /// Its platform, where the server's word for it is known.
    pub fn platform(&self) -> Option<Platform> {
        self.platform.as_deref().and_then(Platform::of_host)
    }

    /// Its tags; `None` where the server does not say.
    pub fn tags(&self) -> Option<impl Iterator<Item = &str>> {
        let tags = self.tags.as_ref()?;
        Some(tags.iter().filter_map(|tag| match tag {
            Tag::Name(name) | Tag::Document { name } => Some(name.as_str()),
            Tag::Other(_) => None,
        }))
    }

    /// What the node is called, by its uuid in upper case; `None` where it has none.
    pub fn named(self) -> Option<(String, collecting::Named)> {
        let uuid = self.id()?.to_string();
        let named = collecting::Named {
            hostname: self.hostname.unwrap_or_default().into(),
            platform: self.platform.unwrap_or_default().into(),
            last_seen: self
                .last_seen
                .filter(|seen| !seen.is_empty() && !seen.starts_with("0001-01-01"))
                .map(Into::into),
        };
        Some((uuid, named))
    }

    /// The host that the node is; `None` where it has no uuid.
    pub fn into_host(self) -> Option<Host> {
        let (id, platform) = (self.id()?, self.platform());
        let hostname = self.hostname.as_deref().unwrap_or_default();
        let computer_name = self.localname.as_deref().unwrap_or_default();
        // Go's zero time: never.
        let last_seen = self.last_seen.as_deref();
        let last_seen = last_seen.filter(|seen| !seen.starts_with("0001-01-01"));
        let texts = Texts {
            hostname,
            uuid: self.uuid.as_deref()?,
            serial: self.hardware_serial.as_deref().unwrap_or_default(),
            computer_name: Some(computer_name)
                .filter(|name| *name != hostname)
                .unwrap_or_default(),
            last_seen: last_seen.unwrap_or_default(),
        };
        // How often it checks in is the environment's setting, which no call of a plain token shows.
        Some(Host {
            platform,
            address: self.ip_address.as_deref().and_then(address),
            ..Host::new(id, &texts)
        })
    }
}

/// Whether a node can be known by it.
pub fn is_uuid(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= ID_BYTES
}

/// osctrl writes uuids in upper case, whatever the host sent.
pub fn host_id(uuid: &str) -> HostId {
    HostId::from(&*uuid.to_uppercase())
}

/// What stands around a page's results: how many there are on all pages; `None` where the server does not
/// page (older ones answer with the bare list).
///
/// # Errors
/// Where it is no page.
pub fn total_of_results(around: &[u8]) -> serde_json::Result<Option<u64>> {
    #[derive(Deserialize)]
    struct Around {
        /// An empty list stands in place of the items.
        #[serde(default, rename = "items")]
        _items: Option<Vec<IgnoredAny>>,
        total_items: Option<Count>,
    }
    let bare = around.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if bare {
        return Ok(None);
    }
    let page: Around = serde_json::from_slice(around)?;
    Ok(page.total_items.map(|Count(total)| total))
}

/// What stands around a page of results that is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AroundResults {
    /// How many there are on all pages; `None` on servers without pages.
    pub total: Option<u64>,
    /// Whether there is a list at all: none is not an empty one.
    pub is_list: bool,
}

/// What stands around the results of a page, of servers of every age.
///
/// # Errors
/// Where it is no page.
pub fn around_results(around: &[u8]) -> serde_json::Result<AroundResults> {
    let first = around.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'[' | b'n')) {
        return Ok(AroundResults {
            total: None,
            is_list: true,
        });
    }
    let page: Page<IgnoredAny> = serde_json::from_slice(around)?;
    Ok(AroundResults {
        total: page.total_items.map(|Count(total)| total),
        is_list: page.items.is_some(),
    })
}

/// One stored answer, its data unread.
#[derive(Debug, Default, Deserialize)]
struct Item<'a> {
    /// The row's id at the server, as it is written.
    #[serde(borrow, default, alias = "ID")]
    id: Option<&'a RawValue>,
    /// Who answered.
    #[serde(borrow, default, alias = "UUID")]
    uuid: Option<Cow<'a, str>>,
    /// osquery's status.
    #[serde(borrow, default, alias = "Status")]
    status: Option<&'a RawValue>,
    /// A JSON string that holds [`Data`] as JSON.
    #[serde(borrow, default, alias = "Data")]
    data: Option<&'a RawValue>,
}

/// A query, as every list of them has it.
#[derive(Debug, Deserialize)]
pub struct ListedQuery {
    /// Its number.
    #[serde(default, alias = "ID")]
    pub id: Count,
    /// Its name.
    #[serde(alias = "Name")]
    pub name: String,
    /// Its SQL.
    #[serde(default, alias = "Query")]
    pub query: String,
    /// `query`, or `carve` for one that takes files.
    #[serde(default, rename = "type", alias = "Type")]
    pub kind: String,
    /// Answers without an error.
    #[serde(default, alias = "Executions")]
    pub executions: Count,
    /// Answers with one.
    #[serde(default, alias = "Errors")]
    pub errors: Count,
    /// Every node has answered.
    #[serde(default, alias = "Completed")]
    pub completed: bool,
    /// Its time ran out.
    #[serde(default, alias = "Expired")]
    pub expired: bool,
    /// Somebody deleted it.
    #[serde(default, alias = "Deleted")]
    pub deleted: bool,
    /// It is not shown to everybody.
    #[serde(default, alias = "Hidden")]
    pub hidden: bool,
}

/// What tells an item from others, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The server's id of it; one without an id stands for itself.
    pub id: String,
    /// Who answered; `None` where it names nobody.
    pub host: Option<HostId>,
    /// Whether the item's own status says that osquery succeeded.
    pub succeeded: bool,
}

impl<'a> Item<'a> {
    /// Reads an item; JSON that is none has nothing in it. `None` where it is not JSON.
    fn read(json: &'a [u8]) -> Option<Self> {
        match serde_json::from_slice(json) {
            Ok(item) => Some(item),
            Err(error) => error.is_data().then(Self::default),
        }
    }

    /// What tells it from others; `json` is all of it.
    fn named(&self, json: &[u8]) -> Named {
        let uuid = self.uuid.as_deref().filter(|uuid| !uuid.is_empty());
        Named {
            id: match self.id {
                Some(id) => id.get().to_owned(),
                None => String::from_utf8_lossy(json).into_owned(),
            },
            host: uuid.map(host_id),
            succeeded: is_success(self.status),
        }
    }
}

/// An item of which it is known whose it is, its data unread.
#[derive(Debug)]
pub struct Unread {
    /// What tells it from others.
    pub named: Named,
    json: Vec<u8>,
    whole: bool,
    /// Where its data stands.
    data: Option<Range<usize>>,
}

impl Unread {
    /// An item as it came; `None` where it is not JSON. `whole`: nothing of it was left out for its size.
    pub fn of(json: Vec<u8>, whole: bool) -> Option<Self> {
        if let Some((named, data)) = std::str::from_utf8(&json).ok().and_then(usual_item) {
            return Some(Self {
                named,
                json,
                whole,
                data: Some(data),
            });
        }
        Self::of_any_form(json, whole)
    }

    fn of_any_form(json: Vec<u8>, whole: bool) -> Option<Self> {
        let item = match Item::read(&json) {
            // There is only its beginning.
            None if !whole => Item::default(),
            item => item?,
        };
        let named = item.named(&json);
        let data = item.data.map(|data| place_of(data.get(), &json));
        Some(Self {
            named,
            json,
            whole,
            data,
        })
    }
}

impl Unread {
    /// When it was stored, in microseconds since 1970, where it says so.
    pub fn stored_at_us(&self) -> Option<i64> {
        #[derive(Deserialize)]
        struct Stored<'a> {
            #[serde(borrow, default, alias = "CreatedAt")]
            created_at: Option<Cow<'a, str>>,
        }
        let stored: Stored<'_> = serde_json::from_slice(&self.json).ok()?;
        microseconds(stored.created_at.as_deref()?)
    }
}

/// Whether a status says that osquery succeeded: 0, however it is written, or none at all.
pub fn is_success(status: Option<&RawValue>) -> bool {
    status.is_none_or(|status| matches!(status.get().trim_matches('"'), "0" | "null" | ""))
}

/// What a host answered, as it stands in an item's `data`.
#[derive(Debug, Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
}

/// Turns stored data into answers.
pub struct Reader<F> {
    /// How much of an answer is kept.
    pub keep: Keep,
    /// Makes foreign text fit to be shown.
    pub shown: F,
}

impl<F: Fn(&str) -> String> Reader<F> {
    /// The answer in an item: `data` is where its raw JSON stands in `json`, `succeeded` what the item's own status
    /// says. Data that can't be read is that host's error, not the campaign's.
    fn data(&self, mut json: Vec<u8>, data: Option<Range<usize>>, succeeded: bool) -> Answer {
        let data = data.unwrap_or_default();
        let answer = match json.get(data.start).filter(|_| !data.is_empty()) {
            Some(b'"') => match unescape(&mut json, data) {
                Ok(text) => self.read(&json[text], succeeded),
                Err(Lone(at)) => Err(format!("not JSON (line 1, column {at})")),
            },
            Some(b'{') => self.read(&json[data], succeeded),
            _ if !succeeded => Ok(self.failure("")),
            _ => Err("it is missing".to_owned()),
        };
        answer.unwrap_or_else(|what| Answer::Error(format!("the answer could not be read: {what}")))
    }

    /// The answer of an item.
    pub fn answer(&self, item: Unread) -> Answer {
        let Unread {
            json,
            whole,
            data,
            named,
        } = item;
        match data {
            None if !whole => Answer::Error(format!(
                "the answer could not be read: it has more than {}, the most that is read of one host",
                limits::ANSWER.words()
            )),
            data => self.data(json, data, named.succeeded),
        }
    }

    fn read(&self, json: &[u8], succeeded: bool) -> Result<Answer, String> {
        let text = std::str::from_utf8(json).map_err(|_| "it is not UTF-8")?;
        if succeeded && let Some(rows) = usual_rows(text, self.keep) {
            return Ok(Answer::Rows(rows));
        }
        let data: Data<'_> = serde_json::from_str(text).map_err(|error| place(&error))?;
        if !succeeded || !is_success(data.status) {
            return Ok(self.failure(data.message.as_deref().unwrap_or_default()));
        }
        // An answer in which the rows are missing is no answer without rows.
        let rows = data.result.map_or("null", RawValue::get);
        // osctrl adds no columns of its own.
        Rows::read(rows, &[], self.keep)
            .map(Answer::Rows)
            .map_err(|error| error.to_string())
    }

    fn failure(&self, message: &str) -> Answer {
        let message = (self.shown)(message);
        Answer::Error(if message.is_empty() {
            "osquery reported an error without a message".to_owned()
        } else {
            message
        })
    }
}

/// What an item says of itself and where its data stands, which is a string, in one pass over it as osctrl writes
/// it; nothing where it is of another form.
fn usual_item(text: &str) -> Option<(Named, Range<usize>)> {
    let (mut id, mut uuid, mut status, mut data) = (None, None, None, None);
    let mut at = 1;
    text.strip_prefix('{')?;
    loop {
        let (name, end) = value_at::<&str>(text, at)?;
        text[end..].strip_prefix(':')?;
        at = end + 1;
        at = match name {
            "data" if data.is_none() => {
                let end = string_end(text.as_bytes(), at)?;
                data = Some(at..end);
                end
            }
            "id" if id.is_none() => {
                let (raw, end) = value_at::<&RawValue>(text, at)?;
                id = Some(raw.get());
                end
            }
            "uuid" if uuid.is_none() => {
                let (read, end) = value_at::<Cow<'_, str>>(text, at)?;
                uuid = Some(read);
                end
            }
            "status" if status.is_none() => {
                let (raw, end) = value_at::<&RawValue>(text, at)?;
                status = Some(raw);
                end
            }
            // Written twice, or as older servers do.
            "data" | "id" | "uuid" | "status" | "Data" | "ID" | "UUID" | "Status" => return None,
            _ => value_at::<IgnoredAny>(text, at)?.1,
        };
        match &text[at..] {
            "}" => break,
            rest => rest.strip_prefix(',')?,
        };
        at += 1;
    }
    let named = Named {
        id: id.filter(|id| *id != "null")?.to_owned(),
        host: uuid
            .filter(|uuid| !uuid.is_empty())
            .map(|uuid| host_id(&uuid)),
        succeeded: is_success(status.filter(|status| status.get() != "null")),
    };
    Some((named, data?))
}

/// Where the string ends that begins at a place; `None` where it is not JSON. Whether halves of characters are
/// whole is not asked, as of all that is read later.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at).filter(|byte| **byte == b'"')?;
    let mut at = at + 1;
    loop {
        at += plain(&bytes[at..]);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                at += match bytes.get(at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                    b'u' => {
                        let digits = bytes.get(at + 2..at + 6)?;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(6)?
                    }
                    _ => return None,
                };
            }
            _ => return None,
        }
    }
}

/// The rows of data as osctrl writes it, in one pass over its text; nothing where it is of another form, or where
/// osquery did not succeed.
fn usual_rows(text: &str, keep: Keep) -> Option<Rows> {
    let (mut rows, mut status, mut message) = (None, None, None);
    let mut at = 1;
    text.strip_prefix('{')?;
    loop {
        let (name, end) = value_at::<Cow<'_, str>>(text, at)?;
        text[end..].strip_prefix(':')?;
        at = end + 1;
        at = match name.as_ref() {
            // osctrl adds no columns of its own.
            "result" if rows.is_none() => {
                let (read, end) = Rows::read_at(text, at, &[], keep).ok()??;
                rows = Some(read);
                end
            }
            "status" if status.is_none() => {
                let (raw, end) = value_at::<&RawValue>(text, at)?;
                status = Some(is_success(Some(raw)).then_some(())?);
                end
            }
            "message" if message.is_none() => {
                let (none, end) = value_at::<Cow<'_, str>>(text, at)?;
                message = Some(none);
                end
            }
            "result" | "status" | "message" => return None,
            _ => value_at::<IgnoredAny>(text, at)?.1,
        };
        match &text[at..] {
            "}" => return rows,
            rest => rest.strip_prefix(',')?,
        };
        at += 1;
    }
}

/// A value that begins at a place of a text, and where it ends.
fn value_at<'a, T: Deserialize<'a>>(text: &'a str, at: usize) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter();
    let value = values.next()?.ok()?;
    Some((value, at + values.byte_offset()))
}

/// Where a part of a text stands in it.
fn place_of(part: &str, whole: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// Where JSON is wrong; never what stands there.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "JSON that does not have osctrl's form",
        _ => "not JSON",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
