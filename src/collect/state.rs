//! What a poll remembers for the next one: an SQLite database, one transaction a poll. It is opened with an
//! exclusive lock, which dies with the process, and changes only when the poll commits; a process that is
//! killed leaves it as it was. Who is unlike what it was made for is refused, and nothing is written to it.

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::ffi::ErrorCode;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::digests::Digests;
use crate::events::Status;
use crate::regular_file::{self, Access, Links, NoFile};
use crate::servers::collecting::PolledHost;
use crate::uuid;

/// `olqc`, by which such a file is known among databases.
const APPLICATION: i32 = 0x6f6c_7163;
/// The format that is written.
const FORMAT: i32 = 1;
/// KiB of pages that are kept in memory, of the state and of what is set aside.
const CACHE_KIB: i32 = 6_000;
/// So far a server's clock may be behind, in milliseconds.
const SKEW_MS: i64 = 300_000;
/// Statements that are kept.
const STATEMENTS: usize = 32;

/// `about` says whose state it is. A host's `since` is what the next event of its posture is compared with.
/// `result` has a row for each host and query, and nothing for who has no rows; `at` is in seconds.
const TABLES: &str = "
    CREATE TABLE about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE host (
        id INTEGER PRIMARY KEY, posture INTEGER NOT NULL, since INTEGER NOT NULL, hostname TEXT NOT NULL,
        uuid, display_name TEXT, platform TEXT, team INTEGER
    );
    CREATE TABLE query (
        key INTEGER PRIMARY KEY, since INTEGER NOT NULL, clipped INTEGER NOT NULL,
        after_us INTEGER NOT NULL, answers BLOB NOT NULL, counted INTEGER NOT NULL, settled INTEGER NOT NULL
    );
    CREATE TABLE result (
        query INTEGER NOT NULL, host INTEGER NOT NULL, at INTEGER NOT NULL, rows BLOB NOT NULL,
        PRIMARY KEY (query, host)
    ) WITHOUT ROWID;
";

/// What has come of a query that is not through yet.
const ASIDE: &str = "
    CREATE TEMP TABLE aside (
        query INTEGER NOT NULL, host INTEGER NOT NULL, at INTEGER NOT NULL, rows BLOB NOT NULL,
        PRIMARY KEY (query, host)
    ) WITHOUT ROWID;
";

/// Why there is no state to go on with. `path` is the file that was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateError {
    /// The file; `None` for what is kept beside it.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub what: NoState,
}

/// What is wrong with a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoState {
    /// It is no file that could be one.
    File(NoFile),
    /// It is something else than a state.
    Foreign,
    /// A newer program has written it.
    Newer,
    /// It is of another server, environment or team: which of them.
    Another(&'static str),
    /// It can't be read as what it was.
    Damaged,
    /// Another process has it.
    Busy,
    /// The system refuses to read or write it; its words.
    Refused(String),
}

impl fmt::Display for StateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(out, "the state {} ", path.display())?,
            None => out.write_str("what a poll sets aside ")?,
        }
        match &self.what {
            NoState::File(error) => error.fmt(out),
            NoState::Foreign => out.write_str("is no state of `collect`"),
            NoState::Newer => out.write_str("was written by a newer version of this program"),
            NoState::Another(what) => write!(out, "is of another {what}"),
            NoState::Damaged => out.write_str("is damaged"),
            NoState::Busy => out.write_str("is in use by another process"),
            NoState::Refused(words) => write!(out, "can't be used: {words}"),
        }
    }
}

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
}

/// A host as it was when the last poll saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownHost {
    pub posture: Status,
    /// What the next change is compared with, in milliseconds since 1970.
    pub since: i64,
    pub hostname: String,
    pub uuid: String,
    pub display_name: String,
    pub platform: String,
    pub team: Option<u64>,
}

/// What is remembered of a query beside its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownQuery {
    /// What its next rows are compared with: the poll that brought the last ones, in milliseconds since 1970.
    pub since: i64,
    /// How often its report has become full; negative while it is not.
    pub clipped: i64,
    /// Answers up to this moment are not asked for again, in microseconds since 1970.
    pub after_us: i64,
    /// The answers since then that are known already.
    pub answers: Vec<u64>,
    /// Answers as the server counted them, and whether they were read when it had counted them before.
    pub counted: u64,
    pub settled: bool,
}

