//! Parts that go away and come back, by the scenario's script or by a test's word, and what that means
//! for requests and agents. What it means for a campaign is the server's own business.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::agents::Owner;
use crate::fleet;
use crate::observe::Observations;
use crate::scenario::{Outage, Part, Scenario};
use crate::world::{Shared, World};

/// What is away, and what will be.
pub(crate) struct Outages {
    scripted: Vec<(Outage, Stage)>,
    /// How many outages of each part run now, in the order of [`Part::ALL`].
    away: [usize; Part::ALL.len()],
    /// For whoever listens for connections.
    service: watch::Sender<Service>,
    /// Rung when a stage began that ends by itself.
    planned: Arc<Notify>,
}

/// Whether the service is away now, and how often it was: an outage may be over before anyone looks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Service {
    pub away: bool,
    pub outages: u64,
}

/// Where a scripted outage stands; times are since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    GoesAt(Duration),
    ReturnsAt(Duration),
    Over,
}

fn place(part: Part) -> usize {
    Part::ALL
        .iter()
        .position(|known| *known == part)
        .unwrap_or_default()
}

impl Outages {
    pub fn new(scenario: &Scenario) -> Self {
        let scripted = scenario.outages.iter();
        Self {
            scripted: scripted
                .map(|outage| (outage.clone(), Stage::Waiting))
                .collect(),
            away: [0; Part::ALL.len()],
            service: watch::Sender::default(),
            planned: Arc::default(),
        }
    }

    /// Whether the part is away.
    pub fn is_away(&self, part: Part) -> bool {
        self.away.get(place(part)).is_some_and(|count| *count > 0)
    }

    /// Whether the database is away, stopped or killed.
    pub fn without_database(&self) -> bool {
        self.is_away(Part::Database) || self.is_away(Part::DatabaseKilled)
    }

    /// Follows whether the service is away.
    pub fn watch_service(&self) -> watch::Receiver<Service> {
        self.service.subscribe()
    }

    /// Whether agents reach the server that owns the query.
    pub fn serves_agents(&self, owner: &Owner) -> bool {
        let redis = matches!(owner, Owner::Fleet(_)) && self.is_away(Part::Redis);
        !(redis || self.is_away(Part::Service) || self.without_database())
    }

    /// When the last part that is away by the script comes back; now, where none is.
    pub fn over_at(&self, now: Duration) -> Duration {
        let returns = self.scripted.iter().filter_map(|(_, stage)| match stage {
            Stage::ReturnsAt(at) => Some(*at),
            _ => None,
        });
        returns.fold(now, Duration::max)
    }

    fn next(&self) -> Option<Duration> {
        let stages = self.scripted.iter();
        stages
            .filter_map(|(_, stage)| match stage {
                Stage::GoesAt(at) | Stage::ReturnsAt(at) => Some(*at),
                Stage::Waiting | Stage::Over => None,
            })
            .min()
    }
}

/// Goes by the script: to be called when one of the numbers that it waits for has grown.
pub(crate) fn proceed(world: &mut World) {
    let now = world.now();
    for index in 0..world.outages.scripted.len() {
        loop {
            let reached = world
                .outages
                .scripted
                .get(index)
                .is_some_and(|(outage, _)| {
                    let seen = &world.observed;
                    seen.requests.len() >= outage.after_requests
                        && seen.campaigns.len() >= outage.after_campaigns
                        && taken(seen) >= outage.after_answers
                });
            let Some((outage, stage)) = world.outages.scripted.get_mut(index) else {
                break;
            };
            let part = outage.part;
            match *stage {
                Stage::Waiting if reached => {
                    *stage = Stage::GoesAt(now + outage.after);
                    world.outages.planned.notify_one();
                }
                Stage::GoesAt(at) if at <= now => {
                    *stage = Stage::ReturnsAt(at + outage.length);
                    take_away(world, part);
                }
                Stage::ReturnsAt(at) if at <= now => {
                    *stage = Stage::Over;
                    bring_back(world, part);
                }
                _ => break,
            }
        }
    }
}

fn taken(seen: &Observations) -> usize {
    seen.campaigns.iter().map(|campaign| campaign.answers).sum()
}

/// The part goes away now.
pub(crate) fn take_away(world: &mut World, part: Part) {
    let Some(count) = world.outages.away.get_mut(place(part)) else {
        return;
    };
    *count += 1;
    if *count > 1 {
        return;
    }
    match part {
        Part::Service => {
            fleet::lose_listeners(world);
            world.outages.service.send_modify(|service| {
                service.away = true;
                service.outages += 1;
            });
        }
        Part::Redis => fleet::lose_redis(world),
        Part::Database | Part::DatabaseKilled => {}
    }
}

/// The part comes back now, unless another outage keeps it away.
pub(crate) fn bring_back(world: &mut World, part: Part) {
    if let Some(count) = world.outages.away.get_mut(place(part)) {
        *count = count.saturating_sub(1);
    }
    if part == Part::Service && !world.outages.is_away(part) {
        let service = &world.outages.service;
        service.send_modify(|service| service.away = false);
    }
}

/// Goes by the clock until the simulator ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let planned = {
        let world = shared.look();
        if world.scenario.outages.is_empty() {
            return;
        }
        Arc::clone(&world.outages.planned)
    };
    shared.change(proceed);
    let next = |world: &World| world.outages.next();
    shared.by_the_clock(&planned, next, proceed).await;
}
