//! Finds the hosts of a step's targets: by name, by label, by platform. Reads pages and compares;
//! which of the hosts a name means is decided above the backends.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::rest::{HostsOf, Rest};
use super::wire::{Label, ListedHost};
use crate::campaign::Limits;
use crate::campaign::host::Candidates;
use crate::campaign::host::Host;
use crate::campaign::host::Platform;
use crate::campaign::names::{Sought, SoughtName};
use crate::campaign::roster::Targets;
use crate::nearest::nearest;
use crate::printable::listed;
use crate::servers::{self, BackendError, holds};

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
/// Pages of a search for what firmware says where there is no serial; then its hosts are no longer counted.
const PLACEHOLDER_PAGES: usize = 5;
/// Names that nobody has for which it is looked around, and for how long.
const MOST_RESEMBLED: usize = 3;
const MOMENT: Duration = Duration::from_secs(1);

/// Everything that the step's targets may mean.
pub(super) async fn find(
    rest: &Rest,
    targets: &Targets,
    limits: &Limits,
) -> Result<Candidates, BackendError> {
    let sought = Sought::of(targets);
    let (named, grouped) = futures_util::future::try_join(
        named(rest, &sought),
        grouped(rest, targets, limits.max_hosts),
    )
    .await?;
    let seen = sought.into_seen();
    Ok(Candidates {
        named,
        grouped,
        seen,
        unlisted: false,
    })
}

/// The first hosts that hold a text. Fleet looks into names, uuids, serials and addresses by itself, and into
/// e-mail addresses of users (wire notes, Targets), which nobody asked for.
pub(super) async fn search(
    rest: &Rest,
    text: &str,
    most: usize,
) -> Result<servers::Found, BackendError> {
    let mut found = Found::default();
    let whole = each_page(rest, HostsOf::Search(text), |page| {
        let hosts = page.into_iter().map(|it| (it.id, Host::from(it)));
        found.add(hosts.filter(|(_, host)| holds(host, text)));
        Ok(match found.hosts.len() > most {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })
    .await?;
    let more = !whole || found.hosts.len() > most;
    found.hosts.truncate(most);
    let hosts = found.hosts;
    Ok(servers::Found { hosts, more })
}

/// Distinct hosts, in the order they were found.
#[derive(Default)]
struct Found {
    ids: HashSet<u64>,
    hosts: Vec<Host>,
}

impl Found {
    fn add(&mut self, hosts: impl IntoIterator<Item = (u64, Host)>) {
        for (id, host) in hosts {
            if self.ids.insert(id) {
                self.hosts.push(host);
            }
        }
    }

    /// Those of a page that may be meant.
    fn take(&mut self, page: Vec<ListedHost>, sought: &Sought) {
        self.add(meant(page, sought));
    }
}

/// A text that is searched for, once for all names that it would find.
struct Term<'a> {
    text: &'a str,
    name: &'a SoughtName,
}

fn terms(sought: &Sought) -> Vec<Term<'_>> {
    let mut told = HashSet::new();
    let terms = sought.names().iter().flat_map(|name| {
        let texts = name.terms.iter();
        texts.map(move |text| Term { text, name })
    });
    terms
        .filter(|term| told.insert(term.text.to_lowercase()))
        .collect()
}

