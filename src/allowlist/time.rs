//! Moments in the past: unix seconds or milliseconds, RFC 3339, or an age. Knows no clock; it is told
//! what time it is.

use serde_json::Value;

use super::parameter::Refusal;
use super::value;

/// How far ahead a moment may be: clocks of alert sources and of this machine differ a little.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// From here on a number is unix milliseconds: as seconds it would be the year 5138, as milliseconds it
/// is 1973.
const LEAST_MILLISECONDS: i64 = 100_000_000_000;

/// Units of ages, with their seconds.
const UNITS: [(char, i64); 5] = [
    ('s', 1),
    ('m', 60),
    ('h', 3_600),
    ('d', 86_400),
    ('w', 604_800),
];

/// The unix seconds that a value means: unix seconds or milliseconds, RFC 3339 with a zone, or an age such
/// as `-24h` before `now`; at most `oldest` seconds back. Parts of a second are dropped, so that nothing
/// of that second is missed.
pub(super) fn since(given: &Value, oldest: i64, now: i64, expected: &str) -> Result<i64, Refusal> {
    let must = || format!("must be {expected}");
    let moment = match given {
        Value::String(text) if looks_like_a_date(text) => {
            rfc3339(text).map_err(|hint| Refusal::kind(must() + hint))?
        }
        Value::String(text) if !text.is_empty() && !is_plain_number(text) => {
            return match negative_age(text).map_err(|hint| Refusal::kind(must() + hint))? {
                Some(age) if age <= oldest => Ok(now.saturating_sub(age)),
                _ => Err(Refusal::range(must() + "; this is older")),
            };
        }
        _ => match value::integer(given, i64::MIN, i64::MAX, expected)? {
            number if number < 0 => {
                return Err(Refusal::range(
                    must() + "; an age needs its unit, as in `-90s`",
                ));
            }
            number if number >= LEAST_MILLISECONDS => number / 1_000,
            number => number,
        },
    };
    if moment > now.saturating_add(CLOCK_SKEW_SECONDS) {
        let hint = if moment >= LEAST_MILLISECONDS {
            "; this lies in the future (are these microseconds or nanoseconds?)"
        } else {
            "; this lies in the future"
        };
        return Err(Refusal::range(must() + hint));
    }
    if moment < now.saturating_sub(oldest) {
        return Err(Refusal::range(must() + "; this is older"));
    }
    Ok(moment)
}

/// Whether a text begins as a date does: `2026-11-20`.
fn looks_like_a_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(index, byte)| {
            if index == 4 || index == 7 {
                *byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        })
}

/// The unix seconds of a moment in RFC 3339, its parts of a second dropped. An offset may lack its colon,
/// and a blank may stand for the `T`, for nothing else can be meant. The error goes on after what is expected.
fn rfc3339(text: &str) -> Result<i64, &'static str> {
    const NO_MOMENT: &str = "; this is not a valid time in RFC 3339";
    let number = |from: usize, to: usize| -> Result<i64, &'static str> {
        let digits = text.get(from..to).ok_or(NO_MOMENT)?;
        if !value::is_decimal_digits(digits) {
            return Err(NO_MOMENT);
        }
        digits.parse().map_err(|_| NO_MOMENT)
    };
    let sign = |at: usize| text.as_bytes().get(at).copied();
    if text.len() == 10 {
        return Err("; a date needs its time and zone, as in `2026-11-20T08:00:00Z`");
    }
    if !matches!(sign(10), Some(b'T' | b't' | b' '))
        || (sign(13), sign(16)) != (Some(b':'), Some(b':'))
    {
        return Err(NO_MOMENT);
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return Err(NO_MOMENT);
    }
    let mut at = 19;
    if matches!(sign(at), Some(b'.' | b',')) {
        at += 1;
        let digits = text.as_bytes()[at..].iter();
        let count = digits.take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(NO_MOMENT);
        }
        at += count;
    }
    let offset = match (sign(at), &text[at..]) {
        (None, _) => {
            return Err("; a time needs its zone: `Z`, or an offset such as `+02:00`");
        }
        (_, "Z" | "z") => 0,
        (Some(direction @ (b'+' | b'-')), zone) => {
            let minutes = if zone.len() == 6 && sign(at + 3) == Some(b':') {
                at + 4
            } else if zone.len() == 5 {
                at + 3
            } else {
                return Err(NO_MOMENT);
            };
            let (hours, minutes) = (number(at + 1, at + 3)?, number(minutes, minutes + 2)?);
            if hours > 23 || minutes > 59 {
                return Err(NO_MOMENT);
            }
            let seconds = hours * 3_600 + minutes * 60;
            if direction == b'+' { seconds } else { -seconds }
        }
        _ => return Err(NO_MOMENT),
    };
    Ok(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, negative before.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Days before a year, counted from the year 1.
    let before = |year: i64| {
        let past = year - 1;
        past * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400)
    };
    let months: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    before(year) - before(1970) + months + day - 1
}

