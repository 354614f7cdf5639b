//! Takes secrets out of text that others wrote: as they are, and in the spellings in which programs repeat
//! what they were given.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{REDACTED, Secret};
use crate::uuid;

/// A secret that is shorter can't be masked: it would take letters out of every message.
const SHORTEST: usize = 3;
/// An encoded spelling that is shorter is no longer told from an ordinary word.
const SHORTEST_ENCODED: usize = 8;

/// Finds secrets in text and puts [`REDACTED`] in their place.
#[derive(Clone, Default)]
pub struct Redactor {
    /// The longest first: a secret that contains another must not be left half shown.
    needles: Vec<Needle>,
    /// Which two bytes a needle begins with, a bit for each pair: most text is passed over by this alone.
    begins: Vec<u64>,
    /// Uuids in lower case: there may be thousands, and they are told by their form.
    ids: HashSet<String>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Needle {
    text: String,
    /// Masked only where it stands by itself.
    word: bool,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Redactor")
    }
}

impl Redactor {
    /// A redactor that knows these secrets.
    #[cfg(test)]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets {
            redactor.learn(secret);
        }
        redactor
    }

    /// From now on this secret is masked, too: plain, as JSON escapes it, and percent-, base64- and
    /// hex-encoded; whole, and line by line (a secret of several lines escapes a mask of the whole). Returns
    /// whether it can be: one of one or two letters can't.
    pub fn learn(&mut self, secret: &Secret) -> bool {
        let whole = secret.expose();
        let mut can = true;
        for piece in std::iter::once(whole).chain(whole.lines().map(str::trim)) {
            if piece.trim().is_empty() {
                continue;
            }
            if piece.chars().count() < SHORTEST {
                can &= piece.len() < whole.len();
                continue;
            }
            let spellings = spellings(piece);
            self.needles
                .extend(spellings.into_iter().map(|text| Needle {
                    word: secret.word && text == piece,
                    text,
                }));
        }
        self.needles.sort_by(|one, other| {
            (other.text.len(), &one.text, one.word).cmp(&(one.text.len(), &other.text, other.word))
        });
        self.needles
            .dedup_by(|later, first| later.text == first.text);
        self.begins = vec![0; PAIRS / 64];
        for needle in &self.needles {
            // None is shorter.
            if let Some(pair) = pair(needle.text.as_bytes(), 0) {
                self.begins[pair / 64] |= 1 << (pair % 64);
            }
        }
        can
    }

    /// From now on this uuid is masked, too, in either case.
    pub fn learn_id(&mut self, id: &str) {
        if uuid::is_uuid(id) {
            self.ids.insert(id.to_ascii_lowercase());
        }
    }

    /// The text with every secret replaced by [`REDACTED`].
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.without(text, |_| true)
    }

    /// As [`Redactor::redact`], but for users' names: a host may be called as a user is.
    pub fn redact_name<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.without(text, |needle| !needle.word)
    }

    fn without<'t>(&self, text: &'t str, counts: impl Fn(&Needle) -> bool) -> Cow<'t, str> {
        let bytes = text.as_bytes();
        let no_id = self.ids.is_empty() || bytes.len() < uuid::LENGTH;
        if no_id && (0..bytes.len()).all(|at| !self.may_begin(bytes, at)) {
            // As most: names of a hundred thousand hosts come by here.
            return text.into();
        }
        let mut clean = String::new();
        // What is shown up to here; where the secrets that overlap end.
        let (mut shown, mut secret_until) = (0, 0);
        for at in 0..bytes.len() {
            let needle = match self.may_begin(bytes, at) {
                true => self.longest_at(text, at, &counts),
                false => None,
            };
            let Some(length) = needle.max(self.id_at(text, at)) else {
                continue;
            };
            if at >= secret_until {
                clean.push_str(text.get(shown.max(secret_until)..at).unwrap_or_default());
                clean.push_str(REDACTED);
            }
            secret_until = secret_until.max(at + length);
            shown = secret_until;
        }
        if secret_until == 0 {
            return text.into();
        }
        clean.push_str(text.get(secret_until..).unwrap_or_default());
        clean.into()
    }

    /// Whether a needle may begin here.
    fn may_begin(&self, bytes: &[u8], at: usize) -> bool {
        let Some(pair) = pair(bytes, at) else {
            return false;
        };
        let bits = self.begins.get(pair / 64).copied().unwrap_or(0);
        bits >> (pair % 64) & 1 == 1
    }

    /// The length of an id that stands here.
    fn id_at(&self, text: &str, at: usize) -> Option<usize> {
        if self.ids.is_empty() {
            return None;
        }
        let found = text
            .get(at..at + uuid::LENGTH)
            .filter(|text| uuid::is_uuid(text))?;
        let known = self.ids.contains(&found.to_ascii_lowercase());
        known.then_some(uuid::LENGTH)
    }

    fn longest_at(&self, text: &str, at: usize, counts: impl Fn(&Needle) -> bool) -> Option<usize> {
        // A needle is whole characters, so it can only be found at the beginning of one.
        let rest = text.get(at..)?;
        let found = self.needles.iter().find(|needle| {
            rest.starts_with(&needle.text)
                && counts(needle)
                && (!needle.word || stands_alone(text, at, &needle.text))
        });
        found.map(|needle| needle.text.len())
    }
}

