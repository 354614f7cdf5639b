//! Hosts and rows of reports in one pass over their text, as running servers write them: a poll reads a hundred
//! thousand of the ones and a million of the others. What is of another form is left to serde, so nothing has to
//! be understood here. What a row holds is not looked at: whoever has not seen the same bytes before reads it.

use super::{ListedHost, Maybe};
use crate::json_text::plain;
use crate::servers::collecting::ReportRow;
use crate::time::milliseconds;

/// The moment that came last: that of many rows after each other is one.
#[derive(Debug, Default)]
pub(in crate::servers::fleet) struct Moment(String, i64);

impl Moment {
    fn of(&mut self, text: &str) -> i64 {
        if self.0 != text {
            self.0.clear();
            self.0.push_str(text);
            self.1 = milliseconds(text).unwrap_or_default();
        }
        self.1
    }
}

/// A row of a report, of which the value of the last member begins at a place; `None` where it is of another form.
pub(in crate::servers::fleet) fn row<'a>(
    json: &'a [u8],
    last: usize,
    moment: &mut Moment,
) -> Option<ReportRow<'a>> {
    let json = std::str::from_utf8(json).ok()?;
    let (host, text) = number(member(json.strip_prefix('{')?, "host_id")?)?;
    let (name, text) = string(member(next(text)?, "host_name")?)?;
    let (fetched, text) = string(member(next(text)?, "last_fetched")?)?;
    let columns = member(next(text)?, "columns")?;
    // The blank before it is the value's for who takes lists apart.
    let begin = json.len() - columns.len();
    (last <= begin && json.get(last..begin)?.bytes().all(is_blank)).then_some(())?;
    let columns = columns.strip_suffix('}')?.trim_end_matches(BLANKS);
    (columns.starts_with('{') && columns.ends_with('}')).then_some(())?;
    Some(ReportRow {
        host,
        name,
        at: moment.of(fetched),
        json: columns,
    })
}

/// A host of a list; `None` where it is of another form.
pub(in crate::servers::fleet) fn host(json: &[u8]) -> Option<ListedHost> {
    let text = std::str::from_utf8(json).ok()?;
    let mut host = ListedHost::default();
    let mut seen = 0_u32;
    let mut rest = text.strip_prefix('{')?;
    loop {
        let (name, value) = string(blank(rest))?;
        let value = blank(blank(value).strip_prefix(':')?);
        let (value, after) = value.split_at(value_end(value.as_bytes())?);
        let number = match name {
            "id" => {
                host.id = serde_json::from_str(value).ok()?;
                0
            }
            "hostname" => text_in(&mut host.hostname, value, 1),
            "uuid" => text_in(&mut host.uuid, value, 2),
            "hardware_serial" => text_in(&mut host.hardware_serial, value, 3),
            "computer_name" => text_in(&mut host.computer_name, value, 4),
            "primary_ip" => text_in(&mut host.primary_ip, value, 5),
            "platform" => text_in(&mut host.platform, value, 6),
            "status" => text_in(&mut host.status, value, 7),
            "seen_time" => text_in(&mut host.seen_time, value, 8),
            "display_name" => text_in(&mut host.display_name, value, 9),
            "created_at" => text_in(&mut host.created_at, value, 10),
            "last_mdm_checked_in_at" => text_in(&mut host.last_mdm_checked_in_at, value, 11),
            "distributed_interval" => figure_in(&mut host.distributed_interval, value, 12),
            "config_tls_refresh" => figure_in(&mut host.config_tls_refresh, value, 13),
            "team_id" => figure_in(&mut host.team_id, value, 14),
            "fleet_id" => figure_in(&mut host.fleet_id, value, 15),
            _ => UNUSED,
        };
        // What is used may stand there once.
        (number == UNUSED || seen & 1 << number == 0).then_some(())?;
        seen |= 1 << number;
        match blank(after).as_bytes() {
            b"}" => return (seen & 1 != 0).then_some(host),
            _ => rest = next(after)?,
        }
    }
}

/// The number of members that are not used.
const UNUSED: u32 = 31;

fn text_in(place: &mut Maybe<String>, value: &str, number: u32) -> u32 {
    place.0 = match string(value) {
        Some((text, "")) => Some(text.to_owned()),
        _ => serde_json::from_str(value).ok(),
    };
    number
}

fn figure_in(place: &mut Maybe<u64>, value: &str, number: u32) -> u32 {
    place.0 = serde_json::from_str(value).ok();
    number
}

/// The white space of JSON.
const BLANKS: [char; 4] = [' ', '\n', '\r', '\t'];

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// What is behind white space: servers indent what they write.
fn blank(text: &str) -> &str {
    match text.as_bytes().first() {
        Some(byte) if is_blank(*byte) => text.trim_start_matches(BLANKS),
        _ => text,
    }
}

/// What is behind the comma between two members.
fn next(text: &str) -> Option<&str> {
    blank(text).strip_prefix(',')
}

/// The value of this member, and all that is behind it.
fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let text = blank(text).strip_prefix('"')?.strip_prefix(name)?;
    Some(blank(blank(text.strip_prefix('"')?).strip_prefix(':')?))
}

/// A whole number as it is most often written, and what is behind it.
fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let is_usual = (1..=18).contains(&digits) && (digits == 1 || !number.starts_with('0'));
    is_usual.then(|| Some((number.parse().ok()?, rest)))?
}

/// A string without escapes, and what is behind it.
fn string(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let (string, rest) = text.split_at(plain(text.as_bytes()));
    Some((string, rest.strip_prefix('"')?))
}

/// Behind a string that begins before these bytes.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += plain(bytes.get(at..)?);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => return None,
        }
    }
}

