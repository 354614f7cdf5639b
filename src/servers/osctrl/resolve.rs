//! Finds an environment's nodes with the paged list, the one call that a token of the lowest level may
//! make (transcript `least-privilege`), or with the list of all nodes on servers that do not page.
//! Which node a name means is not decided here: every node that it could mean is returned.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::rest::{Call, Purpose, Rest, error_of, is_unknown_environment};
use super::wire::{Count, Node, Page};
use crate::campaign::Limits;
use crate::campaign::host::Candidates;
use crate::campaign::host::Host;
use crate::campaign::host::HostId;
use crate::campaign::host::Platform;
use crate::campaign::roster::Targets;
use crate::servers::BackendError;
use crate::servers::http::Reply;

/// The most that a page may hold (transcript `nodes-by-platform`).
const PAGE_SIZE: u64 = 500;
/// A node with its system's details is 1–2 KiB; a page of 500 may be far from that and is still read.
const PAGE_BYTES: usize = 64 * 1024 * 1024;
/// The list of all nodes has no pages.
const ALL_BYTES: usize = 512 * 1024 * 1024;
/// Nodes that one environment may have; a server that claims more is not followed.
const MOST_NODES: u64 = 1_000_000;
/// Names that are searched one by one. Each costs a few small requests, whatever the size of the
/// environment; above, reading all pages of a middling environment (10,000 nodes are 20) costs less.
const MOST_SEARCHES: usize = 20;
/// How often a list is read that holds less than it says.
const READINGS: usize = 4;
/// How long it is waited for what is not needed, once everything else is there.
const MOMENT: Duration = Duration::from_secs(1);
/// Requests at the same time.
const AT_ONCE: usize = 4;

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
type Filters<'a> = [(&'a str, &'a str)];

/// Hosts, each once.
type Hosts = HashMap<HostId, Host>;

/// How a listing ended.
enum Listed {
    /// All of it was read.
    Whole,
    /// The server has no paged list (404: older ones).
    Unsupported,
}

/// Finds the hosts of the targets.
///
/// # Errors
/// An unknown environment, a level that is missing, more hosts than `limits.max_hosts` where only
/// platforms are named, and what [`Rest::send`] fails with.
pub async fn resolve(
    rest: &Rest,
    targets: &Targets,
    limits: &Limits,
) -> Result<Candidates, BackendError> {
    let mut candidates = Candidates::default();
    if !targets.labels.is_empty() {
        return Err(BackendError::Targets {
            message: "osctrl has no labels, and no call that lists the hosts of a tag".into(),
            hint: Some("name hosts in `target_hosts`, or platforms in `target_platforms`".into()),
        });
    }
    if !targets.hosts.is_empty() {
        candidates.named = named(rest, &targets.hosts).await?;
    } else if !targets.platforms.is_empty() {
        candidates.grouped = of_platforms(rest, &targets.platforms, limits.max_hosts).await?;
    }
    Ok(candidates)
}

/// Proves that the environment exists and that its hosts may be listed.
///
/// # Errors
/// As [`resolve`].
pub async fn verify(rest: &Rest) -> Result<(), BackendError> {
    let query = [("page", "1"), ("page_size", "1")];
    let reply = rest
        .send(Call::get(
            &["nodes", rest.environment()],
            &query,
            PAGE_BYTES,
        ))
        .await?;
    if is_missing(&reply) {
        return all(rest).await.map(drop);
    }
    rest.judge(reply, LIST).map(drop)
}

/// What names are compared by: in lower case, since hosts, serials and uuids are told apart without
/// regard to case. `NAME@UUID` stands for its uuid too: that is how hosts of one name are written.
struct Wanted<'a> {
    /// Each name with the texts that find it.
    names: Vec<Vec<&'a str>>,
    keys: HashSet<String>,
}

impl<'a> Wanted<'a> {
    fn new(names: &'a [String]) -> Self {
        let names: Vec<Vec<&str>> = names
            .iter()
            .map(|name| {
                let uuid = name.rsplit_once('@').map(|(_, uuid)| uuid.trim());
                let uuid = uuid.filter(|uuid| !uuid.is_empty());
                std::iter::once(name.as_str()).chain(uuid).collect()
            })
            .collect();
        let keys = names
            .iter()
            .flatten()
            .map(|text| text.to_lowercase())
            .collect();
        Self { names, keys }
    }