async fn named(rest: &Rest, sought: &Sought) -> Result<Vec<Host>, BackendError> {
    let terms = terms(sought);
    let mut found = Found::default();
    // Requests that it takes to look up each by itself.
    let searches = terms.len() + sought.ids().count();
    if searches > MOST_SEARCHES {
        let affordable = searches / SEARCHES_A_PAGE;
        let mut pages = 0;
        let whole = each_page(rest, HostsOf::All, |page| {
            found.take(page, sought);
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
    let mut searches = stream::iter(&terms)
        .map(|term| searched(rest, sought, term))
        .buffer_unordered(SEARCHES_AT_ONCE);
    while let Some(hosts) = searches.try_next().await? {
        found.add(hosts);
    }
    drop(searches);
    let mut by_id = stream::iter(sought.ids().filter_map(|id| id.parse().ok()))
        .map(|id| rest.host(id))
        .buffer_unordered(SEARCHES_AT_ONCE);
    while let Some(host) = by_id.try_next().await? {
        found.add(host.map(|host| (host.id, host.into())));
    }
    drop(by_id);
    let unmet = sought.unmet(&found.hosts);
    if !unmet.is_empty() {
        let tried: HashSet<String> = terms.iter().map(|it| it.text.to_lowercase()).collect();
        look_around(rest, sought, &unmet, &tried).await;
    }
    Ok(found.hosts)
}

/// The hosts that one search finds and that may be meant.
async fn searched(
    rest: &Rest,
    sought: &Sought,
    term: &Term<'_>,
) -> Result<Vec<(u64, Host)>, BackendError> {
    let mut hosts = Vec::new();
    let mut pages = 0;
    let whole = each_page(rest, HostsOf::Search(term.text), |page| {
        hosts.extend(meant(page, sought));
        pages += 1;
        // Half of the fleet may hold a `0` somewhere, and none of it is asked.
        Ok(match term.name.placeholder && pages >= PLACEHOLDER_PAGES {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })
    .await?;
    if !whole {
        sought.cut_short(term.name);
    }
    Ok(hosts)
}

fn meant(page: Vec<ListedHost>, sought: &Sought) -> impl Iterator<Item = (u64, Host)> {
    let hosts = page.into_iter().map(|it| (it.id, Host::from(it)));
    hosts.filter(|(_, host)| sought.meets(host))
}

/// Looks for what resembles names that nobody has: whoever typed one letter wrong has one half of the name
/// right. Worth a moment and a few small requests, and no failure.
async fn look_around(rest: &Rest, sought: &Sought, unmet: &[&SoughtName], tried: &HashSet<String>) {
    let parts = unmet
        .iter()
        .take(MOST_RESEMBLED)
        .flat_map(|name| name.parts());
    let parts = parts.filter(|part| !tried.contains(part));
    let parts: BTreeSet<String> = parts.collect();
    let mut pages = stream::iter(&parts)
        .map(|part| rest.hosts(HostsOf::Search(part), 0, SEARCH_PAGE))
        .buffer_unordered(SEARCHES_AT_ONCE);
    let all = async {
        while let Some(page) = pages.next().await {
            let listed = page.unwrap_or_default().into_iter();
            listed.map(Host::from).for_each(|host| {
                sought.meets(&host);
            });
        }
    };
    if tokio::time::timeout(MOMENT, all).await.is_err() {
        let words = "no time to look for names that resemble the unknown ones";
        rest.notices().debug(|| words.into());
    }
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
                    found.add([(listed.id, listed.into())]);
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
        _ => format!("the {what}s {} do not exist", listed(&quoted)),
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
    use crate::campaign::names::AlsoMatch;

    fn listed(id: usize, hostname: &str, uuid: &str, serial: &str, computer: &str) -> ListedHost {
        let document = json!({
            "id": id, "hostname": hostname, "uuid": uuid, "hardware_serial": serial,
            "computer_name": computer,
        });
        serde_json::from_str(&document.to_string()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn every_host_that_a_name_may_mean_is_found(
            fields in prop::collection::vec(("[abA@.]{0,3}", "[abB@]{0,2}", "[abÄä]{0,2}", "[ab]{0,2}"), 0..12),
            names in prop::collection::vec("[abABÄ@.]{1,4}", 1..6),
            short_name in any::<bool>(),
        ) {
            let page = fields
                .iter()
                .enumerate()
                .map(|(id, (hostname, uuid, serial, computer))| listed(id, hostname, uuid, serial, computer))
                .collect();
            let targets = Targets {
                hosts: names.clone(),
                also_match: AlsoMatch { short_name, ..AlsoMatch::default() },
                ..Targets::default()
            };
            let sought = Sought::of(&targets);
            let found: Vec<u64> = meant(page, &sought).map(|(id, _)| id).collect();
            let short = |name: &str| match name.contains('@') {
                true => String::new(),
                false => name.split('.').next().unwrap_or("").to_lowercase(),
            };
            for (id, (hostname, uuid, serial, computer)) in fields.iter().enumerate() {
                let meant = names.iter().any(|name| {
                    let uuid_of_pair = name.rsplit_once('@').map_or("", |(_, uuid)| uuid);
                    let is_short = |field: &str| short_name && !short(field).is_empty() && short(field) == short(name);
                    let exactly = [hostname, uuid, serial, computer].into_iter().any(|field| {
                        !field.is_empty()
                            && [name.to_lowercase(), uuid_of_pair.to_lowercase()]
                                .contains(&field.to_lowercase())
                    });
                    exactly || is_short(hostname) || is_short(computer)
                });
                prop_assert_eq!(found.contains(&(id as u64)), meant, "host {}", id);
                // What is not searched for can't be found: a term of the name stands in one of the fields.
                let holds = |term: &Term<'_>| [hostname, uuid, serial, computer]
                    .into_iter()
                    .any(|field| field.to_lowercase().contains(&term.text.to_lowercase()));
                prop_assert!(!meant || terms(&sought).iter().any(holds), "host {}", id);
            }
            prop_assert!(terms(&sought).iter().all(|term| !term.text.trim().is_empty()));
        }
    }
}
