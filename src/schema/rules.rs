//! What a document breaks of a JSON Schema (draft 2020-12), as far as the schemas of this program have its
//! keywords; a schema with another is a bug that tests find. Interpreted as it stands: compiling one takes
//! milliseconds and megabytes, and a step is checked once. A property test holds it to the crate that compiles.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Number, Value};

use super::pattern::Pattern;
use super::tree::{Entries, Node, less};
use crate::path::Path;

/// References in references at most.
const DEEPEST: usize = 32;

/// The rules of a schema.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    schema: Node<'a>,
    /// Its patterns, each read when it is first looked for.
    patterns: HashMap<String, OnceLock<Result<Pattern, String>>>,
}

/// Hears of each rule that is broken: where, and which.
type Tell<'a> = dyn FnMut(&Path, &'static str) + 'a;

/// The order in which rules are asked: what a value is before what is in it.
const ORDER: [&str; 27] = [
    "type",
    "const",
    "enum",
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "dependentRequired",
    "pattern",
    "uniqueItems",
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "items",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "$ref",
];

/// What is said of an object's members.
const MEMBERS: [&str; 3] = ["properties", "patternProperties", "additionalProperties"];

/// Keywords that ask nothing by themselves.
const OTHERS: [&str; 10] = [
    "$schema",
    "$id",
    "$defs",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "then",
    "else",
];

impl<'a> Rules<'a> {
    /// The rules that stand in this text.
    ///
    /// # Errors
    /// Where it is no schema, or one with rules that are not known here.
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        let schema = Node::read(text)?;
        let mut patterns = HashMap::new();
        each_pattern(&schema, &mut |pattern| {
            patterns.insert(pattern.to_owned(), OnceLock::new());
        });
        Ok(Self { schema, patterns })
    }

    /// The schema itself, without what only people read.
    pub(super) fn schema(&self) -> &Node<'a> {
        &self.schema
    }

    /// Its patterns.
    #[cfg(test)]
    pub(super) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.keys().map(String::as_str)
    }

    /// Tells every rule that the document breaks.
    ///
    /// # Errors
    /// What of the schema is not understood.
    pub(super) fn ask(&self, document: &Value, tell: &mut Tell<'_>) -> Result<(), String> {
        let asked = Asked {
            rules: self,
            depth: 0,
        };
        asked.node(&self.schema, document, &Path::default(), tell)
    }
}

#[derive(Clone, Copy)]
struct Asked<'a> {
    rules: &'a Rules<'a>,
    depth: usize,
}

