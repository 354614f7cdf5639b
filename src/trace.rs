//! The trace that this run is part of, as the W3C's Trace Context recommendation (`traceparent`, version 00)
//! writes it: an engine hands it down in the environment, servers get it with every request, and the document
//! repeats it, so that all three find each other.

/// A `traceparent` that keeps the recommendation's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(String);

/// `00-<32 hex>-<16 hex>-<2 hex>`: where each field begins and ends.
const FIELDS: [(usize, usize); 4] = [(0, 2), (3, 35), (36, 52), (53, 55)];
const BYTES: usize = 55;
/// A later version may add fields; they are not carried further than a header should be.
const MOST_BYTES: usize = 256;

impl TraceParent {
    /// Reads one; `None` where the text breaks the recommendation: then there is no trace to be part of.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let fields = FIELDS.map(|(from, to)| bytes.get(from..to).unwrap_or_default());
        let whole = fields
            .iter()
            .zip(FIELDS)
            .all(|(field, (from, to))| field.len() == to - from && field.iter().all(hex));
        let [version, trace, parent, _] = fields;
        let named = |field: &[u8]| field.iter().any(|byte| *byte != b'0');
        let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
        let rest = bytes.get(BYTES..).unwrap_or_default();
        let ends = match version {
            b"00" => rest.is_empty(),
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let keeps = whole && dashes && ends && version != b"ff" && named(trace) && named(parent);
        let carried = bytes.len() <= MOST_BYTES && bytes.iter().all(u8::is_ascii_graphic);
        (keeps && carried).then(|| Self(text.to_owned()))
    }

    /// The text, fit for a header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_keeps_the_recommendation_is_carried() {
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        for text in [GOOD, &GOOD.replace("-01", "-00"), later] {
            assert_eq!(
                TraceParent::read(text).map(|read| read.0),
                Some(text.to_owned())
            );
        }
    }

    #[test]
    fn what_breaks_it_is_not() {
        let long = format!("01{}-{}", &GOOD[2..], "x".repeat(MOST_BYTES));
        for text in [
            "",
            "00",
            &GOOD[1..],
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &format!("{GOOD} "),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00-", "ff-", 1),
            &GOOD.replacen("00-", "00_", 1),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GOOD.replace("0af7", "zaf7"),
            &format!("01{}-a\r\nX: y", &GOOD[2..]),
            "00-ä0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            &long,
        ] {
            assert_eq!(TraceParent::read(text), None, "{text:?}");
        }
    }
}
