//! What a server sends on the results socket that is no answer, counted: a little of it is a sign of life, a
//! flood of it is a server that only makes noise. Pure.

use std::fmt;

/// A real server sends two such frames with each 5-second tick (wire notes, Results), and a proxy perhaps a
/// ping a second: some thousand within the longest step. A flood has as many within milliseconds.
const MOST_FRAMES: usize = 10_000;
/// Garbage may be large, too: so many bytes of it are read.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// A kind of frame that is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ping,
    Pong,
    /// A text without anything in it.
    Empty,
    Binary,
    /// A text that can't be read.
    Junk,
    /// Counts, or a kind of message that is not known.
    Status,
}

impl Kind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Ping, "pings"),
        (Self::Pong, "pongs"),
        (Self::Empty, "empty messages"),
        (Self::Binary, "binary messages"),
        (Self::Junk, "messages that can't be read"),
        (Self::Status, "status messages"),
    ];
}

/// Frames since the last new answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Noise {
    frames: [usize; Kind::ALL.len()],
    bytes: usize,
}

impl Noise {
    /// Counts one. False where it is one too many.
    pub(super) fn add(&mut self, kind: Kind, bytes: usize) -> bool {
        for ((known, _), count) in Kind::ALL.iter().zip(&mut self.frames) {
            *count += usize::from(*known == kind);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.frames.iter().sum::<usize>() <= MOST_FRAMES && self.bytes <= MOST_BYTES
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let came: Vec<String> = Kind::ALL
            .iter()
            .zip(&self.frames)
            .filter(|(_, count)| **count > 0)
            .map(|((_, name), count)| format!("{count} {name}"))
            .collect();
        formatter.write_str(&came.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_quiet_campaign_is_no_noise_and_a_flood_is() {
        let mut noise = Noise::default();
        // 900 s of ticks, and a proxy that pings every second.
        for _ in 0..900 / 5 * 2 {
            assert!(noise.add(Kind::Status, 100));
        }
        for _ in 0..900 {
            assert!(noise.add(Kind::Ping, 0));
        }
        assert_eq!(noise.to_string(), "900 pings, 360 status messages");
        for (kind, _) in Kind::ALL {
            let mut noise = Noise::default();
            let few = (0..MOST_FRAMES).all(|_| noise.add(kind, 0));
            assert!(few && !noise.add(kind, 0), "{kind:?}");
        }
    }

    #[test]
    fn garbage_is_counted_in_bytes_too() {
        let mut noise = Noise::default();
        assert!(noise.add(Kind::Binary, MOST_BYTES));
        assert!(!noise.add(Kind::Binary, 1));
        assert_eq!(noise.to_string(), "2 binary messages");
    }
}
