//! The enrolled hosts, made from a scenario's patterns. Knows nothing of campaigns or wires.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::agents;
use crate::clock;
use crate::rows::Answered;
use crate::scenario::{
    Behaviour, HostIdentifier, HostSpec, HostStatus, Scenario, ScenarioError, ServerVersion, Wire,
};
use crate::sql::Dataset;

/// An enrolled host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Its id at both servers.
    pub id: u64,
    /// Its number within the pattern that made it.
    pub number: usize,
    pub hostname: String,
    pub display_name: String,
    pub uuid: String,
    pub serial: String,
    /// Where the scenario gives it one.
    pub address: Option<String>,
    pub platform: String,
    /// Whether the servers know it.
    pub enrolled: bool,
    pub enrolled_at: SystemTime,
    pub online: bool,
    /// It is away until a change brings it back: what it was going to do, it does not do.
    pub away: bool,
    pub last_seen: SystemTime,
    pub distributed_interval: u64,
    pub labels: Vec<String>,
    pub tags: Vec<String>,
    pub team_id: Option<u64>,
    pub environment: String,
    /// AiSOC tenant, where the scenario gives the host one.
    pub tenant: Option<String>,
    /// What it enrolled under at AiSOC's own service.
    pub identifier: HostIdentifier,
    pub check_in: Duration,
    /// Where in its interval it checks in.
    pub phase: Duration,
    pub behaviour: Arc<Behaviour>,
    /// What it answers whatever it is asked; `None`: what its tables make of the statement.
    pub said: Option<Arc<Answered>>,
    pub dataset: Arc<Dataset>,
}

/// How long ago an offline host was last seen, unless the scenario says.
const OFFLINE_FOR: Duration = Duration::from_secs(30 * 60);
/// How long ago a missing host was last seen, unless the scenario says.
pub(crate) const MISSING_FOR: Duration = DAY.saturating_mul(31);
/// How long before that it had enrolled.
const MISSING_AFTER: Duration = DAY.saturating_mul(29);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// All hosts of a scenario.
pub(crate) fn enrol(scenario: &Scenario, now: SystemTime) -> Result<Vec<Host>, ScenarioError> {
    let usual = Arc::new(Dataset::new(&[&scenario.tables], now)?);
    let mut hosts = Vec::new();
    let mut next_id = 1;
    for spec in &scenario.hosts {
        let dataset = if spec.tables.is_empty() {
            Arc::clone(&usual)
        } else {
            Arc::new(Dataset::new(&[&scenario.tables, &spec.tables], now)?)
        };
        let behaviour = Arc::new(spec.behaviour.clone());
        let said = agents::prepare(&spec.behaviour.answer);
        next_id = spec.id.unwrap_or(next_id);
        for index in 0..spec.count {
            let mut host = host(
                scenario,
                spec,
                &dataset,
                &behaviour,
                now,
                index,
                hosts.len(),
            )?;
            // Whoever enrols later is given its id then.
            if spec.enrolled {
                host.id = next_id;
                next_id += 1;
            }
            host.said.clone_from(&said);
            hosts.push(host);
        }
    }
    let mut seen = std::collections::HashSet::new();
    let mut ids = std::collections::HashSet::new();
    for host in &hosts {
        // osctrl knows nodes by their uuid; Fleet by what osquery enrols under.
        let may_share = scenario.wire == Wire::Fleet;
        if !may_share && !seen.insert(host.uuid.to_uppercase()) {
            return Err(ScenarioError::new(format!(
                "two hosts have the uuid {}; give each its own",
                host.uuid
            )));
        }
        if host.enrolled && !ids.insert(host.id) {
            return Err(ScenarioError::new(format!(
                "two hosts have the id {}; leave ids out or give each its own",
                host.id
            )));
        }
    }
    Ok(hosts)
}

