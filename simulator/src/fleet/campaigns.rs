//! Fleet's campaigns: who is targeted, who listens, and what becomes of an answer.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{bad_request, error, forbidden, hosts, ok};
use crate::agents::{self, Owner, Query};
use crate::clock;
use crate::http::{Call, FLEET_JSON, Reply};
use crate::observe::{self, CampaignState, Fate, Server};
use crate::rows::Answered;
use crate::scenario::Part;
use crate::world::{Shared, World};

/// A campaign.
pub(super) struct Campaign {
    /// Its place among the world's queries.
    pub query: usize,
    /// Who started it, by place.
    pub user: usize,
    listeners: Vec<Listener>,
}

struct Listener {
    id: u64,
    sender: UnboundedSender<Heard>,
    /// The socket is dead and the server has not noticed yet.
    gone: bool,
}

/// What a listener is told.
pub(super) enum Heard {
    Answer(HostAnswer),
    /// The server is at fault.
    Error(String),
}

/// An answer on its way to a listener.
pub(super) struct HostAnswer {
    /// Place of the host.
    pub host: usize,
    pub answer: Arc<Answered>,
}

/// `POST /queries/run`: by ids of hosts, labels and teams.
pub(super) fn run(shared: &Shared, user: usize, call: &Call) -> Reply {
    let body = call.json().unwrap_or_default();
    let targets = |world: &World| Ok(by_ids(world, &body["selected"]));
    start(shared, user, &body, targets)
}

/// `POST /queries/run_by_identifiers`, `run_by_names`: unknown hosts are left out silently.
pub(super) fn run_by_names(shared: &Shared, user: usize, call: &Call) -> Reply {
    let body = call.json().unwrap_or_default();
    let targets = |world: &World| {
        let selected = &body["selected"];
        let names = strings(&selected["hosts"]);
        let labels = strings(&selected["labels"]);
        let unknown: Vec<&str> = labels
            .iter()
            .copied()
            .filter(|name| !world.fleet.labels.iter().any(|label| label.name == *name))
            .collect();
        if !unknown.is_empty() {
            let reason = format!("Invalid label name(s): {}.", unknown.join(", "));
            return Err(bad_request(FLEET_JSON, &reason));
        }
        Ok(places(world, |host| {
            names.iter().any(|name| hosts::is_named(host, name))
                || world
                    .fleet
                    .labels
                    .iter()
                    .any(|label| labels.contains(&label.name.as_str()) && label.has(host))
        }))
    };
    start(shared, user, &body, targets)
}

/// `POST /targets/count`.
pub(super) fn count_targets(world: &World, call: &Call) -> Reply {
    let body = call.json().unwrap_or_default();
    let targets = by_ids(world, &body["selected"]);
    let counts = Counts::of(world, &targets);
    ok(&json!({
        "targets_count": counts.total,
        "targets_online": counts.online,
        "targets_offline": counts.offline,
    }))
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .map(|items| items.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

fn numbers(list: &Value) -> std::collections::HashSet<u64> {
    list.as_array()
        .map(|items| items.iter().filter_map(Value::as_u64).collect())
        .unwrap_or_default()
}

fn by_ids(world: &World, selected: &Value) -> Vec<usize> {
    let (hosts, labels, teams) = (
        numbers(&selected["hosts"]),
        numbers(&selected["labels"]),
        numbers(&selected["teams"]),
    );
    let named = world.fleet.labels.iter();
    let labels: Vec<_> = named.filter(|label| labels.contains(&label.id)).collect();
    places(world, |host| {
        hosts.contains(&host.id)
            || host.team_id.is_some_and(|team| teams.contains(&team))
            || labels.iter().any(|label| label.has(host))
    })
}

fn places(world: &World, fits: impl Fn(&crate::host::Host) -> bool) -> Vec<usize> {
    world
        .enrolled()
        .filter(|(_, host)| fits(host))
        .map(|(place, _)| place)
        .collect()
}

/// How many of the targets are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub total: usize,
    pub online: usize,
    /// Those that are missing too.
    pub offline: usize,
    pub missing: usize,
    pub new: usize,
}

impl Counts {
    pub fn of(world: &World, targets: &[usize]) -> Self {
        let hosts = targets.iter().filter_map(|place| world.hosts.get(*place));
        Self::of_hosts(hosts)
    }

    pub fn of_hosts<'host>(hosts: impl Iterator<Item = &'host crate::host::Host>) -> Self {
        let now = SystemTime::now();
        let mut counts = Self::default();
        for host in hosts {
            counts.total += 1;
            counts.online += usize::from(host.online);
            counts.offline += usize::from(!host.online);
            counts.missing += usize::from(host.is_missing(now));
            counts.new += usize::from(host.is_new(now));
        }
        counts
    }
}