/// Pairs of bytes that there are.
const PAIRS: usize = 1 << 16;

/// The number of the two bytes that stand here.
fn pair(bytes: &[u8], at: usize) -> Option<usize> {
    let pair = bytes.get(at..at + 2)?;
    Some(usize::from(pair[0]) << 8 | usize::from(pair[1]))
}

fn stands_alone(text: &str, at: usize, needle: &str) -> bool {
    let is_part = |letter: Option<char>| letter.is_some_and(|it| it.is_alphanumeric() || it == '_');
    !is_part(text[..at].chars().next_back()) && !is_part(text[at + needle.len()..].chars().next())
}

fn spellings(piece: &str) -> Vec<String> {
    let json = serde_json::Value::from(piece).to_string();
    let json = json.get(1..json.len() - 1).unwrap_or_default().to_owned();
    let mut found = vec![piece.to_owned(), json];
    let percent = |digits: fn(u8) -> String| -> String {
        let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let encode = |byte: u8| {
            if kept(byte) {
                char::from(byte).to_string()
            } else {
                digits(byte)
            }
        };
        piece.bytes().map(encode).collect()
    };
    let upper = percent(|byte| format!("%{byte:02X}"));
    found.extend([
        percent(|byte| format!("%{byte:02x}")),
        upper.replace("%20", "+"),
        upper,
    ]);
    let hex: String = piece.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut encoded = vec![hex.to_uppercase(), hex];
    encoded.extend(base64_spellings(piece.as_bytes()));
    found.extend(
        encoded
            .into_iter()
            .filter(|text| text.len() >= SHORTEST_ENCODED),
    );
    found
}

/// The secret as it stands in base64 (RFC 4648), in both alphabets: by itself, and inside of something
/// longer (`user:password`), where it may begin at any of three places of a group.
fn base64_spellings(secret: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for alphabet in [&b"+/"[..], b"-_"] {
        for before in 0..3 {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(secret);
            let text = base64(&bytes, alphabet);
            if before == 0 {
                found.push(text.clone());
                let padding = (3 - bytes.len() % 3) % 3;
                found.push(format!("{text}{}", "=".repeat(padding)));
            }
            // Only digits that no neighbour changes.
            let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            found.extend(text.get(first..last).map(str::to_owned));
        }
    }
    found
}

