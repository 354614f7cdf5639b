//! Fleet's JSON, as running servers write it (recordings are in `tests/transcripts/fleet/`). Only shapes
//! and their reading: what a message means to a campaign is decided above, and no type of these
//! leaves the backend.
//!
//! What identifies (ids, types of messages) must be there and well formed; everything else may be
//! missing, null or of another kind, since Fleet's versions differ in it.

pub(super) mod usual;

use std::borrow::Cow;
use std::num::NonZeroU32;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::value::RawValue;

use crate::campaign::host::Host;
use crate::campaign::host::HostId;
use crate::campaign::host::Platform;
use crate::campaign::host::Texts;
use crate::campaign::names::address;
use crate::events::Status;
use crate::json_parts::there;
use crate::servers::collecting::{PolledHost, ReportRow};
use crate::time::milliseconds;

/// Columns that the server adds to every row of a websocket answer; osquery never sent them.
pub(super) const ADDED_COLUMNS: &[&str] = &["host_hostname", "host_display_name"];

/// What the one-host calls say instead of rows when a host was silent for the server's own wait.
pub(super) const ONE_HOST_TIMEOUT: &str = "timeout waiting for results";

/// A host is offline when it is silent for so much longer than its interval (wire notes, hosts).
const GRACE_MS: i64 = 60_000;
/// A host is missing when it is silent for so long.
const MISSING_MS: i64 = 30 * 24 * 3_600_000;
/// A phone counts as online for so long after its device management spoke.
const PHONE_ONLINE_MS: i64 = 3_600_000;
const DAY_SECONDS: u64 = 24 * 3_600;

/// A moment in milliseconds since 1970; Go's zero time stands for never, and its Unix zero with it.
fn moment(text: &str) -> Option<i64> {
    milliseconds(text).filter(|moment| *moment > DAY_SECONDS as i64 * 1_000)
}

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

impl Maybe<String> {
    fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// What stands around a page of hosts, `{hosts: […]}`.
#[derive(Debug, Deserialize)]
pub(super) struct AroundHosts {
    /// An empty list stands in place of theirs; what is something else is no page of hosts.
    #[serde(default, deserialize_with = "there")]
    hosts: Option<Vec<IgnoredAny>>,
    /// Why the list ends early (2026: it is streamed, and this stands at its end).
    #[serde(default)]
    error: Option<serde_json::Value>,
}

impl AroundHosts {
    /// Whether there is a list: none is not an empty one.
    pub(super) fn is_list(&self) -> bool {
        self.hosts.is_some()
    }