fn start(
    shared: &Shared,
    user: usize,
    body: &Value,
    targets: impl FnOnce(&World) -> Result<Vec<usize>, Reply>,
) -> Reply {
    shared.change(|world| {
        if world.outages.is_away(Part::Redis) {
            return super::no_redis();
        }
        let saved = body["report_id"]
            .as_u64()
            .or(body["query_id"].as_u64())
            .and_then(|id| world.fleet.saved.get(&id))
            .map(|saved| {
                let id = Some(saved.id);
                (saved.sql.clone(), saved.observer_can_run, saved.team_id, id)
            });
        let (sql, runs_for_all, team_id, saved_id) = match saved {
            Some(saved) => saved,
            // The server does not look at the SQL, except for its presence.
            None => {
                let sql = body["query"].as_str().unwrap_or_default();
                (sql.to_owned(), false, None, None)
            }
        };
        if sql.is_empty() {
            return error(
                422,
                FLEET_JSON,
                "Validation Failed",
                "query",
                "one of query or query_id must be specified",
            );
        }
        let runner = world.fleet.users.get(user);
        if !runner.is_some_and(|user| user.may_run_saved(runs_for_all)) {
            return forbidden(FLEET_JSON);
        }
        let user_id = runner.map(|user| user.id);
        let mut targets = match targets(world) {
            Ok(targets) => targets,
            Err(refusal) => return refusal,
        };
        // A team's saved query runs on the team's hosts only.
        if team_id.is_some() {
            let is_member = |place: &usize| {
                let host = world.hosts.get(*place);
                host.is_some_and(|host| host.team_id == team_id)
            };
            targets.retain(is_member);
        }
        if targets.is_empty() {
            return bad_request(FLEET_JSON, "no hosts targeted");
        }
        let counts = Counts::of(world, &targets);
        let id = create(world, user, sql, targets);
        ok(&json!({"campaign": {
            "created_at": clock::NEVER,
            "updated_at": clock::NEVER,
            "Metrics": {
                "TotalHosts": counts.total,
                "OnlineHosts": counts.online,
                "OfflineHosts": counts.offline,
                "MissingInActionHosts": counts.missing,
                "NewHosts": counts.new,
            },
            "id": id,
            "query_id": saved_id.unwrap_or(id),
            "status": 0,
            "user_id": user_id,
        }}))
    })
}

/// A new campaign that agents are given from their next check-in on.
pub(super) fn create(world: &mut World, user: usize, sql: String, targets: Vec<usize>) -> u64 {
    let id = world.fleet.next_query_id();
    let record = observe::Campaign {
        server: Server::Fleet,
        id: id.to_string(),
        sql: sql.clone(),
        hosts: targets
            .iter()
            .filter_map(|place| world.hosts.get(*place))
            .map(|host| host.uuid.clone())
            .collect(),
        handed_out: Vec::new(),
        state: CampaignState::Running,
        listeners: 0,
        orphaned: false,
        answers: 0,
        lost: 0,
        refused: 0,
        items: 0,
        created: Instant::now(),
        ended: None,
    };
    let query = Query {
        owner: Owner::Fleet(id),
        sql,
        targets,
        live: true,
    };
    let query = world.add_query(record, query);
    world.fleet.campaigns.insert(
        id,
        Campaign {
            query,
            user,
            listeners: Vec::new(),
        },
    );
    let propagation = world.scenario.fleet.propagation;
    agents::dispatch(world, query, propagation);
    id
}

