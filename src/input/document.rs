//! A document that was read: its value, and where in the text each node stands. Chooses between JSON and
//! YAML. Knows nothing of steps.

use std::fmt;

use serde_json::Value;

use super::yaml::{Children, Node, Repeats, refuse};
use super::{DecodeError, json, yaml};
use crate::path::{Path, Segment};
use crate::problem::{Placed, Position, Problem};

/// A value with the places of its nodes. Its `Debug` shows nothing of the value: it may hold secrets.
pub struct Document {
    value: Value,
    places: Places,
    of_one_line: bool,
}

enum Places {
    /// No text: a document made in memory.
    Unknown,
    /// Kept beside the value.
    Yaml(Node),
    /// Looked up in the text when they are asked for: most runs never ask.
    Json { text: String, start: Position },
}

impl Document {
    /// A document without text: no node has a place.
    pub fn without_text(value: Value) -> Self {
        Self {
            value,
            places: Places::Unknown,
            of_one_line: false,
        }
    }

    /// Reads text as one JSON or YAML document.
    ///
    /// # Errors
    /// Where it is neither, or breaks the rules that both have.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        Self::parse_as(text, Repeats::Refused)
    }

    pub(super) fn parse_as(text: &str, repeats: Repeats) -> Result<Self, DecodeError> {
        if !text.trim_start().starts_with(['{', '[']) {
            return Self::parse_yaml(text, repeats);
        }
        match json::parse(text) {
            Ok(value) => Ok(Self {
                value,
                places: Places::Json {
                    text: text.to_owned(),
                    start: Position { line: 1, column: 1 },
                },
                of_one_line: is_one_line(text),
            }),
            Err(json::JsonError::Refused(error)) => Err(error),
            // JSON's braces are YAML's flow style, too.
            Err(json::JsonError::Syntax(json_error)) => {
                Self::parse_yaml(text, repeats).map_err(|yaml_error| {
                    if is_evidently_json(text) {
                        json_error
                    } else {
                        yaml_error
                    }
                })
            }
        }
    }

    pub(super) fn parse_yaml(text: &str, repeats: Repeats) -> Result<Self, DecodeError> {
        let forbidden = |letter: char| letter < ' ' && !matches!(letter, '\t' | '\n' | '\r');
        if let Some(offset) = text.find(forbidden) {
            return Err(refuse(
                json::position_of(text, offset),
                "a control character that neither YAML nor JSON may hold",
            ));
        }
        let (value, node) = yaml::compose(text, repeats)?;
        Ok(Self {
            value,
            places: Places::Yaml(node),
            of_one_line: is_one_line(text),
        })
    }

    /// Whether the text that it was read from has no second line.
    pub(crate) fn is_of_one_line(&self) -> bool {
        self.of_one_line
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The value, without its places.
    pub fn into_value(self) -> Value {
        self.value
    }

    /// Takes the value at a key out and leaves null; the places stay.
    pub(super) fn take(&mut self, key: &str) -> Value {
        self.value.get_mut(key).map(Value::take).unwrap_or_default()
    }

    /// Where the node at a path stands; where there is none, the deepest node on the way.
    pub fn position_of_value(&self, path: &Path) -> Option<Position> {
        self.locate(path).map(|(_, value)| value)
    }

    /// Where the key that the path ends in stands; its value's place where it has no key.
    pub fn position_of_key(&self, path: &Path) -> Option<Position> {
        self.locate(path).map(|(key, value)| key.unwrap_or(value))
    }

    /// Where each problem stands.
    pub fn placed(&self, problems: Vec<Problem>) -> Vec<Placed> {
        let places = self.places_of(&problems);
        let placed = problems.into_iter().zip(places);
        placed
            .map(|(problem, at)| match problem.counts_others() {
                true => problem.at(None),
                false => problem.at(at),
            })
            .collect()
    }

    fn places_of(&self, problems: &[Problem]) -> Vec<Option<Position>> {
        let Places::Json { text, start } = &self.places else {
            let at = |problem: &Problem| match problem.is_of_a_key() {
                true => self.position_of_key(&problem.path),
                false => self.position_of_value(&problem.path),
            };
            return problems.iter().map(at).collect();
        };
        // All at once: looking each one up would read the text as often.
        let paths: Vec<&Path> = problems.iter().map(|problem| &problem.path).collect();
        let offsets = json::locate_all(text, &paths).into_iter().zip(problems);
        let offsets: Vec<usize> = offsets
            .map(|((key, value), problem)| key.filter(|_| problem.is_of_a_key()).unwrap_or(value))
            .collect();
        let places = json::positions_of(text, &offsets).into_iter();
        places.map(|place| Some(shift(*start, place))).collect()
    }

    fn locate(&self, path: &Path) -> Option<(Option<Position>, Position)> {
        match &self.places {
            Places::Unknown => None,
            Places::Yaml(root) => {
                let (mut node, mut value, mut key) = (root, &self.value, None);
                for segment in path.segments() {
                    let next = match (segment, &node.children, value) {
                        (Segment::Index(index), Children::Items(nodes), Value::Array(items)) => {
                            nodes
                                .get(*index)
                                .zip(items.get(*index))
                                .map(|(node, item)| (None, node, item))
                        }
                        (Segment::Key(name), Children::Entries(nodes), Value::Object(entries)) => {
                            entries
                                .iter()
                                .zip(nodes)
                                .find(|((key, _), _)| *key == name)
                                .map(|((_, item), (key_at, node))| (Some(*key_at), node, item))
                        }
                        _ => None,
                    };
                    let Some((key_at, child, item)) = next else {
                        return Some((None, node.at));
                    };
                    (node, value, key) = (child, item, key_at);
                }
                Some((key, node.at))
            }
            Places::Json { text, start } => {
                let (key, value) = json::locate(text, path);
                let place = |offset| shift(*start, json::position_of(text, offset));
                Some((key.map(place), place(value)))
            }
        }
    }

    /// The items of the list that the document is, each with its places.
    pub fn into_items(self) -> Vec<Self> {
        let of_one_line = self.of_one_line;
        let Value::Array(items) = self.value else {
            return Vec::new();
        };
        match self.places {
            Places::Yaml(Node {
                children: Children::Items(nodes),
                ..
            }) => {
                let items = items.into_iter().zip(nodes);
                let items = items.map(|(value, node)| Self {
                    value,
                    places: Places::Yaml(node),
                    of_one_line,
                });
                items.collect()
            }
            Places::Json { text, start } => {
                let texts = json::items(&text);
                let items = items.into_iter().zip(texts);
                let items = items.map(|(value, (offset, item))| Self {
                    value,
                    places: Places::Json {
                        start: shift(start, json::position_of(&text, offset)),
                        text: item.to_owned(),
                    },
                    of_one_line,
                });
                items.collect()
            }
            _ => items.into_iter().map(Self::without_text).collect(),
        }
    }

    /// Every scalar: where it stands, its text (empty where it is none), and whether it is under a key for
    /// which `wanted` holds.
    pub(crate) fn scalars(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<(Position, &str, bool)> {
        let mut found = Vec::new();
        if let Places::Yaml(root) = &self.places {
            scalars(root, &self.value, false, wanted, &mut found);
        }
        found
    }

    /// Where every key and every value stands, in the order of the text.
    pub(crate) fn starts(&self) -> Vec<Position> {
        let mut found = Vec::new();
        if let Places::Yaml(root) = &self.places {
            starts(root, &mut found);
        }
        found.sort_by_key(|at| (at.line, at.column));
        found.dedup();
        found
    }

    /// The mapping that the document is without some of its keys, with the places of the others.
    #[must_use]
    pub fn without(mut self, unwanted: impl Fn(&str) -> bool) -> Self {
        let Value::Object(entries) = &mut self.value else {
            return self;
        };
        if let Places::Yaml(Node {
            children: Children::Entries(nodes),
            ..
        }) = &mut self.places
        {
            // Places stand in the mapping's order.
            let mut keys = entries.keys();
            nodes.retain(|_| keys.next().is_none_or(|key| !unwanted(key)));
        }
        entries.retain(|key, _| !unwanted(key));
        self
    }

    /// The part of the document at one key or index, with its places.
    pub fn into_child(self, segment: Segment) -> Option<Self> {
        let Self {
            mut value,
            places,
            of_one_line,
        } = self;
        let places = match places {
            Places::Unknown => Places::Unknown,
            Places::Json { text, start } => {
                let (_, offset) = json::locate(&text, &Path::default().with(segment.clone()));
                Places::Json {
                    start: shift(start, json::position_of(&text, offset)),
                    // What follows the child is left out as soon as JSON's own reader finds its end.
                    text: json::first_value(&text[offset..])?.to_owned(),
                }
            }
            Places::Yaml(node) => Places::Yaml(match (&segment, node.children) {
                (Segment::Index(index), Children::Items(nodes)) => nodes.into_iter().nth(*index)?,
                (Segment::Key(name), Children::Entries(nodes)) => {
                    let at = value.as_object()?.keys().position(|key| key == name)?;
                    nodes.into_iter().nth(at)?.1
                }
                _ => return None,
            }),
        };
        let value = match &segment {
            Segment::Index(index) => value.get_mut(*index)?.take(),
            Segment::Key(name) => value.get_mut(name.as_str())?.take(),
        };
        Some(Self {
            value,
            places,
            of_one_line,
        })
    }
}

fn scalars<'a>(
    node: &Node,
    value: &'a Value,
    under: bool,
    wanted: &dyn Fn(&str) -> bool,
    found: &mut Vec<(Position, &'a str, bool)>,
) {
    match (value, &node.children) {
        (Value::Array(items), Children::Items(nodes)) => {
            for (item, node) in items.iter().zip(nodes) {
                scalars(node, item, under, wanted, found);
            }
        }
        (Value::Object(entries), Children::Entries(nodes)) => {
            for ((key, item), (_, node)) in entries.iter().zip(nodes) {
                scalars(node, item, under || wanted(key), wanted, found);
            }
        }
        (Value::String(text), _) => found.push((node.at, text, under)),
        _ => found.push((node.at, "", under)),
    }
}

fn starts(node: &Node, found: &mut Vec<Position>) {
    found.push(node.at);
    match &node.children {
        Children::None => {}
        Children::Items(nodes) => nodes.iter().for_each(|node| starts(node, found)),
        Children::Entries(nodes) => {
            for (key, node) in nodes {
                found.push(*key);
                starts(node, found);
            }
        }
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Document")
    }
}

/// A position inside a part of a text, as one of the whole.
fn shift(start: Position, inside: Position) -> Position {
    Position {
        line: start.line + inside.line - 1,
        column: if inside.line == 1 {
            start.column + inside.column - 1
        } else {
            inside.column
        },
    }
}

fn is_one_line(text: &str) -> bool {
    !text.trim_end().contains('\n')
}

/// Whether the author meant JSON: the first thing inside the brackets is a quote.
fn is_evidently_json(text: &str) -> bool {
    text.trim_start_matches(|letter: char| letter.is_whitespace() || matches!(letter, '{' | '['))
        .starts_with('"')
}
