//! What a host would answer to a statement, judged by the plan that SQLite makes of it over tables that
//! answer the planner as osquery's do: tables that would stay empty for want of a comparison, and tables
//! that would tell of one user only. The plan is the host's, so joins, `USING`, subqueries and patterns that
//! are computed count just as they count there.

use std::collections::BTreeSet;

use super::error::listed;
use super::facts;
use super::flaw::{At, Flaw};
use super::host_table::{Comparison, HostTable, Lookup};
use super::sandbox::Sandbox;
use super::template::Template;
use super::vtab::Asked;
use super::words::words;

/// What is wrong with the way in which hosts would read their tables; `host` is what is known of a table,
/// and `sql` the statement with values in it.
pub(super) fn flaws(
    template: &Template,
    sql: &str,
    host: impl Fn(&str) -> Option<HostTable>,
) -> Vec<Flaw> {
    let plan = Sandbox::with(template, host).and_then(|sandbox| sandbox.plan(sql));
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => {
            let message = format!("`sql` cannot be planned over osquery's tables: {error}");
            return vec![Flaw::new("sql", "plan", message)];
        }
    };
    let escapes = words(sql).iter().any(|word| word.is("escape"));
    let mut said = BTreeSet::new();
    let mut flaws = Vec::new();
    for scan in &plan {
        let found =
            required(scan, escapes, template.tables.len() > 1).or_else(|| of_one_user(scan));
        // A table that is read twice in the same wrong way is one mistake.
        if let Some((rule, message)) = found
            && said.insert(message.clone())
        {
            flaws.push(Flaw::new("sql", rule, message).at(At::SqlWord(scan.table.name.clone())));
        }
    }
    flaws
}

/// Tables such as `file` answer with nothing, or with an error, unless a column is compared.
fn required(scan: &Asked, escapes: bool, is_joined: bool) -> Option<(&'static str, String)> {
    let table = &scan.table;
    let columns = table.columns.iter().enumerate();
    let required: Vec<(usize, &str)> = columns
        .filter(|(_, column)| column.lookup == Lookup::Required)
        .map(|(place, column)| (place, column.name.as_str()))
        .collect();
    let is_answered = |(place, name): &(usize, &str)| {
        scan.taken.iter().any(|taken| {
            scan.offers.get(*taken).is_some_and(|(offer, _)| {
                offer.column == Some(*place) && facts::answers(&table.name, name, offer.comparison)
            })
        })
    };
    let all = facts::needs_all(&table.name);
    let mut answered = required.iter().map(is_answered);
    let is_enough = if all {
        answered.all(|answered| answered)
    } else {
        required.is_empty() || answered.any(|answered| answered)
    };
    if is_enough {
        return None;
    }
    let names = listed_with(&required, if all { "and" } else { "or" });
    let takes_patterns = required
        .iter()
        .any(|(_, name)| facts::answers(&table.name, name, Comparison::Like));
    let operators = if takes_patterns {
        "`=`, `IN` or `LIKE`"
    } else {
        "`=` or `IN`"
    };
    let is_compared = scan.offers.iter().any(|(offer, _)| {
        offer.usable
            && required
                .iter()
                .any(|(place, _)| offer.column == Some(*place))
    });
    let why = if escapes && takes_patterns {
        "; a LIKE with ESCAPE is not handed to the table: leave ESCAPE out".to_owned()
    } else if is_compared {
        "; it is compared in a way that the table can't use".to_owned()
    } else if is_joined {
        format!(
            "; where another table has what it is compared with, that one comes first: `FROM other CROSS JOIN {} ON …`",
            table.name
        )
    } else {
        String::new()
    };
    let message = format!(
        "`sql` must compare {names} of `{}` by {operators}, because osquery returns no rows otherwise{why}",
        table.name
    );
    Some(("required_column", message))
}

/// Tables such as `shell_history` tell of osquery's own user only, unless they are asked for others.
fn of_one_user(scan: &Asked) -> Option<(&'static str, String)> {
    let name = scan.table.name.as_str();
    let column = facts::per_user(name)?;
    let is_compared = scan.taken.iter().any(|taken| {
        scan.offers.get(*taken).is_some_and(|(offer, _)| {
            let compared = offer.column.and_then(|place| scan.table.columns.get(place));
            offer.comparison == Comparison::Equal
                && compared.is_some_and(|compared| compared.name == column)
        })
    });
    if is_compared {
        return None;
    }
    let message = format!(
        "`{name}` covers osquery's own user only (root or SYSTEM), unless `{column}` is compared: write \
         `FROM users CROSS JOIN {name} USING ({column})`, in this order"
    );
    Some(("per_user_table", message))
}

/// Names in a sentence.
fn listed_with(names: &[(usize, &str)], word: &str) -> String {
    let names: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
    match names.as_slice() {
        [most @ .., last] if !most.is_empty() => {
            format!("{} {word} `{last}`", listed(most.iter().copied()))
        }
        names => listed(names.iter().copied()),
    }
}
