//! Finds the hosts of a step's targets: by name, by label, by platform. Reads pages and compares;
//! which of the hosts a name means is decided above the backends.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::rest::{HostsOf, Rest};
use super::wire::{Label, ListedHost};
use crate::campaign::Limits;
use crate::campaign::host::Candidates;
use crate::campaign::host::Host;
use crate::campaign::host::Platform;
use crate::campaign::roster::Targets;
use crate::nearest::nearest;
use crate::servers::BackendError;

/// Hosts of one answer to a search.
const SEARCH_PAGE: usize = 100;
/// Hosts of one page of a list: about 0.75 MB.
const LIST_PAGE: usize = 500;
/// No list of hosts is longer than so many pages; a server that never stops is an error.
const MOST_PAGES: usize = 2_000;
/// Searches, and pages of one list, that are under way at once.
const SEARCHES_AT_ONCE: usize = 8;
const PAGES_AT_ONCE: usize = 4;
/// Up to so many names are searched, one request each; more are looked for in the list of all hosts.
const MOST_SEARCHES: usize = 50;
/// A page of the list is taken to cost as much as so many searches. The list is given up when it has
/// cost what the searches would: whichever was the better way, this costs at most twice as much.
const SEARCHES_A_PAGE: usize = 10;

/// Everything that the step's targets may mean.
pub(super) async fn find(
    rest: &Rest,
    targets: &Targets,
    limits: &Limits,
) -> Result<Candidates, BackendError> {
    let (named, grouped) = futures_util::future::try_join(
        named(rest, targets),
        grouped(rest, targets, limits.max_hosts),
    )
    .await?;
    Ok(Candidates { named, grouped })
}

/// Distinct hosts, in the order they were found.
#[derive(Default)]
struct Found {
    ids: HashSet<u64>,
    hosts: Vec<Host>,
}

impl Found {
    fn add(&mut self, id: u64, host: Host) {
        if self.ids.insert(id) {
            self.hosts.push(host);
        }
    }
}

/// What is searched for, and what counts as found.
struct Names<'a> {
    terms: Vec<&'a str>,
    lower: HashSet<String>,
    ids: HashSet<u64>,
}

impl<'a> Names<'a> {
    fn of(targets: &'a Targets) -> Self {
        let mut lower = HashSet::new();
        let mut terms = Vec::new();
        for name in &targets.hosts {
            // `NAME@UUID` is how documents name hosts that share a hostname.
            let uuid = name.rsplit_once('@').map(|(_, uuid)| uuid);
            for term in std::iter::once(name.as_str()).chain(uuid) {
                if !term.trim().is_empty() && lower.insert(term.to_lowercase()) {
                    terms.push(term);
                }
            }
        }
        let ids = targets
            .ids
            .iter()
            .filter_map(|id| id.parse().ok())
            .collect();
        Self { terms, lower, ids }
    }

    /// Requests that it takes to look up each by itself.
    fn searches(&self) -> usize {
        self.terms.len() + self.ids.len()
    }

    /// The hosts of a page that may be meant, with their ids.
    fn meant(&self, page: Vec<ListedHost>) -> impl Iterator<Item = (u64, Host)> {
        page.into_iter()
            .map(|listed| (listed.id, Host::from(listed)))
            .filter(|(id, host)| {
                self.ids.contains(id)
                    || [&host.uuid, &host.serial, &host.hostname]
                        .into_iter()
                        .any(|name| !name.is_empty() && self.lower.contains(&name.to_lowercase()))
            })
    }
}

