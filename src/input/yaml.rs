//! Strict YAML into a JSON value, with the place of every node. Composed from the parser's events, so
//! that nothing is guessed: anchors, aliases, tags, merge keys, directives and duplicate or complex keys
//! are refused, and plain scalars are typed by few rules. Knows nothing of steps.
//!
//! Files that people keep (playbooks) may use anchors, aliases and merge keys within limits: there
//! [`Repeats::Expanded`] copies what an alias names, with the places that it has at its anchor.
//!
//! Plain scalars: `null`, `Null`, `NULL`, `~` and nothing are null; `true` and `false` (only so) are
//! booleans; decimal integers without leading zeros that fit in 64 bits and decimal fractions are
//! numbers; everything else is text (`no`, `True`, `0777`, `0x1F`, `1_000`, `.inf`).

mod repeats;

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

use super::DecodeError;
use crate::path::show_key;
use crate::problem::Position;
use repeats::{Weight, merge, weigh};

/// Collections inside collections: more is refused, in YAML and JSON alike.
pub(super) const DEEPEST: usize = super::CONTEXT_DEEPEST + 1;

/// What all copies made for anchors and aliases of one document may weigh: nodes, and 64 bytes of text
/// each count one. Some ten times what the largest playbook needs.
const COPIES: usize = 200_000;

/// What becomes of anchors, aliases and merge keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// Each is an error: a step on stdin.
    Refused,
    /// They are written out: a file that people keep.
    Expanded,
}

/// Said of JSON, too.
pub(super) const MORE_TEXT: &str = "more text follows the document; stdin holds one";

/// A node's place and those of its children, beside the value.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub at: Position,
    pub children: Children,
}

#[derive(Debug, Clone)]
pub(super) enum Children {
    None,
    Items(Vec<Node>),
    /// Place of the key, and the value; in the mapping's order.
    Entries(Vec<(Position, Node)>),
}

enum Frame {
    List {
        at: Position,
        anchor: usize,
        items: Vec<Value>,
        nodes: Vec<Node>,
    },
    Mapping {
        at: Position,
        anchor: usize,
        entries: Map<String, Value>,
        nodes: Vec<(Position, Node)>,
        key: Key,
        /// What `<<` brings; keys of the mapping itself stand before them.
        merged: Vec<(Value, Node)>,
    },
}

/// What the next node of a mapping is.
enum Key {
    /// A key.
    Expected,
    /// The value of this key.
    Of(String, Position),
    /// The value of `<<`.
    Merge,
}

/// Reads exactly one document; no document at all is null.
pub(super) fn compose(text: &str, repeats: Repeats) -> Result<(Value, Node), DecodeError> {
    let refused = repeats == Repeats::Refused;
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_anchor_events: refused,
        emit_comments: false,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    let mut composer = Composer {
        frames: Vec::new(),
        root: None,
        repeats,
        anchored: HashMap::new(),
        copies: 0,
    };
    let mut documents = 0;
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| {
            let marker = error.marker();
            refuse(
                Position {
                    line: marker.line(),
                    column: marker.col() + 1,
                },
                scan_message(error.kind()),
            )
        })?;
        match event {
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    return Err(refuse(
                        start(&span),
                        if refused {
                            "a second document begins here: stdin holds exactly one"
                        } else {
                            "a second document begins here: a file holds exactly one"
                        },
                    ));
                }
            }
            event => composer.take(event, &span)?,
        }
    }
    Ok(composer.root.unwrap_or((
        Value::Null,
        Node {
            at: Position { line: 1, column: 1 },
            children: Children::None,
        },
    )))
}

struct Composer {
    frames: Vec<Frame>,
    root: Option<(Value, Node)>,
    repeats: Repeats,
    /// What each anchor names.
    anchored: HashMap<usize, (Value, Node, Weight)>,
    /// What was copied so far.
    copies: usize,
}

