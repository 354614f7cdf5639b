//! Fleet's JSON, as running servers write it (recordings are in `tests/transcripts/fleet/`). Only shapes
//! and their reading: what a message means to a campaign is decided above, and no type of these
//! leaves the backend.
//!
//! What identifies (ids, types of messages) must be there and well formed; everything else may be
//! missing, null or of another kind, since Fleet's versions differ in it.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

use crate::backend::{Host, HostId};
use crate::step::model::Platform;

/// Columns that the server adds to every row of a websocket answer; osquery never sent them.
pub(super) const ADDED_COLUMNS: &[&str] = &["host_hostname", "host_display_name"];

/// What the one-host calls say instead of rows when a host was silent for the server's own wait.
pub(super) const ONE_HOST_TIMEOUT: &str = "timeout waiting for results";

/// A value that is used where it can be read, and otherwise as good as missing.
#[derive(Debug)]
pub(super) struct Maybe<T>(pub(super) Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let raw: &'de RawValue = Deserialize::deserialize(reader)?;
        Ok(Self(serde_json::from_str(raw.get()).ok()))
    }
}

/// `{hosts: […]}`: a page of hosts or of a label's members.
#[derive(Debug, Deserialize)]
pub(super) struct HostsPage {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) hosts: Vec<ListedHost>,
}

/// A host as every list has it.
#[derive(Debug, Deserialize)]
pub(super) struct ListedHost {
    pub(super) id: u64,
    #[serde(default)]
    hostname: Maybe<String>,
    #[serde(default)]
    uuid: Maybe<String>,
    #[serde(default)]
    hardware_serial: Maybe<String>,
    #[serde(default)]
    platform: Maybe<String>,
    #[serde(default)]
    status: Maybe<String>,
    #[serde(default)]
    seen_time: Maybe<String>,
    #[serde(default)]
    distributed_interval: Maybe<u64>,
}

impl ListedHost {
    /// The platform, where the server's word for it is known.
    pub(super) fn platform(&self) -> Option<Platform> {
        self.platform.0.as_deref().and_then(Platform::of_host)
    }
}

impl From<ListedHost> for Host {
    fn from(listed: ListedHost) -> Self {
        let platform = listed.platform();
        Self {
            id: HostId(listed.id.to_string()),
            hostname: listed.hostname.0.unwrap_or_default(),
            uuid: listed.uuid.0.unwrap_or_default(),
            serial: listed.hardware_serial.0.unwrap_or_default(),
            platform,
            online: match listed.status.0.as_deref() {
                Some("online") => Some(true),
                Some("offline" | "mia" | "missing") => Some(false),
                _ => None,
            },
            // Go's zero time stands for never.
            last_seen: listed
                .seen_time
                .0
                .filter(|time| !time.is_empty() && !time.starts_with("0001-")),
            check_in_interval: listed
                .distributed_interval
                .0
                .filter(|seconds| *seconds > 0)
                .map(std::time::Duration::from_secs),
        }
    }
}

/// `GET /labels/summary`.
#[derive(Debug, Deserialize)]
pub(super) struct LabelsSummary {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) labels: Vec<Label>,
}

/// A label, without its members.
#[derive(Debug, Deserialize)]
pub(super) struct Label {
    pub(super) id: u64,
    pub(super) name: String,
    #[serde(default)]
    label_type: Maybe<String>,
}

impl Label {
    /// Whether Fleet made it, and not one of its users.
    pub(super) fn is_builtin(&self) -> bool {
        self.label_type.0.as_deref() == Some("builtin")
    }
}

/// `POST /login`. Without a token the server wants something else first (a mailed link).
#[derive(Debug, Deserialize)]
pub(super) struct LoggedIn {
    #[serde(default)]
    pub(super) token: Maybe<String>,
}

/// `GET /me`.
#[derive(Debug, Deserialize)]
pub(super) struct Me {
    pub(super) user: User,
}

/// The user whom the credentials belong to.
#[derive(Debug, Deserialize)]
pub(super) struct User {
    #[serde(default)]
    pub(super) global_role: Maybe<String>,
    #[serde(default)]
    pub(super) teams: Maybe<Vec<Membership>>,
    #[serde(default)]
    pub(super) force_password_reset: Maybe<bool>,
}

/// A user's role in one team.
#[derive(Debug, Deserialize)]
pub(super) struct Membership {
    #[serde(default)]
    pub(super) role: Maybe<String>,
}

/// `POST /queries/run`.
#[derive(Debug, Deserialize)]
pub(super) struct Started {
    pub(super) campaign: Campaign,
}

/// A campaign as it was created.
#[derive(Debug, Deserialize)]
pub(super) struct Campaign {
    pub(super) id: u64,
    #[serde(default, rename = "Metrics")]
    pub(super) metrics: Maybe<Metrics>,
}

/// How many hosts the campaign has.
#[derive(Debug, Deserialize)]
pub(super) struct Metrics {
    #[serde(default, rename = "TotalHosts")]
    pub(super) total_hosts: Maybe<u64>,
}

/// `POST /hosts/{id}/query`.
#[derive(Debug, Deserialize)]
pub(super) struct OneHostAnswer<'a> {
    #[serde(borrow, default)]
    pub(super) rows: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) status: Maybe<String>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl OneHostAnswer<'_> {
    /// osquery's error or the server's own, where there is one.
    pub(super) fn error(&self) -> Option<Cow<'_, str>> {
        error_text(self.error)
    }
}

/// One message of the results socket.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
}

/// The data of a `result` message.
#[derive(Debug, Deserialize)]
pub(super) struct ResultData<'a> {
    pub(super) host: ResultHost,
    #[serde(borrow, default)]
    pub(super) rows: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl ResultData<'_> {
    /// osquery's error, where there is one.
    pub(super) fn error(&self) -> Option<Cow<'_, str>> {
        error_text(self.error)
    }
}

/// Who answered.
#[derive(Debug, Deserialize)]
pub(super) struct ResultHost {
    pub(super) id: u64,
}

/// `{message, errors: [{reason}]}`, or whatever else came: the reason, for people.
pub(super) fn reason(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Failure {
        #[serde(default)]
        message: Maybe<String>,
        #[serde(default)]
        errors: Maybe<Vec<Reason>>,
    }
    #[derive(Deserialize)]
    struct Reason {
        #[serde(default)]
        reason: Maybe<String>,
    }
    if let Ok(failure) = serde_json::from_str::<Failure>(body) {
        return failure
            .errors
            .0
            .unwrap_or_default()
            .into_iter()
            .filter_map(|reason| reason.reason.0)
            .chain(failure.message.0)
            .find(|text| !text.trim().is_empty());
    }
    let body = body.trim();
    // A web page says nothing in one line.
    let is_text = !body.is_empty() && !body.starts_with(['<', '{', '[']);
    is_text.then(|| body.to_owned())
}

/// The text of an `error` message or field; JSON of another kind stands for itself.
pub(super) fn error_text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let raw = raw?.get();
    match serde_json::from_str::<Option<String>>(raw) {
        Ok(text) => text.filter(|text| !text.is_empty()).map(Cow::Owned),
        Err(_) if raw == "false" => None,
        Err(_) => Some(Cow::Borrowed(raw)),
    }
}

fn null_as_default<'de, D, T>(reader: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(reader)?.unwrap_or_default())
}
