//! A host's uuid as it is stored: half as long as it is written.

use rusqlite::types::{Value, ValueRef};

use crate::uuid;

/// A uuid as its sixteen bytes, where it is written as servers write them; else as it is.
pub(super) fn packed(uuid: &str) -> Value {
    let digits: String = uuid.chars().filter(|letter| *letter != '-').collect();
    let bytes = u128::from_str_radix(&digits, 16).map(u128::to_be_bytes);
    match bytes {
        Ok(bytes) if written(&bytes) == uuid => Value::Blob(bytes.to_vec()),
        _ if uuid.is_empty() => Value::Null,
        _ => Value::Text(uuid.to_owned()),
    }
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
        fn uuids_come_back_as_they_were(uuid in "([0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}|[0-9a-fA-F-]{0,40})") {
            let value = packed(&uuid);
            let again = unpacked((&value).into());
            prop_assert_eq!(again, uuid);
        }
    }
}
