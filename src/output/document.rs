//! The output: the one document of the contract, or its lines with `--format ndjson`. Knows what a
//! campaign brought and how it ended; knows nothing of servers.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::campaign::roster::Target;
use crate::campaign::rows::push_string;
use crate::campaign::{Campaign, Kept, Status};
use crate::session::failure::Failure;
use crate::step::model::BackendKind;

/// What one run has to say. `results` of the document are `campaign`'s rows.
#[derive(Debug, Default)]
pub struct Document {
    /// Targets, answers and rows, once the targets were resolved.
    pub campaign: Option<Campaign>,
    /// The document's `campaign`, once it is known which server is asked.
    pub about: Option<About>,
    /// The rendered `target_hosts`, for runs that ended before they were resolved.
    pub named: Vec<String>,
    /// Why the run failed.
    pub error: Option<Failure>,
    /// A signal ended the run.
    pub cancelled: bool,
    /// What `check` found would be sent.
    pub planned: Option<Planned>,
}

/// The document's `campaign`, apart from what is counted.
#[derive(Debug, Clone)]
pub struct About {
    /// Which server.
    pub backend: BackendKind,
    /// The campaign's id there.
    pub id: Option<String>,
    /// From the start of the process to the document.
    pub elapsed: Duration,
    /// The server was not known to have stopped.
    pub may_be_running: bool,
}

/// What `check` would send, and to whom.
#[derive(Debug, Serialize)]
pub struct Planned {
    /// The SQL.
    pub sql: String,
    /// Keys of the hosts that would be asked.
    pub hosts: Vec<String>,
    /// Targets that are not enrolled.
    pub unknown: Vec<String>,
}

impl Document {
    /// Whether the rows are not all that was asked for.
    pub fn partial(&self) -> bool {
        self.error.is_some()
            || self.cancelled
            || self.truncated()
            || self.planned.is_none() && self.targets().any(|target| target.status != Status::Ok)
    }

    /// Writes the document as one line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        // By hand, so that rows are copied and never parsed again.
        out.write_all(b"{\"results\":{")?;
        let mut first = true;
        let mut key = String::new();
        for target in self.targets().filter(|_| self.planned.is_none()) {
            if !target.status.answered() {
                continue;
            }
            key.clear();
            if !first {
                key.push(',');
            }
            first = false;
            push_string(&mut key, target.key);
            key.push(':');
            out.write_all(key.as_bytes())?;
            out.write_all(target.rows().as_bytes())?;
        }
        out.write_all(b"},")?;
        let rest = serde_json::to_vec(&Summary {
            document: self,
            kind: None,
        })?;
        out.write_all(&rest[1..])?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Writes the last line of `--format ndjson`.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_summary(&self, out: &mut impl Write) -> io::Result<()> {
        let kind = Some("summary");
        serde_json::to_writer(
            &mut *out,
            &Summary {
                document: self,
                kind,
            },
        )?;
        out.write_all(b"\n")?;
        out.flush()
    }

    fn truncated(&self) -> bool {
        self.targets().any(|target| target.truncated())
    }

    fn targets(&self) -> impl Iterator<Item = TargetReport<'_>> {
        let resolved = self.campaign.iter().flat_map(reports);
        // Before the targets were resolved, nobody was asked.
        let named = self
            .named
            .iter()
            .filter(|_| self.campaign.is_none())
            .map(|name| TargetReport {
                key: name,
                status: Status::NotAsked,
                kept: None,
                uuid: None,
                last_seen: None,
            });
        resolved.chain(named)
    }
}

/// Writes the lines of `--format ndjson` for a host that has just answered.
///
/// # Errors
/// Those of the writer.
pub fn write_host_lines(campaign: &Campaign, host: usize, out: &mut impl Write) -> io::Result<()> {
    let mut line = String::new();
    for &index in campaign.targets_of(host) {
        let target = report(campaign, &campaign.roster().targets[index]);
        line.clear();
        line.push_str("{\"type\":\"host\",\"host\":");
        push_string(&mut line, target.key);
        line.push_str(",\"status\":");
        push_string(&mut line, target.status.name());
        if let Some(Err(message)) = target.kept.map(|kept| &kept.result) {
            line.push_str(",\"error\":");
            push_string(&mut line, message);
        }
        if target.truncated() {
            line.push_str(",\"truncated\":true");
        }
        line.push_str(",\"rows\":");
        out.write_all(line.as_bytes())?;
        out.write_all(target.rows().as_bytes())?;
        out.write_all(b"}\n")?;
    }
    out.flush()
}

