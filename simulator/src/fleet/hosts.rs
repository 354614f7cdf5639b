//! Fleet's hosts: the list with its pages, search and order, one host by what names it, and counts.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::campaigns::Counts;
use super::{bad_request, names, not_found, ok, teams};
use crate::clock;
use crate::host::Host;
use crate::http::{Call, FLEET_JSON, Reply, TEXT, page_of};
use crate::listing;
use crate::scenario::ServerVersion;
use crate::world::{Shared, World};

/// `GET /hosts`.
pub(super) fn list(shared: &Arc<Shared>, call: &Call) -> Reply {
    let found = select(&shared.look(), call);
    match found {
        Ok(found) => page(shared, call, found),
        Err(refusal) => refusal,
    }
}

/// The page that the call asks for out of the hosts at these places.
pub(super) fn page(shared: &Arc<Shared>, call: &Call, mut places: Vec<usize>) -> Reply {
    let order = call.parameter("order_key").unwrap_or_default();
    let world = shared.look();
    let name = |place: &usize| {
        let host = world.hosts.get(*place)?;
        Some(host.hostname.to_lowercase())
    };
    match order {
        "" | "id" => places.sort_by_key(|place| world.hosts.get(*place).map(|host| host.id)),
        "hostname" | "display_name" => places.sort_by_cached_key(name),
        // Whole seconds, as the database keeps them; looked at once, since it moves.
        "seen_time" => {
            let now = world.now();
            places.sort_by_cached_key(|place| {
                let host = world.hosts.get(*place)?;
                Some((clock::unix(host.seen(now)), host.id))
            });
        }
        _ => {}
    }
    if call.parameter("order_direction") == Some("desc") {
        places.reverse();
    }
    if let Some(after) = call.parameter("after").filter(|after| !after.is_empty()) {
        match order {
            "id" => return ambiguous(),
            "hostname" | "display_name" => {
                let after = Some(after.to_lowercase());
                places.retain(|place| name(place) > after);
            }
            _ => {}
        }
    }
    drop(world);
    let size = call
        .number("per_page")
        .filter(|size| *size > 0)
        .unwrap_or(usize::MAX);
    let shown = page_of(&places, call.number("page").unwrap_or(0), size);
    let renames = super::version(shared) >= Some(ServerVersion(4, 82, 0));
    let hosts = listing::of_hosts(shared, shown, move |world, host| {
        let document = document(world, host);
        if renames {
            names::twinned(document)
        } else {
            document
        }
    });
    Reply::made(200, FLEET_JSON, hosts.between("{\"hosts\":[", "]}"))
}

/// The database's own error; it has no uuid.
fn ambiguous() -> Reply {
    let reason = "Error 1052 (23000): Column 'id' in where clause is ambiguous";
    let body = json!({
        "message": "Validation Failed",
        "errors": [{"name": "base", "reason": reason}],
    });
    Reply::json(422, FLEET_JSON, &body)
}

/// `GET /hosts/count`.
pub(super) fn count(world: &World, call: &Call) -> Reply {
    match select(world, call) {
        Ok(found) => ok(&json!({"count": found.len()})),
        Err(refusal) => refusal,
    }
}

/// Places of the hosts that the call asks for.
fn select(world: &World, call: &Call) -> Result<Vec<usize>, Reply> {
    let text = call.parameter("query").unwrap_or_default().to_lowercase();
    let status = call.parameter("status").unwrap_or_default();
    let now = SystemTime::now();
    let fits: fn(&Host, SystemTime) -> bool = match status {
        "" => |_, _| true,
        "online" => |host, _| host.online,
        // The missing ones are among them.
        "offline" => |host, _| !host.online,
        "new" => Host::is_new,
        "mia" | "missing" => Host::is_missing,
        unknown => return Err(bad_request(TEXT, &format!("Invalid status: {unknown}"))),
    };
    let team = teams::filter(world, call)?;
    Ok(world
        .enrolled()
        .filter(|(_, host)| team.as_ref().is_none_or(|team| *team == host.team_id))
        .filter(|(_, host)| fits(host, now))
        .filter(|(_, host)| text.is_empty() || holds(host, &text))
        .map(|(place, _)| place)
        .collect())
}

/// Whether one of the searched fields holds the text, which is in lower case.
fn holds(host: &Host, text: &str) -> bool {
    [&host.hostname, &host.uuid, &host.serial, &host.display_name]
        .into_iter()
        .chain(&host.address)
        .any(|field| field.to_lowercase().contains(text))
}

/// `GET /hosts/identifier/{identifier}`: of several hosts with one hostname, the first.
pub(super) fn by_identifier(world: &World, identifier: &str) -> Reply {
    // (2026) By the computer's own name, too, as it is written.
    let newer = world.scenario.fleet.version >= Some(ServerVersion(4, 80, 0));
    let mut hosts = world.enrolled();
    let found = hosts
        .find(|(_, host)| is_named(host, identifier) || newer && host.display_name == identifier);
    match found {
        Some((_, host)) => detail(world, host),
        None => not_found(&format!("Host {identifier} was not found in the datastore")),
    }
}

/// `GET /hosts/{id}`.
pub(super) fn by_id(world: &World, id: &str) -> Reply {
    match with_id(world, id) {
        Some((_, host)) => detail(world, host),
        None => not_found(&format!("Host {id} was not found in the datastore")),
    }
}

/// The first host that this names by hostname, uuid, serial or node key, with its place.
pub(super) fn find<'world>(
    world: &'world World,
    identifier: &str,
) -> Option<(usize, &'world Host)> {
    world
        .enrolled()
        .find(|(_, host)| is_named(host, identifier))
}

