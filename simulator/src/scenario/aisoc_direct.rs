//! What only AiSOC's own osquery service has: its releases, tenants, credentials and habits of hanging up.

use std::time::Duration;

use serde::Deserialize;

use super::Scenario;
use super::parse::{ScenarioError, milliseconds};

/// The service token of a scenario that names none. It needs `X-AiSOC-Tenant-ID`.
pub const AISOC_SERVICE_TOKEN: &str = "aisoc-service-token";
/// A console's token of a scenario that names none. It carries its tenant, [`AISOC_TENANT`].
pub const AISOC_CONSOLE_TOKEN: &str = "aisoc-console-token";
/// The tenant of a scenario that names none.
pub const AISOC_TENANT: &str = "00000000-0000-0000-0000-000000000001";
/// What agents of a scenario that names none enrol with.
pub const AISOC_ENROLL_SECRET: &str = "aisoc-enroll-secret";

/// What only AiSOC's own osquery service has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AisocDirect {
    /// Which release answers.
    pub version: AisocVersion,
    /// The tenants' uuids; hosts that name none belong to the first. Older releases know no tenants and
    /// take any text: there, hosts that name none belong to `default`.
    pub tenants: Vec<String>,
    /// The token of services, for any tenant. Without it and without consoles' tokens the current
    /// release answers 503.
    pub service_token: Option<String>,
    /// Tokens of consoles, each for one tenant.
    pub console_tokens: Vec<ConsoleToken>,
    /// No credential is asked; the caller acts for the first tenant.
    pub dev_mode: bool,
    /// What agents enrol with.
    pub enroll_secret: String,
    /// What hosts enrol under, unless they say otherwise.
    pub host_identifier: HostIdentifier,
    /// How long a connection may be idle after its last request before it is closed.
    #[serde(rename = "idle_ms", deserialize_with = "milliseconds")]
    pub idle: Duration,
    /// When connections are reset instead of served; without it, never.
    pub burst: Option<Burst>,
}

impl Default for AisocDirect {
    fn default() -> Self {
        Self {
            version: AisocVersion::Current,
            tenants: vec![AISOC_TENANT.into()],
            service_token: Some(AISOC_SERVICE_TOKEN.into()),
            console_tokens: vec![ConsoleToken {
                token: AISOC_CONSOLE_TOKEN.into(),
                tenant: AISOC_TENANT.into(),
            }],
            dev_mode: false,
            enroll_secret: AISOC_ENROLL_SECRET.into(),
            host_identifier: HostIdentifier::Hostname,
            idle: Duration::from_secs(5),
            burst: None,
        }
    }
}

/// A release of AiSOC's osquery service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AisocVersion {
    /// A service token with a tenant's header, or a console's token (2026, after v7.2.0).
    #[default]
    Current,
    /// v7.2.0: no credential; the body's `tenant_id` chooses the tenant, and any id can be read.
    OlderNoAuth,
    /// A fork: the service token alone; the body's `tenant_id` chooses the tenant, and any id can be read.
    ForkApiToken,
}

/// A console's token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleToken {
    /// What stands behind `Bearer`.
    pub token: String,
    /// The one tenant that it acts for.
    pub tenant: String,
}

/// What a host enrols under: the only name by which this service knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostIdentifier {
    /// Its hostname.
    #[default]
    Hostname,
    /// Its hardware uuid.
    Uuid,
    /// This text, in which `{n}` is the host's number (osquery's `--host_identifier=specified`).
    Specified(String),
}

/// A burst of requests, in which a connection that was kept is reset with the request that comes on it.
/// The request has no effect, a `POST` neither, but its client can't know.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// From so many requests within the last second on.
    pub requests: usize,
    /// Connections that were idle for at least so long; a real service leaves those alone that were idle
    /// for less than a second.
    #[serde(
        default = "Burst::usual_idle",
        rename = "idle_ms",
        deserialize_with = "milliseconds"
    )]
    pub idle: Duration,
}

impl Burst {
    fn usual_idle() -> Duration {
        Duration::from_secs(1)
    }
}

impl Scenario {
    pub(super) fn validate_aisoc_direct(&self) -> Result<(), ScenarioError> {
        let aisoc = &self.aisoc_direct;
        let fail = |what: String| Err(ScenarioError::new(what));
        if aisoc.tenants.is_empty() {
            return fail("aisoc_direct.tenants must name at least one tenant".into());
        }
        for (index, tenant) in aisoc.tenants.iter().enumerate() {
            if parse_uuid(tenant).as_ref() != Some(tenant) {
                return fail(format!(
                    "aisoc_direct.tenants[{index}]: '{tenant}' is not a uuid such as {AISOC_TENANT}"
                ));
            }
        }
        for (index, console) in aisoc.console_tokens.iter().enumerate() {
            if parse_uuid(&console.tenant).as_ref() != Some(&console.tenant) {
                return fail(format!(
                    "aisoc_direct.console_tokens[{index}].tenant: '{}' is not a uuid such as \
                     {AISOC_TENANT}",
                    console.tenant
                ));
            }
        }
        if aisoc.version == AisocVersion::ForkApiToken && aisoc.service_token.is_none() {
            return fail("aisoc_direct.service_token: this release has nothing else to ask".into());
        }
        for (index, host) in self.hosts.iter().enumerate() {
            if let Some(tenant) = &host.tenant
                && aisoc.version == AisocVersion::Current
                && !aisoc.tenants.contains(tenant)
            {
                return fail(format!(
                    "hosts[{index}].tenant '{tenant}' is not among aisoc_direct.tenants"
                ));
            }
            if let Some(HostIdentifier::Specified(text)) = &host.host_identifier
                && host.count > 1
                && !text.contains("{n")
            {
                return fail(format!(
                    "hosts[{index}].host_identifier must contain {{n}}: of hosts with one identifier \
                     only the last is enrolled"
                ));
            }
        }
        Ok(())
    }
}

/// A uuid in its usual form, where the text is one as Python's `uuid.UUID` reads it: with or without
/// hyphens, braces and `urn:uuid:`, in any case.
pub(crate) fn parse_uuid(text: &str) -> Option<String> {
    let plain = text.replace("urn:", "").replace("uuid:", "");
    let digits: String = plain
        .trim_matches(['{', '}'])
        .chars()
        .filter(|character| *character != '-')
        .map(|character| character.to_ascii_lowercase())
        .collect();
    if digits.len() != 32 || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    Some(format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    ))
}

#[cfg(test)]
mod tests {
    use super::parse_uuid;

    #[test]
    fn uuids_are_read_as_python_reads_them() {
        let usual = "0f0e0d0c-0b0a-4908-8706-050403020100";
        for written in [
            usual,
            "0F0E0D0C-0B0A-4908-8706-050403020100",
            "{0f0e0d0c-0b0a-4908-8706-050403020100}",
            "urn:uuid:0f0e0d0c-0b0a-4908-8706-050403020100",
            "0f0e0d0c0b0a49088706050403020100",
        ] {
            assert_eq!(parse_uuid(written).as_deref(), Some(usual), "{written}");
        }
        for wrong in ["", "default", "0f0e0d0c-0b0a-4908-8706-05040302010", "é"] {
            assert_eq!(parse_uuid(wrong), None, "{wrong}");
        }
    }
}
