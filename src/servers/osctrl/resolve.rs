//! Which of an environment's nodes the targets could mean. Which one a name means is not decided here:
//! every node that it could mean is returned.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::nodes::{self, AT_ONCE, Filters, Inactive, Listed};
use super::rest::Rest;
use super::wire::Node;
use crate::campaign::Limits;
use crate::campaign::host::{Candidates, Host, HostId, Platform, Text};
use crate::campaign::names::{Sought, SoughtName};
use crate::campaign::roster::Targets;
use crate::printable::listed;
use crate::servers::{BackendError, Found, holds};

/// Names that are searched one by one. Each costs a few small requests, whatever the size of the
/// environment; above, reading all pages of a middling environment (10,000 nodes are 20) costs less.
const MOST_SEARCHES: usize = 20;
/// Nodes that fit a step's names, as a multiple of the hosts that it allows: a name that is one node's uuid
/// may be the hostname of others, which are then not asked.
const FITTING: usize = 4;

/// Hosts, each once.
#[derive(Debug, Default)]
struct Hosts {
    hosts: Vec<Host>,
    places: HashMap<HostId, usize>,
}

impl Hosts {
    /// Adds a host, in the place of what was known of it.
    fn insert(&mut self, host: Host) {
        match self.places.entry(host.id.clone()) {
            Entry::Occupied(place) => self.hosts[*place.get()] = host,
            Entry::Vacant(place) => {
                place.insert(self.hosts.len());
                self.hosts.push(host);
            }
        }
    }

    fn extend(&mut self, others: Self) {
        if self.hosts.is_empty() {
            *self = others;
            return;
        }
        for host in others.hosts {
            self.insert(host);
        }
    }
}

/// Finds the hosts of the targets.
///
/// # Errors
/// An unknown environment or tag, a level that is missing, far more hosts than `limits.max_hosts`, and what
/// [`Rest::send`] fails with.
pub async fn resolve(
    rest: &Rest,
    targets: &Targets,
    limits: &Limits,
) -> Result<Candidates, BackendError> {
    let finder = Finder {
        rest,
        max_hosts: limits.max_hosts,
        sought: Sought::of(targets),
    };
    let mut candidates = Candidates::default();
    if !targets.hosts.is_empty() {
        candidates.named = finder.named().await?;
    }
    if !targets.labels.is_empty() {
        candidates.grouped = finder.tagged(&targets.labels).await?;
    } else if targets.hosts.is_empty() && !targets.platforms.is_empty() {
        candidates.grouped = finder.of_platforms(&targets.platforms).await?;
    }
    candidates.seen = finder.sought.into_seen();
    Ok(candidates)
}

/// The first hosts that hold a text.
///
/// # Errors
/// As [`resolve`], but for the number of hosts.
pub async fn search(rest: &Rest, text: &str, most: usize) -> Result<Found, BackendError> {
    let mut found: BTreeMap<HostId, Host> = BTreeMap::new();
    for spelling in spellings(text) {
        if found.len() > most || !look(rest, &[("q", &spelling)], text, most, &mut found).await? {
            break;
        }
    }
    // The search does not look into serials, nor for a spelling of mixed case.
    if found.is_empty() && !look(rest, &[], text, most, &mut found).await? {
        nodes::all(rest, |node| add_holding(node, text, most, &mut found)).await?;
    }
    Ok(Found {
        more: found.len() > most,
        hosts: found.into_values().take(most).collect(),
    })
}

/// Looks through a listing; false where the server has none.
async fn look(
    rest: &Rest,
    filters: &Filters<'_>,
    text: &str,
    most: usize,
    found: &mut BTreeMap<HostId, Host>,
) -> Result<bool, BackendError> {
    let mut listed_now = BTreeMap::new();
    let (listed, inactive) = nodes::with_status(rest, filters, None, |node| {
        add_holding(node, text, most, &mut listed_now);
    })
    .await?;
    for (id, host) in listed_now {
        let online = inactive.online(&id);
        found.entry(id).or_insert(Host { online, ..host });
    }
    Ok(listed == Listed::Whole)
}

/// One more than is wanted says that there are more.
fn add_holding(node: Node, text: &str, most: usize, found: &mut BTreeMap<HostId, Host>) {
    let host = node.into_host().filter(|host| holds(host, text));
    if let Some(host) = host.filter(|_| found.len() <= most) {
        found.insert(host.id.clone(), host);
    }
}

