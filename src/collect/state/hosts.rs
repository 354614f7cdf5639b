//! The hosts as the last poll saw them.

use rusqlite::{OptionalExtension, params};

use super::packed::{packed, unpacked};
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

impl State {
    /// The hosts with numbers from the first to the last, in their order.
    pub(in crate::collect) fn hosts(&self, first: u64, last: u64) -> Result<Vec<(u64, KnownHost)>> {
        let sql = "SELECT id, posture, since, hostname, uuid, display_name, platform, team FROM host WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
        let mut statement = self.cached(sql)?;
        let range = params![first.cast_signed(), last.cast_signed()];
        let read = statement.query_map(range, |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), KnownHost::of(row)?))
        });
        self.read(read.and_then(Iterator::collect))
    }

    pub(in crate::collect) fn host(&self, id: u64) -> Result<Option<KnownHost>> {
        Ok(self.hosts(id, id)?.pop().map(|(_, host)| host))
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

fn number_of(posture: Status) -> i64 {
    match posture {
        Status::Online => 0,
        Status::Offline => 1,
        Status::Missing => 2,
    }
}
