//! What a poll remembers for the next one: an SQLite database, one transaction a poll. It is opened with an
//! exclusive lock, which dies with the process, and changes only when the poll commits; a process that is
//! killed leaves it as it was. Who is unlike what it was made for is refused, and nothing is written to it.

mod hosts;
mod packed;
mod results;
mod trouble;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use ring::rand::SystemRandom;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::marks::KEY_BYTES;
use crate::regular_file::{self, Access, Links};
use crate::servers::collecting::Ids;
pub(super) use hosts::{KnownHost, KnownPosture};
use results::{ASIDE, Room};
pub(super) use results::{KnownResult, Marked};
use trouble::what;
pub use trouble::{NoState, StateError};

/// `olqc`, by which such a file is known among databases.
const APPLICATION: i32 = 0x6f6c_7163;
/// The format that is written.
const FORMAT: i32 = 2;
/// What makes it of the format before, whose results had no marks. Whoever has none is read and gets one.
const FROM_FORMAT_1: &str = "ALTER TABLE result ADD COLUMN mark INTEGER;";
/// What is under this name keys the marks.
const KEY: &str = "key";
/// KiB of pages that are kept in memory, of the state and of what is set aside.
const CACHE_KIB: i32 = 6_000;
/// So far a server's clock may be behind, in milliseconds.
const SKEW_MS: i64 = 300_000;
/// A query that has not been listed for so long is forgotten.
const FORGET_AFTER_MS: i64 = 86_400_000;
/// Statements that are kept.
const STATEMENTS: usize = 32;

/// `about` says whose state it is. A host's `since` is what the next event of its posture is compared with.
/// `result` has a row for each host and query, and nothing for who has no rows; `at` is in seconds, `rows` are
/// digests, `texts` what the rows were (packed with the query's `sample`), where somebody wants to know; `mark`
/// tells the bytes in which they came.
/// `name` has the hosts of reports that are not in `host`: of what is gone the server does not say whose it was.
const TABLES: &str = "
    CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE host (
        id INTEGER PRIMARY KEY, posture INTEGER NOT NULL, since INTEGER NOT NULL, hostname TEXT NOT NULL,
        uuid, display_name TEXT, platform TEXT, team INTEGER
    );
    CREATE TABLE name (id INTEGER PRIMARY KEY, hostname TEXT NOT NULL);
    CREATE TABLE query (
        key INTEGER PRIMARY KEY, since INTEGER NOT NULL, clipped INTEGER NOT NULL, sample BLOB NOT NULL,
        from_us INTEGER NOT NULL, after_us INTEGER NOT NULL, answers BLOB NOT NULL, older INTEGER NOT NULL,
        counted INTEGER NOT NULL, settled INTEGER NOT NULL
    );
    CREATE TABLE unlisted (query INTEGER PRIMARY KEY, since INTEGER NOT NULL);
    CREATE TABLE result (
        query INTEGER NOT NULL, host INTEGER NOT NULL, at INTEGER NOT NULL, mark INTEGER, rows BLOB NOT NULL,
        texts BLOB, PRIMARY KEY (query, host)
    ) WITHOUT ROWID;
";

/// Whose state it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Belongs {
    /// The kind of server.
    pub kind: &'static str,
    /// Its address.
    pub server: String,
    /// Its part (an environment), where it has parts.
    pub part: Option<String>,
    /// The team, where only one is polled.
    pub team: Option<u64>,
    /// What comes of it; who reads the one must not take what is new from who reads the other.
    pub output: &'static str,
}

/// What is remembered of a query beside its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownQuery {
    /// What its next rows are compared with: the poll that brought the last ones, in milliseconds since 1970.
    pub since: i64,
    /// How often its report has become full; negative while it is not.
    pub clipped: i64,
    /// What packs the texts of its rows.
    pub sample: Vec<u8>,
    /// Answers up to this moment are no events, in microseconds since 1970.
    pub from_us: i64,
    /// Answers up to this moment are not asked for again, unless some were missed.
    pub after_us: i64,
    /// The answers that are known, and how many others, older ones, the server had besides.
    pub answers: Ids,
    pub older: u64,
    /// Answers as the server counted them, and whether they were all known when it had counted them before.
    pub counted: u64,
    pub settled: bool,
}

/// The state, locked.
#[derive(Debug)]
pub struct State {
    database: Connection,
    path: Option<PathBuf>,
    /// What was before this moment is no event, in milliseconds since 1970.
    horizon: i64,
    /// It was just made.
    is_new: bool,
    room: Room,
}

