//! The grammar of expressions: text with `{{ path | filter }}` in it. A path into the context and a few
//! filters, nothing else: what is not in this grammar never reaches a template engine. Knows neither
//! values nor fields.

use crate::nearest::nearest;
use crate::nearest::question;
use crate::path::{Path, Segment};

/// Filters of one expression at most.
const MOST_FILTERS: usize = 16;

/// Text with expressions in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template {
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Text(String),
    Expression(Expression),
}

/// `alert.tags[0] | default("none") | lower`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expression {
    /// Begins with a key.
    pub path: Path,
    pub filters: Vec<FilterCall>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct FilterCall {
    pub filter: Filter,
    pub arguments: Vec<Literal>,
}

/// The filters of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    Default,
    Lower,
    Upper,
    Trim,
    First,
    Last,
    Join,
    Int,
    Pluck,
}

impl Filter {
    pub(super) const ALL: [Self; 9] = [
        Self::Default,
        Self::Lower,
        Self::Upper,
        Self::Trim,
        Self::First,
        Self::Last,
        Self::Join,
        Self::Int,
        Self::Pluck,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Trim => "trim",
            Self::First => "first",
            Self::Last => "last",
            Self::Join => "join",
            Self::Int => "int",
            Self::Pluck => "pluck",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Integer(i64),
    Fraction(f64),
    Boolean(bool),
}

/// A breach of the grammar: the rule, and the end of a sentence that begins with the field's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GrammarError {
    pub rule: &'static str,
    pub message: String,
}

fn breach(message: impl Into<String>) -> GrammarError {
    GrammarError {
        rule: "expression",
        message: message.into(),
    }
}

fn only_paths() -> GrammarError {
    breach(
        "holds more than a path such as `alert.host` or `alert.tags[0]` and filters: no arithmetic, comparisons, conditions, calls or literals",
    )
}

/// Whether text is more than text.
pub(crate) fn holds_expression(text: &str) -> bool {
    next_mark(text).is_some()
}