impl Asked<'_> {
    fn node(
        self,
        schema: &Node<'_>,
        value: &Value,
        path: &Path,
        tell: &mut Tell<'_>,
    ) -> Result<(), String> {
        let schema = match schema {
            Node::Bool(true) => return Ok(()),
            Node::Bool(false) => {
                tell(path, "not");
                return Ok(());
            }
            Node::Map(schema) => schema,
            _ => return Err("a schema is a mapping, or true or false".into()),
        };
        let mut rules = [None; ORDER.len()];
        for (key, rule) in schema.iter() {
            match ORDER.iter().position(|keyword| *keyword == key) {
                Some(at) => rules[at] = Some(rule),
                None if OTHERS.contains(&key) => {}
                None => return Err(format!("the keyword `{key}` is not known")),
            }
        }
        for (keyword, rule) in ORDER.into_iter().zip(rules) {
            if let Some(rule) = rule {
                self.rule(keyword, rule, schema, value, path, tell)?;
            }
        }
        Ok(())
    }

    fn rule(
        self,
        keyword: &'static str,
        rule: &Node<'_>,
        schema: &Entries<'_>,
        value: &Value,
        path: &Path,
        tell: &mut Tell<'_>,
    ) -> Result<(), String> {
        // References lead on from a value to what is in it without an end being near.
        let inner = Self { depth: 0, ..self };
        let keeps = match (keyword, value) {
            ("type", _) => is_of(rule, value)?,
            ("const", _) => rule.is(value),
            ("enum", _) => list(rule)?.iter().any(|one| one.is(value)),
            ("minimum", Value::Number(number)) => !less(number, bound(rule)?),
            ("maximum", Value::Number(number)) => !less(bound(rule)?, number),
            ("multipleOf", Value::Number(number)) => {
                let of = bound(rule)?.as_f64().unwrap_or(1.0);
                let quotient = number.as_f64().unwrap_or(0.0) / of;
                tell_unless(quotient.fract() == 0.0, path, "schema", tell);
                true
            }
            ("minLength", Value::String(text)) => text.chars().count() >= count(rule)?,
            ("maxLength", Value::String(text)) => text.chars().count() <= count(rule)?,
            ("minItems", Value::Array(items)) => items.len() >= count(rule)?,
            ("maxItems", Value::Array(items)) => items.len() <= count(rule)?,
            ("pattern", Value::String(text)) => {
                self.finds(rule.as_str().ok_or("a pattern is text")?, text)?
            }
            ("uniqueItems", Value::Array(items)) => {
                let unique = *rule != Node::Bool(true) || are_unique(items);
                tell_unless(unique, path, "schema", tell);
                true
            }
            ("required", Value::Object(entries)) => {
                for key in list(rule)?.iter().filter_map(Node::as_str) {
                    tell_unless(entries.contains_key(key), &path.key(key), keyword, tell);
                }
                true
            }
            ("dependentRequired", Value::Object(entries)) => {
                let needs = rule.as_map().ok_or("`dependentRequired` is no mapping")?;
                for (_, needed) in needs.iter().filter(|(key, _)| entries.contains_key(*key)) {
                    for key in list(needed)?.iter().filter_map(Node::as_str) {
                        tell_unless(entries.contains_key(key), &path.key(key), "required", tell);
                    }
                }
                true
            }
            ("maxProperties", Value::Object(entries)) => {
                tell_unless(entries.len() <= count(rule)?, path, "schema", tell);
                true
            }
            ("minProperties", Value::Object(entries)) => {
                tell_unless(entries.len() >= count(rule)?, path, "schema", tell);
                true
            }
            // The three are one; the first that is there stands for them.
            (
                "properties" | "patternProperties" | "additionalProperties",
                Value::Object(entries),
            ) => {
                let is_first = MEMBERS.iter().find(|it| schema.get(it).is_some()) == Some(&keyword);
                if is_first {
                    inner.members(schema, entries, path, tell)?;
                }
                true
            }
            ("propertyNames", Value::Object(entries)) => {
                let mut keeps = true;
                for key in entries.keys() {
                    keeps &= self.keeps(rule, &Value::from(key.as_str()))?;
                }
                keeps
            }
            ("items", Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    inner.node(rule, item, &path.index(index), tell)?;
                }
                true
            }
            ("allOf", _) => {
                for one in list(rule)? {
                    self.node(one, value, path, tell)?;
                }
                true
            }
            ("anyOf", _) => {
                let mut keeps = false;
                for one in list(rule)? {
                    keeps = keeps || self.keeps(one, value)?;
                }
                keeps
            }
            ("oneOf", _) => {
                let mut keeping = 0;
                for one in list(rule)? {
                    keeping += usize::from(self.keeps(one, value)?);
                }
                keeping == 1
            }
            ("not", _) => {
                tell_unless(!self.keeps(rule, value)?, path, "schema", tell);
                true
            }
            ("if", _) => {
                let next = match self.keeps(rule, value)? {
                    true => schema.get("then"),
                    false => schema.get("else"),
                };
                if let Some(next) = next {
                    self.node(next, value, path, tell)?;
                }
                true
            }
            ("$ref", _) => {
                let pointer = rule.as_str().and_then(|text| text.strip_prefix('#'));
                let meant = pointer.and_then(|pointer| self.rules.schema.pointer(pointer));
                let meant = meant.ok_or_else(|| format!("{rule} refers to nothing"))?;
                if self.depth == DEEPEST {
                    return Err("references refer to each other".into());
                }
                let deeper = Self {
                    depth: self.depth + 1,
                    ..self
                };
                deeper.node(meant, value, path, tell)?;
                true
            }
            // It says nothing of such a value.
            _ => true,
        };
        tell_unless(keeps, path, keyword, tell);
        Ok(())
    }

    /// Asks of each entry what is said of its key.
    fn members(
        self,
        schema: &Entries<'_>,
        entries: &serde_json::Map<String, Value>,
        path: &Path,
        tell: &mut Tell<'_>,
    ) -> Result<(), String> {
        let [properties, patterns, further] = MEMBERS.map(|keyword| schema.get(keyword));
        let mut unknown = Vec::new();
        for (key, value) in entries {
            let mut known = false;
            if let Some(property) = properties.and_then(|it| it.get(key.as_str())) {
                known = true;
                self.node(property, value, &path.key(key), tell)?;
            }
            for (pattern, of_pattern) in patterns
                .and_then(Node::as_map)
                .into_iter()
                .flat_map(Entries::iter)
            {
                if self.finds(pattern, key)? {
                    known = true;
                    self.node(of_pattern, value, &path.key(key), tell)?;
                }
            }
            match further {
                _ if known => {}
                Some(Node::Bool(false)) => unknown.push(key),
                Some(further) => self.node(further, value, &path.key(key), tell)?,
                None => {}
            }
        }
        for key in unknown {
            tell(&path.key(key), "additionalProperties");
        }
        Ok(())
    }

    /// Whether a value keeps to a schema.
    fn keeps(self, schema: &Node<'_>, value: &Value) -> Result<bool, String> {
        let mut keeps = true;
        self.node(schema, value, &Path::default(), &mut |_, _| keeps = false)?;
        Ok(keeps)
    }

    fn finds(self, pattern: &str, text: &str) -> Result<bool, String> {
        let known = self.rules.patterns.get(pattern);
        let known = known.ok_or("a pattern that was not found")?;
        let read = known.get_or_init(|| Pattern::read(pattern));
        read.as_ref()
            .map(|read| read.is_in(text))
            .map_err(Clone::clone)
    }
}

