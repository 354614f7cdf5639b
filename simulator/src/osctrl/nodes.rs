//! osctrl's nodes: the paged list with its case-sensitive search, lookups, and lists of everything.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{error, ok};
use crate::clock;
use crate::host::Host;
use crate::http::{Call, OSCTRL_JSON, Reply, page_of};
use crate::listing;
use crate::scenario::ServerVersion;
use crate::world::{Shared, World};

/// A node that was not seen for so long is inactive.
const INACTIVE_AFTER: Duration = Duration::from_secs(72 * 3_600);
/// More nodes than this a page are not given.
const LARGEST_PAGE: usize = 500;

/// How much of a node is shown.
#[derive(Clone, Copy)]
struct Shown {
    node_key: bool,
    system: bool,
    /// The tags, where the server's version has them.
    tags: bool,
}

/// `GET /nodes/{env}?q&page&page_size&platform&status`.
pub(super) fn page(shared: &Arc<Shared>, environment: &str, call: &Call) -> Reply {
    let world = shared.look();
    if !world.scenario.osctrl.paged_nodes {
        return Reply::no_such_path();
    }
    let platform = call.parameter("platform").unwrap_or_default();
    if !matches!(platform, "" | "linux" | "darwin" | "windows" | "other") {
        return error(400, "invalid platform (linux|darwin|windows|other)");
    }
    let status = call.parameter("status").unwrap_or_default();
    if !matches!(status, "" | "all" | "active" | "inactive") {
        return error(400, "invalid status (all|active|inactive)");
    }
    let text = call.parameter("q").unwrap_or_default();
    let mut found = places(&world, environment, |host| {
        (platform.is_empty() || host.family() == platform)
            && match status {
                "active" => is_active(host),
                "inactive" => !is_active(host),
                _ => true,
            }
            // SQL's LIKE of this database: `%TEXT%`, case and all.
            && (text.is_empty()
                || [&host.hostname, &host.uuid, &host.display_name]
                    .into_iter()
                    .map(String::as_str)
                    .chain([address(host), "unknown", host.environment.as_str()])
                    .any(|field| like(field, text)))
    });
    let newest = |place: &usize| {
        let host = world.hosts.get(*place);
        host.map(|host| (std::cmp::Reverse(last_seen(&world, host)), host.id))
    };
    // Sorted once: a time that moves while it is compared is no order.
    if world.scenario.osctrl.moving_last_seen || !found.is_sorted_by_key(newest) {
        found.sort_by_cached_key(newest);
    }
    drop(world);
    let size = call
        .number("page_size")
        .filter(|size| *size > 0)
        .unwrap_or(50)
        .min(LARGEST_PAGE);
    let page = call.number("page").unwrap_or(1).max(1);
    let shown = Shown {
        node_key: false,
        system: true,
        tags: true,
    };
    let nodes = listing::of_hosts(
        shared,
        page_of(&found, page - 1, size),
        move |world, host| document(world, host, shown),
    );
    let (total, pages) = (found.len(), found.len().div_ceil(size).max(1));
    let after = format!(
        "],\"page\":{page},\"page_size\":{size},\"total_items\":{total},\"total_pages\":{pages}}}"
    );
    Reply::made(200, OSCTRL_JSON, nodes.between("{\"items\":[", after))
}

/// `field LIKE '%text%'`, with `%` and `_` in the text working as SQL has it.
fn like(field: &str, text: &str) -> bool {
    if !text.contains(['%', '_']) {
        return field.contains(text);
    }
    let pattern: String = text
        .chars()
        .map(|character| match character {
            '%' => ".*".to_owned(),
            '_' => ".".to_owned(),
            other => regex::escape(&other.to_string()),
        })
        .collect();
    regex::Regex::new(&format!("(?s){pattern}")).is_ok_and(|pattern| pattern.is_match(field))
}

/// Places of the environment's hosts that fit.
fn places(world: &World, environment: &str, fits: impl Fn(&Host) -> bool) -> Vec<usize> {
    let hosts = world.enrolled();
    hosts
        .filter(|(_, host)| host.environment == environment && fits(host))
        .map(|(place, _)| place)
        .collect()
}

/// `GET /nodes/{env}/all`, `/active` and `/inactive`: a bare array.
pub(super) fn all(shared: &Arc<Shared>, environment: &str, which: Option<&str>) -> Reply {
    let shown = Shown {
        node_key: false,
        system: false,
        tags: false,
    };
    let places = places(&shared.look(), environment, |host| match which {
        Some("active") => is_active(host),
        Some("inactive") => !is_active(host),
        _ => true,
    });
    let nodes = listing::of_hosts(shared, places, move |world, host| {
        document(world, host, shown)
    });
    Reply::made(200, OSCTRL_JSON, nodes.between("[", "]"))
}

