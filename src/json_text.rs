//! What of a JSON text stands for itself, found eight bytes at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHEST: u64 = ONES * 0x80;

/// How many bytes there are before the next that means something in a string: a quotation mark, a backslash, or a
/// control character, which may not be there. All, where there is none.
pub fn plain(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let found = meaning(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let rest = rest.iter();
    words.len() * 8
        + rest
            .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
            .count()
}

/// The highest bits of the bytes that mean something: that of the lowest is exact, those above it may not be.
fn meaning(word: u64) -> u64 {
    let slash = word ^ (ONES * u64::from(b'\\'));
    // What is below 0x20 stays so, and the quotation mark alone becomes 0x20.
    let control_or_quote = (word ^ (ONES * 2)).wrapping_sub(ONES * 0x21) & !word;
    ((slash.wrapping_sub(ONES) & !slash) | control_or_quote) & HIGHEST
}

/// Appends a JSON string.
pub fn push_string(text: &mut String, value: &str) {
    text.push('"');
    let bytes = value.as_bytes();
    let mut begin = 0;
    loop {
        let at = begin + plain(&bytes[begin..]);
        text.push_str(&value[begin..at]);
        let Some(byte) = bytes.get(at) else { break };
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            byte => text.push_str(&format!("\\u{byte:04x}")),
        }
        begin = at + 1;
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn plain_ends_where_a_reader_of_each_byte_says(
            bytes in prop::collection::vec(prop_oneof![
                8 => 0x20_u8..=255,
                1 => prop::sample::select(&b"\"\\\x00\x01\x1f\x20\x21\x7f\x80\x9f\xa2\xdc\xff"[..]),
            ], 0..40),
        ) {
            let means = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            prop_assert_eq!(plain(&bytes), bytes.iter().position(means).unwrap_or(bytes.len()));
        }

        #[test]
        fn strings_are_read_back(value in any::<String>()) {
            let mut text = String::new();
            push_string(&mut text, &value);
            prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
        }
    }
}
