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
    let mut place = Place::of(json)?;
    place.byte(b'{')?;
    place.member(b"\"host_id\"")?;
    let host = place.number()?;
    place.byte(b',')?;
    place.member(b"\"host_name\"")?;
    let name = place.string()?;
    place.byte(b',')?;
    place.member(b"\"last_fetched\"")?;
    let fetched = place.string()?;
    place.byte(b',')?;
    place.member(b"\"columns\"")?;
    // The blank before it is the value's for who takes lists apart.
    let begin = place.at;
    (last <= begin && json.get(last..begin)?.iter().all(is_blank)).then_some(())?;
    let mut end = json.len().checked_sub(1)?;
    while end > begin && is_blank(&json[end - 1]) {
        end -= 1;
    }
    let columns = place.text.get(begin..end)?;
    let is_object = matches!(columns.as_bytes(), [b'{', .., b'}']);
    (is_object && json.last() == Some(&b'}')).then_some(ReportRow {
        host,
        name,
        at: moment.of(fetched),
        json: columns,
    })
}

/// A host of a list; `None` where it is of another form.
pub(in crate::servers::fleet) fn host(json: &[u8]) -> Option<ListedHost> {
    let mut place = Place::of(json)?;
    let mut host = ListedHost::default();
    let mut seen = 0_u32;
    place.byte(b'{')?;
    loop {
        let name = place.string()?.as_bytes();
        place.byte(b':')?;
        let value = place.value()?;
        let number = match name.len() {
            2 if is(name, b"id") => {
                host.id = figure(value)?;
                0
            }
            4 if is(name, b"uuid") => text_in(&mut host.uuid, value, 1),
            6 if is(name, b"status") => text_in(&mut host.status, value, 2),
            7 if is(name, b"team_id") => figure_in(&mut host.team_id, value, 3),
            8 if is(name, b"hostname") => text_in(&mut host.hostname, value, 4),
            8 if is(name, b"platform") => text_in(&mut host.platform, value, 5),
            8 if is(name, b"fleet_id") => figure_in(&mut host.fleet_id, value, 6),
            9 if is(name, b"seen_time") => text_in(&mut host.seen_time, value, 7),
            10 if is(name, b"primary_ip") => text_in(&mut host.primary_ip, value, 8),
            10 if is(name, b"created_at") => text_in(&mut host.created_at, value, 9),
            12 if is(name, b"display_name") => text_in(&mut host.display_name, value, 10),
            13 if is(name, b"computer_name") => text_in(&mut host.computer_name, value, 11),
            15 if is(name, b"hardware_serial") => text_in(&mut host.hardware_serial, value, 12),
            18 if is(name, b"config_tls_refresh") => {
                figure_in(&mut host.config_tls_refresh, value, 13)
            }
            20 if is(name, b"distributed_interval") => {
                figure_in(&mut host.distributed_interval, value, 14)
            }
            22 if is(name, b"last_mdm_checked_in_at") => {
                text_in(&mut host.last_mdm_checked_in_at, value, 15)
            }
            _ => UNUSED,
        };
        // What is used may stand there once.
        (number == UNUSED || seen & 1 << number == 0).then_some(())?;
        seen |= 1 << number;
        if place.byte(b',').is_none() {
            place.byte(b'}')?;
            let is_whole = place.at == json.len() && seen & 1 != 0;
            return is_whole.then_some(host);
        }
    }
}

/// The number of members that are not used.
const UNUSED: u32 = 31;

/// Of a length that is known a word is compared at once, and not byte by byte in a function of its own.
#[inline(always)]
fn is<const N: usize>(name: &[u8], word: &[u8; N]) -> bool {
    name.first_chunk() == Some(word)
}

fn text_in(place: &mut Maybe<String>, value: &str, number: u32) -> u32 {
    let plain_text = Place { text: value, at: 0 }.string();
    place.0 = match plain_text.filter(|text| text.len() + 2 == value.len()) {
        Some(text) => Some(text.to_owned()),
        None => serde_json::from_str(value).ok(),
    };
    number
}

fn figure_in(place: &mut Maybe<u64>, value: &str, number: u32) -> u32 {
    place.0 = figure(value);
    number
}

fn figure(value: &str) -> Option<u64> {
    let mut place = Place { text: value, at: 0 };
    let number = place.number().filter(|_| place.at == value.len());
    number.or_else(|| serde_json::from_str(value).ok())
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// A place in a text.
#[derive(Clone, Copy)]
struct Place<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Place<'a> {
    fn of(json: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(json).ok()?;
        Some(Self { text, at: 0 })
    }

    #[inline(always)]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Behind white space, for servers indent what they write.
    #[inline(always)]
    fn blank(&mut self) {
        while self.bytes().get(self.at).is_some_and(is_blank) {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) -> Option<()> {
        self.blank();
        (self.bytes().get(self.at) == Some(&byte)).then_some(())?;
        self.at += 1;
        Some(())
    }

    /// The value of the member of this name, which is written with its quotation marks.
    #[inline(always)]
    fn member<const N: usize>(&mut self, name: &[u8; N]) -> Option<()> {
        self.blank();
        is(self.bytes().get(self.at..)?, name).then_some(())?;
        self.at += N;
        self.byte(b':')?;
        self.blank();
        Some(())
    }

    /// A string without escapes.
    #[inline(always)]
    fn string(&mut self) -> Option<&'a str> {
        self.byte(b'"')?;
        let begin = self.at;
        let end = begin + plain(self.bytes().get(begin..)?);
        (self.bytes().get(end) == Some(&b'"')).then_some(())?;
        self.at = end + 1;
        self.text.get(begin..end)
    }

    /// A whole number as it is most often written.
    fn number(&mut self) -> Option<u64> {
        let (begin, mut number) = (self.at, 0);
        while let Some(digit @ b'0'..=b'9') = self.bytes().get(self.at) {
            // Of more digits it is left to serde.
            (self.at < begin + 18).then_some(())?;
            number = number * 10 + u64::from(digit - b'0');
            self.at += 1;
        }
        let is_usual = match self.bytes().get(begin)? {
            b'0' => self.at == begin + 1,
            _ => self.at > begin,
        };
        is_usual.then_some(number)
    }

    /// Behind the string whose first quotation mark is before this place.
    #[inline(always)]
    fn end_string(&mut self) -> Option<()> {
        loop {
            self.at += plain(self.bytes().get(self.at..)?);
            match self.bytes().get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => return None,
            }
        }
    }

    /// A value. Of one that is not used only has to be known where it ends.
    #[inline(always)]
    fn value(&mut self) -> Option<&'a str> {
        self.blank();
        let begin = self.at;
        match self.bytes().get(begin)? {
            b'"' => {
                self.at += 1;
                self.end_string()?;
            }
            b'{' | b'[' => self.end_nested()?,
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b'}') || is_blank(byte);
                while !self.bytes().get(self.at).is_none_or(ends) {
                    self.at += 1;
                }
                is_scalar(&self.bytes()[begin..self.at]).then_some(())?;
            }
        }
        self.text.get(begin..self.at)
    }

    fn end_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            let byte = *self.bytes().get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => self.end_string()?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth == 1 => return Some(()),
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
    }
}

/// Whether it is a word of JSON, or what looks like a number.
fn is_scalar(value: &[u8]) -> bool {
    let of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    match value {
        b"true" | b"false" | b"null" => true,
        [b'-' | b'0'..=b'9', ..] => value.iter().all(of_number),
        _ => false,
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