/// What to search for: the search tells upper from lower case, hostnames are mostly lower case
/// (Windows: upper), uuids always upper. It does not look into serials, so that firmware's words for none
/// would only be found where they mean something else.
fn searches(names: &[&SoughtName]) -> Vec<String> {
    let mut searches = Vec::new();
    let names = names.iter().filter(|name| !name.placeholder);
    for text in names.flat_map(|name| name.surest_terms()) {
        for spelling in spellings(text) {
            if !searches.contains(&spelling) {
                searches.push(spelling);
            }
        }
    }
    searches
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

/// One resolution.
struct Finder<'a> {
    rest: &'a Rest,
    max_hosts: usize,
    sought: Sought,
}

/// Hosts that are gathered from a listing.
struct Gathered<'f, 'a> {
    finder: &'f Finder<'a>,
    hosts: Hosts,
    most: usize,
}

impl Gathered<'_, '_> {
    fn add(&mut self, host: Host) {
        // One more than allowed is told from all that are; what comes then is not kept.
        if self.hosts.hosts.len() > self.most {
            return;
        }
        self.hosts.insert(self.finder.shown(host));
    }

    /// Where it has a uuid, by which alone it could be asked.
    fn add_node(&mut self, node: Node) {
        if let Some(host) = node.into_host() {
            self.add(host);
        }
    }

    /// As [`Gathered::add_node`], where one of the names may mean it.
    fn add_if_meant(&mut self, node: Node) {
        if let Some(host) = node.into_host()
            && self.finder.sought.meets(&host)
        {
            self.add(host);
        }
    }

    /// The hosts, with whether the server holds them for active.
    fn with(self, inactive: &Inactive) -> Result<Hosts, BackendError> {
        let mut hosts = self.hosts;
        if hosts.hosts.len() > self.most {
            let max_hosts = self.finder.max_hosts;
            return Err(BackendError::TooManyHosts { max_hosts });
        }
        for host in &mut hosts.hosts {
            host.online = inactive.online(&host.id);
        }
        Ok(hosts)
    }
}

impl<'a> Finder<'a> {
    fn gathered(&self, most: usize) -> Gathered<'_, 'a> {
        Gathered {
            finder: self,
            hosts: Hosts::default(),
            most,
        }
    }

    /// The host with its names as they may be shown. What the step has written itself stays as it is, or it
    /// would not be found.
    fn shown(&self, host: Host) -> Host {
        let notices = self.rest.notices();
        host.with(|which, text| match which {
            Text::LastSeen => notices.id_of(text),
            _ if self.sought.is_written(text) => text.into(),
            _ => notices.name_of(text),
        })
    }

    /// Every host that one of the names could mean.
    async fn named(&self) -> Result<Vec<Host>, BackendError> {
        let mut hosts = Hosts::default();
        let search_first = self.sought.names().len() <= MOST_SEARCHES;
        if search_first {
            let missing = self.sought.missing(&hosts.hosts);
            let Some(found) = self.search(&missing).await? else {
                return self.everything_older(|host| self.sought.meets(host)).await;
            };
            hosts.extend(found);
            // The search looks into other columns than names, serials and uuids of any case: a host counts
            // as unknown only once all pages were read.
            if self.sought.missing(&hosts.hosts).is_empty() {
                return Ok(hosts.hosts);
            }
            self.rest.notices().debug(|| {
                "a name was not found by searching: reading the environment's whole list".into()
            });
        }
        let Some(found) = self.fitting(&[]).await? else {
            return self.everything_older(|host| self.sought.meets(host)).await;
        };
        hosts.extend(found);
        // A host may have moved from page to page unseen.
        let missing = self.sought.missing(&hosts.hosts);
        if !search_first && !missing.is_empty() && missing.len() <= MOST_SEARCHES {
            hosts.extend(self.search(&missing).await?.unwrap_or_default());
        }
        Ok(hosts.hosts)
    }

    /// The hosts of a listing that one of the names could mean; `None` where the server can't list.
    async fn fitting(&self, filters: &Filters<'_>) -> Result<Option<Hosts>, BackendError> {
        let mut found = self.gathered(self.max_hosts.saturating_mul(FITTING));
        let (listed, inactive) = nodes::with_status(self.rest, filters, None, |node| {
            found.add_if_meant(node);
        })
        .await?;
        match listed {
            Listed::Whole => found.with(&inactive).map(Some),
            Listed::Unsupported => Ok(None),
        }
    }

