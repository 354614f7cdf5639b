//! Mends what keeps a template's file from being read, as far as it is clear what was meant, so that
//! `templates check` can say what else is wrong. Nothing that is mended is ever run.

use crate::problem::Position;

use crate::nearest::nearest;

/// What would let the parser go on behind a problem of form, so that the next one shows too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Repair {
    /// The key at this place is another one, misspelt.
    Rename {
        /// Where it stands.
        place: Position,
        /// What it is.
        from: String,
        /// What it should be.
        to: String,
    },
    /// The key at this place, with its value, is one too many.
    Remove {
        /// Where it stands.
        place: Position,
        /// What it is.
        key: String,
    },
    /// This key of the file is missing.
    Add(String),
}

impl Repair {
    /// What would mend the parser's complaint, where it says enough.
    pub(super) fn of(error: &serde_saphyr::Error, position: Option<Position>) -> Option<Self> {
        use serde_saphyr::Error as Yaml;
        match error {
            Yaml::DuplicateMappingKey { key: Some(key), .. } => Some(Repair::Remove {
                place: position?,
                key: key.clone(),
            }),
            Yaml::SerdeUnknownField {
                field, expected, ..
            } => {
                let (place, from) = (position?, field.to_string());
                Some(match nearest(field, expected.iter().copied()) {
                    Some(near) => Repair::Rename {
                        place,
                        from,
                        to: near.to_owned(),
                    },
                    None => Repair::Remove { place, key: from },
                })
            }
            Yaml::SerdeMissingField { field, .. } => Some(Repair::Add(field.to_string())),
            _ => None,
        }
    }

    /// The text with the repair, every other line where it was; none where it does not fit the text.
    pub(super) fn applied(&self, text: &str) -> Option<String> {
        let lines: Vec<&str> = text.lines().collect();
        let begins = |place: &Position, key: &str| {
            let line = lines.get(place.line.checked_sub(1)?)?;
            let start = line.char_indices().nth(place.column.checked_sub(1)?)?.0;
            line[start..]
                .starts_with(key)
                .then_some((place.line - 1, start))
        };
        let with = |changed: Vec<String>| Some(changed.join("\n") + "\n");
        let owned = || lines.iter().map(|line| (*line).to_owned());
        match self {
            Repair::Rename { place, from, to } => {
                let (number, start) = begins(place, from)?;
                let mut changed: Vec<String> = owned().collect();
                changed[number].replace_range(start..start + from.len(), to);
                with(changed)
            }
            Repair::Remove { place, key } => {
                let (number, start) = begins(place, key)?;
                // In `{a: 1, b: 2}` a line holds other keys too.
                if !lines[number][..start].trim().is_empty() {
                    return None;
                }
                let inside = |line: &str| {
                    let indent = line.len() - line.trim_start().len();
                    line.trim().is_empty() || indent > start
                };
                let end = lines[number + 1..]
                    .iter()
                    .take_while(|line| inside(line))
                    .count()
                    + number;
                let changed = owned().enumerate().map(|(index, line)| {
                    if (number..=end).contains(&index) {
                        String::new()
                    } else {
                        line
                    }
                });
                with(changed.collect())
            }
            Repair::Add(key) => {
                let value = match key.as_str() {
                    "intent" => "Stands for the intent that is missing.",
                    "platforms" => "[linux]",
                    "severity" => "info",
                    _ => return None,
                };
                with(owned().chain([format!("{key}: {value}")]).collect())
            }
        }
    }
}
