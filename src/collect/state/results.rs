//! The rows that hosts had: before this poll, and what has come of it so far. What comes is set aside until
//! its query is through.

use std::cell::Cell;

use rusqlite::{OptionalExtension, params};

use super::{NoState, Result, State};
use crate::collect::digests::Digests;
use crate::collect::marks::Mark;

/// What has come of a query that is not through yet: `aside` in this reading, `told` in those that broke off.
pub(super) const ASIDE: &str = "
    CREATE TEMP TABLE aside (
        query INTEGER NOT NULL, host INTEGER NOT NULL, at INTEGER NOT NULL, mark INTEGER, rows BLOB NOT NULL,
        texts BLOB, PRIMARY KEY (query, host)
    ) WITHOUT ROWID;
    CREATE TEMP TABLE told (
        query INTEGER NOT NULL, host INTEGER NOT NULL, at INTEGER NOT NULL, rows BLOB NOT NULL,
        PRIMARY KEY (query, host)
    ) WITHOUT ROWID;
";

/// So many bytes of rows' texts a state holds, as they are stored: of a million rows thirty bytes each, which
/// with their digests, and all that is known of a hundred thousand hosts, stay below sixty a row.
const MOST_TEXTS: i64 = 30_000_000;

/// A host's result as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::collect) struct KnownResult {
    /// When it came, in seconds since 1970.
    pub at: i64,
    pub rows: Digests,
    /// Bytes of its rows' texts as they are stored; `None` where nobody wanted them.
    pub texts: Option<usize>,
    /// What tells the bytes in which its rows came; `None` where they have to be read in any case.
    pub mark: Option<Mark>,
}

/// Of a host's result no more than tells whether it is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::collect) struct Marked {
    pub host: i64,
    pub at: i64,
    pub mark: Option<Mark>,
    pub has_texts: bool,
}

/// Room for rows' texts; counted when the first of them is wanted.
#[derive(Debug, Default)]
pub(super) struct Room(Cell<Option<i64>>);

impl State {
    /// A host's result before this poll.
    pub(in crate::collect) fn result(&self, query: i64, host: i64) -> Result<Option<KnownResult>> {
        let sql = "SELECT at, rows, length(texts), mark FROM result WHERE query = ?1 AND host = ?2";
        self.result_in(sql, query, host)
    }

    /// What was set aside of this poll's.
    pub(in crate::collect) fn aside(&self, query: i64, host: i64) -> Result<Option<KnownResult>> {
        let sql =
            "SELECT at, rows, length(texts), mark FROM temp.aside WHERE query = ?1 AND host = ?2";
        self.result_in(sql, query, host)
    }

    /// What was told of this poll's before all was told again.
    pub(in crate::collect) fn told(&self, query: i64, host: i64) -> Result<Option<KnownResult>> {
        let sql = "SELECT at, rows, NULL, NULL FROM temp.told WHERE query = ?1 AND host = ?2";
        self.result_in(sql, query, host)
    }

    fn result_in(&self, sql: &str, query: i64, host: i64) -> Result<Option<KnownResult>> {
        let read = self
            .cached(sql)?
            .query_row([query, host], |row| {
                let rows: Vec<u8> = row.get(1)?;
                Ok((
                    row.get(0)?,
                    rows,
                    row.get::<_, Option<i64>>(2)?,
                    row.get(3)?,
                ))
            })
            .optional();
        let Some((at, rows, texts, mark)) = self.read(read)? else {
            return Ok(None);
        };
        let rows = Digests::stored(rows).ok_or_else(|| self.no(NoState::Damaged))?;
        let texts = texts.map(|bytes| usize::try_from(bytes).unwrap_or_default());
        Ok(Some(KnownResult {
            at,
            rows,
            texts,
            mark: Mark::stored(mark),
        }))
    }

