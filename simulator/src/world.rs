//! The state that both servers and the agents share, behind one lock, and the ways to wait for a change.

use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};

use crate::agents::{Due, Query};
use crate::changes::{self, Changes};
use crate::host::{self, Host};
use crate::observe::{Campaign, CampaignState, Observations};
use crate::outages::{self, Outages};
use crate::scenario::{Scenario, ScenarioError};
use crate::{aisoc_direct, fleet, osctrl, proxy};

/// The world and its bells.
pub(crate) struct Shared {
    world: Mutex<World>,
    /// Rung for threads that wait for something to happen.
    changed: Condvar,
    /// The same for tasks.
    version: watch::Sender<u64>,
    /// Rung when the agents have something to do sooner than they thought.
    pub wake: Notify,
    /// True once the simulator ends.
    ended: watch::Sender<bool>,
}

/// Everything that changes.
pub(crate) struct World {
    pub scenario: Arc<Scenario>,
    pub started: Instant,
    pub hosts: Vec<Host>,
    pub observed: Observations,
    /// Parallel to `observed.campaigns`.
    pub queries: Vec<Query>,
    /// What agents will do, the soonest first.
    pub due: BinaryHeap<Due>,
    pub sequence: u64,
    pub fleet: fleet::State,
    pub osctrl: osctrl::State,
    pub aisoc_direct: aisoc_direct::State,
    pub changes: Changes,
    /// How often each fault's conditions were met.
    pub fault_matches: Vec<usize>,
    pub outages: Outages,
    pub proxy: proxy::State,
}

impl Shared {
    pub fn new(scenario: Scenario) -> Result<Arc<Self>, ScenarioError> {
        scenario.validate()?;
        let scenario = Arc::new(scenario);
        let hosts = host::enrol(&scenario, SystemTime::now())?;
        let mut world = World {
            started: Instant::now(),
            fleet: fleet::State::new(&scenario, &hosts)?,
            osctrl: osctrl::State::new(&scenario),
            aisoc_direct: aisoc_direct::State::new(&scenario),
            changes: Changes::new(&scenario),
            fault_matches: vec![0; scenario.faults.len()],
            outages: Outages::new(&scenario),
            proxy: proxy::State::default(),
            hosts,
            observed: Observations::default(),
            queries: Vec::new(),
            due: BinaryHeap::new(),
            sequence: 0,
            scenario,
        };
        osctrl::fill(&mut world)?;
        changes::check(&world)?;
        Ok(Arc::new(Self {
            world: Mutex::new(world),
            changed: Condvar::new(),
            version: watch::Sender::new(0),
            wake: Notify::new(),
            ended: watch::Sender::new(false),
        }))
    }

    /// Looks, without telling anyone.
    pub fn look(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by a script's clock until the simulator ends: does what is due at the time that comes next,
    /// counted from the start, and looks for it anew whenever something was planned.
    pub async fn by_the_clock(
        &self,
        planned: &Notify,
        next: impl Fn(&World) -> Option<Duration>,
        proceed: impl Fn(&mut World),
    ) {
        let started = self.look().started;
        loop {
            let next = next(&self.look());
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until((started + at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.ended() => return,
                () = planned.notified() => {}
                () = sleep => self.change(&proceed),
            }
        }
    }

    /// Changes something and rings the bells.
    pub fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let (result, sooner) = {
            let mut world = self.look();
            let before = world.due.peek().map(|due| due.at);
            let result = change(&mut world);
            outages::proceed(&mut world);
            (result, world.due.peek().map(|due| due.at) != before)
        };
        self.changed.notify_all();
        self.version.send_modify(|version| *version += 1);
        if sooner {
            self.wake.notify_one();
        }
        result
    }

    /// Blocks until the condition holds; false when the time is over.
    pub fn wait_until(
        &self,
        mut condition: impl FnMut(&Observations) -> bool,
        timeout: Duration,
    ) -> bool {
        let deadline = Instant::now() + timeout;
        let mut world = self.look();
        loop {
            if condition(&world.observed) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            world = self
                .changed
                .wait_timeout(world, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits, as a task, until the condition holds; false when the time is over.
    pub async fn until(
        &self,
        mut condition: impl FnMut(&Observations) -> bool,
        timeout: Duration,
    ) -> bool {
        let mut version = self.version.subscribe();
        let wait = async {
            loop {
                version.mark_unchanged();
                if condition(&self.look().observed) {
                    return true;
                }
                if version.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(timeout, wait).await.unwrap_or(false)
    }

    /// Ends every task of the simulator.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Resolves when the simulator ends.
    pub async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl World {
    /// The hosts that the servers know, with their places.
    pub fn enrolled(&self) -> impl Iterator<Item = (usize, &Host)> {
        let hosts = self.hosts.iter().enumerate();
        hosts.filter(|(_, host)| host.enrolled)
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A number that grows.
    pub fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Notes a new campaign or query and returns its place.
    pub fn add_query(&mut self, record: Campaign, query: Query) -> usize {
        self.observed.campaigns.push(record);
        self.queries.push(query);
        self.queries.len() - 1
    }

    /// Ends every token and session, as an administrator may at any time.
    pub fn revoke_tokens(&mut self) {
        self.fleet.revoke_tokens();
        self.osctrl.revoke_tokens();
        self.aisoc_direct.revoke_tokens();
    }

    /// Agents are no longer given the query.
    pub fn end_query(&mut self, place: usize, state: CampaignState) {
        if let Some(query) = self.queries.get_mut(place) {
            query.live = false;
        }
        if let Some(record) = self.observed.campaigns.get_mut(place)
            && record.state == CampaignState::Running
        {
            record.state = state;
            record.ended = Some(Instant::now());
        }
    }
}

/// Text that nobody can guess, in hexadecimal.
pub(crate) fn random_hex(digits: usize) -> String {
    let mut text = String::new();
    while text.len() < digits {
        // The standard library's hasher keys come from the system's randomness.
        let number = RandomState::new().hash_one(Instant::now());
        text.push_str(&format!("{number:016x}"));
    }
    text.truncate(digits);
    text
}

/// A random uuid (version 4).
pub(crate) fn random_uuid() -> String {
    let hex = random_hex(30);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-4{}-a{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(18, 30)
    )
}
