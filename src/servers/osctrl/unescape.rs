//! Takes the escapes out of a JSON string where it stands: what they stand for is never longer, so that an
//! answer of many megabytes is not held twice. Pure: bytes in, bytes out.

use std::ops::Range;

use crate::json_text::plain;

/// Mostly there are no more bytes from one escape to the next.
const SHORT: usize = 16;

/// Where an escape stands for no character: bytes from the string's quotation mark to behind what is wrong, as
/// serde_json counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lone(pub(super) usize);

/// Unescapes the string at `string`, quotation marks and all; it has been read as JSON before. Returns where its
/// text stands then; what stood behind it in the same place is worth nothing any more.
///
/// # Errors
/// [`Lone`]: half of a surrogate pair.
pub(super) fn unescape(bytes: &mut [u8], string: Range<usize>) -> Result<Range<usize>, Lone> {
    let bytes = &mut bytes[string.clone()];
    let end = bytes.len() - 1;
    let (mut read, mut written) = (1, 1);
    while read < end {
        let plain = plain(&bytes[read..end]);
        match bytes.get(read..read + SHORT) {
            _ if written == read => {}
            // A call would cost more than what is copied too far: nothing that is still to be read.
            Some(short) if plain <= SHORT && read - written >= SHORT => {
                let mut copied = [0; SHORT];
                copied.copy_from_slice(short);
                bytes[written..written + SHORT].copy_from_slice(&copied);
            }
            _ => bytes.copy_within(read..read + plain, written),
        }
        read += plain;
        written += plain;
        if read == end {
            break;
        }
        // What JSON has checked: a backslash is never the last.
        let escaped = bytes[read + 1];
        read += 2;
        let byte = match escaped {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, taken) =
                    character(&bytes[read..end]).map_err(|at| Lone(read + at))?;
                read += taken;
                let mut text = [0; 4];
                let text = character.encode_utf8(&mut text).as_bytes();
                bytes[written..written + text.len()].copy_from_slice(text);
                written += text.len();
                continue;
            }
            itself => itself,
        };
        bytes[written] = byte;
        written += 1;
    }
    Ok(string.start + 1..string.start + written)
}

/// The character of the hexadecimal digits behind `\u`, and how many bytes it takes with those of its other half.
fn character(bytes: &[u8]) -> Result<(char, usize), usize> {
    let first = unit(bytes);
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 4));
    }
    if first >= 0xdc00 {
        return Err(4);
    }
    match bytes.get(4..6) {
        Some(b"\\u") => {}
        Some([b'\\', _]) => return Err(6),
        _ => return Err(5),
    }
    let second = unit(&bytes[6..]);
    if !(0xdc00..0xe000).contains(&second) {
        return Err(10);
    }
    let both = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    char::from_u32(both).map(|it| (it, 10)).ok_or(10)
}

fn unit(bytes: &[u8]) -> u32 {
    let digits = bytes.iter().take(4);
    digits.fold(0, |unit, digit| {
        unit << 4 | char::from(*digit).to_digit(16).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn unescaped(before: &str, json: &str) -> Result<String, Lone> {
        let mut bytes = format!("{before}{json},").into_bytes();
        let at = before.len()..before.len() + json.len();
        let text = unescape(&mut bytes, at)?;
        Ok(String::from_utf8(bytes[text].to_vec()).unwrap())
    }

    #[test]
    fn every_escape() {
        let json = r#""a\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\uD83D\ude00z""#;
        let expected: String = serde_json::from_str(json).unwrap();
        assert_eq!(unescaped("", json), Ok(expected));
        assert_eq!(unescaped("", r#""""#), Ok(String::new()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// The same as serde_json, and wrong at the same place.
        #[test]
        fn says_the_same_as_serde(
            parts in prop::collection::vec(
                prop_oneof![
                    "[a-z\u{e9}\u{1f600}]{0,9}",
                    r#"\\["\\/bfnrt]"#,
                    r"\\u[0-9a-fA-F]{4}",
                    r"\\u[dD][89abAB][0-9a-f]{2}",
                    r"\\uD83D\\u[dD][c-fC-F][0-9a-f]{2}",
                ],
                0..9,
            ),
            before in "[a-z]{0,3}",
        ) {
            let json = format!("\"{}\"", parts.concat());
            // As it is read before.
            let raw: &RawValue = serde_json::from_str(&json).unwrap();
            match (unescaped(&before, raw.get()), serde_json::from_str::<String>(&json)) {
                (Ok(text), Ok(expected)) => prop_assert_eq!(text, expected),
                (Err(Lone(at)), Err(error)) => prop_assert_eq!((1, at), (error.line(), error.column())),
                (text, expected) => prop_assert!(false, "{:?} {:?}", text, expected),
            }
        }
    }
}
