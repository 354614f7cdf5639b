//! What a template says against what its SQL does: every table, column, function and parameter that is
//! declared is used and the other way round, and nothing in it would make a host's answer less than it
//! seems. SQLite says what the SQL does (`sandbox`).

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Statement;
use serde_json::Value;

use super::bind;
use super::flaw::{At, Flaw, Invalid};
use super::kind::ParameterType;
use super::parameter::Bound;
use super::sandbox::{Sandbox, Shape};
use super::template::Template;
use super::words::{Kind, Word, words};
use crate::known_servers::{ForbiddenWord, Proof, forbidden_word};

/// Checks a template's SQL and what it declares; all problems at once, as far as the SQL can be prepared.
/// Gives the shape that every statement made of it must have.
pub(super) fn check(template: &Template, sandbox: &Sandbox) -> Result<Shape, Vec<Flaw>> {
    let sql = template.sql.as_str();
    let of_sql = |invalid: Invalid| {
        let flaw = Flaw::new("sql", "sql", format!("`sql` {}", invalid.reason));
        vec![Flaw {
            at: invalid.at,
            ..flaw
        }]
    };
    if sql
        .chars()
        .any(|sign| sign.is_control() && !"\n\t".contains(sign))
    {
        return Err(of_sql("must not hold control characters".into()));
    }
    if let Some(ForbiddenWord { word, why }) = forbidden_word(sql) {
        let reason = format!("must not hold the word `{word}`: {why}");
        return Err(of_sql(reason.as_str().into()));
    }
    let (statement, shape) = sandbox.prepare(sql).map_err(of_sql)?;
    let read = sandbox.read();
    let words = words(sql);
    let mut problems = parameters(template, &statement, &words);
    problems.extend(lost_columns(&statement, &words));
    problems.extend(strings(template, &words));
    for (name, table) in &template.tables {
        let path = format!("tables.{name}");
        let columns = read.get(name);
        if columns.is_none() && !shape.reads(name) {
            let message = format!("`{path}` is declared, but the SQL does not read that table");
            problems.push(Flaw::new(&path, "unused_table", message));
            continue;
        }
        // The authorizer is not told of the columns of USING, the planner is.
        for column in table.all_columns() {
            let is_used = columns.is_some_and(|columns| columns.contains(column));
            if !is_used && !shape.reads_column(name, column) {
                let message = format!(
                    "`{path}` declares `{column}`, but the SQL does not read it{}",
                    if table.all_columns().count() == 1 {
                        " (`columns: []` says that it reads none)"
                    } else {
                        ""
                    }
                );
                let at = At::Column {
                    table: name.clone(),
                    column: column.to_owned(),
                };
                problems.push(Flaw::new(&path, "unused_column", message).at(at));
            }
        }
    }
    for name in &template.functions {
        if !shape.calls(name) {
            let message = format!("`functions` declares `{name}`, but the SQL does not call it");
            problems.push(Flaw::new("functions", "unused_function", message));
        }
    }
    for name in &template.collations {
        if !words.iter().any(|word| {
            word.name()
                .is_some_and(|word| word.eq_ignore_ascii_case(name))
        }) {
            let message = format!("`collations` declares `{name}`, but the SQL does not name it");
            problems.push(Flaw::new("collations", "unused_collation", message));
        }
    }
    if template.recursive && !shape.is_recursive() {
        let message = "`recursive` is true, but the SQL is not recursive".to_owned();
        problems.push(Flaw::new("recursive", "unused_recursive", message));
    }
    if problems.is_empty() {
        Ok(shape)
    } else {
        Err(problems)
    }
}

/// The check of a template, with its SQL bound to its defaults, its examples and the edges of its types;
/// `now` is unix seconds.
pub(super) fn at_its_edges(template: &Template, now: i64) -> Result<(), Vec<Flaw>> {
    let sandbox = Sandbox::open(template).map_err(|error| vec![unopened(&error)])?;
    let shape = check(template, &sandbox)?;
    let texts = |kind: &ParameterType, own: [&Option<String>; 2]| {
        let mut texts: Vec<String> = own.into_iter().flatten().cloned().collect();
        texts.extend(kind.edges());
        texts
    };
    // Each text of each parameter once, the others at their first text.
    let of_each: BTreeMap<&str, Vec<Bound>> = template
        .parameters
        .iter()
        .map(|(name, parameter)| {
            let bound = texts(&parameter.kind, [&parameter.default, &parameter.example])
                .iter()
                .filter_map(|text| parameter.kind.accept(&Value::from(text.as_str()), now).ok())
                .collect();
            (name.as_str(), bound)
        })
        .collect();
    let most = of_each.values().map(Vec::len).max().unwrap_or(1);
    for turn in 0..most {
        let values = of_each
            .iter()
            .filter_map(|(name, bound)| {
                let value = bound.get(turn).or_else(|| bound.first())?;
                Some((*name, value.clone()))
            })
            .collect();
        bind::bind(template, &sandbox, &shape, &values, Proof::Itself).map_err(|reason| {
            let message = format!("`sql` cannot be bound to its own examples: {reason}");
            vec![Flaw::new("sql", "binding", message)]
        })?;
    }
    Ok(())
}

