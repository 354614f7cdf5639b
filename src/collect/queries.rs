//! The stream of queries: which there are, and of those that have reports what is new in them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

use super::{Poll, PollError, Progress};
use crate::events::Query;
use crate::printable::listed;
use crate::servers::collecting::{PolledQuery, Results};

/// Reports that are read at once.
const AT_ONCE: usize = 8;
/// For so long the list of hosts is waited for, so that the first rows name their hosts as it does.
const NAMES_WITHIN: Duration = Duration::from_secs(2);
/// Queries that a warning names at most.
const MOST_NAMED: usize = 10;
/// What is remembered of the queries that were named as having no report.
const NAMED: &str = "without results";

impl Poll<'_> {
    pub(super) async fn queries(
        &self,
        progress: &Progress,
        mut named: watch::Receiver<bool>,
    ) -> Result<(), PollError> {
        let queries = self.server.queries().await?;
        let keys: HashSet<i64> = queries.iter().map(|query| query.key).collect();
        let wanted = self.wanted(queries)?;
        // An error is the sender's end.
        let soon = named.wait_for(|named| *named);
        let _ = tokio::time::timeout(NAMES_WITHIN, soon).await;
        let names = super::answers::Names::default();
        let read = wanted.into_iter().map(|query| {
            let names = &names;
            async move {
                let query = Arc::new(query);
                let read = match query.results {
                    Results::Report => self.report(&query, progress).await,
                    Results::Answers { count, over } => {
                        self.answers(&query, (count, over), names, progress).await
                    }
                    Results::None(_) => Ok(()),
                };
                match read {
                    Ok(()) => progress.parts.set(progress.parts.get() + 1),
                    // The others are not held up.
                    Err(PollError::Backend(error)) => {
                        self.state.leave(query.key)?;
                        progress.failed(PollError::Backend(error));
                    }
                    Err(error) => return Err(error),
                }
                Ok(())
            }
        });
        let mut read = stream::iter(read).buffer_unordered(AT_ONCE);
        let mut any = false;
        while read.try_next().await?.is_some() {
            any = true;
        }
        drop(read);
        if !any {
            progress.parts.set(progress.parts.get() + 1);
        }
        Ok(self.state.keep_queries(&keys, self.now)?)
    }

    /// The queries that are polled. Those that can have no results are named, once.
    fn wanted(&self, queries: Vec<PolledQuery>) -> Result<Vec<PolledQuery>, PollError> {
        let fits = |query: &PolledQuery| {
            self.queries.is_empty() || self.queries.iter().any(|glob| glob.fits(&query.name))
        };
        for glob in self.queries {
            if !queries.iter().any(|query| glob.fits(&query.name)) {
                self.notices.warn(format!(
                    "`queries` names `{}`, and the server has no such query",
                    self.notices.name(glob.text())
                ));
            }
        }
        let mut without = Vec::new();
        let wanted = queries.into_iter().filter(fits).filter(|query| {
            if let Results::None(why) = query.results {
                without.push((
                    query.key,
                    format!("`{}` {why}", self.notices.name(&query.name)),
                ));
                return false;
            }
            true
        });
        let wanted: Vec<PolledQuery> = wanted.collect();
        let told: String = without.iter().map(|(key, _)| format!("{key} ")).collect();
        if self.state.about::<String>(NAMED)?.unwrap_or_default() != told {
            self.state.put(NAMED, told)?;
            if !without.is_empty() {
                let more = without.len().saturating_sub(MOST_NAMED);
                let mut names: Vec<String> = without.into_iter().map(|(_, name)| name).collect();
                names.truncate(MOST_NAMED);
                if more > 0 {
                    names.push(format!("{more} more"));
                }
                self.notices.warn(format!(
                    "the server keeps no results of these queries, so no events come of them: {}",
                    listed(&names)
                ));
            }
        }
        Ok(wanted)
    }

    /// The query as events have it.
    pub(super) fn query(&self, query: &PolledQuery) -> Query {
        let name = self.notices.name(&query.name);
        Query::new(query.id, name, query.sql.clone(), self.severities)
    }

    /// A row that is none: the others must not be lost with it.
    pub(super) fn no_row(&self, query: &Query, error: &crate::events::NoRow) {
        self.notices.warn(format!(
            "a row of `{}` can't be read, and is passed over: {error}",
            query.name
        ));
    }
}