/// A host's result as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownResult {
    /// When it came, in seconds since 1970.
    pub at: i64,
    pub rows: Digests,
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
            self.told(read)
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
                self.batch(&format!(
                    "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};"
                ))?;
                self.put("kind", belongs.kind)?;
                self.put("server", &belongs.server)?;
                self.put("part", &belongs.part)?;
                self.put("team", belongs.team.map(u64::cast_signed))?;
                self.put("horizon", self.horizon)?;
            }
            (APPLICATION, FORMAT, _) => {
                self.check()?;
                self.is_of(belongs)?;
                if let Some(horizon) = self.about("horizon")? {
                    self.horizon = horizon;
                }
            }
            (APPLICATION, newer, _) if newer > FORMAT => return Err(self.no(NoState::Newer)),
            _ => return Err(self.no(NoState::Foreign)),
        }
        self.batch(ASIDE)
    }

    /// Reads all of it once: what is damaged is not gone on with.
    fn check(&self) -> Result<()> {
        let check = "PRAGMA quick_check(1)";
        let found = self
            .database
            .query_row(check, [], |row| row.get::<_, String>(0));
        match self.told(found)?.as_str() {
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
        self.told(read)
    }

    pub(super) fn put(&self, name: &str, value: impl rusqlite::ToSql) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO about VALUES (?1, ?2)";
        self.execute(sql, params![name, value])
    }

    /// The hosts with numbers from the first to the last, in their order.
    pub(super) fn hosts(&self, first: u64, last: u64) -> Result<Vec<(u64, KnownHost)>> {
        let sql = "SELECT id, posture, since, hostname, uuid, display_name, platform, team FROM host WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
        let mut statement = self.cached(sql)?;
        let range = params![first.cast_signed(), last.cast_signed()];
        let read = statement.query_map(range, |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), KnownHost::of(row)?))
        });
        self.told(read.and_then(Iterator::collect))
    }

    pub(super) fn host(&self, id: u64) -> Result<Option<KnownHost>> {
        Ok(self.hosts(id, id)?.pop().map(|(_, host)| host))
    }

    pub(super) fn put_host(&self, id: u64, host: &KnownHost) -> Result<()> {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let display_name = text(&host.display_name).filter(|name| *name != host.hostname);
        self.execute(
            "INSERT OR REPLACE INTO host VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                id.cast_signed(),
                number_of(host.posture),
                host.since,
                host.hostname,
                packed(&host.uuid),
                display_name,
                text(&host.platform),
                host.team.map(u64::cast_signed)
            ],
        )
    }

    /// The numbers of all hosts that are not among these.
    pub(super) fn hosts_but(&self, seen: &super::ids::Ids) -> Result<Vec<u64>> {
        let mut statement = self.cached("SELECT id FROM host ORDER BY id")?;
        let read = statement.query_map([], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()));
        let unseen = |id: &rusqlite::Result<u64>| id.as_ref().is_ok_and(|id| !seen.contains(*id));
        let read = read.and_then(|ids| ids.filter(|id| id.is_err() || unseen(id)).collect());
        self.told(read)
    }

    pub(super) fn drop_host(&self, id: u64) -> Result<()> {
        self.execute("DELETE FROM host WHERE id = ?1", [id.cast_signed()])
    }

    pub(super) fn query(&self, key: i64) -> Result<Option<KnownQuery>> {
        let sql =
            "SELECT since, clipped, after_us, answers, counted, settled FROM query WHERE key = ?1";
        let read = self
            .cached(sql)?
            .query_row([key], |row| {
                let answers: Vec<u8> = row.get(3)?;
                Ok(KnownQuery {
                    since: row.get(0)?,
                    clipped: row.get(1)?,
                    after_us: row.get(2)?,
                    answers: unpacked_ids(&answers),
                    counted: row.get::<_, i64>(4)?.cast_unsigned(),
                    settled: row.get(5)?,
                })
            })
            .optional();
        self.told(read)
    }

    pub(super) fn put_query(&self, key: i64, query: &KnownQuery) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO query VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                key,
                query.since,
                query.clipped,
                query.after_us,
                packed_ids(&query.answers),
                query.counted.cast_signed(),
                query.settled
            ],
        )
    }

    /// Forgets all queries but these.
    pub(super) fn keep_queries(&self, keys: &std::collections::HashSet<i64>) -> Result<()> {
        let read = {
            let mut statement = self.cached("SELECT key FROM query")?;
            let read = statement.query_map([], |row| row.get::<_, i64>(0));
            read.and_then(Iterator::collect::<rusqlite::Result<Vec<i64>>>)
        };
        for key in self.told(read)? {
            if !keys.contains(&key) {
                self.execute("DELETE FROM result WHERE query = ?1", [key])?;
                self.execute("DELETE FROM query WHERE key = ?1", [key])?;
            }
        }
        Ok(())
    }

    /// A host's result before this poll.
    pub(super) fn result(&self, query: i64, host: i64) -> Result<Option<KnownResult>> {
        self.result_in(
            "SELECT at, rows FROM result WHERE query = ?1 AND host = ?2",
            query,
            host,
        )
    }

    /// What was set aside of this poll's.
    pub(super) fn aside(&self, query: i64, host: i64) -> Result<Option<KnownResult>> {
        self.result_in(
            "SELECT at, rows FROM temp.aside WHERE query = ?1 AND host = ?2",
            query,
            host,
        )
    }

    fn result_in(&self, sql: &str, query: i64, host: i64) -> Result<Option<KnownResult>> {
        let read = self
            .cached(sql)?
            .query_row([query, host], |row| {
                Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .optional();
        let Some((at, rows)) = self.told(read)? else {
            return Ok(None);
        };
        let rows = Digests::stored(rows).ok_or_else(|| self.no(NoState::Damaged))?;
        Ok(Some(KnownResult { at, rows }))
    }

    /// Sets a host's new result aside; without rows it stands for none.
    pub(super) fn set_aside(&self, query: i64, host: i64, result: &KnownResult) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO temp.aside VALUES (?1, ?2, ?3, ?4)",
            params![query, host, result.at, result.rows.bytes()],
        )
    }

    /// The hosts whose new results are set aside.
    pub(super) fn hosts_aside(&self, query: i64) -> Result<Vec<i64>> {
        self.hosts_in(
            "SELECT host FROM temp.aside WHERE query = ?1 ORDER BY host",
            query,
        )
    }

    /// The hosts that had results before this poll.
    pub(super) fn hosts_with_results(&self, query: i64) -> Result<Vec<i64>> {
        self.hosts_in(
            "SELECT host FROM result WHERE query = ?1 ORDER BY host",
            query,
        )
    }

    fn hosts_in(&self, sql: &str, query: i64) -> Result<Vec<i64>> {
        let mut statement = self.cached(sql)?;
        let read = statement.query_map([query], |row| row.get(0));
        self.told(read.and_then(Iterator::collect))
    }

    /// Has what was set aside take the place of what was; whether there was anything.
    pub(super) fn take_over(&self, query: i64) -> Result<bool> {
        let moved = self.changes(
            "INSERT OR REPLACE INTO result SELECT * FROM temp.aside WHERE query = ?1 AND length(rows) > 0 ORDER BY host",
            query,
        )?;
        let gone = self.changes(
            "DELETE FROM result WHERE query = ?1 AND host IN (SELECT host FROM temp.aside WHERE query = ?1 AND length(rows) = 0)",
            query,
        )?;
        self.leave(query)?;
        Ok(moved + gone > 0)
    }

    /// Drops what was set aside.
    pub(super) fn leave(&self, query: i64) -> Result<()> {
        self.execute("DELETE FROM temp.aside WHERE query = ?1", [query])
    }

    fn changes(&self, sql: &str, query: i64) -> Result<usize> {
        let changed = self.cached(sql)?.execute([query]);
        self.told(changed)
    }

    fn execute(&self, sql: &str, with: impl rusqlite::Params) -> Result<()> {
        let done = self.cached(sql)?.execute(with);
        self.told(done).map(drop)
    }

    fn cached(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>> {
        let prepared = self.database.prepare_cached(sql);
        self.told(prepared)
    }

    fn batch(&self, sql: &str) -> Result<()> {
        self.told(self.database.execute_batch(sql))
    }

    fn told<T>(&self, done: rusqlite::Result<T>) -> Result<T> {
        done.map_err(|error| self.no(what(&error)))
    }

    fn no(&self, what: NoState) -> StateError {
        let path = self.path.clone();
        StateError { path, what }
    }
}

