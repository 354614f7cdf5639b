//! What a template compares with columns of osquery's tables, literals and parameters alike, and whether
//! that could ever be true: a value in a form that the column never holds matches nothing on any host, and
//! the answer reads as "nothing there". Only a warning, since a newer osquery may hold it otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::bind;
use super::flaw::{At, Flaw};
use super::held::Form;
use super::host_table::{Comparison, Content, HostTable};
use super::kind::ParameterType;
use super::parameter::{Bound, Parameter};
use super::sandbox::Sandbox;
use super::template::Template;
use super::words::{Kind, Word, words};

/// What stands for a parameter's value while the comparisons are looked for.
const STAND_IN: &str = "the value of parameter ";

/// A column with what it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    table: String,
    name: String,
}

/// Comparisons for equality with values that the template's text has.
#[derive(Debug, Default)]
struct Compared {
    of_text: BTreeSet<(Column, String)>,
    of_parameter: BTreeMap<String, Uses>,
}

/// What a parameter is compared with.
#[derive(Debug, Default)]
struct Uses {
    /// One column each time that it stands in the SQL.
    single: BTreeSet<Column>,
    /// Columns of lists in which it is looked for.
    listed: BTreeSet<Column>,
    lists: usize,
}

/// Comparisons that could be true of no row; `host` is what is known of a table, `now` unix seconds.
pub(super) fn warnings(
    template: &Template,
    now: i64,
    host: impl Fn(&str) -> Option<HostTable>,
) -> Vec<Flaw> {
    let form = |column: &Column| {
        let table = host(&column.table);
        let known = table.and_then(|table| {
            table
                .columns
                .into_iter()
                .find(|known| known.name == column.name)
        });
        let content = known.map_or(Content::Unknown, |known| known.content);
        Form::of(&column.table, &column.name, content)
    };
    // What can't be planned is a problem already.
    let Ok(compared) = compared(template, &host) else {
        return Vec::new();
    };
    let mut warnings: Vec<Flaw> = compared
        .of_text
        .iter()
        .filter_map(|(column, text)| Some((column, text, form(column)?)))
        .filter(|(_, text, form)| !form.holds(text))
        .map(|(column, text, form)| of_text(template, column, text, form))
        .collect();
    for (name, uses) in &compared.of_parameter {
        let columns = uses.single.union(&uses.listed);
        let forms: Option<Vec<(&Column, Form)>> = columns
            .map(|column| Some((column, form(column)?)))
            .collect();
        // A column that may hold anything may hold this.
        if let (Some(parameter), Some(forms)) = (template.parameters.get(name), forms) {
            let is_held = |sample: &String| forms.iter().any(|(_, form)| form.holds(sample));
            if !samples(parameter, now).iter().all(is_held) {
                warnings.push(of_parameter(name, &forms));
            }
        }
    }
    warnings
}

fn of_text(template: &Template, column: &Column, text: &str, form: Form) -> Flaw {
    let message = format!(
        "`sql` compares `{}` of `{}` with '{text}', which it never holds: it holds {}",
        column.name,
        column.table,
        form.in_words()
    );
    let words = words(&template.sql);
    let is_it = |word: &&Word<'_>| word.text().as_deref() == Some(text) || word.written == text;
    let place = words.iter().find(is_it).map(|word| At::SqlOffset(word.at));
    let flaw = Flaw::new("sql", "never_held", message);
    Flaw { at: place, ..flaw }
}

fn of_parameter(name: &str, forms: &[(&Column, Form)]) -> Flaw {
    let columns: Vec<String> = forms
        .iter()
        .map(|(column, form)| {
            format!(
                "`{}` of `{}` holds {}",
                column.name,
                column.table,
                form.in_words()
            )
        })
        .collect();
    let mut types: Vec<&str> = forms
        .iter()
        .map(|(_, form)| form.parameter_type())
        .collect();
    types.dedup();
    let path = format!("parameters.{name}");
    let message = format!(
        "`{path}` takes values that nothing it is compared with ever holds ({}): make it {}",
        columns.join("; "),
        types.join(" or ")
    );
    Flaw::new(&path, "never_held", message)
}

