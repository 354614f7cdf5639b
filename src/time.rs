//! Moments as text: RFC 3339 in UTC, to the millisecond.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-27T07:04:51.123Z`.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let mut text = String::with_capacity("2026-11-27T07:04:51.123Z".len());
    // By hand: there is one of them for each host.
    let mut push = |digits: u32, number: u64, behind: char| {
        for place in (0..digits).rev() {
            let digit = number / 10_u64.pow(place) % 10;
            text.push(char::from(b'0' + digit as u8));
        }
        text.push(behind);
    };
    push(
        year.checked_ilog10().map_or(4, |most| most.max(3) + 1),
        year,
        '-',
    );
    push(2, month, '-');
    push(2, day, 'T');
    push(2, second / 3_600, ':');
    push(2, second / 60 % 60, ':');
    push(2, second % 60, '.');
    push(3, since.subsec_millis().into(), 'Z');
    text
}

/// The same of milliseconds since 1970; what is before is 1970.
pub(crate) fn rfc3339_of(milliseconds: i64) -> String {
    let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
    rfc3339(UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH))
}

/// The milliseconds since 1970 of a moment that [`rfc3339`] wrote, or another program in UTC with `Z`.
pub(crate) fn milliseconds(text: &str) -> Option<i64> {
    let text = text.strip_suffix(['Z', 'z'])?;
    let (text, fraction) = text.split_once('.').unwrap_or((text, ""));
    // By hand, as there are some of them for each host.
    let digits = |text: &str, most: usize| -> Option<i64> {
        let plain = (1..=most).contains(&text.len());
        let mut letters = text.bytes().filter(|_| plain);
        let number = letters.try_fold(0, |number, letter| {
            let digit = letter.is_ascii_digit().then(|| i64::from(letter - b'0'))?;
            Some(number * 10 + digit)
        });
        number.filter(|_| plain)
    };
    let three = |text: &str, by: char, most: usize| -> Option<[i64; 3]> {
        let (first, others) = text.split_once(by)?;
        let (second, third) = others.split_once(by)?;
        Some([digits(first, most)?, digits(second, 2)?, digits(third, 2)?])
    };
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = three(date, '-', 4)?;
    let [hour, minute, second] = three(time, ':', 2)?;
    let valid = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let fraction = match fraction.get(..3).unwrap_or(fraction) {
        "" => 0,
        first => digits(first, 3)? * 10_i64.pow(3 - first.len() as u32),
    };
    // Years that begin in March, so that the day of the leap year is their last.
    let from_march = (month + 9) % 12;
    let years = if from_march > 9 { year - 1 } else { year };
    let days = years * 365 + years.div_euclid(4) - years.div_euclid(100)
        + years.div_euclid(400)
        + (153 * from_march + 2) / 5
        + day
        - 1
        - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    valid.then_some(seconds * 1_000 + fraction)
}

/// The microseconds since 1970 of a moment in UTC with `Z`, as far as they are written.
pub(crate) fn microseconds(text: &str) -> Option<i64> {
    let fraction = text.strip_suffix(['Z', 'z'])?.split_once('.');
    let digits = fraction.map_or("", |(_, digits)| digits);
    let below = format!("{digits:0<6}").get(3..6)?.parse::<i64>().ok()?;
    milliseconds(text)?.checked_mul(1_000)?.checked_add(below)
}

/// `2026-11-27T07:04:51.123456Z`.
pub(crate) fn rfc3339_us(microseconds: i64) -> String {
    let since = Duration::from_micros(u64::try_from(microseconds).unwrap_or_default());
    let text = rfc3339(UNIX_EPOCH + since);
    let text = text.trim_end_matches('Z');
    format!("{text}{:03}Z", since.subsec_micros() % 1_000)
}

/// A moment as [`rfc3339`] writes it; `None` where it is no such.
pub(crate) fn moment(text: &str) -> Option<SystemTime> {
    const TO_THE_SECOND: usize = "2026-11-27T07:04:51".len();
    let since = u64::try_from(milliseconds(text)?).ok()?;
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(since))?;
    // A day that its month has not got is another day.
    let again = rfc3339(time);
    (again.get(..TO_THE_SECOND) == text.get(..TO_THE_SECOND)).then_some(time)
}

/// The date of a day, counted from 1970-01-01 (proleptic Gregorian; eras of 400 years that begin in March).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(milliseconds in 0u64..253_402_300_800_000) {
            let time = UNIX_EPOCH + Duration::from_millis(milliseconds);
            prop_assert_eq!(moment(&rfc3339(time)), Some(time));
        }

        #[test]
        fn no_text_is_too_strange_to_be_read(text in "\\PC*|[0-9T:Z.-]{0,30}|20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\\.[0-9]*)?Z") {
            if let Some(time) = moment(&text) {
                prop_assert_eq!(&rfc3339(time)[..19], &text[..19]);
            }
        }
    }

    #[test]
    fn what_is_no_moment_of_ours_is_none() {
        for text in [
            "",
            "2026-02-29T00:00:00Z",
            "2026-11-27T07:04:51",
            "2026-11-27 07:04:51Z",
            "2026-11-27T24:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.1+Z",
            "1969-12-31T23:59:59Z",
            "ü026-01-01T00:00:00Z",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn moments_are_written_as_others_write_them() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_763_091_123, "2026-11-27T07:04:51.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(
                rfc3339(UNIX_EPOCH + Duration::from_millis(milliseconds)),
                text
            );
            let read = super::milliseconds(text);
            assert_eq!(read, i64::try_from(milliseconds).ok(), "{text}");
        }
    }

    #[test]
    fn moments_of_others_are_read_and_no_moment_is_none() {
        for (text, read) in [
            ("2026-11-27T07:04:51Z", Some(1_795_763_091_000)),
            ("2026-11-27t07:04:51.1234567z", Some(1_795_763_091_123)),
            ("2026-11-27 07:04:51.5Z", Some(1_795_763_091_500)),
            ("1969-12-31T23:59:59Z", Some(-1_000)),
            ("2026-11-27T07:04:51", None),
            ("2026-11-27T07:04:51+01:00", None),
            ("2026-13-27T07:04:51Z", None),
            ("2026-11-27T24:04:51Z", None),
            ("99999999999999999999-01-01T00:00:00Z", None),
            ("-1-01-01T00:00:00Z", None),
            ("now", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(milliseconds(text), read, "{text}");
        }
    }
}