fn host(
    scenario: &Scenario,
    spec: &HostSpec,
    dataset: &Arc<Dataset>,
    behaviour: &Arc<Behaviour>,
    now: SystemTime,
    index: usize,
    place: usize,
) -> Result<Host, ScenarioError> {
    let number = spec.first + index;
    let named = |pattern: &str| fill_pattern(pattern, number);
    let hostname = named(&spec.hostname)?;
    let check_in = spec.check_in.unwrap_or(scenario.check_in);
    let last_seen = match (&spec.last_seen, spec.status) {
        (Some(text), _) => clock::parse_rfc3339(text)
            .ok_or_else(|| ScenarioError::new("last_seen is not a time"))?,
        (None, HostStatus::Online) => now,
        (None, HostStatus::Offline) => now - OFFLINE_FOR,
        (None, HostStatus::Missing) => now - MISSING_FOR,
    };
    let enrolled_at = match (&spec.enrolled_at, spec.status) {
        (Some(text), _) => clock::parse_rfc3339(text)
            .ok_or_else(|| ScenarioError::new("enrolled_at is not a time"))?,
        (None, HostStatus::Missing) => last_seen - MISSING_AFTER,
        (None, _) => last_seen,
    };
    let uuid = match &spec.uuid {
        Some(pattern) => named(pattern)?,
        None => format!("4C4C4544-0000-4000-8000-{:012X}", place + 1),
    };
    let identifier = spec.host_identifier.as_ref();
    let identifier = match identifier.unwrap_or(&scenario.aisoc_direct.host_identifier) {
        HostIdentifier::Specified(pattern) => HostIdentifier::Specified(named(pattern)?),
        plain => plain.clone(),
    };
    // From 4.93 on Fleet counts phones as online that their device management has heard of.
    let version = scenario.fleet.version;
    let mobile_is_offline = version.is_some_and(|version| version < ServerVersion(4, 93, 0));
    Ok(Host {
        id: 0,
        number,
        display_name: match &spec.display_name {
            Some(pattern) => named(pattern)?,
            None => hostname.clone(),
        },
        uuid,
        serial: match &spec.serial {
            Some(pattern) => named(pattern)?,
            None => format!("SER{:06}", place + 1),
        },
        address: spec.address.as_deref().map(named).transpose()?,
        hostname,
        platform: spec.platform.clone(),
        enrolled: spec.enrolled,
        enrolled_at,
        online: spec.enrolled
            && spec.status == HostStatus::Online
            && !(mobile_is_offline && is_mobile(&spec.platform)),
        away: !spec.enrolled
            || (spec.status != HostStatus::Online && spec.behaviour.comes_back.is_none()),
        last_seen,
        distributed_interval: spec.distributed_interval,
        labels: spec.labels.clone(),
        tags: spec.tags.clone(),
        team_id: spec.team_id,
        environment: spec
            .environment
            .clone()
            .or_else(|| scenario.osctrl.environments.first().cloned())
            .unwrap_or_default(),
        tenant: spec.tenant.clone(),
        identifier,
        check_in,
        phase: phase(place, check_in),
        behaviour: Arc::clone(behaviour),
        said: None,
        dataset: Arc::clone(dataset),
    })
}

/// Whether a host of this platform is a phone or tablet, without osquery.
fn is_mobile(platform: &str) -> bool {
    matches!(platform, "ios" | "ipados" | "android")
}

