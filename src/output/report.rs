//! The one document of the contract, and the last line of `--format ndjson`. Knows what a campaign brought
//! and how it ended; knows nothing of servers.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::campaign::names::Matched;
use crate::campaign::roster::Target;
use crate::campaign::{Campaign, Kept, Status};
use crate::json_text::push_string;
use crate::known_servers::KnownServer;
use crate::nearest::NearHost;
use crate::session::{About, Outcome, Run, Timings};
use crate::time::rfc3339;

/// What one execution has to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report<'a> {
    run: &'a Run,
    outcome: &'a Outcome,
}

impl<'a> Report<'a> {
    /// The report of a run's outcome.
    pub fn of(run: &'a Run, outcome: &'a Outcome) -> Self {
        Self { run, outcome }
    }

    /// Whether it tells of answers: what a check found stands elsewhere.
    fn tells_of_answers(self) -> bool {
        !matches!(self.outcome, Outcome::Planned { .. })
    }

    /// Writes the document as one line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_json(self, out: &mut impl Write) -> io::Result<()> {
        // By hand, so that rows are copied and never parsed again.
        out.write_all(b"{\"results\":{")?;
        let mut first = true;
        let mut key = String::new();
        for target in self.targets().filter(|_| self.tells_of_answers()) {
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
        let rest = Summary {
            report: self,
            kind: None,
        };
        serde_json::to_writer(Continued::of(&mut *out), &rest)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Writes the last line of `--format ndjson`.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_summary(self, out: &mut impl Write) -> io::Result<()> {
        let kind = Some("summary");
        serde_json::to_writer(&mut *out, &Summary { report: self, kind })?;
        out.write_all(b"\n")?;
        out.flush()
    }

    fn targets(self) -> impl Iterator<Item = TargetReport<'a>> {
        let resolved = self.outcome.campaign().into_iter().flat_map(|campaign| {
            let targets = campaign.roster().targets.iter();
            targets.map(|target| TargetReport::of(campaign, target))
        });
        // Before the targets were resolved, nobody was asked.
        let named = self.outcome.named().iter().map(|name| TargetReport {
            key: name,
            status: Status::NotAsked,
            kept: None,
            hostname: None,
            uuid: None,
            matched: None,
            near: &[],
            last_seen: None,
            answered_at: None,
        });
        resolved.chain(named)
    }
}

/// Writes an object without its first bracket: the rest of one that is begun.
struct Continued<W> {
    out: W,
    begun: bool,
}

impl<W: Write> Continued<W> {
    fn of(out: W) -> Self {
        Self { out, begun: false }
    }
}

impl<W: Write> Write for Continued<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.begun || bytes.is_empty() {
            return self.out.write(bytes);
        }
        self.begun = true;
        // What is left of it comes again.
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// One key of the document.
pub(super) struct TargetReport<'a> {
    pub key: &'a str,
    pub status: Status,
    pub kept: Option<&'a Kept>,
    /// Where the key is another name of the host.
    pub hostname: Option<&'a str>,
    pub uuid: Option<&'a str>,
    pub matched: Option<Matched>,
    near: &'a [NearHost],
    last_seen: Option<&'a str>,
    pub answered_at: Option<SystemTime>,
}

impl<'a> TargetReport<'a> {
    /// How a target stands in the campaign now.
    pub fn of(campaign: &'a Campaign, target: &'a Target) -> Self {
        let host = target.host().map(|index| &campaign.roster().hosts[index]);
        let kept = campaign.answer(target.host());
        let key = campaign.roster().key(target);
        Self {
            key,
            status: campaign.status(target.host()),
            kept,
            hostname: campaign.roster().other_name(target),
            uuid: host.map(|host| host.uuid()).filter(|uuid| !uuid.is_empty()),
            matched: target.matched,
            near: target.near(),
            last_seen: host.and_then(|host| host.last_seen()),
            answered_at: kept.and_then(|kept| campaign.answered_at(kept)),
        }
    }

    /// The rows as JSON.
    pub fn rows(&self) -> &str {
        let kept = self.kept.and_then(|kept| kept.result.as_ref().ok());
        kept.and_then(|kept| kept.rows.as_ref())
            .map_or("[]", |rows| rows.json())
    }

    /// Whether a cap cut its rows.
    pub fn truncated(&self) -> bool {
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
        if let Some(hostname) = self.hostname {
            map.serialize_entry("hostname", hostname)?;
        }
        if let Some(uuid) = self.uuid {
            map.serialize_entry("uuid", uuid)?;
        }
        if let Some(matched) = self.matched {
            map.serialize_entry("matched", matched.name())?;
        }
        if !self.near.is_empty() {
            let names: Vec<&str> = self.near.iter().map(|near| near.name.as_str()).collect();
            map.serialize_entry("near", &names)?;
        }
        if let Some(last_seen) = self.last_seen {
            map.serialize_entry("last_seen", last_seen)?;
        }
        if let Some(kept) = self.kept {
            map.serialize_entry("answered_ms", &milliseconds(kept.after))?;
        }
        if let Some(at) = self.answered_at {
            map.serialize_entry("answered_at", &rfc3339(at))?;
        }
        if self.truncated() {
            map.serialize_entry("truncated", &true)?;
        }
        map.end()
    }
}

/// The document without `results`.
struct Summary<'a> {
    report: Report<'a>,
    kind: Option<&'a str>,
}

