//! Queries of which the server keeps each answer: those that came since the last poll, each once by its
//! number; a host's rows are compared with its answer before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::TryStreamExt;
use serde_json::value::RawValue;
use tokio::sync::OnceCell;

use super::digests::{Digests, RowDigest};
use super::state::KnownResult;
use super::{Poll, PollError, Progress};
use crate::connector::RowsWanted;
use crate::events::{Change, Digest, Host, Query, Reply, Row, When, number_for};
use crate::servers::collecting::{Answered, Named, Piece, PolledAnswer, PolledQuery};

/// Answers may be stored a little out of their order: those of so long before the last one are asked for
/// again, and known by their numbers.
const OVERLAP_US: i64 = 600_000_000;

/// Hosts' names, asked for when the first of them is needed.
#[derive(Debug, Default)]
pub(super) struct Names(OnceCell<HashMap<String, Named>>);

impl Poll<'_> {
    pub(super) async fn answers(
        &self,
        query: &Arc<PolledQuery>,
        (count, over): (u64, bool),
        names: &Names,
        progress: &Progress,
    ) -> Result<(), PollError> {
        let known = self.state.query(query.key)?;
        let mut now = known.clone().unwrap_or_default();
        let horizon_us = self.state.horizon().saturating_mul(1_000);
        if known.is_none() {
            now.after_us = horizon_us;
        } else if over && now.settled && now.counted == count {
            // It is over, and all of it was read after that had been said before.
            return Ok(());
        }
        let event_query = self.query(query);
        let mut have: HashSet<u64> = now.answers.iter().copied().collect();
        let mut recent: Vec<(u64, i64)> = Vec::new();
        let mut latest = now.after_us.saturating_add(OVERLAP_US);
        let mut rows = 0;
        let mut pieces = self.server.results(query, Some(now.after_us));
        while let Some(piece) = pieces.try_next().await? {
            let Piece::Answer(answer) = piece else {
                continue;
            };
            // Older servers send all of them each time.
            if answer.at_us <= now.after_us {
                continue;
            }
            latest = latest.max(answer.at_us);
            recent.push((answer.id, answer.at_us));
            if have.insert(answer.id) {
                rows += self
                    .answer(query.key, &event_query, &answer, names, progress)
                    .await?;
            }
        }
        drop(pieces);
        self.state.take_over(query.key)?;
        let after_us = (latest - OVERLAP_US).max(now.after_us);
        let mut answers: Vec<u64> = recent
            .into_iter()
            .filter(|(_, at_us)| *at_us > after_us)
            .map(|(id, _)| id)
            .collect();
        answers.sort_unstable();
        answers.dedup();
        now.settled = known.is_some() && over && now.counted == count;
        now.counted = count;
        now.after_us = after_us;
        now.answers = answers;
        if known.as_ref() != Some(&now) {
            self.state.put_query(query.key, &now)?;
        }
        let mut results = self.found.results.borrow_mut();
        *results.entry(event_query.name.clone()).or_default() += rows;
        Ok(())
    }

    /// Looks at one answer; how many rows it has.
    async fn answer(
        &self,
        key: i64,
        query: &Query,
        answer: &PolledAnswer,
        names: &Names,
        progress: &Progress,
    ) -> Result<u64, PollError> {
        let host = self.host_named(&answer.uuid, names).await;
        let time = answer.at_us / 1_000;
        let reply = Reply {
            host: &host,
            query,
            when: When::at(time, self.now).since(answer.at_us),
        };
        let json = match &answer.found {
            Answered::Error(error) => {
                let event = self.origin.error(reply, error);
                self.put(progress, &event).await?;
                return Ok(0);
            }
            Answered::Rows(json) => json,
        };
        let number = number_for(&answer.uuid).cast_signed();
        let before = match self.state.aside(key, number)? {
            Some(result) => Some(result),
            None => self.state.result(key, number)?,
        };
        let before = before.unwrap_or_default();
        let mut counts: HashMap<RowDigest, u32> = HashMap::new();
        let rows: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
        for row in &rows {
            let cells = match Row::read(row.get()) {
                Ok(cells) => cells,
                Err(error) => {
                    self.no_row(query, &error);
                    continue;
                }
            };
            let digest = cells.digest().0;
            let count = counts.entry(digest).or_default();
            let copy = *count;
            *count += 1;
            let change = match copy < before.rows.count(&digest) {
                false => Change::Added,
                true if self.rows == RowsWanted::All => Change::Present,
                true => continue,
            };
            let event = self.origin.row(reply, cells, change, copy);
            self.put(progress, &event).await?;
        }
        let now = KnownResult {
            at: time / 1_000,
            rows: Digests::of(&counts),
        };
        if self.rows == RowsWanted::Changes {
            for (digest, copy) in before.rows.without(&now.rows) {
                let event =
                    self.origin
                        .row(reply, Row::forgotten(Digest(digest)), Change::Removed, copy);
                self.put(progress, &event).await?;
            }
        }
        if now.rows != before.rows {
            self.state.set_aside(key, number, &now)?;
        }
        Ok(rows.len() as u64)
    }

    /// The host as events have it. Where the list of names can't be had, its uuid has to do.
    async fn host_named(&self, uuid: &str, names: &Names) -> Host {
        let names = names.0.get_or_init(|| async {
            self.server.names().await.unwrap_or_else(|error| {
                self.notices
                    .warn(format!("{error}; events name hosts by their uuid"));
                HashMap::new()
            })
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
