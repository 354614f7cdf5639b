//! What tells the bytes in which a host's rows came: most hosts send what they sent before, and what has come in
//! the same bytes is known without being read. Each row gives a number that nobody can foresee who does not know
//! the state's key, their sum is the result's mark: rows may come in another order and in several places.

use ring::digest::{SHA256, digest};

use super::state::{Marked, State, StateError};
use crate::servers::collecting::ReportRow;

/// Bytes of the key.
pub(super) const KEY_BYTES: usize = 16;

/// A sum of what rows gave. A host that knows no key makes another result of the same mark once in 2^64 tries,
/// each of which is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    /// With a further row.
    pub(super) fn and(self, row: Self) -> Self {
        Self(self.0.wrapping_add(row.0))
    }

    pub(super) fn stored(stored: Option<i64>) -> Option<Self> {
        stored.map(|number| Self(number.cast_unsigned()))
    }

    pub(super) fn to_store(self) -> i64 {
        self.0.cast_signed()
    }
}

/// Makes marks.
#[derive(Debug)]
pub(super) struct Marks {
    key: [u8; KEY_BYTES],
    scratch: Vec<u8>,
}

impl Marks {
    pub(super) fn new(key: [u8; KEY_BYTES]) -> Self {
        Self {
            key,
            scratch: Vec::new(),
        }
    }

    /// What a row gives: of its bytes, and of what the report calls its host, which may be remembered, too.
    pub(super) fn of(&mut self, row: &ReportRow<'_>) -> Mark {
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.key);
        self.scratch
            .extend_from_slice(&(row.name.len() as u64).to_le_bytes());
        self.scratch.extend_from_slice(row.name.as_bytes());
        self.scratch.extend_from_slice(row.json.as_bytes());
        let digest = digest(&SHA256, &self.scratch);
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_ref()[..8]);
        Mark(u64::from_le_bytes(first))
    }
}

/// Results before this poll that are read at once.
const MOST_AT_ONCE: usize = 512;

/// What is remembered of a query's results, read in long pieces where a report has its hosts in their order.
#[derive(Debug)]
pub(super) struct Remembered {
    query: i64,
    known: Vec<Marked>,
    /// From which host on all are in it, and up to which; `None` where there are no others.
    from: i64,
    to: Option<i64>,
    /// How many of them were asked for, and how many are read next.
    asked: usize,
    next: usize,
}

impl Remembered {
    pub(super) fn of(query: i64) -> Self {
        Self {
            query,
            known: Vec::new(),
            from: 0,
            to: Some(-1),
            asked: 0,
            next: 1,
        }
    }

    /// A host's result before this poll.
    pub(super) fn find(&mut self, state: &State, host: i64) -> Result<Option<Marked>, StateError> {
        let is_in = host >= self.from && self.to.is_none_or(|to| host <= to);
        if !is_in {
            // As many more as were asked for of those before.
            self.next = match self.asked * 2 >= self.known.len() {
                true => (self.next * 2).min(MOST_AT_ONCE),
                false => (self.next / 4).max(1),
            };
            state.marked(self.query, host, self.next, &mut self.known)?;
            self.from = host;
            self.to = match self.known.last() {
                Some(last) if self.known.len() == self.next => Some(last.host),
                _ => None,
            };
            self.asked = 0;
        }
        let found = self.known.binary_search_by_key(&host, |known| known.host);
        let found = found.ok().map(|at| self.known[at]);
        self.asked += usize::from(found.is_some());
        Ok(found)
    }
}
