//! The rows of one host's result as a state remembers them: the digest of each, sorted, equal ones as often
//! as they came. Sixteen bytes a row.

use std::collections::HashMap;

/// Bytes of a digest.
const SIZE: usize = 16;

/// A row's digest.
pub(super) type RowDigest = [u8; SIZE];

/// Digests as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Digests(Vec<u8>);

impl Digests {
    /// Those that were stored; `None` where they can't have been.
    pub(super) fn stored(bytes: Vec<u8>) -> Option<Self> {
        bytes.len().is_multiple_of(SIZE).then_some(Self(bytes))
    }

    /// Of counted rows.
    pub(super) fn of(counts: &HashMap<RowDigest, u32>) -> Self {
        let mut digests: Vec<RowDigest> = Vec::with_capacity(counts.len());
        for (digest, count) in counts {
            digests.extend(std::iter::repeat_n(*digest, *count as usize));
        }
        digests.sort_unstable();
        Self(digests.concat())
    }

    /// As they are stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many rows so many bytes are.
    pub(super) fn rows_in(bytes: u64) -> u64 {
        bytes / SIZE as u64
    }

    fn all(&self) -> &[RowDigest] {
        self.0.as_chunks().0
    }

    /// Each row once, in an order that is always the same.
    pub(super) fn distinct(&self) -> impl Iterator<Item = &RowDigest> {
        self.all()
            .chunk_by(|one, other| one == other)
            .map(|same| &same[0])
    }

    /// How often a row came.
    pub(super) fn count(&self, digest: &RowDigest) -> u32 {
        let all = self.all();
        let from = all.partition_point(|one| one < digest);
        let same = all[from..].iter().take_while(|one| *one == digest);
        u32::try_from(same.count()).unwrap_or(u32::MAX)
    }

    /// How often each came.
    pub(super) fn counts(&self) -> HashMap<RowDigest, u32> {
        let mut counts = HashMap::new();
        for digest in self.all() {
            *counts.entry(*digest).or_default() += 1;
        }
        counts
    }

    /// What is in it and not in the other: each row with the place that it has among its equals, from zero.
    pub(super) fn without<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (RowDigest, u32)> + 'a {
        let mut last = None;
        let mut copy = 0;
        let placed = self.all().iter().map(move |digest| {
            copy = match last {
                Some(last) if last == digest => copy + 1,
                _ => 0,
            };
            last = Some(digest);
            (*digest, copy)
        });
        placed.filter(|(digest, copy)| *copy >= other.count(digest))
    }

    /// Each row as often as in the one or the other, whichever has more.
    pub(super) fn with(&self, other: &Self) -> Self {
        let mut counts = self.counts();
        for (digest, count) in other.counts() {
            let known = counts.entry(digest).or_default();
            *known = (*known).max(count);
        }
        Self::of(&counts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digests(rows: &[u8]) -> Digests {
        let mut counts = HashMap::new();
        for row in rows {
            *counts.entry([*row; SIZE]).or_default() += 1;
        }
        Digests::of(&counts)
    }

    proptest! {
        #[test]
        fn they_are_a_multiset(one in prop::collection::vec(0u8..4, 0..12), other in prop::collection::vec(0u8..4, 0..12)) {
            let (left, right) = (digests(&one), digests(&other));
            let count = |rows: &[u8], row: u8| rows.iter().filter(|it| **it == row).count();
            for row in 0..4 {
                prop_assert_eq!(left.count(&[row; SIZE]) as usize, count(&one, row));
                let gone: Vec<u32> = left.without(&right).filter(|(digest, _)| digest[0] == row).map(|(_, copy)| copy).collect();
                let expected: Vec<u32> = (count(&other, row)..count(&one, row)).map(|copy| copy as u32).collect();
                prop_assert_eq!(gone, expected);
                prop_assert_eq!(left.with(&right).count(&[row; SIZE]) as usize, count(&one, row).max(count(&other, row)));
            }
            prop_assert_eq!(Digests::of(&left.counts()), left.clone());
            prop_assert_eq!(Digests::stored(left.bytes().to_vec()), Some(left));
        }
    }

    #[test]
    fn half_a_digest_was_never_stored() {
        assert_eq!(Digests::stored(vec![0; 17]), None);
    }
}