    /// The first so many results before this poll, from a host on in the order of hosts.
    pub(in crate::collect) fn marked(
        &self,
        query: i64,
        from: i64,
        most: usize,
        into: &mut Vec<Marked>,
    ) -> Result<()> {
        let sql = "SELECT host, at, mark, texts IS NOT NULL FROM result WHERE query = ?1 AND host >= ?2 ORDER BY host LIMIT ?3";
        into.clear();
        let mut statement = self.cached(sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let read = statement.query_map([query, from, most], |row| {
            into.push(Marked {
                host: row.get(0)?,
                at: row.get(1)?,
                mark: Mark::stored(row.get(2)?),
                has_texts: row.get(3)?,
            });
            Ok(())
        });
        self.read(read.and_then(Iterator::collect))
    }

    /// The texts of a host's rows as they were stored before this poll; none where nobody wanted them.
    pub(in crate::collect) fn texts(&self, query: i64, host: i64) -> Result<Vec<u8>> {
        let sql = "SELECT texts FROM result WHERE query = ?1 AND host = ?2";
        self.texts_in(sql, query, host)
    }

    /// Those that were set aside.
    pub(in crate::collect) fn texts_aside(&self, query: i64, host: i64) -> Result<Vec<u8>> {
        let sql = "SELECT texts FROM temp.aside WHERE query = ?1 AND host = ?2";
        self.texts_in(sql, query, host)
    }

    fn texts_in(&self, sql: &str, query: i64, host: i64) -> Result<Vec<u8>> {
        let mut statement = self.cached(sql)?;
        let read = statement.query_row([query, host], |row| row.get::<_, Option<Vec<u8>>>(0));
        Ok(self.read(read.optional())?.flatten().unwrap_or_default())
    }

    /// Sets a host's new result aside; without rows it stands for none.
    pub(in crate::collect) fn set_aside(
        &self,
        query: i64,
        host: i64,
        result: &KnownResult,
        texts: Option<&[u8]>,
    ) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO temp.aside VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                query,
                host,
                result.at,
                result.mark.map(Mark::to_store),
                result.rows.bytes(),
                texts
            ],
        )
    }

    /// Whether there is room for so many bytes of texts in the place of so many; then it is taken.
    pub(in crate::collect) fn takes_texts(&self, bytes: usize, before: usize) -> Result<bool> {
        let room = match self.room.0.get() {
            Some(room) => room,
            None => {
                let sql = "SELECT coalesce(sum(length(texts)), 0) FROM result";
                let taken = self.database.query_row(sql, [], |row| row.get::<_, i64>(0));
                MOST_TEXTS - self.read(taken)?
            }
        };
        let signed = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        let left = room.saturating_add(signed(before));
        let fits = left >= signed(bytes);
        let taken = if fits { signed(bytes) } else { 0 };
        self.room.0.set(Some(left.saturating_sub(taken)));
        Ok(fits)
    }

    /// The hosts whose new results are set aside.
    pub(in crate::collect) fn hosts_aside(&self, query: i64) -> Result<Vec<i64>> {
        let sql = "SELECT host FROM temp.aside WHERE query = ?1 ORDER BY host";
        self.hosts_in(sql, query)
    }

    /// The hosts that had results before this poll.
    pub(in crate::collect) fn hosts_with_results(&self, query: i64) -> Result<Vec<i64>> {
        let sql = "SELECT host FROM result WHERE query = ?1 ORDER BY host";
        self.hosts_in(sql, query)
    }

    fn hosts_in(&self, sql: &str, query: i64) -> Result<Vec<i64>> {
        let mut statement = self.cached(sql)?;
        let read = statement.query_map([query], |row| row.get(0));
        self.read(read.and_then(Iterator::collect))
    }

    /// Rows of a query over all hosts.
    pub(in crate::collect) fn rows_of(&self, query: i64) -> Result<u64> {
        let sql = "SELECT coalesce(sum(length(rows)), 0) FROM result WHERE query = ?1";
        let mut statement = self.cached(sql)?;
        let read = statement.query_row([query], |row| row.get::<_, i64>(0));
        Ok(Digests::rows_in(self.read(read)?.cast_unsigned()))
    }

    /// Has what was set aside take the place of what was; whether there was anything.
    pub(in crate::collect) fn take_over(&self, query: i64) -> Result<bool> {
        let moved = self.changes(
            "INSERT OR REPLACE INTO result (query, host, at, mark, rows, texts) SELECT query, host, at, mark, rows, texts FROM temp.aside WHERE query = ?1 AND length(rows) > 0 ORDER BY host",
            query,
        )?;
        let gone = self.changes(
            "DELETE FROM result WHERE query = ?1 AND host IN (SELECT host FROM temp.aside WHERE query = ?1 AND length(rows) = 0)",
            query,
        )?;
        self.leave(query)?;
        if gone > 0 {
            self.forget_names()?;
        }
        Ok(moved + gone > 0)
    }

    /// Drops what was set aside.
    pub(in crate::collect) fn leave(&self, query: i64) -> Result<()> {
        self.execute("DELETE FROM temp.aside WHERE query = ?1", [query])?;
        self.execute("DELETE FROM temp.told WHERE query = ?1", [query])
    }

    /// All is told again: what was set aside counts as told.
    pub(in crate::collect) fn begin_again(&self, query: i64) -> Result<()> {
        for host in self.hosts_aside(query)? {
            let Some(mut told) = self.aside(query, host)? else {
                continue;
            };
            if let Some(before) = self.told(query, host)? {
                told.rows = told.rows.with(&before.rows);
            }
            self.execute(
                "INSERT OR REPLACE INTO temp.told VALUES (?1, ?2, ?3, ?4)",
                params![query, host, told.at, told.rows.bytes()],
            )?;
        }
        self.execute("DELETE FROM temp.aside WHERE query = ?1", [query])
    }

    /// As if they had been written before there were marks.
    #[cfg(test)]
    pub(in crate::collect) fn forget_marks(&self) -> Result<()> {
        self.execute("UPDATE result SET mark = NULL", [])
    }

    /// From now on no result can be read.
    #[cfg(test)]
    pub(in crate::collect) fn spoil_results(&self) -> Result<()> {
        self.execute("UPDATE result SET rows = x'00'", [])
    }

    fn changes(&self, sql: &str, query: i64) -> Result<usize> {
        let changed = self.cached(sql)?.execute([query]);
        self.read(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Belongs;
    use super::*;

    /// What goes makes room for what comes, and nothing is taken that does not fit.
    #[test]
    fn texts_have_so_much_room() {
        let belongs = Belongs {
            kind: "a kind",
            server: "https://server.example".into(),
            part: None,
            team: None,
            output: "events",
        };
        let state = State::open(None, &belongs, 0).expect("a state");
        let half = MOST_TEXTS as usize / 2;
        assert_eq!(state.takes_texts(half, 0), Ok(true));
        assert_eq!(state.takes_texts(half, 0), Ok(true));
        assert_eq!(state.takes_texts(1, 0), Ok(false));
        assert_eq!(state.takes_texts(half, half), Ok(true));
        assert_eq!(state.takes_texts(half + 1, half), Ok(false));
        assert_eq!(
            state.takes_texts(half, 0),
            Ok(true),
            "the place of what did not fit"
        );
    }
}
