//! An event, and what makes its two names.

use std::sync::OnceLock;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::digest::{Digest, Parts};
use super::row::Row;
use super::severities::Severities;
use crate::known_servers::KnownServer;
use crate::severity::Severity;
use crate::time::rfc3339_of;

/// Where events come from: one server, and the part of it that hosts and queries belong to.
#[derive(Debug, Clone)]
pub struct Origin {
    known: &'static KnownServer,
    server: String,
    part: Option<String>,
}

/// A host as its server knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The server's number for it. Where there is one, it is the host's identity; else the uuid is, else the
    /// hostname.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Its hardware uuid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Its hostname; empty where the server gives none.
    pub hostname: String,
    /// How the server's own pages call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The server's word for its platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Whether it is there, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The server's number for its team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team_id: Option<u64>,
    /// When the server last saw it: RFC 3339, as the server wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
}

/// Whether a host is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It checks in.
    Online,
    /// It has not checked in when it should have.
    Offline,
    /// It has not checked in for very long.
    Missing,
}

/// The tables that a query reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tables {
    /// All of them, each once, in lower case, in the order in which SQLite comes to them: those of `FROM` before
    /// those of the columns, of a `UNION` the last part first.
    Known(Vec<String>),
    /// Nobody can say: why, as a clause that goes on after "its tables are not known: ".
    Unknown(String),
}

/// A query whose results are collected.
#[derive(Debug)]
pub struct Query {
    /// The server's number for it. Where there is one, it is the query's identity; else the name is.
    pub id: Option<u64>,
    /// Its name.
    pub name: String,
    /// Its SQL, as the server keeps it.
    pub sql: String,
    read: OnceLock<(Tables, Severity)>,
    severities: Severities,
}

/// The moments of an event, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// When it was so: the host's answer, the change of its status.
    pub time: i64,
    /// When this program saw it.
    pub observed_at: i64,
    /// What stays the same until the state moves on, and so holds the event's id together where a poll is
    /// repeated over a server that has moved on meanwhile: the moment of the result or status that this one
    /// was compared with. Without a state, or without anything to compare with, `time`.
    pub since: i64,
}

/// What a row is to the rows of the host's result before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not among them.
    Added,
    /// It was among them, and is gone.
    Removed,
    /// It is there; whether it was before, nobody asked.
    Present,
}

/// A host's answer to a query.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Who answered.
    pub host: &'a Host,
    /// What.
    pub query: &'a Query,
    /// When.
    pub when: When,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A host's posture changed.
    Host,
    /// A row of a query's result.
    QueryRow,
    /// osquery failed on a query at a host.
    QueryError,
    /// A report takes no more rows, so that it is out of date.
    ReportClipped,
}

/// What happened.
#[derive(Debug)]
pub enum Found<'a> {
    /// The host's status is this now.
    Posture(Status),
    /// A row, and what it is to those before.
    Row(Row<'a>, Change),
    /// osquery's error.
    Error(&'a str),
    /// The report is full.
    Clipped,
}

/// An event.
#[derive(Debug)]
pub struct Event<'a> {
    /// A digest of what makes it: the same event has the same in every run.
    pub id: Digest,
    /// When it was so, and when it was seen.
    pub when: When,
    /// Where it comes from.
    pub origin: &'a Origin,
    /// How grave it is.
    pub severity: Severity,
    /// Whom it is about; a report is about no host.
    pub host: Option<&'a Host>,
    /// The query, of all but a host's posture.
    pub query: Option<&'a Query>,
    /// What happened.
    pub found: Found<'a>,
    /// The same for the same thing, whenever it is found: server, query, host and row, or server, host and
    /// status.
    pub dedupe_key: Digest,
}

/// The category of every event.
pub const CATEGORY: &str = "endpoint";

impl Origin {
    /// A server at an address, and the part of it that its hosts and queries belong to (an environment), where
    /// those of two parts may have one name.
    pub fn new(known: &'static KnownServer, server: &str, part: Option<&str>) -> Self {
        Self {
            known,
            server: server.trim_end_matches('/').to_owned(),
            part: part.map(str::to_owned),
        }
    }

