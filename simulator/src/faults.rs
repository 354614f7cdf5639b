//! Applying a scenario's faults: which of them meet a request, and what they make of its answer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::http::{Reply, TEXT};
use crate::scenario::{Fault, SlowBody, decode_base64};
use crate::world::World;

/// The faults that this request meets. Each meeting is counted.
pub(crate) fn meet(world: &mut World, method: &str, path: &str) -> Vec<Fault> {
    let now = world.now();
    let scenario = std::sync::Arc::clone(&world.scenario);
    let mut met = Vec::new();
    for (fault, matches) in scenario.faults.iter().zip(&mut world.fault_matches) {
        let fits = fault
            .method
            .as_ref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && path.contains(&fault.path)
            && now >= fault.after;
        if !fits {
            continue;
        }
        *matches += 1;
        let applies = *matches > fault.skip
            && fault
                .times
                .is_none_or(|times| *matches <= fault.skip.saturating_add(times));
        if applies {
            met.push(fault.clone());
        }
    }
    met
}

/// The answer as the faults leave it. `None` stands for a request that was not handled.
pub(crate) fn disfigure(faults: &[Fault], reply: Option<Reply>) -> Reply {
    let mut reply = reply.unwrap_or_else(|| Reply::new(200, TEXT, ""));
    for fault in faults {
        if fault.replaces_answer() {
            let body = match (&fault.body, &fault.body_base64) {
                (Some(text), _) => Bytes::from(text.clone()),
                (None, Some(text)) => decode_base64(text).unwrap_or_default().into(),
                (None, None) => Bytes::new(),
            };
            let json = fault.body.is_some() || fault.body_base64.is_some();
            let kind = if json { crate::http::FLEET_JSON } else { TEXT };
            reply = Reply::new(fault.status.unwrap_or(200), kind, body);
        }
        if let Some(kind) = &fault.content_type {
            reply.content_type.clone_from(kind);
        }
        if let Some(location) = &fault.location {
            reply = reply.with_header("location", location);
        }
        if let Some(pause) = &fault.retry_after {
            reply = reply.with_header("retry-after", pause);
        }
    }
    reply
}

/// A body that may come in drops, be padded, or end before it should.
pub(crate) struct FaultyBody {
    chunks: VecDeque<Bytes>,
    /// What `Content-Length` promises.
    promised: u64,
    /// The connection ends instead of the body's end.
    cut: bool,
    pace: Option<Duration>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Padding is sent in pieces of this size.
const PIECE: usize = 64 * 1024;

impl FaultyBody {
    pub fn new(body: Bytes, faults: &[Fault]) -> Self {
        let pad: usize = faults.iter().map(|fault| fault.pad).sum();
        let slow: Option<SlowBody> = faults.iter().find_map(|fault| fault.slow);
        let truncate = faults.iter().find_map(|fault| fault.truncate);
        let promised = body.len() + pad;
        let mut chunks = VecDeque::from([body]);
        let spaces = Bytes::from(vec![b' '; PIECE.min(pad)]);
        let mut left = pad;
        while left > 0 {
            let piece = spaces.slice(..left.min(spaces.len()));
            left -= piece.len();
            chunks.push_back(piece);
        }
        if let Some(limit) = truncate {
            chunks = shortened(chunks, limit);
        }
        if let Some(slow) = slow {
            chunks = chunks
                .into_iter()
                .flat_map(|chunk| drops(&chunk, slow.bytes))
                .collect();
        }
        chunks.retain(|chunk| !chunk.is_empty());
        Self {
            cut: truncate.is_some_and(|limit| limit < promised),
            promised: promised as u64,
            chunks,
            pace: slow.map(|slow| slow.every),
            pause: None,
        }
    }
}

fn shortened(chunks: VecDeque<Bytes>, limit: usize) -> VecDeque<Bytes> {
    let mut left = limit;
    chunks
        .into_iter()
        .map(|chunk| {
            let kept = chunk.slice(..chunk.len().min(left));
            left -= kept.len();
            kept
        })
        .collect()
}

fn drops(chunk: &Bytes, size: usize) -> Vec<Bytes> {
    (0..chunk.len())
        .step_by(size.max(1))
        .map(|from| chunk.slice(from..chunk.len().min(from + size)))
        .collect()
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
        match self.chunks.pop_front() {
            Some(chunk) => {
                self.pause = self.pace.map(|pace| Box::pin(tokio::time::sleep(pace)));
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            None if self.cut => {
                // Said once; the connection ends here.
                self.cut = false;
                Poll::Ready(Some(Err(std::io::Error::other(
                    "the scenario truncates this body",
                ))))
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty() && !self.cut
    }

    fn size_hint(&self) -> SizeHint {
        // hyper writes `Content-Length` from this, before the first chunk is taken.
        SizeHint::with_exact(self.promised)
    }
}