/// Spreads hosts over their interval, the same way in every run.
fn phase(place: usize, interval: Duration) -> Duration {
    // Multiples of the golden ratio, modulo 1, lie evenly however many there are.
    let share =
        (u64::try_from(place).unwrap_or_default()).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let nanos = (interval.as_nanos() * u128::from(share)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

/// `{n}` and `{n:04}` replaced by the number.
fn fill_pattern(pattern: &str, number: usize) -> Result<String, ScenarioError> {
    let mut filled = String::new();
    let mut rest = pattern;
    while let Some(start) = rest.find("{n") {
        let (before, from) = rest.split_at(start);
        let wrong = || {
            ScenarioError::new(format!(
                "'{pattern}' is no pattern: write {{n}} or {{n:04}} for the host's number"
            ))
        };
        let end = from.find('}').ok_or_else(wrong)?;
        let width = match from.get(2..end) {
            Some("") => 0,
            Some(width) => width
                .strip_prefix(":0")
                .and_then(|width| width.parse::<usize>().ok())
                .filter(|width| (1..=20).contains(width))
                .ok_or_else(wrong)?,
            None => return Err(wrong()),
        };
        filled.push_str(before);
        filled.push_str(&format!("{number:0width$}"));
        rest = from.get(end + 1..).unwrap_or_default();
    }
    filled.push_str(rest);
    Ok(filled)
}

impl Host {
    /// The next check-in after `after`; both are times since the start.
    pub fn next_check_in(&self, after: Duration) -> Duration {
        if after < self.phase {
            return self.phase;
        }
        let interval = self.check_in.as_nanos().max(1);
        let passed = (after - self.phase).as_nanos() / interval + 1;
        let nanos = passed * interval;
        self.phase + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 2))
    }

    /// The name by which AiSOC's own service knows it.
    pub fn identifier(&self) -> &str {
        match &self.identifier {
            HostIdentifier::Hostname => &self.hostname,
            HostIdentifier::Uuid => &self.uuid,
            HostIdentifier::Specified(text) => text,
        }
    }

    /// When it last checked in, in a world that has run for so long.
    pub fn seen(&self, running: Duration) -> SystemTime {
        if !self.online || self.is_mobile() {
            return self.last_seen;
        }
        // The latest check-in is one interval before the next.
        let ago = (running + self.check_in).saturating_sub(self.next_check_in(running));
        SystemTime::now() - ago
    }

    /// A phone or tablet: without osquery, so that Fleet never sees it check in.
    pub fn is_mobile(&self) -> bool {
        is_mobile(&self.platform)
    }

    /// Whether Fleet counts it as missing: not seen for 30 days.
    pub fn is_missing(&self, now: SystemTime) -> bool {
        !self.online
            && now
                .duration_since(self.last_seen)
                .is_ok_and(|passed| passed >= DAY * 30)
    }

    /// Whether Fleet counts it as new: enrolled within the last day.
    pub fn is_new(&self, now: SystemTime) -> bool {
        now.duration_since(self.enrolled_at)
            .map_or(true, |passed| passed < DAY)
    }

    /// The family that osctrl filters by.
    pub fn family(&self) -> &'static str {
        match self.platform.as_str() {
            "darwin" => "darwin",
            "windows" => "windows",
            "linux" | "ubuntu" | "debian" | "centos" | "rhel" | "fedora" | "arch" | "amzn"
            | "suse" | "opensuse" | "gentoo" | "kali" | "linuxmint" | "rocky" | "almalinux"
            | "pop" | "alpine" => "linux",
            _ => "other",
        }
    }

    #[cfg(test)]
    pub fn plain(number: usize, hostname: &str) -> Self {
        let scenario = Scenario::default();
        let now = SystemTime::now();
        let dataset = Arc::new(Dataset::new(&[], now).expect("the built-in tables"));
        let spec = HostSpec::named("placeholder");
        let mut host = host(&scenario, &spec, &dataset, &Arc::default(), now, number, 0)
            .expect("a plain host");
        host.hostname = hostname.into();
        host.display_name = hostname.into();
        host
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_number_their_hosts() {
        assert_eq!(fill_pattern("web-{n:04}", 7).as_deref(), Ok("web-0007"));
        assert_eq!(fill_pattern("{n}.{n:02}.x", 12).as_deref(), Ok("12.12.x"));
        assert_eq!(fill_pattern("plain", 1).as_deref(), Ok("plain"));
        for wrong in ["{n", "{n:4}", "{n:0x}", "{n:000000000000000099}"] {
            let error = fill_pattern(wrong, 1).expect_err(wrong);
            assert_eq!(
                error.to_string(),
                format!("'{wrong}' is no pattern: write {{n}} or {{n:04}} for the host's number")
            );
        }
    }

    #[test]
    fn one_pattern_makes_many_hosts_that_differ() {
        let mut scenario = Scenario::of([HostSpec::many(300, "h-{n:03}"), HostSpec::named("last")]);
        scenario.check_in = Duration::from_millis(100);
        let hosts = enrol(&scenario, SystemTime::now()).expect("hosts");
        assert_eq!(hosts.len(), 301);
        assert_eq!(hosts.last().map(|host| host.id), Some(301));
        let early = hosts
            .iter()
            .filter(|host| host.phase < scenario.check_in / 2);
        assert!((100..=200).contains(&early.count()), "check-ins are spread");
    }

    #[test]
    fn two_hosts_with_one_uuid_are_refused_where_it_is_the_key() {
        let mut twin = HostSpec::named("a");
        twin.uuid = Some("u".into());
        let mut scenario = Scenario::of([twin.clone(), twin]);
        scenario.wire = Wire::Fleet;
        let hosts = enrol(&scenario, SystemTime::now());
        assert_eq!(hosts.map(|hosts| hosts.len()), Ok(2));
        scenario.wire = Wire::All;
        let error = enrol(&scenario, SystemTime::now());
        assert_eq!(
            error.expect_err("refused").to_string(),
            "two hosts have the uuid u; give each its own"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn the_next_check_in_is_later_and_within_one_interval(
            place in 0_usize..10_000, interval in 1_u64..100_000, after in 0_u64..10_000_000
        ) {
            let mut host = Host::plain(0, "h");
            host.check_in = Duration::from_micros(interval);
            host.phase = phase(place, host.check_in);
            prop_assert!(host.phase < host.check_in);
            let after = Duration::from_micros(after);
            let next = host.next_check_in(after);
            prop_assert!(next > after || after < host.phase);
            prop_assert!(next <= after + host.check_in);
            let since = (next - host.phase).as_nanos();
            prop_assert_eq!(since % host.check_in.as_nanos(), 0);
        }
    }
}