    /// The kind of server.
    pub fn known(&self) -> &'static KnownServer {
        self.known
    }

    /// A host's status changed.
    pub fn host<'a>(&'a self, host: &'a Host, status: Status, when: When) -> Event<'a> {
        let matter = self.matter(Kind::Host);
        let matter = host.identify(matter).and(status.name().as_bytes());
        let severity = match status {
            Status::Online => Severity::Info,
            Status::Offline => Severity::Low,
            Status::Missing => Severity::Medium,
        };
        let found = Found::Posture(status);
        self.event(matter, when, None, (severity, Some(host), None, found))
    }

    /// A row of a host's answer. `copy` counts equal rows of that answer, from zero, so that each is an event of
    /// its own.
    pub fn row<'a>(
        &'a self,
        reply: Reply<'a>,
        row: Row<'a>,
        change: Change,
        copy: u32,
    ) -> Event<'a> {
        let matter = self.of_reply(Kind::QueryRow, reply).and(&row.digest().0);
        let own = Some((change.name(), copy));
        let severity = reply.query.severity();
        let about = (
            severity,
            Some(reply.host),
            Some(reply.query),
            Found::Row(row, change),
        );
        self.event(matter, reply.when, own, about)
    }

    /// A host's osquery failed on a query.
    pub fn error<'a>(&'a self, reply: Reply<'a>, error: &'a str) -> Event<'a> {
        let matter = self.of_reply(Kind::QueryError, reply);
        let matter = matter.and(error.as_bytes());
        let about = (
            Severity::Info,
            Some(reply.host),
            Some(reply.query),
            Found::Error(error),
        );
        self.event(matter, reply.when, None, about)
    }

    /// A query's report takes no more rows.
    pub fn clipped<'a>(&'a self, query: &'a Query, when: When) -> Event<'a> {
        let matter = query.identify(self.matter(Kind::ReportClipped));
        let about = (Severity::Medium, None, Some(query), Found::Clipped);
        self.event(matter, when, None, about)
    }

    fn event<'a>(
        &'a self,
        matter: Parts,
        when: When,
        own: Option<(&str, u32)>,
        (severity, host, query, found): (Severity, Option<&'a Host>, Option<&'a Query>, Found<'a>),
    ) -> Event<'a> {
        let dedupe_key = matter.digest();
        let mut id = Parts::of("event").and(&dedupe_key.0).and_number(when.since);
        if let Some((change, copy)) = own {
            id = id.and(change.as_bytes()).and_number(copy.into());
        }
        Event {
            id: id.digest(),
            when,
            origin: self,
            severity,
            host,
            query,
            found,
            dedupe_key,
        }
    }

    fn matter(&self, kind: Kind) -> Parts {
        let parts = Parts::of(kind.name()).and(self.known.name.as_bytes());
        let parts = parts.and(self.server.as_bytes());
        parts.and(self.part.as_deref().unwrap_or_default().as_bytes())
    }

    fn of_reply(&self, kind: Kind, reply: Reply<'_>) -> Parts {
        let parts = reply.query.identify(self.matter(kind));
        reply.host.identify(parts)
    }
}

impl Host {
    /// Adds what tells it from every other host of its server.
    fn identify(&self, parts: Parts) -> Parts {
        match (self.id, self.uuid.as_deref()) {
            (Some(id), _) => parts.and(b"id").and(&id.to_le_bytes()),
            (None, Some(uuid)) => parts.and(b"uuid").and(uuid.to_ascii_lowercase().as_bytes()),
            (None, None) => parts.and(b"hostname").and(self.hostname.as_bytes()),
        }
    }

    /// A name for people: the hostname, or what there is in its place.
    pub fn name(&self) -> &str {
        let names = [
            Some(self.hostname.as_str()),
            self.display_name.as_deref(),
            self.uuid.as_deref(),
        ];
        let mut names = names.into_iter().flatten();
        names
            .find(|name| !name.trim().is_empty())
            .unwrap_or("a host without a name")
    }
}

impl Status {
    /// The word in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Missing => "missing",
        }
    }
}

impl Change {
    /// The word in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Present => "present",
        }
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Host,
        Self::QueryRow,
        Self::QueryError,
        Self::ReportClipped,
    ];

    /// The word in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::QueryRow => "query_row",
            Self::QueryError => "query_error",
            Self::ReportClipped => "report_clipped",
        }
    }
}

