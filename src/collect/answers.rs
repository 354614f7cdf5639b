//! Queries of which the server keeps each answer: those that came since the last poll, each once by its
//! number; a host's rows are compared with its answer before.
//!
//! Answers are asked for from a moment on, and may be stored out of their order: those of the ten minutes
//! before the last one are asked for again, and known by their numbers. Who comes even later is found by
//! counting: where the server has more answers than are known, all of them are read.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use serde_json::value::RawValue;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::digests::{Digests, RowDigest};
use super::state::{KnownQuery, KnownResult};
use super::texts::Texts;
use super::{Poll, PollError, Progress};
use crate::connector::RowsWanted;
use crate::events::{Change, Host, Query, Reply, Row, When, number_for};
use crate::servers::collecting::{Answered, Ids, Named, Piece, PolledAnswer, PolledQuery};

/// Answers of so long before the last one are asked for again.
const OVERLAP_US: i64 = 600_000_000;

/// Hosts' names, asked for when the first of them is needed.
#[derive(Debug, Default)]
pub(super) struct Names(OnceCell<HashMap<String, Named>>);

/// A query whose answers are read.
struct Reading<'a> {
    poll: &'a Poll<'a>,
    progress: &'a Progress,
    names: &'a Names,
    polled: &'a Arc<PolledQuery>,
    query: Query,
    now: KnownQuery,
    /// The moment of the last answer.
    latest: i64,
}

impl Poll<'_> {
    pub(super) async fn answers(
        &self,
        polled: &Arc<PolledQuery>,
        (count, over): (u64, bool),
        names: &Names,
        progress: &Progress,
    ) -> Result<(), PollError> {
        let key = polled.key;
        let known = self.state.query(key)?;
        let mut now = known.clone().unwrap_or_default();
        let query = self.query(polled);
        let was_settled = known.is_some() && now.settled && now.counted == count;
        if was_settled && over {
            // All of it was read after the server had said that it was over.
            return self.tally(key, &query);
        }
        if known.is_none() {
            now.from_us = self.state.horizon().saturating_mul(1_000);
            now.after_us = now.from_us;
        }
        // Before the answers are read: what comes meanwhile makes them more, and hides only until the next poll
        // that some are missing.
        let total = match was_settled {
            true => None,
            false => self.server.count(polled).await?,
        };
        let has_lost = |now: &KnownQuery, total| now.answers.count() + now.older > total;
        let lost = known.is_some() && total.is_some_and(|total| has_lost(&now, total));
        let latest = now.after_us.saturating_add(OVERLAP_US);
        let mut reading = Reading {
            poll: self,
            progress,
            names,
            polled,
            query,
            now,
            latest,
        };
        let mut all = false;
        if !lost {
            let since = reading.now.after_us;
            reading.read(since).await?;
        }
        if let Some(total) = total {
            let answers = reading.now.answers.count();
            if known.is_none() {
                reading.now.older = total.saturating_sub(answers);
            } else if lost || answers + reading.now.older < total {
                all = true;
            }
        }
        if all {
            // What the server has now is what is known.
            reading.now.answers = reading.read(0).await?;
            let answers = reading.now.answers.count();
            reading.now.older = total.map_or(0, |total| total.saturating_sub(answers));
        }
        let Reading {
            query,
            mut now,
            latest,
            ..
        } = reading;
        self.state.take_over(key)?;
        now.after_us = (latest - OVERLAP_US).max(now.after_us);
        now.settled = known.is_some() && now.counted == count;
        now.counted = count;
        if known.as_ref() != Some(&now) {
            self.state.put_query(key, &now)?;
        }
        self.tally(key, &query)
    }

    /// Counts the rows that all hosts have of a query, where they are wanted.
    fn tally(&self, key: i64, query: &Query) -> Result<(), PollError> {
        if self.gauges {
            let rows = self.state.rows_of(key)?;
            let mut results = self.found.results.borrow_mut();
            *results.entry(query.name.clone()).or_default() += rows;
        }
        Ok(())
    }

    /// The host as events have it. Where the list of names can't be had in half of the time that is left, its
    /// uuid has to do.
    async fn host_named(&self, uuid: &str, names: &Names) -> Host {
        let names = names.0.get_or_init(|| async {
            let left = self.deadline.0.saturating_duration_since(Instant::now());
            let listed = tokio::time::timeout(left / 2, self.server.names()).await;
            let why = match listed {
                Ok(Ok(names)) => return names,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the list of hosts does not come in time".to_owned(),
            };
            self.notices
                .warn(format!("{why}; events name hosts by their uuid"));
            HashMap::new()
        });
        let named = names.await.get(uuid);
        Host {
            id: None,
            uuid: self.text(uuid),
            hostname: named
                .and_then(|named| self.text(&named.hostname))
                .or_else(|| self.text(uuid))
                .unwrap_or_default(),
            platform: named.and_then(|named| self.text(&named.platform)),
            last_seen: named.and_then(|named| named.last_seen.as_deref().map(str::to_owned)),
            ..Host::default()
        }
    }
}

