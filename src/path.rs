//! Paths into a document, as people write them: `params.target_hosts[0]`. Knows nothing of values.

use std::fmt;

/// One step down into a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A mapping's key.
    Key(String),
    /// A list's index, from zero.
    Index(usize),
}

/// A path from the top of a document; the empty path is the document itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Path(Vec<Segment>);

impl Path {
    /// The path of keys only.
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Segment::Key((*key).into())).collect())
    }

    /// One key deeper.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// One index deeper.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// One segment deeper.
    #[must_use]
    pub fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// The segments, from the top.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The path without its last segment.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// The last key, where the path ends in one.
    pub fn last_key(&self) -> Option<&str> {
        match self.0.last() {
            Some(Segment::Key(key)) => Some(key),
            _ => None,
        }
    }

    /// The last key, whatever items of a list it leads on to.
    pub fn field(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) => None,
        })
    }

    /// The name in messages: the path without a leading `params.`, which every field there would repeat.
    pub fn subject(&self) -> String {
        let skip = match self.0.as_slice() {
            [Segment::Key(first), _, ..] if first == "params" => 1,
            _ => 0,
        };
        render(&self.0[skip..])
    }
}

/// A path of keys as it is written with points, `params.target_hosts`; nothing is the document itself.
impl From<&str> for Path {
    fn from(keys: &str) -> Self {
        let keys = keys.split('.').filter(|key| !key.is_empty());
        Self(keys.map(|key| Segment::Key(key.to_owned())).collect())
    }
}

impl From<String> for Path {
    fn from(keys: String) -> Self {
        Self::from(keys.as_str())
    }
}

impl From<&Path> for Path {
    fn from(path: &Path) -> Self {
        path.clone()
    }
}

/// Keys that are shown as they are; others stand quoted in brackets.
pub(crate) fn is_plain_name(key: &str) -> bool {
    let mut letters = key.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
}

/// A key as messages show it: control characters escaped, cut at 80 characters.
pub(crate) fn show_key(key: &str) -> String {
    let mut shown: String = key.chars().take(80).flat_map(show_character).collect();
    if key.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}

fn show_character(letter: char) -> Vec<char> {
    if letter.is_control() {
        letter.escape_unicode().collect()
    } else {
        vec![letter]
    }
}

fn render(segments: &[Segment]) -> String {
    let mut text = String::new();
    for segment in segments {
        match segment {
            Segment::Key(key) if is_plain_name(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Segment::Key(key) => text.push_str(&format!("['{}']", show_key(key))),
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&render(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_people_write_them() {
        let path = Path::of(&["params", "target_hosts"]).index(2);
        assert_eq!(path.to_string(), "params.target_hosts[2]");
        assert_eq!(path.subject(), "target_hosts[2]");
        assert_eq!(Path::of(&["params"]).subject(), "params");
        assert_eq!(
            Path::of(&["a", "b c\n"]).key("d").to_string(),
            "a['b c\\u{a}'].d"
        );
    }
}