    /// Why the page is not whole, where it is not.
    pub(super) fn failure(&self) -> Option<String> {
        self.error.as_ref().map(words_of)
    }
}

/// What a list says went wrong with it.
fn words_of(error: &serde_json::Value) -> String {
    match error {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A host as every list has it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListedHost {
    pub(super) id: u64,
    #[serde(default)]
    hostname: Maybe<String>,
    #[serde(default)]
    uuid: Maybe<String>,
    #[serde(default)]
    hardware_serial: Maybe<String>,
    #[serde(default)]
    computer_name: Maybe<String>,
    #[serde(default)]
    primary_ip: Maybe<String>,
    #[serde(default)]
    platform: Maybe<String>,
    #[serde(default)]
    status: Maybe<String>,
    #[serde(default)]
    seen_time: Maybe<String>,
    #[serde(default)]
    distributed_interval: Maybe<u64>,
    #[serde(default)]
    config_tls_refresh: Maybe<u64>,
    #[serde(default)]
    display_name: Maybe<String>,
    #[serde(default)]
    team_id: Maybe<u64>,
    #[serde(default)]
    fleet_id: Maybe<u64>,
    #[serde(default)]
    created_at: Maybe<String>,
    /// What moves at phones, where `seen_time` does not.
    #[serde(default)]
    last_mdm_checked_in_at: Maybe<String>,
}

impl ListedHost {
    /// The host as it is polled; `missing`: the list's filter says so, for the document never does (transcript
    /// `host-posture`).
    pub(super) fn polled(self, missing: bool) -> PolledHost {
        let phone = self.runs_no_osquery();
        let moment = |text: &Maybe<String>| text.0.as_deref().and_then(moment);
        let (seen, spoke) = (
            moment(&self.seen_time),
            moment(&self.last_mdm_checked_in_at),
        );
        let posture = match self.status.0.as_deref() {
            Some("online") => Status::Online,
            // `seen_time`, by which the filter goes, says nothing of a phone.
            Some("mia" | "missing") if !phone => Status::Missing,
            _ if missing && !phone => Status::Missing,
            _ => Status::Offline,
        };
        let intervals = [self.distributed_interval.0, self.config_tls_refresh.0];
        let interval = intervals.into_iter().flatten().min().unwrap_or_default();
        let interval = i64::try_from(interval.min(DAY_SECONDS)).unwrap_or_default();
        let changed = match posture {
            Status::Online => None,
            Status::Offline if phone => spoke.map(|spoke| spoke + PHONE_ONLINE_MS),
            Status::Offline => seen.map(|seen| seen + interval * 1_000 + GRACE_MS),
            Status::Missing => seen.map(|seen| seen + MISSING_MS),
        };
        let last_seen = match phone {
            true => self.last_mdm_checked_in_at.0,
            false => self.seen_time.0,
        };
        PolledHost {
            id: self.id,
            uuid: self.uuid.0.unwrap_or_default(),
            hostname: self.hostname.0.unwrap_or_default(),
            display_name: self.display_name.0.unwrap_or_default(),
            platform: self.platform.0.unwrap_or_default(),
            team: self.fleet_id.0.or(self.team_id.0).filter(|team| *team > 0),
            posture,
            changed,
            enrolled: self.created_at.0.as_deref().and_then(self::moment),
            last_seen: last_seen.filter(|text| self::moment(text).is_some()),
        }
    }

    /// The platform, where the server's word for it is known.
    pub(super) fn platform(&self) -> Option<Platform> {
        self.platform.0.as_deref().and_then(Platform::of_host)
    }
}

impl ListedHost {
    /// Whether it is a phone or tablet, which Fleet targets as any other host and counts as online (wire
    /// notes, Targets).
    pub(super) fn runs_no_osquery(&self) -> bool {
        matches!(
            self.platform.0.as_deref(),
            Some("ios" | "ipados" | "android")
        )
    }
}

impl From<ListedHost> for Host {
    fn from(listed: ListedHost) -> Self {
        let platform = listed.platform();
        let unsupported = listed.runs_no_osquery();
        let hostname = listed.hostname.text();
        let computer_name = listed.computer_name.text();
        // Go's zero time stands for never.
        let last_seen = Some(listed.seen_time.text()).filter(|time| !time.starts_with("0001-"));
        let texts = Texts {
            hostname,
            uuid: listed.uuid.text(),
            serial: listed.hardware_serial.text(),
            computer_name: Some(computer_name)
                .filter(|name| *name != hostname)
                .unwrap_or_default(),
            last_seen: last_seen.unwrap_or_default(),
        };
        let seconds = listed.distributed_interval.0.unwrap_or_default();
        Self {
            // Not `public_ip`: a whole office has one.
            address: listed.primary_ip.0.as_deref().and_then(address),
            platform,
            online: match listed.status.0.as_deref() {
                Some("online") => Some(true),
                Some("offline" | "mia" | "missing") => Some(false),
                _ => None,
            },
            check_in_seconds: NonZeroU32::new(u32::try_from(seconds).unwrap_or(u32::MAX)),
            unsupported,
            ..Self::new(HostId::from(listed.id), &texts)
        }
    }
}

/// `GET /labels/summary`.
#[derive(Debug, Deserialize)]
pub(super) struct LabelsSummary {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) labels: Vec<Label>,
}

/// `GET /teams`, newly `GET /fleets`: the list's key goes with the path.
#[derive(Debug, Deserialize)]
pub(super) struct TeamsPage {
    #[serde(default)]
    fleets: Maybe<Vec<Team>>,
    #[serde(default)]
    teams: Maybe<Vec<Team>>,
}

impl TeamsPage {
    pub(super) fn teams(self) -> Vec<Team> {
        self.fleets.0.or(self.teams.0).unwrap_or_default()
    }
}

/// A team, newly called fleet.
#[derive(Debug, Deserialize)]
pub(super) struct Team {
    pub(super) id: u64,
    pub(super) name: String,
}

/// `GET /hosts/ID`.
#[derive(Debug, Deserialize)]
pub(super) struct OneListed {
    pub(super) host: ListedHost,
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

/// `GET /reports`, before Fleet 4.82 `GET /queries`: the newer name of the list is read first.
#[derive(Debug, Deserialize)]
pub(super) struct SavedPage {
    #[serde(default, deserialize_with = "there")]
    reports: Option<Vec<SavedListed>>,
    #[serde(default, deserialize_with = "there")]
    queries: Option<Vec<SavedListed>>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

impl SavedPage {
    /// Why the page is not whole, where it is not.
    pub(super) fn failure(&self) -> Option<String> {
        self.error.as_ref().map(words_of)
    }

    /// The queries of the page; `None` where there is no list of them.
    pub(super) fn queries(self) -> Option<Vec<SavedListed>> {
        self.reports.or(self.queries)
    }
}

/// A row of `GET /reports/{id}/report`.
#[derive(Debug, Deserialize)]
pub(super) struct Reported<'a> {
    pub(super) host_id: u64,
    #[serde(default, borrow)]
    host_name: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    last_fetched: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    columns: Option<&'a RawValue>,
}

impl Reported<'_> {
    /// The row; `None` where there is none.
    pub(super) fn row(&self) -> Option<ReportRow<'_>> {
        let columns = self.columns.filter(|columns| columns.get() != "null")?;
        Some(ReportRow {
            host: self.host_id,
            name: self.host_name.as_deref().unwrap_or_default(),
            at: self
                .last_fetched
                .as_deref()
                .and_then(milliseconds)
                .unwrap_or_default(),
            json: columns.get(),
        })
    }
}

/// What stands around the rows of a report; newer servers page it, and say so in `meta`.
#[derive(Debug, Deserialize)]
pub(super) struct AroundReport {
    #[serde(default)]
    pub(super) report_clipped: Maybe<bool>,
    /// An empty list stands in place of them.
    #[serde(default, deserialize_with = "there")]
    results: Option<Vec<IgnoredAny>>,
    /// Rows on all pages.
    #[serde(default)]
    pub(super) count: Maybe<u64>,
    #[serde(default)]
    meta: Maybe<PageMeta>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct PageMeta {
    #[serde(default)]
    has_next_results: Maybe<bool>,
}

impl AroundReport {
    /// Whether there is a list: none is not an empty one.
    pub(super) fn is_list(&self) -> bool {
        self.results.is_some()
    }

