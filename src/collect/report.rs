//! A report that is compared with what is remembered of it, host by host while it comes. What it says takes the
//! place of what was remembered once it has ended well, so that of a report that breaks off nothing lasts.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;

use super::digests::{Digests, RowDigest};
use super::state::{KnownQuery, KnownResult};
use super::texts::Texts;
use super::{Poll, PollError, Progress};
use crate::connector::RowsWanted;
use crate::events::{Change, Host, Query, Reply, Row, When};
use crate::servers::collecting::{Ids, Piece, PolledQuery, ReportRow};

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
            group: None,
            seen: Ids::default(),
            rows: 0,
            repeats: false,
            unsettled: false,
        };
        let mut pieces = self.server.results(query, None);
        let mut clipped = false;
        while let Some(piece) = pieces.try_next().await? {
            match piece {
                Piece::Row(row) => report.row(&row).await?,
                Piece::Again => report.again()?,
                Piece::Unsettled => report.unsettled = true,
                Piece::End { clipped: full } => clipped = full,
                Piece::Answer(_) => {}
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
    /// The host whose rows are coming.
    group: Option<Group>,
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
    host: Host,
    before: Option<KnownResult>,
    /// Of which there are events already, where all is told again.
    told: Option<KnownResult>,
    counts: HashMap<RowDigest, u32>,
    texts: Texts,
    /// Rows of it have come before, in another place.
    is_reopened: bool,
}

impl Group {
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
        if self.unsettled && copy > 0 {
            // The same row once more, or an equal one: the next poll tells.
            return Ok(());
        }
        *count += 1;
        if copy == 0 && self.poll.rows == RowsWanted::Changes {
            group.texts.keep(digest, row.row.get());
        }
        let Some(change) = group.change(self.poll, row.at / 1_000, &digest, copy) else {
            return Ok(());
        };
        let told = group.told.as_ref().is_some_and(|told| {
            let was_told = group.change(self.poll, told.at, &digest, copy).is_some();
            was_told && copy < told.rows.count(&digest)
        });
        if told {
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
        let mut group = Group {
            id: row.host,
            at: row.at,
            host: self.host(row)?,
            told: match self.repeats {
                true => state.told(self.key, number)?,
                false => None,
            },
            before,
            counts: HashMap::new(),
            texts: Texts::default(),
            is_reopened: !self.seen.insert(row.host),
        };
        if group.is_reopened {
            let aside = state.aside(self.key, number)?;
            let so_far = aside.as_ref().or(group.before.as_ref());
            if so_far.is_some_and(|so_far| so_far.at != row.at / 1_000) {
                // Another result, which came while the report was read.
                self.unsettled = true;
                let told = group.told.take();
                group.told = match (aside, told) {
                    (Some(mut aside), Some(told)) => {
                        aside.rows = aside.rows.with(&told.rows);
                        Some(aside)
                    }
                    (aside, told) => aside.or(told),
                };
            } else if let Some(aside) = aside {
                group.texts = self.unpacked(&state.texts_aside(self.key, number)?, &aside)?;
                group.counts = aside.rows.counts();
            } else if let Some(before) = &group.before {
                group.texts = self.texts_before(number, before)?;
                group.counts = before.rows.counts();
            }
        }
        Ok(group)
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
                hostname: self.name(row)?,
                ..Host::default()
            },
        };
        Ok(host)
    }

    /// The name of a host that is in no list, as the report has it or had it.
    fn name(&self, row: &ReportRow) -> Result<String, PollError> {
        let state = self.poll.state;
        let known = state.name(row.host)?;
        let name = self.poll.text(&row.name);
        if let Some(name) = name.as_ref().filter(|name| known.as_ref() != Some(name)) {
            state.put_name(row.host, name)?;
        }
        Ok(name.or(known).unwrap_or_default())
    }

    /// A host's rows have come, as far as is known.
    fn close(&mut self) -> Result<(), PollError> {
        let Some(group) = self.group.take() else {
            return Ok(());
        };
        let now = KnownResult {
            at: group.at / 1_000,
            rows: Digests::of(&group.counts),
            texts: None,
        };
        let wanted = self.poll.rows;
        let is_as_before = group.before.as_ref().is_some_and(|before| {
            let same_time = wanted != RowsWanted::All || before.at == now.at;
            let has_texts = wanted != RowsWanted::Changes || before.texts.is_some();
            before.rows == now.rows && same_time && has_texts
        });
        let number = group.id.cast_signed();
        // Where a host's rows come in several places, the first of them may have been set aside.
        if !is_as_before || group.is_reopened {
            let before = group.before.as_ref();
            self.set_aside(number, &now, before, &group.texts)?;
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
    fn again(&mut self) -> Result<(), PollError> {
        self.close()?;
        self.seen.clear();
        self.rows = 0;
        self.repeats = true;
        self.unsettled = false;
        Ok(self.poll.state.begin_again(self.key)?)
    }

    async fn end(&mut self, mut known: KnownQuery, clipped: bool) -> Result<(), PollError> {
        self.close()?;
        let state = self.poll.state;
        if clipped || self.unsettled {
            // What is not in it may be there all the same.
            for host in state.hosts_aside(self.key)? {
                let (Some(before), Some(mut now)) =
                    (state.result(self.key, host)?, state.aside(self.key, host)?)
                else {
                    continue;
                };
                let packed = state.texts_aside(self.key, host)?;
                let texts = self.unpacked(&packed, &now)?;
                let texts = texts.with(&self.texts_before(host, &before)?);
                now.rows = now.rows.with(&before.rows);
                self.set_aside(host, &now, Some(&before), &texts)?;
            }
        } else {
            self.removed().await?;
        }
        let before = known.clone();
        self.tell_of_clipping(&mut known, clipped).await?;
        let moved = state.take_over(self.key)?;
        known.sample = std::mem::take(&mut self.sample);
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
                state.set_aside(self.key, host, &none, None)?;
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
            if before.rows.without(&now.rows).next().is_none() {
                continue;
            }
            let texts = self.texts_before(host, &before)?;
            for (digest, copy) in before.rows.without(&now.rows) {
                let reply = Reply {
                    host: &named,
                    query: &self.query,
                    when,
                };
                let event = self
                    .poll
                    .origin
                    .row(reply, texts.row(digest), Change::Removed, copy);
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
