//! A live query of a step: one campaign, or several at once where its hosts are too many for one request.
//! Knows nothing of how a campaign is kept going.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::{join_all, select_all};
use tokio::time::Instant;

use super::rest::Rest;
use super::saved::Way;
use super::socket::Socket;
use super::stream::Stream;
use crate::campaign::rows::Keep;
use crate::servers::{BackendError, Event};

/// A request body may hold 1 MiB, which some 100,000 ids reach; and 200 campaigns at once make a server
/// unusable (wire notes, Targets): so few, and large.
const MOST_HOSTS: usize = 50_000;

/// The campaigns of a step.
pub(super) struct Live {
    streams: Vec<Stream>,
    /// Whose turn it is to be heard first.
    turn: usize,
}

impl Live {
    /// Nothing is sent yet.
    pub(super) fn new(
        rest: &Rest,
        keep: Keep,
        socket: Socket,
        way: &Way,
        hosts: &BTreeSet<u64>,
    ) -> Self {
        let hosts: Vec<u64> = hosts.iter().copied().collect();
        let mut socket = Some(socket);
        let streams = hosts.chunks(MOST_HOSTS).map(|hosts| {
            let hosts = hosts.iter().copied().collect();
            Stream::new(rest.clone(), keep, way.clone(), hosts, socket.take())
        });
        Self {
            streams: streams.collect(),
            turn: 0,
        }
    }

    /// The campaigns' ids.
    pub(super) fn ids(&self) -> Option<String> {
        let ids: Vec<String> = self
            .streams
            .iter()
            .filter_map(Stream::id)
            .map(|id| id.to_string())
            .collect();
        (!ids.is_empty()).then(|| ids.join(","))
    }

    /// What they ask.
    pub(super) fn way(&self) -> Option<&Way> {
        self.streams.first().map(Stream::way)
    }

    /// Creates the campaigns and listens to them.
    pub(super) async fn launch(&mut self) -> Result<(), BackendError> {
        for stream in &mut self.streams {
            while !stream.listens() && !stream.is_over() {
                stream.step().await?;
            }
        }
        Ok(())
    }

    /// The next thing that happens, through broken streams and new campaigns.
    pub(super) async fn next(&mut self) -> Result<Event, BackendError> {
        loop {
            if self.streams.iter().all(Stream::is_over) {
                return Ok(Event::Exhausted);
            }
            let event = match &mut *self.streams {
                [stream] => stream.step().await?,
                streams => {
                    self.turn = (self.turn + 1) % streams.len();
                    let (later, first) = streams.split_at_mut(self.turn);
                    let steps = first
                        .iter_mut()
                        .chain(later)
                        .filter(|stream| !stream.is_over())
                        .map(|stream| stream.step().boxed());
                    select_all(steps).await.0?
                }
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// Whether a campaign may go on that nothing ends.
    pub(super) fn may_be_running(&self) -> bool {
        self.streams.iter().any(Stream::may_be_running)
    }

    /// Ends the campaigns.
    pub(super) async fn stop(self, by: Instant) {
        join_all(self.streams.into_iter().map(|stream| stream.stop(by))).await;
    }
}