fn reports(campaign: &Campaign) -> impl Iterator<Item = TargetReport<'_>> {
    let targets = campaign.roster().targets.iter();
    targets.map(|target| report(campaign, target))
}

fn report<'a>(campaign: &'a Campaign, target: &'a Target) -> TargetReport<'a> {
    let host = target.host.map(|index| &campaign.roster().hosts[index]);
    TargetReport {
        key: &target.key,
        status: campaign.status(target.host),
        kept: campaign.answer(target.host),
        uuid: host
            .map(|host| host.uuid.as_str())
            .filter(|uuid| !uuid.is_empty()),
        last_seen: host.and_then(|host| host.last_seen.as_deref()),
    }
}

/// One key of the document.
struct TargetReport<'a> {
    key: &'a str,
    status: Status,
    kept: Option<&'a Kept>,
    uuid: Option<&'a str>,
    last_seen: Option<&'a str>,
}

impl TargetReport<'_> {
    fn rows(&self) -> &str {
        let kept = self.kept.and_then(|kept| kept.result.as_ref().ok());
        kept.and_then(|kept| kept.rows.as_ref())
            .map_or("[]", |rows| rows.json())
    }

    fn truncated(&self) -> bool {
        let kept = self.kept.and_then(|kept| kept.result.as_ref().ok());
        kept.is_some_and(|kept| kept.truncated)
    }
}

impl Serialize for TargetReport<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", self.status.name())?;
        match self.kept.map(|kept| &kept.result) {
            Some(Ok(kept)) => map.serialize_entry("rows", &kept.received)?,
            Some(Err(message)) => map.serialize_entry("error", message)?,
            None => {}
        }
        if let Some(uuid) = self.uuid {
            map.serialize_entry("uuid", uuid)?;
        }
        if let Some(last_seen) = self.last_seen {
            map.serialize_entry("last_seen", last_seen)?;
        }
        if let Some(kept) = self.kept {
            map.serialize_entry("answered_ms", &milliseconds(kept.after))?;
        }
        if self.truncated() {
            map.serialize_entry("truncated", &true)?;
        }
        map.end()
    }
}

/// The document without `results`.
struct Summary<'a> {
    document: &'a Document,
    kind: Option<&'a str>,
}

impl Serialize for Summary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = self.document;
        let executed = document.planned.is_none();
        let keys_of = |wanted: fn(Status) -> bool| -> Vec<&str> {
            let targets = document
                .targets()
                .filter(|target| executed && wanted(target.status));
            targets.map(|target| target.key).collect()
        };
        let mut map = serializer.serialize_map(None)?;
        if let Some(kind) = self.kind {
            map.serialize_entry("type", kind)?;
        }
        map.serialize_entry("partial", &document.partial())?;
        map.serialize_entry("timed_out_hosts", &keys_of(|status| !status.answered()))?;
        let failed = keys_of(|status| status == Status::Error);
        if !failed.is_empty() {
            map.serialize_entry("failed_hosts", &failed)?;
        }
        if executed && document.targets().next().is_some() {
            map.serialize_entry("hosts", &Hosts(document))?;
        }
        if let (Some(about), true) = (&document.about, executed) {
            map.serialize_entry(
                "campaign",
                &CampaignReport {
                    about,
                    campaign: document.campaign.as_ref(),
                },
            )?;
        }
        if document.truncated() {
            map.serialize_entry("truncated", &true)?;
        }
        if document.cancelled {
            map.serialize_entry("cancelled", &true)?;
        }
        if let Some(error) = &document.error {
            map.serialize_entry("error", error)?;
        }
        if let Some(planned) = &document.planned {
            map.serialize_entry("planned", planned)?;
        }
        map.end()
    }
}

struct Hosts<'a>(&'a Document);

impl Serialize for Hosts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for target in self.0.targets() {
            map.serialize_entry(target.key, &target)?;
        }
        map.end()
    }
}

struct CampaignReport<'a> {
    about: &'a About,
    campaign: Option<&'a Campaign>,
}

impl Serialize for CampaignReport<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let about = self.about;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("backend", about.backend.name())?;
        map.serialize_entry("id", &about.id)?;
        map.serialize_entry("targeted", &self.campaign.map_or(0, Campaign::targeted))?;
        map.serialize_entry("responded", &self.campaign.map_or(0, Campaign::responded))?;
        map.serialize_entry("rows", &self.campaign.map_or(0, Campaign::rows))?;
        map.serialize_entry("elapsed_ms", &milliseconds(about.elapsed))?;
        if about.may_be_running {
            map.serialize_entry("may_be_running", &true)?;
        }
        map.end()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
