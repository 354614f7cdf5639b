//! Lists of hosts on their way out: of a hundred thousand documents a few are in memory at a time.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::host::Host;
use crate::pieces::{PIECE, Pieces};
use crate::world::{Shared, World};

/// The documents of the hosts at these places, with commas between them.
pub(crate) fn of_hosts(
    shared: &Arc<Shared>,
    places: Vec<usize>,
    document: impl Fn(&World, &Host) -> Value + Send + 'static,
) -> Pieces {
    let shared = Arc::clone(shared);
    let mut left = places.into_iter();
    let mut first = true;
    Pieces::new(std::iter::from_fn(move || {
        let world = shared.look();
        let mut text = String::new();
        while text.len() < PIECE {
            let Some(place) = left.next() else { break };
            let Some(host) = world.hosts.get(place) else {
                continue;
            };
            if !std::mem::take(&mut first) {
                text.push(',');
            }
            text.push_str(&document(&world, host).to_string());
        }
        (!text.is_empty()).then(|| Bytes::from(text))
    }))
}
