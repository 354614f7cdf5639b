//! Uuids in their usual form, as runs, tenants and some servers' queries have them.

use std::hash::{BuildHasher, Hasher};

/// Bytes of a uuid's text.
pub(crate) const LENGTH: usize = 36;

/// Whether a text is a uuid in its usual form, in either case.
pub(crate) fn is_uuid(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == LENGTH && text.bytes().enumerate().all(fits)
}

/// A new one (version 4).
pub(crate) fn random() -> String {
    let half = || std::hash::RandomState::new().build_hasher().finish();
    let bits = (u128::from(half()) << 64) | u128::from(half());
    let version = (bits & !(0xf << 76)) | (0x4 << 76);
    let variant = (version & !(0x3 << 62)) | (0x2 << 62);
    written(variant)
}

/// The usual form of a uuid's 128 bits, in lower case.
pub(crate) fn written(bits: u128) -> String {
    let digits = format!("{bits:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_told_by_their_form() {
        for uuid in [&*random(), "0F0E0D0C-0b0a-4908-8706-050403020100"] {
            assert!(is_uuid(uuid), "{uuid}");
        }
        for other in [
            "",
            "0f0e0d0c0b0a49088706050403020100",
            "0f0e0d0c-0b0a-4908-8706-05040302010",
            "0f0e0d0c-0b0a-4908-8706-05040302010g",
            "0f0e0d0c-0b0a-4908-8706-05040302é10",
        ] {
            assert!(!is_uuid(other), "{other}");
        }
    }
}
