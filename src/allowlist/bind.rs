//! Values into SQL: SQLite binds them and SQLite writes them out, and what it wrote is read again to see
//! that it is still the template's statement.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;

use super::parameter::Bound;
use super::sandbox::{MOST_SQL_BYTES, Sandbox, Shape};
use super::template::Template;
use super::{DIGESTS, Statement, proof};
use crate::known_servers::{Proof, forbidden_word};

/// The statement with the values in it. The error says which safeguard refused, never a value.
pub(super) fn bind(
    template: &Template,
    sandbox: &Sandbox,
    shape: &Shape,
    values: &BTreeMap<&str, Bound>,
    proof: Proof,
) -> Result<Statement, String> {
    let sql = expand(sandbox, &template.sql, values)?;
    for (name, value) in values {
        reads_back(sandbox, name, value)?;
    }
    if sql.len() > MOST_SQL_BYTES {
        return Err(format!(
            "the SQL would be longer than {MOST_SQL_BYTES} bytes"
        ));
    }
    if let Some(forbidden) = forbidden_word(&sql) {
        return Err(format!("the SQL would hold the word `{}`", forbidden.word));
    }
    // The reason is left out: it might quote a value.
    let (statement, expanded) = sandbox
        .prepare(&sql)
        .map_err(|_| "the SQL with the values in it is not the template's statement".to_owned())?;
    if statement.parameter_count() != 0 {
        return Err("the SQL with the values in it still has parameters".to_owned());
    }
    if expanded != *shape {
        return Err("the values change what the statement does".to_owned());
    }
    let sql = match proof {
        Proof::Itself => sql,
        Proof::Marker => proof::prove(sandbox, &sql).map_err(|reason| format!("it {reason}"))?,
    };
    Ok(Statement {
        template: template.name.clone(),
        sql,
        marker: proof::marker(proof),
        limits: template.limits.clone().unwrap_or_default(),
        digests: digests(template),
    })
}

fn digests(template: &Template) -> Vec<&'static str> {
    let hash = template.tables.get("hash");
    let reads = |name: &&str| hash.is_some_and(|hash| hash.all_columns().any(|one| one == *name));
    DIGESTS.into_iter().filter(reads).collect()
}

/// The SQL for people to read; the values of parameters in `unknown` are what a step says in their place,
/// and stand without quotes where the type is none of text.
pub(super) fn preview(
    template: &Template,
    sandbox: &Sandbox,
    values: &BTreeMap<&str, Bound>,
    unknown: &[&str],
    proof: Proof,
) -> Result<String, String> {
    let mut sql = expand(sandbox, &template.sql, values)?;
    for name in unknown {
        let numeric = template
            .parameters
            .get(*name)
            .is_some_and(|parameter| parameter.kind.is_number());
        if let (true, Some(Bound::Text(text))) = (numeric, values.get(name)) {
            sql = sql.replace(&format!("'{}'", text.replace('\'', "''")), text);
        }
    }
    Ok(match proof {
        Proof::Itself => sql,
        Proof::Marker => proof::wrapped(&sql),
    })
}

/// The SQL with its parameters written out by SQLite (`sqlite3_expanded_sql`).
pub(super) fn expand(
    sandbox: &Sandbox,
    sql: &str,
    values: &BTreeMap<&str, Bound>,
) -> Result<String, String> {
    let refused = |_| "SQLite does not take the values".to_owned();
    let (mut statement, _) = sandbox.prepare(sql)?;
    for (name, value) in values {
        let index = statement
            .parameter_index(&format!(":{name}"))
            .map_err(refused)?
            .ok_or_else(|| format!("the SQL has no parameter `:{name}`"))?;
        statement
            .raw_bind_parameter(index, value)
            .map_err(refused)?;
    }
    statement
        .expanded_sql()
        .ok_or_else(|| "SQLite cannot write the SQL out".to_owned())
}

/// What SQLite wrote for a value, by itself, is one literal that reads as just that value.
fn reads_back(sandbox: &Sandbox, name: &str, value: &Bound) -> Result<(), String> {
    let failed = || format!("the value of `{name}` does not survive being written as SQL");
    let alone = BTreeMap::from([("value", value.clone())]);
    let literal = expand(sandbox, "SELECT :value", &alone)?;
    let (mut statement, _) = sandbox.prepare(&literal).map_err(|_| failed())?;
    let mut rows = statement.raw_query();
    let row = rows.next().map_err(|_| failed())?.ok_or_else(failed)?;
    let same = match (row.get_ref(0).map_err(|_| failed())?, value) {
        (ValueRef::Integer(read), Bound::Integer(number)) => read == *number,
        (ValueRef::Text(read), Bound::Text(text)) => read == text.as_bytes(),
        _ => false,
    };
    if same { Ok(()) } else { Err(failed()) }
}
