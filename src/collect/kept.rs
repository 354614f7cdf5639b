//! What is kept of a host's result: the digests of its rows, and what they were where that is wanted.

use super::state::KnownResult;
use super::texts::Texts;
use super::{Poll, PollError};
use crate::connector::RowsWanted;

impl Poll<'_> {
    /// Sets a host's new result aside, with what its rows are where that is wanted and there is room for it.
    pub(super) fn set_aside(
        &self,
        (query, host): (i64, i64),
        now: &KnownResult,
        before: Option<&KnownResult>,
        texts: &Texts,
        sample: &mut Vec<u8>,
    ) -> Result<(), PollError> {
        if self.rows != RowsWanted::Changes {
            return Ok(self.state.set_aside(query, host, now, None)?);
        }
        let mut packed = texts.packed(&now.rows, sample);
        let before = before.and_then(|before| before.texts).unwrap_or_default();
        if !self.state.takes_texts(packed.len(), before)? {
            packed.clear();
        }
        Ok(self.state.set_aside(query, host, now, Some(&packed))?)
    }

    /// What a host's rows were before this poll.
    pub(super) fn texts_before(
        &self,
        (query, host): (i64, i64),
        before: &KnownResult,
        sample: &[u8],
    ) -> Result<Texts, PollError> {
        if self.rows != RowsWanted::Changes || before.texts.unwrap_or_default() == 0 {
            return Ok(Texts::default());
        }
        self.unpacked(&self.state.texts(query, host)?, before, sample)
    }

    /// Texts as they were stored.
    pub(super) fn unpacked(
        &self,
        packed: &[u8],
        of: &KnownResult,
        sample: &[u8],
    ) -> Result<Texts, PollError> {
        let texts = Texts::unpacked(packed, &of.rows, sample);
        Ok(texts.ok_or_else(|| self.state.damaged())?)
    }
}