type Result<T> = std::result::Result<T, StateError>;

impl State {
    /// Opens the state in a file, or one that ends with the process. `horizon`: how far back a first poll looks,
    /// in milliseconds since 1970.
    ///
    /// # Errors
    /// [`NoState`]; then nothing was written.
    pub fn open(path: Option<&Path>, belongs: &Belongs, horizon: i64) -> Result<Self> {
        let refused = |what| StateError {
            path: path.map(Path::to_owned),
            what,
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = match path {
            Some(path) => {
                // Made for this user alone, and looked at; its lock is the database's own.
                regular_file::open(path, Links::Follow, Access::Lock)
                    .map_err(|error| refused(NoState::File(error)))?;
                Connection::open_with_flags(path, flags)
            }
            // On the disk where it is too much for memory, and never seen by anybody.
            None => Connection::open_with_flags("", flags),
        };
        let database = opened.map_err(|error| refused(what(&error)))?;
        database.set_prepared_statement_cache_capacity(STATEMENTS);
        let mut state = Self {
            database,
            path: path.map(Path::to_owned),
            // Servers tell whole seconds.
            horizon: horizon - horizon.rem_euclid(1_000),
            is_new: false,
            room: Room::default(),
        };
        state.begin(belongs)?;
        Ok(state)
    }

    fn begin(&mut self, belongs: &Belongs) -> Result<()> {
        self.batch(&format!(
            "PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp.cache_size = -{CACHE_KIB}; BEGIN EXCLUSIVE;"
        ))?;
        let number = |pragma: &str| -> Result<i32> {
            let read = self.database.query_row(pragma, [], |row| row.get(0));
            self.read(read)
        };
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        match (
            number("PRAGMA application_id")?,
            number("PRAGMA user_version")?,
            tables,
        ) {
            (0, 0, 0) => {
                self.is_new = true;
                self.batch(TABLES)?;
                self.batch(&format!("PRAGMA application_id = {APPLICATION};"))?;
                self.is_made()?;
                self.put("kind", belongs.kind)?;
                self.put("server", &belongs.server)?;
                self.put("part", &belongs.part)?;
                self.put("team", belongs.team.map(u64::cast_signed))?;
                self.put("output", belongs.output)?;
                self.put("horizon", self.horizon)?;
            }
            (APPLICATION, format @ 1..=FORMAT, _) => {
                self.check()?;
                self.is_of(belongs)?;
                if format == 1 {
                    self.batch(FROM_FORMAT_1)?;
                    self.is_made()?;
                }
                if let Some(horizon) = self.about("horizon")? {
                    self.horizon = horizon;
                }
            }
            (APPLICATION, newer, _) if newer > FORMAT => return Err(self.no(NoState::Newer)),
            _ => return Err(self.no(NoState::Foreign)),
        }
        self.batch(ASIDE)
    }

    /// It is of the format that is written now.
    fn is_made(&self) -> Result<()> {
        self.batch(&format!("PRAGMA user_version = {FORMAT};"))?;
        let key: [u8; KEY_BYTES] = ring::rand::generate(&SystemRandom::new())
            .map_err(|_| self.no(NoState::Refused("the system has no random numbers".into())))?
            .expose();
        self.put(KEY, key)
    }

    /// What keys the marks of results.
    pub(super) fn key(&self) -> Result<[u8; KEY_BYTES]> {
        self.about(KEY)?.ok_or_else(|| self.damaged())
    }

    /// Reads all of it once: what is damaged is not gone on with.
    fn check(&self) -> Result<()> {
        let check = "PRAGMA quick_check(1)";
        let found = self
            .database
            .query_row(check, [], |row| row.get::<_, String>(0));
        match self.read(found)?.as_str() {
            "ok" => Ok(()),
            _ => Err(self.no(NoState::Damaged)),
        }
    }

    fn is_of(&self, belongs: &Belongs) -> Result<()> {
        let kind: Option<String> = self.about("kind")?;
        let server: Option<String> = self.about("server")?;
        let part: Option<Option<String>> = self.about("part")?;
        let team: Option<Option<i64>> = self.about("team")?;
        let another = |what| Err(self.no(NoState::Another(what)));
        if kind.as_deref() != Some(belongs.kind) || server.as_ref() != Some(&belongs.server) {
            return another("server");
        }
        if part != Some(belongs.part.clone()) {
            return another("environment");
        }
        if team != Some(belongs.team.map(u64::cast_signed)) {
            return another("team");
        }
        let output: Option<String> = self.about("output")?;
        if output.as_deref() != Some(belongs.output) {
            return another("kind of output: events and gauges need a state each");
        }
        Ok(())
    }

    /// What was before this moment is no event where nothing is known of it, in milliseconds since 1970.
    pub(super) fn horizon(&self) -> i64 {
        match self.is_new {
            true => self.horizon,
            // What came right after the first poll counts, whatever the server's clock says.
            false => self.horizon.saturating_sub(SKEW_MS),
        }
    }

    /// Makes all of it last.
    ///
    /// # Errors
    /// Where the disk does not take it: then the state is as it was.
    pub fn commit(&self) -> Result<()> {
        match self.path {
            Some(_) => self.batch("COMMIT"),
            None => Ok(()),
        }
    }

    pub(super) fn about<T: rusqlite::types::FromSql>(&self, name: &str) -> Result<Option<T>> {
        let read = self
            .cached("SELECT value FROM about WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional();
        self.read(read)
    }

    pub(super) fn put(&self, name: &str, value: impl rusqlite::ToSql) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO about VALUES (?1, ?2)";
        self.execute(sql, params![name, value])
    }

    pub(super) fn query(&self, key: i64) -> Result<Option<KnownQuery>> {
        let sql = "SELECT since, clipped, sample, from_us, after_us, answers, older, counted, settled FROM query WHERE key = ?1";
        let read = self
            .cached(sql)?
            .query_row([key], |row| {
                let answers: Vec<u8> = row.get(5)?;
                Ok(KnownQuery {
                    since: row.get(0)?,
                    clipped: row.get(1)?,
                    sample: row.get(2)?,
                    from_us: row.get(3)?,
                    after_us: row.get(4)?,
                    answers: Ids::unpacked(&answers),
                    older: row.get::<_, i64>(6)?.cast_unsigned(),
                    counted: row.get::<_, i64>(7)?.cast_unsigned(),
                    settled: row.get(8)?,
                })
            })
            .optional();
        self.read(read)
    }

    pub(super) fn put_query(&self, key: i64, query: &KnownQuery) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO query VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                key,
                query.since,
                query.clipped,
                query.sample,
                query.from_us,
                query.after_us,
                query.answers.packed(),
                query.older.cast_signed(),
                query.counted.cast_signed(),
                query.settled
            ],
        )
    }

    /// Forgets all queries but these, once they have not been listed for a day: a list may lack some for a
    /// while, such as those of a team that a user is not in.
    pub(super) fn keep_queries(&self, keys: &HashSet<i64>, now: i64) -> Result<()> {
        let read = {
            let mut statement = self.cached(
                "SELECT key, unlisted.since FROM query LEFT JOIN unlisted ON unlisted.query = key",
            )?;
            let read = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
            read.and_then(Iterator::collect::<rusqlite::Result<Vec<(i64, Option<i64>)>>>)
        };
        for (key, since) in self.read(read)? {
            match (keys.contains(&key), since) {
                (true, None) => continue,
                (true, Some(_)) => {}
                (false, None) => {
                    self.execute("INSERT INTO unlisted VALUES (?1, ?2)", [key, now])?;
                    continue;
                }
                (false, Some(since)) if now.saturating_sub(since) < FORGET_AFTER_MS => continue,
                (false, Some(_)) => {
                    self.execute("DELETE FROM result WHERE query = ?1", [key])?;
                    self.execute("DELETE FROM query WHERE key = ?1", [key])?;
                }
            }
            self.execute("DELETE FROM unlisted WHERE query = ?1", [key])?;
        }
        Ok(())
    }

    fn execute(&self, sql: &str, with: impl rusqlite::Params) -> Result<()> {
        let done = self.cached(sql)?.execute(with);
        self.read(done).map(drop)
    }

    fn cached(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>> {
        let prepared = self.database.prepare_cached(sql);
        self.read(prepared)
    }

    fn batch(&self, sql: &str) -> Result<()> {
        self.read(self.database.execute_batch(sql))
    }

    fn read<T>(&self, done: rusqlite::Result<T>) -> Result<T> {
        done.map_err(|error| self.no(what(&error)))
    }

    /// What was read was never written.
    pub(super) fn damaged(&self) -> StateError {
        self.no(NoState::Damaged)
    }

    fn no(&self, what: NoState) -> StateError {
        let path = self.path.clone();
        StateError { path, what }
    }
}