/// SQLite could not make the sandbox: the tables are declared in a way that it does not take.
pub(super) fn unopened(error: &rusqlite::Error) -> Flaw {
    Flaw::new(
        "tables",
        "tables",
        format!("SQLite cannot hold the tables that `tables` declares: {error}"),
    )
}

/// Every parameter of the SQL is named and declared, every declared one is used, and `LIKE` is given
/// patterns only: `%` and `_` are wildcards to it whatever the value's type.
fn parameters(template: &Template, statement: &Statement<'_>, words: &[Word<'_>]) -> Vec<Flaw> {
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).unwrap_or_default();
        let Some(name) = name.strip_prefix(':') else {
            let message = "`sql` must name its parameters as `:name`, not `?`, `@name` or `$name`";
            let at = At::SqlWord(name.to_owned());
            problems.push(Flaw::new("sql", "parameter_form", message).at(at));
            continue;
        };
        used.insert(name);
        if !template.parameters.contains_key(name) {
            let message = format!("`sql` uses `:{name}`, which `parameters` does not declare");
            let at = At::SqlWord(name.to_owned());
            problems.push(Flaw::new("sql", "undeclared_parameter", message).at(at));
        }
    }
    let compared = compared_by_pattern(words);
    for (name, parameter) in &template.parameters {
        let path = format!("parameters.{name}");
        if !used.contains(name.as_str()) {
            let message = format!("`{path}` is declared, but the SQL does not use `:{name}`");
            problems.push(Flaw::new(&path, "unused_parameter", message));
        }
        if compared.contains(name.as_str()) && may_hold_wildcards(&parameter.kind) {
            let message = format!(
                "`{path}` stands after LIKE: make it a `pattern` or a `path_pattern`, or compare with ="
            );
            problems.push(Flaw::new(&path, "wildcards", message));
        }
        if matches!(&parameter.kind, ParameterType::Choice { choices } if choices.is_empty()) {
            let message = format!("`{path}` needs `choices`");
            problems.push(Flaw::new(&path, "choices", message));
        }
    }
    problems
}

/// Whether a value may hold `%` or `_` that nothing bounds.
fn may_hold_wildcards(kind: &ParameterType) -> bool {
    match kind {
        ParameterType::Choice { choices } => choices
            .iter()
            .any(|choice| choice.contains(['%', '_', '*', '?', '['])),
        ParameterType::Hash { .. } | ParameterType::IpAddress => false,
        kind => !kind.is_number() && !kind.is_pattern(),
    }
}

/// The parameters that stand in what LIKE and its kin compare with, `'%' || :name` included. This looks
/// at words and may see one too many; it guards against a slip of the template's author, not of a step.
fn compared_by_pattern<'a>(words: &[Word<'a>]) -> BTreeSet<&'a str> {
    const OPERATORS: [&str; 4] = ["like", "glob", "match", "regexp"];
    let mut found = BTreeSet::new();
    for (place, word) in words.iter().enumerate() {
        if OPERATORS.iter().any(|operator| word.is(operator)) {
            let names = operand(&words[place + 1..]).iter();
            let named = names.filter(|word| word.kind == Kind::Parameter);
            found.extend(named.filter_map(|word| word.written.strip_prefix(':')));
        }
    }
    found
}

/// What an operator compares with, given the words behind it: up to a keyword, a comma or a bracket that
/// ends it.
fn operand<'a, 'b>(words: &'b [Word<'a>]) -> &'b [Word<'a>] {
    const ENDS: [&str; 14] = [
        "and", "or", "limit", "order", "group", "union", "where", "from", "escape", "then", "else",
        "end", "as", "join",
    ];
    let mut depth = 0_usize;
    let end = words.iter().position(|word| match word.written {
        "(" => {
            depth += 1;
            false
        }
        ")" if depth > 0 => {
            depth -= 1;
            false
        }
        ")" => true,
        "," => depth == 0,
        _ => depth == 0 && ENDS.iter().any(|end| word.is(end)),
    });
    &words[..end.unwrap_or(words.len())]
}