/// The host with this id, with its place.
pub(super) fn with_id<'world>(world: &'world World, id: &str) -> Option<(usize, &'world Host)> {
    let id: u64 = id.parse().ok()?;
    world.enrolled().find(|(_, host)| host.id == id)
}

/// Whether the identifier means the host. The empty one means every host without a serial (fleet#55116).
pub(super) fn is_named(host: &Host, identifier: &str) -> bool {
    [&host.hostname, &host.uuid, &host.serial]
        .into_iter()
        .any(|field| field.eq_ignore_ascii_case(identifier))
        || node_key(host) == identifier
}

fn node_key(host: &Host) -> String {
    format!("node-key-{}", host.id)
}

fn detail(world: &World, host: &Host) -> Reply {
    let mut document = document(world, host);
    if let Some(fields) = document.as_object_mut() {
        // The order of the fields is of no consequence, their presence is.
        fields.insert("policies".into(), json!([]));
        fields.insert("labels".into(), super::labels::of_host(&world.fleet, host));
        fields.insert("packs".into(), json!([]));
        fields.insert("batteries".into(), Value::Null);
        fields.insert("last_mdm_enrolled_at".into(), Value::Null);
        fields
            .entry("last_mdm_checked_in_at")
            .or_insert(Value::Null);
        if let Some(mdm) = fields.get_mut("mdm").and_then(Value::as_object_mut) {
            mdm.insert("profiles".into(), Value::Null);
            mdm.insert("device_status".into(), json!("unlocked"));
            mdm.insert("pending_action".into(), json!(""));
        }
        // Servers leave this empty here although the list has it.
        fields.insert("last_restarted_at".into(), json!(clock::NEVER));
    }
    ok(&json!({ "host": document }))
}

fn document(world: &World, host: &Host) -> Value {
    let enrolled = clock::seconds(host.enrolled_at);
    let fetched = clock::seconds(host.last_seen);
    let mut document = json!({
        "created_at": enrolled,
        "updated_at": fetched,
        "software_updated_at": fetched,
        "id": host.id,
        "detail_updated_at": fetched,
        "label_updated_at": fetched,
        "policy_updated_at": fetched,
        "last_enrolled_at": enrolled,
        "seen_time": clock::seconds(host.seen(world.now())),
        "refetch_requested": false,
        "hostname": host.hostname,
        "uuid": host.uuid,
        "platform": host.platform,
        "osquery_version": "5.23.1",
        "orbit_version": null,
        "fleet_desktop_version": null,
        "scripts_enabled": null,
        "os_version": "Ubuntu 24.04.1 LTS",
        "build": "",
        "platform_like": "debian",
        "code_name": "noble",
        "uptime": 93_784_000_000_000_u64,
        "memory": 4_125_065_216_u64,
        "cpu_type": "x86_64",
        "cpu_subtype": "",
        "cpu_brand": "AMD EPYC",
        "cpu_physical_cores": 2,
        "cpu_logical_cores": 2,
        "hardware_vendor": "QEMU",
        "hardware_model": "pc",
        "hardware_version": "1",
        "hardware_serial": host.serial,
        "computer_name": host.display_name,
        "public_ip": "127.0.0.1",
        "primary_ip": host.address.as_deref().unwrap_or_default(),
        "primary_mac": "",
        "distributed_interval": host.distributed_interval,
        "config_tls_refresh": 0,
        "logger_tls_period": 0,
        "team_id": host.team_id,
        "pack_stats": null,
        "team_name": host.team_id.map(|id| teams::name(world, id)),
        "gigs_disk_space_available": 0,
        "percent_disk_space_available": 0,
        "gigs_total_disk_space": 0,
        "issues": {"failing_policies_count": 0, "total_issues_count": 0},
        "mdm": {
            "enrollment_status": null,
            "dep_profile_error": false,
            "server_url": null,
            "name": "",
            "encryption_key_available": false,
            "connected_to_fleet": false,
        },
        "refetch_critical_queries_until": null,
        "last_restarted_at": fetched,
        "status": if host.online { "online" } else { "offline" },
        "display_text": host.hostname,
        "display_name": host.display_name,
    });
    if host.is_mobile()
        && let Some(fields) = document.as_object_mut()
    {
        // What moves instead of `seen_time`.
        let spoke = clock::seconds(SystemTime::now());
        fields.insert("last_mdm_checked_in_at".into(), json!(spoke));
    }
    document
}

/// `GET /host_summary`.
pub(super) fn summary(world: &World, call: &Call) -> Reply {
    let team = match teams::filter(world, call) {
        Ok(team) => team,
        Err(refusal) => return refusal,
    };
    let hosts = || {
        let hosts = world.enrolled().map(|(_, host)| host);
        hosts.filter(|host| team.as_ref().is_none_or(|team| *team == host.team_id))
    };
    let counts = Counts::of_hosts(hosts());
    let mut platforms: Vec<(&str, usize)> = Vec::new();
    for host in hosts() {
        let known = platforms
            .iter_mut()
            .find(|(name, _)| *name == host.platform);
        match known {
            Some((_, count)) => *count += 1,
            None => platforms.push((&host.platform, 1)),
        }
    }
    let platforms: Vec<Value> = platforms
        .into_iter()
        .map(|(platform, count)| json!({"platform": platform, "hosts_count": count}))
        .collect();
    let linux = hosts().filter(|host| host.family() == "linux").count();
    ok(&json!({
        "totals_hosts_count": counts.total,
        "online_count": counts.online,
        "offline_count": counts.offline,
        "mia_count": counts.missing,
        "missing_30_days_count": counts.missing,
        "new_count": counts.new,
        "all_linux_count": linux,
        "builtin_labels": super::labels::built_in(&world.fleet),
        "platforms": platforms,
    }))
}
