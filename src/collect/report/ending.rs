//! The end of a report: what is gone, whether it is full, and what is remembered of it.

use super::Report;
use crate::collect::PollError;
use crate::collect::state::{KnownQuery, KnownResult};
use crate::connector::RowsWanted;
use crate::events::{Change, Reply, When};
use crate::servers::collecting::ReportRow;

impl Report<'_> {
    /// It has ended well, and takes the place of what was remembered.
    pub(super) async fn end(
        &mut self,
        mut known: KnownQuery,
        clipped: bool,
    ) -> Result<(), PollError> {
        self.close().await?;
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
                now.mark = None;
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
                name: "",
                at: 0,
                json: "",
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