impl When {
    /// What is compared with nothing.
    pub fn at(time: i64, observed_at: i64) -> Self {
        Self {
            time,
            observed_at,
            since: time,
        }
    }

    /// The same, compared with what was known since that moment.
    #[must_use]
    pub fn since(self, since: i64) -> Self {
        Self { since, ..self }
    }
}

impl Query {
    /// A query; its SQL is looked into when an event of it is made, once.
    pub fn new(
        id: Option<u64>,
        name: impl Into<String>,
        sql: impl Into<String>,
        severities: &Severities,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            sql: sql.into(),
            read: OnceLock::new(),
            severities: severities.clone(),
        }
    }

    /// The tables that it reads.
    pub fn tables(&self) -> &Tables {
        &self.looked_into().0
    }

    /// How grave its rows are.
    pub fn severity(&self) -> Severity {
        self.looked_into().1
    }

    fn looked_into(&self) -> &(Tables, Severity) {
        self.read.get_or_init(|| {
            let tables = Tables::of(&self.sql);
            let severity = self.severities.of(&tables);
            (tables, severity)
        })
    }

    /// Adds what tells it from every other query of its server.
    fn identify(&self, parts: Parts) -> Parts {
        match self.id {
            Some(id) => parts.and(b"id").and(&id.to_le_bytes()),
            None => parts.and(b"name").and(self.name.as_bytes()),
        }
    }
}

impl Event<'_> {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.found {
            Found::Posture(_) => Kind::Host,
            Found::Row(..) => Kind::QueryRow,
            Found::Error(_) => Kind::QueryError,
            Found::Clipped => Kind::ReportClipped,
        }
    }

    /// It in a line for people, without anything that a row says.
    pub fn title(&self) -> String {
        let host = self.host.map_or("", Host::name);
        let query = self.query.map_or("", |query| &query.name);
        match &self.found {
            Found::Posture(status) => format!("{host} is {}", status.name()),
            Found::Row(_, Change::Added) => format!("{query}: a new row on {host}"),
            Found::Row(_, Change::Removed) => format!("{query}: a row is gone on {host}"),
            Found::Row(_, Change::Present) => format!("{query}: a row on {host}"),
            Found::Error(_) => format!("{query} failed on {host}"),
            Found::Clipped => format!("{query}: the report is full, so it is out of date"),
        }
    }
}

/// A query in an event.
#[derive(Serialize)]
struct AboutQuery<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    name: &'a str,
    sql: &'a str,
}

/// As a line of `--format events` has it.
impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut event = out.serialize_map(None)?;
        event.serialize_entry("id", &self.id)?;
        event.serialize_entry("time", &rfc3339_of(self.when.time))?;
        event.serialize_entry("observed_at", &rfc3339_of(self.when.observed_at))?;
        event.serialize_entry("category", CATEGORY)?;
        event.serialize_entry("kind", self.kind().name())?;
        event.serialize_entry("source", self.origin.known.name)?;
        event.serialize_entry("severity", self.severity.name())?;
        event.serialize_entry("title", &self.title())?;
        if let Some(host) = self.host {
            event.serialize_entry("hostname", &host.hostname)?;
            event.serialize_entry("host", host)?;
        }
        if let Some(query) = self.query {
            match query.tables() {
                Tables::Known(tables) => {
                    if let Some(first) = tables.first() {
                        event.serialize_entry("osquery_table", first)?;
                    }
                    event.serialize_entry("osquery_tables", tables)?;
                }
                Tables::Unknown(why) => event.serialize_entry("tables_unknown", why)?,
            }
            let about = AboutQuery {
                id: query.id,
                name: &query.name,
                sql: &query.sql,
            };
            event.serialize_entry("query", &about)?;
        }
        match &self.found {
            Found::Row(row, change) => {
                if !row.is_forgotten() {
                    event.serialize_entry("row", row)?;
                }
                event.serialize_entry("change", change.name())?;
            }
            Found::Error(error) => event.serialize_entry("error", error)?,
            Found::Posture(_) | Found::Clipped => {}
        }
        event.serialize_entry("dedupe_key", &self.dedupe_key)?;
        event.end()
    }
}