/// Result columns of one name: osquery's row keeps one value a name.
fn lost_columns(statement: &Statement<'_>, words: &[Word<'_>]) -> Vec<Flaw> {
    let names: Vec<&str> = statement.column_names().collect();
    let mut flaws = Vec::new();
    for (place, name) in names.iter().enumerate() {
        // Each name once, however often it repeats.
        if names[..place]
            .iter()
            .filter(|before| *before == name)
            .count()
            != 1
        {
            continue;
        }
        let word: String = name
            .chars()
            .take_while(|sign| sign.is_ascii_alphanumeric() || *sign == '_')
            .collect();
        let word = if word.is_empty() {
            "column"
        } else {
            word.as_str()
        };
        let other = (2..)
            .map(|number| format!("{word}_{number}"))
            .find(|other| !names.contains(&other.as_str()))
            .unwrap_or_default();
        let message = format!(
            "`sql` has several result columns called `{name}`, and a row of osquery keeps one value of a name: \
             name each column and give all but one a name of its own, such as `AS {other}`"
        );
        let mut places = words.iter().filter(|word| word.name() == Some(name));
        let at = places.nth(1).map(|word| At::SqlOffset(word.at));
        let flaw = Flaw::new("sql", "duplicate_column", message);
        flaws.push(Flaw { at, ..flaw });
    }
    flaws
}

/// Tables whose paths osquery expands: `%` is any name, and `%%` at the end a whole tree.
const OF_PATHS: [&str; 4] = ["file", "hash", "yara", "yara_file"];

/// Patterns and strings that can match nothing on any host, or less than they seem to.
fn strings(template: &Template, words: &[Word<'_>]) -> Vec<Flaw> {
    let reads = |table: &str| template.tables.contains_key(table);
    let mut flaws = Vec::new();
    if OF_PATHS.iter().any(|table| reads(table)) {
        flaws.extend(trees_inside(words).into_iter().map(|at| {
            let message = "`sql` has `%%` inside a path: osquery walks a tree only where that ends the path \
                           (`/home/%%`), and takes it for a single level elsewhere; write one `%` for each level";
            Flaw::new("sql", "tree_inside_path", message).at(At::SqlOffset(at))
        }));
    }
    if reads("registry") {
        let of_user = |word: &&Word<'_>| word.text().is_some_and(|text| is_of_current_user(&text));
        flaws.extend(words.iter().filter(of_user).map(|word| {
            let message = r"`sql` names HKEY_CURRENT_USER, and osquery's service is a user without keys of interest there: write `HKEY_USERS\%\…` with LIKE for everyone who is logged on, or `HKEY_USERS\SID\…`";
            Flaw::new("sql", "current_user_hive", message).at(At::SqlOffset(word.at))
        }));
    }
    flaws
}

/// Where `%%` stands in what a `path` or `directory` is compared with by LIKE, other than at its end.
fn trees_inside(words: &[Word<'_>]) -> Vec<usize> {
    let is_path = |word: &Word<'_>| {
        let name = word.name().unwrap_or_default();
        ["path", "directory"]
            .iter()
            .any(|path| path.eq_ignore_ascii_case(name))
    };
    let mut found = Vec::new();
    for (place, like) in words.iter().enumerate() {
        let compared = place.checked_sub(1).map(|before| &words[before]);
        if !like.is("like") || !compared.is_some_and(is_path) {
            continue;
        }
        let pattern = operand(&words[place + 1..]);
        for (place, part) in pattern.iter().enumerate() {
            let goes_on = pattern[place + 1..].iter().any(|next| next.written == "||");
            let text = part.text().unwrap_or_default();
            let inside = if goes_on {
                text.as_str()
            } else {
                text.trim_end_matches('%')
            };
            if inside.contains("%%") {
                found.push(part.at);
            }
        }
    }
    found
}

/// Whether a registry path begins with the current user's hive.
fn is_of_current_user(text: &str) -> bool {
    let hive = text.split(['\\', '%']).next().unwrap_or_default();
    ["HKEY_CURRENT_USER", "HKCU"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(hive))
}