impl KnownHost {
    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let hostname: String = row.get(3)?;
        let display_name: Option<String> = row.get(5)?;
        let platform: Option<String> = row.get(6)?;
        let team: Option<i64> = row.get(7)?;
        Ok(Self {
            posture: match row.get(1)? {
                0 => Status::Online,
                1 => Status::Offline,
                _ => Status::Missing,
            },
            since: row.get(2)?,
            uuid: unpacked(row.get_ref(4)?),
            display_name: display_name.unwrap_or_else(|| hostname.clone()),
            platform: platform.unwrap_or_default(),
            team: team.map(i64::cast_unsigned),
            hostname,
        })
    }

    /// The host as it is now.
    pub(super) fn new(host: &PolledHost, since: i64) -> Self {
        let display_name = match host.display_name.is_empty() {
            true => &host.hostname,
            false => &host.display_name,
        };
        Self {
            posture: host.posture,
            since,
            hostname: host.hostname.clone(),
            uuid: host.uuid.clone(),
            display_name: display_name.clone(),
            platform: host.platform.clone(),
            team: host.team,
        }
    }
}

fn number_of(posture: Status) -> i64 {
    match posture {
        Status::Online => 0,
        Status::Offline => 1,
        Status::Missing => 2,
    }
}

/// A uuid as its sixteen bytes, where it is written as servers write them; else as it is.
fn packed(uuid: &str) -> rusqlite::types::Value {
    use rusqlite::types::Value;
    let digits: String = uuid.chars().filter(|letter| *letter != '-').collect();
    let bytes = u128::from_str_radix(&digits, 16).map(u128::to_be_bytes);
    match bytes {
        Ok(bytes) if written(&bytes) == uuid => Value::Blob(bytes.to_vec()),
        _ if uuid.is_empty() => Value::Null,
        _ => Value::Text(uuid.to_owned()),
    }
}

