//! From a template's YAML to a [`Template`]: strict (unknown and repeated keys, anchors, tags and merge
//! keys are errors), with positions. Does not look into the SQL; that is `check`'s.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::campaign::host::Platform;
use crate::nearest::question;
use crate::problem::{Placed, Position, Problem};
use crate::severity::Severity;

use super::declaration::{self, ParameterDocument};
use super::error::{TemplateError, listed};
use super::functions;
use super::kind::Systems;
use super::parameter::Parameter;
use super::repair::Repair;
use super::template::{Table, Template};

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: Spanned<String>,
    intent: Spanned<String>,
    sql: Spanned<String>,
    tables: Spanned<BTreeMap<String, TableDocument>>,
    platforms: Spanned<Vec<String>>,
    #[serde(default)]
    tags: Vec<Spanned<String>>,
    severity: Spanned<String>,
    limits: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    functions: Vec<Spanned<String>>,
    #[serde(default)]
    collations: Vec<Spanned<String>>,
    #[serde(default)]
    recursive: bool,
    #[serde(default)]
    parameters: BTreeMap<String, Spanned<ParameterDocument>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableDocument {
    columns: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    hidden: Vec<Spanned<String>>,
}

/// The keys that every file has.
const KEYS: [&str; 6] = ["name", "intent", "sql", "tables", "platforms", "severity"];

/// What is found on the way, with the file's name for the error.
struct Findings {
    label: String,
    problems: Vec<Placed>,
}

impl Findings {
    fn add(&mut self, path: &str, rule: &str, message: String, position: Option<Position>) {
        self.problems
            .push(Problem::new(path, rule, message).at(position));
    }
}

/// Reads a template. `stem` is the name of its file without `.yaml`, which its name must repeat; `now`
/// (unix seconds) is what defaults that are ages are tried against.
pub(super) fn load(stem: &str, text: &str, now: i64) -> Result<Template, TemplateError> {
    load_placed(stem, text, now).map(|(template, _)| template)
}

/// Where the keys of a template's file have their values, by path (`sql`, `tables.users`,
/// `tables.users.uid`, `parameters.limit`).
pub(super) type Places = BTreeMap<String, Position>;

/// The same, with the places of what the template says.
pub(super) fn load_placed(
    stem: &str,
    text: &str,
    now: i64,
) -> Result<(Template, Places), TemplateError> {
    let mut found = Findings {
        label: format!("`{stem}`"),
        problems: Vec::new(),
    };
    let document = parse(text).map_err(|wrong| found.problems.push(wrong.0));
    let template = document.ok().map(|document| {
        let places = places(&document);
        (template(stem, document, now, &mut found), places)
    });
    match template {
        Some(placed) if found.problems.is_empty() => Ok(placed),
        _ => Err(TemplateError {
            label: found.label,
            problems: found.problems,
        }),
    }
}

/// The first problem of form that keeps the text from being a template's at all, and what would mend it.
pub(super) fn form_problem(text: &str) -> Option<(Placed, Option<Repair>)> {
    parse(text).err().map(|wrong| *wrong)
}

fn parse(text: &str) -> Result<Document, Box<(Placed, Option<Repair>)>> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        reject_unsupported_tags: true,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        budget: serde_saphyr::budget! { max_anchors: 0, max_aliases: 0, max_depth: 8, max_documents: 1 },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let position = error.location().map(|location| Position {
            line: usize::try_from(location.line()).unwrap_or_default(),
            column: usize::try_from(location.column()).unwrap_or_default(),
        });
        let error = error.without_snippet();
        let position = match error {
            // The parser points at whatever key came last.
            serde_saphyr::Error::SerdeMissingField { field, .. } if KEYS.contains(&&**field) => {
                Some(Position { line: 1, column: 1 })
            }
            _ => position,
        };
        let problem = Problem::new("", "yaml", in_words(error)).at(position);
        Box::new((problem, Repair::of(error, position)))
    })
}