    fn matches(&self, host: &Host) -> bool {
        keys_of(host).any(|key| self.keys.contains(&key))
    }

    /// The names that none of the hosts matches.
    fn missing(&self, hosts: &Hosts) -> Vec<&[&'a str]> {
        let found: HashSet<String> = hosts.values().flat_map(keys_of).collect();
        let is_found = |text: &&str| found.contains(&text.to_lowercase());
        let names = self.names.iter().map(Vec::as_slice);
        names.filter(|texts| !texts.iter().any(is_found)).collect()
    }
}

/// What to search for: the search tells upper from lower case, hostnames are mostly lower case
/// (Windows: upper), uuids always upper. Of `NAME@UUID` the uuid finds whatever the whole would.
fn searches(names: &[&[&str]]) -> Vec<String> {
    let mut searches = Vec::new();
    for text in names.iter().filter_map(|texts| texts.last()) {
        for spelling in spellings(text) {
            if !searches.contains(&spelling) {
                searches.push(spelling);
            }
        }
    }
    searches
}

fn keys_of(host: &Host) -> impl Iterator<Item = String> {
    [&host.uuid, &host.serial, &host.hostname]
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(|text| text.to_lowercase())
}

fn spellings(text: &str) -> Vec<String> {
    let upper = text.to_uppercase();
    let is_uuid = text.len() == 36
        && text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_uuid {
        return vec![upper];
    }
    vec![text.to_owned(), text.to_lowercase(), upper]
}

/// Every host that one of the names could mean.
async fn named(rest: &Rest, names: &[String]) -> Result<Vec<Host>, BackendError> {
    let wanted = Wanted::new(names);
    let mut hosts = Hosts::new();
    let search_first = names.len() <= MOST_SEARCHES;
    if search_first {
        let missing = wanted.missing(&hosts);
        let Some(found) = search(rest, &wanted, &missing).await? else {
            return everything_older(rest, |host| wanted.matches(host)).await;
        };
        hosts.extend(found);
        // The search looks into other columns than names, serials and uuids of any case: a host counts
        // as unknown only once all pages were read.
        if wanted.missing(&hosts).is_empty() {
            return Ok(hosts.into_values().collect());
        }
        rest.notices().debug(|| {
            "a name was not found by searching: reading the environment's whole list".into()
        });
    }
    let Some(found) = with_status(rest, &[], |host| wanted.matches(host), None).await? else {
        return everything_older(rest, |host| wanted.matches(host)).await;
    };
    hosts.extend(found.into_iter().map(|host| (host.id.clone(), host)));
    // A host may have moved from page to page unseen.
    let missing = wanted.missing(&hosts);
    if !search_first && !missing.is_empty() && missing.len() <= MOST_SEARCHES {
        let found = search(rest, &wanted, &missing).await?;
        hosts.extend(found.unwrap_or_default());
    }
    Ok(hosts.into_values().collect())
}

