//! osctrl's results: items beside counters, read page by page.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::{error, queries};
use crate::agents::Owner;
use crate::clock;
use crate::http::{Call, OSCTRL_JSON, Reply};
use crate::observe::CampaignState;
use crate::pieces::{MadeRows, PIECE, Pieces};
use crate::rows::{Answered, json_inner, json_string};
use crate::world::{Shared, World};

/// A stored answer.
pub(super) struct Item {
    id: u64,
    created: SystemTime,
    /// Place of the host.
    host: usize,
    /// The uuid that the answer carried, where it was not the host's own.
    uuid: Option<Box<str>>,
    status: i64,
    data: Data,
}

/// `data`, a JSON text, escaped for standing in a JSON string; shared between like answers.
#[derive(Clone)]
struct Data {
    text: Arc<str>,
    /// The text holds placeholders.
    personal: bool,
    /// Rows that are made where the text is parted.
    made: Option<(usize, MadeRows)>,
}

/// The text of an answer that many hosts give alike.
#[derive(Clone)]
pub(super) struct SharedData {
    answer: Arc<Answered>,
    data: Data,
}

/// Answers remembered for sharing; only a query with many kinds of hosts has more.
const MOST_SHARED: usize = 64;

impl SharedData {
    fn new(name: &str, answer: &Arc<Answered>) -> Self {
        let mut personal = false;
        let mut rows = None;
        let result = match answer.as_ref() {
            Answered::Rows(rows) => {
                let (text, has_placeholders) = rows.json_template();
                personal = has_placeholders;
                text
            }
            Answered::Raw(text) => text.clone(),
            Answered::Error(_) | Answered::StatusOnly(_) => "[]".to_owned(),
            Answered::Made(made) => {
                rows = Some(made.clone());
                String::new()
            }
            Answered::Missing | Answered::Data(_) => String::new(),
        };
        let message = match answer.as_ref() {
            Answered::Error(text) => text.as_str(),
            _ => "",
        };
        let before = format!("{{\"name\":{},\"result\":", json_string(name));
        let after = format!(
            ",\"status\":{},\"message\":{}}}",
            status_of(answer),
            json_string(message)
        );
        let text = match answer.as_ref() {
            Answered::Data(text) => {
                personal = true;
                text.clone()
            }
            Answered::Missing => format!("{{\"name\":{}{after}", json_string(name)),
            _ => format!("{before}{result}{after}"),
        };
        let data = Data {
            text: json_inner(&text).into(),
            personal,
            made: rows.map(|rows| (json_inner(&before).len(), rows)),
        };
        Self {
            answer: Arc::clone(answer),
            data,
        }
    }
}

/// More items than this a page are not given.
const LARGEST_PAGE: usize = 1_000;

fn status_of(answer: &Answered) -> i64 {
    match answer {
        Answered::Rows(_)
        | Answered::Raw(_)
        | Answered::Made(_)
        | Answered::Missing
        | Answered::Data(_) => 0,
        Answered::Error(_) => 1,
        Answered::StatusOnly(status) => *status,
    }
}

/// Counts an answer: `executions` or `errors`, and the end once every target has answered.
pub(crate) fn count(world: &mut World, place: usize, host: usize, answer: &Answered) {
    let Some(stored) = stored(world, place) else {
        return;
    };
    stored.count(status_of(answer));
    stored.pending.remove(&host);
    if stored.pending.is_empty() && stored.active {
        stored.completed = true;
        stored.active = false;
        world.end_query(place, CampaignState::Completed);
    }
}

/// Stores an answer's item; an answer that is a status alone leaves none.
pub(crate) fn store(world: &mut World, place: usize, host: usize, answer: &Arc<Answered>) {
    store_at(world, place, host, answer, SystemTime::now());
}

/// Counts and stores an answer that came at this time.
pub(super) fn keep(
    world: &mut World,
    place: usize,
    host: usize,
    answer: &Arc<Answered>,
    at: SystemTime,
) {
    let waits = stored(world, place).is_some_and(|query| query.pending.contains(&host));
    if waits {
        count(world, place, host, answer);
    } else if let Some(query) = stored(world, place) {
        // Nobody was asked: what comes ends nothing.
        query.count(status_of(answer));
    }
    store_at(world, place, host, answer, at);
    if let Some(record) = world.observed.campaigns.get_mut(place) {
        record.answers += 1;
    }
}