    /// Whether another page follows.
    pub(super) fn goes_on(&self) -> bool {
        let meta = self.meta.0.as_ref();
        meta.is_some_and(|meta| meta.has_next_results.0 == Some(true))
    }

    /// Why it is not whole, where it is not.
    pub(super) fn failure(&self) -> Option<String> {
        self.error.as_ref().map(words_of)
    }
}

/// A saved query, as the list has it.
#[derive(Debug, Deserialize)]
pub(super) struct SavedListed {
    pub(super) id: u64,
    pub(super) name: String,
    #[serde(default)]
    query: Maybe<String>,
    #[serde(default)]
    observer_can_run: Maybe<bool>,
    #[serde(default)]
    interval: Maybe<u64>,
    #[serde(default)]
    logging: Maybe<String>,
    #[serde(default)]
    discard_data: Maybe<bool>,
    #[serde(default)]
    fleet_id: Maybe<u64>,
    #[serde(default)]
    team_id: Maybe<u64>,
}

impl SavedListed {
    /// Its SQL; empty where the server does not show it.
    pub(super) fn sql(&self) -> &str {
        self.query.0.as_deref().unwrap_or_default()
    }

    /// Whether it belongs to one fleet (before 4.82: team), and not to all.
    pub(super) fn is_of_one_fleet(&self) -> bool {
        self.fleet_id.0.or(self.team_id.0).is_some_and(|id| id > 0)
    }

    /// Why its report stays empty; `None` where it does not (transcript `reports`). What the list does not say
    /// is not held against it.
    pub(super) fn no_report(&self) -> Option<&'static str> {
        let logs = self.logging.0.as_deref();
        if self.interval.0 == Some(0) {
            Some("is not scheduled")
        } else if logs.is_some_and(|logging| logging != "snapshot") {
            Some("logs changes, not snapshots")
        } else if self.discard_data.0 == Some(true) {
            Some("keeps no results (`discard_data`)")
        } else {
            None
        }
    }

    /// Whether every role may run it.
    pub(super) fn observer_can_run(&self) -> bool {
        self.observer_can_run.0 == Some(true)
    }
}

/// `POST /reports/{id}/run`: the answers of those who gave one within the server's own wait.
#[derive(Debug, Deserialize)]
pub(super) struct SavedRun<'a> {
    #[serde(borrow)]
    pub(super) results: Vec<SavedAnswer<'a>>,
}

/// One host's answer to it.
#[derive(Debug, Deserialize)]
pub(super) struct SavedAnswer<'a> {
    pub(super) host_id: u64,
    #[serde(borrow, default)]
    pub(super) rows: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl SavedAnswer<'_> {
    /// osquery's error, where there is one.
    pub(super) fn error(&self) -> Option<Cow<'_, str>> {
        error_text(self.error)
    }
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

/// `GET /config`, as far as it is about live queries.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    server_settings: Maybe<ServerSettings>,
}

