//! What YAML's merge keys bring, and what copies of aliased values cost. Knows nothing of events.

use serde_json::{Map, Value};

use super::{Children, Node, refuse};
use crate::input::DecodeError;
use crate::problem::Position;

/// What a copy of a value costs, and how deep it is.
#[derive(Clone, Copy)]
pub(super) struct Weight {
    pub copies: usize,
    pub depth: usize,
}

/// Adds the entries of what `<<` names; those that are there already stay.
pub(super) fn merge(
    value: Value,
    node: Node,
    entries: &mut Map<String, Value>,
    nodes: &mut Vec<(Position, Node)>,
) -> Result<(), DecodeError> {
    match (value, node.children) {
        (Value::Object(from), Children::Entries(places)) => {
            for ((name, value), place) in from.into_iter().zip(places) {
                if !entries.contains_key(&name) {
                    entries.insert(name, value);
                    nodes.push(place);
                }
            }
            Ok(())
        }
        (Value::Array(items), Children::Items(places))
            if items.iter().all(|item| matches!(item, Value::Object(_))) =>
        {
            for (item, place) in items.into_iter().zip(places) {
                merge(item, place, entries, nodes)?;
            }
            Ok(())
        }
        _ => Err(refuse(
            node.at,
            "`<<` takes a mapping or a list of mappings, such as `<<: *defaults`",
        )),
    }
}

/// The weight of a value.
pub(super) fn weigh(value: &Value) -> Weight {
    let inside = |weights: &mut dyn Iterator<Item = Weight>| {
        weights.fold(
            Weight {
                copies: 1,
                depth: 0,
            },
            |sum, one| Weight {
                copies: sum.copies.saturating_add(one.copies),
                depth: sum.depth.max(one.depth),
            },
        )
    };
    match value {
        Value::String(text) => Weight {
            copies: 1 + text.len() / 64,
            depth: 0,
        },
        Value::Array(items) => {
            let sum = inside(&mut items.iter().map(weigh));
            Weight {
                depth: sum.depth + 1,
                ..sum
            }
        }
        Value::Object(entries) => {
            let sum = inside(&mut entries.iter().map(|(key, value)| {
                let weight = weigh(value);
                Weight {
                    copies: weight.copies + key.len() / 64,
                    ..weight
                }
            }));
            Weight {
                depth: sum.depth + 1,
                ..sum
            }
        }
        _ => Weight {
            copies: 1,
            depth: 0,
        },
    }
}
