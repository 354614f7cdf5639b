//! Who calls, and for which tenant: the one thing in which the service's releases differ.

use std::collections::HashMap;

use super::{detail, failure};
use crate::http::{Call, Reply};
use crate::scenario::{AisocDirect, AisocVersion, parse_uuid};
use crate::world::World;

/// What a good token stands for.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    /// A service, for the tenant that it declares.
    Service,
    /// A console, for this tenant.
    Console(String),
}

/// Who calls.
#[derive(Debug)]
pub(super) enum Caller {
    /// For this tenant only.
    Tenant(String),
    /// For the tenant that the body names.
    AnyTenant,
}

pub(super) fn tokens(aisoc: &AisocDirect) -> HashMap<String, Credential> {
    let service = aisoc.service_token.iter();
    let consoles = aisoc.console_tokens.iter();
    service
        .map(|token| (token.clone(), Credential::Service))
        .chain(consoles.map(|console| {
            let credential = Credential::Console(console.tenant.clone());
            (console.token.clone(), credential)
        }))
        .collect()
}

/// Who calls, or the refusal.
pub(super) fn authenticate(world: &World, call: &Call) -> Result<Caller, Reply> {
    match world.scenario.aisoc_direct.version {
        AisocVersion::OlderNoAuth => Ok(Caller::AnyTenant),
        AisocVersion::ForkApiToken => fork(world, call),
        AisocVersion::Current => current(world, call),
    }
}

fn current(world: &World, call: &Call) -> Result<Caller, Reply> {
    let aisoc = &world.scenario.aisoc_direct;
    if aisoc.dev_mode {
        return Ok(Caller::Tenant(super::usual_tenant(&world.scenario)));
    }
    if aisoc.service_token.is_none() && aisoc.console_tokens.is_empty() {
        return Err(detail(
            503,
            "tenant-scoped auth is not configured; set SECRET_KEY and/or AISOC_SERVICE_TOKEN (or \
             AISOC_OSQUERY_TLS_SERVICE_TOKEN) before exposing this service",
        ));
    }
    // Exactly that word: `bearer` is no credential.
    let header = call.header("authorization").unwrap_or_default();
    let token = header
        .strip_prefix("Bearer ")
        .map(str::trim)
        .filter(|token| !token.is_empty());
    let Some(token) = token else {
        return Err(unauthorized("missing bearer credential"));
    };
    if !token.is_ascii() {
        return Err(failure());
    }
    match world.aisoc_direct.tokens.get(token) {
        None => Err(unauthorized("invalid or missing credential")),
        // Its tenant is its own: the header is ignored.
        Some(Credential::Console(tenant)) => Ok(Caller::Tenant(tenant.clone())),
        Some(Credential::Service) => match call.header("x-aisoc-tenant-id") {
            None => Err(detail(
                403,
                "service token must declare the tenant it acts for on X-AiSOC-Tenant-ID",
            )),
            Some(text) => parse_uuid(text.trim())
                .map(Caller::Tenant)
                .ok_or_else(|| detail(400, "X-AiSOC-Tenant-ID must be a UUID")),
        },
    }
}

fn fork(world: &World, call: &Call) -> Result<Caller, Reply> {
    let token = call.bearer();
    let known = token.and_then(|token| world.aisoc_direct.tokens.get(&token));
    match known {
        Some(Credential::Service) => Ok(Caller::AnyTenant),
        Some(Credential::Console(_)) | None => Err(unauthorized("invalid or missing API token")),
    }
}

fn unauthorized(text: &str) -> Reply {
    detail(401, text).with_header("www-authenticate", "Bearer")
}