    /// Searches for names one by one; `None` where the server can't.
    async fn search(&self, names: &[&SoughtName]) -> Result<Option<Hosts>, BackendError> {
        let found: Vec<Option<Hosts>> = stream::iter(searches(names))
            .map(|text| async move { self.fitting(&[("q", text.as_str())]).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let lists: Option<Vec<Hosts>> = found.into_iter().collect();
        Ok(lists.map(|lists| {
            let mut all = Hosts::default();
            lists.into_iter().for_each(|list| all.extend(list));
            all
        }))
    }

    /// Every host that has one of the tags. No filter of the list tells (wire notes, Targets): all nodes are
    /// read, and each says its own tags on servers that are new enough.
    async fn tagged(&self, tags: &[String]) -> Result<Vec<Host>, BackendError> {
        let mut found = self.gathered(self.max_hosts);
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let (mut any, mut told) = (false, false);
        let (listed, inactive) = nodes::with_status(self.rest, &[], None, |node| {
            any = true;
            let Some(of_node) = node.tags() else { return };
            told = true;
            let of_node: HashSet<&str> = of_node.collect();
            let fits = |tag: &&String| of_node.contains(tag.as_str());
            let fitting: Vec<&str> = tags.iter().filter(fits).map(String::as_str).collect();
            if !fitting.is_empty() {
                seen.extend(fitting);
                found.add_node(node);
            }
        })
        .await?;
        let origin = self.rest.origin();
        if listed == Listed::Unsupported || any && !told {
            return Err(BackendError::Targets {
                message: format!(
                    "{origin} does not say which hosts have a tag: it is older than osctrl 0.5.5, or no host of the environment has any tag"
                ),
                hint: Some(
                    "name hosts in `target_hosts`, or platforms in `target_platforms`".into(),
                ),
            });
        }
        let unknown: Vec<&String> = tags
            .iter()
            .filter(|tag| !seen.contains(tag.as_str()))
            .collect();
        if !unknown.is_empty() {
            return Err(BackendError::Targets {
                message: format!(
                    "no host of the environment `{}` of {origin} has the tag {}",
                    self.rest.environment(),
                    listed_in_quotes(&unknown)
                ),
                hint: Some("check the names in `target_labels`: case matters".into()),
            });
        }
        Ok(found.with(&inactive)?.hosts)
    }

    /// Every host of the platforms.
    async fn of_platforms(&self, platforms: &[Platform]) -> Result<Vec<Host>, BackendError> {
        let max_hosts = self.max_hosts;
        let mut hosts = Hosts::default();
        for &platform in platforms {
            let filters = [("platform", platform.name())];
            let Some(mut found) = self.listed(&filters, Some(max_hosts), |_| true).await? else {
                return self
                    .everything_older(|host| {
                        host.platform.is_some_and(|one| platforms.contains(&one))
                    })
                    .await;
            };
            // The server's own word for what it filtered by: it knows spellings such as `win32`.
            for host in &mut found.hosts {
                host.platform = Some(platform);
            }
            hosts.extend(found);
            // osctrl has a list of the distributions that it holds for Linux; the others are `other`.
            if platform == Platform::Linux {
                let filters = [("platform", "other")];
                let is_linux = |node: &Node| node.platform() == Some(Platform::Linux);
                hosts.extend(
                    self.listed(&filters, None, is_linux)
                        .await?
                        .unwrap_or_default(),
                );
            }
            if hosts.hosts.len() > max_hosts {
                return Err(BackendError::TooManyHosts { max_hosts });
            }
        }
        Ok(hosts.hosts)
    }

    /// The hosts of a listing that are wanted; `None` where the server has no paged list. A list of more
    /// than `most` is an error at once.
    async fn listed(
        &self,
        filters: &Filters<'_>,
        most: Option<usize>,
        wanted: impl Fn(&Node) -> bool,
    ) -> Result<Option<Hosts>, BackendError> {
        let mut found = self.gathered(self.max_hosts);
        let (listed, inactive) = nodes::with_status(self.rest, filters, most, |node| {
            if wanted(&node) {
                found.add_node(node);
            }
        })
        .await?;
        match listed {
            Listed::Whole => found.with(&inactive).map(Some),
            Listed::Unsupported => Ok(None),
        }
    }

    /// The wanted hosts of a server without the paged list; it does not say who is inactive.
    async fn everything_older(
        &self,
        wanted: impl Fn(&Host) -> bool,
    ) -> Result<Vec<Host>, BackendError> {
        let mut found = self.gathered(self.max_hosts.saturating_mul(FITTING));
        nodes::all(self.rest, |node| {
            if let Some(host) = node.into_host().filter(&wanted) {
                found.add(host);
            }
        })
        .await?;
        Ok(found.with(&Inactive::unknown())?.hosts)
    }
}

/// `` `a`, `b` and 3 more ``
fn listed_in_quotes(names: &[&String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    listed(&quoted)
}
