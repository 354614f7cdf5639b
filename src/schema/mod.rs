//! The one engine that turns what breaks a JSON Schema into words: by field and rule, never with a value.
//! Whoever has a schema gives its name and its text, and [`Words`] for what only it knows; what the rules of
//! a schema say of any document is said here. Knows no step, no policy and no playbook.

mod general;
mod pattern;
mod rules;
pub(crate) mod strict;
pub mod texts;
mod tree;

use std::sync::OnceLock;

use serde_json::Value;

use self::rules::Rules;
use self::tree::Node;

use crate::path::{Path, Segment};
use crate::problem::{Problem, Problems};

/// A JSON Schema, read when it is first asked.
pub(crate) struct Schema {
    name: &'static str,
    text: &'static str,
    rules: OnceLock<Result<Rules<'static>, String>>,
}

/// A rule of a schema that a document breaks.
pub(crate) struct Violation<'a> {
    /// Where: the value that breaks the rule; a key that is missing (`required`) or unknown
    /// (`additionalProperties`) is the path's last.
    pub path: &'a Path,
    /// The keyword of the schema; `not` where nothing is accepted, `schema` for those without words.
    pub rule: &'static str,
    /// What stands there.
    pub value: Option<&'a Value>,
    schema: &'a Node<'a>,
}

impl<'a> Violation<'a> {
    /// The problem that the violation is, in these words.
    pub(crate) fn says(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.path, self.rule, message)
    }

    /// What the schema says of the violation's path.
    fn property(&self) -> Option<&'a Node<'a>> {
        property(self.schema, self.path)
    }

    /// The keys that the schema knows at a path.
    pub(crate) fn known_keys(&self, path: &Path) -> Vec<&'a str> {
        known_keys(self.schema, path)
    }

    /// A keyword's value at the violation's path.
    fn keyword(&self, name: &str) -> Option<&'a Node<'a>> {
        self.property().and_then(|property| property.get(name))
    }

    /// A keyword's whole number at the violation's path.
    pub(crate) fn number(&self, keyword: &str) -> Option<u64> {
        self.keyword(keyword)?.as_number()?.as_u64()
    }

    /// Whether the schema has this keyword at the violation's path.
    pub(crate) fn has(&self, keyword: &str) -> bool {
        self.keyword(keyword).is_some()
    }
}

/// The words of one kind of document, where the general ones don't say enough.
pub(crate) trait Words {
    /// Whether nothing is said of a violation. Asked of each, so it has to be cheap.
    fn leave_out(&self, _violation: &Violation<'_>) -> bool {
        false
    }

    /// The problem that a violation is; nothing where the general words do.
    fn own(&self, violation: &Violation<'_>) -> Option<Problem>;
}

impl Schema {
    /// The schema of a kind of document (`step`), as it stands in `schemas/`.
    pub(crate) const fn new(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            text,
            rules: OnceLock::new(),
        }
    }

    fn rules(&self) -> &Result<Rules<'static>, String> {
        self.rules.get_or_init(|| Rules::read(self.text))
    }

    /// The keys that the schema knows at a path.
    pub(crate) fn keys(&self, path: &Path) -> Vec<&str> {
        match self.rules() {
            Ok(rules) => known_keys(rules.schema(), path),
            Err(_) => Vec::new(),
        }
    }

    /// All that breaks the schema, in the schema's order; of several rules that one value breaks, the first.
    pub(crate) fn violations(&self, document: &Value, words: &dyn Words) -> Problems {
        let mut problems = Problems::default();
        let asked = self.rules().as_ref().map_err(Clone::clone);
        let asked = asked.and_then(|rules| {
            rules.ask(document, &mut |path, rule| {
                let violation = Violation {
                    path,
                    rule,
                    value: value_at(document, path),
                    schema: rules.schema(),
                };
                if !words.leave_out(&violation) {
                    problems.add_first(|| {
                        let own = words.own(&violation);
                        own.unwrap_or_else(|| general::problem(self.name, &violation))
                    });
                }
            })
        });
        // Tests hold that each schema can be used; nothing may pass unchecked if one can not.
        if let Err(error) = asked {
            problems.add(|| {
                let name = self.name;
                let message = format!("the {name}'s schema can't be used (a bug): {error}");
                Problem::new("", "$schema", message)
            });
        }
        problems
    }
}

fn child<'a>(node: &'a Value, segment: &Segment) -> Option<&'a Value> {
    match segment {
        Segment::Key(key) => node.get(key.as_str()),
        Segment::Index(index) => node.get(*index),
    }
}

/// What stands at a path of a document.
pub(crate) fn value_at<'a>(document: &'a Value, path: &Path) -> Option<&'a Value> {
    path.segments().iter().try_fold(document, child)
}

/// What a schema says of the value at a path: by its properties, those without a name of their own, its
/// items; references followed, and what holds under a condition (`then`) taken as what is meant.
fn property<'a>(schema: &'a Node<'a>, path: &Path) -> Option<&'a Node<'a>> {
    let meant = |node: &'a Node<'a>| {
        let node = match node.get("$ref").and_then(Node::as_str) {
            Some(reference) => schema.pointer(reference.strip_prefix('#')?)?,
            None => node,
        };
        Some(match node.get("properties") {
            Some(_) => node,
            None => node.get("then").unwrap_or(node),
        })
    };
    path.segments().iter().try_fold(schema, |node, segment| {
        meant(match segment {
            Segment::Key(key) => node
                .get("properties")
                .and_then(|properties| properties.get(key.as_str()))
                .or_else(|| node.get("additionalProperties"))?,
            Segment::Index(_) => node.get("items")?,
        })
    })
}

fn known_keys<'a>(schema: &'a Node<'a>, path: &Path) -> Vec<&'a str> {
    property(schema, path)
        .and_then(|node| node.get("properties"))
        .and_then(Node::as_map)
        .map(|known| known.iter().map(|(key, _)| key).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