/// Every text that stands under the keyword `pattern`.
fn each_pattern(schema: &Node<'_>, with: &mut dyn FnMut(&str)) {
    match schema {
        Node::Map(node) => {
            if let Some(Node::Text(pattern)) = node.get("pattern") {
                with(pattern);
            }
            let patterns = node.get("patternProperties").and_then(Node::as_map);
            for (pattern, _) in patterns.into_iter().flat_map(Entries::iter) {
                with(pattern);
            }
            node.iter().for_each(|(_, inner)| each_pattern(inner, with));
        }
        Node::List(items) => items.iter().for_each(|item| each_pattern(item, with)),
        _ => {}
    }
}

fn tell_unless(keeps: bool, path: &Path, rule: &'static str, tell: &mut Tell<'_>) {
    if !keeps {
        tell(path, rule);
    }
}

fn list<'a>(rule: &'a Node<'a>) -> Result<&'a [Node<'a>], String> {
    rule.as_list().ok_or_else(|| format!("{rule} is no list"))
}

fn bound<'a>(rule: &'a Node<'_>) -> Result<&'a Number, String> {
    rule.as_number()
        .ok_or_else(|| format!("{rule} is no number"))
}

fn count(rule: &Node<'_>) -> Result<usize, String> {
    let count = rule.as_number().and_then(Number::as_u64);
    let count = count.and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| format!("{rule} is no count"))
}

fn is_of(rule: &Node<'_>, value: &Value) -> Result<bool, String> {
    match rule {
        Node::List(kinds) => {
            let mut is = false;
            for kind in kinds {
                is |= is_of(kind, value)?;
            }
            Ok(is)
        }
        Node::Text(kind) => Ok(match &**kind {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "number" => value.is_number(),
            // 1.0 is an integer, too.
            "integer" => match value {
                Value::Number(number) => {
                    !number.is_f64() || number.as_f64().is_some_and(|it| it.fract() == 0.0)
                }
                _ => false,
            },
            other => return Err(format!("`{other}` is no type")),
        }),
        _ => Err(format!("{rule} is no type")),
    }
}

/// Whether two values are equal; 1 and 1.0 are.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => !less(one, other) && !less(other, one),
        (Value::Array(ones), Value::Array(others)) => {
            ones.len() == others.len()
                && ones.iter().zip(others).all(|(one, other)| same(one, other))
        }
        (Value::Object(ones), Value::Object(others)) => {
            let equal = |(key, one): (&String, &Value)| {
                others.get(key).is_some_and(|other| same(one, other))
            };
            ones.len() == others.len() && ones.iter().all(equal)
        }
        _ => one == other,
    }
}

fn are_unique(items: &[Value]) -> bool {
    let texts: Option<std::collections::HashSet<&str>> = items.iter().map(Value::as_str).collect();
    match texts {
        Some(texts) => texts.len() == items.len(),
        None => items
            .iter()
            .enumerate()
            .all(|(at, item)| !items[..at].iter().any(|earlier| same(earlier, item))),
    }
}
