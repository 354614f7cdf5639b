//! Numbers that were seen, of hosts or of answers: a bit for each, for a hundred thousand of them stand close
//! together.

use std::collections::BTreeMap;

/// Numbers in one piece.
const PIECE: u64 = 1_024;

/// A set of numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids(BTreeMap<u64, [u64; (PIECE / 64) as usize]>);

impl Ids {
    /// Adds a number; whether it is new.
    pub fn insert(&mut self, id: u64) -> bool {
        let piece = self.0.entry(id / PIECE).or_default();
        let (word, bit) = place(id);
        let is_new = piece[word] & bit == 0;
        piece[word] |= bit;
        is_new
    }

    /// Whether it is there.
    pub fn contains(&self, id: u64) -> bool {
        let (word, bit) = place(id);
        let piece = self.0.get(&(id / PIECE));
        piece.is_some_and(|piece| piece[word] & bit != 0)
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        let words = self.0.values().flatten();
        words.map(|word| u64::from(word.count_ones())).sum()
    }

    /// All of them, the smallest first.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(piece, words)| {
            let bits = (0..PIECE).filter(|inside| {
                let (word, bit) = place(*inside);
                words[word] & bit != 0
            });
            bits.map(move |inside| piece * PIECE + inside)
        })
    }

    /// In their order as the differences between them, seven bits a byte.
    pub fn packed(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut last = 0;
        for id in self.iter() {
            let mut left = id - last;
            last = id;
            while left >= 0x80 {
                bytes.push((left & 0x7f) as u8 | 0x80);
                left >>= 7;
            }
            bytes.push(left as u8);
        }
        bytes
    }

    /// Those that were packed; whatever the bytes are.
    pub fn unpacked(bytes: &[u8]) -> Self {
        let mut ids = Self::default();
        let (mut last, mut number, mut shift) = (0u64, 0u64, 0u32);
        for byte in bytes {
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift = shift.saturating_add(7);
            if byte & 0x80 == 0 {
                last = last.wrapping_add(number);
                ids.insert(last);
                (number, shift) = (0, 0);
            }
        }
        ids
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
            prop_assert_eq!(set.count() as usize, known.len());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), known.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(Ids::unpacked(&set.packed()), set);
        }
    }
}
