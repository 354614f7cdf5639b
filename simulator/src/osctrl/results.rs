//! osctrl's results: items beside counters, read page by page.

use std::sync::Arc;
use std::time::SystemTime;

use super::{error, queries};
use crate::agents::Owner;
use crate::clock;
use crate::http::{Call, OSCTRL_JSON, Reply};
use crate::observe::CampaignState;
use crate::rows::{Answered, json_inner, json_string};
use crate::world::World;

/// A stored answer.
pub(super) struct Item {
    id: u64,
    created: SystemTime,
    /// Place of the host.
    host: usize,
    /// The uuid that the answer carried.
    uuid: String,
    status: i64,
    /// `data`, a JSON text, escaped for standing in a JSON string; shared between like answers.
    data: Arc<str>,
    /// `data` holds placeholders.
    personal: bool,
}

/// The text of an answer that many hosts give alike.
#[derive(Clone)]
pub(super) struct SharedData {
    answer: Arc<Answered>,
    data: Arc<str>,
    personal: bool,
}

/// Answers remembered for sharing; only a query with many kinds of hosts has more.
const MOST_SHARED: usize = 64;

impl SharedData {
    fn new(name: &str, answer: &Arc<Answered>) -> Self {
        let (rows, personal, message) = match answer.as_ref() {
            Answered::Rows(rows) => {
                let (text, personal) = rows.json_template();
                (text, personal, "")
            }
            Answered::Error(text) => ("[]".to_owned(), false, text.as_str()),
            Answered::Raw(text) => (text.clone(), false, ""),
            Answered::StatusOnly(_) => ("[]".to_owned(), false, ""),
        };
        let data = format!(
            "{{\"name\":{},\"result\":{rows},\"status\":{},\"message\":{}}}",
            json_string(name),
            status_of(answer),
            json_string(message)
        );
        Self {
            answer: Arc::clone(answer),
            data: json_inner(&data).into(),
            personal,
        }
    }
}

/// More items than this a page are not given.
const LARGEST_PAGE: usize = 1_000;

fn status_of(answer: &Answered) -> i64 {
    match answer {
        Answered::Rows(_) | Answered::Raw(_) => 0,
        Answered::Error(_) => 1,
        Answered::StatusOnly(status) => *status,
    }
}

/// Counts an answer: `executions` or `errors`, and the end once every target has answered.
pub(crate) fn count(world: &mut World, place: usize, host: usize, answer: &Answered) {
    let Some(stored) = stored(world, place) else {
        return;
    };
    if status_of(answer) == 0 {
        stored.executions += 1;
    } else {
        stored.errors += 1;
    }
    stored.pending.remove(&host);
    stored.touch();
    if stored.pending.is_empty() && stored.active {
        stored.completed = true;
        stored.active = false;
        world.end_query(place, CampaignState::Completed);
    }
}

/// Stores an answer's item; an answer that is a status alone leaves none.
pub(crate) fn store(world: &mut World, place: usize, host: usize, answer: &Arc<Answered>) {
    let Some(Owner::Osctrl(name)) = world.queries.get(place).map(|query| query.owner.clone())
    else {
        return;
    };
    if matches!(answer.as_ref(), Answered::StatusOnly(_)) {
        return;
    }
    let Some(found) = world.hosts.get(host) else {
        return;
    };
    let uuid = found
        .behaviour
        .answers_as
        .clone()
        .unwrap_or_else(|| found.uuid.clone())
        .to_uppercase();
    world.osctrl.last_item += 1;
    let id = world.osctrl.last_item;
    let Some(stored) = stored(world, place) else {
        return;
    };
    let known = stored
        .shared_data
        .iter()
        .find(|shared| Arc::ptr_eq(&shared.answer, answer))
        .cloned();
    let shared = known.unwrap_or_else(|| {
        let shared = SharedData::new(&name, answer);
        if stored.shared_data.len() < MOST_SHARED {
            stored.shared_data.push(shared.clone());
        }
        shared
    });
    stored.items.push(Item {
        id,
        created: SystemTime::now(),
        host,
        uuid,
        status: status_of(answer),
        data: shared.data,
        personal: shared.personal,
    });
    let items = stored.items.len();
    if let Some(record) = world.observed.campaigns.get_mut(place) {
        record.items = items;
    }
}

fn stored(world: &mut World, place: usize) -> Option<&mut queries::StoredQuery> {
    world
        .osctrl
        .queries
        .iter_mut()
        .rev()
        .find(|query| query.query == place)
}

/// `GET /queries/{env}/results/{name}?page&page_size&since`.
pub(super) fn page(world: &World, environment: &str, name: &str, call: &Call) -> Reply {
    let Some(query) = queries::find(world, environment, name) else {
        return error(404, "query not found");
    };
    let since = match call.parameter("since").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match clock::parse_rfc3339(text) {
            Some(at) => Some(at),
            None => return error(400, "invalid since"),
        },
    };
    let found: Vec<&Item> = query
        .items
        .iter()
        .filter(|item| since.is_none_or(|since| item.created > since))
        .collect();
    let size = call
        .number("page_size")
        .filter(|size| *size > 0)
        .unwrap_or(50)
        .min(LARGEST_PAGE);
    let page = call.number("page").unwrap_or(1).max(1);
    let paged = world.scenario.osctrl.paged_results;
    let (skip, take) = if paged {
        ((page - 1).saturating_mul(size), size)
    } else {
        (0, usize::MAX)
    };
    let mut items = String::from("[");
    for (index, item) in found.iter().skip(skip).take(take).enumerate() {
        if index > 0 {
            items.push(',');
        }
        write_item(world, query, item, &mut items);
    }
    items.push(']');
    let body = if paged {
        format!(
            "{{\"items\":{items},\"page\":{page},\"page_size\":{size},\"total_items\":{},\"total_pages\":{}}}",
            found.len(),
            found.len().div_ceil(size)
        )
    } else {
        items
    };
    Reply::new(200, OSCTRL_JSON, body)
}

fn write_item(world: &World, query: &queries::StoredQuery, item: &Item, to: &mut String) {
    to.push_str(&format!(
        "{{\"created_at\":{},\"data\":\"",
        json_string(&clock::micros(item.created))
    ));
    match world.hosts.get(item.host).filter(|_| item.personal) {
        // `data` is JSON within a string: what is filled in is escaped twice.
        Some(host) => to.push_str(&host.fill(&item.data, 2)),
        None => to.push_str(&item.data),
    }
    to.push_str(&format!(
        "\",\"environment\":{},\"id\":{},\"name\":{},\"status\":{},\"uuid\":{}}}",
        json_string(&query.environment),
        item.id,
        json_string(&query.name),
        item.status,
        json_string(&item.uuid)
    ));
}
