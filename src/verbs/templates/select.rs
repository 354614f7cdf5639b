//! Which templates a list shows: by tag, by platform, by words. Pure.

use clap::Args;

use crate::allowlist::{Registry, Template};

/// What the listed templates have in common; everything that is given has to hold.
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// Only templates with this tag: a topic such as `persistence`, or an ATT&CK technique (`T1053` includes `T1053.005`). Give it again to narrow further.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Only templates that work on this platform.
    #[arg(long, value_name = "PLATFORM", value_parser = ["linux", "darwin", "windows"])]
    pub platform: Option<String>,
    /// Only templates that have this text in their name, intent, tags, tables or parameters, whatever its case. Give it again to narrow further.
    #[arg(long = "search", value_name = "TEXT")]
    pub words: Vec<String>,
}

impl Selection {
    /// Whether anything is chosen at all.
    pub fn is_some(&self) -> bool {
        !self.tags.is_empty() || self.platform.is_some() || !self.words.is_empty()
    }

    /// The templates that fit, in order of their names.
    pub fn of<'a>(&self, registry: &'a Registry) -> Vec<&'a Template> {
        registry
            .templates()
            .filter(|template| self.fits(template))
            .collect()
    }

    fn fits(&self, template: &Template) -> bool {
        let platforms = template.platforms();
        let on = |name: &String| platforms.iter().any(|platform| platform.name() == name);
        self.platform.as_ref().is_none_or(on)
            && self.tags.iter().all(|tag| has_tag(template, tag))
            && self.words.iter().all(|word| has_word(template, word))
    }
}

/// `T1053` is also the technique of `T1053.005`.
fn has_tag(template: &Template, asked: &str) -> bool {
    template.tags().iter().any(|tag| {
        let technique = tag.split('.').next().unwrap_or_default();
        tag.eq_ignore_ascii_case(asked) || technique.eq_ignore_ascii_case(asked)
    })
}

fn has_word(template: &Template, word: &str) -> bool {
    let word = word.to_lowercase();
    let names = [template.name(), template.intent()].into_iter();
    names
        .chain(template.tags().iter().map(String::as_str))
        .chain(template.tables().keys().map(String::as_str))
        .chain(template.parameters().keys().map(String::as_str))
        .any(|text| text.to_lowercase().contains(&word))
}
