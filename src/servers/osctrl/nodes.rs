//! Lists an environment's nodes with the paged list, the one call that a token of the lowest level may
//! make (transcript `least-privilege`), or with the list of all nodes on servers that do not page. Knows
//! nothing of names.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use serde::de::IgnoredAny;

use super::rest::{Call, Purpose, Rest, error_of, is_unknown_environment};
use super::wire::{Count, Node, Page};
use crate::campaign::host::HostId;
use crate::servers::BackendError;
use crate::servers::http::{Reply, limits};

/// The most that a page may hold (transcript `nodes-by-platform`).
const PAGE_SIZE: u64 = 500;
/// Nodes of one page at most: of those beyond what was asked for nothing is wanted.
const MOST_OF_PAGE: usize = 2 * PAGE_SIZE as usize;
/// Nodes that one environment may have; a server that claims more is not followed.
const MOST_NODES: u64 = 1_000_000;
/// How often a list is read that holds less than it says.
const READINGS: usize = 4;
/// How long it is waited for what is not needed, once everything else is there.
const MOMENT: Duration = Duration::from_secs(1);
/// Requests at the same time.
pub const AT_ONCE: usize = 4;
/// The items have no status of their own; the filter is all that tells.
const INACTIVE: (&str, &str) = ("status", "inactive");

const LIST: Purpose = Purpose {
    what: "list the hosts",
    level: "user",
};
const LIST_ALL: Purpose = Purpose {
    what: "list all hosts at once (this osctrl has no paged list, which needs less)",
    level: "admin",
};

/// Query pairs that narrow the list.
pub type Filters<'a> = [(&'a str, &'a str)];

/// How a listing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// All of it was read.
    Whole,
    /// The server has no paged list (404: older ones).
    Unsupported,
}

/// Proves that the environment exists and that its hosts may be listed.
///
/// # Errors
/// An unknown environment, a level that is missing, and what [`Rest::send`] fails with.
pub async fn verify(rest: &Rest) -> Result<(), BackendError> {
    let path = ["nodes", rest.environment()];
    let query = [("page", "1"), ("page_size", "1")];
    let call = Call::get(&path, &query, limits::PAGE.bytes);
    let nodes = rest.each(call, || (), |(): &mut (), _: IgnoredAny| Ok(()));
    let ((), reply) = nodes.await?;
    if is_missing(&reply) {
        return all(rest, |_| {}).await;
    }
    rest.judge(reply, LIST).map(drop)
}

/// Nodes that the server holds for inactive, where it says so.
pub struct Inactive(Option<HashSet<u64>>);

impl Inactive {
    /// Whether the server holds the node for active; `None` where it does not say.
    pub fn online(&self, id: &HostId) -> Option<bool> {
        let inactive = self.0.as_ref()?;
        Some(!inactive.contains(&short(id)))
    }

    /// Nothing is known.
    pub fn unknown() -> Self {
        Self(None)
    }
}

/// Reads a listing, each node once, and which of them the server holds for inactive. More nodes than
/// `most` are an error at once.
///
/// # Errors
/// As [`verify`], and [`BackendError::TooManyHosts`].
pub async fn with_status(
    rest: &Rest,
    filters: &Filters<'_>,
    most: Option<usize>,
    each: impl FnMut(Node),
) -> Result<(Listed, Inactive), BackendError> {
    let mut inactive_filters = filters.to_vec();
    inactive_filters.push(INACTIVE);
    let mut inactive: HashSet<u64> = HashSet::new();
    let (listed, listed_inactive) = {
        let listing = pin!(list(rest, filters, most, each));
        let others = pin!(list(rest, &inactive_filters, None, |node| {
            inactive.extend(node.id().as_ref().map(short));
        }));
        // Who is inactive is worth a moment, not the step's whole time.
        match select(listing, others).await {
            Either::Left((Ok(Listed::Whole), others)) => {
                let others = tokio::time::timeout(MOMENT, others).await;
                (Ok(Listed::Whole), others.ok())
            }
            Either::Left((listed, _)) => (listed, None),
            Either::Right((others, listing)) => (listing.await, Some(others)),
        }
    };
    let listed = listed?;
    let knows_inactive = matches!(listed_inactive, Some(Ok(Listed::Whole)));
    if !knows_inactive && listed == Listed::Whole {
        rest.notices()
            .debug(|| "the server does not say which hosts are inactive".into());
    }
    Ok((listed, Inactive(knows_inactive.then_some(inactive))))
}

/// Reads every node, each once perhaps, whatever kind of list the server has.
///
/// # Errors
/// As [`verify`].
pub async fn every(rest: &Rest, mut each: impl FnMut(Node)) -> Result<(), BackendError> {
    match list(rest, &[], None, &mut each).await? {
        Listed::Whole => Ok(()),
        Listed::Unsupported => all(rest, each).await,
    }
}