/// The parser's complaint in the words of someone who writes a template.
fn in_words(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as Yaml;
    use serde_saphyr::budget::BudgetBreach;
    match error {
        Yaml::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` appears twice")
        }
        Yaml::SerdeUnknownField {
            field, expected, ..
        } => match question(field, expected.iter().copied()) {
            Some(question) => format!("unknown key `{field}`: {question}"),
            None => format!(
                "unknown key `{field}`; the keys are {}",
                listed(expected.iter().copied())
            ),
        },
        Yaml::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        Yaml::MergeKeyNotAllowed { .. } => "merge keys (`<<`) are not allowed".to_owned(),
        Yaml::UnsupportedTag { .. } => "YAML tags are not allowed".to_owned(),
        Yaml::InvalidBooleanStrict { .. } => "must be true or false".to_owned(),
        Yaml::InvalidScalar { .. } => "must be a whole number".to_owned(),
        Yaml::MultipleDocuments { .. } => "must be one YAML document".to_owned(),
        Yaml::Budget { breach, .. } => match breach {
            BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => {
                "anchors and aliases are not allowed".to_owned()
            }
            BudgetBreach::Documents { .. } => "must be one YAML document".to_owned(),
            _ => "is too large or too deeply nested for a template".to_owned(),
        },
        Yaml::Unexpected { expected, .. } => {
            let wanted = match *expected {
                "sequence start" => "a list",
                "mapping start" => "a mapping",
                _ => "text",
            };
            format!("must be {wanted}")
        }
        // Syntax: a template holds no secrets, so the parser's own words may be shown.
        other => {
            let message = other.to_string();
            let first = message.lines().next().unwrap_or_default();
            let end = first.find(" at line ").unwrap_or(first.len());
            format!("is not valid YAML: {}", &first[..end])
        }
    }
}

fn places(document: &Document) -> Places {
    let mut places = vec![
        ("name".to_owned(), at(&document.name)),
        ("sql".to_owned(), at(&document.sql)),
        ("tables".to_owned(), at(&document.tables)),
        ("platforms".to_owned(), at(&document.platforms)),
    ];
    for (name, table) in &document.tables.value {
        places.push((format!("tables.{name}"), at(&table.columns)));
        for column in table.columns.value.iter().chain(&table.hidden) {
            places.push((format!("tables.{name}.{}", column.value), at(column)));
        }
    }
    for (name, parameter) in &document.parameters {
        places.push((format!("parameters.{name}"), at(parameter)));
    }
    for (path, names) in [
        ("functions", &document.functions),
        ("collations", &document.collations),
    ] {
        places.push((path.to_owned(), names.first().and_then(at)));
    }
    let known = |(path, place): (String, Option<Position>)| Some((path, place?));
    places.into_iter().filter_map(known).collect()
}

fn at<T>(spanned: &Spanned<T>) -> Option<Position> {
    Some(Position {
        line: usize::try_from(spanned.referenced.line()).ok()?,
        column: usize::try_from(spanned.referenced.column()).ok()?,
    })
}

/// `[a-z_][a-z0-9_]*`: what may be quoted into SQL and named on command lines.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn template(stem: &str, document: Document, now: i64, found: &mut Findings) -> Template {
    let name = document.name.value.clone();
    if !is_word(&name) {
        let message = "`name` must be lower-case letters, digits and `_`, 64 at most".to_owned();
        found.add("name", "name", message, at(&document.name));
    } else if name != stem {
        let message = format!("`name` must be `{stem}`, as the file is called");
        found.add("name", "name", message, at(&document.name));
    }
    let intent = document.intent.value.trim().to_owned();
    if !(20..=400).contains(&intent.chars().count()) || intent.contains('\n') {
        let message = "`intent` must be one line of 20 to 400 characters".to_owned();
        found.add("intent", "intent", message, at(&document.intent));
    }
    let platforms = platforms(&document.platforms, found);
    let tables = tables(&document.tables, found);
    for tag in &document.tags {
        let fits = |sign: char| sign.is_ascii_alphanumeric() || ".-".contains(sign);
        if tag.value.is_empty() || tag.value.len() > 32 || !tag.value.chars().all(fits) {
            let message = "`tags` must be words such as `T1053.003` or `persistence`".to_owned();
            found.add("tags", "tags", message, at(tag));
        }
    }
    let severity = Severity::ALL
        .into_iter()
        .find(|severity| severity.name() == document.severity.value);
    if severity.is_none() {
        let message = format!(
            "`severity` must be one of {}",
            listed(Severity::ALL.map(Severity::name))
        );
        found.add("severity", "severity", message, at(&document.severity));
    }
    let limits = document.limits.map(|limits| self::limits(limits, found));
    let functions = known(
        &document.functions,
        "functions",
        functions::OF_OSQUERY,
        found,
    );
    let collations = known(
        &document.collations,
        "collations",
        functions::COLLATIONS,
        found,
    );
    let systems = Systems {
        unix: platforms
            .iter()
            .any(|platform| *platform != Platform::Windows),
        windows: platforms.contains(&Platform::Windows),
    };
    let parameters = document
        .parameters
        .into_iter()
        .filter_map(|(name, spanned)| {
            let parameter = parameter(&name, &spanned, systems, now, found)?;
            Some((name, parameter))
        })
        .collect();
    Template {
        name,
        intent,
        sql: document.sql.value.trim().to_owned(),
        tables,
        platforms,
        tags: document.tags.into_iter().map(|tag| tag.value).collect(),
        severity: severity.unwrap_or(Severity::Info),
        limits,
        functions,
        collations,
        recursive: document.recursive,
        parameters,
    }
}

/// What an answer without rows leaves open, each in a sentence of its own.
fn limits(sentences: Vec<Spanned<String>>, found: &mut Findings) -> Vec<String> {
    for sentence in &sentences {
        let text = sentence.value.trim();
        let fits = (10..=400).contains(&text.chars().count())
            && text.ends_with('.')
            && !text.contains(char::is_control);
        if !fits {
            let message =
                "`limits` must be sentences of 10 to 400 characters on one line, with a full stop";
            found.add("limits", "limits", message.to_owned(), at(sentence));
        }
    }
    let sentences = sentences.into_iter();
    sentences
        .map(|sentence| sentence.value.trim().to_owned())
        .collect()
}

fn platforms(names: &Spanned<Vec<String>>, found: &mut Findings) -> Vec<Platform> {
    const ALL: [Platform; 3] = [Platform::Linux, Platform::Darwin, Platform::Windows];
    let mut platforms = Vec::new();
    for name in &names.value {
        let platform = ALL.into_iter().find(|platform| platform.name() == name);
        match platform {
            Some(platform) if !platforms.contains(&platform) => platforms.push(platform),
            _ => {
                let message = "`platforms` must be some of `linux`, `darwin`, `windows`, each once";
                found.add("platforms", "platforms", message.to_owned(), at(names));
            }
        }
    }
    if names.value.is_empty() {
        let message = "`platforms` must name at least one platform".to_owned();
        found.add("platforms", "platforms", message, at(names));
    }
    platforms
}

fn plain(names: &[Spanned<String>]) -> Vec<String> {
    names.iter().map(|name| name.value.clone()).collect()
}

fn tables(
    documents: &Spanned<BTreeMap<String, TableDocument>>,
    found: &mut Findings,
) -> BTreeMap<String, Table> {
    if documents.value.is_empty() {
        let message = "`tables` must name at least one table".to_owned();
        found.add("tables", "tables", message, at(documents));
    }
    let mut tables = BTreeMap::new();
    for (name, document) in &documents.value {
        let table = Table {
            columns: plain(&document.columns.value),
            hidden: plain(&document.hidden),
        };
        let mut seen = Vec::new();
        let path = format!("tables.{name}");
        for column in table.all_columns() {
            if !is_word(column) || seen.contains(&column) {
                let message =
                    format!("`{path}` must list columns as osquery spells them, each once");
                found.add(&path, "columns", message, at(&document.columns));
            }
            seen.push(column);
        }
        if !is_word(name) {
            let message = "`tables` must be named as osquery spells them".to_owned();
            found.add("tables", "tables", message, at(documents));
        } else {
            tables.insert(name.clone(), table);
        }
    }
    tables
}

/// The names of a list, each one known and there once.
fn known(names: &[Spanned<String>], path: &str, all: &[&str], found: &mut Findings) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for name in names {
        if all.contains(&name.value.as_str()) && !kept.contains(&name.value) {
            kept.push(name.value.clone());
        } else {
            let message = format!(
                "`{path}` must be some of osquery's, each once: {}",
                listed(all.iter().copied())
            );
            found.add(path, path, message, at(name));
        }
    }
    kept
}

fn parameter(
    name: &str,
    spanned: &Spanned<ParameterDocument>,
    systems: Systems,
    now: i64,
    found: &mut Findings,
) -> Option<Parameter> {
    let document = &spanned.value;
    let path = format!("parameters.{name}");
    if !is_word(name) {
        let message = "a parameter's name must be lower-case letters, digits and `_`".to_owned();
        found.add("parameters", "name", message, at(spanned));
    }
    if document.description.trim().is_empty() {
        let message = format!("`{path}.description` must say what the parameter is for");
        found.add(&path, "description", message, at(spanned));
    }
    let kind = match declaration::kind(document, systems) {
        Ok(kind) => kind,
        Err(message) => {
            let message = format!("`{path}`: {message}");
            found.add(&path, "type", message, at(spanned));
            return None;
        }
    };
    for (key, value) in [
        ("default", &document.default),
        ("example", &document.example),
    ] {
        let Some(value) = value else { continue };
        let given = Value::from(value.value.as_str());
        if let Err(refusal) = kind.accept(&given, now) {
            let path = format!("{path}.{key}");
            let message = format!("`{path}` {}", refusal.reason);
            found.add(&path, refusal.rule, message, at(value));
        }
    }
    if document.default.is_none() && document.example.is_none() {
        let message = format!("`{path}` needs an `example`, because it has no `default`");
        found.add(&path, "example", message, at(spanned));
    }
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.value.clone());
    Some(Parameter {
        kind,
        description: document.description.trim().to_owned(),
        default: text(&document.default),
        example: text(&document.example),
    })
}
