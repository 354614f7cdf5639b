//! What rows were, for who wants to know what is gone (`rows: changes`). The rows of one host stand together,
//! packed by LZ4 against a sample of the query's rows, since rows of one query are much alike on all hosts: what
//! is new on a host is a few bytes beside its digest. The sample grows at its end only, and each host's rows say
//! how much of it there was when they were packed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use lz4_flex::block::{compress_with_dict, decompress_with_dict};

use super::digests::{Digests, RowDigest};
use crate::events::{Digest, Row};

/// Bytes of a sample.
const SAMPLE: usize = 8 * 1024;
/// Bytes of one host's rows, before they are packed; of the others only the digests are kept.
const MOST: usize = 1024 * 1024;

/// The text of each row of a host, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Texts {
    by_row: HashMap<RowDigest, Box<str>>,
    bytes: usize,
}

impl Texts {
    /// Keeps a row's text, where there is room for it.
    pub(super) fn keep(&mut self, row: RowDigest, text: &str) {
        if self.bytes + text.len() <= MOST
            && let Entry::Vacant(place) = self.by_row.entry(row)
        {
            place.insert(text.into());
            self.bytes += text.len();
        }
    }

    /// All that are in the one or the other.
    pub(super) fn with(mut self, other: &Self) -> Self {
        for (row, text) in &other.by_row {
            self.keep(*row, text);
        }
        self
    }

    /// The row, or what is left of it.
    pub(super) fn row(&self, digest: RowDigest) -> Row<'_> {
        let digest = Digest(digest);
        let text = self.by_row.get(&digest.0);
        let row = text.and_then(|text| Row::read(text).ok());
        row.filter(|row| row.digest() == digest)
            .unwrap_or_else(|| Row::forgotten(digest))
    }

    /// The texts of these rows as they are stored.
    pub(super) fn packed(&self, rows: &Digests, sample: &mut Vec<u8>) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.bytes + self.by_row.len() * 2);
        for row in rows.distinct() {
            match self.by_row.get(row) {
                Some(text) => {
                    number(&mut plain, text.len() + 1);
                    plain.extend_from_slice(text.as_bytes());
                }
                None => number(&mut plain, 0),
            }
        }
        let mut packed = Vec::new();
        number(&mut packed, sample.len());
        number(&mut packed, plain.len());
        packed.extend(compress_with_dict(&plain, sample));
        // What did not become much smaller is unlike what the sample has.
        let room = SAMPLE.saturating_sub(sample.len());
        if packed.len() > plain.len() / 4 {
            sample.extend_from_slice(&plain[..plain.len().min(room)]);
        }
        packed
    }

    /// Those that were stored; `None` where they can't have been.
    pub(super) fn unpacked(packed: &[u8], rows: &Digests, sample: &[u8]) -> Option<Self> {
        let mut texts = Self::default();
        if packed.is_empty() {
            return Some(texts);
        }
        let mut packed = packed;
        let sample = sample.get(..read_number(&mut packed)?)?;
        let size = read_number(&mut packed)?;
        // With a number before each text.
        if size > MOST.saturating_mul(6) {
            return None;
        }
        let plain = decompress_with_dict(packed, size, sample).ok()?;
        let mut plain = plain.as_slice();
        for row in rows.distinct() {
            let length = read_number(&mut plain)?;
            if let Some(length) = length.checked_sub(1) {
                let (text, others) = plain.split_at_checked(length)?;
                texts.keep(*row, std::str::from_utf8(text).ok()?);
                plain = others;
            }
        }
        Some(texts)
    }
}

/// Takes any bytes for what a state has stored, and any lines for rows that it stores; for the fuzzer only.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    use crate::servers::collecting::Ids;

    let ids = Ids::unpacked(bytes);
    assert_eq!(Ids::unpacked(&ids.packed()), ids);
    let text = String::from_utf8_lossy(bytes);
    let mut counts = HashMap::new();
    let mut texts = Texts::default();
    for line in text.lines() {
        if let Ok(row) = Row::read(line) {
            *counts.entry(row.digest().0).or_default() += 1;
            texts.keep(row.digest().0, line);
        }
    }
    let rows = Digests::of(&counts);
    assert_eq!(Digests::stored(rows.bytes().to_vec()), Some(rows.clone()));
    let _ = Texts::unpacked(bytes, &rows, bytes);
    let mut sample = bytes[..bytes.len() / 2].to_vec();
    let packed = texts.packed(&rows, &mut sample);
    assert_eq!(Texts::unpacked(&packed, &rows, &sample), Some(texts));
}

/// Seven bits a byte.
fn number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(from: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in (0..56).step_by(7) {
        let (byte, others) = from.split_first()?;
        *from = others;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(rows: &[String]) -> (Digests, Texts) {
        let mut counts = HashMap::new();
        let mut texts = Texts::default();
        for text in rows {
            let digest = Row::read(text).expect("a row").digest().0;
            *counts.entry(digest).or_default() += 1;
            texts.keep(digest, text);
        }
        (Digests::of(&counts), texts)
    }

    proptest! {
        /// Host by host against a sample that grows, each comes back with what the sample has become.
        #[test]
        fn rows_come_back(hosts in prop::collection::vec(prop::collection::vec((0u8..5, ".{0,40}"), 0..8), 1..8)) {
            let mut sample = Vec::new();
            let mut stored = Vec::new();
            for host in hosts {
                let rows: Vec<String> = host.into_iter()
                    .map(|(pid, name)| serde_json::json!({"pid": pid, "name": name}).to_string())
                    .collect();
                let (digests, texts) = of(&rows);
                let packed = texts.packed(&digests, &mut sample);
                stored.push((rows, digests, packed));
            }
            prop_assert!(sample.len() <= SAMPLE);
            for (rows, digests, packed) in stored {
                let texts = Texts::unpacked(&packed, &digests, &sample).expect("as it was stored");
                for text in &rows {
                    let digest = Row::read(text).expect("a row").digest();
                    let row = texts.row(digest.0);
                    prop_assert!(!row.is_forgotten());
                    prop_assert_eq!(row.digest(), digest);
                }
            }
        }

        #[test]
        fn what_was_never_stored_is_none_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), sample in prop::collection::vec(any::<u8>(), 0..60)) {
            let (digests, _) = of(&[r#"{"a":"1"}"#.to_owned(), r#"{"a":"2"}"#.to_owned()]);
            let _ = Texts::unpacked(&bytes, &digests, &sample);
        }
    }

    /// What hosts have in common costs next to nothing.
    #[test]
    fn rows_that_are_alike_are_small() {
        let mut sample = Vec::new();
        let mut bytes = 0;
        for host in 0..100 {
            let rows: Vec<String> = (0..10)
                .map(|row| {
                    format!(r#"{{"name":"service-{row}","path":"/usr/lib/service-{row}/bin","pid":"{}"}}"#, host * 7 + row * 31)
                })
                .collect();
            let (digests, texts) = of(&rows);
            bytes += texts.packed(&digests, &mut sample).len();
        }
        assert!(bytes < 100 * 10 * 18, "{bytes} bytes");
    }
}
