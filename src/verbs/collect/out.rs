//! Where a poll's events go: onto stdout, in one of the formats, a bounded number of bytes ahead of who reads
//! them.

use std::cell::{Cell, RefCell};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::FormatName;
use crate::collect::{Gone, Sink};
use crate::events::Event;
use crate::output::visible;
use crate::process::stdout::{Broken, Stdout};

/// Bytes of events that are handed over at once.
const PIECE: usize = 128 * 1024;
/// Pieces that wait for a reader at most.
const PIECES: usize = 8;

/// Events on their way to stdout.
pub(super) struct Out {
    stdout: Stdout,
    format: FormatName,
    piece: RefCell<Vec<u8>>,
    /// Pieces that were handed over since all had been written.
    ahead: Cell<usize>,
}

impl Out {
    pub(super) fn new(stdout: Stdout, format: FormatName) -> Self {
        Self {
            stdout,
            format,
            piece: RefCell::default(),
            ahead: Cell::new(0),
        }
    }

    /// Hands over what has come together.
    pub(super) fn hand_over(&self) {
        let piece = self.piece.take();
        if !piece.is_empty() {
            self.ahead.set(self.ahead.get() + 1);
            self.stdout.queue_work(move |out| out.write_all(&piece));
        }
    }

    /// Waits until all of it is written.
    ///
    /// # Errors
    /// Why that will never be.
    pub(super) async fn written(&self) -> Result<(), Broken> {
        self.hand_over();
        self.stdout.drained().await
    }

    /// Writes a text as it is.
    pub(super) fn text(&self, text: &str) {
        self.piece.borrow_mut().extend_from_slice(text.as_bytes());
    }

    /// Writes a line that is no event.
    pub(super) fn line(&self, value: &impl serde::Serialize) {
        // A buffer takes everything.
        let _ = visible::line(&mut *self.piece.borrow_mut(), value);
    }
}

impl Sink for Out {
    fn put(&self, event: &Event<'_>) {
        let Some(format) = self.format.of_events() else {
            return;
        };
        {
            let mut piece = self.piece.borrow_mut();
            // A buffer takes everything.
            let _ = format.write(event, &mut *piece);
            if piece.len() < PIECE {
                return;
            }
        }
        self.hand_over();
    }

    fn room(&self) -> LocalBoxFuture<'_, Result<(), Gone>> {
        async {
            if self.ahead.get() < PIECES {
                return Ok(());
            }
            self.stdout.drained().await.map_err(|_| Gone)?;
            self.ahead.set(0);
            Ok(())
        }
        .boxed_local()
    }
}
