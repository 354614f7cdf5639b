//! The agents: when each host checks in, takes a query up and answers it. One timer serves them all: what
//! each host will do is computed when it is known and kept in a queue, so 10,000 hosts cost nothing idle.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::observe::{AnswerSeen, Fate};
use crate::rows::{Answered, RowsText};
use crate::scenario::Answer;
use crate::world::{Shared, World};
use crate::{aisoc_direct, fleet, osctrl, outages};

/// A campaign or query as the agents see it.
#[derive(Debug)]
pub(crate) struct Query {
    pub owner: Owner,
    pub sql: String,
    /// Places of the targeted hosts.
    pub targets: Vec<usize>,
    /// Agents that check in are given it.
    pub live: bool,
}

/// Whose query it is.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    /// The Fleet campaign with this id.
    Fleet(u64),
    /// The osctrl query with this name.
    Osctrl(String),
    /// The query of AiSOC's own service with this place among its queries.
    AisocDirect(usize),
}

/// Something that an agent will do.
#[derive(Debug)]
pub(crate) struct Due {
    /// When, since the start.
    pub at: Duration,
    sequence: u64,
    query: usize,
    host: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    /// It checks in and is given the query, if it still runs.
    CheckIn,
    /// It sends its answer, for the so-manieth time.
    Answer { time: u32 },
    /// osctrl stores the item of an answer, after the counters.
    Store(Arc<Answered>),
    /// osctrl counts an answer, after its item.
    Count(Arc<Answered>),
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The heap gives its greatest: the soonest, and of two the first that was planned.
        Reverse((self.at, self.sequence)).cmp(&Reverse((other.at, other.sequence)))
    }
}

/// Has every targeted host take the query up at its check-ins.
pub(crate) fn dispatch(world: &mut World, query: usize, propagation: Duration) {
    let now = world.now();
    let Some(asked) = world.queries.get(query) else {
        return;
    };
    let mut targets = asked.targets.clone();
    if matches!(asked.owner, Owner::Fleet(_)) {
        let intruders = world.hosts.iter().enumerate();
        let intruders = intruders.filter(|(_, host)| host.behaviour.intrudes);
        let places: Vec<usize> = intruders.map(|(place, _)| place).collect();
        targets.extend(
            places
                .into_iter()
                .filter(|place| !asked.targets.contains(place)),
        );
    }
    for host in targets {
        let Some(found) = world.hosts.get(host) else {
            continue;
        };
        // Without osquery there is nothing that answers.
        if found.is_mobile() {
            continue;
        }
        let from = match (found.online, found.behaviour.comes_back) {
            (true, _) => now + propagation,
            (false, Some(later)) => now + propagation.max(later),
            (false, None) => continue,
        };
        let first = found.next_check_in(from);
        let at = first + found.check_in * (found.behaviour.check_ins - 1);
        plan(world, at, query, host, What::CheckIn);
    }
}

/// A host is back: it takes up what it has not answered and is still handed out.
pub(crate) fn wake(world: &mut World, host: usize) {
    let now = world.now();
    let Some(found) = world.hosts.get(host) else {
        return;
    };
    let at = found.next_check_in(now);
    let answered = |query: usize| {
        let mut answers = world.observed.answers.iter();
        answers.any(|answer| answer.campaign == query && answer.host == found.uuid)
    };
    let waiting: Vec<usize> = world
        .queries
        .iter()
        .enumerate()
        .filter(|(place, query)| query.live && query.targets.contains(&host) && !answered(*place))
        .map(|(place, _)| place)
        .collect();
    for query in waiting {
        plan(world, at, query, host, What::CheckIn);
    }
}

fn plan(world: &mut World, at: Duration, query: usize, host: usize, what: What) {
    let sequence = world.next_sequence();
    world.due.push(Due {
        at,
        sequence,
        query,
        host,
        what,
    });
}