impl Reading<'_> {
    /// Reads the answers from a moment on, and looks at those that are new; which there are.
    async fn read(&mut self, since_us: i64) -> Result<Ids, PollError> {
        let mut seen = Ids::default();
        let known = self.now.answers.clone();
        let mut pieces = (self.poll.server).results(self.polled, Some(since_us), known);
        while let Some(piece) = pieces.try_next().await? {
            let answer = match piece {
                Piece::Answer(answer) => answer,
                Piece::Known(id) => {
                    seen.insert(id);
                    continue;
                }
                _ => continue,
            };
            seen.insert(answer.id);
            // What says no moment came since the last poll, for it was not known then.
            let at_us = answer.at_us;
            self.latest = self.latest.max(at_us.unwrap_or_default());
            let is_new = self.now.answers.insert(answer.id);
            let at_us = at_us.unwrap_or_else(|| self.poll.now.saturating_mul(1_000));
            if is_new && at_us > self.now.from_us {
                self.answer(&answer, at_us).await?;
            }
        }
        Ok(seen)
    }

    /// Looks at one answer.
    async fn answer(&mut self, answer: &PolledAnswer, at_us: i64) -> Result<(), PollError> {
        let poll = self.poll;
        let host = poll.host_named(&answer.uuid, self.names).await;
        let time = at_us / 1_000;
        // By its number an answer is the same in every poll, whatever is known of its moment.
        let same = answer.at_us.unwrap_or(answer.id.cast_signed());
        let reply = Reply {
            host: &host,
            query: &self.query,
            when: When::at(time, poll.now).since(same),
        };
        let json = match &answer.found {
            Answered::Error(error) => {
                let event = poll.origin.error(reply, error);
                return poll.put(self.progress, &event).await;
            }
            Answered::Rows(json) => json,
        };
        let place = (self.polled.key, number_for(&answer.uuid).cast_signed());
        let aside = poll.state.aside(place.0, place.1)?;
        let is_aside = aside.is_some();
        let before = match aside {
            Some(aside) => Some(aside),
            None => poll.state.result(place.0, place.1)?,
        };
        let before = before.unwrap_or_default();
        let mut counts: HashMap<RowDigest, u32> = HashMap::new();
        let mut texts = Texts::default();
        let rows: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
        for row in &rows {
            let cells = match Row::read(row.get()) {
                Ok(cells) => cells,
                Err(error) => {
                    poll.no_row(&self.query, &error);
                    continue;
                }
            };
            let digest = cells.digest().0;
            let count = counts.entry(digest).or_default();
            let copy = *count;
            *count += 1;
            if copy == 0 && poll.rows == RowsWanted::Changes {
                texts.keep(digest, row.get());
            }
            let change = match copy < before.rows.count(&digest) {
                false => Change::Added,
                true if poll.rows == RowsWanted::All => Change::Present,
                true => continue,
            };
            let event = poll.origin.row(reply, cells, change, copy);
            poll.put(self.progress, &event).await?;
        }
        let now = KnownResult {
            at: time / 1_000,
            rows: Digests::of(&counts),
            texts: None,
            mark: None,
        };
        if now.at < before.at {
            // It comes late: what the host has now is known from an answer after it.
            return Ok(());
        }
        if poll.rows == RowsWanted::Changes && before.rows.without(&now.rows).next().is_some() {
            let sample = &self.now.sample;
            let were = match is_aside {
                true => {
                    poll.unpacked(&poll.state.texts_aside(place.0, place.1)?, &before, sample)?
                }
                false => poll.texts_before(place, &before, sample)?,
            };
            for (digest, copy) in before.rows.without(&now.rows) {
                let row = were.row(digest);
                let event = poll.origin.row(reply, row, Change::Removed, copy);
                poll.put(self.progress, &event).await?;
            }
        }
        // The moment tells a late answer; where there are no rows there is nothing to keep it with.
        if now.rows != before.rows || now.at != before.at {
            let sample = &mut self.now.sample;
            poll.set_aside(place, &now, Some(&before), &texts, sample)?;
        }
        Ok(())
    }
}