/// Values that the parameter may be bound to, each of them like no other.
fn samples(parameter: &Parameter, now: i64) -> Vec<String> {
    if let ParameterType::Hash { algorithms } = &parameter.kind {
        return algorithms
            .iter()
            .map(|algorithm| "a".repeat(algorithm.digits()))
            .collect();
    }
    let own = [&parameter.default, &parameter.example];
    let mut texts: Vec<String> = own.into_iter().flatten().cloned().collect();
    texts.extend(parameter.kind.edges());
    let accepted = texts
        .iter()
        .filter_map(|text| parameter.kind.accept(&Value::from(text.as_str()), now).ok());
    let mut samples: Vec<String> = accepted
        .map(|bound| match bound {
            Bound::Integer(number) => number.to_string(),
            Bound::Text(text) => text,
        })
        .collect();
    if let ParameterType::Text { .. } = parameter.kind {
        samples.push("a".to_owned());
    }
    samples
}

/// The comparisons for equality that SQLite offers to the tables, and those of lists, which it does not show
/// before it runs. A parameter that is used otherwise too is left out: that use may be the one that counts.
fn compared(
    template: &Template,
    host: &impl Fn(&str) -> Option<HostTable>,
) -> Result<Compared, String> {
    let sandbox = Sandbox::with(template, host).map_err(|error| error.to_string())?;
    let stand_ins = template
        .parameters
        .keys()
        .map(|name| (name.as_str(), Bound::Text(format!("{STAND_IN}{name}"))))
        .collect();
    let sql = bind::expand(&sandbox, &template.sql, &stand_ins)?;
    let mut compared = Compared::default();
    for asked in sandbox.asked(&sql).map_err(|error| error.to_string())? {
        for (offer, value) in &asked.offers {
            let column = offer
                .column
                .and_then(|place| asked.table.columns.get(place));
            if let (Comparison::Equal, Some(column), Some(value)) =
                (offer.comparison, column, value)
            {
                let column = Column {
                    table: asked.table.name.clone(),
                    name: column.name.clone(),
                };
                compared.add(column, value);
            }
        }
    }
    let words = words(&sql);
    for place in (1..words.len()).filter(|place| words[*place].is("in")) {
        compared.add_list(template, &words[..place], &words[place + 1..]);
    }
    let stands = |name: &str| {
        let stand_in = format!("{STAND_IN}{name}");
        words
            .iter()
            .filter(|word| word.text().as_deref() == Some(&*stand_in))
            .count()
    };
    compared
        .of_parameter
        .retain(|name, uses| stands(name) <= uses.single.len() + uses.lists);
    Ok(compared)
}

impl Compared {
    /// A column that is compared with a value.
    fn add(&mut self, column: Column, value: &str) {
        match value.strip_prefix(STAND_IN) {
            Some(parameter) => {
                let uses = self.of_parameter.entry(parameter.to_owned()).or_default();
                uses.single.insert(column);
            }
            None => {
                self.of_text.insert((column, value.to_owned()));
            }
        }
    }

    /// `column IN (values)` or `:parameter IN (columns)`, given the words before and behind `IN`.
    fn add_list(&mut self, template: &Template, before: &[Word<'_>], behind: &[Word<'_>]) {
        let end = behind.iter().position(|word| word.written == ")");
        let (Some(looked_for), Some(list)) =
            (before.last(), end.and_then(|end| behind.get(1..end)))
        else {
            return;
        };
        if let Some(column) = column_of(template, before) {
            for item in list.split(|word| word.written == ",") {
                if let [word] = item
                    && let Some(value) = word.text()
                {
                    self.add(column.clone(), &value);
                }
            }
        } else if let Some(text) = looked_for.text()
            && let Some(parameter) = text.strip_prefix(STAND_IN)
        {
            let mut columns = Vec::new();
            for item in list.split(|word| word.written == ",") {
                // `h.md5` is three words; what else stands in the list may be what counts.
                match column_of(template, item).filter(|_| matches!(item.len(), 1 | 3)) {
                    Some(column) => columns.push(column),
                    None => return,
                }
            }
            let uses = self.of_parameter.entry(parameter.to_owned()).or_default();
            uses.listed.extend(columns);
            uses.lists += 1;
        }
    }
}

/// The column that the last of the words names, where only one table of the template has it.
fn column_of(template: &Template, words: &[Word<'_>]) -> Option<Column> {
    let name = words
        .last()
        .filter(|word| word.kind != Kind::Text)?
        .name()?
        .to_ascii_lowercase();
    let has_it = |table: &&String| {
        template.tables[*table]
            .all_columns()
            .any(|column| column == name)
    };
    let mut tables = template.tables.keys().filter(has_it);
    let table = tables.next()?.clone();
    tables.next().is_none().then_some(Column { table, name })
}
