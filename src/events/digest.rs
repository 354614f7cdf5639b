//! Digests that name things: the first half of a SHA-256 over parts of which each is told from the next, so
//! that no host can make two things that have one name.

use std::fmt;

use ring::digest::{Context, SHA256};
use serde::{Serialize, Serializer};

/// Sixteen bytes that stand for something; written as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

/// A number for what has none, such as a name or a uuid; the same in every run.
pub fn number_for(text: &str) -> u64 {
    let digest = ring::digest::digest(&SHA256, text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    u64::from_le_bytes(first)
}

/// Makes a [`Digest`] of parts.
pub(super) struct Parts(Context);

impl Parts {
    /// A digest of things of this kind, which differs from those of every other kind.
    pub(super) fn of(kind: &str) -> Self {
        Self(Context::new(&SHA256)).and(kind.as_bytes())
    }

    /// One more part.
    #[must_use]
    pub(super) fn and(mut self, part: &[u8]) -> Self {
        // With its length before it, no part can look like two, or like the end of another.
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// A number.
    #[must_use]
    pub(super) fn and_number(self, number: i64) -> Self {
        self.and(&number.to_le_bytes())
    }

    /// The digest of all parts.
    pub(super) fn digest(self) -> Digest {
        let whole = self.0.finish();
        let mut half = [0; 16];
        half.copy_from_slice(&whole.as_ref()[..16]);
        Digest(half)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}