fn store_at(world: &mut World, place: usize, host: usize, answer: &Arc<Answered>, at: SystemTime) {
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
    let uuid = found.behaviour.answers_as.as_ref();
    let uuid = uuid.map(|uuid| uuid.to_uppercase().into_boxed_str());
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
        created: clock::whole_micros(at),
        host,
        uuid,
        status: status_of(answer),
        data: shared.data,
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
pub(super) fn page(shared: &Arc<Shared>, environment: &str, name: &str, call: &Call) -> Reply {
    let world = shared.look();
    let Some(query) = queries::find(&world, environment, name) else {
        return error(404, "query not found");
    };
    let paged = world.scenario.osctrl.paged_results;
    // What is no time is ignored without a word, and older servers ignore every one.
    let since = call
        .parameter("since")
        .filter(|_| paged)
        .and_then(|text| Some((clock::parse_rfc3339(text)?, text)));
    let fits = |item: &Item| since.is_none_or(|(since, _)| item.created > since);
    let mut found: Vec<usize> = (0..query.items.len())
        .filter(|place| query.items.get(*place).is_some_and(fits))
        .collect();
    let size = call
        .number("page_size")
        .filter(|size| *size > 0)
        .unwrap_or(50)
        .min(LARGEST_PAGE);
    let page = call.number("page").unwrap_or(1).max(1);
    let loose = world.scenario.osctrl.loose_order && page.is_multiple_of(2);
    // In the order of time; what came at one moment has no order of its own.
    found.sort_by_key(|place| {
        let item = query.items.get(*place);
        let id = item.map_or(0, |item| item.id);
        let id = if loose { u64::MAX - id } else { id };
        (item.map(|item| item.created), id)
    });
    let (skip, take) = if paged {
        ((page - 1).saturating_mul(size), size)
    } else {
        (0, usize::MAX)
    };
    let (before, after) = if paged {
        let total = found.len();
        let pages = total.div_ceil(size);
        let echoed = since.map_or_else(String::new, |(_, text)| {
            format!(",\"since\":{}", json_string(text))
        });
        (
            "{\"items\":[",
            format!(
                "],\"page\":{page},\"page_size\":{size},\"total_items\":{total},\
                 \"total_pages\":{pages}{echoed}}}"
            ),
        )
    } else {
        ("[", "]".to_owned())
    };
    let items = Items {
        shared: Arc::clone(shared),
        query: query.query,
        left: found.into_iter().skip(skip).take(take).collect(),
        first: true,
        rows: None,
        after_rows: String::new(),
    };
    drop(world);
    Reply::made(200, OSCTRL_JSON, Pieces::new(items).between(before, after))
}

/// A page's items on their way out: whatever they hold, little of it is in memory at a time.
struct Items {
    shared: Arc<Shared>,
    query: usize,
    /// Places of the items, in order.
    left: VecDeque<usize>,
    first: bool,
    /// The made rows of the item that is being written, and what follows them.
    rows: Option<Pieces>,
    after_rows: String,
}

impl Iterator for Items {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(rows) = &mut self.rows {
            if let Some(piece) = rows.next() {
                return Some(piece);
            }
            self.rows = None;
            return Some(std::mem::take(&mut self.after_rows).into());
        }
        let mut text = String::new();
        let shared = Arc::clone(&self.shared);
        let world = shared.look();
        while text.len() < PIECE && self.rows.is_none() {
            let Some(place) = self.left.pop_front() else {
                break;
            };
            if !std::mem::take(&mut self.first) {
                text.push(',');
            }
            self.write(&world, place, &mut text);
        }
        (!text.is_empty()).then(|| text.into())
    }
}

impl Items {
    /// Writes an item up to its made rows, which come next.
    fn write(&mut self, world: &World, place: usize, to: &mut String) {
        let host = |place: usize| world.hosts.get(place);
        let queries = world.osctrl.queries.iter();
        let Some(found) = queries.rev().find(|query| query.query == self.query) else {
            return;
        };
        let Some(item) = found.items.get(place) else {
            return;
        };
        let own = host(item.host).map(|host| host.uuid.to_uppercase());
        let uuid = item.uuid.as_deref().or(own.as_deref());
        to.push_str(&format!(
            "{{\"created_at\":{},\"data\":\"",
            json_string(&clock::micros(item.created))
        ));
        let after = format!(
            "\",\"environment\":{},\"id\":{},\"name\":{},\"status\":{},\"uuid\":{}}}",
            json_string(&found.environment),
            item.id,
            json_string(&found.name),
            item.status,
            json_string(uuid.unwrap_or_default())
        );
        let data = &item.data;
        if let Some((parted, rows)) = &data.made {
            let (before, rest) = data.text.split_at(*parted);
            to.push_str(before);
            self.rows = Some(rows.pieces(None, 1));
            self.after_rows = format!("{rest}{after}");
            return;
        }
        match host(item.host).filter(|_| data.personal) {
            // `data` is JSON within a string: what is filled in is escaped twice.
            Some(host) => to.push_str(&host.fill(&data.text, 2)),
            None => to.push_str(&data.text),
        }
        to.push_str(&after);
    }
}
