//! JSON whose parts stay text: what is in them is read when it is wanted, or never.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The entries of a mapping in their order, repeated keys too.
pub(crate) struct Entries<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

/// A string that borrows from the input where it has no escapes (`Cow` alone always copies).
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Entries<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(Text(key)) = mapping.next_key()? {
                    entries.push((key, mapping.next_value()?));
                }
                Ok(Entries(entries))
            }
        }
        reader.deserialize_map(Reader)
    }
}

/// For a list that may be missing: one that is null (Go's nil) is there, and empty.
pub(crate) fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    reader: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let list = Option::<Vec<T>>::deserialize(reader)?;
    Ok(Some(list.unwrap_or_default()))
}

/// Where a part stands in the text that it was read from.
pub(crate) fn place(text: &str, part: &RawValue) -> std::ops::Range<usize> {
    let part = part.get();
    let begin = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    begin..begin + part.len()
}