/// `GET /nodes/{env}/node/{identifier}`: the one document with the node key in it.
pub(super) fn one(world: &World, environment: &str, identifier: &str) -> Reply {
    let shown = Shown {
        node_key: true,
        system: true,
        tags: false,
    };
    let mut hosts = world.enrolled().map(|(_, host)| host);
    match hosts.find(|host| host.environment == environment && is_named(host, identifier)) {
        Some(host) => ok(&document(world, host, shown)),
        None => error(404, "node not found"),
    }
}

/// `POST /nodes/lookup`: in any environment; of several nodes with one hostname, the first.
pub(super) fn lookup(world: &World, call: &Call) -> Reply {
    let body = call.json().unwrap_or_default();
    let identifier = body["identifier"].as_str().unwrap_or_default();
    let shown = Shown {
        node_key: false,
        system: false,
        tags: false,
    };
    let mut hosts = world.enrolled().map(|(_, host)| host);
    match hosts.find(|host| is_named(host, identifier)) {
        Some(host) => ok(&document(world, host, shown)),
        None => error(404, "node not found"),
    }
}

/// By uuid in any case, by hostname or localname as written.
fn is_named(host: &Host, identifier: &str) -> bool {
    host.uuid.eq_ignore_ascii_case(identifier)
        || host.hostname == identifier
        || host.display_name == identifier
}

fn is_active(host: &Host) -> bool {
    host.last_seen
        .elapsed()
        .is_ok_and(|passed| passed < INACTIVE_AFTER)
        || host.online
}

fn last_seen(world: &World, host: &Host) -> SystemTime {
    if world.scenario.osctrl.moving_last_seen {
        host.seen(world.now())
    } else {
        host.last_seen
    }
}

fn document(world: &World, host: &Host, shown: Shown) -> Value {
    let enrolled = clock::micros(host.enrolled_at);
    let mut node = json!({
        "id": host.id,
        "created_at": enrolled,
        "updated_at": enrolled,
        "uuid": host.uuid.to_uppercase(),
        "platform": host.platform,
        "platform_version": "24.04.1 LTS (Noble Numbat)",
        "osquery_version": "5.23.1",
        "hostname": host.hostname,
        "localname": host.display_name,
        "ip_address": address(host),
        "username": "unknown",
        "osquery_user": "unknown",
        "environment": host.environment,
        "cpu": "AMD EPYC",
        "memory": "4125065216",
        "hardware_serial": host.serial,
        "daemon_hash": "",
        "config_hash": "",
        "bytes_received": 1_185,
        "last_seen": clock::micros(last_seen(world, host)),
        "user_id": 0,
        "environment_id": environment_id(world, &host.environment),
        "extra_data": "",
    });
    if let Some(fields) = node.as_object_mut() {
        if shown.node_key {
            fields.insert("node_key".into(), json!(format!("node-key-{}", host.id)));
        }
        if shown.tags && world.scenario.osctrl.version >= ServerVersion(0, 5, 5) {
            fields.insert("tags".into(), json!(host.tags));
        }
        if shown.system {
            fields.insert("system_info".into(), system_info(host));
        }
    }
    node
}

fn address(host: &Host) -> &str {
    host.address.as_deref().unwrap_or("127.0.0.1")
}

fn system_info(host: &Host) -> Value {
    json!({
        "system": {
            "hardware_vendor": "QEMU",
            "hardware_model": "pc",
            "hardware_version": "1",
            "hardware_serial": host.serial,
            "cpu_brand": "AMD EPYC",
            "cpu_type": "x86_64",
            "cpu_physical_cores": "2",
            "cpu_logical_cores": "2",
            "physical_memory": "4125065216",
            "computer_name": host.display_name,
            "local_hostname": host.display_name,
        },
        "bios": {
            "vendor": "SeaBIOS",
            "version": "1",
            "date": "04/01/2014",
            "revision": "0.0",
            "address": "0xe800",
            "size": "98304",
            "volume_size": "0",
        },
        "os": {
            "name": "Ubuntu",
            "version": "24.04.1 LTS (Noble Numbat)",
            "codename": "noble",
            "major": "24",
            "minor": "4",
            "patch": "1",
            "platform": host.platform,
            "platform_like": "debian",
        },
        "osquery": {
            "version": "5.23.1",
            "build_platform": "ubuntu",
            "build_distro": "focal",
            "extensions": "active",
            "start_time": "1700000000",
            "config_valid": "0",
        },
    })
}

/// Environments are numbered in the scenario's order.
pub(super) fn environment_id(world: &World, environment: &str) -> usize {
    world
        .scenario
        .osctrl
        .environments
        .iter()
        .position(|name| name == environment)
        .map_or(0, |place| place + 1)
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn the_search_is_sqls_like() {
        assert!(like("host-0001", "host-000"));
        assert!(!like("host-0001", "HOST"), "case matters");
        assert!(like("host-0001", "h_st"), "_ is any one character");
        assert!(like("host-0001", "h%1"), "% is any text");
        assert!(!like("host.a", "hostXa"));
        assert!(like("anything", ""));
    }
}
