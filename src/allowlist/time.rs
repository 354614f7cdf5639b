//! Moments in the past: unix seconds or an age. Knows no clock; it is told what time it is.

use serde_json::Value;

use super::parameter::Refusal;
use super::value;

/// How far ahead a moment may be: clocks of alert sources and of this machine differ a little.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// Units of ages, with their seconds.
const UNITS: [(char, i64); 5] = [
    ('s', 1),
    ('m', 60),
    ('h', 3_600),
    ('d', 86_400),
    ('w', 604_800),
];

/// The unix seconds that a value means: unix seconds, or an age such as `-24h` before `now`; at most
/// `oldest` seconds back.
pub(super) fn since(given: &Value, oldest: i64, now: i64, expected: &str) -> Result<i64, Refusal> {
    let must = || format!("must be {expected}");
    let age = match given {
        Value::String(text) if !text.is_empty() && !is_plain_number(text) => {
            Some(negative_age(text).map_err(|hint| Refusal::kind(must() + hint))?)
        }
        _ => None,
    };
    if let Some(age) = age {
        return match age {
            Some(age) if age <= oldest => Ok(now.saturating_sub(age)),
            _ => Err(Refusal::range(must() + "; this is older")),
        };
    }
    let moment = value::integer(given, i64::MIN, i64::MAX, expected)?;
    if moment < 0 {
        return Err(Refusal::range(
            must() + "; an age needs its unit, as in `-90s`",
        ));
    }
    if moment > now.saturating_add(CLOCK_SKEW_SECONDS) {
        let recent = now.saturating_sub(oldest)..=now.saturating_add(CLOCK_SKEW_SECONDS);
        let hint = if recent.contains(&(moment / 1_000)) {
            "; this lies in the future (are these milliseconds?)"
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

    #[test]
    fn refuses_the_future_the_absurd_and_what_is_no_moment() {
        let range = |given, hint: &str| {
            let (rule, reason) = read(given).unwrap_err();
            assert_eq!(rule, "parameter_range");
            assert!(reason.ends_with(hint), "{reason}");
        };
        range(json!(NOW + 61), "; this lies in the future");
        range(json!(NOW * 1_000), "(are these milliseconds?)");
        range(json!(i64::MAX), "; this lies in the future");
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
