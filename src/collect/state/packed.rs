//! A host's uuid as it is stored: half as long as it is written.

use rusqlite::types::{Value, ValueRef};

use crate::uuid;

/// A uuid as its sixteen bytes, where it is written as servers write them; else as it is.
pub(super) fn packed(uuid: &str) -> Value {
    match bytes(uuid) {
        Some(bytes) => Value::Blob(bytes.to_vec()),
        None if uuid.is_empty() => Value::Null,
        None => Value::Text(uuid.to_owned()),
    }
}

/// Whether it is this uuid that was stored.
pub(super) fn is(stored: ValueRef<'_>, uuid: &str) -> bool {
    match stored {
        ValueRef::Blob(stored) => bytes(uuid).is_some_and(|bytes| bytes == stored),
        ValueRef::Text(stored) => stored == uuid.as_bytes() && bytes(uuid).is_none(),
        _ => uuid.is_empty(),
    }
}

/// The bytes of what is written as a uuid in upper case.
fn bytes(uuid: &str) -> Option<[u8; 16]> {
    if uuid.len() != uuid::LENGTH {
        return None;
    }
    let mut bits = 0_u128;
    for (at, letter) in uuid.bytes().enumerate() {
        let digit = match (at, letter) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => letter - b'0',
            (_, b'A'..=b'F') => letter - b'A' + 10,
            _ => return None,
        };
        bits = bits << 4 | u128::from(digit);
    }
    Some(bits.to_be_bytes())
}

/// The uuid as it was.
pub(super) fn unpacked(uuid: ValueRef<'_>) -> String {
    match uuid {
        ValueRef::Blob(bytes) => bytes.try_into().map(written).unwrap_or_default(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    }
}

fn written(bytes: &[u8; 16]) -> String {
    uuid::written(u128::from_be_bytes(*bytes)).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn uuids_come_back_as_they_were(
            uuid in "([0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}|[0-9a-fA-F-]{0,40}|[0-9A-Fa-]{36})",
            other in "[0-9A-F]{0,36}",
        ) {
            let value = packed(&uuid);
            prop_assert!(is((&value).into(), &uuid));
            prop_assert_eq!(is((&value).into(), &other), other == uuid);
            let longer = uuid.clone() + "0";
            prop_assert!(!is((&value).into(), &longer));
            let again = unpacked((&value).into());
            let is_usual = uuid::is_uuid(&uuid) && uuid == uuid.to_ascii_uppercase();
            prop_assert_eq!(matches!(value, Value::Blob(_)), is_usual);
            prop_assert_eq!(again, uuid);
        }
    }
}
