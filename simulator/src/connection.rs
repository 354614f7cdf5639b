//! One TCP connection: how it was used so far, when it has been idle for too long, and how it is reset.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::speak::Then;

/// What is known of a connection's use.
pub(crate) struct Connection {
    /// Which one it is, counted from 1.
    pub number: usize,
    usage: watch::Sender<Usage>,
    reset: Arc<AtomicBool>,
    then: Mutex<Option<Then>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    /// Requests that are being answered.
    running: usize,
    /// When the last one was answered.
    answered: Option<Instant>,
    /// After how long it is closed, where its server closes idle connections.
    limit: Option<Duration>,
}

/// How a request found its connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    /// How long the connection had been idle after a request; a fresh connection has had none.
    pub idle: Option<Duration>,
}

impl Connection {
    /// A connection, and its stream as it is to be used.
    pub fn new(number: usize, stream: TcpStream) -> (Self, Stream) {
        let reset = Arc::new(AtomicBool::new(false));
        let stream = Stream {
            stream,
            reset: Arc::clone(&reset),
        };
        let usage = watch::Sender::new(Usage::default());
        let connection = Self {
            number,
            usage,
            reset,
            then: Mutex::new(None),
        };
        (connection, stream)
    }

    /// A request came.
    pub fn begin(&self) -> Began {
        let mut idle = None;
        self.usage.send_modify(|usage| {
            idle = usage.answered.map(|at| at.elapsed());
            usage.running += 1;
        });
        Began { idle }
    }

    /// A request is answered; the connection is closed when it has been idle for the limit, if there is one.
    pub fn end(&self, limit: Option<Duration>) {
        self.usage.send_modify(|usage| {
            usage.running = usage.running.saturating_sub(1);
            usage.answered = Some(Instant::now());
            usage.limit = limit;
        });
    }

    /// The connection is for this once HTTP is over.
    pub fn goes_on_as(&self, then: Then) {
        *self.then.lock().unwrap_or_else(PoisonError::into_inner) = Some(then);
    }

    /// What the connection is for, now that HTTP is over.
    pub fn then(&self) -> Option<Then> {
        let mut then = self.then.lock().unwrap_or_else(PoisonError::into_inner);
        then.take()
    }

    /// What is left of the connection is a reset.
    pub fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// Resolves once the connection has been idle for the limit that its last answer had.
    pub async fn idle_too_long(&self) {
        let mut usage = self.usage.subscribe();
        loop {
            let now = *usage.borrow_and_update();
            let until = match now {
                Usage {
                    running: 0,
                    answered: Some(at),
                    limit: Some(limit),
                } => Some(at + limit),
                _ => None,
            };
            let passed = async {
                match until {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                // The sender lives as long as this borrows it.
                _ = usage.changed() => {}
            }
        }
    }
}

/// A TCP stream that ends with a reset, where the connection was told to.
pub(crate) struct Stream {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
