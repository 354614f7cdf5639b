//! A statement that carries its own proof, for servers that call a host's error "no rows". The template's
//! statement goes inside a fixed one, of which a host that found nothing answers exactly one row that says
//! so, and a host on which it failed answers none.
//!
//! `LIMIT -1` is no limit. Without it SQLite merges the template's statement into the join around it, and a
//! sorted subquery that is part of a join is not sorted any more ("omit ORDER BY", SQLite 3.35 and later).
//! The template's own comparisons stay where they were, so that osquery's tables are asked as without.

use super::sandbox::Sandbox;
use crate::known_servers::Proof;

/// The column that says whether a row was found; it is taken out again.
pub(super) const MARKER: &str = "live_query_matched";

/// The statement with its proof. What it holds may be anything that can stand inside another.
pub(super) fn wrapped(sql: &str) -> String {
    let inner = sql.trim_end_matches(|sign: char| sign == ';' || sign.is_whitespace());
    // A comment at its end ends with its line.
    let last = inner.lines().next_back().unwrap_or_default();
    let end = if last.contains("--") { "\n" } else { "" };
    format!(
        "SELECT t.* FROM (SELECT 1) AS asked LEFT JOIN (SELECT 1 AS {MARKER}, q.* FROM ({inner}{end}) AS q LIMIT -1) AS t"
    )
}

/// The marker of statements for servers that prove so much.
pub(super) fn marker(proof: Proof) -> Option<&'static str> {
    match proof {
        Proof::Itself => None,
        Proof::Marker => Some(MARKER),
    }
}

/// Has SQLite read the statement with its proof: it reads what the statement reads, and gives the same
/// columns behind the marker.
///
/// # Errors
/// Why it can't have one, as the end of a sentence that begins with "it"; quotes nothing but the names of
/// result columns.
pub(super) fn prove(sandbox: &Sandbox, sql: &str) -> Result<String, String> {
    let (statement, plain) = sandbox
        .prepare(sql)
        .map_err(|_| "can't be read".to_owned())?;
    let names = |statement: &rusqlite::Statement<'_>| -> Vec<String> {
        statement.column_names().map(str::to_owned).collect()
    };
    let expected = names(&statement);
    if expected
        .iter()
        .any(|name| name.eq_ignore_ascii_case(MARKER))
    {
        return Err(format!(
            "has a result column called `{MARKER}`, by which an answer without rows is told from one that failed"
        ));
    }
    let proven = wrapped(sql);
    let (statement, shape) = sandbox
        .prepare(&proven)
        .map_err(|_| "can't stand inside another statement".to_owned())?;
    let found = names(&statement);
    if found.first().map(String::as_str) != Some(MARKER) || found[1..] != expected[..] {
        let differs = expected
            .iter()
            .zip(found.iter().skip(1))
            .find(|(before, after)| before != after);
        let name = differs.map_or_else(String::new, |(name, _)| format!(" `{name}`"));
        return Err(format!(
            "has a result column{name} whose name another one has in other letters, which SQLite keeps apart only in the outermost statement"
        ));
    }
    if !shape.reads_the_same(&plain) {
        return Err("does something else inside another statement".to_owned());
    }
    Ok(proven)
}
