//! Fleet's hosts: the list with its pages, search and order, one host by what names it, and counts.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{bad_request, not_found, ok};
use crate::clock;
use crate::host::Host;
use crate::http::{Call, FLEET_JSON, Reply, page_of};
use crate::listing;
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
    let world = shared.look();
    let id = |place: &usize| world.hosts.get(*place).map(|host| host.id);
    let name = |place: &usize| {
        let host = world.hosts.get(*place)?;
        Some(host.hostname.to_lowercase())
    };
    match call.parameter("order_key") {
        None | Some("" | "id") => places.sort_by_key(id),
        Some("hostname" | "display_name") => places.sort_by_cached_key(name),
        Some(_) => {}
    }
    drop(world);
    if call.parameter("order_direction") == Some("desc") {
        places.reverse();
    }
    let size = call
        .number("per_page")
        .filter(|size| *size > 0)
        .unwrap_or(usize::MAX);
    let shown = page_of(&places, call.number("page").unwrap_or(0), size);
    let hosts = listing::of_hosts(shared, shown, document);
    Reply::made(200, FLEET_JSON, hosts.between("{\"hosts\":[", "]}"))
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
    if !matches!(
        status,
        "" | "online" | "offline" | "new" | "mia" | "missing"
    ) {
        return Err(bad_request(FLEET_JSON, "invalid status"));
    }
    Ok(world
        .hosts
        .iter()
        .enumerate()
        .filter(|(_, host)| {
            let found = text.is_empty()
                || [&host.hostname, &host.uuid, &host.serial, &host.display_name]
                    .into_iter()
                    .any(|field| field.to_lowercase().contains(&text));
            let fits = match status {
                "online" => host.online,
                "offline" => !host.online,
                "mia" | "missing" => false,
                _ => true,
            };
            found && fits
        })
        .map(|(place, _)| place)
        .collect())
}

/// `GET /hosts/identifier/{identifier}`: of several hosts with one hostname, the first.
pub(super) fn by_identifier(world: &World, identifier: &str) -> Reply {
    match find(world, identifier) {
        Some((_, host)) => detail(world, host),
        None => not_found(&format!("Host {identifier} was not found in the datastore")),
    }
}

/// `GET /hosts/{id}`.
pub(super) fn by_id(world: &World, id: &str) -> Reply {
    match world.hosts.iter().find(|host| host.id.to_string() == id) {
        Some(host) => detail(world, host),
        None => not_found(&format!("Host {id} was not found in the datastore")),
    }
}

/// The first host that this names by hostname, uuid, serial or node key, with its place.
pub(super) fn find<'world>(
    world: &'world World,
    identifier: &str,
) -> Option<(usize, &'world Host)> {
    world
        .hosts
        .iter()
        .enumerate()
        .find(|(_, host)| is_named(host, identifier))
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
        fields.insert("last_mdm_checked_in_at".into(), Value::Null);
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

fn document(_world: &World, host: &Host) -> Value {
    let enrolled = clock::seconds(host.last_seen);
    let seen = if host.online {
        SystemTime::now()
    } else {
        host.last_seen
    };
    json!({
        "created_at": enrolled,
        "updated_at": enrolled,
        "software_updated_at": enrolled,
        "id": host.id,
        "detail_updated_at": enrolled,
        "label_updated_at": enrolled,
        "policy_updated_at": enrolled,
        "last_enrolled_at": enrolled,
        "seen_time": clock::seconds(seen),
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
        "primary_ip": "",
        "primary_mac": "",
        "distributed_interval": host.distributed_interval,
        "config_tls_refresh": 0,
        "logger_tls_period": 0,
        "team_id": host.team_id,
        "pack_stats": null,
        "team_name": host.team_id.map(|id| format!("team {id}")),
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
        "last_restarted_at": enrolled,
        "status": if host.online { "online" } else { "offline" },
        "display_text": host.hostname,
        "display_name": host.display_name,
    })
}

/// `GET /host_summary`.
pub(super) fn summary(world: &World) -> Reply {
    let online = world.hosts.iter().filter(|host| host.online).count();
    let mut platforms: Vec<(String, usize)> = Vec::new();
    for host in &world.hosts {
        match platforms
            .iter_mut()
            .find(|(name, _)| *name == host.platform)
        {
            Some((_, count)) => *count += 1,
            None => platforms.push((host.platform.clone(), 1)),
        }
    }
    let platforms: Vec<Value> = platforms
        .into_iter()
        .map(|(platform, count)| json!({"platform": platform, "hosts_count": count}))
        .collect();
    ok(&json!({
        "totals_hosts_count": world.hosts.len(),
        "online_count": online,
        "offline_count": world.hosts.len() - online,
        "mia_count": 0,
        "missing_30_days_count": 0,
        "new_count": world.hosts.len(),
        "all_linux_count": world.hosts.iter().filter(|host| host.family() == "linux").count(),
        "low_disk_space_count": null,
        "builtin_labels": super::labels::built_in(&world.fleet),
        "platforms": platforms,
    }))
}