/// Passes an answer on to whoever listens. `None`: the campaign has ended.
pub(crate) fn receive(
    world: &mut World,
    campaign: u64,
    host: usize,
    answer: &Arc<Answered>,
) -> Option<Fate> {
    let campaign = world.fleet.campaigns.get_mut(&campaign)?;
    if !world.queries.get(campaign.query)?.live {
        return None;
    }
    if campaign.listeners.is_empty() {
        let query = campaign.query;
        let created = world.observed.campaigns.get(query)?.created;
        if created.elapsed() < world.scenario.fleet.unheard {
            return Some(Fate::Refused);
        }
        world.end_query(query, CampaignState::Completed);
        return Some(Fate::Lost);
    }
    let mut fate = Fate::Lost;
    for listener in campaign.listeners.iter().filter(|listener| !listener.gone) {
        let sent = listener.sender.send(Heard::Answer(HostAnswer {
            host,
            answer: Arc::clone(answer),
        }));
        if sent.is_ok() {
            fate = Fate::Taken;
        }
    }
    Some(fate)
}

/// Someone listens from now on.
pub(super) fn listen(world: &mut World, campaign: u64) -> Option<(u64, UnboundedReceiver<Heard>)> {
    let (sender, receiver) = unbounded_channel();
    world.fleet.last_listener += 1;
    let id = world.fleet.last_listener;
    let found = world.fleet.campaigns.get_mut(&campaign)?;
    found.listeners.push(Listener {
        id,
        sender,
        gone: false,
    });
    count_listeners(world, campaign);
    Some((id, receiver))
}

/// The listener's socket is dead; the server will notice later.
pub(super) fn lose_listener(world: &mut World, campaign: u64, listener: u64) {
    if let Some(found) = world.fleet.campaigns.get_mut(&campaign) {
        for one in found.listeners.iter_mut().filter(|one| one.id == listener) {
            one.gone = true;
        }
    }
    count_listeners(world, campaign);
}

/// The server has noticed that a listener is gone, and ends the campaign, whoever else listens.
pub(super) fn dispose(world: &mut World, campaign: u64, listener: u64) {
    let Some(found) = world.fleet.campaigns.get_mut(&campaign) else {
        return;
    };
    found.listeners.retain(|one| one.id != listener);
    let query = found.query;
    world.end_query(query, CampaignState::Completed);
    count_listeners(world, campaign);
}

/// The service is gone, and its listeners with it: it will not end what they listened to.
pub(crate) fn lose_listeners(world: &mut World) {
    let campaigns: Vec<u64> = world.fleet.campaigns.keys().copied().collect();
    for id in campaigns {
        let Some(campaign) = world.fleet.campaigns.get_mut(&id) else {
            continue;
        };
        campaign.listeners.clear();
        let place = campaign.query;
        if let Some(record) = world.observed.campaigns.get_mut(place) {
            record.orphaned |= record.state == CampaignState::Running;
        }
        count_listeners(world, id);
    }
}

/// Redis is gone: listeners are told so, and what it held of running campaigns is lost.
pub(crate) fn lose_redis(world: &mut World) {
    let mut lost = Vec::new();
    for (id, campaign) in &world.fleet.campaigns {
        for listener in &campaign.listeners {
            for text in [
                "pubsub error: read from redis: EOF".to_owned(),
                format!("pubsub error: unexpected exit in receiveMessages, campaignID={id}"),
            ] {
                // A listener that is gone has nobody to tell.
                let _ = listener.sender.send(Heard::Error(text));
            }
        }
        lost.push(campaign.query);
    }
    for place in lost {
        world.end_query(place, CampaignState::LostByServer);
    }
}

fn count_listeners(world: &mut World, campaign: u64) {
    if let Some(found) = world.fleet.campaigns.get(&campaign)
        && let Some(record) = world.observed.campaigns.get_mut(found.query)
    {
        record.listeners = found.listeners.iter().filter(|one| !one.gone).count();
    }
}

/// The host that an answer names: its own, or the one that the scenario has it pretend to be.
pub(super) fn host_named(world: &World, host: usize) -> Option<Value> {
    let host = world.hosts.get(host)?;
    let named = match &host.behaviour.answers_as {
        None => Some(host),
        Some(uuid) => world
            .hosts
            .iter()
            .find(|other| other.uuid.eq_ignore_ascii_case(uuid)),
    };
    Some(match (named, &host.behaviour.answers_as) {
        (Some(host), _) => json!({
            "id": host.id,
            "hostname": host.hostname,
            "display_name": host.display_name,
        }),
        (None, uuid) => json!({"id": 999_999, "hostname": uuid, "display_name": uuid}),
    })
}
