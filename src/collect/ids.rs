//! Numbers of hosts that were seen: a bit for each, for a hundred thousand of them stand close together.

use std::collections::BTreeMap;

/// Numbers in one piece.
const PIECE: u64 = 1_024;

/// A set of numbers.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeMap<u64, [u64; (PIECE / 64) as usize]>);

impl Ids {
    /// Adds a number; whether it is new.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        let piece = self.0.entry(id / PIECE).or_default();
        let (word, bit) = place(id);
        let is_new = piece[word] & bit == 0;
        piece[word] |= bit;
        is_new
    }

    /// Whether it is there.
    pub(super) fn contains(&self, id: u64) -> bool {
        let (word, bit) = place(id);
        let piece = self.0.get(&(id / PIECE));
        piece.is_some_and(|piece| piece[word] & bit != 0)
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn place(id: u64) -> (usize, u64) {
    let inside = id % PIECE;
    ((inside / 64) as usize, 1 << (inside % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_a_set(ids in prop::collection::vec(prop_oneof![0u64..3_000, any::<u64>()], 0..200)) {
            let (mut set, mut known) = (Ids::default(), BTreeSet::new());
            for id in &ids {
                prop_assert_eq!(set.insert(*id), known.insert(*id));
            }
            for id in ids.iter().copied().chain(0..100) {
                prop_assert_eq!(set.contains(id), known.contains(&id));
            }
        }
    }
}