/// Searches for names one by one; `None` where the server can't.
async fn search(
    rest: &Rest,
    wanted: &Wanted<'_>,
    names: &[&[&str]],
) -> Result<Option<Hosts>, BackendError> {
    let found: Vec<Option<Vec<Host>>> = stream::iter(searches(names))
        .map(|text| async move {
            let filters = [("q", text.as_str())];
            with_status(rest, &filters, |host| wanted.matches(host), None).await
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let lists: Option<Vec<Vec<Host>>> = found.into_iter().collect();
    Ok(lists.map(|lists| {
        let hosts = lists.into_iter().flatten();
        hosts.map(|host| (host.id.clone(), host)).collect()
    }))
}

/// Every host of the platforms.
async fn of_platforms(
    rest: &Rest,
    platforms: &[Platform],
    max_hosts: usize,
) -> Result<Vec<Host>, BackendError> {
    let mut hosts = Hosts::new();
    for &platform in platforms {
        let filters = [("platform", platform.name())];
        let Some(found) = with_status(rest, &filters, |_| true, Some(max_hosts)).await? else {
            return everything_older(rest, |host| {
                host.platform.is_some_and(|one| platforms.contains(&one))
            })
            .await;
        };
        // The server's own word for what it filtered by: it knows spellings such as `win32`.
        hosts.extend(found.into_iter().map(|host| {
            let platform = Some(platform);
            (host.id.clone(), Host { platform, ..host })
        }));
        // osctrl has a list of the distributions that it holds for Linux; the others are `other`.
        if platform == Platform::Linux {
            let filters = [("platform", "other")];
            let is_linux = |host: &Host| host.platform == Some(Platform::Linux);
            let found = with_status(rest, &filters, is_linux, None).await?;
            let found = found.into_iter().flatten();
            hosts.extend(found.map(|host| (host.id.clone(), host)));
        }
        if hosts.len() > max_hosts {
            return Err(BackendError::TooManyHosts { max_hosts });
        }
    }
    Ok(hosts.into_values().collect())
}

/// The hosts of a listing that are wanted, with whether the server holds them for inactive; `None`
/// where it has no paged list. More than `most` is an error at once.
async fn with_status(
    rest: &Rest,
    filters: &Filters<'_>,
    wanted: impl Fn(&Host) -> bool,
    most: Option<usize>,
) -> Result<Option<Vec<Host>>, BackendError> {
    let mut inactive_filters = filters.to_vec();
    inactive_filters.push(INACTIVE);
    let mut hosts = Hosts::new();
    let mut inactive: HashSet<HostId> = HashSet::new();
    let (listed, listed_inactive) = {
        let listing = pin!(list(rest, filters, most, |host| if wanted(&host) {
            hosts.insert(host.id.clone(), host);
        }));
        let others = pin!(list(rest, &inactive_filters, None, |host| {
            if wanted(&host) {
                inactive.insert(host.id);
            }
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
    if let Listed::Unsupported = listed? {
        return Ok(None);
    }
    let knows_inactive = matches!(listed_inactive, Some(Ok(Listed::Whole)));
    if !knows_inactive {
        rest.notices()
            .debug(|| "the server does not say which hosts are inactive".into());
    }
    Ok(Some(
        hosts
            .into_values()
            .map(|host| Host {
                online: knows_inactive.then(|| !inactive.contains(&host.id)),
                ..host
            })
            .collect(),
    ))
}

/// Reads all pages of a listing, each host once.
async fn list(
    rest: &Rest,
    filters: &Filters<'_>,
    most: Option<usize>,
    mut each: impl FnMut(Host),
) -> Result<Listed, BackendError> {
    let mut seen: HashSet<HostId> = HashSet::new();
    // Read again where it held less than it said: hosts may have moved between the pages meanwhile.
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
                let Some(host) = node.into_host() else {
                    nameless += 1;
                    continue;
                };
                seen_now.insert(host.id.clone());
                if seen.insert(host.id.clone()) {
                    each(host);
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
        // No order is asked for, since no recording shows one: a host that moves between pages while they
        // are read is found because a list that holds less than it says is read again.
        ("page_size", size.as_str()),
    ]);
    let path = ["nodes", rest.environment()];
    let call = Call::get(&path, &query, PAGE_BYTES);
    // Who is inactive is worth no wait.
    let call = match filters.contains(&INACTIVE) {
        true => call.impatient(),
        false => call,
    };
    let reply = rest.send(call).await?;
    if is_missing(&reply) {
        return Ok(None);
    }
    rest.judge(reply, LIST)?.json().map(Some)
}

/// Whether the server has no such call.
fn is_missing(reply: &Reply) -> bool {
    reply.status == 404 && !is_unknown_environment(reply)
}

/// The wanted hosts of a server without the paged list; it does not say who is inactive.
async fn everything_older(
    rest: &Rest,
    wanted: impl Fn(&Host) -> bool,
) -> Result<Vec<Host>, BackendError> {
    let nodes = all(rest).await?;
    let hosts = nodes.into_iter().filter_map(Node::into_host);
    Ok(hosts.filter(wanted).collect())
}

async fn all(rest: &Rest) -> Result<Vec<Node>, BackendError> {
    let path = ["nodes", rest.environment(), "all"];
    let reply = rest.send(Call::get(&path, &[], ALL_BYTES)).await?;
    // An empty environment is a 404 to older servers.
    if reply.status == 404 && error_of(&reply).is_some_and(|error| error == "no nodes") {
        return Ok(Vec::new());
    }
    let nodes: Option<Vec<Node>> = rest.judge(reply, LIST_ALL)?.json()?;
    Ok(nodes.unwrap_or_default())
}
