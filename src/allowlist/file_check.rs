//! A template's file as its author wants it checked: everything that is wrong at once, each with its line
//! and column in the file. The checks are those that guard a run, and osquery's own schema where it is given.

use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::problem::{Placed, Position};
use crate::step::model::TemplateCall;

use super::flaw::{At, Flaw};
use super::host_table::HostTable;
use super::load::{self, Places};
use super::osquery_schema::OsquerySchema;
use super::registry::{Registry, unix_seconds};
use super::template::Template;
use super::{check, comparisons, facts, scans};

/// What the check of a template's file found, in order of the places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is wrong: the template can't be used, or would tell less than it seems to.
    pub problems: Vec<Placed>,
    /// What its author should know, and may have meant.
    pub warnings: Vec<Placed>,
}

/// Checks a template's file: its form, its SQL, and what it says of osquery.
///
/// `stem` is the file's name without `.yaml`, `now` what ages count back from.
pub fn check_file(
    stem: &str,
    text: &str,
    osquery: Option<&OsquerySchema>,
    now: SystemTime,
) -> Findings {
    let (mut problems, text) = form(text);
    let failed = |problems: Vec<Placed>| Findings {
        problems: sorted(problems),
        warnings: Vec::new(),
    };
    let Some(text) = text else {
        return failed(problems);
    };
    let text = text.as_str();
    let (template, places) = match load::load_placed(stem, text, unix_seconds(now)) {
        Ok(loaded) => loaded,
        Err(error) => {
            problems.extend(error.problems);
            return failed(problems);
        }
    };
    let file = File {
        text,
        template: &template,
        places: &places,
    };
    let placed = |flaws: Vec<Flaw>| flaws.into_iter().map(|flaw| file.placed(flaw));
    let flaws = match check::at_its_edges(&template, unix_seconds(now)) {
        Err(flaws) => flaws,
        Ok(()) => of_osquery(stem, text, &template, osquery, now),
    };
    problems.extend(placed(flaws));
    Findings {
        problems: sorted(problems),
        warnings: sorted(placed(warnings(&template, osquery, now)).collect()),
    }
}

/// What is wrong with the template on real hosts.
fn of_osquery(
    stem: &str,
    text: &str,
    template: &Template,
    osquery: Option<&OsquerySchema>,
    now: SystemTime,
) -> Vec<Flaw> {
    let flaws = osquery.map_or_else(Vec::new, |osquery| osquery.flaws(template));
    if !flaws.is_empty() {
        return flaws;
    }
    example_sql(stem, text, template, now).map_or_else(Vec::new, |sql| {
        scans::flaws(template, &sql, |name| host_table(template, osquery, name))
    })
}

/// The table as a host has it, as well as it is known.
fn host_table(
    template: &Template,
    osquery: Option<&OsquerySchema>,
    name: &str,
) -> Option<HostTable> {
    let declared = template.tables.get(name)?;
    let known = osquery.and_then(|osquery| osquery.host_table(name, declared));
    Some(known.unwrap_or_else(|| facts::host_table(name, declared)))
}

/// What a template's author should know: of the tables that it reads, and of what it compares.
fn warnings(template: &Template, osquery: Option<&OsquerySchema>, now: SystemTime) -> Vec<Flaw> {
    let of_events = |name: &String| {
        let is_evented = osquery.is_some_and(|osquery| osquery.is_evented(name));
        let flags = facts::events(name);
        let needs = flags
            .or(is_evented.then_some("`--disable_events=false` and the flags of its publisher"))?;
        let message = format!(
            "`{name}` has rows only on hosts that collect these events: osquery needs {needs}"
        );
        let flaw = Flaw::new(&format!("tables.{name}"), "event_table", message);
        Some(flaw.at(At::SqlWord(name.clone())))
    };
    let compared = comparisons::warnings(template, unix_seconds(now), |name| {
        host_table(template, osquery, name)
    });
    template
        .tables
        .keys()
        .filter_map(of_events)
        .chain(compared)
        .collect()
}

fn sorted(mut problems: Vec<Placed>) -> Vec<Placed> {
    problems.sort_by_key(|placed| placed.at);
    problems
}

/// Problems of form behind which the others are still looked for.
const MOST_REPAIRS: usize = 20;

/// The problems of form, and the text as it would be without them, lines and all; none where what is
/// meant can't be told.
fn form(text: &str) -> (Vec<Placed>, Option<String>) {
    let mut text = text.to_owned();
    let mut problems: Vec<Placed> = Vec::new();
    for _ in 0..MOST_REPAIRS {
        let Some((problem, repair)) = load::form_problem(&text) else {
            return (problems, Some(text));
        };
        problems.push(problem);
        match repair.and_then(|repair| repair.applied(&text)) {
            Some(mended) => text = mended,
            None => break,
        }
    }
    (problems, None)
}

/// The statement that the template's own defaults and examples make.
fn example_sql(stem: &str, text: &str, template: &Template, now: SystemTime) -> Option<String> {
    let params: Map<String, Value> = template
        .parameters
        .iter()
        .filter(|(_, parameter)| parameter.default.is_none())
        .filter_map(|(name, parameter)| {
            Some((name.clone(), Value::from(parameter.example.as_deref()?)))
        })
        .collect();
    let call = TemplateCall {
        name: stem.to_owned(),
        params,
    };
    let registry = Registry::new([(stem, text.to_owned())]);
    let statement = registry.bind(&call, now).ok()?;
    Some(statement.sql().to_owned())
}

/// A template with its text, to find places in.
struct File<'a> {
    text: &'a str,
    template: &'a Template,
    places: &'a Places,
}

impl File<'_> {
    fn placed(&self, flaw: Flaw) -> Placed {
        let place = match &flaw.at {
            Some(At::SqlOffset(offset)) => self.in_sql(*offset),
            Some(At::SqlWord(word)) => {
                word_offset(&self.template.sql, word).and_then(|offset| self.in_sql(offset))
            }
            Some(At::Column { table, column }) => self
                .places
                .get(&format!("tables.{table}.{column}"))
                .copied(),
            None => None,
        };
        let key = self.places.get(&flaw.problem.path.to_string()).copied();
        flaw.problem.at(place.or(key))
    }

    /// The place of a byte of the SQL in the file, which may have it on the key's line or in a block below.
    fn in_sql(&self, offset: usize) -> Option<Position> {
        let start = self.places.get("sql")?;
        let before = self.template.sql.get(..offset)?;
        let line_of_sql = before.matches('\n').count();
        let line = self.template.sql.lines().nth(line_of_sql)?;
        let column_of_sql = before.rsplit('\n').next()?.chars().count();
        let (number, indent) = self
            .text
            .lines()
            .enumerate()
            .skip(start.line.checked_sub(1)?)
            .filter_map(|(number, text)| Some((number, text.find(line)?, text)))
            .map(|(number, at, text)| (number, text[..at].chars().count()))
            .next()?;
        Some(Position {
            line: number + 1,
            column: indent + column_of_sql + 1,
        })
    }
}

/// Where a word first stands in the SQL as a whole word, whatever its case.
fn word_offset(sql: &str, word: &str) -> Option<usize> {
    let (sql, word) = (sql.to_ascii_lowercase(), word.to_ascii_lowercase());
    let is_part = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    sql.match_indices(&word)
        .find(|(at, _)| {
            let before = sql[..*at].chars().next_back();
            let after = sql[at + word.len()..].chars().next();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
        .map(|(at, _)| at)
}