/// Where the next `{{`, `{%` or `{#` stands.
fn next_mark(text: &str) -> Option<usize> {
    text.match_indices('{')
        .map(|(at, _)| at)
        .find(|at| matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')))
}

/// The name in text that is exactly `{{ secrets.NAME }}`.
pub(super) fn secret_reference(text: &str) -> Option<&str> {
    let name = text
        .strip_prefix("{{")?
        .strip_suffix("}}")?
        .trim_matches([' ', '\t'])
        .strip_prefix("secrets.")?;
    crate::secret::is_secret_name(name).then_some(name)
}

/// The name in text that is meant for a reference to a secret and is none: braces are missing or too many,
/// `secrets` is mistyped, the name stands in brackets, or filters follow.
pub(crate) fn meant_reference(text: &str) -> Option<&str> {
    let braces = |letter: char| matches!(letter, '{' | '}' | '$') || letter.is_whitespace();
    if !text.contains(['{', '}']) || secret_reference(text).is_some() {
        return None;
    }
    let mut parts = text.trim_matches(braces).split('|').map(str::trim);
    let path = parts.next()?;
    let known = |name: &str| Filter::ALL.iter().any(|filter| filter.name() == name);
    let at = path.find(['.', '['])?;
    let (root, name) = (path[..at].trim(), &path[at..]);
    let name = match name.strip_prefix('.') {
        Some(name) => name.trim(),
        None => name
            .strip_prefix("['")
            .and_then(|name| name.strip_suffix("']"))
            .or_else(|| name.strip_prefix("[\"")?.strip_suffix("\"]"))?,
    };
    (nearest(root, ["secrets"]).is_some()
        && crate::secret::is_secret_name(name)
        && parts.all(known))
    .then_some(name)
}

/// Whether text is a reference and nothing else, to a secret or to what was taken for one, right or wrong:
/// then it may be shown, for it holds no value.
pub(crate) fn is_only_a_reference(text: &str) -> bool {
    let text = text.trim();
    if secret_reference(text).is_some() || meant_reference(text).is_some() {
        return true;
    }
    let inside = text
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"));
    let path = inside.and_then(|inside| inside.trim().split_once('.'));
    path.is_some_and(|(root, rest)| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-. ".contains(letter);
        ["secrets", "alert", "inputs", "steps", "context"].contains(&root)
            && rest.chars().all(plain)
    })
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, GrammarError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = next_mark(rest) {
            match &rest[open..open + 2] {
                "{%" => {
                    return Err(breach(
                        "holds a statement (`{%`): only expressions (`{{ … }}`) are rendered",
                    ));
                }
                "{#" => {
                    return Err(breach(
                        "holds a comment (`{#`): only expressions (`{{ … }}`) are rendered",
                    ));
                }
                _ => {}
            }
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let mut reader = Reader {
                rest: &rest[open + 2..],
            };
            parts.push(Part::Expression(reader.expression()?));
            rest = reader.rest;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The expression, where there is nothing but one (and blanks around it).
    pub(super) fn whole(&self) -> Option<&Expression> {
        let mut found = None;
        for part in &self.parts {
            match part {
                Part::Text(text) if text.trim().is_empty() => {}
                Part::Expression(expression) if found.is_none() => found = Some(expression),
                _ => return None,
            }
        }
        found
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, mark: &str) -> bool {
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_after_blanks(&mut self, mark: &str) -> bool {
        self.skip_blanks();
        self.take(mark)
    }

    fn while_letters(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self
            .rest
            .find(|letter| !is_part(letter))
            .unwrap_or(self.rest.len());
        let (part, rest) = self.rest.split_at(end);
        self.rest = rest;
        part
    }

    fn name(&mut self) -> Option<&'a str> {
        self.rest
            .starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            .then(|| self.while_letters(|letter| letter.is_ascii_alphanumeric() || letter == '_'))
    }

    /// What follows `{{`, to the `}}` and including it.
    fn expression(&mut self) -> Result<Expression, GrammarError> {
        if self.rest.starts_with(['-', '+']) {
            return Err(breach(
                "trims blanks (`{{-`): write `{{`, and the filter `trim` where needed",
            ));
        }
        let path = self.path()?;
        let mut filters = Vec::new();
        loop {
            self.skip_blanks();
            if self.take("}}") {
                return Ok(Expression { path, filters });
            }
            if self.rest.is_empty() {
                return Err(breach("holds a `{{` without its `}}`"));
            }
            if self.rest.starts_with("-}}") {
                return Err(breach(
                    "trims blanks (`-}}`): write `}}`, and the filter `trim` where needed",
                ));
            }
            if !self.take("|") {
                return Err(only_paths());
            }
            if filters.len() == MOST_FILTERS {
                return Err(breach(format!(
                    "holds more than {MOST_FILTERS} filters in one expression"
                )));
            }
            filters.push(self.filter()?);
        }
    }

    fn path(&mut self) -> Result<Path, GrammarError> {
        self.skip_blanks();
        if self.rest.is_empty() {
            return Err(breach("holds a `{{` without its `}}`"));
        }
        if self.rest.starts_with("}}") {
            return Err(breach("holds an empty expression (`{{ }}`)"));
        }
        let first = self.name().ok_or_else(only_paths)?;
        if matches!(
            first,
            "true" | "false" | "none" | "True" | "False" | "None" | "not"
        ) {
            return Err(only_paths());
        }
        if first == "secrets" {
            return Err(GrammarError {
                rule: "secret_field",
                message: "may not name `secrets`: a secret is allowed only in `api_token`, `username` and `password`, as exactly `{{ secrets.NAME }}`".into(),
            });
        }
        let mut path = Path::of(&[first]);
        loop {
            if self.take(".") {
                let name = self.name().ok_or_else(|| {
                    breach("holds a `.` without a name after it: write `alert['some name']` for a name that is no word, `alert.tags[0]` for an item")
                })?;
                path = path.key(name);
            } else if self.take("[") {
                self.skip_blanks();
                let segment = match self.rest.chars().next() {
                    Some('0'..='9') => {
                        let digits = self.while_letters(|letter| letter.is_ascii_digit());
                        Segment::Index(
                            digits
                                .parse()
                                .map_err(|_| breach("holds an index that is too large"))?,
                        )
                    }
                    Some('-') => {
                        return Err(breach(
                            "holds a negative index: use the filter `last` for the last item",
                        ));
                    }
                    Some('\'' | '"') => Segment::Key(self.text()?),
                    _ => {
                        return Err(breach(
                            "holds an index that is neither a number nor a quoted name: nothing is computed",
                        ));
                    }
                };
                if !self.take_after_blanks("]") {
                    return Err(breach(
                        "holds a `[` without its `]`: it takes one number or one quoted name",
                    ));
                }
                path = path.with(segment);
            } else {
                return Ok(path);
            }
        }
    }

    fn filter(&mut self) -> Result<FilterCall, GrammarError> {
        self.skip_blanks();
        let name = self
            .name()
            .ok_or_else(|| breach("holds a `|` without a filter after it"))?;
        let names = Filter::ALL.map(Filter::name);
        let Some(filter) = Filter::ALL.into_iter().find(|filter| filter.name() == name) else {
            let likely = question(name, names)
                .map(|question| format!(" ({question})"))
                .unwrap_or_default();
            return Err(GrammarError {
                rule: "filter",
                message: format!(
                    "uses an unknown filter `{name}`{likely}: there are {}",
                    names.join(", ")
                ),
            });
        };
        let mut arguments = Vec::new();
        if self.take_after_blanks("(") && !self.take_after_blanks(")") {
            loop {
                arguments.push(self.literal(filter)?);
                if self.take_after_blanks(")") {
                    break;
                }
                if !self.take_after_blanks(",") {
                    return Err(wrong_argument(filter));
                }
            }
        }
        let fits = match (filter, arguments.as_slice()) {
            (Filter::Pluck, arguments) => matches!(arguments, [Literal::Text(_)]),
            (_, [])
            | (Filter::Default, [_] | [_, Literal::Boolean(_)])
            | (Filter::Join, [Literal::Text(_)]) => true,
            _ => false,
        };
        if fits {
            Ok(FilterCall { filter, arguments })
        } else {
            Err(wrong_argument(filter))
        }
    }

    fn literal(&mut self, filter: Filter) -> Result<Literal, GrammarError> {
        self.skip_blanks();
        if self.rest.starts_with(['\'', '"']) {
            return self.text().map(Literal::Text);
        }
        if let Some(name) = self.name() {
            return match name {
                "true" => Ok(Literal::Boolean(true)),
                "false" => Ok(Literal::Boolean(false)),
                _ => Err(wrong_argument(filter)),
            };
        }
        let digits =
            self.while_letters(|letter| letter.is_ascii_digit() || matches!(letter, '-' | '.'));
        if let Ok(integer) = digits.parse() {
            return Ok(Literal::Integer(integer));
        }
        match digits.parse::<f64>() {
            Ok(fraction) if digits.ends_with(|last: char| last.is_ascii_digit()) => {
                Ok(Literal::Fraction(fraction))
            }
            _ => Err(wrong_argument(filter)),
        }
    }

    /// A quoted text; `\\` and quotes may be escaped.
    fn text(&mut self) -> Result<String, GrammarError> {
        let mut letters = self.rest.chars();
        let quote = letters.next();
        let mut text = String::new();
        loop {
            match letters.next() {
                None => return Err(breach("holds a quote that is not closed")),
                Some('\\') => match letters.next() {
                    Some(escaped @ ('\\' | '\'' | '"')) => text.push(escaped),
                    _ => {
                        return Err(breach(
                            "holds an escape other than `\\\\`, `\\'` and `\\\"` in quotes",
                        ));
                    }
                },
                letter if letter == quote => break,
                Some(letter) => text.push(letter),
            }
        }
        self.rest = letters.as_str();
        Ok(text)
    }
}

fn wrong_argument(filter: Filter) -> GrammarError {
    let takes = match filter {
        Filter::Default => {
            "one text or number, and `true` where it also stands in for empty and null values"
        }
        Filter::Join => "one text, the separator",
        Filter::Pluck => "one text, the key that is taken of each item",
        _ => "nothing in brackets",
    };
    GrammarError {
        rule: "filter",
        message: format!("uses `{}` wrongly: it takes {takes}", filter.name()),
    }
}

#[cfg(test)]
mod tests;
