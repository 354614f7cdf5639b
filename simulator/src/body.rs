//! Answers' bodies: held or made while they are sent, padded, in drops, or ending before they should.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::pieces::{PIECE, Pieces};
use crate::scenario::{Fault, SlowBody};

/// What an answer holds.
#[derive(Debug)]
pub(crate) enum Content {
    /// All of it.
    Bytes(Bytes),
    /// It is made while it is sent.
    Pieces(Pieces),
}

impl Content {
    /// A text in pieces that is held after all where it is small: then its length is announced.
    pub fn settled(mut pieces: Pieces) -> Self {
        let length = pieces.length;
        let mut held = Vec::new();
        while held.len() < 4 * PIECE {
            match pieces.next() {
                Some(piece) => held.extend_from_slice(&piece),
                None => return Self::Bytes(held.into()),
            }
        }
        let mut whole = pieces.between(held, "");
        whole.length = length;
        Self::Pieces(whole)
    }

    /// All of it.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Pieces(pieces) => pieces.flat_map(Vec::from).collect::<Vec<u8>>().into(),
        }
    }
}

/// A body as the faults have it.
pub(crate) struct FaultyBody {
    pieces: Pieces,
    /// What is left of the piece that is being sent.
    rest: Bytes,
    /// Bytes to send before the connection ends.
    left: Option<u64>,
    slow: Option<SlowBody>,
    pause: Option<Pin<Box<Sleep>>>,
    /// What `Content-Length` promises.
    promised: Option<u64>,
    ended: bool,
}

impl FaultyBody {
    pub fn new(content: Content, faults: &[Fault]) -> Self {
        let pad: usize = faults.iter().map(|fault| fault.pad).sum();
        let truncate = faults.iter().find_map(|fault| fault.truncate);
        let pieces = match content {
            Content::Pieces(pieces) => pieces,
            Content::Bytes(bytes) => {
                let length = bytes.len() as u64;
                let mut pieces = Pieces::new(std::iter::once(bytes));
                pieces.length = Some(length);
                pieces
            }
        };
        let pieces = if pad > 0 { padded(pieces, pad) } else { pieces };
        let promised = pieces.length;
        let left = truncate
            .map(|limit| limit as u64)
            .filter(|limit| promised.is_none_or(|promised| *limit < promised));
        Self {
            pieces,
            rest: Bytes::new(),
            left,
            slow: faults.iter().find_map(|fault| fault.slow),
            pause: None,
            promised,
            ended: promised == Some(0),
        }
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        while self.rest.is_empty() {
            self.rest = self.pieces.next()?;
        }
        let most = self.slow.map_or(self.rest.len(), |slow| slow.bytes);
        let most = self.left.map_or(most, |left| {
            most.min(usize::try_from(left).unwrap_or(usize::MAX))
        });
        let chunk = self.rest.split_to(most.min(self.rest.len()));
        if let Some(left) = &mut self.left {
            *left -= chunk.len() as u64;
        }
        Some(chunk)
    }
}

fn padded(pieces: Pieces, pad: usize) -> Pieces {
    let length = pieces.length.map(|length| length + pad as u64);
    let spaces = Bytes::from(vec![b' '; PIECE.min(pad)]);
    let mut left = pad;
    let padding = std::iter::from_fn(move || {
        let piece = spaces.slice(..left.min(spaces.len()));
        left -= piece.len();
        (!piece.is_empty()).then_some(piece)
    });
    let mut padded = Pieces::new(pieces.chain(padding));
    padded.length = length;
    padded
}

impl Body for FaultyBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if self.ended {
            return Poll::Ready(None);
        }
        if self.left == Some(0) {
            // Said once; the connection ends here.
            self.ended = true;
            let error = std::io::Error::other("the scenario truncates this body");
            return Poll::Ready(Some(Err(error)));
        }
        match self.next_chunk() {
            Some(chunk) => {
                let pace: Option<Duration> = self.slow.map(|slow| slow.every);
                self.pause = pace.map(|pace| Box::pin(tokio::time::sleep(pace)));
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            None => {
                self.ended = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        // hyper writes `Content-Length` from this, before the first chunk is taken.
        self.promised
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