/// The seconds of an age as templates write it for a bound, without sign: `365d`.
pub(super) fn age(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let digits = &text[..text.len() - 1];
    if !value::is_decimal_digits(digits) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(seconds)
}

/// The seconds as the largest unit that divides them: `365d`.
pub(super) fn in_words(seconds: i64) -> String {
    let (unit, size) = UNITS
        .into_iter()
        .rev()
        .find(|(unit, size)| *unit != 'w' && seconds % size == 0)
        .unwrap_or(('s', 1));
    format!("{}{unit}", seconds / size)
}

/// The age of `-24h`; `None` where it is beyond counting; a hint where it is no age.
fn negative_age(text: &str) -> Result<Option<i64>, &'static str> {
    let Some(unsigned) = text.strip_prefix('-') else {
        return Err(match age(text) {
            Some(_) => "; an age begins with `-`",
            None => ", not other text",
        });
    };
    let unit = unsigned.chars().last().unwrap_or(' ');
    let known = UNITS.iter().any(|(name, _)| *name == unit);
    if known && value::is_decimal_digits(&unsigned[..unsigned.len() - 1]) {
        return Ok(age(unsigned));
    }
    Err(", not other text")
}

fn is_plain_number(text: &str) -> bool {
    value::is_decimal_digits(text.strip_prefix('-').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_795_000_000;
    const YEAR: i64 = 365 * 86_400;

    fn read(given: Value) -> Result<i64, (&'static str, String)> {
        since(&given, YEAR, NOW, "a moment").map_err(|refusal| (refusal.rule, refusal.reason))
    }

    #[test]
    fn ages_and_moments() {
        assert_eq!(read(json!("-24h")), Ok(NOW - 86_400));
        assert_eq!(read(json!("-90s")), Ok(NOW - 90));
        assert_eq!(read(json!("-15m")), Ok(NOW - 900));
        assert_eq!(read(json!("-7d")), Ok(NOW - 7 * 86_400));
        assert_eq!(read(json!("-2w")), Ok(NOW - 14 * 86_400));
        assert_eq!(read(json!("-0s")), Ok(NOW));
        assert_eq!(read(json!(NOW - 5)), Ok(NOW - 5));
        assert_eq!(read(json!((NOW - 5).to_string())), Ok(NOW - 5));
        assert_eq!(read(json!(NOW + 30)), Ok(NOW + 30));
        assert_eq!(read(json!("-365d")), Ok(NOW - YEAR));
    }

    /// 1,795,000,000 is 2026-11-18 11:06:40 UTC.
    #[test]
    fn one_moment_in_all_spellings() {
        for given in [
            json!(NOW - 40),
            json!((NOW - 40).to_string()),
            json!((NOW - 40) * 1_000),
            json!((NOW - 40) * 1_000 + 999),
            json!(((NOW - 40) * 1_000).to_string()),
            json!("2026-11-18T11:06:00Z"),
            json!("2026-11-18t11:06:00z"),
            json!("2026-11-18 11:06:00Z"),
            json!("2026-11-18T11:06:00.999999999Z"),
            json!("2026-11-18T11:06:00,5Z"),
            json!("2026-11-18T13:06:00+02:00"),
            json!("2026-11-18T13:06:00+0200"),
            json!("2026-11-18T05:36:00.000-05:30"),
            json!("2026-11-19T00:06:00+13:00"),
            json!("2026-11-18T11:06:00-00:00"),
            json!("2026-11-18T11:05:60Z"),
        ] {
            assert_eq!(read(given.clone()), Ok(NOW - 40), "{given}");
        }
    }

    #[test]
    fn the_calendar() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("2026-12-31T23:59:59Z", 1_798_761_599),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
        ] {
            assert_eq!(rfc3339(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_refused_and_so_is_no_time() {
        for (text, hint) in [
            (
                "2026-11-18T11:06:00",
                "; a time needs its zone: `Z`, or an offset such as `+02:00`",
            ),
            (
                "2026-11-18T11:06:00.5",
                "; a time needs its zone: `Z`, or an offset such as `+02:00`",
            ),
            (
                "2026-11-18 11:06:00",
                "; a time needs its zone: `Z`, or an offset such as `+02:00`",
            ),
            (
                "2026-11-18",
                "; a date needs its time and zone, as in `2026-11-20T08:00:00Z`",
            ),
            (
                "2026-02-29T00:00:00Z",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-13-01T00:00:00Z",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-11-18T24:00:00Z",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-11-18T11:06Z",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-11-18T11:06:00.Z",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-11-18T11:06:00+2",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-11-18T11:06:00+02:",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-11-18T11:06:00+99:00",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-11-18T11:06:00 CET",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-11-18T11:06:é0Z",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-11-18T11:06:00é",
                "; this is not a valid time in RFC 3339",
            ),
            (
                "2026-11-18é11:06:00Z",
                "; this is not a valid time in RFC 3339",
            ),
        ] {
            let (rule, reason) = read(json!(text)).unwrap_err();
            assert_eq!(
                (rule, reason),
                ("parameter_type", format!("must be a moment{hint}")),
                "{text}"
            );
        }
        let (rule, reason) = read(json!("2026-11-18T11:07:41Z")).unwrap_err();
        assert_eq!(
            (rule, reason.as_str()),
            (
                "parameter_range",
                "must be a moment; this lies in the future"
            )
        );
    }

    #[test]
    fn refuses_the_future_the_absurd_and_what_is_no_moment() {
        let range = |given, hint: &str| {
            let (rule, reason) = read(given).unwrap_err();
            assert_eq!(rule, "parameter_range");
            assert!(reason.ends_with(hint), "{reason}");
        };
        range(json!(NOW + 61), "; this lies in the future");
        range(json!((NOW + 61) * 1_000), "; this lies in the future");
        range(
            json!(NOW * 1_000_000),
            "(are these microseconds or nanoseconds?)",
        );
        range(json!(i64::MAX), "(are these microseconds or nanoseconds?)");
        range(json!(-86_400), "as in `-90s`");
        range(json!("-86400"), "as in `-90s`");
        range(json!("-366d"), "; this is older");
        range(json!("-99999999999999999999w"), "; this is older");
        range(json!(1_000), "; this is older");
        for (given, hint) in [
            (json!("24h"), "; an age begins with `-`"),
            (json!("-24"), ""),
            (json!("-24y"), ", not other text"),
            (json!("-1h30m"), ", not other text"),
            (json!("-h"), ", not other text"),
            (json!("-"), ", not other text"),
            (json!("--1h"), ", not other text"),
            (json!("-24é"), ", not other text"),
            (json!("yesterday"), ", not other text"),
            (json!(""), ", not other text"),
            (json!("-1.5h"), ", not other text"),
            (json!(true), "not true or false"),
            (json!(1.5), "not a number with a fraction"),
            (json!(null), "not null"),
            (json!(["-1h"]), "not a list"),
        ] {
            let (_, reason) = read(given).unwrap_err();
            assert!(reason.contains(hint), "{reason}");
        }
    }

    #[test]
    fn bounds_of_templates() {
        assert_eq!(age("365d"), Some(YEAR));
        assert_eq!(age("d"), None);
        assert_eq!(age(""), None);
        assert_eq!(age("-1d"), None);
        assert_eq!(in_words(YEAR), "365d");
        assert_eq!(in_words(90), "90s");
        assert_eq!(in_words(0), "0d");
    }
}
