//! The stream of queries: which there are, and of those that have reports what is new in them. A report is
//! compared host by host while it comes; what it says takes the place of what was remembered once it has ended
//! well, so that of a report that breaks off nothing lasts.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

use super::digests::{Digests, RowDigest};
use super::ids::Ids;
use super::state::{KnownQuery, KnownResult};
use super::{Poll, PollError, Progress};
use crate::connector::RowsWanted;
use crate::events::{Change, Digest, Host, Query, Reply, Row, When};
use crate::printable::listed;
use crate::servers::collecting::{Piece, PolledQuery, ReportRow, Results};

/// Reports that are read at once.
const AT_ONCE: usize = 8;
/// For so long the list of hosts is waited for, so that the first rows name their hosts as it does.
const NAMES_WITHIN: Duration = Duration::from_secs(2);
/// Queries that a warning names at most.
const MOST_NAMED: usize = 10;
/// What is remembered of the queries that were named as having no report.
const NAMED: &str = "without results";

impl Poll<'_> {
    pub(super) async fn queries(
        &self,
        progress: &Progress,
        mut named: watch::Receiver<bool>,
    ) -> Result<(), PollError> {
        let queries = self.server.queries().await?;
        let keys: HashSet<i64> = queries.iter().map(|query| query.key).collect();
        let wanted = self.wanted(queries)?;
        // An error is the sender's end.
        let soon = named.wait_for(|named| *named);
        let _ = tokio::time::timeout(NAMES_WITHIN, soon).await;
        let names = super::answers::Names::default();
        let read = wanted.into_iter().map(|query| {
            let names = &names;
            async move {
                let query = Arc::new(query);
                let read = match query.results {
                    Results::Report => self.report(&query, progress).await,
                    Results::Answers { count, over } => {
                        self.answers(&query, (count, over), names, progress).await
                    }
                    Results::None(_) => Ok(()),
                };
                match read {
                    Ok(()) => progress.parts.set(progress.parts.get() + 1),
                    // The others are not held up.
                    Err(PollError::Backend(error)) => {
                        self.state.leave(query.key)?;
                        progress.failed(PollError::Backend(error));
                    }
                    Err(error) => return Err(error),
                }
                Ok(())
            }
        });
        let mut read = stream::iter(read).buffer_unordered(AT_ONCE);
        let mut any = false;
        while read.try_next().await?.is_some() {
            any = true;
        }
        drop(read);
        if !any {
            progress.parts.set(progress.parts.get() + 1);
        }
        Ok(self.state.keep_queries(&keys)?)
    }

    /// The queries that are polled. Those that can have no results are named, once.
    fn wanted(&self, queries: Vec<PolledQuery>) -> Result<Vec<PolledQuery>, PollError> {
        let fits = |query: &PolledQuery| {
            self.queries.is_empty() || self.queries.iter().any(|glob| glob.fits(&query.name))
        };
        for glob in self.queries {
            if !queries.iter().any(|query| glob.fits(&query.name)) {
                self.notices.warn(format!(
                    "`queries` names `{}`, and the server has no such query",
                    self.notices.name(glob.text())
                ));
            }
        }
        let mut without = Vec::new();
        let wanted = queries.into_iter().filter(fits).filter(|query| {
            if let Results::None(why) = query.results {
                without.push((
                    query.key,
                    format!("`{}` {why}", self.notices.name(&query.name)),
                ));
                return false;
            }
            true
        });
        let wanted: Vec<PolledQuery> = wanted.collect();
        let told: String = without.iter().map(|(key, _)| format!("{key} ")).collect();
        if self.state.about::<String>(NAMED)?.unwrap_or_default() != told {
            self.state.put(NAMED, told)?;
            if !without.is_empty() {
                let more = without.len().saturating_sub(MOST_NAMED);
                let mut names: Vec<String> = without.into_iter().map(|(_, name)| name).collect();
                names.truncate(MOST_NAMED);
                if more > 0 {
                    names.push(format!("{more} more"));
                }
                self.notices.warn(format!(
                    "the server keeps no results of these queries, so no events come of them: {}",
                    listed(&names)
                ));
            }
        }
        Ok(wanted)
    }

    async fn report(&self, query: &Arc<PolledQuery>, progress: &Progress) -> Result<(), PollError> {
        let known = self.state.query(query.key)?;
        let mut report = Report {
            poll: self,
            progress,
            key: query.key,
            query: self.query(query),
            since: known.as_ref().map(|known| known.since),
            group: None,
            seen: Ids::default(),
            rows: 0,
            told: HashSet::new(),
            repeats: false,
        };
        let mut pieces = self.server.results(query, None);
        let mut clipped = false;
        while let Some(piece) = pieces.try_next().await? {
            match piece {
                Piece::Row(row) => report.row(&row).await?,
                Piece::Again => report.again()?,
                Piece::End { clipped: full } => clipped = full,
                Piece::Answer(_) => {}
            }
        }
        drop(pieces);
        report.end(known.unwrap_or_default(), clipped).await
    }

    /// The query as events have it.
    pub(super) fn query(&self, query: &PolledQuery) -> Query {
        let name = self.notices.name(&query.name);
        Query::new(query.id, name, query.sql.clone(), self.severities)
    }

    /// A row that is none: the others must not be lost with it.
    pub(super) fn no_row(&self, query: &Query, error: &crate::events::NoRow) {
        self.notices.warn(format!(
            "a row of `{}` can't be read, and is passed over: {error}",
            query.name
        ));
    }
}

