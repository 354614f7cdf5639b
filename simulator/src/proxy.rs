//! Which requests find their connection closed.

use crate::connection::Began;
use crate::world::World;

/// What the proxy remembers.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Requests so far that came on a used connection.
    reused: u64,
}

/// Whether a request that began so finds its connection closed.
pub(crate) fn closes(world: &mut World, began: Began) -> bool {
    if began.idle.is_none() {
        return false;
    }
    world.proxy.reused += 1;
    let (number, proxy) = (world.proxy.reused, &world.scenario.proxy);
    let every = proxy.close_every as u64;
    (every > 0 && number.is_multiple_of(every)) || share(number) < proxy.close_share
}

/// A number from 0 up to 1 that looks like chance and is the same in every run (SplitMix64).
fn share(number: u64) -> f64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let half = u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap_or_default();
    f64::from(half) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_spread_evenly() {
        for wanted in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let closed = (1..=10_000).filter(|number| share(*number) < wanted);
            let closed = f64::from(u32::try_from(closed.count()).expect("few")) / 10_000.0;
            assert!((closed - wanted).abs() < 0.02, "{wanted}: {closed}");
        }
    }
}
