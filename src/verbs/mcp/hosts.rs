//! `find_hosts`: enrolled hosts by a part of what they are called. Asks the server, never a host; what comes
//! was written by hosts, and stands in fields.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::{Call, Voice};
use super::cells::clean;
use super::refusal::Refusal;
use super::server::Server;
use crate::campaign::host::Host;
use crate::exit::Code;
use crate::secret::SecretSources;
use crate::session::failure::Failure;
use crate::session::find::{Search, find};

/// Hosts that are listed where nothing is said.
const USUAL: usize = 20;
/// How long the server may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a name.
const NAME_BYTES: usize = 512;

/// Arguments of `find_hosts`.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    instance: String,
    text: String,
    limit: Option<usize>,
}

/// The hosts.
///
/// # Errors
/// What the server says, or that it lists none.
pub(super) async fn search(server: &Server, call: &Call) -> Result<Value, Refusal> {
    let wanted: Wanted = call.typed()?;
    let policy = &server.policy;
    let secrets = SecretSources::of_process(Default::default(), None);
    let named = policy.instance(&wanted.instance, &secrets).ok_or_else(|| {
        let known = policy.instances().map(|(name, _)| name);
        Refusal::unknown_instance(&wanted.instance, known)
    })?;
    let named = named.map_err(Failure::from)?;
    let voice = Voice::of(server);
    let search = Search {
        text: wanted.text.trim(),
        most: wanted.limit.unwrap_or(USUAL),
        timeout: TIMEOUT,
    };
    let searching = find(&named, search, &voice.cancel, &voice.notices);
    let mut searched = call.heeding(server, &voice.canceller, searching).await;
    let found = std::mem::replace(&mut searched.found, Ok(None));
    server.afterwards().add(searched.finish());
    let Some(found) = found? else {
        let title = named.server.access.known().title;
        return Err(Refusal::new(
            Code::Backend,
            format!("{title} can't be searched for hosts"),
            "name hosts exactly as the alert does",
        ));
    };
    let mut hosts = Vec::new();
    let mut bytes = 64;
    let total = found.hosts.len();
    for host in &found.hosts {
        let entry = entry(host);
        bytes += entry.to_string().len() + 1;
        if bytes > policy.max_bytes() {
            break;
        }
        hosts.push(entry);
    }
    Ok(json!({
        "untrusted": true,
        "more": found.more || hosts.len() < total,
        "hosts": hosts,
    }))
}

fn entry(host: &Host) -> Value {
    let mut entry = Map::new();
    entry.insert("name".into(), clean(host.hostname(), NAME_BYTES).into());
    entry.insert("uuid".into(), clean(host.uuid(), NAME_BYTES).into());
    for (key, text) in [
        ("serial", host.serial()),
        ("computer_name", host.computer_name()),
    ] {
        if !text.is_empty() {
            entry.insert(key.into(), clean(text, NAME_BYTES).into());
        }
    }
    if let Some(address) = host.address {
        entry.insert("address".into(), address.to_string().into());
    }
    let platform = host.platform.map(|platform| platform.name());
    entry.insert("platform".into(), platform.into());
    entry.insert("online".into(), host.online.into());
    let seen = host.last_seen().map(|seen| clean(seen, 64));
    entry.insert("last_seen".into(), seen.into());
    if host.unsupported {
        entry.insert("unsupported".into(), true.into());
    }
    entry.into()
}
