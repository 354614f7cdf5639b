//! Times as the two servers write them. Fleet writes whole seconds, osctrl microseconds.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Go's zero time, as both servers write what never happened.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// `2026-11-20T23:53:11Z`.
pub(crate) fn seconds(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    write(at.replace_nanosecond(0).unwrap_or(at))
}

/// `2026-11-20T23:53:11.604116Z`.
pub(crate) fn micros(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    write(
        at.replace_nanosecond(at.nanosecond() / 1_000 * 1_000)
            .unwrap_or(at),
    )
}

/// The same time without what is less than a microsecond.
pub(crate) fn whole_micros(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    let micros = since.map_or(0, |since| since.as_nanos() / 1_000);
    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

fn write(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| NEVER.into())
}

/// A point in time, where the text is one.
pub(crate) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .map(SystemTime::from)
}

/// Whole seconds since 1970.
pub(crate) fn unix(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
        .cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_servers_write_them() {
        let at = parse_rfc3339("2026-11-20T23:53:51.6041167Z").expect("a time");
        assert_eq!(seconds(at), "2026-11-20T23:53:51Z");
        assert_eq!(micros(at), "2026-11-20T23:53:51.604116Z");
        assert_eq!(unix(at), 1_795_218_831);
        assert_eq!(parse_rfc3339("yesterday"), None);
    }
}