/// A report while it is read.
struct Report<'a> {
    poll: &'a Poll<'a>,
    progress: &'a Progress,
    key: i64,
    query: Query,
    /// What its rows are compared with; `None` where nothing is known of it.
    since: Option<i64>,
    /// The host whose rows are coming.
    group: Option<Group>,
    /// Hosts whose rows came.
    seen: Ids,
    rows: u64,
    /// Rows of which there are events already, and whether all is told again.
    told: HashSet<u64>,
    repeats: bool,
}

/// The rows of one host, as far as they came.
struct Group {
    id: u64,
    at: i64,
    host: Host,
    before: Option<KnownResult>,
    counts: HashMap<RowDigest, u32>,
}

impl Report<'_> {
    async fn row(&mut self, row: &ReportRow) -> Result<(), PollError> {
        if self.group.as_ref().is_none_or(|group| group.id != row.host) {
            self.close()?;
            self.group = Some(self.open(row)?);
        }
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        self.rows += 1;
        group.at = group.at.max(row.at);
        let cells = match Row::read(row.row.get()) {
            Ok(cells) => cells,
            Err(error) => {
                self.poll.no_row(&self.query, &error);
                return Ok(());
            }
        };
        let digest = cells.digest().0;
        let count = group.counts.entry(digest).or_default();
        let copy = *count;
        *count += 1;
        let horizon = self.poll.state.horizon();
        let change = match (self.poll.rows, &group.before) {
            // Nobody knows what was before: what came before the time that is looked back is no news.
            (_, None) if row.at < horizon => return Ok(()),
            (RowsWanted::All, Some(before)) if before.at == row.at / 1_000 => return Ok(()),
            (RowsWanted::All, Some(before)) if copy < before.rows.count(&digest) => Change::Present,
            (_, Some(before)) if copy < before.rows.count(&digest) => return Ok(()),
            _ => Change::Added,
        };
        let is_new = self.told.insert(short(group.id, &digest, copy));
        if self.repeats && !is_new {
            return Ok(());
        }
        let when = When::at(row.at, self.poll.now).since(self.since.unwrap_or(row.at));
        let reply = Reply {
            host: &group.host,
            query: &self.query,
            when,
        };
        let event = self.poll.origin.row(reply, cells, change, copy);
        self.poll.put(self.progress, &event).await
    }

    /// A host's rows begin to come, or come again: a report need not have them together.
    fn open(&mut self, row: &ReportRow) -> Result<Group, PollError> {
        let (state, number) = (self.poll.state, row.host.cast_signed());
        let before = state.result(self.key, number)?;
        let mut counts = HashMap::new();
        if !self.seen.insert(row.host) {
            let so_far = state.aside(self.key, number)?.or_else(|| before.clone());
            counts = so_far
                .map(|so_far| so_far.rows.counts())
                .unwrap_or_default();
        }
        Ok(Group {
            id: row.host,
            at: row.at,
            host: self.host(row)?,
            before,
            counts,
        })
    }

    /// The host as events have it: as the list of hosts does, where the state has it from there.
    fn host(&self, row: &ReportRow) -> Result<Host, PollError> {
        let text = |text: &str| self.poll.text(text);
        let host = match self.poll.state.host(row.host)? {
            Some(known) => Host {
                id: Some(row.host),
                uuid: text(&known.uuid),
                hostname: text(&known.hostname)
                    .or_else(|| text(&known.display_name))
                    .unwrap_or_default(),
                display_name: text(&known.display_name),
                platform: text(&known.platform),
                status: Some(known.posture),
                team_id: known.team,
                last_seen: None,
            },
            None => Host {
                id: Some(row.host),
                hostname: text(&row.name).unwrap_or_default(),
                ..Host::default()
            },
        };
        Ok(host)
    }

    /// A host's rows have come, as far as is known.
    fn close(&mut self) -> Result<(), PollError> {
        let Some(group) = self.group.take() else {
            return Ok(());
        };
        let now = KnownResult {
            at: group.at / 1_000,
            rows: Digests::of(&group.counts),
        };
        let is_as_before = group.before.as_ref().is_some_and(|before| {
            let same_time = self.poll.rows != RowsWanted::All || before.at == now.at;
            before.rows == now.rows && same_time
        });
        if !is_as_before {
            let number = group.id.cast_signed();
            self.poll.state.set_aside(self.key, number, &now)?;
        }
        Ok(())
    }

    /// All of it is told from the beginning.
    fn again(&mut self) -> Result<(), PollError> {
        self.group = None;
        self.seen.clear();
        self.rows = 0;
        self.repeats = true;
        Ok(self.poll.state.leave(self.key)?)
    }

    async fn end(&mut self, mut known: KnownQuery, clipped: bool) -> Result<(), PollError> {
        self.close()?;
        let state = self.poll.state;
        if clipped {
            // What is not in it may be there all the same.
            for host in state.hosts_aside(self.key)? {
                let (Some(before), Some(mut now)) =
                    (state.result(self.key, host)?, state.aside(self.key, host)?)
                else {
                    continue;
                };
                now.rows = now.rows.with(&before.rows);
                state.set_aside(self.key, host, &now)?;
            }
        } else {
            self.removed().await?;
        }
        let before = known.clone();
        self.tell_of_clipping(&mut known, clipped).await?;
        let moved = state.take_over(self.key)?;
        let fresh = self.since.is_none();
        if moved || fresh {
            known.since = self.poll.now.max(known.since.saturating_add(1));
        }
        if fresh || known != before {
            state.put_query(self.key, &known)?;
        }
        let mut results = self.poll.found.results.borrow_mut();
        *results.entry(self.query.name.clone()).or_default() += self.rows;
        Ok(())
    }

    /// Who is not in the report any more has no rows, and of those who are some may be gone.
    async fn removed(&mut self) -> Result<(), PollError> {
        let state = self.poll.state;
        for host in state.hosts_with_results(self.key)? {
            if !self.seen.contains(host.cast_unsigned()) {
                let none = KnownResult::default();
                state.set_aside(self.key, host, &none)?;
            }
        }
        if self.poll.rows != RowsWanted::Changes {
            return Ok(());
        }
        for host in state.hosts_aside(self.key)? {
            let (Some(before), Some(now)) =
                (state.result(self.key, host)?, state.aside(self.key, host)?)
            else {
                continue;
            };
            let row = ReportRow {
                host: host.cast_unsigned(),
                name: String::new(),
                at: 0,
                row: Box::default(),
            };
            let named = self.host(&row)?;
            // An empty result leaves no trace, and no time.
            let time = match now.at {
                0 => self.poll.now,
                at => at.saturating_mul(1_000),
            };
            let when = When::at(time, self.poll.now).since(self.since.unwrap_or(time));
            for (digest, copy) in before.rows.without(&now.rows) {
                let reply = Reply {
                    host: &named,
                    query: &self.query,
                    when,
                };
                let event = self.poll.origin.row(
                    reply,
                    Row::forgotten(Digest(digest)),
                    Change::Removed,
                    copy,
                );
                self.poll.put(self.progress, &event).await?;
            }
        }
        Ok(())
    }

    /// A full report is out of date: an event when it becomes so, and a warning as long as it is.
    async fn tell_of_clipping(
        &self,
        known: &mut KnownQuery,
        clipped: bool,
    ) -> Result<(), PollError> {
        if !clipped {
            known.clipped = -known.clipped.abs();
            return Ok(());
        }
        self.poll.notices.warn(format!(
            "the report of `{}` is full: the server takes no host's new results of it, so what it holds is out of date; raise the server's limit of rows, or have the query bring fewer",
            self.query.name
        ));
        if known.clipped <= 0 {
            known.clipped = 1 - known.clipped;
            let when = When::at(self.poll.now, self.poll.now).since(known.clipped);
            let event = self.poll.origin.clipped(&self.query, when);
            self.poll.put(self.progress, &event).await?;
        }
        Ok(())
    }
}

/// A row of a host as it is remembered while its report is read: eight bytes.
fn short(host: u64, digest: &RowDigest, copy: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (host, digest, copy).hash(&mut hasher);
    hasher.finish()
}