fn unpacked(uuid: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match uuid {
        ValueRef::Blob(bytes) => bytes.try_into().map(written).unwrap_or_default(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    }
}

fn written(bytes: &[u8; 16]) -> String {
    uuid::written(u128::from_be_bytes(*bytes)).to_ascii_uppercase()
}

/// Numbers in their order as the differences between them, seven bits a byte.
fn packed_ids(ids: &[u64]) -> Vec<u8> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut bytes = Vec::new();
    let mut last = 0;
    for id in ids {
        let mut left = id - last;
        last = id;
        while left >= 0x80 {
            bytes.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
    }
    bytes
}

fn unpacked_ids(bytes: &[u8]) -> Vec<u64> {
    let mut ids = Vec::new();
    let (mut last, mut number, mut shift) = (0u64, 0u64, 0);
    for byte in bytes {
        number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte & 0x80 == 0 {
            last = last.wrapping_add(number);
            ids.push(last);
            (number, shift) = (0, 0);
        }
    }
    ids
}

fn what(error: &rusqlite::Error) -> NoState {
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        // A column of another type than it was written with, a row that is not there.
        return NoState::Damaged;
    };
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => NoState::Busy,
        ErrorCode::NotADatabase => NoState::Foreign,
        ErrorCode::DatabaseCorrupt => NoState::Damaged,
        // A table or column that is not there.
        ErrorCode::Unknown => NoState::Damaged,
        ErrorCode::DiskFull => NoState::Refused("the disk is full".into()),
        ErrorCode::ReadOnly => NoState::Refused("it may not be written to".into()),
        ErrorCode::PermissionDenied | ErrorCode::CannotOpen => NoState::Refused(
            "it, or its folder, may not be written to (a journal stands beside it during a poll)"
                .into(),
        ),
        ErrorCode::OutOfMemory => NoState::Refused("the system refuses memory".into()),
        ErrorCode::FileLockingProtocolFailed => {
            NoState::Refused("its file system has no locks".into())
        }
        _ => NoState::Refused("the system refuses to read or write it".into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_of_answers_come_back(mut ids in prop::collection::vec(any::<u64>(), 0..40)) {
            let packed = packed_ids(&ids);
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(unpacked_ids(&packed), ids);
        }

        #[test]
        fn uuids_come_back_as_they_were(uuid in "([0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}|[0-9a-fA-F-]{0,40})") {
            let value = packed(&uuid);
            let again = unpacked((&value).into());
            prop_assert_eq!(again, uuid);
        }
    }
}
