//! The hosts as the last poll saw them.

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, params};

use super::packed::{self, packed, unpacked};
use super::{Result, State};
use crate::events::Status;
use crate::servers::collecting::{Ids, PolledHost};

/// A host as it was when the last poll saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::collect) struct KnownHost {
    pub posture: Status,
    /// What the next change is compared with, in milliseconds since 1970.
    pub since: i64,
    pub hostname: String,
    pub uuid: String,
    pub display_name: String,
    pub platform: String,
    pub team: Option<u64>,
}

/// What is compared with a host that is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::collect) struct KnownPosture {
    pub id: u64,
    pub posture: Status,
    pub since: i64,
    /// Its names, platform and team are as they are listed.
    pub is_named: bool,
}

const COLUMNS: &str = "id, posture, since, hostname, uuid, display_name, platform, team";

impl State {
    /// Those of these hosts that are known, both in the order of their numbers.
    pub(in crate::collect) fn postures(&self, listed: &[PolledHost]) -> Result<Vec<KnownPosture>> {
        let (Some(first), Some(last)) = (listed.first(), listed.last()) else {
            return Ok(Vec::new());
        };
        let sql = format!("SELECT {COLUMNS} FROM host WHERE id BETWEEN ?1 AND ?2 ORDER BY id");
        let mut statement = self.cached(&sql)?;
        let range = params![first.id.cast_signed(), last.id.cast_signed()];
        let mut listed = listed.iter().peekable();
        let read = statement.query_map(range, |row| {
            let id = row.get::<_, i64>(0)?.cast_unsigned();
            while listed.next_if(|host| host.id < id).is_some() {}
            let host = listed.peek().filter(|host| host.id == id);
            let known = host.map(|host| {
                Ok(KnownPosture {
                    id,
                    posture: posture_of(row.get(1)?),
                    since: row.get(2)?,
                    is_named: is_named(row, host)?,
                })
            });
            known.transpose()
        });
        let read = read.and_then(|known| known.filter_map(rusqlite::Result::transpose).collect());
        self.read(read)
    }

    pub(in crate::collect) fn host(&self, id: u64) -> Result<Option<KnownHost>> {
        let sql = format!("SELECT {COLUMNS} FROM host WHERE id = ?1");
        let mut statement = self.cached(&sql)?;
        let read = statement.query_row([id.cast_signed()], KnownHost::of);
        self.read(read.optional())
    }

    pub(in crate::collect) fn put_host(&self, id: u64, host: &KnownHost) -> Result<()> {
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
    pub(in crate::collect) fn hosts_but(&self, seen: &Ids) -> Result<Vec<u64>> {
        let mut statement = self.cached("SELECT id FROM host ORDER BY id")?;
        let read = statement.query_map([], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()));
        let unseen = |id: &rusqlite::Result<u64>| id.as_ref().is_ok_and(|id| !seen.contains(*id));
        let read = read.and_then(|ids| ids.filter(|id| id.is_err() || unseen(id)).collect());
        self.read(read)
    }

    /// The name of a host that is known from a report alone.
    pub(in crate::collect) fn name(&self, id: u64) -> Result<Option<String>> {
        let mut statement = self.cached("SELECT hostname FROM name WHERE id = ?1")?;
        let read = statement.query_row([id.cast_signed()], |row| row.get(0));
        self.read(read.optional())
    }

    pub(in crate::collect) fn put_name(&self, id: u64, hostname: &str) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO name VALUES (?1, ?2)";
        self.execute(sql, params![id.cast_signed(), hostname])
    }

    /// Forgets the names of hosts that have no rows any more.
    pub(in crate::collect) fn forget_names(&self) -> Result<()> {
        let sql = "DELETE FROM name WHERE id NOT IN (SELECT host FROM result)";
        self.execute(sql, [])
    }

    pub(in crate::collect) fn drop_host(&self, id: u64) -> Result<()> {
        self.execute("DELETE FROM host WHERE id = ?1", [id.cast_signed()])
    }
}

impl KnownHost {
    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let hostname: String = row.get(3)?;
        let display_name: Option<String> = row.get(5)?;
        let platform: Option<String> = row.get(6)?;
        let team: Option<i64> = row.get(7)?;
        Ok(Self {
            posture: posture_of(row.get(1)?),
            since: row.get(2)?,
            uuid: unpacked(row.get_ref(4)?),
            display_name: display_name.unwrap_or_else(|| hostname.clone()),
            platform: platform.unwrap_or_default(),
            team: team.map(i64::cast_unsigned),
            hostname,
        })
    }

    /// The host as it is now.
    pub(in crate::collect) fn new(host: &PolledHost, since: i64) -> Self {
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

/// Whether a host is called in the state as it is listed.
fn is_named(row: &rusqlite::Row<'_>, host: &PolledHost) -> rusqlite::Result<bool> {
    let is = |column: usize, text: &str| -> rusqlite::Result<bool> {
        Ok(match row.get_ref(column)? {
            ValueRef::Text(stored) => stored == text.as_bytes(),
            // Where there is none, the hostname stands for it.
            _ => text.is_empty(),
        })
    };
    let display_name = match host.display_name == host.hostname {
        true => "",
        false => &host.display_name,
    };
    let team: Option<i64> = row.get(7)?;
    Ok(is(3, &host.hostname)?
        && packed::is(row.get_ref(4)?, &host.uuid)
        && is(5, display_name)?
        && is(6, &host.platform)?
        && team.map(i64::cast_unsigned) == host.team)
}

fn posture_of(number: i64) -> Status {
    match number {
        0 => Status::Online,
        1 => Status::Offline,
        _ => Status::Missing,
    }
}

fn number_of(posture: Status) -> i64 {
    match posture {
        Status::Online => 0,
        Status::Offline => 1,
        Status::Missing => 2,
    }
}
