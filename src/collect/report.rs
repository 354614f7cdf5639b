//! A report that is compared with what is remembered of it, host by host while it comes. What it says takes the
//! place of what was remembered once it has ended well, so that of a report that breaks off nothing lasts.

mod ending;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;

use super::digests::{Digests, RowDigest};
use super::marks::{Mark, Marks, Remembered};
use super::state::{KnownResult, Marked};
use super::texts::Texts;
use super::{Poll, PollError, Progress};
use crate::connector::RowsWanted;
use crate::events::{Change, Host, NoRow, Query, Reply, Row, When};
use crate::servers::BackendError;
use crate::servers::collecting::{Ids, Piece, PolledQuery, ReportRow, ReportRows};

/// Bytes of one host's rows that are held back at most; more are looked at as they come.
const MOST_HELD: usize = 1024 * 1024;

impl Poll<'_> {
    pub(super) async fn report(
        &self,
        query: &Arc<PolledQuery>,
        progress: &Progress,
    ) -> Result<(), PollError> {
        let known = self.state.query(query.key)?;
        let mut report = Report {
            poll: self,
            progress,
            key: query.key,
            query: self.query(query),
            since: known.as_ref().map(|known| known.since),
            sample: known
                .as_ref()
                .map(|known| known.sample.clone())
                .unwrap_or_default(),
            remembered: Remembered::of(query.key),
            marks: Marks::new(self.state.key()?),
            group: None,
            held: ReportRows::default(),
            seen: Ids::default(),
            rows: 0,
            repeats: false,
            unsettled: false,
        };
        let mut pieces = self.server.results(query, None, Ids::default());
        let mut clipped = false;
        while let Some(piece) = pieces.try_next().await? {
            match piece {
                Piece::Rows(rows) => {
                    for row in rows.iter() {
                        report.row(row).await?;
                    }
                }
                Piece::Again => report.again().await?,
                Piece::Unsettled => {
                    report.look().await?;
                    report.unsettled = true;
                }
                Piece::End { clipped: full } => clipped = full,
                Piece::Answer(_) | Piece::Known(_) => {}
            }
        }
        drop(pieces);
        report.end(known.unwrap_or_default(), clipped).await
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
    /// What packs the texts of rows.
    sample: Vec<u8>,
    remembered: Remembered,
    marks: Marks,
    /// The host whose rows are coming.
    group: Option<Group>,
    /// Its rows that nobody has looked at yet: they may all be as they were.
    held: ReportRows,
    /// Hosts whose rows came.
    seen: Ids,
    rows: u64,
    /// All is told again.
    repeats: bool,
    /// It changed while it was read: what did not come may be there all the same.
    unsettled: bool,
}

/// The rows of one host, as far as they came.
struct Group {
    id: u64,
    at: i64,
    known: Option<Marked>,
    /// The mark of those that came; `None` where they must be read the next time, too.
    mark: Option<Mark>,
    /// Rows of it have come before, in another place.
    is_reopened: bool,
    /// What its rows say, once one of them is looked at.
    read: Option<Read>,
}

/// The rows of one host that are looked at.
struct Read {
    host: Host,
    before: Option<KnownResult>,
    /// Of which there are events already, where all is told again.
    told: Option<KnownResult>,
    counts: HashMap<RowDigest, u32>,
    texts: Texts,
}

impl Read {
    /// Whether a row of a result of this moment (seconds since 1970) is an event, and as what.
    fn change(&self, poll: &Poll<'_>, at: i64, digest: &RowDigest, copy: u32) -> Option<Change> {
        let horizon = poll.state.horizon();
        Some(match (poll.rows, &self.before) {
            // Nobody knows what was before: what came before the time that is looked back is no news.
            (_, None) if at.saturating_mul(1_000) < horizon => return None,
            (RowsWanted::All, Some(before)) if before.at == at => return None,
            (RowsWanted::All, Some(before)) if copy < before.rows.count(digest) => Change::Present,
            (_, Some(before)) if copy < before.rows.count(digest) => return None,
            _ => Change::Added,
        })
    }
}