#[derive(Debug, Deserialize)]
struct ServerSettings {
    #[serde(default)]
    live_reporting_disabled: Maybe<bool>,
    #[serde(default)]
    live_query_disabled: Maybe<bool>,
}

impl Config {
    /// Whether an operator has switched live queries off, where the server says so.
    pub(super) fn live_queries_are_off(self) -> Option<bool> {
        let settings = self.server_settings.0?;
        settings
            .live_reporting_disabled
            .0
            .or(settings.live_query_disabled.0)
    }
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
    #[serde(default)]
    pub(super) host_id: Maybe<u64>,
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

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;

    /// A page read whole, as no code does it.
    #[derive(Deserialize)]
    struct HostsPage {
        #[serde(default, deserialize_with = "null_as_default")]
        hosts: Vec<ListedHost>,
    }

    /// Every recording of a real server, by name.
    pub(in crate::servers::fleet) fn transcripts() -> Vec<(String, Value)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts/fleet");
        let mut found: Vec<(String, Value)> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                (name, serde_json::from_str(&text).unwrap())
            })
            .collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found
    }

    fn read<'a, T: Deserialize<'a>>(place: &str, text: &'a str) -> T {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"))
    }

    #[test]
    fn twin_names_of_saved_queries_are_read_the_newer_first() {
        for (text, ids, of_one_fleet) in [
            (
                r#"{"queries":[{"id":1,"name":"a","team_id":7}]}"#,
                [1],
                true,
            ),
            (
                r#"{"reports":[{"id":1,"name":"a","fleet_id":7}]}"#,
                [1],
                true,
            ),
            (
                r#"{"queries":[{"id":1,"name":"a","team_id":null}]}"#,
                [1],
                false,
            ),
            (
                r#"{"queries":[{"id":1,"name":"a","team_id":7}],"reports":[{"id":2,"name":"a","fleet_id":0,"team_id":7}]}"#,
                [2],
                false,
            ),
        ] {
            let queries = read::<SavedPage>("here", text).queries().unwrap();
            let found: Vec<u64> = queries.iter().map(|query| query.id).collect();
            assert_eq!(found, ids, "{text}");
            assert_eq!(queries[0].is_of_one_fleet(), of_one_fleet, "{text}");
        }
    }

    #[test]
    fn reads_every_recorded_answer() {
        let mut read_of_each = std::collections::BTreeMap::<&str, usize>::new();
        for (name, transcript) in transcripts() {
            for step in transcript["steps"].as_array().unwrap() {
                let Some(path) = step["request"]["path"].as_str() else {
                    continue;
                };
                let method = step["request"]["method"].as_str().unwrap();
                let place = format!("{name}: {method} {path}");
                let body = &step["response"]["body"];
                let text = match body {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let path = path.trim_start_matches("/api/v1/fleet/");
                let path = path.split('?').next().unwrap();
                let kind = if step["response"]["status"] != 200 {
                    // Without its database the server writes nothing.
                    let silent = step["response"]["status"] == 500 && text.is_empty();
                    assert!(
                        silent || reason(&text).is_some_and(|it| !it.is_empty()),
                        "{place}"
                    );
                    "refusal"
                } else if method == "GET" && path == "queries" {
                    for query in read::<SavedPage>(&place, &text).queries().unwrap() {
                        assert!(!query.name.is_empty() && !query.sql().is_empty(), "{place}");
                    }
                    "saved queries"
                } else if path == "login" {
                    let token = read::<LoggedIn>(&place, &text).token.0;
                    assert_eq!(token.as_deref(), Some("SESSION_TOKEN"), "{place}");
                    "login"
                } else if path == "me" {
                    let user = read::<Me>(&place, &text).user;
                    assert!(user.global_role.0.is_some(), "{place}");
                    assert_eq!(user.force_password_reset.0, Some(false), "{place}");
                    "me"
                } else if path == "labels/summary" {
                    let labels = read::<LabelsSummary>(&place, &text).labels;
                    assert!(
                        labels
                            .iter()
                            .any(|it| it.name == "All Linux" && it.is_builtin())
                    );
                    "labels"
                } else if path == "hosts" || path.starts_with("labels/") {
                    for listed in read::<HostsPage>(&place, &text).hosts {
                        let host = Host::from(listed);
                        assert!(
                            !host.hostname().is_empty() && !host.uuid().is_empty(),
                            "{place}"
                        );
                        assert_eq!(host.platform, Some(Platform::Linux), "{place}");
                        assert_eq!(host.check_in_seconds, None, "{place}");
                        assert!(
                            host.online.is_some() && host.last_seen().is_some(),
                            "{place}"
                        );
                    }
                    "hosts"
                } else if method == "POST" && path.starts_with("queries/run") {
                    let campaign = read::<Started>(&place, &text).campaign;
                    assert_eq!(
                        Some(campaign.id),
                        body["campaign"]["id"].as_u64(),
                        "{place}"
                    );
                    assert!(
                        campaign.metrics.0.unwrap().total_hosts.0.unwrap() > 0,
                        "{place}"
                    );
                    "campaign"
                } else if method == "POST" && path.starts_with("hosts/identifier/") {
                    let answer = read::<OneHostAnswer<'_>>(&place, &text);
                    assert_eq!(answer.rows.is_none(), body["rows"].is_null(), "{place}");
                    assert_eq!(answer.error().as_deref(), body["error"].as_str(), "{place}");
                    assert_eq!(
                        answer.status.0.as_deref(),
                        body["status"].as_str(),
                        "{place}"
                    );
                    "one host"
                } else {
                    continue;
                };
                *read_of_each.entry(kind).or_default() += 1;
            }
        }
        let kinds: Vec<&str> = read_of_each.keys().copied().collect();
        assert_eq!(
            kinds,
            [
                "campaign",
                "hosts",
                "labels",
                "login",
                "me",
                "one host",
                "refusal",
                "saved queries"
            ]
        );
    }

    #[test]
    fn knows_the_recorded_timeout_of_one_host() {
        let (_, transcript) = transcripts()
            .into_iter()
            .find(|(name, _)| name == "rest-timeout")
            .unwrap();
        assert_eq!(
            transcript["steps"][0]["response"]["body"]["error"],
            ONE_HOST_TIMEOUT
        );
    }

    #[test]
    fn only_ids_must_be_there() {
        let page = r#"{"hosts":[{"id":7},{"id":8,"hostname":null,"uuid":5,"seen_time":[],
            "distributed_interval":-1,"status":{},"platform":true},
            {"id":18446744073709551615,"distributed_interval":99999999999999999999999,"status":"mia",
            "seen_time":"0001-01-01T00:00:00Z","platform":"darwin","hostname":"mac"}],"more":{}}"#;
        let hosts: Vec<Host> = read::<HostsPage>("page", page)
            .hosts
            .into_iter()
            .map(Host::from)
            .collect();
        for host in &hosts[..2] {
            assert_eq!((host.hostname(), host.online), ("", None));
        }
        assert_eq!(hosts[2].id.text(), "18446744073709551615");
        assert_eq!(hosts[2].online, Some(false));
        assert_eq!(hosts[2].platform, Some(Platform::Darwin));
        assert_eq!(
            (hosts[2].last_seen(), hosts[2].check_in_seconds),
            (None, None)
        );
        for bad in [
            r#"{"hosts":[{"id":-1}]}"#,
            r#"{"hosts":[{}]}"#,
            r#"{"hosts":7}"#,
        ] {
            assert!(serde_json::from_str::<HostsPage>(bad).is_err(), "{bad}");
        }
        assert!(
            read::<HostsPage>("null", r#"{"hosts":null}"#)
                .hosts
                .is_empty()
        );
        assert!(read::<LabelsSummary>("none", "{}").labels.is_empty());
    }

    #[test]
    fn finds_the_reason_of_a_failure() {
        let cases = [
            (
                r#"{"message":"Bad request","errors":[{"reason":"no hosts targeted"}]}"#,
                Some("no hosts targeted"),
            ),
            (
                r#"{"message":"forbidden","errors":null}"#,
                Some("forbidden"),
            ),
            (
                r#"{"message":"forbidden","errors":[{"reason":""}]}"#,
                Some("forbidden"),
            ),
            (r#"{"error":"x"}"#, None),
            ("Bad Gateway\n", Some("Bad Gateway")),
            ("<html><body>no</body></html>", None),
            ("", None),
        ];
        for (body, expected) in cases {
            assert_eq!(reason(body).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn an_error_may_be_null_empty_or_no_text() {
        let text = |json: &str| {
            let raw = serde_json::value::to_raw_value(&read::<Value>("error", json)).unwrap();
            error_text(Some(&raw)).map(Cow::into_owned)
        };
        assert_eq!(text("null"), None);
        assert_eq!(text(r#""""#), None);
        assert_eq!(text("false"), None);
        assert_eq!(
            text(r#""no such table: x""#).as_deref(),
            Some("no such table: x")
        );
        assert_eq!(text(r#"{"code":1}"#).as_deref(), Some(r#"{"code":1}"#));
        assert_eq!(error_text(None), None);
    }
}