/// Reads all pages of a listing, each node once.
async fn list(
    rest: &Rest,
    filters: &Filters<'_>,
    most: Option<usize>,
    mut each: impl FnMut(Node),
) -> Result<Listed, BackendError> {
    let mut seen: HashSet<u64> = HashSet::new();
    // Read again where it held less than it said: nodes may have moved between the pages meanwhile.
    for _ in 0..READINGS {
        let Some(first) = page(rest, filters, 1).await? else {
            return Ok(Listed::Unsupported);
        };
        let total = first.total_items.map(|Count(total)| total);
        if let (Some(total), Some(max_hosts)) = (total, most)
            && total > u64::try_from(max_hosts).unwrap_or(u64::MAX)
        {
            return Err(BackendError::TooManyHosts { max_hosts });
        }
        let size = first.page_size.map_or(PAGE_SIZE, |Count(size)| size);
        let size = size.clamp(1, PAGE_SIZE);
        // Without a total each page must show whether there is another one.
        let at_once = if total.is_some() { AT_ONCE } else { 1 };
        let pages = total.unwrap_or(MOST_NODES).min(MOST_NODES).div_ceil(size);
        let mut others = stream::iter(2..=pages)
            .map(|number| page(rest, filters, number))
            .buffered(at_once);
        let mut seen_now = HashSet::new();
        let mut nameless = 0;
        let mut items = first.items;
        loop {
            let before = seen_now.len();
            for node in items.into_iter().flatten() {
                let Some(id) = node.id() else {
                    nameless += 1;
                    continue;
                };
                let id = short(&id);
                seen_now.insert(id);
                if seen.insert(id) {
                    each(node);
                }
            }
            // A page without anything new ends the list, whatever the server says of their number.
            if seen_now.len() == before {
                break;
            }
            items = match others.next().await {
                Some(next) => next?.and_then(|next| next.items),
                None => break,
            };
        }
        if total.is_none_or(|total| total <= seen.len() as u64 + nameless) {
            break;
        }
    }
    Ok(Listed::Whole)
}

/// An id as it is remembered: a million of them are 16 MB.
fn short(id: &HostId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// One page; `None` where the server has no paged list.
async fn page(
    rest: &Rest,
    filters: &Filters<'_>,
    number: u64,
) -> Result<Option<Page<Node>>, BackendError> {
    let (number, size) = (number.to_string(), PAGE_SIZE.to_string());
    let mut query = filters.to_vec();
    query.extend([
        ("page", number.as_str()),
        // No order is asked for, since no recording shows one: a node that moves between pages while they
        // are read is found because a list that holds less than it says is read again.
        ("page_size", size.as_str()),
    ]);
    let path = ["nodes", rest.environment()];
    let call = Call::get(&path, &query, limits::PAGE.bytes);
    // Who is inactive is worth no wait.
    let call = match filters.contains(&INACTIVE) {
        true => call.impatient(),
        false => call,
    };
    let too_many = || BackendError::Answer {
        status: None,
        message: format!(
            "{} put more than {MOST_OF_PAGE} hosts on a page for which {PAGE_SIZE} were asked",
            rest.origin()
        ),
        hint: Some("look at what listens at `base_url`".into()),
    };
    let take = |nodes: &mut Vec<Node>, node: Node| match nodes.len() {
        MOST_OF_PAGE.. => Err(too_many()),
        _ => {
            nodes.push(node);
            Ok(())
        }
    };
    let (nodes, reply) = rest.each(call, Vec::new, take).await?;
    if is_missing(&reply) {
        return Ok(None);
    }
    let reply = rest.judge(reply, LIST)?;
    // What stands around the list.
    let page: Page<Node> = reply.json()?;
    match page.items {
        Some(_) => Ok(Some(Page {
            items: Some(nodes),
            ..page
        })),
        // That is no empty list: nobody may be called unknown because of it.
        None => Err(BackendError::Answer {
            status: None,
            message: format!(
                "{} answered {} without a list of hosts",
                rest.origin(),
                reply.asked
            ),
            hint: Some("check that `base_url` is the address of osctrl's API".into()),
        }),
    }
}

/// Whether the server has no such call.
fn is_missing(reply: &Reply) -> bool {
    reply.status == 404 && !is_unknown_environment(reply)
}

/// Reads every node of a server without the paged list; it does not say who is inactive. A node may come
/// twice, where the connection breaks.
///
/// # Errors
/// As [`verify`].
pub async fn all(rest: &Rest, mut each: impl FnMut(Node)) -> Result<(), BackendError> {
    let path = ["nodes", rest.environment(), "all"];
    let call = Call::get(&path, &[], limits::LIST.bytes);
    let take = |(): &mut (), node| {
        each(node);
        Ok(())
    };
    let ((), reply) = rest.each(call, || (), take).await?;
    // An empty environment is a 404 to older servers.
    if reply.status == 404 && error_of(&reply).is_some_and(|error| error == "no nodes") {
        return Ok(());
    }
    rest.judge(reply, LIST_ALL).map(drop)
}
