//! Floods on a results socket: frames written past the websocket library, as fast as the client takes
//! them, and what the client sends meanwhile read past it, too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::scenario::{Flood, FloodOf};

/// Written at once.
const BATCH: usize = 256 * 1024;

/// A flood on its way out.
pub(crate) struct Pouring {
    flood: Flood,
    /// What comes before the frames that repeat.
    batch: Vec<u8>,
    /// So much of the batch is written.
    written: usize,
    /// Frames in the batch.
    frames: u64,
    unit: Vec<u8>,
    left: Option<u64>,
    pause: Option<Pin<Box<Sleep>>>,
    heard: Skipper,
    /// The client sent a close frame.
    closed: bool,
    scratch: Box<[u8]>,
    /// Frames that are written and not yet counted by whoever asks.
    uncounted: u64,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Poured {
    /// Something was written.
    More,
    /// That was all.
    Done,
    /// The client sent a close frame.
    Closed,
}

impl Pouring {
    pub fn new(flood: &Flood) -> Self {
        let (before, unit) = frames(flood);
        Self {
            batch: before,
            written: 0,
            frames: 0,
            unit,
            left: flood.times,
            pause: None,
            heard: Skipper::default(),
            closed: false,
            scratch: vec![0; 64 * 1024].into(),
            uncounted: 0,
            flood: flood.clone(),
        }
    }

    /// Whether other messages may be sent between its frames.
    pub fn lets_others_pass(&self) -> bool {
        !matches!(
            self.flood.of,
            FloodOf::Fragments | FloodOf::OneFrame | FloodOf::Noise
        )
    }

    /// How many frames were written since this was asked.
    pub fn count(&mut self) -> usize {
        usize::try_from(std::mem::take(&mut self.uncounted)).unwrap_or(usize::MAX)
    }

    /// Reads what has come and writes what can be written. Nothing is lost when it is given up.
    pub fn poll<S>(&mut self, context: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<Poured>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.flood.deaf {
            while let Poll::Ready(read) = self.poll_read(context, stream) {
                self.closed |= read?;
                if self.closed {
                    break;
                }
            }
        }
        if self.closed {
            return Poll::Ready(Ok(Poured::Closed));
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if self.written == self.batch.len() && !self.refill() {
            ready!(Pin::new(&mut *stream).poll_flush(context))?;
            return Poll::Ready(Ok(Poured::Done));
        }
        let rest = self.batch.get(self.written..).unwrap_or_default();
        let wrote = ready!(Pin::new(&mut *stream).poll_write(context, rest))?;
        if wrote == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += wrote;
        if self.written == self.batch.len() {
            self.uncounted += self.frames;
            // What a layer below has kept goes out with the next write, or here.
            let _ = Pin::new(&mut *stream).poll_flush(context)?;
            if !self.flood.every.is_zero() {
                self.pause = Some(Box::pin(tokio::time::sleep(self.flood.every)));
            }
        }
        Poll::Ready(Ok(Poured::More))
    }

    /// Takes the next frames; false when there are no more.
    fn refill(&mut self) -> bool {
        let most = match self.flood.every.is_zero() {
            true => (BATCH / self.unit.len().max(1)).max(1) as u64,
            false => 1,
        };
        let frames = self.left.map_or(most, |left| left.min(most));
        if let Some(left) = &mut self.left {
            *left -= frames;
        }
        if frames != self.frames {
            self.batch = self
                .unit
                .repeat(usize::try_from(frames).unwrap_or_default());
        }
        self.frames = frames;
        self.written = 0;
        frames > 0
    }

    /// True when the client has sent a close frame.
    fn poll_read<S>(&mut self, context: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<bool>>
    where
        S: AsyncRead + Unpin,
    {
        let mut buffer = ReadBuf::new(&mut self.scratch);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(self.heard.skip(buffer.filled())))
    }

    /// Writes the batch that has begun to its end, so that another frame may follow.
    pub fn poll_boundary<S>(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while !self.closed && (1..self.batch.len()).contains(&self.written) {
            ready!(self.poll(context, stream))?;
        }
        Poll::Ready(Ok(()))
    }
}

/// What comes first, and the bytes that are repeated.
fn frames(flood: &Flood) -> (Vec<u8>, Vec<u8>) {
    const TEXT: u8 = 1;
    const LAST: u8 = 0x80;
    let bytes = flood.bytes;
    let x = |length: usize| vec![b'x'; length];
    let document = |text: &str| frame(LAST | TEXT, text.as_bytes());
    let unit = match flood.of {
        FloodOf::Pings => frame(LAST | 9, &x(bytes.min(125))),
        FloodOf::Pongs => frame(LAST | 10, &x(bytes.min(125))),
        FloodOf::Empty => frame(LAST | TEXT, &[]),
        FloodOf::Binary => frame(LAST | 2, &vec![0xfe; bytes]),
        FloodOf::Junk => frame(LAST | TEXT, &x(bytes.max(1))),
        FloodOf::Unknown => {
            let filler = "x".repeat(bytes);
            document(&format!("{{\"type\":\"news\",\"data\":\"{filler}\"}}"))
        }
        FloodOf::Status => document(
            "{\"type\":\"status\",\"data\":{\"expected_results\":1,\"actual_results\":0,\
             \"count_of_hosts_with_results\":0,\"count_of_hosts_with_no_results\":0,\
             \"status\":\"pending\"}}",
        ),
        FloodOf::Strangers => document(&format!(
            "{{\"type\":\"result\",\"data\":{{\"distributed_query_execution_id\":0,\
             \"host\":{{\"id\":4000000000,\"hostname\":\"stranger\",\"display_name\":\"stranger\"}},\
             \"rows\":[{{\"filler\":\"{}\"}}],\"stats\":null}}}}",
            "x".repeat(bytes)
        )),
        FloodOf::Fragments => frame(0, &x(bytes.max(1))),
        FloodOf::OneFrame => x(bytes.max(1_024)),
        FloodOf::Noise => vec![0xff; bytes.max(1_024)],
    };
    let before = match flood.of {
        FloodOf::Fragments => frame(TEXT, b"{\"type\":\"result\",\"data\":\""),
        FloodOf::OneFrame => head(LAST | TEXT, 1 << 62),
        _ => Vec::new(),
    };
    (before, unit)
}

/// A server's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// The head of a server's frame: its first byte, and how long the payload is.
pub(crate) fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..126), _) => head.push(length),
        (_, Ok(length)) => {
            head.push(126);
            head.extend(length.to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend(length.to_be_bytes());
        }
    }
    head
}