/// Where the value ends that these bytes begin with. Of one that is not used only this has to be known.
fn value_end(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' => string_end(bytes, 1),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0_usize, 0);
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = string_end(bytes, at + 1)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' if depth == 1 => return Some(at + 1),
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
        }
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}') || is_blank(*byte);
            let end = bytes.iter().position(ends)?;
            let is_value = match &bytes[..end] {
                b"true" | b"false" | b"null" => true,
                number => {
                    let of_number = |byte: &u8| {
                        byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
                    };
                    number.iter().all(of_number) && number.iter().any(u8::is_ascii_digit)
                }
            };
            is_value.then_some(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::Reported;
    use super::*;

    /// Where the value of the last member begins, as whoever takes lists apart says.
    fn last(json: &str) -> usize {
        let behind = |name: &str| json.rfind(name).map(|at| at + name.len());
        behind("\"fleet_id\":")
            .max(behind("\"columns\":"))
            .expect("a member")
    }

    fn text() -> impl Strategy<Value = String> {
        "[a-z0-9:.TZ-]{0,12}|[\\PC\"\\\\\u{0}]{0,6}|2026-11-27T10:00:00Z"
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            4 => text().prop_map(Value::from),
            1 => Just(Value::Null),
            1 => any::<u64>().prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<f64>().prop_map(Value::from),
            1 => Just(json!({"a": ["}", {"id": 7}], "b": true})),
        ]
    }

    const NAMES: [&str; 20] = [
        "id",
        "hostname",
        "uuid",
        "hardware_serial",
        "computer_name",
        "primary_ip",
        "platform",
        "status",
        "seen_time",
        "display_name",
        "created_at",
        "last_mdm_checked_in_at",
        "distributed_interval",
        "config_tls_refresh",
        "team_id",
        "fleet_id",
        "mdm",
        "issues",
        "os_version",
        "memory",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// What is read is what serde reads, and what a server writes is read.
        #[test]
        fn hosts_are_what_serde_says(
            id in prop_oneof![8 => any::<u64>().prop_map(Value::from), 1 => value()],
            members in prop::collection::vec((1..NAMES.len(), value()), 0..12),
            comma in prop::sample::select(&[",", ", ", " ,\n\t"][..]),
        ) {
            let mut pieces = vec![format!("\"id\":{id}")];
            pieces.extend(members.iter().map(|(name, value)| format!("\"{}\" : {value}", NAMES[*name])));
            let json = format!("{{{}}}", pieces.join(comma));
            let usual = host(json.as_bytes());
            match serde_json::from_str::<ListedHost>(&json) {
                Ok(expected) => prop_assert_eq!(format!("{usual:?}"), format!("Some({expected:?})")),
                Err(_) => prop_assert!(usual.is_none()),
            }
        }

        #[test]
        fn rows_are_what_serde_says(
            id in any::<u64>(),
            (name, fetched) in (text(), text()),
            columns in prop_oneof![
                8 => prop::collection::btree_map("[a-z\"]{0,3}", value(), 0..4).prop_map(|cells| json!(cells)),
                1 => value(),
            ],
            more in prop_oneof![8 => Just(""), 1 => Just(",\"fleet_id\":1"), 1 => Just(",\"columns\":{}")],
            indented in any::<bool>(),
        ) {
            let mut json = format!(
                "{{\"host_id\":{id},\"host_name\":{},\"last_fetched\":{},\"columns\":{columns}{more}}}",
                Value::from(name), Value::from(fetched),
            );
            if indented && let Ok(value) = serde_json::from_str::<Value>(&json) {
                json = format!("{value:#}");
            }
            let mut moment = Moment::default();
            if let Some(row) = row(json.as_bytes(), last(&json), &mut moment) {
                let expected: Reported<'_> = serde_json::from_str(&json).expect("a row");
                prop_assert_eq!(Some(row), expected.row());
            }
        }

        /// Whatever comes, it is no panic.
        #[test]
        fn any_bytes(
            begin in prop_oneof![Just(""), Just("{\"id\":1,"), Just("{\"host_id\":7,\"host_name\":\"a\",")],
            bytes in prop::collection::vec(prop::sample::select(&b"[]{}\",:\\id 1\xc3\xbc"[..]), 0..40),
            last in 0_usize..60,
        ) {
            let json = [begin.as_bytes(), &bytes].concat();
            let _ = host(&json);
            let _ = row(&json, last, &mut Moment::default());
        }
    }

    /// What running servers write is read so, and not by serde: rows and hosts of the recordings, indented as they
    /// are sent.
    #[test]
    fn what_running_servers_write_is_usual() {
        let (mut rows, mut hosts) = (0, 0);
        for (name, transcript) in super::super::tests::transcripts() {
            let bodies = transcript["steps"].as_array().into_iter().flatten();
            for body in bodies.map(|step| &step["response"]["body"]) {
                for found in body["results"].as_array().into_iter().flatten() {
                    let json = format!("{found:#}");
                    if found["columns"].is_object() {
                        let row = row(json.as_bytes(), last(&json), &mut Moment::default());
                        let expected: Reported<'_> = serde_json::from_str(&json).expect("a row");
                        assert!(row.is_some(), "{name}: {json}");
                        assert_eq!(row, expected.row(), "{name}");
                        rows += 1;
                    }
                }
                for found in body["hosts"].as_array().into_iter().flatten() {
                    let json = format!("{found:#}");
                    let expected: ListedHost = serde_json::from_str(&json).expect("a host");
                    let usual = host(json.as_bytes());
                    assert_eq!(
                        format!("{usual:?}"),
                        format!("Some({expected:?})"),
                        "{name}"
                    );
                    hosts += 1;
                }
            }
        }
        assert!(rows > 5 && hosts > 5, "{rows} rows, {hosts} hosts");
    }
}