impl Composer {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), DecodeError> {
        let at = start(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.no_tag(tag.is_some(), span)?;
                self.scalar(text.into_owned(), style, at, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.no_tag(tag.is_some(), span)?;
                self.open(
                    at,
                    Frame::List {
                        at,
                        anchor,
                        items: Vec::new(),
                        nodes: Vec::new(),
                    },
                )
            }
            Event::MappingStart(_, anchor, tag) => {
                self.no_tag(tag.is_some(), span)?;
                self.open(
                    at,
                    Frame::Mapping {
                        at,
                        anchor,
                        entries: Map::new(),
                        nodes: Vec::new(),
                        key: Key::Expected,
                        merged: Vec::new(),
                    },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => match self.frames.pop() {
                Some(Frame::List {
                    at,
                    anchor,
                    items,
                    nodes,
                }) => {
                    let node = Node {
                        at,
                        children: Children::Items(nodes),
                    };
                    self.finish(Value::Array(items), node, anchor)
                }
                Some(Frame::Mapping {
                    at,
                    anchor,
                    mut entries,
                    mut nodes,
                    merged,
                    ..
                }) => {
                    for (value, node) in merged {
                        merge(value, node, &mut entries, &mut nodes)?;
                    }
                    let node = Node {
                        at,
                        children: Children::Entries(nodes),
                    };
                    self.finish(Value::Object(entries), node, anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) if self.repeats == Repeats::Expanded => self.alias(anchor, at),
            Event::UnresolvedAlias(_) if self.repeats == Repeats::Expanded => Err(refuse(
                at,
                "this alias (`*name`) names no anchor (`&name`) before it: put the text in quotes if none is meant",
            )),
            Event::Anchor(..) => Err(refuse(
                at,
                "anchors (`&name`) are not accepted: write the value out",
            )),
            Event::Alias(_) | Event::UnresolvedAlias(_) => Err(refuse(
                at,
                "aliases (`*name`) are not accepted: write the value out, or put the text in quotes",
            )),
            _ => Ok(()),
        }
    }

    fn no_tag(&self, tagged: bool, span: &Span) -> Result<(), DecodeError> {
        if !tagged {
            return Ok(());
        }
        let at = span.tag_start.map_or_else(
            || start(span),
            |marker| Position {
                line: marker.line(),
                column: marker.col() + 1,
            },
        );
        Err(refuse(
            at,
            "tags (`!name`) are not accepted: remove it, or put the text in quotes",
        ))
    }

    fn open(&mut self, at: Position, frame: Frame) -> Result<(), DecodeError> {
        if let Some(Frame::Mapping {
            key: Key::Expected, ..
        }) = self.frames.last()
        {
            // `{{ alert.host }}` without quotes is a mapping whose only key is a mapping.
            let is_expression = matches!(
                (self.frames.last(), &frame),
                (Some(Frame::Mapping { entries, .. }), Frame::Mapping { .. }) if entries.is_empty()
            );
            let message = if is_expression {
                "an expression must be in quotes: \"{{ alert.host }}\""
            } else {
                "a key must be plain text, not a list or a mapping"
            };
            return Err(refuse(at, message));
        }
        if self.frames.len() == DEEPEST {
            return Err(too_deep(at));
        }
        self.frames.push(frame);
        Ok(())
    }

    fn scalar(
        &mut self,
        text: String,
        style: ScalarStyle,
        at: Position,
        anchor: usize,
    ) -> Result<(), DecodeError> {
        if let Some(Frame::Mapping { entries, key, .. }) = self.frames.last_mut()
            && matches!(key, Key::Expected)
        {
            if anchor != 0 && self.repeats == Repeats::Expanded {
                return Err(refuse(at, "a key takes no anchor (`&name`): remove it"));
            }
            if style == ScalarStyle::Plain && text == "<<" {
                if self.repeats == Repeats::Refused {
                    return Err(refuse(
                        at,
                        "merge keys (`<<`) are not accepted: write the keys out",
                    ));
                }
                *key = Key::Merge;
                return Ok(());
            }
            if entries.contains_key(&text) {
                return Err(duplicate(at, &text));
            }
            *key = Key::Of(text, at);
            return Ok(());
        }
        let value = if style == ScalarStyle::Plain {
            plain(text)
        } else {
            Value::String(text)
        };
        let node = Node {
            at,
            children: Children::None,
        };
        self.finish(value, node, anchor)
    }

    /// A whole node: kept for its aliases where it has an anchor, and put where it belongs.
    fn finish(&mut self, value: Value, node: Node, anchor: usize) -> Result<(), DecodeError> {
        if anchor != 0 && self.repeats == Repeats::Expanded {
            let weight = weigh(&value);
            self.afford(weight.copies, node.at)?;
            self.anchored
                .insert(anchor, (value.clone(), node.clone(), weight));
        }
        self.put(value, node);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), DecodeError> {
        if let Some(Frame::Mapping {
            key: Key::Expected, ..
        }) = self.frames.last()
        {
            return Err(refuse(at, "a key must be plain text, not an alias"));
        }
        let Some((value, node, weight)) = self.anchored.get(&anchor) else {
            return Err(refuse(
                at,
                "this alias is inside what its anchor names, so it would never end",
            ));
        };
        if self.frames.len() + weight.depth > DEEPEST {
            return Err(too_deep(at));
        }
        let (value, node, copies) = (value.clone(), node.clone(), weight.copies);
        self.afford(copies, at)?;
        self.put(value, node);
        Ok(())
    }

    fn afford(&mut self, copies: usize, at: Position) -> Result<(), DecodeError> {
        self.copies = self.copies.saturating_add(copies);
        if self.copies > COPIES {
            return Err(refuse(
                at,
                "the aliases make this file too large: use fewer, or write the values out",
            ));
        }
        Ok(())
    }

    fn put(&mut self, value: Value, node: Node) {
        match self.frames.last_mut() {
            Some(Frame::List { items, nodes, .. }) => {
                items.push(value);
                nodes.push(node);
            }
            Some(Frame::Mapping {
                entries,
                nodes,
                key,
                merged,
                ..
            }) => match std::mem::replace(key, Key::Expected) {
                Key::Of(name, key_at) => {
                    entries.insert(name, value);
                    nodes.push((key_at, node));
                }
                Key::Merge => merged.push((value, node)),
                Key::Expected => {}
            },
            None => self.root = Some((value, node)),
        }
    }
}

pub(super) fn duplicate(at: Position, key: &str) -> DecodeError {
    refuse(
        at,
        format!("the key `{}` appears twice in one mapping", show_key(key)),
    )
}

pub(super) fn too_deep(at: Position) -> DecodeError {
    refuse(at, super::nested_more_than(super::CONTEXT_DEEPEST))
}

pub(super) fn refuse(at: Position, message: impl Into<String>) -> DecodeError {
    DecodeError {
        message: message.into(),
        position: Some(at),
        hint: None,
        of_one_line: false,
    }
}

fn start(span: &Span) -> Position {
    Position {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

/// The parser's own words hold no text of the document, but for the one character of
/// `UnexpectedCharacter`, which may be a secret's.
fn scan_message(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::RecursionLimitExceeded => {
            super::nested_more_than(super::CONTEXT_DEEPEST)
        }
        ErrorKind::DirectiveDisallowed => {
            "directives (`%YAML`, `%TAG`) are not accepted: remove the line".into()
        }
        ErrorKind::UnexpectedCharacter { .. } => {
            "this is not YAML: a character that can't begin a value; put the text in quotes".into()
        }
        ErrorKind::UndeclaredTagHandle => {
            "tags (`!name`) are not accepted: remove it, or put the text in quotes".into()
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            "this is not YAML: a key without `:`, or longer than 1,024 characters".into()
        }
        ErrorKind::MissingAnchorOrAliasName => {
            "`*` and `&` begin aliases and anchors, which are not accepted: put the text in quotes"
                .into()
        }
        ErrorKind::ExpectedDocumentStart => format!("this is not YAML: {MORE_TEXT}"),
        ErrorKind::ExpectedBlockMappingKey => {
            "this is not YAML: a key is expected here; check the indentation of this line and the one before".into()
        }
        ErrorKind::MappingValueNotAllowed => {
            "this is not YAML: a `:` where no key can stand; check the indentation, and put text that holds `: ` in quotes".into()
        }
        ErrorKind::InvalidQuotedScalarIndent => {
            "this is not YAML: a quoted text goes on in a line with less indentation; is its closing quote missing?".into()
        }
        ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation | ErrorKind::TabNotAllowed => {
            "this is not YAML: a tab can't indent; use spaces".into()
        }
        other => format!("this is not YAML: {other}"),
    }
}

fn plain(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    match number(&text) {
        Some(number) => Value::Number(number),
        None => Value::String(text),
    }
}

/// Numbers by YAML's core schema, without what people do not mean: leading zeros (octal to YAML 1.1) and
/// integers that would lose digits stay text.
fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let whole_length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = digits.split_at(whole_length);
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    if rest.is_empty() {
        let unsigned: u64 = whole.parse().ok()?;
        return match negative {
            false => Some(unsigned.into()),
            true => format!("-{whole}").parse::<i64>().ok().map(Number::from),
        };
    }
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let fraction_digits = match fraction.strip_prefix('.') {
        Some(digits) => digits,
        None if fraction.is_empty() => "",
        None => return None,
    };
    let exponent_digits =
        exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction_digits.is_empty())
        || !all_digits(fraction_digits)
        || exponent_digits.is_some_and(|digits| digits.is_empty() || !all_digits(digits))
    {
        return None;
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests;
