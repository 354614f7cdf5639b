//! What a server does for `collect`, in the field's words: its hosts page by page, the queries that it keeps
//! or has dispatched, and what hosts answered to them, piece by piece as it comes. Nothing here dispatches
//! anything. What becomes an event is decided above.

use std::ops::Range;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::LocalBoxStream;

pub use super::ids::Ids;

use super::BackendError;
use crate::events::Status;

/// A host, as a list of hosts has it. Moments are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledHost {
    /// The server's number for it.
    pub id: u64,
    /// Its hardware uuid; empty where there is none.
    pub uuid: String,
    /// Its hostname; empty where there is none.
    pub hostname: String,
    /// How the server's pages call it.
    pub display_name: String,
    /// The server's word for its platform.
    pub platform: String,
    /// The server's number for its team.
    pub team: Option<u64>,
    /// Whether it is there.
    pub posture: Status,
    /// When it became so, where that can be told.
    pub changed: Option<i64>,
    /// When it first enrolled.
    pub enrolled: Option<i64>,
    /// When the server last saw it, as the server writes it.
    pub last_seen: Option<String>,
}

/// A query whose results the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledQuery {
    /// The server's number for it, or what stands for one: the same in every poll.
    pub key: i64,
    /// The server's number for it, where events name it.
    pub id: Option<u64>,
    /// Its name, by which the server may be asked for it.
    pub name: String,
    /// Its SQL.
    pub sql: String,
    /// What the server has of it.
    pub results: Results,
}

/// What a server has of a query's results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Results {
    /// Each host's latest result as a whole; who is not in it has none.
    Report,
    /// It can have no results: why, as the end of a sentence.
    None(&'static str),
    /// Every answer that came, in the order in which they came.
    Answers {
        /// How many there are, errors among them.
        count: u64,
        /// No host will be handed the query any more.
        over: bool,
    },
}

/// A piece of a query's results.
#[derive(Debug)]
pub enum Piece {
    /// Rows of hosts' latest results.
    Rows(ReportRows),
    /// A host's answer.
    Answer(PolledAnswer),
    /// The number of an answer that was said to be known.
    Known(u64),
    /// The connection broke, or it changed while it was read page by page: all of it is told from the beginning.
    Again,
    /// It changes all the time while it is read page by page: what follows may have come before, and what does
    /// not come may be there all the same.
    Unsettled,
    /// The end, after the last of them.
    End {
        /// The server holds no more rows for the query, and takes no new ones.
        clipped: bool,
    },
}

/// A row of a host's latest result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportRow<'a> {
    /// The server's number for the host.
    pub host: u64,
    /// How the server calls the host there; empty where it is deleted.
    pub name: &'a str,
    /// When the result came, in milliseconds since 1970.
    pub at: i64,
    /// The row: what should be a JSON object, of which nothing is read yet.
    pub json: &'a str,
}

/// Rows of a report one after the other, their texts in one piece: a million of them may come.
#[derive(Debug, Default)]
pub struct ReportRows {
    text: String,
    places: Vec<Place>,
}

/// Where the texts of a row stand.
#[derive(Debug)]
struct Place {
    host: u64,
    at: i64,
    /// Rows that follow each other have one host's name once.
    name: Range<usize>,
    json: Range<usize>,
}

impl ReportRows {
    /// None, with room for so many of so many bytes.
    pub fn with_room(rows: usize, bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            places: Vec::with_capacity(rows),
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: ReportRow<'_>) {
        let last = self.places.last().map(|last| last.name.clone());
        let same = last.filter(|last| self.text[last.clone()] == *row.name);
        let name = same.unwrap_or_else(|| self.add(row.name));
        let json = self.add(row.json);
        let (host, at) = (row.host, row.at);
        self.places.push(Place {
            host,
            at,
            name,
            json,
        });
    }

    fn add(&mut self, text: &str) -> Range<usize> {
        let begin = self.text.len();
        self.text.push_str(text);
        begin..self.text.len()
    }

    /// All of them, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = ReportRow<'_>> {
        self.places.iter().map(|place| ReportRow {
            host: place.host,
            name: &self.text[place.name.clone()],
            at: place.at,
            json: &self.text[place.json.clone()],
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of their texts.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Drops all of them; their memory is for the next ones.
    pub fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
    }
}

/// A host's answer to a query.
#[derive(Debug)]
pub struct PolledAnswer {
    /// The server's number for the answer.
    pub id: u64,
    /// The host's uuid.
    pub uuid: String,
    /// When it came, in microseconds since 1970; `None` where the server does not say so in a way that is known.
    pub at_us: Option<i64>,
    /// What it is.
    pub found: Answered,
}

/// What a host answered.
#[derive(Debug)]
pub enum Answered {
    /// Its rows, a JSON list of objects.
    Rows(Box<str>),
    /// osquery's error.
    Error(String),
}

/// A host's names, by its uuid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its hostname.
    pub hostname: Box<str>,
    /// The server's word for its platform.
    pub platform: Box<str>,
    /// When the server last saw it, as the server writes it.
    pub last_seen: Option<Box<str>>,
}

/// What is polled of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Only this team's.
    pub team: Option<u64>,
    /// Queries that the server hides, too.
    pub hidden: bool,
}

/// A server that is polled. Every future may be dropped at any await.
pub trait Collector {
    /// Logs in where the credentials are a user's, and learns what the polls need to know.
    fn begin(&mut self) -> LocalBoxFuture<'_, Result<(), BackendError>>;

    /// Proves that the credentials are good and may read what is polled (`--check`).
    fn verify(&mut self) -> LocalBoxFuture<'_, Result<(), BackendError>>;

    /// All hosts, page by page in the order of their numbers, each once.
    fn hosts(&self) -> LocalBoxStream<'_, Result<Vec<PolledHost>, BackendError>>;

    /// One host; `None` where it is deleted, or not among those that are polled any more.
    fn host(&self, id: u64) -> LocalBoxFuture<'_, Result<Option<PolledHost>, BackendError>>;

    /// All queries, those without results among them.
    fn queries(&self) -> LocalBoxFuture<'_, Result<Vec<PolledQuery>, BackendError>>;

    /// How many answers the server has of a query, whenever they came; `None` where it can't be told.
    fn count<'a>(
        &'a self,
        query: &'a PolledQuery,
    ) -> LocalBoxFuture<'a, Result<Option<u64>, BackendError>>;

    /// A query's results; of answers those that came after this moment (microseconds since 1970), and others
    /// perhaps. An answer may come more than once; of one that is among the `known` only its number may come.
    fn results(
        &self,
        query: &Arc<PolledQuery>,
        since_us: Option<i64>,
        known: Ids,
    ) -> LocalBoxStream<'_, Result<Piece, BackendError>>;

    /// Hosts by their uuid, in upper case.
    fn names(
        &self,
    ) -> LocalBoxFuture<'_, Result<std::collections::HashMap<String, Named>, BackendError>>;

    /// Ends a login's session. Best effort, within the caller's bound.
    fn end(&mut self) -> LocalBoxFuture<'_, ()>;
}
