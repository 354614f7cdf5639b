//! The connection under the results socket, measured: how much came since the last whole frame, and when.
//! It hands control back to the event loop after a few reads, for the websocket's own loop would read
//! fragments without end while there are any. Memory for what is announced is asked for before the
//! websocket hears of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::frames::Lengths;
use crate::memory::{self, NoMemory};

/// Reads after which others have their turn.
const READS_AT_A_TIME: usize = 4;

/// What ends a connection on which so much came without a whole frame.
#[derive(Debug, thiserror::Error)]
#[error("{0} bytes without a whole message")]
pub(super) struct Endless(pub(super) usize);

/// Messages up to so many bytes are read without asking for memory first.
const ASK_FROM: usize = 1 << 20;

/// What ends a connection whose message finds no memory.
#[derive(Debug, thiserror::Error)]
#[error("the system refuses {0} of memory")]
pub(super) struct Refused(pub(super) NoMemory);

fn refused(refused: NoMemory) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, Refused(refused))
}

/// A connection of which is known how much came.
#[derive(Debug)]
pub(super) struct Metered<S> {
    inner: S,
    most: usize,
    since_frame: usize,
    lengths: Lengths,
    /// Memory was asked for, for a message of so many bytes.
    asked_for: usize,
    in_a_row: usize,
    last_read: Instant,
}

impl<S> Metered<S> {
    /// Ends with [`Endless`] where more than `most` bytes come between two calls of [`Metered::whole`].
    pub(super) fn new(inner: S, most: usize) -> Self {
        Self {
            inner,
            most,
            since_frame: 0,
            lengths: Lengths::default(),
            asked_for: ASK_FROM,
            in_a_row: 0,
            last_read: Instant::now(),
        }
    }

    /// A frame was whole.
    pub(super) fn whole(&mut self) {
        self.since_frame = 0;
        self.asked_for = ASK_FROM;
    }

    /// When something last came.
    pub(super) fn last_read(&self) -> Instant {
        self.last_read
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.in_a_row == READS_AT_A_TIME {
            self.in_a_row = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(context, buffer) else {
            self.in_a_row = 0;
            return Poll::Pending;
        };
        read?;
        let came = buffer.filled().len() - before;
        self.in_a_row += 1;
        if came > 0 {
            self.last_read = Instant::now();
        }
        self.since_frame = self.since_frame.saturating_add(came);
        let announced = self.lengths.announced(&buffer.filled()[before..]);
        // What is larger than any message may be is the websocket's to refuse.
        if let Ok(announced @ ASK_FROM..) = usize::try_from(announced)
            && announced <= self.most
        {
            memory::asked(announced.saturating_mul(2)).map_err(refused)?;
        }
        if self.since_frame > self.asked_for {
            // The library's buffer doubles, beside the old one and what the message becomes.
            self.asked_for = self.since_frame.saturating_mul(2).max(ASK_FROM);
            memory::asked(self.asked_for.saturating_mul(4)).map_err(refused)?;
        }
        if self.since_frame > self.most {
            return Poll::Ready(Err(io::Error::other(Endless(self.since_frame))));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
