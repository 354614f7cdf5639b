//! Least privilege: a saved query (newly called report) in the place of an ad-hoc one. A user with the role
//! observer is refused every ad-hoc query, and may run a saved one whose `observer_can_run` is true
//! (transcript `observer-saved-query`). Only one that is, to the letter, the step's statement is taken, so
//! that what runs is what the allowlist let through.

use std::sync::Arc;

use super::refusal::ROLES_HINT;
use super::rest::{Rest, Spelling};
use super::wire::SavedListed;
use crate::servers::{BackendError, SavedQuery};

/// Queries of one page.
const PAGE: usize = 100;
/// No server has more saved queries than so many pages hold.
const MOST_PAGES: usize = 200;

/// What a campaign asks.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// The statement itself.
    Sql(Arc<str>),
    /// A query that the server keeps, and whose text is the statement's.
    Saved(Arc<Saved>),
}

/// A query that the server keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) id: u64,
    pub(super) name: String,
    /// How the server spells what it is.
    pub(super) spelling: Spelling,
}

impl Saved {
    /// As documents name it.
    pub(super) fn shown(&self) -> SavedQuery {
        SavedQuery {
            id: self.id.to_string(),
            name: self.name.clone(),
        }
    }
}

/// Why a saved query is sought.
#[derive(Debug, Clone)]
pub(super) enum Because {
    /// The role may run nothing else; how the server said so.
    Role(BackendError),
    /// The operator's policy wants nothing else.
    Policy,
}

/// The saved query that is the statement and that observers may run.
///
/// # Errors
/// Where there is none: which SQL has to be saved.
pub(super) async fn find(
    rest: &Rest,
    sql: &str,
    because: &Because,
) -> Result<Arc<Saved>, BackendError> {
    let mut closed = None;
    let mut seen = 0;
    for page in 0..MOST_PAGES {
        let (spelling, queries) = rest.saved_queries(None, page, PAGE).await?;
        let last = queries.len() < PAGE;
        seen += queries.len();
        for query in queries {
            // One of a single fleet runs on that fleet's hosts only (wire notes, Least privilege).
            if query.sql().trim() != sql.trim() || query.is_of_one_fleet() {
                continue;
            }
            if !query.observer_can_run() {
                closed.get_or_insert(query);
                continue;
            }
            let name = rest.notices().name(&query.name);
            rest.notices()
                .info(|| format!("the statement is the saved query `{name}` ({})", query.id));
            return Ok(Arc::new(Saved {
                id: query.id,
                name,
                spelling,
            }));
        }
        if last {
            break;
        }
    }
    rest.notices()
        .debug(|| format!("none of {seen} saved queries is the statement"));
    Err(none(rest, sql, because, closed.as_ref()))
}

fn none(rest: &Rest, sql: &str, because: &Because, closed: Option<&SavedListed>) -> BackendError {
    let why = match because {
        Because::Role(error) => error.to_string(),
        Because::Policy => format!(
            "the operator's policy (`saved_queries_only`) lets {} run saved queries only",
            rest.server()
        ),
    };
    let (lacks, mend) = match closed {
        Some(query) => {
            let name = rest.notices().name(&query.name);
            (
                format!(
                    "the saved query that is this step's statement, `{name}`, is not open to observers"
                ),
                format!("set `observer_can_run` on the saved query `{name}`"),
            )
        }
        None => (
            "no saved query that this user sees is this step's statement".into(),
            format!(
                "save this SQL, to the letter, with `observer_can_run: true` (`templates export --format fleet` writes such files): {sql}"
            ),
        ),
    };
    let or_role = match because {
        Because::Role(_) => format!("{ROLES_HINT}; or "),
        Because::Policy => String::new(),
    };
    BackendError::Auth {
        message: format!("{why}, and {lacks}"),
        hint: Some(format!("{or_role}{mend}")),
    }
}
