//! A schema as it is asked: its text taken apart once, without what only people read, and without a copy of what
//! stands in it as it is meant. Most of a schema's text is descriptions.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A schema, or something in one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Map(Entries<'a>),
}

/// The entries of a mapping, in its order. There are few of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Entries<'a>(Vec<(Cow<'a, str>, Node<'a>)>);

/// Keywords that ask nothing, and that nobody here reads.
const FOR_PEOPLE: [&str; 6] = [
    "$schema",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
];

/// What a value is, which decides whether a key in it is a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A schema, or a list of schemas.
    Schema,
    /// Schemas by name.
    Named,
    /// What a keyword says.
    Plain,
}

impl Role {
    fn of(self, key: &str) -> Self {
        match self {
            Self::Schema => match key {
                "properties" | "patternProperties" | "$defs" => Self::Named,
                "const" | "enum" | "required" | "dependentRequired" => Self::Plain,
                _ => Self::Schema,
            },
            Self::Named => Self::Schema,
            Self::Plain => Self::Plain,
        }
    }
}

impl<'a> Node<'a> {
    /// The schema that stands in a text.
    ///
    /// # Errors
    /// Where it is not JSON.
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let node = Role::Schema.deserialize(&mut reader);
        let node = node.and_then(|node| reader.end().map(|()| node));
        node.map_err(|error| error.to_string())
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn as_map(&self) -> Option<&Entries<'a>> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub(super) fn as_number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// What stands under a key, where this is a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// What a JSON pointer means.
    pub(super) fn pointer(&self, pointer: &str) -> Option<&Self> {
        if pointer.is_empty() {
            return Some(self);
        }
        let parts = pointer.strip_prefix('/')?.split('/');
        let mut parts = parts.map(|part| part.replace("~1", "/").replace("~0", "~"));
        parts.try_fold(self, |node, part| match node {
            Self::List(items) => items.get(part.parse::<usize>().ok()?),
            node => node.get(&part),
        })
    }

    /// Whether it is equal to a value; 1 and 1.0 are.
    pub(super) fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(one), Value::Bool(other)) => one == other,
            (Self::Text(one), Value::String(other)) => one == other,
            (Self::Number(one), Value::Number(other)) => !less(one, other) && !less(other, one),
            (Self::List(ones), Value::Array(others)) => {
                ones.len() == others.len()
                    && ones.iter().zip(others).all(|(one, other)| one.is(other))
            }
            (Self::Map(ones), Value::Object(others)) => {
                let equal =
                    |(key, one): (&str, &Self)| others.get(key).is_some_and(|other| one.is(other));
                ones.len() == others.len() && ones.iter().all(equal)
            }
            _ => false,
        }
    }
}

/// As JSON.
impl fmt::Display for Node<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::from(self).fmt(formatter)
    }
}

impl From<&Node<'_>> for Value {
    fn from(node: &Node<'_>) -> Self {
        match node {
            Node::Null => Self::Null,
            Node::Bool(is) => Self::Bool(*is),
            Node::Number(number) => Self::Number(number.clone()),
            Node::Text(text) => Self::String(text.to_string()),
            Node::List(items) => items.iter().map(Self::from).collect(),
            Node::Map(entries) => {
                let entries = entries.iter();
                Self::Object(
                    entries
                        .map(|(key, node)| (key.to_owned(), node.into()))
                        .collect(),
                )
            }
        }
    }
}

impl<'a> Entries<'a> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.iter()
            .find(|(known, _)| *known == key)
            .map(|(_, node)| node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Node<'a>)> {
        self.0.iter().map(|(key, node)| (&**key, node))
    }

    /// Of repeated keys the last counts.
    fn insert(&mut self, key: Cow<'a, str>, node: Node<'a>) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = node,
            None => self.0.push((key, node)),
        }
    }
}

/// Whether a number is less than another; whole ones to the last digit.
pub(super) fn less(one: &Number, other: &Number) -> bool {
    let whole = |number: &Number| {
        let unsigned = number.as_u64().map(i128::from);
        unsigned.or_else(|| number.as_i64().map(i128::from))
    };
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one < other,
        _ => one.as_f64() < other.as_f64(),
    }
}

impl<'de> DeserializeSeed<'de> for Role {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Node<'de>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Role {
    type Value = Node<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(is))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node<'de>, E> {
        Ok(Number::from_f64(number).map_or(Node::Null, Node::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let mut entries = Entries::default();
        while let Some(Key(key)) = map.next_key()? {
            if self == Self::Schema && FOR_PEOPLE.contains(&&*key) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let node = map.next_value_seed(self.of(&key))?;
            entries.insert(key, node);
        }
        Ok(Node::Map(entries))
    }
}

/// A key, borrowed where it stands in the text as it is meant.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
