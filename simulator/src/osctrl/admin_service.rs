//! osctrl's admin service: its loop completes queries by their counters, whoever has not answered.

use std::sync::Arc;

use super::queries::StoredQuery;
use crate::observe::CampaignState;
use crate::world::{Shared, World};

/// Looks at the counters until the simulator ends, where the scenario has such a service.
pub(crate) async fn run(shared: Arc<Shared>) {
    let Some(service) = shared.look().scenario.osctrl.admin_service else {
        return;
    };
    let mut tick = tokio::time::interval(service.every);
    loop {
        tokio::select! {
            () = shared.ended() => return,
            _ = tick.tick() => {}
        }
        let reached =
            |query: &StoredQuery| query.active && query.executions + query.errors >= query.expected;
        if shared.look().osctrl.queries.iter().any(reached) {
            shared.change(|world| complete(world, reached));
        }
    }
}

/// Completes these queries: agents are not given them any more.
fn complete(world: &mut World, which: impl Fn(&StoredQuery) -> bool) {
    // Without the database it has no counters to look at.
    if world.outages.without_database() {
        return;
    }
    let mut ended = Vec::new();
    for query in world.osctrl.queries.iter_mut().filter(|query| which(query)) {
        query.completed = true;
        query.active = false;
        query.touch();
        ended.push(query.query);
    }
    for place in ended {
        world.end_query(place, CampaignState::Completed);
    }
}

/// Meets the newest query while its targets are being written, if the scenario says so.
pub(super) fn meet_newest(world: &mut World) {
    let service = world.scenario.osctrl.admin_service;
    let met = service.is_some_and(|service| world.osctrl.queries.len() <= service.meets_new);
    let newest = world.osctrl.queries.last().map(|query| query.query);
    if met {
        complete(world, |query| Some(query.query) == newest);
    }
}