impl Report<'_> {
    async fn row(&mut self, row: ReportRow<'_>) -> Result<(), PollError> {
        if self.group.as_ref().is_none_or(|group| group.id != row.host) {
            self.close().await?;
            self.open(&row)?;
        }
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        self.rows += 1;
        group.at = group.at.max(row.at);
        let mark = self.marks.of(&row);
        group.mark = group.mark.map(|known| known.and(mark));
        let may_be_known = group.read.is_none()
            && !self.unsettled
            && group.known.is_some_and(|known| {
                let same_time = self.poll.rows != RowsWanted::All || known.at == row.at / 1_000;
                let has_texts = self.poll.rows != RowsWanted::Changes || known.has_texts;
                known.mark.is_some() && same_time && has_texts
            });
        if may_be_known {
            self.held.push(row);
            if self.held.bytes() < MOST_HELD {
                return Ok(());
            }
            return self.look().await;
        }
        self.look().await?;
        self.look_at(row).await
    }

    /// A host's rows begin to come, or come again: a report need not have them together.
    fn open(&mut self, row: &ReportRow<'_>) -> Result<(), PollError> {
        let known = self
            .remembered
            .find(self.poll.state, row.host.cast_signed())?;
        self.group = Some(Group {
            id: row.host,
            at: row.at,
            known,
            mark: Some(Mark::default()),
            is_reopened: !self.seen.insert(row.host),
            read: None,
        });
        if self.group.as_ref().is_some_and(|group| group.is_reopened) {
            self.begin(row)?;
        }
        Ok(())
    }

    /// Looks at all rows that were held back.
    async fn look(&mut self) -> Result<(), PollError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        for row in held.iter() {
            self.look_at(row).await?;
        }
        held.clear();
        self.held = held;
        Ok(())
    }

    async fn look_at(&mut self, row: ReportRow<'_>) -> Result<(), PollError> {
        if self
            .group
            .as_ref()
            .is_some_and(|group| group.read.is_none())
        {
            self.begin(&row)?;
        }
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        let Some(read) = &mut group.read else {
            return Ok(());
        };
        let cells = match Row::read(row.json) {
            Ok(cells) => cells,
            Err(error) if error.is_json() => {
                self.poll.no_row(&self.query, &error);
                // As often as it is read.
                group.mark = None;
                return Ok(());
            }
            Err(error) => return Err(self.no_json(&error).into()),
        };
        let digest = cells.digest().0;
        let count = read.counts.entry(digest).or_default();
        let copy = *count;
        if self.unsettled && copy > 0 {
            // The same row once more, or an equal one: the next poll tells.
            return Ok(());
        }
        *count += 1;
        if copy == 0 && self.poll.rows == RowsWanted::Changes {
            read.texts.keep(digest, row.json);
        }
        let Some(change) = read.change(self.poll, row.at / 1_000, &digest, copy) else {
            return Ok(());
        };
        let told = read.told.as_ref().is_some_and(|told| {
            let was_told = read.change(self.poll, told.at, &digest, copy).is_some();
            was_told && copy < told.rows.count(&digest)
        });
        if told {
            return Ok(());
        }
        let when = When::at(row.at, self.poll.now).since(self.since.unwrap_or(row.at));
        let reply = Reply {
            host: &read.host,
            query: &self.query,
            when,
        };
        let event = self.poll.origin.row(reply, cells, change, copy);
        self.poll.put(self.progress, &event).await
    }

    /// The server's answer is not what it should be: nothing of it lasts.
    fn no_json(&self, error: &NoRow) -> BackendError {
        BackendError::Answer {
            status: None,
            message: format!("in the report of `{}` {error}", self.query.name),
            hint: Some("look at what listens at `base_url`".into()),
        }
    }

    /// A host's rows are looked at, from this one on.
    fn begin(&mut self, row: &ReportRow<'_>) -> Result<(), PollError> {
        let (state, number) = (self.poll.state, row.host.cast_signed());
        let mut read = Read {
            host: self.host(row)?,
            before: state.result(self.key, number)?,
            told: match self.repeats {
                true => state.told(self.key, number)?,
                false => None,
            },
            counts: HashMap::new(),
            texts: Texts::default(),
        };
        let is_reopened = self.group.as_ref().is_some_and(|group| group.is_reopened);
        let mut mark = None;
        if is_reopened {
            let aside = state.aside(self.key, number)?;
            let so_far = aside.as_ref().or(read.before.as_ref());
            if so_far.is_some_and(|so_far| so_far.at != row.at / 1_000) {
                // Another result, which came while the report was read.
                self.unsettled = true;
                let told = read.told.take();
                read.told = match (aside, told) {
                    (Some(mut aside), Some(told)) => {
                        aside.rows = aside.rows.with(&told.rows);
                        Some(aside)
                    }
                    (aside, told) => aside.or(told),
                };
            } else if let Some(aside) = aside {
                read.texts = self.unpacked(&state.texts_aside(self.key, number)?, &aside)?;
                read.counts = aside.rows.counts();
                mark = aside.mark;
            } else if let Some(before) = &read.before {
                read.texts = self.texts_before(number, before)?;
                read.counts = before.rows.counts();
                mark = before.mark;
            } else {
                mark = Some(Mark::default());
            }
        }
        if let Some(group) = &mut self.group {
            if is_reopened {
                group.mark = mark;
            }
            group.read = Some(read);
        }
        Ok(())
    }

    /// The host as events have it: as the list of hosts does, where the state has it from there.
    fn host(&self, row: &ReportRow<'_>) -> Result<Host, PollError> {
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
                hostname: self.name(row)?,
                ..Host::default()
            },
        };
        Ok(host)
    }

    /// The name of a host that is in no list, as the report has it or had it.
    fn name(&self, row: &ReportRow<'_>) -> Result<String, PollError> {
        let state = self.poll.state;
        let known = state.name(row.host)?;
        let name = self.poll.text(row.name);
        if let Some(name) = name.as_ref().filter(|name| known.as_ref() != Some(name)) {
            state.put_name(row.host, name)?;
        }
        Ok(name.or(known).unwrap_or_default())
    }

    /// A host's rows have come, as far as is known.
    async fn close(&mut self) -> Result<(), PollError> {
        let is_known = self.group.as_ref().is_some_and(|group| {
            group.read.is_none() && group.known.and_then(|known| known.mark) == group.mark
        });
        if is_known {
            self.held.clear();
            self.group = None;
            return Ok(());
        }
        self.look().await?;
        let Some((group, read)) = self.group.take().and_then(|mut group| {
            let read = group.read.take()?;
            Some((group, read))
        }) else {
            return Ok(());
        };
        let now = KnownResult {
            at: group.at / 1_000,
            rows: Digests::of(&read.counts),
            texts: None,
            mark: group.mark.filter(|_| !self.unsettled),
        };
        let wanted = self.poll.rows;
        let is_as_before = read.before.as_ref().is_some_and(|before| {
            let same_time = wanted != RowsWanted::All || before.at == now.at;
            let has_texts = wanted != RowsWanted::Changes || before.texts.is_some();
            let same_rows = before.rows == now.rows && before.mark == now.mark;
            same_rows && same_time && has_texts
        });
        let number = group.id.cast_signed();
        // Where a host's rows come in several places, the first of them may have been set aside.
        if !is_as_before || group.is_reopened {
            let before = read.before.as_ref();
            self.set_aside(number, &now, before, &read.texts)?;
        }
        Ok(())
    }

    fn set_aside(
        &mut self,
        host: i64,
        now: &KnownResult,
        before: Option<&KnownResult>,
        texts: &Texts,
    ) -> Result<(), PollError> {
        let poll = self.poll;
        poll.set_aside((self.key, host), now, before, texts, &mut self.sample)
    }

    /// Texts as they were stored.
    fn unpacked(&self, packed: &[u8], of: &KnownResult) -> Result<Texts, PollError> {
        self.poll.unpacked(packed, of, &self.sample)
    }

    fn texts_before(&self, host: i64, before: &KnownResult) -> Result<Texts, PollError> {
        let place = (self.key, host);
        self.poll.texts_before(place, before, &self.sample)
    }

    /// All of it is told from the beginning.
    async fn again(&mut self) -> Result<(), PollError> {
        self.close().await?;
        self.seen.clear();
        self.rows = 0;
        self.repeats = true;
        self.unsettled = false;
        Ok(self.poll.state.begin_again(self.key)?)
    }
}