/// Runs the agents until the simulator ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let next = shared.look().due.peek().map(|due| due.at);
        let started = shared.look().started;
        let sleep = async {
            match next {
                Some(at) => tokio::time::sleep_until((started + at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.ended() => return,
            () = shared.wake.notified() => {}
            () = sleep => {
                shared.change(act);
                // A hundred thousand agents that act at once leave others their turn.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// What is done before the world is given free.
const SLICE: usize = 1_000;

/// Does what is due, or a part of it.
fn act(world: &mut World) {
    let now = world.now();
    let mut done = 0;
    while done < SLICE
        && world.due.peek().is_some_and(|due| due.at <= now)
        && let Some(due) = world.due.pop()
    {
        done += 1;
        match due.what {
            What::CheckIn => check_in(world, due.query, due.host, now),
            What::Answer { time } => answer(world, due.query, due.host, now, time),
            What::Store(answer) => osctrl::store(world, due.query, due.host, &answer),
            What::Count(answer) => osctrl::count(world, due.query, due.host, &answer),
        }
    }
}

fn check_in(world: &mut World, query: usize, host: usize, now: Duration) {
    if !world.queries.get(query).is_some_and(|query| query.live) {
        return;
    }
    if let Some(later) = unserved(world, query, host, now) {
        plan(world, later, query, host, What::CheckIn);
        return;
    }
    let Some(found) = world.hosts.get_mut(host) else {
        return;
    };
    if found.away {
        return;
    }
    let (uuid, intrudes) = (found.uuid.clone(), found.behaviour.intrudes);
    if !found.online {
        found.online = true;
        found.last_seen = SystemTime::now();
    }
    if !matches!(found.behaviour.answer, Answer::Silent) {
        let at = now + found.behaviour.delay;
        plan(world, at, query, host, What::Answer { time: 1 });
    }
    // Whoever intrudes was not given it.
    let given = !intrudes
        || world
            .queries
            .get(query)
            .is_some_and(|asked| asked.targets.contains(&host));
    if given && let Some(record) = world.observed.campaigns.get_mut(query) {
        record.handed_out.push(uuid);
    }
}

fn answer(world: &mut World, query: usize, host: usize, now: Duration, time: u32) {
    if let Some(later) = unserved(world, query, host, now) {
        if matches!(
            world.queries.get(query).map(|query| &query.owner),
            Some(Owner::AisocDirect(_))
        ) {
            // Recorded: what was on its way is lost, and the query is handed out again.
            note(world, query, host, Fate::Lost);
            plan(world, later, query, host, What::CheckIn);
        } else {
            // osquery keeps what it could not deliver, and sends it with its next check-in.
            plan(world, later, query, host, What::Answer { time });
        }
        return;
    }
    let (Some(asked), Some(found)) = (world.queries.get(query), world.hosts.get(host)) else {
        return;
    };
    if found.away {
        return;
    }
    let behaviour = Arc::clone(&found.behaviour);
    let said = match &found.said {
        Some(said) => Arc::clone(said),
        None => found.dataset.answer(&asked.sql),
    };
    let fate = match asked.owner.clone() {
        Owner::Fleet(id) => fleet::receive(world, id, host, &said),
        Owner::AisocDirect(place) => aisoc_direct::receive(world, place, host, &said),
        Owner::Osctrl(_) => {
            if behaviour.counter_lag.is_zero() {
                osctrl::count(world, query, host, &said);
            } else {
                plan(
                    world,
                    now + behaviour.counter_lag,
                    query,
                    host,
                    What::Count(Arc::clone(&said)),
                );
            }
            if behaviour.item_lag.is_zero() {
                osctrl::store(world, query, host, &said);
            } else {
                plan(
                    world,
                    now + behaviour.item_lag,
                    query,
                    host,
                    What::Store(said),
                );
            }
            Some(Fate::Taken)
        }
    };
    // A campaign that has ended meanwhile gives no fate: nothing was sent to it.
    let Some(fate) = fate else { return };
    note(world, query, host, fate);
    // AiSOC's own service hands a query out until its answer was written.
    let hands_out_again = world
        .queries
        .get(query)
        .is_some_and(|asked| asked.live && matches!(asked.owner, Owner::AisocDirect(_)));
    match fate {
        Fate::Lost if !hands_out_again => {}
        Fate::Refused | Fate::Lost => {
            let again = world.hosts.get(host).map(|host| host.next_check_in(now));
            if let Some(again) = again {
                plan(world, again, query, host, What::CheckIn);
            }
        }
        Fate::Taken if time < behaviour.times => {
            // Only a host that was given the query again answers again.
            if let (Some(record), Some(found)) = (
                world.observed.campaigns.get_mut(query),
                world.hosts.get(host),
            ) {
                record.handed_out.push(found.uuid.clone());
            }
            plan(
                world,
                now + behaviour.again,
                query,
                host,
                What::Answer { time: time + 1 },
            );
        }
        Fate::Taken => {}
    }
}

/// When an agent tries again, while parts of its server are away.
fn unserved(world: &World, query: usize, host: usize, now: Duration) -> Option<Duration> {
    let owner = &world.queries.get(query)?.owner;
    if world.outages.serves_agents(owner) {
        return None;
    }
    let found = world.hosts.get(host)?;
    Some(found.next_check_in(world.outages.over_at(now)))
}

/// Refusals of one campaign that are noted one by one, for each of its hosts.
const MOST_REFUSALS: usize = 8;

fn note(world: &mut World, query: usize, host: usize, fate: Fate) {
    let at = Instant::now();
    if let Some(record) = world.observed.campaigns.get_mut(query) {
        match fate {
            Fate::Taken => record.answers += 1,
            Fate::Refused => record.refused += 1,
            Fate::Lost => record.lost += 1,
        }
    }
    if fate == Fate::Taken {
        world.observed.last_answer_at = Some(at);
    }
    let host = world.hosts.get(host).map(|host| host.uuid.clone());
    let record = world.observed.campaigns.get(query);
    // Agents try again as long as nobody listens: without a limit these would fill the memory.
    let noted = record.is_none_or(|record| record.refused <= MOST_REFUSALS * record.hosts.len());
    if noted || fate != Fate::Refused {
        world.observed.answers.push(AnswerSeen {
            campaign: query,
            host: host.unwrap_or_default(),
            at,
            fate,
        });
    }
    outages::proceed(world);
}

/// What a host answers whatever it is asked; `None`: what its tables make of the statement.
pub(crate) fn prepare(answer: &Answer) -> Option<Arc<Answered>> {
    Some(match answer {
        Answer::Sql => return None,
        Answer::None | Answer::Silent => Arc::new(Answered::Rows(RowsText::default())),
        Answer::Rows(rows) => Arc::new(Answered::Rows(pinned(rows))),
        Answer::Error(text) => Arc::new(Answered::Error(text.clone())),
        Answer::Huge(huge) => Arc::new(Answered::Made((*huge).into())),
        Answer::Wide(wide) => Arc::new(Answered::Made((*wide).into())),
        Answer::StatusOnly(status) => Arc::new(Answered::StatusOnly(*status)),
        Answer::RawRows(text) => Arc::new(Answered::Raw(text.clone())),
        Answer::WithoutRows => Arc::new(Answered::Missing),
        Answer::RawData(text) => Arc::new(Answered::Data(text.clone())),
    })
}

/// Rows as a scenario writes them.
pub(crate) fn pinned(rows: &[crate::scenario::Cells]) -> RowsText {
    let mut text = RowsText::default();
    for row in rows {
        text.push(
            row.iter()
                .map(|(column, value)| {
                    let value = match value {
                        serde_json::Value::Null => String::new(),
                        serde_json::Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    (column.clone(), value)
                })
                .collect(),
        );
    }
    text
}