async fn named(rest: &Rest, targets: &Targets) -> Result<Vec<Host>, BackendError> {
    let names = Names::of(targets);
    let mut found = Found::default();
    if names.searches() > MOST_SEARCHES {
        let affordable = names.searches() / SEARCHES_A_PAGE;
        let mut pages = 0;
        let whole = each_page(rest, HostsOf::All, |page| {
            for (id, host) in names.meant(page) {
                found.add(id, host);
            }
            pages += 1;
            Ok(if pages < affordable {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })
        .await?;
        if whole {
            return Ok(found.hosts);
        }
        rest.notices().debug(|| format!("the server has many more hosts than were named ({pages} pages were read): searching"));
    }
    // `hosts/identifier/NAME` would be one answer a name, but of hosts that share a hostname it
    // shows only one (transcript `same-hostname`).
    let mut searches = stream::iter(&names.terms)
        .map(|term| async {
            let mut hosts = Vec::new();
            each_page(rest, HostsOf::Search(term), |page| {
                hosts.extend(names.meant(page));
                Ok(ControlFlow::Continue(()))
            })
            .await?;
            Ok::<_, BackendError>(hosts)
        })
        .buffer_unordered(SEARCHES_AT_ONCE);
    while let Some(hosts) = searches.try_next().await? {
        for (id, host) in hosts {
            found.add(id, host);
        }
    }
    drop(searches);
    let mut by_id = stream::iter(&names.ids)
        .map(|id| rest.host(*id))
        .buffer_unordered(SEARCHES_AT_ONCE);
    while let Some(host) = by_id.try_next().await? {
        if let Some(host) = host {
            found.add(host.id, host.into());
        }
    }
    drop(by_id);
    Ok(found.hosts)
}

async fn grouped(
    rest: &Rest,
    targets: &Targets,
    max_hosts: usize,
) -> Result<Vec<Host>, BackendError> {
    let platforms = &targets.platforms;
    let lists: Vec<HostsOf<'_>> = if !targets.labels.is_empty() || !targets.teams.is_empty() {
        let mut lists = Vec::new();
        if !targets.labels.is_empty() {
            let labels = rest.labels().await?;
            let known = labels.iter().map(|label| (label.id, label.name.as_str()));
            let ids = ids_of(rest, "label", known, &targets.labels)?;
            lists.extend(ids.into_iter().map(HostsOf::Label));
        }
        if !targets.teams.is_empty() {
            let teams = rest.teams().await?;
            let known = teams.iter().map(|team| (team.id, team.name.as_str()));
            let ids = ids_of(rest, "team", known, &targets.teams)?;
            lists.extend(ids.into_iter().map(HostsOf::Team));
        }
        lists
    } else if targets.names_none() && !platforms.is_empty() {
        let labels = rest.labels().await?;
        let ids: Option<Vec<u64>> = platforms
            .iter()
            .map(|platform| builtin_label(&labels, *platform))
            .collect();
        match ids {
            Some(ids) => ids.into_iter().map(HostsOf::Label).collect(),
            // A label that Fleet did not make, or that someone renamed, says nothing of the platform.
            None => vec![HostsOf::All],
        }
    } else {
        return Ok(Vec::new());
    };
    let mut found = Found::default();
    let mut phones = HashSet::new();
    for list in lists {
        each_page(rest, list, |page| {
            for listed in page {
                let platform = listed.platform();
                if platforms.is_empty() || platform.is_some_and(|it| platforms.contains(&it)) {
                    if listed.runs_no_osquery() {
                        phones.insert(listed.id);
                    }
                    found.add(listed.id, listed.into());
                }
            }
            if found.hosts.len() - phones.len() > max_hosts {
                return Err(BackendError::TooManyHosts { max_hosts });
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    }
    Ok(found.hosts)
}

/// The built-in label whose members are the platform's hosts.
fn builtin_label(labels: &[Label], platform: Platform) -> Option<u64> {
    let name = match platform {
        Platform::Linux => "All Linux",
        Platform::Darwin => "macOS",
        Platform::Windows => "MS Windows",
    };
    labels
        .iter()
        .find(|label| label.is_builtin() && label.name == name)
        .map(|label| label.id)
}

/// The ids of labels or teams; all names that are unknown are told at once. Fleet's own comparison ignores
/// case, so a name that differs only in that is taken where it is one's only.
fn ids_of<'a>(
    rest: &Rest,
    what: &str,
    all: impl Iterator<Item = (u64, &'a str)>,
    names: &[String],
) -> Result<Vec<u64>, BackendError> {
    let mut known: HashMap<String, Vec<(u64, &str)>> = HashMap::new();
    for (id, name) in all {
        let same = known.entry(name.to_lowercase());
        same.or_default().push((id, name));
    }
    let mut ids = Vec::new();
    let mut seen = HashSet::new();
    let mut unknown = Vec::new();
    for name in names {
        let same = known
            .get(&name.to_lowercase())
            .map_or(&[][..], Vec::as_slice);
        let exact = same.iter().find(|(_, known)| known == name);
        match (exact, same) {
            (Some((id, _)), _) | (None, [(id, _)]) => {
                if seen.insert(*id) {
                    ids.push(*id);
                }
            }
            _ => unknown.push(name),
        }
    }
    let Some(first) = unknown.first() else {
        return Ok(ids);
    };
    let quoted: Vec<String> = unknown.iter().map(|name| format!("`{name}`")).collect();
    let said = match unknown.len() {
        1 => format!("the {what} {} does not exist", quoted[0]),
        _ => format!("the {what}s {} do not exist", quoted.join(", ")),
    };
    let mut known: Vec<&str> = known.values().flatten().map(|(_, name)| *name).collect();
    known.sort_unstable();
    let near = nearest(first, known).map_or(String::new(), |near| {
        format!("is `{}` meant? ", rest.shown(near))
    });
    Err(BackendError::Targets {
        message: format!("{said} at {}, or this user can't see it", rest.server()),
        hint: Some(format!("{near}`fleetctl get {what}s` lists them all")),
    })
}

/// Reads a list page by page until it ends, which is true, or until `take` breaks off, which is false.
///
/// A search ends with a page that is not full. A list may come in smaller pages than were asked for,
/// so it ends with an empty page (transcript `hosts`), or with one that brings nothing new.
async fn each_page(
    rest: &Rest,
    of: HostsOf<'_>,
    mut take: impl FnMut(Vec<ListedHost>) -> Result<ControlFlow<()>, BackendError>,
) -> Result<bool, BackendError> {
    let search = matches!(of, HostsOf::Search(_));
    let per_page = if search { SEARCH_PAGE } else { LIST_PAGE };
    let first = rest.hosts(of, 0, per_page).await?;
    // Only a full first page promises more than one other; searches are many at once already.
    let at_once = if search || first.len() < per_page {
        1
    } else {
        PAGES_AT_ONCE
    };
    let mut pages = stream::once(std::future::ready(Ok(first)))
        .chain(
            stream::iter(1..MOST_PAGES)
                .map(|page| rest.hosts(of, page, per_page))
                .buffered(at_once),
        )
        .boxed_local();
    let mut seen = HashSet::new();
    while let Some(page) = pages.try_next().await? {
        let known = seen.len();
        seen.extend(page.iter().map(|host| host.id));
        let ended = seen.len() == known || (search && page.len() < per_page);
        let wish = take(page)?;
        if ended {
            return Ok(true);
        }
        if wish.is_break() {
            return Ok(false);
        }
    }
    Err(BackendError::Answer {
        status: None,
        message: format!(
            "{}'s list of hosts does not end: {MOST_PAGES} pages brought {} hosts",
            rest.server(),
            seen.len()
        ),
        hint: Some("name the hosts in `target_hosts`, or use a label with fewer members".into()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn listed(id: usize, hostname: &str, uuid: &str, serial: &str) -> ListedHost {
        let document = json!({
            "id": id, "hostname": hostname, "uuid": uuid, "hardware_serial": serial,
        });
        serde_json::from_str(&document.to_string()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn every_host_that_a_name_may_mean_is_found(
            fields in prop::collection::vec(("[abA@]{0,3}", "[abB@]{0,2}", "[abÄä]{0,2}"), 0..12),
            names in prop::collection::vec("[abABÄ@]{1,4}", 1..6),
        ) {
            let page = fields
                .iter()
                .enumerate()
                .map(|(id, (hostname, uuid, serial))| listed(id, hostname, uuid, serial))
                .collect();
            let targets = Targets { hosts: names.clone(), ..Targets::default() };
            let sought = Names::of(&targets);
            let found: Vec<u64> = sought.meant(page).map(|(id, _)| id).collect();
            for (id, (hostname, uuid, serial)) in fields.iter().enumerate() {
                let meant = names.iter().any(|name| {
                    let uuid_of_pair = name.rsplit_once('@').map_or("", |(_, uuid)| uuid);
                    [hostname, uuid, serial].into_iter().any(|field| {
                        !field.is_empty()
                            && [name.to_lowercase(), uuid_of_pair.to_lowercase()]
                                .contains(&field.to_lowercase())
                    })
                });
                prop_assert_eq!(found.contains(&(id as u64)), meant, "host {}", id);
            }
            // What is not searched for can't be found: each name is, and nothing that is empty.
            for name in &names {
                prop_assert!(sought.terms.iter().any(|term| term.to_lowercase() == name.to_lowercase()));
            }
            prop_assert!(sought.terms.iter().all(|term| !term.is_empty()));
        }
    }
}