impl Serialize for Summary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let report = self.report;
        let outcome = report.outcome;
        let answers = report.tells_of_answers();
        let keys_of = |wanted: fn(Status) -> bool| -> Vec<&str> {
            let targets = report
                .targets()
                .filter(|target| answers && wanted(target.status));
            targets.map(|target| target.key).collect()
        };
        let mut map = serializer.serialize_map(None)?;
        if let Some(kind) = self.kind {
            map.serialize_entry("type", kind)?;
        }
        map.serialize_entry("partial", &outcome.partial())?;
        map.serialize_entry("timed_out_hosts", &keys_of(|status| !status.answered()))?;
        let failed = keys_of(|status| status == Status::Error);
        if !failed.is_empty() {
            map.serialize_entry("failed_hosts", &failed)?;
        }
        map.serialize_entry("executed", &outcome.executed())?;
        if answers && report.targets().next().is_some() {
            map.serialize_entry("hosts", &Hosts(report))?;
        }
        if let (Some(about), true) = (outcome.about(), answers) {
            let campaign = outcome.campaign();
            map.serialize_entry("campaign", &CampaignReport { about, campaign })?;
        }
        if let Some(until) = outcome.about().and_then(|about| about.queued_until) {
            map.serialize_entry("queued_until", &rfc3339(until))?;
        }
        if outcome.truncated() {
            map.serialize_entry("truncated", &true)?;
        }
        if outcome.cancelled().is_some() {
            map.serialize_entry("cancelled", &true)?;
        }
        if let Some(error) = outcome.error() {
            map.serialize_entry("error", error)?;
        }
        if let Outcome::Planned {
            campaign,
            sql,
            about,
        } = outcome
        {
            map.serialize_entry("planned", &Planned::of(campaign, sql, about))?;
        }
        map.serialize_entry("run", &RunReport(report))?;
        map.end()
    }
}

/// What `check` would send, and to whom.
#[derive(Serialize)]
struct Planned<'a> {
    sql: &'a str,
    /// Keys of the hosts that would be asked.
    hosts: Vec<&'a str>,
    /// Targets that are not enrolled.
    unknown: Vec<&'a str>,
    /// Whether hosts are enrolled is not known before they are asked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unresolved: bool,
}

impl<'a> Planned<'a> {
    fn of(campaign: &'a Campaign, sql: &'a str, about: &About) -> Self {
        let server = KnownServer::named(about.backend);
        let roster = campaign.roster();
        let known = roster.targets.iter().filter(|target| {
            let status = campaign.status(target.host());
            target.host().is_some() && status != Status::Unsupported && !status.answered()
        });
        Self {
            sql,
            hosts: known.map(|target| roster.key(target)).collect(),
            unknown: roster.unknown().collect(),
            unresolved: server.is_some_and(|known| !known.has.count),
        }
    }
}

struct Hosts<'a>(Report<'a>);

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
        map.serialize_entry("backend", about.backend)?;
        map.serialize_entry("id", &about.id)?;
        if !about.other_ids.is_empty() {
            map.serialize_entry("other_ids", &about.other_ids)?;
        }
        if let Some(saved) = &about.saved_query {
            let saved = SavedQueryReport {
                id: &saved.id,
                name: &saved.name,
            };
            map.serialize_entry("saved_query", &saved)?;
        }
        map.serialize_entry("targeted", &self.campaign.map_or(0, Campaign::targeted))?;
        map.serialize_entry("responded", &self.campaign.map_or(0, Campaign::responded))?;
        map.serialize_entry("rows", &self.campaign.map_or(0, Campaign::rows))?;
        map.serialize_entry("elapsed_ms", &milliseconds(about.elapsed))?;
        map.serialize_entry("timings", &TimingsReport(about.timings))?;
        if about.may_be_running {
            map.serialize_entry("may_be_running", &true)?;
        }
        map.end()
    }
}

/// Where the time went.
struct TimingsReport(Timings);

impl Serialize for TimingsReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self.0.known();
        serializer.collect_map(known.map(|(name, took)| (name, milliseconds(took))))
    }
}

#[derive(Serialize)]
struct SavedQueryReport<'a> {
    id: &'a str,
    name: &'a str,
}

/// What makes the document evidence.
struct RunReport<'a>(Report<'a>);

impl Serialize for RunReport<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Report { run, outcome } = self.0;
        let asked = run.asked();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", run.id())?;
        map.serialize_entry("version", env!("CARGO_PKG_VERSION"))?;
        if let Some(step) = &asked.step {
            map.serialize_entry("step", step)?;
        }
        if let Some(template) = &asked.template {
            map.serialize_entry("template", template)?;
        }
        if let Some(parameters) = &asked.parameters {
            map.serialize_entry("parameters", parameters)?;
        }
        if let Some(sql) = &asked.sql {
            map.serialize_entry("sql", sql)?;
        }
        if let Some(server) = &asked.server {
            map.serialize_entry("server", server)?;
        }
        if let Some(as_of) = asked.as_of {
            map.serialize_entry("as_of", &rfc3339(as_of))?;
        }
        map.serialize_entry("started_at", &rfc3339(run.started_at()))?;
        map.serialize_entry("finished_at", &rfc3339(run.now()))?;
        if let Some(trace) = run.trace() {
            map.serialize_entry("traceparent", trace.as_str())?;
        }
        if let Some(resumes) = &asked.resumes {
            map.serialize_entry("resumes", resumes)?;
        }
        if let Some(note) = outcome.about().and_then(|about| about.note.as_deref()) {
            map.serialize_entry("note", note)?;
        }
        map.end()
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