/// Base64 without padding; `last` are the digits 62 and 63.
fn base64(bytes: &[u8], last: &[u8]) -> String {
    let digit = |value: u32| match value {
        0..26 => char::from(b'A' + value as u8),
        26..52 => char::from(b'a' + (value - 26) as u8),
        52..62 => char::from(b'0' + (value - 52) as u8),
        62 => char::from(last[0]),
        _ => char::from(last[1]),
    };
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let value = group.iter().enumerate().fold(0, |value, (at, byte)| {
            value | u32::from(*byte) << (16 - 8 * at)
        });
        text.extend((0..=group.len()).map(|at| digit(value >> (18 - 6 * at) & 63)));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(secrets: &[&str], text: &str) -> String {
        let secrets: Vec<Secret> = secrets
            .iter()
            .map(|text| Secret::new((*text).into()))
            .collect();
        Redactor::new(&secrets).redact(text).into_owned()
    }

    #[test]
    fn plain_escaped_and_single_lines() {
        assert_eq!(
            redacted(
                &["quo\"ted", "first\nsecond", ""],
                r#"a quo"ted b quo\"ted c second d"#
            ),
            "a [redacted] b [redacted] c [redacted] d"
        );
    }

    #[test]
    fn encoded_in_the_ways_of_programs() {
        let secret = "s3cr3t/t0k+n é";
        for (text, expected) in [
            ("x=s3cr3t%2Ft0k%2Bn%20%C3%A9&", "x=[redacted]&"),
            ("x=s3cr3t%2ft0k%2bn%20%c3%a9&", "x=[redacted]&"),
            ("x=s3cr3t%2Ft0k%2Bn+%C3%A9&", "x=[redacted]&"),
            ("7333637233742f74306b2b6e20c3a9.", "[redacted]."),
            ("7333637233742F74306B2B6E20C3A9.", "[redacted]."),
            ("czNjcjN0L3Qwaytuw6k", "czNjcjN0L3Qwaytuw6k"),
            ("czNjcjN0L3Qwaytu=IMOp", "czNjcjN0L3Qwaytu=IMOp"),
            ("[czNjcjN0L3QwaytuIMOp]", "[[redacted]]"),
        ] {
            assert_eq!(redacted(&[secret], text), expected, "{text}");
        }
    }

    #[test]
    fn a_password_in_a_header_of_basic_authentication() {
        // "user:hunter2-hunter2" and "me:hunter2-hunter2" and "a:hunter2-hunter2".
        for text in [
            "dXNlcjpodW50ZXIyLWh1bnRlcjI=",
            "bWU6aHVudGVyMi1odW50ZXIy",
            "YTpodW50ZXIyLWh1bnRlcjI=",
        ] {
            let shown = redacted(&["hunter2-hunter2"], text);
            assert!(shown.contains(REDACTED) && shown.len() < 25, "{shown}");
        }
    }

    #[test]
    fn a_user_name_is_masked_where_it_stands_alone() {
        let redactor = Redactor::new(&[Secret::new("admin".into()).as_user_name()]);
        assert_eq!(
            redactor.redact("admin: administrators, sysadmin, (admin)"),
            "[redacted]: administrators, sysadmin, ([redacted])"
        );
        assert_eq!(redactor.redact_name("admin-pc"), "admin-pc");
    }

    #[test]
    fn what_is_too_short_is_told_and_shreds_nothing() {
        let mut redactor = Redactor::default();
        for short in ["a", "ab", "é1"] {
            assert!(!redactor.learn(&Secret::new(short.into())), "{short}");
        }
        assert!(redactor.learn(&Secret::new("abc".into())));
        assert!(redactor.learn(&Secret::new(String::new())));
        assert_eq!(redactor.redact("a ab abc"), "a ab [redacted]");
    }

    #[test]
    fn secrets_that_overlap_are_masked_to_the_end_of_the_last() {
        assert_eq!(redacted(&["abcd", "cdefg"], "xabcdefgy"), "x[redacted]y");
        assert_eq!(
            redacted(&["abc", "abcdef"], "abcdef abc"),
            "[redacted] [redacted]"
        );
    }

    proptest! {
        #[test]
        fn no_secret_is_left_whatever_stands_around_it(
            secrets in prop::collection::vec("[a-c\"\\\\é]{3,9}", 1..4),
            text in prop::collection::vec(("[a-dé \"]{0,6}", any::<prop::sample::Index>()), 0..6),
        ) {
            let whole: String = text
                .iter()
                .map(|(between, which)| format!("{between}{}", which.get(&secrets)))
                .collect();
            let shown = redacted(&secrets.iter().map(String::as_str).collect::<Vec<_>>(), &whole);
            let rest = shown.replace(REDACTED, "\n");
            for secret in &secrets {
                prop_assert!(!rest.contains(secret.as_str()), "{} {}", whole, shown);
            }
        }

        #[test]
        fn text_without_a_secret_stays(text in "\\PC{0,60}") {
            prop_assert_eq!(redacted(&["\u{1}\u{2}\u{3}"], &text), text);
        }
    }
}