/// Skips the frames that a client sends, and knows a close frame when it sees one.
#[derive(Debug, Default)]
struct Skipper {
    head: Vec<u8>,
    payload: u64,
}

impl Skipper {
    /// True when a close frame has begun.
    fn skip(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.payload)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            self.payload -= skipped as u64;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else {
                break;
            };
            bytes = rest;
            self.head.push(*byte);
            if let Some(payload) = payload_of(&self.head) {
                let opcode = self.head.first().map(|byte| byte & 0x0f);
                self.head.clear();
                self.payload = payload;
                if opcode == Some(8) {
                    return true;
                }
            }
        }
        false
    }
}

/// How long the payload is, once the head of a client's frame is whole, its mask included.
fn payload_of(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (length, taken) = match second & 0x7f {
        126 => (
            u64::from(u16::from_be_bytes(*head.get(2..)?.first_chunk()?)),
            4,
        ),
        127 => (u64::from_be_bytes(*head.get(2..)?.first_chunk()?), 10),
        length => (u64::from(length), 2),
    };
    (head.len() == taken + mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = head(0x80 | opcode, payload.len() as u64);
        frame[1] |= 0x80;
        frame.extend([0; 4]);
        frame.extend_from_slice(payload);
        frame
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_clients_close_frame_is_found_whatever_came_before_and_however_it_is_cut(
            sizes in proptest::collection::vec(0_usize..70_000, 0..6), cut in 1_usize..5_000,
        ) {
            let mut bytes = Vec::new();
            for size in sizes {
                // Payloads full of what looks like close frames.
                bytes.extend(masked(1, &vec![0x88; size]));
            }
            let mut skipper = Skipper::default();
            for piece in bytes.chunks(cut) {
                prop_assert!(!skipper.skip(piece));
            }
            prop_assert!(skipper.skip(&masked(8, &[3, 0xe8])));
        }
    }

    #[test]
    fn every_flood_has_bytes_to_repeat() {
        for of in FloodOf::ALL {
            for bytes in [0, 10, 200, 100_000] {
                let (before, unit) = frames(&Flood::of(of, bytes));
                assert!(!unit.is_empty(), "{of:?}");
                let begins = matches!(of, FloodOf::Fragments | FloodOf::OneFrame);
                assert_eq!(!before.is_empty(), begins, "{of:?}");
            }
        }
    }
}
